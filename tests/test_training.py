"""The fit loop: resuming bit for bit, sample weights, seeds, and what is recorded."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import kernels
from chainrule.activations import ReLUActivation, SigmoidActivation, SoftmaxActivation, TanhActivation
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau, TrainingRun
from chainrule.data import Dataset
from chainrule.engines import NumpyEngine, TrainingPlan
from chainrule.engines.numpy_engine import NumpySession
from chainrule.errors import DataError, DivergenceError, InvalidInputError, ModelFileError
from chainrule.files import Checkpoint
from chainrule.fit_data import as_rows
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    GaussianNoiseLayer,
    InputScalingLayer,
)
from chainrule.losses import BinaryCrossEntropy, GaussianNegativeLogLikelihood
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, SGD, AdamW
from chainrule.penalties import L2
from chainrule.schedules import CosineDecay
from support.children import child_environment
from support.networks import bits_of, class_rows, history_without_seconds, network_of, regression_rows, take_step

# Resuming -----------------------------------------------------------------------------------------

TRAINING, VALIDATION = class_rows(70, seed=1), class_rows(40, seed=2)
OPTIMIZER_NAMES = sorted(name for name in OPTIMIZERS.classes if name != "levenberg_marquardt")


def rich_network(optimizer: str = "adam", **settings: Any) -> NeuralNetwork:
    """Everything at once that a checkpoint must not forget."""
    return network_of(
        DenseLayer(8, (5,)), BatchNormalizationLayer(), ReLUActivation(), DropoutLayer(0.3), GaussianNoiseLayer(0.05),
        DenseLayer(3), SoftmaxActivation(), loss="categorical_cross_entropy", metric=["accuracy", "log_loss"],
        optimizer=optimizer, l2=1e-3, clip_norm=None if optimizer == "lbfgs" else 0.5, max_norm=2.0,
        label_smoothing=0.05,
        schedule=CosineDecay(epochs=12), class_weight="balanced", **{"epochs": 8, "batch_size": 16, **settings},
    )  # fmt: skip


class KeepEveryCheckpoint(Callback):
    """Copy each checkpoint away as soon as it is written."""

    order = Checkpoint.order + 1

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder, self.copies = path, folder, []

    def keep(self, run: TrainingRun) -> None:
        if self.path.exists():
            self.copies.append(self.folder / f"{run.epoch}-{run.batch}")
            shutil.copy(self.path, self.copies[-1])

    on_batch_end = on_epoch_end = keep


def companions(path: Path, **checkpoint: Any) -> list[Callback]:
    return [
        EarlyStopping(patience=2, min_epochs=2),
        ReduceOnPlateau(monitor="loss", patience=1, factor=0.5, min_delta=0.05),
        Checkpoint(path, **checkpoint),
    ]


def outcome(network: NeuralNetwork) -> tuple[Any, ...]:
    return bits_of(network), history_without_seconds(network), network.stop_reason


@pytest.mark.parametrize("optimizer", OPTIMIZER_NAMES)
def test_a_run_resumed_from_any_moment_is_the_undisturbed_run(optimizer: str, tmp_path: Path) -> None:
    undisturbed = rich_network(optimizer)
    undisturbed.fit(TRAINING, validation=VALIDATION, callbacks=companions(tmp_path / "first"))
    if optimizer == "adam":  # the callbacks have something to remember
        assert "not improved" in str(undisturbed.stop_reason)
        assert undisturbed.history["learning_rate"][-1] < 0.3 * undisturbed.history["learning_rate"][0]
    path = tmp_path / "checkpoint"
    keeper = KeepEveryCheckpoint(path, tmp_path)
    rich_network(optimizer).fit(TRAINING, validation=VALIDATION, callbacks=[*companions(path, every_batches=1), keeper])
    assert len(keeper.copies) >= undisturbed.history.n_epochs
    ends = [copy for copy in keeper.copies if copy.name.endswith("-0")]
    inside = [copy for copy in keeper.copies if not copy.name.endswith("-0")]
    rng = np.random.default_rng(len(optimizer))
    if optimizer != "adam":
        ends = [ends[i] for i in rng.permutation(len(ends))[:2]]
    some = rng.permutation(len(inside))[:3]
    for copy in [*ends, *(inside[i] for i in some)]:
        resumed = NeuralNetwork.resume(
            copy, TRAINING, validation=VALIDATION, callbacks=companions(tmp_path / "second", every_batches=1)
        )
        assert outcome(resumed) == outcome(undisturbed), copy.name


class InterruptAt(Callback):
    def __init__(self, epoch: int, batch: int) -> None:
        self.place = (epoch, batch)

    def on_batch_end(self, run: TrainingRun) -> None:
        if (run.epoch, run.batch) == self.place:
            run.interrupt("the test says so")


@pytest.mark.parametrize("batch", [1, 3, 5])  # 5 is the last of an epoch
def test_an_interrupted_run_is_resumed_where_it_stopped(batch: int, tmp_path: Path) -> None:
    undisturbed, interrupted = rich_network(batch_size=12), rich_network(batch_size=12)
    undisturbed.fit(TRAINING, validation=0.2, callbacks=companions(tmp_path / "first"))
    path = tmp_path / "checkpoint"
    interrupted.fit(TRAINING, validation=0.2, callbacks=[InterruptAt(2, batch), *companions(path, every=100)])
    assert interrupted.stop_reason == "the test says so"
    assert interrupted.history.n_epochs == 2
    resumed = NeuralNetwork.resume(path, TRAINING, validation=0.2, callbacks=companions(path, every=100))
    assert outcome(resumed) == outcome(undisturbed)


class StopInside(Callback):
    def on_batch_end(self, run: TrainingRun) -> None:
        if (run.epoch, run.batch) == (1, 2):
            run.stop("enough")


def test_a_run_told_to_stop_completes_its_epoch_even_over_a_resume(tmp_path: Path) -> None:
    undisturbed = rich_network().fit(TRAINING, callbacks=[StopInside()])
    assert (undisturbed.history.n_epochs, undisturbed.stop_reason) == (2, "enough")
    path = tmp_path / "checkpoint"
    keeper = KeepEveryCheckpoint(path, tmp_path)
    rich_network().fit(TRAINING, callbacks=[StopInside(), Checkpoint(path, every_batches=1), keeper])
    resumed = NeuralNetwork.resume(tmp_path / "1-3", TRAINING)
    assert outcome(resumed) == outcome(undisturbed)


def test_the_checkpoint_of_a_finished_run_gives_its_result(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    done = rich_network().fit(TRAINING, validation=VALIDATION, callbacks=companions(path))
    again = NeuralNetwork.resume(path, TRAINING, validation=VALIDATION, callbacks=companions(path))
    assert outcome(again) == outcome(done)


def test_levenberg_marquardt_resumes_with_its_damping(tmp_path: Path) -> None:
    data, path = regression_rows(60), tmp_path / "checkpoint"
    keeper = KeepEveryCheckpoint(path, tmp_path)
    undisturbed = network_of(
        DenseLayer(4, (5,)), TanhActivation(), DenseLayer(1), optimizer="levenberg_marquardt", epochs=6
    )
    undisturbed.fit(data, callbacks=[Checkpoint(path), keeper])
    for copy in keeper.copies:
        assert outcome(NeuralNetwork.resume(copy, data)) == outcome(undisturbed)


def test_a_resume_refuses_other_data(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    rich_network(epochs=1).fit(TRAINING, callbacks=[Checkpoint(path)])
    for other in (VALIDATION, class_rows(70, seed=9), TRAINING.take(np.arange(70)[::-1])):
        with pytest.raises(ModelFileError, match="other data"):
            NeuralNetwork.resume(path, other)


def test_a_resume_wants_the_callbacks_that_steered_the_run(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    rich_network(epochs=2).fit(TRAINING, callbacks=[EarlyStopping(), Checkpoint(path)])
    with pytest.raises(ModelFileError, match="steered by the callback EarlyStopping; give it again"):
        NeuralNetwork.resume(path, TRAINING)


def test_a_checkpoint_can_be_loaded_as_the_network_that_it_was(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    network = rich_network(epochs=2).fit(TRAINING, callbacks=[Checkpoint(path)])
    loaded = NeuralNetwork.load(path)
    assert loaded.predict(TRAINING).tobytes() == network.predict(TRAINING).tobytes()
    assert loaded.history["loss"] == network.history["loss"]


KILLED = """
import sys
from pathlib import Path
from test_training import Checkpoint, EarlyStopping, NeuralNetwork, ReduceOnPlateau, Slow, class_rows, rich_network
path = Path(sys.argv[1])
training, validation = class_rows(1000, seed=1), class_rows(300, seed=2)
callbacks = [Slow(), EarlyStopping(patience=500), ReduceOnPlateau(patience=1), Checkpoint(path, every_batches=7)]
if path.exists():
    network = NeuralNetwork.resume(path, training, validation=validation, callbacks=callbacks)
