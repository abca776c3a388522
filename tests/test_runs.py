"""Runs from Python: what is learnt from which rows, the same bits twice, the folder, and the code for the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import Dataset, Target
from chainrule.errors import (
    ChainruleError,
    ChainruleWarning,
    DataError,
    DivergenceError,
    InvalidInputError,
    ModelFileError,
)
from chainrule.model import Model
from chainrule.runs import (
    Check,
    RunFolder,
    RunInterrupted,
    TrainOptions,
    code_for_training,
    evaluate,
    load_run,
    predict,
    prepare_data,
    resume_run,
    train_run,
)
from chainrule.schedules import CosineDecay
from support.networks import bits_of
from support.tables import write_houses, write_lines, write_visits

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def houses(tmp_path: Path) -> Path:
    return write_houses(tmp_path / "houses.csv")


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    return write_visits(tmp_path / "visits.csv")


def plain(source: Any, target: str | None = None, **options: Any) -> TrainOptions:
    """Return the options of one network, which is trained faster than the default ensemble."""
    return TrainOptions(source, target, **{"preset": "plain", **options})


class StopAt(Callback):
    """Interrupts as Ctrl-C does, in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_batch_end(self, run: TrainingRun) -> None:
        if run.epoch == self.epoch and run.batch == 1:
            run.interrupt("interrupted")


class FailAt(Callback):
    def __init__(self, epoch: int, error: BaseException) -> None:
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, run: TrainingRun) -> None:
        if run.epoch == self.epoch:
            raise self.error


# Preparing -----------------------------------------------------------------------------------------------------------


def test_the_table_is_learnt_from_the_training_rows_only(tmp_path: Path) -> None:
    """The last fifth, which is the test part by time, has other numbers, a gap and a word that nobody must know of."""
    rows = [f"{row % 7},{'ab'[row % 2]},{row % 5}.5" for row in range(80)] + [f"{1000 + r},z,{r}.25" for r in range(19)]
    path = write_lines(tmp_path / "t.csv", "x,word,y", [*rows, ",z,1.5"])
    data = prepare_data(path, target="y", split="time", validation_size=0.25)
    assert data.table is not None
    x, word = data.table.columns
    assert x.numbers[0].center == pytest.approx(np.mean([row % 7 for row in range(60)]))
    assert not x.missing_indicator
    assert word.categories == ("a", "b")
    assert data.scaling is not None
    assert data.scaling.center[0] == pytest.approx(np.mean([row % 5 + 0.5 for row in range(60)]))
    assert (data.training.n_rows, data.test.n_rows) == (60, 20)
    assert data.test.y is not None
    assert data.test.y[-1] == 1.5, "test targets keep their own units"
    assert data.validation is not None
    assert data.validation.y is not None
    assert data.validation.n_rows == 20
    np.testing.assert_allclose(
        data.scaling.undo(data.validation.y.reshape(-1, 1))[:, 0], [r % 5 + 0.5 for r in range(60, 80)]
    )


@pytest.mark.parametrize("missing", ["median", "mean", "zero"])
def test_what_stands_in_for_missing_numbers(missing: Any, houses: Path) -> None:
    data = prepare_data(houses, target="price", missing=missing)
    assert data.table is not None
    rooms = next(plan for plan in data.table.columns if plan.name == "rooms").numbers[0]
    assert rooms.fill_rule == missing
    assert rooms.fill == {"median": 4.0, "mean": rooms.center, "zero": rooms.center}[missing]
    if missing != "median":
        with pytest.raises(InvalidInputError, match="not a table with named columns"):
            prepare_data("moons", missing=missing)


def test_every_row_is_in_one_part_and_classes_keep_their_shares(visits: Path) -> None:
    data = prepare_data(visits, target="bought", seed=3)
    parts = [data.training, data.validation, data.test]
    rows = np.vstack([part.X for part in parts if part is not None])
    assert len(np.unique(rows, axis=0)) == 400
    shares = [float(np.mean(part.y)) for part in parts if part is not None and part.y is not None]
    assert max(shares) - min(shares) < 0.02
    assert [part.n_rows for part in parts if part is not None] == [256, 64, 80]


def test_the_official_test_part_is_the_test_part(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.normal(size=(50, 3)), "y_train": np.arange(50) % 2}
    np.savez(tmp_path / "a.npz", **arrays, x_test=rng.normal(size=(7, 3)), y_test=np.arange(7) % 2)
    data = prepare_data(tmp_path / "a.npz", validation_size=0)
    assert (data.training.n_rows, data.validation, data.test.n_rows) == (50, None, 7)


def test_a_truth_table_is_trained_on_whole() -> None:
    data = prepare_data("xnor")
    assert data.training.n_rows == 4
    assert data.validation is None
    assert not data.has_test_part
    assert "no test rows" in data.summary()


def test_a_name_of_the_catalogue_is_that_data_set_whatever_folder_lies_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xnor").mkdir()
    options = plain("xnor").resolved()
    assert options.source == "xnor"
    assert prepare_data(options.source).training.n_rows == 4


