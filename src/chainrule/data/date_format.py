"""Detect and read the formats of dates and times.

``01/02/2023`` is the first of February or the second of January. The :class:`DateFormat` of a column is determined from
its training rows by :class:`DateScan`. It then reads every cell independently of other cells.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, timezone
from shlex import quote
from typing import Any, Literal, Self, TypeAlias, cast, get_args

import numpy as np

from chainrule.data.number_format import sample_indices
from chainrule.data.texts import LONGEST_VALUE, normal_text
from chainrule.errors import InvalidInputError
from chainrule.types import Array, IntArray

__all__ = ["ISO_PATTERN", "MONTHS", "PATTERNS", "TIME_PATTERN", "WEEKDAYS", "DateFormat", "DateOrder", "DateScan"]

DateOrder: TypeAlias = Literal["ymd", "dmy", "mdy"]

# The order in which ambiguous dates are read.
PREFERENCE: tuple[DateOrder, ...] = ("dmy", "mdy", "ymd")

ISO_PATTERN = (
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
    r"(?::(?P<second>[0-9]{2})(?:\.(?P<fraction>[0-9]+))?)?(?P<zone>Z|[-+][0-9]{2}:?[0-9]{2})?)?"
)
_ISO = re.compile(ISO_PATTERN)
_BELOW_A_MICROSECOND = re.compile(r"(?<=\.[0-9]{6})[0-9]+")

# Lines in the forms of ISO 8601 that NumPy reads, and lines that have such a form after their parts are reordered.
_ALL_ISO = re.compile(
    r"(?>(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?\n)*+"
)
_ORDERED = re.compile(
    r"([0-9]{2})([-/.])([0-9]{2})\2((?!0000)[0-9]{4})((?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?)\n"
)
_ALL_ORDERED = re.compile(rf"(?>{_ORDERED.pattern})*+")

TIME_PATTERN = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?)?"
    r"(?:\s?(?P<half>[AaPp])\.?\s?[Mm]\.?)?(?:\s?(?P<zone>Z|UTC|GMT|[-+][0-9]{2}:?[0-9]{2}))?"
)
_DAY, _NAME, _YEAR = r"(?P<day>[0-9]{1,2})", r"(?P<name>[^\W\d_]{3,}\.?)", r"(?P<year>[0-9]{4})"
_ANY_YEAR = r"(?P<year>[0-9]{4}|'?[0-9]{2})"
_WEEKDAY = r"(?:(?P<weekday>[^\W\d_]{2,})\.?,?\s+)?"
_DATES = (
    rf"{_YEAR}(?P<mark>[-/.])(?P<month>[0-9]{{1,2}})(?P=mark){_DAY}",
    r"(?P<first>[0-9]{1,2})(?P<mark>[-/.])\s?(?P<middle>[0-9]{1,2})(?P=mark)\s?(?P<last>[0-9]{4}|[0-9]{2})",
    r"(?P<year>(?:19|20)[0-9]{2})(?P<month>[0-9]{2})(?P<day>[0-9]{2})",
    rf"{_YEAR}[-/](?P<month>[0-9]{{2}})",
    rf"(?P<month>[0-9]{{1,2}})[-/]{_YEAR}",
    rf"{_WEEKDAY}{_DAY}(?:st|nd|rd|th|\.|\u00ba)?[\s/.-]*(?:de\s|of\s)?\s*{_NAME}[\s/.,-]*(?:de\s|del\s)?\s*{_ANY_YEAR}",
    rf"{_WEEKDAY}{_NAME}[\s/.-]*{_DAY}(?:st|nd|rd|th)?(?:,\s*|[\s/.-]+){_YEAR}",
    rf"{_YEAR}[\s/.-]*{_NAME}[\s/.-]*{_DAY}",
    rf"{_NAME}[\s/.-]+(?:de\s|del\s)?\s*{_YEAR}",
)
# A date with or without a time.
PATTERNS = tuple(rf"{date}(?:(?:[T:]|,?\s+|,){TIME_PATTERN})?" for date in _DATES)
_COMPILED = tuple(map(re.compile, PATTERNS))
_TIME_ONLY = re.compile(TIME_PATTERN)

_MONTH_WORDS = """
    jan january januar j\u00e4nner janvier janv enero ene janeiro gennaio gen
    feb february februar f\u00e9vrier f\u00e9vr fevr febrero fevereiro fev febbraio
    mar march m\u00e4rz maerz m\u00e4r mrz mars marzo mar\u00e7o
    apr april avril avr abril abr aprile
    may mai mayo maio maggio mag
    jun june juni juin junio junho giugno giu
    jul july juli juillet juil julio julho luglio lug
    aug august ao\u00fbt aout agosto ago
    sep sept september septembre septiembre setembro set settembre
    oct october okt oktober octobre octubre outubro out ottobre ott
    nov november novembre noviembre novembro
    dec december dez dezember d\u00e9cembre d\u00e9c diciembre dic dezembro dicembre
