"""A step size for every weight; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = ["adadelta", "adagrad", "lion", "rmsprop"]


@compiled
def adagrad(weights: Array, gradient: Array, total: Array, rate: float, epsilon: float) -> None:
    kind = weights.dtype.type
    rate, epsilon = kind(rate), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        t = total[i] + g * g
        total[i] = t
        weights[i] -= rate * g / (np.sqrt(t) + epsilon)


@compiled
def rmsprop(
    weights: Array,
    gradient: Array,
    square: Array,
    mean: Array,
    retained: Array,
    rate: float,
    alpha: float,
    epsilon: float,
    momentum: float,
    centered: bool,
) -> None:
    kind = weights.dtype.type
    zero = kind(0)
    rate, a, c, epsilon, momentum = kind(rate), kind(alpha), kind(1 - alpha), kind(epsilon), kind(momentum)
    for i in range(weights.size):
        g = gradient[i]
        v = a * square[i] + c * g * g
        square[i] = v
        if centered:
            m = a * mean[i] + c * g
            mean[i] = m
            v -= m * m
            v = zero if v < zero else v
        move = g / (np.sqrt(v) + epsilon)
        if momentum > zero:
            move += momentum * retained[i]
            retained[i] = move
        weights[i] -= rate * move


@compiled
def adadelta(
    weights: Array, gradient: Array, square: Array, square_move: Array, rate: float, rho: float, epsilon: float
) -> None:
    kind = weights.dtype.type
    rate, r, c, epsilon = kind(rate), kind(rho), kind(1 - rho), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        v = r * square[i] + c * g * g
        u = square_move[i]
        move = g * np.sqrt(u + epsilon) / np.sqrt(v + epsilon)
        square[i] = v
        square_move[i] = r * u + c * move * move
        weights[i] -= rate * move


@compiled
def _lion_slice(
    weights: Array, gradient: Array, mean: Array, rate: float, beta1: float, beta2: float, decay: float
) -> None:
    kind = weights.dtype.type
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    rate, keep = kind(rate), kind(1 - decay)
    for i in range(weights.size):
        g = gradient[i]
        m = mean[i]
        weights[i] = keep * weights[i] - rate * np.sign(b1 * m + c1 * g)
        mean[i] = b2 * m + c2 * g


@compiled
def lion(
    weights: Array,
    gradient: Array,
    mean: Array,
    rate: float,
    beta1: float,
    beta2: float,
    decay: float,
    n_decayed: int,
) -> None:
    n = n_decayed
    _lion_slice(weights[:n], gradient[:n], mean[:n], rate, beta1, beta2, decay)
    _lion_slice(weights[n:], gradient[n:], mean[n:], rate, beta1, beta2, 0.0)
