"""One step of an optimizer in one pass; the reference module of the same name says what each one computes.

Averages of gradients that have become zero decay into the numbers below the normal range of float32, on which
processors compute about a hundred times slower (MNIST's border pixels do this to Adam within two epochs). So an average
that has sunk below what could move a weight is stored as zero, and a gradient whose square would lie below the range
adds nothing to the average of squares.
"""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
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

# Averages below these are stored as zero. That of gradients lies well above the smallest normal float32, 1.2e-38, since
# the compiler may multiply it by the learning rate before it divides.
NO_SQUARE = 1.1754944e-38
NO_MEAN = 1e-30
NO_GRADIENT = 1e-15  # a gradient below this has no square to speak of


@compiled
def _flushed(value: float, bound: float, zero: float) -> float:
    """Zero instead of a number below ``bound``; NaN stays NaN.

    ``bound`` and ``zero`` have the type of ``value``, so that a loop over float32 numbers has no wider ones in it.
    """
    return zero if abs(value) < bound else value


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
def momentum_descent(
    weights: Array, gradient: Array, retained: Array, rate: float, momentum: float, nesterov: bool
) -> None:
    kind = weights.dtype.type
    no_mean, zero = kind(NO_MEAN), kind(0)
    rate, momentum = kind(rate), kind(momentum)
    for i in range(weights.size):
        g = gradient[i]
        r = momentum * retained[i] + g
        retained[i] = _flushed(r, no_mean, zero)
        weights[i] -= rate * (g + momentum * r if nesterov else r)


@compiled
def adagrad(weights: Array, gradient: Array, total: Array, rate: float, epsilon: float) -> None:
    kind = weights.dtype.type
    rate, epsilon = kind(rate), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        t = total[i] + g * g
        total[i] = t
        weights[i] -= rate * g / (np.sqrt(t) + epsilon)


@compiled
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
    kind = weights.dtype.type
    no_square, no_gradient, no_mean, zero = kind(NO_SQUARE), kind(NO_GRADIENT), kind(NO_MEAN), kind(0)
    rate, a, c, epsilon, momentum = kind(rate), kind(alpha), kind(1 - alpha), kind(epsilon), kind(momentum)
    for i in range(weights.size):
        g = gradient[i]
        h = _flushed(g, no_gradient, zero)
        v = a * square[i] + c * h * h
        square[i] = _flushed(v, no_square, zero)
        if centered:
            m = a * mean[i] + c * g
            mean[i] = _flushed(m, no_mean, zero)
            v -= m * m
            v = zero if v < zero else v
        move = g / (np.sqrt(v) + epsilon)
        if momentum > zero:
            move += momentum * retained[i]
            retained[i] = _flushed(move, no_mean, zero)
        weights[i] -= rate * move


@compiled
def adadelta(
    weights: Array, gradient: Array, square: Array, square_move: Array, rate: float, rho: float, epsilon: float
) -> None:
    kind = weights.dtype.type
    no_square, no_gradient, zero = kind(NO_SQUARE), kind(NO_GRADIENT), kind(0)
    rate, r, c, epsilon = kind(rate), kind(rho), kind(1 - rho), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        h = _flushed(g, no_gradient, zero)
        v = r * square[i] + c * h * h
        u = square_move[i]
        move = g * np.sqrt(u + epsilon) / np.sqrt(v + epsilon)
        square[i] = _flushed(v, no_square, zero)
        square_move[i] = _flushed(r * u + c * move * move, no_square, zero)
        weights[i] -= rate * move


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
    no_square, no_gradient, no_mean, zero = kind(NO_SQUARE), kind(NO_GRADIENT), kind(NO_MEAN), kind(0)
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    step, inverse_root, eps = kind(step_size), kind(1 / root_correction), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        h = _flushed(g, no_gradient, zero)
        v = b2 * square[i] + c2 * h * h
        mean[i] = _flushed(m, no_mean, zero)
        square[i] = _flushed(v, no_square, zero)
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
    no_square, no_gradient, no_mean, zero = kind(NO_SQUARE), kind(NO_GRADIENT), kind(NO_MEAN), kind(0)
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    step, inverse_root, eps, keep = kind(step_size), kind(1 / root_correction), kind(epsilon), kind(1 - decay)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        h = _flushed(g, no_gradient, zero)
        v = b2 * square[i] + c2 * h * h
        mean[i] = _flushed(m, no_mean, zero)
        square[i] = _flushed(v, no_square, zero)
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
    no_square, no_gradient, no_mean, zero = kind(NO_SQUARE), kind(NO_GRADIENT), kind(NO_MEAN), kind(0)
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    of_g, of_m, inverse_root, eps = kind(gradient_step), kind(mean_step), kind(1 / root_correction), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        h = _flushed(g, no_gradient, zero)
        v = b2 * square[i] + c2 * h * h
        mean[i] = _flushed(m, no_mean, zero)
        square[i] = _flushed(v, no_square, zero)
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
    no_square, no_gradient, no_mean, zero = kind(NO_SQUARE), kind(NO_GRADIENT), kind(NO_MEAN), kind(0)
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    step, eps = kind(step_size), kind(epsilon)
    for i in range(weights.size):
        g = gradient[i]
        m = b1 * mean[i] + c1 * g
        h = _flushed(g, no_gradient, zero)
        v = b2 * square[i] + c2 * h * h
        mean[i] = _flushed(m, no_mean, zero)
        square[i] = _flushed(v, no_square, zero)
        weights[i] -= step * (m / (np.sqrt(v) + eps)) if rectified else step * m


@compiled
def _lion_slice(
    weights: Array, gradient: Array, mean: Array, rate: float, beta1: float, beta2: float, decay: float
) -> None:
    kind = weights.dtype.type
    no_mean, zero = kind(NO_MEAN), kind(0)
    b1, b2, c1, c2 = kind(beta1), kind(beta2), kind(1 - beta1), kind(1 - beta2)
    rate, keep = kind(rate), kind(1 - decay)
    for i in range(weights.size):
        g = gradient[i]
        m = mean[i]
        weights[i] = keep * weights[i] - rate * np.sign(b1 * m + c1 * g)
        mean[i] = _flushed(b2 * m + c2 * g, no_mean, zero)


@compiled
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
    n = n_decayed
    _lion_slice(weights[:n], gradient[:n], mean[:n], rate, beta1, beta2, decay)
    _lion_slice(weights[n:], gradient[n:], mean[n:], rate, beta1, beta2, 0.0)


@compiled
def averaged_momentum(gradient: Array, mean: Array, out: Array, momentum: float, nesterov: bool) -> None:
    kind = mean.dtype.type
    no_mean, zero = kind(NO_MEAN), kind(0)
    a, c = kind(momentum), kind(1 - momentum)
    for i in range(mean.size):
        g = gradient[i]
        m = a * mean[i] + c * g
        mean[i] = _flushed(m, no_mean, zero)
        out[i] = c * g + a * m if nesterov else m


@compiled
def decayed_descent(weights: Array, direction: Array, rate: float, decay: float) -> None:
    kind = weights.dtype.type
    rate, keep = kind(rate), kind(1 - decay)
    for i in range(weights.size):
        weights[i] = keep * weights[i] - rate * direction[i]


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
