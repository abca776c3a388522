"""Statistics gathered piece by piece: those of the whole column, whatever the pieces."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chainrule.data import TablePreprocessor
from chainrule.data.cells import Origin
from chainrule.data.feature_plan import FeaturePlan
from chainrule.data.summaries import ColumnSummary, NumberSummary
from chainrule.errors import DataError

N_ROWS = 300


def table_of(n_rows: int = N_ROWS) -> pd.DataFrame:
    """Every kind of column, gaps at the beginning and at the end among them."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "number": rng.normal(1e5, 1.0, n_rows),
            "with gaps": pd.Series(rng.normal(size=n_rows)).where(rng.random(n_rows) > 0.3),
            "whole": rng.integers(0, 5, n_rows),
            "flag": pd.Series(rng.random(n_rows) > 0.5, dtype=object).where(rng.random(n_rows) > 0.1),
            "town": rng.choice(["Porto", "Faro", None, "rare"], n_rows, p=[0.5, 0.3, 0.199, 0.001]),
            "code": rng.integers(0, 4, n_rows),
            "text number": [str(value) for value in rng.normal(size=n_rows)],
            "since": pd.Timestamp("2020-02-28") + pd.to_timedelta(rng.integers(0, 900, n_rows), "D"),
            "text date": pd.Series("2024-01-02", index=range(n_rows)).where(rng.random(n_rows) > 0.5, "2023-12-31"),
            "same": 7,
            "empty": pd.Series([None] * n_rows, dtype=object),
            "id": [f"no. {row}" for row in range(n_rows)],
        }
    )
    frame.loc[: n_rows // 3, "since"] = pd.NaT
    frame.loc[n_rows // 2 :, "town"] = None
    return frame


def learn_in_pieces(frame: pd.DataFrame, size: int, preprocessor: TablePreprocessor) -> TablePreprocessor:
    summaries = preprocessor.new_summaries(list(frame.columns), max_texts=10_000)
    for start in range(0, len(frame), size):
        for name, summary in summaries.items():
            if summary is not None:
                summary.add(frame[name].iloc[start : start + size])
    return preprocessor.fit_summaries(summaries)


def assert_alike(found: Any, wanted: Any) -> None:
    """Equal, but for the last bits of a number."""
    if isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_alike(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_alike(one, other)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12)
    else:
        assert found == wanted


@pytest.mark.parametrize("scaling", ["standard", "range", "none"])
@pytest.mark.parametrize("missing", ["median", "mean", "zero"])
@pytest.mark.parametrize("size", [1, 7, 150, N_ROWS])
def test_in_pieces_the_same_is_learnt_as_from_the_whole_table(scaling: Any, missing: Any, size: int) -> None:
    frame = table_of()
    options: dict[str, Any] = {"categorical": ["code"], "drop": ["whole"], "scaling": scaling, "missing": missing}
    whole = TablePreprocessor(**options).fit(frame)
    pieces = learn_in_pieces(frame, size, TablePreprocessor(**options))
    assert_alike(pieces.to_dict(), whole.to_dict())
    assert {plan.name: plan.kind for plan in pieces.columns} == {
        "number": "number", "with gaps": "number", "whole": "dropped", "flag": "category", "town": "category",
        "code": "category", "text number": "number", "since": "date", "text date": "date", "same": "dropped",
        "empty": "dropped", "id": "dropped",
    }  # fmt: skip
    if size == N_ROWS:
        assert pieces.to_dict() == whole.to_dict(), "of one piece, to the last bit"
    np.testing.assert_allclose(pieces.transform(frame), whole.transform(frame), rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@example([[0.0, 2.8e-241], []])
@example([[0.0], [2.8e-241, 0.0]])
@given(st.lists(st.lists(st.floats(-1e300, 1e300), max_size=9), min_size=1, max_size=6).filter(any))
def test_merged_in_any_order_numbers_have_one_mean_and_deviation(parts: list[list[float]]) -> None:
    def summary_of(pieces: list[list[float]]) -> NumberSummary:
        summary = NumberSummary()
        for piece in pieces:
            summary.add(np.array(piece))
        return summary

    numbers = np.array([value for part in parts for value in part])
    forwards, backwards = summary_of(parts), summary_of(parts[::-1])
    in_two = summary_of(parts[:1])
    in_two.merge(summary_of(parts[1:]))
    unit = np.abs(numbers).max() or 1.0
    for summary in (forwards, backwards, in_two):
        assert (summary.n, summary.low, summary.high) == (len(numbers), numbers.min(), numbers.max())
        assert summary.mean == pytest.approx((numbers / unit).mean() * unit, rel=1e-9, abs=1e-12 * unit)
        # A square below the rounding of the largest one is lost in the formula as it is in the sum itself.
        assert summary.deviation == pytest.approx((numbers / unit).std() * unit, rel=1e-7, abs=1e-8 * unit)
        assert summary.median == np.median(numbers)


def test_numbers_that_differ_by_rounding_only_have_no_deviation_in_any_number_of_pieces() -> None:
    one, other = 0.3, 0.1 + 0.2
    for pieces in ([[one, other, one]], [[one], [other, one]], [[one, one], [other]]):
        summary = NumberSummary()
        for piece in pieces:
            summary.add(np.array(piece))
        assert summary.is_constant
        assert summary.deviation == 0
        summary.add(np.array([0.31]))
        assert summary.deviation == pytest.approx(np.std([one, other, one, 0.31]))


def test_the_median_is_taken_from_the_rows_sampled() -> None:
    column, summary = pd.Series([5.0, np.nan, 1.0, 9.0, 7.0]), ColumnSummary("a")
    summary.add(column, sampled=np.array([True, True, True, False, False]))
    summary.add(column, sampled=np.array([False, False, False, False, True]))
    assert summary.read().numbers[0].median == 5.0  # of 5, 1, 7
    assert summary.read().numbers[0].mean == 5.5


def test_frequent_words_are_counted_where_there_are_too_many_words_to_keep() -> None:
    rng = np.random.default_rng(0)
    words = np.where(rng.random(40_000) < 0.1, "often", [f"word {row}" for row in range(40_000)])
    summary = ColumnSummary("a", max_texts=1000)
    for piece in np.split(words, 40):
        summary.add(pd.Series(piece))
        assert len(summary.read().counts) <= 2000
    n_often = int((words == "often").sum())
    word, count = summary.read().counts[0]
    assert word == "often"
    assert n_often - 40 <= count <= n_often
    plan = TablePreprocessor().fit_summaries({"a": summary, "b": number_summary()}).columns[0]
    assert (plan.kind, plan.categories, plan.other) == ("category", ("often",), True)


@pytest.mark.parametrize("frequent", [("A", "B"), ("A",)], ids=["two values", "one value"])
def test_words_that_were_forgotten_are_other_words(frequent: tuple[str, ...]) -> None:
    words = np.array([*(f"rare {row}" for row in range(250)), *frequent * 2000])
    summary = ColumnSummary("a", max_texts=100)
    for start in range(0, len(words), 250):
        summary.add(pd.Series(words[start : start + 250]))
    assert {word for word, _ in summary.read().counts} == set(frequent)
    plan = TablePreprocessor().fit_summaries({"a": summary, "b": number_summary()}).columns[0]
    assert plan == TablePreprocessor().fit(pd.DataFrame({"a": words, "b": np.arange(len(words))})).columns[0]
    assert FeaturePlan.of([plan]).encode([plan.read(["rare 7", "A"])]).tolist() == [
        [0.0] * len(frequent) + [1.0],
        [1.0] + [0.0] * len(frequent),
    ]


def test_a_column_of_which_every_word_was_forgotten_has_values() -> None:
    summary = ColumnSummary("a", max_texts=10)
    summary.add(pd.Series([f"word {row}" for row in range(40)]))
    assert not summary.read().counts
    plan = TablePreprocessor().fit_summaries({"a": summary, "b": number_summary()}).columns[0]
    assert (plan.kind, plan.reason) == ("dropped", "each of its values is in less than one row in a thousand")


def number_summary() -> ColumnSummary:
    summary = ColumnSummary("b")
    summary.add(pd.Series([1.0, 2.0]))
    return summary


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        (
            [["1"] * 20, ["2", "oops", "3", "ouch"]],
            "f.csv: The column 'a' contains numbers, but row 22 has 'oops'",
        ),
        ([["2024-01-01"] * 20, ["soon", "later"]], "f.csv: The column 'a' contains dates, but row 21 has 'soon'"),
        ([["2024-01-01"], ["2024-02-30"]], "f.csv: The column 'a' contains dates, but row 2 has '2024-02-30'"),
        ([["1"], ["inf"]], "f.csv: The column 'a' has an infinite number in row 2"),
        ([[1.0], [np.inf]], "f.csv: The column 'a' has an infinite number in row 2"),
        ([[1.0, 2.0], ["x"]], "f.csv: The column 'a' has the type text, but the previous rows have the type number"),
    ],
)
def test_a_bad_cell_is_named_with_its_file_and_row(pieces: list[list[Any]], message: str) -> None:
    def learn() -> None:
        summary, n_rows = ColumnSummary("a"), 0
        for piece in pieces:
            summary.add(pd.Series(piece), origin=Origin("f.csv", n_rows))
            n_rows += len(piece)
        summary.read()

    with pytest.raises(DataError, match=re.escape(message)):
        learn()


def test_an_infinite_number_is_refused_in_a_stream_as_in_memory() -> None:
    pieces = [["0.5"] * 4, [f"{number}.5" for number in range(40)], ["1", "inf"], ["1e400"]]

    def learn(**options: Any) -> ColumnSummary:
        table = TablePreprocessor(**options)
        summary = table.new_summaries(["a"], max_texts=5)["a"]
        assert summary is not None
        for number, piece in enumerate(pieces):
            summary.add(pd.Series(piece), origin=Origin("f.csv", 100 * number))
        return summary

    with pytest.raises(DataError, match=re.escape("f.csv: The column 'a' has an infinite number in row 202;")):
        learn()
    reading = learn(numeric=["a"]).read()
    assert (reading.numbers[0].high, reading.n_missing) == (39.5, 2)


def test_text_that_looks_like_dates_in_some_pieces_only_is_a_category() -> None:
    summary = ColumnSummary("a")
    for piece in (["2024-01-01", "2024-02-30"], ["soon", "later"], ["2024-01-01"]):
        summary.add(pd.Series(piece))
    assert summary.read().kind == "category"
    assert summary.read().counts[0] == ("2024-01-01", 2)
