"""Tables of calls, which compute whole training steps or predictions without Python code between the operations.

All compiled operations are C functions with the same signature (:data:`chainrule.formulas.calls.SIGNATURE`). They take
the addresses of arrays, the numbers of rows and columns, and the address of float64 settings, and return a float64. A
table is a list of such calls. :func:`run_steps` makes all calls of the table for the first batch, then for the next
batch, and so on. It is independent of the operations and of their float type.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.formulas.loops import N_ARRAYS
from chainrule.kernels.compile import compiled
from chainrule.types import Array, IntArray

__all__ = ["Placeholder", "Tape", "run_steps"]

# The columns of a table: the address of the function, the addresses of its arrays, its number of rows (a fixed number,
# and a multiple of the rows of the batch), its number of columns, the address of its settings, the number of bytes by
# which the addresses of the settings and of each array increase with every step, and whether its result is added.
_ADDRESS, _ARRAYS, _FIXED, _PER_ROW = 0, 1, 1 + N_ARRAYS, 2 + N_ARRAYS
_COLUMNS, _SETTINGS, _STRIDES = 3 + N_ARRAYS, 4 + N_ARRAYS, 5 + N_ARRAYS
_ADDS_RESULT = _STRIDES + 1 + N_ARRAYS
_WIDTH = _ADDS_RESULT + 1


@dataclass(frozen=True)
class Placeholder:
    """An array that :meth:`Tape.bind` provides later; its address increases by ``step_bytes`` with every step."""

    name: str
    step_bytes: int = 0


class Tape:
    """A table of calls. It holds references to the arrays, because the table contains only their addresses."""

    def __init__(self) -> None:
        self._rows: list[list[int]] = []
        self._kept: list[Any] = []
        self._placeholders: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._table: IntArray | None = None
        self._bound: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def call(
        self,
        address: int,
        arrays: Sequence[Array | int | Placeholder | None],
        n_columns: int,
        settings: Array | Placeholder | None = None,
        *,
        n_rows: int = 0,
        per_row: int = 1,
        adds_result: bool = False,
    ) -> None:
        """Append a call for ``n_rows`` rows plus ``per_row`` rows for each row of the batch.

        With ``adds_result``, the number that it returns is added to the result of the step.
        """
        row = [0] * _WIDTH
        row[_ADDS_RESULT] = int(adds_result)
        row[_ADDRESS], row[_FIXED], row[_PER_ROW], row[_COLUMNS] = address, n_rows, per_row, n_columns
        for i, array in enumerate(arrays):
            row[_ARRAYS + i] = self._address(array, (_ARRAYS + i, _STRIDES + 1 + i), row)
        row[_SETTINGS] = self._address(settings, (_SETTINGS, _STRIDES), row)
        self._rows.append(row)

    def bind(self, name: str, address: int) -> None:
        """Set the address of a :class:`Placeholder` for the next runs; the caller holds a reference to the array."""
        if self._bound.get(name) != address:
            table = self.table
            for row, column in self._placeholders[name]:
                table[row, column] = address
            self._bound[name] = address

    @property
    def table(self) -> IntArray:
        """The table that :func:`run_steps` reads."""
        if self._table is None:
            self._table = np.array(self._rows, np.int64).reshape(-1, _WIDTH)
        return self._table

    def run(self, n_rows: int, batch_size: int, n_steps: int, results: Array) -> int:
        """Make the calls for every batch; see :func:`run_steps`."""
        n_done: int = run_steps(self.table, n_rows, batch_size, n_steps, results)
        return n_done

    def _address(self, array: Array | int | Placeholder | None, columns: tuple[int, int], row: list[int]) -> int:
        if isinstance(array, Placeholder):
            self._placeholders[array.name].append((len(self._rows), columns[0]))
            row[columns[1]] = array.step_bytes
            return 0
        if array is None or isinstance(array, int):
            return array or 0
        self._kept.append(array)
        return array.ctypes.data


@compiled
def run_steps(table: IntArray, n_rows: int, batch_size: int, n_steps: int, results: Array) -> int:
    """Make the calls of a table once for every batch of ``batch_size`` rows, the last of which may have fewer.

    In each step, the sum of the results of some calls (``adds_result``), such as the loss, is written to ``results``.
    If any call returns a number that is not finite, this number is written to ``results`` instead, and no further calls
    are made. Returns the number of complete steps.
    """
    for step in range(n_steps):
        n = min(batch_size, n_rows - step * batch_size)
        results[step] = 0.0
        for k in range(table.shape[0]):
            row = table[k]
            result = call_address(
                row[_ADDRESS],
                row[_ARRAYS] + step * row[_STRIDES + 1],
                row[_ARRAYS + 1] + step * row[_STRIDES + 2],
                row[_ARRAYS + 2] + step * row[_STRIDES + 3],
                row[_ARRAYS + 3] + step * row[_STRIDES + 4],
                row[_ARRAYS + 4] + step * row[_STRIDES + 5],
                row[_ARRAYS + 5] + step * row[_STRIDES + 6],
                row[_ARRAYS + 6] + step * row[_STRIDES + 7],
                row[_ARRAYS + 7] + step * row[_STRIDES + 8],
                row[_FIXED] + n * row[_PER_ROW],
                row[_COLUMNS],
                row[_SETTINGS] + step * row[_STRIDES],
            )
            if row[_ADDS_RESULT]:
                results[step] += result
            if not math.isfinite(result):
                results[step] = result
                return step
    return n_steps
