"""Losses on numbers: squared, absolute and robust errors, quantiles, counts, a mean with its variance."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from chainrule.kernels.numpy_kernels.losses.ratio import ratio
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


def squared_error(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """l = (p - y)^2."""
    weights = row_weights[:, None] / y_true.shape[1]
    difference = y_pred - y_true
    derivative[...] = 2 * weights * difference
    return float(np.sum(weights * difference**2))


def absolute_error(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """l = |p - y|, with l' = sign(p - y): 0 at 0, as PyTorch has it."""
    weights = row_weights[:, None] / y_true.shape[1]
    difference = y_pred - y_true
    derivative[...] = weights * np.sign(difference)
    return float(np.sum(weights * np.abs(difference)))


def huber(y_true: Array, y_pred: Array, delta: float, row_weights: Array, derivative: Array) -> float:
    """l = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2); both are c (d - c / 2), and l' = c = d held."""
    weights = row_weights[:, None] / y_true.shape[1]
    difference = y_pred - y_true
    held = np.clip(difference, -delta, delta)
    derivative[...] = weights * held
    return float(np.sum(weights * held * (difference - held / 2)))


def log_cosh(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """l = log cosh d, with l' = tanh d.

    As ``-log(1 - tanh(d)^2) / 2`` where |d| < 1, and ``|d| + log((1 + exp(-2 |d|)) / 2)`` elsewhere, nothing cancels.
    """
    weights = row_weights[:, None] / y_true.shape[1]
    difference = y_pred - y_true
    size, tanh = np.abs(difference), np.tanh(difference)
    derivative[...] = weights * tanh
    is_small = size < 1
    small = -np.log1p(-np.square(np.where(is_small, tanh, 0))) / 2
    return float(np.sum(weights * np.where(is_small, small, size + np.log1p(np.expm1(-2 * size) / 2))))


def pinball(y_true: Array, y_pred: Array, quantile: float, row_weights: Array, derivative: Array) -> float:
    """l = q (y - p) where p < y, (1 - q) (p - y) where p > y; l' = -q, 1 - q, and 0 at 0."""
    weights = row_weights[:, None] / y_true.shape[1]
    difference = y_pred - y_true
    slope = np.select(
        [difference < 0, difference > 0, difference == 0], [-quantile, 1 - quantile, 0], default=np.nan
    ).astype(y_true.dtype)
    derivative[...] = weights * slope
    return float(np.sum(weights * slope * difference))


def poisson(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """l = p - y log p, for a predicted rate p >= 0; l' = 1 - y / p."""
    weights = row_weights[:, None] / y_true.shape[1]
    derivative[...] = weights * (1 - ratio(y_true, y_pred))
    return float(np.sum(weights * (y_pred - xlogy(y_true, y_pred))))


def poisson_of_log_rate(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """l = exp(p) - y p, for a predicted logarithm p of the rate; l' = exp(p) - y."""
    weights = row_weights[:, None] / y_true.shape[1]
    rate = np.exp(y_pred)
    derivative[...] = weights * (rate - y_true)
    return float(np.sum(weights * (rate - y_true * y_pred)))


def gaussian_negative_log_likelihood(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """l = (v + (m - y)^2 exp(-v)) / 2 with the means m in the first half of the columns, the log variances v after."""
    columns = y_true.shape[1]
    weights = row_weights[:, None] / columns
    difference, log_variance = y_pred[:, :columns] - y_true, y_pred[:, columns:]
    precision = np.exp(-log_variance)
    derivative[:, :columns] = weights * difference * precision
    derivative[:, columns:] = weights * (1 - difference**2 * precision) / 2
    return float(np.sum(weights * (log_variance + difference**2 * precision) / 2))
