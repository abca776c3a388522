"""Whole numbers that several threads read and write at the same time, and functions for a thread that waits."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

__all__ = ["atomic_add", "atomic_load", "atomic_store", "pause", "yield_processor"]

_intrinsic: Callable[[Any], Any] = numba_intrinsic
_tools: Any = cgutils  # it has no type hints

_PAUSES = {"x86_64": "llvm.x86.sse2.pause", "amd64": "llvm.x86.sse2.pause"}
_PAUSE = _PAUSES.get(platform.machine().lower())


def _address(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, values[0]).data
    place = context.cast(builder, values[1], signature.args[1], types.int64)
    return builder.gep(data, [place], inbounds=True)


@_intrinsic
def atomic_load(typing: Any, numbers: Any, place: Any) -> Any:
    """Return an int64 of an array; later reads of this thread see all that was written before the int64 was stored."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_address(context, builder, signature, values), "acquire", 8)

    return types.int64(numbers, place), generate


@_intrinsic
def atomic_store(typing: Any, numbers: Any, place: Any, value: Any) -> Any:
    """Write an int64 to an array, after everything that this thread has written before."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[2], signature.args[2], types.int64)
        builder.store_atomic(number, _address(context, builder, signature, values), "release", 8)
        return context.get_dummy_value()

    return types.void(numbers, place, value), generate


@_intrinsic
def atomic_add(typing: Any, numbers: Any, place: Any, value: Any) -> Any:
    """Add to an int64 of an array; return its previous value."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.cast(builder, values[2], signature.args[2], types.int64)
        return builder.atomic_rmw("add", _address(context, builder, signature, values), number, "acq_rel")

    return types.int64(numbers, place, value), generate


@_intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that this thread waits in a loop."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if _PAUSE is not None:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(_tools.get_or_insert_function(builder.module, kind, _PAUSE), [])
        return context.get_dummy_value()

    return types.void(), generate


@_intrinsic
def yield_processor(typing: Any, address: Any) -> Any:
    """Let other programs run: call the function of the operating system at this address, without arguments."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(values[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), generate
