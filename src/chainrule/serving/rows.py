"""Convert JSON and CSV rows to the inputs of a network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter, ne
from typing import Any

import numpy as np

from chainrule.data.cells import number_of_cell
from chainrule.data.columns import ColumnPlan
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import numbers_of_texts
from chainrule.data.table import TablePreprocessor
from chainrule.errors import CellError, nearest_name
from chainrule.serving.base import RequestError, RowError, shown
from chainrule.types import Array, Shape

__all__ = ["ArrayRows", "TableRows"]

_NUMBER_TYPES = frozenset({int, float, bool})
_CELL_TYPES = _NUMBER_TYPES | {type(None), str}


class TableRows:
    """Convert JSON rows to the (rows, features) float32 matrix that ``table.transform`` returns for the same rows.

    A row is an object with every column of :attr:`names`, or an array of their values in this order. ``null`` is a
    missing value. Columns that the model does not use, and ``ignored`` columns, may be present. Other columns are an
    error.
    """

    def __init__(self, table: TablePreprocessor, ignored: Iterable[str] = ()) -> None:
        self._table, self._plan = table, table.feature_plan
        self.names = tuple(plan.name for plan in self._plan.columns)
        self.known = frozenset(ignored).union(plan.name for plan in table.columns)
        self.n_values = len(self.known)
        # For a single key, itemgetter returns a value and not a tuple.
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else lambda row: (row[self.names[0]],)

    def encode(self, rows: Sequence[Any]) -> Array:
        """Return the matrix of rows. Raises ``RowError`` with the row, the column and the value."""
        columns = zip(*(self._cells(number, row) for number, row in enumerate(rows, 1)), strict=True)
        values = []
        for plan, cells in zip(self._plan.columns, columns, strict=True):
            try:
                values.append(plan.read(cells))
            except CellError as error:
                raise _cell_error(error.row, plan, error.value) from None
        try:
            return self._plan.encode(values)
        except CellError as error:
            cell = f"{shown(error.value)} in the column {shown(error.column)}"
            raise RowError(error.row, f"has {cell}, which is too far from the training data.", error.column) from None

    def encode_frame(self, frame: Any) -> Array:
        """Return the matrix of a frame. Raises ``RequestError`` 422 or ``DataError`` if it does not fit the model."""
        for name in map(str, frame.columns):
            if name not in self.known:
                raise RequestError(
                    422,
                    f"The body has the column {shown(name)}, which the model does not have; the first line must contain"
                    f" the names of the columns.{nearest_name(name[:200], self.known)}",
                    column=name[:200],
                )
        return self._table.encode(frame)

    def _cells(self, number: int, row: Any) -> Sequence[Any]:
        """Return the cells of a row in the order of the columns."""
        n = len(self.names)
        if type(row) is dict:
            try:
                cells = self._pick(row)
            except KeyError:
                raise self._missing_column(number, row) from None
            if len(row) != n:
                self._check_unknown(number, row)
        elif type(row) is list:
            if len(row) != n:
                values = f"{len(row)} values, but the model needs {n} in this order: {_listing(self.names)}"
                raise RowError(number, f"has {values}.")
            cells = row
        else:
            expected = f"a row must be an object with the columns by name, or an array of their {n} values"
            raise RowError(number, f"is {shown(row)}; {expected}.")
        if not _CELL_TYPES.issuperset(map(type, cells)) or any(map(ne, cells, cells)):  # NaN is not equal to itself
            bad = next(k for k, cell in enumerate(cells) if type(cell) not in _CELL_TYPES or ne(cell, cell))
            raise _cell_error(number, self._plan.columns[bad], cells[bad])
        return cells

    def _missing_column(self, number: int, row: dict[str, Any]) -> RowError:
        name = next(name for name in self.names if name not in row)
        # Only the first hundred names are compared, because a row may have hundreds of thousands of them.
        unknown = islice((key[:200] for key in row if key not in self.known), 100)
        hint = nearest_name(name, unknown)
        return RowError(number, f"has no column {shown(name)}; give its value, or null if it is missing.{hint}", name)

    def _check_unknown(self, number: int, row: dict[str, Any]) -> None:
        for key in row:
            if key not in self.known:
                columns = f"its columns are {_listing(self.names)}.{nearest_name(key[:200], self.names)}"
                problem = f"has the column {shown(key)}, which the model does not have; {columns}"
                raise RowError(number, problem, key[:200])


class ArrayRows:
    """Convert JSON arrays, or a frame of numbers, to a batch of inputs of the given ``shape``.

    A row is a flat array of numbers, or nested arrays with the shape of the inputs, such as the lines of an image and
    its channels. Dimensions of size 1 may be omitted. For a network with flat inputs, any nesting is allowed. A frame
    may also have the columns ``ignored``.
    """

    def __init__(self, shape: Shape, dtype: Any, ignored: Iterable[str] = ()) -> None:
        self.shape, self.dtype, self.known = shape, np.dtype(dtype), frozenset(ignored)
        self.n_values = math.prod(shape)

    def encode(self, rows: Sequence[Any]) -> Array:
        """Return the inputs of rows. Raises ``RowError`` with the row, the position and the value."""
        flat = [self._flat(number, row) for number, row in enumerate(rows, 1)]
        try:
            values = np.array(flat, dtype=np.float64)
        except OverflowError:  # an integer beyond the range of float64
            values = np.array([[number_of_cell(value) for value in row] for row in flat])
        return self._inputs(values, flat)

    def encode_frame(self, frame: Any) -> Array:
        """Return the inputs of a table of numbers. Raises ``RequestError`` 422 if it does not fit the model."""
        values = Dataset(numbers_of_texts(frame.drop(columns=[name for name in frame.columns if name in self.known]))).X
        if values.shape[1] != self.n_values:
            needed = f"the model needs {self.n_values} numbers per row"
            raise RequestError(422, f"The body has {values.shape[1]} columns, but {needed}.")
        return self._inputs(values, values)

    def _inputs(self, values: Array, original: Sequence[Sequence[Any]] | Array) -> Array:
        with np.errstate(over="ignore"):
            inputs: Array = values.astype(self.dtype)
        if not np.isfinite(inputs).all():
            row, column = (int(index) for index in np.argwhere(~np.isfinite(inputs))[0])
            raise _not_a_number(row + 1, column, original[row][column])
        return inputs.reshape(len(inputs), *self.shape)

    def _flat(self, number: int, row: Any) -> list[Any]:
        """Return the values of a row."""
        expected = f"{self.n_values} numbers" + (f", {_by(self.shape)}" if len(self.shape) > 1 else "")
        if type(row) is not list:
            raise RowError(number, f"is {shown(row)}; a row must be an array of {expected}.")
        array = np.array(row, dtype=object)
        values = array.reshape(-1).tolist()
        types = set(map(type, values))
        if list in types:
            raise RowError(number, "is ragged: its inner arrays have different lengths.")
        if len(values) != self.n_values:
            raise RowError(number, f"has {len(values)} values, but the model needs {expected}.")
        if array.ndim > 1 and len(self.shape) > 1 and array.squeeze().shape != np.squeeze(np.empty(self.shape)).shape:
            raise RowError(number, f"has the shape {_by(array.shape)}, but the model needs {expected}.")
        if not types <= _NUMBER_TYPES:
            index = next(index for index, value in enumerate(values) if type(value) not in _NUMBER_TYPES)
            raise _not_a_number(number, index, values[index])
        return values


def _cell_error(row: int, plan: ColumnPlan, cell: Any) -> RowError:
    expected = "give a category (text, a number, true or false), or null"
    if plan.kind == "number":
        expected = "give a number, or null"
    if plan.kind == "date":
        example = "2024-12-31" if plan.format is None else plan.format.example()
        expected = f'give a date like "{example}", or null'
    return RowError(row, f"has {shown(cell)} in the column {shown(plan.name)}; {expected}.", plan.name)


def _listing(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:8])
    return f"{listed}, ... ({len(names)} in total)" if len(names) > 8 else listed


def _by(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _not_a_number(row: int, index: int, value: Any) -> RowError:
    value = value.item() if isinstance(value, np.generic) else value
    return RowError(row, f"has {shown(value)} at position {index + 1}; give a finite number.")
