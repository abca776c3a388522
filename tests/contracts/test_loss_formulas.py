"""The formulas of losses, by NumPy and compiled: equal numbers, NaN passes through, nothing grows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import kernels
from chainrule.losses import (
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
    CosineSimilarity,
    Dice,
    GaussianNegativeLogLikelihood,
    HalfSquaredError,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    MultiLabelCrossEntropy,
    MultiMargin,
    MultiQuantile,
    NegativeLogLikelihood,
    Pinball,
    Poisson,
    SquaredHinge,
)
from chainrule.types import Array

SETS = ("numpy", "numba")
TOLERANCE = {np.float32: 3e-6, np.float64: 1e-13}
INFINITE_WHERE_SURE = {
    "binary_cross_entropy", "binary_focal", "categorical_cross_entropy", "categorical_focal", "kl_divergence",
    "multi_label_cross_entropy",
}  # fmt: skip
ON_PROBABILITIES = {*INFINITE_WHERE_SURE, "dice"}
OF_CLASSES = {
    "categorical_cross_entropy", "categorical_focal", "softmax_cross_entropy", "softmax_categorical_focal",
    "kl_divergence", "softmax_kl_divergence", "multi_margin", "negative_log_likelihood",
}  # fmt: skip
Kernel = Callable[..., float]

FORMULAS: dict[str, Kernel] = {
    "squared_error": MeanSquaredError().evaluate,
    "half_squared_error": HalfSquaredError().evaluate,
    "absolute_error": MeanAbsoluteError().evaluate,
    "percentage_error": MeanAbsolutePercentageError(0.5).evaluate,
    "squared_logarithmic_error": MeanSquaredLogarithmicError().evaluate,
    "cosine_similarity": CosineSimilarity().evaluate,
    "huber": Huber(0.8).evaluate,
    "log_cosh": LogCosh().evaluate,
    "pinball": Pinball(0.2).evaluate,
    "poisson": Poisson(log_input=False).evaluate,
    "poisson_of_log_rate": Poisson().evaluate,
    "gaussian_negative_log_likelihood": GaussianNegativeLogLikelihood().evaluate,
    "multi_quantile": MultiQuantile((0.2, 0.6, 0.9)).evaluate,
    "hinge": Hinge().evaluate,
    "squared_hinge": SquaredHinge().evaluate,
    "binary_cross_entropy": BinaryCrossEntropy().evaluate,
    "sigmoid_binary_cross_entropy": BinaryCrossEntropy().evaluate_logits,
    "multi_label_cross_entropy": MultiLabelCrossEntropy().evaluate,
    "sigmoid_multi_label_cross_entropy": MultiLabelCrossEntropy().evaluate_logits,
    "negative_log_likelihood": NegativeLogLikelihood().evaluate,
    "kl_divergence": KLDivergence().evaluate,
    "softmax_kl_divergence": KLDivergence().evaluate_logits,
    "dice": Dice(0.3).evaluate,
    "multi_margin": MultiMargin(0.7).evaluate,
    "binary_focal": BinaryFocal(1.7, 0.3).evaluate,
    "sigmoid_binary_focal": BinaryFocal(1.7, 0.3).evaluate_logits,
    "categorical_cross_entropy": CategoricalCrossEntropy().evaluate,
    "softmax_cross_entropy": CategoricalCrossEntropy().evaluate_logits,
    "categorical_focal": CategoricalFocal(1.7).evaluate,
    "softmax_categorical_focal": CategoricalFocal(1.7).evaluate_logits,
}
NAMES = [*FORMULAS]
MORE_OUTPUTS = {"gaussian_negative_log_likelihood": 1, "multi_quantile": 2}
FUSED = [name for name in NAMES if name.startswith(("sigmoid_", "softmax_"))]


def run(kernel_set: str, name: str, y: Array, p: Array, weights: Array) -> tuple[float, Array]:
    derivative = np.full_like(p, 7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "active_set", lambda: kernel_set)
        value = FORMULAS[name](y, p, weights, derivative)
    assert isinstance(value, float)
    return value, derivative


def batch(name: str, dtype: Any, rows: int = 6, columns: int = 3, seed: int = 0) -> tuple[Array, Array, Array]:
    """Targets, predictions and weights of the kind that the kernel is for."""
    rng = np.random.default_rng(seed)
    p = 2 * rng.standard_normal((rows, columns))
    if name in OF_CLASSES:
        y = np.eye(columns)[rng.integers(columns, size=rows)]
        y[0] = rng.dirichlet(np.ones(columns))
    elif name in ON_PROBABILITIES or name in FUSED or "hinge" in name:
        y = rng.integers(2, size=p.shape).astype(float)
        y[0] = 0.0 if "hinge" in name else rng.uniform(size=columns)
    elif "poisson" in name or "logarithmic" in name:
        y = rng.poisson(2, size=p.shape).astype(float)
    else:
        y = 2 * rng.standard_normal(p.shape)
    if name in ON_PROBABILITIES:
        p = np.exp(p) / np.exp(p).sum(axis=1, keepdims=True) if name in OF_CLASSES else 1 / (1 + np.exp(-p))
    if name in ("poisson", "squared_logarithmic_error"):
        p = np.exp(p)
    p = np.hstack([p, *rng.standard_normal((MORE_OUTPUTS.get(name, 0), *p.shape))])
    weights = rng.uniform(0.1, 1, rows)
    return y.astype(dtype), p.astype(dtype), (weights / weights.sum()).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_the_sets_agree(name: str, dtype: type) -> None:
    for seed, columns in enumerate([1, 3, 8]):
        y, p, weights = batch(name, dtype, columns=columns, seed=seed)
        value, derivative = run("numpy", name, y, p, weights)
        compiled_value, compiled_derivative = run("numba", name, y, p, weights)
        assert compiled_value == pytest.approx(value, rel=TOLERANCE[dtype])
        np.testing.assert_allclose(compiled_derivative, derivative, rtol=1e-5 if dtype is np.float32 else 1e-12,
                                   atol=TOLERANCE[dtype])  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.floats(0.01, 30))
def test_the_sets_agree_everywhere(seed: int, scale: float) -> None:
    for name in NAMES:
        y, p, weights = batch(name, np.float64, seed=seed)
        p = p if name in ON_PROBABILITIES else p * scale
        value, derivative = run("numpy", name, y, p, weights)
        compiled_value, compiled_derivative = run("numba", name, y, p, weights)
        # Terms of both signs may cancel in a likelihood: compare on the scale of its terms.
        assert compiled_value == pytest.approx(value, rel=1e-11, abs=1e-11), name
        np.testing.assert_allclose(compiled_derivative, derivative, rtol=1e-11, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", NAMES)
def test_at_equality_at_kinks_and_at_certainty_the_sets_agree_too(name: str, kernel_set: str) -> None:
    y = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    p = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    p = np.hstack([p, *np.zeros((MORE_OUTPUTS.get(name, 0), *p.shape))])
    weights = np.array([0.5, 0.25, 0.25])
    with np.errstate(all="raise"):
        value, derivative = run(kernel_set, name, y, p, weights)
    expected, expected_derivative = run("numpy", name, y, p, weights)
    assert value == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(derivative, expected_derivative, rtol=1e-14)
    assert not np.isnan(derivative).any()
    if name in INFINITE_WHERE_SURE:
        assert value == np.inf  # the second row is a sure mistake; the first costs nothing
        assert run(kernel_set, name, y[:1], p[:1], np.ones(1))[0] == 0.0
        assert np.isinf(derivative[1]).any()
        assert np.isfinite(derivative[0]).all()


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_a_nan_passes_through(name: str, dtype: type, kernel_set: str) -> None:
    y, p, weights = batch(name, dtype)
    for row in range(len(y)):
        for column in range(p.shape[1]):
            broken = p.copy()
            broken[row, column] = np.nan
            value, derivative = run(kernel_set, name, y, broken, weights)
            assert np.isnan(value)
            assert np.isnan(derivative[row, column])
            assert np.isfinite(np.delete(derivative, row, axis=0)).all()


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", FUSED)
def test_fused_losses_are_finite_at_great_logits(name: str, kernel_set: str) -> None:
    for dtype in (np.float32, np.float64):
        for size in (20, 100, 1e4):
            logits = np.array([[-size, size], [size, -size], [-size, size]], dtype)
            y = np.array([[0, 1], [0, 1], [0.5, 0.5]], dtype)
            value, derivative = run(kernel_set, name, y, logits, np.full(3, 1 / 3, dtype))
            assert np.isfinite(value)
            assert np.isfinite(derivative).all()
            assert value > 0.1 * size
            np.testing.assert_allclose(derivative[0], 0, atol=1e-8)


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confident_mistake_is_pulled_back_with_full_strength(kernel_set: str, dtype: type) -> None:
    one, z = np.ones(1, dtype), np.array([[20]], dtype)
    for name, weight_of_0 in (("sigmoid_binary_focal", 0.7), ("sigmoid_binary_cross_entropy", 1)):
        value, derivative = run(kernel_set, name, np.zeros_like(z), z, one)
        assert value == pytest.approx(20 * weight_of_0, rel=1e-6)
        assert derivative[0, 0] == pytest.approx(weight_of_0, rel=1e-6)


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "softmax_categorical_focal"])
def test_losses_of_a_softmax_do_not_see_an_offset(name: str, dtype: Any, kernel_set: str) -> None:
    y, z, weights = batch(name, dtype, rows=20, columns=5)
    z = np.round(4 * z) / 4  # multiples of 1/4 are exact beside 1e6 in float32 too, so nothing at all may change
    value, derivative = run(kernel_set, name, y, z, weights)
    for offset in (1e6, -1e6):
        moved_value, moved_derivative = run(kernel_set, name, y, z + dtype(offset), weights)
        assert moved_value == value
        np.testing.assert_array_equal(moved_derivative, derivative)


@pytest.mark.parametrize("kernel_set", SETS)
def test_small_differences_are_not_lost(kernel_set: str) -> None:
    for size in (1e-12, 1e-6, 1e-4, 1e-2, 0.9, 1.1, 5.0):
        d = np.array([[size]], np.float32)
        value, derivative = run(kernel_set, "log_cosh", np.zeros_like(d), d, np.ones(1, np.float32))
        exact = np.float64(d[0, 0])
        assert value == pytest.approx(-np.log1p(-(np.tanh(exact) ** 2)) / 2, rel=1e-6)
        assert derivative[0, 0] == pytest.approx(np.tanh(exact), rel=1e-6)
    assert run(kernel_set, "log_cosh", np.zeros_like(d), d * 0 + 1e30, np.ones(1, np.float32))[0] > 9e29


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_loops_allocate_nothing_that_grows(name: str, dtype: type) -> None:
    y, p, weights = batch(name, dtype, rows=512, columns=64)
    arguments = (y, p, weights, np.empty_like(p))
    FORMULAS[name](*arguments)
    tracemalloc.start()
    FORMULAS[name](*arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4096, "a batch is 128 kB or more"
