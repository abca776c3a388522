"""Losses on numbers; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = [
    "gaussian_negative_log_likelihood",
]


@compiled
def gaussian_negative_log_likelihood(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    half, one = kind(0.5), kind(1)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            difference, log_variance = y_pred[i, j] - y_true[i, j], y_pred[i, columns + j]
            precision = np.exp(-log_variance)
            square = difference * difference * precision
            derivative[i, j] = weight * difference * precision
            derivative[i, columns + j] = weight * half * (one - square)
            total += weight * half * (log_variance + square)
    return total
