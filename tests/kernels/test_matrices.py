"""Products in register tiles: the values of NumPy, the same bits however they are cut, and no hidden NaN."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.kernels.matrices import BUFFER_SIZE, multiply, transpose
from chainrule.kernels.matrices import product as kernel
from chainrule.kernels.vectors import HAS_WIDE_REGISTERS

GUARD = 77.0  # what the numbers around a result must keep


def product(a: Any, b: Any, start: Any = None, c: Any = None, *, skips_zeros: bool = True, margin: int = 0) -> Any:
    """Return ``start + a b``, or ``c + a b``, of matrices that lie ``margin`` numbers apart in flat arrays."""
    dtype, (n_rows, n_steps), n_columns = a.dtype, a.shape, b.shape[1]

    def flat(matrix: Any) -> tuple[Any, int]:
        wide = np.full((matrix.shape[0] + 1, matrix.shape[1] + margin), GUARD, dtype)
        wide[:-1, : matrix.shape[1]] = matrix
        return np.concatenate([np.full(margin, GUARD, dtype), wide.ravel()]), matrix.shape[1] + margin

    (flat_a, a_row), (flat_b, b_row) = flat(a), flat(b)
    flat_c, c_row = flat(np.zeros((n_rows, n_columns), dtype) if c is None else c)
    bits = np.zeros(n_rows * -(-n_steps // 64), np.uint64)
    initial = np.zeros(n_columns, dtype) if start is None else start
    buffer = np.full(BUFFER_SIZE, GUARD, dtype)
    multiply(
        kernel(dtype), flat_a, margin, a_row, n_rows, n_steps, flat_b, margin, b_row, n_columns,
        flat_c, margin, c_row, initial, 0, c is not None, skips_zeros, buffer, bits,
    )  # fmt: skip
    wide = flat_c[margin:].reshape(n_rows + 1, c_row)
    assert (flat_c[:margin] == GUARD).all()
    assert (wide[-1] == GUARD).all()
    assert (wide[:-1, n_columns:] == GUARD).all()
    return wide[:-1, :n_columns].copy()


def matrices(n_rows: int, n_steps: int, n_columns: int, dtype: str, density: float, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n_rows, n_steps)) * (rng.random((n_rows, n_steps)) < density)
    return a.astype(dtype), rng.standard_normal((n_steps, n_columns)).astype(dtype)


SIZES = {"n_rows": st.integers(1, 70), "n_steps": st.integers(1, 140), "n_columns": st.integers(1, 150)}


@settings(max_examples=60, deadline=None)
@given(
    **SIZES,
    dtype=st.sampled_from(["float32", "float64"]),
    density=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    margin=st.integers(0, 5),
    adds=st.booleans(),
)
def test_products_are_those_of_numpy(
    n_rows: int, n_steps: int, n_columns: int, dtype: str, density: float, margin: int, adds: bool
) -> None:
    a, b = matrices(n_rows, n_steps, n_columns, dtype, density)
    start = np.linspace(-1, 1, n_columns).astype(dtype)
    old = np.arange(n_rows * n_columns, dtype=dtype).reshape(n_rows, n_columns) if adds else None
    result = product(a, b, start, old, margin=margin)
    expected = a.astype(np.float64) @ b.astype(np.float64) + (start if old is None else old)
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@settings(max_examples=30, deadline=None)
@given(**SIZES, density=st.sampled_from([0.05, 0.5, 0.9]))
def test_the_bits_of_a_row_depend_on_nothing_else(n_rows: int, n_steps: int, n_columns: int, density: float) -> None:
    """Neither on the rows and columns beside it, nor on whether zeros are skipped."""
    a, b = matrices(n_rows, n_steps, n_columns, "float32", density)
    whole = product(a, b)
    assert np.array_equal(whole, product(a, b, skips_zeros=False))
    some = np.arange(0, n_rows, 3)
    assert np.array_equal(whole[some], product(a[some], b))
    assert np.array_equal(whole[:, : n_columns // 2 + 1], product(a, np.ascontiguousarray(b[:, : n_columns // 2 + 1])))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n_columns", [10, 64, 70])
def test_zeros_hide_no_number_that_is_not_finite(bad: float, n_columns: int) -> None:
    a, b = matrices(20, 100, n_columns, "float32", 0.1)
    a[:, 70] = 0
    b[70, 3] = bad
    assert np.isnan(product(a, b)[:, 3]).all()
    assert np.isfinite(np.delete(product(a, b), 3, axis=1)).all()
    a, b = matrices(20, 100, n_columns, "float32", 0.1)
    a[4, 70] = bad
    assert not np.isfinite(product(a, b)[4]).any()
    assert np.isfinite(np.delete(product(a, b), 4, axis=0)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transposes_are_those_of_numpy(dtype: str) -> None:
    for n_rows, n_columns in ((1, 1), (3, 40), (16, 16), (17, 33), (64, 13), (40, 8)):
        a = np.random.default_rng(1).standard_normal((n_rows, n_columns)).astype(dtype)
        b = np.full((n_columns, n_rows + 2), GUARD, dtype)
        transpose(a.ravel(), 0, n_columns, n_rows, n_columns, b.reshape(-1), 0, n_rows + 2)
        assert np.array_equal(b[:, :n_rows], a.T)
        assert (b[:, n_rows:] == GUARD).all()


@pytest.mark.skipif(not HAS_WIDE_REGISTERS, reason="the processor has no AVX-512")
def test_processors_without_avx512_compute_the_same_bits(tmp_path: Any) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import hashlib, test_matrices as t\n"
        "from chainrule.kernels.vectors import HAS_WIDE_REGISTERS\n"
        "parts = [t.product(*t.matrices(37, 130, n, 'float32', d)) for n in (3, 70) for d in (0.1, 1.0)]\n"
        "print(HAS_WIDE_REGISTERS, hashlib.sha256(b''.join(p.tobytes() for p in parts)).hexdigest())\n"
    )
    wide = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    narrow = {**wide, "NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+popcnt"}
    command = [sys.executable, "-c", code, str(Path(__file__).parent)]
    results = [
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.split()
        for environment in (wide, narrow)
    ]
    assert [is_wide for is_wide, _ in results] == ["True", "False"]
    assert results[0][1] == results[1][1]
