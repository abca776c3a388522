"""Losses on numbers; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = [
    "absolute_error",
    "gaussian_negative_log_likelihood",
    "huber",
    "log_cosh",
    "pinball",
    "poisson",
    "poisson_of_log_rate",
    "squared_error",
]


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
def absolute_error(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            difference = y_pred[i, j] - y_true[i, j]
            below = kind(-1) if difference < 0 else difference  # the difference itself where it is 0 or NaN
            derivative[i, j] = weight * (kind(1) if difference > 0 else below)
            total += weight * abs(difference)
    return total


@compiled
def huber(y_true: Array, y_pred: Array, delta: float, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    low, high, half = kind(-delta), kind(delta), kind(0.5)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            difference = y_pred[i, j] - y_true[i, j]
            held = low if difference < low else difference
            held = high if held > high else held
            derivative[i, j] = weight * held
            total += weight * held * (difference - half * held)
    return total


@compiled
def log_cosh(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    half, one = kind(0.5), kind(1)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            difference = y_pred[i, j] - y_true[i, j]
            size, tanh = abs(difference), np.tanh(difference)
            derivative[i, j] = weight * tanh
            if size < one:
                total -= weight * half * np.log1p(-tanh * tanh)
            else:
                total += weight * (size + np.log1p(half * np.expm1(kind(-2) * size)))
    return total


@compiled
def pinball(y_true: Array, y_pred: Array, quantile: float, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    under, over = kind(-quantile), kind(1 - quantile)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            difference = y_pred[i, j] - y_true[i, j]
            slope = under if difference < 0 else difference  # the difference itself where it is 0 or NaN
            slope = over if difference > 0 else slope
            derivative[i, j] = weight * slope
            total += weight * slope * difference
    return total


@compiled
def poisson(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            p, y = y_pred[i, j], y_true[i, j]
            derivative[i, j] = weight * (kind(1) - (y / p if y != 0 else kind(0) * p))
            total += weight * (p - (y * np.log(p) if y != 0 else kind(0) * p))
    return total


@compiled
def poisson_of_log_rate(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / y_true.dtype.type(columns)
        for j in range(columns):
            rate = np.exp(y_pred[i, j])
            derivative[i, j] = weight * (rate - y_true[i, j])
            total += weight * (rate - y_true[i, j] * y_pred[i, j])
    return total


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
