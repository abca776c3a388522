import json
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import QuantileTransformer

from chainrule.data import TablePreprocessor
from chainrule.errors import CellError, DataError, InvalidInputError

FRAME = pd.DataFrame(
    {
        "age": [20.0, 30.0, np.nan, 50.0],
        "town": ["Porto", "Faro", None, "Porto"],
        "smokes": ["no", "yes", "yes", "no"],
        "member": [True, False, True, True],
        "since": ["2024-01-01", "2024-02-29", "2024-03-01", None],
        "text_number": ["1", " 2.5", "", "4"],
        "same": [7, 7, 7, 7],
        "empty": [None] * 4,
    }
)
RNG = np.random.default_rng(0)


def test_every_kind_of_column_becomes_numbers():
    table = TablePreprocessor().fit(FRAME)
    assert table.feature_names == (
        "age", "age (missing)", "town=Faro", "town=Porto", "town (missing)", "smokes=yes", "member=True",
        "since month", "since weekday", "since days", "since (missing)", "text_number", "text_number (missing)",
    )  # fmt: skip
    matrix = table.transform(FRAME)
    assert matrix.shape == (4, 13)
    assert matrix.dtype == np.float32
    named = dict(zip(table.feature_names, matrix.T, strict=True))
    present = FRAME["age"].dropna()
    np.testing.assert_allclose(named["age"][[0, 1, 3]], (present - present.mean()) / present.std(ddof=0), rtol=1e-5)
    np.testing.assert_allclose(named["age"][2], (30 - present.mean()) / present.std(ddof=0), rtol=1e-5)
    assert named["age (missing)"].tolist() == [0, 0, 1, 0]
    assert named["town=Porto"].tolist() == [1, 0, 0, 1]
    assert named["town (missing)"].tolist() == [0, 0, 1, 0]
    assert named["smokes=yes"].tolist() == [0, 1, 1, 0]
    reasons = {plan.name: plan.reason for plan in table.columns if plan.kind == "dropped"}
    assert reasons == {"same": "every row has '7'", "empty": "it has no value in any row"}
    assert [row["name"] for row in table.describe()] == list(FRAME.columns)


def test_order_and_surplus_of_columns_do_not_matter_and_nothing_is_mutated():
    before = FRAME.copy(deep=True)
    table = TablePreprocessor().fit(FRAME)
    shuffled = FRAME[FRAME.columns[::-1]].assign(more="x")
    np.testing.assert_array_equal(table.transform(shuffled), table.transform(FRAME))
    pd.testing.assert_frame_equal(FRAME, before)
    np.testing.assert_array_equal(table.transform(FRAME.iloc[[2]]), table.transform(FRAME)[[2]])


def test_polars_and_arrays():
    values = {"a": [1.0, 2.0, 4.0], "b": ["u", "v", "u"]}
    ours = TablePreprocessor().fit_transform(pl.DataFrame(values))
    np.testing.assert_array_equal(ours, TablePreprocessor().fit_transform(pd.DataFrame(values)))
    assert TablePreprocessor().fit(np.arange(6.0).reshape(3, 2)).feature_names == ("x1", "x2")
    np.testing.assert_array_equal(ours, TablePreprocessor().fit_transform(values))


CELLS = {
    "number": st.one_of(st.none(), st.floats(-1e30, 1e30), st.integers(-(10**9), 10**9)),
    "word": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "longer", "é"])),
    "date": st.one_of(st.none(), st.dates(pd.Timestamp(1900, 1, 1).date(), pd.Timestamp(2100, 1, 1).date()).map(str)),
    "flag": st.booleans(),
}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.fixed_dictionaries(CELLS), min_size=3, max_size=20),
    st.sampled_from(["standard", "robust", "quantile", "range", "none"]),
    st.sampled_from(["median", "mean", "zero"]),
)
@example([{"number": number, "flag": False} for number in (0.0, 0.0, 0.0, 1.0, 2e-271)], "quantile", "median")
def test_json_round_trip_transforms_alike(rows, scaling, missing):
    frame = pd.DataFrame(rows, columns=list(CELLS))
    table = TablePreprocessor(scaling=scaling, missing=missing)
    try:
        matrix = table.fit_transform(frame)
    except DataError:
        return  # nothing to learn from in any column
    assert np.isfinite(matrix).all()
    back = TablePreprocessor.from_dict(json.loads(json.dumps(table.to_dict())))
    np.testing.assert_array_equal(back.transform(frame), matrix)
    assert back.feature_names == table.feature_names
    if scaling == "range":
        assert matrix.min() >= -1e-6
        assert matrix.max() <= 1 + 1e-6


