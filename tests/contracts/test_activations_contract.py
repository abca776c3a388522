"""What every activation keeps; the classes are found by introspection, so that none can be forgotten."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
import pkgutil
from typing import Any

import numpy as np
import pytest

import chainrule.activations
from chainrule.activations import ACTIVATIONS, ActivationLayer, CustomActivation, PReLUActivation
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.named import settings_of
from chainrule.penalties import L2
from chainrule.types import Array


def subclasses_of(cls: type) -> set[type]:
    return {below for direct in cls.__subclasses__() for below in {direct, *subclasses_of(direct)}}


for module in pkgutil.walk_packages(chainrule.activations.__path__, "chainrule.activations."):
    importlib.import_module(module.name)

OURS = {cls for cls in subclasses_of(ActivationLayer) if cls.__module__.startswith("chainrule.")}
CLASSES = sorted(OURS, key=lambda cls: cls.__name__)


def cube(z: Array) -> Array:
    return np.asarray(z**3)


def cube_derivative(z: Array) -> Array:
    return np.asarray(3 * z**2)


def build(cls: type, shape: tuple[int, ...] = (3,), dtype: Any = np.float64) -> Any:
    layer = cls(cube, cube_derivative) if cls is CustomActivation else cls()
    layer.dtype = np.dtype(dtype)
    layer.set_input_shape(shape)
    layer.initialize(rng=np.random.default_rng(0))
    return layer


def safe_points(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Numbers at least 0.1 away from 0 and from +-3, where some functions have kinks."""
    rng = np.random.default_rng(seed)
    size = np.where(rng.random(shape) < 0.7, rng.uniform(0.1, 2.9, shape), rng.uniform(3.1, 5, shape))
    return np.asarray(rng.choice([-1, 1], shape) * size)


