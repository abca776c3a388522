"""Activation functions and their pull-backs; the reference module of the same name says what each one computes.

Constants are made in the type of the data (``kind(1)``): a Python float would turn float32 arithmetic into float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = [
    "elu", "elu_gradient", "gaussian", "gaussian_gradient", "gelu", "gelu_gradient", "hard_sigmoid",
    "hard_sigmoid_gradient", "identity", "identity_gradient", "leaky_relu", "leaky_relu_gradient",
    "leaky_relu_slope_gradient", "mish", "mish_gradient", "relu", "relu_gradient", "selu", "selu_gradient", "sigmoid",
    "sigmoid_gradient", "silu", "silu_gradient", "softmax", "softmax_gradient", "softplus", "softplus_gradient",
    "softsign", "softsign_gradient", "tanh", "tanh_gradient",
]  # fmt: skip

SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946
ROOT_HALF = math.sqrt(0.5)
INVERSE_ROOT_TWO_PI = 1 / math.sqrt(2 * math.pi)


@compiled
def _logistic(z: Any) -> Any:
    """1 / (1 + exp(-z)) of one number, without overflow on either side."""
    e = np.exp(-abs(z))
    one = type(e)(1)
    return (one if z >= 0 else e) / (one + e)


@compiled
def _tanh_of_softplus(z: Any) -> Any:
    """tanh(log(1 + exp(z))) of one number: with u = 1 + exp(z) it is (u^2 - 1) / (u^2 + 1), here without overflow."""
    e = np.exp(-abs(z))
    one, two = type(e)(1), type(e)(2)
    above, below = (one + two * e) / (one + two * e * (one + e)), e * (two + e) / (two + e * (two + e))
    return above if z >= 0 else below


@compiled
def identity(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        out[i] = z[i]


@compiled
def identity_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    error, out = error.reshape(-1), out.reshape(-1)
    for i in range(error.size):
        out[i] = error[i]


@compiled
def sigmoid(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        out[i] = _logistic(z[i])


@compiled
def sigmoid_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    output, error, out = output.reshape(-1), error.reshape(-1), out.reshape(-1)
    for i in range(error.size):
        out[i] = error[i] * output[i] * (output.dtype.type(1) - output[i])


def tanh(z: Array, out: Array) -> None:
    # Not compiled: one ufunc has no temporaries to fuse away, and NumPy's is vectorised (64 x 128: 2 us against 100).
    np.tanh(z, out=out)


@compiled
def tanh_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    output, error, out = output.reshape(-1), error.reshape(-1), out.reshape(-1)
    for i in range(error.size):
        out[i] = error[i] * (output.dtype.type(1) - output[i] * output[i])


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
def softmax(z: Array, out: Array) -> None:
    columns = z.shape[-1]
    z, out = z.reshape(-1, columns), out.reshape(-1, columns)
    for i in range(z.shape[0]):
        row, result = z[i], out[i]
        largest = row[0]
        for j in range(1, columns):
            largest = row[j] if row[j] > largest else largest
        total = z.dtype.type(0)
        for j in range(columns):
            e = np.exp(row[j] - largest)
            result[j] = e
            total += e
        for j in range(columns):
            result[j] /= total


@compiled
def softmax_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    columns = output.shape[-1]
    output, error, out = output.reshape(-1, columns), error.reshape(-1, columns), out.reshape(-1, columns)
    for i in range(output.shape[0]):
        f, e, result = output[i], error[i], out[i]
        common = output.dtype.type(0)
        for j in range(columns):
            common += e[j] * f[j]
        for j in range(columns):
            result[j] = f[j] * (e[j] - common)


@compiled
def gaussian(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        out[i] = np.exp(-z[i] * z[i])


@compiled
def gaussian_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, output, error, out = z.reshape(-1), output.reshape(-1), error.reshape(-1), out.reshape(-1)
    for i in range(error.size):
        out[i] = error[i] * (z.dtype.type(-2) * z[i] * output[i])


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
        out[i] = z[i] * _logistic(z[i])


@compiled
def silu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    one = z.dtype.type(1)
    for i in range(error.size):
        s = _logistic(z[i])
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
        out[i] = error[i] * (t + z[i] * (one - t * t) * _logistic(z[i]))


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
        out[i] = error[i] * _logistic(z[i])


@compiled
def softsign(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        out[i] = z[i] / (z.dtype.type(1) + abs(z[i]))


@compiled
def softsign_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    one = z.dtype.type(1)
    for i in range(error.size):
        root = one / (one + abs(z[i]))
        out[i] = error[i] * (root * root)


@compiled
def hard_sigmoid(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    one, zero, half, sixth = z.dtype.type(1), z.dtype.type(0), z.dtype.type(0.5), z.dtype.type(1 / 6)
    for i in range(z.size):
        line = z[i] * sixth + half
        held = zero if line < zero else line
        out[i] = one if held > one else held


@compiled
def hard_sigmoid_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    z, error, out = z.reshape(-1), error.reshape(-1), out.reshape(-1)
    zero, three, sixth = z.dtype.type(0), z.dtype.type(3), z.dtype.type(1 / 6)
    for i in range(error.size):
        outside = zero if abs(z[i]) >= three else z[i]  # z itself only where it is NaN
        out[i] = error[i] * (sixth if abs(z[i]) < three else outside)
