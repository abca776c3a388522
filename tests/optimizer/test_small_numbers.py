"""What an optimizer keeps never sinks below the normal range, where processors are about a hundred times slower.

And nothing above it is taken for 0, however small the squares of gradients are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import kernels
from chainrule.optimizer import OPTIMIZERS, ObjectiveOptimizer
from chainrule.parameters import ParameterBlock
from chainrule.types import Array

BLOCKS = (ParameterBlock(0, "weights", (6, 4), True, 0), ParameterBlock(0, "biases", (4,), False, 24))
SIZE = 28
GRADIENT_CLASSES = {name: cls for name, cls in OPTIMIZERS.classes.items() if not issubclass(cls, ObjectiveOptimizer)}
# The defaults, and settings with which every array of the state is in use and sinks within 2,000 steps.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    "rmsprop": [
        {"momentum": 0.9, "alpha": 0.9},
        {"momentum": 0.9, "alpha": 0.9, "centered": True},
        {"momentum": 0.9},
    ],
    "adam": [{"beta2": 0.95}],
    "adamw": [{"beta2": 0.95}],
    "nadam": [{"beta2": 0.95}],
    "radam": [{"beta2": 0.95}],
    "lion": [{"beta2": 0.95}],
    "muon": [{"momentum": 0.9, "nesterov": False, "beta2": 0.95}],
    "rprop": [{"variant": "minus"}, {"variant": "plus"}, {"variant": "improved_plus"}],
}
CASES = [(name, settings) for name in GRADIENT_CLASSES for settings in [{}, *VARIANTS.get(name, [])]]


@pytest.fixture(autouse=True)
def compiled_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the compiled steps; the reference is left as readable as it is."""
    monkeypatch.setattr(kernels, "active_set", lambda: "numba")


def is_subnormal(array: Array) -> Array:
    return np.asarray((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny))


def step_on_zeros(name: str, settings: dict[str, Any], dtype: Any, columns: slice) -> dict[str, Array]:
    """The state after 10 steps with random gradients, and 2,000 with a gradient of 0 in these columns."""
    optimizer: Any = GRADIENT_CLASSES[name](**settings)
    optimizer.set_layout(BLOCKS)
    rng = np.random.default_rng(0)
    weights = rng.normal(size=SIZE).astype(dtype)
    for step in range(2010):
        gradient = rng.normal(size=SIZE).astype(dtype)
        if step >= 10:
            gradient[:24].reshape(6, 4)[:, columns] = 0
            gradient[24:][columns] = 0
        optimizer.loss = 1.0
        optimizer.update(weights, gradient)
    assert np.isfinite(weights).all()
    assert not is_subnormal(weights).any()
    state: dict[str, Array] = optimizer.state
    return state


@pytest.mark.parametrize("columns", [slice(None), slice(1, 3)], ids=["all", "two columns"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_no_state_sinks_below_the_normal_range(name: str, settings: dict[str, Any], dtype: Any, columns: slice) -> None:
    for key, array in step_on_zeros(name, settings, dtype, columns).items():
        if array.dtype.kind == "f":
            assert not is_subnormal(array).any(), key


@pytest.mark.parametrize(
    ("name", "settings", "keys"),
    [
        ("sgd", {"momentum": 0.9}, ["retained_gradient"]),
        ("adam", {"beta2": 0.95}, ["mean", "square"]),
        ("lion", {"beta2": 0.95}, ["mean"]),
        ("adadelta", {}, ["square", "square_move"]),
        ("rmsprop", {"momentum": 0.9, "alpha": 0.9, "centered": True}, ["square", "mean", "retained"]),
    ],
)
def test_in_float32_what_decays_becomes_zero(name: str, settings: dict[str, Any], keys: list[str]) -> None:
    """So the test above is about arrays that did cross the end of the normal range."""
    state = step_on_zeros(name, settings, np.float32, slice(None))
    for key in keys:
        np.testing.assert_array_equal(state[key], 0)


@pytest.mark.parametrize("size", [1e-10, 9e-16, 1e-30, 1e-120])
@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("adam", {}),
        ("adamw", {"weight_decay": 0.0}),
        ("nadam", {}),
        ("radam", {}),
        ("rmsprop", {}),
        ("rmsprop", {"momentum": 0.9, "centered": True}),
        ("adagrad", {}),
        ("adadelta", {}),
    ],
)
def test_with_an_epsilon_that_is_smaller_still_small_gradients_give_the_steps_of_large_ones(
    name: str, settings: dict[str, Any], size: float
) -> None:
    """The steps do not depend on the size of the gradients, but for epsilon and the first five of RAdam.

    Those of Adadelta are proportional to it.
    """
    gradients = np.random.default_rng(0).normal(size=(20, 5))
    epsilon = {"adadelta": 1e-6}.get(name, 1e-8)
    expected, found = np.zeros(5), np.zeros(5)
    large = GRADIENT_CLASSES[name](**settings, epsilon=epsilon)
    small = GRADIENT_CLASSES[name](**settings, epsilon=epsilon * size ** (2 if name == "adadelta" else 1))
    for step, gradient in enumerate(gradients):
        large.update(expected, gradient, float(step > 5))
        small.update(found, size * gradient, float(step > 5))
    np.testing.assert_allclose(found, expected * (size if name == "adadelta" else 1), rtol=1e-9)
