"""Every activation kernel, in both sets: equal numbers, NaN passes through, nothing grows, and no number overflows."""

from __future__ import annotations

import inspect
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chainrule.kernels.numba_kernels import activations as numba_set
from chainrule.kernels.numpy_kernels import activations as numpy_set
from chainrule.types import Array

SETS = {"numpy": numpy_set, "numba": numba_set}
SETTINGS = {"slope": 0.01, "alpha": 1.3}
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}


def takes(name: str) -> list[str]:
    return list(inspect.signature(getattr(numpy_set, name)).parameters)


def run(kernel_set: str, name: str, z: Array, error: Array) -> Array:
    """Call any kernel: forward, pull-back, or the gradient of a slope, by the names of its arguments."""
    out = np.full(1 if name.endswith("slope_gradient") else z.shape, 7, z.dtype)
    output = np.empty_like(z)
    if "output" in takes(name):
        forward = name.removesuffix("_gradient")
        getattr(numpy_set, forward)(z, *[SETTINGS[key] for key in takes(forward) if key in SETTINGS], output)
    given_arrays = {"z": z, "output": output, "error": error, "out": out, **SETTINGS}
    getattr(SETS[kernel_set], name)(*[given_arrays[key] for key in takes(name)])
    return out


def batch(dtype: type, shape: tuple[int, ...] = (7, 5), seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return (4 * rng.standard_normal(shape)).astype(dtype), rng.standard_normal(shape).astype(dtype)


def test_both_sets_have_the_same_kernels_with_the_same_signatures() -> None:
    assert sorted(numpy_set.__all__) == sorted(numba_set.__all__)
    for name in numpy_set.__all__:
        function = getattr(numba_set, name)
        function = getattr(function, "py_func", function)
        assert inspect.signature(getattr(numpy_set, name)) == inspect.signature(function), name


def test_every_kernel_has_a_pull_back() -> None:
    forward = {name for name in numpy_set.__all__ if not name.endswith("_gradient")}
    assert {f"{name}_gradient" for name in forward} | {"leaky_relu_slope_gradient"} == set(numpy_set.__all__) - forward


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", numpy_set.__all__)
def test_the_sets_agree(name: str, dtype: type) -> None:
    z, error = batch(dtype)
    z[0] = [0, -0.0, 3, -3, 20]
    expected = run("numpy", name, z, error)
    assert expected.dtype == dtype
    np.testing.assert_allclose(run("numba", name, z, error), expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@settings(max_examples=30, deadline=None)
@given(
    z=arrays.arrays(np.float64, (3, 4), elements=st.floats(-60, 60)),
    error=arrays.arrays(np.float64, (3, 4), elements=st.floats(-3, 3)),
)
def test_the_sets_agree_everywhere(z: Array, error: Array) -> None:
    for name in numpy_set.__all__:
        expected = run("numpy", name, z, error)
        np.testing.assert_allclose(run("numba", name, z, error), expected, rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", numpy_set.__all__)
def test_a_nan_passes_through(name: str, kernel_set: str) -> None:
    for place in [(0, 0), (2, 3), (6, 4)]:
        z, error = batch(np.float64)
        z[place] = np.nan
        result = run(kernel_set, name, z, error)
        here = (0,) if result.size == 1 else place
        if name == "identity_gradient":
            assert np.isfinite(result).all()  # it does not look at z
        else:
            assert np.isnan(result[here])
        if "softmax" in name:
            assert np.isnan(result[place[0]]).all()
            result = np.delete(result, place[0], axis=0)
        assert np.isnan(result).sum() <= 1


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", [name for name in numpy_set.__all__ if name.endswith("_gradient")])
@pytest.mark.parametrize("value", [-5.0, 0.0, 5.0])
def test_a_nan_in_the_error_passes_through(name: str, kernel_set: str, value: float) -> None:
    z, error = batch(np.float64)
    z[1, 1], error[1, 1] = value, np.nan
    result = run(kernel_set, name, z, error)
    assert np.isnan(result[(0,) if result.size == 1 else (1, 1)])


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name in numpy_set.__all__ if name != "leaky_relu_slope_gradient"])
def test_huge_inputs_stay_finite(name: str, dtype: type, kernel_set: str) -> None:
    z = np.array([[-1e30, 1e30], [-1e4, 1e4], [-100, 100], [1e30, 1e30]], dtype)
    result = run(kernel_set, name, z, np.ones_like(z))
    assert np.isfinite(result).all()
    if name.endswith("_gradient"):
        assert np.abs(result).max() <= 1.8  # SELU's slope is the largest of all


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", numpy_set.__all__)
def test_the_result_may_overwrite_what_was_read(name: str, kernel_set: str) -> None:
    if name.endswith("slope_gradient"):
        return
    z, error = batch(np.float64)
    expected = run(kernel_set, name, z, error)
    output = np.empty_like(z)
    forward = name.removesuffix("_gradient")
    forward_settings = [SETTINGS[key] for key in takes(forward) if key in SETTINGS]
    getattr(numpy_set, forward)(z, *forward_settings, output)
    reused = error if name.endswith("_gradient") else z
    given_arrays = {"z": z, "output": output, "error": error, "out": reused, **SETTINGS}
    getattr(SETS[kernel_set], name)(*[given_arrays[key] for key in takes(name)])
    np.testing.assert_allclose(reused, expected, rtol=1e-14)  # the order of a sum may differ


@pytest.mark.parametrize("kernel_set", SETS)
def test_softmax_does_not_see_an_offset(kernel_set: str) -> None:
    for dtype in (np.float32, np.float64):
        z = np.array([[0.5, -1.25, 2, 0], [3, 3, -8, 1]], dtype)  # multiples of 1/4: exact beside 1e6 in float32 too
        error = batch(dtype, z.shape)[1]
        for name in ("softmax", "softmax_gradient"):
            plain = run(kernel_set, name, z, error)
            for offset in (1e6, -1e6):
                np.testing.assert_array_equal(run(kernel_set, name, z + dtype(offset), error), plain)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", numba_set.__all__)
def test_the_compiled_kernels_allocate_nothing_that_grows(name: str, dtype: type) -> None:
    z, error = batch(dtype, (512, 64))
    output, out = z.copy(), z.copy()
    given_arrays = {"z": z, "output": output, "error": error, "out": out, **SETTINGS}
    arguments = [given_arrays[key].reshape(-1) if key == "out" and "slope_g" in name else given_arrays[key]
                 for key in takes(name)]  # fmt: skip
    kernel = getattr(numba_set, name)
    kernel(*arguments)
    tracemalloc.start()
    kernel(*arguments)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4096, "a batch is 128 kB or more"
