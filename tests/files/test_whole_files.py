"""Models and checkpoints are checked as a whole when they are read: parts against each other, counters, numbers."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.callbacks import EarlyStopping, ReduceOnPlateau
from chainrule.data import Dataset, TablePreprocessor, Target
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.files import read_model_file, write_model_file
from chainrule.layers import BatchNormalizationLayer, DenseLayer, LayerNormalizationLayer
from chainrule.model import Model, TargetScaling
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import LBFGS, LevenbergMarquardt, Muon
from chainrule.schedules import StepDecay
from chainrule.types import Array
from support.hostile_files import (
    CASES,
    CLASSES,
    NUMBERS,
    StopSoon,
    try_many,
    write_checkpoint,
    write_classifier,
    write_model,
    write_network,
)
from support.networks import bits_of, network_of

Change = Callable[[dict[str, Any], dict[str, Array]], Any]


def changed(path: Path, change: Change) -> Path:
    """The file with its metadata and arrays changed, whatever sense that makes."""
    metadata, arrays = read_model_file(path, "model", "network", "checkpoint")
    change(metadata, arrays)
    kind = metadata.pop("kind")
    other = path.with_suffix(".changed")
    write_model_file(other, kind, {name: value for name, value in metadata.items() if name != "version"}, arrays)
    return other


def setting(*path: Any, to: Any) -> Change:
    def change(metadata: dict[str, Any], _: Any) -> None:
        place: Any = metadata
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = copy.deepcopy(to)

    return change


def without(*path: Any) -> Change:
    def change(metadata: dict[str, Any], _: Any) -> None:
        place: Any = metadata
        for step in path[:-1]:
            place = place[step]
        del place[path[-1]]

    return change


def array(name: str, place: Any, to: Any) -> Change:
    def change(_: Any, arrays: dict[str, Array]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name][place] = to

    return change


# Models -------------------------------------------------------------------------------------------

COLUMN = ("table", "columns")
MODELS: dict[str, tuple[Change, str]] = {
    "no scaling": (without("scaling"), "'scaling' is missing"),
    "no table": (without("table"), "'table' is missing"),
    "no history": (without("history"), "'history' is missing"),
    "no notes": (without("notes"), "'notes' is missing"),
    "no target name": (without("target_name"), "'target_name' is missing"),
    "no penalty": (without("network", "settings", "penalty"), "'penalty' is missing"),
    "no seed": (setting("network", "settings", "seed", to=None), "'seed'"),
    "no target of the network": (without("network", "target"), "'target' is missing"),
    "no delta of the loss": (without("network", "settings", "loss", "delta"), "'delta' is missing"),
    "history null": (setting("history", to=None), "history"),
    "verbose a number": (setting("network", "settings", "verbose", to=1), "'verbose'"),
    "shuffle a text": (setting("network", "settings", "shuffle", to="no"), "'shuffle'"),
    "a weight of -1": (setting("network", "settings", "class_weight", to=[["a", -1.0]]), "class_weight"),
    "a class too many": (setting("target", to={"task": "multiclass", "classes": ["a", "b"], "n_columns": 1}), "output"),
    "two columns": (setting("target", "n_columns", to=2), "outputs of shape"),
    "a huge label": (
        setting("target", to={"task": "binary", "classes": [0, 10**200], "n_columns": 1}), "distinct 'classes'"
    ),
    "equal labels": (setting("target", to={"task": "binary", "classes": [1, True], "n_columns": 1}), "distinct"),
    "another target in the network": (setting("network", "target", "n_columns", to=3), "outputs are not those"),
    "scaling of two columns": (setting("scaling", to=[[1.0, 2.0], [1.0, 1.0]]), "another number of columns"),
    "scaling of 0": (setting("scaling", to=[[1.0], [0.0]]), "above 0"),
    "scaling of text": (setting("scaling", to=[["1"], ["2"]]), "must consist of finite numbers"),
    "half a scaling": (setting("scaling", to=[[1.0]]), "damaged"),
    "names of classes": (setting("notes", "label_names", to=["a", "b"]), "must have 0 texts"),
    "notes a list": (setting("notes", to=[]), "notes must be a dictionary"),
    "target name a number": (setting("target_name", to=5), "target_name must be a text"),
    "an input that is predicted": (setting("target_name", to="area"), "both an input and the target"),
    "a column less": (without(*COLUMN, 0), "features, but the network has inputs"),
    "no columns": (setting(*COLUMN, to=[]), "is not fitted"),
    "a column twice": (
        lambda metadata, _: metadata["table"]["columns"].append(metadata["table"]["columns"][0]), "column twice"
    ),
    "a number with categories": (setting(*COLUMN, 0, "categories", to=["a"]), "'area' is damaged"),
    "a number of another name": (setting(*COLUMN, 0, "numbers", 0, "name", to="b"), "'area' is damaged"),
    "a scale of 0": (setting(*COLUMN, 0, "numbers", 0, "scale", to=0), "'area' is damaged"),
    "a scale of true": (setting(*COLUMN, 0, "numbers", 0, "scale", to=True), "'area' is damaged"),
    "a category of numbers": (setting(*COLUMN, 1, "missing_indicator", to=True), "'town' is damaged"),
    "a category twice": (setting(*COLUMN, 1, "categories", to=["Faro", "Faro", "Porto"]), "'town' is damaged"),
    "no categories": (setting(*COLUMN, 1, "categories", to=[]), "'town' is damaged"),
    "no missing words": (without(*COLUMN, 1, "missing_words"), "missing or unknown fields"),
    "parts of a date in another order": (
        lambda metadata, _: metadata["table"]["columns"][3]["numbers"].reverse(), "'sold' is damaged"
    ),
    "a dropped column with numbers": (setting(*COLUMN, 5, "missing_indicator", to=True), "'constant' is damaged"),
    "a dropped column without a reason": (setting(*COLUMN, 5, "reason", to=""), "'constant' is damaged"),
    "less than none missing": (setting(*COLUMN, 0, "n_missing", to=-1), "'area' is damaged"),
    "an option with numbers": (setting("table", "drop", to=[5]), "lists of column names"),
    "NaN weights": (array("0.weights", (0, 0), np.nan), "not finite"),
    "infinite weights": (array("0.biases", 0, -np.inf), "not finite"),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "model"
    write_model(path)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_a_model_whose_parts_do_not_belong_together_is_refused(name: str, model: Path) -> None:
    change, words = MODELS[name]
    with pytest.raises(ModelFileError, match=words) as caught:
        Model.load(changed(model, change))
    assert "\n" not in str(caught.value)


def test_labels_of_classes_must_be_those_of_the_outputs(tmp_path: Path) -> None:
    write_classifier(tmp_path / "model")
    assert Model.load(tmp_path / "model").target.classes == ("low", "mid", 3)
    for change, words in (
        (setting("notes", "label_names", to=["low", "mid"]), "must have 3 texts"),
        (setting("notes", "label_names", to=["low", "mid", 3]), "must have 3 texts"),
        (setting("target", "classes", to=["low", "mid"]), "outputs of shape"),
        (setting("scaling", to=[[0.0], [1.0]]), "another number of columns"),
    ):
        with pytest.raises(ModelFileError, match=words):
            Model.load(changed(tmp_path / "model", change))


def test_layers_hold_numbers_that_training_can_have_left(tmp_path: Path) -> None:
    write_network(tmp_path / "network")
    assert NeuralNetwork.load(tmp_path / "network").layers
    for change, words in (
        (array("2.running_variance", 0, -1), "'running_variance' of layer 3 .* holds -1"),
        (array("0.scale", 1, 0), "'scale' of layer 1 .* holds 0"),
        (array("0.mean", 1, np.nan), "not finite"),
        (setting("network", "layers", 2, "epsilon", to=1e300), "epsilon"),
        (setting("network", "layers", 2, "epsilon", to=0.0), "epsilon"),
        (setting("network", "layers", 4, "epsilon", to=1e-320), "epsilon"),
        (setting("network", "layers", 4, "epsilon", to=True), "epsilon"),
    ):
        with pytest.raises(ModelFileError, match=words):
            NeuralNetwork.load(changed(tmp_path / "network", change))


def test_a_network_that_was_changed_after_its_fit_is_still_saved(tmp_path: Path) -> None:
    network = network_of(DenseLayer(3, (5,)), loss="mse", epochs=1).fit(CLASSES)
    network.add(DenseLayer(7))
    network.save(tmp_path / "model")
    assert NeuralNetwork.load(tmp_path / "model").target is None, "the outputs are no longer its classes"


def test_loading_draws_no_first_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_network(tmp_path / "network")
    monkeypatch.setattr(DenseLayer, "draw_parameters", None)
    loaded = NeuralNetwork.load(tmp_path / "network")
    monkeypatch.undo()
    first = {name: values.copy() for name, values in loaded.stack.read_arrays().items()}
    loaded.reset()
    assert not np.array_equal(loaded.stack.read_arrays()["1.weights"], first["1.weights"]), "and reset draws them"


def test_a_file_of_many_layers_is_read_in_time_that_grows_with_them(tmp_path: Path) -> None:
    """Ten thousand layers took a minute when each one laid out the vector of all in front of it again."""
    network = network_of(DenseLayer(1, (2,)))
    network.save(tmp_path / "network")

    def lengthen(metadata: dict[str, Any], _: Any) -> None:
        metadata["network"]["layers"] += [{"kind": "activation", "type": "linear"}] * 10_000

    with pytest.MonkeyPatch.context() as patch:
        laid_out = []
        real = NeuralNetwork(seed=0).stack.__class__._bind_vector
        patch.setattr("chainrule.stack.LayerStack._bind_vector", lambda stack: (laid_out.append(1), real(stack)))
        loaded = NeuralNetwork.load(changed(tmp_path / "network", lengthen))
    assert len(loaded.layers) == 10_001
    assert len(laid_out) == 1


# In Python, the same is told when a model is made -------------------------------------------------


def test_a_model_of_parts_that_do_not_belong_together_cannot_be_made() -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    table = TablePreprocessor().fit(X)
    network = network_of(DenseLayer(1, (2,)), epochs=1).fit(Dataset(X, X[:, 0]))
    target = Target("regression")
    assert Model(network, target, table, TargetScaling((0.0,), (1.0,))).table is table
    for arguments in (
        (network, Target("multiclass", ("a", "b", "c"))),
        (network, Target("regression", n_columns=2)),
        (network, target, TablePreprocessor()),
        (network, target, TablePreprocessor(drop=["x1"]).fit(X)),
        (network, target, None, TargetScaling((0.0, 1.0), (1.0, 1.0))),
        (network, Target("binary", ("a", "b")), None, TargetScaling((0.0,), (1.0,))),
        (network, target, table, None, "x1"),
    ):
        with pytest.raises(InvalidInputError):
            Model(*arguments)  # type: ignore[arg-type]
    for center, scale in (((0.0,), (0.0,)), ((), ()), ((0.0,), (1.0, 2.0)), ((np.inf,), (1.0,)), ((0.0,), (-1.0,))):
        with pytest.raises(InvalidInputError, match="scaling of the target"):
            TargetScaling(center, scale)


@pytest.mark.parametrize("make", [BatchNormalizationLayer, LayerNormalizationLayer])
@pytest.mark.parametrize("epsilon", [0, -1, 1e-40, 1e300, np.inf, np.nan, True])
def test_absurd_epsilons_are_refused(make: Any, epsilon: float) -> None:
    with pytest.raises(InvalidInputError, match="epsilon"):
        make(epsilon=epsilon)


@pytest.mark.parametrize(
    "make",
    [
        lambda: LBFGS(memory=10**9),
        lambda: LBFGS(max_evaluations=10**18),
        lambda: Muon(newton_schulz_steps=10**18),
        lambda: LevenbergMarquardt(max_tries=10**18),
        lambda: LevenbergMarquardt(max_bytes=10**18),
    ],
)
def test_counts_that_would_never_end_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidInputError, match="allowed are whole numbers from 1 to"):
        make()


def test_a_step_schedule_of_any_width_is_a_factor() -> None:
    assert StepDecay(every=5e-324, factor=0.5)(1.0) == 0.0
    assert StepDecay(every=1e-300, factor=1.0)(5.0) == 1.0


# Checkpoints --------------------------------------------------------------------------------------

PLACE = ("training",)
CHECKPOINTS: dict[str, tuple[Change, str]] = {
    "epoch -5": (setting(*PLACE, "epoch", to=-5), "'epoch' is -5"),
    "epoch 2": (setting(*PLACE, "epoch", to=2), "'epoch' is 2"),
    "epoch true": (setting(*PLACE, "epoch", to=True), "'epoch' is True"),
    "epoch 1.0": (setting(*PLACE, "epoch", to=1.0), "'epoch' is"),
    "no epoch": (without(*PLACE, "epoch"), "'epoch' is missing"),
    "batch 10^9": (setting(*PLACE, "batch", to=10**9), "'batch' is 1000000000"),
    "batch -1": (setting(*PLACE, "batch", to=-1), "'batch' is -1"),
    "another batch": (setting(*PLACE, "batch", to=1), "rows"),
    "first epoch": (setting(*PLACE, "first_epoch", to=2), "'first_epoch' is 2"),
    "last epoch before this one": (setting(*PLACE, "last_epoch", to=0), "'last_epoch' is 0"),
    "last epoch 10^30": (setting(*PLACE, "last_epoch", to=10**30), "'last_epoch' is 1000"),
    "negative rate": (setting(*PLACE, "rate_factor", to=-1.0), "'rate_factor' is -1"),
    "rate of text": (setting(*PLACE, "learning_rate", to="0.1"), "'learning_rate' is 0.1"),
    "no seconds": (without(*PLACE, "seconds"), "'seconds'"),
    "stopped by a number": (setting(*PLACE, "stop_reason", to=5), "stop_reason"),
    "no reason": (without(*PLACE, "stop_reason"), "stop_reason"),
    "rows recorded": (setting(*PLACE, "n_recorded", to=41), "'n_recorded' is 41"),
    "no rows recorded": (setting(*PLACE, "n_recorded", to=0), "'n_recorded' is 0"),
    "history of text": (setting(*PLACE, "history", to={"loss": ["x"]}), "history"),
    "history of two epochs": (setting(*PLACE, "history", to={"loss": [1.0, 1.0], "epoch": [1, 2]}), "'epoch'"),
    "history from epoch 5": (setting(*PLACE, "history", "epoch", to=[5]), "from 1"),
    "random states for fewer layers": (without(*PLACE, "layer_random_states", 0), "random states"),
    "a random state of text": (setting(*PLACE, "layer_random_states", 0, to="x"), "random generator"),
    "a huge random state": (setting(*PLACE, "layer_random_states", 0, "state", "state", to=2**128), "random"),
    "an even increment": (setting(*PLACE, "layer_random_states", 0, "state", "inc", to=2), "random"),
    "another generator": (setting(*PLACE, "layer_random_states", 0, "bit_generator", to="MT19937"), "random"),
    "callbacks a number": (setting(*PLACE, "callbacks", to=5), "callbacks"),
    "a callback without a state": (without(*PLACE, "callbacks", 0, "state"), "callback"),
    "the best epoch in the future": (setting(*PLACE, "callbacks", 0, "state", "best_epoch", to=7), "'best_epoch'"),
    "a best epoch of -1": (setting(*PLACE, "callbacks", 0, "state", "best_epoch", to=-1), "'best_epoch'"),
    "a best value of text": (setting(*PLACE, "callbacks", 0, "state", "best_value", to="1"), "not a number"),
    "waited for ever": (setting(*PLACE, "callbacks", 1, "state", "waited", to=10**9), "'waited'"),
    "another engine": (setting(*PLACE, "engine", to={"engine": "abacus"}), "engine"),
    "other data": (setting(*PLACE, "data", to=[1, 2, 3]), "other data"),
    "memory of L-BFGS": (
        setting("network", "settings", "optimizer", to={"kind": "optimizer", "type": "lbfgs", "learning_rate": 1.0,
        "memory": 10**9, "max_evaluations": 25, "c1": 1e-4, "c2": 0.9, "tolerance": 1e-7}), "memory of LBFGS"
    ),
    "steps of Adam": (array("session/optimizer.steps", 0, -1), "'steps' in the state of Adam"),
    "NaN in an average": (array("session/optimizer.mean", 0, np.nan), "'mean' in the state of Adam"),
    "infinite average": (array("session/optimizer.square", 0, np.inf), "'square' in the state of Adam"),
    "rows trained on": (array("session/rows", 0, 10**9), "session/rows"),
    "no rows trained on": (array("session/rows", 0, 0), "session/rows"),
    "a negative norm": (array("session/gradient_norm", 0, -1), "session/gradient_norm"),
    "a loss of NaN": (array("session/loss_sum", 0, np.nan), "session/loss_sum"),
    "other targets recorded": (array("record/targets", (0, 0), 0.5), "record/targets"),
    "other weights recorded": (array("record/weights", 0, 7), "record/weights"),
    "infinite predictions": (array("record/predictions", (0, 0), np.inf), "record/predictions"),
    "no predictions": (lambda _, arrays: arrays.pop("record/predictions"), "predictions"),
    "no loss": (lambda _, arrays: arrays.pop("session/loss_sum"), "session/loss_sum"),
    "other best weights": (
        lambda _, arrays: arrays.update({"callback0/0.weights": np.ones((3, 3), np.float32)}), "EarlyStopping keeps"
    ),
    "NaN in the best weights": (array("callback0/0.weights", (0, 0), np.nan), "EarlyStopping keeps"),
    "NaN weights": (array("weights/0.weights", (0, 0), np.nan), "not finite"),
}  # fmt: skip


def write_run(path: Path, **settings: Any) -> None:
    write_checkpoint(
        path, CLASSES, loss="categorical_cross_entropy", optimizer="adam", metric="accuracy", class_weight={0: 2.0},
        **settings,
    )  # fmt: skip


def resume(path: Path) -> NeuralNetwork:
    return NeuralNetwork.resume(
        path, CLASSES, validation=CLASSES, callbacks=[EarlyStopping(), ReduceOnPlateau(), StopSoon(100)]
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "run"
    write_run(path)
    return path


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_no_run_can_have_written_is_refused(name: str, run: Path) -> None:
    change, words = CHECKPOINTS[name]
    with pytest.raises(ModelFileError, match=words) as caught:
        resume(changed(run, change))
    assert "\n" not in str(caught.value)


def test_the_checkpoint_itself_goes_on_to_the_bits_of_a_run_that_was_never_stopped(run: Path, tmp_path: Path) -> None:
    resumed = resume(changed(run, lambda metadata, arrays: None))
    write_run(tmp_path / "other", n_batches=100)
    assert bits_of(resumed) == bits_of(NeuralNetwork.load(tmp_path / "other"))


def test_pairs_of_lbfgs_that_say_nothing_about_the_curvature_are_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "run", NUMBERS, optimizer="lbfgs", n_batches=2)

    def go_on(path: Path) -> NeuralNetwork:
        return NeuralNetwork.resume(path, NUMBERS, validation=NUMBERS, callbacks=[EarlyStopping(), ReduceOnPlateau()])

    assert go_on(tmp_path / "run").history.n_epochs == 4
    for change in (array("session/optimizer.moves", 0, 0), array("session/optimizer.pairs", 0, 5)):
        with pytest.raises(ModelFileError, match="do not belong together"):
            go_on(changed(tmp_path / "run", change))


# Many changes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_some_hostile_files_open_or_are_refused(name: str, tmp_path: Path) -> None:
    outcomes, failures = try_many(name, 150, 1, tmp_path)
    assert not failures, failures[0]
    assert outcomes.total() == 150


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("name", CASES)
def test_two_hundred_thousand_hostile_files_open_or_are_refused(name: str) -> None:
    """In a process of its own, which may take no more than a gigabyte, with other changes each time."""
    seed = str(int.from_bytes(os.urandom(4)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "support.hostile_files", "25000", seed, name],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stdout + done.stderr
