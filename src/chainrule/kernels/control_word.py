"""Access to the processor's control register for subnormal numbers, from compiled code.

On x86, two bits of MXCSR replace subnormal results (flush to zero, bit 15) and subnormal operands (denormals are zero,
bit 6) by 0. On ARM, one bit of FPCR (bit 24) does both. The register belongs to the thread and affects all code that
runs in the thread: compiled loops, BLAS, NumPy and PyTorch.
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

# The bits of the register that replace subnormal numbers by 0; none on other processors.
FLUSHING = (1 << 15 | 1 << 6) if _X86 else 1 << 24 if _ARM else 0

_WORD32, _WORD64, _POINTER, _NOTHING = ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer(), ir.VoidType()


def _intrinsic_of_llvm(builder: Any, name: str, result: Any, *arguments: Any) -> Any:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    tools: Any = cgutils  # it has no type hints
    return builder.call(tools.get_or_insert_function(builder.module, kind, name), arguments)


def _type_read(typing_context: Any) -> Any:
    """Return the type of the intrinsic that reads the register, and its code generator."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _ARM:
            return _intrinsic_of_llvm(builder, "llvm.aarch64.get.fpcr", _WORD64)
        variable = builder.alloca(_WORD32)
        _intrinsic_of_llvm(builder, "llvm.x86.sse.stmxcsr", _NOTHING, builder.bitcast(variable, _POINTER))
        return builder.zext(builder.load(variable), _WORD64)

    return types.int64(), generate


def _type_write(typing_context: Any, word: Any) -> Any:
    """Return the type of the intrinsic that sets the register, and its code generator."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if _ARM:
            _intrinsic_of_llvm(builder, "llvm.aarch64.set.fpcr", _NOTHING, arguments[0])
        else:
            variable = builder.alloca(_WORD32)
            builder.store(builder.trunc(arguments[0], _WORD32), variable)
            _intrinsic_of_llvm(builder, "llvm.x86.sse.ldmxcsr", _NOTHING, builder.bitcast(variable, _POINTER))
        return context.get_dummy_value()

    return types.void(types.int64), generate


_read: Any = intrinsic(_type_read)
_write: Any = intrinsic(_type_write)


@compiled
def exchange(bits: int) -> int:
    """Set the bits of ``FLUSHING`` to those of ``bits``, and return their previous values."""
    before: int = _read()
    _write((before & ~FLUSHING) | bits)
    return before & FLUSHING
