"""The gradient of the inputs is that of ``predict``, on both engines, for every layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from chainrule.activations import TanhActivation
from chainrule.engines import Engine, NumpyEngine, TorchEngine
from chainrule.errors import InvalidInputError
from chainrule.layers import (
    BatchEnsembleLayer,
    DenseLayer,
    EmbeddingLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    Layer,
    RepeatLayer,
)
from chainrule.neuralnet import NeuralNetwork
from support.layers import LAYER_CLASSES, make_layer
from support.networks import bits_of, network_of

RNG = np.random.default_rng(0)
ENGINES: list[Engine] = [NumpyEngine(), TorchEngine(device="cpu")]


def check(network: NeuralNetwork, engines: list[Engine], X: Any) -> None:
    """Compare the gradient of a random sum of the outputs with the central difference in a random direction."""
    outputs = network.predict(X)
    factors, direction, before = RNG.normal(size=outputs.shape), RNG.normal(size=X.shape), bits_of(network)
    both = [(network.predict(X + h * direction) * factors).reshape(len(X), -1).sum(1) for h in (1e-6, -1e-6)]
    difference = (both[0] - both[1]) / 2e-6
    for engine in engines:
        found, gradient = engine.input_gradient(network.stack, X, lambda _, rows: factors[rows])
        np.testing.assert_allclose(found, outputs, atol=1e-12)
        slope = (gradient * direction).reshape(len(X), -1).sum(1)
        np.testing.assert_allclose(slope, difference, atol=1e-7 * max(1.0, np.abs(difference).max()))
    assert bits_of(network) == before


@pytest.mark.parametrize("cls", LAYER_CLASSES)
def test_every_layer_has_the_input_gradient_of_inference(cls: type[Layer]) -> None:
    network = network_of(DenseLayer(5, (5,)), make_layer(cls), DenseLayer(3), dtype="float64")
    for layer in network.stack.walk():  # running statistics that differ from those of the rows
        for name, values in layer.state.items():
            values[...] = RNG.uniform(0.5, 1.5, values.shape) if "var" in name or "scale" in name else 0.3
    check(network, ENGINES, RNG.normal(size=(7, 5)))


def test_the_members_of_ensembles_and_many_rows_have_their_gradient() -> None:
    layers = RepeatLayer(3), EnsembleDenseLayer(4), TanhActivation(), BatchEnsembleLayer(2), EnsembleMeanLayer()
    network = network_of(*layers, dtype="float64")
    network.stack.build((5,))
    check(network, ENGINES, RNG.normal(size=(2500, 5)))


def test_a_layer_without_operations_computes_its_own_backward_pass() -> None:
    @dataclass(eq=False)
    class Cube(Layer):
        def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
            if training:
                self.input = inputs
            return inputs**3

        def backward_propagation(self, output_error: Any) -> Any:
            return output_error * 3 * self.input**2

    network = network_of(DenseLayer(4, (5,)), Cube(), DenseLayer(2), dtype="float64")
    check(network, ENGINES[:1], RNG.normal(size=(7, 5)))


@pytest.mark.parametrize("engine", ENGINES, ids=["numpy", "torch"])
def test_codes_have_no_gradient_and_none_between_two_categories(engine: Engine) -> None:
    network = network_of(EmbeddingLayer((3,), 2), DenseLayer(1), dtype="float64")
    network.stack.build((1,))
    _, gradient = engine.input_gradient(network.stack, np.array([[2.0], [0.0]]), lambda y, _: np.ones_like(y))
    assert gradient.tolist() == [[0.0], [0.0]]
    with pytest.raises(InvalidInputError, match="between two categories"):
        engine.input_gradient(network.stack, np.array([[0.5]]), lambda y, _: np.ones_like(y))
