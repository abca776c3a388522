"""One step of an optimizer over the whole flat parameter vector, in place.

Every kernel changes ``weights`` and its state arrays in place and allocates nothing in the compiled set. Scalars that
depend on the step number (bias corrections) are worked out by the caller, once per step.
"""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = ["adam", "momentum_descent"]


def momentum_descent(
    weights: Array, gradient: Array, retained: Array, rate: float, momentum: float, nesterov: bool
) -> None:
    """Retained = momentum * retained + gradient; weights -= rate * (retained, or gradient + momentum * retained)."""
    retained *= momentum
    retained += gradient
    weights -= rate * (gradient + momentum * retained if nesterov else retained)


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
    mean *= beta1
    mean += (1 - beta1) * gradient
    square *= beta2
    square += (1 - beta2) * gradient**2
    weights -= step_size * mean / (np.sqrt(square) / root_correction + epsilon)
