"""The textbook page is short, needs nothing but NumPy, and takes the steps that the library takes."""

from __future__ import annotations

import ast
import inspect
import runpy
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from chainrule import activations, data, layers, losses, neuralnet, optimizer, textbook
from chainrule.data import Dataset, load_dataset
from chainrule.errors import DataError
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array

PAGE = Path(textbook.__file__)

XNOR = Dataset([[0, 0], [0, 1], [1, 0], [1, 1]], [1, 0, 0, 1])
CLASSES = ((12, "ReLUActivation"), (9, "SigmoidActivation"), (10, "SoftmaxActivation"))
# The data, the units and activations, the loss, and the settings of both networks.
CASES: dict[str, tuple[str, tuple[Any, ...], str, dict[str, Any]]] = {
    "xnor": ("xnor", ((4, "SigmoidActivation"), (1, "SigmoidActivation")), "BinaryCrossEntropy", {"momentum": 0.9}),
    "classes": ("digits", CLASSES, "CategoricalCrossEntropy", {"momentum": 0.5, "learning_rate": 0.2}),
    "classes without momentum": ("digits", CLASSES, "CategoricalCrossEntropy", {"batch_size": 100}),
    "numbers": ("regression", ((8, "SigmoidActivation"), (1, None)), "MeanSquaredError", {"momentum": 0.9}),
}


def data_of(name: str) -> tuple[Dataset, textbook.Dataset]:
    """The same rows for both."""
    ours = XNOR if name == "xnor" else load_dataset(name)
    if name == "regression":
        ours = ours.standardize()
    y = ours.one_hot() if name == "digits" else np.asarray(ours.y, float)[:, None]
    return ours, textbook.Dataset(np.asarray(ours.X, float), y)


def both(name: str, units: tuple[Any, ...], loss: str, **settings: Any) -> tuple[NeuralNetwork, textbook.NeuralNetwork]:
    """The same network in both, with the same first weights, which sees the rows in their order."""
    ours, _ = data_of(name)
    settings = {"epochs": 5, "batch_size": 16, "learning_rate": 0.1, **settings}
    metric = "accuracy" if ours.task != "regression" else None
    library = NeuralNetwork(
        **settings, optimizer=optimizer.SGD, loss=loss, metric=metric, dtype="float64", shuffle=False, seed=1
    )
    page = textbook.NeuralNetwork(**settings, loss=getattr(textbook, loss))
    shape: Any = (ours.n_features,)
    for n_units, activation in units:
        library.add(layers.DenseLayer(n_units, shape))
        page.add(textbook.DenseLayer(n_units, shape or ()))
        if activation is not None:
            library.add(getattr(activations, activation)())
            page.add(getattr(textbook, activation)())
        shape = None
    for ours_layer, page_layer in zip(library.layers, page.layers, strict=True):
        if isinstance(ours_layer, layers.DenseLayer):
            assert isinstance(page_layer, textbook.DenseLayer)
            page_layer.weights, page_layer.biases = ours_layer.weights.copy(), ours_layer.biases.copy()
    return library, page


def weights_of(network: NeuralNetwork | textbook.NeuralNetwork) -> list[Array]:
    return [
        getattr(layer, name) for layer in network.layers if hasattr(layer, "weights") for name in ("weights", "biases")
    ]