SKEWED = [1.0, 2.0, 4.0, 13.0, np.nan]  # median 3, mean 5, smallest 1


@pytest.mark.parametrize(
    ("missing", "scaling", "fill"),
    [
        ("median", "none", 3), ("mean", "none", 5), ("zero", "none", 0),
        ("median", "range", 2 / 12), ("mean", "range", 4 / 12), ("zero", "range", 0),
        ("median", "standard", (3 - 5) / np.std(SKEWED[:4])), ("mean", "standard", 0), ("zero", "standard", 0),
    ],
)  # fmt: skip
def test_missing_numbers_are_filled_as_asked_and_marked(missing, scaling, fill):
    frame = pd.DataFrame({"x": SKEWED, "when": ["2024-01-01", "2024-01-03", "2024-01-11", None, "2024-01-05"]})
    table = TablePreprocessor(scaling=scaling, missing=missing)
    matrix = table.fit_transform(frame)
    assert table.feature_names[:2] == ("x", "x (missing)")
    np.testing.assert_allclose(matrix[4, 0], fill, atol=1e-6)
    assert matrix[:, 1].tolist() == [0, 0, 0, 0, 1]
    days = dict(zip(table.feature_names, matrix.T, strict=True))["when days"]
    expected = {"median": np.median, "mean": np.mean, "zero": np.zeros_like}[missing](days[[0, 1, 2, 4]])
    np.testing.assert_allclose(days[3], np.broadcast_to(expected, 4)[0], atol=1e-6)
    described = table.describe()[0]
    assert described["fill_rule"] == missing
    np.testing.assert_allclose((described["fill"] - described["center"]) / described["scale"], fill, atol=1e-6)
    # A gap in a column that had none in training is filled as well, and has no mark.
    whole = TablePreprocessor(scaling=scaling, missing=missing).fit(pd.DataFrame({"x": SKEWED[:4]}))
    np.testing.assert_allclose(whole.transform(pd.DataFrame({"x": [np.nan]})), [[fill]], atol=1e-6)


def test_a_description_from_before_the_rule_had_a_name_is_read():
    table = TablePreprocessor().fit(FRAME)
    values = json.loads(json.dumps(table.to_dict()))
    del values["missing"]
    for column in values["columns"]:
        for number in column["numbers"]:
            del number["fill_rule"]
    old = TablePreprocessor.from_dict(values)
    assert old.missing == "median"
    assert old.columns == table.columns
    np.testing.assert_array_equal(old.transform(FRAME), table.transform(FRAME))
    again = TablePreprocessor.from_dict(TablePreprocessor(missing="zero").fit(FRAME).to_dict())
    assert again.missing == "zero"


