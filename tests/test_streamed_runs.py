"""``chainrule train`` on Parquet files that are streamed, and ``predict`` and ``evaluate`` on any number of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import ParquetStream, parquet_files
from chainrule.errors import DataError, InvalidInputError, ModelFileError
from chainrule.runs import (
    RunInterrupted,
    TrainOptions,
    code_for_training,
    evaluate,
    load_run,
    predict,
    predict_chunks,
    prepare_data,
    resume_run,
    train_run,
)
from chainrule.runs import source as source_module
from support.commands import chainrule
from support.streams import table_of_visits, write_parquet

pytestmark = pytest.mark.usefixtures("without_figures")

FRAME = table_of_visits(700).drop(columns="place")
OPTIONS: dict[str, Any] = {"target": "bought", "drop": ("spent",), "hidden": (8,), "epochs": 3, "batch_size": 32}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_parquet(tmp_path_factory.mktemp("stream") / "big", FRAME)


@pytest.mark.figures
def test_several_files_are_streamed_and_leave_an_ordinary_run(folder: Path, tmp_path: Path) -> None:
    files, said = tuple(sorted(folder.glob("*.parquet"))), []
    options = TrainOptions(files, **{**OPTIONS, "epochs": 60}, out=tmp_path / "run", patience=60)
    result = train_run(options, announce=said.append)
    assert isinstance(result.data.training, ParquetStream)
    assert said[0] == f"Analysing the columns: one pass over {files[0]} and 2 more"
    assert (
        "700 rows, 6 columns (12 inputs); 2 classes of bought; 448 training rows, 112 validation rows, 140 test rows"
        in said[1]
    )
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["options"]["source"] == [str(path) for path in files]
    assert record["data"]["training_rows"] == 448
    assert record["metrics"].keys() == record["baselines"]["majority class"].keys()
    report = (tmp_path / "run" / "report.html").read_text()
    assert f"{files[0]} and 2 more" in report
    model = load_run(tmp_path / "run")
    assert (model.predict(FRAME) == FRAME["bought"]).mean() > 0.7  # one half by chance
    np.testing.assert_allclose(model.evaluate(result.data.test)["accuracy"], result.metrics["accuracy"])


@pytest.mark.parametrize("given", ["folder", "pattern", "files"])
def test_the_same_rows_however_they_are_named(folder: Path, tmp_path: Path, given: str) -> None:
    files = sorted(str(path) for path in folder.glob("*.parquet"))
    sources = {"folder": [str(folder)], "pattern": [f"{folder}/*.parquet"], "files": files}[given]
    out = ("--out", str(tmp_path / "run"))
    result = chainrule("train", *sources, "-t", "bought", "--drop", "spent", "-e", "1", "--hidden", "4", *out)
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["options"]["source"] == files
    assert chainrule("predict", tmp_path / "run", files[0], "-o", tmp_path / "p.csv").exit_code == 0
    assert len(pd.read_csv(tmp_path / "p.csv")) == 233


def test_numbers_are_learnt_standardised_and_measured_in_their_units(folder: Path, tmp_path: Path) -> None:
    options = TrainOptions(folder, target="spent", hidden=(16,), epochs=20, batch_size=16, out=tmp_path / "run")
    result = train_run(options)
    assert result.model.scaling is not None
    np.testing.assert_allclose(result.model.scaling.center, FRAME["spent"].mean(), rtol=0.1)
    assert result.metrics["r2"] > 0.8
    assert {one.name for one in result.baselines} == {"mean", "ridge regression"}
    assert result.history["loss"][-1] < 1, "of standardised targets"


def test_each_part_of_a_run_has_its_share_of_a_rare_class(tmp_path: Path) -> None:
    bought = np.where(np.arange(len(FRAME)) % 350 < 10, "yes", "no")
    folder = write_parquet(tmp_path / "rare", FRAME.assign(bought=bought))
    data = prepare_data(folder, target="bought", seed=1)
    assert data.validation is None or len(data.validation.y) == 112  # type: ignore[arg-type]
    assert np.bincount(data.test.y).tolist() == [136, 4]
    assert isinstance(data.training, ParquetStream)
    at_random = prepare_data(folder, target="bought", split="random", validation_size=0, seed=1)
    assert at_random.training.n_rows == 560
    assert np.bincount(at_random.test.y).tolist() != [136, 4]


def test_one_file_is_streamed_where_memory_is_short(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "part0.parquet"
    in_memory = prepare_data(path, target="bought")
    assert not isinstance(in_memory.training, ParquetStream)
    monkeypatch.setattr(source_module, "machine_memory", lambda: 50_000)
    streamed = prepare_data(path, target="bought")
    assert isinstance(streamed.training, ParquetStream)
    assert streamed.training.n_features == in_memory.training.n_features
    options = TrainOptions(path, **OPTIONS, out=tmp_path / "run")
    assert options.resolved().source == (path.resolve(),)


class InterruptAt(Callback):
    """Press Ctrl-C, so to speak, in the middle of an epoch."""

    def on_batch_end(self, run: TrainingRun) -> None:
        if (run.epoch, run.batch) == (1, 9):
            run.interrupt("Ctrl-C")


def test_a_run_interrupted_in_an_epoch_ends_with_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    whole, half = ({**OPTIONS, "dropout": 0.1, "out": tmp_path / name} for name in ("whole", "half"))
    train_run(TrainOptions(folder, **whole))
    with pytest.raises(RunInterrupted):
        train_run(TrainOptions(folder, **half), callbacks=[InterruptAt()])
    resume_run(tmp_path / "half")
    first, second = (tmp_path / name / "model.safetensors" for name in ("whole", "half"))
    assert first.read_bytes() == second.read_bytes()


def test_a_run_killed_in_an_epoch_loses_a_minute_and_ends_with_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """The process is killed after its second checkpoint inside the first epoch, with checkpoints as often as can be."""
    program = """
