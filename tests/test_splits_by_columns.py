"""Rows split by groups and by time, the warning that a random split gets, and the columns as they are told."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chainrule
from chainrule.data import Dataset
from chainrule.errors import ChainruleWarning, DataError, InvalidInputError
from chainrule.model import Model
from chainrule.runs import PreparedData, RunFolder, TrainOptions, code_for_training, prepare_data
from support.commands import chainrule as command
from support.networks import bits_of
from support.streams import write_parquet

pytestmark = pytest.mark.usefixtures("without_figures")


def machines(n_machines: int = 12, n_hours: int = 30) -> pd.DataFrame:
    """A series for each machine; ``row`` numbers the rows in the order of the hours, so that it tells the part."""
    rng = np.random.default_rng(1)
    n = n_machines * n_hours
    frame = pd.DataFrame({"machine": [f"M{k:02d}" for k in np.repeat(np.arange(n_machines), n_hours)]})
    frame["hour"] = np.tile(pd.date_range("2024-03-30", periods=n_hours, freq="12h"), n_machines)
    frame["heat"] = rng.normal(size=n)
    frame["number"] = np.repeat(np.arange(n_machines), n_hours) + 0.5
    frame["days"] = (frame["hour"] - frame["hour"].min()) / pd.Timedelta("1D")
    frame["wear"] = frame["heat"] + frame["number"] + rng.normal(size=n)
    return frame


def written(frame: pd.DataFrame, path: Path) -> Path:
    frame.to_csv(path, index=False)
    return path


def values_of(data: PreparedData, name: str) -> list[set[float]]:
    """The different values that the rows to train, validate and test with have in a column of numbers."""
    assert data.table is not None
    assert isinstance(data.training, Dataset)
    place = data.table.feature_names.index(name)
    parts = (data.training, data.validation, data.test)
    return [set(np.round(part.X[:, place], 4).tolist()) for part in parts if part is not None]


def prepared(source: Any, **options: Any) -> PreparedData:
    return prepare_data(source, target="wear", **options)


# By group ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["frame", "file"])
def test_rows_of_a_group_are_in_one_part(kind: str, tmp_path: Path) -> None:
    frame = machines()
    source: Any = frame if kind == "frame" else written(frame, tmp_path / "t.csv")
    data = prepared(source, group="machine")
    assert data.table is not None
    assert "machine" not in {plan.name for plan in data.table.columns}, "it is no input"
    training, validation, test = values_of(data, "number")
    assert len(training | validation | test) == 12
    assert [len(part) for part in (training, validation, test)] == [8, 2, 2]
    assert not training & validation | training & test | validation & test
    assert "split by group (machine)" in data.summary()
    assert data.warnings == ()


def test_groups_of_the_same_text_are_one_and_missing_ones_too() -> None:
    frame = machines().drop(columns=["hour", "days"])
    frame["machine"] = frame["machine"].where(frame["number"] > 4)
    frame.loc[::2, "machine"] = frame["machine"][::2] + " "
    for seed in range(5):
        parts = values_of(prepared(frame, group="machine", test_size=0.4, seed=seed), "number")
        unknown = set(sorted(set.union(*parts))[:4])
        assert [bool(unknown & part) for part in parts].count(True) == 1
        assert sum(map(len, parts)) == 12


def test_a_group_is_an_input_when_an_option_names_it() -> None:
    data = prepared(machines(), group="machine", categorical=["machine"])
    assert data.table is not None
    assert any(name.startswith("machine=") for name in data.table.feature_names)
    assert sum(map(len, values_of(data, "number"))) == 12
    assert prepared(machines(), group="machine", drop=["machine", "hour"]).n_columns == 4


# By time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written_as", ["%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M", "%d/%m/%Y %I:%M %p", None])
@pytest.mark.parametrize("order", ["oldest first", "newest first", "shuffled"])
def test_the_latest_rows_are_tested_whatever_their_order(written_as: str | None, order: str, tmp_path: Path) -> None:
    frame = machines()
    if written_as is not None:
        frame["hour"] = frame["hour"].dt.strftime(written_as)
    frame = {
        "oldest first": frame.sort_values("days", kind="stable"),
        "newest first": frame.sort_values("days", kind="stable")[::-1],
        "shuffled": frame.sample(frac=1, random_state=3),
    }[order]
    source: Any = frame if written_as is None else written(frame, tmp_path / "t.csv")
    for options in ({"time": "hour"}, {"split": "time"}, {"time": "hour", "split": "time"}):
        data = prepared(source, **options)
        assert data.table is not None
        assert "hour" not in {plan.name for plan in data.table.columns}, "it is no input"
        training, validation, test = values_of(data, "days")
        assert max(training) < min(validation)
        assert max(validation) < min(test)
        assert [len(part) for part in (training, validation, test)] == [19, 5, 6]
        assert "split by time (hour)" in data.summary()
        assert data.warnings == ()


def test_the_same_rows_in_another_order_train_the_same_network(tmp_path: Path) -> None:
    frame = machines(1, 200)
    results = [
        chainrule.train(rows, "wear", time="hour", epochs=2, hidden=(4,), verbose=False)
        for rows in (frame, frame[::-1], frame.sample(frac=1, random_state=0))
    ]
    assert bits_of(results[0].model.network) == bits_of(results[1].model.network) == bits_of(results[2].model.network)
    assert results[0].metrics == results[1].metrics == results[2].metrics


def test_numbers_sort_rows_too_and_are_inputs_when_an_option_names_them() -> None:
    frame = machines().drop(columns="hour").sample(frac=1, random_state=0)
    data = prepared(frame, time="days", numeric=["days"])
    training, validation, test = values_of(data, "days")
    assert max(training) < min(validation) < max(validation) < min(test)
    assert data.table is not None
    assert "days" not in {plan.name for plan in prepared(frame, time="days").table.columns}  # type: ignore[union-attr]


def test_without_a_column_of_dates_the_last_rows_are_the_latest() -> None:
    frame = machines().drop(columns=["hour", "machine"]).sort_values("days", kind="stable")
    training, validation, test = values_of(prepared(frame, split="time"), "days")
    assert max(training) <= min(validation)
    assert max(validation) <= min(test)
    assert "split by time, in the order of the rows" in prepared(frame, split="time").summary()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"group": "machin"}, r"group \(--group\) names the column 'machin', which .* Did you mean 'machine'"),
        ({"time": "our"}, r"time \(--time\) names the column 'our', which .* Did you mean 'hour'"),
        ({"time": "machine"}, r"cannot be sorted by the column 'machine', .* \(machine: category"),
        ({"group": "machine", "time": "hour"}, "cannot be combined; give one"),
        ({"group": "machine", "split": "random"}, "omit split"),
        ({"time": "hour", "split": "random"}, "give one of them"),
        ({"group": "one"}, "at least two groups"),
        ({"split": "time", "dates": ["day"]}, r"several columns of dates \(hour, day\).*--time COLUMN"),
    ],
)
def test_columns_that_cannot_split_are_named(options: dict[str, Any], sentence: str) -> None:
    frame = machines().assign(one="x", day="2024-01-01")
    frame.loc[3, "day"] = "2024-01-03"
    with pytest.raises(InvalidInputError, match=sentence):
        prepared(frame, **{"drop": ["one"], **options})


@pytest.mark.parametrize("kind", ["frame", "file"])
def test_the_numbers_of_rows_are_an_order(kind: str, tmp_path: Path) -> None:
    frame = machines().sort_values("number", ascending=False)
    frame.insert(0, "index", np.arange(len(frame))[::-1])
    source: Any = frame if kind == "frame" else written(frame, tmp_path / "t.csv")
    training, validation, test = values_of(prepared(source, time="index"), "number")
    assert max(training) <= min(validation)
    assert max(validation) <= min(test)


@pytest.mark.parametrize("words", [[f"part {k}" for k in range(360)], ["same"] * 360, [*map(str, range(359)), "last"]])
def test_a_column_that_is_dropped_and_holds_words_is_no_order(words: list[str], tmp_path: Path) -> None:
    source = written(machines().assign(index=words), tmp_path / "t.csv")
    with pytest.raises(DataError, match="'index'"):
        prepared(source, time="index")


def test_a_missing_time_is_named_by_its_row() -> None:
    frame = machines()
    frame.loc[7, "hour"] = pd.NaT
    with pytest.raises(DataError, match="'hour', by which the rows are sorted, is missing in row 8"):
        prepared(frame, time="hour")
    assert prepared(frame.assign(hour=frame["hour"].astype(str)), group="machine").n_columns == 4


# Warnings ------------------------------------------------------------------------------------------------------------


def warned(source: Any, **options: Any) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = prepared(source, **options)
    assert [str(one.message) for one in caught] == list(data.warnings)
    assert all(one.category is ChainruleWarning for one in caught)
    return list(data.warnings)


def test_a_random_split_of_related_rows_is_warned_of_with_the_flag() -> None:
    (about_time,) = warned(machines().drop(columns="machine").sample(frac=1, random_state=0))
    (about_group,) = warned(machines().drop(columns="hour"))
    assert "--time hour " in about_time
    assert "--group" not in about_time
    assert "--group machine " in about_group
    assert "--time" not in about_group
    for options in ({"group": "machine"}, {"time": "hour"}, {"split": "time"}, {"test_size": 0, "validation_size": 0}):
        assert warned(machines(), **options) == []


def test_flags_that_exclude_one_another_are_offered_as_a_choice() -> None:
    frame = machines().assign(patient=np.resize(np.repeat(np.arange(40), 3), 360))
    (both,) = warned(frame[["hour", "machine", "heat", "wear"]])
    assert both.startswith("The rows look like a time series (hour) and several rows have the same machine. ")
    assert "choose one of --time hour and --group machine (" in both
    (three,) = warned(frame)
    assert "choose one of --time hour, --group machine and --group patient (" in three
    assert len(warned(frame, split="random")) == 1
    (groups,) = warned(frame.drop(columns="hour"))
    assert "choose one of --group machine and --group patient (--group keeps" in groups
    assert warned(frame.drop(columns="hour"), drop=["machine", "patient"]) == [groups]
    (times,) = warned(machines().drop(columns="machine").assign(later=machines()["hour"] + pd.Timedelta("1D")))
    assert "choose one of --time hour and --time later (--time tests the model on the latest rows)" in times


def test_a_warning_comes_from_the_line_of_the_user() -> None:
    for call in (lambda: chainrule.train(machines(), "wear", epochs=1, verbose=False), lambda: prepared(machines())):
        with pytest.warns(ChainruleWarning) as caught:
            call()
        assert {one.filename for one in caught} == {__file__}


def test_customers_are_not_warned_of() -> None:
    rng = np.random.default_rng(0)
    day = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, 800), "D")
    frame = pd.DataFrame(
        {"customer_id": [f"C{k:04d}" for k in range(800)], "joined": day, "wear": rng.normal(size=800)}
    )
    frame["town"] = rng.choice(["Porto", "Faro", "Braga"], 800)
    assert warned(frame) == []


def test_a_flag_for_a_column_with_a_space_is_quoted() -> None:
    (sentence,) = warned(machines().drop(columns="hour").rename(columns={"machine": "machine no"}))
    assert "--group 'machine no' keeps" in sentence


# Commands ------------------------------------------------------------------------------------------------------------


@pytest.mark.figures
def test_the_command_tells_what_it_takes_columns_for(tmp_path: Path) -> None:
    frame = machines().assign(code=[f"row {k}" for k in range(360)])
    path, run = written(frame, tmp_path / "t.csv"), tmp_path / "run"
    done = command("train", path, "-t", "wear", "-e", 1, "-o", run)
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert any(line.startswith("  machine: category, M00, M01") for line in lines)
    assert any(line.startswith("  hour: date, '2024-") for line in lines)
    assert any(line.startswith("  code: dropped, every row has a different value") for line in lines)
    assert any(line.startswith("  heat: number, ") for line in lines)
    assert done.stderr.count("Warning: ") == 1
    assert "--time hour and --group machine" in done.stderr
    page, record = RunFolder(run).report.read_text(), RunFolder(run).read_record()
    assert "every row has a different value" in page
    assert "Warning:" in page
    assert len(record["data"]["warnings"]) == 1
    quiet = command("train", path, "-t", "wear", "-e", 1, "-o", run, "-q", "--force")
    assert (quiet.stdout, quiet.stderr) == (f"{run}\n", "")


def test_how_the_target_is_read_is_told_with_what_it_leaves_open(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"wear": [f"{k}.{k} \u20ac" for k in rng.integers(100, 999, 60)], "x": rng.integers(0, 9, 60)})
    line = prepared(frame).target_line
    first = frame["wear"][0]  # of money with three digits behind a point, the point marks thousands
    assert line.startswith(f"wear: the target, a number, {first!r} is {first[:3]}{first[4:7]}; the separator in ")
    assert line.endswith(
        "can be read in two ways; it is read as a thousands separator "
        "(--numeric wear=1,234.5 selects the other reading)"
    )
    path, run = written(frame, tmp_path / "t.csv"), tmp_path / "run"
    assert f"  {line}\n" in command("train", path, "-t", "wear", "-e", 1, "-o", run).stdout
    assert "can be read in two ways" in RunFolder(run).report.read_text()
    assert prepared(frame.assign(wear=rng.choice(["Yes", "No"], 60))).target_line == (
        "wear: the target, 2 classes, No, Yes"
    )


def test_a_sample_is_a_value_and_row_numbers_are_no_input() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"n\u00ba": range(1, 81), "size": rng.choice(["1.5", "2"], 80), "wear": rng.normal(size=80)})
    frame.loc[:60, "size"] = "-"
    lines = prepared(frame).column_lines()
    assert lines[1].startswith("  n\u00ba: dropped, it contains row numbers")
    assert "'-' is nan" not in lines[2]


def test_options_overrule_what_columns_are_taken_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame({
        "zip": rng.integers(1000, 1005, n), "size": rng.choice(["1", "2", "large"], n), "kept": rng.normal(size=n),
        "day": [f"{d:02d}/{m:02d}/2023" for d, m in zip(rng.integers(1, 12, n), rng.integers(1, 12, n), strict=True)],
        "word": rng.choice(["a", "b", "unknown"], n), "wear": rng.normal(size=n),
    })  # fmt: skip
    path, run = written(frame, tmp_path / "t.csv"), tmp_path / "run"
    flags = ["--categorical", "zip", "--numeric", "size", "--date", "day=mdy", "--drop", "kept"]
    flags += ["--missing-word", "unknown"]
    done = command("train", path, "-t", "wear", "-e", 2, "-o", run, *flags)
    assert done.exit_code == 0, done.stderr
    options: dict[str, Any] = {"categorical": "zip", "numeric": "size", "dates": "day=mdy", "drop": "kept"}
    options["missing_words"] = ["unknown"]
    result = chainrule.train(path, "wear", epochs=2, verbose=False, **options)
    model = Model.load(RunFolder(run).model)
    assert bits_of(model.network) == bits_of(result.model.network)
    assert result.data.table is not None
    plans = {plan.name: plan for plan in result.data.table.columns}
    assert {name: plan.kind for name, plan in plans.items()} == {
        "zip": "category", "size": "number", "kept": "dropped", "day": "date", "word": "category",
    }  # fmt: skip
    assert plans["word"].categories == ("a", "b")
    assert result.data.table.read(pd.DataFrame({**frame[:1], "day": "03/04/2023"}))["day"][0] == pd.Timestamp(
        "2023-03-04"
    )
    record = json.loads(RunFolder(run).record.read_text())["options"]
    again = TrainOptions.from_dict(record)
    assert (again.dates, again.missing_words) == (("day=mdy",), ("unknown",))
    code = code_for_training(again)
    assert "numeric=('size',)" in code
    assert "missing_words=('unknown',)" in code


def test_commands_split_by_group_and_time_and_their_code_does_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    written(machines(), tmp_path / "t.csv")
    for flags in (["--group", "machine"], ["--time", "hour"]):
        done = command("train", "t.csv", "-t", "wear", "-e", 1, "-o", "run", "--force", *flags)
        assert done.exit_code == 0
        assert done.stderr.count("Warning") == 0
        assert f"split by {flags[0][2:]} ({flags[1]})" in done.stdout
        exec(
            compile(command("train", "t.csv", "-t", "wear", "-e", 1, *flags, "--show-code").stdout, "code", "exec"), {}
        )
        assert bits_of(Model.load("model.safetensors").network) == bits_of(Model.load("run/model.safetensors").network)
        assert len(chainrule.predict("run", machines().drop(columns=flags[1]))) == 360


def test_of_many_columns_the_first_and_the_dropped_are_told() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 300)), columns=[f"x{k}" for k in range(300)])
    frame["x250"] = 7.0
    lines = prepared(frame.assign(wear=rng.normal(size=80))).column_lines()
    assert len(lines) < 45
    assert any(line.startswith("  x250: dropped, every row has '7") for line in lines)
    assert any(line.startswith("  x0: number") for line in lines)
    assert lines[-1].startswith("  ... and 279 more columns")


# Streams -------------------------------------------------------------------------------------------------------------


def test_streams_are_split_by_group_and_by_time(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "parts", machines().sample(frac=1, random_state=0))
    by_group = prepared(folder, group="machine")
    assert by_group.table is not None
    assert {plan.name for plan in by_group.table.columns} == {"hour", "heat", "number", "days"}
    assert by_group.validation is not None
    number = by_group.table.feature_names.index("number")
    validation, test = set(by_group.validation.X[:, number].tolist()), set(by_group.test.X[:, number].tolist())
    trained = {value for chunk in by_group.training.chunks() for value in chunk.X[:, number].tolist()}  # type: ignore[union-attr]
    assert not trained & validation | trained & test | validation & test
    for options in ({"time": "hour"}, {"split": "time"}):
        by_time = prepared(folder, **options)
        assert by_time.table is not None
        days = by_time.table.feature_names.index("days")
        assert by_time.test.n_rows == 72
        trained = {value for chunk in by_time.training.chunks() for value in chunk.X[:, days].tolist()}  # type: ignore[union-attr]
        assert max(trained) < by_time.test.X[:, days].min()
        assert "split by time (hour)" in by_time.summary()


def test_streams_leave_out_rows_without_a_target_on_request(tmp_path: Path) -> None:
    frame = machines().drop(columns=["machine", "hour"])
    frame.loc[frame.sample(40, random_state=0).index, "wear"] = np.nan
    folder = write_parquet(tmp_path / "gaps", frame)
    whole = write_parquet(tmp_path / "whole", frame.dropna(), group_rows=30)
    with pytest.raises(DataError, match="--drop-missing-target"):
        prepared(folder)
    data, same = prepared(folder, drop_missing_target=True), prepared(whole)
    assert data.n_without_target == 40
    assert data.summary().endswith("40 rows without a target dropped")
    np.testing.assert_array_equal(data.test.X, same.test.X)
    rows = [np.concatenate([chunk.X for chunk in one.training.chunks()]) for one in (data, same)]  # type: ignore[union-attr]
    np.testing.assert_array_equal(*rows)
    training = data.training
    later = np.concatenate([chunk.X for chunk in training.rows_of_group(1, 7)])  # type: ignore[union-attr]
    n_first = training.group_rows[0]  # type: ignore[union-attr]
    np.testing.assert_array_equal(later, rows[0][n_first + 7 : n_first + len(later) + 7])
