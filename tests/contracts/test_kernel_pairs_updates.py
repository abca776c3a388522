"""The compiled kernels of penalties and Muon compute what the readable reference computes, found by introspection."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.kernels.numba_kernels import updates as compiled
from chainrule.kernels.numpy_kernels import updates as readable

NAMES = readable.__all__
FLAGS = (False, True)
# Numbers that make sense, for every scalar that a kernel takes.
SCALARS = {"rate": 0.1, "momentum": 0.9, "decay": 0.01, "factor": 0.3}
# The argument that a step goes along, and the one that it changes, where they have other names than usual.
SOURCES = {"decayed_descent": "direction", "add_scaled": "source", "add_signs": "source"}
TARGETS = {"averaged_momentum": "out", "add_scaled": "target", "add_signs": "target"}


def make_arguments(name: str, size: int, dtype: Any, seed: int, flags: dict[str, bool]) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    arguments: dict[str, Any] = {}
    for parameter in inspect.signature(getattr(readable, name)).parameters.values():
        if parameter.annotation == "bool":
            arguments[parameter.name] = flags.get(parameter.name, True)
        elif parameter.annotation == "float":
            arguments[parameter.name] = SCALARS[parameter.name]
        else:
            draw = rng.normal(size=size)
            draw[rng.random(size) < 0.1] = 0
            arguments[parameter.name] = draw.astype(dtype)
    return arguments


def flags_of(name: str) -> list[dict[str, bool]]:
    names = [p.name for p in inspect.signature(getattr(readable, name)).parameters.values() if p.annotation == "bool"]
    combinations: list[dict[str, bool]] = [{}]
    for flag in names:
        combinations = [{**chosen, flag: value} for chosen in combinations for value in FLAGS]
    return combinations


CASES = [(name, flags) for name in NAMES for flags in flags_of(name)]


def test_both_sets_have_the_same_names() -> None:
    assert readable.__all__ == compiled.__all__


@pytest.mark.parametrize("name", NAMES)
def test_both_have_the_same_signature_and_the_reference_explains_it(name: str) -> None:
    assert inspect.signature(getattr(readable, name)) == inspect.signature(getattr(compiled, name).py_func)
    assert getattr(readable, name).__doc__


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "flags"), CASES)
@given(size=st.integers(1, 50), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_both_compute_the_same(name: str, flags: dict[str, bool], dtype: Any, size: int, seed: int) -> None:
    results = []
    for module in (readable, compiled):
        arguments = make_arguments(name, size, dtype, seed, flags)
        assert getattr(module, name)(*arguments.values()) is None
        results.append({key: value for key, value in arguments.items() if isinstance(value, np.ndarray)})
    tolerance = 1e-5 if dtype is np.float32 else 1e-13
    for key, reference in results[0].items():
        assert reference.dtype == results[1][key].dtype == dtype
        np.testing.assert_allclose(results[1][key], reference, rtol=tolerance, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("module", [readable, compiled])
@pytest.mark.parametrize(("name", "flags"), CASES)
def test_a_gradient_that_is_not_a_number_reaches_the_weights(name: str, flags: dict[str, bool], module: Any) -> None:
    arguments = make_arguments(name, 40, np.float64, 0, flags)
    source, target = SOURCES.get(name, "gradient"), TARGETS.get(name, "weights")
    arguments[source][:] = np.nan
    getattr(module, name)(*arguments.values())
    assert np.isnan(arguments[target]).all()


@pytest.mark.parametrize("module", [readable, compiled])
@pytest.mark.parametrize(("name", "flags"), CASES)
def test_what_is_not_state_is_left_alone(name: str, flags: dict[str, bool], module: Any) -> None:
    arguments = make_arguments(name, 40, np.float64, 0, flags)
    source = SOURCES.get(name, "gradient")
    before = arguments[source].copy()
    getattr(module, name)(*arguments.values())
    np.testing.assert_array_equal(arguments[source], before)


@pytest.mark.parametrize("module", [readable, compiled])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_signs_are_zero_at_zero_and_nan_where_there_is_none(module: Any, dtype: Any) -> None:
    target = np.ones(6, dtype)
    module.add_signs(target, np.array([0.0, -0.0, np.nan, np.inf, -np.inf, -1e-30], dtype), 0.5)
    np.testing.assert_array_equal(target, np.array([1, 1, np.nan, 1.5, 0.5, 0.5], dtype))
