"""Tables as they should not be: gaps in every kind of column, words and dates of all sorts, codes that are numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

__all__ = ["odd_table"]


def odd_table(seed: int, n_rows: int = 300, *, fresh: bool = False) -> pd.DataFrame:
    """A table with columns of every kind; ``fresh`` rows have words that the others lack, and gaps in every column."""
    rng = np.random.default_rng(seed + 1000 * fresh)
    share = rng.choice([0.0, 0.05, 0.5])
    start = pd.Timestamp("1890-01-01")
    columns: dict[str, Any] = {
        "size": rng.normal(100, 20, n_rows),
        "tiny": rng.normal(1e-9, 1e-12, n_rows),
        "count": rng.integers(0, 2**40, n_rows),
        "flag": rng.random(n_rows) < 0.3,
        "town": rng.choice(["Porto", "Faro", " Braga ", "São Tomé", "None"], n_rows),
        "kind": rng.choice(["x", "y"], n_rows),
        "code": rng.choice([1.0, 2.0, 30.0], n_rows),
        "rare": rng.choice([f"r{i}" for i in range(100)], n_rows),
        "when": start + pd.to_timedelta(rng.integers(0, 70_000 * 86_400, n_rows), unit="s"),
        "month": pd.Timestamp("2020-01-31") + pd.to_timedelta(rng.integers(0, 12, n_rows) * 30, unit="D"),
        "waiting": pd.to_timedelta(rng.integers(0, 10**6, n_rows), unit="s"),
    }
    frame = pd.DataFrame(columns)
    frame["town"] = frame["town"].astype(object)
    if fresh:
        frame.loc[rng.random(n_rows) < 0.2, "town"] = "Atlantis"
        frame.loc[rng.random(n_rows) < 0.2, "kind"] = "z"
        frame.loc[rng.random(n_rows) < 0.2, "code"] = 99.0
        share = 0.3
    order = np.random.default_rng(seed).permutation(len(columns))
    frame = frame.iloc[:, order].astype({"count": "Float64", "flag": "boolean"})
    for name in frame.columns:
        if name in ("size", "count", "flag", "town", "code", "when", "waiting") or fresh:
            frame.loc[rng.random(n_rows) < share, name] = None
    return frame
