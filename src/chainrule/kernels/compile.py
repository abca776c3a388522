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
from functools import cache
from pathlib import Path
from types import CellType, FunctionType
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core import event

from chainrule.formulas.calls import SIGNATURE
from chainrule.kernels.compiling import announce_compiling, start_compiling, stop_compiling

__all__ = ["carray", "compiled", "compiled_kernel", "inlined"]

OURS = "chainrule.kernels."
LOOP = ("chainrule.kernels.tape", "run_steps")  # what is compiled first

# Numba's function that makes an array of an address; it has no types.
carray: Any = numba.carray  # type: ignore[attr-defined]

Function = TypeVar("Function", bound=Callable[..., Any])

_FLOATS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp", "nsz"}}
_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, **_FLOATS}


# Whether machine code is kept on disk.
_is_kept = True

_SOURCES = [*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parents[1] / "formulas" / "calls.py"]
_CHECKSUM = zlib.crc32(b"".join(path.read_bytes() for path in _SOURCES))


def compiled(function: Function) -> Function:
    """Compile a function when it is first called."""
    result: Function = _kept(lambda **cache: numba.njit(**cache, **_OPTIONS)(_stamped(function)))
    return result


def inlined(function: Function) -> Function:
    """Compile a part of kernels, which becomes a part of their code."""
    options = {**_OPTIONS, "inline": "always"}
    result: Function = _kept(lambda **cache: numba.njit(**cache, **options)(_stamped(function)))
    return result


def compiled_kernel(make: Callable[[Any], Callable[..., float]]) -> Callable[[np.dtype[Any]], int]:
    """Turn ``make(f)``, which returns a kernel for arrays of type ``f``, into a function that returns its address.

    A kernel has the signature :data:`chainrule.formulas.calls.SIGNATURE`. It is compiled when its address is first
    asked for, once for float32 and once for float64.
    """

    @cache
    def kernel(dtype: np.dtype[Any]) -> Any:
        return _kept(lambda **cache: numba.cfunc(SIGNATURE, **cache, **_FLOATS)(_stamped(make(dtype.type))))

    return lambda dtype: int(kernel(np.dtype(dtype)).address)


def _kept(compile_it: Callable[..., Any]) -> Any:
    """Compile with the machine code kept on disk, if a folder for it can be written."""
    global _is_kept  # noqa: PLW0603  # the same for all kernels of a process
    if _is_kept:
        try:
            return compile_it(cache=True)
        except RuntimeError:  # Numba has found no folder that it can write to
            _is_kept = False
    return compile_it()


def _stamped(function: Any) -> FunctionType:
    """Return the function with the checksum of all kernels in its closure."""
    code = function.__code__.replace(co_freevars=(*function.__code__.co_freevars, "checksum"))
    closure = (*(function.__closure__ or ()), CellType(_CHECKSUM))
    stamped = FunctionType(code, function.__globals__, function.__name__, None, closure)
    stamped.__qualname__, stamped.__doc__ = function.__qualname__, function.__doc__
    stamped.__annotations__ = function.__annotations__
    return stamped


class _Compiling(event.Listener):
    """Sees what Numba compiles because it has no machine code of it on disk, ours and others'."""

    def on_start(self, event: Any) -> None:
        """Say so if somebody is going to wait for it."""
        dispatcher = event.data["dispatcher"]
        module, name = getattr(dispatcher, "__module__", ""), getattr(dispatcher, "__name__", "")
        if (module, name) == LOOP or (not _is_kept and module.startswith(OURS)):
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
