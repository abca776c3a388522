"""An activation of a user's own, as a class and as a pair of functions, everywhere that chainrule's own ones go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import check_gradients
from chainrule.activations import ActivationLayer, CustomActivation
from chainrule.export.onnx_graph import build_onnx
from chainrule.layers import DenseLayer
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array
from support.exported import run_c, run_js
from support.networks import network_of, regression_rows
from support.onnx_runs import run_onnx

torch = pytest.importorskip("torch")


@dataclass(eq=False)
class Snake(ActivationLayer):
    """f(x) = x + sin(a x)^2 / a (Ziyin, Hartwig & Ueda 2020, equation 3)."""

    a: float = 1.0

    def activation_function(self, x: Array) -> Array:
        return x + np.sin(self.a * x) ** 2 / self.a

    def derivative(self, x: Array) -> Array:
        return 1 + 2 * np.sin(self.a * x) * np.cos(self.a * x)


@dataclass(eq=False)
class CenteredSoftplus(ActivationLayer):
    """A function of whole rows: softplus less its mean over the units."""

    def activation_function(self, x: Array) -> Array:
        y = np.logaddexp(0, x)
        return y - np.mean(y, axis=-1, keepdims=True)

    def derivative(self, x: Array) -> Array:
        s = 1 / (1 + np.exp(-x))
        return s[..., None, :] * (np.eye(x.shape[-1]) - 1 / x.shape[-1])

    def pull_back(self, x: Array, error: Array) -> Array:
        return (error - np.mean(error, axis=-1, keepdims=True)) / (1 + np.exp(-x))


@dataclass(eq=False)
class LearnedSnake(ActivationLayer):
    """The same with a learned frequency."""

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"a": (1,)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        self.parameter_views["a"][...] = 1.3

    def activation_function(self, x: Array) -> Array:
        a = self.parameter_views["a"]
        return x + np.sin(a * x) ** 2 / a

    def derivative(self, x: Array) -> Array:
        return 1 + np.sin(2 * self.parameter_views["a"] * x)

    def parameter_terms(self, x: Array, error: Array) -> dict[str, Array]:
        a = self.parameter_views["a"]
        return {"a": error * (x * np.sin(2 * a * x) / a - np.sin(a * x) ** 2 / a**2)}


def sine_and_half(x: Array) -> Array:
    return np.sin(x) + 0.5 * x


def its_derivative(x: Array) -> Array:
    return np.cos(x) + 0.5


FUNCTIONS = CustomActivation(sine_and_half, its_derivative, name="SineAndHalf")
OWN: dict[str, Callable[[], Any]] = {
    "a class with a setting": lambda: Snake(a=1.7),
    "a function of rows": CenteredSoftplus,
    "a class with a parameter": LearnedSnake,
    "a pair of functions": lambda: CustomActivation(sine_and_half, its_derivative, name="SineAndHalf"),
}
ORACLE: dict[str, Callable[[Any], Any]] = {
    "a class with a setting": lambda x: x + torch.sin(1.7 * x) ** 2 / 1.7,
    "a function of rows": lambda x: (
        torch.nn.functional.softplus(x) - torch.nn.functional.softplus(x).mean(dim=-1, keepdim=True)
    ),
    "a class with a parameter": lambda x: x + torch.sin(1.3 * x) ** 2 / 1.3,
    "a pair of functions": lambda x: torch.sin(x) + 0.5 * x,
}
DATA = regression_rows(40)


def network(name: str, **settings: Any) -> NeuralNetwork:
    own = OWN[name]
    return network_of(DenseLayer(6), own(), DenseLayer(4), own(), DenseLayer(1), epochs=3, **settings)


@pytest.mark.parametrize("name", OWN)
def test_its_gradients_are_checked(name: str) -> None:
    assert check_gradients(OWN[name]())
    assert check_gradients(network(name), DATA)


@pytest.mark.parametrize("name", OWN)
def test_values_and_gradients_are_those_of_pytorch(name: str) -> None:
    layer, rng = OWN[name](), np.random.default_rng(0)
    layer.dtype = np.dtype(np.float64)
    layer.set_input_shape((5,))
    layer.initialize()
    z, error = 3 * rng.standard_normal((16, 5)), rng.standard_normal((16, 5))
    theirs_in = torch.tensor(z, requires_grad=True)
    theirs = ORACLE[name](theirs_in)
    theirs.backward(torch.tensor(error))
    np.testing.assert_allclose(layer.forward_propagation(z, training=True), theirs.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.backward_propagation(error), theirs_in.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", OWN)
def test_the_compiled_form_is_used(name: str) -> None:
    layer = OWN[name]()
    layer.set_input_shape((5,))
    layer.initialize()
    assert layer.traced() is not None
    if layer.parameters():
        return
    model = network(name).fit(DATA)
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for method in ("forward_propagation", "activation_function"):
            patch.setattr(type(layer), method, lambda *_, method=method, **__: calls.append(method))
        model.fit(DATA)
    assert not calls, "training takes whole steps in compiled code"


@pytest.mark.parametrize("name", OWN)
def test_both_engines_train_it_alike(name: str) -> None:
    ours, theirs = (network(name, engine=engine, dtype="float64", seed=3).fit(DATA) for engine in ("numpy", "torch"))
    np.testing.assert_allclose(ours.predict(DATA), theirs.predict(DATA), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-9)


@pytest.mark.parametrize("name", OWN)
def test_it_comes_back_from_a_file_and_from_pytorch(name: str, tmp_path: Path) -> None:
    before = network(name).fit(DATA)
    before.save(tmp_path / "own.safetensors")
    own = {"Snake": Snake, "CenteredSoftplus": CenteredSoftplus, "LearnedSnake": LearnedSnake, "SineAndHalf": FUNCTIONS}
    after = NeuralNetwork.load(tmp_path / "own.safetensors", custom_objects=own)
    np.testing.assert_array_equal(after.predict(DATA), before.predict(DATA))
    back = NeuralNetwork.from_torch(before.to_torch())
    np.testing.assert_allclose(back.predict(DATA), before.predict(DATA), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", OWN)
def test_it_is_exported(name: str, tmp_path: Path) -> None:
    trained = network(name, dtype="float64").fit(DATA)
    expected = trained.predict(DATA)
    for found in run_onnx(build_onnx(trained), {"X": np.asarray(DATA.X)}).values():
        np.testing.assert_allclose(found["outputs"], expected, rtol=1e-9, atol=1e-11)
    rows = DATA.X[:5].tolist()
    columns = [f"x{place}" for place in range(DATA.n_features)]
    compiled = np.array([[float(cell) for cell in row] for row in run_c(trained, columns, rows, tmp_path)[1:]])
    np.testing.assert_allclose(compiled, expected[:5], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(np.array(run_js(trained, rows, tmp_path), float), expected[:5], rtol=1e-9, atol=1e-11)
