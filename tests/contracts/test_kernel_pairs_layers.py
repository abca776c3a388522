"""The compiled kernels of the layers compute what the readable reference computes, found by introspection."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

FAMILIES = ("linear", "normalization")
Maker = Callable[[int, int, np.random.Generator, Any], tuple[Any, ...]]


def load(kind: str, family: str) -> Any:
    return importlib.import_module(f"chainrule.kernels.{kind}_kernels.{family}")


KERNELS = [(family, name) for family in FAMILIES for name in load("numpy", family).__all__]


def matrix(rows: int, columns: int, rng: np.random.Generator, dtype: Any) -> Any:
    return rng.normal(size=(rows, columns)).astype(dtype)


def vector(size: int, rng: np.random.Generator, dtype: Any) -> Any:
    return rng.uniform(0.5, 1.5, size).astype(dtype)


def csr(rows: int, columns: int, rng: np.random.Generator, dtype: Any) -> tuple[Any, Any, Any]:
    dense = matrix(rows, columns, rng, dtype) * (rng.random((rows, columns)) < 0.3)
    dense[::2] = 0  # empty rows
    found = sparse.csr_array(dense.astype(dtype))
    return found.data, found.indices, found.indptr


# The arguments of every kernel, in order, for a batch of (rows, columns).
ARGUMENTS: dict[str, Maker] = {
    "take_rows": lambda n, m, rng, t: (matrix(n, m, rng, t), rng.integers(0, n, 2 * n), matrix(2 * n, m, rng, t)),
    "add_bias": lambda n, m, rng, t: (matrix(n, m, rng, t), vector(m, rng, t)),
    "sum_rows": lambda n, m, rng, t: (matrix(n, m, rng, t), vector(m, rng, t)),
    "limit_column_norms": lambda n, m, rng, t: (matrix(n, m, rng, t), float(np.sqrt(n))),
    "csr_matmul": lambda n, m, rng, t: (*csr(n, m, rng, t), matrix(m, 3, rng, t), matrix(n, 3, rng, t)),
    "csr_transposed_matmul": lambda n, m, rng, t: (*csr(n, m, rng, t), matrix(n, 3, rng, t), matrix(m, 3, rng, t)),
    "batch_moments": lambda n, m, rng, t: (matrix(n, m, rng, t), vector(m, rng, t), vector(m, rng, t)),
    "normalize_columns": lambda n, m, rng, t: (
        matrix(n, m, rng, t),
        *(vector(m, rng, t) for _ in range(4)),
        *(matrix(n, m, rng, t) for _ in range(2)),
    ),
    "batch_normalization_error": lambda n, m, rng, t: (
        matrix(n, m, rng, t),
        *(vector(m, rng, t) for _ in range(4)),
        *(matrix(n, m, rng, t) for _ in range(2)),
    ),
    "normalize_rows": lambda n, m, rng, t: (
        matrix(n, m, rng, t),
        *(vector(m, rng, t) for _ in range(2)),
        1e-5,
        matrix(n, m, rng, t),
        vector(n, rng, t),
        matrix(n, m, rng, t),
    ),
    "layer_normalization_error": lambda n, m, rng, t: (
        matrix(n, m, rng, t),
        vector(n, rng, t),
        vector(m, rng, t),
        matrix(n, m, rng, t),
        matrix(n, m, rng, t),
    ),
    "scale_columns": lambda n, m, rng, t: (matrix(n, m, rng, t), vector(m, rng, t), matrix(n, m, rng, t)),
    "standardize_columns": lambda n, m, rng, t: (
        matrix(n, m, rng, t),
        *(vector(m, rng, t) for _ in range(2)),
        matrix(n, m, rng, t),
    ),
    "sum_row_products": lambda n, m, rng, t: (matrix(n, m, rng, t), matrix(n, m, rng, t), vector(m, rng, t)),
    "dropout": lambda n, m, rng, t: (
        matrix(n, m, rng, t),
        float(rng.uniform(0, 0.9)),
        rng.random((n, m), dtype=t),
        matrix(n, m, rng, t),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sets_have_the_same_names(family: str) -> None:
    assert load("numpy", family).__all__ == load("numba", family).__all__


@pytest.mark.parametrize(("family", "name"), KERNELS)
def test_both_have_the_same_signature_and_the_reference_explains_it(family: str, name: str) -> None:
    readable, fast = getattr(load("numpy", family), name), getattr(load("numba", family), name)
    assert inspect.signature(readable) == inspect.signature(fast.py_func)
    assert readable.__doc__
    assert name in ARGUMENTS, f"say in ARGUMENTS what {name} takes"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("family", "name"), KERNELS)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_both_compute_the_same(family: str, name: str, dtype: Any, rows: int, columns: int, seed: int) -> None:
    arguments = ARGUMENTS[name](rows, columns, np.random.default_rng(seed), dtype)
    results = []
    for kind in ("numpy", "numba"):
        own = [given.copy() if isinstance(given, np.ndarray) else given for given in arguments]
        assert getattr(load(kind, family), name)(*own) is None
        results.append([given for given in own if isinstance(given, np.ndarray)])
    tolerance = 2e-4 if dtype is np.float32 else 1e-11
    for reference, compiled in zip(*results, strict=True):
        assert compiled.dtype == reference.dtype
        # One row, or one column, has variance 0: all of it is then divided by sqrt(epsilon), rounding errors too.
        np.testing.assert_allclose(compiled, reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize(("family", "name"), KERNELS)
def test_nan_is_never_hidden(kind: str, family: str, name: str) -> None:
    if name == "take_rows":
        pytest.skip("takes some rows only")
    arguments = ARGUMENTS[name](6, 4, np.random.default_rng(0), np.float64)
    arguments[0][...] = np.nan
    getattr(load(kind, family), name)(*arguments)
    outputs = arguments[:1] if name in ("add_bias", "limit_column_norms") else arguments[-1:]
    assert all(np.isnan(output).any() for output in outputs)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_moments_of_numbers_far_from_zero_keep_their_variance(kind: str) -> None:
    """In float32, naive sums of these would lose the mean's second digit after the point."""
    x = np.random.default_rng(0).normal(1e4, 1, (4000, 3)).astype(np.float32)
    mean, variance = np.empty(3, np.float32), np.empty(3, np.float32)
    load(kind, "normalization").batch_moments(x, mean, variance)
    np.testing.assert_allclose(mean, x.mean(axis=0, dtype=np.float64), rtol=0, atol=1e-3)
    np.testing.assert_allclose(variance, x.var(axis=0, dtype=np.float64), rtol=1e-4)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_rows_far_from_zero_are_normalised_by_their_mean_in_double(kind: str) -> None:
    """The mean of such a row, rounded to float32, would be off by up to 0.0005 standard deviations."""
    x = np.random.default_rng(0).normal(1e4, 1, (50, 7)).astype(np.float32)
    normalized, deviation, out = np.empty_like(x), np.empty(50, np.float32), np.empty_like(x)
    scale, shift = np.ones(7, np.float32), np.zeros(7, np.float32)
    load(kind, "normalization").normalize_rows(x, scale, shift, 1e-5, normalized, deviation, out)
    rows = x.astype(np.float64)
    exact = (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["normalize_columns", "normalize_rows"])
