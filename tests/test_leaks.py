"""Columns that determine the target are named before training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule.errors import ChainruleWarning
from chainrule.runs import prepare_data
from chainrule.runs.leaks import determines

RNG = np.random.default_rng(0)
N = 200
Y = RNG.normal(size=N)
CLASSES = RNG.integers(0, 3, N)


@pytest.mark.parametrize(
    ("values", "targets", "expected"),
    [
        (Y * 0.05 + 3, Y, True),
        (-np.exp(Y), Y, True),
        (np.where(RNG.random(N) < 0.5, Y, np.nan), Y, True),
        (Y + 0.3 * RNG.normal(size=N), Y, False),
        (RNG.normal(size=N), Y, False),
        (CLASSES * 10.0, CLASSES, True),
        (CLASSES * 10 + RNG.integers(0, 3, N), CLASSES, True),
        (np.where(np.arange(N) == 7, 1, CLASSES).astype(float), np.where(np.arange(N) == 7, 0, CLASSES), False),
        (CLASSES + RNG.random(N), CLASSES, False),
        (Y[:20], Y[:20], False),
    ],
)
def test_a_copy_of_the_target_determines_it(values: Any, targets: Any, expected: bool) -> None:
    assert determines(values, targets, are_classes=targets is not Y and len(targets) > 20) is expected


def test_the_columns_are_named() -> None:
    frame = pd.DataFrame({"fee": np.round(0.05 * np.exp(Y), 6), "size": RNG.normal(size=N), "price": np.exp(Y)})
    with pytest.warns(
        ChainruleWarning, match=r"The column 'fee' determines the target, .*Drop a column with drop \(--drop\)"
    ):
        prepare_data(frame, target="price")
    prepare_data(frame, target="price", drop=["fee"])
    labels = frame.assign(price=np.where(Y > 0, "high", "low"), flag=np.where(Y > 0, "YES", "NO"))
    with pytest.warns(ChainruleWarning, match="The column 'flag' determines the target"):
        prepare_data(labels, target="price")


def test_rows_in_the_order_of_the_classes_do_not_hide_a_leak() -> None:
    classes = np.repeat(["a", "b"], 10_500)
    with pytest.warns(ChainruleWarning, match="The column 'copy' determines the target"):
        prepare_data(pd.DataFrame({"copy": classes, "y": classes, "x": np.arange(21_000) % 97}), target="y")
