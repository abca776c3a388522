"""A student's own layers, written as the lecture writes them, in a network of the library."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import Checkpoint, NeuralNetwork, check_gradients
from chainrule.activations import SigmoidActivation, TanhActivation
from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer, Layer, Sequential
from chainrule.optimizer import SGD
from support.networks import bits_of, network_of, regression_rows

DATA = regression_rows(60)


class MyDense(Layer):
    """The lecture's dense layer: its own arrays, and its own copies of the optimizer."""

    def __init__(self, n_units: int, input_shape: Any = None) -> None:
        self.n_units = n_units
        self._input_shape = input_shape
        self.input = None
        self.output = None
        self.weights: Any = None
        self.biases: Any = None

    def initialize(self, optimizer: Any) -> None:  # type: ignore[override]
        self.weights = np.random.rand(self.input_shape()[0], self.n_units) - 0.5  # noqa: NPY002
        self.biases = np.zeros((1, self.n_units))
        self.w_opt = copy.deepcopy(optimizer)
        self.b_opt = copy.deepcopy(optimizer)

    def parameters(self) -> Any:
        return np.prod(self.weights.shape) + np.prod(self.biases.shape)

    def forward_propagation(self, input: Any, training: bool = True) -> Any:
        self.input = input
        self.output = input @ self.weights + self.biases
        return self.output

    def backward_propagation(self, output_error: Any) -> Any:
        input_error = output_error @ self.weights.T
        self.weights = self.w_opt.update(self.weights, self.input.T @ output_error)
        self.biases = self.b_opt.update(self.biases, np.sum(output_error, axis=0, keepdims=True))
        return input_error

    def output_shape(self) -> Any:
        return (self.n_units,)


class OneOptimizer(MyDense):
    """It forgets to copy the optimizer."""

    def initialize(self, optimizer: Any) -> None:
        super().initialize(optimizer)
        self.w_opt = self.b_opt = optimizer


class OneInput(MyDense):
    """The first lecture's form, which knows of no training; the gradient of the biases has another shape."""

    def forward_propagation(self, input: Any) -> Any:  # type: ignore[override]
        return super().forward_propagation(input)

    def backward_propagation(self, output_error: Any) -> Any:
        input_error = np.dot(output_error, self.weights.T)
        self.b_opt.update(self.biases, output_error.sum(axis=0))
        self.w_opt.update(self.weights, np.dot(self.input.T, output_error))
        return input_error


class OneArray(Layer):
    """Weights and biases in one array, under another name, without a count of its own."""

    def __init__(self, n_units: int, input_shape: Any = None) -> None:
        self.n_units = n_units
        if input_shape is not None:
            self.set_input_shape(input_shape)

    def initialize(self, optimizer: Any) -> None:  # type: ignore[override]
        n_inputs = self.input_shape()[0]
        self.theta = np.vstack([np.random.rand(n_inputs, self.n_units) - 0.5, np.zeros((1, self.n_units))])  # noqa: NPY002
        self.optimizer = optimizer

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        self.extended = np.hstack([inputs, np.ones((len(inputs), 1))])
        return self.extended @ self.theta

    def backward_propagation(self, output_error: Any) -> Any:
        input_error = output_error @ self.theta[:-1].T
        self.theta = self.optimizer.update(self.theta, self.extended.T @ output_error)
        return input_error

    def output_shape(self) -> Any:
        return (self.n_units,)


OWN = (MyDense, OneOptimizer, OneInput, OneArray)

SETTINGS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "schedule": "cosine"},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.01, "clip_norm": 0.1},
    "lbfgs": {"optimizer": "lbfgs", "epochs": 10},
    "rprop": {"optimizer": "rprop", "epochs": 20},
}


def own_network(cls: type[Layer], **settings: Any) -> NeuralNetwork:
    return network_of(
        cls(6, (5,)),
        TanhActivation(),
        cls(1),
        **{"epochs": 8, "batch_size": 16, "dtype": "float64", **settings},  # type: ignore[call-arg]
    )


