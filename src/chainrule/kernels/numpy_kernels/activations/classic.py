"""The identity, and functions with bounded output: sigmoid, tanh, softmax, ..."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from chainrule.types import Array

__all__ = [
    "gaussian",
    "gaussian_gradient",
    "hard_sigmoid",
    "hard_sigmoid_gradient",
    "identity",
    "identity_gradient",
    "sigmoid",
    "sigmoid_gradient",
    "softmax",
    "softmax_gradient",
    "softsign",
    "softsign_gradient",
    "tanh",
    "tanh_gradient",
]


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
