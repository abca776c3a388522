"""What a column of text holds: numbers, dates or categories, decided once from its different texts.

The rules, in this order:

1. What the user says (:class:`ColumnOptions`) holds.
2. Whole numbers that begin with 0 or have 16 digits or more are codes: categories.
3. A column is one of numbers (or dates) if all its texts are, but for words that stand for a missing value. A single
   word without digits is such a word as well, however often it stands there.
4. If nine texts of ten are numbers (or dates), the others are mistakes, which are refused by row and column.
5. All else is a category.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias

import numpy as np

from chainrule.data.cells import UNNAMED, Origin, cell_type, distinct_texts
from chainrule.data.date_format import DateFormat, DateOrder, DateScan
from chainrule.data.number_format import NumberFormat, NumberMarks, NumberScan
from chainrule.data.texts import (
    MISSING_CATEGORY_WORDS,
    MISSING_NUMBER_WORDS,
    MISSING_WORDS,
    YES_NO_WORDS,
    yes_no_spellings,
)
from chainrule.errors import CellError, DataError, listed, with_option
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BY_ITSELF",
    "NOTHING_ELSE",
    "Categories",
    "ColumnOptions",
    "Decision",
    "Elsewhere",
    "ReadAs",
    "TextColumn",
    "category_counts",
    "named_missing",
    "table_evidence",
    "taken_for_missing",
]

ReadAs: TypeAlias = Literal["auto", "number", "date", "category"]

# From this share of numbers on, a word among them is more likely a mistake than a category.
MOSTLY = 0.9
# So many categories are not compared for their case, and not all listed.
MANY = 10_000
# The largest number of words for missing values that a remark on a column lists.
MOST_WORDS_SHOWN = 5
_PUNCTUATION = MISSING_CATEGORY_WORDS - MISSING_WORDS


# A unit of one letter, or thousands and millions: as well the end of a code, such as 10k.
_LETTERED = re.compile(r"[-+]?[0-9]+(?:[.,][0-9]+)?([kKmMgGhslL])")


class ColumnOptions(NamedTuple):
    """The options of a column: its type, the separators of its numbers, the order of its dates, the missing words."""

    read_as: ReadAs = "auto"
    marks: NumberMarks | None = None
    order: DateOrder | None = None
    missing_words: tuple[str, ...] = ()


class Elsewhere(NamedTuple):
    """What the other columns of a table decide: their decimal marks, and the orders of their dates."""

    decimals: frozenset[str] = frozenset()
    orders: frozenset[DateOrder] = frozenset()

    @classmethod
    def of(cls, columns: Iterable[Elsewhere]) -> Elsewhere:
        """Return what some columns decide together."""
        decimals, orders = (frozenset[Any]().union(*parts) for parts in zip(cls(), *columns, strict=True))
        return cls(decimals, orders)


BY_ITSELF, NOTHING_ELSE = ColumnOptions(), Elsewhere()


@dataclass
class Decision:
    """What a column of text holds.

    ``values`` has, for each text, its number or moment, NaN or NaT where it is none; a category has no values.
    """

    kind: Literal["number", "date", "category"]
    format: NumberFormat | DateFormat | None = None
    values: Array | None = None
    notes: tuple[str, ...] = ()


@dataclass
class _Attempt:
    """The texts of a column read as numbers or dates."""

    kind: Literal["number", "date"]
    format: NumberFormat | DateFormat
    values: Array
    remark: str

    @cached_property
    def is_read(self) -> Array:
        return ~np.isnan(self.values)


class TextColumn:
    """The different texts of a column, in normal form, with their counts; words for a missing value are left out.

    ``sampled`` are the counts among the rows that a median may be taken from, ``rows`` the numbers of the first rows
    that have the texts, and ``files`` the names of their files.
    """

    def __init__(self, name: str, options: ColumnOptions = BY_ITSELF) -> None:
        self.name, self.options = name, options
        self.texts: list[str] = []
        self.counts: IntArray = np.zeros(0, np.int64)
        self.sampled: IntArray = np.zeros(0, np.int64)
        self.rows: IntArray = np.zeros(0, np.int64)
        self.files: list[str] = []
        self.has_forgotten = False
        self._places: dict[str, int] = {}

    def add_rows(
        self, texts: list[str], codes: IntArray, sampled: Array | None = None, origin: Origin = UNNAMED
    ) -> None:
        """Take in rows, given by their different texts and the place of each row's; see :func:`distinct_texts`."""
        counts = np.bincount(codes, minlength=len(texts))
        among = counts if sampled is None else np.bincount(codes[sampled], minlength=len(texts))
        first = np.zeros(len(texts), np.intp)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        self.add(texts, counts, among.copy(), origin.rows_at(first), origin.file)

    def without(self, words: Collection[str]) -> TextColumn:
        """Return a column of the other texts."""
        if not words or not set(self.texts).intersection(words):
            return self
        kept = np.array([place for place, text in enumerate(self.texts) if text not in words], np.intp)
        others = TextColumn(self.name, self.options)
        others.add([self.texts[place] for place in kept], self.counts[kept], self.sampled[kept], self.rows[kept], "")
        others.files = [self.files[place] for place in kept]
        return others

    def only(self, words: Collection[str]) -> Counter[str]:
        """Return the counts of those texts that are among these."""
        if not set(self.texts).intersection(words):
            return Counter()
        counts = zip(self.texts, self.counts.tolist(), strict=True)
        return Counter({text: count for text, count in counts if text in words})

    def add(self, texts: list[str], counts: IntArray, sampled: IntArray, rows: IntArray, file: str) -> None:
        """Take in the different texts of some rows."""
        if not texts:
            return
        if not self.texts:
            self._set(texts, counts, sampled, rows, [file] * len(texts))
            return
        known = self._places or {text: place for place, text in enumerate(self.texts)}
        n_before = len(known)
        places = np.array([known.setdefault(text, len(known)) for text in texts], np.intp)
        is_new = places >= n_before
        for mine, more in ((self.counts, counts), (self.sampled, sampled)):
            mine[places[~is_new]] += more[~is_new]
        self._set(
            list(known),
            np.append(self.counts, counts[is_new]),
            np.append(self.sampled, sampled[is_new]),
            np.append(self.rows, rows[is_new]),
            [*self.files, *[file] * int(is_new.sum())],
            known,
        )

    def keep(self, places: IntArray) -> None:
        """Forget all texts but these."""
        texts, files = ([values[place] for place in places] for values in (self.texts, self.files))
        self._set(texts, self.counts[places], self.sampled[places], self.rows[places], files)

    def forget_the_rarest(self, most: int) -> None:
        """Keep so many texts, the most frequent, and take as much off each count as the most frequent one lost has."""
        taken_off = np.sort(self.counts)[-most - 1]
        self.counts = self.counts - taken_off
        self.keep(np.flatnonzero(self.counts > 0))
        self.has_forgotten = True

    def _set(
        self,
        texts: list[str],
        counts: IntArray,
        sampled: IntArray,
        rows: IntArray,
        files: list[str],
        places: dict[str, int] | None = None,
    ) -> None:
        self.texts, self.counts, self.sampled, self.rows, self.files = texts, counts, sampled, rows, files
        self._places = places or {}
        for scan in ("number_scan", "date_scan"):
            self.__dict__.pop(scan, None)

    @cached_property
    def number_scan(self) -> NumberScan:
        """How the numbers among the texts are written."""
        return NumberScan(self.texts, self.counts)

    @cached_property
    def date_scan(self) -> DateScan:
        """How the dates among the texts are written."""
        return DateScan(self.texts, self.counts)

    def evidence(self) -> Elsewhere:
        """Return the decimal mark, or the order of dates, that this column decides for itself."""
        if self.options.marks is not None:
            return Elsewhere(frozenset({self.options.marks.decimal}))
        if self.options.read_as in ("auto", "number") and self.number_scan.decided is not None:
            attempt = self._as_numbers(NOTHING_ELSE)
            if self._share(attempt) >= MOSTLY and not self.number_scan.looks_like_lists:
                return Elsewhere(frozenset({self.number_scan.decided}))
        if self.options.read_as == "auto" and self._share(self._as_numbers(NOTHING_ELSE)) >= MOSTLY:
            return NOTHING_ELSE
        order = self.options.order or self.date_scan.decided
        if self.options.read_as in ("auto", "date") and order is not None:
            return Elsewhere(orders=frozenset({order}))
        return NOTHING_ELSE

    def decide(self, elsewhere: Elsewhere) -> Decision:
        """Return what the column holds; raises ``DataError`` for a few cells among numbers or dates that are none."""
        match self.options.read_as:
            case "category":
                return Decision("category")
            case "number":
                return self._forced(self._as_numbers(elsewhere))
            case "date":
                return self._forced(self._as_dates(elsewhere))
        if not self.texts:
            return Decision("category")
        numbers = self._as_numbers(elsewhere)
        if self._are_compact_dates():
            return self._accepted(self._as_dates(elsewhere))
        why = self._why_no_numbers(numbers, elsewhere)
        if why is None and self._suits(numbers):
            return self._accepted(numbers)
        attempts = [] if numbers.is_read.any() and why is not None else [numbers]
        if not numbers.is_read.all():
            dates = self._as_dates(elsewhere)
            if self._suits(dates):
                return self._accepted(dates)
            attempts.append(dates)
        for attempt in attempts:
            if self._share(attempt) >= MOSTLY:
                self.refuse(np.flatnonzero(~attempt.is_read), attempt.kind)
        notes = [*([] if why is None else [why]), *self._lettered()]
        notes += [
            self._mostly(attempt) for attempt in attempts if attempt.kind == "number" and 2 * self._share(attempt) > 1
        ]
        return Decision("category", notes=tuple(notes))

    def _lettered(self) -> list[str]:
        """Return a remark on a category whose cells are numbers with the same letter behind them, such as 1.65m."""
        found = [_LETTERED.fullmatch(text) for text in self.texts]
        letters = {match[1] for match in found if match}
        if len(letters) != 1 or not all(found):
            return []
        return [f"its cells are numbers with the letter '{letters.pop()}'; remove it to use the column as numbers"]

    def _mostly(self, attempt: _Attempt) -> str:
        """Return a remark on a category most of whose cells are numbers."""
        strangers = [self.texts[place] for place in np.flatnonzero(~attempt.is_read)]
        shown, option = ", ".join(repr(text[:20]) for text in strangers[:3]), with_option("numeric")
        if all(any(letter.isdigit() for letter in text) for text in strangers):
            return (
                f"most of its cells are numbers; others, such as {shown}, have another currency or unit, or are codes"
            )
        return f"most of its cells are numbers; list it under {option} if {shown} stand for missing values"

    def choose_number_format(self, elsewhere: Elsewhere) -> tuple[NumberFormat, str]:
        """Return the format of the numbers of the column, and a remark if it is ambiguous."""
        return self.number_scan.choose(elsewhere.decimals, self.options.marks, self.name)

    def _as_numbers(self, elsewhere: Elsewhere) -> _Attempt:
        number_format, remark = self.choose_number_format(elsewhere)
        return _Attempt("number", number_format, self.number_scan.read(number_format), remark)

    def _as_dates(self, elsewhere: Elsewhere) -> _Attempt:
        date_format, remark = self.date_scan.choose(elsewhere.orders, self.name)
        if self.options.order is not None and not date_format.time_only:
            date_format, remark = DateFormat(self.options.order), ""
        return _Attempt("date", date_format, self.date_scan.read(date_format), remark)

    def _share(self, attempt: _Attempt) -> float:
        """Return the share of the cells that are numbers or dates, or are written as dates."""
        n_cells = int(self.counts[attempt.is_read].sum())
        if attempt.kind == "date" and attempt.is_read.any():
            n_cells = max(n_cells, self.date_scan.n_dates)
        return n_cells / max(int(self.counts.sum()), 1)

    def _are_compact_dates(self) -> bool:
        """Whether all texts are like 20230131."""
        if not all(len(text) == 8 and text.isdigit() and text[:2] in ("19", "20") for text in self.texts):
            return False
        return bool(self._as_dates(NOTHING_ELSE).is_read.all())

    def _why_no_numbers(self, numbers: _Attempt, elsewhere: Elsewhere) -> str | None:
        """Return why a column is none of numbers although its texts can be read as such."""
        scan = self.number_scan
        if 2 * self._share(numbers) < 1:
            return None
        if scan.code:
            return f"{scan.code} is a code rather than a number"
        if scan.list and scan.looks_like_lists:
            return f"{scan.list} is a list rather than a number"
        if scan.looks_like_lists and "." in elsewhere.decimals:
            return "its commas separate lists, since other columns have decimal points"
        return None

    def _suits(self, attempt: _Attempt) -> bool:
        """Whether all texts are read, or all but one word."""
        n_read = int(attempt.is_read.sum())
        return n_read == len(self.texts) > 0 or (n_read > 1 and self._are_one_word(np.flatnonzero(~attempt.is_read)))

    def _are_one_word(self, places: IntArray) -> bool:
        """Whether some texts are one word, which can stand for a missing value, in any case."""
        words = {self.texts[place].casefold() for place in places[:20]}
        word = min(words)
        return (
            len(words) == 1
            and len(places) <= 20
            and word not in YES_NO_WORDS
            and not any(character.isdigit() for character in word)
        )

    def left_over(self, kind: str) -> tuple[list[str], list[str]]:
        """Return what is left of a column once its numbers or dates are taken: words for missing values, and remarks.

        Raises ``DataError`` for cells that are mistakes.
        """
        if not self.texts:
            return [], []
        n_cells = int(self.counts.sum())
        if self.options.read_as != "auto":
            return [], [f"{_cells(n_cells)} such as {self.texts[0]!r} cannot be read and are missing"]
        if not self._are_one_word(np.arange(len(self.texts))):
            self.refuse(np.arange(len(self.texts)), kind)
        return [*self.texts], [taken_for_missing(self.texts, n_cells)]

    def _accepted(self, attempt: _Attempt) -> Decision:
        """Return the decision for an attempt; what it does not read is one word."""
        values = self.finite(attempt.values)
        return Decision(attempt.kind, attempt.format, values, (attempt.remark,) if attempt.remark else ())

    def finite(self, values: Array) -> Array:
        """Return what the texts are read as, NaN for an infinite number where the user says that these are numbers.

        Raises ``DataError`` for one elsewhere.
        """
        if values.dtype.kind != "f" or not (is_infinite := np.isinf(values)).any():
            return values
        if self.options.read_as == "number":
            return np.where(is_infinite, np.nan, values)
        file, row = self._where(int(is_infinite.argmax()))
        raise DataError(
            f"{file}The column {self.name!r} has an infinite number in row {row}; use a finite number or "
            "leave it empty."
        )

    def _forced(self, attempt: _Attempt) -> Decision:
        """Return the decision for a column of which the user says what it holds."""
        values = self.finite(attempt.values)
        if self.texts and np.isnan(values).all():
            file, row = self._where(0)
            raise DataError(
                f"{file}The column {self.name!r} is listed as a column of {attempt.kind}s, but no cell is a "
                f"{attempt.kind}; row {row} has {self.texts[0]!r}."
            )
        return Decision(attempt.kind, attempt.format, values, (attempt.remark,) if attempt.remark else ())

    def _where(self, place: int) -> tuple[str, int]:
        """Return the beginning of a message about a text, which names its file, and its first row."""
        file = self.files[place]
        return f"{file}: " if file else "", int(self.rows[place])

    def refuse_missing(self, place: int) -> NoReturn:
        """Raise ``DataError`` for a text that stands for a missing value in the column to predict."""
        file, row = self._where(place)
        named = f" {self.name!r}" if self.name else ""
        raise DataError(f"{file}The target{named} is missing in row {row}; fill it in, or leave the row out.")

    def first_of(self, places: IntArray) -> tuple[int, str, int]:
        """Return the text that comes first of some, the beginning of a message, which names its file, and its row."""
        first = min(places.tolist(), key=lambda place: (self.files.index(self.files[place]), self.rows[place]))
        return first, *self._where(first)

    def code_places(self) -> IntArray:
        """Return the places of the texts that are codes rather than numbers, such as 01."""
        codes = [place for place, text in enumerate(self.texts) if NumberScan([text], np.ones(1, np.int64)).code]
        return np.array(codes, np.intp)

    def refuse(self, places: IntArray, kind: str) -> NoReturn:
        """Raise ``CellError`` for the first of some texts that are not numbers (or dates) in a column of numbers."""
        first, file, row = self.first_of(places)
        n_more = int(self.counts[places].sum()) - 1
        option = with_option("numeric" if kind == "number" else "dates")
        raise CellError(
            f"{file}The column {self.name!r} holds {kind}s, but row {row} has {self.texts[first]!r}"
            f"{f' (and {_cells(n_more)} more)' if n_more else ''}; correct that cell, or list the column under "
            f"{option} to read such cells as missing values, or under {with_option('categorical')}.",
            row=row, column=self.name, value=self.texts[first],
        )  # fmt: skip