def test_the_normalised_batch_may_lie_in_the_output(kind: str, name: str) -> None:
    arguments = list(ARGUMENTS[name](7, 5, np.random.default_rng(0), np.float64))
    kernel = getattr(load(kind, "normalization"), name)
    kernel(*arguments)
    expected = arguments[-1].copy()
    parameters = list(inspect.signature(getattr(load("numpy", "normalization"), name)).parameters)
    arguments[parameters.index("normalized")] = arguments[-1]
    kernel(*arguments)
    np.testing.assert_array_equal(arguments[-1], expected)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
@pytest.mark.parametrize("name", ["batch_normalization_error", "layer_normalization_error"])
def test_the_input_error_may_lie_in_the_error(kind: str, name: str) -> None:
    arguments = list(ARGUMENTS[name](7, 5, np.random.default_rng(0), np.float64))
    kernel = getattr(load(kind, "normalization"), name)
    kernel(*arguments)
    expected = arguments[-1].copy()
    arguments[-1] = arguments[-2]
    kernel(*arguments)
    np.testing.assert_allclose(arguments[-1], expected, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 63, 64, 65, 130])
@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_only_the_columns_beyond_the_limit_are_scaled(kind: str, columns: int, dtype: Any) -> None:
    weights = matrix(30, columns, np.random.default_rng(0), dtype)
    weights[:, ::2] *= dtype(10)
    if columns > 3:
        weights[:, 1], weights[2, 3] = 0, np.nan
    before = weights.copy()
    load(kind, "linear").limit_column_norms(weights, 20.0)
    norms = np.linalg.norm(before.astype(np.float64), axis=0)
    assert (norms[::2] > 20).all()
    for j in range(columns):
        if norms[j] <= 20:
            np.testing.assert_array_equal(weights[:, j], before[:, j])
        elif np.isnan(norms[j]):
            assert np.isnan(weights[:, j]).all()
        else:
            np.testing.assert_allclose(weights[:, j], before[:, j] * (20 / norms[j]), rtol=1e-6)


@pytest.mark.parametrize("kind", ["numpy", "numba"])
def test_column_norms_beyond_the_squares_of_float32(kind: str) -> None:
    weights = np.full((4, 3), 1e25, np.float32)
    load(kind, "linear").limit_column_norms(weights, 2.0)
    np.testing.assert_allclose(weights, 1.0, rtol=1e-6)
