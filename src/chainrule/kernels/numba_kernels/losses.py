"""Losses and their derivatives in one pass; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = ["sigmoid_binary_cross_entropy", "softmax_cross_entropy", "squared_error"]


@compiled
def squared_error(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / y_true.dtype.type(columns)
        for j in range(columns):
            difference = y_pred[i, j] - y_true[i, j]
            derivative[i, j] = y_true.dtype.type(2) * weight * difference
            total += weight * difference * difference
    return total


@compiled
def sigmoid_binary_cross_entropy(y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    one, zero = y_true.dtype.type(1), y_true.dtype.type(0)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / y_true.dtype.type(columns)
        for j in range(columns):
            z, y = logits[i, j], y_true[i, j]
            e = np.exp(-abs(z))
            derivative[i, j] = weight * ((one if z >= zero else e) / (one + e) - y)
            # Written so that a NaN logit gives a NaN loss.
            total += weight * ((zero if z < zero else z) - y * z + np.log1p(e))
    return total


@compiled
def softmax_cross_entropy(y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    loss = 0.0
    for i in range(rows):
        z, y, d, weight = logits[i], y_true[i], derivative[i], row_weights[i]
        largest = z[0]
        for j in range(1, columns):
            largest = z[j] if z[j] > largest else largest
        total = mass = z.dtype.type(0)
        for j in range(columns):
            d[j] = np.exp(z[j] - largest)
            total += d[j]
            mass += y[j]
        log_total = np.log(total) + largest
        for j in range(columns):
            loss -= weight * y[j] * (z[j] - log_total)
            d[j] = weight * (d[j] / total * mass - y[j])
    return loss
