"""Threads that help with the calls of a tape.

The helpers are Python threads that wait for a tape, and then run :func:`chainrule.kernels.tape.help_steps` in compiled
code, without the global interpreter lock. Parts of a call are handed out one by one. A call ends when all of its parts
are finished.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from chainrule.kernels.control_word import FLUSHING, exchange
from chainrule.kernels.tape import _FAILED, _NEXT, _STOP, _YIELD, help_steps, shared_words
from chainrule.types import IntArray

__all__ = ["Team", "team_of"]


class Team:
    """The calling thread and ``n_threads - 1`` helpers, which are started when they are first needed."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._shared = shared_words(n_threads)
        self._shared[_YIELD] = _yield_address()
        self._in_use, self._changes = threading.Lock(), threading.Condition()
        # What the helpers do, changed under the condition: a tape and its number, and how to treat subnormal numbers.
        self._table: IntArray = np.zeros((0, 0), np.int64)
        self._number, self._flushing = 0, 0
        self._is_inside = [False] * (n_threads - 1)  # whether a helper runs help_steps
        self._is_started = False
        self._native_ids: list[int] = []  # empty if the helpers could not be started
        self._avoided = -1  # the processor of the calling thread, which the helpers leave to it

    @contextmanager
    def helping(self, table: IntArray) -> Iterator[tuple[IntArray, int]]:
        """Within the block, let the helpers compute parts of the calls of a table, unless they help another thread.

        Yields the array that the threads share, and the number of threads, which is 1 if no helper is free.
        """
        if not self._in_use.acquire(blocking=False):
            yield self._shared, 1
            return
        try:
            yield self._shared, self.n_threads if self._call_helpers(table) else 1
        finally:
            self._shared[_STOP] = 1  # all parts are finished: the helpers only look for new ones
            self._in_use.release()

    def _call_helpers(self, table: IntArray) -> bool:
        """Give the helpers a table; return whether there are helpers."""
        flushing = exchange(0) if FLUSHING else 0
        if flushing:
            exchange(flushing)
        if not self._is_started:
            self._start(table)
        if not self._native_ids:  # the helpers could not be started
            return False
        with self._changes:
            while any(self._is_inside):  # a helper has not seen yet that the tape before has ended
                time.sleep(0)
            self._shared[_NEXT:] = 0
            self._shared[[_FAILED, _STOP]] = 0
            self._table, self._flushing = table, flushing
            self._avoid_processor_of_caller()
            self._number += 1
            self._changes.notify_all()
        return True

    def _start(self, table: IntArray) -> None:
        """Start the helpers. After a failure or an interrupt, this is not tried again: some may have been started."""
        self._is_started, self._shared[_STOP] = True, 1
        help_steps(table, self._shared, 0)  # compiled now, because this thread would wait for a helper that compiles
        started = [threading.Thread(target=self._help, args=(k,), daemon=True) for k in range(self.n_threads - 1)]
        with contextlib.suppress(RuntimeError):  # raised if the operating system allows no more threads
            for thread in started:
                thread.start()
            self._native_ids = [thread.native_id or 0 for thread in started]

    def _help(self, k: int) -> None:
        seen = 0
        while True:
            with self._changes:
                while self._number == seen:
                    self._changes.wait()
                seen, table, flushing = self._number, self._table, self._flushing
                self._is_inside[k] = True
            try:
                if FLUSHING:
                    exchange(flushing)
                help_steps(table, self._shared, k + 1)
            finally:
                self._is_inside[k] = False

    def _avoid_processor_of_caller(self) -> None:
        """Move the helpers to other processors.

        Linux likes to wake a thread on the processor of the thread that wakes it. Both would then run in turns, and
        wait for each other, for many milliseconds.
        """
        processor = _current_processor()
        if processor in (-1, self._avoided):
            return
        others = os.sched_getaffinity(0) - {processor}
        with contextlib.suppress(OSError):
            for native_id in self._native_ids if others else ():
                os.sched_setaffinity(native_id, others)
        self._avoided = processor


@cache
def _new_team(n_threads: int) -> Team:
    return Team(n_threads)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_team.cache_clear)  # the threads are not copied


def team_of(n_threads: int) -> Team | None:
    """Return the team of this process with so many threads; None for one thread."""
    return _new_team(n_threads) if n_threads > 1 else None


def _current_processor() -> int:
    """Return the number of the processor that this thread runs on; -1 if it is unknown, or cannot be chosen."""
    function = getattr(_library(), "sched_getcpu", None)
    if function is None or not hasattr(os, "sched_setaffinity"):
        return -1
    number: int = function()
    return number


@cache
def _library() -> ctypes.CDLL:
    return ctypes.PyDLL("kernel32" if sys.platform == "win32" else None)


def _yield_address() -> int:
    """Return the address of the function of the operating system that lets other programs run; 0 if there is none."""
    name = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    function = getattr(_library(), name, None)
    return 0 if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0
