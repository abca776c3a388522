"""chainrule.train, evaluate and predict: on data frames as on files, in memory or with a run folder."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chainrule
from chainrule.callbacks import Callback, TrainingRun
from chainrule.errors import ChainruleWarning, DataError, InvalidInputError, ModelFileError
from chainrule.runs import RunFolder, RunInterrupted, TrainOptions, code_for_training, resume_run, train_run
from support.commands import chainrule as command
from support.networks import bits_of
from support.tables import write_visits

pytestmark = pytest.mark.usefixtures("without_figures")


@pytest.fixture
def visits(tmp_path: Path) -> Path:
    return write_visits(tmp_path / "visits.csv")


def quick(source: Any, target: Any = "bought", **options: Any) -> Any:
    settings = {"preset": "plain", "epochs": 3, "hidden": [8], "verbose": False}
    return chainrule.train(source, target, **{**settings, **options})


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_frame_trains_to_the_bits_of_the_command_and_writes_nothing(
    kind: str, visits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame: Any = pd.read_csv(visits)
    if kind == "polars":
        frame = pytest.importorskip("polars").from_pandas(frame)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = chainrule.train(frame, "bought", epochs=3, hidden=[8], verbose=False)
    assert list(Path().iterdir()) == []
    assert result.folder is None
    done = command("train", visits, "-t", "bought", "--epochs", 3, "--hidden", "8", "--out", "run")
    assert done.exit_code == 0
    model = chainrule.runs.load_run("run")
    assert bits_of(result.model.network) == bits_of(model.network)
    assert result.metrics == RunFolder(Path("run")).read_record()["metrics"]
    assert chainrule.predict(result, frame).equals(chainrule.predict("run", visits))
    assert chainrule.evaluate(result, frame) == chainrule.evaluate("run", visits)


@pytest.mark.figures
def test_a_result_shows_what_it_is_worth(visits: Path, tmp_path: Path) -> None:
    result = quick(pd.read_csv(visits))
    table = result.to_frame()
    assert list(table.index) == list(result.metrics)
    assert list(table.columns) == ["this network", "logistic regression", "majority class"]
    assert table.loc["accuracy", "this network"] == result.metrics["accuracy"]
    shown = repr(result)
    assert "Measured on 80 test rows" in shown
    assert "majority class" in shown
    assert "Trained for 3 epochs" in shown
    result.report.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page == result.report.html
    assert "data frame: bought" in page
    assert "logistic regression" in page
    assert result.report._repr_html_().startswith("<iframe srcdoc=")
    assert len(result.history["loss"]) == 3
    proba = result.model.predict_proba(pd.read_csv(visits).head(5))
    assert proba.shape == (5, 2)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)


def test_a_column_of_lists_is_named_unless_it_is_left_out(visits: Path) -> None:
    frame = pd.read_csv(visits)
    frame["tags"] = [[place % 3] for place in range(len(frame))]
    with pytest.raises(DataError, match=r"column 'tags' has \[\d\] in row \d+, but a cell must contain one value"):
        quick(frame)
    assert "tags" not in " ".join(quick(frame, drop=["tags"]).data.table.feature_names)


def test_predictions_keep_the_index_and_the_columns_asked_for(visits: Path) -> None:
    frame = pd.read_csv(visits).set_index(pd.Index([f"row {i}" for i in range(400)]))
    frame["id"] = [f"{i:05d}" for i in range(400)]
    model = quick(frame.drop(columns="id")).model
    predictions = chainrule.predict(model, frame[::-1], keep=["id", "bought"])
    assert list(predictions)[:3] == ["id", "bought", "prediction"]
    assert predictions.index.equals(frame.index[::-1])
    assert predictions["id"].tolist() == frame["id"].tolist()[::-1]
    assert "id" in chainrule.predict(model, frame.rename(columns={"id": "id "}), keep=["id "])
    with pytest.raises(DataError, match=r"no column 'idd' to keep\. Did you mean 'id'"):
        chainrule.predict(model, frame, keep=["idd"])
    with pytest.raises(InvalidInputError, match=r"keep=\['id'\]"):
        chainrule.predict(model, frame, keep="id")
    with pytest.raises(DataError, match="The column 'prediction' to keep has the name of a column of the predictions"):
        chainrule.predict(model, frame.rename(columns={"id": "prediction"}), keep=["prediction"])


def test_progress_is_printed_unless_it_is_not_wanted(visits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick(pd.read_csv(visits), verbose=True)
    printed = capsys.readouterr().out
    assert "data frame: 400 rows" in printed
    assert "network " in printed
    quick(pd.read_csv(visits))
    assert capsys.readouterr().out == ""


def test_a_name_and_a_file_train_as_frames_do(visits: Path) -> None:
    assert chainrule.train("xnor", epochs=1, verbose=False).folder is None
    assert bits_of(quick(visits).model.network) == bits_of(quick(pd.read_csv(visits)).model.network)


def test_with_out_a_frame_leaves_a_run_folder(visits: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(visits)
    result = quick(frame, out=tmp_path / "run")
    assert result.folder == tmp_path / "run"
    assert RunFolder(tmp_path / "run").report.read_text() == result.report.html
    record = RunFolder(tmp_path / "run").read_record()
    assert record["options"]["source"] is None
    assert record["source_sha256"]
    assert chainrule.predict(tmp_path / "run", frame).equals(chainrule.predict(result, frame))


class PressAt(Callback):
    """Sends Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_batch_end(self, run: TrainingRun) -> None:
        if run.epoch == self.epoch and run.batch == 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_run_on_a_frame_goes_on_with_the_same_frame(visits: Path, tmp_path: Path) -> None:
    frame, options = pd.read_csv(visits), {"epochs": 6, "batch_size": 32}
    whole = quick(frame, **options)
    with pytest.raises(RunInterrupted):
        quick(frame, out=tmp_path / "run", callbacks=[PressAt(2)], **options)
    with pytest.raises(ModelFileError, match=r"was trained on a data frame, .*source=frame"):
        resume_run(tmp_path / "run")
    with pytest.raises(ModelFileError, match="has changed"):
        resume_run(tmp_path / "run", source=frame[::-1])
    result = resume_run(tmp_path / "run", source=frame)
    assert bits_of(result.model.network) == bits_of(whole.model.network)


