"""ReLU and its family; the reference module of the same name says what each one computes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.kernels.numba_kernels.activations.classic import logistic
from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = [
    "elu",
    "elu_gradient",
    "gelu",
    "gelu_gradient",
    "leaky_relu",
    "leaky_relu_gradient",
    "leaky_relu_slope_gradient",
    "mish",
    "mish_gradient",
    "relu",
    "relu_gradient",
    "selu",
    "selu_gradient",
    "silu",
    "silu_gradient",
    "softplus",
    "softplus_gradient",
]

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
ROOT_HALF = math.sqrt(0.5)
INVERSE_ROOT_TWO_PI = 1 / math.sqrt(2 * math.pi)


@compiled
def _tanh_of_softplus(z: Any) -> Any:
    """tanh(log(1 + exp(z))) of one number: with u = 1 + exp(z) it is (u^2 - 1) / (u^2 + 1), here without overflow."""
    e = np.exp(-abs(z))
    one, two = type(e)(1), type(e)(2)
    above, below = (one + two * e) / (one + two * e * (one + e)), e * (two + e) / (two + e * (two + e))
    return above if z >= 0 else below


@compiled
def relu(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        # Written so that a NaN passes through, as np.maximum does.
        out[i] = z.dtype.type(0) if z[i] < 0 else z[i]


@compiled
def relu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    output, error, out = output.reshape(-1), error.reshape(-1), out.reshape(-1)
    one, zero = error.dtype.type(1), error.dtype.type(0)
    for i in range(error.size):
        # zero * output is 0, or NaN where the output is: no error may vanish behind it.
        out[i] = error[i] * (one if output[i] > zero else zero * output[i])


@compiled
def leaky_relu(z: Array, slope: float, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    slope = z.dtype.type(slope)
    for i in range(z.size):
        out[i] = z[i] if z[i] > 0 else slope * z[i]


@compiled
def leaky_relu_gradient(z: Array, output: Array, error: Array, slope: float, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    one, slope = z.dtype.type(1), z.dtype.type(slope)
    for i in range(error.size):
        below = slope if z[i] <= 0 else z[i]  # z itself only where it is NaN
        out[i] = error[i] * (one if z[i] > 0 else below)


@compiled
def leaky_relu_slope_gradient(z: Array, error: Array, out: Array) -> None:
    z, error = z.reshape(-1), error.reshape(-1)
    zero, total = z.dtype.type(0), 0.0
    for i in range(z.size):
        total += error[i] * (zero if z[i] > 0 else z[i])
    out[0] = total


@compiled
def elu(z: Array, alpha: float, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    alpha = z.dtype.type(alpha)
    for i in range(z.size):
        out[i] = z[i] if z[i] > 0 else alpha * np.expm1(z[i])


@compiled
def elu_gradient(z: Array, output: Array, error: Array, alpha: float, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    one, alpha = z.dtype.type(1), z.dtype.type(alpha)
    for i in range(error.size):
        out[i] = error[i] * (one if z[i] > 0 else alpha * np.exp(z[i]))


@compiled
def selu(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    scale, floor = z.dtype.type(SELU_SCALE), z.dtype.type(SELU_SCALE * SELU_ALPHA)
    for i in range(z.size):
        out[i] = scale * z[i] if z[i] > 0 else floor * np.expm1(z[i])


@compiled
def selu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    scale, floor = z.dtype.type(SELU_SCALE), z.dtype.type(SELU_SCALE * SELU_ALPHA)
    for i in range(error.size):
        out[i] = error[i] * (scale if z[i] > 0 else floor * np.exp(z[i]))


@compiled
def gelu(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    half, root_half = z.dtype.type(0.5), z.dtype.type(ROOT_HALF)
    for i in range(z.size):
        out[i] = z[i] * half * math.erfc(-z[i] * root_half)


@compiled
def gelu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    half, root_half, height = z.dtype.type(0.5), z.dtype.type(ROOT_HALF), z.dtype.type(INVERSE_ROOT_TWO_PI)
    for i in range(error.size):
        density = height * np.exp(-half * z[i] * z[i])
        out[i] = error[i] * (half * math.erfc(-z[i] * root_half) + z[i] * density)


@compiled
def silu(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        out[i] = z[i] * logistic(z[i])


@compiled
def silu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    one = z.dtype.type(1)
    for i in range(error.size):
        s = logistic(z[i])
        out[i] = error[i] * (s * (one + z[i] * (one - s)))


@compiled
def mish(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        out[i] = z[i] * _tanh_of_softplus(z[i])


@compiled
def mish_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    one = z.dtype.type(1)
    for i in range(error.size):
        t = _tanh_of_softplus(z[i])
        out[i] = error[i] * (t + z[i] * (one - t * t) * logistic(z[i]))


@compiled
def softplus(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    zero = z.dtype.type(0)
    for i in range(z.size):
        out[i] = (zero if z[i] < 0 else z[i]) + np.log1p(np.exp(-abs(z[i])))


@compiled
def softplus_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    for i in range(error.size):
        out[i] = error[i] * logistic(z[i])
