"""One step of an optimizer in one pass; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = ["adam", "momentum_descent"]


@compiled
def momentum_descent(
    weights: Array, gradient: Array, retained: Array, rate: float, momentum: float, nesterov: bool
) -> None:
    kind = weights.dtype.type
    rate, momentum = kind(rate), kind(momentum)
    for i in range(weights.size):
        g = gradient[i]
        r = momentum * retained[i] + g
        retained[i] = r
        weights[i] -= rate * (g + momentum * r if nesterov else r)


@compiled
def adam(
    weights: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    beta1: float,
    beta2: float,
    step_size: float,
    root_correction: float,
    epsilon: float,
) -> None:
    kind = weights.dtype.type
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    step, inverse_root, eps = kind(step_size), kind(1 / root_correction), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        v = b2 * square[i] + c2 * g * g
        mean[i] = m
        square[i] = v
        weights[i] -= step * m / (np.sqrt(v) * inverse_root + eps)