else:
    network = rich_network(epochs=int(sys.argv[2])).fit(training, validation=validation, callbacks=callbacks)
network.save(sys.argv[3])
"""


class Slow(Callback):
    """Leaves time to be killed in, however fast the machine."""

    def on_batch_end(self, run: TrainingRun) -> None:
        time.sleep(0.001)


@pytest.mark.parametrize("n_kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_a_run_killed_again_and_again_ends_with_the_same_bits(n_kills: int, tmp_path: Path) -> None:
    """SIGKILL, which no program can answer, at random moments after the first checkpoint."""
    rng = np.random.default_rng(n_kills)
    environment = child_environment()
    n_epochs = 4 * n_kills  # of 63 batches each

    def command(path: Path, result: Path) -> list[str]:
        return [sys.executable, "-c", KILLED, str(path), str(n_epochs), str(result)]

    subprocess.run(command(tmp_path / "calm", tmp_path / "calm result"), env=environment, check=True)
    path, kills = tmp_path / "checkpoint", 0
    while not (tmp_path / "result").exists():
        changed = path.stat().st_mtime_ns if path.exists() else 0
        process = subprocess.Popen(command(path, tmp_path / "result"), env=environment)
        if kills < n_kills:
            while process.poll() is None and (path.stat().st_mtime_ns if path.exists() else 0) == changed:
                time.sleep(0.001)
            try:
                process.wait(timeout=float(rng.uniform(0, 0.2)))
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
        assert process.wait() in (0, -9)
    assert kills == n_kills, "the run ended before it could be killed often enough"
    calm, disturbed = (NeuralNetwork.load(tmp_path / name) for name in ("calm result", "result"))
    assert bits_of(disturbed) == bits_of(calm)
    assert history_without_seconds(disturbed) == history_without_seconds(calm)


# Seeds --------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, second, other = (rich_network(seed=seed).fit(TRAINING, validation=0.2) for seed in (3, 3, 4))
    assert outcome(first) == outcome(second)
    assert bits_of(first) != bits_of(other)
    assert first.history["loss"] != other.history["loss"]


def test_reset_repeats_the_run_and_a_second_fit_goes_on() -> None:
    network = rich_network().fit(TRAINING)
    once = outcome(network)
    network.fit(TRAINING)
    assert network.history["epoch"] == list(range(1, 17))
    assert network.history["loss"][8] < network.history["loss"][0]
    assert bits_of(network) != once[0]
    network.reset()
    assert network.history.n_epochs == 0
    assert outcome(network.fit(TRAINING)) == once


def test_without_a_seed_one_is_drawn_and_repeats_the_run() -> None:
    first, second = rich_network(seed=None), rich_network(seed=None)
    assert first.seed != second.seed
    assert outcome(rich_network(seed=first.seed).fit(TRAINING)) == outcome(first.fit(TRAINING))


IN_A_PROCESS = """
import json
from test_training import TRAINING, rich_network
network = rich_network("sgd", learning_rate=0.1).fit(TRAINING)
print(json.dumps([network.history["loss"], network.predict(TRAINING).astype(float).tolist()]))
"""


def in_a_process(**environment: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        env=child_environment(**environment),
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def test_another_process_computes_the_same_bits() -> None:
    network = rich_network("sgd", learning_rate=0.1).fit(TRAINING)
    assert in_a_process() == [network.history["loss"], network.predict(TRAINING).astype(float).tolist()]


def test_both_kernel_sets_train_alike() -> None:
    """With plain descent: Adam blows up the rounding in gradients that are 0, those of biases that are normalised."""
    network = rich_network("sgd", learning_rate=0.1).fit(TRAINING)
    losses, predictions = in_a_process(CHAINRULE_KERNELS="numpy" if kernels.active_set() == "numba" else "numba")
    np.testing.assert_allclose(losses, network.history["loss"], rtol=1e-5)
    np.testing.assert_allclose(predictions, network.predict(TRAINING), atol=1e-5)


# Weights of rows ----------------------------------------------------------------------------------


def weighted_pairs() -> dict[str, tuple[Dataset, Dataset]]:
    """Data with weights, and data without that must count the same, in full batches."""
    data, n = class_rows(60, n_classes=2), np.arange(60)
    kept, twice = n[n % 3 > 0], np.concatenate([n, n[:20]])
    return {
        "a weight of 0 is an absent row": (with_weights(data, n % 3 > 0), data.take(kept)),
        "a weight of 2 is a row twice": (with_weights(data, 1 + (n < 20)), data.take(twice)),
        "only proportions count": (with_weights(data, np.full(60, 7.5)), data),
    }


def with_weights(data: Dataset, weights: Any) -> Dataset:
    return Dataset(data.X, data.y, sample_weight=np.asarray(weights, float))


def binary_network(**settings: Any) -> NeuralNetwork:
    settings = {
        "loss": "bce",
        "metric": ["accuracy", "log_loss", "roc_auc"],
        "batch_size": 100,
        "epochs": 5,
        **settings,
    }
    return network_of(DenseLayer(4, (5,)), TanhActivation(), DenseLayer(1), SigmoidActivation(), **settings)


@pytest.mark.parametrize("name", weighted_pairs())
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_weights_of_rows_count_everywhere(name: str, optimizer: str) -> None:
    weighted, plain = weighted_pairs()[name]
    first, second = (
        binary_network(optimizer=optimizer, dtype="float64").fit(data, validation=data) for data in (weighted, plain)
    )
    np.testing.assert_allclose(first.stack.vector.values, second.stack.vector.values, rtol=1e-7)
    assert first.history.keys() == second.history.keys()
    for quantity in set(first.history) - {"seconds"}:
        np.testing.assert_allclose(first.history[quantity], second.history[quantity], rtol=1e-7, err_msg=quantity)
    assert first.evaluate(weighted) == pytest.approx(second.evaluate(plain), rel=1e-7)


def test_least_squares_with_weights_too() -> None:
    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(40, 2)), rng.uniform(0, 3, 40)
    y = rng.normal(size=40)
    network = network_of(DenseLayer(1, (2,)), optimizer="levenberg_marquardt", epochs=20, dtype="float64")
    network.fit(Dataset(X, y, sample_weight=weights))
    root = np.sqrt(weights)
    solution = np.linalg.lstsq(np.column_stack([X, np.ones(40)]) * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(network.layers[0].parameter_views["weights"][:, 0], solution[:2], rtol=1e-6)


def test_balanced_classes_are_the_sample_weights_that_make_them_so() -> None:
    y = (np.arange(80) % 4 == 0).astype(int)
    X = np.random.default_rng(0).normal(size=(80, 5)) + y[:, None]
    explicit = np.where(y == 1, 80 / (2 * 20), 80 / (2 * 60))
    balanced = binary_network(class_weight="balanced", batch_size=16).fit(X, y, validation=(X, y))
    weighted = binary_network(batch_size=16).fit(
        Dataset(X, y, sample_weight=explicit), validation=Dataset(X, y, sample_weight=explicit)
    )
    named = binary_network(class_weight={0: 80 / 120, 1: 2.0}, batch_size=16).fit(X, y, validation=(X, y))
    assert outcome(balanced) == outcome(weighted)
    assert bits_of(named) == bits_of(weighted)
    assert bits_of(balanced) != bits_of(binary_network(batch_size=16).fit(X, y))


def test_weighted_validation_changes_the_decision_of_early_stopping() -> None:
    """The network learns y = x; half of the validation rows disagree, and their weight decides whether they count."""
    X = np.linspace(-1, 1, 40)[:, None]
    rows, targets = np.vstack([X, X]), np.concatenate([X[:, 0], -X[:, 0]])

    def best_epoch(weight_of_the_true: float) -> int:
        weights = np.repeat([weight_of_the_true, 1 - weight_of_the_true], 40)
        stopping = EarlyStopping(patience=30)
        network = network_of(DenseLayer(1, (1,), weights_initializer="zeros"), learning_rate=0.1, epochs=30)
        network.fit(X, X[:, 0], validation=Dataset(rows, targets, sample_weight=weights), callbacks=[stopping])
        return stopping.best_epoch

    assert best_epoch(0.9) == 30 or best_epoch(0.9) > best_epoch(0.1)
    assert best_epoch(0.1) == 1


# What is recorded ---------------------------------------------------------------------------------


def test_the_history_tells_the_numbers_of_the_step_that_was_made() -> None:
    """One full batch an epoch: each epoch's loss is that of the weights before its step, and so is the gradient."""
    data = regression_rows(40)
    network = network_of(
        DenseLayer(3, (5,)), TanhActivation(), DenseLayer(1), metric="mse", dtype="float64", penalty=L2(0.1), epochs=1,
        batch_size=40, learning_rate=0.1,
    )  # fmt: skip
    for epoch in range(3):
        before = network.stack.vector.values.copy()
        loss = network.evaluate(data)["loss"]
        network.fit(data, validation=data)
        history = network.history
        assert history["loss"][epoch] == pytest.approx(loss)
        assert history["mean_squared_error"][epoch] == pytest.approx(loss)
        assert history["validation_loss"][epoch] == pytest.approx(network.evaluate(data)["loss"])
        weights = network.stack.vector.penalized_values
        assert history["penalty"][epoch] == pytest.approx(0.05 * float(weights @ weights))
        move = np.linalg.norm(network.stack.vector.values - before)
        assert history["gradient_norm"][epoch] == pytest.approx(move / 0.1)
        assert history["learning_rate"][epoch] == 0.1
        assert history["seconds"][epoch] > 0
    assert network.history["epoch"] == [1, 2, 3]


