"""Losses and their derivatives in one call.

``loss(y_true, y_pred, row_weights, derivative) -> float`` returns ``sum_i w_i * mean_j l(y_true_ij, y_pred_ij)`` and
writes the derivative of that number with respect to ``y_pred``. The weights sum to 1 (1/n each when nobody asked for
others), so the result is the weighted mean over the rows. Both matrices have shape (rows, outputs). Numbers that shape
a loss (a delta, a quantile) stand before ``row_weights``.

The kernels whose names begin with an activation take *logits*: the activation and the loss are one function of them,
finite for every finite logit. Those on probabilities are exact: 0 log 0 = 0, log 0 = -infinity, and nothing is clipped.
A NaN in ``y_pred`` is a NaN in the loss, and in the derivative at its place.
"""

from __future__ import annotations

from chainrule.kernels.numpy_kernels.losses.classification import (
    binary_focal,
    categorical_cross_entropy,
    categorical_focal,
    sigmoid_binary_focal,
    softmax_categorical_focal,
    softmax_cross_entropy,
)
from chainrule.kernels.numpy_kernels.losses.regression import (
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
