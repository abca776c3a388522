"""Sample weights for each member of an ensemble: bagging over folds in one network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, mean_absolute_error, r2_score

from chainrule.activations import SigmoidActivation, SoftmaxActivation, TanhActivation
from chainrule.baselines import measure_baselines
from chainrule.callbacks import Callback, EarlyStopping
from chainrule.data import Dataset, NoiseAugmentation
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.files import Checkpoint
from chainrule.inspection import check_gradients
from chainrule.layers import (
    BatchEnsembleLayer,
    DenseLayer,
    DropoutLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    Layer,
    RepeatLayer,
)
from chainrule.model import Model, TargetScaling
from chainrule.neuralnet import NeuralNetwork
from support.networks import bits_of, history_without_seconds, network_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
Y = np.tanh(X[:, :2] * X[:, 2:])
LABELS = np.argmax(X[:, :3] + 0.5 * RNG.normal(size=(90, 3)), axis=1)
K = 3
FOLDS = RNG.permutation(np.repeat(np.arange(K), [20, 30, 40]))
SEEN = 1.0 - np.eye(K)[FOLDS]  # the rows that a member is trained on
HELD_OUT = 1 - SEEN
ROW_WEIGHTS = RNG.uniform(0.1, 2, 90)
ENGINES = ["numpy", "torch"]


def members(n_outputs: int = 2, *more: Layer) -> list[Layer]:
    return [
        RepeatLayer(K), EnsembleDenseLayer(5), TanhActivation(), EnsembleDenseLayer(n_outputs), *more,
        EnsembleMeanLayer(),
    ]  # fmt: skip


def ensemble(*layers: Layer, **settings: Any) -> NeuralNetwork:
    return network_of(*(layers or members()), **{"epochs": 3, "batch_size": 16, "dtype": "float64", **settings})


def alone(together: NeuralNetwork, member: int, **settings: Any) -> NeuralNetwork:
    """A network with the present weights of one member."""
    network = ensemble(DenseLayer(5, (4,)), TanhActivation(), DenseLayer(2), **settings)
    together.stack.build((4,))
    for place, layer in ((0, 1), (2, 3)):
        for name in ("weights", "biases"):
            setattr(network.layers[place], name, getattr(together.layers[layer], name)[member])
    return network


def of_member(network: NeuralNetwork, member: int) -> Any:
    """The predictions of one member: the outputs of the layers before the mean."""
    return network.stack.forward(X, n_layers=len(network.layers) - 1)[:, member]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("optimizer", ["sgd", "rprop"])
def test_members_train_like_networks_on_their_own_rows(optimizer: str, engine: str) -> None:
    """Rprop takes the signs of the gradients; SGD gets the share of the member in the weights as a factor."""
    settings: dict[str, Any] = {"optimizer": optimizer, "epochs": 20, "batch_size": 90, "engine": engine}
    together = ensemble(learning_rate=0.5, **settings)
    networks = []
    for k in range(K):
        rate = 0.5 * SEEN[:, k].sum() / SEEN.sum() if optimizer == "sgd" else 0.5
        networks.append(alone(together, k, learning_rate=rate, **settings))
    together.fit(X, Y, SEEN)
    for k, network in enumerate(networks):
        rows = SEEN[:, k] > 0
        network.fit(X[rows], Y[rows])
        np.testing.assert_allclose(of_member(together, k), network.predict(X), rtol=0, atol=1e-10)
    losses = [network.history["loss"][0] for network in networks]
    assert together.history["loss"][0] == pytest.approx(np.average(losses, weights=SEEN.sum(axis=0)), rel=1e-12)


@pytest.mark.parametrize("engine", ENGINES)
def test_members_train_like_networks_on_the_same_shuffled_batches(engine: str) -> None:
    weights = SEEN * RNG.uniform(0.5, 2, SEEN.shape)
    together = ensemble(learning_rate=0.5, engine=engine)
    rates = 0.5 * weights.sum(axis=0) / weights.sum()
    networks = [alone(together, k, learning_rate=rate) for k, rate in enumerate(rates)]
    together.fit(X, Y, weights)
    for k, network in enumerate(networks):
        network.fit(X, Y, weights[:, k])
        np.testing.assert_allclose(of_member(together, k), network.predict(X), rtol=0, atol=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"optimizer": "adam"}, {}),
        ({"optimizer": "adam", "batch_size": 90}, {}),
        ({"optimizer": "lbfgs"}, {}),
        ({"class_weight": "balanced", "label_smoothing": 0.1}, {}),
        ({"optimizer": "adam"}, {"augmentation": NoiseAugmentation(0.1)}),
    ],
    ids=["batches", "full", "lbfgs", "classes", "augmentation"],
)
def test_equal_columns_are_weights_of_rows_to_the_bit(
    settings: dict[str, Any], options: dict[str, Any], engine: str
) -> None:
    found = []
    for weights in (ROW_WEIGHTS, np.tile(ROW_WEIGHTS[:, None], K)):
        network = ensemble(
            *members(3, SoftmaxActivation()), loss="categorical_cross_entropy", engine=engine, dtype="float32",
            metric=["log_loss", "accuracy"], **settings,
        )  # fmt: skip
        network.fit(X, LABELS, weights, validation=(X[:40], LABELS[:40], weights[:40]), **options)
        evaluated = network.evaluate(Dataset(X, LABELS, sample_weight=weights, target=network.target))
        found.append((bits_of(network), history_without_seconds(network), evaluated))
    assert found[0] == found[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_metrics_of_held_out_rows_are_out_of_fold(engine: str) -> None:
    network = ensemble(metric=["r2", "mean_absolute_error"], engine=engine)
    network.fit(X, Y, SEEN, validation=(X, Y, HELD_OUT))
    by_members = np.stack([of_member(network, k) for k in range(K)])
    out_of_fold = by_members[FOLDS, np.arange(90)]
    np.testing.assert_allclose(network.predict(X, HELD_OUT), out_of_fold, rtol=1e-12)
    np.testing.assert_allclose(network.predict(X), by_members.mean(axis=0), rtol=1e-12)
    expected = {
        "loss": np.mean((out_of_fold - Y) ** 2),
        "r2": r2_score(Y, out_of_fold),
        "mean_absolute_error": mean_absolute_error(Y, out_of_fold),
    }
    assert network.evaluate(Dataset(X, Y, sample_weight=HELD_OUT)) == pytest.approx(expected, rel=1e-10)
    for name, value in expected.items():
        assert network.history[f"validation_{name}"][-1] == pytest.approx(value, rel=1e-10)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("batch_size", [16, 90])
def test_training_metrics_are_those_of_the_members_that_saw_the_rows(batch_size: int, engine: str) -> None:
    """With a learning rate of almost 0, the weights stay what they are."""
    weights = SEEN * RNG.uniform(0.5, 2, SEEN.shape)
    weights[:7] = 0
    network = ensemble(
        *members(3, SoftmaxActivation()), loss="categorical_cross_entropy", metric=["log_loss", "accuracy"],
        learning_rate=1e-300, epochs=1, batch_size=batch_size, engine=engine,
    )  # fmt: skip
    network.fit(X, LABELS, weights)
    by_members = np.stack([of_member(network, k) for k in range(K)])
    rows = weights.sum(axis=1) > 0
    p = np.einsum("ik,kij->ij", weights, by_members)[rows] / weights[rows].sum(axis=1, keepdims=True)
    row_weights = weights[rows].sum(axis=1)
    of_members = -np.log(by_members[:, np.arange(90), LABELS]).T
    history = network.history
    assert history["loss"][0] == pytest.approx(np.average(of_members, weights=weights), rel=1e-10)
    log_loss = np.average(-np.log(p[np.arange(len(p)), LABELS[rows]]), weights=row_weights)
    assert history["log_loss"][0] == pytest.approx(log_loss, rel=1e-10)
    accuracy = accuracy_score(LABELS[rows], p.argmax(axis=1), sample_weight=row_weights)
    assert history["accuracy"][0] == pytest.approx(accuracy, rel=1e-10)


@pytest.mark.parametrize("shares_weights", [False, True])
def test_both_engines_train_alike(shares_weights: bool) -> None:
    fitted = []
    for engine in ENGINES:
        first = BatchEnsembleLayer(6, "signs") if shares_weights else EnsembleDenseLayer(6)
        network = ensemble(
            RepeatLayer(K), first, TanhActivation(), DropoutLayer(0.2), EnsembleDenseLayer(1),
            SigmoidActivation(), EnsembleMeanLayer(), engine=engine,
            loss="binary_cross_entropy", optimizer="adam", metric="roc_auc", clip_norm=0.1,
        )  # fmt: skip
        fitted.append(network.fit(X, LABELS > 0, SEEN, validation=(X, LABELS > 0, HELD_OUT)))
    for name, values in history_without_seconds(fitted[0]).items():
        np.testing.assert_allclose(fitted[1].history[name], values, rtol=1e-7)
    np.testing.assert_allclose(fitted[1].predict(X), fitted[0].predict(X), rtol=1e-7)


def test_gradients_are_right() -> None:
    layers = [RepeatLayer(K), BatchEnsembleLayer(6, "signs"), TanhActivation(), *members()[3:]]
    data = Dataset(X, Y, sample_weight=SEEN * RNG.uniform(0.5, 2, SEEN.shape))
    checked = check_gradients(ensemble(*layers, l2=0.1).fit(data), data)
    assert checked, str(checked)


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_whose_weights_are_all_0_count_nothing(engine: str) -> None:
    rows = np.arange(90) % 4 > 0
    weights = SEEN * rows[:, None]
    settings: dict[str, Any] = {"batch_size": 90, "optimizer": "rprop", "metric": "r2", "engine": engine}
    first = ensemble(**settings).fit(X, Y, weights, validation=(X, Y, HELD_OUT * rows[:, None]))
    second = ensemble(**settings).fit(X[rows], Y[rows], SEEN[rows], validation=(X[rows], Y[rows], HELD_OUT[rows]))
    for name, values in history_without_seconds(second).items():
        np.testing.assert_allclose(first.history[name], values, rtol=1e-7)


@pytest.mark.parametrize("class_weight", ["balanced", {1: 3.0}])
def test_class_weights_are_factors_of_all_members(class_weight: Any) -> None:
    settings: dict[str, Any] = {"loss": "categorical_cross_entropy", "metric": "log_loss"}
    balanced = ensemble(*members(3, SoftmaxActivation()), class_weight=class_weight, **settings)
    balanced.fit(X, LABELS, SEEN, validation=(X, LABELS, HELD_OUT))

    def weighted(weights: Any) -> Any:
        of_class = np.array([1.0, 3.0, 1.0])
        if class_weight == "balanced":
            of_class = 1 / np.bincount(LABELS, weights.sum(axis=1))
        return weights * of_class[LABELS, None]

    by_hand = ensemble(*members(3, SoftmaxActivation()), **settings)
    by_hand.fit(X, LABELS, weighted(SEEN), validation=(X, LABELS, weighted(HELD_OUT)))
    for name, values in history_without_seconds(by_hand).items():
        np.testing.assert_allclose(balanced.history[name], values, rtol=1e-9)


class InterruptAt(Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        self.place = (epoch, batch)

    def on_batch_end(self, run: Any) -> None:
        if (run.epoch, run.batch) == self.place:
            run.interrupt("the test says so")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_run_resumed_in_the_middle_of_an_epoch_is_the_undisturbed_run(engine: str, tmp_path: Path) -> None:
    data, validation = Dataset(X, Y, sample_weight=SEEN), Dataset(X, Y, sample_weight=HELD_OUT)

    def fitted(*callbacks: Callback) -> NeuralNetwork:
        network = ensemble(optimizer="adam", metric="r2", engine=engine, epochs=4)
        stopping = EarlyStopping(patience=2)
        return network.fit(data, validation=validation, callbacks=[*callbacks, stopping])

    undisturbed = fitted()
    interrupted = fitted(InterruptAt(2, 3), Checkpoint(tmp_path / "run"))
    assert interrupted.history.n_epochs == 2
    resumed = NeuralNetwork.resume(tmp_path / "run", data, validation=validation, callbacks=[EarlyStopping(patience=2)])
    assert bits_of(resumed) == bits_of(undisturbed)
    assert history_without_seconds(resumed) == history_without_seconds(undisturbed)
    others = np.roll(SEEN, 1, axis=1)
    with pytest.raises(ModelFileError, match="weights"):
        NeuralNetwork.resume(tmp_path / "run", X, Y, others, validation=validation)


def test_parts_of_a_dataset_keep_the_columns() -> None:
    data = Dataset(X, Y, sample_weight=SEEN)
    np.testing.assert_array_equal(data.take(slice(3, 9)).sample_weight, SEEN[3:9])  # type: ignore[arg-type]
    training, held_out = data.split(0.3, seed=0)
    assert [part.sample_weight.shape for part in (training, held_out)] == [(63, K), (27, K)]  # type: ignore[union-attr]
    network = ensemble(metric="r2").fit(data, validation=0.3)
    assert len(network.history["validation_r2"]) == 3


def test_models_and_baselines_measure_such_rows() -> None:
    scaling = TargetScaling.learn(Y)
    network = ensemble(metric="r2").fit(X, scaling.apply(Y), SEEN)
    data = Dataset(X, Y, sample_weight=HELD_OUT)
    assert data.target is not None
    measured = Model(network, data.target, scaling=scaling).evaluate(data)
    out_of_fold = scaling.undo(np.stack([of_member(network, k) for k in range(K)])[FOLDS, np.arange(90)])
    assert measured["r2"] == pytest.approx(r2_score(Y, out_of_fold))
    weighted, by_hand = (
        measure_baselines(Dataset(X, Y, sample_weight=weights), Dataset(X, Y, sample_weight=weights))
        for weights in (SEEN * ROW_WEIGHTS[:, None], 2 / 3 * ROW_WEIGHTS)
    )
    for one, other in zip(weighted, by_hand, strict=True):
        assert one.metrics == pytest.approx(other.metrics)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no members": (
        lambda: ensemble(DenseLayer(2)).fit(X, Y, SEEN),
        r"shape \(90, 3\), .* this network has no members: .* shape \(90,\), .* EnsembleMeanLayer",
    ),
    "a mean in the middle": (
        lambda: ensemble(*members(), TanhActivation(), DenseLayer(2)).fit(X, Y, SEEN),
        "this network has no members",
    ),
    "other members": (lambda: ensemble().fit(X, Y, SEEN[:, :2]), r"shape \(90, 2\), .* this network has 3 members"),
    "one column": (lambda: ensemble().fit(X, Y, SEEN[:, :1]), r"shape \(90, 1\), .* this network has 3 members"),
    "validation": (
        lambda: ensemble().fit(X, Y, validation=(X, Y, SEEN[:, :2])),
        r"shape \(90, 2\), .* this network has 3 members",
    ),
    "evaluate": (
        lambda: ensemble().fit(X, Y).evaluate(Dataset(X, Y, sample_weight=SEEN[:, :2])),
        r"shape \(90, 2\), .* this network has 3 members",
    ),
    "predict": (lambda: ensemble().fit(X, Y).predict(X, SEEN[:, :2]), r"shape \(90, 2\), .* has 3 members"),
    "rows of predict": (lambda: ensemble().fit(X, Y).predict(X, SEEN[1:]), r"shape \(89, 3\); give one value per row"),
    "three dimensions": (lambda: Dataset(X, Y, sample_weight=SEEN[..., None]), r"shape \(90, 3, 1\); give one value"),
    "no columns": (lambda: Dataset(X, Y, sample_weight=SEEN[:, :0]), r"shape \(90, 0\); give one value"),
    "negative": (
        lambda: Dataset(X, Y, sample_weight=SEEN - np.eye(90)[:, :K] * 9),
        r"in row 1, column 1 \(counted from 1\); weights must be",
    ),
    "a member without rows": (
        lambda: ensemble().fit(X, Y, SEEN * [1, 0, 1]),
        "No training row has a weight above 0 for member 2 of the ensemble",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name: str) -> None:
    call, words = REFUSED[name]
    with pytest.raises(InvalidInputError, match=words):
        call()


def test_a_member_may_have_no_rows_to_validate_on() -> None:
    network = ensemble(metric="r2").fit(X, Y, SEEN, validation=(X[FOLDS == 0], Y[FOLDS == 0], HELD_OUT[FOLDS == 0]))
    predicted = of_member(network, 0)[FOLDS == 0]
    assert network.history["validation_r2"][-1] == pytest.approx(r2_score(Y[FOLDS == 0], predicted))
