"""Both engines, from the same weights, by the same loop: predictions, gradients, fifty steps, decisions, files.

``python -m support.parity`` (in this folder's parent) prints how far apart they end, family by family.
"""

from __future__ import annotations

import copy
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from chainrule import losses
from chainrule.activations import (
    GaussianActivation,
    HardSigmoidActivation,
    ReLUActivation,
    SoftmaxActivation,
    TanhActivation,
)
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TrainingRun
from chainrule.data import Dataset
from chainrule.files.checkpoint import Checkpoint
from chainrule.layers import BatchNormalizationLayer, DenseLayer, DropoutLayer, Layer
from chainrule.losses import LOSSES
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import SGD, AdamW, Lion, Muon, Optimizer, RMSprop, Rprop
from support.networks import class_rows, network_of
from support.parity import (
    AMPLIFIES_ROUNDING,
    LAYER_NAMES,
    LOSS_NAMES,
    OPTIMIZER_NAMES,
    PENALTIES,
    can_minimize,
    can_train,
    compare,
    fifty_steps,
    rows_for,
)
from support.parts import in_parts

pytest.importorskip("torch")

ONE_STEP: dict[str, Any] = {"dtype": "float64", "epochs": 1, "batch_size": 50, "learning_rate": 1.0}
GENTLE = [name for name in OPTIMIZER_NAMES if name not in AMPLIFIES_ROUNDING]
ENGINES = ("numpy", "torch")


