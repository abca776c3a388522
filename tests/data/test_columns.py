"""How a column's plan reads cells: one at a time, from whatever source, as it was learnt."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.data import ColumnPlan, TablePreprocessor, feature_plan
from chainrule.errors import CellError, ChainruleWarning

GOLDEN = json.loads((Path(__file__).parent / "golden" / "table_0_1.json").read_text(encoding="utf-8"))


def test_a_table_of_version_0_1_reads_its_cells_as_it_did() -> None:
    table = TablePreprocessor.from_dict(GOLDEN["preprocessor"])
    assert list(table.feature_names) == GOLDEN["features"]
    frame = pd.DataFrame(GOLDEN["rows"], dtype=object)
    np.testing.assert_array_equal(table.transform(frame), np.array(GOLDEN["matrix"], np.float32))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_cells_without_a_frame_become_the_same_bits(size: int) -> None:
    table = TablePreprocessor.from_dict(GOLDEN["preprocessor"])
    frame = pd.DataFrame(GOLDEN["rows"], dtype=object).iloc[:size]
    plan = table.feature_plan
    values = [column.read([row[column.name] for row in GOLDEN["rows"][:size]]) for column in plan.columns]
    np.testing.assert_array_equal(plan.encode(values), table.transform(frame))


def test_the_encoding_of_a_row_does_not_depend_on_the_other_rows() -> None:
    table = TablePreprocessor.from_dict(GOLDEN["preprocessor"])
    plan, rows = table.feature_plan, GOLDEN["rows"]
    few = [column.read([row[column.name] for row in rows]) for column in plan.columns]
    n_times = feature_plan.ROWS_PER_BLOCK // len(rows) + 2
    many = plan.encode([np.tile(values, n_times) for values in few])
    np.testing.assert_array_equal(many, np.tile(np.array(GOLDEN["matrix"], np.float32), (n_times, 1)))


def test_a_number_that_is_too_large_when_scaled_is_refused_by_row_and_column() -> None:
    table = TablePreprocessor().fit(pd.DataFrame({"a": ["x", "y", "x"], "b": [1.0, 2.0, 4.0]}))
    with pytest.raises(CellError, match="1e\\+300") as caught:
        table.transform(pd.DataFrame({"a": ["x", "y", "x"], "b": [1.0, 1e300, 4.0]}))
    assert (caught.value.row, caught.value.column, caught.value.value) == (2, "b", 1e300)


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        (pd.to_timedelta([1, 2, 5], "D"), "a: number"),
        (np.array(["12024-01-01", "12025-03-01", "12026-01-05"], "M8[s]"), "a: date"),
        (["1" * 61, "2" * 61, "3" * 61], "a: number"),
        ([-999, -999, 5, 7], "a: number, '5' is 5; 2 missing"),
        (["-999.0", "-999.0", "5", "7"], "a: number; 2 missing"),
        (["?", "5", "7"], "a: number, '5' is 5; 1 missing"),
        (["n/a", "1.250,50 €", "3,5"], "a: number, '1.250,50 €' is 1250.5; 1 missing"),
        (np.array(["2024-01-31T12:00", "2024-02-01", "2024-03-01"], "M8[s]"),
         "a: date, '2024-01-31 12:00:00' is 2024-01-31T12:00:00"),
    ],
    ids=["durations", "far dates", "long numbers", "-999", "-999.0", "a word", "money", "dates"],
)  # fmt: skip
def test_the_sample_of_a_column_is_a_value_or_left_out(cells: Any, line: str) -> None:
    table = TablePreprocessor(numeric=["a"] if len(str(cells[0])) > 60 else []).fit(pd.DataFrame({"a": cells}))
    assert table.columns[0].explain().split("; '-999'")[0].split("; '?'")[0].split("; 'n/a'")[0] == line
    assert TablePreprocessor.from_dict(table.to_dict()).columns[0].explain() == table.columns[0].explain()


def fit_one(cells: list[str], **options: list[str]) -> ColumnPlan:
    frame = pd.DataFrame({"age": cells, "x": np.arange(len(cells)) / 2})
    return TablePreprocessor(**options).fit(frame).columns[0]


def test_frequent_words_among_many_different_numbers_are_missing_values() -> None:
    ages = [str(18 + k % 60) for k in range(200)]
    ages[::8], ages[1::8] = ["unknown"] * 25, ["not given"] * 25
    plan = fit_one(ages)
    assert (plan.kind, plan.n_missing) == ("number", 50)
    assert "'not given' (50 cells) are read as missing values" in plan.explain().replace("'unknown' and ", "")
    few = fit_one([*["1", "2", "3"] * 20, *["unknown"] * 5, *["not given"] * 5])
    assert few.kind == "category"
    assert "list it under numeric (--numeric) if 'unknown', 'not given' mean missing values" in few.explain()
    codes = fit_one(["01", "02", "2A"] * 50)
    assert (codes.kind, "under numeric" in codes.explain()) == ("category", False)


def test_numbers_in_two_currencies_do_not_become_a_category_for_each_number() -> None:
    prices = [f"{'$' if n % 3 else '€'}{n}" for n in range(60)]
    plan = fit_one(prices)
    assert plan.kind == "dropped"
    assert re.search(r"others, such as '€\d+', '€\d+', '€\d+', have another currency or unit, .*numeric", plan.reason)
    assert fit_one(prices, categorical=["age"]).kind == "category"
    assert fit_one(prices, numeric=["age"]).n_missing == 20
    assert fit_one(["$5", "€5", "$7"] * 20).kind == "category"


N = 80


def lines_of(**columns: Any) -> dict[str, str]:
    frame = pd.DataFrame({"y": np.arange(N) % 7, **columns})
    return {plan.name: plan.explain().removeprefix(f"{plan.name}: ") for plan in TablePreprocessor().fit(frame).columns}


@pytest.mark.parametrize("name", ["id", "Ref", "customer_id", "orderRef", "Unnamed: 0"])
def test_row_numbers_and_ids_are_told_apart(name: str) -> None:
    rows = np.random.default_rng(0).permutation(N) + 1
    assert lines_of(**{name: rows})[name].startswith("dropped, it contains row numbers, a different whole number")
    gaps = lines_of(**{name: rows**2})[name]
    ids = "number" if name.startswith("Unnamed") else "dropped, it contains ids, a different whole number in every row"
    assert gaps.startswith(ids)


def test_numbers_that_count_the_rows_are_kept_under_other_names_with_a_remark() -> None:
    rows = np.random.default_rng(0).permutation(N) + 1
    lines = lines_of(week=rows, people=rows**2, year=1950 + rows, ref_price=rows**2)
    assert (
        "it may contain row numbers, a different whole number in every row; drop it with drop (--drop)" in lines["week"]
    )
    assert ["drop" in lines[name] for name in ("people", "year", "ref_price")] == [False] * 3


def test_texts_that_hardly_repeat_are_no_categories() -> None:
    nearly = [f"person {k}" for k in range(N - 10)] + ["person 1"] * 10
    lines = lines_of(
        name=nearly,
        town=[f"t{k % 40}" for k in range(N)],
        code=[f"c{k % 50}" for k in range(N)],
    )
    assert lines["name"].startswith("dropped, 80 rows have 70 different values, like a name or an id")
    assert lines["town"].startswith("category")
    assert lines["code"].startswith("dropped, 80 rows have 50 different values")
    assert TablePreprocessor(categorical=["c"]).fit(pd.DataFrame({"c": nearly})).columns[0].kind == "category"


def test_white_space_around_categories_is_named() -> None:
    lines = lines_of(town=["Porto", "Faro ", "Faro", "\u00a0Porto"] * (N // 4), other=["a ", "b"] * (N // 2))
    assert lines["town"] == "category, Faro, Porto; 'Faro ' is read as 'Faro'"
    assert lines["other"] == "category, a, b"


def test_all_columns_with_unreadable_cells_are_named_at_once() -> None:
    frame = pd.DataFrame(
        {"a": [1.5, 2, 3], "b": ["2024-01-05", "2024-02-01", "2024-03-01"], "c": ["8:15", "9:30", "7:45"]}
    )
    table = TablePreprocessor().fit(frame)
    new = pd.DataFrame({"a": ["1", "x", "y"], "b": ["2024-01-05", None, "soon"], "c": ["25:00", "8:00", "late"]})
    with pytest.raises(CellError) as caught:
        table.transform(new)
    assert str(caught.value) == (
        "The column 'a' contains numbers, but row 2 has 'x' (and 1 cell more); write it like 1234.5, leave it empty, "
        "or train with missing_words (--missing-word x) if it is a missing value. "
        "The same holds for the columns 'b' (row 3 has 'soon') and 'c' (row 1 has '25:00', and 1 cell more)."
    )
    assert (caught.value.row, caught.value.column, caught.value.value, caught.value.n_cells) == (2, "a", "x", 2)
    with pytest.raises(CellError, match="contains times of day, but row 1 has '25:00'"):
        table.transform(new.assign(a=1, b=None))


def test_the_example_of_a_date_shows_the_order_of_day_and_month() -> None:
    lines = lines_of(day=["01/02/2023", "03/04/2023", "31/01/2023", "05/06/2023"] * (N // 4))
    assert lines["day"] == "date, '31/01/2023' is 2023-01-31"


@pytest.mark.parametrize("form", ["{0}h {1}m", "{0}'{1}\"", "{0}/{1}", "{0}x{1}", "{0}.5 kg - {1} kg"])
def test_cells_of_several_numbers_are_questioned(form: str) -> None:
    line = lines_of(x=[form.format(k % 5 + 1, k % 8 + 10) for k in range(N)])["x"]
    assert line.startswith("category")
    assert f"its cells consist of several numbers, as in '{form.format(1, 10)}'" in line.replace("\\'", "'")
    assert "several numbers" not in lines_of(x=[f"AB-{k % 40}" for k in range(N)], y=["1/2", "2/3"] * (N // 2))["x"]


def test_free_text_is_not_used_and_warned_about() -> None:
    frame = pd.DataFrame({"note": [f"The parcel came {k} days too late" for k in range(N)], "x": np.arange(N) / 2})
    with pytest.warns(ChainruleWarning, match=r"The column 'note' contains free text, .*drop \(--drop\)"):
        assert TablePreprocessor().fit(frame).feature_names == ("x",)
    TablePreprocessor(drop=["note"]).fit(frame)


def test_numbers_under_the_name_of_an_id_are_questioned() -> None:
    line = lines_of(agent_id=np.arange(N) % 30)["agent_id"]
    assert line.startswith("number")
    assert "its name is that of an id; if it is one, drop it or list it under categorical (--categorical)" in line
