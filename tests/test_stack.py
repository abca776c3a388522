"""One flat vector, of which the layers hold views, whatever happens to the network."""

from __future__ import annotations

import copy
import gc
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from scipy import sparse

from chainrule.activations import (
    LeakyReLUActivation,
    PReLUActivation,
    ReLUActivation,
    SigmoidActivation,
    SoftmaxActivation,
    TanhActivation,
)
from chainrule.engines.compiled_prediction import ROWS_PER_CHUNK, predict
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    InputScalingLayer,
    Layer,
    LayerNormalizationLayer,
    StandardizationLayer,
)
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, MeanSquaredError
from chainrule.neuralnet import NeuralNetwork
from chainrule.stack import LayerStack
from support.networks import bits_of, class_rows, network_of

DATA = class_rows(96, 6)


def full_network(**settings: Any) -> NeuralNetwork:
    """One of everything that has parameters, state or randomness."""
    return network_of(
        StandardizationLayer().adapt(DATA.X),
        InputScalingLayer(),
        DenseLayer(8),
        BatchNormalizationLayer(),
        PReLUActivation(),
        DropoutLayer(0.2),
        DenseLayer(7),
        LayerNormalizationLayer(),
        TanhActivation(),
        GaussianNoiseLayer(0.05),
        DenseLayer(3),
        SoftmaxActivation(),
        **{"loss": CategoricalCrossEntropy, "epochs": 2, "batch_size": 10, "optimizer": "adam", **settings},
    )


def assert_one_vector(stack: LayerStack) -> None:
    """Every parameter of every layer lies in the vector, in its block, and nowhere else."""
    views = [(i, name, view) for i, layer in enumerate(stack) for name, view in layer.parameter_views.items()]
    assert sum(view.size for _, _, view in views) == stack.vector.size == stack.parameters()
    assert len(views) == len(stack.vector.blocks)
    for block in stack.vector.blocks:
        layer = stack.layers[block.layer]
        assert np.shares_memory(layer.parameter_views[block.name], stack.vector.values)
        assert np.shares_memory(layer.gradient_views[block.name], stack.vector.gradients)
        layer.parameter_views[block.name].flat[0] = 123
        assert stack.vector.values[block.start] == 123
    penalized = [block.penalized for block in stack.vector.blocks]
    assert penalized == sorted(penalized, reverse=True)
    assert sum(block.size for block in stack.vector.blocks if block.penalized) == stack.vector.n_penalized


def through_joblib(network: NeuralNetwork, folder: Path, **how: Any) -> NeuralNetwork:
    joblib.dump(network, folder / "network.joblib")
    restored: NeuralNetwork = joblib.load(folder / "network.joblib", **how)
    return restored


def through_file(network: NeuralNetwork, folder: Path) -> NeuralNetwork:
    network.save(folder / "network.safetensors")
    return NeuralNetwork.load(folder / "network.safetensors")


COPIES: dict[str, Callable[[NeuralNetwork, Path], NeuralNetwork]] = {
    "itself": lambda network, _: network,
    "pickle": lambda network, _: pickle.loads(pickle.dumps(network)),
    "deepcopy": lambda network, _: copy.deepcopy(network),
    "joblib": through_joblib,
    "joblib, mapped and read-only": lambda network, folder: through_joblib(network, folder, mmap_mode="r"),
    "file": through_file,
}


@pytest.mark.parametrize("name", COPIES)
def test_layers_hold_views_of_the_vector_after_every_way_to_copy(name: str, tmp_path: Path) -> None:
    network = full_network()
    network.fit(DATA)
    copied = COPIES[name](network, tmp_path)
    assert bits_of(copied) == bits_of(network)
    np.testing.assert_array_equal(copied.predict(DATA), network.predict(DATA))
    before = bits_of(network)
    copied.fit(DATA)  # it can go on, with every array its own
    assert name == "itself" or bits_of(network) == before
    assert_one_vector(copied.stack)


def test_a_copy_in_the_middle_of_training_goes_on_like_the_original() -> None:
    network = full_network()
    network.fit(DATA)
    twin = pickle.loads(pickle.dumps(network))
    assert bits_of(twin.fit(DATA)) == bits_of(network.fit(DATA))


def test_buffers_and_the_last_batch_are_not_copied() -> None:
    network = full_network()
    small = len(pickle.dumps(network))
    network.fit(DATA)
    optimizer_state = sum(array.nbytes for array in network.optimizer.state.values())
    assert len(pickle.dumps(network)) < small + optimizer_state + 4000
    assert copy.deepcopy(network).layers[2].input is None


