"""Threads that help with the calls of a tape.

The helpers are Python threads that wait for a tape, and then run :func:`chainrule.kernels.tape.help_steps` in compiled
code, without the global interpreter lock. Parts of a call are handed out one by one. A thread that the operating system
suspends therefore delays only its part.
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
    """The calling thread and ``n_threads - 1`` helpers."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._shared = shared_words(n_threads)
        self._shared[_YIELD] = _yield_address()
        self._table: IntArray = np.zeros((0, 0), np.int64)
        self._in_use = threading.Lock()
        self._gates = [threading.Semaphore(0) for _ in range(n_threads - 1)]
        self._n_calls, self._n_left = 0, [0] * (n_threads - 1)  # how often the helpers were called, and have left
        self._is_started = False
        self._native_ids: list[int] = []
        self._avoided = -1  # the processor of the calling thread, which the helpers leave to it

    @contextmanager
    def helping(self, table: IntArray) -> Iterator[tuple[IntArray, int]]:
        """Within the block, let the helpers compute parts of the calls of a table, unless they help another thread.

        Yields the array that the threads share, and the number of threads.
        """
        if not self._in_use.acquire(blocking=False):
            yield self._shared, 1
            return
        try:
            self._call_helpers(table)
            yield self._shared, self.n_threads
        finally:
            self._shared[_STOP] = 1  # all parts are finished: the helpers only look for new ones
            self._in_use.release()

    def _call_helpers(self, table: IntArray) -> None:
        if not self._is_started:
            for number in range(1, self.n_threads):
                threading.Thread(target=self._help, args=(number,), daemon=True, name="chainrule").start()
            self._is_started = True
            while len(self._native_ids) < len(self._gates):
                time.sleep(0)
        while min(self._n_left) < self._n_calls:  # a helper may not even have begun with the last call
            time.sleep(0)
        self._shared[_NEXT:] = 0
        self._shared[[_FAILED, _STOP]] = 0
        self._table = table
        self._n_calls += 1
        self._avoid_processor_of_caller()
        for gate in self._gates:
            gate.release()

    def _avoid_processor_of_caller(self) -> None:
        """Move the helpers to other processors.

        Linux tends to wake a thread on the processor of the thread that wakes it. The two threads would then run in
        turns and wait for each other, for many milliseconds.
        """
        processor = _current_processor()
        if processor in (-1, self._avoided):
            return
        others = os.sched_getaffinity(0) - {processor}
        with contextlib.suppress(OSError):
            for native_id in self._native_ids if others else ():
                os.sched_setaffinity(native_id, others)
        self._avoided = processor

    def _help(self, number: int) -> None:
        self._native_ids.append(threading.get_native_id())
        if FLUSHING:
            exchange(FLUSHING)
        while True:
            self._gates[number - 1].acquire()
            help_steps(self._table, self._shared, number)
            self._n_left[number - 1] += 1


@cache
def team_of(n_threads: int) -> Team | None:
    """Return the team of this process with ``n_threads`` threads; None for one thread."""
    return Team(n_threads) if n_threads > 1 else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=team_of.cache_clear)  # a fork does not copy the threads


def _current_processor() -> int:
    """Return the number of the processor that runs this thread; -1 if the system cannot move threads."""
    if not hasattr(os, "sched_setaffinity"):
        return -1
    function = _library().sched_getcpu
    number: int = function()
    return number


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL("kernel32" if sys.platform == "win32" else None)


def _yield_address() -> int:
    """Return the address of the function of the operating system that lets other programs run."""
    function = _library().SwitchToThread if sys.platform == "win32" else _library().sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0
