"""How every Numba kernel is compiled.

``error_model="numpy"`` removes the check for division by zero that stops vectorisation. The ``fastmath`` flags allow
reordering sums and fusing multiply-add, but keep NaN and infinity honest, so that divergence is still detected.
``cache=True`` keeps the machine code on disk: only the first fit ever waits for the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba

__all__ = ["compiled", "inlined"]

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "arcp", "nsz"},
    "boundscheck": False,
}


def compiled(function: Function) -> Function:
    """Compile a kernel, when it is first called."""
    kernel: Function = numba.njit(**_OPTIONS)(function)
    return kernel


def inlined(function: Function) -> Function:
    """Compile a part of a kernel that takes many arrays: to hand them over would cost a tenth of a microsecond."""
    part: Function = numba.njit(inline="always", **_OPTIONS)(function)
    return part