def test_an_interrupted_run_in_memory_returns_the_best_model_so_far(visits: Path) -> None:
    frame = pd.read_csv(visits)
    options = {"epochs": 50, "batch_size": 32, "patience": 40, "learning_rate": 0.3}
    with pytest.warns(ChainruleWarning, match="interrupted in epoch 13; the model so far"):
        result = quick(frame, callbacks=[PressAt(12)], **options)
    losses = result.history["validation_loss"]
    assert len(losses) == 13
    best = int(np.argmin(losses)) + 1
    assert best < 13, "the last weights are not the best ones"
    assert f"interrupted; the weights of epoch {best} are kept" in result.stop_reason
    assert result.data.validation is not None
    assert result.model.network.evaluate(result.data.validation)["loss"] == pytest.approx(min(losses))


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"target": None}, DataError, "Give the target, the column of the data frame to predict: .*bought"),
        ({"target": "bougth"}, DataError, "The data frame has no column 'bougth' to predict.*Did you mean 'bought'"),
        ({"target": pd.Series([1, 2])}, InvalidInputError, "target is the name of a column, not a Series"),
        ({"learning_rte": 0.1}, InvalidInputError, "no argument 'learning_rte'. Did you mean 'learning_rate'"),
        ({"hidden": [8, 0]}, InvalidInputError, "hidden layers"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_named(
    visits: Path, given: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        quick(pd.read_csv(visits), **{"target": "bought", **given})


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"a": [1, 2]}, "The data must be a pandas or polars data frame, .* not a dict"),
        ([1, 2], "not a list"),
        (None, "not a NoneType"),
        (pd.DataFrame({"bought": []}), "The data frame has no rows"),
        (pd.DataFrame({"bought": [1, 0]}), "no column besides the target"),
        (pd.DataFrame([[1, 0]], columns=["bought", "bought"]), "more than one column named 'bought'"),
    ],
    ids=str,
)
def test_what_is_no_table_is_refused_in_a_sentence(source: Any, sentence: str, visits: Path) -> None:
    with pytest.raises(InvalidInputError, match=sentence):
        quick(source)
    if not isinstance(source, pd.DataFrame):
        model = quick(visits).model
        for use in (chainrule.predict, chainrule.evaluate):
            with pytest.raises(InvalidInputError, match=sentence):
                use(model, source)


