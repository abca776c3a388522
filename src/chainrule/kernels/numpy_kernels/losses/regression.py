"""Losses on numbers: squared, absolute and robust errors, quantiles, counts, a mean with its variance."""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = [
    "gaussian_negative_log_likelihood",
]


def gaussian_negative_log_likelihood(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """l = (v + (m - y)^2 exp(-v)) / 2 with the means m in the first half of the columns, the log variances v after."""
    columns = y_true.shape[1]
    weights = row_weights[:, None] / columns
    difference, log_variance = y_pred[:, :columns] - y_true, y_pred[:, columns:]
    precision = np.exp(-log_variance)
    derivative[:, :columns] = weights * difference * precision
    derivative[:, columns:] = weights * (1 - difference**2 * precision) / 2
    return float(np.sum(weights * (log_variance + difference**2 * precision) / 2))