def table_evidence(frame: pd.DataFrame) -> Elsewhere:
    """Return what the columns of text of a table decide about decimal marks and the order of dates."""
    columns = []
    for name in frame.columns:
        if cell_type(frame[name]) == "text":
            column = TextColumn(str(name))
            column.add_rows(*distinct_texts(frame[name]))
            columns.append(column.without(MISSING_NUMBER_WORDS).evidence())
    return Elsewhere.of(columns)


class Categories(NamedTuple):
    """The categories of a column.

    ``counts`` has them with their counts, the most frequent first; of many, those that stand in one row are left out.
    ``number`` counts them all.
    """

    counts: tuple[tuple[str, int], ...]
    number: int
    n_missing: int
    missing_words: tuple[str, ...]
    notes: tuple[str, ...]


def category_counts(
    texts: Sequence[str], counts: Sequence[int], standard: Counter[str], missing_words: Sequence[str]
) -> Categories:
    """Return the categories of a column, given by its texts and their counts.

    The spellings of a word for yes or no count together, under the most frequent of them. ``standard`` has the counts
    of the words that usually stand for a missing value; some of them are categories: NA among the codes of countries,
    + and - where nothing else is left.
    """
    missing = MISSING_CATEGORY_WORDS | set(missing_words)
    found = Counter(dict(zip(texts, counts, strict=True)))
    found.update({word: count for word, count in standard.items() if word not in missing})
    kept: set[str] = set()
    if "NA" in standard:
        codes = [text for text in found if text.isalpha() and text.isupper() and len(text) in (2, 3)]
        kept |= {"NA"} if len(codes) > 1 and len(codes) >= MOSTLY * len(found) else set()
    if len(found) < 2:
        kept |= _PUNCTUATION
    kept = kept.intersection(standard) - set(missing_words)
    found.update({word: standard[word] for word in kept})
    notes = [f"{word!r} ({_cells(standard[word])}) is taken for a category" for word in sorted(kept)]
    spellings: dict[str, Counter[str]] = {}
    for text, word in yes_no_spellings(found).items():
        spellings.setdefault(word, Counter())[text] = found.pop(text)
    for group in spellings.values():
        found[group.most_common(1)[0][0]] = group.total()
        if len(group) > 1:
            notes.append(f"{listed([repr(text) for text, _ in group.most_common()])} are one category")
    by_lower_case: dict[str, list[str]] = {}
    for text in found if len(found) <= MANY else ():
        by_lower_case.setdefault(text.casefold(), []).append(text)
    if apart := [sorted(group) for group in by_lower_case.values() if len(group) > 1]:
        notes.append(
            f"{listed([*map(repr, apart[0])])} differ in case only and are different categories; write them alike "
            "if they mean the same"
        )
    gaps = Counter({word: count for word, count in standard.items() if word in missing - kept})
    notes += named_missing(gaps, missing_words)
    frequent = found if len(found) <= MANY else {text: count for text, count in found.items() if count > 1}
    ordered = tuple(sorted(frequent.items(), key=lambda item: (-item[1], item[0])))
    return Categories(ordered, len(found), gaps.total(), tuple(sorted(missing - kept)), tuple(notes))


def taken_for_missing(words: Sequence[str], n_cells: int) -> str:
    """Return a remark about words that one column alone takes for missing values."""
    return f"{' and '.join(map(repr, words))} ({_cells(n_cells)}) is taken for a missing value"


def named_missing(words: Counter[str], asked: Collection[str]) -> list[str]:
    """Return a remark on the words of a column that are missing values, without those that the user has given."""
    found = [(word, count) for word, count in words.items() if word and word not in asked]
    shown = [f"{word!r} ({_cells(count)})" for word, count in sorted(found, key=lambda item: (-item[1], item[0]))]
    if len(shown) > MOST_WORDS_SHOWN:
        shown[MOST_WORDS_SHOWN:] = [f"{len(shown) - MOST_WORDS_SHOWN} more words"]
    return [f"{listed(shown)} {'are missing values' if len(shown) > 1 else 'is a missing value'}"] if shown else []


def _cells(count: int) -> str:
    return f"{count:,} cell{'s' if count != 1 else ''}"
