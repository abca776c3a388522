"""Which columns say that rows are related: series in time, and ids that several rows share."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from chainrule.runs.related_rows import is_group_column, is_time_column

RNG = np.random.default_rng(0)
DAYS = pd.date_range("2023-01-01", periods=300, freq="D").to_numpy()
PANEL = np.repeat(DAYS[:50], 6)


@pytest.mark.parametrize(
    ("moments", "is_series"),
    [
        (DAYS, True),
        (DAYS[::-1], True),
        (RNG.permutation(DAYS), True),
        (np.sort(RNG.choice(DAYS, 200)), True),
        (RNG.permutation(PANEL), True),
        (np.append(DAYS, np.datetime64("NaT")), True),
        (np.delete(RNG.permutation(DAYS), range(3, 60, 9)), True),
        (RNG.choice(DAYS, 3000), False),
        (RNG.choice(DAYS, 300), False),
        (RNG.choice(DAYS[:5], 300), False),
        (DAYS[:5], False),
        (np.full(50, np.datetime64("NaT"), "M8[ns]"), False),
    ],
    ids=[
        "a day a row", "newest first", "shuffled", "sorted with gaps", "six rows a day", "one date missing",
        "a few days missing", "customers of many days", "customers of few days", "five days", "five rows", "no date",
    ],
)  # fmt: skip
def test_a_series_in_time_is_sorted_or_regular(moments: np.ndarray, is_series: bool) -> None:
    assert is_time_column(moments) is is_series


def some(values: list[object], n_rows: int = 200) -> pd.Series:
    return pd.Series(RNG.permutation(np.resize(np.array(values, dtype=object), n_rows)))


@pytest.mark.parametrize(
    ("name", "values", "is_group"),
    [
        ("machine", [f"M{n:02d}" for n in range(20)], True),
        ("what", [f"P-{n:03d}" for n in range(40)], True),
        ("patient", ["Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gil", "Hal", "Ida", "Jon", None], True),
        ("patient", ["Ann", "Bob", "Cid", "Dan", "Eve", None], False),
        ("member", ["basic", "silver", "gold", "platinum", "staff"], False),
        ("household", [1, 2, 3, 4, 5, 6], False),
        ("patient_id", list(range(30)), True),
        ("storeId", list(range(30)), True),
        ("Customer No", list(range(30)), True),
        ("id", list(range(200)), False),
        ("machine", ["old", "new"], False),
        ("tipologia", [f"T{n}" for n in range(1, 7)], False),
        ("customer_age", list(range(18, 90)), False),
        ("humid", list(range(30)), False),
        ("town", ["Porto", "Faro", "Braga", "Lisboa", "Évora"], False),
        ("zip", [f"{n:05d}" for n in range(100, 140)], False),
        ("paid", [10, 20, 30, 40, 50, 60], False),
        ("note", [f"M{n:02d}" for n in range(19)] + ["other"], False),
        ("user", [None], False),
    ],
)
def test_ids_that_several_rows_share_make_groups(name: str, values: list[object], is_group: bool) -> None:
    assert is_group_column(name, some(values)) is is_group
