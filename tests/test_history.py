"""The history: rows in, columns out, and text that reads back."""

from __future__ import annotations

import copy
import csv
import json
import math
import pickle
from typing import Any

import numpy as np
import pandas as pd
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


def test_the_objective_is_the_loss_and_the_penalty(history: History) -> None:
    assert "objective" in history
    assert history["objective"][:2] == history["loss"][:2]
    history.append({"epoch": 4, "loss": 2.0, "penalty": 0.5})
    assert history["objective"][:2] == history["loss"][:2]
    assert history.last("objective") == 2.5
    assert list(history) == ["epoch", "loss", "validation_loss", "penalty"]
    assert "objective" not in History()


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


@pytest.mark.parametrize(
    ("elsewhere", "here"),
    [
        ("val_loss", "validation_loss"),
        ("valid_loss", "validation_loss"),
        ("train_loss", "loss"),
        ("acc", "accuracy"),
        ("val_acc", "validation_accuracy"),
        ("val_accuracy", "validation_accuracy"),
        ("train_accuracy", "accuracy"),
        ("val_mse", "validation_mean_squared_error"),
        ("rmse", "root_mean_squared_error"),
        ("lr", "learning_rate"),
    ],
)
def test_the_names_of_other_libraries_lead_to_the_same_quantity(elsewhere: str, here: str) -> None:
    history = History({"epoch": [1.0, 2.0], here: [0.5, 0.25]})
    assert history[elsewhere] == history[here] == history.get(elsewhere) == [0.5, 0.25]
    assert elsewhere in history
    assert history.last(elsewhere) == 0.25
    assert list(history) == ["epoch", here]
    assert elsewhere not in History({"epoch": [1.0]})


def test_a_name_of_its_own_comes_before_one_of_another_library() -> None:
    history = History({"accuracy": [0.5], "acc": [0.1]})
    history.append({"accuracy": 0.6, "acc": 0.2})
    assert history["acc"] == [0.1, 0.2]


def test_a_quantity_that_is_not_there_is_an_error_that_says_what_is(history: History) -> None:
    with pytest.raises(KeyError, match=r"'los' is not in the history, which has epoch, loss.*Did you mean 'loss'"):
        history["los"]
    with pytest.raises(KeyError, match="'val_accuracy' is not in the history"):
        history["val_accuracy"]
    assert history.get("val_accuracy") is None
    assert history.get("val_accuracy", []) == []


def test_it_becomes_a_data_frame_by_its_method_and_by_the_constructor(history: History) -> None:
    frame = history.to_frame()
    assert list(frame.columns) == list(history)
    assert frame["epoch"].tolist() == [1, 2, 3]
    assert frame["epoch"].dtype.kind == "i"
    np.testing.assert_array_equal(frame["validation_loss"], history["validation_loss"])
    np.testing.assert_array_equal(pd.DataFrame(history)["loss"], history["loss"])
    assert History().to_frame().empty


def test_copies_and_pickles_are_histories_of_their_own(history: History) -> None:
    for again in (copy.deepcopy(history), pickle.loads(pickle.dumps(history))):
        assert isinstance(again, History)
        again.append({"loss": 1.0})
        assert (again.n_epochs, history.n_epochs) == (4, 3)
