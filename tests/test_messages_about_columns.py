"""What a run says about its columns and its target: errors with their remedy, and lines about what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.data import TablePreprocessor
from chainrule.errors import CellError, DataError
from chainrule.runs import PreparedData, prepare_data
from support.commands import chainrule as command

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
        (np.append(COUNTS[1:], 15), {}, "The class 15 has 1 row only, and the training and test parts need one each"),
        (
            np.append(COUNTS[1:], 15),
            {"validation_size": 0.2},
            "The class 15 has 1 row only, and the training, validation and test parts need one each",
        ),
        (np.append(COUNTS[1:], 15), {"validation_size": 0.2, "test_size": 0}, "the training and validation parts need"),
        (COUNTS, {"test_size": 10}, "A stratified split of 12 classes needs at least 12 rows on each side"),
    ],
)
def test_a_refused_split_by_counts_says_that_they_may_be_a_quantity(
    counts: np.ndarray, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=f"{message}.*{REGRESSION}\\.$"):
        prepared(table(y=counts), **options)
    data = prepared(table(y=counts), task="regression", **options)
    assert data.target.task == "regression"


def test_names_of_classes_are_no_quantity() -> None:
    with pytest.raises(DataError, match="The class 'c' has 1 row only") as caught:
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
    assert message.endswith(" Did you mean 'town'? Did you mean 'age'?")


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
    assert message.endswith("The same holds for the columns 'size' (row 1 has 'oops') and 'day' (row 31 has 'soon').")
    with pytest.raises(CellError, match=r"the column 'size' \(row 1 has 'oops'\)\.$"):
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
