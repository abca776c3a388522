"""The starting network: the output set-up follows from the target, the hidden layers from what was asked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.activations import ELUActivation, LeakyReLUActivation, ReLUActivation
from chainrule.architecture import build_network, default_loss, select_architecture
from chainrule.data import Dataset, Target
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer, DropoutLayer
from chainrule.losses import LOSSES
from chainrule.named import settings_of
from chainrule.neuralnet import NeuralNetwork
from support.networks import bits_of, class_rows, network_of, regression_rows

BINARY, CLASSES = Target.detect(["no", "yes"]), Target.detect([0, 1, 2])
NUMBER, NUMBERS = Target.detect([0.5, 1.5, 2.7]), Target.detect(np.eye(3) + 0.5)


def names(network: NeuralNetwork) -> list[str]:
    return [layer.layer_name().removesuffix("Layer").removesuffix("Activation") for layer in network.layers]


@pytest.mark.parametrize(
    ("target", "last", "n_outputs", "loss", "metric"),
    [
        (BINARY, ["Dense", "Sigmoid"], 1, "binary_cross_entropy", "accuracy"),
        (CLASSES, ["Dense", "Softmax"], 3, "categorical_cross_entropy", "accuracy"),
        (NUMBER, ["Dense"], 1, "mean_squared_error", "r2"),
        (NUMBERS, ["Dense"], 3, "mean_squared_error", "r2"),
    ],
)
@pytest.mark.parametrize("hidden", [(), (8,), (8, 4)])
def test_the_output_follows_from_the_target(
    target: Target, last: list[str], n_outputs: int, loss: str, metric: str, hidden: tuple[int, ...]
) -> None:
    network = build_network(4, target, hidden=hidden, seed=0)
    assert names(network) == ["Dense", "ReLU"] * len(hidden) + last
    assert network.stack.is_built
    assert network.stack.input_shape() == (4,)
    assert network.stack.output_shape() == (n_outputs,)
    assert LOSSES.name_of(network.loss) == loss == default_loss(target)
    assert network.metrics[0].name == metric
    assert type(network.optimizer).__name__ == "Adam"


def test_hidden_layers_are_dense_normalised_activated_and_dropped() -> None:
    network = build_network(4, BINARY, hidden=(8, 4), activation="tanh", dropout=0.5, batch_normalization=True)
    block = ["Dense", "BatchNormalization", "Tanh", "Dropout"]
    assert names(network) == [*block, *block, "Dense", "Sigmoid"]


def test_each_hidden_layer_may_have_settings_of_its_own() -> None:
    network = build_network(
        4,
        NUMBER,
        hidden=(8, 6),
        activation=["tanh", ELUActivation],
        dropout=[0.0, 0.25],
        batch_normalization=[True, False],
        layer_normalization=(False, True),
        weights_initializer=["zeros", None],
        input_dropout=0.125,
        noise=0.5,
        seed=0,
    )
    assert names(network) == [
        *("Dropout", "GaussianNoise"),
        *("Dense", "BatchNormalization", "Tanh"),
        *("Dense", "LayerNormalization", "ELU", "Dropout"),
        "Dense",
    ]
    assert [layer.rate for layer in network.layers if isinstance(layer, DropoutLayer)] == [0.125, 0.25]
    assert not network.layers[2].parameter_views["weights"].any()
    assert network.layers[5].parameter_views["weights"].any()
    assert network.predict(np.ones((2, 4))).shape == (2, 1)


def test_one_initializer_is_that_of_all_layers() -> None:
    network = build_network(4, NUMBER, hidden=(8, 6), weights_initializer="zeros", seed=0)
    assert not network.stack.vector.values.any()


def test_an_activation_may_be_a_function_and_its_derivative() -> None:
    data = regression_rows(100)
    settings: dict[str, Any] = {"hidden": (8, 6), "seed": 0, "epochs": 3, "weights_initializer": "glorot_uniform"}
    own, known = (
        build_network(5, NUMBER, activation=activation, **settings).fit(data)
        for activation in [(np.tanh, lambda x: 1 - np.tanh(x) ** 2), "tanh"]
    )
    np.testing.assert_allclose(own.predict(data), known.predict(data), rtol=1e-4, atol=1e-5)
    mixed = build_network(5, NUMBER, activation=["tanh", (np.sin, np.cos)], **settings).fit(data)
    assert names(mixed) == ["Dense", "Tanh", "Dense", "Custom", "Dense"]


def test_settings_go_to_the_network_and_overrule() -> None:
    network = build_network(4, NUMBER, loss="gaussian_nll", optimizer="sgd", metric="mae", epochs=3, learning_rate=0.5)
    assert network.stack.output_shape() == (2,)
    assert (network.epochs, network.learning_rate, network.metrics[0].name) == (3, 0.5, "mean_absolute_error")


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu", LeakyReLUActivation(0.3), ELUActivation])
@pytest.mark.parametrize("more", [{}, {"dropout": 0.5}, {"batch_normalization": True}])
@pytest.mark.parametrize("shape", [(4,), None])
def test_the_same_layers_added_by_hand_have_the_same_first_weights(activation: Any, more: Any, shape: Any) -> None:
    """Whether they know the shape of their inputs when they are added, or only later."""
    built = build_network(4, CLASSES, hidden=(8, 6), activation=activation, seed=3, **more)
    by_hand = NeuralNetwork(seed=3)
    for layer in built.layers:
        is_first = isinstance(layer, DenseLayer) and not by_hand.layers
        new = DenseLayer(layer.n_units, shape if is_first else None) if isinstance(layer, DenseLayer) else None
        by_hand.add(type(layer)(**settings_of(layer)) if new is None else new)
    by_hand.stack.build((4,))
    assert bits_of(by_hand) == bits_of(built)
    by_hand.reset()
    assert bits_of(by_hand) == bits_of(built)


def test_weights_that_somebody_has_set_stay_when_an_activation_is_added() -> None:
    layers = DenseLayer(3, (2,)), DenseLayer(2)
    network = network_of(layers[0])
    layers[0].weights[1, 2] = 7
    network.add(ReLUActivation())
    assert layers[0].weights[1, 2] == 7
    before = layers[0].weights.copy()
    network.add(layers[1])
    drawn = layers[1].weights.copy()
    network.add(ReLUActivation())
    np.testing.assert_array_equal(layers[0].weights, before)
    assert not np.array_equal(layers[1].weights, drawn), "He's, in place of Glorot's"


def test_an_initializer_that_is_given_is_kept() -> None:
    layer = DenseLayer(3, (2,), weights_initializer="glorot_uniform")
    network = network_of(layer)
    before = layer.weights.copy()
    network.add(ReLUActivation())
    np.testing.assert_array_equal(layer.weights, before)
    network.reset()
    np.testing.assert_array_equal(layer.weights, before)


@pytest.mark.parametrize(("activation", "spread"), [("relu", np.sqrt(6 / 400)), ("tanh", np.sqrt(6 / 800))])
def test_first_weights_suit_the_activation(activation: str, spread: float) -> None:
    weights = (
        build_network(400, BINARY, hidden=(400,), activation=activation, seed=0).layers[0].parameter_views["weights"]
    )
    assert np.abs(weights).max() == pytest.approx(spread, rel=1e-3)


@pytest.mark.parametrize(
    "data",
    [class_rows(150, n_classes=2), class_rows(150, n_classes=4), regression_rows(150),
     Dataset(regression_rows(150).X, np.column_stack([regression_rows(150).y, regression_rows(150).y]))],
    ids=["two classes", "four classes", "a number", "two numbers"],
)  # fmt: skip
@pytest.mark.parametrize("activation", ["relu", "selu", "gelu", "prelu", "gaussian"])
def test_what_is_built_learns(data: Dataset, activation: str) -> None:
    assert data.target is not None
    network = build_network(5, data.target, activation=activation, hidden=(16,), epochs=15, learning_rate=0.02, seed=0)
    losses = network.fit(data, validation=0.2).history["loss"]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hidden": (8, 0)}, "whole number"),
        ({"hidden": (2.5,)}, "whole number"),
        ({"activation": "rellu"}, "Did you mean 'relu'"),
        ({"dropout": 1.0}, "rate"),
        ({"loss": "mse2"}, "no loss called"),
        ({"dropout": [0.1, 0.2, 0.3]}, r"dropout is \[0.1, 0.2, 0.3\], and there are 2 hidden layers"),
        ({"activation": ["relu"]}, "one value for each hidden layer"),
    ],
)
def test_mistakes_are_told(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        build_network(4, BINARY, **settings)


def test_labels_are_no_target() -> None:
    with pytest.raises(InvalidInputError, match=r"give Target\.detect\(y\)"):
        build_network(3, np.array([0, 1]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "n_outputs", "units"),
    [
        ("binary", 1, [64, 1]),
        ("binary", 2, [64, 1]),
        ("multiclass", 10, [128, 64, 10]),
        ("regression", 2, [64, 32, 2]),
        ("classification", 1, [64, 1]),
        ("classification", 2, [64, 1]),
        ("classification", 10, [128, 64, 10]),
    ],
)
def test_a_starting_architecture_for_a_kind_of_problem(task: Any, n_outputs: int, units: list[int]) -> None:
    network = select_architecture(13, n_outputs, task)
    assert [layer.n_units for layer in network.layers if isinstance(layer, DenseLayer)] == units
    with pytest.raises(InvalidInputError, match="one of binary, multiclass, regression, classification, not 'sorting'"):
        select_architecture(13, n_outputs, "sorting")
