"""Calls of compiled loops by their addresses, from Python and from other compiled code.

Every compiled loop is a C function with one signature: the addresses of :data:`N_ARRAYS` arrays, the numbers of rows
and columns, and the address of float64 settings; it returns a float64. Therefore code that calls a loop is compiled
once for all formulas and for both float types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as numba_intrinsic

from chainrule.formulas.loops import N_ARRAYS
from chainrule.types import Array

__all__ = ["SIGNATURE", "add_in_any_order", "call_address", "call_arrays"]

_numbers: Any = types.CPointer(types.float64)  # type: ignore[no-untyped-call]

SIGNATURE = types.float64(*[types.voidptr] * N_ARRAYS, types.int64, types.int64, _numbers)

_intrinsic: Callable[[Any], Any] = numba_intrinsic


@_intrinsic
def call_address(
    typing: Any, address: Any, p0: Any, p1: Any, p2: Any, p3: Any, p4: Any, p5: Any, p6: Any, p7: Any,
    n_rows: Any, n_columns: Any, settings: Any,
) -> Any:  # fmt: skip
    """Call the function at an address with the addresses of arrays, rows, columns, and the address of settings."""
    signature = types.float64(*[types.int64] * (4 + N_ARRAYS))

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        byte, number, whole = ir.IntType(8).as_pointer(), ir.DoubleType().as_pointer(), ir.IntType(64)
        kind = ir.FunctionType(ir.DoubleType(), [*[byte] * N_ARRAYS, whole, whole, number])
        pointers = [builder.inttoptr(value, byte) for value in values[1 : 1 + N_ARRAYS]]
        n_rows, n_columns, settings = values[1 + N_ARRAYS :]
        function = builder.inttoptr(values[0], kind.as_pointer())
        return builder.call(function, [*pointers, n_rows, n_columns, builder.inttoptr(settings, number)])

    return signature, generate


@_intrinsic
def add_in_any_order(typing: Any, total: Any, term: Any) -> Any:
    """Return total + term; a loop may add the terms of such a sum in another order, and so several at a time."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        return builder.fadd(*operands, flags=("reassoc", "contract", "nsz"))

    return total(total, term), generate


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    try:
        kept: Callable[..., Any] = numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # Numba found no folder that it can write to
        return cast("Callable[..., Any]", numba.njit(nogil=True)(function))
    return kept


@_compiled
def call_arrays(
    address: int, a: Array, b: Array, c: Array, d: Array, e: Array, f: Array, g: Array, h: Array,
    n_rows: int, n_columns: int, settings: Array,
) -> float:  # fmt: skip
    """Call the loop at an address on contiguous arrays."""
    result: float = call_address(
        address, a.ctypes.data, b.ctypes.data, c.ctypes.data, d.ctypes.data, e.ctypes.data, f.ctypes.data,
        g.ctypes.data, h.ctypes.data, n_rows, n_columns, settings.ctypes.data,
    )  # fmt: skip
    return result
