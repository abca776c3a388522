"""The history: rows in, columns out, and text that reads back."""

from __future__ import annotations

import csv
import json
import math
from typing import Any

import pytest

from chainrule.errors import InvalidInputError
from chainrule.history import History


@pytest.fixture
def history() -> History:
    history = History()
    history.append({"epoch": 1, "loss": 0.1 + 0.2})
    history.append({"epoch": 2, "loss": 0.25, "validation_loss": 1 / 3})
    history.append({"epoch": 3, "validation_loss": 0.5})
    return history


def test_columns_have_one_element_an_epoch_and_nan_where_nothing_was_recorded(history: History) -> None:
    assert history.n_epochs == 3
    assert list(history) == ["epoch", "loss", "validation_loss"]
    assert {len(values) for values in history.values()} == {3}
    assert history["loss"][:2] == [0.1 + 0.2, 0.25]
    assert math.isnan(history["loss"][2])
    assert math.isnan(history["validation_loss"][0])
    assert "nothing" not in history
    assert len(history) == 3


def test_last(history: History) -> None:
    assert history.last("validation_loss") == 0.5
    assert math.isnan(history.last("loss"))
    assert math.isnan(history.last("accuracy"))
    assert math.isnan(History().last("loss"))


def test_csv_reads_back_to_the_same_numbers(history: History) -> None:
    rows = list(csv.DictReader(history.to_csv().splitlines()))
    assert [float(row["validation_loss"] or "nan") for row in rows[1:]] == history["validation_loss"][1:]
    assert float(rows[0]["loss"]) == 0.1 + 0.2
    assert rows[0]["validation_loss"] == ""
    assert History().to_csv() == "\n"


def test_it_goes_through_json_and_back(history: History) -> None:
    text = json.dumps(history.to_dict(), allow_nan=False)
    again = History(json.loads(text))
    assert again.to_csv() == history.to_csv()
    assert again.to_dict() == history.to_dict()
    again.append({"loss": 1.0})
    assert history.n_epochs == 3, "a copy shares no list"


def test_words_stand_for_infinity_and_none_for_nan() -> None:
    read = History.from_dict({"loss": [None, "inf", "-inf", 2]})
    assert read.to_dict() == {"loss": [None, "inf", "-inf", 2.0]}
    assert all(type(value) is float for value in read["loss"])


@pytest.mark.parametrize("value", [10**400, -(10**400), "nan", "1", True, [], {}])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInputError, match="A history holds"):
        History.from_dict({"loss": [1.0, value]})


def test_repr() -> None:
    assert repr(History()) == "History(0 epochs: nothing recorded)"
    assert repr(History({"loss": [1.0, 2.0]})) == "History(2 epochs: loss)"
