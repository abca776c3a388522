"""How many threads a fit or a prediction may use.

Compiled code divides its calls among several threads (:func:`team_size`), with the same bits for any number of them.
BLAS, which the NumPy code of layers and solvers calls, uses one thread, unless the environment variable
``CHAINRULE_THREADS`` is set to another number. On a machine that runs other programs, several BLAS threads spend their
time waiting for each other, and a fit can take thirty times as long instead of half the time.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chainrule.errors import InvalidInputError

__all__ = ["limited_threads", "team_size", "wanted_threads"]

MOST_THREADS = 8  # of a team without CHAINRULE_THREADS; larger ones have not been measured

_lock = threading.Lock()
_blocks: list[Any] = []  # the limit, as often as there are blocks under way


def wanted_threads() -> int:
    """Return the number of threads that BLAS and PyTorch may use: ``CHAINRULE_THREADS``, or 1."""
    given = os.environ.get("CHAINRULE_THREADS", "1").strip()
    if not given.isdecimal() or int(given) < 1:
        raise InvalidInputError(f"CHAINRULE_THREADS is '{given}'; set it to a whole number >= 1, or leave it unset.")
    return int(given)


def team_size() -> int:
    """Return the number of threads that may take the steps of compiled code together.

    This is ``CHAINRULE_THREADS``, or the number of processors that this process may use, but not more than
    ``OMP_NUM_THREADS`` and :data:`MOST_THREADS`.
    """
    if "CHAINRULE_THREADS" in os.environ:
        return wanted_threads()
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "").strip()
    limits = [n_processors, MOST_THREADS, _quota(), int(limit) if limit.isdecimal() else MOST_THREADS]
    return max(1, min(limits))


def _quota() -> int:
    """Return the number of processors whose time a container may use."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # there is no such file, or the quota is "max"
        return MOST_THREADS


@contextmanager
def limited_threads() -> Iterator[None]:
    """Within the block, let BLAS use :func:`wanted_threads` threads.

    The limit belongs to the whole process. With fits in several threads, the first block that begins sets the limit,
    and the last block that ends restores the previous number.
    """
    n_threads = wanted_threads()
    with _lock:
        if not _blocks:
            _let_this_thread_decide()
            _blocks.append(_controller().limit(limits=n_threads, user_api="blas"))
        else:
            _blocks.append(_blocks[0])
    try:
        yield
    finally:
        with _lock:
            limit = _blocks.pop()
            if not _blocks:
                _let_this_thread_decide()
                limit.restore_original_limits()
                _let_this_thread_decide()


def _let_this_thread_decide() -> None:
    """Let threadpoolctl obey this thread: since 3.8 it obeys only the first that has set a limit, while that lives."""
    from threadpoolctl import OpenBLASController

    clear = getattr(OpenBLASController, "clear_controlling_thread", None)
    if clear is not None:
        clear(force=True)


@functools.cache
def _controller() -> Any:
    import scipy.linalg.cython_blas  # noqa: F401  (solvers use SciPy's BLAS; the controller sees what is loaded)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
