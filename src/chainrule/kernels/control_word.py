"""The processor's switch for subnormal numbers, in compiled code.

On x86 two bits of MXCSR make subnormal results (flush to zero, bit 15) and operands (denormals are zero, bit 6) count
as 0; on ARM one bit of FPCR (bit 24) does both. The register belongs to the thread, and everything that computes in the
thread obeys: compiled loops, BLAS, NumPy and PyTorch.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from chainrule.kernels.compile import compiled

__all__ = ["FLUSHING", "exchange"]

_X86 = platform.machine().lower() in ("x86_64", "amd64")
_ARM = platform.machine().lower() in ("aarch64", "arm64")

# The bits of the register that count subnormal numbers as 0; none on a processor that is not known.
FLUSHING = (1 << 15 | 1 << 6) if _X86 else 1 << 24 if _ARM else 0

_WORD32, _WORD64, _POINTER, _NOTHING = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer(), ir.VoidType()


def _intrinsic_of_llvm(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    tools: Any = cgutils  # it has no types
    return builder.call(tools.get_or_insert_function(builder.module, kind, name), arguments)


def _type_read(typing_context: Any) -> Any:
    """Say how the register is read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _ARM:
            return _intrinsic_of_llvm(builder, "llvm.aarch64.get.fpcr", _WORD64)
        place = builder.alloca(_WORD32)
        _intrinsic_of_llvm(builder, "llvm.x86.sse.stmxcsr", _NOTHING, builder.bitcast(place, _POINTER))
        return builder.zext(builder.load(place), _WORD64)

    return types.int64(), generate


def _type_write(typing_context: Any, word: Any) -> Any:
    """Say how the register is set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _ARM:
            _intrinsic_of_llvm(builder, "llvm.aarch64.set.fpcr", _NOTHING, arguments[0])
        else:
            place = builder.alloca(_WORD32)
            builder.store(builder.trunc(arguments[0], _WORD32), place)
            _intrinsic_of_llvm(builder, "llvm.x86.sse.ldmxcsr", _NOTHING, builder.bitcast(place, _POINTER))
        return context.get_dummy_value()

    return types.void(types.int64), generate


_read: Any = intrinsic(_type_read)
_write: Any = intrinsic(_type_write)


@compiled
def exchange(bits: int) -> int:
    """Set the bits of ``FLUSHING`` to those of ``bits`` and return what they were."""
    before: int = _read()
    _write((before & ~FLUSHING) | bits)
    return before & FLUSHING
