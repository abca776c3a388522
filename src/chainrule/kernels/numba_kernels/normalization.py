"""Normalising, scaling and dropout in one pass; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
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


@compiled
def batch_moments(x: Array, mean: Array, variance: Array) -> None:
    rows, columns = x.shape
    total = np.zeros(columns)
    for i in range(rows):
        for j in range(columns):
            total[j] += x[i, j]
    for j in range(columns):
        mean[j] = total[j] / rows
        total[j] = 0.0
    for i in range(rows):
        for j in range(columns):
            difference = x[i, j] - mean[j]
            total[j] += difference * difference
    for j in range(columns):
        variance[j] = total[j] / rows


@compiled
def normalize_columns(
    x: Array, mean: Array, inverse_deviation: Array, scale: Array, shift: Array, normalized: Array, out: Array
) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            h = (x[i, j] - mean[j]) * inverse_deviation[j]
            normalized[i, j] = h
            out[i, j] = scale[j] * h + shift[j]


@compiled
def batch_normalization_error(
    normalized: Array,
    inverse_deviation: Array,
    scale: Array,
    scale_gradient: Array,
    shift_gradient: Array,
    error: Array,
    out: Array,
) -> None:
    share = error.dtype.type(1 / error.shape[0])
    for i in range(error.shape[0]):
        for j in range(error.shape[1]):
            through_statistics = share * (shift_gradient[j] + normalized[i, j] * scale_gradient[j])
            out[i, j] = scale[j] * inverse_deviation[j] * (error[i, j] - through_statistics)


@compiled
def normalize_rows(
    x: Array, scale: Array, shift: Array, epsilon: float, normalized: Array, inverse_deviation: Array, out: Array
) -> None:
    rows, columns = x.shape
    kind = x.dtype.type
    for i in range(rows):
        total = 0.0
        for j in range(columns):
            total += x[i, j]
        mean = total / columns
        total = 0.0
        for j in range(columns):
            difference = x[i, j] - mean
            total += difference * difference
        inverse = kind(1 / np.sqrt(total / columns + epsilon))
        inverse_deviation[i] = inverse
        for j in range(columns):
            h = kind(x[i, j] - mean) * inverse
            normalized[i, j] = h
            out[i, j] = scale[j] * h + shift[j]


@compiled
def layer_normalization_error(
    normalized: Array, inverse_deviation: Array, scale: Array, error: Array, out: Array
) -> None:
    rows, columns = error.shape
    kind = error.dtype.type
    for i in range(rows):
        total = product = kind(0)
        for j in range(columns):
            g = scale[j] * error[i, j]
            total += g
            product += g * normalized[i, j]
        mean, mean_product = total / kind(columns), product / kind(columns)
        for j in range(columns):
            out[i, j] = inverse_deviation[i] * (scale[j] * error[i, j] - mean - normalized[i, j] * mean_product)


@compiled
def scale_columns(x: Array, scale: Array, out: Array) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] * scale[j]


@compiled
def standardize_columns(x: Array, mean: Array, scale: Array, out: Array) -> None:
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            out[i, j] = (x[i, j] - mean[j]) / scale[j]


@compiled
def sum_row_products(a: Array, b: Array, out: Array) -> None:
    out[:] = a.dtype.type(0)
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[j] += a[i, j] * b[i, j]


@compiled
def dropout(x: Array, rate: float, mask: Array, out: Array) -> None:
    x, mask, out = x.reshape(-1), mask.reshape(-1), out.reshape(-1)
    kind = x.dtype.type
    zero, kept, threshold = kind(0), kind(1 / (1 - rate)), kind(rate)
    for i in range(x.size):
        factor = kept if mask[i] >= threshold else zero
        mask[i] = factor
        out[i] = x[i] * factor
