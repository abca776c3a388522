"""Elementary functions of one float32 number, written so that the compiler vectorises loops that call them.

Numba compiles ``np.exp`` and similar functions to calls of the C library, which take one number at a time, so that the
loop around them is not vectorised. The functions here are polynomials without branches instead. Each argument is
reduced to a short interval (for exp, x = n ln 2 + r), where the polynomial was fitted in float64 to minimise the
largest relative error, which is below 4e-9. The results are within 2 units in the last place (6 for erfc). NaN stays
NaN, and the limits at both infinities hold.

The functions are compiled without permission to reorder sums, because the argument reductions depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as numba_intrinsic

__all__ = ["erf32", "erfc32", "exp32", "expm1_32", "log1p32", "log32", "sign", "tanh32"]

_intrinsic: Callable[[Any], Any] = numba_intrinsic
_insert_function: Any = cgutils.get_or_insert_function

_f = np.float32
_F32, _I32 = ir.FloatType(), ir.IntType(32)

_compiled = numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "nsz"}, forceinline=True)


def _llvm_function(name: str, n_operands: int) -> Callable[..., Any]:
    """Return the LLVM intrinsic of this name on float32."""

    def generate(context: Any, builder: Any, signature: Any, operands: Any) -> Any:
        kind = ir.FunctionType(_F32, [_F32] * n_operands)
        return builder.call(_insert_function(builder.module, kind, name), operands)

    return generate


@_intrinsic
def _round(typing: Any, x: Any) -> Any:
    """Return the nearest whole number, as float32."""
    return types.float32(types.float32), _llvm_function("llvm.rint.f32", 1)


@_intrinsic
def _fma(typing: Any, x: Any, y: Any, z: Any) -> Any:
    """Return x * y + z, rounded once."""
    return types.float32(types.float32, types.float32, types.float32), _llvm_function("llvm.fma.f32", 3)


@_intrinsic
def _bits(typing: Any, x: Any) -> Any:
    """Return the bits of a float32 as int32."""
    return types.int32(types.float32), lambda context, builder, signature, args: builder.bitcast(args[0], _I32)


@_intrinsic
def _from_bits(typing: Any, bits: Any) -> Any:
    """Return the float32 of these bits."""
    return types.float32(types.int32), lambda context, builder, signature, args: builder.bitcast(args[0], _F32)


@_intrinsic
def _whole(typing: Any, x: Any) -> Any:
    """Return a whole float32 as int32."""
    return types.int32(types.float32), lambda context, builder, signature, args: builder.fptosi(args[0], _I32)


@_compiled
def _power_of_two(n: Any) -> Any:
    """Return 2^n for a whole n from -126 to 127, given as int32."""
    return _from_bits((n + np.int32(127)) << np.int32(23))


@_compiled
def _reduce(x: Any) -> Any:
    """Return n and r with x = n ln 2 + r and |r| <= ln 2 / 2; ln 2 is subtracted in two parts, the first exact."""
    n = _round(x * _f(1.44269504))
    return n, _fma(n, _f(-1.42860677e-06), _fma(n, _f(-0.693145752), x))


@_compiled
def exp32(x: Any) -> Any:
    """Return exp(x): 0 below -104, infinity from 88.73 on."""
    low, high = _f(-104), _f(88.8)
    held = low if x < low else x
    held = high if held > high else held
    n, r = _reduce(held)
    p = _f(1.381166006e-03)
    p = p * r + _f(8.370135025e-03)
    p = p * r + _f(4.166852832e-02)
    p = p * r + _f(1.666650871e-01)
    p = p * r + _f(4.999999263e-01)
    # 2^n is applied as two factors, because 2^n alone may overflow or be subnormal where the result is neither.
    whole = _whole(n)
    half = whole >> np.int32(1)
    return (p * (r * r) + r + _f(1)) * _power_of_two(half) * _power_of_two(whole - half)


@_compiled
def expm1_32(x: Any) -> Any:
    """Return exp(x) - 1 without the loss of digits around 0."""
    low, high = _f(-18), _f(88.8)
    held = low if x < low else x
    held = high if held > high else held
    n, r = _reduce(held)
    p = _f(1.984603857e-04)
    p = p * r + _f(1.394269869e-03)
    p = p * r + _f(8.333394001e-03)
    p = p * r + _f(4.166633601e-02)
    p = p * r + _f(1.666666633e-01)
    p = p * r + _f(5.000000050e-01)
    whole = _whole(n)
    half = whole >> np.int32(1)
    # 2^n ((exp(r) - 1) + (1 - 2^-n)); the second term is 0 for n = 0, and 1 to all digits for n >= 30.
    shift = _f(1) - _power_of_two(-(whole if whole < np.int32(60) else np.int32(60)))
    result = ((p * (r * r) + r) + shift) * _power_of_two(half) * _power_of_two(whole - half)
    return x if x == _f(0) else result


@_compiled
def _log_near_one(f: Any) -> Any:
    """Return log(1 + f) for 1 + f between sqrt(1/2) and sqrt(2)."""
    p = _f(6.746364091e-02)
    p = p * f - _f(1.171595384e-01)
    p = p * f + _f(1.190996792e-01)
    p = p * f - _f(1.240097700e-01)
    p = p * f + _f(1.421621100e-01)
    p = p * f - _f(1.666810940e-01)
    p = p * f + _f(2.000227219e-01)
    p = p * f - _f(2.500000998e-01)
    p = p * f + _f(3.333331064e-01)
    s = f * f
    return _fma(p * f, s, _fma(_f(-0.5), s, f))


@_compiled
def log32(x: Any) -> Any:
    """Return log(x): -infinity at 0, NaN below."""
    is_small = x < _f(1.1754944e-38)
    scaled = x * _f(8388608) if is_small else x  # 2^23: subnormal numbers have no exponent of their own
    bits = _bits(scaled)
    # The exponent that brings the fraction between sqrt(1/2) and sqrt(2).
    n = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    fraction = _from_bits(bits - (n << np.int32(23)))
    k = _f(n) - (_f(23) if is_small else _f(0))
    result = _fma(k, _f(0.693145752), _fma(k, _f(1.42860677e-06), _log_near_one(fraction - _f(1))))
    result = result if x > _f(0) else (_f(-np.inf) if x == _f(0) else _f(np.nan))
    return x if x == _f(np.inf) else result


@_compiled
def log1p32(x: Any) -> Any:
    """Return log(1 + x) without the loss of digits around 0."""
    u = _f(1) + x
    # The rounding error of the sum u.
    lost = (x - (u - _f(1))) if x < _f(1) else (_f(1) - (u - x))
    result = log32(u) + lost / u
    result = result if u > _f(0) else log32(u)
    return x if (x == _f(0)) | (x == _f(np.inf)) else result


@_compiled
def tanh32(x: Any) -> Any:
    """Return tanh(x): a polynomial around 0, else 1 - 2 / (exp(2 |x|) + 1)."""
    size, z = abs(x), x * x
    p = _f(2.126223865e-03)
    p = p * z - _f(8.159551139e-03)
    p = p * z + _f(2.169367938e-02)
    p = p * z - _f(5.394552007e-02)
    p = p * z + _f(1.333319652e-01)
    p = p * z - _f(3.333333057e-01)
    small = x + x * (z * p)
    held = _f(10) if size > _f(10) else size
    large = _f(1) - _f(2) / (exp32(held + held) + _f(1))
    large = -large if x < _f(0) else large
    return small if size < _f(0.625) else large


@_compiled
def erf32(x: Any) -> Any:
    """Return erf(x): a polynomial around 0, else 1 - exp(q(|x|)) with a polynomial q for the logarithm of erfc."""
    size, z = abs(x), x * x
    p = _f(8.316772629e-05)
    p = p * z - _f(8.130012013e-04)
    p = p * z + _f(5.199906607e-03)
    p = p * z - _f(2.685894148e-02)
    p = p * z + _f(1.128368719e-01)
    p = p * z - _f(3.761263319e-01)
    p = p * z + _f(1.283791666e-01)
    small = x + x * p
    t = _f(4) if size > _f(4) else size
    q = _f(-2.082861811e-05)
    q = q * t + _f(4.313935623e-04)
    q = q * t - _f(4.156254900e-03)
    q = q * t + _f(2.508061646e-02)
    q = q * t - _f(1.082203840e-01)
    q = q * t - _f(6.334008509e-01)
    q = q * t - _f(1.129488406e00)
    q = q * t + _f(1.692051249e-04)
    large = _f(1) - exp32(q)
    large = -large if x < _f(0) else large
    return small if size < _f(0.92) else large


@_compiled
def erfc32(x: Any) -> Any:
    """Return erfc(x) = 1 - erf(x), within 6 units in the last place also where it is small."""
    t = _f(10.2) if x > _f(10.2) else x
    u = _f(1) / (_f(1) + _f(0.5) * t)
    p = _f(-7.425148750e-02)
    p = p * u + _f(3.505714787e-01)
    p = p * u - _f(6.097785816e-01)
    p = p * u + _f(4.052184589e-01)
    p = p * u - _f(1.074479239e-01)
    p = p * u + _f(2.351882368e-01)
    p = p * u + _f(2.348705933e-01)
    p = p * u + _f(2.836373473e-01)
    p = p * u + _f(2.819805210e-01)
    p = p * u + _f(3.697354637e-06)
    square = t * t
    scaled = exp32(-square)
    # The rounding error of the square matters, because exp is steep.
    tail = (scaled - scaled * _fma(t, t, -square)) * p
    return tail if x > _f(0.5) else _f(1) - erf32(x)


@_compiled
def sign(x: Any) -> Any:
    """Return 1, -1, or x itself if it is 0 or NaN, in the type of x."""
    one = type(x)(1)
    return one if x > 0 else (-one if x < 0 else x)
