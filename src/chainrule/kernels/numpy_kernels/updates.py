"""Steps along the gradient or a running average of it, and what penalties add to the gradient."""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = ["add_scaled", "add_signs", "averaged_momentum", "decayed_descent"]


def add_scaled(target: Array, source: Array, factor: float) -> None:
    """Target += factor * source."""
    target += factor * source


def add_signs(target: Array, source: Array, factor: float) -> None:
    """Target += factor * sign(source), where the sign of 0 is 0 and that of NaN is NaN."""
    target += factor * np.sign(source)


def averaged_momentum(gradient: Array, mean: Array, out: Array, momentum: float, nesterov: bool) -> None:
    """Muon's momentum: m = momentum * m + (1 - momentum) g, and the direction in ``out``.

    out = m, or (1 - momentum) g + momentum * m with Nesterov's look-ahead.
    """
    mean *= momentum
    mean += (1 - momentum) * gradient
    out[:] = (1 - momentum) * gradient + momentum * mean if nesterov else mean


def decayed_descent(weights: Array, direction: Array, rate: float, decay: float) -> None:
    """Decay, then descend: w -= decay * w;  w -= rate * direction."""
    weights *= 1 - decay
    weights -= rate * direction
