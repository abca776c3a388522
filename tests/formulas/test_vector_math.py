"""Elementary functions in float32, against NumPy and SciPy in float64."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy import special

from chainrule.formulas import vector_math

CASES = {
    "exp32": (np.exp, 1.0),
    "expm1_32": (np.expm1, 1.5),
    "log32": (np.log, 1.5),
    "log1p32": (np.log1p, 2.0),
    "tanh32": (np.tanh, 1.5),
    "erf32": (special.erf, 1.5),
    "erfc32": (special.erfc, 6.0),
}
LIMITS = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -1.0, 1.0, 89.0, -104.5, 3e38, -3e38], np.float32)


def apply(name: str, x: np.ndarray) -> np.ndarray:
    function = getattr(vector_math, name)

    @numba.njit(error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
    def loop(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


@pytest.mark.parametrize("name", CASES)
def test_within_the_stated_units_in_the_last_place(name: str) -> None:
    exact, bound = CASES[name]
    everywhere = np.arange(0, 2**32, 9973, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = np.concatenate([everywhere[np.isfinite(everywhere)], np.linspace(-12, 12, 400_001).astype(np.float32)])
    found = apply(name, np.concatenate([x, LIMITS]))
    with np.errstate(all="ignore"):
        truth = exact(np.concatenate([x, LIMITS]).astype(np.float64))
        rounded = truth.astype(np.float32)
        normal = np.isfinite(rounded) & (np.abs(truth) > 1.2e-38)
        errors = np.abs(found[normal] - truth[normal]) / np.spacing(np.abs(rounded[normal]))
    assert errors.max() <= bound
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
    np.testing.assert_array_equal(found[np.isinf(rounded)], rounded[np.isinf(rounded)])


@pytest.mark.parametrize("name", CASES)
def test_loops_are_vectorised(name: str) -> None:
    function = getattr(vector_math, name)

    @numba.njit(error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
    def loop(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(x.size):
            out[i] = function(x[i])

    loop(np.ones(64, np.float32), np.ones(64, np.float32))
    (code,) = loop.inspect_llvm().values()
    assert "x float>" in code  # LLVM's vectors
