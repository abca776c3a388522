"""Rows in several Parquet files of several groups, such as streams are made of."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

__all__ = ["table_of_visits", "write_parquet"]


def table_of_visits(n_rows: int, seed: int = 5) -> pd.DataFrame:
    """Numbers with gaps, words, dates, the number of the row, and two classes that a curve divides."""
    rng = np.random.default_rng(seed)
    minutes, pages = rng.normal(10, 3, n_rows), rng.normal(size=n_rows)
    return pd.DataFrame(
        {
            "place": np.arange(n_rows, dtype=np.float64),
            "minutes": pd.Series(minutes).where(rng.random(n_rows) > 0.1),
            "pages": pages.astype(np.float32),
            "town": rng.choice(["Porto", "Faro", "Braga", None], n_rows),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, n_rows), "D"),
            "member": rng.random(n_rows) > 0.5,
            "spent": 3 * minutes + pages + rng.normal(size=n_rows),
            "bought": np.where((minutes - 10) * pages > 0, "yes", "no"),
        }
    )


def write_parquet(folder: Path, frame: pd.DataFrame, n_files: int = 3, group_rows: int = 40) -> Path:
    """The rows in their order over so many files; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    cuts = np.linspace(0, len(frame), n_files + 1).astype(int)
    for number, (start, stop) in enumerate(pairwise(cuts)):
        table = pa.Table.from_pandas(frame.iloc[start:stop], preserve_index=False)
        parquet.write_table(table, folder / f"part{number}.parquet", row_group_size=group_rows)
    return folder
