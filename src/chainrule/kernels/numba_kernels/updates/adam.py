"""Adam and its kin; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = ["adam", "adamw", "nadam", "radam"]


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
        weights[i] -= step * (m / (np.sqrt(v) * inverse_root + eps))


@compiled
def _adamw_slice(
    weights: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    beta1: float,
    beta2: float,
    step_size: float,
    root_correction: float,
    epsilon: float,
    decay: float,
) -> None:
    kind = weights.dtype.type
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    step, inverse_root, eps, keep = kind(step_size), kind(1 / root_correction), kind(epsilon), kind(1 - decay)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        v = b2 * square[i] + c2 * g * g
        mean[i] = m
        square[i] = v
        weights[i] = keep * weights[i] - step * (m / (np.sqrt(v) * inverse_root + eps))


@compiled
def adamw(
    weights: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    beta1: float,
    beta2: float,
    step_size: float,
    root_correction: float,
    epsilon: float,
    decay: float,
    n_decayed: int,
) -> None:
    # Two loops with one factor each: choosing the factor in the loop costs more than this.
    n, b1, b2, step, root, eps = n_decayed, beta1, beta2, step_size, root_correction, epsilon
    _adamw_slice(weights[:n], gradient[:n], mean[:n], square[:n], b1, b2, step, root, eps, decay)
    _adamw_slice(weights[n:], gradient[n:], mean[n:], square[n:], b1, b2, step, root, eps, 0.0)


@compiled
def nadam(
    weights: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    beta1: float,
    beta2: float,
    gradient_step: float,
    mean_step: float,
    root_correction: float,
    epsilon: float,
) -> None:
    kind = weights.dtype.type
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    of_g, of_m, inverse_root, eps = kind(gradient_step), kind(mean_step), kind(1 / root_correction), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        v = b2 * square[i] + c2 * g * g
        mean[i] = m
        square[i] = v
        weights[i] -= (of_g * g + of_m * m) / (np.sqrt(v) * inverse_root + eps)


@compiled
def radam(
    weights: Array,
    gradient: Array,
    mean: Array,
    square: Array,
    beta1: float,
    beta2: float,
    step_size: float,
    epsilon: float,
    rectified: bool,
) -> None:
    kind = weights.dtype.type
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    step, eps = kind(step_size), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        v = b2 * square[i] + c2 * g * g
        mean[i] = m
        square[i] = v
        weights[i] -= step * (m / (np.sqrt(v) + eps)) if rectified else step * m