def test_robust_scaling_bounds_outliers():
    x = np.append(RNG.normal(50, 10, 500), [1e9, -1e30])
    matrix = TablePreprocessor(scaling="robust").fit_transform(pd.DataFrame({"x": x}))[:, 0]
    lower, median, upper = np.quantile(x, [0.25, 0.5, 0.75])
    z = (x[:500] - median) / (upper - lower)
    np.testing.assert_allclose(matrix[:500], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(matrix[500:], [3, -3], rtol=1e-5)
    mostly_zero = pd.DataFrame({"x": [0.0] * 9 + [8.0]})
    z = 8 / 4  # half the range, because the quartiles are equal
    values = TablePreprocessor(scaling="robust").fit_transform(mostly_zero)
    np.testing.assert_allclose(values[-2:, 0], [0, z / np.sqrt(1 + (z / 3) ** 2)], rtol=1e-6)


def test_quantile_scaling_gives_normal_scores():
    x = np.exp(RNG.normal(0, 2, 4000))
    frame = pd.DataFrame({"x": x, "same": x})
    table = TablePreprocessor(scaling="quantile").fit(frame)
    matrix = table.transform(frame)[:, 0]
    expected = QuantileTransformer(output_distribution="normal", n_quantiles=1000).fit_transform(x[:, None])[:, 0]
    inner = np.abs(expected) < 1.8
    np.testing.assert_allclose(matrix[inner], expected[inner], atol=0.05)
    ends = table.transform(pd.DataFrame({"x": [-1e9, np.median(x), 1e9], "same": 0}))[:, 0]
    bound = norm.ppf(1 - 1 / 128)
    np.testing.assert_allclose(ends, [-bound, 0, bound], rtol=1e-5, atol=1e-3)
    ties = pd.DataFrame({"x": [0.0] * 50 + list(range(1, 51))})
    zero = TablePreprocessor(scaling="quantile").fit_transform(ties)[0, 0]
    np.testing.assert_allclose(zero, norm.ppf(np.append(np.arange(1, 16) / 32, 1 / 128)).mean(), rtol=1e-5)


@pytest.mark.parametrize("scaling", ["standard", "robust", "quantile", "range", "none"])
def test_a_number_that_is_constant_but_for_rounding_is_dropped_as_constant(scaling):
    frame = pd.DataFrame({"a": [0.3, 0.1 + 0.2, 0.3], "b": [0.1, 0.2, 0.3], "gaps": [0.3, None, 0.1 + 0.2]})
    table = TablePreprocessor(scaling=scaling).fit(frame)
    assert table.feature_names == ("b", "gaps", "gaps (missing)")
    assert table.columns[0].kind == "dropped"
    new = table.transform(pd.DataFrame({"a": [0.31], "b": [0.2], "gaps": [0.31]}))
    assert new[0, 1] == pytest.approx(0.01, rel=1e-5)


def test_unknown_rare_and_missing_categories():
    frame = pd.DataFrame({"town": ["a"] * 3000 + ["b"] * 3000 + ["rare", "seldom"]})
    table = TablePreprocessor().fit(frame)
    assert table.feature_names == ("town=a", "town=b", "town (other)")
    new = table.transform(pd.DataFrame({"town": ["b", "rare", "never seen", None]}))
    assert new.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]
    many = pd.DataFrame({"c": [f"c{i}" for i in range(9)] * 2})
    assert len(TablePreprocessor(max_categories=4).fit(many).feature_names) == 5
    plain = TablePreprocessor().fit(pd.DataFrame({"c": ["a", "b", "Na"]}))  # sodium is not missing
    assert plain.transform(pd.DataFrame({"c": ["d"]})).tolist() == [[0, 0, 0]]


def test_codes_are_categories_on_request_also_as_floats():
    table = TablePreprocessor(categorical=["zip"]).fit(pd.DataFrame({"zip": [1, 2, 3]}))
    assert table.feature_names == ("zip=1", "zip=2", "zip=3")
    assert table.transform(pd.DataFrame({"zip": [2.0, np.nan]})).tolist() == [[0, 1, 0], [0, 0, 0]]


def test_ids_are_dropped_and_gaps_at_predict_are_filled():
    frame = pd.DataFrame({"id": [f"p{i}" for i in range(60)], "x": np.arange(60.0)})
    table = TablePreprocessor().fit(frame)
    assert table.feature_names == ("x",)
    assert "every row has a different value" in table.columns[0].reason
    np.testing.assert_allclose(table.transform(pd.DataFrame({"x": [np.nan, 29.5]})), 0, atol=1e-6)


def test_the_hour_of_the_day_is_a_part_of_dates_that_have_one_and_all_that_is_of_times():
    frame = pd.DataFrame({"at": ["2024-01-01 06:00", "2024-01-01 18:30"], "time": ["6:15 PM", "00:45"]})
    table = TablePreprocessor(scaling="none").fit(frame)
    assert table.feature_names == ("at days", "at hour", "time hour")
    np.testing.assert_allclose(table.transform(frame)[:, 1:], [[6, 18.25], [18.5, 0.75]], rtol=1e-6)


