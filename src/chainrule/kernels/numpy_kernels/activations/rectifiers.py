"""ReLU and its family: near z for large z, near a constant (or a gentle slope) far below zero."""

from __future__ import annotations

import numpy as np
from scipy.special import erfc, expit

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

# Klambauer et al. 2017, equation 14: with these two, mean 0 and variance 1 are a fixed point of the network.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _log_one_plus_exp(z: Array) -> Array:
    return np.asarray(np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z))))


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
