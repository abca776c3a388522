"""A step size of its own for every weight, from the gradients it has seen, or only their signs."""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = ["adadelta", "adagrad", "lion", "rmsprop"]


def adagrad(weights: Array, gradient: Array, total: Array, rate: float, epsilon: float) -> None:
    """Total += g^2;  w -= rate * g / (sqrt(total) + epsilon)."""
    total += gradient**2
    weights -= rate * gradient / (np.sqrt(total) + epsilon)


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
    """Running mean square of g, less the squared mean if centered; ``mean`` and ``retained`` are left alone if unused.

    v = alpha v + (1 - alpha) g^2;  retained = momentum * retained + g / (sqrt(v) + epsilon);  w -= rate * retained.
    Rounding can take v - mean^2 below 0, where it counts as 0.
    """
    square *= alpha
    square += (1 - alpha) * gradient**2
    variance = square
    if centered:
        mean *= alpha
        mean += (1 - alpha) * gradient
        variance = np.maximum(square - mean**2, 0)
    move = gradient / (np.sqrt(variance) + epsilon)
    if momentum > 0:
        retained *= momentum
        retained += move
        move = retained
    weights -= rate * move


def adadelta(
    weights: Array, gradient: Array, square: Array, square_move: Array, rate: float, rho: float, epsilon: float
) -> None:
    """Adadelta, with v in ``square`` and u in ``square_move``.

    v = rho v + (1 - rho) g^2;  move = g sqrt(u + epsilon) / sqrt(v + epsilon);  u = rho u + (1 - rho) move^2;
    w -= rate * move.
    """
    square *= rho
    square += (1 - rho) * gradient**2
    move = gradient * np.sqrt(square_move + epsilon) / np.sqrt(square + epsilon)
    square_move *= rho
    square_move += (1 - rho) * move**2
    weights -= rate * move


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
    """Lion, with decay = rate * weight_decay, which acts on the first n_decayed weights only.

    w -= decay * w;  w -= rate * sign(b1 m + (1 - b1) g);  m = b2 m + (1 - b2) g.
    """
    weights[:n_decayed] *= 1 - decay
    weights -= rate * np.sign(beta1 * mean + (1 - beta1) * gradient)
    mean *= beta2
    mean += (1 - beta2) * gradient
