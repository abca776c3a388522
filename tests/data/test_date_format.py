"""Dates as people write them: what is written in a form is read back, and the order is found from the cells."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.data import TablePreprocessor
from chainrule.data.date_format import DateFormat, DateOrder, DateScan
from chainrule.errors import CellError, DataError, InvalidInputError

# How a day is written, and the orders under which it is read; None is all of them.
FORMS: list[tuple[str, DateOrder | None]] = [
    ("%Y-%m-%d", None), ("%Y/%m/%d", None), ("%Y.%m.%d", None), ("%Y%m%d", None), ("%d %b %Y", None),
    ("%d-%B-%Y", None), ("%B %d, %Y", None), ("%a, %d %b %Y", None), ("%Y %b %d", None),
    ("%d/%m/%Y", "dmy"), ("%d.%m.%Y", "dmy"), ("%d-%m-%Y", "dmy"), ("%m/%d/%Y", "mdy"), ("%m-%d-%Y", "mdy"),
]  # fmt: skip
TIMES = ["", " %H:%M", "T%H:%M:%S", " %I:%M %p", ", %H:%M:%S.%f", " %I:%M:%S%p"]
moments = st.datetimes(dt.datetime(1902, 1, 1), dt.datetime(2099, 12, 31))


def learn(cells: list[str], **options: list[str]) -> TablePreprocessor:
    return TablePreprocessor(**options).fit(pd.DataFrame({"x": cells, "y": np.arange(len(cells)) / 2}))


def read(table: TablePreprocessor, cells: list[object]) -> list[str]:
    column = table.read(pd.DataFrame({"x": pd.Series(cells, dtype=object), "y": 0.0}))["x"]
    return [str(moment)[:16] for moment in column]


@given(st.sampled_from(FORMS), st.sampled_from(TIMES), st.lists(moments, min_size=1, max_size=5))
def test_what_is_written_in_a_form_is_read(
    form: tuple[str, DateOrder | None], time: str, moments: list[dt.datetime]
) -> None:
    texts = [moment.strftime(form[0] + time) for moment in moments]
    written = [dt.datetime.strptime(text, form[0] + time) for text in texts]
    for order in ("ymd", "dmy", "mdy") if form[1] is None else (form[1],):
        expected = np.array(written, "M8[us]")
        np.testing.assert_array_equal(DateFormat(order).read(texts), expected)
        np.testing.assert_array_equal(DateFormat(order).read([*texts, "no date"])[:-1], expected)
    assert np.isnat(DateFormat().read(["no date"])).all()


@settings(deadline=None)
@given(st.sampled_from(FORMS), st.sampled_from(TIMES), st.lists(moments, min_size=2, max_size=6, unique=True))
def test_the_order_is_found_where_a_cell_decides_it(
    form: tuple[str, DateOrder | None], time: str, moments: list[dt.datetime]
) -> None:
    decides = [dt.datetime(2000, 3, 31, 10, 30), dt.datetime(2001, 5, 25, 20, 15)]
    texts = [moment.strftime(form[0] + time) for moment in [*moments, *decides]]
    table = learn(texts)
    assert table.columns[0].kind == "date"
    assert table.columns[0].note == ""
    expected = np.array([dt.datetime.strptime(text, form[0] + time) for text in texts], "M8[us]")
    np.testing.assert_array_equal(table.read(pd.DataFrame({"x": texts, "y": 0.0}))["x"].to_numpy("M8[us]"), expected)


@pytest.mark.parametrize(
    "wrong",
    ["2024-02-30", "31/02/2024", "2024-13-01", "0000-01-01", "2024-01-01 24:00", "2024-01-01 10:60", "13:00 PM",
     "2024-01-01 0:30 AM", "Foo 1, 2024", "32 Jan 2024", "1.2.13", "12:30", "2024", "1/2", "2024-1", "Foo, 1 Jan 2024",
     "0001-01-01T00:00+05:00", "2024-01-01T10:00+25:00", ""],
)  # fmt: skip
def test_what_is_no_date_is_not_read(wrong: str) -> None:
    assert np.isnat(DateFormat("dmy").read([wrong])).all()


def test_a_column_without_such_dates_does_not_read_them() -> None:
    table = learn(["2023-01-31", "2023-02-01"])
    with pytest.raises(DataError, match="'x' contains dates, but row 1 has '01/02/2023'; write it like 2024-12-31"):
        read(table, ["01/02/2023"])


def test_an_order_that_no_cell_decides_is_said_and_can_be_told() -> None:
    cells = ["01/02/2023", "03/04/2023", "05/06/2023"]
    table = learn(cells)
    assert read(table, [cells[0]]) == ["2023-02-01 00:00"]
    assert table.columns[0].note == (
        "'01/02/2023' can be read in two ways; it is read with the day first (--date x=mdy selects the other order)"
    )
    told = learn(cells, dates=["x=mdy"])
    assert read(told, [cells[0]]) == ["2023-01-02 00:00"]
    assert told.columns[0].note == ""
    with pytest.raises(InvalidInputError, match="order of the dates of 'x' is one of ymd, dmy, mdy, not 'mmy'"):
        learn(cells, dates=["x=mmy"])


def test_points_put_the_day_first_and_say_nothing() -> None:
    table = learn(["01.02.2023", "03.04.2023"])
    assert read(table, ["01.02.2023"]) == ["2023-02-01 00:00"]
    assert table.columns[0].note == ""


def test_another_column_of_dates_decides_the_order() -> None:
    frame = pd.DataFrame({"x": ["01/02/2023", "03/04/2023"], "y": ["01/13/2023", "02/01/2023"]})
    table = TablePreprocessor().fit(frame)
    assert table.read(frame)["x"].dt.month.tolist() == [1, 3]
    assert "it is read with the month first" in table.columns[0].note


def test_years_of_two_digits_are_said() -> None:
    table = learn(["31.12.68", "01.01.69", "25.05.23"])
    assert read(table, ["31.12.68", "01.01.69"]) == ["2068-12-31 00:00", "1969-01-01 00:00"]
    assert "1969 to 2068" in table.columns[0].note


def test_both_orders_in_one_column_are_mistakes_or_no_dates() -> None:
    with pytest.raises(DataError, match="'x' contains dates, but row 12 has '12/31/2023'"):
        learn([*[f"{day}/01/2023" for day in range(13, 24)], "12/31/2023"])
    assert learn(["31/12/2023", "12/31/2023", "a", "b"]).columns[0].kind == "category"


def test_numbers_of_eight_digits_are_dates_where_all_of_them_are() -> None:
    table = learn(["20230131", "20230201", "20240229"])
    assert read(table, ["20230131", 20230201]) == ["2023-01-31 00:00", "2023-02-01 00:00"]
    assert learn(["20230131", "20230230", "20240229"]).columns[0].kind == "number"
    typed = pd.DataFrame({"x": [20230131, 20230201, 20240229], "y": [1, 2, 3]})
    assert TablePreprocessor().fit(typed).columns[0].kind == "number"
    assert read(TablePreprocessor(dates=["x"]).fit(typed), ["20230131"]) == ["2023-01-31 00:00"]


def test_a_word_among_dates_is_missing_and_other_texts_are_mistakes() -> None:
    table = learn(["2023-01-31", "2023-02-01", "never"])
    assert table.columns[0].note == "'never' (1 cell) is read as a missing value"
    assert read(table, ["never", None, ""]) == ["NaT"] * 3
    days = [f"2023-01-{day:02d}" for day in range(1, 31)]
    with pytest.raises(DataError, match=r"contains dates, but row 31 has 'soon' .*list the column under dates .--date"):
        learn([*days, "soon", "later"])
    coerced = learn([*days, "soon", "later"], dates=["x"])
    assert "2 cells such as 'soon' cannot be read and are missing" in coerced.columns[0].note
    assert read(coerced, ["whenever"]) == ["NaT"]


def test_times_are_hours_and_are_not_mixed_with_dates() -> None:
    table = learn(["18:30", "6:15 PM", "00:45:30"])
    assert [number.name for number in table.columns[0].numbers] == ["x hour"]
    assert read(table, ["23:59"]) == ["1970-01-01 23:59"]
    with pytest.raises(DataError, match="write it like 18:30"):
        read(table, ["2023-01-31"])


@pytest.mark.parametrize("damage", [{"order": "dym"}, {"time_only": 1}, {"more": 1}, {"order": None}])
def test_a_damaged_format_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match="date format"):
        DateFormat.from_dict({**DateFormat("dmy").to_dict(), **damage})


def test_many_texts_are_looked_at_as_closely_as_few() -> None:
    """Of so many texts a sample is looked at first; a cell that decides, or contradicts, is found all the same."""
    counts = np.ones(20_001, np.int64)
    unclear = [f"{1 + k % 12:02d}/{1 + k // 12 % 12:02d}/{1000 + k // 144}" for k in range(20_000)]
    assert DateScan([*unclear, "31/12/2023"], counts).decided == "dmy"
    assert DateScan([*unclear, "12/31/2023"], counts).decided == "mdy"
    assert DateScan([*unclear, "12/12/2023"], counts).decided is None
    assert DateScan([f"word {k}" for k in range(20_001)], counts).has_no_dates


def test_an_order_that_the_dates_contradict_is_refused_with_a_row() -> None:
    frame = pd.DataFrame({"x": ["05/01/2023", "28/02/2023", "14/03/2023"]})
    with pytest.raises(CellError, match=r"order mdy for its dates, but row 2 has '28/02/2023'.*--date x=dmy"):
        TablePreprocessor(dates=["x=mdy"]).fit(frame)
    assert TablePreprocessor(dates=["x=dmy"]).fit(frame).columns[0].n_missing == 0
