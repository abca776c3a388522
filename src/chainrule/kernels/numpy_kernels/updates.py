"""One step of an optimizer over the whole flat parameter vector, in place.

Every kernel changes ``weights`` and its state arrays in place and allocates nothing in the compiled set. Scalars that
depend on the step number (bias corrections) are worked out by the caller in float64, once per step, and rounded here to
the arrays' type.
"""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "add_scaled",
    "add_signs",
    "averaged_momentum",
    "decayed_descent",
    "lion",
    "momentum_descent",
    "nadam",
    "quickprop",
    "radam",
    "rmsprop",
    "rprop",
]


def add_scaled(target: Array, source: Array, factor: float) -> None:
    """Target += factor * source."""
    target += factor * source


def add_signs(target: Array, source: Array, factor: float) -> None:
    """Target += factor * sign(source), where the sign of 0 is 0 and that of NaN is NaN."""
    target += factor * np.sign(source)


def momentum_descent(
    weights: Array, gradient: Array, retained: Array, rate: float, momentum: float, nesterov: bool
) -> None:
    """Retained = momentum * retained + gradient; weights -= rate * (retained, or gradient + momentum * retained)."""
    retained *= momentum
    retained += gradient
    weights -= rate * (gradient + momentum * retained if nesterov else retained)


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


def rprop(
    weights: Array,
    gradient: Array,
    previous: Array,
    move: Array,
    step_size: Array,
    increase: float,
    decrease: float,
    smallest: float,
    largest: float,
    stay: bool,
    take_back: bool,
) -> None:
    """Step sizes grow where the gradient keeps its sign and shrink where it turns;  w -= sign(g) * step size.

    Where it has just turned: with ``stay`` no step is taken and the gradient counts as 0 next time; with ``take_back``
    too, the last move is taken back first. ``previous`` is the last gradient, ``move`` the last change of the weights.
    """
    agreement = np.sign(gradient) * np.sign(previous)
    turned = (agreement < 0) & stay
    factor = np.where(agreement > 0, increase, np.where(agreement < 0, decrease, 1)).astype(weights.dtype)
    step_size *= factor
    np.clip(step_size, smallest, largest, out=step_size)
    back = -move if take_back else np.zeros_like(move)
    change = np.where(turned, back, -np.sign(gradient) * step_size)
    weights += change
    move[:] = np.where(turned, 0, change)
    previous[:] = np.where(turned, 0, gradient)


def quickprop(weights: Array, gradient: Array, previous: Array, move: Array, rate: float, growth: float) -> None:
    """Jump to the minimum of the parabola through the last two gradients, at most ``growth`` times the last move.

    s = g / g_previous, both along the last move. Where s > growth / (1 + growth), the jump is growth * move, else
    s / (1 - s) * move; -rate * g is added where s > 0, and is all there is where the last move is 0.
    """
    moved = move != 0
    shrink = growth / (1 + growth)
    # The last move went down the previous gradient, so their signs are opposite and `previous` is not 0 where moved.
    forward = np.sign(move)
    slope, previous_slope = -forward * gradient, -forward * previous
    far = slope > shrink * previous_slope
    with np.errstate(divide="ignore", invalid="ignore"):
        jump = np.where(far, growth, slope / (previous_slope - slope)) * move
    descent = -rate * gradient
    move[:] = np.where(moved, jump + np.where(slope > 0, descent, 0), descent)
    previous[:] = gradient
    weights += move