def test_adding_a_layer_keeps_what_the_others_have() -> None:
    first = DenseLayer(4, (3,))
    network = network_of(first)
    first.weights = np.arange(12).reshape(3, 4)
    network.add(DenseLayer(2))
    assert first.weights.tolist() == np.arange(12).reshape(3, 4).tolist()
    assert_one_vector(network.stack)


def test_without_an_input_shape_the_first_fit_draws_the_same_weights() -> None:
    told, waiting = network_of(DenseLayer(4, (6,)), DenseLayer(3)), network_of(DenseLayer(4), DenseLayer(3))
    with pytest.raises(NotBuiltError, match="input shape"):
        waiting.stack.output_shape()
    waiting.stack.build((6,))
    assert bits_of(told) == bits_of(waiting)


def test_copies_in_another_precision_share_nothing() -> None:
    network = full_network()
    twin = network.stack.astype(np.float64)
    np.testing.assert_array_equal(twin.vector.values, network.stack.vector.values)
    assert twin.vector.values.dtype == np.float64
    assert predict(twin, DATA.X).dtype == np.float64
    assert_one_vector(twin)


def test_backward_ends_where_nobody_needs_the_error() -> None:
    network = network_of(DropoutLayer(0.1), DenseLayer(3, (6,)), SigmoidActivation(), DenseLayer(2))
    network.layers[0].set_input_shape((6,))
    network.stack.build((6,))
    outputs = network.stack.forward(DATA.X, training=True)
    assert network.stack.backward(np.ones_like(outputs)) is None
    input_error = network.stack.backward(np.ones_like(outputs), to_input=True)
    assert input_error is not None
    assert input_error.shape == DATA.X.shape


def test_the_head_is_fused_only_where_loss_and_activation_belong_together() -> None:
    sigmoid, softmax = network_of(DenseLayer(1, (2,)), SigmoidActivation()), network_of(SoftmaxActivation())
    assert sigmoid.stack.split_head(BinaryCrossEntropy()).n_body_layers == 1
    assert sigmoid.stack.split_head(MeanSquaredError()).n_body_layers == 2
    assert softmax.stack.split_head(CategoricalCrossEntropy()).n_body_layers == 0
    assert softmax.stack.split_head(BinaryCrossEntropy()).n_body_layers == 1


# Inference ----------------------------------------------------------------------------------------


def snapshot(network: NeuralNetwork) -> bytes:
    """Everything a layer holds, buffers and the last batch too."""
    return pickle.dumps(
        [
            {name: value for name, value in layer.__dict__.items() if name not in ("rng", "noise", "_traced")}
            for layer in network.layers
        ]
        + [(layer.rng.bit_generator.state, vars(layer.noise)) for layer in network.layers]
    )


def test_inference_writes_nothing() -> None:
    network = full_network(metric="accuracy")
    network.fit(DATA)
    before = snapshot(network)
    network.predict(DATA)
    network.evaluate(DATA)
    network.score(DATA.X, DATA.y)
    network.forward_propagation(DATA.X)
    assert snapshot(network) == before


def test_sixteen_threads_predict_the_same_bits_as_one() -> None:
    network = full_network().fit(DATA)
    X = np.random.default_rng(1).normal(size=(1500, 6)).astype(np.float32)
    parts = [X[start:] for start in range(64)]
    alone = [network.predict(part).tobytes() for part in parts]
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(lambda part: network.predict(part).tobytes(), parts)) == alone


