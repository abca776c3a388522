"""Levenberg-Marquardt on curve fits and a small network, beside scipy.optimize.least_squares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from chainrule.errors import InvalidInputError
from chainrule.optimizer import LevenbergMarquardt
from chainrule.parameters import ParameterBlock
from chainrule.types import Array


class LeastSquares:
    """r.r + l2 / 2 * w.w for residuals given as a function of the weights; J by complex steps, exact to rounding."""

    def __init__(self, function: Callable[[Any], Any], n_residuals: int, l2_rate: float = 0.0, n_penalized: int = 0):
        self.scaled = lambda w: function(w) / np.sqrt(n_residuals)
        self.l2_rate, self.n_penalized = l2_rate, n_penalized

    def jacobian(self, weights: Array) -> Array:
        columns = []
        for i in range(weights.size):
            shifted = weights.astype(np.complex128)
            shifted[i] += 1e-30j
            columns.append(self.scaled(shifted).imag / 1e-30)
        return np.column_stack(columns)

    def residuals_and_jacobian(self, weights: Array) -> tuple[Array, Array] | Iterator[tuple[Array, Array]]:
        return self.scaled(weights.astype(np.float64)), self.jacobian(weights)

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        weights = weights.astype(np.float64)
        r, decayed = self.scaled(weights), weights * (np.arange(weights.size) < self.n_penalized)
        value = float(r @ r) + self.l2_rate / 2 * float(decayed @ decayed)
        return value, 2 * self.jacobian(weights).T @ r + self.l2_rate * decayed


x = np.linspace(0, 3, 60)
noise = np.random.default_rng(0).normal(size=60)
CURVES: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "decay": (lambda w: w[0] * np.exp(-w[1] * x) + w[2] - (3 * np.exp(-1.3 * x) + 0.5 + 0.1 * noise), [1.0, 0.3, 0.0]),
    "wave": (lambda w: w[0] * np.sin(w[1] * x + w[2]) - (2 * np.sin(1.7 * x + 0.4) + 0.1 * noise), [1.0, 1.4, 0.0]),
    "badly scaled": (
        lambda w: 1e3 * w[0] * np.exp(-1e-2 * w[1] * x) - (3e3 * np.exp(-1.3 * x) + 10 * noise),
        [1.0, 50.0],
    ),
}


def network(w: Any) -> Any:
    """A network 1-4-1 with tanh, its errors on a wave: 13 weights."""
    hidden = np.tanh(np.outer(x, w[:4]) + w[4:8])
    return hidden @ w[8:12] + w[12] - np.sin(3 * x)


def minimize(optimizer: LevenbergMarquardt, weights: Array, problem: Any, n: int = 200) -> list[float]:
    values = []
    for _ in range(n):
        values.append(optimizer.minimize(weights, problem))
        if optimizer.converged:
            break
    return values


@pytest.mark.parametrize("name", CURVES)
def test_same_minimum_as_scipy(name: str) -> None:
    function, start = CURVES[name]
    problem, weights, optimizer = LeastSquares(function, 60), np.array(start), LevenbergMarquardt()
    values = minimize(optimizer, weights, problem)
    scipys = optimize.least_squares(lambda w: function(w) / np.sqrt(60), start, method="lm", xtol=1e-14, ftol=1e-14)
    np.testing.assert_allclose(weights, scipys.x, rtol=1e-6)
    assert values[-1] == pytest.approx(2 * scipys.cost, rel=1e-12)
    assert optimizer.converged
    assert (np.diff(values) <= 0).all()
    assert len(values) < 100


def test_a_network_is_fitted_in_a_few_iterations() -> None:
    weights = np.random.default_rng(1).normal(size=13)
    values = minimize(LevenbergMarquardt(), weights, LeastSquares(network, 60), 100)
    assert values[-1] < 1e-4


def test_float32_weights_do() -> None:
    weights = np.random.default_rng(1).normal(size=13).astype(np.float32)
    optimizer = LevenbergMarquardt()
    values = minimize(optimizer, weights, LeastSquares(network, 60), 100)
    assert weights.dtype == np.float32
    assert values[-1] < 1e-4
    assert optimizer.state["damping"].dtype == np.float64


def test_blocks_of_rows_add_up() -> None:
    class InBlocks(LeastSquares):
        def residuals_and_jacobian(self, weights: Array) -> Iterator[tuple[Array, Array]]:
            r, J = self.scaled(weights), self.jacobian(weights)
            buffers = np.empty(17), np.empty((17, weights.size))
            for start in range(0, len(r), 17):
                n = len(r[start : start + 17])
                buffers[0][:n], buffers[1][:n] = r[start : start + 17], J[start : start + 17]
                yield buffers[0][:n], buffers[1][:n]

    whole, parts = np.full(13, 0.1), np.full(13, 0.1)
    whole += np.arange(13) / 20
    parts[:] = whole
    for _ in range(5):
        LevenbergMarquardt().minimize(whole, LeastSquares(network, 60))
        LevenbergMarquardt().minimize(parts, InBlocks(network, 60))
    np.testing.assert_allclose(parts, whole, rtol=1e-9)


def test_the_penalty_is_part_of_the_system() -> None:
    """On a linear model one undamped step is ridge regression, solved exactly; the last weight is not penalised."""
    rng = np.random.default_rng(0)
    A, b, rate = rng.normal(size=(30, 4)), rng.normal(size=30), 0.3
    optimizer, weights = LevenbergMarquardt(damping=1e-12), np.zeros(4)
    optimizer.set_layout([ParameterBlock(0, "weights", (3, 1), True, 0), ParameterBlock(0, "biases", (1,), False, 3)])
    problem = LeastSquares(lambda w: A @ w - b, 30, l2_rate=rate, n_penalized=3)
    value = optimizer.minimize(weights, problem)
    ridge = np.linalg.solve(A.T @ A / 30 + rate / 2 * np.diag([1, 1, 1, 0]), A.T @ b / 30)
    np.testing.assert_allclose(weights, ridge, rtol=1e-9)
    assert value == pytest.approx(problem.value_and_gradient(ridge)[0], rel=1e-12)


@pytest.mark.parametrize(("name", "damping", "least", "most"), [("decay", 1.0, 0, 0.34), ("wave", 1e-3, 0.34, 2)])
def test_damping_follows_from_how_well_the_quadratic_model_foretold_the_gain(
    name: str, damping: float, least: float, most: float
) -> None:
    problem, start = LeastSquares(CURVES[name][0], 60), np.array(CURVES[name][1])
    r, J = problem.residuals_and_jacobian(start)
    move = -np.linalg.solve(J.T @ J + damping * np.eye(3), J.T @ r)
    before, after = problem.value_and_gradient(start)[0], problem.value_and_gradient(start + move)[0]
    assert after < before
    gain = (before - after) / (before - float(np.sum((r + J @ move) ** 2)))
    expected = max(1 / 3, 1 - (2 * gain - 1) ** 3)
    assert least < expected < most
    optimizer = LevenbergMarquardt(damping=damping)
    optimizer.minimize(start, problem)
    assert optimizer.state["damping"][0] == pytest.approx(damping * expected)


def test_damping_rises_faster_and_faster_with_failures() -> None:

    class Worse(LeastSquares):
        def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
            return np.inf, np.zeros_like(weights)

    weights = np.array([1.0, 0.3, 0.0])
    optimizer = LevenbergMarquardt(max_tries=3)
    optimizer.minimize(weights, Worse(CURVES["decay"][0], 60))
    assert optimizer.state["damping"][0] == pytest.approx(1e-3 * 2 * 4 * 8)
    assert not optimizer.converged
    np.testing.assert_array_equal(weights, [1.0, 0.3, 0.0])
    for _ in range(7):
        optimizer.minimize(weights, Worse(CURVES["decay"][0], 60))
    assert optimizer.converged
    assert optimizer.state["damping"][0] == 1e10


def test_a_singular_system_is_damped_until_it_can_be_solved() -> None:
    """Two weights that do the same: J^T J has rank 1."""
    optimizer, weights = LevenbergMarquardt(damping=1e-19), np.array([1.0, -3.0])
    problem = LeastSquares(lambda w: (w[0] + w[1]) * x - x, 60)
    values = minimize(optimizer, weights, problem)
    assert values[-1] < 1e-20
    assert weights.sum() == pytest.approx(1)


def test_too_large_a_network_is_refused_in_one_sentence() -> None:
    optimizer = LevenbergMarquardt()
    optimizer.check_size(2_000, 10_000_000)
    with pytest.raises(InvalidInputError) as caught:
        optimizer.check_size(109_386, 600_000)
    assert str(caught.value) == (
        "Levenberg-Marquardt would need 178.4 GiB for the 109,386 parameters of this network, above max_bytes "
        "(2.0 GiB); use L-BFGS or Adam instead."
    )
    with pytest.raises(InvalidInputError, match="MiB"):
        LevenbergMarquardt(max_bytes=1000).check_size(200, 50)
    with pytest.raises(InvalidInputError, match=r"above the memory of this machine \(.* GiB\); use L-BFGS"):
        LevenbergMarquardt(max_bytes=2**50).check_size(5_000_000, 50)


def test_blocks_have_at_most_64_mib() -> None:
    assert LevenbergMarquardt.rows_per_block(1000) * 8 * 1000 <= 2**26
    assert LevenbergMarquardt.rows_per_block(10**9) == 1
