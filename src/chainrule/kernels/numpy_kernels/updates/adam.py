"""Adam and its kin: steps from running averages of the gradient and of its square."""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = ["adam", "adamw", "nadam", "radam"]


def _update_moments(gradient: Array, mean: Array, square: Array, beta1: float, beta2: float) -> None:
    """Adam's averages: m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2."""
    mean *= beta1
    mean += (1 - beta1) * gradient
    square *= beta2
    square += (1 - beta2) * gradient**2


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
    """Adam with bias corrections worked out by the caller.

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= step_size * m / (sqrt(v) / root_correction + epsilon),
    with step_size = rate / (1 - b1^t) and root_correction = sqrt(1 - b2^t).
    """
    _update_moments(gradient, mean, square, beta1, beta2)
    weights -= step_size * mean / (np.sqrt(square) / root_correction + epsilon)


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
    """Decay of the first n_decayed weights, w -= decay * w, then Adam's step; decay is rate * weight_decay."""
    weights[:n_decayed] *= 1 - decay
    adam(weights, gradient, mean, square, beta1, beta2, step_size, root_correction, epsilon)


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
    """Adam's moments;  w -= (gradient_step * g + mean_step * m) / (sqrt(v) / root_correction + epsilon)."""
    _update_moments(gradient, mean, square, beta1, beta2)
    weights -= (gradient_step * gradient + mean_step * mean) / (np.sqrt(square) / root_correction + epsilon)


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
    """Adam's moments;  w -= step_size * m, divided by sqrt(v) + epsilon if rectified."""
    _update_moments(gradient, mean, square, beta1, beta2)
    weights -= step_size * mean / (np.sqrt(square) + epsilon) if rectified else step_size * mean