@pytest.mark.parametrize("as_sparse", [False, True])
def test_chunks_and_the_order_of_rows_do_not_matter(as_sparse: bool) -> None:
    network = network_of(DenseLayer(5, (6,)), ReLUActivation(), DenseLayer(2)) if as_sparse else full_network()
    X = np.random.default_rng(1).normal(size=(2 * ROWS_PER_CHUNK + 77, 6)).astype(np.float32)
    network.fit(X[:50], np.arange(50) % 2) if as_sparse else network.fit(DATA)
    given: Any = sparse.csr_array(X) if as_sparse else X
    whole = network.predict(given)
    np.testing.assert_allclose(whole, network.stack.forward(given), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.predict(given[::-1])[::-1], whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(network.predict(given[5:6])[0], whole[5], rtol=1e-5, atol=1e-6)


def test_no_rows_give_no_outputs() -> None:
    assert full_network().predict(np.empty((0, 6))).shape == (0, 3)


def test_images_become_rows_and_can_be_kept_as_images() -> None:
    images = np.random.default_rng(0).normal(size=(4, 2, 3))
    flat = network_of(DenseLayer(2, (6,)))
    kept = network_of(FlattenLayer(), DenseLayer(2))
    kept.stack.build((2, 3))
    kept.stack.vector.values[...] = flat.stack.vector.values
    np.testing.assert_array_equal(flat.predict(images), kept.predict(images))


# Errors -------------------------------------------------------------------------------------------

used = DenseLayer(2, (3,))
MISTAKES: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "class instead of layer": (lambda: network_of(DenseLayer), InvalidInputError, "Did you forget to call it"),  # type: ignore[arg-type]
    "the same layer twice": (lambda: network_of(used, used), InvalidInputError, "in the network already"),
    "shapes that do not fit": (lambda: network_of(DenseLayer(2, (3,)), DenseLayer(2, (5,))), InvalidInputError, "5"),
    "rows of another width": (lambda: network_of(DenseLayer(2, (3,))).predict(DATA.X), InvalidInputError, r"\(96, 6\)"),
    "one row alone": (lambda: network_of(DenseLayer(2, (6,))).predict(DATA.X[0]), InvalidInputError, r"give \[row\]"),
    "no layers": (lambda: network_of().predict(DATA.X), NotBuiltError, "no layers"),
    "not fitted": (lambda: network_of(DenseLayer(2)).predict(DATA.X), NotBuiltError, "not known yet"),
    "half precision": (lambda: LayerStack(dtype=np.float16), InvalidInputError, "float16"),
    "text that is no type": (lambda: LayerStack(dtype="float31"), InvalidInputError, "dtype is 'float31'"),
    "text that NumPy parses": (lambda: LayerStack(dtype=","), InvalidInputError, "dtype is ','"),
    "a number as a type": (lambda: LayerStack(dtype=10**400), InvalidInputError, "dtype is 1000"),
    "arrays of another network": (
        lambda: network_of(DenseLayer(2, (3,))).stack.write_arrays({"0.weights": np.zeros((3, 2))}),
        InvalidInputError,
        "0.biases",
    ),
    "arrays of another shape": (
        lambda: network_of(DenseLayer(1, (3,))).stack.write_arrays(
            {"0.weights": np.zeros((1, 3)), "0.biases": np.zeros(1)}
        ),
        InvalidInputError,
        r"'0.weights' has shape \(1, 3\)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_words(name: str) -> None:
    mistake, error, words = MISTAKES[name]
    with pytest.raises(error, match=words):
        mistake()


# Few rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "layers",
    [
        [DenseLayer(5, (4,))],
        [DenseLayer(5, (4,)), ReLUActivation(), DenseLayer(3), SoftmaxActivation()],
        [DenseLayer(40, (4,)), SigmoidActivation(), DenseLayer(2), TanhActivation()],
        [DenseLayer(5, (4,)), LeakyReLUActivation(0.3), DenseLayer(3)],
        [DenseLayer(5, (4,)), BatchNormalizationLayer(), ReLUActivation(), DenseLayer(3)],
        [StandardizationLayer().adapt(np.arange(12.0).reshape(3, 4)), DenseLayer(3)],
    ],
    ids=str,
)
def test_few_rows_are_predicted_as_among_many(layers: list[Layer], dtype: str) -> None:
    stack = LayerStack([copy.deepcopy(layer) for layer in layers], dtype=dtype, seed=0)
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(50, 4)) * (rng.random((50, 4)) < 0.6)).astype(dtype)
    many = predict(stack, rows)
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == "float32" else {"rtol": 1e-13, "atol": 1e-14}
    for n_rows in (1, 3):
        few = np.concatenate([predict(stack, rows[i : i + n_rows]) for i in range(0, 50, n_rows)])
        np.testing.assert_allclose(few, many, **tolerance)
    np.testing.assert_allclose(predict(stack, rows[:2], n_layers=1), predict(stack, rows, n_layers=1)[:2], **tolerance)


def test_a_prediction_of_few_rows_follows_changes_of_the_network() -> None:
    stack = LayerStack([DenseLayer(4, (3,)), LeakyReLUActivation(0.1), DenseLayer(2)], seed=0)
    row = np.array([[1.0, -2.0, 3.0]], np.float32)
    first = predict(stack, row)
    assert not np.shares_memory(predict(stack, row), first)
    leaky = stack.layers[1]
    assert isinstance(leaky, LeakyReLUActivation)
    leaky.negative_slope = 0.9
    np.testing.assert_allclose(predict(stack, row), stack.forward(row), rtol=1e-6)
    stack.layers[1] = ReLUActivation()
    stack.layers[1].set_input_shape((4,))
    np.testing.assert_allclose(predict(stack, row), stack.forward(row), rtol=1e-6)
    stack.add(SigmoidActivation())
    np.testing.assert_allclose(predict(stack, row), stack.forward(row), rtol=1e-6)