def test_dates_of_every_form_agree():
    texts = ["2024-01-01T06:00:00Z", "2024-06-30T00:00:00Z", "2025-01-01T12:00:00+06:00"]
    stamps = pd.to_datetime(pd.Series(texts), utc=True, format="ISO8601")
    forms = [pd.Series(texts), stamps, stamps.dt.tz_localize(None)]
    results = [TablePreprocessor().fit_transform(pd.DataFrame({"when": form})) for form in forms]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (
            {"a": [*map(str, range(20)), "oops", "ouch"]},
            {},
            r"'a' contains numbers, but row 21 has 'oops' .*categorical",
        ),
        ({"a": [*map(str, range(20)), "12x"]}, {}, "'a' contains numbers, but row 21 has '12x'; correct that cell"),
        ({"a": ["2024-01-01"] * 20 + ["soon", "later"]}, {}, "contains dates, but row 21 has 'soon'"),
        ({"a": ["2024-02-28", "2024-02-30"]}, {}, "contains dates, but row 2 has '2024-02-30'"),
        ({"a": [1.0, np.inf]}, {}, "'a' has an infinite number in row 2"),
        ({"a": ["1", "inf"]}, {}, "'a' has an infinite number in row 2"),
        ({"a": [1j, 2j]}, {}, "complex"),
        ({"a": [1, 1]}, {}, "No column .* every row has '1'"),
        ({"a": []}, {}, "no rows"),
        ({"price": [1, 2]}, {"drop": ["prise"]}, "Did you mean 'price'"),
        ({"price": [1, 2]}, {"categorical": ["prise"]}, "Did you mean 'price'"),
        ({"price": [1, 2]}, {"categorical": "price"}, "must be a list of column names"),
        ({"price": [1, 2]}, {"scaling": "standart"}, "Did you mean 'standard'"),
        (
            {"price": [1, 2]},
            {"missing": "meen"},
            "missing is one of median, mean, .*'meen'.*Did you mean 'mean'",
        ),
        ({"price": [1, 2]}, {"max_categories": 0}, "max_categories"),
    ],
)
def test_what_cannot_be_learnt_from_is_named(frame, options, message):
    with pytest.raises(InvalidInputError, match=message):
        TablePreprocessor(**options).fit(pd.DataFrame(frame))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": ["20", "x", "3", "4"]}, "'age' contains numbers, but row 2 has 'x'"),
        ({"age": [1, 2, 3, -np.inf]}, "'age' has an infinite number in row 4"),
        ({"age": [1, 2, 3, 1e300]}, "'age' has 1e.300 in row 4, which is too far"),
        ({"since": ["2024-01-01", "tomorrow", None, None]}, "'since' contains dates, but row 2 has 'tomorrow'"),
    ],
)
def test_new_data_that_do_not_fit_are_named(change, message):
    with pytest.raises(DataError, match=message):
        TablePreprocessor().fit(FRAME).transform(FRAME.assign(**change))


def test_missing_and_repeated_columns_are_named():
    table = TablePreprocessor().fit(FRAME)
    with pytest.raises(DataError, match=r"no column 'age'.*Did you mean 'Age_'"):
        table.transform(FRAME.rename(columns={"age": "Age_"}))
    rooms = pd.DataFrame({"rooms": [1.0, 2.0, 3.0], "room": [3.0, 5.0, 4.0]})
    with pytest.raises(DataError, match=r"no column 'rooms', which the training data had\.$"):  # 'room' is itself
        TablePreprocessor().fit(rooms).transform(rooms[["room"]])
    with pytest.raises(DataError, match="more than one column named 'age'"):
        table.transform(pd.concat([FRAME, FRAME[["age"]]], axis=1))
    with pytest.raises(DataError, match="no rows"):
        table.transform(FRAME.iloc[:0])
    with pytest.raises(NotFittedError, match="Call 'fit'"):
        TablePreprocessor().transform(FRAME)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("columns"),
        lambda d: d.update(columns=[1]),
        lambda d: d.update(columns=[{}]),
        lambda d: d.update(scaling="x"),
        lambda d: d.update(missing="x"),
        lambda d: d["columns"][0]["numbers"][0].update(fill_rule="x"),
        lambda d: d.update(max_categories="x"),
        lambda d: d["columns"][0].update(kind="evil"),
        lambda d: d["columns"][0].update(more=1),
        lambda d: d["columns"][0]["numbers"][0].update(scale=0.0),
        lambda d: d["columns"][0]["numbers"][0].update(fill="x"),
        lambda d: d["columns"][0]["numbers"][0].update(limit=-1),
        lambda d: d["columns"][0]["numbers"][0].update(knots=[0, 1], scores=[0]),
        lambda d: d["columns"][0]["numbers"][0].update(knots=[1, 1], scores=[0, 1]),
        lambda d: d["columns"][0]["numbers"][0].update(knots=5),
        lambda d: d["columns"][0].update(numbers=[]),
        lambda d: d["columns"][1].update(categories=[1]),
        lambda d: d["columns"][1].update(categories="abc"),
        lambda d: d["columns"][0].update(missing_words="abc"),
        lambda d: d["columns"][0]["numbers"][0].update(fill=10**400),
        lambda d: d["columns"][0]["numbers"][0].update(center=float("nan")),
    ],
)
def test_a_damaged_description_is_refused(damage):
    values = json.loads(json.dumps(TablePreprocessor().fit(FRAME).to_dict()))
    damage(values)
    with pytest.raises(InvalidInputError):
        TablePreprocessor.from_dict(values)


