"""Rows of JSON become the same numbers as the same rows in a data frame."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import TablePreprocessor
from chainrule.data.table import Scaling
from chainrule.serving.base import RowError
from chainrule.serving.rows import ArrayRows, TableRows
from support.served import as_rows, sale_preprocessor, sale_table

TABLE = sale_preprocessor(sale_table())
ROWS = TableRows(TABLE, ignored=["price"])
ROW: dict[str, Any] = {
    "area": 120.5, "rooms": 3, "garden": True, "town": "Faro", "zone": 2, "new": "no", "built": "2001-02-03",
}  # fmt: skip


def bits(matrix: Any) -> tuple[tuple[int, ...], str, bytes]:
    return matrix.shape, matrix.dtype.name, matrix.tobytes()


@pytest.mark.parametrize("n_rows", [1, 2, 50])
@pytest.mark.parametrize("scaling", ["standard", "range", "none"])
def test_rows_become_what_the_table_becomes(n_rows: int, scaling: Scaling) -> None:
    table = sale_preprocessor(sale_table(), scaling=scaling)
    new = sale_table(n_rows, seed=1)
    assert bits(TableRows(table).encode(as_rows(new))) == bits(table.transform(pd.DataFrame(as_rows(new))))


def test_numbers_may_be_text_as_files_have_them() -> None:
    texts = {**ROW, "area": " 120.50", "rooms": "3"}
    np.testing.assert_array_equal(
        ROWS.encode([texts, {**ROW, "rooms": "n/a"}]), ROWS.encode([ROW, {**ROW, "rooms": None}])
    )


def test_arrays_have_the_values_in_the_order_of_the_columns() -> None:
    assert ROWS.names == ("area", "rooms", "garden", "town", "zone", "new", "built")
    values = [ROW[name] for name in ROWS.names]
    assert bits(ROWS.encode([values])) == bits(ROWS.encode([ROW]))
    shuffled = dict(reversed(ROW.items())) | {"price": 5, "id": "no 3", "country": None}
    assert bits(ROWS.encode([shuffled, values])) == bits(np.repeat(ROWS.encode([ROW]), 2, axis=0))


numbers = st.one_of(st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(-1e30, 1e30))
words = st.sampled_from(["Porto", "Faro", " Braga ", "yes", "no", "?", "NA", "", "None", "nowhere", "1", "2.0", "True"])
first, last = datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1)
dates = st.one_of(
    st.none(),
    st.just("NaN"),
    st.datetimes(first, last).map(lambda date: date.isoformat(timespec="microseconds")),
    st.dates(first.date(), last.date()).map(str),
    st.sampled_from(
        ["2020-02-29 23:59", "2020-02-29T23:59:30.5Z", "2020-02-29T23:59:30+0530", "1969-12-31T23:00-01:00"]
    ),
)
cells = {
    "area": numbers, "rooms": numbers, "garden": numbers, "town": words | numbers, "zone": numbers | words,
    "new": words | numbers, "built": dates,
}  # fmt: skip


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.fixed_dictionaries(cells))
def test_any_row_becomes_what_a_frame_of_it_becomes(row: dict[str, Any]) -> None:
    frame = pd.DataFrame({name: pd.Series([cell], dtype=object) for name, cell in row.items()})
    assert bits(ROWS.encode([row])) == bits(TABLE.transform(frame))


def test_missing_and_unknown_values_are_treated_as_the_model_does() -> None:
    gaps = {**ROW, "rooms": None, "town": None, "built": None, "zone": 77, "new": "who knows"}
    encoded = dict(zip(TABLE.feature_names, ROWS.encode([gaps])[0], strict=True))
    assert encoded["rooms (missing)"] == encoded["town (missing)"] == encoded["built (missing)"] == 1
    assert not any(encoded[name] for name in encoded if name.startswith(("zone=", "town=", "new=")))


def refusal(rows: list[Any], encoder: TableRows | ArrayRows = ROWS) -> RowError:
    with pytest.raises(RowError) as caught:
        encoder.encode(rows)
    return caught.value


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"area": "big"}, 'Row 2 has "big" in the column "area"; give a number, or null.'),
        ({"area": "12 rooms"}, 'Row 2 has "12 rooms" in the column "area"; give a number, or null.'),
        ({"area": float("nan")}, 'Row 2 has NaN in the column "area"; give a number, or null.'),
        ({"rooms": float("-inf")}, 'Row 2 has -Infinity in the column "rooms"; give a number, or null.'),
        ({"area": 10**400}, 'Row 2 has a whole number of more than 60 digits in the column "area"; give a number'),
        ({"area": 1e300}, 'Row 2 has 1e+300 in the column "area", which is too far from the training data.'),
        ({"area": [1]}, 'Row 2 has a list in the column "area"; give a number'),
        ({"town": {}}, 'Row 2 has an object in the column "town"; give a category'),
        ({"town": float("nan")}, 'Row 2 has NaN in the column "town"; give a category'),
        ({"built": "2001-02-30"}, 'Row 2 has "2001-02-30" in the column "built"; give a date like'),
        ({"built": "yesterday"}, 'Row 2 has "yesterday" in the column "built"; give a date like'),
        ({"built": "0001-01-01T00:00+05:00"}, "give a date like"),
        ({"built": 2001}, 'Row 2 has 2001 in the column "built"; give a date like'),
        ({"colour": "red"}, 'Row 2 has the column "colour", which the model does not have; its columns are "area", '),
        ({"areas": 5}, "Did you mean 'area'?"),
        ({"x" * 5000: 5}, "xxx..., which the model does not have"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_a_cell_that_does_not_fit_is_named(change: dict[str, Any], sentence: str) -> None:
    error = refusal([ROW, {**ROW, **change}])
    assert sentence in str(error)
    assert (error.status, error.details["row"]) == (422, 2)
    assert error.details["column"] == next(iter(change))[:200]
    assert len(str(error)) < 400


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([1, 2], 'Row 1 has 2 values, but the model needs 7 in this order: "area", "rooms"'),
        (5, "Row 1 is 5; a row must be an object with the columns by name, or an array of their 7 values."),
        ({}, 'Row 1 has no column "area"; give its value, or null if it is missing.'),
        (
            {name: cell for name, cell in ROW.items() if name != "town"} | {"twon": 1},
            "no column \"town\"; give its value, or null if it is missing. Did you mean 'twon'?",
        ),
    ],
    ids=["short", "number", "empty", "misspelt"],
)
def test_a_row_that_does_not_fit_is_named(row: Any, sentence: str) -> None:
    assert sentence in str(refusal([row]))


def test_a_table_of_one_column_works() -> None:
    table = TablePreprocessor().fit(pd.DataFrame({"x": [1.0, 2.0, 4.0]}))
    assert bits(TableRows(table).encode([{"x": 3}, [3]])) == bits(table.transform(pd.DataFrame({"x": [3, 3]})))


def test_images_are_nested_or_flat() -> None:
    rows = ArrayRows((12,), np.float32)
    flat = [float(number) / 7 for number in range(12)]
    image = [flat[start : start + 3] for start in (0, 3, 6, 9)]
    with_channel = [[[value] for value in line] for line in image]
    expected = np.array([flat] * 3, np.float32)
    assert bits(rows.encode([flat, image, with_channel])) == bits(expected)
    assert ArrayRows((4, 3), np.float64).encode([flat]).tolist() == [image]


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ([1.0] * 11, "Row 1 has 11 values, but the model needs 12 numbers."),
        ([[1, 2], [3]], "Row 1 is ragged: its inner arrays have different lengths."),
        ([[1, 2], 3], "Row 1 is ragged"),
        ([1.0] * 11 + [None], "Row 1 has null at position 12; give a finite number."),
        (["a"] + [1.0] * 11, 'Row 1 has "a" at position 1; give a finite number.'),
        ([1.0] * 5 + [1e39] + [1.0] * 6, "Row 1 has 1e+39 at position 6; give a finite number."),
        ([1.0] * 5 + [10**400] + [1.0] * 6, "Row 1 has a whole number of more than 60 digits at position 6"),
        ([[[[[[1]]]]]], "Row 1 has 1 values"),
        ({"a": 1}, "Row 1 is an object; a row must be an array of 12 numbers."),
        ([], "Row 1 has 0 values"),
    ],
    ids=["short", "ragged", "half nested", "null", "text", "too large", "huge", "deep", "object", "empty"],
)
def test_arrays_that_do_not_fit_are_named(row: Any, sentence: str) -> None:
    assert sentence in str(refusal([row], ArrayRows((12,), np.float32)))


def test_images_are_nested_as_their_shape_is() -> None:
    rows = ArrayRows((2, 3, 1), "float32")
    truth = np.arange(6.0).reshape(1, 2, 3, 1)
    for image in (truth[0].tolist(), truth[0, :, :, 0].tolist(), truth.reshape(-1).tolist()):
        np.testing.assert_array_equal(rows.encode([image]), truth)
    with pytest.raises(RowError, match="Row 2 has the shape 3 x 2, but the model needs 6 numbers, 2 x 3 x 1"):
        rows.encode([truth[0].tolist(), truth.reshape(3, 2).tolist()])