def test_groups_stay_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from chainrule.data import Source
    from chainrule.runs import preparation

    people = np.repeat(np.arange(20), 5)
    whole = Dataset(np.column_stack([people, np.arange(100)]), np.arange(100) % 2, groups=people)
    monkeypatch.setattr(preparation, "open_source", lambda *_: Source("people", whole))
    data = prepare_data("people")
    assert data.validation is not None
    seen = [
        set(part.groups.tolist()) for part in (data.training, data.validation, data.test) if part.groups is not None
    ]
    assert len(seen) == 3
    assert sum(map(len, seen)) == 20


def test_a_bad_cell_is_named_by_its_row_in_the_file(tmp_path: Path) -> None:
    rows = [f"{'oops' if row == 36 else row},{'yn'[row % 2]}" for row in range(60)]
    with pytest.raises(DataError, match="row 37 has 'oops'"):
        prepare_data(write_lines(tmp_path / "t.csv", "a,b", rows), target="b")


@pytest.mark.parametrize("n_rare", [1, 2])
def test_a_class_too_rare_to_stand_in_every_part_is_named(tmp_path: Path, n_rare: int) -> None:
    rows = [f"{row},{'rare' if row < n_rare else 'yn'[row % 2]}" for row in range(60)]
    path = write_lines(tmp_path / "t.csv", "a,b", rows)
    with pytest.raises(DataError, match=f"'rare' has only {n_rare} row"):
        prepare_data(path, target="b")
    assert prepare_data(path, target="b", split="random").training.n_rows == 38


def test_a_split_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="Did you mean 'time'"):
        prepare_data("iris", split="tim")


# Options -------------------------------------------------------------------------------------------------------------


def test_early_stopping_is_on_unless_the_epochs_are_given() -> None:
    assert plain("iris").stops_early
    assert not plain("iris", epochs=5).stops_early
    assert plain("iris", epochs=5, early_stopping=True).stops_early
    assert not plain("iris", early_stopping=False).stops_early


@pytest.mark.parametrize(
    "given", [{"patience": 1}, {"min_delta": 0.1}, {"min_epochs": 2}, {"monitor": "validation_accuracy"}]
)
def test_who_says_how_to_stop_early_stops_early(given: dict[str, Any], tmp_path: Path) -> None:
    options = plain("iris", epochs=5, **given)
    assert options.stops_early
    assert "validation_size" not in options.data_settings()
    assert options.early_stopping_settings(100) == {"patience": 10, **given}
    with pytest.raises(InvalidInputError, match=f"{next(iter(given))} can only be given with early stopping"):
        train_run(plain("iris", early_stopping=False, out=tmp_path / "run", **given))


def test_small_data_get_more_epochs_and_more_patience() -> None:
    options = plain("iris")
    assert (options.n_epochs(100), options.early_stopping_settings(100)) == (1000, {"patience": 50})
    assert (options.n_epochs(60_000), options.early_stopping_settings(60_000)) == (100, {"patience": 10})
    assert plain("iris", epochs=7).n_epochs(100) == 7
    assert plain("iris", early_stopping=False).n_epochs(100) == 100
    assert plain("iris", optimizer="lbfgs").n_epochs(60_000) == 1000
    assert plain("iris", patience=3).early_stopping_settings(100) == {"patience": 3}
    assert plain("iris", epochs=7).early_stopping_settings(100) is None


def test_options_survive_json() -> None:
    options = plain("iris", hidden=(5, 3), categorical=("a",), learning_rate=0.1, schedule="cosine", out="x")
    assert TrainOptions.from_dict(json.loads(json.dumps(options.to_dict()))) == options
    for damaged in (None, [], {"source": "iris"}, {**options.to_dict(), "surprise": 1}):
        with pytest.raises(ModelFileError, match="damaged"):
            TrainOptions.from_dict(damaged)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden": ["a"]}, {"hidden": [4.5]}, {"hidden": 4}, {"hidden": [0]}, {"dropout": "b"}, {"dropout": 2},
        {"source": [1]}, {"source": []}, {"epochs": True}, {"epochs": 0}, {"optimizer": 5}, {"optimizer": "adamm"},
        {"seed": "x"}, {"drop": [1]}, {"test_size": "a"}, {"learning_rate": {}}, {"task": "guess"},
        {"dtype": ["float32"]},
        {"learning_rate": -1}, {"schedule": "zigzag"}, {"missing": "max"}, {"patience": -1},
    ],
    ids=str,
)  # fmt: skip
def test_options_that_were_tampered_with_are_refused(change: dict[str, Any], visits: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    options = plain(visits, target="bought", seed=1).to_dict() | change
    folder.write_record({"status": "interrupted", "started": "", "versions": {}, "options": options})
    with pytest.raises(ModelFileError, match="The options of this run are damaged") as caught:
        resume_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_other_parts_of_a_record_that_were_tampered_with_are_refused(visits: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    options = plain(visits, target="bought").to_dict()
    computer = {"engine": "numpy", "version": "2", "device": "cpu", "processes": 1, "first_epoch": 1}
    damaged: list[dict[str, Any]] = [
        {"versions": 3}, {"versions": {"numpy": 2}}, {"started": None}, {"status": "asleep"}, {"status": None},
        {"computed_by": None}, {"computed_by": "numpy"}, {"computed_by": [5]}, {"computed_by": [{}]}, {"epochs": -1},
        {"computed_by": [computer | {"processes": 0}]}, {"computed_by": [computer | {"first_epoch": True}]},
        {"computed_by": [computer | {"device": None}]}, {"source_sha256": 5}, {"epochs": "3"},
    ]  # fmt: skip
    known = [({}, "has changed"), ({"computed_by": [computer]}, "has changed")]
    for part, words in [*((part, "run.json' is damaged: it") for part in damaged), *known]:
        folder.write_record({"status": "interrupted", "started": "", "versions": {}, "options": options, **part})
        with pytest.raises(ModelFileError, match=words):
            resume_run(tmp_path)
    options["source"] = "/a\0b"
    folder.write_record({"status": "interrupted", "started": "", "versions": {}, "options": options})
    with pytest.raises(ModelFileError, match="cannot be read"):
        resume_run(tmp_path)


NO_RECORDS = ["[" * 100_000, '{"chainrule_run": 1, "x": NaN}', '{"chainrule_run": "\\ud800"}', '{"chainrule_run"']
NO_RECORDS += ['{"chainrule_run": 1, "options": {"learning_rate": ' + "1" * 400 + "}}"]


@pytest.mark.parametrize("content", NO_RECORDS, ids=range(5))
def test_a_record_that_is_no_json_of_ours_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    for use in (resume_run, load_run):
        with pytest.raises(ModelFileError, match=r"its run\.json is not from chainrule train \("):
            use(tmp_path)


@pytest.mark.parametrize("version", [2, "1", True, None, [1]])
def test_a_record_of_another_version_is_said_to_be(version: Any, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"chainrule_run": version}))
    with pytest.raises(ModelFileError, match=r"another version of chainrule \(in format .*reads format 1\)"):
        resume_run(tmp_path)


