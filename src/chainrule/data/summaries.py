"""Statistics of the columns of a table, which are computed in one pass over chunks of rows with bounded memory.

The statistics of one chunk are computed by NumPy. Those of several chunks are merged as by Chan, Golub and LeVeque
(1983), "Algorithms for computing the sample variance".
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
    distinct_cells,
    has_codes,
    number_of_cell,
    refuse_unusable,
    texts_of_cells,
    typed_dates,
    typed_numbers,
)
from chainrule.data.date_format import DateFormat
from chainrule.data.number_format import NumberFormat
from chainrule.data.text_columns import (
    DEFAULT_OPTIONS,
    NO_CONVENTIONS,
    ColumnOptions,
    Conventions,
    Decision,
    TextColumn,
    category_counts,
    missing_remark,
    missing_words_remark,
)
from chainrule.data.texts import MISSING_NUMBER_WORDS, normal_text
from chainrule.errors import CellError, DataError, with_option
from chainrule.rounding import is_constant
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnSummary", "NumberSummary", "Reading"]

# The unit of numbers that are all zero.
SMALLEST_UNIT = sys.float_info.min
# Numbers that often mean a missing value.
SENTINELS = np.array([-9.0, -99.0, -999.0, -9999.0, -99999.0, -999999.0])
# The maximum number of cells that are checked to find an example that is not a missing value.
MAX_SAMPLES_TRIED = 100


class NumberSummary:
    """The count, range, mean and standard deviation of numbers, and a sample for the median.

    The mean and the deviation are stored relative to the largest number, so that sums and squares do not overflow.
    """

    def __init__(self) -> None:
        self.n, self.low, self.high = 0, np.inf, -np.inf
        self._unit, self._mean, self._deviation = 1.0, 0.0, 0.0
        self._sample: list[Array] = []

    def add(self, values: Array, sampled: Array | None = None, counts: IntArray | None = None) -> None:
        """Add numbers, each ``counts`` times (by default once).

        ``sampled`` is the number of times that each of them is added to the sample for the median, by default
        ``counts``.
        """
        if len(values) == 0:
            return
        chunk = NumberSummary()
        chunk.low, chunk.high = float(values.min()), float(values.max())
        chunk._unit = max(abs(chunk.low), abs(chunk.high)) or SMALLEST_UNIT
        scaled = values / chunk._unit
        if counts is None:
            chunk.n, chunk._mean, chunk._deviation = len(values), float(scaled.mean()), float(scaled.std())
        else:
            chunk.n = int(counts.sum())
            chunk._mean = float(scaled @ counts / chunk.n)
            chunk._deviation = float(np.sqrt((scaled - chunk._mean) ** 2 @ counts / chunk.n))
        sample_counts = counts if sampled is None else sampled
        chunk._sample = [values if sample_counts is None else np.repeat(values, sample_counts)]
        self.merge(chunk)

    def merge(self, other: NumberSummary) -> None:
        """Add the numbers of another summary."""
        if other.n == 0:
            return
        n, unit = self.n + other.n, max(self._unit, other._unit) if self.n else other._unit
        own_scale, other_scale = self._unit / unit, other._unit / unit
        share = other.n / n
        difference = other._mean * other_scale - self._mean * own_scale
        if self.n == 0:
            self._mean, self._deviation = other._mean, other._deviation
        else:
            own_variance, other_variance = (self._deviation * own_scale) ** 2, (other._deviation * other_scale) ** 2
            variance = (1 - share) * own_variance + share * other_variance
            self._mean = self._mean * own_scale + difference * share
            self._deviation = float(np.sqrt(variance + difference**2 * share * (1 - share)))
        self.n, self._unit = n, unit
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._sample += other._sample

    @property
    def mean(self) -> float:
        """The mean of all numbers."""
        return self._unit * self._mean

    @property
    def is_constant(self) -> bool:
        """Whether all numbers are equal except for rounding."""
        return bool(is_constant(self.low, self.high))

    @property
    def deviation(self) -> float:
        """The standard deviation of all numbers; 0 if they are constant."""
        return 0.0 if self.is_constant else self._unit * self._deviation

    @property
    def width(self) -> float:
        """The difference between the largest and the smallest number."""
        return self._unit * (self.high / self._unit - self.low / self._unit)

    @property
    def median(self) -> float:
        """The median of the sample."""
        sample = self.sample
        return float(np.median(sample)) if len(sample) else self.mean

    @property
    def sample(self) -> Array:
        """The sample for medians and quantiles."""
        return self._sample[0] if len(self._sample) == 1 else np.concatenate([np.zeros(0), *self._sample])


class _NumberCollector:
    """The summary of the numbers of a column, or of one part of its dates, with separate counts of sentinels.

    ``all_different`` says whether the numbers are distinct integers. If there are several chunks, this is detected only
    if every chunk starts above the end of the previous one, like row numbers.
    """

    def __init__(self) -> None:
        self.summary = NumberSummary()
        self.all_different, self._last = True, -np.inf
        self._sentinels: dict[float, tuple[int, int]] = {}  # the counts, and the counts among the sampled rows

    def add(self, values: Array, sampled: Array | None = None, counts: IntArray | None = None) -> None:
        """Add numbers; see :meth:`NumberSummary.add`."""
        if len(values) == 0:
            return
        if self.all_different:
            self.all_different = bool((values == np.floor(values)).all()) and (counts is None or counts.max() == 1)
            ordered = np.sort(values) if self.all_different else values
            self.all_different &= bool(ordered[0] > self._last and (np.diff(ordered) > 0).all())
            self._last = ordered[-1]
        if values.min() <= SENTINELS[0] and (is_sentinel := np.isin(values, SENTINELS)).any():
            counts = np.ones(len(values), np.int64) if counts is None else counts
            sampled = counts if sampled is None else sampled
            for value in np.unique(values[is_sentinel]).tolist():
                n, n_sampled = self._sentinels.get(value, (0, 0))
                is_equal = values == value
                self._sentinels[value] = (n + int(counts[is_equal].sum()), n_sampled + int(sampled[is_equal].sum()))
            values, sampled, counts = values[~is_sentinel], sampled[~is_sentinel], counts[~is_sentinel]
        self.summary.add(values, sampled, counts)

    def finish(self, *, keep_all: bool) -> dict[str, int]:
        """Return the sentinels that mean a missing value with their counts, and add the others to the summary.

        A sentinel means a missing value if it occurs at least twice, and all other numbers are at least 0 or far above
        it.
        """
        others = self.summary
        bound = min(0.0, others.low) - (others.high - others.low) / 2 if others.low < 0 else 0.0
        is_missing = {
            value: others.n > 0 and not keep_all and n > 1 and value < bound
            for value, (n, _) in self._sentinels.items()
        }
        for value, (n, n_sampled) in self._sentinels.items():
            if not is_missing[value]:
                others.add(np.array([value]), np.array([n_sampled]), np.array([n]))
        return {f"{value:.0f}": n for value, (n, _) in sorted(self._sentinels.items()) if is_missing[value]}


@dataclass
class Reading:
    """The detected type and format of a column, with its statistics.

    ``numbers`` are the summaries of a column of numbers, or of each part of its dates. ``all_different`` means that the
    numbers are integers that differ in all rows. ``counts`` are the categories with their counts, the most frequent
    first. ``n_categories`` is the number of all categories, also of those that are not in ``counts``. ``reason`` and
    ``sample`` are those of the :class:`Decision`.
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
    has_dropped_texts: bool = False
    from_numbers: bool = False
    reason: str = ""
    sample: str = ""


