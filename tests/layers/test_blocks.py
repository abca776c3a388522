"""Layers that consist of layers, and embeddings: compiled, kept in files, and checked by gradients."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from chainrule.activations import SigmoidActivation, TanhActivation
from chainrule.data.batches import ArrayBatches
from chainrule.data.dataset import Dataset
from chainrule.engines import TrainingPlan
from chainrule.engines.numpy_engine import NumpySession
from chainrule.errors import InvalidInputError
from chainrule.files.checkpoint import Checkpoint
from chainrule.inspection import check_gradients
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    FlattenLayer,
    Layer,
    LayerNormalizationLayer,
    Parallel,
    ParametricActivationLayer,
    PeriodicEmbeddingLayer,
    PiecewiseLinearEncodingLayer,
    QuantileLayer,
    RepeatLayer,
    Residual,
    Sequential,
    StandardizationLayer,
)
from chainrule.losses import MeanSquaredError
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import SGD, Adam
from chainrule.penalties import L2
from chainrule.stack import LayerStack
from support.networks import bits_of
from support.trees import TREE_X, TREE_Y, tree_layers

X, Y = TREE_X, TREE_Y


def network(**settings: Any) -> NeuralNetwork:
    made = NeuralNetwork(
        **{"epochs": 3, "batch_size": 16, "seed": 1, "optimizer": "adam", "dtype": "float64", **settings}
    )
    for layer in tree_layers():
        made.add(layer)
    return made


def test_compiled_steps_are_those_of_the_layers() -> None:
    batches = ArrayBatches(X, Y, None, batch_size=16, seed=0)
    values = []
    for by_layers in (False, True):
        stack = LayerStack(dtype="float64", seed=1)
        for layer in tree_layers():
            stack.add(layer)
        stack.build((6,))
        session = NumpySession(stack, TrainingPlan(MeanSquaredError(), Adam(0.01), L2(1e-3)), by_layers=by_layers)
        for epoch in range(3):
            session.train_batches(batches, epoch, 0, np.full(batches.n_batches, 0.01), None)
        assert (session._compiled is None) is by_layers
        values.append([stack.vector.values.copy(), *stack.layers[1].state.values(), session.evaluate(X, Y, None)[1]])
    for mine, other in zip(*values, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-10)


class Halved(Layer):
    """A layer without operations, which is computed by its own code."""

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        self.input = self.output = inputs
        return inputs / 2

    def backward_propagation(self, output_error: Any) -> Any:
        return output_error / 2


@pytest.mark.parametrize(
    "layers",
    [
        [Sequential([DenseLayer(5)]), BatchNormalizationLayer()],
        [Sequential([DenseLayer(5)]), Sequential([BatchNormalizationLayer()])],
        [Sequential([DenseLayer(5), FlattenLayer()]), BatchNormalizationLayer()],
        [Residual([DenseLayer(6), BatchNormalizationLayer()])],
        [Sequential([Halved(), DenseLayer(5)]), BatchNormalizationLayer()],
    ],
    ids=["one after another", "nested", "flattened", "residual", "user-defined"],
)
@pytest.mark.parametrize("by_layers", [False, True])
def test_offsets_in_front_of_batch_normalization_stay_0(layers: list[Layer], by_layers: bool) -> None:
    batches = ArrayBatches(X, Y, None, batch_size=16, seed=0)
    stack = LayerStack([*copy.deepcopy(layers), DenseLayer(1)], dtype="float64", seed=1)
    stack.build((6,))
    session = NumpySession(stack, TrainingPlan(MeanSquaredError(), Adam(0.01)), by_layers=by_layers)
    session.train_batches(batches, 0, 0, np.full(batches.n_batches, 0.01), None)
    (dense,) = (layer for layer in stack.layers[0].walk() if isinstance(layer, DenseLayer))
    assert dense.weights.any()
    assert not dense.biases.any()


def test_offsets_that_a_residual_adds_elsewhere_are_trained() -> None:
    for first in (DenseLayer(6), Sequential([Halved(), DenseLayer(6)])):
        tail = [Residual([BatchNormalizationLayer(), Halved()]), DenseLayer(1)]
        stack = LayerStack([first, *tail], dtype="float64", seed=1)
        stack.build((6,))
        session = NumpySession(stack, TrainingPlan(MeanSquaredError(), Adam(0.01)), by_layers=True)
        session.train_batches(ArrayBatches(X, Y, None, batch_size=16, seed=0), 0, 0, np.full(1, 0.01), None)
        (dense,) = (layer for layer in first.walk() if isinstance(layer, DenseLayer))
        assert dense.biases.all()


def test_a_layer_alone_returns_the_gradient_before_its_update() -> None:
    gradients = []
    for optimizer in (None, SGD(10.0)):
        layer = ParametricActivationLayer(TanhActivation())
        layer.set_input_shape((2,))
        layer.initialize(optimizer)
        layer.forward_propagation([[0.5, -1.0]], training=True)
        gradients.append(layer.backward_propagation(np.ones((1, 2))))
    np.testing.assert_array_equal(*gradients)


def test_a_sequence_gives_the_numbers_of_the_last_layer_that_changes_them() -> None:
    labels = (Y > 0).astype(int).ravel()
    for tail in ([DenseLayer(1), Sequential([FlattenLayer()])], [Sequential([DenseLayer(1), FlattenLayer()])]):
        model = NeuralNetwork(epochs=1, loss="binary_cross_entropy")
        for layer in tail:
            model.add(layer)
        with pytest.raises(InvalidInputError, match="gives any number"):
            model.fit(X, labels)
    model = NeuralNetwork(epochs=1, loss="binary_cross_entropy")
    model.add(Sequential([DenseLayer(1), SigmoidActivation(), FlattenLayer()]))
    assert ((model.fit(X, labels).predict(X) > 0) & (model.predict(X) < 1)).all()


def test_gradients_are_right_and_named_by_their_paths() -> None:
    checked = check_gradients(network().fit(Dataset(X, Y)), Dataset(X, Y))
    assert checked, str(checked)
    assert "layer 1 Parallel.1.1.weights" in [part.name for part in checked.parts]


def test_copies_pickles_and_files_give_the_same_network(tmp_path: Path) -> None:
    fitted = network().fit(Dataset(X, Y))
    path = tmp_path / "tree.safetensors"
    fitted.save(path)
    expected = fitted.predict(X)
    assert not any(inner.is_bound for layer in fitted.layers for inner in copy.deepcopy(layer).walk())
    for twin in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted)), NeuralNetwork.load(path)):
        np.testing.assert_array_equal(twin.predict(X), expected)
        assert {name for name in twin.stack.read_arrays() if name.startswith("1.6.0")} == {
            "1.6.0.weights",
            "1.6.0.biases",
        }
    np.testing.assert_array_equal(
        copy.deepcopy(fitted).fit(Dataset(X, Y)).predict(X), fitted.fit(Dataset(X, Y)).predict(X)
    )


def test_few_rows_are_predicted_as_among_many() -> None:
    fitted = network().fit(Dataset(X, Y))
    np.testing.assert_allclose(fitted.predict(X[:3]), fitted.predict(X)[:3], rtol=1e-12)


def test_codes_that_name_no_category_are_refused() -> None:
    fitted = network().fit(Dataset(X, Y))
    for code in (5.0, -1.0, 0.5):
        rows = X.copy()
        rows[7, 1] = code
        message = rf"the code {code:g} in column 2 .*; give whole numbers from 0 to 4"
        with pytest.raises(InvalidInputError, match=message):
            fitted.predict(rows)
        with pytest.raises(InvalidInputError, match=message):
            network().fit(Dataset(rows, Y))


def test_both_engines_train_trees_alike() -> None:
    pytest.importorskip("torch")
    ours, theirs = (network(engine=engine, epochs=4, penalty="l2").fit(Dataset(X, Y)) for engine in ("numpy", "torch"))
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-8)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7, atol=1e-9)
    assert ours.stack.read_arrays().keys() == theirs.stack.read_arrays().keys()


def test_runs_of_trees_go_on_where_they_stopped(tmp_path: Path) -> None:
    whole, path = network().fit(Dataset(X, Y)), tmp_path / "checkpoint"
    network(epochs=2).fit(Dataset(X, Y), callbacks=[Checkpoint(path)])
    resumed = NeuralNetwork.resume(path, Dataset(X, Y), epochs=3)
    assert bits_of(resumed) == bits_of(whole)


def test_an_embedding_learns_what_its_categories_mean() -> None:
    codes = np.random.default_rng(1).integers(0, 4, (400, 1)).astype(float)
    meaning = np.array([3.0, -1.0, 0.5, 2.0])
    made = NeuralNetwork(epochs=60, batch_size=32, seed=0, optimizer="adam", learning_rate=0.05)
    made.add(EmbeddingLayer([4], 2))
    made.add(DenseLayer(1))
    made.fit(Dataset(codes, meaning[codes[:, 0].astype(int)]))
    np.testing.assert_allclose(made.predict(np.arange(4.0)[:, None])[:, 0], meaning, atol=0.05)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Sequential([]), "needs at least one layer"),
        (lambda: Residual(["relu"]), "takes layers, but 'relu' is not a layer"),
        (lambda: Parallel([DenseLayer(2)], columns=[None, None]), "1 branches, but columns for 2"),
        (lambda: Parallel([DenseLayer(2)], columns=[()]), "whole number >= 0"),
        (lambda: EmbeddingLayer([0], 2), "n_categories"),
        (lambda: PeriodicEmbeddingLayer(scale=0.0), "scale of PeriodicEmbeddingLayer is 0"),
        (lambda: PiecewiseLinearEncodingLayer(2).adapt([[np.nan]]), "finite numbers"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: Any, said: str) -> None:
    with pytest.raises(InvalidInputError, match=said):
        make()


def test_parallel_ensembles_are_one_ensemble() -> None:
    branches = [Sequential([RepeatLayer(k), EnsembleDenseLayer(2)]) for k in (3, 2)]
    model = NeuralNetwork(epochs=2, seed=0, dtype="float64")
    for layer in (Parallel(branches), EnsembleDenseLayer(1), EnsembleMeanLayer()):
        model.add(layer)
    model.fit(Dataset(X, Y))
    assert model.layers[0].output_shape() == (5, 2)
    first = branches[1].layers[1]
    np.testing.assert_allclose(
        model.layers[0].forward_propagation(X)[:, 3],
        X @ first.weights[0] + first.biases[0],  # type: ignore[attr-defined]
    )
    assert check_gradients(model, Dataset(X[:8], Y[:8]))
    with pytest.raises(InvalidInputError, match="must return vectors, or rows of shape"):
        Parallel([Sequential([RepeatLayer(2), EnsembleDenseLayer(2)]), DenseLayer(2)]).set_input_shape((4,))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="give the last layer 4 units"):
        Residual([DenseLayer(3)]).set_input_shape((4,))
    with pytest.raises(InvalidInputError, match="takes column 9"):
        Parallel([DenseLayer(3)], columns=[(9,)]).set_input_shape((4,))
    with pytest.raises(InvalidInputError, match="needs one input column for each"):
        EmbeddingLayer([3], 2).set_input_shape((4,))


def test_a_shortcut_takes_the_place_of_the_input(tmp_path: Path) -> None:
    f, shortcut = [DenseLayer(5), TanhActivation(), DenseLayer(2)], DenseLayer(2)
    model = NeuralNetwork(epochs=1, seed=0, dtype="float64")
    model.add(Residual(f, shortcut=shortcut))
    model.add(DenseLayer(1))
    model.fit(Dataset(X, Y))
    hidden = np.tanh(X @ f[0].weights + f[0].biases)  # type: ignore[attr-defined]
    block = X @ shortcut.weights + shortcut.biases + hidden @ f[2].weights + f[2].biases  # type: ignore[attr-defined]
    expected = block @ model.layers[1].weights + model.layers[1].biases  # type: ignore[attr-defined]
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-12)
    names = ["0.0.weights", "0.0.biases", "0.2.weights", "0.2.biases", "0.shortcut.0.weights", "0.shortcut.0.biases"]
    assert sorted(model.stack.read_arrays())[:6] == sorted(names)
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(NeuralNetwork.load(tmp_path / "model.safetensors").predict(X), model.predict(X))
    assert check_gradients(model, Dataset(X[:8], Y[:8]))


def test_errors_go_backward_through_a_shortcut() -> None:
    shortcut = [DenseLayer(3), TanhActivation()]
    layers = (DenseLayer(4), Residual([TanhActivation(), DenseLayer(3)], shortcut=shortcut), DenseLayer(1))
    model = NeuralNetwork(epochs=1, seed=0, dtype="float64")
    for layer in layers:
        model.add(layer)
    assert check_gradients(model, Dataset(X[:8], Y[:8]))


def test_shortcuts_that_cannot_be_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"output of its shortcut, rows of shape \(3,\).*give the last layer 3"):
        Residual([DenseLayer(2)], shortcut=DenseLayer(3)).set_input_shape((4,))
    shared = DenseLayer(2)
    with pytest.raises(InvalidInputError, match="one layer several times"):
        Residual([shared], shortcut=shared)
    with pytest.raises(InvalidInputError, match="takes layers, but 'relu' is not a layer"):
        Residual([shared], shortcut="relu")
    stack = LayerStack([Residual([DenseLayer(2)], shortcut=DenseLayer(2))], dtype="float64", seed=0)
    stack.build((2,))
    with pytest.raises(InvalidInputError, match="cannot be exchanged"):
        stack.layers[0].shortcut = None  # type: ignore[attr-defined]


def test_a_copy_leaves_the_layers_inside_alone() -> None:
    stack = LayerStack([DenseLayer(3), Residual([DenseLayer(3)])], dtype="float64", seed=0)
    stack.build((2,))
    inner = stack.layers[1].layers[0]  # type: ignore[attr-defined]
    copied = copy.copy(stack.layers[1])
    assert copied.layers[0] is not inner  # type: ignore[attr-defined]
    assert np.shares_memory(inner.gradient_views["weights"], stack.vector.gradients)


def test_layers_inside_keep_the_arrays_that_they_bring(tmp_path: Path) -> None:
    bins = PiecewiseLinearEncodingLayer(4).adapt(X)
    edges, dense = bins.edges, DenseLayer(1, (24,))
    dense.weights = np.arange(1, 25.0)[:, None]
    model = NeuralNetwork(epochs=1, seed=0, learning_rate=1e-30, dtype="float64")
    model.add(Residual([StandardizationLayer().adapt(X)]))
    model.add(Sequential([Parallel([bins]), dense]))
    model.fit(Dataset(X, Y))
    np.testing.assert_allclose(bins.edges, edges, rtol=1e-6)
    np.testing.assert_array_equal(dense.weights, np.arange(1, 25.0)[:, None])
    np.testing.assert_allclose(model.layers[0].state["0.mean"], X.mean(0), rtol=1e-12)
    model.reset()  # draws the weights again, and leaves what is known of the data
    np.testing.assert_allclose(bins.edges, edges, rtol=1e-6)
    np.testing.assert_allclose(model.layers[0].state["0.mean"], X.mean(0), rtol=1e-12)
    assert np.abs(dense.weights).max() < 2
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(NeuralNetwork.load(tmp_path / "model.safetensors").predict(X), model.predict(X))


def test_a_quantile_layer_transforms_columns_to_the_normal_distribution() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=4_000)
    columns = np.column_stack(
        [np.exp(3 * scores), np.where(rng.random(4_000) < 0.9, 0, np.exp(scores)), np.ones(4_000)]
    )
    layer = QuantileLayer(64).adapt(columns)
    results = layer.forward_propagation(columns)
    np.testing.assert_allclose(results[:, :2].mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(results[:, :2].std(axis=0), 1, atol=1e-4)
    middle = np.abs(scores) < 2
    np.testing.assert_allclose(results[middle, 0], scores[middle], atol=0.1)
    # The rare numbers of the second column stay apart.
    assert len(np.unique(results[:, 1])) > 0.9 * len(np.unique(columns[:, 1]))
    np.testing.assert_array_equal(results[:, 2], 0)
    ends = layer.forward_propagation([[-5, -5, 0], [0, 0, 1], [1e9, 1e9, 2]])
    np.testing.assert_array_equal(ends[0, :2], [results[:, 0].min(), results[:, 1].min()])
    np.testing.assert_array_equal(ends[2, :2], results[:, :2].max(axis=0))


def test_bins_are_not_lost_to_a_frequent_value() -> None:
    column = np.concatenate([np.zeros(920), np.arange(1, 81)])[:, None]
    edges = PiecewiseLinearEncodingLayer(8).adapt(column).edges[0]
    assert len(np.unique(edges)) == 8
    assert np.sum((edges > 0) & (edges < 80)) == 6


def test_another_shape_makes_all_layers_inside_forget() -> None:
    block = Sequential([DenseLayer(3), DenseLayer(2)])
    block.set_input_shape((4,))
    block.initialize()
    second = block.layers[1].parameter_views["weights"].copy()
    block.set_input_shape((5,))
    block.initialize()
    assert not np.array_equal(block.layers[1].parameter_views["weights"], second)


def test_a_layer_has_one_place_only() -> None:
    shared = DenseLayer(6)
    for pair in ([Sequential([shared]), Residual([shared])], [shared, Sequential([shared])]):
        model = NeuralNetwork()
        model.add(pair[0])
        with pytest.raises(InvalidInputError, match="in the network already"):
            model.add(pair[1])
    with pytest.raises(InvalidInputError, match="one layer several times"):
        Sequential([shared, Sequential([shared])])
    first, second = Sequential([shared]), Sequential([shared])
    LayerStack([first]).build((6,))
    with pytest.raises(InvalidInputError, match="belongs to another network"):
        LayerStack([second])


def test_running_statistics_inside_a_container_are_averaged_once() -> None:
    found = []
    for engine in ("numpy", "torch"):
        model = NeuralNetwork(epochs=4, batch_size=16, seed=1, swa_from=2, dtype="float64", engine=engine)
        for layer in (Sequential([DenseLayer(5), BatchNormalizationLayer(), TanhActivation()]), DenseLayer(1)):
            model.add(layer)
        found.append(model.fit(Dataset(X, Y)).predict(X))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


@pytest.mark.parametrize(
    "block",
    [
        Sequential([DropoutLayer(0.5), DenseLayer(3)]),
        Parallel([DenseLayer(2), Sequential([DropoutLayer(0.2), DenseLayer(2)])]),
        Parallel([DenseLayer(2), DenseLayer(1)], columns=[None, (3, 0)]),
        Parallel([DropoutLayer(0.5), DenseLayer(2)]),
    ],
    ids=["sequential", "parallel", "columns", "dropout"],
)
def test_sparse_rows_give_the_same_as_dense_ones(block: Layer) -> None:
    rows = np.where(np.random.default_rng(0).random(X.shape) < 0.5, X, 0)
    model = NeuralNetwork(epochs=2, seed=0, dtype="float64")
    model.add(copy.deepcopy(block))
    model.add(DenseLayer(1))
    model.fit(Dataset(scipy.sparse.csr_matrix(rows), Y))
    np.testing.assert_allclose(model.predict(scipy.sparse.csr_matrix(rows)), model.predict(rows), rtol=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ([Residual([DenseLayer(6)])], "Residual"),
        ([Residual([DropoutLayer(0.5)])], "Residual"),
        ([Residual([TanhActivation()])], "Residual"),
        ([TanhActivation()], "TanhActivation"),
        ([DropoutLayer(0.5), TanhActivation()], "TanhActivation"),
        ([Sequential([DropoutLayer(0.5), LayerNormalizationLayer()])], "LayerNormalizationLayer"),
        ([Parallel([DenseLayer(2), TanhActivation()])], "Parallel"),
        ([Halved()], "Halved"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_layers_that_need_dense_rows_refuse_sparse_ones(layers: list[Layer], name: str, engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    rows, message = scipy.sparse.csr_matrix(X), f"^{name} cannot take a sparse matrix; use a DenseLayer as the first"
    model = NeuralNetwork(epochs=1, seed=0, engine=engine)
    for layer in (*copy.deepcopy(layers), DenseLayer(1)):
        model.add(layer)
    with pytest.raises(InvalidInputError, match=message):
        model.fit(Dataset(rows, Y))
    if name != "Halved" or engine == "numpy":
        model.fit(Dataset(X, Y))
        with pytest.raises(InvalidInputError, match=message):
            model.predict(rows)


@pytest.mark.parametrize("columns", [[(0.5,)], [["a"]], [slice(0, 2)], [3], 3, "a"])
def test_columns_that_are_no_whole_numbers_are_refused(columns: Any) -> None:
    with pytest.raises(InvalidInputError, match="give a list with an entry for each branch"):
        Parallel([DenseLayer(1)], columns=columns)


class Scaled(Layer):
    """Multiplies by a number for each column, written as the lecture writes layers."""

    n_numbers: int | None = None

    def initialize(self, optimizer: Any) -> None:  # type: ignore[override]
        self.strength, self.optimizer = np.ones(self.n_numbers or self.input_shape()[0]), optimizer

    def forward_propagation(self, inputs: Any) -> Any:  # type: ignore[override]
        self.input = inputs
        return self.strength * inputs

    def backward_propagation(self, output_error: Any) -> Any:
        input_error = self.strength * output_error
        self.strength = self.optimizer.update(self.strength, (output_error * self.input).sum(axis=0))
        return input_error

    def lower(self, program: Any, x: Any) -> Any:
        return self.scale(program, x)

    def scale(self, program: Any, x: Any) -> Any:
        return program.map(lambda x, s: s * x, x, self.array("strength"), name="scale")


class Doubled(Scaled):
    def scale(self, program: Any, x: Any) -> Any:
        return program.map(lambda x, s: 2 * s * x, x, self.array("strength"), name="double")


class Short(Scaled):
    n_numbers = 3


class Misspelt(Scaled):
    def scale(self, program: Any, x: Any) -> Any:
        return program.map(lambda x, s: s * x, x, self.array("strenght"), name="scale")


class Silent(Scaled):
    def scale(self, program: Any, x: Any) -> Any:
        super().scale(program, x)


class Beyond(Scaled):
    def scale(self, program: Any, x: Any) -> Any:
        return program.select(x, [0, 99, 2, 3])


class Misfit(Scaled):
    def scale(self, program: Any, x: Any) -> Any:
        dense = DenseLayer(4, (2,))
        dense.initialize()
        return program.affine(program.select(x, [0, 1, 2]), dense.array("weights"))


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Short, r"combines 4 columns with the array 'strength' of 3 numbers"),
        (Misspelt, r"Misspelt has no array 'strenght'; it has: strength"),
        (Silent, r"lower of Silent returns None; return the output of its last operation, with 4 columns"),
        (Beyond, r"columns goes beyond those of its input, 0 to 3"),
        (Misfit, r"weights of shape \(2, 4\) and an input of 3 columns; they do not fit"),
    ],
)
def test_operations_that_do_not_fit_are_refused(cls: type[Layer], said: str) -> None:
    made = NeuralNetwork(epochs=1)
    for layer in (DenseLayer(4), cls(), DenseLayer(1)):
        made.add(layer)
    with pytest.raises(InvalidInputError, match=said):
        made.fit(Dataset(X, Y))


def test_a_check_of_gradients_compares_lower_with_the_layers_own_passes() -> None:
    assert check_gradients(Scaled())
    checked = check_gradients(Doubled())
    assert not checked
    assert checked.worst.name == "backward_propagation and lower"


def test_averages_that_never_begin_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"swa_from is 9, and the network is trained for 3 epochs"):
        network(swa_from=9).fit(Dataset(X, Y))


@pytest.mark.parametrize(
    "last", [[SigmoidActivation()], [Sequential([DenseLayer(1), SigmoidActivation()])]], ids=["flat", "nested"]
)
def test_a_head_inside_a_sequential_is_refused(last: list[Layer]) -> None:
    """The loss is one function of the logits only with an activation that is a layer of the network itself."""
    made = NeuralNetwork(loss="binary_cross_entropy", epochs=1)
    made.add(Sequential([DenseLayer(1), *copy.deepcopy(last)]))
    with pytest.raises(InvalidInputError, match="add SigmoidActivation to the network by itself"):
        made.fit(X, (Y > 0).astype(int))


def test_the_layers_inside_a_network_cannot_be_exchanged() -> None:
    stack = LayerStack([Sequential([DenseLayer(3), TanhActivation()])])
    stack.build((2,))
    with pytest.raises(InvalidInputError, match="cannot be exchanged"):
        stack.layers[0].layers = (DenseLayer(3),)  # type: ignore[attr-defined]
