"""Formulas of activations as users may write them: what is traced, and what NumPy computes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.activations import ActivationLayer, CustomActivation
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer, Layer
from chainrule.layers.base import ArrayAttribute
from chainrule.neuralnet import NeuralNetwork
from chainrule.program import Program, Value
from chainrule.types import Array
from support.exported import run_c, run_js
from support.networks import network_of

torch = pytest.importorskip("torch")


@dataclass(eq=False)
class Scaled(ActivationLayer):
    """Its settings have the names of what compiled loops take; one of them is a whole number."""

    out: float = 2.0
    error: int = 3
    level: float = 1.0

    factor = 0.5  # not a field

    def activation_function(self, x: Array) -> Array:
        if self.level > 0:
            return self.out * x**self.error * self.factor
        return self.out * x

    def derivative(self, x: Array) -> Array:
        if self.level > 0:
            return self.out * self.error * x ** (self.error - 1) * self.factor
        return np.full_like(x, self.out)


def forward(layer: Any, x: Any) -> Array:
    layer.set_input_shape(np.shape(x)[1:])
    return np.array(layer.forward_propagation(x, training=True))


X = [[-1.0, 0.5, 2.0]]


def test_a_setting_is_never_taken_for_something_else_and_may_change() -> None:
    layer = Scaled()
    layer.dtype = np.dtype(np.float64)
    assert layer.traced() is not None
    for change in ({}, {"out": 3.0}, {"error": 2}, {"factor": 2.0}, {"level": -1.0}, {"out": np.float32(4)}):
        for name, value in change.items():
            setattr(layer, name, value)
        np.testing.assert_allclose(forward(layer, X), layer.activation_function(X), rtol=1e-14)
        np.testing.assert_allclose(layer.backward_propagation(np.ones((1, 3))), layer.derivative(X), rtol=1e-14)


@dataclass(eq=False)
class Loose(ActivationLayer):
    """A formula that is given to it."""

    formula: Callable[[Any, Array], Any]
    coefficients: Any = None

    def activation_function(self, x: Array) -> Array:
        return self.formula(self, x)

    def derivative(self, x: Array) -> Array:
        return x * 0 + 1


UNTRACEABLE: dict[str, Callable[[Any, Array], Any]] = {
    "an attribute of arrays": lambda self, x: x.astype(x.dtype) + x.shape[0],
    "a length": lambda self, x: x * len(x),
    "a method of arrays": lambda self, x: x.clip(-1, 1),
    "math on a value": lambda self, x: x * math.sqrt(abs(float(x[0, 0]))),
    "an if on values": lambda self, x: x if x.max() > 0 else -x,
    "an axis that is not the last": lambda self, x: x - np.mean(x, axis=0, keepdims=True),
    "axis 1, which is the last in some shapes": lambda self, x: x - np.mean(x, axis=1, keepdims=True),
    "random numbers": lambda self, x: x + 0 * np.random.default_rng(0).normal(size=np.shape(x)),
}


@pytest.mark.parametrize("what", UNTRACEABLE)
def test_what_cannot_be_traced_is_computed_by_numpy(what: str) -> None:
    layer = Loose(UNTRACEABLE[what])
    np.testing.assert_allclose(forward(layer, X), layer.activation_function(np.array(X, np.float32)))
    assert layer.traced() is None
    with pytest.raises(InvalidInputError, match="Loose is computed by NumPy only"):
        layer.formulas()


TRACEABLE: dict[str, Callable[[Any, Array], Any]] = {
    "a negative power": lambda self, x: np.where(x > 0, np.abs(x) ** -2.0, (-2.0) ** np.floor(x)),
    "a negative constant": lambda self, x: np.negative(np.minimum(x, -0.5) * -2.0) - -1.0,
    "a condition": lambda self, x: x > 0,
    "infinity": lambda self, x: np.minimum(x, np.inf) + np.maximum(x, -np.inf),
}


@pytest.mark.parametrize("what", TRACEABLE)
def test_what_is_traced_is_right_everywhere(what: str, tmp_path: Path) -> None:
    layer = Loose(TRACEABLE[what])
    model = network_of(DenseLayer(3, (2,)), layer, dtype="float64")
    rows = np.random.default_rng(0).normal(size=(6, 2)).tolist()
    assert layer.traced() is not None
    expected = np.asarray(layer.activation_function(model.layers[0].forward_propagation(rows)), float)
    np.testing.assert_allclose(model.predict(rows), expected, rtol=1e-12)
    np.testing.assert_allclose(model.to_torch()(torch.tensor(rows, dtype=torch.float64)).detach(), expected, rtol=1e-12)
    compiled = np.array([[float(cell) for cell in row] for row in run_c(model, ["a", "b"], rows, tmp_path)[1:]])
    np.testing.assert_allclose(compiled, expected, rtol=1e-12)
    np.testing.assert_allclose(np.array(run_js(model, rows, tmp_path), float), expected, rtol=1e-12)


def test_an_attribute_that_may_change_without_notice_is_not_traced() -> None:
    layer = Loose(lambda self, x: self.coefficients[0] * x, coefficients=[2.0])
    np.testing.assert_array_equal(forward(layer, X), 2 * np.array(X))
    layer.coefficients[0] = 3.0
    np.testing.assert_array_equal(forward(layer, X), 3 * np.array(X))
    layer.coefficients = (4.0,)
    np.testing.assert_array_equal(forward(layer, X), 4 * np.array(X))
    assert layer.traced() is not None


def test_names_of_settings_are_never_code(tmp_path: Path) -> None:
    class Hostile(ActivationLayer):
        def __init__(self, **settings: Any) -> None:
            self.__dict__.update(settings)

        def activation_function(self, x: Array) -> Array:
            return x * sum(value for name, value in vars(self).items() if name.startswith("a"))

        def derivative(self, x: Array) -> Array:
            return x * 0 + 1

    layer = Hostile(**{"a": 2.0, "a b": 3.0, f"a = 0.0\n    open({str(tmp_path / 'x')!r}, 'w')\n#": 4.0})
    np.testing.assert_allclose(forward(layer, X), 9 * np.array(X))
    assert not list(tmp_path.iterdir())


def test_a_piece_of_functions_with_the_name_of_another_is_not_kept_under_it(tmp_path: Path) -> None:
    own = CustomActivation(np.square, np.cos, name="relu")
    with pytest.raises(InvalidInputError, match="give it a name that chainrule does not use"):
        network_of(DenseLayer(2, (2,)), own).save(tmp_path / "own")


class Switched(ActivationLayer):
    """A function that depends on an attribute of its class."""

    squares = False

    def activation_function(self, x: Array) -> Array:
        return x * x if self.squares else 3.0 * x

    def derivative(self, x: Array) -> Array:
        return 2 * x if self.squares else 0 * x + 3.0


def test_a_switch_of_a_class_may_be_set_after_a_prediction() -> None:
    network = NeuralNetwork(seed=0).add(DenseLayer(3, (2,))).add(switched := Switched())
    rows = np.ones((5, 2))
    for squares in (False, True, False):
        switched.squares = squares
        np.testing.assert_allclose(network.predict(rows), network.stack.forward(rows), rtol=1e-6)


@dataclass(eq=False)
class TwiceScaled(Layer):
    """``y = w w x``, as two operations that read the same parameter."""

    w = ArrayAttribute("w")

    def output_shape(self) -> tuple[int, ...]:
        return self.input_shape()

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"w": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        self.parameter_views["w"].fill(1)

    def forward_propagation(self, inputs: Any, training: bool = False) -> Array:
        self.input = self._check_inputs(inputs)
        return self.input * self.w * self.w

    def backward_propagation(self, output_error: Array) -> Array:
        self.gradient_views["w"][...] = (2 * output_error * self.input * self.w).sum(axis=0)
        return output_error * self.w * self.w

    def lower(self, program: Program, x: Value) -> Value:
        scaled = program.map(lambda x, w: x * w, x, self.array("w"))
        return program.map(lambda x, w: x * w, scaled, self.array("w"))


def test_a_parameter_of_two_operations_has_the_sum_of_both_gradients() -> None:
    rows = np.arange(1.0, 7.0).reshape(3, 2)
    network = NeuralNetwork(1, 3, "sgd", learning_rate=0.01, dtype="float64", seed=0).add(TwiceScaled())
    network.fit(rows, 3 * rows)
    gradient = (2 * rows**2 * (1 - 3)).sum(axis=0) * 2 / rows.size
    np.testing.assert_allclose(network.layers[0].w, 1 - 0.01 * gradient)
