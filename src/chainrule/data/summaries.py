"""What the rows of a column say, gathered piece by piece: the same numbers whether a table comes whole or in parts.

A summary takes the rows of a table in any number of pieces and keeps little of them, so that the statistics behind a
table's preprocessing need one pass over the rows and memory that does not grow with them. Of one piece they are those
that NumPy computes; of several they are merged as by Chan, Golub and LeVeque (1983), "Algorithms for computing the
sample variance".
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from chainrule.data.cells import (
    UNNAMED,
    CellType,
    Origin,
    cell_text,
    cell_type,
    date_parts,
    distinct_texts,
    has_codes,
    number_of_cell,
    refuse_unusable,
    typed_dates,
    typed_numbers,
)
from chainrule.data.date_format import DateFormat
from chainrule.data.number_format import NumberFormat
from chainrule.data.text_columns import (
    BY_ITSELF,
    NOTHING_ELSE,
    ColumnOptions,
    Decision,
    Elsewhere,
    TextColumn,
    category_counts,
    named_missing,
    taken_for_missing,
)
from chainrule.data.texts import MISSING_NUMBER_WORDS
from chainrule.errors import CellError, DataError, with_option
from chainrule.rounding import is_constant
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnSummary", "NumberSummary", "Reading"]

# The unit of nothing but zeros, which gives way to that of any other numbers.
SMALLEST_UNIT = sys.float_info.min
# Numbers that often stand for a missing value.
SENTINELS = np.array([-9.0, -99.0, -999.0, -9999.0, -99999.0, -999999.0])
# The sample of a column is the first of this many cells that cannot be a missing value.
MOST_SAMPLES_TRIED = 100


class NumberSummary:
    """How many numbers there are, their range, mean and standard deviation, and a sample of them for the median.

    Everything is kept in units of the largest number, where nothing overflows when added up or squared.
    """

    def __init__(self) -> None:
        self.n, self.low, self.high = 0, np.inf, -np.inf
        self._unit, self._mean, self._deviation = 1.0, 0.0, 0.0
        self._sample: list[Array] = []

    def add(self, values: Array, sampled: Array | None = None, counts: IntArray | None = None) -> None:
        """Take in some numbers, each ``counts`` times, or once if not given.

        ``sampled`` says how often a number is among those that the median is taken from: always, if not given.
        """
        if len(values) == 0:
            return
        piece = NumberSummary()
        piece.low, piece.high = float(values.min()), float(values.max())
        piece._unit = max(abs(piece.low), abs(piece.high)) or SMALLEST_UNIT
        scaled = values / piece._unit
        if counts is None:
            piece.n, piece._mean, piece._deviation = len(values), float(scaled.mean()), float(scaled.std())
        else:
            piece.n = int(counts.sum())
            piece._mean = float(scaled @ counts / piece.n)
            piece._deviation = float(np.sqrt((scaled - piece._mean) ** 2 @ counts / piece.n))
        among = counts if sampled is None else sampled
        piece._sample = [values if among is None else np.repeat(values, among)]
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


class _Gathered:
    """The numbers of a column, or one part of its dates; those that may stand for a missing value are kept apart.

    ``all_different`` tells whether they are whole numbers of which no two are the same. In pieces that is seen only
    where each begins above the one before, as the numbers of rows do.
    """

    def __init__(self) -> None:
        self.summary = NumberSummary()
        self.all_different, self._last = True, -np.inf
        self._apart: dict[float, tuple[int, int]] = {}  # how often, and how often among the sampled rows

    def add(self, values: Array, sampled: Array | None = None, counts: IntArray | None = None) -> None:
        """Take in some numbers; see :meth:`NumberSummary.add`."""
        if len(values) == 0:
            return
        if self.all_different:
            self.all_different = bool((values == np.floor(values)).all()) and (counts is None or counts.max() == 1)
            ordered = np.sort(values) if self.all_different else values
            self.all_different &= bool(ordered[0] > self._last and (np.diff(ordered) > 0).all())
            self._last = ordered[-1]
        if values.min() <= SENTINELS[0] and (is_apart := np.isin(values, SENTINELS)).any():
            counts = np.ones(len(values), np.int64) if counts is None else counts
            sampled = counts if sampled is None else sampled
            for value in np.unique(values[is_apart]).tolist():
                n, n_sampled = self._apart.get(value, (0, 0))
                same = values == value
                self._apart[value] = (n + int(counts[same].sum()), n_sampled + int(sampled[same].sum()))
            values, sampled, counts = values[~is_apart], sampled[~is_apart], counts[~is_apart]
        self.summary.add(values, sampled, counts)

    def finish(self, *, keep_all: bool) -> dict[str, int]:
        """Return the numbers that stand for a missing value, with their counts; the others join the rest.

        Such a number stands there at least twice, and all others are positive or 0, or far above it.
        """
        rest = self.summary
        far = min(0.0, rest.low) - (rest.high - rest.low) / 2 if rest.low < 0 else 0.0
        is_missing = {
            value: rest.n > 0 and not keep_all and n > 1 and value < far for value, (n, _) in self._apart.items()
        }
        for value, (n, n_sampled) in self._apart.items():
            if not is_missing[value]:
                rest.add(np.array([value]), np.array([n_sampled]), np.array([n]))
        return {f"{value:.0f}": n for value, (n, _) in sorted(self._apart.items()) if is_missing[value]}


@dataclass
class Reading:
    """What a column holds and how it is read.

    ``numbers`` summarise a column of numbers, or each part of its dates. ``all_different`` says of numbers that they
    are whole and that no two rows have the same. ``counts`` are the categories, the most frequent first, and
    ``n_categories`` is their number, those included that are not listed.
    """

    kind: Literal["number", "date", "category"]
    n_rows: int
    n_missing: int
    missing_words: tuple[str, ...]
    notes: tuple[str, ...] = ()
    numbers: tuple[NumberSummary, ...] = ()
    all_different: bool = False
    format: NumberFormat | DateFormat | None = None
    counts: tuple[tuple[str, int], ...] = ()
    n_categories: int = 0
    has_forgotten: bool = False
    from_numbers: bool = False


class ColumnSummary:
    """What the training rows have in one column: how many and which numbers, dates or words.

    Parameters
    ----------
    name
        The column's, for messages.
    options
        What the user says of the column.
    most_texts
        Keep twice so many different texts at most. If a column has more, these decide what it holds: numbers and dates
        are then summarised as they come, and of categories the rarest are forgotten, so that a count may be too low by
        the share 1 / ``most_texts`` of the rows (Misra and Gries 1982, "Finding repeated elements").
    """

    def __init__(self, name: str, options: ColumnOptions = BY_ITSELF, *, most_texts: int | None = None) -> None:
        self.name, self.options, self.most_texts = name, options, most_texts
        self.n_rows = self.n_gaps = 0
        self.sample = ""  # the first cell that is not missing, as text
        self._n_samples_to_try = MOST_SAMPLES_TRIED
        self._type: CellType | None = None  # of the rows that hold something
        self._texts = TextColumn(name, options)
        self._standard: Counter[str] = Counter()  # words that usually stand for a missing value
        self._decision: Decision | None = None  # once there were too many different texts
        self._gathered: tuple[_Gathered, ...] = ()
        self._from_numbers = False

    def add(self, column: pd.Series[Any], sampled: Array | None = None, origin: Origin = UNNAMED) -> None:
        """Take in some rows; ``sampled`` is a mask of those that a median may be taken from, all if not given.

        Raises ``DataError`` for an infinite number, and for rows of another kind than those before.
        """
        refuse_unusable(column, self.name, origin)
        self.n_rows += len(column)
        present = column.notna().to_numpy(dtype=bool)
        self.n_gaps += int((~present).sum())
        if not present.any():
            return  # nothing but gaps, of whatever type they may be
        if not present.all():
            rows = np.flatnonzero(present)
            column, origin = column.iloc[rows], origin.take(rows)
            sampled = None if sampled is None else sampled[rows]
        self._find_sample(column)
        found = cell_type(column)
        self._refuse_another_type(found, origin)
        read_as = self.options.read_as
        if read_as == "number" and found == "category" and column.dtype.kind == "b":
            found = "number"
        if read_as in ("number", "date") and found not in (read_as, "text", "number"):
            raise DataError(
                f"{origin}The column {self.name!r} is listed as a column of {read_as}s, but its type says that it "
                f"holds {'dates' if found == 'date' else 'categories'}."
            )
        # Codes are kept digit by digit, which is no longer possible after rows that were read as numbers.
        are_codes = read_as == "auto" and found == "number" and (self._from_numbers or has_codes(column))
        if are_codes and self._gathered:
            place = next(place for place in range(len(column)) if has_codes(column.iloc[place : place + 1]))
            self._refuse_code(str(column.iloc[place]), str(origin), origin.row(place))
        if found == "number" and read_as in ("auto", "number") and not are_codes:
            self._add_numbers(column, sampled, origin)
        elif found == "date" and read_as in ("auto", "date"):
            moments = typed_dates(column)
            assert moments is not None
            self._gather(moments, sampled)
        else:
            self._from_numbers |= found == "number"
            self._add_texts(column, sampled, origin)

    def evidence(self) -> Elsewhere:
        """Return what the column decides about marks and orders, for the other columns of the table."""
        return self._texts.evidence() if self._decision is None else NOTHING_ELSE

    def read(self, elsewhere: Elsewhere = NOTHING_ELSE) -> Reading:
        """Return what the column holds; ``elsewhere`` is what the other columns decide.

        Raises ``DataError`` where nearly all cells are numbers (or dates) and one is not: most likely a typing mistake.
        """
        decision = self._decision
        if decision is None and self._gathered:
            decision = Decision("number" if len(self._gathered) == 1 else "date")
        elif decision is None:
            decision = self._texts.decide(elsewhere)
            self._take_over(decision)
        if decision.kind == "category":
            return self._category(decision)
        words, notes = self._texts.left_over(decision.kind)
        n_missing = self.n_gaps + self._standard.total() + int(self._texts.counts.sum())
        if decision.kind == "number":
            sentinels = self._gathered[0].finish(keep_all=self.options.read_as == "number")
            notes += [taken_for_missing([number], count) for number, count in sentinels.items()]
            n_missing += sum(sentinels.values())
            words += sentinels
        return Reading(
            decision.kind,
            self.n_rows,
            n_missing,
            tuple(sorted(MISSING_NUMBER_WORDS.union(self.options.missing_words, words))),
            (*decision.notes, *notes, *named_missing(self._standard, self.options.missing_words)),
            tuple(part.summary for part in self._gathered),
            self._gathered[0].all_different,
            decision.format,
        )

    def _category(self, decision: Decision) -> Reading:
        found = category_counts(
            self._texts.texts, self._texts.counts.tolist(), self._standard, self.options.missing_words
        )
        return Reading(
            "category",
            self.n_rows,
            self.n_gaps + found.n_missing,
            found.missing_words,
            (*decision.notes, *found.notes),
            counts=found.counts,
            n_categories=found.number,
            has_forgotten=self._texts.has_forgotten,
            from_numbers=self._from_numbers,
        )

    def _find_sample(self, column: pd.Series[Any]) -> None:
        """Keep a cell as the sample, if none has been found yet: one that may be a missing value is a makeshift."""
        doubtful = MISSING_NUMBER_WORDS.union(self.options.missing_words, map(cell_text, SENTINELS))
        for place in range(min(len(column), self._n_samples_to_try)):
            cell = column.iloc[place]
            is_found = cell_text(cell) not in doubtful
            if is_found or not self.sample:
                self.sample = str(cell)
            self._n_samples_to_try = 0 if is_found else self._n_samples_to_try - 1
            if is_found:
                return

    def _add_numbers(self, column: pd.Series[Any], sampled: Array | None, origin: Origin) -> None:
        values = typed_numbers(column)
        if values is None:  # of objects
            values = np.array([number_of_cell(number) for number in column], np.float64)
        if np.isinf(values).any():
            row = origin.row(int(np.isinf(values).argmax()))
            raise DataError(
                f"{origin}The column {self.name!r} has an infinite number in row {row}; use a finite "
                "number or leave it empty."
            )
        self._gather(values, sampled)

    def _add_texts(self, column: pd.Series[Any], sampled: Array | None, origin: Origin) -> None:
        piece = TextColumn(self.name, self.options)
        piece.add_rows(*distinct_texts(column), sampled, origin)
        standard = MISSING_NUMBER_WORDS.union(self.options.missing_words)
        self._standard += piece.only(standard)
        piece = piece.without(standard)
        if self._decision is not None and self._decision.format is not None:
            if self._decision.kind == "number" and self.options.read_as == "auto" and piece.number_scan.code:
                first, file, row = piece.first_of(piece.code_places())
                self._refuse_code(piece.texts[first], file, row)
            values = piece.finite(self._decision.format.read(piece.texts))
            is_read = ~np.isnan(values)
            self._gather(values[is_read], piece.sampled[is_read], piece.counts[is_read])
            piece.keep(np.flatnonzero(~is_read))
        self._texts.add(piece.texts, piece.counts, piece.sampled, piece.rows, origin.file)
        if self.most_texts is not None and len(self._texts.texts) > 2 * self.most_texts:
            self._bound(self.most_texts)

    def _refuse_code(self, cell: str, file: str, row: int) -> NoReturn:
        """Raise ``CellError`` for a code in a column that was read as numbers in the pieces before."""
        raise CellError(
            f"{file}The column {self.name!r} has {cell!r} in row {row}, which is a code rather than a number, but the "
            f"rows before were read as numbers; list the column under {with_option('categorical')}, or under "
            f"{with_option('numeric')} if it is a quantity.",
            row=row,
            column=self.name,
            value=cell,
        )

    def _bound(self, most_texts: int) -> None:
        """Decide what the column holds from the texts so far, and keep few of them."""
        if self._decision is None:
            self._decision = self._texts.decide(NOTHING_ELSE)
            self._take_over(self._decision)
        if self._decision.kind == "category":
            self._texts.forget_the_rarest(most_texts)
        elif len(self._texts.texts) > 2 * most_texts:
            self._texts.left_over(self._decision.kind)  # refuses them, or counts them as missing

    def _take_over(self, decision: Decision) -> None:
        """Summarise the texts that are numbers or dates, and keep the others."""
        if decision.values is not None:
            is_read = ~np.isnan(decision.values)
            self._gather(decision.values[is_read], self._texts.sampled[is_read], self._texts.counts[is_read])
            self._texts.keep(np.flatnonzero(~is_read))

    def _gather(self, values: Array, sampled: Array | None, counts: IntArray | None = None) -> None:
        """Take in numbers or moments, all of which are there."""
        columns = date_parts(values) if values.dtype.kind == "M" else values.reshape(-1, 1)
        self._gathered = self._gathered or tuple(_Gathered() for _ in range(columns.shape[1]))
        for gathered, numbers in zip(self._gathered, columns.T, strict=True):
            gathered.add(numbers, sampled, counts)

    def _refuse_another_type(self, found: CellType, origin: Origin) -> None:
        self._type = self._type or found
        if found != self._type:
            raise DataError(
                f"{origin}The column {self.name!r} holds what has the type {found}, and the rows before had "
                f"{self._type}; write all files with the same types."
            )
