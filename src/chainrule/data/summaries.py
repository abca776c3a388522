"""What the rows of a column say, gathered piece by piece: the same numbers whether a table comes whole or in parts.

A summary takes the rows of a table in any number of pieces and keeps little of them, so that the statistics behind a
table's preprocessing need one pass over the rows and memory that does not grow with them. Of one piece they are those
that NumPy computes; of several they are merged as by Chan, Golub and LeVeque (1983), "Algorithms for computing the
sample variance".
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from chainrule.data.cells import (
    DATE_PARTS,
    UNNAMED,
    CellType,
    Origin,
    cell_type,
    date_parts,
    distinct_texts,
    is_date,
    is_number,
    parse_dates,
    parse_numbers,
    read_dates,
    read_numbers,
)
from chainrule.errors import DataError
from chainrule.rounding import is_constant
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnSummary", "NumberSummary", "Reading"]

ReadAs: TypeAlias = Literal["number", "date"]

# From this share of numbers on, a word among them is more likely a mistake than a category.
MOSTLY = 0.9
# The unit of nothing but zeros, which gives way to that of any other numbers.
SMALLEST_UNIT = sys.float_info.min


class NumberSummary:
    """How many numbers there are, their range, mean and standard deviation, and a sample of them for the median.

    Everything is kept in units of the largest number, where nothing overflows when added up or squared.
    """

    def __init__(self) -> None:
        self.n, self.low, self.high = 0, np.inf, -np.inf
        self._unit, self._mean, self._deviation = 1.0, 0.0, 0.0
        self._sample: list[Array] = []

    def add(self, values: Array, sampled: Array | None = None) -> None:
        """Take in some numbers; ``sampled`` says which of them the median may be taken from: all, if not given."""
        if len(values) == 0:
            return
        piece = NumberSummary()
        piece.n, piece.low, piece.high = len(values), float(values.min()), float(values.max())
        piece._unit = max(abs(piece.low), abs(piece.high)) or SMALLEST_UNIT
        scaled = values / piece._unit
        piece._mean, piece._deviation = float(scaled.mean()), float(scaled.std())
        piece._sample = [values if sampled is None else values[sampled]]
        self.merge(piece)

    def merge(self, other: NumberSummary) -> None:
        """Take in what another summary saw."""
        if other.n == 0:
            return
        n, unit = self.n + other.n, max(self._unit, other._unit) if self.n else other._unit
        mine, its = self._unit / unit, other._unit / unit
        share = other.n / n
        gap = other._mean * its - self._mean * mine
        if self.n == 0:
            self._mean, self._deviation = other._mean, other._deviation
        else:
            variance = (1 - share) * (self._deviation * mine) ** 2 + share * (other._deviation * its) ** 2
            self._mean = self._mean * mine + gap * share
            self._deviation = float(np.sqrt(variance + gap**2 * share * (1 - share)))
        self.n, self._unit = n, unit
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._sample += other._sample

    @property
    def mean(self) -> float:
        """The mean of all numbers."""
        return self._unit * self._mean

    @property
    def is_constant(self) -> bool:
        """Whether all numbers are the same, but for rounding."""
        return bool(is_constant(self.low, self.high))

    @property
    def deviation(self) -> float:
        """The standard deviation of all numbers; 0 where they are constant."""
        return 0.0 if self.is_constant else self._unit * self._deviation

    @property
    def width(self) -> float:
        """The distance from the smallest number to the largest."""
        return self._unit * (self.high / self._unit - self.low / self._unit)

    @property
    def median(self) -> float:
        """The median of the sample; that of all numbers, if all are in it."""
        sample = self._sample[0] if len(self._sample) == 1 else np.concatenate(self._sample)
        return float(np.median(sample)) if len(sample) else self.mean


class Reading:
    """A column taken for numbers or dates: the numbers that it gives, and the texts that are neither."""

    def __init__(self, kind: ReadAs) -> None:
        self.kind = kind
        self.numbers = tuple(NumberSummary() for _ in (DATE_PARTS if kind == "date" else [""]))
        self.n_missing = self.n_strangers = 0
        self.stranger: tuple[Origin, int, str] | None = None  # the first: where it stands, and what it is
        self.problem: DataError | None = None  # with a text that only looked like one of the kind

    @property
    def n_present(self) -> int:
        """The number of cells that hold something."""
        return self.numbers[0].n

    def add(self, values: Array, sampled: Array | None) -> None:
        """Take in the numbers of some rows, NaN where they are missing."""
        missing = np.isnan(values).any(axis=1)
        self.n_missing += int(missing.sum())
        present = ~missing
        among = None if sampled is None else sampled[present]
        for summary, numbers in zip(self.numbers, values[present].T, strict=True):
            summary.add(numbers, among)

    def add_texts(
        self, texts: list[str | None], codes: IntArray, name: str, sampled: Array | None, origin: Origin
    ) -> None:
        """Take in some rows of text, given by the distinct ones."""
        is_of_kind: Callable[[str], bool] = is_number if self.kind == "number" else is_date
        strangers = [place for place, text in enumerate(texts) if text is not None and not is_of_kind(text)]
        if strangers:
            rows = np.flatnonzero(np.isin(codes, strangers))
            if self.stranger is None:
                text = texts[codes[rows[0]]]
                assert text is not None
                self.stranger = (origin, int(rows[0]), text)
            self.n_strangers += len(rows)
        if self.stranger is not None or self.problem is not None:
            return  # the column is no column of this kind
        try:
            if self.kind == "number":
                self.add(parse_numbers(texts, codes, name, origin), sampled)
            else:
                self.add(date_parts(parse_dates(texts, codes, name, origin)), sampled)
        except DataError as problem:
            self.problem = problem


class ColumnSummary:
    """What the training rows have in one column: how many and which numbers, dates or words.

    Parameters
    ----------
    name
        The column's, for messages.
    as_category
        Take the cells for words, whatever they look like.
    most_texts
        Keep the counts of so many different words; if there are more, the rarest are forgotten, and a count may then
        be too low by the share 1 / ``most_texts`` of the rows (Misra and Gries 1982, "Finding repeated elements").
        ``has_forgotten`` says whether there were more words than those in ``counts``.
    """

    def __init__(self, name: str, *, as_category: bool = False, most_texts: int | None = None) -> None:
        self.name, self.as_category, self.most_texts = name, as_category, most_texts
        self.n_rows = self.n_missing_texts = 0
        self.first: Any = None  # the first cell that is not missing, as it stands in the table
        self.counts: Counter[str] = Counter()
        self.has_forgotten = False
        self.readings: dict[ReadAs, Reading] = {}
        self._type: CellType | None = None  # of the rows that hold something

    def add(self, column: pd.Series[Any], sampled: Array | None = None, origin: Origin = UNNAMED) -> None:
        """Take in some rows; ``sampled`` is a mask of those that a median may be taken from, all if not given.

        Raises ``DataError`` for an infinite number, and for rows of another kind than those before.
        """
        self.n_rows += len(column)
        is_present = column.notna().to_numpy(dtype=bool)
        if not is_present.any():
            found: CellType = "text"  # nothing but gaps, of whatever type they may be
        else:
            if self.first is None:
                self.first = column.iloc[int(is_present.argmax())]
            found = "category" if self.as_category else cell_type(column, self.name)
            self._refuse_another_type(found, origin)
        if found == "number":
            self._reading("number").add(read_numbers(column, self.name, origin), sampled)
        elif found == "date":
            self._reading("date").add(date_parts(read_dates(column, self.name, origin)), sampled)
        else:
            self._add_texts(column, found, sampled, origin)

    def kind(self) -> Literal["number", "date", "category"]:
        """Tell whether the column holds numbers, dates or categories.

        Raises ``DataError`` where nearly all cells are numbers (or dates) and one is not: most likely a typing mistake.
        """
        if self._type is not None and self._type != "text":
            return self._type
        for reading in self.readings.values():
            if reading.stranger is None:
                if reading.problem is not None:
                    raise reading.problem
                return reading.kind
            if reading.n_strangers <= (1 - MOSTLY) * (self.n_rows - self.n_missing_texts):
                origin, row, text = reading.stranger
                raise DataError(
                    f"{origin}The column {self.name!r} holds {reading.kind}s, but row {origin.row(row)} has {text!r}; "
                    f"correct that cell, or say categorical=[{self.name!r}] if the column is a category."
                )
        return "category"

    def most_common(self) -> list[tuple[str, int]]:
        """Return the words with their counts, the most frequent first and equal ones by name."""
        return sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))

    def _add_texts(self, column: pd.Series[Any], found: CellType, sampled: Array | None, origin: Origin) -> None:
        texts, codes = distinct_texts(column)
        for text, count in zip(texts, np.bincount(codes, minlength=len(texts)).tolist(), strict=True):
            if text is None:
                self.n_missing_texts += count
            elif count:
                self.counts[text] += count
        if self.most_texts is not None and len(self.counts) > 2 * self.most_texts:
            self._forget_the_rarest(self.most_texts)
        if found == "text":
            for reading in (self._reading("number"), self._reading("date")):
                reading.add_texts(texts, codes, self.name, sampled, origin)

    def _forget_the_rarest(self, n_kept: int) -> None:
        self.has_forgotten = True
        taken_off = sorted(self.counts.values(), reverse=True)[n_kept]
        self.counts = Counter({text: count - taken_off for text, count in self.counts.items() if count > taken_off})

    def _reading(self, kind: ReadAs) -> Reading:
        return self.readings.setdefault(kind, Reading(kind))

    def _refuse_another_type(self, found: CellType, origin: Origin) -> None:
        self._type = self._type or found
        if found != self._type:
            raise DataError(
                f"{origin}The column {self.name!r} holds what has the type {found}, and the rows before had "
                f"{self._type}; write all files with the same types."
            )
