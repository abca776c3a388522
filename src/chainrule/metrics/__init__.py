"""Metrics: how good predictions are, in numbers that people talk about. Nothing is trained on them.

Every metric is a function ``metric(y_true, y_pred, sample_weight=None) -> float``. Targets may be class codes, one
column of 0 and 1, or one-hot rows; predictions may be what a network puts out (probabilities of shape (rows, 1) or
(rows, classes), or values) or labels already. A probability of at least 0.5 means class 1, the largest of a row its
class. Scores that are not probabilities (a hinge loss trains them) are turned into labels before: ``scores > 0``.

Those that are followed from epoch to epoch are written in NumPy here; for the others scikit-learn does the arithmetic.
Predictions that are NaN make the metric NaN.
"""

from __future__ import annotations

from chainrule.metrics.classification import (
    ClassAverage,
    accuracy,
    balanced_accuracy,
    brier_score,
    confusion_matrix,
    expected_calibration_error,
    f1,
    log_loss,
    precision,
    recall,
    roc_auc,
)
from chainrule.metrics.record import EpochRecord
from chainrule.metrics.registry import METRICS, Metric, default_metrics, find_metric, lower_is_better
from chainrule.metrics.regression import mean_absolute_error, mean_squared_error, r2, root_mean_squared_error

__all__ = [
    "METRICS",
    "ClassAverage",
    "EpochRecord",
    "Metric",
    "accuracy",
    "balanced_accuracy",
    "brier_score",
    "confusion_matrix",
    "default_metrics",
    "expected_calibration_error",
    "f1",
    "find_metric",
    "log_loss",
    "lower_is_better",
    "mae",
    "mean_absolute_error",
    "mean_squared_error",
    "mse",
    "precision",
    "r2",
    "r2_score",
    "recall",
    "rmse",
    "roc_auc",
    "root_mean_squared_error",
]

mse, mae, rmse, r2_score = mean_squared_error, mean_absolute_error, root_mean_squared_error, r2
