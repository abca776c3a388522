"""The announcement of compilations, and the clock that measures the time of training without them.

Machine code is stored on disk, so a compilation usually happens only at the first fit after an installation. If no
folder is writable, it happens in every process.
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
_depth = 0  # the number of running compilations: they may be nested, and threads may compile at the same time
_started = 0.0
_seconds = 0.0
_announces = True


def training_clock() -> float:
    """Return the seconds of a clock that stops while this process compiles or loads machine code."""
    with _lock:
        return (time.perf_counter() if _depth == 0 else _started) - _seconds


def start_compiling() -> None:
    """Stop the training clock until :func:`stop_compiling` has been called the same number of times."""
    global _depth, _started  # noqa: PLW0603  # called by compilers
    with _lock:
        if _depth == 0:
            _started = time.perf_counter()
        _depth += 1


def stop_compiling() -> None:
    """Restart the training clock if no other compilation is running."""
    global _depth, _seconds  # noqa: PLW0603
    with _lock:
        _depth -= 1
        if _depth == 0:
            _seconds += time.perf_counter() - _started


def announce_compiling(is_cached: bool) -> None:
    """Print to the standard error that the compilation takes some time; once, and in the first process only."""
    global _announces  # noqa: PLW0603
    is_first = "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("RANK", "0") == "0"
    if _announces and is_first:
        cached = "a few seconds, and kept for the next time"
        repeated = (
            "some seconds in every process, because neither the installation nor the user's cache folder can be "
            "written; set NUMBA_CACHE_DIR to a folder that can"
        )
        print(f"Compiling for this processor: {cached if is_cached else repeated}", file=sys.stderr)
    _announces = False


@contextmanager
def quiet_about_compiling() -> Iterator[None]:
    """Within the block, do not announce compilations."""
    global _announces  # noqa: PLW0603
    before, _announces = _announces, False
    try:
        yield
    finally:
        _announces = before
