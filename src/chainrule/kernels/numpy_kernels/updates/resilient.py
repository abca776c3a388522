"""Rprop and Quickprop, which look at each weight alone and at the gradients of the last two steps."""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = ["quickprop", "rprop"]


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