def test_the_metrics_of_an_epoch_are_those_of_all_its_rows_short_batch_included() -> None:
    data = class_rows(50, n_classes=2)
    network = binary_network(learning_rate=1e-12, epochs=1, batch_size=7).fit(data)
    measured = network.evaluate(data)
    for name, value in measured.items():
        assert network.history[name][0] == pytest.approx(value, rel=1e-5), name


def test_schedules_count_from_the_start_of_a_fit() -> None:
    network = network_of(
        DenseLayer(1, (5,)), schedule=CosineDecay(epochs=4), learning_rate=0.2, epochs=4, batch_size=200
    )
    network.fit(regression_rows()).fit(regression_rows())
    expected = [0.2 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    np.testing.assert_allclose(network.history["learning_rate"], expected * 2)


def test_a_validation_share_is_held_out_with_the_classes_in_proportion() -> None:
    data, seen = class_rows(90), []

    class Look(Callback):
        def on_fit_start(self, run: TrainingRun) -> None:
            seen.append((run.n_batches, run.has_validation))

    network = rich_network(epochs=1, batch_size=1)
    network.fit(data, validation=1 / 3, callbacks=[Look()])
    assert seen == [(60, True)]
    training, held_out = data.split(1 / 3, seed=network.seed)
    assert np.bincount(held_out.y).tolist() == [10, 10, 10]
    other = rich_network(epochs=1, batch_size=1).fit(training, validation=held_out)
    assert outcome(other) == outcome(network)


def test_losses_with_more_outputs_than_targets_are_measured_on_the_predictions() -> None:
    data = regression_rows(80)
    network = network_of(
        DenseLayer(8, (5,)), TanhActivation(), DenseLayer(2), loss=GaussianNegativeLogLikelihood, metric="r2",
        optimizer="adam", learning_rate=0.02, epochs=150,
    ).fit(data, validation=data)  # fmt: skip
    assert network.history["r2"][-1] > 0.8
    assert network.predict(data).shape == (80, 2)
    assert network.score(data) == pytest.approx(network.history["validation_r2"][-1])


def test_label_smoothing_is_for_training_only() -> None:
    data = class_rows(40, n_classes=2)
    network = binary_network(label_smoothing=0.2, learning_rate=1e-12, epochs=1).fit(data, validation=data)
    plain = BinaryCrossEntropy().loss(data.outputs(1), network.predict(data))
    smoothed = BinaryCrossEntropy().loss(data.outputs(1) * 0.8 + 0.1, network.predict(data))
    assert network.history["validation_loss"][0] == pytest.approx(plain, rel=1e-5)
    assert network.history["loss"][0] == pytest.approx(smoothed, rel=1e-5)


def test_a_callback_that_fails_at_the_start_leaves_nothing_open() -> None:
    events: list[str] = []

    class Opens(Callback):
        def on_fit_start(self, run: TrainingRun) -> None:
            events.append("opened")

        def on_fit_end(self, run: TrainingRun) -> None:
            events.append("closed")

    with pytest.raises(ValueError, match="watches"):
        network_of(DenseLayer(1, (5,))).fit(regression_rows(), callbacks=[Opens(), EarlyStopping(monitor="nothing")])
    assert events == ["opened", "closed"]


def test_callbacks_are_called_in_order_and_in_their_places() -> None:
    events: list[str] = []

    class Notes(Callback):
        def on_fit_start(self, run: TrainingRun) -> None:
            events.append("start")

        def on_epoch_start(self, run: TrainingRun) -> None:
            events.append(f"epoch {run.epoch}")

        def on_batch_end(self, run: TrainingRun) -> None:
            events.append(f"batch {run.batch}")

        def on_epoch_end(self, run: TrainingRun) -> None:
            events.append(f"epoch {run.epoch} done")

        def on_fit_end(self, run: TrainingRun) -> None:
            events.append("end")

    network_of(DenseLayer(1, (5,)), epochs=2, batch_size=5).fit(regression_rows(10), callbacks=[Notes()])
    one = ["batch 1", "batch 2"]
    assert events == ["start", "epoch 0", *one, "epoch 1 done", "epoch 1", *one, "epoch 2 done", "end"]


# What a review found ------------------------------------------------------------------------------


def test_layers_added_after_a_fit_get_an_optimizer_state_of_their_size() -> None:
    """The compiled kernels check no bounds: a stale state of one number would be written past its end."""
    network = network_of(InputScalingLayer(), optimizer="adam", epochs=2, loss="mse")
    X = np.linspace(-1, 1, 20)[:, None]
    network.fit(X, X[:, 0])
    for layer in (DenseLayer(50), DenseLayer(1)):
        network.add(layer)
    network.fit(X, X[:, 0])
    assert all(array.size in (1, network.stack.vector.size) for array in network.optimizer.state.values())


def test_a_step_by_hand_decays_weights_and_not_biases() -> None:
    layer = DenseLayer(1, (1,))
    network = network_of(layer, optimizer=AdamW(0.1, weight_decay=1.0))
    layer.weights, layer.biases = [[10.0]], [10.0]
    network.forward_propagation([[0.0]], training=True)
    network.backward_propagation(np.zeros((1, 1)))
    assert layer.weights[0, 0] == pytest.approx(9)
    assert layer.biases[0] == 10


def test_running_statistics_that_overflow_stop_the_run() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    X[7] *= 1e20
    network = network_of(BatchNormalizationLayer(), DenseLayer(1), epochs=3)
    with pytest.raises(DivergenceError, match=r"running_(mean|variance) of layer 1"):
        network.fit(X, np.zeros(40) + np.arange(40))
    assert np.isfinite(network.predict(X[:5])).all()


def test_an_optimizer_whose_averages_overflow_stops_the_run() -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)) * 1e10
    with pytest.raises(DivergenceError, match="square of Adam"):
        network_of(DenseLayer(1, (3,)), optimizer="adam", epochs=3).fit(X, X[:, 0])


