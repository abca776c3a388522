"""Rprop's four variants against Igel and Huesken's pseudo-code, Quickprop against Fahlman's rules."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from chainrule.errors import InvalidInputError
from chainrule.optimizer import Quickprop, Rprop
from chainrule.types import Array

GROW, SHRINK, SMALLEST, LARGEST, FIRST = 1.2, 0.5, 1e-3, 0.8, 0.1


def valley(w: Array) -> tuple[float, Array]:
    """A narrow, slightly bent valley: signs turn often, and the loss sometimes rises."""
    x, y = w
    return float(0.5 * x**2 + 8 * (y - 0.3 * x**2) ** 2), np.array(
        [x - 9.6 * x * (y - 0.3 * x**2), 16 * (y - 0.3 * x**2)]
    )


def sign(x: float) -> float:
    return math.copysign(1, x) if x else 0.0


def follow_the_paper(variant: str, n_steps: int) -> tuple[list[list[float]], int]:
    """The tables of Igel and Huesken 2000, one parameter after the other; also how often a move was taken back."""
    w, path, n_back = [2.0, -1.5], [], 0
    steps, last_gradient, moves, last_loss = [FIRST] * 2, [0.0] * 2, [0.0] * 2, math.inf
    for _ in range(n_steps):
        loss, gradient = valley(np.array(w))
        for i, own in enumerate(gradient):
            g, product = float(own), float(own) * last_gradient[i]
            if product > 0:
                steps[i] = min(steps[i] * GROW, LARGEST)
            elif product < 0:
                steps[i] = max(steps[i] * SHRINK, SMALLEST)
            move = -sign(g) * steps[i]
            if product < 0 and variant == "improved_minus":
                g, move = 0.0, 0.0
            if product < 0 and variant in ("plus", "improved_plus"):
                rose = variant == "plus" or loss > last_loss
                n_back += rose
                g, move = 0.0, (-moves[i] if rose else 0.0)
            w[i] += move
            moves[i], last_gradient[i] = move, g
        last_loss = loss
        path.append(list(w))
    return path, n_back


@pytest.mark.parametrize("variant", ["improved_minus", "minus", "plus", "improved_plus"])
def test_rprop_follows_the_paper(variant: Any) -> None:
    expected, n_back = follow_the_paper(variant, 40)
    assert (n_back > 0) == ("plus" in variant)
    optimizer = Rprop(
        FIRST, variant=variant, increase=GROW, decrease=SHRINK, smallest_step=SMALLEST, largest_step=LARGEST
    )
    weights = np.array([2.0, -1.5])
    for now in expected:
        optimizer.loss, gradient = valley(weights)
        optimizer.update(weights, gradient)
        np.testing.assert_allclose(weights, now, rtol=1e-12)


def test_the_variants_differ() -> None:
    ends = [follow_the_paper(v, 40)[0][-1] for v in ("improved_minus", "minus", "plus", "improved_plus")]
    assert len({tuple(end) for end in ends}) == 4


def test_rprop_plus_asks_for_the_loss() -> None:
    assert Rprop.needs_loss
    with pytest.raises(InvalidInputError, match="set its attribute `loss`"):
        Rprop(variant="improved_plus").update(np.ones(2), np.ones(2))


def test_rprop_only_heeds_the_first_rate() -> None:
    a, b = np.array([2.0, -1.5]), np.array([2.0, -1.5])
    one, other = Rprop(0.1), Rprop()
    for rate in (0.1, 0.03, 0.001):
        one.update(a, valley(a)[1])
        other.update(b, valley(b)[1], rate)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("variant", ["improved_minus", "minus", "plus", "improved_plus"])
def test_rprop_finds_the_bottom(variant: Any) -> None:
    optimizer, weights = Rprop(0.1, variant=variant), np.array([2.0, -1.5])
    for _ in range(300):
        optimizer.loss, gradient = valley(weights)
        optimizer.update(weights, gradient)
    assert valley(weights)[0] < 1e-8


def fahlman(slope: float, last_slope: float, last_move: float, rate: float, mu: float) -> float:
    """QUICKPROP-UPDATE of Fahlman's own program, without weight decay; his slopes are minus the gradient."""
    shrink, move = mu / (1 + mu), 0.0
    if last_move > 0:
        if slope > 0:
            move += rate * slope
        move += mu * last_move if slope > shrink * last_slope else slope / (last_slope - slope) * last_move
    elif last_move < 0:
        if slope < 0:
            move += rate * slope
        move += mu * last_move if slope < shrink * last_slope else slope / (last_slope - slope) * last_move
    else:
        move += rate * slope
    return move


def test_quickprop_follows_fahlmans_program() -> None:
    weights, expected = np.array([2.0, -1.5]), [2.0, -1.5]
    optimizer, slopes, moves, branches = Quickprop(0.02), [0.0, 0.0], [0.0, 0.0], set()
    for _ in range(30):
        optimizer.update(weights, valley(weights)[1])
        for i, g in enumerate(valley(np.array(expected))[1]):
            slope = -float(g)
            branches.add((sign(moves[i]), sign(slope)))
            moves[i] = fahlman(slope, slopes[i], moves[i], 0.02, 1.75)
            slopes[i] = slope
        expected = [w + move for w, move in zip(expected, moves, strict=True)]
        np.testing.assert_allclose(weights, expected, rtol=1e-9, atol=1e-12)
    assert {(1, 1), (1, -1), (-1, 1), (-1, -1)} <= branches, "the path did not meet every rule"


def test_quickprop_jumps_to_the_bottom_of_a_parabola() -> None:
    """A quadratic with separate parameters: one move, then the jump lands on 0, exactly."""
    optimizer, weights = Quickprop(0.5), np.array([4.0, -2.0])
    curvature = np.array([1.0, 2.5])
    for _ in range(2):
        last = weights.copy()
        optimizer.update(weights, curvature * weights)
    # The first gradient kept its sign, so -rate * g is added to the jump; the second has turned.
    np.testing.assert_allclose(weights, [-0.5 * last[0], 0], rtol=1e-12, atol=1e-12)


def test_quickprop_grows_no_faster_than_mu() -> None:
    optimizer, weights = Quickprop(1e-3, growth=1.5), np.array([0.0])
    moves = []
    for _ in range(10):
        before = weights.copy()
        optimizer.update(weights, np.array([-1.0]))
        moves.append(float((weights - before)[0]))
    np.testing.assert_allclose([b - 1.5 * a for a, b in itertools.pairwise(moves)], 1e-3, rtol=1e-6)
