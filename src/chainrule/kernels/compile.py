"""The compilation of the Numba kernels.

``error_model="numpy"`` removes the check for division by zero, which prevents vectorisation. The ``fastmath`` flags
allow reordering sums and fusing multiply-add. They preserve NaN and infinity, so that divergence is detected.
``cache=True`` stores the machine code on disk, so that only the first fit on a machine waits for the compiler. If no
folder is writable, as in many containers, every process compiles again.

The key of Numba's cache covers only the file of a function, but the machine code of a kernel contains the code of other
kernels. Therefore, every kernel has a checksum of all kernel files as a closure variable, which is a part of the key.
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
LOOP = ("chainrule.kernels.tape", "run_steps")  # the kernel that is compiled first

# Numba's function that makes an array from an address; it has no type hints.
carray: Any = numba.carray  # type: ignore[attr-defined]

Function = TypeVar("Function", bound=Callable[..., Any])

_FLOATS: dict[str, Any] = {"error_model": "numpy", "fastmath": {"reassoc", "contract", "arcp", "nsz"}}
_OPTIONS: dict[str, Any] = {"nogil": True, "boundscheck": False, **_FLOATS}

# Whether machine code is stored on disk.
_is_cached = True

_SOURCES = [*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parents[1] / "formulas" / "calls.py"]
_CHECKSUM = zlib.crc32(b"".join(path.read_bytes() for path in _SOURCES))


def compiled(function: Function) -> Function:
    """Compile a function when it is first called."""
    result: Function = _with_cache(lambda **cache: numba.njit(**cache, **_OPTIONS)(_stamped(function)))
    return result


def inlined(function: Function) -> Function:
    """Compile a helper function of kernels; its code is inserted where it is called."""
    options = {**_OPTIONS, "inline": "always"}
    result: Function = _with_cache(lambda **cache: numba.njit(**cache, **options)(_stamped(function)))
    return result


def compiled_kernel(make: Callable[[Any], Callable[..., float]]) -> Callable[[np.dtype[Any]], int]:
    """Turn ``make(f)``, which returns a kernel for arrays of type ``f``, into a function that returns its address.

    A kernel has the signature :data:`chainrule.formulas.calls.SIGNATURE`. It is compiled when its address is first
    needed, separately for float32 and float64.
    """

    @cache
    def kernel(dtype: np.dtype[Any]) -> Any:
        return _with_cache(lambda **cache: numba.cfunc(SIGNATURE, **cache, **_FLOATS)(_stamped(make(dtype.type))))

    return lambda dtype: int(kernel(np.dtype(dtype)).address)


def _with_cache(compile_it: Callable[..., Any]) -> Any:
    """Compile, and store the machine code on disk if a folder is writable."""
    global _is_cached  # noqa: PLW0603  # one value for all kernels of a process
    if _is_cached:
        try:
            return compile_it(cache=True)
        except RuntimeError:  # Numba has found no writable folder
            _is_cached = False
    return compile_it()


def _stamped(function: Any) -> FunctionType:
    """Return the function with the checksum of all kernels in its closure."""
    code = function.__code__.replace(co_freevars=(*function.__code__.co_freevars, "checksum"))
    closure = (*(function.__closure__ or ()), CellType(_CHECKSUM))
    stamped = FunctionType(code, function.__globals__, function.__name__, None, closure)
    stamped.__qualname__, stamped.__doc__ = function.__qualname__, function.__doc__
    stamped.__annotations__ = function.__annotations__
    return stamped


class _CompilationListener(event.Listener):
    """Receives the compilations of all functions whose machine code is not on disk, also those of other packages."""

    def on_start(self, event: Any) -> None:
        """Announce the compilation of a kernel."""
        dispatcher = event.data["dispatcher"]
        module, name = getattr(dispatcher, "__module__", ""), getattr(dispatcher, "__name__", "")
        if (module, name) == LOOP or (not _is_cached and module.startswith(OURS)):
            announce_compiling(_is_cached)

    def on_end(self, event: Any) -> None:
        """Do nothing."""


class _CompilerLockListener(event.Listener):
    """Receives when a thread holds or waits for Numba's compiler, to compile or to load machine code from disk."""

    def on_start(self, event: Any) -> None:
        """Stop the training clock."""
        start_compiling()

    def on_end(self, event: Any) -> None:
        """Restart the training clock."""
        stop_compiling()


event.register("numba:compile", _CompilationListener())  # type: ignore[no-untyped-call]
event.register("numba:compiler_lock", _CompilerLockListener())  # type: ignore[no-untyped-call]
