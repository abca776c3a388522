"""Losses and their derivatives in one pass; the reference module of the same name says what each one computes.

Sums are kept in float64; all else is in the type of the data. ``kind(1)`` makes a constant of that type. Where a
comparison picks a value, a NaN must come out as NaN: it fails every comparison, so it takes the last branch.
"""

from __future__ import annotations

from chainrule.kernels.numba_kernels.losses.classification import (
    binary_cross_entropy,
    binary_focal,
    categorical_cross_entropy,
    categorical_focal,
    hinge,
    sigmoid_binary_cross_entropy,
    sigmoid_binary_focal,
    softmax_categorical_focal,
    softmax_cross_entropy,
    squared_hinge,
)
from chainrule.kernels.numba_kernels.losses.regression import (
    absolute_error,
    gaussian_negative_log_likelihood,
    huber,
    log_cosh,
    pinball,
    poisson,
    poisson_of_log_rate,
    squared_error,
)

__all__ = [
    "absolute_error",
    "binary_cross_entropy",
    "binary_focal",
    "categorical_cross_entropy",
    "categorical_focal",
    "gaussian_negative_log_likelihood",
    "hinge",
    "huber",
    "log_cosh",
    "pinball",
    "poisson",
    "poisson_of_log_rate",
    "sigmoid_binary_cross_entropy",
    "sigmoid_binary_focal",
    "softmax_categorical_focal",
    "softmax_cross_entropy",
    "squared_error",
    "squared_hinge",
]
