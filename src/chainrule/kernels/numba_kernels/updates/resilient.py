"""Rprop and Quickprop; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = ["quickprop", "rprop"]


@compiled
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
    kind = weights.dtype.type
    increase, decrease, smallest, largest = kind(increase), kind(decrease), kind(smallest), kind(largest)
    zero, one = kind(0), kind(1)
    for i in range(weights.size):
        g = gradient[i]
        sign = np.sign(g)
        agreement = sign * np.sign(previous[i])
        size = step_size[i] * (increase if agreement > zero else (decrease if agreement < zero else one))
        size = min(max(size, smallest), largest)
        step_size[i] = size
        if stay and agreement < zero:
            if take_back:
                weights[i] -= move[i]
            move[i] = zero
            previous[i] = zero
        else:
            change = -sign * size
            weights[i] += change
            move[i] = change
            previous[i] = g


@compiled
def quickprop(weights: Array, gradient: Array, previous: Array, move: Array, rate: float, growth: float) -> None:
    kind = weights.dtype.type
    shrink = kind(growth / (1 + growth))
    rate, growth, zero = kind(rate), kind(growth), kind(0)
    for i in range(weights.size):
        g = gradient[i]
        last = move[i]
        change = -rate * g
        if last != zero:
            forward = np.sign(last)
            slope = -forward * g
            previous_slope = -forward * previous[i]
            if not slope > zero:
                change = zero
            if slope > shrink * previous_slope:
                change += growth * last
            else:
                change += slope / (previous_slope - slope) * last
        move[i] = change
        previous[i] = g
        weights[i] += change