def test_every_class_is_final_and_registered() -> None:
    assert len(CLASSES) == 21
    for cls in CLASSES:
        assert getattr(cls, "__final__", False), cls
        assert not inspect.isabstract(cls), cls
        assert not subclasses_of(cls) & OURS, cls
        assert cls.__name__ in chainrule.activations.__all__
    assert set(ACTIVATIONS.classes.values()) == set(CLASSES) - {CustomActivation}


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if cls is not CustomActivation])
def test_names_find_the_class_and_settings_rebuild_it(cls: type) -> None:
    name = ACTIVATIONS.name_of(cls)
    assert name == name.lower()
    for spelling in (name, name.replace("_", "-"), cls.__name__, cls.__name__.upper()):
        assert ACTIVATIONS.find(spelling) is cls
    others: dict[str, Any] = {
        "shared": False, "approximate": "tanh", "trainable": False, "decays": False, "penalty": L2(0.1),
    }  # fmt: skip
    settings = {key: others[key] if key in others else value + 0.5 for key, value in settings_of(cls()).items()}
    assert settings_of(ACTIVATIONS.create(name, **settings)) == settings


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 4)])
@pytest.mark.parametrize("cls", CLASSES)
def test_forward_is_the_function_and_backward_its_derivative(cls: type, shape: tuple[int, ...]) -> None:
    layer = build(cls, shape)
    z = safe_points((6, *shape))
    output = layer.forward_propagation(z, training=True)
    assert output.shape == z.shape
    assert layer.output_shape() == shape
    assert layer.layer_name() == cls.__name__
    assert layer.parameters() == (1 if cls is PReLUActivation else 0)
    np.testing.assert_allclose(layer.activation_function(z), output, rtol=1e-14)  # NumPy and the compiled loop
    np.testing.assert_array_equal(layer.forward_propagation(z), output)
    error = np.random.default_rng(1).standard_normal(z.shape)
    slope = layer.derivative(z)
    expected = np.einsum("...jk,...j->...k", slope, error) if slope.ndim > z.ndim else slope * error
    np.testing.assert_allclose(layer.backward_propagation(error), expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("cls", CLASSES)
def test_backward_agrees_with_central_differences(cls: type, units: int) -> None:
    layer = build(cls, (units,))
    rng = np.random.default_rng(2)
    z, error = safe_points((8, units)), rng.standard_normal((8, units))
    layer.forward_propagation(z, training=True)
    gradient = np.array(layer.backward_propagation(error))
    step = 1e-5
    for _ in range(5):
        direction = rng.standard_normal(z.shape)
        ahead, behind = (layer.activation_function(z + sign * step * direction) for sign in (1, -1))
        measured = np.sum(error * (ahead - behind)) / (2 * step)
        scale = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert abs(np.sum(gradient * direction) - measured) <= 1e-7 * max(scale, 1e-3)


@pytest.mark.parametrize("cls", CLASSES)
def test_the_type_and_the_buffers_are_kept(cls: type) -> None:
    for dtype in (np.float32, np.float64):
        layer = build(cls, dtype=dtype)
        z = safe_points((6, 3))
        output = layer.forward_propagation(z, training=True)
        error = layer.backward_propagation(np.ones_like(z))
        assert output.dtype == error.dtype == dtype
        again = layer.forward_propagation(z[:4], training=True)
        assert again.shape == (4, 3)
        assert np.shares_memory(output, again)
        assert np.shares_memory(error, layer.backward_propagation(np.ones((4, 3))))
        assert not np.shares_memory(output, layer.forward_propagation(z))


@pytest.mark.parametrize("cls", CLASSES)
def test_inference_writes_no_state(cls: type) -> None:
    layer = build(cls)
    layer.forward_propagation(safe_points((6, 3)), training=True)
    before = dict(layer.__dict__)
    frozen = {name: np.array(before[name]) for name in ("input", "output")}
    buffers = {name: (buffer, np.array(buffer)) for name, buffer in layer._buffers.items()}
    layer.forward_propagation(safe_points((9, 3), seed=5))
    layer.activation_function(safe_points((2, 3), seed=6))
    layer.derivative(safe_points((2, 3), seed=6))
    assert layer.__dict__.keys() == before.keys()
    assert all(layer.__dict__[name] is value for name, value in before.items())
    assert all(np.array_equal(before[name], values) for name, values in frozen.items())
    assert layer._buffers.keys() == buffers.keys()
    assert all(layer._buffers[name] is one and np.array_equal(one, values) for name, (one, values) in buffers.items())


@pytest.mark.parametrize("cls", CLASSES)
def test_the_function_takes_anything_like_an_array(cls: type) -> None:
    layer = build(cls, (2,))
    for values in (0.5, [1, -1], [[1.0, 2.0]], np.ones((2, 3, 2), np.float32), np.ones((4, 6))[:, ::3].T):
        given: Any = np.asarray(values) if cls is CustomActivation else values
        if np.ndim(given) == 0 and "Softmax" in cls.__name__:
            continue
        result = layer.activation_function(given)
        assert np.shape(result) == np.shape(given)
        assert np.shape(layer.derivative(given))[: np.ndim(given)] == np.shape(given)


@pytest.mark.parametrize("cls", CLASSES)
def test_copies_and_pickles_do_the_same(cls: type) -> None:
    layer = build(cls)
    z = safe_points((6, 3))
    expected = layer.forward_propagation(z, training=True).copy()
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.output is None
        np.testing.assert_array_equal(twin.forward_propagation(z, training=True), expected)
        assert twin.backward_propagation(z).shape == z.shape


@pytest.mark.parametrize("cls", CLASSES)
def test_no_input_error_is_worked_out_where_nobody_needs_it(cls: type) -> None:
    layer = build(cls)
    layer.needs_input_error = False
    layer.forward_propagation(safe_points((6, 3)), training=True)
    assert layer.backward_propagation(np.ones((6, 3))) is None


@pytest.mark.parametrize("cls", CLASSES)
def test_mistakes_are_named(cls: type) -> None:
    layer = build(cls)
    with pytest.raises(NotBuiltError, match="training=True"):
        layer.backward_propagation(np.ones((2, 3)))
    with pytest.raises(InvalidInputError, match=r"expects rows of shape \(3,\)"):
        layer.forward_propagation(np.ones((2, 4)))
