"""Detect and read the formats of numbers: decimal separator, thousands separator, currency and unit.

``3.283`` is 3.283 in one file and 3283 in another. The :class:`NumberFormat` of a column is determined from its
training rows by :class:`NumberScan`. It then reads every cell independently of other cells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache
from itertools import compress
from shlex import quote
from typing import Any, NamedTuple, Self

import numpy as np

from chainrule.data.texts import LONGEST_VALUE, normal_text
from chainrule.errors import InvalidInputError
from chainrule.types import Array, IntArray

__all__ = ["PYTHON_PATTERN", "NumberFormat", "NumberScan", "NumberSeparators", "sample_indices", "split_separators"]

_CURRENCY_WORDS = """
    $ € £ ¥ ₹ ₩ ₽ ₺ ₴ ₪ ฿ ₫ ₱ ₦ R$ US$ A$ AU$ C$ CA$ NZ$ HK$ S$ NT$ MX$ kr kr. Kr Kr. zł Kč Ft lei Fr. SFr. Rs Rs. Rp RM
    CHF EUR USD GBP JPY CNY RMB INR BRL CAD AUD NZD SEK NOK DKK PLN CZK HUF RON TRY RUB ZAR MXN KRW SGD HKD THB IDR MYR
    PHP ILS AED SAR ARS CLP COP eur usd Euro Euros euro euros
"""
_UNIT_WORDS = """
    % ‰ ° °C °F ºC mm cm dm km m² m³ m2 m3 m^2 m^3 cm² cm2 km² km2 ha ft sqft sqm ft² ft2 sq.ft sq.ft. mi mg kg lb lbs
    oz ml mL cl µg µm kW kWh MWh Wh hp bhp PS cc km/h kmh mph m/s rpm bpm mmHg hPa kPa psi bar ppm dB Hz kHz MHz GHz kB
    KB MB GB TB kcal kJ Nm mAh kmpl mpg min hrs pts