def test_an_input_too_large_for_the_type_is_said_to_be() -> None:
    X = np.ones((20, 2))
    X[3, 1] = 1e39
    with pytest.raises(DataError, match=r"1e\+39, which is too large for float32"):
        network_of(DenseLayer(1, (2,))).fit(X, np.arange(20.0))


def test_numbers_have_no_labels_to_smooth() -> None:
    with pytest.raises(InvalidInputError, match="label_smoothing needs targets that are classes"):
        network_of(DenseLayer(1, (5,)), label_smoothing=0.2).fit(regression_rows(30))


@pytest.mark.parametrize("optimizer", ["lbfgs", "levenberg_marquardt"])
def test_the_gradient_norm_of_a_second_order_step_is_that_of_its_start(optimizer: str) -> None:
    data = regression_rows(60)
    network = network_of(DenseLayer(1, (5,)), optimizer=optimizer, epochs=1, dtype="float64")
    session = NumpyEngine().open(network.stack, TrainingPlan(network.loss, SGD()))
    take_step(session, as_rows(network.stack, network.loss, data), 0.0)
    at_start = session.gradient_norm()
    network.fit(data)
    assert network.history["gradient_norm"][0] == pytest.approx(at_start)


def test_weights_that_are_all_zero_in_one_part_are_refused() -> None:
    data = regression_rows(20)
    with pytest.raises(DataError, match="No training row has a weight above 0"):
        linear_network().fit(_zero_weights(data))
    with pytest.raises(InvalidInputError, match="at least one must be above 0"):
        linear_network().fit(data, validation=_zero_weights(data))