import os, signal, sys
from chainrule.callbacks import Callback
from chainrule.runs import TrainOptions, running, train_run
running.CHECKPOINT_SECONDS = 1e-9
class Die(Callback):
    def on_batch_end(self, run):
        if run.batch == 6:
            os.kill(os.getpid(), signal.SIGKILL)
train_run(TrainOptions(sys.argv[1], target="bought", drop=("spent",), hidden=(8,), epochs=3, batch_size=32,
                       dropout=0.1, out=sys.argv[2]), callbacks=[Die()])
"""
    out = tmp_path / "half"
    killed = subprocess.run([sys.executable, "-c", program, str(folder), str(out)], check=False, timeout=120)
    assert killed.returncode == -9
    assert (out / "checkpoint.safetensors").is_file()
    resumed = resume_run(out)
    train_run(TrainOptions(folder, **OPTIONS, dropout=0.1, out=tmp_path / "whole"))
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert resumed.history.n_epochs == 3


def test_a_run_is_not_resumed_on_files_that_have_changed(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "big", FRAME)
    with pytest.raises(RunInterrupted):
        train_run(TrainOptions(folder, **OPTIONS, out=tmp_path / "run"), callbacks=[InterruptAt()])
    write_parquet(folder, FRAME.assign(pages=FRAME["pages"] + 1))
    with pytest.raises(ModelFileError, match=r"part0.parquet and 2 more' has changed since the start of the run"):
        resume_run(tmp_path / "run")
    (folder / "part1.parquet").unlink()
    with pytest.raises(ModelFileError, match=r"A data file of this run cannot be read: part1.parquet"):
        resume_run(tmp_path / "run")


def test_the_code_of_a_streamed_run_trains_the_same_network(folder: Path, tmp_path: Path) -> None:
    options = TrainOptions(folder, **OPTIONS, out=tmp_path / "run")
    train_run(options)
    code = code_for_training(options.resolved())
    assert f'prepare_data(["{folder}/part0.parquet", ' in re.sub(r"\s+", " ", code).replace("( ", "(")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    mine, its = load_run(tmp_path / "run"), load_run(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(mine.outputs(FRAME), its.outputs(FRAME))


@pytest.mark.parametrize(
    ("sources", "options", "message"),
    [
        (
            ["part0.parquet", "rows.csv"],
            {},
            "rows.csv is not a Parquet file, and several files must be Parquet files",
        ),
        (["part0.parquet", "part0.parquet"], {}, "part0.parquet is given twice"),
        (
            ["part0.parquet", "part1.parquet"],
            {"target": None},
            "Give the target, the column of part0.parquet to predict: minutes",
        ),
        (["part0.parquet", "part1.parquet"], {"target": "boght"}, "part0.parquet has no column 'boght' to predict"),
        (["part0.parquet", "part9.parquet"], {}, "There is no file"),
    ],
)
def test_sources_that_cannot_be_streamed_are_one_sentence(
    folder: Path, tmp_path: Path, sources: list[str], options: dict[str, Any], message: str
) -> None:
    (folder.parent / "rows.csv").write_text("a,b\n1,2\n")
    given = tuple(folder.parent / name if name.endswith(".csv") else folder / name for name in sources)
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        train_run(TrainOptions(given, **{**OPTIONS, **options}, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    train_run(TrainOptions(folder, **{**OPTIONS, "epochs": 1}, out=out))
    return out


@pytest.mark.parametrize("has_target", [True, False])
def test_predictions_come_in_pieces_that_are_those_of_the_whole(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_target: bool
) -> None:
    path = tmp_path / "new.parquet"
    (FRAME if has_target else FRAME.drop(columns=["bought"])).to_parquet(path, row_group_size=90)
    monkeypatch.setattr(parquet_files, "CHUNK_ROWS", 40)
    model = load_run(run)
    pieces = list(predict_chunks(model, path))
    assert max(map(len, pieces)) <= 40
    whole = predict(model, path)
    joined = pd.concat(pieces, ignore_index=True)
    assert (joined["prediction"] == whole["prediction"]).all()
    np.testing.assert_allclose(joined.iloc[:, 1:], whole.iloc[:, 1:], rtol=1e-5)
    result = chainrule("predict", run, path, "--out", tmp_path / "p.csv")
    assert f"{len(FRAME)} predictions to" in result.output
    assert pd.read_csv(tmp_path / "p.csv")["prediction"].tolist() == whole["prediction"].tolist()
    assert chainrule("predict", run, path).stdout == (tmp_path / "p.csv").read_text()


def test_a_bad_cell_far_down_leaves_no_half_written_predictions(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_files, "CHUNK_ROWS", 40)
    path = tmp_path / "new.parquet"
    FRAME.assign(pages=FRAME["pages"].where(FRAME.index != 650, np.inf)).to_parquet(path, row_group_size=90)
    result = chainrule("predict", run, path, "-o", tmp_path / "p.csv")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: new.parquet: The column 'pages' has an infinite number in row 651;")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new.parquet"]
    FRAME[:0].to_parquet(path)
    with pytest.raises(DataError, match=r"new.parquet contains a table without rows"):
        list(predict_chunks(load_run(run), path))


def test_predictions_of_several_files_are_those_of_one_after_another(run: Path, folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.glob("*.parquet"))
    result = chainrule("predict", run, *files, "-o", tmp_path / "p.csv")
    assert result.exit_code == 0, result.output
    model = load_run(run)
    whole = predict(model, folder)
    assert whole.equals(pd.concat([predict(model, file) for file in files], ignore_index=True))
    assert pd.read_csv(tmp_path / "p.csv")["prediction"].tolist() == whole["prediction"].tolist()
    assert str(files[1]) in chainrule("predict", run, *files, "--show-code").stdout


@pytest.mark.parametrize("target", ["bought", "spent"])
@pytest.mark.parametrize("given", ["folder", "pattern", "files"])
def test_metrics_of_several_files_are_those_of_the_rows_as_one(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, given: str
) -> None:
    options = {**OPTIONS, "target": target, "drop": (), "epochs": 1, "seed": 3}
    model = train_run(TrainOptions(folder, **options, out=tmp_path / "run")).model
    whole = model.evaluate(FRAME.drop(columns=target), FRAME[target])
    sizes: list[int] = []
    predict = model.network.predict
    monkeypatch.setattr(parquet_files, "CHUNK_ROWS", 30)
    monkeypatch.setattr(model.network, "predict", lambda X, *weights: sizes.append(len(X)) or predict(X, *weights))  # type: ignore[func-returns-value]
    files = sorted(folder.glob("*.parquet"))
    metrics = evaluate(model, {"folder": folder, "pattern": f"{folder}/*.parquet", "files": files}[given])
    assert metrics == pytest.approx(whole, rel=1e-6)
    assert (sum(sizes), max(sizes)) == (700, 30), "in pieces"


@pytest.mark.parametrize(("rank", "n_tables"), [("0", 1), ("1", 0)])
def test_of_several_processes_the_first_measures(
    run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, rank: str, n_tables: int
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a run")
    monkeypatch.setenv("RANK", rank)
    assert chainrule("evaluate", run, folder).stdout.count("Measured on") == n_tables
    assert chainrule("predict", run, folder).stdout.count("prediction,") == n_tables


def test_brackets_of_a_pattern_are_shown(run: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert "Measured on part[01].parquet" in chainrule("evaluate", run, "part[01].parquet").stdout


def test_evaluate_takes_what_train_takes(run: Path, folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.glob("*.parquet"))
    FRAME.to_parquet(tmp_path / "one.parquet")
    one = chainrule("evaluate", run, tmp_path / "one.parquet").stdout
    assert f"Measured on {tmp_path / 'one.parquet'}" in one
    assert "Note:" not in one
    several = chainrule("evaluate", run, *files).stdout
    assert f"Measured on {files[0]} and 2 more" in several
    assert "Note: the model was trained on data of this name" in several
    rows = {text: text.splitlines()[1:6] for text in (one, several)}
    assert rows[one] == rows[several]
    assert chainrule("evaluate", run, folder).stdout.splitlines()[1:] == several.splitlines()[1:]
    done = subprocess.run(
        [sys.executable, "-c", chainrule("evaluate", run, *files, "--show-code").stdout],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(evaluate(load_run(run), files))


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("maybe", "new.parquet: The target has the value 'maybe' in row 651, which is not one of the classes"),
        (None, "new.parquet: The target 'bought' is missing in row 651; fill it in"),
        (
            ["yes"],
            "new.parquet: Unknown label type: the target contains ndarray objects (row 1); give numbers or text.",
        ),
    ],
)
def test_a_target_that_cannot_be_measured_is_named_with_its_row(
    run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, label: Any, message: str
) -> None:
    monkeypatch.setattr(parquet_files, "CHUNK_ROWS", 40)
    rows = FRAME.astype({"bought": object})
    rows.at[650, "bought"] = label
    if isinstance(label, list):  # a column of Parquet is of one kind
        rows["bought"] = [label] * 650 + [label] * 50
    rows.to_parquet(tmp_path / "new.parquet", row_group_size=90)
    result = chainrule("evaluate", run, folder / "part0.parquet", tmp_path / "new.parquet")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: {message}")


def test_files_that_cannot_be_measured_are_one_sentence(run: Path, folder: Path, tmp_path: Path) -> None:
    part, lacking, empty = folder / "part0.parquet", tmp_path / "lacking.parquet", tmp_path / "empty.parquet"
    FRAME.rename(columns={"bought": "boughts"}).to_parquet(lacking)
    FRAME[:0].to_parquet(empty)
    model = load_run(run)
    with pytest.raises(DataError, match=r"lacking.parquet has no column 'bought' with .* Did you mean 'boughts'\?"):
        evaluate(model, [part, lacking])
    with pytest.raises(DataError, match="contains a table without rows"):
        evaluate(model, [empty])
    with pytest.raises(DataError, match=r"rows.csv is not a Parquet file"):
        evaluate(model, [part, tmp_path / "rows.csv"])
    assert evaluate(model, [part, empty]) == evaluate(model, part)
