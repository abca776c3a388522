"""Penalties: gradients against differences, additivity, refusals."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from chainrule import kernels
from chainrule.errors import InvalidInputError
from chainrule.penalties import L1, L1L2, L2, PENALTIES, ElementwisePenalty, Penalty, SumOfPenalties

EXAMPLES: list[Penalty] = [L1(0.3), L2(0.7), L1L2(0.2, 0.5)]


@pytest.mark.parametrize("penalty", EXAMPLES, ids=repr)
def test_the_gradient_is_the_derivative_of_the_value(penalty: Penalty) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=50)
    gradient = np.zeros(50)
    penalty.add_gradient(weights, gradient)
    for _ in range(5):
        direction = rng.normal(size=50)
        step = 1e-7
        slope = (penalty.value(weights + step * direction) - penalty.value(weights - step * direction)) / (2 * step)
        assert slope == pytest.approx(float(gradient @ direction), rel=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("penalty", EXAMPLES, ids=repr)
def test_it_adds_in_place_and_leaves_the_weights(penalty: Penalty, dtype: Any) -> None:
    weights, gradient = np.array([-2.0, 0.0, 3.0], dtype), np.array([1.0, 1.0, 1.0], dtype)
    before = weights.copy()
    penalty.add_gradient(weights, gradient)
    np.testing.assert_array_equal(weights, before)
    assert gradient.dtype == dtype
    assert gradient[0] < 1 < gradient[2]
    assert gradient[1] == 1, "no pull at 0"
    assert type(penalty.value(weights)) is float


@pytest.mark.parametrize("penalty", EXAMPLES, ids=repr)
def test_a_weight_that_is_not_a_number_has_no_gradient_either(penalty: Penalty) -> None:
    gradient = np.zeros(3)
    penalty.add_gradient(np.array([1.0, np.nan, 0.0]), gradient)
    np.testing.assert_array_equal(np.isnan(gradient), [False, True, False])


@pytest.mark.parametrize("penalty", EXAMPLES, ids=repr)
def test_a_compiled_gradient_allocates_nothing_that_grows(penalty: ElementwisePenalty) -> None:
    if kernels.active_set() != "numba":
        pytest.skip("the readable kernels allocate")
    weights, gradient = np.ones(100_000), np.ones(100_000)
    traced = penalty.traced()
    assert traced is not None
    expected = gradient.copy()
    penalty.add_gradient(weights, expected)
    traced.loop(weights, gradient, settings=traced.numbers(penalty))
    np.testing.assert_allclose(gradient, expected, rtol=1e-15)
    tracemalloc.start()
    try:
        traced.loop(weights, gradient, settings=traced.numbers(penalty))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000


def test_values_by_hand() -> None:
    weights = np.array([-2.0, 0.0, 3.0])
    assert L1(0.1).value(weights) == pytest.approx(0.5)
    assert L2(0.1).value(weights) == pytest.approx(0.65)
    assert L1L2(0.1, 0.1).value(weights) == pytest.approx(1.15)


def test_both_are_the_sum_of_each() -> None:
    weights = np.random.default_rng(0).normal(size=20)
    both, each = np.zeros(20), np.zeros(20)
    L1L2(0.2, 0.5).add_gradient(weights, both)
    L1(0.2).add_gradient(weights, each)
    L2(0.5).add_gradient(weights, each)
    np.testing.assert_allclose(both, each, rtol=1e-14)
    each_value = L1(0.2).value(weights) + L2(0.5).value(weights)
    assert L1L2(0.2, 0.5).value(weights) == pytest.approx(each_value, rel=1e-14)


def test_l2_means_what_torchs_weight_decay_means() -> None:
    torch = pytest.importorskip("torch")
    weights = np.random.default_rng(0).normal(size=20)
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    parameter.grad = torch.zeros(20, dtype=torch.float64)
    torch.optim.SGD([parameter], lr=0.1, weight_decay=0.3).step()
    gradient = np.zeros(20)
    L2(0.3).add_gradient(weights, gradient)
    np.testing.assert_allclose(weights - 0.1 * gradient, parameter.detach().numpy(), rtol=1e-14)


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
@pytest.mark.parametrize(
    "make", [L1, L2, lambda rate: L1L2(l1=rate), lambda rate: L1L2(l2=rate)], ids=["L1", "L2", "l1", "l2"]
)
def test_bad_rates_are_refused(make: Any, rate: float) -> None:
    with pytest.raises(InvalidInputError, match="allowed are finite numbers from 0 up"):
        make(rate)


def test_every_penalty_is_registered() -> None:
    found = {
        cls
        for base in (Penalty, ElementwisePenalty)
        for cls in base.__subclasses__()
        if cls.__module__.startswith("chainrule.")
    }
    assert found - {ElementwisePenalty, SumOfPenalties} == set(PENALTIES.classes.values())
