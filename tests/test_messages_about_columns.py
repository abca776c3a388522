"""What a run says about its columns and its target: errors with their remedy, and lines about what was found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.data import TablePreprocessor
from chainrule.errors import CellError, ChainruleWarning, DataError, InvalidInputError
from chainrule.runs import PreparedData, RunFolder, RunResult, evaluate, predict, prepare_data, train_run
from chainrule.runs.options import TrainOptions
from support.commands import chainrule as command
from support.streams import write_parquet

pytestmark = pytest.mark.usefixtures("without_figures")

N = 60


def table(**columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.normal(size=N), "town": rng.choice(["Porto", "Faro", "Braga"], N)})
    return frame.assign(**columns, y=rng.normal(size=N)) if "y" not in columns else frame.assign(**columns)


def prepared(frame: pd.DataFrame, **options: Any) -> PreparedData:
    return prepare_data(frame, target="y", **{"test_size": 0.2, "validation_size": 0, **options})


# Counts that look like classes ---------------------------------------------------------------------------------------

COUNTS = np.resize(np.arange(12), N)
REGRESSION = r"choose the task 'regression' \(--task regression\) if the target is a quantity"


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        (np.append(COUNTS[1:], 15), {}, "The class 15 has only 1 row, and the training and test parts need one each"),
        (
            np.append(COUNTS[1:], 15),
            {"validation_size": 0.2},
            "The class 15 has only 1 row, and the training, validation and test parts need one each",
        ),
        (np.append(COUNTS[1:], 15), {"validation_size": 0.2, "test_size": 0}, "the training and validation parts need"),
        (COUNTS, {"test_size": 10}, "A stratified split of 12 classes needs at least 12 rows in each set"),
    ],
)
def test_a_refused_split_by_counts_says_that_they_may_be_a_quantity(
    counts: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"{message}.*{REGRESSION}"):
        prepared(table(y=counts), **options)
    data = prepared(table(y=counts), task="regression", **options)
    assert data.target.task == "regression"


def test_names_of_classes_are_no_quantity() -> None:
    with pytest.raises(DataError, match="The class 'c' has only 1 row") as caught:
        prepared(table(y=["a", "b"] * (N // 2 - 1) + ["a", "c"]))
    assert "regression" not in str(caught.value)


def test_the_line_of_counts_says_that_they_may_be_a_quantity() -> None:
    asked = prepared(table(y=COUNTS), task="multiclass", split="random").target_line
    assert asked == "y: the target, 12 classes, 0, 1, 2, 3, 4, 5, ..."
    found = prepared(table(y=COUNTS), split="random").target_line
    assert found == f"{asked}; choose the task 'regression' (--task regression) if the target is a quantity"
    assert "regression" not in prepared(table(y=COUNTS % 2)).target_line
    assert "regression" not in prepared(table(y=np.resize(["a", "b", "c"], N))).target_line


# Columns that options name -------------------------------------------------------------------------------------------


def test_columns_that_a_table_does_not_have_are_named_together() -> None:
    options = {"drop": ["nope"], "categorical": ["ages"], "dates": ["day=mdy"], "group": "towns", "numeric": ["age"]}
    with pytest.raises(DataError) as caught:
        prepared(table(), **options)
    message = str(caught.value)
    for part in ("'nope' for drop (--drop)", "'ages' for categorical (--categorical)", "'day' for dates (--date)"):
        assert part in message
    assert "'towns' for group (--group)" in message
    assert message.endswith(" Did you mean 'town' instead of 'towns' and 'age' instead of 'ages'?")


def test_a_column_to_drop_that_is_like_no_other_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(DataError, match=r"drop \(--drop\) names the column 'nope', .* It has age, town\.$"):
        prepared(table(), drop=["nope"])
    with pytest.raises(DataError, match=r"drop \(--drop\) names the column 'ag', .* Did you mean 'age'\?$"):
        prepared(table(), drop=["ag"])


@pytest.mark.parametrize("option", ["drop", "categorical", "numeric", "dates", "group", "time"])
def test_the_target_is_no_column_for_an_option(option: str) -> None:
    value = "y" if option in ("group", "time") else ["y"]
    with pytest.raises(DataError, match=rf"^{option} \(--.*\) names the column 'y', which is the target\.$"):
        prepared(table(), **{option: value})


def test_columns_with_mistakes_are_named_together() -> None:
    numbers = [str(k / 2) for k in range(N)]
    frame = table(
        price=[*numbers[:-2], "1.5x", "2"],
        size=["oops", "bad", *numbers[2:]],
        day=[*(f"2023-01-{k:02d}" for k in range(1, 31)), "soon", "later", *(f"2023-02-{k:02d}" for k in range(1, 29))],
    )
    with pytest.raises(CellError) as caught:
        TablePreprocessor().fit(frame)
    error, message = caught.value, str(caught.value)
    assert (error.column, error.row, error.value) == ("price", 59, "1.5x")
    assert "numeric (--numeric)" in message
    assert "categorical (--categorical)" in message
    assert message.endswith(
        "The same holds for the columns 'size' (row 1 has 'oops', and 1 cell more) and 'day' (row 31 has 'soon', and 1 "
        "cell more)."
    )
    with pytest.raises(CellError, match=r"the column 'size' \(row 1 has 'oops', and 1 cell more\)\.$"):
        TablePreprocessor(drop=["day"]).fit(frame)
    with pytest.raises(CellError, match=r"categorical \(--categorical\)\.$"):
        TablePreprocessor(drop=["day", "size"]).fit(frame)
    wide = pd.DataFrame({f"c{k}": frame["price"] for k in range(100)})
    with pytest.raises(CellError, match=r"and 94 more\.$"):
        TablePreprocessor().fit(wide)


def test_the_command_says_it_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    table().to_csv(path, index=False)
    done = command("train", path, "-t", "y", "--drop", "nope", "--date", "day", "-o", tmp_path / "run")
    assert done.exit_code != 0
    assert done.stderr == (
        "Error: The table does not have the columns 'nope' for drop (--drop) and 'day' for dates (--date). "
        "It has age, town.\n"
    )


# Lines about columns -------------------------------------------------------------------------------------------------


def lines(frame: pd.DataFrame, **options: Any) -> dict[str, str]:
    """The lines about columns, without indent, by column."""
    return {line.split(": ")[0]: line for line in map(str.strip, prepared(frame, **options).column_lines())}


def test_a_constant_column_is_shown_once() -> None:
    found = lines(
        table(const="a", five="5", day="2023-01-01", number=2.5, gaps=["2023-01-01", ""] * (N // 2)), test_size=0
    )
    assert found["const"] == "const: dropped, every row has 'a'"
    assert found["five"] == "five: dropped, every row has '5'"
    assert found["day"] == "day: dropped, every row has '2023-01-01'"
    assert found["number"] == "number: dropped, every row has '2.5'"
    assert found["gaps"] == "gaps: dropped, every row that is not empty has '2023-01-01'"


@pytest.mark.parametrize(
    ("times", "line"),
    [
        (["15:08", "06:15"], "t: time of day, '15:08' is 15:08"),
        (["3:08 PM", "06:15 AM"], "t: time of day, '3:08 PM' is 15:08"),
        (["15:08:30", "06:15:00"], "t: time of day, '15:08:30' is 15:08:30"),
        (["15:00:00", "06:15:00"], "t: time of day, '15:00:00' is 15:00"),
        (["2023-01-31 15:08", "2023-02-01 00:00"], "t: date, '2023-01-31 15:08' is 2023-01-31T15:08:00"),
    ],
)
def test_a_time_of_day_is_shown_without_a_date(times: list[str], line: str) -> None:
    plan, _ = TablePreprocessor().fit(pd.DataFrame({"t": times * 9, "x": np.arange(18) / 2})).columns
    assert plan.explain() == line


@pytest.mark.figures
def test_the_column_that_rows_are_split_by_has_a_line(tmp_path: Path) -> None:
    frame = table(store=np.repeat(np.arange(20), 3), day=pd.date_range("2024-01-01", periods=N))
    assert "store" in lines(frame.drop(columns="day"), test_size=0)
    grouped, timed = prepared(frame, group="store"), prepared(frame, split="time")
    assert lines(frame, group="store")["store"] == "store: the group column of the split, not an input"
    assert lines(frame, split="time")["day"] == "day: the time column of the split, not an input"
    assert [row["name"] for row in grouped.describe_columns()] == ["y", "store", "age", "town", "day"]
    assert [row["name"] for row in timed.describe_columns()] == ["y", "day", "age", "town", "store"]
    as_input = prepared(frame, group="store", categorical=["store"])
    assert [row["name"] for row in as_input.describe_columns()] == ["y", "age", "town", "store", "day"]
    with pytest.raises(DataError, match=r"numeric \(--numeric\) names the column 'y', which is the target"):
        prepare_data(write_parquet(tmp_path / "files", frame), target="y", numeric=["y=1.234,5"])
    streamed = prepare_data(write_parquet(tmp_path / "files", frame), target="y", group="store")
    assert "  store: the group column of the split, not an input" in streamed.column_lines()
    result = train_run(TrainOptions.of(frame, target="y", group="store", epochs=1, out=tmp_path / "run"))
    assert result.folder is not None
    assert "the group column of the split" in RunFolder(result.folder).report.read_text()


# The result beside the baselines -------------------------------------------------------------------------------------


def trained(tmp_path: Path, frame: pd.DataFrame, **options: Any) -> RunResult:
    return train_run(
        TrainOptions.of(frame, target="y", **{"epochs": 1, "out": tmp_path / "run", **options}), force=True
    )


def test_a_network_that_is_worse_than_a_baseline_is_said_to_be(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=200)
    line = pd.DataFrame({"x": x, "y": 100 * x + rng.normal(size=200)})
    path = tmp_path / "line.csv"
    line.to_csv(path, index=False)
    done = command("train", path, "-t", "y", "-e", 1, "--preset", "plain", "-o", tmp_path / "run")
    (sentence,) = [one for one in done.stdout.splitlines() if "better than the network" in one]
    result = trained(tmp_path, line, preset="plain")
    ridge = next(one for one in result.baselines if one.name == "ridge regression")
    assert result.verdict == sentence
    assert sentence.startswith(
        f"The baseline 'ridge regression' is better than the network: R² {ridge.metrics['r2']:.4g} against "
        f"{result.metrics['r2']:.4g}. Use that baseline"
    )
    assert sentence in repr(result)
    curve = line.assign(y=np.where(np.abs(x) < 0.7, "in", "out"))  # which no line separates
    good = trained(tmp_path, curve, epochs=60)
    assert good.verdict.startswith("The network is better than the baseline")
    assert "better than the network" not in repr(good)


# Categories that training did not have -------------------------------------------------------------------------------


def test_unknown_categories_are_counted_once(tmp_path: Path) -> None:
    result = trained(tmp_path, table(kind=["u", "v"] * (N // 2)), test_size=0)
    new = table(kind=["u", "w", "", "v"] * (N // 4), other="x").astype({"kind": "object"})
    new["town"] = ["Porto", "Aveiro", "Faro", None] * (N // 4)
    said = (
        f"Categories that the training data did not have: 'town' ({N // 4} rows, such as 'Aveiro') and 'kind' "
        f"({N // 4} rows, such as 'w'); predictions for these rows may be wrong."
    )
    path = tmp_path / "new.csv"
    new.to_csv(path, index=False)
    for source in (new, path, new.astype({"town": "category"})):
        for use in (predict, evaluate):
            with pytest.warns(ChainruleWarning) as caught:
                use(result, source)
            assert [str(one.message) for one in caught] == [said]
            assert caught[0].filename == __file__
    for done in (command("predict", tmp_path / "run", path), command("evaluate", tmp_path / "run", path)):
        assert done.stderr == f"Warning: {said}\n"
        assert "Warning" not in done.stdout


def test_unknown_categories_of_pieces_are_counted_together(tmp_path: Path) -> None:
    result = trained(tmp_path, table(), test_size=0)
    for name in ("a", "b"):
        write_parquet(tmp_path / name, table(town=["Aveiro", *["Faro"] * (N - 1)]))
    with pytest.warns(ChainruleWarning, match=r"'town' \(2 rows, such as 'Aveiro'\)") as caught:
        predict(result, [*(tmp_path / "a").iterdir(), *(tmp_path / "b").iterdir()])
    assert len(caught) == 1


def test_known_and_missing_categories_are_no_news(tmp_path: Path) -> None:
    rare = [f"t{k}" for k in range(70)] * 3  # more than have an input of their own
    result = trained(tmp_path, pd.DataFrame({"x": rare, "z": ["a", "b"] * 105, "y": np.arange(210) / 2}), test_size=0)
    new = pd.DataFrame({"x": ["t1", "unknown", "t69", None], "z": ["a", "", None, "n/a"]})
    assert len(predict(result, new)) == 4


# Notes with their remedy ---------------------------------------------------------------------------------------------


def note(cells: Any, **options: Any) -> str:
    return TablePreprocessor(**options).fit(pd.DataFrame({"x": cells, "z": [*range(len(cells))]})).columns[0].note


UNCLEAR = ["3.283", "5.251", "1.099"] * 20


def test_a_mark_that_can_be_read_in_two_ways_can_be_told() -> None:
    said = "the separator in '3.283' can be read in two ways; it is read as a decimal separator"
    assert note(UNCLEAR) == f"{said} (--numeric x=1.234,5 selects the other reading)"
    money = note([f"{text} €" for text in UNCLEAR])
    assert money.endswith("it is read as a thousands separator (--numeric x=1,234.5 selects the other reading)")
    frame = pd.DataFrame({"a b": UNCLEAR, "z": range(60)})
    plan = TablePreprocessor().fit(frame).columns[0]
    assert "(--numeric 'a b=1.234,5' selects" in plan.note
    for example, value in (("1.234,5", 3283), ("1234,5", 3283), ("1,234.5", 3.283), ("1 234,56", None)):
        told = TablePreprocessor(numeric=[f"a b={example}"])
        if value is None:
            with pytest.raises(DataError, match=r"no cell is a number; row 1 has '3\.283'"):
                told.fit(frame)
            continue
        told = TablePreprocessor.from_dict(told.fit(frame).to_dict())
        assert told.read(frame)["a b"][0] == value
        assert told.columns[0].note == ""


def test_the_marks_of_a_column_decide_those_of_others() -> None:
    frame = pd.DataFrame({"x": UNCLEAR, "z": UNCLEAR[::-1]})
    assert TablePreprocessor(numeric=["x=1.234,5"]).fit(frame).read(frame)["z"][0] == 1099


@pytest.mark.parametrize("example", ["1,2", "1.234.5", "12,34.5.", "1,234,5"])
def test_an_example_that_shows_no_marks_is_refused(example: str) -> None:
    message = f"separators of 'x' is {example!r}; give one like 1234,5, 1.234,5 or 1,234.5."
    with pytest.raises(InvalidInputError, match=re.escape(message)):
        TablePreprocessor(numeric=[f"x={example}"]).choices()


def test_a_column_with_an_equals_sign_is_a_column() -> None:
    frame = pd.DataFrame({"a=b": ["1", "x", "2"] * 20, "a=1": ["1", "y", "2"] * 20})
    plans = TablePreprocessor(numeric=["a=b", "a=1"]).fit(frame).columns
    assert [plan.kind for plan in plans] == ["number", "number"]


def test_the_marks_of_the_target_and_of_an_input_can_be_told(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.arange(N), "y": [f"3.{k}" for k in range(283, 283 + N)]})
    read, told = prepared(frame), prepared(frame, numeric=["y=1.234,5"])
    assert "(--numeric y=1.234,5 selects the other reading)" in read.target_line
    assert told.target_line == "y: the target, a number, '3.283' is 3283"
    path, run = tmp_path / "t.csv", tmp_path / "run"
    frame.assign(x=UNCLEAR[::-1]).to_csv(path, index=False)
    done = command("train", path, "-t", "y", "-e", 1, "-o", run, "--numeric", "y=1.234,5", "--numeric", "x=1,234.5")
    assert "  y: the target, a number, '3.283' is 3283\n" in done.stdout
    assert re.search(r"  x: number, '(\d\.\d+)' is \1\n", done.stdout)
    assert (predict(run, path)["prediction"] > 3000).all()
    assert (RunFolder(run).read_record()["options"]["numeric"]) == ["y=1.234,5", "x=1,234.5"]


def test_spellings_that_are_one_category_are_named() -> None:
    assert (
        note(["Yes", "no", "yes", "Yes", "NO", "no"])
        == "'Yes' and 'yes' are one category; 'no' and 'NO' are one category"
    )
    assert note(["Yes", "no", "Yes"]) == ""
    assert note(["Basic", "basic", "Pro"]) == (
        "'Basic' and 'basic' differ only in case and are different categories; use one spelling if they mean the same"
    )
    labels = ["Spam", "spam", "ham"] * (N // 3)
    with pytest.warns(
        ChainruleWarning, match="classes 'Spam' and 'spam' of the target differ only in case or in white"
    ):
        data = prepared(table(y=labels))
    assert data.target_line.endswith("; use one spelling if they mean the same")
    assert prepared(table(y=["Yes", "yes", "no"] * (N // 3))).target_line == (
        "y: the target, 2 classes, Yes, no; 'Yes' and 'yes' are one category"
    )


def test_the_words_for_missing_values_are_named() -> None:
    assert note(["1.5", "n/a", "2.5", "s/d", "", "n/a"]) == "'n/a' (2 cells) and 's/d' (1 cell) are missing values"
    assert note(["red", "green", "-", "red", ""]) == "'-' (1 cell) is a missing value"
    assert note(["2023-01-31", "2023-02-01", "None"]) == "'None' (1 cell) is a missing value"
    assert note(["1.5", "", "2.5", " "]) == ""
    assert note(["1.5", "oops", "2.5", "oops"], missing_words=["oops"]) == ""
    many = note(["1.5", "2.5", *["?", "NA", "na", "N/A", "n/a", "NaN", "-"]])
    assert many == (
        "'-' (1 cell), '?' (1 cell), 'N/A' (1 cell), 'NA' (1 cell), 'NaN' (1 cell) and 2 more words are missing values"
    )


# Cells that no column can hold ---------------------------------------------------------------------------------------

BYTES = r"column 'c' has the bytes b'\w+' in row \d+; if it is text, decode it with Series\.str\.decode"
COMPLEX = r"column 'c' has the complex number .* in row \d+; use two columns for the real and the imaginary part"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([b"a", b"b"] * 30, BYTES),
        (["a", b"b"] * 30, BYTES),
        ([bytearray(b"a"), "b"] * 30, BYTES),
        (pd.Categorical([b"a", b"b"] * 30), BYTES),
        ([1 + 2j, "b"] * 30, COMPLEX),
        ([np.complex64(1), None] * 30, COMPLEX),
        (np.array([1 + 2j, 3] * 30), COMPLEX),
        (pd.Categorical([1j, 2] * 30), COMPLEX),
    ],
    ids=[
        "bytes",
        "some bytes",
        "bytearray",
        "categories of bytes",
        "some complex",
        "complex64",
        "complex",
        "complex categories",
    ],
)
def test_bytes_and_complex_numbers_are_refused_by_row(cells: Any, message: str) -> None:
    new = table(c=cells)
    with pytest.raises(CellError, match=message) as caught:
        TablePreprocessor().fit(new)
    assert (caught.value.column, new["c"][caught.value.row - 1]) == ("c", caught.value.value)
    for known in (["a", "b"] * 30, np.arange(N)):
        with pytest.raises(CellError, match=message):
            TablePreprocessor().fit(table(c=known)).transform(new)
    assert [plan.name for plan in TablePreprocessor(drop=["c"]).fit(new).columns if plan.kind != "dropped"] == [
        "age",
        "town",
        "y",
    ]


def test_categories_of_bytes_that_no_row_has_are_no_matter() -> None:
    column = pd.Categorical(["a", "b"] * 30, categories=["a", "b", b"c"])
    assert TablePreprocessor().fit(table(c=column)).columns[2].categories == ("a", "b")


# Missing values that are words ---------------------------------------------------------------------------------------


def test_a_word_among_new_numbers_is_refused_with_the_option_that_reads_it_as_missing() -> None:
    table_of_numbers = TablePreprocessor().fit(pd.DataFrame({"x": [1.5, 2, 3]}))
    with pytest.raises(CellError, match=r"row 2 has 'not known'.*missing_words \(--missing-word 'not known'\)"):
        table_of_numbers.transform(pd.DataFrame({"x": ["1", "not known"]}))
    with pytest.raises(CellError, match=r"write it like 1234.5, or leave it empty\.$"):
        table_of_numbers.transform(pd.DataFrame({"x": ["1", "2 or 3"]}))


def test_a_word_that_remains_a_category_is_said() -> None:
    frame = pd.DataFrame({"town": ["Faro", "unknown", "None"] * 20})
    lines = TablePreprocessor().fit(frame).explain()
    assert "'unknown' (20 cells) is read as a category; missing_words (--missing-word unknown) reads it as" in lines[0]
    assert "'None' (20 cells) is read as a category" in lines[0]
    asked = TablePreprocessor(missing_words=["unknown", "None"]).fit(pd.concat([frame, frame.replace("Faro", "Porto")]))
    assert asked.explain() == ["town: category, Faro, Porto; 80 missing"]


def test_groups_of_variants_are_named_together() -> None:
    towns = ["Faro", "faro", "Porto", "PORTO", "Braga", "braga", "Evora", "evora"]
    lines = TablePreprocessor().fit(pd.DataFrame({"town": towns * 10})).explain()
    assert "; 'Faro' and 'faro'; 'PORTO' and 'Porto'; 'Braga' and 'braga'; 1 more group differ only in" in lines[0]


def test_a_target_of_numbers_names_the_words_that_are_no_numbers() -> None:
    numbers = [f"{k}.5" for k in range(N)]
    words = [*numbers[:3], "unknown", "unknown", *numbers[5:]]
    remedy = r"missing_words \(--missing-word unknown\) and --drop-missing-target"
    with pytest.raises(DataError, match=rf"Row 4 has 'unknown' \(and 1 row more\), .*{remedy}"):
        prepared(table(y=words))
    with pytest.raises(DataError, match=rf"has 'unknown' in row 4; .*{remedy}"):
        prepared(table(y=words), task="regression")
    with pytest.raises(DataError, match=r"needs numbers like 1.234,5, but the target has '0.5' in row 1"):
        prepared(table(y=numbers), numeric=["y=1.234,5"])
    with pytest.raises(DataError, match=r"The target is constant, 3.5 in every row"):
        prepared(table(y=[3.5] * N))
