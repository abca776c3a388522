"""The course's networks: their layers, first weights, losses and optimizers are those of its formulas and scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

from chainrule import zoo
from chainrule.activations import LeakyReLUActivation, ReLUActivation, TanhActivation
from chainrule.callbacks import EarlyStopping
from chainrule.data import Dataset, load_dataset
from chainrule.errors import ChainruleError
from chainrule.initializers import Uniform
from chainrule.layers import DenseLayer, DropoutLayer
from chainrule.losses import LOSSES
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array
from support.networks import bits_of, class_rows, regression_rows
from support.torch_networks import torch_twin

XNOR = load_dataset("xnor")
assert isinstance(XNOR, Dataset)


def small_simple_net(**settings: Any) -> NeuralNetwork:
    return zoo.SimpleNeuralNet([[1.0], [2.0], [-1.0]], [0.5], **settings)


# Each network, small where the course's is large, with rows it can be trained on: what a user would do with it.
NETWORKS: dict[str, tuple[Callable[..., NeuralNetwork], Dataset]] = {
    "SimpleNeuralNet": (small_simple_net, regression_rows(60, 3)),
    "ShallowNeuralNet": (lambda **s: zoo.ShallowNeuralNet(5, 4, 1, **s), regression_rows(60)),
    "DeepNeuralNet": (lambda **s: zoo.DeepNeuralNet(5, [8, 6, 4], 3, **s), class_rows(60)),
    "SimpleNN": (lambda **s: zoo.SimpleNN(5, 8, 1, **s), regression_rows(60)),
    "MLP": (lambda **s: zoo.MLP([5, 8, 4, 1], **s), regression_rows(60)),
    "DropoutMLP": (lambda **s: zoo.DropoutMLP([5, 8, 4, 1], 0.2, **s), regression_rows(60)),
    "RegressionNN": (lambda **s: zoo.RegressionNN(5, **s), regression_rows(60)),
    "XNORNet": (lambda **s: zoo.XNORNet(4, **s), XNOR),
    "SimpleMLP": (zoo.SimpleMLP, class_rows(60, 784, 10)),
    "HousingNet": (lambda **s: zoo.HousingNet(5, **s), regression_rows(60)),
    "IMDBNet": (lambda **s: zoo.IMDBNet(4, 0.5, max_words=30, **s), class_rows(60, 30, 2)),
}
of_every_network = pytest.mark.parametrize("name", NETWORKS)


def names(network: NeuralNetwork) -> str:
    return " ".join(layer.layer_name().removesuffix("Layer").removesuffix("Activation") for layer in network.layers)


def shapes(network: NeuralNetwork) -> list[tuple[int, ...]]:
    return [layer.weights.shape for layer in network.layers if isinstance(layer, DenseLayer)]


def test_every_name_of_the_module_is_tested_here() -> None:
    assert set(NETWORKS) == set(zoo.__all__)


# What they are ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "layers", "matrices", "n_parameters"),
    [
        (zoo.SimpleNeuralNet(np.ones((3, 2)), [1, 2]), "Dense", [(3, 2)], 8),
        (zoo.ShallowNeuralNet(4, 8, 2), "Dense Dense", [(4, 8), (8, 2)], 58),
        (
            zoo.ShallowNeuralNet(4, 8, 1, activation="sigmoid", loss="binary_cross_entropy"),
            "Dense Sigmoid Dense Sigmoid",
            [(4, 8), (8, 1)],
            49,
        ),
        (
            zoo.DeepNeuralNet(n_x=784, n_h=[80, 40, 20], n_y=10),
            "Dense ReLU Dense ReLU Dense ReLU Dense Softmax",
            [(784, 80), (80, 40), (40, 20), (20, 10)],
            67_070,
        ),
        (zoo.SimpleNN(10, 64, 1), "Dense ReLU Dense", [(10, 64), (64, 1)], 769),
        (zoo.MLP([10, 8]), "Dense", [(10, 8)], 88),
        (zoo.MLP([10, 64, 32, 1]), "Dense ReLU Dense ReLU Dense", [(10, 64), (64, 32), (32, 1)], 2817),
        (
            zoo.DropoutMLP((10, 64, 32, 1)),
            "Dense ReLU Dropout Dense ReLU Dropout Dense",
            [(10, 64), (64, 32), (32, 1)],
            2817,
        ),
        (zoo.DropoutMLP((10, 64, 1), 0.0), "Dense ReLU Dense", [(10, 64), (64, 1)], 769),
        (zoo.RegressionNN(3), "Dense ReLU Dense ReLU Dense", [(3, 64), (64, 32), (32, 1)], 2369),
        (zoo.RegressionNN(3, 6, 5), "Dense ReLU Dense ReLU Dense", [(3, 6), (6, 5), (5, 1)], 65),
        (zoo.XNORNet(), "Dense Sigmoid Dense Sigmoid", [(2, 2), (2, 1)], 9),
        (zoo.SimpleMLP(), "Dense ReLU Dense ReLU Dense Softmax", [(784, 128), (128, 64), (64, 10)], 109_386),
        (zoo.HousingNet(13), "Dense ReLU Dense ReLU Dense", [(13, 64), (64, 32), (32, 1)], 3009),
        (zoo.IMDBNet(), "Dense ReLU Dense ReLU Dense Sigmoid", [(10_000, 64), (64, 64), (64, 1)], 644_289),
        (
            zoo.IMDBNet(16, dropout=0.5),
            "Dense ReLU Dropout Dense ReLU Dropout Dense Sigmoid",
            [(10_000, 16), (16, 16), (16, 1)],
            160_305,
        ),
    ],
    ids=lambda value: None if isinstance(value, NeuralNetwork) else str(value).replace(" ", "-"),
)
def test_layers_and_parameters(
    network: NeuralNetwork, layers: str, matrices: list[tuple[int, int]], n_parameters: int
) -> None:
    assert names(network) == layers
    assert shapes(network) == matrices
    assert network.stack.parameters() == n_parameters


@pytest.mark.parametrize(
    ("name", "loss", "optimizer", "rate", "epochs", "batch_size"),
    [
        ("ShallowNeuralNet", "mean_squared_error", "SGD", 1e-5, 1000, 100),
        ("DeepNeuralNet", "categorical_cross_entropy", "Adam", 1e-3, None, None),
        ("SimpleNN", "mean_squared_error", "Adam", 1e-3, 100, None),
        ("MLP", "mean_squared_error", "Adam", 1e-3, 100, None),
        ("DropoutMLP", "mean_squared_error", "Adam", 1e-3, 100, None),
        ("RegressionNN", "mean_squared_error", "Adam", 0.01, 100, 100),
        ("XNORNet", "binary_cross_entropy", "Adam", 0.05, 100, 4),
        ("SimpleMLP", "categorical_cross_entropy", "Adam", 1e-3, 10, 64),
        ("HousingNet", "mean_squared_error", "Adam", 1e-3, None, None),
        ("IMDBNet", "binary_cross_entropy", "RMSprop", 0.01, 20, 512),
    ],
)
def test_loss_optimizer_and_length_of_training(
    name: str, loss: str, optimizer: str, rate: float, epochs: int | None, batch_size: int | None
) -> None:
    """None where the course leaves it open."""
    network = NETWORKS[name][0]()
    assert LOSSES.name_of(network.loss) == loss
    assert (type(network.optimizer).__name__, network.learning_rate) == (optimizer, rate)
    assert epochs in (None, network.epochs)
    assert batch_size in (None, network.batch_size)


def test_dropout_has_the_rate_that_was_given() -> None:
    for network, rate in ((zoo.DropoutMLP([3, 4, 1]), 0.5), (zoo.DropoutMLP([3, 4, 1], dropout_rate=0.2), 0.2),
                          (zoo.IMDBNet(4, dropout=0.3, max_words=5), 0.3)):  # fmt: skip
        assert {layer.rate for layer in network.layers if isinstance(layer, DropoutLayer)} == {rate}


def test_hidden_layers_and_activations_can_be_others() -> None:
    regression = zoo.RegressionNN(3, hidden=(8, 4, 2), activation=LeakyReLUActivation(0.2))
    assert names(regression) == "Dense LeakyReLU Dense LeakyReLU Dense LeakyReLU Dense"
    assert shapes(regression) == [(3, 8), (8, 4), (4, 2), (2, 1)]
    slopes = [layer.negative_slope for layer in regression.layers if isinstance(layer, LeakyReLUActivation)]
    assert slopes == [0.2, 0.2, 0.2]
    assert names(zoo.RegressionNN(3, hidden=16, activation="tanh")) == "Dense Tanh Dense"
    assert names(zoo.XNORNet((3, 2), activation=TanhActivation)) == "Dense Tanh Dense Tanh Dense Sigmoid"
    assert shapes(zoo.SimpleMLP(hidden=32)) == [(784, 32), (32, 10)]
    assert shapes(zoo.HousingNet(13, hidden=(5,))) == [(13, 5), (5, 1)]
    assert shapes(zoo.IMDBNet(max_words=20, hidden=(4, 2))) == [(20, 4), (4, 2), (2, 1)]
    for network in (
        zoo.DeepNeuralNet(4, [3, 2], 2, activation="gelu"),
        zoo.MLP([4, 3, 2], activation="gelu"),
        zoo.SimpleNN(4, 3, 2, activation="gelu"),
        zoo.DropoutMLP([4, 3, 2], activation="gelu"),
        zoo.IMDBNet(4, max_words=20, activation="gelu"),
    ):
        assert "GELU" in names(network)
        assert "ReLU" not in names(network).replace("GELU", "")


def test_the_same_network_built_two_ways_has_the_same_first_weights() -> None:
    by_name = zoo.RegressionNN(3, hidden=(8, 4), seed=5)
    assert bits_of(by_name) == bits_of(zoo.RegressionNN(3, 8, 4, seed=5)) == bits_of(zoo.MLP([3, 8, 4, 1], seed=5))
    by_hand = NeuralNetwork(seed=5)
    for n_inputs, n_units in ((3, 8), (8, 4), (4, 1)):
        start = Uniform(1 / np.sqrt(n_inputs))
        by_hand.add(DenseLayer(n_units, weights_initializer=start, biases_initializer=start))
        if n_units > 1:
            by_hand.add(ReLUActivation())
    by_hand.stack.build((3,))
    assert bits_of(by_hand) == bits_of(by_name)


def test_with_and_without_dropout_the_first_weights_are_the_same() -> None:
    with_dropout, without = (zoo.DropoutMLP([4, 8, 8, 2], rate, seed=3) for rate in (0.5, 0.0))
    for one, other in zip(weights_of(with_dropout), weights_of(without), strict=True):
        np.testing.assert_array_equal(one, other)


def weights_of(network: NeuralNetwork) -> list[Array]:
    return [layer.weights for layer in network.layers if isinstance(layer, DenseLayer)]


def test_pytorchs_networks_start_as_its_linear_layers_do() -> None:
    torch.manual_seed(0)
    theirs = torch.nn.Linear(784, 128)
    ours: Any = zoo.SimpleMLP(seed=0).layers[0]
    for name, values, peer in (("W", ours.weights, theirs.weight), ("b", ours.biases, theirs.bias)):
        reference = peer.detach().numpy()
        assert np.abs(values).max() == pytest.approx(1 / 28, rel=0.05), name
        assert np.abs(values).max() <= 1 / 28
        assert values.std() == pytest.approx(reference.std(), rel=0.15), name  # 128 biases are few
        assert abs(values.mean()) < 0.2 * values.std(), name


def test_the_shallow_network_starts_from_a_scaled_normal() -> None:
    network = zoo.ShallowNeuralNet(200, 400, 100, seed=0)
    for layer in network.layers:
        assert isinstance(layer, DenseLayer)
        assert layer.weights.std() == pytest.approx(0.1, rel=0.02)
        assert layer.biases.std() == pytest.approx(0.1, rel=0.2)
        assert np.abs(layer.weights).max() > 0.35  # a normal has tails


# The course's formulas ----------------------------------------------------------------------------------------------


def test_the_simple_network_by_hand() -> None:
    network = zoo.SimpleNeuralNet(np.array([[1.0, 10.0], [2.0, 20.0]]), np.array([[0.5, -1.0]]))
    # (1, 3): 1 * 1 + 3 * 2 + 0.5 = 7.5 and 1 * 10 + 3 * 20 - 1 = 69
    assert network.predict([[1, 3], [0, 0]]).tolist() == [[7.5, 69.0], [0.5, -1.0]]


@pytest.mark.parametrize("b", [3.0, [3.0], np.full((1, 1), 3.0)], ids=["number", "list", "matrix"])
def test_the_simple_network_of_two_weights_and_one_bias(b: Any) -> None:
    network = zoo.SimpleNeuralNet(W=np.array([2.0, -1.0]), b=b)
    assert network.predict([[1, 1], [0, 4]]).tolist() == [[4.0], [-1.0]]
    assert network.score([[1, 1], [0, 4]], [3.5, 1.5]) == pytest.approx((0.5**2 + 2.5**2) / 2)


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("activation", [None, "sigmoid"], ids=["linear", "sigmoid"])
def test_the_shallow_network_trains_by_the_formulas_of_the_notes(activation: str | None) -> None:
    data = regression_rows(30, 4)
    y = np.asarray(data.y).reshape(-1, 1)
    if activation:
        y = (y > 0).astype(float)
    loss = "binary_cross_entropy" if activation else "mean_squared_error"
    network = zoo.ShallowNeuralNet(
        4, 3, 1, activation=activation, loss=loss, learning_rate=0.3, epochs=25, batch_size=30, dtype="float64", seed=1
    )
    first, second = (layer for layer in network.layers if isinstance(layer, DenseLayer))
    W1, b1, W2, b2 = (array.copy() for array in (first.weights, first.biases, second.weights, second.biases))
    network.fit(Dataset(data.X, y[:, 0].astype(int) if activation else y[:, 0]))
    X = np.asarray(data.X, np.float64)
    for _ in range(25):
        Z1 = X @ W1 + b1
        A1 = sigmoid(Z1) if activation else Z1
        Z2 = A1 @ W2 + b2
        if activation:
            A2 = sigmoid(Z2)
            dZ2 = (-y / A2 + (1 - y) / (1 - A2)) * A2 * (1 - A2)
            dZ1 = (dZ2 @ W2.T) * A1 * (1 - A1)
        else:
            dZ2 = 2 * (Z2 - y)
            dZ1 = dZ2 @ W2.T
        W2 -= 0.3 / 30 * A1.T @ dZ2
        b2 -= 0.3 / 30 * dZ2.sum(axis=0)
        W1 -= 0.3 / 30 * X.T @ dZ1
        b1 -= 0.3 / 30 * dZ1.sum(axis=0)
    for ours, notes in ((first.weights, W1), (first.biases, b1), (second.weights, W2), (second.biases, b2)):
        np.testing.assert_allclose(ours, notes, rtol=1e-9)


def test_the_notes_criterion_stops_the_shallow_network() -> None:
    network = zoo.ShallowNeuralNet(4, 3, 1, learning_rate=0.05, batch_size=60, seed=0)
    data = regression_rows(60, 4)
    network.fit(data, callbacks=EarlyStopping(monitor="loss", patience=None, delta=1e-5))  # type: ignore[arg-type]
    losses = network.history["loss"]
    assert 10 < len(losses) < 1000
    assert abs(losses[-1] - losses[-2]) < 1e-5 <= abs(losses[-2] - losses[-3])


SCRIPTS: dict[str, tuple[Callable[[], NeuralNetwork], Dataset, Any, Any]] = {
    "RegressionNN": (
        lambda: zoo.RegressionNN(5, epochs=30, dtype="float64", seed=0),
        regression_rows(60),
        torch.nn.MSELoss(),
        lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    ),
    "XNORNet": (
        lambda: zoo.XNORNet(4, epochs=100, dtype="float64", seed=0),
        XNOR,
        torch.nn.BCELoss(),
        lambda parameters: torch.optim.Adam(parameters, lr=0.05),
    ),
    "SimpleMLP": (
        lambda: zoo.SimpleMLP(epochs=10, dtype="float64", seed=0),
        class_rows(60, 784, 10),
        torch.nn.CrossEntropyLoss(),
        lambda parameters: torch.optim.Adam(parameters, lr=0.001),
    ),
    "HousingNet": (
        lambda: zoo.HousingNet(5, epochs=30, batch_size=60, dtype="float64", seed=0),
        regression_rows(60),
        torch.nn.MSELoss(),
        lambda parameters: torch.optim.Adam(parameters, lr=0.001),
    ),
    "IMDBNet": (
        lambda: zoo.IMDBNet(8, max_words=30, dtype="float64", seed=0),
        class_rows(60, 30, 2),
        torch.nn.BCELoss(),
        lambda parameters: torch.optim.RMSprop(parameters, lr=0.01),
    ),
}  # all in one batch, so that both see the rows in one order


@pytest.mark.parametrize("name", SCRIPTS)
def test_training_is_that_of_the_courses_script(name: str) -> None:
    build, data, criterion, optimizer_of = SCRIPTS[name]
    network = build()
    n_classes = network.stack.output_shape()[0]
    activations = {
        place: layer.layer_name().removesuffix("Activation").lower() for place, layer in enumerate(network.layers)
    }
    twin = torch_twin(network, activations)
    if n_classes > 1:
        twin = twin[:-1]  # the softmax is inside their loss
    X = torch.from_numpy(np.asarray(data.X, np.float64))
    y = torch.from_numpy(np.asarray(data.y))
    y = y if n_classes > 1 else y.to(torch.float64)[:, None]
    network.fit(data)
    optimizer = optimizer_of(twin.parameters())
    for _ in range(network.epochs):
        optimizer.zero_grad()
        criterion(twin(X), y).backward()
        optimizer.step()
    theirs = twin(X).detach()
    expected = torch.softmax(theirs, dim=1) if n_classes > 1 else theirs
    np.testing.assert_allclose(network.predict(data), expected.numpy(), rtol=1e-6, atol=1e-9)


# What they do -------------------------------------------------------------------------------------------------------


def test_xnor_is_learnt() -> None:
    assert [zoo.XNORNet(4, epochs=200, seed=seed).fit(XNOR).score(XNOR) for seed in range(20)] == [1.0] * 20


@of_every_network
def test_each_trains_from_given_data(name: str) -> None:
    build, data = NETWORKS[name]
    network = build(seed=0, epochs=100, batch_size=60, learning_rate=0.05)
    before = network.evaluate(data)["loss"]
    network.fit(data)
    assert network.evaluate(data)["loss"] < 0.98 * before


@of_every_network
def test_each_round_trips_through_a_file(name: str, tmp_path: Path) -> None:
    build, data = NETWORKS[name]
    network = build(seed=0, epochs=2).fit(data)
    network.save(tmp_path / "network.safetensors")
    loaded = NeuralNetwork.load(tmp_path / "network.safetensors")
    assert bits_of(loaded) == bits_of(network)
    assert loaded.describe() == network.describe()
    assert loaded.predict(data).tobytes() == network.predict(data).tobytes()


@of_every_network
def test_both_engines_predict_and_train_alike(name: str, tmp_path: Path) -> None:
    build, data = NETWORKS[name]
    ours, theirs = (
        build(seed=0, epochs=5, learning_rate=0.01, dtype="float64", engine=engine, device="cpu")
        for engine in ("numpy", "torch")
    )
    np.testing.assert_allclose(theirs.predict(data), ours.predict(data), atol=1e-6)
    ours.fit(data)
    theirs.fit(data)
    if not any(isinstance(layer, DropoutLayer) for layer in ours.layers):  # each engine draws its own units to drop
        np.testing.assert_allclose(theirs.predict(data), ours.predict(data), atol=1e-6)
    theirs.save(tmp_path / "network.safetensors")
    there_and_back = NeuralNetwork.load(tmp_path / "network.safetensors")
    np.testing.assert_allclose(there_and_back.predict(data), theirs.predict(data), atol=1e-6)


@of_every_network
def test_settings_overrule(name: str) -> None:
    build, _ = NETWORKS[name]
    settings: dict[str, Any] = {"loss": "mean_absolute_error", "metric": "mae", "optimizer": "nadam", "epochs": 7}
    network = build(**settings, batch_size=9, l2=0.1, seed=5, dtype="float64")
    assert LOSSES.name_of(network.loss) == "mean_absolute_error"
    assert (type(network.optimizer).__name__, network.learning_rate) == ("NAdam", 0.002)
    assert (network.epochs, network.batch_size, network.seed, network.stack.dtype.name) == (7, 9, 5, "float64")


@of_every_network
def test_the_seed_decides_the_first_weights(name: str) -> None:
    build, _ = NETWORKS[name]
    first = [bits_of(build(seed=seed)) for seed in (1, 1, 2)]
    assert first[0] == first[1]
    assert (first[0] == first[2]) == (name == "SimpleNeuralNet")


@pytest.mark.parametrize(
    ("loss", "last"),
    [
        ("mean_squared_error", "Dense"),
        ("categorical_cross_entropy", "Softmax"),
        ("categorical_focal", "Softmax"),
        ("binary_cross_entropy", "Sigmoid"),
        ("hinge", "Dense"),
    ],
)
def test_the_loss_decides_what_comes_behind_the_last_layer(loss: str, last: str) -> None:
    assert names(zoo.MLP([4, 8, 3], loss=loss)) == f"Dense ReLU Dense {last}".replace("Dense Dense", "Dense")


def test_the_regression_lab_becomes_one_of_two_classes() -> None:
    data = class_rows(100, 3, 2)
    network = zoo.RegressionNN(3, loss="binary_cross_entropy", metric="accuracy", seed=0).fit(data)
    assert network.score(data) > 0.9


def test_images_need_no_flattening() -> None:
    images = np.random.default_rng(0).random((20, 28, 28), dtype=np.float32)
    for network in (zoo.SimpleMLP(seed=0, epochs=1), zoo.DeepNeuralNet(784, [8, 8, 8], 10, seed=0, epochs=1)):
        network.fit(images, np.arange(20) % 10)
        np.testing.assert_array_equal(network.predict(images), network.predict(images.reshape(20, 784)))


def test_words_may_stay_sparse() -> None:
    words = scipy.sparse.random(50, 200, density=0.05, format="csr", random_state=0, dtype=np.float32)
    labels = np.arange(50) % 2
    sparse, dense = (
        zoo.IMDBNet(4, max_words=200, epochs=3, seed=0).fit(X, labels).predict(X) for X in (words, words.toarray())
    )
    np.testing.assert_allclose(sparse, dense, atol=1e-5)


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda: zoo.MLP([5]), r"layer sizes are \(5,\)"),
        (lambda: zoo.MLP(5), "5 is no list of layer sizes"),
        (lambda: zoo.MLP([5, 0, 1]), r"layer sizes are \(5, 0, 1\)"),
        (lambda: zoo.MLP([5, 2.5, 1]), r"layer sizes are \(5, 2.5, 1\)"),
        (lambda: zoo.MLP("ab"), "layer sizes are"),
        (lambda: zoo.SimpleNN(0, 3, 1), r"layer sizes are \(0, 3, 1\)"),
        (lambda: zoo.DeepNeuralNet(784, 80, 10), "80 is no list of layer sizes"),
        (lambda: zoo.DropoutMLP([5, 3, 1], 1.0), "rate of DropoutLayer is 1.0"),
        (lambda: zoo.DropoutMLP([5, 3, 1], -0.5), "rate of DropoutLayer is -0.5"),
        (lambda: zoo.XNORNet(-1), "hidden layers are -1; give whole numbers of units >= 1"),
        (lambda: zoo.SimpleMLP(hidden=(64, 0)), r"hidden layers are \(64, 0\); give whole numbers of units >= 1"),
        (lambda: zoo.HousingNet(13, hidden="big"), "hidden layers are 'big'; give whole numbers of units >= 1"),
        (lambda: zoo.MLP([5, 3, 1], activation=7), "7 is no activation"),
        (lambda: zoo.HousingNet(None), r"layer sizes are \(None, 64, 32, 1\)"),
        (lambda: zoo.ShallowNeuralNet(3, 3, 1, activation="sigmod"), "Did you mean 'sigmoid'"),
        (lambda: zoo.SimpleNeuralNet(np.ones((2, 2)), [1, 2, 3]), "W has 2 columns and b 3 numbers"),
        (lambda: zoo.SimpleNeuralNet(np.ones((2, 2, 2)), 1), r"W has the shape \(2, 2, 2\)"),
        (lambda: zoo.SimpleNeuralNet([], 1), r"W has the shape \(0, 1\)"),
        (lambda: zoo.SimpleNeuralNet([1.0, np.nan], 1), "W must be an array of finite numbers"),
        (lambda: zoo.SimpleNeuralNet([1.0, 2.0], "one"), "b must be an array of finite numbers"),
    ],
    ids=[
        "one size", "a number", "no unit", "half a unit", "text", "no inputs", "one number as layers", "all out",
        "negative rate", "minus one unit", "no hidden unit", "hidden words", "a number as activation",
        "no number", "no such activation", "too many biases", "three dimensions",
        "no weights", "not finite", "a word",
    ],
)  # fmt: skip
def test_mistakes_are_told_in_one_sentence(mistake: Callable[[], Any], words: str) -> None:
    with pytest.raises(ChainruleError, match=words) as caught:
        mistake()
    assert "\n" not in str(caught.value)