@pytest.mark.filterwarnings("ignore:Determining the column names of a LazyFrame")
def test_a_lazy_frame_is_to_be_collected(visits: Path) -> None:
    lazy = pytest.importorskip("polars").scan_csv(visits)
    with pytest.raises(InvalidInputError, match=r"call its collect\(\) first"):
        quick(lazy)


def test_models_of_arrays_take_arrays_and_others_do_not(visits: Path) -> None:
    digits = chainrule.train("digits", epochs=1, hidden=[8], verbose=False)
    test = digits.data.test
    assert chainrule.predict(digits, test.X).equals(chainrule.predict(digits, test))
    assert chainrule.evaluate(digits, test) == digits.metrics
    with pytest.raises(DataError, match="5 columns of inputs; this model needs 64"):
        chainrule.predict(digits, test.X[:, :5])
    with pytest.raises(InvalidInputError, match="needs a table with named columns"):
        chainrule.predict(quick(visits), test.X)
    network: Any = digits.model.network
    with pytest.raises(InvalidInputError, match="path of a run folder, not a NeuralNetwork"):
        chainrule.predict(network, test.X)


def test_columns_that_are_called_by_numbers_are_found() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)))
    result = chainrule.train(frame, 2, drop=[0], epochs=1, verbose=False)
    assert result.model.target_name == "2"
    assert result.data.table is not None
    assert result.data.table.feature_names == ("1",)
    assert chainrule.predict(result, frame).shape == (60, 1)
    options = TrainOptions.of(frame, target=2, group=np.int64(1), numeric=0, missing_words=[-1])
    assert (options.target, options.group, options.numeric, options.missing_words) == ("2", "1", ("0",), ("-1",))


