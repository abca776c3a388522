"""What a single cell says, whatever holds it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chainrule.data.cells import date_parts
from chainrule.data.date_format import DateFormat


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_dates_of_every_unit_have_the_same_parts(unit: str) -> None:
    column = pd.Series(np.array(["1969-12-31T12:00", "2024-02-29T06:00", "NaT"], f"datetime64[{unit}]"))
    expected = [[1969, 12, 2, -0.5, 12], [2024, 2, 3, 19782.25, 6], [np.nan] * 5]
    np.testing.assert_array_equal(date_parts(column.to_numpy()), expected)


def test_a_nanosecond_does_not_narrow_the_years_beside_it() -> None:
    texts = ["0001-01-01", "2020-01-01T00:00:00.123456789", "9999-12-31"]
    moments = DateFormat().read(texts)
    assert date_parts(moments)[:, 0].tolist() == [1, 2020, 9999]
    assert moments[1] == np.datetime64("2020-01-01T00:00:00.123456")


def test_years_that_nanoseconds_cannot_count() -> None:
    column = pd.Series(np.array(["1066-10-14", "2500-01-01"], "datetime64[s]"))
    parts = date_parts(column.to_numpy())
    np.testing.assert_array_equal(parts[:, :2], [[1066, 10], [2500, 1]])
    np.testing.assert_array_equal(parts[:, 3], [-329893, 193579])
