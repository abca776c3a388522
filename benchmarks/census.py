"""A generated table for the benchmark of the servers: 8 numbers, 4 categories and two classes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

NUMBERS = ("age", "hours", "schooling", "gain", "loss", "savings", "children", "distance")
WORDS = ("work", "marriage", "occupation", "region")


@dataclass(frozen=True)
class Rows:
    """Training and test rows as JSON values, and their labels."""

    train: list[dict[str, Any]]
    train_labels: list[str]
    test: list[dict[str, Any]]
    test_labels: list[str]


def make_rows(n_train: int = 8_000, n_test: int = 1_000) -> Rows:
    """Return a table like that of a census: skewed numbers, informative categories, 2 % of the cells missing."""
    rng = np.random.default_rng(0)
    n = n_train + n_test
    frame = pd.DataFrame({name: rng.gamma(2.0, 10.0, n).round(2) for name in NUMBERS})
    effects = {}
    for index, name in enumerate(WORDS):
        levels = [f"{name} {level}" for level in range(5 + 2 * index)]
        codes = rng.integers(0, len(levels), n)
        frame[name] = np.array(levels, dtype=object)[codes]
        effects[name] = rng.normal(size=len(levels))[codes]
    score = np.sin(frame["age"] / 10) * 2 + np.log1p(frame["gain"]) - np.log1p(frame["loss"]) + sum(effects.values())
    labels = np.where(score + 0.3 * rng.normal(size=n) > np.median(score), "high", "low")
    for name in frame.columns:
        frame.loc[rng.random(n) < 0.02, name] = None
    rows = json.loads(frame.to_json(orient="records"))
    return Rows(rows[:n_train], labels[:n_train].tolist(), rows[n_train:], labels[n_train:].tolist())
