"""Detect whether a column of text contains numbers, dates or categories, from its distinct texts.

The rules are applied in this order:

1. The type may be given by the user (:class:`ColumnOptions`).
2. Integers that start with 0 or have 16 digits or more are codes, which are categories.
3. A column contains numbers (or dates) if all its texts are numbers, except words for missing values. If all other
   cells have the same word without digits, this word means a missing value, too.
4. If nine cells of ten are numbers (or dates), the others are mistakes, for which an error is raised.
5. All other columns contain categories.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from shlex import quote
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias

import numpy as np

from chainrule.data.cells import UNNAMED, Origin, cell_type, distinct_texts
from chainrule.data.date_format import DateFormat, DateOrder, DateScan
from chainrule.data.number_format import MAX_CODES, NumberFormat, NumberScan, NumberSeparators
from chainrule.data.texts import (
    MISSING_CATEGORY_WORDS,
    MISSING_NUMBER_WORDS,
    MISSING_WORDS,
    POSSIBLY_MISSING_WORDS,
    YES_NO_WORDS,
    missing_word_option,
    spelling_variants,
    yes_no_spellings,
)
from chainrule.errors import CellError, DataError, counted, listed, with_option
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DEFAULT_OPTIONS",
    "NO_CONVENTIONS",
    "Categories",
    "ColumnOptions",
    "Conventions",
    "Decision",
    "ReadAs",
    "TextColumn",
    "category_counts",
    "missing_remark",
    "missing_words_remark",
    "table_conventions",
]

ReadAs: TypeAlias = Literal["auto", "number", "date", "category"]

# If at least this share of the cells are numbers, the other cells are probably mistakes.
MIN_SHARE = 0.9
# If there are more categories, their case is not compared, and those in a single row are not listed.
MAX_CATEGORIES_COMPARED = 10_000
# The maximum number of words for missing values in a remark on a column.
MAX_WORDS_SHOWN = 5
# The maximum number of words of one column that are read as missing values in this column only.
MAX_MISSING_WORDS = 3
_PUNCTUATION = MISSING_CATEGORY_WORDS - MISSING_WORDS


# Several numbers, with short units or marks between them: 2h 15m, 5'11", 120/80, 1024x768.
_NUMBER, _UNIT = r"[0-9]+(?:[.,][0-9]+)?", r"\s?[^\W\d_]{0,4}"
_SEVERAL_NUMBERS = re.compile(rf"{_NUMBER}(?:{_UNIT}[^\w.,]{{0,3}}{_NUMBER}){{1,2}}(?:{_UNIT}|[\"'\u2019]{{1,2}})")


class ColumnOptions(NamedTuple):
    """The options of a column: its type, the separators of its numbers, the order of its dates, the missing words."""

    read_as: ReadAs = "auto"
    separators: NumberSeparators | None = None
    order: DateOrder | None = None
    missing_words: tuple[str, ...] = ()


class Conventions(NamedTuple):
    """The decimal separators and the orders of dates in the unambiguous columns of a table."""

    decimals: frozenset[str] = frozenset()
    orders: frozenset[DateOrder] = frozenset()

    @classmethod
    def union(cls, columns: Iterable[Conventions]) -> Conventions:
        """Return the conventions of several columns."""
        decimals, orders = (frozenset[Any]().union(*parts) for parts in zip(cls(), *columns, strict=True))
        return cls(decimals, orders)


DEFAULT_OPTIONS, NO_CONVENTIONS = ColumnOptions(), Conventions()


@dataclass
class Decision:
    """The detected type and format of a column of text.

    ``values`` contains the number or date of each text, NaN or NaT for texts that are not; None for a category.
    ``reason`` says why a column is useless as a category. ``sample`` is a text that shows how the column is read, or
    empty.
    """

    kind: Literal["number", "date", "category"]
    format: NumberFormat | DateFormat | None = None
    values: Array | None = None
    notes: tuple[str, ...] = ()
    reason: str = ""
    sample: str = ""


@dataclass
class _Attempt:
    """The texts of a column read as numbers or dates."""

    kind: Literal["number", "date"]
    format: NumberFormat | DateFormat
    values: Array
    remark: str
    sample: str

    @cached_property
    def is_read(self) -> Array:
        return ~np.isnan(self.values)


class TextColumn:
    """The distinct texts of a column in normal form with their counts, without the words for missing values.

    ``sampled`` are the counts among the rows that are used for medians, ``rows`` the numbers of the first rows with
    each text, and ``files`` the names of their files.
    """

    def __init__(self, name: str, options: ColumnOptions = DEFAULT_OPTIONS) -> None:
        self.name, self.options = name, options
        self.texts: list[str] = []
        self.counts: IntArray = np.zeros(0, np.int64)
        self.sampled: IntArray = np.zeros(0, np.int64)
        self.rows: IntArray = np.zeros(0, np.int64)
        self.files: list[str] = []
        self.has_dropped_texts = False
        self._indices: dict[str, int] = {}

    def add_rows(
        self, texts: list[str], codes: IntArray, sampled: Array | None = None, origin: Origin = UNNAMED
    ) -> None:
        """Add rows, which are given by their distinct texts and the indices of :func:`distinct_texts`."""
        counts = np.bincount(codes, minlength=len(texts))
        sampled_counts = counts if sampled is None else np.bincount(codes[sampled], minlength=len(texts))
        first = np.zeros(len(texts), np.intp)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        self.add(texts, counts, sampled_counts.copy(), origin.rows_at(first), origin.file)

    def without(self, words: Collection[str]) -> TextColumn:
        """Return a column without the given texts."""
        if not words or not set(self.texts).intersection(words):
            return self
        kept = np.array([index for index, text in enumerate(self.texts) if text not in words], np.intp)
        others = TextColumn(self.name, self.options)
        others.add([self.texts[index] for index in kept], self.counts[kept], self.sampled[kept], self.rows[kept], "")
        others.files = [self.files[index] for index in kept]
        return others

    def only(self, words: Collection[str]) -> Counter[str]:
        """Return the counts of the given texts."""
        if not set(self.texts).intersection(words):
            return Counter()
        counts = zip(self.texts, self.counts.tolist(), strict=True)
        return Counter({text: count for text, count in counts if text in words})

    def add(self, texts: list[str], counts: IntArray, sampled: IntArray, rows: IntArray, file: str) -> None:
        """Add distinct texts with their counts."""
        if not texts:
            return
        if not self.texts:
            self._set(texts, counts, sampled, rows, [file] * len(texts))
            return
        known = self._indices or {text: index for index, text in enumerate(self.texts)}
        n_before = len(known)
        indices = np.array([known.setdefault(text, len(known)) for text in texts], np.intp)
        is_new = indices >= n_before
        for total, added in ((self.counts, counts), (self.sampled, sampled)):
            total[indices[~is_new]] += added[~is_new]
        self._set(
            list(known),
            np.append(self.counts, counts[is_new]),
            np.append(self.sampled, sampled[is_new]),
            np.append(self.rows, rows[is_new]),
            [*self.files, *[file] * int(is_new.sum())],
            known,
        )

    def keep(self, indices: IntArray) -> None:
        """Drop all texts except those with these indices."""
        texts, files = ([values[index] for index in indices] for values in (self.texts, self.files))
        self._set(texts, self.counts[indices], self.sampled[indices], self.rows[indices], files)

    def drop_rarest(self, max_texts: int) -> None:
        """Keep the ``max_texts`` most frequent texts, and subtract the largest count of the others from theirs."""
        subtracted = np.sort(self.counts)[-max_texts - 1]
        self.counts = self.counts - subtracted
        self.keep(np.flatnonzero(self.counts > 0))
        self.has_dropped_texts = True

    def _set(
        self,
        texts: list[str],
        counts: IntArray,
        sampled: IntArray,
        rows: IntArray,
        files: list[str],
        indices: dict[str, int] | None = None,
    ) -> None:
        self.texts, self.counts, self.sampled, self.rows, self.files = texts, counts, sampled, rows, files
        self._indices = indices or {}
        for scan in ("number_scan", "date_scan"):
            self.__dict__.pop(scan, None)

    @cached_property
    def number_scan(self) -> NumberScan:
        """The scan of the numbers among the texts."""
        return NumberScan(self.texts, self.counts)

    @cached_property
    def date_scan(self) -> DateScan:
        """The scan of the dates among the texts."""
        return DateScan(self.texts, self.counts)

    def conventions(self) -> Conventions:
        """Return the decimal separator or the order of dates that this column determines."""
        if self.options.separators is not None:
            return Conventions(frozenset({self.options.separators.decimal}))
        if self.options.read_as in ("auto", "number") and self.number_scan.decided is not None:
            attempt = self._as_numbers(NO_CONVENTIONS)
            if self._share(attempt) >= MIN_SHARE and not self.number_scan.looks_like_lists:
                return Conventions(frozenset({self.number_scan.decided}))
        if self.options.read_as == "auto" and self._share(self._as_numbers(NO_CONVENTIONS)) >= MIN_SHARE:
            return NO_CONVENTIONS
        order = self.options.order or self.date_scan.decided
        if self.options.read_as in ("auto", "date") and order is not None:
            return Conventions(orders=frozenset({order}))
        return NO_CONVENTIONS

    def decide(self, conventions: Conventions) -> Decision:
        """Return the type of the column. Raises ``DataError`` if nearly all cells are numbers (or dates)."""
        match self.options.read_as:
            case "category":
                return Decision("category")
            case "number":
                return self._decide_as_requested(self._as_numbers(conventions))
            case "date":
                dates = self._as_dates(conventions)
                self._check_order(dates)
                return self._decide_as_requested(dates)
        if not self.texts:
            return Decision("category")
        numbers = self._as_numbers(conventions)
        if self._are_compact_dates():
            return self._accept(self._as_dates(conventions))
        reason = self._why_not_numbers(numbers, conventions)
        if reason is None and self._is_acceptable(numbers):
            return self._accept(numbers)
        attempts = [] if numbers.is_read.any() and reason is not None else [numbers]
        if not numbers.is_read.all():
            dates = self._as_dates(conventions)
            if self._is_acceptable(dates):
                return self._accept(dates)
            attempts.append(dates)
        for attempt in attempts:
            if self._share(attempt) >= MIN_SHARE:
                self.refuse(np.flatnonzero(~attempt.is_read), attempt.kind)
        notes = [*([] if reason is None else [reason]), *self._word_remark(), *self._composite_remark()]
        if attempts[:1] == [numbers] and 2 * self._share(numbers) > 1:
            remark = self._mixed_remark(numbers)
            if len(self.texts) > MAX_CODES:
                return Decision("category", reason=remark)
            notes.append(remark)
        return Decision("category", notes=tuple(notes))

    def _word_remark(self) -> list[str]:
        """Return a remark on a category whose cells are numbers followed by the same word, such as 10k."""
        word = self.number_scan.rejected_word
        option = with_option("numeric")
        return [f"its cells are numbers with {word!r}; list it under {option} to use it as numbers"] if word else []

    def _composite_remark(self) -> list[str]:
        """Return a remark on a category with many values that consist of several numbers, such as 2h 15m."""
        if len(self.texts) <= MAX_CODES or not all(map(_SEVERAL_NUMBERS.fullmatch, self.texts)):
            return []
        return [
            f"its cells consist of several numbers, as in {self.texts[0]!r}; put each number into its own column if "
            "they are quantities"
        ]

    def _mixed_remark(self, attempt: _Attempt) -> str:
        """Return a remark on a category most of whose cells are numbers."""
        others = [self.texts[index] for index in np.flatnonzero(~attempt.is_read)]
        examples, option = ", ".join(repr(text[:20]) for text in others[:3]), with_option("numeric")
        if all(any(letter.isdigit() for letter in text) for text in others):
            return (
                f"most of its cells are numbers; others, such as {examples}, have another currency or unit, or are "
                f"codes; list it under {option} to read them as missing values, or under {with_option('categorical')}"
            )
        return f"most of its cells are numbers; list it under {option} if {examples} mean missing values"

    def choose_number_format(self, conventions: Conventions, *, requested: bool = False) -> tuple[NumberFormat, str]:
        """Return the format of the numbers of the column, and a remark if it is ambiguous.

        If the user has ``requested`` numbers, more texts are numbers.
        """
        scan, separators = self.number_scan, self.options.separators
        return scan.choose(conventions.decimals, separators, self.name, requested=requested)

    def _as_numbers(self, conventions: Conventions) -> _Attempt:
        number_format, remark = self.choose_number_format(conventions, requested=self.options.read_as == "number")
        scan = self.number_scan
        return _Attempt("number", number_format, scan.read(number_format), remark, scan.telling_text(number_format))

    def _as_dates(self, conventions: Conventions) -> _Attempt:
        date_format, remark = self.date_scan.choose(conventions.orders, self.name)
        if self.options.order is not None and not date_format.time_only:
            date_format, remark = DateFormat(self.options.order), ""
        scan = self.date_scan
        return _Attempt("date", date_format, scan.read(date_format), remark, scan.telling_text(date_format))

    def _share(self, attempt: _Attempt) -> float:
        """Return the share of the cells that are numbers, or that have the form of a date."""
        n_cells = int(self.counts[attempt.is_read].sum())
        if attempt.kind == "date" and attempt.is_read.any():
            n_cells = max(n_cells, self.date_scan.n_dates)
        return n_cells / max(int(self.counts.sum()), 1)

    def _are_compact_dates(self) -> bool:
        """Return whether all texts are dates like 20230131."""
        if not all(len(text) == 8 and text.isdigit() and text[:2] in ("19", "20") for text in self.texts):
            return False
        return bool(self._as_dates(NO_CONVENTIONS).is_read.all())

    def _why_not_numbers(self, numbers: _Attempt, conventions: Conventions) -> str | None:
        """Return the reason why a column does not contain numbers although its texts can be read as numbers."""
        scan = self.number_scan
        if 2 * self._share(numbers) < 1:
            return None
        if scan.code:
            return f"{scan.code} is a code and not a number"
        if scan.list and scan.looks_like_lists:
            return f"{scan.list} is a list and not a number"
        if scan.looks_like_lists and "." in conventions.decimals:
            return "its commas separate lists, since other columns have decimal points"
        return None

    def _is_acceptable(self, attempt: _Attempt) -> bool:
        """Return whether all texts can be read, or all except one word."""
        n_read = int(attempt.is_read.sum())
        if n_read == len(self.texts) > 0:
            return True
        is_quantity = n_read > MAX_CODES or attempt.kind == "date"
        return n_read > 1 and self._may_be_missing(np.flatnonzero(~attempt.is_read), is_quantity)

    def _may_be_missing(self, indices: IntArray, is_quantity: bool) -> bool:
        """Return whether texts may mean a missing value: one word, or several frequent ones among quantities.

        Upper and lower case are the same word.
        """
        counts = Counter[str]()
        for index in indices[:MAX_CODES]:
            counts[self.texts[index].casefold()] += int(self.counts[index])
        are_few = len(counts) == 1 or (is_quantity and len(counts) <= MAX_MISSING_WORDS and min(counts.values()) > 1)
        return (
            are_few
            and len(indices) <= MAX_CODES
            and not YES_NO_WORDS.intersection(counts)
            and not any(character.isdigit() for word in counts for character in word)
        )

    def read_rest(self, kind: str) -> tuple[list[str], list[str]]:
        """Return the words for missing values among the texts that are not numbers (or dates), and remarks.

        Raises ``DataError`` if the texts are mistakes.
        """
        if not self.texts:
            return [], []
        n_cells = int(self.counts.sum())
        if self.options.read_as != "auto":
            return [], [f"{counted(n_cells, 'cell')} such as {self.texts[0]!r} cannot be read and are missing"]
        if not self._may_be_missing(np.arange(len(self.texts)), is_quantity=True):
            self.refuse(np.arange(len(self.texts)), kind)
        return [*self.texts], [missing_remark(self.texts, n_cells)]

    def _accept(self, attempt: _Attempt) -> Decision:
        """Return the decision for an attempt that the rules or the user accept."""
        values, remarks = self.finite(attempt.values), (attempt.remark,) if attempt.remark else ()
        return Decision(attempt.kind, attempt.format, values, remarks, sample=attempt.sample)

    def finite(self, values: Array) -> Array:
        """Return values without infinite numbers, which become NaN if the user lists the column as numbers.

        Otherwise an infinite number raises ``DataError``.
        """
        if values.dtype.kind != "f" or not (is_infinite := np.isinf(values)).any():
            return values
        if self.options.read_as == "number":
            return np.where(is_infinite, np.nan, values)
        file, row = self._position(int(is_infinite.argmax()))
        raise DataError(
            f"{file}The column {self.name!r} has an infinite number in row {row}; use a finite number or "
            "leave it empty."
        )

    def _decide_as_requested(self, attempt: _Attempt) -> Decision:
        """Return the decision for a column whose type is given by the user."""
        if self.texts and np.isnan(attempt.values).all():
            file, row = self._position(0)
            raise DataError(
                f"{file}The column {self.name!r} is listed as a column of {attempt.kind}s, but no cell is a "
                f"{attempt.kind}; row {row} has {self.texts[0]!r}."
            )
        return self._accept(attempt)

    def _check_order(self, dates: _Attempt) -> None:
        """Raise ``CellError`` if the user gives another order of day and month than the dates have."""
        order = self.date_scan.decided
        if self.options.order is None or order in (self.options.order, None) or dates.is_read.all():
            return
        first, file, row = self.first_of(np.flatnonzero(~dates.is_read))
        raise CellError(
            f"{file}The column {self.name!r} is listed with the order {self.options.order} for its dates, but row "
            f"{row} has {self.texts[first]!r}; correct that cell, or use "
            f"{with_option('dates', quote(f'{self.name}={order}'))}.",
            row=row, column=self.name, value=self.texts[first], n_cells=int(self.counts[~dates.is_read].sum()),
        )  # fmt: skip

    def _position(self, index: int) -> tuple[str, int]:
        """Return the file of a text, as the start of a message, and its first row."""
        file = self.files[index]
        return f"{file}: " if file else "", int(self.rows[index])

    def refuse_missing(self, index: int) -> NoReturn:
        """Raise ``DataError`` for a text that means a missing value in the target column."""
        file, row = self._position(index)
        named = f" {self.name!r}" if self.name else ""
        raise DataError(f"{file}The target{named} is missing in row {row}; fill it in, or drop the row.")

    def first_of(self, indices: IntArray) -> tuple[int, str, int]:
        """Return the index of the first of the texts in the files, its file as the start of a message, and its row."""
        first = min(indices.tolist(), key=lambda index: (self.files.index(self.files[index]), self.rows[index]))
        return first, *self._position(first)

    def code_indices(self) -> IntArray:
        """Return the indices of the texts that are codes and not numbers, such as 01."""
        codes = [index for index, text in enumerate(self.texts) if NumberScan([text], np.ones(1, np.int64)).code]
        return np.array(codes, np.intp)

    def refuse(self, indices: IntArray, kind: str) -> NoReturn:
        """Raise ``CellError`` for the first of the texts that are not numbers (or dates) in a column of numbers."""
        first, file, row = self.first_of(indices)
        n_more = int(self.counts[indices].sum()) - 1
        more = f" (and {counted(n_more, 'cell')} more)" if n_more else ""
        option = with_option("numeric" if kind == "number" else "dates")
        raise CellError(
            f"{file}The column {self.name!r} contains {kind}s, but row {row} has {self.texts[first]!r}"
            f"{more}; correct that cell, or list the column under "
            f"{option} to read such cells as missing values, or under {with_option('categorical')}.",
            row=row, column=self.name, value=self.texts[first], n_cells=n_more + 1,
        )  # fmt: skip


def table_conventions(frame: pd.DataFrame) -> Conventions:
    """Return the decimal separators and the orders of dates that the columns of text of a table determine."""
    columns = []
    for name in frame.columns:
        if cell_type(frame[name]) == "text":
            column = TextColumn(str(name))
            column.add_rows(*distinct_texts(frame[name]))
            columns.append(column.without(MISSING_NUMBER_WORDS).conventions())
    return Conventions.union(columns)


class Categories(NamedTuple):
    """The categories of a column.

    ``counts`` contains the categories with their counts, the most frequent first. If there are many, those in a single
    row are not included. ``number`` is the number of all categories.
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

    The spellings of a word for yes or no are one category, with the most frequent spelling. ``standard`` contains the
    counts of the standard words for missing values. Some of these may be categories: NA among the codes of countries,
    and + and - if there are no other categories.
    """
    missing = MISSING_CATEGORY_WORDS | set(missing_words)
    found = Counter(dict(zip(texts, counts, strict=True)))
    found.update({word: count for word, count in standard.items() if word not in missing})
    kept: set[str] = set()
    if "NA" in standard:
        codes = [text for text in found if text.isalpha() and text.isupper() and len(text) in (2, 3)]
        kept |= {"NA"} if len(codes) > 1 and len(codes) >= MIN_SHARE * len(found) else set()
    if len(found) < 2:
        kept |= _PUNCTUATION
    kept = kept.intersection(standard) - set(missing_words)
    found.update({word: standard[word] for word in kept})
    notes = [
        f"{word!r} ({counted(found[word], 'cell')}) is read as a category; {missing_word_option(word)} reads it as a "
        "missing value"
        for word in sorted(found)
        if word in kept or word.casefold() in POSSIBLY_MISSING_WORDS
    ]
    spellings: dict[str, Counter[str]] = {}
    for text, word in yes_no_spellings(found).items():
        spellings.setdefault(word, Counter())[text] = found.pop(text)
    for group in spellings.values():
        found[group.most_common(1)[0][0]] = group.total()
        if len(group) > 1:
            notes.append(f"{listed([repr(text) for text, _ in group.most_common()])} are one category")
    are_few = len(found) <= MAX_CATEGORIES_COMPARED
    if case_variants := spelling_variants(found) if are_few else "":
        notes.append(
            f"{case_variants} differ only in case and are different categories; use one spelling if they mean the same"
        )
    missing_counts = Counter({word: count for word, count in standard.items() if word in missing - kept})
    notes += missing_words_remark(missing_counts, missing_words)
    frequent = found if are_few else {text: count for text, count in found.items() if count > 1}
    ordered = tuple(sorted(frequent.items(), key=lambda item: (-item[1], item[0])))
    return Categories(ordered, len(found), missing_counts.total(), tuple(sorted(missing - kept)), tuple(notes))


def missing_remark(words: Sequence[str], n_cells: int) -> str:
    """Return a remark about words that mean missing values in one column only."""
    meaning = "are read as missing values" if len(words) > 1 else "is read as a missing value"
    return f"{listed([*map(repr, words)])} ({counted(n_cells, 'cell')}) {meaning}"


def missing_words_remark(words: Counter[str], given_words: Collection[str]) -> list[str]:
    """Return a remark on the words of a column that mean missing values, without the words given by the user."""
    found = [(word, count) for word, count in words.items() if word and word not in given_words]
    shown = [
        f"{word!r} ({counted(count, 'cell')})" for word, count in sorted(found, key=lambda item: (-item[1], item[0]))
    ]
    if len(shown) > MAX_WORDS_SHOWN:
        shown[MAX_WORDS_SHOWN:] = [f"{len(shown) - MAX_WORDS_SHOWN} more words"]
    return [f"{listed(shown)} {'are missing values' if len(shown) > 1 else 'is a missing value'}"] if shown else []
