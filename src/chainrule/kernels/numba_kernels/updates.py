"""Steps along the gradient; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = ["add_scaled", "add_signs", "averaged_momentum", "decayed_descent"]


@compiled
def add_scaled(target: Array, source: Array, factor: float) -> None:
    factor = target.dtype.type(factor)
    for i in range(target.size):
        target[i] += factor * source[i]


@compiled
def add_signs(target: Array, source: Array, factor: float) -> None:
    factor = target.dtype.type(factor)
    for i in range(target.size):
        target[i] += factor * np.sign(source[i])


@compiled
def averaged_momentum(gradient: Array, mean: Array, out: Array, momentum: float, nesterov: bool) -> None:
    kind = mean.dtype.type
    a, c = kind(momentum), kind(1 - momentum)
    for i in range(mean.size):
        g = gradient[i]
        m = a * mean[i] + c * g
        mean[i] = m
        out[i] = c * g + a * m if nesterov else m


@compiled
def decayed_descent(weights: Array, direction: Array, rate: float, decay: float) -> None:
    kind = weights.dtype.type
    rate, keep = kind(rate), kind(1 - decay)
    for i in range(weights.size):
        weights[i] = keep * weights[i] - rate * direction[i]