@in_parts(16)
def test_the_gradient_of_every_layer_under_every_loss_and_penalty(part: int) -> None:
    """The move of one step of plain descent at rate 1, of weighted rows.

    A part has every layer under a quarter of the losses, and every layer and every loss under every penalty.
    """
    triples = itertools.product(enumerate(LAYER_NAMES), enumerate(LOSS_NAMES), enumerate(PENALTIES))
    for (i, layer), (j, loss), (k, penalty) in triples:
        if ((i + j) % 4, (i // 4 + j // 4 + k) % 4) == divmod(part, 4):
            distances = compare(layer, loss, **ONE_STEP, penalty=penalty)
            assert distances.largest() < 1e-10, (layer, loss, penalty)


@in_parts(8)
def test_fifty_steps_of_every_optimizer_on_every_loss(part: int) -> None:
    """A part has every optimizer on a quarter of the losses, half of them in float32 and half in float64."""
    combinations = itertools.product(enumerate(GENTLE), enumerate(LOSS_NAMES), enumerate(TOLERANCE))
    for (i, optimizer), (j, loss), (k, dtype) in combinations:
        if (i + j + 4 * k) % 8 == part:
            distances = compare("tanh", loss, dtype=dtype, **fifty_steps(optimizer))
            assert distances.largest() < TOLERANCE[dtype], (optimizer, loss, dtype)


@in_parts(8)
def test_fifty_steps_of_every_optimizer_on_every_layer(part: int) -> None:
    """A part has every optimizer on a quarter of the layers, in float64 (the first four parts) or float32."""
    for (i, optimizer), (j, layer) in itertools.product(enumerate(GENTLE), enumerate(LAYER_NAMES)):
        if (i + j) % 4 == part % 4:
            dtype = "float64" if part < 4 else "float32"
            distances = compare(layer, "mean_squared_error", dtype=dtype, **fifty_steps(optimizer, layer))
            assert distances.largest() < TOLERANCE[dtype], (optimizer, layer)


TOLERANCE = {"float32": 1e-5, "float64": 1e-10}


@pytest.mark.parametrize("optimizer", AMPLIFIES_ROUNDING)
@in_parts(3)
def test_fifty_steps_of_methods_that_amplify_rounding(optimizer: str, part: int) -> None:
    combinations = [("tanh", loss) for loss in LOSS_NAMES if can_minimize(optimizer, LOSSES.create(loss))]
    combinations += [(layer, "mean_squared_error") for layer in LAYER_NAMES if can_train(optimizer, layer)]
    for layer, loss in combinations[part::3]:
        distances = compare(layer, loss, dtype="float64", **fifty_steps(optimizer, layer, loss))
        assert distances.functional() < 1e-3, (layer, loss)


VARIANTS = [
    SGD(momentum=0.9),
    SGD(momentum=0.9, nesterov=True),
    RMSprop(momentum=0.9, centered=True),
    AdamW(weight_decay=0.1),
    Lion(weight_decay=0.1),
    Muon(adjust="original", nesterov=False),
    Muon(weight_decay=0.1),
    *(Rprop(variant=variant) for variant in ("minus", "plus", "improved_plus")),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", VARIANTS, ids=[f"{type(o).__name__}-{i}" for i, o in enumerate(VARIANTS)])
def test_other_settings_of_the_optimizers(optimizer: Optimizer, dtype: str) -> None:
    distances = compare("layer_normalization", "huber", dtype=dtype, epochs=10, batch_size=10, optimizer=optimizer)
    assert distances.largest() < TOLERANCE[dtype]


OPTIONS: dict[str, dict[str, Any]] = {
    "short last batch": {"batch_size": 7},
    "one row a batch": {"batch_size": 1, "epochs": 1},
    "in order": {"shuffle": False},
    "momentum": {"optimizer": "sgd", "momentum": 0.9},
    "clip_norm": {"clip_norm": 0.05},
    "max_norm": {"max_norm": 0.5},
    "label smoothing": {"label_smoothing": 0.1},
    "class weights": {"class_weight": "balanced"},
    "cosine schedule": {"schedule": "cosine"},
    "clip, max norm, elastic net": {"clip_norm": 0.1, "max_norm": 1.0, "l1": 0.001, "l2": 0.01, "optimizer": "adamw"},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("layer", ["tanh", "batch_normalization"])
def test_options_of_a_fit(layer: str, option: str) -> None:
    loss = "categorical_cross_entropy"
    data = rows_for(LOSSES.create(loss), weighted=option != "class weights")
    settings = {"epochs": 5, "batch_size": 10, "metric": ["accuracy", "log_loss"], **OPTIONS[option]}
    assert compare(layer, loss, data, dtype="float64", **settings).largest() < 1e-10


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        (losses.BinaryCrossEntropy(), GaussianActivation()),
        (losses.BinaryFocal(), HardSigmoidActivation()),
        (losses.BinaryFocal(gamma=0.5), HardSigmoidActivation()),
        (losses.CategoricalCrossEntropy(), GaussianActivation()),
        (losses.CategoricalFocal(gamma=0.5), HardSigmoidActivation()),
        (losses.Poisson(log_input=False), ReLUActivation()),
    ],
    ids=lambda piece: type(piece).__name__,
)
def test_predictions_of_exactly_0_and_1(
    loss: losses.LossFunction, activation: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a target is 0, a prediction of 0 costs nothing and pulls nowhere, on both engines.

    A fit refuses these activations, because they reach 0 or 1; an activation of a user's own may do so.
    """
    monkeypatch.setattr("chainrule.fit_data.check_head", lambda layers, loss: None)
    y = np.eye(3)[np.arange(30) % 3]
    X = np.where(y == 1, 0.0 if isinstance(activation, GaussianActivation) else 50.0, -50.0)
    X[:5] += np.random.default_rng(0).normal(size=(5, 3)) * 0.1
    ends = []
    for engine in ENGINES:
        network = network_of(
            DenseLayer(3, (3,)), copy.deepcopy(activation), loss=loss, engine=engine, dtype="float64", epochs=3,
            batch_size=30, learning_rate=1e-3,
        )  # fmt: skip
        network.layers[0].parameter_views["weights"][...] = np.eye(3)
        ends.append(network.fit(Dataset(X, y, task="regression" if loss.is_regression else None)).stack.vector.values)
    assert np.isfinite(ends[0]).all()
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_sparse_rows(optimizer: str) -> None:
    data = rows_for(LOSSES.create("mean_squared_error"), csr=True)
    assert sparse.issparse(data.X)
    distances = compare("tanh", "mean_squared_error", data, dtype="float64", **fifty_steps(optimizer))
    assert distances.functional() < 1e-9


def deep_network(engine: str, **settings: Any) -> NeuralNetwork:
    return network_of(
        BatchNormalizationLayer(), DenseLayer(12), TanhActivation(), DenseLayer(3), SoftmaxActivation(),
        loss="categorical_cross_entropy", metric="accuracy", dtype="float64", engine=engine,
        **{"optimizer": "adam", "epochs": 40, "batch_size": 16, "learning_rate": 0.02, **settings},
    )  # fmt: skip


def same_everything(ours: NeuralNetwork, theirs: NeuralNetwork, data: Dataset) -> None:
    assert ours.stop_reason == theirs.stop_reason
    assert ours.history.n_epochs == theirs.history.n_epochs
    for name, values in ours.history.to_dict().items():
        if name != "seconds":
            np.testing.assert_allclose(values, theirs.history[name], rtol=1e-9, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(ours.predict(data), theirs.predict(data), rtol=1e-9, atol=1e-12)
    for name, array in ours.stack.read_arrays().items():
        np.testing.assert_allclose(array, theirs.stack.read_arrays()[name], rtol=1e-8, atol=1e-11, err_msg=name)
    assert ours.evaluate(data) == pytest.approx(theirs.evaluate(data), rel=1e-9)


def test_early_stopping_and_plateaus_decide_the_same() -> None:
    data = class_rows(90)
    networks = []
    for engine in ENGINES:
        network = deep_network(engine, epochs=200)
        steering = [EarlyStopping(patience=6), ReduceOnPlateau(patience=2)]
        networks.append(network.fit(data, validation=0.3, callbacks=steering))
    ours, theirs = networks
    assert ours.stop_reason is not None
    assert ours.history.n_epochs < 200
    assert len(set(ours.history["learning_rate"])) > 1
    same_everything(ours, theirs, data)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_file_of_one_engine_opens_in_the_other(engine: str, tmp_path: Path) -> None:
    data = class_rows(60)
    network = deep_network(engine, epochs=3).fit(data)
    network.save(tmp_path / "model")
    loaded = NeuralNetwork.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict(data), network.predict(data), rtol=1e-12)
    loaded.engine = network.engine
    np.testing.assert_array_equal(loaded.predict(data), network.predict(data))


class Interrupt(Callback):
    """Stops a run at the end of an epoch, or after a batch of the next, as Ctrl-C does."""

    order = -1

    def __init__(self, epoch: int, batch: int = 0) -> None:
        self.place = (epoch, batch)

    def on_batch_end(self, run: TrainingRun) -> None:
        self.on_epoch_end(run)

    def on_epoch_end(self, run: TrainingRun) -> None:
        if (run.epoch, run.batch) == self.place:
            run.interrupt("enough")


@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_of_one_engine_goes_on_with_the_other(engine: str, optimizer: str, tmp_path: Path) -> None:
    if optimizer == "levenberg_marquardt":
        pytest.skip("it is for squared errors")
    data = class_rows(60)
    other = ENGINES[1 - ENGINES.index(engine)]
    settings: dict[str, Any] = {"epochs": 6, "optimizer": optimizer, "learning_rate": None}
    whole = deep_network(engine, **settings).fit(data)
    path = tmp_path / "checkpoint"
    deep_network(engine, **settings).fit(data, callbacks=[Checkpoint(path, every=2), Interrupt(3)])
    resumed = NeuralNetwork.resume(path, data, engine=other)
    assert resumed.history.n_epochs == 6
    np.testing.assert_allclose(resumed.history["loss"], whole.history["loss"], rtol=1e-8)
    np.testing.assert_allclose(resumed.predict(data), whole.predict(data), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_run_resumes_in_the_middle_of_an_epoch_with_its_own_engine(batch: int, tmp_path: Path) -> None:
    """Noise depends on the seed and the place of the step, so the resumed run is the undisturbed one."""

    def network() -> NeuralNetwork:
        return network_of(
            DenseLayer(8, (5,)), DropoutLayer(0.5), DenseLayer(3), SoftmaxActivation(), engine="torch",
            loss="categorical_cross_entropy", metric="accuracy", optimizer="adam", epochs=5, batch_size=16,
        )  # fmt: skip

    data = class_rows(60)
    whole = network().fit(data)
    path = tmp_path / "checkpoint"
    network().fit(data, callbacks=[Checkpoint(path), Interrupt(2, batch)])
    resumed = NeuralNetwork.resume(path, data)
    assert type(resumed.engine).__name__ == "TorchEngine"
    np.testing.assert_array_equal(resumed.stack.vector.values, whole.stack.vector.values)
    assert resumed.history["loss"] == whole.history["loss"]
    assert resumed.history["accuracy"] == whole.history["accuracy"]