def twin_of(network: NeuralNetwork, **settings: Any) -> NeuralNetwork:
    """The same network of the library's layers, with the same weights."""
    twin = own_network(DenseLayer, **settings)
    for ours, own in zip(twin.layers[::2], network.layers[::2], strict=True):
        assert isinstance(ours, DenseLayer)
        parts = list(own.parameter_views.values())
        ours.weights, ours.biases = (parts[0][:-1], parts[0][-1]) if len(parts) == 1 else (parts[0], parts[1][0])
    return twin


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("cls", OWN)
def test_an_own_layer_trains_as_the_library_s_does(cls: type[Layer], name: str) -> None:
    network = own_network(cls, **SETTINGS[name])
    twin = twin_of(network, **SETTINGS[name])
    assert network.stack.parameters() == twin.stack.parameters() == 43
    for one in (network, twin):
        one.fit(DATA, validation=0.2)
    for quantity in ("loss", "validation_loss"):
        np.testing.assert_allclose(network.history[quantity], twin.history[quantity], rtol=1e-9)
    np.testing.assert_allclose(network.predict(DATA), twin.predict(DATA), rtol=1e-7)
    assert network.history["loss"][-1] < network.history["loss"][0]


def test_a_penalty_acts_on_weights_and_spares_biases() -> None:
    settings = {"l2": 0.3, "max_norm": 0.6, **SETTINGS["sgd"]}
    network = own_network(MyDense, **settings)
    twin = twin_of(network, **settings)
    for one in (network, twin):
        one.fit(DATA)
    np.testing.assert_allclose(network.history["penalty"], twin.history["penalty"], rtol=1e-9)
    np.testing.assert_allclose(network.predict(DATA), twin.predict(DATA), rtol=1e-7)


def test_the_script_of_the_lecture_with_own_layers_learns_xnor() -> None:
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [1, 0, 0, 1]
    network = network_of(
        OneOptimizer(6, (2,)), SigmoidActivation(), OneOptimizer(1), SigmoidActivation(),
        epochs=1000, batch_size=4, optimizer=SGD, learning_rate=0.5, momentum=0.9, loss="binary_cross_entropy",
        metric="accuracy",
    )  # fmt: skip
    assert network.fit(X, y).score(X, y) == 1
    np.testing.assert_allclose(network.predict(X)[:, 0], y, atol=0.02)


def test_an_output_layer_of_float64_in_a_network_of_float32() -> None:
    class Wide(MyDense):
        def forward_propagation(self, input: Any, training: bool = True) -> Any:
            return super().forward_propagation(np.asarray(input, np.float64))

    network = network_of(Wide(3, (5,)), TanhActivation(), Wide(3), epochs=2, loss="huber").fit(
        DATA.X, np.tile(DATA.y, (3, 1)).T
    )
    assert network.predict(DATA).dtype == np.float32


def test_weights_are_attributes_that_can_be_read_and_set() -> None:
    layer = MyDense(2, (3,))
    network = network_of(layer)
    assert network.layers[0] is layer
    assert isinstance(layer, MyDense)
    layer.weights, layer.biases = np.arange(6).reshape(3, 2), [5, 6]
    np.testing.assert_array_equal(network.predict([[1, 0, 0], [0, 0, 1]]), [[5, 7], [9, 11]])
    layer.weights[0, 0] = 10
    assert network.predict([[1, 0, 0]])[0, 0] == 15
    assert np.shares_memory(layer.weights, network.stack.vector.values)
    with pytest.raises(InvalidInputError, match=r"weights of MyDense has shape \(3, 2\).* shape \(2, 2\)"):
        layer.weights = np.zeros((2, 2))


def test_weights_drawn_before_the_layer_is_added_are_kept() -> None:
    layer = MyDense(2, (3,))
    layer.initialize(SGD(0.1))
    weights = layer.weights.copy()
    network = network_of(layer)
    np.testing.assert_array_equal(layer.weights, weights.astype(np.float32))
    network.reset()
    assert not np.array_equal(layer.weights, weights.astype(np.float32))


def test_a_layer_alone_is_what_the_student_wrote() -> None:
    layer = MyDense(2, (3,))
    layer.initialize(SGD(learning_rate=0.5))
    before, X, error = layer.weights.copy(), np.ones((4, 3)), np.ones((4, 2))
    layer.forward_propagation(X)
    layer.backward_propagation(error)
    np.testing.assert_allclose(layer.weights, before - 0.5 * X.T @ error)


def test_the_seed_decides_the_first_weights_and_numpys_own_numbers_are_left_alone() -> None:
    np.random.seed(7)  # noqa: NPY002
    expected = np.random.rand()  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    one, two, other = (own_network(MyDense, seed=seed) for seed in (3, 3, 4))
    assert np.random.rand() == expected  # noqa: NPY002
    first = one.stack.vector.values.copy()
    np.testing.assert_array_equal(first, two.stack.vector.values)
    assert not np.array_equal(first, other.stack.vector.values)
    one.fit(DATA).reset()
    np.testing.assert_array_equal(first, one.stack.vector.values)


