"""From rows as JSON has them to the network's inputs: what ``TablePreprocessor.transform`` does, without a data frame.

A data frame costs a request more than its prediction does. :class:`TableRows` takes the plans of the columns apart
once, and then turns any number of rows into a matrix with a handful of array operations. The arithmetic is that of
:class:`~chainrule.data.columns.ColumnPlan`, in the same order and precision, so the numbers are the same bits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

import numpy as np

from chainrule.data.columns import ColumnPlan, NumberPlan
from chainrule.data.table import TablePreprocessor
from chainrule.errors import CellError, nearest_name
from chainrule.serving.base import RequestError, RowError, shown
from chainrule.types import Array, IntArray

__all__ = ["TableRows"]

Cells = Sequence[Any]

_NUMBER_TYPES = frozenset({int, float, bool, type(None)})
_CELL_TYPES = _NUMBER_TYPES | {str}


class TableRows:
    """Turns JSON rows into the (rows, features) float32 matrix that ``table.transform`` makes of the same table.

    A row is an object with every column of :attr:`names`, or an array of their values in that order. ``null`` is a
    missing value. Columns that the model does not use, ``ignored``, may be there, and in a frame too; others may not.
    """

    def __init__(self, table: TablePreprocessor, ignored: Iterable[str] = ()) -> None:
        used = [plan for plan in table.columns if plan.kind != "dropped"]
        self.names = tuple(plan.name for plan in used)
        self.known = frozenset(ignored).union(plan.name for plan in table.columns)
        self.n_values = len(self.known)
        self._table = table
        self._pick = _picker(self.names)
        self._column_of_feature = tuple(index for index, plan in enumerate(used) for _ in plan.output_names)
        self._texts: list[tuple[int, _Texts]] = []
        plans: list[tuple[int, int, ColumnPlan]] = []  # of the numbers: column, first feature
        feature = 0
        for index, plan in enumerate(used):
            if plan.kind == "number":
                plans.append((index, feature, plan))
            else:
                self._texts.append((index, _Texts(plan, feature)))
            feature += len(plan.output_names)
        self.n_features = feature
        self._numbers = _Numbers(plans) if plans else None

    def encode(self, rows: Sequence[Any]) -> Array:
        """Return the matrix of some rows; raises ``RowError`` naming the row, the column and the value."""
        cells = self._cells(rows)
        features = np.zeros((len(cells), self.n_features), dtype=np.float32)
        with np.errstate(over="ignore"):  # what is too large is refused by name below
            if self._numbers is not None:
                self._numbers.write(features, cells, self.names)
            for index, column in self._texts:
                column.write(features, [row[index] for row in cells])
        if not np.isfinite(features).all():
            self._refuse_overflow(features, cells)
        return features

    def encode_frame(self, frame: Any) -> Array:
        """Return the matrix of a frame; raises ``RequestError`` 422 or ``DataError`` for one that does not fit."""
        for name in map(str, frame.columns):
            if name not in self.known:
                raise RequestError(
                    422,
                    f"The body has the column {shown(name)}, which the model does not know; the first line gives the "
                    f"names of the columns.{nearest_name(name[:200], self.known)}",
                    column=name[:200],
                )
        return self._table.transform(frame)

    def _cells(self, rows: Sequence[Any]) -> list[Cells]:
        """Return the values of each row in the order of the columns."""
        pick, n = self._pick, len(self.names)
        cells: list[Cells] = []
        for number, row in enumerate(rows, 1):
            if type(row) is dict:
                try:
                    cells.append(pick(row))
                except KeyError:
                    raise self._missing_column(number, row) from None
                if len(row) != n:
                    self._refuse_unknown(number, row)
            elif type(row) is list:
                if len(row) != n:
                    raise RowError(
                        number,
                        f"has {len(row)} values, and the model takes {n}, in this order: {_listing(self.names)}.",
                    )
                cells.append(row)
            else:
                raise RowError(
                    number,
                    f"is {shown(row)}; a row is an object with the columns by name, or an array of their {n} values.",
                )
        return cells

    def _missing_column(self, number: int, row: dict[str, Any]) -> RowError:
        name = next(name for name in self.names if name not in row)
        # The nearest of the first hundred: to compare hundreds of thousands would keep everybody waiting.
        strangers = islice((key[:200] for key in row if key not in self.known), 100)
        return RowError(
            number,
            f"has no column {shown(name)}; give its value, or null where it is missing.{nearest_name(name, strangers)}",
            name,
        )

    def _refuse_unknown(self, number: int, row: dict[str, Any]) -> None:
        for key in row:
            if key not in self.known:
                raise RowError(
                    number,
                    f"has the column {shown(key)}, which the model does not know; it takes {_listing(self.names)}."
                    f"{nearest_name(key[:200], self.names)}",
                    key[:200],
                )

    def _refuse_overflow(self, features: Array, cells: list[Cells]) -> NoReturn:
        row, feature = (int(place) for place in np.argwhere(~np.isfinite(features))[0])
        column = self._column_of_feature[feature]
        name = self.names[column]
        raise RowError(
            row + 1,
            f"has {shown(cells[row][column])} in the column {shown(name)}, too far from the training data.",
            name,
        )


class _Scaling(NamedTuple):
    """``(x - center) / scale`` for some features at once; ``fill`` stands in for what is missing."""

    places: IntArray
    fill: Array
    center: Array
    scale: Array

    @classmethod
    def of(cls, places: Sequence[int], plans: Sequence[NumberPlan]) -> _Scaling:
        columns = [(plan.fill, plan.center, plan.scale) for plan in plans]
        fill, center, scale = np.array(columns, dtype=np.float64).reshape(-1, 3).T.copy()
        return cls(np.array(places, dtype=np.int64), fill, center, scale)

    def write(self, features: Array, values: Array, missing: Array | None) -> None:
        """Write float64 ``values`` as features; ``missing`` says where there is none, and is None where all are."""
        if missing is not None:
            values = np.where(missing, self.fill, values)
        features[:, self.places] = (values - self.center) / self.scale


class _Numbers:
    """All columns of numbers, as one matrix."""

    def __init__(self, plans: Sequence[tuple[int, int, ColumnPlan]]) -> None:
        self._columns = [index for index, _, _ in plans]
        self._pick = _picker(self._columns)
        self._scaling = _Scaling.of([place for _, place, _ in plans], [plan.numbers[0] for _, _, plan in plans])
        # Cells that are text are read one column after another, by its plan.
        self._each = [(index, _Texts(plan, place)) for index, place, plan in plans]
        self._missing = [(column, plan.missing_numbers) for column, (*_, plan) in enumerate(plans)]
        self._missing = [(column, numbers) for column, numbers in self._missing if numbers.size]
        marked = [(column, place) for column, (_, place, plan) in enumerate(plans) if plan.missing_indicator]
        self._marked = [column for column, _ in marked]
        self._marks = [place + 1 for _, place in marked]

    def write(self, features: Array, cells: list[Cells], names: Sequence[str]) -> None:
        flat = list(chain.from_iterable(map(self._pick, cells)))
        if not _NUMBER_TYPES.issuperset(map(type, flat)):
            for index, texts in self._each:
                texts.write(features, [row[index] for row in cells])
            return
        try:
            values = np.array(flat, dtype=np.float64).reshape(len(cells), -1)  # None becomes NaN
        except OverflowError:
            self._refuse(flat, names)
        missing = None
        if not np.isfinite(values).all():
            missing = np.isnan(values)
            if np.isinf(values).any() or np.count_nonzero(missing) != flat.count(None):
                self._refuse(flat, names)
        if self._missing:
            missing = np.isnan(values)
            for column, numbers in self._missing:
                missing[:, column] |= np.isin(values[:, column], numbers)
        if missing is not None:
            features[:, self._marks] = missing[:, self._marked]
        self._scaling.write(features, values, missing)

    def _refuse(self, flat: list[Any], names: Sequence[str]) -> NoReturn:
        """Raise RowError for the first value that is neither a finite number nor missing."""
        place = next(place for place, value in enumerate(flat) if value is not None and not _is_finite(value))
        row, column = divmod(place, len(self._columns))
        name = names[self._columns[column]]
        raise RowError(
            row + 1, f"has {shown(flat[place])} in the column {shown(name)}; a number is expected, or null.", name
        )


class _Texts:
    """A column whose plan reads it cell by cell."""

    def __init__(self, plan: ColumnPlan, place: int) -> None:
        self._plan = plan
        self._places = slice(place, place + len(plan.output_names))

    def write(self, features: Array, cells: list[Any]) -> None:
        """Write the features of some cells."""
        for number, cell in enumerate(cells, 1):
            if type(cell) not in _CELL_TYPES or (
                type(cell) in _NUMBER_TYPES and cell is not None and not _is_finite(cell)
            ):
                raise self._refused(number, cell)
        try:
            features[:, self._places] = self._plan.encode_cells(cells)
        except CellError as error:
            raise self._refused(error.row, error.value) from None

    def _refused(self, number: int, cell: Any) -> RowError:
        wanted = "a category is expected (text, a number, true or false), or null"
        if self._plan.kind == "number":
            wanted = "a number is expected, or null"
        if self._plan.kind == "date":
            example = "2024-12-31" if self._plan.format is None else self._plan.format.example()
            wanted = f'a date is expected, as "{example}", or null'
        return RowError(number, f"has {shown(cell)} in the column {shown(self._plan.name)}; {wanted}.", self._plan.name)


def _picker(keys: Sequence[Any]) -> Callable[[Any], Cells]:
    """Return a quick function that takes the values of some keys out of a row, as a tuple."""
    if len(keys) == 1:
        key = keys[0]
        return lambda row: (row[key],)
    return itemgetter(*keys)


def _is_finite(value: Any) -> bool:
    return type(value) in _NUMBER_TYPES and abs(value) <= sys.float_info.max  # which a whole number may exceed


def _listing(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:8])
    return f"{listed}, ... ({len(names)} in all)" if len(names) > 8 else listed
