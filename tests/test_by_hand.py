"""The first lectures: gates with given weights, networks set by hand, and what a single layer is equal to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from chainrule.activations import SigmoidActivation
from chainrule.data import Dataset, load_dataset
from chainrule.layers import DenseLayer
from chainrule.losses import BinaryCrossEntropy, MeanSquaredError
from chainrule.metrics import accuracy
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import SGD
from support.networks import network_of

ROWS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])


@pytest.mark.parametrize(
    ("bias", "weight", "outputs"),
    [(-30, 20, [0, 0, 0, 1]), (-10, 20, [0, 1, 1, 1]), (10, -20, [1, 0, 0, 0])],
    ids=["AND", "OR", "NOR"],
)
def test_one_neuron_is_a_gate(bias: float, weight: float, outputs: list[int]) -> None:
    neuron = DenseLayer(1, (2,))
    network = network_of(neuron, SigmoidActivation(), metric="accuracy")
    neuron.weights, neuron.biases = [[weight], [weight]], [bias]
    np.testing.assert_allclose(network.predict(ROWS)[:, 0], outputs, atol=1e-4)
    assert network.score(ROWS, outputs) == 1


def test_xnor_is_a_hidden_layer_of_and_and_nor() -> None:
    hidden, output = DenseLayer(2, (2,)), DenseLayer(1)
    network = network_of(hidden, SigmoidActivation(), output, SigmoidActivation())
    hidden.weights, hidden.biases = [[20, -20], [20, -20]], [-30, 10]
    output.weights, output.biases = [[20], [20]], [-10]
    np.testing.assert_allclose(network.predict(ROWS)[:, 0], [1, 0, 0, 1], atol=1e-4)


def test_rows_of_the_weight_matrix_are_origins_and_columns_destinations() -> None:
    layer = DenseLayer(3, (2,))
    layer.weights, layer.biases = [[1, 2, 3], [10, 20, 30]], [0.5, 0, 0]
    # Input 1 alone reaches the units through row 1; a batch is the same for every row.
    assert layer.forward_propagation([[0, 1], [1, 0]]).tolist() == [[10.5, 20, 30], [1.5, 2, 3]]
    assert layer.weights.shape == (2, 3)
    assert layer.parameters() == 9


def test_identity_output_is_linear_regression() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3))
    y = X @ [1.0, -2.0, 0.5] + 3 + rng.normal(size=60)
    network = network_of(DenseLayer(1, (3,)), optimizer="lbfgs", epochs=50, loss=MeanSquaredError, dtype="float64")
    network.fit(X, y)
    solution = np.linalg.lstsq(np.column_stack([X, np.ones(60)]), y, rcond=None)[0]
    layer: Any = network.layers[0]
    np.testing.assert_allclose([*layer.weights[:, 0], layer.biases[0]], solution, rtol=1e-6)


def test_sigmoid_output_is_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3))
    y = (X @ [1.0, -2.0, 0.5] + rng.normal(size=100) > 0).astype(int)
    network = network_of(
        DenseLayer(1, (3,)),
        SigmoidActivation(),
        optimizer="lbfgs",
        epochs=100,
        loss=BinaryCrossEntropy,
        dtype="float64",
    ).fit(X, y)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(X, y)
    layer: Any = network.layers[0]
    np.testing.assert_allclose(layer.weights[:, 0], reference.coef_[0], rtol=1e-4)
    np.testing.assert_allclose(layer.biases, reference.intercept_, rtol=1e-4)
    np.testing.assert_allclose(network.predict(X)[:, 0], reference.predict_proba(X)[:, 1], atol=1e-5)


def run_script_of_the_documents(dataset: Dataset) -> NeuralNetwork:
    net = NeuralNetwork(epochs=1000, batch_size=16, optimizer=SGD, learning_rate=0.1, momentum=0.9,
                        verbose=True, loss=BinaryCrossEntropy, metric=accuracy)  # fmt: skip
    net.add(DenseLayer(6, (dataset.X.shape[1],)))
    net.add(SigmoidActivation())
    net.add(DenseLayer(1))
    net.add(SigmoidActivation())
    net.fit(dataset)
    print(net.predict(dataset), net.score(dataset))
    return net


def test_the_script_of_the_documents_learns_xnor(capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_dataset("xnor")
    assert isinstance(dataset, Dataset)
    net = run_script_of_the_documents(dataset)
    assert net.score(dataset) == 1
    assert net.history["accuracy"][-1] == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:1000]] == [f"epoch {n}/1000" for n in range(1, 1001)]
    assert "loss" in lines[0]
    assert "accuracy" in lines[0]
    assert lines[-1].endswith("1.0")


def test_sgd_by_hand_is_pytorchs_momentum() -> None:
    sgd, weights = SGD(learning_rate=0.1, momentum=0.5), np.array([1.0])
    assert sgd.update(weights, np.array([1.0])).tolist() == [0.9]
    assert sgd.update(weights, np.array([2.0])).tolist() == [0.65]  # retained = 0.5 * 1 + 2
    assert sgd.retained_gradient is not None
    assert sgd.retained_gradient.tolist() == [2.5]


def test_training_by_hand_is_what_fit_does() -> None:
    """Forward, derivative, backward with its update: the loop of the documents."""
    dataset = load_dataset("xnor")
    assert isinstance(dataset, Dataset)

    def build() -> NeuralNetwork:
        return network_of(
            DenseLayer(3, (2,)), SigmoidActivation(), DenseLayer(1), epochs=20, batch_size=4, optimizer=SGD(0.5, 0.9)
        )

    by_hand, fitted = build(), build().fit(dataset)
    loss, targets = MeanSquaredError(), dataset.outputs(1)
    for _ in range(20):
        for X, y in by_hand.get_mini_batches(dataset.X, targets, shuffle=False):
            by_hand.backward_propagation(loss.derivative(y, by_hand.forward_propagation(X, training=True)))
    np.testing.assert_allclose(by_hand.predict(dataset), fitted.predict(dataset), rtol=1e-5)


def same_for(build: Callable[[Any], NeuralNetwork], given: list[Any]) -> None:
    descriptions = [build(item).describe()["settings"] for item in given]
    assert all(description == descriptions[0] for description in descriptions)


def test_a_class_an_instance_and_a_name_mean_the_same() -> None:
    layer = {"input_shape": (2,)}
    same_for(lambda g: network_of(DenseLayer(1, **layer), loss=g), [BinaryCrossEntropy, BinaryCrossEntropy(), "bce"])
    same_for(lambda g: network_of(DenseLayer(1, **layer), optimizer=g), [SGD, SGD(), "sgd", "SGD"])
    same_for(lambda g: network_of(DenseLayer(1, **layer), metric=g), [accuracy, "accuracy", ["accuracy"]])