def test_hidden_layers_that_no_memory_holds_are_told_however_many() -> None:
    with pytest.raises(InvalidInputError, match="choose smaller hidden layers"):
        plain("iris", hidden=(10**400,)).build_network(1, 1, Target("regression"))


def test_a_short_schedule_name_stretches_over_all_epochs() -> None:
    assert plain("iris", schedule="cosine", epochs=7).make_schedule(50) == CosineDecay(7)
    assert plain("iris", schedule="one-cycle").make_schedule(50) is not None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"hidden": (4, 0)}, "hidden layers"),
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"epochs": 0}, "epochs"),
        ({"activation": "rellu"}, "Did you mean 'relu'"),
        ({"loss": "mse2"}, "Did you mean 'mse'"),
        ({"loss": "poisson"}, "does not suit a multiclass target"),
        ({"label_smoothing": 2.0}, "label_smoothing"),
        ({"patience": 0}, "patience"),
        ({"split": "tim"}, "Did you mean 'time'"),
        ({"dtype": "float16"}, "dtype"),
        ({"class_weight": "fair"}, "class_weight"),
        ({"checkpoint_every": 0}, "checkpoint_every"),
        ({"missing": "meen"}, "Did you mean 'mean'"),
        ({"output_activation": "rellu"}, "Did you mean 'relu'"),
        ({"output_activation": "relu"}, "The outputs of a multiclass network follow from its classes"),
        ({"test_size": 1.5}, "test_size must be .* not 1.5"),
        ({"validation_size": -0.5}, "validation_size must be .* not -0.5"),
        ({"task": "regression"}, "(?i)species|text|numbers"),
    ],
)
def test_options_that_cannot_work_are_named_and_leave_nothing(
    tmp_path: Path, settings: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        train_run(plain("iris", **{"out": tmp_path / "run", **settings}))
    assert not (tmp_path / "run").exists()


def test_a_callback_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="Did you mean 'accuracy'"):
        train_run(plain("iris", monitor="acuracy", out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


# Training ------------------------------------------------------------------------------------------------------------


@pytest.mark.figures
def test_a_regression_beats_its_baselines_in_its_own_units(houses: Path, tmp_path: Path) -> None:
    result = train_run(TrainOptions(houses, target="price", epochs=40, hidden=(32,), out=tmp_path / "run"))
    ridge = next(one for one in result.baselines if one.name == "ridge regression")
    assert result.metrics["root_mean_squared_error"] < ridge.metrics["root_mean_squared_error"]
    predictions = result.model.predict(pd.read_csv(houses))
    assert np.corrcoef(predictions, pd.read_csv(houses)["price"])[0, 1] > 0.98
    assert result.stop_reason.startswith("all 40 epochs are done; the weights of epoch ")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["metrics"] == result.metrics
    assert record["data"]["training_rows"] + record["data"]["test_rows"] == 240
    assert TrainOptions.from_dict(record["options"]) == TrainOptions(
        str(houses), target="price", epochs=40, hidden=(32,), out=str(tmp_path / "run")
    )
    files = {path.name for path in (tmp_path / "run").iterdir()}
    assert files == {"model.safetensors", "run.json", "history.csv", "report.html", "checkpoint.safetensors"}
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert len(history) == 40
    assert {"loss", "r2", "seconds"} <= set(history)
    assert "ridge regression" in (tmp_path / "run" / "report.html").read_text()


def test_numbers_that_cannot_be_negative_are_learnt_in_their_own_units(tmp_path: Path) -> None:
    rows = [f"{x},{max(x / 50 - 1, 0):.4f}" for x in range(200)]
    path = write_lines(tmp_path / "t.csv", "x,y", rows)
    options = TrainOptions(path, target="y", output_activation="relu", epochs=40, out=tmp_path / "run")
    result = train_run(options)
    assert result.data.scaling is None
    assert result.metrics["r2"] > 0.95
    predictions = load_run(tmp_path / "run").predict(pd.read_csv(path))
    assert predictions.min() == 0


def test_the_same_options_give_the_same_bytes_and_another_seed_others(visits: Path, tmp_path: Path) -> None:
    def train(name: str, seed: int) -> bytes:
        train_run(plain(visits, target="bought", dropout=0.2, epochs=3, seed=seed, out=tmp_path / name))
        return (tmp_path / name / "model.safetensors").read_bytes()

    first = train("one", 0)
    assert train("two", 0) == first
    assert train("three", 1) != first


def test_early_stopping_says_which_weights_it_kept(visits: Path, tmp_path: Path) -> None:
    result = train_run(plain(visits, target="bought", patience=2, learning_rate=0.02, out=tmp_path / "run"))
    match = re.search(r"not improved for 2 epochs.*the weights of epoch (\d+) are kept", result.stop_reason)
    assert match, result.stop_reason
    losses = result.history["validation_loss"]
    assert int(match[1]) == int(np.argmin(losses)) + 1 == len(losses) - 2


def test_a_run_that_diverges_says_so_and_keeps_no_model(houses: Path, tmp_path: Path) -> None:
    options = plain(houses, target="price", optimizer="sgd", learning_rate=1e20, out=tmp_path / "run")
    with pytest.raises(DivergenceError, match="learning rate"):
        train_run(options)
    assert RunFolder(tmp_path / "run").read_record()["status"] == "diverged"
    with pytest.raises(ModelFileError, match="diverged"):
        load_run(tmp_path / "run")
    with pytest.raises(ModelFileError, match="diverged"):
        resume_run(tmp_path / "run")


def test_class_names_of_a_named_set_reach_the_predictions(tmp_path: Path) -> None:
    result = train_run(plain("blobs", epochs=2, hidden=(4,), out=tmp_path / "run"))
    frame = predict(load_run(tmp_path / "run"), "blobs")
    names = [f"probability_{name}" for name in result.data.training.label_names]
    assert list(frame) == ["prediction", *names]
    np.testing.assert_allclose(frame[names].sum(axis=1), 1, rtol=1e-5)


# Resuming ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", [0, 4])
def test_an_interrupted_run_goes_on_to_the_same_bytes(visits: Path, tmp_path: Path, stop_at: int) -> None:
    settings: dict[str, Any] = {"target": "bought", "dropout": 0.2, "schedule": "cosine", "patience": 6}
    settings |= {"batch_normalization": True, "checkpoint_every": 3, "l2": 1e-3}
    whole = train_run(plain(visits, out=tmp_path / "whole", **settings))
    with pytest.raises(RunInterrupted, match=f"epoch {stop_at + 1} and saved; .*chainrule resume") as caught:
        train_run(plain(visits, out=tmp_path / "cut", **settings), [StopAt(stop_at)])
    assert caught.value.folder == tmp_path / "cut"
    assert isinstance(caught.value, KeyboardInterrupt)
    assert RunFolder(tmp_path / "cut").read_record()["status"] == "interrupted"
    with pytest.raises(ModelFileError, match="chainrule resume"):
        load_run(tmp_path / "cut")
    result = resume_run(tmp_path / "cut")
    one, other = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert other.read_bytes() == one.read_bytes()
    assert result.metrics == whole.metrics
    assert result.stop_reason == whole.stop_reason
    with pytest.raises(ModelFileError, match="finished"):
        resume_run(tmp_path / "cut")


@pytest.mark.parametrize(
    ("checkpoint_every", "sentence"),
    [
        (10, "Interrupted before the first checkpoint; start again with: chainrule resume"),
        (1, "Interrupted in epoch 3; continue from the last checkpoint with: chainrule resume"),
    ],
)
def test_what_an_interrupt_that_does_not_wait_leaves_is_said(
    visits: Path, tmp_path: Path, checkpoint_every: int, sentence: str
) -> None:
    options = plain(
        visits, target="bought", epochs=5, checkpoint_every=checkpoint_every, out=tmp_path / "run", batch_size=50
    )
    with pytest.raises(RunInterrupted, match=sentence):
        train_run(options, [FailAt(2, KeyboardInterrupt())])


def test_a_resume_with_other_versions_says_so(visits: Path, tmp_path: Path) -> None:
    with pytest.raises(RunInterrupted):
        train_run(plain(visits, target="bought", epochs=3, out=tmp_path / "run"), [StopAt(1)])
    folder, said = RunFolder(tmp_path / "run"), list[str]()
    record = folder.read_record()
    record["versions"] |= {"chainrule": "0.0.1", "scipy": "1"}
    folder.write_record(record)
    resume_run(folder.path, announce=said.append)
    assert any(sentence.startswith("Started with chainrule 0.0.1, now ") for sentence in said)
    assert folder.read_record()["versions"]["chainrule"] == "0.0.1"


def test_the_record_says_what_computed_which_epochs(visits: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(RunInterrupted):
        train_run(plain(visits, target="bought", epochs=5, engine="torch", out=tmp_path / "run"), [StopAt(2)])
    said: list[str] = []
    resume_run(tmp_path / "run", announce=said.append, engine="numpy")
    assert "Continuing with epoch 3 of 5" in said
    first, second = RunFolder(tmp_path / "run").read_record()["computed_by"]
    assert (first["engine"], first["device"], first["processes"], first["first_epoch"]) == ("torch", "cpu", 1, 1)
    assert (second["engine"], second["version"], second["first_epoch"]) == ("numpy", np.__version__, 3)
    report = RunFolder(tmp_path / "run").report.read_text()
    assert f"on cpu; numpy {np.__version__} on cpu, from epoch 3" in report


def test_rows_whose_target_is_missing_can_be_predicted(visits: Path, tmp_path: Path) -> None:
    import pandas as pd

    model = train_run(plain(visits, target="bought", epochs=1, out=tmp_path / "run")).model
    rows = pd.read_csv(visits)
    rows.loc[[1, 4], "bought"] = None
    rows.to_csv(tmp_path / "gaps.csv", index=False)
    assert predict(model, tmp_path / "gaps.csv").equals(predict(model, visits))
    with pytest.raises(DataError, match=r"missing in 2 of .* rows"):
        evaluate(model, tmp_path / "gaps.csv")


def test_one_cell_that_is_no_number_in_a_numeric_target_is_named(houses: Path, tmp_path: Path) -> None:
    import pandas as pd

    rows = pd.read_csv(houses).astype({"price": object})
    rows.loc[3, "price"] = "n/k"
    rows.to_csv(tmp_path / "rows.csv", index=False)
    with pytest.raises(
        DataError,
        match=r"'regression' \(--task regression\) if it is a number. Row 4 has 'n/k', which is not a number; correct",
    ):
        prepare_data(tmp_path / "rows.csv", target="price")
    with pytest.raises(DataError, match="needs numbers, but the target has 'n/k' in row 4; correct that cell"):
        prepare_data(tmp_path / "rows.csv", target="price", task="regression")


def test_a_run_cut_off_before_its_first_checkpoint_starts_again(visits: Path, tmp_path: Path) -> None:
    train_run(plain(visits, target="bought", epochs=3, out=tmp_path / "whole"))
    options = plain(visits, target="bought", epochs=3, checkpoint_every=10, out=tmp_path / "cut")
    with pytest.raises(SystemExit):
        train_run(options, [FailAt(1, SystemExit())])
    assert not RunFolder(tmp_path / "cut").checkpoint.exists()
    said: list[str] = []
    resume_run(tmp_path / "cut", announce=said.append)
    assert any("starting from the beginning" in sentence for sentence in said)
    models = [Model.load(tmp_path / name / "model.safetensors") for name in ("whole", "cut")]
    assert bits_of(models[0].network) == bits_of(models[1].network)


def test_a_run_cut_off_while_it_was_measured_is_concluded(
    visits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chainrule.runs import results

    options = plain(visits, target="bought", patience=3, out=tmp_path / "run")
    whole = train_run(plain(visits, target="bought", patience=3, out=tmp_path / "whole"))

    def press(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(results, "measure_baselines", press)
        with pytest.raises(RunInterrupted):
            train_run(options)
    result = resume_run(tmp_path / "run")
    assert result.stop_reason == whole.stop_reason
    assert RunFolder(tmp_path / "run").model.read_bytes() == RunFolder(tmp_path / "whole").model.read_bytes()


def test_a_file_that_has_changed_is_not_gone_on_with(visits: Path, tmp_path: Path) -> None:
    options = plain(visits, target="bought", epochs=3, out=tmp_path / "run")
    with pytest.raises(RunInterrupted):
        train_run(options, [StopAt(1)])
    visits.write_text(visits.read_text().replace("yes", "perhaps"))
    with pytest.raises(ModelFileError, match="has changed"):
        resume_run(tmp_path / "run")
    visits.unlink()
    with pytest.raises(ModelFileError, match="cannot be read"):
        resume_run(tmp_path / "run")


# Training further, and ending early ----------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_more_epochs_for_a_finished_run_are_those_of_a_longer_run(visits: Path, tmp_path: Path, engine: Any) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    settings: dict[str, Any] = {"target": "bought", "dropout": 0.2, "batch_normalization": True, "engine": engine}
    train_run(plain(visits, epochs=6, out=tmp_path / "whole", **settings))
    train_run(plain(visits, epochs=3, out=tmp_path / "run", **settings))
    with pytest.raises(ModelFileError, match=r"is finished; to continue it.*chainrule resume .*run --epochs 6"):
        resume_run(tmp_path / "run")
    result = resume_run(tmp_path / "run", epochs=6)
    assert result.history.n_epochs == 6
    assert RunFolder(tmp_path / "run").model.read_bytes() == RunFolder(tmp_path / "whole").model.read_bytes()
    record = RunFolder(tmp_path / "run").read_record()
    assert (record["status"], record["epochs"], record["options"]["epochs"]) == ("finished", 6, 6)
    for epochs in (5, 6):
        with pytest.raises(InvalidInputError, match=f"epochs is {epochs}, but the fit has already done 6"):
            resume_run(tmp_path / "run", epochs=epochs)
    assert RunFolder(tmp_path / "run").read_record() == record


def test_more_epochs_for_a_run_that_stopped_early_are_all_trained(visits: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"target": "bought", "patience": 2, "learning_rate": 0.02}
    stopped = train_run(plain(visits, out=tmp_path / "run", **settings))
    epochs = stopped.history.n_epochs + 7
    whole = train_run(plain(visits, epochs=epochs, min_epochs=epochs, out=tmp_path / "whole", **settings))
    result = resume_run(tmp_path / "run", epochs=epochs)
    assert result.history.n_epochs == epochs
    assert result.stop_reason == whole.stop_reason
    assert result.stop_reason.startswith(f"all {epochs} epochs are done")
    assert RunFolder(tmp_path / "run").model.read_bytes() == RunFolder(tmp_path / "whole").model.read_bytes()


def test_a_schedule_is_stretched_over_more_epochs(visits: Path, tmp_path: Path) -> None:
    options = plain(visits, target="bought", epochs=4, schedule="cosine", out=tmp_path / "run")
    assert train_run(options).history["learning_rate"][-1] < 1e-4
    rates = resume_run(tmp_path / "run", epochs=8).history["learning_rate"][4:]
    schedule, rows = CosineDecay(8), 320
    last_steps = [epoch + 1 - 1 / -(-rows // 32) for epoch in range(4, 8)]
    np.testing.assert_allclose(rates, [1e-3 * schedule(epoch) for epoch in last_steps], rtol=1e-6)


@pytest.mark.parametrize("end", ["interrupt", "diverge"])
def test_until_the_end_of_more_epochs_the_model_is_that_of_the_finished_run(
    visits: Path, tmp_path: Path, end: str
) -> None:
    train_run(plain(visits, target="bought", epochs=6, out=tmp_path / "whole"))
    options = plain(visits, target="bought", epochs=3, checkpoint_every=1, out=tmp_path / "run")
    train_run(options)
    model = RunFolder(tmp_path / "run").model.read_bytes()
    with pytest.raises(RunInterrupted if end == "interrupt" else DivergenceError):
        resume_run(tmp_path / "run", [StopAt(4) if end == "interrupt" else FailAt(4, DivergenceError("x"))], epochs=6)
    assert RunFolder(tmp_path / "run").model.read_bytes() == model
    assert load_run(tmp_path / "run").network.history.n_epochs == 3
    record = RunFolder(tmp_path / "run").read_record()
    assert record["epochs"] == 3, "the record describes the model that is there"
    with pytest.raises(InvalidInputError, match="--force"):
        train_run(options)
    if end == "interrupt":
        assert resume_run(tmp_path / "run").history.n_epochs == 6
        assert load_run(tmp_path / "run").network.history.n_epochs == 6
        weights = [bits_of(load_run(tmp_path / name).network) for name in ("run", "whole")]
        assert weights[0] == weights[1]


def test_the_best_of_an_interrupted_run_can_be_kept_without_finishing_it(visits: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"target": "bought", "patience": 1000, "learning_rate": 0.05}
    with pytest.raises(RunInterrupted, match="add --keep-best to end the run with its best weights so far"):
        train_run(plain(visits, out=tmp_path / "run", **settings), [StopAt(12)])
    with pytest.raises(InvalidInputError, match="give one of them"):
        resume_run(tmp_path / "run", keep_best=True, epochs=20)
    result = resume_run(tmp_path / "run", keep_best=True)
    losses = result.history["validation_loss"]
    best = int(np.argmin(losses)) + 1
    assert len(losses) == 12 > best
    assert result.stop_reason == f"ended on request after 12 epochs; the weights of epoch {best} are kept"
    record = RunFolder(tmp_path / "run").read_record()
    assert (record["status"], record["stop_reason"]) == ("finished", result.stop_reason)
    best_alone = train_run(plain(visits, epochs=best, out=tmp_path / "best", **settings))
    assert bits_of(load_run(tmp_path / "run").network) == bits_of(best_alone.model.network)
    with pytest.raises(ModelFileError, match="is finished: its best weights are in"):
        resume_run(tmp_path / "run", keep_best=True)
    further = resume_run(tmp_path / "run", epochs=20)
    whole = train_run(plain(visits, epochs=20, min_epochs=20, out=tmp_path / "whole", **settings))
    assert bits_of(further.model.network) == bits_of(whole.model.network)


def test_without_early_stopping_the_last_weights_are_kept(visits: Path, tmp_path: Path) -> None:
    with pytest.raises(RunInterrupted):
        train_run(plain(visits, target="bought", epochs=9, out=tmp_path / "run"), [FailAt(6, KeyboardInterrupt())])
    result = resume_run(tmp_path / "run", keep_best=True)
    assert (result.history.n_epochs, result.stop_reason) == (5, "ended on request after 5 epochs")
    whole = train_run(plain(visits, target="bought", epochs=5, out=tmp_path / "whole"))
    assert bits_of(result.model.network) == bits_of(whole.model.network)


def test_what_has_no_weights_is_not_kept(visits: Path, tmp_path: Path) -> None:
    options = plain(visits, target="bought", epochs=9, checkpoint_every=5, out=tmp_path / "run")
    with pytest.raises(RunInterrupted):
        train_run(options, [StopAt(0)])
    with pytest.raises(InvalidInputError, match="has not completed an epoch"):
        resume_run(tmp_path / "run", keep_best=True)
    assert RunFolder(tmp_path / "run").read_record()["status"] == "interrupted"
    RunFolder(tmp_path / "run").checkpoint.unlink()
    with pytest.raises(ModelFileError, match="has no checkpoint yet; start it again with: chainrule resume"):
        resume_run(tmp_path / "run", keep_best=True)
    assert resume_run(tmp_path / "run").history.n_epochs == 9
    RunFolder(tmp_path / "run").checkpoint.unlink()
    with pytest.raises(ModelFileError, match=r"The file checkpoint\.safetensors of the run"):
        resume_run(tmp_path / "run", epochs=20)


def test_a_run_that_cannot_be_resumed_keeps_its_record(visits: Path, tmp_path: Path) -> None:
    options = plain(visits, target="bought", epochs=9, checkpoint_every=10, out=tmp_path / "run")
    with pytest.raises(SystemExit):
        train_run(options, [FailAt(1, SystemExit())])
    with pytest.raises(InvalidInputError, match="full"):
        resume_run(tmp_path / "run", [FailAt(1, InvalidInputError("the disk is full"))])
    assert resume_run(tmp_path / "run").history.n_epochs == 9


# The folder ----------------------------------------------------------------------------------------------------------


def test_a_run_that_was_cut_off_is_replaced_only_when_told(visits: Path, tmp_path: Path) -> None:
    options = plain(visits, target="bought", epochs=2, out=tmp_path / "run")
    with pytest.raises(RunInterrupted):
        train_run(options, [StopAt(1)])
    before = RunFolder(tmp_path / "run").checkpoint.read_bytes()
    with pytest.raises(
        InvalidInputError, match=r"an interrupted run; continue it with: chainrule resume .* with --force"
    ):
        train_run(options)
    assert RunFolder(tmp_path / "run").checkpoint.read_bytes() == before
    assert train_run(options, force=True).history.n_epochs == 2


def test_only_a_run_is_overwritten_and_only_when_told(visits: Path, tmp_path: Path) -> None:
    options = plain(visits, target="bought", epochs=1, out=tmp_path / "thesis")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("words")
    for force in (False, True):
        with pytest.raises(InvalidInputError, match="do not belong to a chainrule run"):
            train_run(options, force=force)
    assert [path.name for path in (tmp_path / "thesis").iterdir()] == ["chapter1.txt"]
    (tmp_path / "thesis" / "chapter1.txt").unlink()
    first = train_run(options)
    model = RunFolder(tmp_path / "thesis").model.read_bytes()
    with pytest.raises(InvalidInputError, match=r"contains a finished run; .* with --force"):
        train_run(plain(visits, target="bought", epochs=2, out=tmp_path / "thesis"))
    assert RunFolder(tmp_path / "thesis").model.read_bytes() == model
    assert train_run(options, force=True).metrics == first.metrics
    with pytest.raises(InvalidInputError, match="is a file"):
        train_run(plain(visits, target="bought", out=visits))


def test_a_new_run_that_cannot_start_leaves_the_old_one(visits: Path, tmp_path: Path) -> None:
    train_run(plain(visits, target="bought", epochs=1, out=tmp_path / "run"))
    with pytest.raises(DataError):
        train_run(plain(visits, target="brought", epochs=1, out=tmp_path / "run"), force=True)
    assert load_run(tmp_path / "run").target_name == "bought"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"chainrule_run": 99}', '{"status": "finished"}'])
def test_a_folder_that_is_no_run_is_refused_in_a_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    for use in (load_run, resume_run):
        with pytest.raises(ModelFileError, match=r"run\.json is not from chainrule train|another version"):
            use(tmp_path)
    (tmp_path / "run_1").mkdir()
    with pytest.raises(ModelFileError, match=r"There is no run folder.*Did you mean 'run_1'"):
        load_run(tmp_path / "run_2")


# Using ---------------------------------------------------------------------------------------------------------------


def test_new_rows_may_have_gaps_and_new_words_and_no_target(houses: Path, tmp_path: Path) -> None:
    model = train_run(plain(houses, target="price", epochs=40, out=tmp_path / "run")).model
    new = write_lines(tmp_path / "new.csv", "town,area,rooms,note", ["Atlantis,100,,hm", "Porto,,3,", ",80,2,"])
    with pytest.warns(
        ChainruleWarning, match=r"Categories that the training data did not have: 'town' \(1 row, such as 'Atlantis'\)"
    ):
        frame = predict(model, new)
    assert list(frame) == ["prediction"]
    assert frame["prediction"].between(0, 1e6).all()
    with pytest.raises(DataError, match=r"no column 'price' with the true values"):
        evaluate(model, new)
    assert evaluate(model, houses)["r2"] > 0.9
    lacking = write_lines(tmp_path / "lacking.csv", "towns,area,rooms", ["Porto,100,3"])
    with pytest.raises(DataError, match=r"no column 'town'.*Did you mean 'towns'"):
        predict(model, lacking)


def test_a_model_of_arrays_takes_files_of_as_many_columns(tmp_path: Path) -> None:
    train_run(plain("moons", epochs=2, out=tmp_path / "run"))
    model = load_run(tmp_path / "run" / "model.safetensors")
    np.savez(tmp_path / "rows.npz", X=np.zeros((3, 2)), y=[0, 1, 1])
    assert len(predict(model, tmp_path / "rows.npz")) == 3
    assert 0 <= evaluate(model, tmp_path / "rows.npz")["accuracy"] <= 1
    np.save(tmp_path / "wide.npy", np.zeros((3, 5)))
    with pytest.raises(DataError, match="5 columns of inputs; this model needs 2"):
        predict(model, tmp_path / "wide.npy")


def test_a_model_of_a_table_refuses_a_set_of_arrays(houses: Path, tmp_path: Path) -> None:
    model = train_run(plain(houses, target="price", epochs=1, out=tmp_path / "run")).model
    with pytest.raises(ChainruleError):
        predict(model, "digits")


# The code that does the same -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"target": "price", "epochs": 4, "loss": "huber", "drop": ("rooms",), "max_norm": 2.0},
        {"target": "price", "patience": 2, "min_delta": 0.01, "schedule": "step", "split": "time", "test_size": 30},
        {"target": "price", "epochs": 3, "output_activation": "relu", "missing": "mean"},
        {"target": "town", "epochs": 3, "class_weight": "balanced", "label_smoothing": 0.1, "hidden": ()},
    ],
)
def test_the_code_trains_to_the_same_bits(
    houses: Path, tmp_path: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = plain("houses.csv", out="run", **settings)
    exec(compile(code_for_training(options), "code", "exec"), {})
    result = train_run(options)
    assert bits_of(Model.load("model.safetensors").network) == bits_of(result.model.network)


def test_a_check_finds_right_gradients_and_refuses_nonsense() -> None:
    assert Check(loss="categorical_cross_entropy", outputs=3, dropout=0.2, l2=0.1).run()
    with pytest.raises(InvalidInputError, match="one output"):
        Check(loss="bce", outputs=2).run()
    with pytest.raises(InvalidInputError, match="at least one"):
        Check(rows=0).run()


def test_a_new_run_in_a_folder_takes_the_exports_of_the_old_model_away(tmp_path: Path) -> None:
    options = plain("iris", hidden=(4,), epochs=1, out=tmp_path / "run")
    train_run(options)
    old, own = tmp_path / "run" / "model.c", tmp_path / "run" / "notes.txt"
    old.write_text("/* of the old model */")
    own.write_text("mine")
    said: list[str] = []
    train_run(options, announce=said.append, force=True)
    assert f"Replacing the run in {tmp_path / 'run'}" in said
    assert not old.exists()
    assert own.read_text() == "mine"


@pytest.mark.parametrize("kind", ["numbers", "codes", "labels"])
def test_text_is_read_as_the_types_that_a_model_was_trained_on(kind: str, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    y = {"numbers": X @ [1, 2, 3], "codes": (X[:, 0] > 0) * 1, "labels": np.where(X[:, 0] > 0, "a", "b")}[kind]
    np.savez(tmp_path / "rows.npz", X=X, y=y)
    pd.DataFrame(X, columns=["x1", "x2", "x3"]).assign(y=y).to_csv(tmp_path / "rows.csv", index=False)
    result = train_run(plain(tmp_path / "rows.npz", epochs=2, out=tmp_path / "run"))
    assert predict(result, tmp_path / "rows.csv").equals(predict(result, tmp_path / "rows.npz"))
    assert evaluate(result, tmp_path / "rows.csv") == evaluate(result, tmp_path / "rows.npz")


def test_a_model_of_bare_numbers_reads_them_from_text(tmp_path: Path) -> None:
    result = train_run(plain("digits", epochs=1, out=tmp_path / "run"))
    frame = pd.DataFrame(np.random.default_rng(0).integers(0, 17, (20, 64))).rename(columns=str).assign(y=3)
    frame.to_csv(tmp_path / "digits.csv", index=False)
    assert predict(result, tmp_path / "digits.csv").equals(predict(result, frame))
    assert evaluate(result, tmp_path / "digits.csv") == evaluate(result, frame)
    rows = (tmp_path / "digits.csv").read_text().splitlines()
    rows[5] = "," + rows[5].partition(",")[2]
    (tmp_path / "gap.csv").write_text("\n".join(rows))
    with pytest.raises(DataError, match=r"gap\.csv: The column '0' has '' in row 5; the model needs a number there"):
        predict(result, tmp_path / "gap.csv")


@pytest.mark.parametrize("word", ["-999", -999.0, "keine"], ids=["text", "number", "a word"])
def test_words_for_a_missing_value_hold_for_the_target(word: Any) -> None:
    x = np.random.default_rng(0).normal(size=60)
    labels: list[Any] = [*x] if isinstance(word, float) else [f"{value:.4f}" for value in x]
    labels[3] = labels[9] = word
    frame = pd.DataFrame({"a": x, "b": x**2, "y": labels})
    words = ("-999", "keine")
    with pytest.raises(DataError, match=re.escape("missing in 2 of 60 rows (rows 4, 10)")):
        train_run(plain(frame, "y", epochs=1, missing_words=words))
    result = train_run(plain(frame, "y", epochs=1, missing_words=words, drop_missing_target=True))
    assert (result.model.target.task, result.data.n_without_target) == ("regression", 2)
    with pytest.raises(DataError, match="missing in 2 of 60 rows"):
        evaluate(result, frame)
    assert evaluate(result, frame, drop_missing_target=True)["root_mean_squared_error"] < 2
