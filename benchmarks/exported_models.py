"""Two untrained models for the benchmark of the exports, and rows for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from chainrule import Model, TablePreprocessor, Target, build_network

__all__ = ["image_model", "table_model"]


def table_model() -> tuple[Model, pd.DataFrame]:
    """A model of a table, and rows for it."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"number {i}": rng.normal(i, i + 1, 2000) for i in range(8)}
    columns |= {f"word {i}": rng.choice([f"value {k}" for k in range(3 * i + 2)], 2000) for i in range(4)}
    frame = pd.DataFrame(columns)
    frame.loc[::9, "number 3"] = np.nan
    table = TablePreprocessor().fit(frame)
    target = Target("binary", ("no", "yes"))
    return Model(build_network(len(table.feature_names), target, hidden=(64, 32), seed=0), target, table), frame


def image_model() -> tuple[Model, np.ndarray]:
    """A model of images as vectors, and rows for it."""
    target = Target("multiclass", tuple(range(10)))
    rows = np.random.default_rng(0).random((2000, 784), np.float32)
    return Model(build_network(784, target, hidden=(128, 64), seed=0), target), rows