def test_the_input_shape_may_come_with_the_data() -> None:
    network = network_of(MyDense(4), TanhActivation(), MyDense(1), epochs=1).fit(DATA)
    assert network.layers[0].input_shape() == (5,)
    assert network.stack.parameters() == 29


@pytest.mark.parametrize("cls", OWN)
def test_copies_and_pickles_train_by_themselves(cls: type[Layer], monkeypatch: pytest.MonkeyPatch) -> None:
    network = own_network(cls, **SETTINGS["sgd"]).fit(DATA)
    bits = bits_of(network)
    monkeypatch.setitem(sys.modules, cls.__module__, sys.modules[__name__])  # where pickle looks for the class
    copies = [copy.deepcopy(network), pickle.loads(pickle.dumps(network))]
    for twin in copies:
        assert bits_of(twin) == bits
        twin.fit(DATA)
        assert bits_of(twin) != bits
        assert bits_of(network) == bits
    assert bits_of(network.fit(DATA)) == bits_of(copies[0]) == bits_of(copies[1])


def test_files_hold_own_layers(tmp_path: Path) -> None:
    network = own_network(MyDense, **SETTINGS["adam"]).fit(DATA)
    network.save(tmp_path / "own")
    again = NeuralNetwork.load(tmp_path / "own", custom_objects={"MyDense": MyDense})
    np.testing.assert_array_equal(again.predict(DATA), network.predict(DATA))
    assert isinstance(again.layers[0], MyDense)


