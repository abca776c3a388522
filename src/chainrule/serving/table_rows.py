"""Conversion of JSON and CSV rows to the inputs of a network that takes a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter, ne
from typing import Any

from chainrule.data.columns import ColumnPlan
from chainrule.data.table import TablePreprocessor
from chainrule.errors import CellError, nearest_name
from chainrule.serving.base import RequestError, RowError, shown
from chainrule.types import Array

__all__ = ["TableRows"]

_CELL_TYPES = frozenset({int, float, bool, type(None), str})


class TableRows:
    """Convert JSON rows to the (rows, features) float32 matrix that ``table.transform`` returns for the same table.

    A row is an object with every column of :attr:`names`, or an array of their values in that order. ``null`` is a
    missing value. Columns that the model does not use, and ``ignored`` ones, may be present; others may not.
    """

    def __init__(self, table: TablePreprocessor, ignored: Iterable[str] = ()) -> None:
        self._table, self._plan = table, table.feature_plan
        self.names = tuple(plan.name for plan in self._plan.columns)
        self.known = frozenset(ignored).union(plan.name for plan in table.columns)
        self.n_values = len(self.known)
        # itemgetter returns a single value, not a tuple, for a single key.
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else lambda row: (row[self.names[0]],)

    def encode(self, rows: Sequence[Any]) -> Array:
        """Return the matrix of some rows; raises ``RowError`` with the row, the column and the value."""
        columns = zip(*(self._cells(number, row) for number, row in enumerate(rows, 1)), strict=True)
        values = []
        for plan, cells in zip(self._plan.columns, columns, strict=True):
            try:
                values.append(plan.read(cells))
            except CellError as error:
                raise _refused(error.row, plan, error.value) from None
        try:
            return self._plan.encode(values)
        except CellError as error:
            place = f"{shown(error.value)} in the column {shown(error.column)}"
            raise RowError(error.row, f"has {place}, too far from the training data.", error.column) from None

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

    def _cells(self, number: int, row: Any) -> Sequence[Any]:
        """Return the cells of a row in the order of the columns."""
        n = len(self.names)
        if type(row) is dict:
            try:
                cells = self._pick(row)
            except KeyError:
                raise self._missing_column(number, row) from None
            if len(row) != n:
                self._refuse_unknown(number, row)
        elif type(row) is list:
            if len(row) != n:
                values = f"{len(row)} values, and the model takes {n}, in this order: {_listing(self.names)}"
                raise RowError(number, f"has {values}.")
            cells = row
        else:
            wanted = f"a row is an object with the columns by name, or an array of their {n} values"
            raise RowError(number, f"is {shown(row)}; {wanted}.")
        if not _CELL_TYPES.issuperset(map(type, cells)) or any(map(ne, cells, cells)):  # NaN is not equal to itself
            bad = next(k for k, cell in enumerate(cells) if type(cell) not in _CELL_TYPES or cell != cell)  # noqa: PLR0124
            raise _refused(number, self._plan.columns[bad], cells[bad])
        return cells

    def _missing_column(self, number: int, row: dict[str, Any]) -> RowError:
        name = next(name for name in self.names if name not in row)
        # The nearest of the first hundred: a comparison with hundreds of thousands would delay other requests.
        strangers = islice((key[:200] for key in row if key not in self.known), 100)
        hint = nearest_name(name, strangers)
        return RowError(
            number, f"has no column {shown(name)}; give its value, or null where it is missing.{hint}", name
        )

    def _refuse_unknown(self, number: int, row: dict[str, Any]) -> None:
        for key in row:
            if key not in self.known:
                takes = f"it takes {_listing(self.names)}.{nearest_name(key[:200], self.names)}"
                problem = f"has the column {shown(key)}, which the model does not know; {takes}"
                raise RowError(number, problem, key[:200])


def _refused(row: int, plan: ColumnPlan, cell: Any) -> RowError:
    wanted = "a category is expected (text, a number, true or false), or null"
    if plan.kind == "number":
        wanted = "a number is expected, or null"
    if plan.kind == "date":
        example = "2024-12-31" if plan.format is None else plan.format.example()
        wanted = f'a date is expected, as "{example}", or null'
    return RowError(row, f"has {shown(cell)} in the column {shown(plan.name)}; {wanted}.", plan.name)


def _listing(names: Sequence[str]) -> str:
    listed = ", ".join(shown(name) for name in names[:8])
    return f"{listed}, ... ({len(names)} in all)" if len(names) > 8 else listed