"""
MONTHS = {word: number for number, line in enumerate(_MONTH_WORDS.strip().splitlines(), 1) for word in line.split()}
_WEEKDAY_WORDS = """
    mon monday tue tues tuesday wed wednesday thu thur thurs thursday fri friday sat saturday sun sunday
    mo montag di dienstag mi mittwoch do donnerstag fr freitag sa samstag sonnabend so sonntag
    lun lundi mar mardi mer mercredi jeu jeudi ven vendredi sam samedi dim dimanche
    lunes martes mié miércoles jue jueves vie viernes sáb sábado dom domingo
    seg segunda ter terça qua quarta qui quinta sex sexta
    lunedì martedì mercoledì gio giovedì venerdì sabato domenica
"""
WEEKDAYS = frozenset(_WEEKDAY_WORDS.split())


@dataclass(frozen=True)
class DateFormat:
    """The format of the dates of a column.

    >>> DateFormat("dmy").read(["01/02/2023", "3 Mar 2023 14:30", "Monday"]).astype(str).tolist()
    ['2023-02-01T00:00:00.000000', '2023-03-03T14:30:00.000000', 'NaT']

    Attributes
    ----------
    order
        The order of 01/02/2023: ``"dmy"``, ``"mdy"``, or ``"ymd"`` for a column without such dates. Dates that start
        with a year of four digits, or contain the name of the month, do not depend on the order.
    time_only
        Whether the column contains times of day without dates.
    """

    order: DateOrder = "ymd"
    time_only: bool = False

    def read(self, texts: Sequence[str]) -> Array:
        """Return the dates in texts in normal form, as datetime64 in UTC; NaT for texts that are not dates."""
        joined = "\n".join(texts) + "\n"
        # One match of all texts, and their conversion by NumPy, are faster than reading one text after another.
        if not self.time_only and joined.count("\n") == len(texts):
            if self.order != "ymd" and _ALL_ORDERED.fullmatch(joined):
                joined = _ORDERED.sub("\\4-\\3-\\1\\5\n" if self.order == "dmy" else "\\4-\\1-\\3\\5\n", joined)
            if _ALL_ISO.fullmatch(joined):
                try:
                    return np.array(joined.split("\n")[:-1], "M8[us]")
                except ValueError:  # not a day of the calendar
                    pass
        return np.array([self._read_one(text) for text in texts], "M8[us]")

    def _read_one(self, text: str) -> datetime | None:
        if len(text) > LONGEST_VALUE:
            return None
        if not self.time_only and _ISO.fullmatch(text):
            return _read_iso_date(text)
        match = _TIME_ONLY.fullmatch(text) if self.time_only else _match(text)
        return None if match is None else _read_match(match, self.order)

    @staticmethod
    def read_iso(texts: Sequence[str]) -> Array:
        """Return the dates in texts in ISO 8601; NaT for other texts."""
        return np.array(
            [_read_iso_date(text) if len(text) <= LONGEST_VALUE and _ISO.fullmatch(text) else None for text in texts],
            "M8[us]",
        )

    def example(self) -> str:
        """Return a date in this format, for messages."""
        if self.time_only:
            return "18:30"
        return {"ymd": "2024-12-31", "dmy": "31/12/2024", "mdy": "12/31/2024"}[self.order]

    def to_dict(self) -> dict[str, Any]:
        """Return the format as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return a format from the values of :meth:`to_dict`. Raises ``InvalidInputError`` for invalid values."""
        order, time_only = values.get("order"), values.get("time_only", False)
        if not set(values) <= {"order", "time_only"} or order not in get_args(DateOrder) or type(time_only) is not bool:
            raise InvalidInputError("The date format of a table column is damaged.")
        return cls(cast("DateOrder", order), time_only)


def _read_iso_date(text: str) -> datetime | None:
    try:
        return _in_utc(datetime.fromisoformat(_BELOW_A_MICROSECOND.sub("", text)))
    except (ValueError, OverflowError):  # February 30, or a time before the year 1
        return None


def _match(text: str) -> re.Match[str] | None:
    if len(text) > LONGEST_VALUE:  # the time for matching grows with the square of the length
        return None
    return next((match for pattern in _COMPILED if (match := pattern.fullmatch(text))), None)


def _read_match(match: re.Match[str], order: DateOrder) -> datetime | None:
    """Return the date and time with the matched parts; None if there is no such day or time."""
    parts = match.groupdict()
    zone = parts["zone"]
    try:
        date = datetime(*_day(parts, order)) + _time_of_day(parts)
        return date if zone is None else _in_utc(date.replace(tzinfo=_zone(zone)))
    except (ValueError, OverflowError):
        return None


def _day(parts: Mapping[str, str | None], order: DateOrder) -> tuple[int, int, int]:
    """Return year, month and day; 1970-01-01 for a time without a date. Raises ``ValueError`` for invalid parts."""
    if first := parts.get("first"):
        middle, last = parts["middle"], parts["last"]
        assert middle is not None
        assert last is not None
        if (order == "ymd" and len(last) == 4) or (len(last) == 2 and parts["mark"] == "." and len(middle) < 2):
            raise ValueError  # in the second case, the text is a version or a section, such as 1.2.13
        by_order = {"dmy": (last, middle, first), "mdy": (last, first, middle), "ymd": (first, middle, last)}
        year_text, month, day = by_order[order]
        return _full_year(year_text), int(month), int(day)
    if "year" not in parts:
        return 1970, 1, 1
    weekday, year = parts.get("weekday"), parts["year"]
    assert year is not None
    if weekday and normal_text(weekday).lower() not in WEEKDAYS:
        raise ValueError
    name = parts.get("name")
    number = parts.get("month") if name is None else MONTHS.get(normal_text(name).lower().removesuffix("."))
    if number is None:
        raise ValueError
    return _full_year(year), int(number), int(parts.get("day") or 1)


def _full_year(text: str) -> int:
    """Return a year. Two digits mean a year between 1969 and 2068, as in POSIX."""
    digits = text.removeprefix("'")
    return int(digits) if len(digits) == 4 else int(digits) + (2000 if int(digits) < 69 else 1900)


def _time_of_day(parts: Mapping[str, str | None]) -> timedelta:
    if parts["hour"] is None:
        return timedelta(0)
    hour, minute, second = int(parts["hour"]), int(parts["minute"] or 0), int(parts["second"] or 0)
    if half := parts["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + 12 * (half in "pP")
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError
    microseconds = int((parts["fraction"] or "0")[:6].ljust(6, "0"))
    return timedelta(hours=hour, minutes=minute, seconds=second, microseconds=microseconds)


def _zone(text: str) -> timezone:
    if text in ("Z", "UTC", "GMT"):
        return UTC
    digits = text[1:].replace(":", "")
    if int(digits[2:]) > 59:
        raise ValueError
    return timezone((-1 if text[0] == "-" else 1) * timedelta(hours=int(digits[:2]), minutes=int(digits[2:])))


def _in_utc(date: datetime) -> datetime:
    return date if date.tzinfo is None else date.astimezone(UTC).replace(tzinfo=None)


class DateScan:
    """Detect the format of the dates among the distinct texts of a column.

    Parameters
    ----------
    texts, counts
        The texts in normal form, without missing values, and the number of cells with each text.

    Attributes
    ----------
    n_dates
        The number of cells that have the form of a date, whether or not the day exists.
    n_times
        The number of cells that have the form of a time of day.
    has_no_dates
        Whether there are many texts and a sample of them contains no date or time.
    decided
        ``"dmy"`` or ``"mdy"`` if the texts determine the order; None if they are ambiguous or contradictory.
    """

    def __init__(self, texts: Sequence[str], counts: IntArray) -> None:
        self._texts, self._read = texts, dict[DateFormat, Array]()
        self.has_no_dates = False
        self.n_dates = self.n_times = 0
        # The number of cells that are dates in each order.
        self._n_readable: dict[DateOrder, int] = dict.fromkeys(get_args(DateOrder), 0)
        self._n_ordered = 0  # cells that depend on the order
        self._ambiguous = self._two_digits = self._decided_example = ""  # examples
        self._scan(counts)

    def _scan(self, counts: IntArray) -> None:
        """Scan a sample of the texts, and the others only if the sample does not determine the format."""
        sample = sample_indices(counts)
        self._scan_texts(sample, counts)
        if len(sample) == len(counts):
            return
        if not (self.n_dates or self.n_times):
            self.has_no_dates = True
            return
        others = np.setdiff1d(np.arange(len(counts)), sample, assume_unique=True)
        if len(self._orders) == 1:
            is_read = ~np.isnat(self.read(self.choose()[0]))
            if is_read.all():
                self.n_dates += int(counts[others].sum()) * (self.n_dates > 0)
                return
        self._scan_texts(others, counts)

    def _scan_texts(self, indices: IntArray, counts: IntArray) -> None:
        for index, count in zip(indices.tolist(), counts[indices].tolist(), strict=True):
            text = self._texts[index]
            if _ISO.fullmatch(text):
                self.n_dates += count
            elif match := _match(text):
                parts = match.groupdict()
                self.n_dates += count * bool(parts.get("day") or parts.get("first") or _read_match(match, "ymd"))
                if first := parts.get("first"):
                    self._count_orders(text, int(first), int(match["middle"]), match["last"], match["mark"], count)
            elif _TIME_ONLY.fullmatch(text):
                self.n_times += count
        best = [order for order in PREFERENCE if self._n_readable[order] == max(self._n_readable.values())]
        self._orders: list[DateOrder] = best if self._n_ordered else ["ymd"]
        self.decided = self._orders[0] if len(self._orders) == 1 and self._n_ordered else None

    def read(self, date_format: DateFormat) -> Array:
        """Return the dates of all texts in a format; NaT for texts that are not dates."""
        if self.has_no_dates:
            return np.full(len(self._texts), "NaT", "M8[us]")
        if date_format not in self._read:
            self._read[date_format] = date_format.read(self._texts)
        return self._read[date_format]

    def _count_orders(self, text: str, first: int, middle: int, last: str, mark: str, count: int) -> None:
        self._n_ordered += count
        year_last = len(last) == 4
        self._n_readable["dmy"] += count * (first <= 31 and middle <= 12)
        self._n_readable["mdy"] += count * (first <= 12 and middle <= 31)
        self._n_readable["ymd"] += count * (not year_last and middle <= 12 and int(last) <= 31)
        if mark != "." and first <= 12 and middle <= 12 and first != middle:
            self._ambiguous = self._ambiguous or text
        if not year_last:
            self._two_digits = self._two_digits or text
        elif max(first, middle) > 12:
            self._decided_example = self._decided_example or text

    def telling_text(self, date_format: DateFormat) -> str:
        """Return a text that shows the order of day and month; empty if none does."""
        return "" if date_format.order == "ymd" or date_format.time_only else self._decided_example

    def choose(self, other_columns: Collection[DateOrder] = (), name: str = "") -> tuple[DateFormat, str]:
        """Return the format of the column, and a remark if the dates are ambiguous.

        ``other_columns`` contains the unambiguous orders of other columns. If ``name`` is given, the remark contains
        the option that sets the order.
        """
        if self.n_times > self.n_dates:
            return DateFormat("ymd", time_only=True), ""
        years = f"years of two digits, as in {self._two_digits!r}, are 1969 to 2068" if self._two_digits else ""
        if len(self._orders) == 1 or not self._ambiguous:
            return DateFormat(self._orders[0]), years
        known = {order for order in other_columns if order in self._orders}
        order: DateOrder = "mdy" if known == {"mdy"} else "dmy"
        first, other = ("month", "dmy") if order == "mdy" else ("day", "mdy")
        remark = f"{self._ambiguous!r} can be read in two ways; it is read with the {first} first"
        if name:
            remark += f" (--date {quote(f'{name}={other}')} selects the other order)"
        return DateFormat(order), "; ".join(filter(None, [remark, years]))
