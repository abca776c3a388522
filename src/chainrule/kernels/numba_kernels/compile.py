"""How every Numba kernel is compiled.

``error_model="numpy"`` removes the check for division by zero that stops vectorisation. The ``fastmath`` flags allow
reordering sums and fusing multiply-add, but keep NaN and infinity honest, so that divergence is still detected.
``cache=True`` keeps the machine code on disk: only the first fit on a machine ever waits for the compiler. Where no
folder can be written, as in many containers, every process compiles for itself.

Numba's cache looks at the file of a function alone, but the machine code of one holds that of others. So every kernel
carries a checksum of all kernel files as a closure variable, which is a part of the cache's key.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from types import CellType, FunctionType
from typing import Any, TypeVar

import numba
from numba.core import event

from chainrule.kernels.compiling import announce_compiling, start_compiling, stop_compiling

__all__ = ["compiled", "inlined"]

OURS = "chainrule.kernels.numba_kernels."
# The loop of whole steps takes most of the compiler's time.
LONGEST = ("chainrule.kernels.numba_kernels.steps", "train_steps")

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "boundscheck": False,
}


# Whether machine code is kept on disk.
_is_kept = True

_SOURCES = [*sorted(Path(__file__).parents[1].rglob("*.py")), Path(__file__).parents[2] / "formulas" / "calls.py"]
_CHECKSUM = zlib.crc32(b"".join(path.read_bytes() for path in _SOURCES))


def compiled(function: Function) -> Function:
    """Compile a kernel, when it is first called."""
    return _compile(function)


def inlined(function: Function) -> Function:
    """Compile a part of a kernel that takes many arrays: to hand them over would cost a tenth of a microsecond."""
    return _compile(function, inline="always")


def _compile(function: Function, **options: Any) -> Function:
    global _is_kept  # noqa: PLW0603  # the same for all kernels of a process
    stamped = _stamped(function)
    try:
        kernel: Function = numba.njit(cache=True, **options, **_OPTIONS)(stamped)
    except RuntimeError:  # Numba has found no folder that it can write to
        kernel = numba.njit(**options, **_OPTIONS)(stamped)
        _is_kept = False
    return kernel


def _stamped(function: Any) -> FunctionType:
    """Return the function with the checksum in its closure."""
    code = function.__code__.replace(co_freevars=("checksum",))
    stamped = FunctionType(code, function.__globals__, function.__name__, None, (CellType(_CHECKSUM),))
    stamped.__doc__, stamped.__annotations__ = function.__doc__, function.__annotations__
    return stamped


class _Compiling(event.Listener):
    """Sees what Numba compiles because it has no machine code of it on disk, ours and others'."""

    def on_start(self, event: Any) -> None:
        """Say so if somebody is going to wait for it."""
        dispatcher = event.data["dispatcher"]
        module, name = getattr(dispatcher, "__module__", ""), getattr(dispatcher, "__name__", "")
        if (module, name) == LONGEST or (not _is_kept and module.startswith(OURS)):
            announce_compiling(_is_kept)

    def on_end(self, event: Any) -> None:
        """Nobody waits for the end."""


class _CompilerLock(event.Listener):
    """Sees when a thread holds Numba's compiler, or waits for it: to compile, or to load machine code from disk."""

    def on_start(self, event: Any) -> None:
        """Stop the training clock."""
        start_compiling()

    def on_end(self, event: Any) -> None:
        """Let it go on."""
        stop_compiling()


event.register("numba:compile", _Compiling())  # type: ignore[no-untyped-call]
event.register("numba:compiler_lock", _CompilerLock())  # type: ignore[no-untyped-call]