def test_options_with_a_frame_are_those_of_a_file(visits: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(visits)
    options = TrainOptions(frame, target="bought", epochs=1, out=tmp_path / "run")
    assert train_run(options).folder == tmp_path / "run"
    assert 'prepare_data(frame, target="bought"' in code_for_training(options)


def test_the_command_keeps_columns_as_the_file_has_them(visits: Path, tmp_path: Path) -> None:
    lines = visits.read_text().splitlines()
    rows = tmp_path / "rows.csv"
    ids = ["id", *(f"id-{n}" for n in range(len(lines) - 1))]
    rows.write_text("\n".join(f"{a},{b}" for a, b in zip(ids, lines, strict=True)) + "\n")
    command("train", visits, "-t", "bought", "--epochs", 1, "--out", tmp_path / "run")
    done = command("predict", tmp_path / "run", rows, "--keep", "id", "--keep", "bought", "-o", tmp_path / "out.csv")
    assert done.exit_code == 0, done.output
    out = pd.read_csv(tmp_path / "out.csv")
    assert list(out)[:3] == ["id", "bought", "prediction"]
    assert out["id"].tolist() == ids[1:]
    code = command("predict", tmp_path / "run", rows, "--keep", "id", "--show-code").output
    assert f"predict(model, \"{rows}\", keep=['id'])" in code


def test_kept_numbers_keep_their_digits(tmp_path: Path) -> None:
    frame = pd.DataFrame({"exact": [0.1234567891234, 123456789.125], "x": [1.0, 2.0]})
    rows = pd.DataFrame({"x": np.arange(50.0), "y": np.arange(50.0) ** 2 + 0.5})
    quick(rows, "y", out=tmp_path / "run")
    frame.to_parquet(tmp_path / "new.parquet")
    printed = command("predict", tmp_path / "run", tmp_path / "new.parquet", "--keep", "exact").output.splitlines()
    assert [line.split(",")[0] for line in printed] == ["exact", "0.1234567891234", "123456789.125"]


# Rows without a target ------------------------------------------------------------------------------------------------


@pytest.fixture
def gaps(visits: Path, tmp_path: Path) -> Path:
    """The visits with 2 more rows whose target is missing, between the others."""
    lines = visits.read_text().splitlines()
    lines[3:3] = ["0.5,0.5,", "0.1,0.9,"]
    path = tmp_path / "gaps.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_rows_without_a_target_are_left_out_on_request_only(visits: Path, gaps: Path, tmp_path: Path) -> None:
    sentence = r"'bought' is missing in 2 of 402 rows \(rows 3, 4\).*--drop-missing-target.*drop_missing_target=True"
    with pytest.raises(DataError, match=sentence):
        quick(gaps)
    result = quick(gaps, drop_missing_target=True)
    assert result.data.summary().endswith("; 2 rows without a target dropped")
    assert result.data.describe()["rows_without_target"] == 2
    assert bits_of(result.model.network) == bits_of(quick(visits).model.network)
    with pytest.raises(DataError, match=sentence):
        chainrule.evaluate(result, gaps)
    assert chainrule.evaluate(result, gaps, drop_missing_target=True) == chainrule.evaluate(result, visits)
    pd.read_csv(gaps).to_parquet(tmp_path / "gaps.parquet", row_group_size=2)
    parquet = chainrule.evaluate(result, tmp_path / "gaps.parquet", drop_missing_target=True)
    assert parquet == pytest.approx(chainrule.evaluate(result, visits))
    assert len(chainrule.predict(result, gaps)) == 402


def test_the_commands_leave_rows_without_a_target_out(visits: Path, gaps: Path, tmp_path: Path) -> None:
    run, flag = tmp_path / "run", "--drop-missing-target"
    failed = command("train", gaps, "-t", "bought", "-o", run)
    assert failed.exit_code == 2
    assert flag in failed.stderr
    assert command("train", gaps, "-t", "bought", "-e", 1, "-o", run, flag).exit_code == 0
    assert flag in command("evaluate", run, gaps).stderr
    done = command("evaluate", run, gaps, flag)
    assert done.output.splitlines()[1:6] == command("evaluate", run, visits).output.splitlines()[1:6]
    assert "drop_missing_target=True" in command("evaluate", run, gaps, flag, "--show-code").output
    assert "drop_missing_target=True" in command("train", gaps, "-t", "bought", flag, "--show-code").output


def test_a_bad_cell_keeps_its_row_number_when_rows_are_left_out(tmp_path: Path) -> None:
    rows = ["1,", *(f"{row},{'yn'[row % 2]}" for row in range(60)), "oops,y"]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["a,b", *rows]) + "\n")
    with pytest.raises(DataError, match="row 62 has 'oops'"):
        quick(path, "b", drop_missing_target=True)


def test_a_target_that_is_missing_everywhere_is_named(visits: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(visits)
    model = quick(frame).model
    with pytest.raises(DataError, match="'bought' is missing in every row"):
        chainrule.evaluate(model, frame.assign(bought=None), drop_missing_target=True)
    with pytest.raises(DataError, match="'bought' is missing in every row"):
        quick(frame.assign(bought=None), drop_missing_target=True)