"""
CURRENCIES, UNITS = frozenset(_CURRENCY_WORDS.split()), frozenset(_UNIT_WORDS.split())
# The size of the sample of texts that determines whether a column may contain numbers or dates.
SAMPLE_SIZE = 500
# Units of one letter are accepted only after a space, because 2A, 5C and 3D are codes.
SHORT_UNITS = frozenset({"m", "g", "h", "l", "L", "s"})
_RATES = SHORT_UNITS | UNITS | {"h", "hr", "hour", "d", "day", "week", "month", "mo", "year", "yr", "unit"}

_SPACES = " \u00a0\u2009\u202f"
_SPACE = f"[{_SPACES}]?"
_SIGN = "[-+\u2212\u2013]"
_GROUPS = {
    "": r"[0-9]+",
    ",": r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}|[0-9]+)",  # 12,34,567 in India
    ".": r"(?:[1-9][0-9]{0,2}(?:\.[0-9]{3})+|[0-9]+)",
    " ": rf"(?:[1-9][0-9]{{0,2}}(?:[{_SPACES}][0-9]{{3}})+|[0-9]+)",
    "'": r"(?:[1-9][0-9]{0,2}(?:['\u2019][0-9]{3})+|[0-9]+)",
}
_THOUSANDS = {"": "", ",": ",", ".": ".", " ": _SPACES, "'": "'\u2019"}
# Numbers in Python's syntax.
PYTHON_PATTERN = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_EXAMPLE = re.compile(rf"[0-9]{{1,3}}(?P<thousands>[.,'\u2019{_SPACES}]?)[0-9]{{3}}(?P<decimal>[.,])[0-9]+")
_INFINITY = re.compile(r"[-+]?inf(inity)?", re.IGNORECASE)


def _digits(decimal: str, thousands: str) -> str:
    """Return the pattern of a number without sign, exponent, prefix and suffix."""
    separator = re.escape(decimal)
    return rf"(?:{_GROUPS[thousands]}(?:{separator}[0-9]*)?|{separator}[0-9]+)"


class NumberSeparators(NamedTuple):
    """The decimal separator of a column, and the thousands separator, which is empty if the user gives none."""

    decimal: str
    thousands: str = ""


def split_separators(entry: str) -> tuple[str, NumberSeparators | None]:
    """Return the name of a column and its separators from ``name`` (no separators) or ``name=1.234,5``.

    >>> split_separators("price=1.234,5")
    ('price', NumberSeparators(decimal=',', thousands='.'))
    """
    name, _, example = entry.rpartition("=")
    if not name or not re.fullmatch(rf"[0-9{_SPACES}'\u2019]*[.,][0-9.,]*", example):
        return entry, None
    match = _EXAMPLE.fullmatch(example)
    if match is None or match["thousands"] == match["decimal"]:
        raise InvalidInputError(
            f"The example for the separators of {name!r} is {example!r}; give one like 1234,5, 1.234,5 or 1,234.5."
        )
    thousands = next(separator for separator, characters in _THOUSANDS.items() if match["thousands"] in characters)
    return normal_text(name), NumberSeparators(match["decimal"], thousands)


@dataclass(frozen=True)
class NumberFormat:
    """The format of the numbers of a column.

    >>> NumberFormat(decimal=",", thousands=".", suffix="€").read(["1.234,50 €", "-3,5", "1,2,3"]).tolist()
    [1234.5, -3.5, nan]

    Attributes
    ----------
    decimal
        The decimal separator, ``"."`` or ``","``.
    thousands
        The thousands separator: ``","``, ``"."``, ``" "`` or ``"'"``; empty if there is none.
    prefix
        The optional currency before a number.
    suffix
        The optional currency, percent sign or unit after a number.
    """

    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""

    def read(self, texts: Sequence[str]) -> Array:
        """Return the numbers in texts in normal form; NaN for texts that are not numbers in this format."""
        if not texts:
            return np.zeros(0)
        joined = "\n".join(texts) + "\n"
        # One match of all texts is faster than matching one text after another.
        is_short = max(map(len, texts)) <= LONGEST_VALUE
        if is_short and joined.count("\n") == len(texts) and self._all.fullmatch(joined):
            return np.fromiter(map(float, self._plain(joined).split("\n")[:-1]), np.float64, len(texts))
        return np.array([self._read_one(text) for text in texts], np.float64)

    def _read_one(self, text: str) -> float:
        if len(text) > LONGEST_VALUE:
            return np.nan
        if self._one.fullmatch(text):
            return float(self._plain(text))
        return float(text) if _INFINITY.fullmatch(text) else np.nan

    def _plain(self, text: str) -> str:
        """Return numbers of this format in Python's syntax."""
        for affix in self.affixes:
            text = text.replace(affix, "")
        return text.translate(self._translation)

    @property
    def affixes(self) -> tuple[str, str]:
        """The prefix and the suffix in the order of their removal: ``US$`` before ``$``, which it contains."""
        return max(self.prefix, self.suffix, key=len), min(self.suffix, self.prefix, key=len)

    @cached_property
    def _translation(self) -> dict[int, str]:
        removed = dict.fromkeys(map(ord, _SPACES + ")" + _THOUSANDS[self.thousands]), "")
        return removed | {ord("("): "-", ord("\u2212"): "-", ord("\u2013"): "-", ord(self.decimal): "."}

    @cached_property
    def pattern(self) -> str:
        """The regular expression of a number in this format."""
        number = _digits(self.decimal, self.thousands) + "(?:[eE][-+]?[0-9]+)?"
        if self.suffix:
            number += f"(?:{_SPACE}{re.escape(self.suffix)})?"
        if not self.prefix:
            return rf"(?:{_SIGN}?{_SPACE}{number}|\({_SPACE}{number}{_SPACE}\))"
        prefix = f"{re.escape(self.prefix)}{_SPACE}"
        return (
            rf"(?:{_SIGN}?{_SPACE}(?:{prefix})?{number}|{prefix}{_SIGN}{_SPACE}{number}"
            rf"|\({_SPACE}(?:{prefix})?{number}{_SPACE}\)|{prefix}\({number}\))"
        )

    @cached_property
    def _one(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    @cached_property
    def _all(self) -> re.Pattern[str]:
        return re.compile(rf"(?>{self.pattern}\n)*+")

    def example(self) -> str:
        """Return a number in this format, for messages."""
        prefix = self.prefix + " " * (len(self.prefix) > 1 and self.prefix[-1].isalnum())
        suffix = self.suffix and ("" if self.suffix in ("%", "\u2030", "\u00b0") else " ") + self.suffix
        return f"{prefix}1{self.thousands}234{self.decimal}5{suffix}"

    def to_dict(self) -> dict[str, str]:
        """Return the format as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return a format from the values of :meth:`to_dict`. Raises ``InvalidInputError`` for invalid values."""
        is_valid = (
            set(values) <= {"decimal", "thousands", "prefix", "suffix"}
            and all(isinstance(value, str) for value in values.values())
            and values.get("decimal", ".") in (".", ",")
            and values.get("thousands", "") in _THOUSANDS
            and values.get("thousands", "") != values.get("decimal", ".")
            and values.get("prefix", "") in {"", *CURRENCIES}
            and (values.get("suffix", "") == "" or _is_suffix(values["suffix"]))
        )
        if not is_valid:
            raise InvalidInputError("The number format of a table column is damaged.")
        return cls(**values)


@lru_cache(1024)
def _is_suffix(text: str) -> bool:
    unit, slash, per = text.partition("/")
    return text in UNITS | SHORT_UNITS | CURRENCIES or (bool(slash) and unit in UNITS | CURRENCIES and per in _RATES)


# The parts of a cell: the text before the digits, the digits with separators, an exponent, and the text after them.
_PARTS = re.compile(
    rf"([^0-9]*?)([.,]?[0-9](?:[0-9.,'\u2019{_SPACES}]*[0-9.,])?)((?:[eE][-+]?[0-9]+)?)((?:[^0-9.,].*)?)", re.DOTALL
)
_PLAIN = re.compile(r"(?>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\n)*+")
# A separator before three digits, as in 1,234 and 1.234, can be a decimal or a thousands separator.
_AMBIGUOUS = r"[1-9][0-9]{0,2}\.[0-9]{3}"
_DECIDED = re.compile(rf"^[-+]?(?!{_AMBIGUOUS}$)[0-9]*\.", re.MULTILINE)
_CODE = re.compile(r"^(?:0[0-9]*[1-9][0-9]*|[0-9]{16,})$", re.MULTILINE)
_LIST = re.compile(r"[0-9]+(?:, ?[0-9]+){2,}")
_PAIR = re.compile(r"[1-9][0-9]?,[1-9][0-9]?")
# The digits of numbers with each decimal separator and any thousands separator.
_DIGITS = {
    decimal: re.compile("|".join(_digits(decimal, other) for other in ("", *(_GROUPS.keys() - {"", decimal}))))
    for decimal in (".", ",")
}


class NumberScan:
    """Detect the format of the numbers among the distinct texts of a column.

    Parameters
    ----------
    texts, counts
        The texts in normal form, without missing values, and the number of cells with each text.

    Attributes
    ----------
    decided
        The decimal separator if the texts determine it; None if they are ambiguous or contradictory.
    has_no_numbers
        Whether there are many texts and a sample of them contains no number.
    code
        An integer that is a code and not a quantity, because it starts with 0 or has 16 digits or more; empty if none.
    """

    def __init__(self, texts: Sequence[str], counts: IntArray) -> None:
        self.decided: str | None = None
        self._prefixes: Counter[str] = Counter()
        self._suffixes: Counter[str] = Counter()
        self._thousands: dict[str, Counter[str]] = {".": Counter(), ",": Counter()}
        self._n_decided = {".": 0, ",": 0}  # cells that are numbers with only this decimal separator
        self._decided_example = {".": "", ",": ""}
        self._ambiguous_example = {".": "", ",": ""}  # a text with this separator once, before three digits
        self._integer_digits: tuple[int, int] = (0, 0)  # the minimum and maximum number of digits of integers above 99
        self._may_be_lists = True
        self.list = ""
        self.n_bare = self.n_affixed = 0
        self._texts = texts
        self._read: dict[NumberFormat, Array] = {}
        self.has_no_numbers = False
        is_short = [len(text) <= LONGEST_VALUE for text in texts]
        if not all(is_short):
            texts, counts = [*compress(texts, is_short)], counts[np.array(is_short)]
        joined = "\n".join(texts)
        code = _CODE.search(joined)
        self.code = code.group() if code else ""
        if _PLAIN.fullmatch(joined + "\n") and ("." not in joined or _DECIDED.search(joined)):
            self.decided = "." if "." in joined else None
            self._n_decided["."] = int("." in joined)
            return
        self._scan(counts)

    def _scan(self, counts: IntArray) -> None:
        """Scan a sample of the texts, and the others only as far as the sample does not determine the format."""
        sample = sample_indices(counts)
        self._scan_texts(sample, counts)
        if len(sample) == len(counts):
            return
        if not (self.n_bare or self.n_affixed):
            self.has_no_numbers = True
            return
        others = np.setdiff1d(np.arange(len(counts)), sample, assume_unique=True)
        if self.decided is not None and not self.looks_like_lists:
            others = others[np.isnan(self.read(self.choose()[0])[others])]
        self._scan_texts(others, counts)

    def _scan_texts(self, indices: IntArray, counts: IntArray) -> None:
        for index, count in zip(indices.tolist(), counts[indices].tolist(), strict=True):
            self._scan_text(self._texts[index], count)
        if (self._n_decided["."] > 0) != (self._n_decided[","] > 0):
            self.decided = "." if self._n_decided["."] else ","
        else:
            self.decided = None

    def read(self, number_format: NumberFormat) -> Array:
        """Return the numbers of all texts in a format; NaN for texts that are not numbers."""
        if self.has_no_numbers:
            return np.full(len(self._texts), np.nan)
        if number_format not in self._read:
            self._read[number_format] = number_format.read(self._texts)
        return self._read[number_format]

    def _scan_text(self, text: str, count: int) -> None:
        parts = _PARTS.fullmatch(text)
        if parts is None:
            return
        head, body, exponent, tail = parts.groups()
        if body[0] == "." and _prefix_of(head + ".") is not None and head:
            head, body = head + ".", body[1:]
        prefix, suffix = _prefix_of(head), _suffix_of(tail)
        if prefix is None or suffix is None:
            return
        if body.isdigit():
            self._count_affixes(prefix, suffix, count)
            if len(body) > 2:
                smallest, largest = self._integer_digits
                self._integer_digits = (min(smallest or len(body), len(body)), max(largest, len(body)))
            return
        allowed = [decimal for decimal, pattern in _DIGITS.items() if pattern.fullmatch(body)]
        if not allowed:
            if _LIST.fullmatch(body):
                self.list = self.list or text
            return
        self._count_affixes(prefix, suffix, count)
        for decimal in allowed:
            for other in _THOUSANDS.keys() - {"", decimal}:
                if any(character in body for character in _THOUSANDS[other]):
                    self._thousands[decimal][other] += count
        if len(allowed) == 1:
            decimal = allowed[0]
            self._n_decided[decimal] += count
            self._decided_example[decimal] = self._decided_example[decimal] or text
            if head or exponent or tail or not _PAIR.fullmatch(body):
                self._may_be_lists = False
        else:
            for separator in (".", ","):
                if separator in body:
                    self._ambiguous_example[separator] = self._ambiguous_example[separator] or text

    def _count_affixes(self, prefix: str, suffix: str, count: int) -> None:
        if prefix or suffix:
            self._prefixes[prefix] += count
            self._suffixes[suffix] += count
            self.n_affixed += count
        else:
            self.n_bare += count

    @property
    def looks_like_lists(self) -> bool:
        """Whether the decimal commas could also separate the integers of lists, such as 1,2."""
        return self.decided == "," and self._may_be_lists

    def choose(
        self, other_columns: Collection[str] = (), separators: NumberSeparators | None = None, name: str = ""
    ) -> tuple[NumberFormat, str]:
        """Return the format of the column, and a remark if the numbers are ambiguous.

        ``other_columns`` contains the unambiguous decimal separators of other columns. ``separators`` are those of this
        column, if the user gives them. If ``name`` is given, the remark contains the option that sets them.
        """
        decimal, remark = (separators.decimal, "") if separators else self._choose_decimal(other_columns, name)
        most_common = self._thousands[decimal].most_common(1)
        thousands = most_common[0][0] if most_common else ""
        if not thousands and (self.decided or self._ambiguous_example[decimal] or decimal == ","):
            thousands = "," if decimal == "." else "."
        if separators is not None and separators.thousands:
            thousands = separators.thousands
        prefix, suffix = (_most_frequent(affixes) for affixes in (self._prefixes, self._suffixes))
        if suffix in ("%", "\u2030") and self.n_bare:
            remark = "; ".join(filter(None, [remark, f"cells without {suffix} are read in the same way"]))
        return NumberFormat(decimal, thousands, prefix, suffix), remark

    def _choose_decimal(self, other_columns: Collection[str], name: str) -> tuple[str, str]:
        if self.decided is not None:
            return self.decided, ""
        if self._n_decided["."] and self._n_decided[","]:
            decimal = "." if self._n_decided["."] >= self._n_decided[","] else ","
            examples = f"{self._decided_example['.']!r}, {self._decided_example[',']!r}"
            return decimal, f"it has decimal points and decimal commas ({examples})"
        point, comma = self._ambiguous_example["."], self._ambiguous_example[","]
        known = next(iter(other_columns)) if len(set(other_columns)) == 1 else None
        if not point and not comma:
            return known or ".", ""
        if known == "." or (comma and not point and known is None):
            return ".", ""
        # If points separate thousands, integers without a point are below 1,000. Amounts of money have two decimals.
        is_money = CURRENCIES.intersection(self._prefixes) or CURRENCIES.intersection(self._suffixes)
        decimal = known or ("," if not comma and (self._integer_digits == (3, 3) or is_money) else ".")
        separator, example = (".", point) if point else (",", comma)
        meaning = "decimal" if separator == decimal else "thousands"
        remark = f"the separator in {example!r} can be read in two ways; it is read as a {meaning} separator"
        if name:
            other = "1.234,5" if decimal == "." else "1,234.5"
            remark += f" (--numeric {quote(f'{name}={other}')} selects the other reading)"
        return decimal, remark


def sample_indices(counts: IntArray) -> IntArray:
    """Return the indices of a sample of texts: the most frequent ones and evenly spaced others; all if they are few."""
    n = len(counts)
    if n <= 4 * SAMPLE_SIZE:
        return np.arange(n)
    frequent = np.argpartition(counts, n - SAMPLE_SIZE)[n - SAMPLE_SIZE :]
    return np.unique(np.append(frequent, np.linspace(0, n - 1, SAMPLE_SIZE).astype(np.intp)))


def _most_frequent(affixes: Counter[str]) -> str:
    most_common = Counter({affix: count for affix, count in affixes.items() if affix}).most_common(1)
    return most_common[0][0] if most_common else ""


@lru_cache(1024)
def _prefix_of(head: str) -> str | None:
    """Return the currency before a number, empty if there is none; None for texts that are not part of a number."""
    text = normal_text(re.sub(rf"^{_SPACE}(?:{_SIGN}|\()?|(?:{_SIGN}|\()?{_SPACE}$", "", head))
    return text if text == "" or text in CURRENCIES else None


@lru_cache(1024)
def _suffix_of(tail: str) -> str | None:
    """Return the currency or unit after a number, empty if there is none; None for other texts."""
    text = normal_text(tail.removesuffix(")"))
    if text in SHORT_UNITS and not tail[0].isspace():
        return None
    return text if text == "" or _is_suffix(text) else None
