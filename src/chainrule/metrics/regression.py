"""Metrics of predicted numbers."""

from __future__ import annotations

import numpy as np

from chainrule.metrics.inputs import as_columns, errors_of, weights_of
from chainrule.named import also_called, checked
from chainrule.rounding import is_constant
from chainrule.types import Array

__all__ = ["mean_absolute_error", "mean_squared_error", "r2", "root_mean_squared_error"]


@checked
@also_called(
    "mse",
    unlike={
        "neg_mean_squared_error": "it is 'mean_squared_error' with the opposite sign.",
        "msle": "it compares logarithms; 'mean_squared_error' compares the numbers.",
        "mean_squared_log_error": "it compares logarithms; 'mean_squared_error' compares the numbers.",
    },
    arguments={"squared": "Its square root is the metric 'root_mean_squared_error'."},
)
def mean_squared_error(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the mean of (p - y)^2 over all elements.

    >>> mean_squared_error([1, 2], [[1], [4]])
    2.0
    """
    errors = errors_of(y_true, y_pred)
    return float(np.average(np.mean(errors**2, axis=1), weights=weights_of(sample_weight, len(errors))))


@checked
@also_called(
    "rmse",
    unlike={
        "neg_root_mean_squared_error": "it is 'root_mean_squared_error' with the opposite sign.",
        "root_mean_squared_log_error": "it compares logarithms; 'root_mean_squared_error' compares the numbers.",
    },
)
def root_mean_squared_error(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the square root of :func:`mean_squared_error`: an error in the units of the target.

    >>> root_mean_squared_error([1, 1], [3, 3])
    2.0
    """
    return float(np.sqrt(mean_squared_error(y_true, y_pred, sample_weight)))


@checked
@also_called(
    "mae",
    unlike={
        "neg_mean_absolute_error": "it is 'mean_absolute_error' with the opposite sign.",
        "median_absolute_error": "it is the median of |p - y|; 'mean_absolute_error' is the mean.",
        "mape": "it divides by the targets; 'mean_absolute_error' does not.",
        "mean_absolute_percentage_error": "it divides by the targets; 'mean_absolute_error' does not.",
    },
)
def mean_absolute_error(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the mean of |p - y| over all elements.

    >>> mean_absolute_error([1, 2], [1, 4])
    1.0
    """
    errors = errors_of(y_true, y_pred)
    return float(np.average(np.mean(np.abs(errors), axis=1), weights=weights_of(sample_weight, len(errors))))


@checked
@also_called("r2_score")
def r2(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    r"""Return R^2, the share of the variance of the targets that the predictions explain; the mean over the outputs.

    .. math:: R^2 = 1 - \frac{\sum_i (y_i - p_i)^2}{\sum_i (y_i - \bar{y})^2}

    1 is perfect, and 0 is as good as predicting the mean. As in scikit-learn, a constant target gives 1 if it is
    predicted exactly and 0 otherwise; a single row gives NaN. A target is constant if its numbers, in the rows with a
    weight, differ by rounding at most.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    errors, targets = errors_of(y_true, y_pred), as_columns(y_true)
    weights = weights_of(sample_weight, len(errors))
    if len(targets) < 2:
        return float("nan")
    unexplained = np.average(errors**2, axis=0, weights=weights)
    total = np.average((targets - np.average(targets, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    present = targets if weights is None else targets[weights > 0]
    constant = is_constant(present.min(axis=0), present.max(axis=0), np.asarray(y_true).dtype) | (total == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = np.where(constant, np.where(unexplained == 0, 1.0, 0.0 * unexplained), 1 - unexplained / total)
    return float(np.mean(scores))
