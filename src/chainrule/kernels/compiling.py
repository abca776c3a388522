"""Who wants to know that kernels are being compiled: the commands say so, a library keeps silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["compiling_begins", "told_of_compiling"]

_tell: Callable[[], None] | None = None


@contextmanager
def told_of_compiling(tell: Callable[[], None]) -> Iterator[None]:
    """Within the block, have ``tell`` called, at most once, when kernels have to be compiled, which takes seconds.

    Machine code is kept on disk, so this is at the first fit of an installation, and seldom later.
    """
    global _tell  # noqa: PLW0603  # the compiler calls from anywhere
    _tell = tell
    try:
        yield
    finally:
        _tell = None


def compiling_begins() -> None:
    """Call who wants to know, the first time."""
    global _tell
    tell, _tell = _tell, None
    if tell is not None:
        tell()
