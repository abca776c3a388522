"""Losses on classes: cross-entropy, focal loss and hinge; on probabilities, and fused with their activation."""

from __future__ import annotations

import numpy as np
from scipy.special import expit, log_expit, log_softmax, xlogy

from chainrule.types import Array

__all__ = [
    "binary_focal",
    "categorical_cross_entropy",
    "categorical_focal",
    "sigmoid_binary_focal",
    "softmax_categorical_focal",
    "softmax_cross_entropy",
]


def categorical_cross_entropy(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    """Sum over classes of -y log p, with derivative -y / p: the mean over rows, not over rows and classes."""
    weights = row_weights[:, None]
    with np.errstate(divide="ignore"):  # y / 0 = infinity is the true slope
        derivative[...] = -weights * np.where(y_true == 0, 0 * y_pred, y_true / np.where(y_true == 0, 1, y_pred))
    return -float(np.sum(weights * xlogy(y_true, y_pred)))


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


def binary_focal(
    y_true: Array,
    y_pred: Array,
    gamma: float,
    weight_of_1: float,
    weight_of_0: float,
    row_weights: Array,
    derivative: Array,
) -> float:
    """l = -a1 y (1 - p)^g log p - a0 (1 - y) p^g log(1 - p): the cross-entropy with easy examples made lighter."""
    weights = row_weights[:, None] / y_true.shape[1]
    value_of_1, slope_of_1 = _focal(y_true, y_pred, 1 - y_pred, gamma)
    value_of_0, slope_of_0 = _focal(1 - y_true, 1 - y_pred, y_pred, gamma)
    derivative[...] = weights * (weight_of_1 * slope_of_1 - weight_of_0 * slope_of_0)
    return float(np.sum(weights * (weight_of_1 * value_of_1 + weight_of_0 * value_of_0)))


def sigmoid_binary_focal(
    y_true: Array,
    logits: Array,
    gamma: float,
    weight_of_1: float,
    weight_of_0: float,
    row_weights: Array,
    derivative: Array,
) -> float:
    """The same of p = sigmoid(z). With q = 1 - p, d/dz of -q^g log p is q^g (g p log p - q)."""
    weights = row_weights[:, None] / y_true.shape[1]
    p, q = expit(logits), expit(-logits)
    log_p, log_q = log_expit(logits), log_expit(-logits)
    of_1, of_0 = weight_of_1 * y_true * q**gamma, weight_of_0 * (1 - y_true) * p**gamma
    derivative[...] = weights * (of_1 * (gamma * p * log_p - q) - of_0 * (gamma * q * log_q - p))
    return -float(np.sum(weights * (of_1 * log_p + of_0 * log_q)))


def categorical_focal(y_true: Array, y_pred: Array, gamma: float, row_weights: Array, derivative: Array) -> float:
    """Sum over classes of -y (1 - p)^g log p: the mean over rows."""
    value, slope = _focal(y_true, y_pred, 1 - y_pred, gamma)
    derivative[...] = row_weights[:, None] * slope
    return float(np.sum(row_weights[:, None] * value))


def softmax_categorical_focal(
    y_true: Array, logits: Array, gamma: float, row_weights: Array, derivative: Array
) -> float:
    """The same of p = softmax(z): with h = dl / d log p, the derivative is h - p sum(h)."""
    log_p = log_softmax(logits, axis=1)
    p, q = np.exp(log_p), -np.expm1(log_p)
    lightened = y_true * q**gamma
    with np.errstate(divide="ignore", invalid="ignore"):
        h = lightened * (np.where(q == 0, -gamma, gamma * p * log_p / q) - 1)
    derivative[...] = row_weights[:, None] * (h - p * np.sum(h, axis=1, keepdims=True))
    return -float(np.sum(row_weights[:, None] * lightened * log_p))


def _focal(y: Array, p: Array, q: Array, gamma: float) -> tuple[Array, Array]:
    """Value and slope of -y q^g log p by p, where q = 1 - p; both 0 where y is."""
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0 = -infinity is the true value
        log_p, lightened = np.log(p), q**gamma
        value = np.where(y == 0, 0 * p, -y * lightened * log_p)
        pull = np.where(q == 0, -gamma, xlogy(gamma, p) / q)  # gamma log p / q has the limit -gamma
        slope = np.where(y == 0, 0 * p, y * lightened * (pull - 1 / p))
    return value, slope
