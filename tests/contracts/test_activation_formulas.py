"""The formulas of every activation, by NumPy and compiled: equal numbers, NaN passes through, nothing overflows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chainrule.activations import ACTIVATIONS, CustomActivation, PReLUActivation
from chainrule.formulas import values_of
from chainrule.types import Array
from support.compiled import pass_compiled

NAMES = sorted(ACTIVATIONS.classes)
SETS = ["numpy", "numba"]
TOLERANCE: dict[Any, float] = {np.float32: 4e-6, np.float64: 1e-14}
SETTINGS: dict[str, dict[str, float]] = {"elu": {"alpha": 1.3}, "leaky_relu": {"negative_slope": 0.2}}


def build(name: str, dtype: Any, width: int = 5) -> Any:
    layer = ACTIVATIONS.create(name, **SETTINGS.get(name, {}))
    layer.dtype = np.dtype(dtype)
    layer.set_input_shape((width,))
    layer.initialize()
    return layer


def run(kernel_set: str, name: str, z: Array, error: Array) -> tuple[Array, Array, Array]:
    """The outputs, the errors of the inputs, and the gradients of the parameters."""
    layer = build(name, z.dtype, z.shape[1])
    if kernel_set == "numba":
        output, input_error = pass_compiled(layer, z, error)
    else:
        with np.errstate(all="ignore"):
            output = layer.forward_propagation(z, training=True)
            input_error = layer.backward_propagation(error)
    return output, input_error, np.array(list(layer.gradient_views.values()))


def batch(dtype: Any, shape: tuple[int, ...] = (7, 5), seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return (4 * rng.standard_normal(shape)).astype(dtype), rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("name", NAMES)
def test_every_formula_is_traced(name: str) -> None:
    assert build(name, np.float32).traced() is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_the_compiled_loops_agree_with_numpy(name: str, dtype: Any) -> None:
    z, error = batch(dtype)
    z[0] = [0, -0.0, 3, -3, 20]
    for expected, found in zip(run("numpy", name, z, error), run("numba", name, z, error), strict=True):
        assert expected.dtype == found.dtype
        np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@settings(max_examples=30, deadline=None)
@given(
    z=arrays.arrays(np.float64, (3, 4), elements=st.floats(-60, 60)),
    error=arrays.arrays(np.float64, (3, 4), elements=st.floats(-3, 3)),
)
def test_they_agree_everywhere(z: Array, error: Array) -> None:
    for name in NAMES:
        for expected, found in zip(run("numpy", name, z, error), run("numba", name, z, error), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", NAMES)
def test_a_nan_passes_through(name: str, kernel_set: str) -> None:
    for place in [(0, 0), (2, 3), (6, 4)]:
        z, error = batch(np.float64)
        z[place] = np.nan
        output, _, gradients = run(kernel_set, name, z, error)
        assert np.isnan(output[place])
        assert np.isnan(gradients).all()
        if name.endswith("softmax"):
            assert np.isnan(output[place[0]]).all()
            output = np.delete(output, place[0], axis=0)
        assert np.isnan(output).sum() <= 1


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-5.0, 0.0, 5.0])
def test_a_nan_in_the_error_passes_through(name: str, kernel_set: str, value: float) -> None:
    z, error = batch(np.float64)
    z[1, 1], error[1, 1] = value, np.nan
    _, input_error, gradients = run(kernel_set, name, z, error)
    assert np.isnan(input_error[1, 1])
    assert np.isnan(gradients).all()


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_huge_inputs_stay_finite(name: str, dtype: Any, kernel_set: str) -> None:
    z = np.array([[-1e30, 1e30], [-1e4, 1e4], [-100, 100], [1e30, 1e30]], dtype)
    output, input_error, _ = run(kernel_set, name, z, np.ones_like(z))
    assert np.isfinite(output).all()
    assert np.isfinite(input_error).all()
    assert np.abs(input_error).max() <= 1.8  # SELU's slope is the largest of all


@pytest.mark.parametrize("name", NAMES)
def test_the_result_may_overwrite_what_was_read(name: str) -> None:
    z, error = batch(np.float64)
    expected, expected_error, _ = run("numba", name, z, error)
    traced, layer = build(name, np.float64).formulas(), build(name, np.float64)
    if layer.parameters():
        pytest.skip("the loops take the parameters as well")
    values = values_of(layer, traced.settings)
    reused = z.copy()
    traced.forward(())(reused, reused, settings=values)
    np.testing.assert_allclose(reused, expected, rtol=1e-14)  # the order of a sum may differ
    backward = traced.backward(("x",), (), ())
    given = {"x": z, "output": expected, "error": error, "d_x": error}
    backward(*(given[name] for name in backward.arrays), settings=values)
    np.testing.assert_allclose(error, expected_error, rtol=1e-14)


@pytest.mark.parametrize("kernel_set", SETS)
def test_softmax_does_not_see_an_offset(kernel_set: str) -> None:
    for dtype in (np.float32, np.float64):
        z = np.array([[0.5, -1.25, 2, 0], [3, 3, -8, 1]], dtype)  # multiples of 1/4: exact beside 1e6 in float32 too
        error = batch(dtype, z.shape)[1]
        plain = run(kernel_set, "softmax", z, error)
        for offset in (1e6, -1e6):
            for expected, found in zip(plain, run(kernel_set, "softmax", z + dtype(offset), error), strict=True):
                np.testing.assert_array_equal(found, expected)


def test_a_setting_may_change_at_any_time() -> None:
    """A float without a new trace, anything else with one."""
    z, error = batch(np.float64)
    layer = build("leaky_relu", np.float64)
    for slope in (0.2, 0.5, 1):
        layer.negative_slope = slope
        np.testing.assert_allclose(layer.forward_propagation(z, training=True), np.where(z > 0, z, slope * z))
        np.testing.assert_allclose(layer.backward_propagation(error), error * np.where(z > 0, 1, slope))
    prelu = build("prelu", np.float64)
    prelu.slope = [0.7]
    np.testing.assert_allclose(prelu.forward_propagation(z), np.where(z > 0, z, 0.7 * z))
    custom = CustomActivation(np.sin, np.cos)
    custom.set_input_shape((5,))
    first = custom.forward_propagation(z).copy()
    custom.function = np.cos
    assert not np.allclose(custom.forward_propagation(z), first)


def test_what_cannot_be_traced_is_computed_by_numpy() -> None:
    def f(x: Array) -> Array:
        return x if x.max() > 0 else -x

    layer = CustomActivation(f, np.sign, "Odd")
    layer.set_input_shape((2,))
    assert layer.traced() is None
    np.testing.assert_array_equal(layer.forward_propagation([[-1.0, -2.0]]), [[1, 2]])


class DoubledPReLU(PReLUActivation):  # type: ignore[misc]  # a user may, whatever @final says
    def forward_propagation(self, inputs: Any, training: bool = False) -> Array:
        return 2 * super().forward_propagation(inputs, training)


def test_passes_of_its_own_are_taken_as_they_are() -> None:
    layer = DoubledPReLU()
    layer.set_input_shape((2,))
    layer.initialize()
    assert layer.traced() is None
    np.testing.assert_array_equal(layer.forward_propagation([[1.0, -2.0]]), [[2, -1]])
