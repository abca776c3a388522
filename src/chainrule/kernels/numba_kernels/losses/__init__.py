"""Losses and their derivatives in one pass; the reference module of the same name says what each one computes.

Sums are kept in float64; all else is in the type of the data. ``kind(1)`` makes a constant of that type. Where a
comparison picks a value, a NaN must come out as NaN: it fails every comparison, so it takes the last branch.
"""

from __future__ import annotations

from chainrule.kernels.numba_kernels.losses.classification import (
    binary_focal,
    categorical_cross_entropy,
    categorical_focal,
    sigmoid_binary_focal,
    softmax_categorical_focal,
    softmax_cross_entropy,
)
from chainrule.kernels.numba_kernels.losses.regression import (
    gaussian_negative_log_likelihood,
)

__all__ = [
    "binary_focal",
    "categorical_cross_entropy",
    "categorical_focal",
    "gaussian_negative_log_likelihood",
    "sigmoid_binary_focal",
    "softmax_categorical_focal",
    "softmax_cross_entropy",
]