class ColumnSummary:
    """The statistics of one column of the training rows, which are added in chunks.

    Parameters
    ----------
    name
        The name of the column, for messages.
    options
        The options of the column.
    max_texts
        The maximum number of distinct texts is twice this number. If a column has more, its type is determined by the
        texts so far. Numbers and dates are then only summarised. The rarest categories are dropped, so that a count may
        be too low by the share 1 / ``max_texts`` of the rows (Misra and Gries 1982, "Finding repeated elements").
    """

    def __init__(self, name: str, options: ColumnOptions = DEFAULT_OPTIONS, *, max_texts: int | None = None) -> None:
        self.name, self.options, self.max_texts = name, options, max_texts
        self.n_rows = self.n_missing = 0  # without missing values that are words or numbers
        self.sample = ""  # the first cell that is not missing, as text
        self._n_samples_to_try = MAX_SAMPLES_TRIED
        self._type: CellType | None = None  # the type of the rows that are not missing
        self._texts = TextColumn(name, options)
        self._missing_words: Counter[str] = Counter()
        self._decision: Decision | None = None  # set when there are too many distinct texts
        self._collectors: tuple[_NumberCollector, ...] = ()
        self._from_numbers = False
        self._variant = ""  # a cell that differs from another one only in white space or Unicode form

    def add(self, column: pd.Series[Any], sampled: Array | None = None, origin: Origin = UNNAMED) -> None:
        """Add rows. ``sampled`` is a mask of the rows that are used for medians, by default all.

        Raises ``DataError`` for an infinite number, and for rows of another type than the previous ones.
        """
        refuse_unusable(column, self.name, origin)
        self.n_rows += len(column)
        present = column.notna().to_numpy(dtype=bool)
        self.n_missing += int((~present).sum())
        if not present.any():
            return  # the type of missing cells does not matter
        if not present.all():
            rows = np.flatnonzero(present)
            column, origin = column.iloc[rows], origin.take(rows)
            sampled = None if sampled is None else sampled[rows]
        self._find_sample(column)
        found_type = cell_type(column)
        self._check_same_type(found_type, origin)
        read_as = self.options.read_as
        if read_as == "number" and found_type == "category" and column.dtype.kind == "b":
            found_type = "number"
        if read_as in ("number", "date") and found_type not in (read_as, "text", "number"):
            raise DataError(
                f"{origin}The column {self.name!r} is listed as a column of {read_as}s, but according to its type it "
                f"contains {'dates' if found_type == 'date' else 'categories'}."
            )
        # Codes are stored as texts, which is not possible after rows that were read as numbers.
        are_codes = read_as == "auto" and found_type == "number" and (self._from_numbers or has_codes(column))
        if are_codes and self._collectors:
            index = next(index for index in range(len(column)) if has_codes(column.iloc[index : index + 1]))
            self._refuse_code(str(column.iloc[index]), str(origin), origin.row(index))
        if found_type == "number" and read_as in ("auto", "number") and not are_codes:
            self._add_numbers(column, sampled, origin)
        elif found_type == "date" and read_as in ("auto", "date"):
            dates = typed_dates(column)
            assert dates is not None
            self._collect(dates, sampled)
        else:
            self._from_numbers |= found_type == "number"
            self._add_texts(column, sampled, origin)

    def conventions(self) -> Conventions:
        """Return the decimal separator and the order of dates that this column determines."""
        return self._texts.conventions() if self._decision is None else NO_CONVENTIONS

    def read(self, conventions: Conventions = NO_CONVENTIONS) -> Reading:
        """Return the type and the format of the column. ``conventions`` are those of the whole table.

        Raises ``DataError`` if nearly all cells are numbers (or dates) and some are not, which are probably mistakes.
        """
        decision = self._decision
        if decision is None and self._collectors:
            decision = Decision("number" if len(self._collectors) == 1 else "date")
        elif decision is None:
            decision = self._texts.decide(conventions)
            self._collect_values(decision)
        if decision.kind == "category":
            return self._category(decision)
        words, notes = self._texts.read_rest(decision.kind)
        n_missing = self.n_missing + self._missing_words.total() + int(self._texts.counts.sum())
        if decision.kind == "number":
            sentinels = self._collectors[0].finish(keep_all=self.options.read_as == "number")
            notes += [missing_remark([number], count) for number, count in sentinels.items()]
            n_missing += sum(sentinels.values())
            words += sentinels
        return Reading(
            decision.kind,
            self.n_rows,
            n_missing,
            tuple(sorted(MISSING_NUMBER_WORDS.union(self.options.missing_words, words))),
            (*decision.notes, *notes, *missing_words_remark(self._missing_words, self.options.missing_words)),
            tuple(part.summary for part in self._collectors),
            self._collectors[0].all_different,
            decision.format,
            sample=decision.sample,
        )

    def _category(self, decision: Decision) -> Reading:
        found = category_counts(
            self._texts.texts, self._texts.counts.tolist(), self._missing_words, self.options.missing_words
        )
        variant = normal_text(self._variant)
        return Reading(
            "category",
            self.n_rows,
            self.n_missing + found.n_missing,
            found.missing_words,
            (*decision.notes, *found.notes, *([f"{self._variant!r} is read as {variant!r}"] if variant else [])),
            counts=found.counts,
            n_categories=found.number,
            has_dropped_texts=self._texts.has_dropped_texts,
            from_numbers=self._from_numbers,
            reason=decision.reason,
        )

    def _find_sample(self, column: pd.Series[Any]) -> None:
        """Set the sample to the first cell that cannot be a missing value; until there is one, to any cell."""
        possibly_missing = MISSING_NUMBER_WORDS.union(self.options.missing_words, map(cell_text, SENTINELS))
        for index in range(min(len(column), self._n_samples_to_try)):
            cell = column.iloc[index]
            is_found = cell_text(cell) not in possibly_missing
            if is_found or not self.sample:
                self.sample = str(cell)
            self._n_samples_to_try = 0 if is_found else self._n_samples_to_try - 1
            if is_found:
                return

    def _add_numbers(self, column: pd.Series[Any], sampled: Array | None, origin: Origin) -> None:
        values = typed_numbers(column)
        if values is None:  # a column of objects
            values = np.array([number_of_cell(number) for number in column], np.float64)
        if np.isinf(values).any():
            row = origin.row(int(np.isinf(values).argmax()))
            raise DataError(
                f"{origin}The column {self.name!r} has an infinite number in row {row}; use a finite "
                "number or leave it empty."
            )
        self._collect(values, sampled)

    def _add_texts(self, column: pd.Series[Any], sampled: Array | None, origin: Origin) -> None:
        chunk = TextColumn(self.name, self.options)
        cells, codes = distinct_cells(column)
        texts, codes = texts_of_cells(cells, codes)
        if not self._variant and len(texts) < len(cells):
            self._variant = next((cell for cell in cells if isinstance(cell, str) and normal_text(cell) != cell), "")
        chunk.add_rows(texts, codes, sampled, origin)
        missing_words = MISSING_NUMBER_WORDS.union(self.options.missing_words)
        self._missing_words += chunk.only(missing_words)
        chunk = chunk.without(missing_words)
        if self._decision is not None and self._decision.format is not None:
            if self._decision.kind == "number" and self.options.read_as == "auto" and chunk.number_scan.code:
                first, file, row = chunk.first_of(chunk.code_indices())
                self._refuse_code(chunk.texts[first], file, row)
            values = chunk.finite(self._decision.format.read(chunk.texts))
            is_read = ~np.isnan(values)
            self._collect(values[is_read], chunk.sampled[is_read], chunk.counts[is_read])
            chunk.keep(np.flatnonzero(~is_read))
        self._texts.add(chunk.texts, chunk.counts, chunk.sampled, chunk.rows, origin.file)
        if self.max_texts is not None and len(self._texts.texts) > 2 * self.max_texts:
            self._drop_texts(self.max_texts)

    def _refuse_code(self, cell: str, file: str, row: int) -> NoReturn:
        """Raise ``CellError`` for a code in a column whose previous chunks were read as numbers."""
        raise CellError(
            f"{file}The column {self.name!r} has {cell!r} in row {row}, which is a code and not a number, but the "
            f"previous rows were read as numbers; list the column under {with_option('categorical')}, or under "
            f"{with_option('numeric')} if it is a quantity.",
            row=row,
            column=self.name,
            value=cell,
        )

    def _drop_texts(self, max_texts: int) -> None:
        """Determine the type of the column from the texts so far, and drop most of them."""
        if self._decision is None:
            self._decision = self._texts.decide(NO_CONVENTIONS)
            self._collect_values(self._decision)
        if self._decision.kind == "category":
            self._texts.drop_rarest(max_texts)
        elif len(self._texts.texts) > 2 * max_texts:
            self._texts.read_rest(self._decision.kind)  # raises an error unless they are missing values

    def _collect_values(self, decision: Decision) -> None:
        """Summarise the texts that are numbers or dates, and keep the other texts."""
        if decision.values is not None:
            is_read = ~np.isnan(decision.values)
            self._collect(decision.values[is_read], self._texts.sampled[is_read], self._texts.counts[is_read])
            self._texts.keep(np.flatnonzero(~is_read))

    def _collect(self, values: Array, sampled: Array | None, counts: IntArray | None = None) -> None:
        """Add numbers or dates, none of which are missing."""
        columns = date_parts(values) if values.dtype.kind == "M" else values.reshape(-1, 1)
        self._collectors = self._collectors or tuple(_NumberCollector() for _ in range(columns.shape[1]))
        for collector, numbers in zip(self._collectors, columns.T, strict=True):
            collector.add(numbers, sampled, counts)

    def _check_same_type(self, found_type: CellType, origin: Origin) -> None:
        self._type = self._type or found_type
        if found_type != self._type:
            raise DataError(
                f"{origin}The column {self.name!r} has the type {found_type}, but the previous rows have the type "
                f"{self._type}; write all files with the same types."
            )
