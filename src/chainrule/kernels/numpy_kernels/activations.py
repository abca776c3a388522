"""Activation functions and their pull-backs.

``f(z, out)`` writes f(z). ``f_gradient(z, output, error, out)`` writes ``error * f'(z)``, the error of the inputs,
given the error of the outputs; ``output`` is the f(z) that the forward pass kept, where that makes f' cheaper.
``out`` may be ``z`` or ``error`` itself. Numbers that shape a function (a slope, an alpha) stand before ``out``.

A NaN in ``z`` or ``error`` is a NaN in ``out``, at kinks too. The derivative at a kink is PyTorch's.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfc, expit

from chainrule.types import Array

__all__ = [
    "elu",
    "elu_gradient",
    "gaussian",
    "gaussian_gradient",
    "gelu",
    "gelu_gradient",
    "hard_sigmoid",
    "hard_sigmoid_gradient",
    "identity",
    "identity_gradient",
    "leaky_relu",
    "leaky_relu_gradient",
    "leaky_relu_slope_gradient",
    "mish",
    "mish_gradient",
    "relu",
    "relu_gradient",
    "selu",
    "selu_gradient",
    "sigmoid",
    "sigmoid_gradient",
    "silu",
    "silu_gradient",
    "softmax",
    "softmax_gradient",
    "softplus",
    "softplus_gradient",
    "softsign",
    "softsign_gradient",
    "tanh",
    "tanh_gradient",
]

# Klambauer et al. 2017, equation 14: with these two, mean 0 and variance 1 are a fixed point of the network.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def identity(z: Array, out: Array) -> None:
    """f(z) = z."""
    np.copyto(out, z)


def identity_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = 1."""
    np.copyto(out, error)


def sigmoid(z: Array, out: Array) -> None:
    """1 / (1 + exp(-z)), without overflow on either side."""
    expit(z, out=out)


def sigmoid_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = f (1 - f)."""
    np.multiply(error, output * (1 - output), out=out)


def tanh(z: Array, out: Array) -> None:
    """(exp(z) - exp(-z)) / (exp(z) + exp(-z))."""
    np.tanh(z, out=out)


def tanh_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = 1 - f^2."""
    np.multiply(error, 1 - output**2, out=out)


def relu(z: Array, out: Array) -> None:
    """max(0, z)."""
    np.maximum(z, 0, out=out)


def relu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """1 where z > 0, else 0 (also at 0, as PyTorch has it)."""
    np.multiply(error, np.heaviside(output, 0), out=out)


def leaky_relu(z: Array, slope: float, out: Array) -> None:
    """f(z) = z where z > 0, else slope * z."""
    np.multiply(z, np.where(z > 0, 1, slope), out=out)


def leaky_relu_gradient(z: Array, output: Array, error: Array, slope: float, out: Array) -> None:
    """1 where z > 0, else the slope."""
    np.multiply(error, np.select([z > 0, z <= 0], [1, slope], default=np.nan), out=out)


def leaky_relu_slope_gradient(z: Array, error: Array, out: Array) -> None:
    """out[0] = sum of error * min(z, 0): the gradient of a slope that is shared by all units (PReLU)."""
    out[0] = np.sum(error * np.minimum(z, 0), dtype=np.float64)


def softmax(z: Array, out: Array) -> None:
    """exp(z_j) / sum_k exp(z_k) over the last axis, each row shifted by its maximum so that nothing overflows."""
    np.exp(z - z.max(axis=-1, keepdims=True), out=out)
    out /= out.sum(axis=-1, keepdims=True)


def softmax_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f_j (e_j - sum_k e_k f_k): the error times the Jacobian diag(f) - f f^T, without building it."""
    np.multiply(output, error - np.sum(error * output, axis=-1, keepdims=True), out=out)


def gaussian(z: Array, out: Array) -> None:
    """exp(-z^2)."""
    with np.errstate(over="ignore"):  # exp(-infinity) = 0 is what is meant
        np.exp(-(z**2), out=out)


def gaussian_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = -2 z f."""
    np.multiply(error, -2 * z * output, out=out)


def elu(z: Array, alpha: float, out: Array) -> None:
    """f(z) = z where z > 0, else alpha (exp(z) - 1)."""
    out[...] = np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def elu_gradient(z: Array, output: Array, error: Array, alpha: float, out: Array) -> None:
    """1 where z > 0, else alpha exp(z)."""
    np.multiply(error, np.where(z > 0, 1, alpha * np.exp(np.minimum(z, 0))), out=out)


def selu(z: Array, out: Array) -> None:
    """f(z) = scale * elu(z, alpha)."""
    elu(z, SELU_ALPHA, out)
    out *= SELU_SCALE


def selu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """Scale times the derivative of elu."""
    elu_gradient(z, output, error, SELU_ALPHA, out)
    out *= SELU_SCALE


def gelu(z: Array, out: Array) -> None:
    """f(z) = z Phi(z), with the normal distribution Phi(z) = erfc(-z / sqrt 2) / 2."""
    np.multiply(z, 0.5 * erfc(-z * np.sqrt(0.5, dtype=z.dtype)), out=out)


def gelu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """Phi(z) + z phi(z), with the density phi(z) = exp(-z^2 / 2) / sqrt(2 pi)."""
    with np.errstate(over="ignore"):  # exp(-infinity) = 0 is what is meant
        density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi, dtype=z.dtype)
    np.multiply(error, 0.5 * erfc(-z * np.sqrt(0.5, dtype=z.dtype)) + z * density, out=out)


def silu(z: Array, out: Array) -> None:
    """f(z) = z sigmoid(z)."""
    np.multiply(z, expit(z), out=out)


def silu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = s (1 + z (1 - s)) with s = sigmoid(z)."""
    s = expit(z)
    np.multiply(error, s * (1 + z * (1 - s)), out=out)


def mish(z: Array, out: Array) -> None:
    """f(z) = z tanh(softplus(z))."""
    np.multiply(z, np.tanh(_log_one_plus_exp(z)), out=out)


def mish_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = t + z (1 - t^2) sigmoid(z) with t = tanh(softplus(z))."""
    t = np.tanh(_log_one_plus_exp(z))
    np.multiply(error, t + z * (1 - t**2) * expit(z), out=out)


def softplus(z: Array, out: Array) -> None:
    """log(1 + exp(z))."""
    out[...] = _log_one_plus_exp(z)


def softplus_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = sigmoid(z)."""
    np.multiply(error, expit(z), out=out)


def softsign(z: Array, out: Array) -> None:
    """f(z) = z / (1 + |z|)."""
    np.divide(z, 1 + np.abs(z), out=out)


def softsign_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """f'(z) = 1 / (1 + |z|)^2."""
    np.multiply(error, (1 / (1 + np.abs(z))) ** 2, out=out)


def hard_sigmoid(z: Array, out: Array) -> None:
    """f(z) = z / 6 + 1/2, held between 0 and 1."""
    np.clip(z / 6 + 0.5, 0, 1, out=out)


def hard_sigmoid_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """1/6 where |z| < 3, else 0."""
    np.multiply(error, np.select([np.abs(z) < 3, np.abs(z) >= 3], [1 / 6, 0], default=np.nan), out=out)


def _log_one_plus_exp(z: Array) -> Array:
    return np.asarray(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))