def test_every_callback_has_its_last_word() -> None:
    words: list[str] = []

    class Speaker(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_fit_end(self, run: TrainingRun) -> None:
            words.append(self.name)
            if self.name == "b":
                raise RuntimeError("b")

    with pytest.raises(RuntimeError, match="b"):
        linear_network().fit(regression_rows(20), callbacks=[Speaker(name) for name in "abc"])
    assert words == ["a", "b", "c"]


def linear_network() -> NeuralNetwork:
    return network_of(DenseLayer(1, (5,)), epochs=1)


def _zero_weights(data: Dataset) -> Dataset:
    zero = data.take(np.arange(data.n_rows))
    zero.sample_weight = np.zeros(data.n_rows)
    return zero


@pytest.mark.parametrize(("code", "is_interrupted"), [(0, True), (1, False)])
def test_what_another_process_has_decided_is_done_here(
    code: int, is_interrupted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was interrupted is to be resumed, so this one must not conclude the run either."""
    ends: list[bool] = []

    class Watch(Callback):
        def on_fit_end(self, run: TrainingRun) -> None:
            ends.append(run.is_interrupted)

    network = network_of(DenseLayer(1), epochs=5, batch_size=200)
    questions: list[int] = []

    def all_reduce_min(session: NumpySession, number: int) -> int:
        questions.append(number)
        return number if len(questions) <= 3 else code  # asked before an epoch, before its one call, and after it

    monkeypatch.setattr(NumpySession, "all_reduce_min", all_reduce_min)
    network.fit(regression_rows(), callbacks=[Watch()])
    assert network.history.n_epochs == 1
    assert ends == [is_interrupted]
    assert network.stop_reason == "another process of the run was stopped"


# The way from fit to a layer ------------------------------------------------------------------------


class Probe(DenseLayer):
    """Records the functions of chainrule that call it, from the outermost to the innermost."""

    calls: tuple[str, ...] = ()

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        frame, calls = sys._getframe(), []
        while frame is not None:
            module = frame.f_globals.get("__name__", "")
            if module.startswith("chainrule."):
                calls.append(f"{module}.{frame.f_code.co_name}")
            frame = frame.f_back  # type: ignore[assignment]
        Probe.calls = Probe.calls or tuple(reversed(calls))
        return super().forward_propagation(inputs, training)


def test_few_calls_lie_between_fit_and_the_first_layer() -> None:
    """A reader follows fit, the loop and the engine's step, and has arrived at the layer."""
    network_of(Probe(1, (5,)), epochs=1).fit(regression_rows(10))
    from_fit = Probe.calls[Probe.calls.index("chainrule.neuralnet.fit") :]
    assert from_fit[:3] == (
        "chainrule.neuralnet.fit",
        "chainrule.training.train",
        "chainrule.engines.numpy_engine.train_batches",
    )
    assert len(from_fit) + 1 <= MOST_FRAMES, " -> ".join([*from_fit, "Probe.forward_propagation"])


MOST_FRAMES = 8  # the three above, the engine's own, and that of the layer


# Class weights and probabilities ------------------------------------------------------------------

PROBABILITIES = np.random.default_rng(0).dirichlet([0.3] * 3, 60)


def weighted_network(n_units: int, **settings: Any) -> NeuralNetwork:
    last, loss = (SigmoidActivation(), "binary") if n_units == 1 else (SoftmaxActivation(), "categorical")
    return network_of(DenseLayer(n_units, (5,)), last, loss=f"{loss}_cross_entropy", epochs=2, **settings)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_row_of_probabilities_has_the_mean_of_its_class_weights(n_classes: int, smoothing: float) -> None:
    X, y = regression_rows(60).X, PROBABILITIES if n_classes == 3 else PROBABILITIES[:, 0]
    shares = PROBABILITIES if n_classes == 3 else np.column_stack([1 - y, y])
    settings: dict[str, Any] = {"n_units": n_classes if n_classes > 2 else 1, "label_smoothing": smoothing}
    for class_weight in ({0: 4.0, 1: 0.5}, "balanced"):
        of_class = np.array([4.0, 0.5, 1.0])[:n_classes]
        if class_weight == "balanced":
            of_class = shares.sum() / n_classes / shares.sum(axis=0)
        weighted = weighted_network(class_weight=class_weight, **settings).fit(X, y, validation=(X, y))
        by_hand = weighted_network(**settings).fit(Dataset(X, y, sample_weight=shares @ of_class))
        np.testing.assert_allclose(weighted.stack.vector.values, by_hand.stack.vector.values, rtol=1e-5)


def test_class_weights_of_one_hot_rows_are_those_of_their_classes() -> None:
    data = class_rows(60)
    of_codes = weighted_network(3, class_weight={1: 5.0}).fit(data)
    of_rows = weighted_network(3, class_weight={1: 5.0}).fit(data.X, np.eye(3)[data.y])
    assert bits_of(of_codes) == bits_of(of_rows)


def test_class_weights_are_not_for_rows_with_several_labels() -> None:
    labels = np.array([[1.0, 1.0, 0.0]] * 60)
    network = network_of(DenseLayer(3, (5,)), SigmoidActivation(), loss="binary_cross_entropy", class_weight={0: 2.0})
    with pytest.raises(InvalidInputError, match="these targets have several labels"):
        network.fit(regression_rows(60).X, labels)


# The way from fit to the arithmetic ---------------------------------------------------------------


def functions_from_fit() -> list[str]:
    """The functions from ``fit`` to the caller of this function, with decorators and contexts."""
    names, frame = [], sys._getframe(1)
    while frame.f_code is not NeuralNetwork.fit.__code__:
        names.append(frame.f_code.co_qualname)
        assert frame.f_back is not None
        frame = frame.f_back
    return ["NeuralNetwork.fit", *reversed(names)]


class Witness(DenseLayer):
    """A dense layer that notes how it is reached; what it overrides keeps it from compiled code."""

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        if training:
            self.reached_by = functions_from_fit()
        return super().forward_propagation(inputs, training)


def test_fit_reaches_the_first_layer_in_five_functions() -> None:
    layer = Witness(4, (5,))
    network = network_of(layer, TanhActivation(), DenseLayer(1), epochs=1, penalty=L2(0.1), clip_norm=1.0)
    network.fit(regression_rows(20))
    print(*layer.reached_by, sep="\n")
    assert len(layer.reached_by) <= 5, layer.reached_by


@pytest.mark.skipif(kernels.active_set() != "numba", reason="compiled code is switched off")
def test_fit_reaches_compiled_code_in_five_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.kernels.tape import Tape

    reached_by: list[str] = []
    run = Tape.run

    def noted(tape: Tape, *arguments: Any) -> int:
        reached_by[:] = functions_from_fit()
        return run(tape, *arguments)

    monkeypatch.setattr(Tape, "run", noted)
    network_of(DenseLayer(4, (5,)), TanhActivation(), DenseLayer(1), epochs=1, clip_norm=1.0).fit(regression_rows(20))
    print(*reached_by, sep="\n")
    assert 0 < len(reached_by) <= 5, reached_by