def test_a_run_with_own_layers_resumes_to_the_same_bits(tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_batch_end(self, run: TrainingRun) -> None:
            if run.epoch == 3 and run.batch == 2:
                run.interrupt("enough")

    whole = own_network(MyDense, **SETTINGS["adam"]).fit(DATA)
    own_network(MyDense, **SETTINGS["adam"]).fit(DATA, callbacks=[Checkpoint(tmp_path / "c"), Interrupt()])
    resumed = NeuralNetwork.resume(tmp_path / "c", DATA, custom_objects={"MyDense": MyDense})
    assert bits_of(resumed) == bits_of(whole)


@pytest.mark.parametrize("cls", OWN)
def test_gradients_of_own_layers_are_checked(cls: type[Layer]) -> None:
    assert check_gradients(cls(3, (4,)))  # type: ignore[call-arg]
    assert check_gradients(own_network(cls), DATA)


def test_a_wrong_gradient_is_found() -> None:
    class Wrong(MyDense):
        def backward_propagation(self, output_error: Any) -> Any:
            self.biases = self.b_opt.update(self.biases, output_error.mean(axis=0))
            self.weights = self.w_opt.update(self.weights, self.input.T @ output_error)
            return output_error @ self.weights.T

    check = check_gradients(own_network(Wrong), DATA)
    assert not check
    assert "biases" in check.worst.name


# What a student gets wrong is said ------------------------------------------------------------------------------


class Counting(MyDense):
    def parameters(self) -> int:
        return self.n_units


class InTheConstructor(Layer):
    """It updates itself, and a network would never ask it to."""

    def __init__(self, n_units: int) -> None:
        self.weights = np.ones((5, n_units))

    def parameters(self) -> int:
        return self.weights.size

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        self.input = inputs
        return inputs @ self.weights

    def backward_propagation(self, output_error: Any) -> Any:
        self.weights -= 0.1 * self.input.T @ output_error
        return output_error @ self.weights.T


class Impatient(MyDense):
    def backward_propagation(self, output_error: Any) -> Any:
        self.weights = self.weights - self.w_opt.learning_rate * self.input.T @ output_error
        return output_error @ self.weights.T


class Forgetting(MyDense):
    def backward_propagation(self, output_error: Any) -> Any:
        self.weights_error = self.input.T @ output_error
        return output_error @ self.weights.T


class Copying(MyDense):
    def backward_propagation(self, output_error: Any) -> Any:
        self.weights = self.w_opt.update(self.weights * 1, self.input.T @ output_error)
        return output_error @ self.weights.T


class Transposing(MyDense):
    def backward_propagation(self, output_error: Any) -> Any:
        self.weights = self.w_opt.update(self.weights, output_error)
        return output_error @ self.weights.T


class Silent(MyDense):
    def backward_propagation(self, output_error: Any) -> Any:
        super().backward_propagation(output_error)


class Narrow(MyDense):
    def output_shape(self) -> Any:
        return (self.n_units + 1,)


MISTAKES: dict[type[Any], str] = {
    Counting: r"Counting\.parameters\(\) returns 6, and the network finds 36 numbers to train in it \(weights \(5",
    InTheConstructor: r"InTheConstructor\.parameters\(\) returns 30, and the network finds 0 numbers.*initialize\(self",
    Impatient: "The optimizer of a layer in a network has no 'learning_rate', because the network makes the step",
    Forgetting: r"Forgetting\.backward_propagation does not update weights, biases; update each with the optimizer",
    Copying: "updates an array that its initialize has not assigned",
    Transposing: r"its weights of shape \(5, 6\) with a gradient of shape \(16, 6\)",
    Silent: r"Silent\.backward_propagation returns None",
    Narrow: r"returns an array of shape \(16, 6\).*it must be \(16, 7\)",
}


@pytest.mark.parametrize("cls", MISTAKES)
def test_mistakes_are_told_in_one_sentence(cls: type[Any]) -> None:
    with pytest.raises((InvalidInputError, AttributeError), match=MISTAKES[cls]):
        network_of(MyDense(5, (5,)), cls(6), DenseLayer(1), batch_size=16, epochs=1).fit(DATA)


def test_the_other_engine_says_that_it_cannot(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="MyDense"):
        own_network(MyDense, engine="torch").fit(DATA)


# The library's layers, by themselves ----------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_dense_layer_updates_itself_with_copies_of_its_optimizer(momentum: float) -> None:
    layer, optimizer = DenseLayer(2, (3,)), SGD(learning_rate=0.1, momentum=momentum)
    layer.dtype = np.dtype(np.float64)
    layer.initialize(optimizer)
    rng = np.random.default_rng(0)
    weights, biases, retained = layer.weights.copy(), layer.biases.copy(), [np.zeros((3, 2)), np.zeros(2)]
    for _ in range(3):
        X, error = rng.normal(size=(4, 3)), rng.normal(size=(4, 2))
        layer.forward_propagation(X, training=True)
        np.testing.assert_allclose(layer.backward_propagation(error), error @ weights.T, err_msg="by the old weights")
        retained = [momentum * r + g for r, g in zip(retained, (X.T @ error, error.sum(axis=0)), strict=True)]
        weights, biases = weights - 0.1 * retained[0], biases - 0.1 * retained[1]
        np.testing.assert_allclose(layer.weights, weights)
        np.testing.assert_allclose(layer.biases, biases)
    assert optimizer.retained_gradient is None


def test_in_a_network_the_network_s_optimizer_is_the_only_one() -> None:
    layer = DenseLayer(1, (5,))
    layer.initialize(SGD(learning_rate=0.1))
    network = network_of(layer, epochs=1, batch_size=60, learning_rate=0.2)
    before = layer.weights.copy()
    network.fit(DATA)
    np.testing.assert_allclose(layer.weights, before - 0.2 * layer.gradient_views["weights"], rtol=1e-5)
    with pytest.raises(InvalidInputError, match="belongs to a network, whose optimizer updates it"):
        layer.initialize(SGD(learning_rate=0.1))


@pytest.mark.parametrize("given", [SGD, 0.1, np.random.default_rng(0)])
def test_what_is_no_optimizer_is_refused(given: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"initialize takes an optimizer, such as SGD\(learning_rate=0.1\)"):
        DenseLayer(1, (2,)).initialize(given)


def test_a_container_takes_it_like_other_layers() -> None:
    model = NeuralNetwork(epochs=30, optimizer="adam", learning_rate=0.02, seed=0, dtype="float64")
    for layer in (Sequential([MyDense(8), TanhActivation()]), DenseLayer(1)):
        model.add(layer)
    model.fit(DATA)
    assert {"0.0.weights", "0.0.biases"} < model.stack.read_arrays().keys()
    assert check_gradients(model, DATA)
    assert model.history["train_loss"][-1] < 0.7 * model.history["train_loss"][0]
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert bits_of(twin) == bits_of(model)
        np.testing.assert_array_equal(twin.predict(DATA.X), model.predict(DATA.X))