@pytest.mark.parametrize("case", CASES)
def test_each_step_is_the_library_s(case: str) -> None:
    """Forward, the derivative of the loss, backward with its update: equal after every mini-batch."""
    name, units, loss, settings = CASES[case]
    library, page = both(name, units, loss, **settings)
    rows = data_of(name)[1]
    for X, y in list(page.get_mini_batches(rows.X, rows.y, shuffle=False))[:10]:
        outputs = library.forward_propagation(X, training=True)
        np.testing.assert_allclose(page.forward_propagation(X), outputs, rtol=1e-9)
        assert page.loss().loss(y, outputs) == pytest.approx(library.loss.loss(y, outputs), rel=1e-12)
        error = library.loss.derivative(y, outputs)
        np.testing.assert_allclose(page.loss().derivative(y, outputs), error, rtol=1e-12)
        library.backward_propagation(error)
        page.backward_propagation(error)
        for mine, other in zip(weights_of(page), weights_of(library), strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("case", CASES)
def test_fit_ends_where_the_library_s_does(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, units, loss, settings = CASES[case]
    library, page = both(name, units, loss, **settings)
    ours, theirs = data_of(name)
    monkeypatch.setattr(textbook, "rng", InOrder())
    library.fit(ours)
    page.fit(theirs)
    np.testing.assert_allclose(page.history["loss"], library.history["loss"], rtol=1e-9)
    for mine, other in zip(weights_of(page), weights_of(library), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(page.predict(theirs), library.predict(ours), rtol=1e-6, atol=1e-9)
    if library.metrics:
        np.testing.assert_allclose(page.history["metric"], library.history["accuracy"])
        assert page.score(theirs) == pytest.approx(library.score(ours))


class InOrder:
    """Stands in for the page's random numbers, so that the rows come in their order."""

    def permutation(self, n_rows: int) -> Array:
        return np.arange(n_rows)


def of_this_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textbook, "rng", np.random.default_rng(0))


def page_network(*chain: textbook.Layer, **settings: Any) -> textbook.NeuralNetwork:
    network = textbook.NeuralNetwork(**settings)
    for layer in chain:
        network.add(layer)
    return network


def test_it_learns_xnor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    of_this_seed(monkeypatch)
    _, rows = data_of("xnor")
    network = page_network(
        textbook.DenseLayer(4, (2,)), textbook.SigmoidActivation(),
        textbook.DenseLayer(1), textbook.SigmoidActivation(),
        epochs=500, batch_size=4, learning_rate=0.5, momentum=0.9, verbose=True, loss=textbook.BinaryCrossEntropy,
    )  # fmt: skip
    assert network.fit(rows) is network
    np.testing.assert_allclose(network.predict(rows), rows.y, atol=0.05)
    assert network.score(rows) == 1
    assert [layer.parameters() for layer in network.layers] == [12, 0, 5, 0]
    assert [layer.output_shape() for layer in network.layers] == [(4,), (4,), (1,), (1,)]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 500
    assert lines[-1] == f"epoch 500: loss {network.history['loss'][-1]:.4f}, metric 1.0000"


def mnist_network(**settings: Any) -> textbook.NeuralNetwork:
    return page_network(
        textbook.DenseLayer(128, (784,)), textbook.ReLUActivation(), textbook.DenseLayer(64),
        textbook.ReLUActivation(), textbook.DenseLayer(10), textbook.SoftmaxActivation(),
        batch_size=64, learning_rate=0.1, loss=textbook.CategoricalCrossEntropy, **settings,
    )  # fmt: skip


def test_it_learns_images_of_the_size_of_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    of_this_seed(monkeypatch)
    digits = load_dataset("digits")
    images = np.zeros((len(digits), 28, 28))
    images[:, 2:26, 2:26] = np.kron(np.asarray(digits.X).reshape(-1, 8, 8), np.ones((3, 3)))
    X, y = images.reshape(-1, 784), digits.one_hot()
    network = mnist_network(epochs=10).fit(textbook.Dataset(X[:1500], y[:1500]))
    assert network.score(textbook.Dataset(X[1500:], y[1500:])) > 0.9


@pytest.mark.usefixtures("data_folder")
def test_it_learns_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    of_this_seed(monkeypatch)
    train, test = load_dataset("mnist").take(slice(10_000)), load_dataset("mnist", "test")
    network = mnist_network(epochs=4).fit(textbook.Dataset(train.X, train.one_hot()))
    assert network.score(textbook.Dataset(test.X, test.one_hot())) > 0.92


def test_without_a_network_connection_it_trains_on_digits(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(name: str, part: Literal["train", "test"] = "train") -> Dataset:
        if name == "mnist":
            raise DataError("mnist could not be downloaded.")
        return load_dataset(name, part)

    monkeypatch.setattr(data, "load_dataset", load)
    runpy.run_path(str(PAGE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[4:6] == [
        "mnist could not be downloaded.",
        "Training on the digits of scikit-learn, 8 x 8 pixels, instead of MNIST:",
    ]
    assert lines[-2].startswith("epoch 10: loss ")
    assert float(lines[-1]) > 0.9


def test_it_is_one_page_of_plain_numpy() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 200
    assert max(map(len, text.splitlines())) <= 120
    body = ast.parse(text).body
    imported = {alias.name for node in body if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in body if isinstance(node, ast.ImportFrom)}
    assert imported == {"abc", "collections", "collections.abc", "dataclasses", "typing", "numpy"}


def test_its_names_are_the_library_s() -> None:
    """A student who has read the page finds its classes, methods and arguments again."""
    homes = (layers, activations, losses, optimizer, neuralnet)
    for name, cls in vars(textbook).items():
        if isinstance(cls, type) and cls.__module__ == textbook.__name__ and name != "Dataset":
            theirs = next(getattr(home, name) for home in homes if hasattr(home, name))
            arguments = set(inspect.signature(theirs).parameters) | set(dir(theirs)) | {"history", "layers"}
            assert {part for part in vars(cls) if not part.startswith("_")} <= arguments, name
