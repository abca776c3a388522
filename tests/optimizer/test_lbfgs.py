"""L-BFGS and its line search, beside SciPy and PyTorch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from chainrule.errors import InvalidInputError
from chainrule.optimizer import LBFGS
from chainrule.optimizer.line_search import Trial, cubic_minimum, strong_wolfe
from chainrule.types import Array


class Rosenbrock:
    l2_rate = 0.0

    def __init__(self) -> None:
        self.evaluations = 0

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        self.evaluations += 1
        with np.errstate(over="ignore", invalid="ignore"):
            return float(optimize.rosen(weights)), np.asarray(optimize.rosen_der(weights), dtype=weights.dtype)

    def residuals_and_jacobian(self, weights: Array) -> Any:
        raise AssertionError("L-BFGS has no business with residuals")


def minimize(optimizer: LBFGS, weights: Array, objective: Any, n_iterations: int = 500) -> tuple[list[float], int]:
    values = []
    for n in range(1, n_iterations + 1):
        values.append(optimizer.minimize(weights, objective))
        if optimizer.converged:
            return values, n
    return values, n_iterations


@pytest.mark.parametrize("size", [2, 10, 50])
def test_rosenbrocks_valley_costs_no_more_than_in_scipy(size: int) -> None:
    start = np.tile([-1.2, 1.0], size // 2)
    objective, weights = Rosenbrock(), start.copy()
    values, n = minimize(LBFGS(), weights, objective)
    scipys = optimize.minimize(
        optimize.rosen, start, jac=optimize.rosen_der, method="L-BFGS-B", options={"gtol": 1e-7, "ftol": 0}
    )
    assert values[-1] < 1e-12
    if size == 2:
        np.testing.assert_allclose(weights, 1, atol=1e-6)
        np.testing.assert_allclose(scipys.x, 1, atol=1e-6)
    assert (np.diff(values) <= 0).all()
    # Ours evaluates the start of every iteration again, which an objective that remembers its last answer saves.
    assert objective.evaluations - n < 1.3 * scipys.nfev


@pytest.mark.parametrize("seed", range(4))
def test_same_path_as_torch(seed: int) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    A, b, start = rng.normal(size=(40, 8)) / 2, rng.normal(size=40), rng.normal(size=8)

    class Smooth(Rosenbrock):
        def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
            z = A @ weights - b
            return float(np.log(np.cosh(z)).sum()), A.T @ np.tanh(z)

    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    theirs = torch.optim.LBFGS(
        [parameter], lr=1, max_iter=1, max_eval=26, history_size=10, line_search_fn="strong_wolfe", tolerance_change=0
    )

    def closure() -> Any:
        value, gradient = Smooth().value_and_gradient(parameter.detach().numpy())
        parameter.grad = torch.from_numpy(gradient)
        return torch.tensor(value, dtype=torch.float64)

    ours, weights = LBFGS(), start.copy()
    for _ in range(12):
        theirs.step(closure)
        ours.minimize(weights, Smooth())
        np.testing.assert_allclose(weights, parameter.detach().numpy(), rtol=0, atol=1e-8)
    assert np.abs(weights - start).max() > 0.1


def test_float32_comes_as_near_as_its_digits_allow() -> None:
    weights = np.array([-1.2, 1.0], np.float32)
    values, n = minimize(LBFGS(), weights, Rosenbrock())
    assert weights.dtype == np.float32
    assert n < 100
    np.testing.assert_allclose(weights, 1, atol=2e-3)
    assert values[-1] < 1e-6


def test_it_says_when_it_has_converged_and_stays() -> None:
    weights, optimizer = np.ones(2), LBFGS()
    assert not optimizer.converged
    assert optimizer.minimize(weights, Rosenbrock()) == 0
    assert optimizer.converged
    np.testing.assert_array_equal(weights, 1)


class Wrong(Rosenbrock):
    """A gradient of the wrong sign: no step along its negative goes down."""

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        return float(weights @ weights), -2 * weights


def test_it_stops_at_a_small_decrease_where_scipy_stops() -> None:
    start = np.tile([-1.2, 1.0], 5)
    for ftol in (1e-2, 1e-5):
        values, n = minimize(LBFGS(tolerance=0, min_decrease=ftol), start.copy(), Rosenbrock())
        scale = np.maximum(np.maximum(values[:-1], values[1:]), 1)
        assert n == 2 + int(np.argmax(-np.diff(values) <= ftol * scale))
        scipys = optimize.minimize(
            optimize.rosen, start, jac=optimize.rosen_der, method="L-BFGS-B", options={"gtol": 0, "ftol": ftol}
        )
        assert values[-1] <= 2 * scipys.fun + 1e-3


def test_it_counts_evaluations_up_to_its_limit() -> None:
    optimizer, weights, objective = LBFGS(evaluation_limit=20), np.array([-1.2, 1.0]), Rosenbrock()
    for n in range(1, 100):
        optimizer.minimize(weights, objective)
        assert optimizer.state["evaluations"] == objective.evaluations - n  # ours asks for the start of each again
        if optimizer.stop_reason:
            break
    assert 20 <= optimizer.state["evaluations"] < 20 + optimizer.max_evaluations
    assert optimizer.stop_reason is not None
    assert "its limit is 20" in optimizer.stop_reason
    assert not optimizer.converged
    assert LBFGS().stop_reason is None
    assert "evaluations" not in LBFGS().allocate_state(2, np.dtype(float))


def test_where_no_way_leads_down_the_weights_stay_and_it_says_so() -> None:
    weights, optimizer = np.array([1.0, 2.0]), LBFGS()
    assert optimizer.minimize(weights, Wrong()) == 5
    np.testing.assert_array_equal(weights, [1, 2])
    assert optimizer.converged


def test_a_failed_line_search_forgets_the_pairs_before_it_gives_up() -> None:
    weights, optimizer = np.array([-1.2, 1.0]), LBFGS()
    minimize(optimizer, weights, Rosenbrock(), 5)
    assert optimizer.state["pairs"][0] > 0
    before = weights.copy()
    optimizer.minimize(weights, Wrong())
    assert optimizer.state["pairs"][0] == 0
    np.testing.assert_array_equal(weights, before)
    assert not optimizer.converged
    minimize(optimizer, weights, Rosenbrock())
    np.testing.assert_allclose(weights, 1, atol=1e-6)


def test_memory_is_a_ring() -> None:
    weights, optimizer = np.tile([-1.2, 1.0], 5), LBFGS(memory=3)
    values, n = minimize(optimizer, weights, Rosenbrock())
    assert optimizer.state["moves"].shape == (3, 10)
    assert int(optimizer.state["pairs"][0]) > 3
    assert values[-1] < 1e-12
    s, y = optimizer.state["moves"], optimizer.state["changes"]
    assert (np.einsum("ij,ij->i", s, y) > 0).all()
    assert n < 200


def test_a_full_memory_gives_newtons_direction_on_a_quadratic() -> None:
    """With exact pairs along every axis, H is the inverse of the Hessian."""
    hessian, optimizer = np.array([4.0, 0.5, 9.0]), LBFGS(memory=3)
    optimizer.state = optimizer.allocate_state(3, np.dtype(np.float64))
    for i in range(3):
        optimizer._remember(np.eye(3)[i], 1.0, hessian[i] * np.eye(3)[i])
    gradient = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(optimizer._direction(gradient), -gradient / hessian, rtol=1e-14)


def test_a_start_that_is_not_finite_is_left_to_the_caller() -> None:
    class Infinite(Rosenbrock):
        def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
            return math.inf, np.ones_like(weights)

    weights = np.ones(3)
    assert LBFGS().minimize(weights, Infinite()) == math.inf
    np.testing.assert_array_equal(weights, 1)


def test_c1_must_be_below_c2() -> None:
    with pytest.raises(InvalidInputError, match="c1 must be below c2"):
        LBFGS(c1=0.5, c2=0.1)


LINES: dict[str, Any] = {
    "parabola": lambda t: ((t - 3) ** 2, 2 * (t - 3)),
    "Moré and Thuente 1": lambda t: (-t / (t * t + 2), (t * t - 2) / (t * t + 2) ** 2),
    "Moré and Thuente 2": lambda t: ((t + 0.1) ** 5 - 2 * (t + 0.1) ** 4, 5 * (t + 0.1) ** 4 - 8 * (t + 0.1) ** 3),
    "a wall": lambda t: (-math.log(5 - t) - 3 * t, 1 / (5 - t) - 3) if t < 5 else (math.nan, math.nan),
    "an endless wall": lambda t: (t * t - t, 2 * t - 1) if t < 1 else (math.inf, math.inf),
    "waves": lambda t: (t * t / 100 - math.sin(3 * t) - t / 2, t / 50 - 3 * math.cos(3 * t) - 0.5),
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("c2", [0.1, 0.9])
@given(exponent=st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_the_line_search_meets_both_conditions(name: str, c2: float, exponent: float) -> None:
    line, nothing = LINES[name], np.empty(0)

    def evaluate(t: float) -> Trial:
        return Trial(t, *line(t), nothing)

    start = evaluate(0.0)
    found = strong_wolfe(evaluate, start, 10.0**exponent, 1e-4, c2, 40)
    assert found.step > 0
    assert found.value <= start.value + 1e-4 * found.step * start.slope
    assert abs(found.slope) <= -c2 * start.slope


def test_the_cubic_is_exact_for_cubics() -> None:
    def point(t: float) -> Trial:
        return Trial(t, t**3 - 3 * t, 3 * t**2 - 3, np.empty(0))  # least at 1

    for a, b in ((0.0, 3.0), (3.0, 0.0), (0.5, 1.5)):
        assert cubic_minimum(point(a), point(b), 0, 3) == pytest.approx(1, abs=1e-12)
    assert cubic_minimum(point(0), point(3), 2, 3) == 2
