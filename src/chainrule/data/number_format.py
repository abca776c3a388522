"""Detect and read the formats of numbers: decimal separator, thousands separator, currency and unit.

``3.283`` is 3.283 in one file and 3283 in another. The :class:`NumberFormat` of a column is determined from its
training rows by :class:`NumberScan`. It then reads every cell independently of other cells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from itertools import compress
from shlex import quote
from typing import Any, NamedTuple, Self

import numpy as np

from chainrule.data.texts import LONGEST_VALUE, normal_text
from chainrule.errors import InvalidInputError
from chainrule.types import Array, IntArray

__all__ = [
    "MAX_CODES",
    "PYTHON_PATTERN",
    "NumberFormat",
    "NumberScan",
    "NumberSeparators",
    "sample_indices",
    "split_separators",
]

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
# The symbols, codes and names of one currency.
_SAME_CURRENCY = "$ US$ USD usd/€ EUR eur Euro Euros euro euros/£ GBP/R$ BRL/zł PLN/₹ INR Rs Rs./Fr. SFr. CHF"
_CURRENCY_KEYS = {word: group.split()[0] for group in _SAME_CURRENCY.split("/") for word in group.split()}
CURRENCIES, UNITS = frozenset(_CURRENCY_WORDS.split()), frozenset(_UNIT_WORDS.split())
# The size of the sample of texts that determines whether a column may contain numbers or dates.
SAMPLE_SIZE = 500
# Words after a number that multiply it. The weak ones have other meanings (metres, bytes), and are accepted only in
# columns that contain one of the others.
MULTIPLES = {
    word: factor
    for factor, words in ((1e3, "k K tsd Tsd Tsd."), (1e6, "M mn mln Mio Mio. million"), (1e9, "bn Mrd Mrd. billion"))
    for word in words.split()
}
WEAK_MULTIPLES = {"m": 1e6, "b": 1e9, "B": 1e9}
# The maximum number of different words after the numbers of a column that are read as units or multiples.
MAX_UNITS = 20
# Numbers with more distinct values than this are quantities and not codes.
MAX_CODES = 20
# Units of one letter are accepted only after a space, because 2A, 5C and 3D are codes.
SHORT_UNITS = frozenset({"m", "g", "h", "l", "L", "s"})
# Letters after a number without a space that may be units or multiples. Others, as in 2A, 5C and 3D, are codes.
_LETTERS = SHORT_UNITS | {"k", "K", "M", "G", "+"}
# The signs of percentages, and the percentage of a share of 1.
PERCENT = {"%": 100.0, "\u2030": 1000.0}
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
    >>> NumberFormat(prefix="$", words=(("k", 1e3), ("M", 1e6))).read(["$58.5k", "1.2M", "900"]).tolist()
    [58500.0, 1200000.0, 900.0]

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
    words
        Optional words between a number and its suffix, each with a factor by which the number is multiplied: multiples
        such as k and M, or a unit with the factor 1. The empty word stands for a number without suffix and word among
        percentages: a percentage (factor 1) or a share between -1 and 1 (factor 100). Without the empty word, the
        percent sign is not optional.
    other_prefixes
        Other spellings of the currency before a number.
    """

    decimal: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    words: tuple[tuple[str, float], ...] = ()
    other_prefixes: tuple[str, ...] = ()

    def read(self, texts: Sequence[str]) -> Array:
        """Return the numbers in texts in normal form; NaN for texts that are not numbers in this format."""
        if not texts:
            return np.zeros(0)
        joined = "\n".join(texts) + "\n"
        # One match of all texts is faster than matching one text after another.
        is_short = max(map(len, texts)) <= LONGEST_VALUE
        if not self.words and is_short and joined.count("\n") == len(texts) and self._all.fullmatch(joined):
            return np.fromiter(map(float, self._plain(joined).split("\n")[:-1]), np.float64, len(texts))
        return np.array([self._read_one(text) for text in texts], np.float64)

    def _read_one(self, text: str) -> float:
        if len(text) > LONGEST_VALUE:
            return np.nan
        if self._one.fullmatch(text):
            number, factor = self._without_word(text)
            return float(self._plain(number)) * factor
        return float(text) if _INFINITY.fullmatch(text) else np.nan

    def _without_word(self, text: str) -> tuple[str, float]:
        """Return a text of this format without the word after the number, and the factor of the word."""
        end = text.rstrip(_SPACES + ")")
        rest = end.removesuffix(self.suffix).rstrip(_SPACES)
        for word, factor in self.words:
            if rest.endswith(word) and (word or rest == end):
                return rest.removesuffix(word), factor
        return text, 1.0

    def _plain(self, text: str) -> str:
        """Return numbers of this format in Python's syntax."""
        for affix in self.affixes:
            text = text.replace(affix, "")
        return text.translate(self._translation)

    @property
    def affixes(self) -> tuple[str, ...]:
        """The prefixes and the suffix in the order of their removal: ``US$`` before ``$``, which it contains."""
        return tuple(sorted((self.prefix, self.suffix, *self.other_prefixes), key=len, reverse=True))

    @cached_property
    def _translation(self) -> dict[int, str]:
        removed = dict.fromkeys(map(ord, _SPACES + ")" + _THOUSANDS[self.thousands]), "")
        return removed | {ord("("): "-", ord("\u2212"): "-", ord("\u2013"): "-", ord(self.decimal): "."}

    @cached_property
    def pattern(self) -> str:
        """The regular expression of a number in this format."""
        number = _digits(self.decimal, self.thousands) + "(?:[eE][-+]?[0-9]+)?"
        words = dict(self.words)
        bare = words.pop("", None) if self.suffix in PERCENT else 1.0
        if words:
            number += f"(?:{_SPACE}(?:{'|'.join(map(re.escape, words))}))?"
        if self.suffix:
            number += f"(?:{_SPACE}{re.escape(self.suffix)})" + ("?" if bare == 1 else "")
        if bare not in (None, 1.0):
            separator = re.escape(self.decimal)
            number = rf"(?:{number}|(?:0?{separator}[0-9]+|[01](?:{separator}0*)?)(?:[eE]-[0-9]+)?)"
        if not self.prefix:
            return rf"(?:{_SIGN}?{_SPACE}{number}|\({_SPACE}{number}{_SPACE}\))"
        prefix = f"(?:{'|'.join(map(re.escape, (self.prefix, *self.other_prefixes)))}){_SPACE}"
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
        unit = next((f" {word}" for word, factor in self.words if word and factor == 1), "")
        return f"{prefix}1{self.thousands}234{self.decimal}5{unit}{suffix}"

    def to_dict(self) -> dict[str, Any]:
        """Return the format as JSON values."""
        lists = {"words": [list(pair) for pair in self.words], "other_prefixes": list(self.other_prefixes)}
        return {**asdict(self), **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return a format from the values of :meth:`to_dict`. Raises ``InvalidInputError`` for invalid values."""
        # Both are new in version 0.2. In files of version 0.1, a cell without the percent sign was read as it is.
        bare = [("", 1.0)] if values.get("suffix") in PERCENT else []
        words, others = values.get("words", bare), values.get("other_prefixes", [])
        texts = {name: value for name, value in values.items() if name not in ("words", "other_prefixes")}
        is_valid = (
            set(texts) <= {"decimal", "thousands", "prefix", "suffix"}
            and all(isinstance(value, str) for value in texts.values())
            and isinstance(words, list | tuple)
            and all(isinstance(pair, list | tuple) and len(pair) == 2 and _is_word(*pair) for pair in words)
            and values.get("decimal", ".") in (".", ",")
            and values.get("thousands", "") in _THOUSANDS
            and values.get("thousands", "") != values.get("decimal", ".")
            and isinstance(others, list | tuple)
            and all(isinstance(text, str) and text in {"", *CURRENCIES} for text in (values.get("prefix", ""), *others))
            and (values.get("suffix", "") == "" or _is_suffix(values["suffix"]))
        )
        if not is_valid:
            raise InvalidInputError("The number format of a table column is damaged.")
        return cls(**texts, words=tuple((word, float(factor)) for word, factor in words), other_prefixes=tuple(others))


@lru_cache(1024)
def _is_suffix(text: str) -> bool:
    unit, slash, per = text.partition("/")
    return text in UNITS | SHORT_UNITS | CURRENCIES or (bool(slash) and unit in UNITS | CURRENCIES and per in _RATES)


# A word after a number: a unit that is not among the known ones, a multiple, or a plus as in 10,000+.
_WORD = re.compile(r"[^\W\d_][^\d\n]{0,19}|\+")
# A multiple and the suffix after it, as in 1.2M €.
_MULTIPLE = re.compile(
    rf"({'|'.join(map(re.escape, sorted(MULTIPLES | WEAK_MULTIPLES, key=len, reverse=True)))})\s*(.*)"
)


def _is_word(word: Any, factor: Any) -> bool:
    """Return whether a word from a file is valid."""
    is_factor = type(factor) in (int, float) and 0 < factor <= max(MULTIPLES.values())
    return is_factor and isinstance(word, str) and (word in {"", *CURRENCIES, *UNITS} or bool(_WORD.fullmatch(word)))


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
        self._words: dict[str, _WordCount] = {}
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
        if not (self.n_bare or self.n_affixed or 0 < len(self._words) <= MAX_UNITS):
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
        prefix, end = _prefix_of(head), _end_of(tail)
        if prefix is None or end is None:
            return
        word, suffix = end
        if word:
            self._words.setdefault(word, _WordCount(text)).add(count, has_space=tail[0].isspace(), body=body)
        if body.isdigit():
            self._count_affixes(prefix, suffix, bool(word), count)
            if len(body) > 2:
                smallest, largest = self._integer_digits
                self._integer_digits = (min(smallest or len(body), len(body)), max(largest, len(body)))
            return
        allowed = [decimal for decimal, pattern in _DIGITS.items() if pattern.fullmatch(body)]
        if not allowed:
            if _LIST.fullmatch(body):
                self.list = self.list or text
            return
        self._count_affixes(prefix, suffix, bool(word), count)
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

    def _count_affixes(self, prefix: str, suffix: str, has_word: bool, count: int) -> None:
        if prefix or suffix:
            self._prefixes[prefix] += count
            self._suffixes[suffix] += count
            self.n_affixed += count
        elif not has_word:
            self.n_bare += count

    @property
    def looks_like_lists(self) -> bool:
        """Whether the decimal commas could also separate the integers of lists, such as 1,2."""
        return self.decided == "," and self._may_be_lists

    def choose(
        self,
        other_columns: Collection[str] = (),
        separators: NumberSeparators | None = None,
        name: str = "",
        *,
        requested: bool = False,
    ) -> tuple[NumberFormat, str]:
        """Return the format of the column, and a remark if the numbers are ambiguous.

        ``other_columns`` contains the unambiguous decimal separators of other columns. ``separators`` are those of this
        column, if the user gives them. If ``name`` is given, the remark contains the option that sets them. If the user
        has ``requested`` numbers, words after the numbers are accepted that may make them codes, such as 10k.
        """
        decimal, remark = (separators.decimal, "") if separators else self._choose_decimal(other_columns, name)
        most_common = self._thousands[decimal].most_common(1)
        thousands = most_common[0][0] if most_common else ""
        if not thousands and (self.decided or self._ambiguous_example[decimal] or decimal == ","):
            thousands = "," if decimal == "." else "."
        if separators is not None and separators.thousands:
            thousands = separators.thousands
        prefix, *prefixes = _spellings(self._prefixes, self._prefixes)
        suffix, *suffixes = _spellings(self._suffixes, [*self._suffixes, *self._words])
        words = _by_length(dict.fromkeys(suffixes, 1.0) | dict(self._accept_words(requested)))
        if suffix in PERCENT and self.n_bare:
            factor, meaning = self._meaning_of_bare(NumberFormat(decimal, thousands, prefix, suffix))
            words, remark = (*words, ("", factor)), "; ".join(filter(None, [remark, meaning]))
        return NumberFormat(decimal, thousands, prefix, suffix, words, tuple(prefixes)), remark

    def _meaning_of_bare(self, number_format: NumberFormat) -> tuple[float, str]:
        """Return the factor of cells without a percent sign, and a remark: they are either percentages or shares."""
        suffix = number_format.suffix
        bare, all_values = self.read(replace(number_format, suffix="")), self.read(number_format)
        is_bare = ~np.isnan(bare)
        percentages = all_values[~is_bare & ~np.isnan(all_values)]
        are_shares = (np.abs(bare[is_bare]) <= 1).all() and (bare[is_bare] != np.floor(bare[is_bare])).any()
        if not (are_shares and len(percentages) and np.abs(percentages).max() > 1):
            return 1.0, f"cells without {suffix} are read in the same way"
        index = int(np.flatnonzero(is_bare & (bare != np.floor(bare)))[0])
        factor, text = PERCENT[suffix], self._texts[index]
        meaning = f"cells without {suffix} are shares, {text!r} is {factor * bare[index]:.10g}{suffix}"
        return factor, f"{meaning} (write '{text}{suffix}' if it is a percentage)"

    def _accept_words(self, requested: bool) -> tuple[tuple[str, float], ...]:
        """Return the words after numbers that are multiples, such as k and M, or one unit, each with its factor."""
        counts = self._words if len(self._words) <= MAX_UNITS else {}
        multiples = {word: factor for word, factor in MULTIPLES.items() if word in counts}
        if multiples:
            multiples |= {word: factor for word, factor in WEAK_MULTIPLES.items() if word in counts}
        is_evident = requested or len(multiples) > 1 or self.n_bare or self.n_affixed
        if multiples and (is_evident or any(counts[word].are_quantities for word in multiples)):
            return _by_length(multiples)
        units: dict[str, dict[str, float]] = {}
        for word in counts:
            units.setdefault(_unit_key(word), {})[word] = 1.0
        if not units:
            return ()
        unit = max(units.values(), key=lambda words: sum(counts[word].n_cells for word in words))
        n_cells = sum(counts[word].n_cells for word in unit)
        is_word = all(len(word) > 1 for word in unit)
        is_evident = any(counts[word].are_quantities or (is_word and counts[word].has_space) for word in unit)
        is_evident &= is_word or _LETTERS.issuperset(unit)
        if (requested or is_evident) and n_cells > self.n_bare + self.n_affixed:
            return _by_length(unit)
        return ()

    def telling_text(self, number_format: NumberFormat) -> str:
        """Return a text that shows how words or decimal separators are read; empty if there are none."""
        used = dict(number_format.words)
        examples = (found.example for word, found in self._words.items() if word in used)
        return next(examples, self._decided_example[number_format.decimal])

    @property
    def rejected_word(self) -> str:
        """The only word after all numbers, such as k, which may make them codes; empty if there is none."""
        has_others = self.n_bare or self.n_affixed or len(self._words) > 1 or self._accept_words(requested=False)
        return "" if has_others else next(iter(self._words), "")

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
        if known == "." or (comma and not point and known is None and self._integer_digits == (3, 3)):
            return ".", ""
        # If points separate thousands, integers without a point are below 1,000. Amounts of money have two decimals.
        is_money = CURRENCIES.intersection(self._prefixes) or CURRENCIES.intersection(self._suffixes)
        decimal = known or ("," if point and not comma and (self._integer_digits == (3, 3) or is_money) else ".")
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


def _spellings(affixes: Counter[str], texts: Iterable[str]) -> list[str]:
    """Return the spellings of the most frequent currency or unit among texts, the longest first; [""] if there is none.

    The first is among ``affixes``. A spelling may end with a shorter one, as ``US$`` ends with ``$``.
    """
    totals = Counter[str]()
    for affix, count in affixes.items():
        totals[_unit_key(affix)] += count * bool(affix)
    key = max(totals, key=totals.__getitem__, default="")
    known = affixes.keys() - {""}
    others = {*texts} - {"", *MULTIPLES, *WEAK_MULTIPLES}
    found = [text for text in known | others if _unit_key(text) == key]
    return sorted(found, key=lambda text: (text not in affixes, -len(text), text)) or [""]


def _unit_key(unit: str) -> str:
    """Return a text that is the same for all spellings of a currency or unit."""
    return _CURRENCY_KEYS.get(unit) or unit.casefold().rstrip(".").removesuffix("s")


# The units of several letters, in which k is no multiple: Kg.
_UNIT_KEYS = frozenset(_unit_key(unit) for unit in UNITS if len(unit) > 1)


@lru_cache(1024)
def _prefix_of(head: str) -> str | None:
    """Return the currency before a number, empty if there is none; None for texts that are not part of a number."""
    text = normal_text(re.sub(rf"^{_SPACE}(?:{_SIGN}|\()?|(?:{_SIGN}|\()?{_SPACE}$", "", head))
    return text if text == "" or text in CURRENCIES else None


@lru_cache(1024)
def _end_of(tail: str) -> tuple[str, str] | None:
    """Return the word and the currency or unit after a number, empty if there is none; None for other texts.

    A word is a multiple, an unknown unit, or a unit of one letter without a space before it.
    """
    text = normal_text(tail.removesuffix(")"))
    if text == "" or (_is_suffix(text) and not (text in SHORT_UNITS and not tail[0].isspace())):
        return "", text
    multiple = _MULTIPLE.fullmatch(text)
    if multiple is not None and _unit_key(text) not in _UNIT_KEYS and (multiple[2] == "" or _is_suffix(multiple[2])):
        return multiple[1], multiple[2]
    return (text, "") if _WORD.fullmatch(text) else None


def _by_length(words: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """Return words with their factors, the longest first, because a word may end with another one."""
    return tuple(sorted(words.items(), key=lambda item: (-len(item[0]), item[0])))


@dataclass
class _WordCount:
    """A word after the numbers of a column: an example, the number of its cells and texts, and how it is written."""

    example: str
    n_cells: int = 0
    n_texts: int = 0
    has_space: bool = False
    has_fraction: bool = False

    def add(self, count: int, *, has_space: bool, body: str) -> None:
        """Add the cells with one text, whose digits are ``body``."""
        self.n_cells, self.n_texts = self.n_cells + count, self.n_texts + 1
        self.has_space |= has_space
        self.has_fraction |= not body.isdigit()

    @property
    def are_quantities(self) -> bool:
        """Whether the numbers cannot be codes, because they have decimals or differ too often."""
        return self.has_fraction or self.n_texts > MAX_CODES
