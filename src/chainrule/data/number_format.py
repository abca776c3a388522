"""How the numbers of a column are written: the decimal mark, the thousands mark, a currency or a unit.

``3.283`` is 3.283 in one file and 3283 in another. A :class:`NumberFormat` is chosen once, from the training rows
(:class:`NumberScan`), and reads every later cell of that column alone.
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

__all__ = ["PYTHON_PATTERN", "NumberFormat", "NumberMarks", "NumberScan", "number_marks", "sample_places"]

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
# So many texts tell whether a column is one of numbers or dates at all.
MOST_LOOKED_AT = 500
# Of one letter, as a unit after a space only: 2A, 5C and 3D are codes.
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
# Numbers as Python and most programs write them.
PYTHON_PATTERN = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_EXAMPLE = re.compile(rf"[0-9]{{1,3}}(?P<thousands>[.,'\u2019{_SPACES}]?)[0-9]{{3}}(?P<decimal>[.,])[0-9]+")
_INFINITY = re.compile(r"[-+]?inf(inity)?", re.IGNORECASE)


def _digits(decimal: str, thousands: str) -> str:
    """Return the pattern of a number without sign, exponent and affixes."""
    mark = re.escape(decimal)
    return rf"(?:{_GROUPS[thousands]}(?:{mark}[0-9]*)?|{mark}[0-9]+)"


class NumberMarks(NamedTuple):
    """The decimal separator of a column, and the thousands separator, which is empty if the user gives none."""

    decimal: str
    thousands: str = ""


def number_marks(given: str) -> tuple[str, NumberMarks | None]:
    """Return the name of a column and its separators from ``name`` (no separators) or ``name=1.234,5``.

    >>> number_marks("price=1.234,5")
    ('price', NumberMarks(decimal=',', thousands='.'))
    """
    name, _, example = given.rpartition("=")
    if not name or not re.fullmatch(rf"[0-9{_SPACES}'\u2019]*[.,][0-9.,]*", example):
        return given, None
    found = _EXAMPLE.fullmatch(example)
    if found is None or found["thousands"] == found["decimal"]:
        raise InvalidInputError(
            f"The example for the separators of {name!r} is {example!r}; give one like 1234,5, 1.234,5 or 1,234.5."
        )
    thousands = next(mark for mark, characters in _THOUSANDS.items() if found["thousands"] in characters)
    return normal_text(name), NumberMarks(found["decimal"], thousands)


@dataclass(frozen=True)
class NumberFormat:
    """How a column writes its numbers.

    >>> NumberFormat(decimal=",", thousands=".", suffix="€").read(["1.234,50 €", "-3,5", "1,2,3"]).tolist()
    [1234.5, -3.5, nan]

    Attributes
    ----------
    decimal
        The decimal mark, ``"."`` or ``","``.
    thousands
        The mark between groups of three digits: ``","``, ``"."``, ``" "`` or ``"'"``; empty where there is none.
    prefix
        The currency that may stand before a number.
    suffix
        The currency, percent sign or unit that may stand behind a number.
    """

    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""

    def read(self, texts: Sequence[str]) -> Array:
        """Return the numbers that some texts in normal form mean, NaN for a text that is none in this format."""
        if not texts:
            return np.zeros(0)
        joined = "\n".join(texts) + "\n"
        # One match over all texts costs a fraction of a match for each.
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
        """Return numbers of this format as Python writes them."""
        for affix in self.affixes:
            text = text.replace(affix, "")
        return text.translate(self._marks)

    @property
    def affixes(self) -> tuple[str, str]:
        """The prefix and the suffix in the order in which they are removed: ``US$`` before ``$``, which it contains."""
        return max(self.prefix, self.suffix, key=len), min(self.suffix, self.prefix, key=len)

    @cached_property
    def _marks(self) -> dict[int, str]:
        marks = dict.fromkeys(map(ord, _SPACES + ")" + _THOUSANDS[self.thousands]), "")
        return marks | {ord("("): "-", ord("\u2212"): "-", ord("\u2013"): "-", ord(self.decimal): "."}

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
        """Return a number as this column writes it, for messages."""
        prefix = self.prefix + " " * (len(self.prefix) > 1 and self.prefix[-1].isalnum())
        suffix = self.suffix and ("" if self.suffix in ("%", "\u2030", "\u00b0") else " ") + self.suffix
        return f"{prefix}1{self.thousands}234{self.decimal}5{suffix}"

    def to_dict(self) -> dict[str, str]:
        """Return the format as plain values that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote; raises ``InvalidInputError`` for anything else."""
        sound = (
            set(values) <= {"decimal", "thousands", "prefix", "suffix"}
            and all(isinstance(value, str) for value in values.values())
            and values.get("decimal", ".") in (".", ",")
            and values.get("thousands", "") in _THOUSANDS
            and values.get("thousands", "") != values.get("decimal", ".")
            and values.get("prefix", "") in {"", *CURRENCIES}
            and (values.get("suffix", "") == "" or _is_suffix(values["suffix"]))
        )
        if not sound:
            raise InvalidInputError("The number format of a table column is damaged.")
        return cls(**values)


@lru_cache(1024)
def _is_suffix(text: str) -> bool:
    whole, slash, per = text.partition("/")
    return text in UNITS | SHORT_UNITS | CURRENCIES or (bool(slash) and whole in UNITS | CURRENCIES and per in _RATES)


# A cell in parts: what stands before the digits, the digits with their marks, an exponent, and what stands behind.
_PARTS = re.compile(
    rf"([^0-9]*?)([.,]?[0-9](?:[0-9.,'\u2019{_SPACES}]*[0-9.,])?)((?:[eE][-+]?[0-9]+)?)((?:[^0-9.,].*)?)", re.DOTALL
)
_PLAIN = re.compile(r"(?>[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\n)*+")
# The same number under both decimal marks is thousands or three decimals: 1,234 and 1.234.
_UNCLEAR = r"[1-9][0-9]{0,2}\.[0-9]{3}"
_DECIDED = re.compile(rf"^[-+]?(?!{_UNCLEAR}$)[0-9]*\.", re.MULTILINE)
_CODE = re.compile(r"^(?:0[0-9]*[1-9][0-9]*|[0-9]{16,})$", re.MULTILINE)
_LIST = re.compile(r"[0-9]+(?:, ?[0-9]+){2,}")
_PAIR = re.compile(r"[1-9][0-9]?,[1-9][0-9]?")
_WITH = {
    mark: re.compile("|".join(_digits(mark, other) for other in ("", *(_GROUPS.keys() - {"", mark}))))
    for mark in (".", ",")
}


class NumberScan:
    """What the distinct texts of a column show about the way its numbers are written.

    Parameters
    ----------
    texts, counts
        The texts in normal form, missing values left out, and how often each stands there.

    Attributes
    ----------
    decided
        The decimal mark that some text decides and none contradicts; None where all texts allow both or need both.
    is_hopeless
        Whether there are many texts, and none of those that were looked at is a number.
    code
        A whole number that is a code rather than a quantity: it begins with 0 or has 16 digits or more.
    """

    def __init__(self, texts: Sequence[str], counts: IntArray) -> None:
        self.decided: str | None = None
        self._prefixes: Counter[str] = Counter()
        self._suffixes: Counter[str] = Counter()
        self._thousands: dict[str, Counter[str]] = {".": Counter(), ",": Counter()}
        self._needs = {".": 0, ",": 0}  # texts that are a number under one decimal mark only
        self._shown = {".": "", ",": ""}  # one of them
        self._unclear = {".": "", ",": ""}  # a text with this mark once, before three digits
        self._digits_of_whole: tuple[int, int] = (0, 0)  # the fewest and the most of whole numbers above 99
        self._may_be_lists = True
        self.list = ""
        self.n_bare = self.n_affixed = 0
        self._texts = texts
        self._read: dict[NumberFormat, Array] = {}
        self.is_hopeless = False
        is_short = [len(text) <= LONGEST_VALUE for text in texts]
        if not all(is_short):
            texts, counts = [*compress(texts, is_short)], counts[np.array(is_short)]
        joined = "\n".join(texts)
        code = _CODE.search(joined)
        self.code = code.group() if code else ""
        if _PLAIN.fullmatch(joined + "\n") and ("." not in joined or _DECIDED.search(joined)):
            self.decided = "." if "." in joined else None
            self._needs["."] = int("." in joined)
            return
        self._look(counts)

    def _look(self, counts: IntArray) -> None:
        """Look at some of the texts, and at the others as far as these leave something open."""
        some = sample_places(counts)
        self._see_all(some, counts)
        if len(some) == len(counts):
            return
        if not (self.n_bare or self.n_affixed):
            self.is_hopeless = True
            return
        others = np.setdiff1d(np.arange(len(counts)), some, assume_unique=True)
        if self.decided is not None and not self.looks_like_lists:
            others = others[np.isnan(self.read(self.choose()[0])[others])]
        self._see_all(others, counts)

    def _see_all(self, places: IntArray, counts: IntArray) -> None:
        for place, count in zip(places.tolist(), counts[places].tolist(), strict=True):
            self._see(self._texts[place], count)
        if (self._needs["."] > 0) != (self._needs[","] > 0):
            self.decided = "." if self._needs["."] else ","
        else:
            self.decided = None

    def read(self, number_format: NumberFormat) -> Array:
        """Return the numbers that the texts are in a format, NaN for those that are none."""
        if self.is_hopeless:
            return np.full(len(self._texts), np.nan)
        if number_format not in self._read:
            self._read[number_format] = number_format.read(self._texts)
        return self._read[number_format]

    def _see(self, text: str, count: int) -> None:
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
                fewest, most = self._digits_of_whole
                self._digits_of_whole = (min(fewest or len(body), len(body)), max(most, len(body)))
            return
        allowed = [mark for mark, pattern in _WITH.items() if pattern.fullmatch(body)]
        if not allowed:
            if _LIST.fullmatch(body):
                self.list = self.list or text
            return
        self._count_affixes(prefix, suffix, count)
        for mark in allowed:
            for other in _THOUSANDS.keys() - {"", mark}:
                if any(character in body for character in _THOUSANDS[other]):
                    self._thousands[mark][other] += count
        if len(allowed) == 1:
            mark = allowed[0]
            self._needs[mark] += count
            self._shown[mark] = self._shown[mark] or text
            if head or exponent or tail or not _PAIR.fullmatch(body):
                self._may_be_lists = False
        else:
            for mark in (".", ","):
                if mark in body:
                    self._unclear[mark] = self._unclear[mark] or text

    def _count_affixes(self, prefix: str, suffix: str, count: int) -> None:
        if prefix or suffix:
            self._prefixes[prefix] += count
            self._suffixes[suffix] += count
            self.n_affixed += count
        else:
            self.n_bare += count

    @property
    def looks_like_lists(self) -> bool:
        """Whether the decimal commas may as well separate the whole numbers of a list, such as 1,2."""
        return self.decided == "," and self._may_be_lists

    def choose(
        self, elsewhere: Collection[str] = (), marks: NumberMarks | None = None, name: str = ""
    ) -> tuple[NumberFormat, str]:
        """Return the format of the column, and a remark on what its texts leave open.

        ``elsewhere`` has the unambiguous decimal separators of other columns. ``marks`` are the separators of this
        column, if the user gives them. If ``name`` is given, the remark names the option that sets them.
        """
        decimal, remark = self._decimal(elsewhere, name) if marks is None else (marks.decimal, "")
        seen = self._thousands[decimal].most_common(1)
        thousands = seen[0][0] if seen else ""
        if not thousands and (self.decided or self._unclear[decimal] or decimal == ","):
            thousands = "," if decimal == "." else "."
        if marks is not None and marks.thousands:
            thousands = marks.thousands
        prefix, suffix = (_most_frequent(affixes) for affixes in (self._prefixes, self._suffixes))
        if suffix in ("%", "\u2030") and self.n_bare:
            remark = "; ".join(filter(None, [remark, f"cells without {suffix} are read alike"]))
        return NumberFormat(decimal, thousands, prefix, suffix), remark

    def _decimal(self, elsewhere: Collection[str], name: str) -> tuple[str, str]:
        if self.decided is not None:
            return self.decided, ""
        if self._needs["."] and self._needs[","]:
            more = "." if self._needs["."] >= self._needs[","] else ","
            return more, f"it has decimal points and decimal commas ({self._shown['.']!r}, {self._shown[',']!r})"
        point, comma = self._unclear["."], self._unclear[","]
        known = next(iter(elsewhere)) if len(set(elsewhere)) == 1 else None
        if not point and not comma:
            return known or ".", ""
        if known == "." or (comma and not point and known is None):
            return ".", ""
        # Where points mark thousands, all whole numbers without one are below 1,000. Money has two decimals.
        is_money = CURRENCIES.intersection(self._prefixes) or CURRENCIES.intersection(self._suffixes)
        decimal = known or ("," if not comma and (self._digits_of_whole == (3, 3) or is_money) else ".")
        mark, shown = (".", point) if point else (",", comma)
        meaning = "decimal" if mark == decimal else "thousands"
        remark = f"the separator in {shown!r} can be read in two ways; it is read as a {meaning} separator"
        if name:
            other = "1.234,5" if decimal == "." else "1,234.5"
            remark += f" (--numeric {quote(f'{name}={other}')} selects the other reading)"
        return decimal, remark


def sample_places(counts: IntArray) -> IntArray:
    """Return the places of the most frequent texts and of as many others, evenly spaced; all of a few thousand."""
    n = len(counts)
    if n <= 4 * MOST_LOOKED_AT:
        return np.arange(n)
    frequent = np.argpartition(counts, n - MOST_LOOKED_AT)[n - MOST_LOOKED_AT :]
    return np.unique(np.append(frequent, np.linspace(0, n - 1, MOST_LOOKED_AT).astype(np.intp)))


def _most_frequent(affixes: Counter[str]) -> str:
    found = Counter({affix: count for affix, count in affixes.items() if affix}).most_common(1)
    return found[0][0] if found else ""


@lru_cache(1024)
def _prefix_of(head: str) -> str | None:
    """Return the currency before a number, empty if there is none; None for anything that is no part of a number."""
    text = normal_text(re.sub(rf"^{_SPACE}(?:{_SIGN}|\()?|(?:{_SIGN}|\()?{_SPACE}$", "", head))
    return text if text == "" or text in CURRENCIES else None


@lru_cache(1024)
def _suffix_of(tail: str) -> str | None:
    """Return the currency or unit behind a number, empty if there is none; None for anything else."""
    text = normal_text(tail.removesuffix(")"))
    if text in SHORT_UNITS and not tail[0].isspace():
        return None
    return text if text == "" or _is_suffix(text) else None
