"""Losses on classes; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = [
    "binary_focal",
    "categorical_cross_entropy",
    "categorical_focal",
    "sigmoid_binary_focal",
    "softmax_categorical_focal",
    "softmax_cross_entropy",
]


# Below this a probability is taken for 0 in float32. Behind it lie the numbers below 1e-38, on which processors compute
# about a hundred times slower: a network that knows its data by heart would be full of them, from the error of the
# outputs down to the gradients.
NO_PROBABILITY = 1e-25


@compiled
def _exp(z: float, bound: float, zero: float) -> float:
    """exp(z), or zero where it is below ``bound``; NaN stays NaN."""
    e = np.exp(z)
    return zero if e < bound else e


@compiled
def categorical_cross_entropy(y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    zero = y_true.dtype.type(0)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i]
        for j in range(columns):
            p, y = y_pred[i, j], y_true[i, j]
            derivative[i, j] = -weight * (y / p if y != 0 else zero * p)
            total -= weight * (y * np.log(p) if y != 0 else zero * p)
    return total


@compiled
def softmax_cross_entropy(y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    zero = y_true.dtype.type(0)
    bound = y_true.dtype.type(NO_PROBABILITY if y_true.itemsize == 4 else 0)
    loss = 0.0
    for i in range(rows):
        z, y, d, weight = logits[i], y_true[i], derivative[i], row_weights[i]
        largest = z[0]
        for j in range(1, columns):
            largest = z[j] if z[j] > largest else largest
        total = mass = target = zero
        for j in range(columns):
            shifted = z[j] - largest
            d[j] = _exp(shifted, bound, zero)
            total += d[j]
            mass += y[j]
            target += y[j] * shifted
        # log(total) is never added to the largest logit, beside which it would be lost (1e6 in float32).
        loss += weight * (mass * np.log(total) - target)
        for j in range(columns):
            d[j] = weight * (d[j] / total * mass - y[j])
    return loss


@compiled
def _focal(y: float, log_p: float, p: float, q: float, gamma: float) -> tuple[float, float]:
    """Value and slope of -y q^g log p by p, where q = 1 - p; both 0 where y is, but for a NaN."""
    zero, one = type(y)(0), type(y)(1)
    if y == zero:
        return zero * p, zero * p
    lightened = y * q**gamma
    pull = gamma * log_p / q if gamma > 0 else zero
    pull = -gamma if q == zero else pull
    return -lightened * log_p, lightened * (pull - one / p)


@compiled
def binary_focal(
    y_true: Array,
    y_pred: Array,
    gamma: float,
    weight_of_1: float,
    weight_of_0: float,
    row_weights: Array,
    derivative: Array,
) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    one, g, a1, a0 = kind(1), kind(gamma), kind(weight_of_1), kind(weight_of_0)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            p, y = y_pred[i, j], y_true[i, j]
            value_of_1, slope_of_1 = _focal(y, np.log(p), p, one - p, g)
            value_of_0, slope_of_0 = _focal(one - y, np.log1p(-p), one - p, p, g)
            derivative[i, j] = weight * (a1 * slope_of_1 - a0 * slope_of_0)
            total += weight * (a1 * value_of_1 + a0 * value_of_0)
    return total


@compiled
def sigmoid_binary_focal(
    y_true: Array,
    logits: Array,
    gamma: float,
    weight_of_1: float,
    weight_of_0: float,
    row_weights: Array,
    derivative: Array,
) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    one, zero, g, a1, a0 = kind(1), kind(0), kind(gamma), kind(weight_of_1), kind(weight_of_0)
    total = 0.0
    for i in range(rows):
        weight = row_weights[i] / kind(columns)
        for j in range(columns):
            z, y = logits[i, j], y_true[i, j]
            e = np.exp(-abs(z))
            tail = np.log1p(e)
            p, q = (one if z >= zero else e) / (one + e), (e if z >= zero else one) / (one + e)
            log_p, log_q = (zero if z >= zero else z) - tail, (-z if z >= zero else zero) - tail
            of_1, of_0 = a1 * y * q**g, a0 * (one - y) * p**g
            derivative[i, j] = weight * (of_1 * (g * p * log_p - q) - of_0 * (g * q * log_q - p))
            total -= weight * (of_1 * log_p + of_0 * log_q)
    return total


@compiled
def categorical_focal(y_true: Array, y_pred: Array, gamma: float, row_weights: Array, derivative: Array) -> float:
    rows, columns = y_true.shape
    one, g = y_true.dtype.type(1), y_true.dtype.type(gamma)
    total = 0.0
    for i in range(rows):
        for j in range(columns):
            p = y_pred[i, j]
            value, slope = _focal(y_true[i, j], np.log(p), p, one - p, g)
            derivative[i, j] = row_weights[i] * slope
            total += row_weights[i] * value
    return total


@compiled
def softmax_categorical_focal(
    y_true: Array, logits: Array, gamma: float, row_weights: Array, derivative: Array
) -> float:
    rows, columns = y_true.shape
    kind = y_true.dtype.type
    one, zero, g = kind(1), kind(0), kind(gamma)
    loss = 0.0
    for i in range(rows):
        z, y, d, weight = logits[i], y_true[i], derivative[i], row_weights[i]
        largest = z[0]
        for j in range(1, columns):
            largest = z[j] if z[j] > largest else largest
        total = zero
        for j in range(columns):
            total += np.exp(z[j] - largest)
        log_total = np.log(total)
        common = zero
        for j in range(columns):
            # Kept in d: in one expression the compiler would add largest and log_total first, and lose the smaller.
            d[j] = z[j] - largest
        for j in range(columns):
            log_p = d[j] - log_total
            p, q = np.exp(log_p), -np.expm1(log_p)
            lightened = y[j] * q**g
            pull = -g if q == zero else g * p * log_p / q
            loss -= weight * lightened * log_p
            d[j] = lightened * (pull - one)
            common += d[j]
        for j in range(columns):
            d[j] = weight * (d[j] - np.exp(z[j] - largest) / total * common)
    return loss
