"""The forms of numbers, dates, missing values and categories that the documentation lists are read as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.data import TablePreprocessor
from chainrule.data.columns import ColumnPlan
from chainrule.data.texts import MISSING_CATEGORY_WORDS, MISSING_NUMBER_WORDS, YES_NO_WORDS

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "table-formats.md").read_text(encoding="utf-8")


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def rows_of(head: str, start: str = "") -> list[Any]:
    """The rows of the first table with this head behind ``start``: the texts in quotes on its left and on its right."""
    table = PAGE[PAGE.index(start) :].partition(f"| {head} |\n|---|---|\n")[2].partition("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert rows, head
    assert all(len(row) == 2 for row in rows)
    return [pytest.param(quoted(left), quoted(right) or right, id=left[:60]) for left, right in rows]


def learn(cells: list[str]) -> tuple[ColumnPlan, pd.Series]:
    """The plan of a column of these cells, and what it reads in them."""
    frame = pd.DataFrame({"x": cells, "beside": np.arange(len(cells)) / 2})
    table = TablePreprocessor().fit(frame)
    return table.columns[0], table.read(frame).get("x", pd.Series(dtype=object))


@pytest.mark.parametrize(("texts", "expected"), rows_of("Cells | Read as", "## Numbers"))
def test_numbers_are_read(texts: list[str], expected: list[str]) -> None:
    plan, values = learn(texts)
    assert plan.kind == "number"
    assert values.tolist() == [float(number) for number in expected]


@pytest.mark.parametrize(("texts", "expected"), rows_of("Cells | Type", "## Numbers"))
def test_these_are_no_numbers(texts: list[str], expected: str) -> None:
    plan, values = learn(texts)
    assert plan.kind == expected
    assert values.tolist() == texts


@pytest.mark.parametrize(("texts", "expected"), rows_of("Cells | Read as", "## Dates and times"))
def test_dates_are_read(texts: list[str], expected: list[str]) -> None:
    plan, values = learn(texts)
    assert plan.kind == "date"
    assert values.tolist() == pd.to_datetime(pd.Series(expected), format="ISO8601").tolist()


@pytest.mark.parametrize(("texts", "expected"), rows_of("Cells | Categories", "## Categories"))
def test_categories_are_told_apart(texts: list[str], expected: list[str]) -> None:
    plan, _ = learn(texts)
    assert plan.kind == "category"
    assert list(plan.categories) == expected
    assert not plan.missing_category


def test_the_words_for_yes_and_no_are_those_of_the_code() -> None:
    sentence = re.search(r"words for yes and no \(([^)]+)\)", PAGE.replace("\n", " "))
    assert sentence is not None
    assert set(sentence[1].split(", ")) | {"nao"} == YES_NO_WORDS


EVERYWHERE, NUMBERS_ONLY = (set(quoted(row.values[1])) if isinstance(row.values[1], str) else set(row.values[1])
                            for row in rows_of("In columns of | Words"))  # fmt: skip
SAMPLES = {"number": ["1.5", "2.5", "4"], "date": ["2023-01-31", "2023-02-01", "2023-03-01"]}


def test_the_words_for_a_missing_value_are_those_of_the_code() -> None:
    assert EVERYWHERE | {""} == MISSING_CATEGORY_WORDS
    assert EVERYWHERE | NUMBERS_ONLY | {""} == MISSING_NUMBER_WORDS


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_missing_number_or_date_is_read_as_missing(kind: str) -> None:
    for word in ["", " ", *sorted(EVERYWHERE | NUMBERS_ONLY)]:
        plan, values = learn([*SAMPLES[kind], f" {word}\u00a0"])
        note = f"{word!r} (1 cell) is a missing value" if word.strip() else ""
        assert (plan.kind, plan.n_missing, plan.note) == (kind, 1, note), word
        assert values.isna().tolist() == [False, False, False, True]


def test_a_missing_category_is_missing_and_none_is_a_category() -> None:
    for word in ["", *sorted(EVERYWHERE | NUMBERS_ONLY)]:
        plan, values = learn(["red", "green", "red", word])
        is_missing = word in EVERYWHERE or word == ""
        assert (plan.n_missing, plan.missing_category) == (int(is_missing), is_missing), word
        assert values.isna()[3] == is_missing
        assert (word in plan.categories) == (not is_missing)
