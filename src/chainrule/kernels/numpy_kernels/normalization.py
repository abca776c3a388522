"""Kernels of the normalising layers, of scaling and of dropout.

Batches have shape (rows, columns). A normalising layer keeps ``normalized``, the batch with mean 0 and variance 1, for
its backward pass; ``inverse_deviation`` is ``1 / sqrt(variance + epsilon)``. Sums over many numbers run in float64, so
that float32 data far from zero keep their variance.
"""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = [
    "batch_moments",
    "batch_normalization_error",
    "dropout",
    "layer_normalization_error",
    "normalize_columns",
    "normalize_rows",
    "scale_columns",
    "standardize_columns",
    "sum_row_products",
]


def batch_moments(x: Array, mean: Array, variance: Array) -> None:
    """Write the mean of every column and its variance, the mean squared distance from it (divided by rows)."""
    np.mean(x, axis=0, dtype=np.float64, out=mean)
    np.mean((x - mean) ** 2, axis=0, dtype=np.float64, out=variance)


def normalize_columns(
    x: Array, mean: Array, inverse_deviation: Array, scale: Array, shift: Array, normalized: Array, out: Array
) -> None:
    """Normalized = (x - mean) * inverse_deviation, column by column; out = scale * normalized + shift.

    ``normalized`` may be ``out`` itself where nobody needs it afterwards.
    """
    np.subtract(x, mean, out=normalized)
    normalized *= inverse_deviation
    np.multiply(normalized, scale, out=out)
    out += shift


def batch_normalization_error(
    normalized: Array,
    inverse_deviation: Array,
    scale: Array,
    scale_gradient: Array,
    shift_gradient: Array,
    error: Array,
    out: Array,
) -> None:
    """Pull the error back through the normalisation and through the batch's own mean and variance.

    out = scale * inverse_deviation * (error - mean_rows(error) - normalized * mean_rows(error * normalized)). The two
    sums over the rows are the gradients of shift and scale, which the caller has already. ``out`` may be ``error``.
    """
    rows = len(error)
    np.subtract(error, shift_gradient / rows + normalized * (scale_gradient / rows), out=out)
    out *= scale * inverse_deviation


def normalize_rows(
    x: Array, scale: Array, shift: Array, epsilon: float, normalized: Array, inverse_deviation: Array, out: Array
) -> None:
    """Normalise every row by its own mean and variance; out = scale * normalized + shift.

    ``inverse_deviation`` has one number a row. ``normalized`` may be ``out`` itself.
    """
    np.subtract(x, np.mean(x, axis=1, dtype=np.float64, keepdims=True), out=normalized, casting="same_kind")
    inverse_deviation[...] = 1 / np.sqrt(np.mean(normalized**2, axis=1, dtype=np.float64) + epsilon)
    normalized *= inverse_deviation[:, None]
    np.multiply(normalized, scale, out=out)
    out += shift


def layer_normalization_error(
    normalized: Array, inverse_deviation: Array, scale: Array, error: Array, out: Array
) -> None:
    """With g = scale * error: out = inverse_deviation * (g - mean(g) - normalized * mean(g * normalized)), row by row.

    ``out`` may be ``error``.
    """
    g = scale * error
    product = np.mean(g * normalized, axis=1, keepdims=True)
    np.subtract(g, np.mean(g, axis=1, keepdims=True) + normalized * product, out=out)
    out *= inverse_deviation[:, None]


def scale_columns(x: Array, scale: Array, out: Array) -> None:
    """out[i, j] = x[i, j] * scale[j]."""
    np.multiply(x, scale, out=out)


def standardize_columns(x: Array, mean: Array, scale: Array, out: Array) -> None:
    """out[i, j] = (x[i, j] - mean[j]) / scale[j]."""
    np.subtract(x, mean, out=out)
    out /= scale


def sum_row_products(a: Array, b: Array, out: Array) -> None:
    """out[j] = sum over i of a[i, j] * b[i, j]: the gradient of a scale that multiplies columns."""
    np.einsum("ij,ij->j", a, b, out=out)


def dropout(x: Array, rate: float, mask: Array, out: Array) -> None:
    """Drop a share ``rate`` of the elements and scale the others up: out = x * mask.

    ``mask`` comes in with uniform random numbers of [0, 1) and leaves with the factors: 0 where the number is below
    the rate, 1 / (1 - rate) elsewhere.
    """
    np.multiply(mask >= rate, 1 / (1 - rate), out=mask)
    np.multiply(x, mask, out=out)