@pytest.mark.parametrize(
    "cell",
    [
        np.complex128(3 + 1j),
        3 + 1j,
        np.datetime64("2020-01-01"),
        np.timedelta64(3, "s"),
        b"3",
        object(),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_a_cell_of_another_type_is_no_number(cell):
    table = TablePreprocessor().fit(FRAME)
    for column in ("age", "text_number"):
        frame = FRAME.astype(object)
        frame.at[2, column] = cell
        message = "(contains numbers, but row 3 has|has the (bytes|complex number) .* in row 3)"
        with pytest.raises(CellError, match=f"column '{column}' {message}"):
            table.transform(frame)


@pytest.mark.parametrize("cell", [30, 30.0, np.int8(30), np.float32(30), Decimal(30), np.str_("30")], ids=repr)
def test_a_number_of_any_real_type_is_read(cell):
    table = TablePreprocessor().fit(FRAME)
    frame = FRAME.astype(object)
    frame.at[0, "age"] = cell
    np.testing.assert_array_equal(table.transform(frame)[0], table.transform(FRAME.assign(age=30.0))[0])


@pytest.mark.parametrize("cell", [[3.0], [3.0, 4.0], (3,), {"a": 1}, {3}, np.array([3.0])], ids=repr)
@pytest.mark.parametrize("column", ["age", "town", "since"])
def test_a_cell_with_several_values_is_named(cell, column):
    frame = FRAME.astype(object)
    frame.at[2, column] = cell
    message = rf"column '{column}' has .* in row 3, but a cell must contain one value"
    with pytest.raises(CellError, match=message):
        TablePreprocessor().fit(frame)
    with pytest.raises(CellError, match=message):
        TablePreprocessor().fit(FRAME).transform(frame)
    assert TablePreprocessor(drop=[column]).fit(frame).transform(frame).shape[0] == len(frame)


LARGE = 2**53 + 2  # beside it a double cannot hold every whole number


@pytest.mark.parametrize(
    "convert",
    [
        lambda ids: pd.Series(ids, dtype=np.int64),
        lambda ids: pd.Series(ids, dtype=np.uint64),
        lambda ids: pd.Series(ids, dtype="Int64"),
        lambda ids: pd.Series(ids, dtype=object),
        lambda ids: pd.Series([10**30 + number for number in ids], dtype=object),
        lambda ids: pd.Series([Decimal(10**30 + number) for number in ids], dtype=object),
        lambda ids: pd.Series([10**400 + number for number in ids], dtype=object),
    ],
    ids=["int64", "uint64", "Int64", "object", "30 digits", "Decimal", "400 digits"],
)
def test_whole_numbers_of_16_digits_are_the_codes_that_they_are_as_text(convert):
    few = convert([LARGE + place % 3 for place in range(60)])
    typed = TablePreprocessor().fit(pd.DataFrame({"card": few}))
    as_text = TablePreprocessor().fit(pd.DataFrame({"card": [str(number) for number in few]}))
    assert typed.feature_names == as_text.feature_names
    assert len(typed.feature_names) == 3
    matrix = typed.transform(pd.DataFrame({"card": few}))
    np.testing.assert_array_equal(matrix, np.tile(np.eye(3, dtype=np.float32), (20, 1)))
    np.testing.assert_array_equal(matrix, typed.transform(pd.DataFrame({"card": list(map(str, few))})))
    every = pd.DataFrame({"card": convert([LARGE + place for place in range(60)]), "n": np.arange(60) % 7})
    (dropped, _) = TablePreprocessor().fit(every).columns
    assert (dropped.kind, dropped.reason) == ("dropped", "every row has a different value, like a name or an id")


def test_large_numbers_are_numbers_where_they_are_said_to_be_or_have_decimals():
    whole = pd.DataFrame({"size": [10**15 + place % 5 for place in range(60)]})
    assert TablePreprocessor(numeric=["size"]).fit(whole).columns[0].kind == "number"
    assert TablePreprocessor().fit(whole.astype(float)).columns[0].kind == "number"
    assert TablePreprocessor().fit(-whole).columns[0].kind == "number"
    huge = pd.DataFrame({"size": pd.Series([1, 2, -(10**400)], dtype=object)})
    with pytest.raises(DataError, match="column 'size' has an infinite number in row 3"):
        TablePreprocessor().fit(huge)


@pytest.mark.parametrize("column", ["age", "town"])
def test_a_number_too_long_to_be_written_is_named(column):
    frame = FRAME.astype(object)
    frame.at[2, column] = 10**5000
    for action in (TablePreprocessor().fit, TablePreprocessor().fit(FRAME).transform):
        with pytest.raises(CellError, match=f"column '{column}' has a whole number of more than 4,000 digits in row 3"):
            action(frame)