def test_without_layers_few_rows_come_back_as_a_copy() -> None:
    stack = LayerStack([DenseLayer(4, (3,))], seed=0)
    row = np.ones((1, 3), np.float32)
    assert not np.shares_memory(predict(stack, row, n_layers=0), row)
    np.testing.assert_array_equal(predict(stack, row, n_layers=0), row)


@pytest.mark.parametrize(
    "first",
    [
        DropoutLayer(0.2),
        FlattenLayer(),
        ReLUActivation(),
        GaussianNoiseLayer(0.0),
        StandardizationLayer(),
        StandardizationLayer().adapt([[0.0], [2.0]]),
    ],
    ids=lambda layer: layer.layer_name(),
)
def test_a_first_layer_without_parameters_computes_in_the_type_of_the_network(first: Layer) -> None:
    """Also where the next layer has its parameters before the first knows its shape, or where none has any."""
    x = 2.0**24 + 1  # not a number of float32
    for rest in ([DenseLayer(1, (1,))], []):
        network = network_of(copy.deepcopy(first), *rest, dtype="float64")
        network.stack.build((1,))
        assert [layer.dtype for layer in network.layers] == [np.float64] * (1 + len(rest))
        for layer in rest:
            layer.set_array("weights", [[1.0]])
        expected = x - 1 if first.state else x
        assert network.predict([[x]]).tolist() == [[expected]]
        assert network.predict(np.full((9, 1), x)).tolist() == [[expected]] * 9


def test_a_layer_whose_shape_comes_after_it_was_added_gets_its_parameters_in_the_vector() -> None:
    X, y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20.0)
    network, other = NeuralNetwork(epochs=1, seed=0), NeuralNetwork(epochs=1, seed=0)
    for each in (network, other):
        each.add(DenseLayer(1))
        with pytest.raises(NotBuiltError):
            each.predict(X)
    network.layers[0].set_input_shape((2,))
    first = network.predict(X)
    assert_one_vector(copy.deepcopy(network.stack))
    other.stack.build((2,))
    np.testing.assert_array_equal(first, other.predict(X))
    np.testing.assert_array_equal(network.fit(X, y).stack.vector.values, other.fit(X, y).stack.vector.values)
    assert_one_vector(network.stack)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_biases_that_batch_normalisation_cancels_have_a_gradient_of_exactly_zero(engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    settings: dict[str, Any] = {"engine": engine, "optimizer": "adam", "epochs": 3, "loss": CategoricalCrossEntropy}
    layers = [DenseLayer(8), BatchNormalizationLayer(), ReLUActivation(), DenseLayer(3), SoftmaxActivation()]
    network = network_of(*layers, **settings)
    network.stack.build((6,))
    first = network.stack.read_arrays()
    network.fit(DATA)
    learnt = network.stack.read_arrays()
    np.testing.assert_array_equal(learnt["0.biases"], first["0.biases"])
    for name in ("0.weights", "1.shift", "3.biases"):
        assert (learnt[name] != first[name]).all()
    alone = network_of(*map(copy.deepcopy, layers), **settings, batch_size=1)
    alone.stack.build((6,))
    first = alone.stack.read_arrays()
    alone.fit(DATA)
    assert (alone.stack.read_arrays()["0.biases"] != first["0.biases"]).all(), "a single row has no mean to cancel it"


def test_batch_normalisation_behind_a_dense_layer_does_not_make_steps_of_rounding() -> None:
    """In another order the rows of a batch give the same steps but for rounding, also with Adam."""
    predictions = []
    for rows in (np.arange(96), np.concatenate([start + np.arange(32)[::-1] for start in (0, 32, 64)])):
        network = network_of(
            DenseLayer(32), BatchNormalizationLayer(), TanhActivation(), DenseLayer(3), SoftmaxActivation(),
            optimizer="adam", loss=CategoricalCrossEntropy, epochs=20, batch_size=32, shuffle=False, learning_rate=0.01,
        )  # fmt: skip
        predictions.append(network.fit(DATA.take(rows)).predict(DATA))
    np.testing.assert_allclose(*predictions, atol=1e-5)


def test_what_a_thread_needs_to_predict_goes_with_it() -> None:
    from chainrule.engines.compiled_prediction import _CompiledPrediction

    stack = LayerStack([DenseLayer(4, (3,)), ReLUActivation()], seed=0)

    def work() -> None:
        predict(stack, np.ones((3, 3)))

    for _ in range(20):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    gc.collect()
    left = [one for one in gc.get_objects() if type(one) is _CompiledPrediction]
    assert not any(one.layers == stack.layers for one in left)
