"""Tables of calls: whole training steps, or a prediction, without Python between the operations.

Every compiled operation is a C function of one signature (:data:`chainrule.formulas.calls.SIGNATURE`): the addresses of
arrays, the numbers of rows and columns, and the address of float64 settings; it returns a float64. A table is a list of
such calls, and :func:`run_steps` makes them, one after another, for one batch after another. It does not know what an
operation computes, nor for which type of numbers it was compiled.
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

__all__ = ["Moving", "Tape", "run_steps"]

# The columns of a table: the address of the function, those of its arrays, its rows (a fixed number, and a multiple of
# those of the batch), its columns, the address of its settings, and by how many bytes the settings and each of the
# arrays move on with every step.
_ADDRESS, _ARRAYS, _FIXED, _PER_ROW = 0, 1, 1 + N_ARRAYS, 2 + N_ARRAYS
_COLUMNS, _SETTINGS, _MOVES = 3 + N_ARRAYS, 4 + N_ARRAYS, 5 + N_ARRAYS
_WIDTH = _MOVES + 1 + N_ARRAYS


@dataclass(frozen=True)
class Moving:
    """An array that is given later, by :meth:`Tape.place`, under a name.

    It moves on by ``step_bytes`` with every step.
    """

    name: str
    step_bytes: int = 0


class Tape:
    """A table of calls. It keeps the arrays alive that it has the addresses of."""

    def __init__(self) -> None:
        self._rows: list[list[int]] = []
        self._kept: list[Any] = []
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._table: IntArray | None = None
        self._placed: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def call(
        self,
        address: int,
        arrays: Sequence[Array | int | Moving | None],
        n_columns: int,
        settings: Array | Moving | None = None,
        *,
        n_rows: int = 0,
        per_row: int = 1,
    ) -> None:
        """Append a call on ``n_rows`` rows and ``per_row`` for each row of the batch."""
        row = [0] * _WIDTH
        row[_ADDRESS], row[_FIXED], row[_PER_ROW], row[_COLUMNS] = address, n_rows, per_row, n_columns
        for place, array in enumerate(arrays):
            row[_ARRAYS + place] = self._address(array, (_ARRAYS + place, _MOVES + 1 + place), row)
        row[_SETTINGS] = self._address(settings, (_SETTINGS, _MOVES), row)
        self._rows.append(row)

    def place(self, name: str, address: int) -> None:
        """Say where an array lies whose address may change between runs; the caller keeps it alive."""
        if self._placed.get(name) != address:
            table = self.table
            for row, column in self._places[name]:
                table[row, column] = address
            self._placed[name] = address

    @property
    def table(self) -> IntArray:
        """The table that :func:`run_steps` reads."""
        if self._table is None:
            self._table = np.array(self._rows, np.int64).reshape(-1, _WIDTH)
        return self._table

    def run(self, n_rows: int, batch_size: int, n_steps: int, check: int, results: Array) -> int:
        """Make the calls for every batch; see :func:`run_steps`."""
        done: int = run_steps(self.table, n_rows, batch_size, n_steps, check, results)
        return done

    def _address(self, array: Array | int | Moving | None, columns: tuple[int, int], row: list[int]) -> int:
        if isinstance(array, Moving):
            self._places[array.name].append((len(self._rows), columns[0]))
            row[columns[1]] = array.step_bytes
            return 0
        if array is None or isinstance(array, int):
            return array or 0
        self._kept.append(array)
        return array.ctypes.data


@compiled
def run_steps(table: IntArray, n_rows: int, batch_size: int, n_steps: int, check: int, results: Array) -> int:
    """Make the calls of a table once for every batch of ``batch_size`` rows, the last of which may have fewer.

    ``results`` gets what call number ``check`` returns in each step, such as the loss. Where a call returns a number
    that is not finite, ``results`` gets that, and the later calls are not made. Returns the number of whole steps.
    """
    for step in range(n_steps):
        n = min(batch_size, n_rows - step * batch_size)
        for k in range(table.shape[0]):
            row = table[k]
            result = call_address(
                row[_ADDRESS],
                row[_ARRAYS] + step * row[_MOVES + 1],
                row[_ARRAYS + 1] + step * row[_MOVES + 2],
                row[_ARRAYS + 2] + step * row[_MOVES + 3],
                row[_ARRAYS + 3] + step * row[_MOVES + 4],
                row[_ARRAYS + 4] + step * row[_MOVES + 5],
                row[_ARRAYS + 5] + step * row[_MOVES + 6],
                row[_ARRAYS + 6] + step * row[_MOVES + 7],
                row[_ARRAYS + 7] + step * row[_MOVES + 8],
                row[_FIXED] + n * row[_PER_ROW],
                row[_COLUMNS],
                row[_SETTINGS] + step * row[_MOVES],
            )
            if k == check:
                results[step] = result
            if not math.isfinite(result):
                results[step] = result
                return step
    return n_steps
