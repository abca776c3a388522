"""Plans of columns: the type of a column and the conversion of its cells to numbers, determined by the training rows.

A :class:`ColumnPlan` reads one cell at a time, from any source: a text file, a data frame or JSON. The value of a cell
never depends on other cells.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from decimal import Decimal
from functools import cached_property
from itertools import pairwise
from numbers import Number
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args

import numpy as np

from chainrule.data.cells import (
    DATE_PARTS,
    UNNAMED,
    Origin,
    cell_text,
    distinct_cells,
    number_of_cell,
    refuse_unusable,
    typed_dates,
    typed_numbers,
)
from chainrule.data.date_format import DateFormat
from chainrule.data.number_format import NumberFormat
from chainrule.data.texts import MISSING_WORDS, missing_word_option, normal_text, yes_no_spellings
from chainrule.errors import CellError, InvalidInputError, counted
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ColumnKind", "ColumnPlan", "MissingRule", "NumberPlan", "SpecialCodes", "UnknownCategories"]

# For each column with unknown categories, the number of rows that have them and one of the categories.
UnknownCategories: TypeAlias = dict[str, tuple[int, str]]
ColumnKind: TypeAlias = Literal["number", "category", "date", "dropped"]
MissingRule: TypeAlias = Literal["median", "mean", "zero"]

MAX_SHOWN_CATEGORIES = 6  # in a line about a column
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][-+]?[0-9]{1,4})?")
_PLAIN_TYPES = frozenset({int, float, bool, type(None)})
_NAN = re.compile(r"[-+]?nan", re.IGNORECASE)


@dataclass(frozen=True)
class NumberPlan:
    """The scaling ``z = (x - center) / scale`` of a number.

    A missing number is replaced by ``fill``, which was determined by ``fill_rule``.

    Attributes
    ----------
    limit
        If this is not 0, z is bounded: it becomes ``z / sqrt(1 + (z / limit)^2)``.
    knots
        If there are any, z becomes a piecewise linear function of z, which is constant outside the knots.
    scores
        The value of this function at each knot.
    """

    name: str
    fill: float
    center: float
    scale: float
    fill_rule: MissingRule = "median"
    limit: float = 0.0
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()

    @property
    def bend(self) -> str:
        """The transformation after the scaling, in words; empty if there is none."""
        if self.knots:
            return "replaced by its normal score"
        return f"bounded smoothly to ±{self.limit:g}" if self.limit else ""

    @property
    def is_valid(self) -> bool:
        """Whether a plan from a file has valid numbers."""
        numbers = (self.fill, self.center, self.scale, self.limit, *self.knots, *self.scores)
        return (
            isinstance(self.name, str)
            and self.fill_rule in get_args(MissingRule)
            and all(map(_is_finite, numbers))
            and self.scale > 0
            and self.limit >= 0
            and len(self.knots) == len(self.scores) != 1
            and all(low < high for low, high in pairwise(self.knots))
        )


class SpecialCodes(NamedTuple):
    """The codes of missing cells and of other values of a category, and the range of codes that have an output.

    Category k has the code k. Missing cells and other values have the code -1 if they have no output of their own. The
    outputs are 0/1 columns for the codes ``first`` to ``end - 1``; all of them are 0 for a code outside this range.
    """

    missing: int
    other: int
    first: int
    end: int


@dataclass(frozen=True)
class ColumnPlan:
    """The type and the format of a column, determined from the training rows, as JSON values.

    A number or a date has ``numbers`` (a date several: year, month, ...), and ``missing_indicator`` if training rows
    have missing values. A category has ``categories`` in the order of their outputs; ``missing_category`` and ``other``
    say whether missing cells, and rare or unknown values, have their own output. A dropped column has a ``reason``.

    Attributes
    ----------
    format
        The format of the numbers or dates. None in models of version 0.1, which read numbers in Python's syntax and
        dates in ISO 8601.
    missing_words
        The texts, in normal form, that mean a missing value. A number, such as -999, matches every spelling of it.
    coerce
        Whether a cell that cannot be read is a missing value instead of an error.
    from_numbers
        Whether the categories were numbers in the training data; ``"1234.0"`` is then the category ``"1234"``.
    note
        Remarks for the user, for example on ambiguous dates and numbers.
    sample
        A cell of the training rows.
    """

    name: str
    kind: ColumnKind
    reason: str = ""
    n_missing: int = 0
    numbers: tuple[NumberPlan, ...] = ()
    missing_indicator: bool = False
    categories: tuple[str, ...] = ()
    missing_category: bool = False
    other: bool = False
    format: NumberFormat | DateFormat | None = None
    missing_words: tuple[str, ...] = tuple(sorted(MISSING_WORDS))
    coerce: bool = False
    from_numbers: bool = False
    note: str = ""
    sample: str = ""

    @property
    def is_two_valued(self) -> bool:
        """Whether the category has a single 0/1 output, for its second value."""
        return len(self.categories) == 2 and not self.missing_category and not self.other

    @property
    def is_time_of_day(self) -> bool:
        """Whether the column contains times of day without dates; its kind is ``"date"``."""
        return isinstance(self.format, DateFormat) and self.format.time_only

    @property
    def special_codes(self) -> SpecialCodes:
        """The codes of missing cells and of other values of a category, and the range of codes with an output."""
        n = len(self.categories)
        missing = n if self.missing_category else -1
        other = n + self.missing_category if self.other else -1
        return SpecialCodes(missing, other, int(self.is_two_valued), n + self.missing_category + self.other)

    @property
    def parts(self) -> tuple[int, ...]:
        """The indices in :data:`DATE_PARTS` of the outputs of a date; (0,) for a number."""
        if self.kind != "date":
            return tuple(range(len(self.numbers)))
        names = {plan.name for plan in self.numbers}
        return tuple(index for index, part in enumerate(DATE_PARTS) if f"{self.name} {part}" in names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the features made from this column."""
        if self.kind == "category":
            names = [
                f"{self.name}={value}" for value in (self.categories[1:] if self.is_two_valued else self.categories)
            ]
            return (*names, *[f"{self.name} (missing)"] * self.missing_category, *[f"{self.name} (other)"] * self.other)
        return (*(plan.name for plan in self.numbers), *[f"{self.name} (missing)"] * self.missing_indicator)

    # Reading ---------------------------------------------------------------------------------------------------------

    def read(self, cells: Sequence[Any], origin: Origin = UNNAMED) -> Array:
        """Return the values of cells, which are text, numbers, booleans or dates, or None if they are missing.

        Numbers are returned as float64 with NaN for missing cells, dates as datetime64 in UTC with NaT, and categories
        as codes (see :class:`SpecialCodes`). Raises ``CellError`` for the first cell that cannot be read.
        """
        values, bad = self._read(cells)
        if bad:
            self._refuse(bad[0], cells[bad[0]], origin)
        return values

    def read_column(
        self, column: pd.Series[Any], origin: Origin = UNNAMED, unknown: UnknownCategories | None = None
    ) -> Array:
        """Return the values of a column of a frame, like :meth:`read`.

        The rows with unknown categories are counted in ``unknown``, unless rare and unknown categories share an output.
        """
        typed = {"number": typed_numbers, "date": typed_dates}.get(self.kind, lambda _: None)(column)
        if typed is not None:
            return self._without_missing_numbers(typed, origin) if self.kind == "number" else typed
        refuse_unusable(column, self.name, origin)
        cells, codes = distinct_cells(column)
        values, bad = self._read(cells)
        if bad:
            rows = np.flatnonzero(np.isin(codes, bad))
            self._refuse(int(rows[0]), cells[codes[rows[0]]], origin, len(rows))
        if unknown is not None and self.kind == "category" and not self.other:
            self._count_unknown(cells, codes, values, unknown)
        return values[codes]

    def _count_unknown(self, cells: Sequence[Any], codes: Array, values: Array, unknown: UnknownCategories) -> None:
        is_unknown = values < 0
        for k in np.flatnonzero(is_unknown).tolist():
            is_unknown[k] = not (_is_missing(cells[k]) or cell_text(cells[k]) in self._missing)
        if is_unknown.any():
            n_before, example = unknown.get(self.name, (0, cell_text(cells[int(is_unknown.argmax())])))
            unknown[self.name] = (n_before + int(is_unknown[codes].sum()), example)

    def read_texts(self, column: pd.Series[Any]) -> Array:
        """Return the texts of a column, with None for missing cells and each category in the spelling of the plan."""
        cells, codes = distinct_cells(column)
        texts = np.empty(len(cells), dtype=object)
        for k, cell in enumerate(cells):
            code, text = self._code(cell), None if _is_missing(cell) else cell_text(cell)
            if 0 <= code < len(self.categories):
                texts[k] = self.categories[code]
            else:
                texts[k] = None if text in self._missing else text
        return texts[codes]

    def explain(self) -> str:
        """Return a line about the column: its detected type and format with an example, and remarks."""
        facts = [*self._facts()]
        if self.kind != "dropped":
            facts += [f"{self.n_missing:,} missing" if self.n_missing else "", self.note]
        return f"{self.name}: {'; '.join(filter(None, facts))}"

    def _facts(self) -> Iterator[str]:
        has_sample = self.sample and normal_text(self.sample) not in self._missing
        sample = f"{self.sample!r}" if has_sample else ""
        if self.kind == "dropped":
            has_example = not sample or "such as" in self.reason or sample in self.reason
            yield f"dropped, {self.reason}" + ("" if has_example else f" (such as {sample})")
        elif self.kind == "category":
            shown = ", ".join(self.categories[:MAX_SHOWN_CATEGORIES])
            more = f", ... ({len(self.categories)} in all)" if len(self.categories) > MAX_SHOWN_CATEGORIES else ""
            yield f"category, {shown}{more}" + (" and others" if self.other else "")
        else:
            value, kind = self._sample_value(), "time of day" if self.is_time_of_day else self.kind
            yield kind + (f", {sample} is {value}" if sample and value else "")

    def _sample_value(self) -> str:
        """Return the value of the sample as text; empty if it is missing or cannot be read from its text."""
        (value,), bad = self._read([self.sample])
        if bad or np.isnan(value):
            return ""
        if self.kind == "number":
            return f"{value:.10g}"
        day, _, time = str(value.astype("M8[s]")).partition("T")
        if self.is_time_of_day:
            return time.removesuffix(":00")
        return day if time == "00:00:00" else f"{day}T{time}"

    @cached_property
    def spellings(self) -> dict[str, int]:
        """The codes of the categories that mean yes or no, by the word in lower case.

        Any text with this lower case form is read as this category, unless it is a category itself.
        """
        words = yes_no_spellings(self.categories)
        return {
            word: self.categories.index(text) for text, word in words.items() if list(words.values()).count(word) == 1
        }

    @property
    def number_codes(self) -> dict[float, int]:
        """The codes of the categories that are numbers, as far as float64 represents them exactly."""
        codes = {float(number): code for number, code in self._codes_of_numbers.items() if number is not None}
        return {number: code for number, code in codes.items() if abs(number) < 2**53}

    @property
    def missing_numbers(self) -> Array:
        """The numbers that mean a missing value, such as -999."""
        return self._missing_numbers

    def _read(self, cells: Sequence[Any]) -> tuple[Array, list[int]]:
        """Return the values of cells, and the indices of the cells that cannot be read."""
        if self.kind == "category":
            return np.array([self._code(cell) for cell in cells], np.intp), []
        if self.kind == "number" and (numbers := _plain_numbers(cells)) is not None:
            values, bad = numbers, self._finish_numbers(numbers)
        else:
            values, bad = self._read_mixed(cells)
        if not self.coerce:
            return values, sorted(bad)
        values[bad] = np.nan if self.kind == "number" else np.datetime64("NaT")
        return values, []

    def _read_mixed(self, cells: Sequence[Any]) -> tuple[Array, list[int]]:
        """Read numbers or dates, some of which are text."""
        texts: dict[int, str] = {}
        others: list[Any] = [None] * len(cells)
        missing = self._missing
        for index, cell in enumerate(cells):
            if isinstance(cell, str):
                if cell not in missing and (text := normal_text(cell)) not in missing:
                    texts[index] = text
            elif cell is not None:
                others[index] = cell
        return (self._read_dates if self.kind == "date" else self._read_numbers)(texts, others)

    def _read_numbers(self, texts: Mapping[int, str], others: Sequence[Any]) -> tuple[Array, list[int]]:
        values = np.array([np.nan if cell is None else number_of_cell(cell) for cell in others])
        bad = [index for index in np.flatnonzero(np.isnan(values)).tolist() if not _is_missing(others[index])]
        if texts:
            if isinstance(self.format, NumberFormat):
                read = self.format.read(list(texts.values()))
            else:
                read = np.array([_python_number(text) for text in texts.values()])
            values[list(texts)] = read
            for index, is_unread in zip(texts, np.isnan(read).tolist(), strict=True):
                if is_unread and not (self.format is None and _NAN.fullmatch(texts[index])):
                    bad.append(index)
        return values, [*bad, *self._finish_numbers(values)]

    def _finish_numbers(self, values: Array) -> list[int]:
        """Replace numbers that mean a missing value by NaN, in place. Return the indices of infinite numbers."""
        if len(self._missing_numbers):
            values[np.isin(values, self._missing_numbers)] = np.nan
        return np.isinf(values).nonzero()[0].tolist()

    def _read_dates(self, texts: Mapping[int, str], others: Sequence[Any]) -> tuple[Array, list[int]]:
        date_format = self.format if isinstance(self.format, DateFormat) else None
        read = DateFormat.read_iso if date_format is None else date_format.read
        dates = np.full(len(others), "NaT", "M8[us]")
        present = [index for index, cell in enumerate(others) if not _is_missing(cell)]
        dates[list(texts)] = read(list(texts.values()))
        dates[present] = read([cell_text(others[index]) for index in present])
        return dates, [index for index in (*texts, *present) if np.isnat(dates[index])]

    def _without_missing_numbers(self, values: Array, origin: Origin) -> Array:
        """Return typed numbers with NaN for those that mean a missing value. Infinite numbers raise ``CellError``."""
        if len(self._missing_numbers):
            values = np.where(np.isin(values, self._missing_numbers), np.nan, values)
        if np.isinf(values).any():
            if not self.coerce:
                index = int(np.isinf(values).argmax())
                self._refuse(index, float(values[index]), origin, int(np.isinf(values).sum()))
            values = np.where(np.isinf(values), np.nan, values)
        return values

    def _code(self, cell: Any) -> int:
        if type(cell) is str and cell in self._codes:
            return self._codes[cell]
        if _is_missing(cell):
            return self.special_codes.missing
        text = cell_text(cell)
        code = self._codes.get(text)
        if code is None and text in self._missing:
            return self.special_codes.missing
        if code is None:
            code = self.spellings.get(text.lower())
        if code is None and (self.from_numbers or isinstance(cell, Number)):
            code = self._codes_of_numbers.get(_exact(text))
        return self.special_codes.other if code is None else code

    @cached_property
    def _missing(self) -> frozenset[str]:
        return frozenset(self.missing_words)

    @cached_property
    def _missing_numbers(self) -> Array:
        read = NumberFormat().read(self.missing_words)
        return read[np.isfinite(read)]

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {text: code for code, text in enumerate(self.categories)}

    @cached_property
    def _codes_of_numbers(self) -> dict[Decimal | None, int]:
        """The codes of the categories that are numbers, except categories that are the same number."""
        numbers = [_exact(text) for text in self.categories]
        return {
            number: numbers.index(number) for number, n in Counter(numbers).items() if n == 1 and number is not None
        }

    def _refuse(self, index: int, cell: Any, origin: Origin, n_cells: int = 1) -> NoReturn:
        row, more = origin.row(index), f" (and {counted(n_cells - 1, 'cell')} more)" if n_cells > 1 else ""
        if self.kind == "number" and np.isinf(NumberFormat().read([str(cell)])[0]):
            message = f"has an infinite number in row {row}{more}; use a finite number or leave it empty"
        else:
            example = "2024-12-31" if self.kind == "date" else "1234.5"
            if self.format is not None:
                example = self.format.example()
            kinds = "times of day" if self.is_time_of_day else f"{self.kind}s"
            remedy = f"write it like {example}, or leave it empty"
            if option := missing_word_option(cell):
                remedy = f"write it like {example}, leave it empty, or train with {option} if it is a missing value"
            message = f"contains {kinds}, but row {row} has {cell!r}{more}; {remedy}"
        raise CellError(
            f"{origin}The column {self.name!r} {message}.", row=row, column=self.name, value=cell, n_cells=n_cells
        )

    # Files -----------------------------------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ColumnPlan:
        """Return a plan from the values of :meth:`to_dict`. Raises ``InvalidInputError`` for invalid values."""
        given, names = dict(values), [field.name for field in fields(cls)]
        lists = ("categories", "missing_words")
        first = names.index("format")  # version 0.1 had only the fields before this one
        if set(given) not in (set(names[:first]), set(names)):
            raise InvalidInputError("The description of a table column has missing or unknown fields.")
        try:
            tuples = [{name: tuple(plan.get(name, ())) for name in ("knots", "scores")} for plan in values["numbers"]]
            given["numbers"] = tuple(map(lambda plan, own: NumberPlan(**{**plan, **own}), values["numbers"], tuples))
            for name in lists:
                if name in given:
                    given[name] = tuple(given[name])
            if given.get("format") is not None:
                formats: dict[Any, Any] = {"number": NumberFormat, "date": DateFormat}
                given["format"] = formats[given.get("kind")].from_dict(given["format"])
            plan = cls(**given)
        except (TypeError, KeyError, AttributeError):
            raise InvalidInputError("The description of a table column has unknown fields.") from None
        texts = (plan.name, plan.reason, plan.note, plan.sample, *plan.categories, *plan.missing_words)
        flags = (plan.missing_indicator, plan.missing_category, plan.other, plan.coerce, plan.from_numbers)
        is_valid = (
            all(isinstance(text, str) for text in texts)
            and all(isinstance(values.get(name, ()), list | tuple) for name in ("numbers", *lists))
            and plan.kind in get_args(ColumnKind)
            and all(type(flag) is bool for flag in flags)
            and type(plan.n_missing) is int
            and plan.n_missing >= 0
            and bool(plan.reason) == (plan.kind == "dropped")
            and len(set(plan.categories)) == len(plan.categories)
            and all(number.is_valid for number in plan.numbers)
            and plan._has_fields_of_its_kind()
        )
        if not is_valid:
            raise InvalidInputError(f"The description of the table column {values.get('name')!r} is damaged.")
        return plan

    def _has_fields_of_its_kind(self) -> bool:
        """Return whether a plan from a file has the fields of its kind, and none of other kinds."""
        has_categories = bool(self.categories) or self.missing_category or self.other
        has_numbers = bool(self.numbers) or self.missing_indicator
        if self.kind == "category":
            return bool(self.categories) and not has_numbers
        if self.kind == "dropped":
            return not has_categories and not has_numbers
        outputs = [number.name for number in self.numbers]
        expected = [self.name] if self.kind == "number" else [f"{self.name} {DATE_PARTS[part]}" for part in self.parts]
        return bool(outputs) and outputs == expected and not has_categories

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)


def _plain_numbers(cells: Sequence[Any]) -> Array | None:
    """Return cells that are Python numbers or None as float64; None if there are other cells or too large integers."""
    if not _PLAIN_TYPES.issuperset(map(type, cells)):
        return None
    try:
        return np.array(cells, dtype=np.float64)
    except OverflowError:
        return None


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def _is_missing(cell: Any) -> bool:
    """Return whether a cell of any type is None, NaN, NaT or pandas.NA."""
    if cell is None:
        return True
    try:
        return bool(cell != cell)  # noqa: PLR0124  # NaN and NaT do not equal themselves
    except (TypeError, ValueError):
        return type(cell).__name__ == "NAType"


def _python_number(text: str) -> float:
    """Return the number in a text in Python's syntax, also True and False; NaN for other texts."""
    if text in ("True", "False"):
        return float(text == "True")
    try:
        return float(text) if "_" not in text else np.nan  # float() accepts 1_000
    except ValueError:
        return np.nan


def _exact(text: str) -> Decimal | None:
    """Return the exact number in a text; None if it is not a number."""
    return Decimal(text) if _NUMBER.fullmatch(text) else None
