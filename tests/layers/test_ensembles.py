"""Ensembles in one network: members that share weights or do not, on both engines."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.activations import PReLUActivation, SigmoidActivation, SoftmaxActivation, TanhActivation
from chainrule.data.batches import ArrayBatches
from chainrule.data.dataset import Dataset
from chainrule.engines import TrainingPlan
from chainrule.engines.compiled_prediction import predict
from chainrule.engines.members import split_members
from chainrule.engines.numpy_engine import NumpySession
from chainrule.errors import InvalidInputError
from chainrule.inspection import check_gradients
from chainrule.layers import (
    BatchEnsembleLayer,
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    GaussianNoiseLayer,
    Layer,
    LayerNormalizationLayer,
    Parallel,
    PeriodicEmbeddingLayer,
    PiecewiseLinearEncodingLayer,
    RepeatLayer,
    Residual,
    Sequential,
)
from chainrule.losses import CategoricalCrossEntropy, LossFunction, MeanSquaredError
from chainrule.metrics import EpochRecord
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import Adam
from chainrule.program import Program
from chainrule.stack import LayerStack

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = np.tanh(X[:, :2] * X[:, 2:])
LABELS = np.argmax(X[:, :3], axis=1)
WEIGHTS = RNG.uniform(0.5, 2, 90)
MEMBER_WEIGHTS = RNG.uniform(0, 2, (90, 5))


def members(n_outputs: int, *more: Layer, n_members: int = 3) -> list[Layer]:
    return [
        RepeatLayer(n_members), BatchEnsembleLayer(6, "signs"), LayerNormalizationLayer(), TanhActivation(),
        BatchEnsembleLayer(5), GaussianNoiseLayer(0.1), TanhActivation(), EnsembleDenseLayer(n_outputs), *more,
        EnsembleMeanLayer(),
    ]  # fmt: skip


def network(layers: list[Layer], **settings: Any) -> NeuralNetwork:
    made = NeuralNetwork(
        **{"epochs": 3, "batch_size": 16, "seed": 1, "optimizer": "adam", "dtype": "float64", **settings}
    )
    for layer in layers:
        made.add(layer)
    return made


@pytest.mark.parametrize("loss", [MeanSquaredError(), CategoricalCrossEntropy()], ids=["numbers", "classes"])
@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("of_members", [False, True], ids=["weights of rows", "weights of members"])
def test_compiled_steps_are_those_of_the_layers(loss: LossFunction, n_members: int, of_members: bool) -> None:
    is_classes = isinstance(loss, CategoricalCrossEntropy)
    targets = np.eye(3)[LABELS] if is_classes else Y
    weights = RNG.uniform(0, 2, (90, n_members)) if of_members else WEIGHTS
    batches = ArrayBatches(X, targets, weights, batch_size=16, seed=0)
    found = []
    for by_layers in (False, True):
        stack = LayerStack(dtype="float64", seed=1)
        for layer in members(targets.shape[1], *([SoftmaxActivation()] if is_classes else []), n_members=n_members):
            stack.add(layer)
        stack.build((4,))
        session = NumpySession(stack, TrainingPlan(loss, Adam(0.01), max_norm=0.9), by_layers=by_layers)
        for epoch in range(3):
            session.train_batches(batches, epoch, 0, np.full(batches.n_batches, 0.01), None)
        assert (session._compiled is None) is by_layers
        evaluation = session.evaluate(X, targets, weights)
        assert evaluation.predictions.shape == targets.shape
        found.append([stack.vector.values.copy(), evaluation.predictions, evaluation.loss, session.pop_mean_loss()])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-10)


def separate(*layers: Layer, n: int = 3) -> list[Layer]:
    return [RepeatLayer(n), EnsembleDenseLayer(8), *layers, EnsembleDenseLayer(2)]


BODIES: dict[str, tuple[Callable[[], list[Layer]], bool]] = {
    "activation": (lambda: separate(TanhActivation()), True),
    "layers before the members": (
        lambda: [DenseLayer(5), TanhActivation(), PeriodicEmbeddingLayer(3, 1), *separate(TanhActivation())],
        True,
    ),
    "normalisation of rows": (lambda: separate(LayerNormalizationLayer(), TanhActivation()), False),
    "dropout": (lambda: separate(TanhActivation(), DropoutLayer(0.3)), True),
    "noise": (lambda: separate(GaussianNoiseLayer(0.3), TanhActivation()), True),
    "noise for members before the first layer": (
        lambda: [RepeatLayer(3), GaussianNoiseLayer(0.3), *separate(TanhActivation())[1:]],
        True,
    ),
    "noise, widths that are no multiples of 4": (
        lambda: [RepeatLayer(3), EnsembleDenseLayer(6), DropoutLayer(0.3), EnsembleDenseLayer(2)],
        False,
    ),
    "softmax of each member": (lambda: separate(SoftmaxActivation()), True),
    "slopes of units": (lambda: separate(PReLUActivation(shared=False)), True),
    "one slope of all members": (lambda: separate(PReLUActivation()), False),
    "weights of all members": (lambda: [RepeatLayer(3), BatchEnsembleLayer(5, "signs"), *separate()[1:]], False),
    "residual": (
        lambda: [RepeatLayer(3), EnsembleDenseLayer(8), Residual([EnsembleDenseLayer(8)]), *separate()[1:]], True,
    ),
    "residual with a shortcut": (
        lambda: [RepeatLayer(3), Residual(separate(TanhActivation())[1:], shortcut=EnsembleDenseLayer(2))], True,
    ),
    "branches": (
        lambda: [RepeatLayer(3), EnsembleDenseLayer(8), Sequential([TanhActivation(), EnsembleDenseLayer(2)])], True,
    ),
    "several ensembles": (
        lambda: [
            TanhActivation(),
            Parallel([
                Sequential([DenseLayer(5), *separate()]),
                Residual(separate(TanhActivation(), n=2), shortcut=[RepeatLayer(2), EnsembleDenseLayer(2)]),
            ]),
        ], True,
    ),
    "weights of all members in one of several ensembles": (
        lambda: [Parallel([Sequential(separate()), Sequential([RepeatLayer(2), BatchEnsembleLayer(2, "signs")])])],
        False,
    ),
    "only the repetition": (lambda: [DenseLayer(2), RepeatLayer(3)], False),
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("n_columns", [0, 1, 2], ids=["no weights", "weights of rows", "weights of members"])
def test_members_computed_one_by_one_train_as_their_layers_do(body: str, n_columns: int) -> None:
    make, is_split = BODIES[body]
    found = []
    for by_layers in (False, True):
        stack = LayerStack(dtype="float64", seed=1)
        for layer in (*make(), EnsembleMeanLayer()):
            stack.add(layer)
        stack.build((4,))
        n_members = stack.layers[-1].input_shape()[0]
        weights = MEMBER_WEIGHTS[:, 0] if n_columns == 1 else MEMBER_WEIGHTS[:, :n_members]
        batches = ArrayBatches(X, Y, weights if n_columns else None, batch_size=16, seed=0)
        recorder = EpochRecord(90)
        plan = TrainingPlan(MeanSquaredError(), Adam(0.01), max_norm=0.9, clip_norm=0.5)
        session = NumpySession(stack, plan, by_layers=by_layers)
        for epoch in range(2):
            rates = np.full(batches.n_batches, 0.01)
            session.train_batches(batches, epoch, 0, rates, recorder.add)
        if not by_layers:
            assert session._compiled is not None
            members = split_members(session._compiled.program)
            assert (len(members.groups) == n_members and not members.rest) is is_split
        states = [array for layer in stack.walk() for array in layer.state.values()]
        found.append([stack.vector.values, *states, session.pop_mean_loss(), *recorder.arrays.values(),
                      session.batch_predictions(), session.gradient_norm()])  # fmt: skip
        for n_layers, n_rows in ((None, 90), (None, 2), (len(stack.layers) - 1, 90)):
            predicted = predict(stack, X[:n_rows], n_layers=n_layers)
            np.testing.assert_allclose(predicted, stack.forward(X[:n_rows], n_layers=n_layers), rtol=1e-10, atol=1e-12)
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-8, atol=1e-10)


def test_a_network_goes_on_from_members_computed_one_by_one() -> None:
    """Predictions take the members one by one as far as they go."""
    branches = Parallel([Sequential([*separate(TanhActivation()), EnsembleMeanLayer()]), DenseLayer(3)])
    stack = LayerStack([DenseLayer(4, (4,)), branches, TanhActivation(), DenseLayer(2)], dtype="float64", seed=1)
    members = split_members(Program.of(stack.layers))
    assert len(members.groups) == 3
    assert members.rest
    np.testing.assert_allclose(predict(stack, X), stack.forward(X), rtol=1e-12)
    network_of_it = network([DenseLayer(4, (4,)), copy.deepcopy(branches), DenseLayer(2)])
    assert check_gradients(network_of_it.fit(Dataset(X, Y)), Dataset(X, Y))


def test_an_ensemble_of_members_that_share_nothing_is_the_mean_of_networks() -> None:
    """The mean of the losses has 1 / K of the gradient for each member: the rate is K times as large."""
    settings = {"optimizer": "sgd", "epochs": 3}
    layers = [RepeatLayer(2), EnsembleDenseLayer(5), TanhActivation(), EnsembleDenseLayer(2), EnsembleMeanLayer()]
    together = network(layers, learning_rate=0.2, **settings)
    together.stack.build((4,))
    alone = []
    for k in range(2):
        one = network([DenseLayer(5), TanhActivation(), DenseLayer(2)], learning_rate=0.1, **settings)
        one.stack.build((4,))
        for place, layer in ((0, 1), (2, 3)):
            one.layers[place].weights = together.layers[layer].weights[k]  # type: ignore[attr-defined]
        alone.append(one.fit(Dataset(X, Y)).predict(X))
    np.testing.assert_allclose(together.fit(Dataset(X, Y)).predict(X), np.mean(alone, axis=0), rtol=1e-10)


def test_gradients_are_right() -> None:
    fitted = network(members(3, SoftmaxActivation()), loss="categorical_cross_entropy").fit(Dataset(X, LABELS))
    checked = check_gradients(fitted, Dataset(X, LABELS))
    assert checked, str(checked)


def test_a_mean_in_the_midst_of_a_network_hands_its_error_to_all_members() -> None:
    """As all operations whose result is one number for each row, which is there for several columns."""

    def fitted(engine: str) -> NeuralNetwork:
        layers = [RepeatLayer(3), EnsembleDenseLayer(4), EnsembleMeanLayer(), TanhActivation(), DenseLayer(2)]
        return network(layers, engine=engine).fit(Dataset(X, Y))

    checked = check_gradients(fitted("numpy"), Dataset(X, Y))
    assert checked, str(checked)
    np.testing.assert_allclose(fitted("numpy").predict(X), fitted("torch").predict(X), rtol=1e-7, atol=1e-9)


def test_muon_steps_along_the_matrix_of_each_member() -> None:
    layers = [RepeatLayer(2), EnsembleDenseLayer(5), TanhActivation(), EnsembleDenseLayer(2), EnsembleMeanLayer()]
    together = network(layers, optimizer="muon", epochs=1, batch_size=90)
    together.stack.build((4,))
    alone = network([DenseLayer(5), TanhActivation(), DenseLayer(2)], optimizer="muon", epochs=1, batch_size=90)
    alone.stack.build((4,))
    for place, layer in ((0, 1), (2, 3)):
        alone.layers[place].weights = together.layers[layer].weights[1]  # type: ignore[attr-defined]
    for fitted in (together, alone):
        fitted.fit(Dataset(X, Y))
    first = together.layers[1].weights[1]  # type: ignore[attr-defined]
    np.testing.assert_allclose(first, alone.layers[0].weights, rtol=1e-6)  # type: ignore[attr-defined]


@pytest.mark.parametrize("labels", [False, True])
def test_both_engines_train_alike(labels: bool) -> None:
    pytest.importorskip("torch")
    data = Dataset(X, LABELS if labels else Y, sample_weight=WEIGHTS)
    settings = {"loss": "categorical_cross_entropy" if labels else "mean_squared_error", "max_norm": 0.9}
    fitted = []
    for engine in ("numpy", "torch"):
        layers = members(3, SoftmaxActivation()) if labels else members(2)
        fitted.append(network(layers, engine=engine, **settings).fit(data))
    ours, theirs = fitted
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-8)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("n_members", [1, 3])
@pytest.mark.parametrize("labels", [False, True])
def test_metrics_of_the_epochs_are_those_of_the_mean(labels: bool, n_members: int) -> None:
    found = []
    for engine in ("numpy", "torch"):
        layers = members(3 if labels else 2, *([SoftmaxActivation()] if labels else []), n_members=n_members)
        made = network(layers, engine=engine, metric="accuracy" if labels else "mean_absolute_error")
        made.fit(X, LABELS if labels else Y, sample_weight=WEIGHTS)
        timeless = [column for name, column in made.history.items() if name != "seconds"]
        found.append([*timeless, made.predict(X)])
    for mine, other in zip(*found, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_slopes_for_each_unit_of_each_member() -> None:
    pytest.importorskip("torch")
    fitted = []
    for engine in ("numpy", "torch"):
        layers = [RepeatLayer(3), BatchEnsembleLayer(6, "signs"), PReLUActivation(shared=False), *members(2)[-2:]]
        fitted.append(network(layers, engine=engine).fit(Dataset(X, Y)))
    assert fitted[0].layers[2].parameter_shapes() == {"slope": (3, 6)}
    np.testing.assert_allclose(fitted[0].predict(X), fitted[1].predict(X), rtol=1e-9)
    assert check_gradients(fitted[0], Dataset(X, Y))


def test_they_come_back_from_files_and_predict_few_rows_alike(tmp_path: Path) -> None:
    fitted = network(members(2)).fit(Dataset(X, Y))
    fitted.save(tmp_path / "ensemble")
    loaded = NeuralNetwork.load(tmp_path / "ensemble")
    np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))
    np.testing.assert_allclose(fitted.predict(X[:2]), fitted.predict(X)[:2], rtol=1e-12)


def test_copies_do_not_carry_the_last_batch() -> None:
    layer, sizes = BatchEnsembleLayer(5), []
    layer.set_input_shape((3, 4))
    for n_rows in (1, 500):
        layer.forward_propagation(RNG.normal(size=(n_rows, 3, 4)), training=True)
        layer.backward_propagation(np.ones((n_rows, 3, 5)))
        sizes.append(len(pickle.dumps(layer)))
    assert sizes[0] == sizes[1]


def test_members_of_a_first_layer_differ_by_signs() -> None:
    layer = BatchEnsembleLayer(4, "signs")
    layer.set_input_shape((8, 5))
    layer.initialize(rng=np.random.default_rng(0))
    assert set(np.unique(layer.input_scales)) == {-1, 1}
    assert (layer.output_scales == 1).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"put a RepeatLayer before it"):
        network([BatchEnsembleLayer(3), EnsembleMeanLayer()]).fit(Dataset(X, Y))
    with pytest.raises(InvalidInputError, match="'ones' and 'signs'"):
        BatchEnsembleLayer(3, "zeros")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="n of RepeatLayer is 0; allowed are whole numbers from 1 up"):
        RepeatLayer(0)
    with pytest.raises(InvalidInputError, match="members of an ensemble"):
        network(members(2)[:5] + members(2)[-2:], optimizer="levenberg_marquardt").fit(Dataset(X, Y))


def test_repeated_columns_that_are_no_ensemble_share_the_memory_of_their_parameters() -> None:
    X = RNG.normal(size=(60, 1)).astype(np.float32)
    layers = (PiecewiseLinearEncodingLayer(8).adapt(X), BatchNormalizationLayer(), DenseLayer(1))
    net = network([*layers], epochs=3, learning_rate=0.01)
    net.fit(X, X[:, 0] ** 2, validation=(X, X[:, 0] ** 2))
    np.testing.assert_allclose(net.predict(X), net.stack.forward(X), atol=1e-5)
    assert net.history["validation_loss"][-1] == pytest.approx(net.evaluate(X, X[:, 0] ** 2)["loss"], rel=1e-4)
    net.layers[0].adapt(10 * X + 3)
    np.testing.assert_allclose(net.predict(X), net.stack.forward(X), atol=1e-5)


@pytest.mark.parametrize(("n_outputs", "last"), [(1, SigmoidActivation), (3, SoftmaxActivation)])
def test_the_loss_of_a_confident_mistake_is_finite(n_outputs: int, last: type[Layer]) -> None:
    layers = [RepeatLayer(2), EnsembleDenseLayer(n_outputs), last(), EnsembleMeanLayer()]
    loss = "binary_cross_entropy" if n_outputs == 1 else "categorical_cross_entropy"
    net = NeuralNetwork(loss=loss, seed=0)
    for layer in layers:
        net.add(layer)
    net.stack.build((1,))
    weights = np.zeros((2, 1, n_outputs))
    weights[:, 0, 0] = 200, 100
    layers[1].set_array("weights", weights)
    mistakes = Dataset(np.ones((4, 1)), [0, 1, 0, 1] if n_outputs == 1 else [0, 1, 2, 0])
    # The mean probability of the wrong class is about 1, and that of the other (e^-200 + e^-100) / 2.
    assert net.evaluate(mistakes)["loss"] == pytest.approx((100 + np.log(2)) / 2, rel=1e-5)
