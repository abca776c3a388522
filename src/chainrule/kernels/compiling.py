"""What compiling means for whoever waits: it is announced once in a process, and it does not count as training.

Machine code is kept on disk, so compiling happens at the first fit of an installation, and seldom later. Where no
folder for it can be written, it happens in every process.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["announce_compiling", "quiet_about_compiling", "start_compiling", "stop_compiling", "training_clock"]

_lock = threading.Lock()
_depth = 0  # a compiler may call itself, and threads may compile at the same time
_started = 0.0
_seconds = 0.0
_announces = True


def training_clock() -> float:
    """Return the seconds of a clock that stands still while this process compiles or loads machine code."""
    with _lock:
        return (time.perf_counter() if _depth == 0 else _started) - _seconds


def start_compiling() -> None:
    """Stop the training clock until :func:`stop_compiling` has been called as often."""
    global _depth, _started  # noqa: PLW0603  # compilers call from anywhere
    with _lock:
        if _depth == 0:
            _started = time.perf_counter()
        _depth += 1


def stop_compiling() -> None:
    """Let the training clock go on."""
    global _depth, _seconds  # noqa: PLW0603
    with _lock:
        _depth -= 1
        if _depth == 0:
            _seconds += time.perf_counter() - _started


def announce_compiling(is_kept: bool) -> None:
    """Print once in a process, on the standard error, that compiling takes a while; of several processes the first."""
    global _announces  # noqa: PLW0603
    is_first = "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"
    if _announces and is_first:
        kept = "a few seconds, and kept for the next time"
        again = (
            "some seconds in every process, because neither the installation nor the user's cache folder can be "
            "written; set NUMBA_CACHE_DIR to a folder that can"
        )
        print(f"Compiling for this processor: {kept if is_kept else again}", file=sys.stderr)
    _announces = False


@contextmanager
def quiet_about_compiling() -> Iterator[None]:
    """Announce nothing within the block."""
    global _announces  # noqa: PLW0603
    before, _announces = _announces, False
    try:
        yield
    finally:
        _announces = before
