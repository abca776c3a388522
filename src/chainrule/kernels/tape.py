"""Tables of calls, which compute whole training steps or predictions without Python code between the operations.

All compiled operations are C functions with the same signature (:data:`chainrule.formulas.calls.SIGNATURE`). They take
the addresses of arrays, the numbers of rows and columns, and the address of float64 settings, and return a float64. A
table is a list of such calls. :func:`run_steps` makes all calls of the table for the first batch, then for the next
batch, and so on. It is independent of the operations and of their float type.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.formulas.loops import N_ARRAYS
from chainrule.kernels.atomic import atomic_add, atomic_load, atomic_store, pause, yield_processor
from chainrule.kernels.compile import compiled
from chainrule.types import Array, IntArray

__all__ = ["Placeholder", "Split", "Tape", "help_steps", "run_steps", "shared_words"]

# The columns of a table: the address of the function, the addresses of its arrays, its number of rows (a fixed number,
# and a multiple of the rows of the batch), its number of columns, the address of its settings, the number of bytes by
# which the addresses of the settings and of each array increase with every step, whether its result is added, and how
# the call is divided (see Split).
_ADDRESS, _ARRAYS, _FIXED, _PER_ROW = 0, 1, 1 + N_ARRAYS, 2 + N_ARRAYS
_COLUMNS, _SETTINGS, _STRIDES = 3 + N_ARRAYS, 4 + N_ARRAYS, 5 + N_ARRAYS
_ADDS_RESULT = _STRIDES + 1 + N_ARRAYS
_PART, _BY_COLUMNS, _UNITS = _ADDS_RESULT + 1, _ADDS_RESULT + 2, _ADDS_RESULT + 3
_OWN = _UNITS + N_ARRAYS
_WIDTH = _OWN + N_ARRAYS

# What the threads share, in different cache lines: the number of finished parts of the present call, its step, its rows
# of the batch, the size of its parts, the number of parts for each thread, whether a result is not finite, whether the
# threads are to stop helping, the address of the function of the operating system that lets other programs run, and a
# word for each thread with its own parts: the number of the call, the number of the parts, and the number of the next.
_FINISHED, _STEP, _ROWS, _SIZE, _PER_THREAD = 0, 8, 9, 10, 11
_FAILED, _STOP, _YIELD, _NEXT, _LINE = 16, 24, 25, 32, 8
_PARTS_PER_THREAD = 4  # at most; large parts are computed faster, but with small parts threads wait for a shorter time
_BITS, _MASK = 20, (1 << 20) - 1
_ALONE = np.zeros(_NEXT + _LINE, np.int64)
# The trials of a team: their number, the length of one in seconds, the ratio of times from which on the team is chosen,
# and the seconds until the next trials, at first and at most.
N_TRIALS, TRIAL_SECONDS, GAIN, FIRST_CHOICE_SECONDS, MAX_CHOICE_SECONDS = 7, 0.0015, 1.2, 0.5, 8.0
_PATIENCE = 4000  # how often a waiting thread looks again before it lets other programs run


@dataclass(frozen=True)
class Placeholder:
    """An array that :meth:`Tape.bind` provides later; its address increases by ``step_bytes`` with every step."""

    name: str
    step_bytes: int = 0


@dataclass(frozen=True)
class Split:
    """How a call is divided into parts that threads compute at the same time; the results have the same bits.

    Attributes
    ----------
    size
        The number of rows, or columns, in the smallest part.
    units
        For each array, the number of bytes from one row, or column, to the next; 0 for an array that all parts read.
    own
        For each array, the number of bytes from the buffer of one thread to that of the next; 0 for no buffer.
    by_columns
        Whether the columns are divided, and not the rows.
    """

    size: int
    units: tuple[int, ...]
    own: tuple[int, ...] = ()
    by_columns: bool = False


class Helpers(Protocol):
    """Threads that can help; see :class:`chainrule.kernels.team.Team`."""

    def helping(self, table: IntArray) -> AbstractContextManager[tuple[IntArray, int]]: ...


class Pace:
    """Decides from measured times whether a team takes the steps of a tape, or one thread alone.

    Both take some short runs of steps. The team is chosen if the median of its times is clearly shorter. Both are tried
    again later, because the machine may have become busy or idle.
    """

    def __init__(self) -> None:
        self._times: dict[bool, list[float]] = {False: [], True: []}  # seconds per row, alone and together
        self._began, self._ends, self._lasts = 0.0, 0.0, FIRST_CHOICE_SECONDS
        self._is_together = False

    def choose(self, rows_per_step: int) -> tuple[bool, int]:
        """Return whether the team takes the next steps, and their number; 0 for all."""
        now = time.perf_counter()
        if now < self._ends:
            return self._is_together, 0
        if self._ends or not self._began:
            self._times, self._began, self._ends = {False: [], True: []}, now, 0.0
        together = len(self._times[False]) == N_TRIALS
        known = (self._times[together] or self._times[False])[-1:]
        return together, max(1, int(TRIAL_SECONDS / (known[0] * rows_per_step))) if known else 1

    def note(self, together: bool, n_rows: int, seconds: float) -> None:
        """Note the time of the rows of some steps."""
        if self._ends:
            return
        self._times[together].append(max(seconds, 1e-9) / n_rows)
        if not together:
            return
        enough = statistics.median(self._times[False]) / GAIN
        n_slow = sum(time > enough for time in self._times[True])
        if n_slow > N_TRIALS // 2 or len(self._times[True]) == N_TRIALS:
            is_together, now = n_slow <= N_TRIALS // 2, time.perf_counter()
            is_same = is_together == self._is_together
            lasts = min(MAX_CHOICE_SECONDS, 2 * self._lasts) if is_same else FIRST_CHOICE_SECONDS
            self._lasts = max(lasts, 10 * (now - self._began))
            self._is_together, self._ends = is_together, now + self._lasts


class Tape:
    """A table of calls. It holds references to the arrays, because the table contains only their addresses."""

    def __init__(self) -> None:
        self._rows: list[list[int]] = []
        self._kept: list[Any] = []
        self._placeholders: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._table: IntArray | None = None
        self._bound: dict[str, int] = {}
        self._pace = Pace()
        self._divided: dict[int, bool] = {}

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
        split: Split | None = None,
    ) -> None:
        """Append a call for ``n_rows`` rows plus ``per_row`` rows for each row of the batch.

        With ``adds_result``, the number that it returns is added to the result of the step. Such a call has no parts.
        """
        row = [0] * _WIDTH
        if split is not None:
            row[_PART], row[_BY_COLUMNS] = split.size, int(split.by_columns)
            row[_UNITS : _UNITS + len(split.units)] = split.units
            row[_OWN : _OWN + len(split.own)] = split.own
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

    def run(self, n_rows: int, batch_size: int, n_steps: int, results: Array, team: Helpers | None = None) -> int:
        """Make the calls for every batch; see :func:`run_steps`. A team divides them if that is faster."""
        n_done, rows_per_step = 0, min(n_rows, batch_size)
        if team is None or not self._has_parts(rows_per_step):
            return int(run_steps(self.table, n_rows, batch_size, 0, n_steps, results, _ALONE, 1))
        while n_done < n_steps:
            together, n_chosen = self._pace.choose(rows_per_step)
            first, last = n_done, min(n_steps, n_done + n_chosen) if n_chosen else n_steps
            start = time.perf_counter()
            help_or_not = team.helping(self.table) if together else contextlib.nullcontext((_ALONE, 1))
            with help_or_not as (shared, n_present):
                n_done = run_steps(self.table, n_rows, batch_size, first, last, results, shared, n_present)
            if n_done < last:
                break
            if (n_present > 1) == together:
                n_taken = min(n_rows, last * batch_size) - first * batch_size
                self._pace.note(together, n_taken, time.perf_counter() - start)
        return n_done

    def _has_parts(self, n: int) -> bool:
        """Return whether a call for n rows of a batch has several parts."""
        if n not in self._divided:
            table = self.table
            whole = np.where(table[:, _BY_COLUMNS], table[:, _COLUMNS], table[:, _FIXED] + n * table[:, _PER_ROW])
            self._divided[n] = bool(np.any((table[:, _PART] > 0) & (whole > table[:, _PART])))
        return self._divided[n]

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
def _call(row: IntArray, step: int, n: int, part: int, size: int, thread: int) -> float:
    """Make a call for one part of its rows or columns."""
    n_rows, n_columns, first = row[_FIXED] + n * row[_PER_ROW], row[_COLUMNS], part * size
    if row[_BY_COLUMNS]:
        n_columns = min(size, n_columns - first)
    else:
        n_rows = min(size, n_rows - first)
    result: float = call_address(
        row[_ADDRESS],
        row[_ARRAYS] + step * row[_STRIDES + 1] + first * row[_UNITS] + thread * row[_OWN],
        row[_ARRAYS + 1] + step * row[_STRIDES + 2] + first * row[_UNITS + 1] + thread * row[_OWN + 1],
        row[_ARRAYS + 2] + step * row[_STRIDES + 3] + first * row[_UNITS + 2] + thread * row[_OWN + 2],
        row[_ARRAYS + 3] + step * row[_STRIDES + 4] + first * row[_UNITS + 3] + thread * row[_OWN + 3],
        row[_ARRAYS + 4] + step * row[_STRIDES + 5] + first * row[_UNITS + 4] + thread * row[_OWN + 4],
        row[_ARRAYS + 5] + step * row[_STRIDES + 6] + first * row[_UNITS + 5] + thread * row[_OWN + 5],
        row[_ARRAYS + 6] + step * row[_STRIDES + 7] + first * row[_UNITS + 6] + thread * row[_OWN + 6],
        row[_ARRAYS + 7] + step * row[_STRIDES + 8] + first * row[_UNITS + 7] + thread * row[_OWN + 7],
        n_rows,
        n_columns,
        row[_SETTINGS] + step * row[_STRIDES],
    )
    return result


def shared_words(n_threads: int) -> IntArray:
    """Return the array that threads share."""
    return np.zeros(_NEXT + n_threads * _LINE, np.int64)


@compiled
def _wait(shared: IntArray, n_idle: int) -> None:
    """Wait for a moment; let other programs run if this thread has waited many times in a row (``n_idle``)."""
    if n_idle < _PATIENCE or shared[_YIELD] == 0:
        pause()
    else:
        yield_processor(shared[_YIELD])


@compiled
def _take_parts(table: IntArray, shared: IntArray, thread: int) -> int:
    """Compute parts of the present call until none is left; return their number.

    A thread takes its own parts first, whose numbers are likely to be in its cache, and then those of the others.
    """
    n_taken, n_threads = 0, (shared.size - _NEXT) // _LINE
    for distance in range(n_threads):
        owner = (thread + distance) % n_threads
        place = _NEXT + owner * _LINE
        while True:
            word = atomic_load(shared, place)
            if (word & _MASK) >= ((word >> _BITS) & _MASK):
                break
            word = atomic_add(shared, place, 1)  # maybe for a later call by now; no call ends before its last part
            if (word & _MASK) >= ((word >> _BITS) & _MASK):
                break
            part = owner * shared[_PER_THREAD] + (word & _MASK)
            result = _call(table[word >> (2 * _BITS)], shared[_STEP], shared[_ROWS], part, shared[_SIZE], thread)
            if not math.isfinite(result):
                shared[_FAILED] = 1
            atomic_add(shared, _FINISHED, 1)
            n_taken += 1
    return n_taken


@compiled
def _hand_out(shared: IntArray, call: int, step: int, n: int, size: int, n_parts: int) -> None:
    """Let the threads begin with the parts of a call."""
    n_threads = (shared.size - _NEXT) // _LINE
    each = -(-n_parts // n_threads)
    shared[_STEP], shared[_ROWS], shared[_SIZE], shared[_PER_THREAD] = step, n, size, each
    atomic_store(shared, _FINISHED, 0)
    for thread in range(n_threads):
        own = max(0, min(each, n_parts - thread * each))
        atomic_store(shared, _NEXT + thread * _LINE, (call << (2 * _BITS)) | (own << _BITS))


@compiled
def help_steps(table: IntArray, shared: IntArray, thread: int) -> None:
    """Compute parts of the calls that :func:`run_steps` makes in another thread, until the team stops helping."""
    n_idle = 0
    while atomic_load(shared, _STOP) == 0:
        if _take_parts(table, shared, thread) > 0:
            n_idle = 0
        else:
            n_idle += 1
            _wait(shared, n_idle)


@compiled
def run_steps(
    table: IntArray,
    n_rows: int,
    batch_size: int,
    first: int,
    last: int,
    results: Array,
    shared: IntArray,
    n_threads: int,
) -> int:
    """Make the calls of a table once for each of the batches from ``first`` to before ``last``.

    All batches have ``batch_size`` rows, except that the last batch of the rows may have fewer.
    In each step, the sum of the results of some calls (``adds_result``), such as the loss, is written to ``results``.
    If any call returns a number that is not finite, this number is written to ``results`` instead, and no further calls
    are made. Returns the number of the first step that is not complete. With several threads, the other threads run
    :func:`help_steps` at the same time.
    """
    for step in range(first, last):
        n = min(batch_size, n_rows - step * batch_size)
        results[step] = 0.0
        for k in range(table.shape[0]):
            row = table[k]
            size, n_parts = row[_PART], 1
            if n_threads > 1 and size > 0:
                whole = row[_COLUMNS] if row[_BY_COLUMNS] else row[_FIXED] + n * row[_PER_ROW]
                size *= max(1, -(-whole // (size * _PARTS_PER_THREAD * n_threads)))
                n_parts = -(-whole // size)
            if n_parts > 1:
                _hand_out(shared, k, step, n, size, n_parts)
                _take_parts(table, shared, 0)
                n_idle = 0
                while atomic_load(shared, _FINISHED) < n_parts:
                    n_idle += 1
                    _wait(shared, n_idle)
                if shared[_FAILED]:
                    results[step] = math.nan
                    return step
                continue
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
    return last
