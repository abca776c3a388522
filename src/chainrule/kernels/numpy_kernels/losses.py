"""Losses and their derivatives in one call.

``loss(y_true, y_pred, row_weights, derivative) -> float`` returns ``sum_i w_i * mean_j l(y_true_ij, y_pred_ij)`` and
writes the derivative of that number with respect to ``y_pred``. The weights sum to 1 (1/n each when nobody asked for
others), so the result is the weighted mean over the rows. Both matrices have shape (rows, outputs).

The kernels whose names begin with an activation take *logits*: the activation and the loss are one function of them,
finite for every finite logit.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from chainrule.types import Array

__all__ = ["sigmoid_binary_cross_entropy", "softmax_cross_entropy", "squared_error"]


def squared_error(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """L = (p - y)^2."""
    weights = row_weights[:, None] / y_true.shape[1]
    difference = y_pred - y_true
    derivative[...] = 2 * weights * difference
    return float(np.sum(weights * difference**2))


def sigmoid_binary_cross_entropy(y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
    """L = -y log s(z) - (1 - y) log(1 - s(z)) = max(z, 0) - y z + log(1 + exp(-|z|)), with l' = s(z) - y."""
    weights = row_weights[:, None] / y_true.shape[1]
    derivative[...] = weights * (expit(logits) - y_true)
    return float(np.sum(weights * (np.maximum(logits, 0) - y_true * logits + np.log1p(np.exp(-np.abs(logits))))))


def softmax_cross_entropy(y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
    """Sum over classes of -y log softmax(z), the row's own total of y as its mass; derivative softmax(z) sum(y) - y.

    Like PyTorch, this loss is the mean over rows, not over rows and classes.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_total = np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    log_probabilities = shifted - log_total
    mass = y_true.sum(axis=1, keepdims=True)
    derivative[...] = row_weights[:, None] * (np.exp(log_probabilities) * mass - y_true)
    return -float(np.sum(row_weights[:, None] * y_true * log_probabilities))
