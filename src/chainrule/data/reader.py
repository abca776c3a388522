"""Read a table from a file: text with any usual separator, Parquet, or NumPy arrays. Nothing in a file is executed."""

from __future__ import annotations

import glob
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.data.array_files import read_npy, read_npz
from chainrule.data.parquet_files import parquet_errors
from chainrule.data.text_encoding import decode_text
from chainrule.data.text_table import parse_text_table
from chainrule.errors import DataError, nearest_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_parts", "read_table"]

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data")


def read_table(path: str | Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the table in a file, or those of its ``columns``.

    Text (.csv, .tsv, .txt, .data, also with .gz): the separator, decimal comma, header, quotes and encoding are found
    by looking; an empty cell, ``?`` and ``NA`` are missing. A first line with a number in it is data, and the columns
    are then called column_1, column_2, ... Also .parquet, .npy, and .npz with X and y or x_train, y_train, ...
    (the training rows come first, then the test rows).

    Raises ``DataError`` in one sentence naming the file and, where there is one, the line.
    """
    import pandas as pd

    parts = read_parts(path)
    frame = pd.concat(parts.values(), ignore_index=True) if len(parts) > 1 else next(iter(parts.values()))
    if columns is None:
        return frame
    for column in columns:
        if column not in frame.columns:
            raise DataError(
                f"{Path(path).name} has no column {column!r}.{nearest_name(column, map(str, frame.columns))}"
            )
    return frame[list(columns)]


def read_parts(path: str | Path) -> dict[str, pd.DataFrame]:
    """Return the tables in a file by part: ``{"train": frame}``, and ``"test"`` where the file has one (.npz only)."""
    path = Path(path)
    _check_exists(path)
    suffix = (
        path.suffixes[-2].lower() if path.suffix.lower() == ".gz" and len(path.suffixes) > 1 else path.suffix.lower()
    )
    if suffix == ".parquet":
        return {"train": _not_empty(_read_parquet(path), path)}
    if suffix == ".npy":
        return {"train": _not_empty(read_npy(path), path)}
    if suffix == ".npz":
        return {part: _not_empty(frame, path) for part, frame in read_npz(path).items()}
    if suffix not in TEXT_SUFFIXES:
        raise DataError(
            f"{path.name} is not a kind of file that can be read as a table; "
            f"give one of {', '.join(TEXT_SUFFIXES)} (also .gz), .parquet, .npz or .npy."
        )
    return {"train": parse_text_table(_read_text(path), path.name)}


def _check_exists(path: Path) -> None:
    if path.is_dir():
        raise DataError(f"{path} is a folder; give the path of a file in it.")
    if glob.has_magic(str(path)) and not path.exists():
        raise DataError(f"{path} is a pattern; give the path of one file.")
    if not path.exists():
        neighbours = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"There is no file {path}.{nearest_name(path.name, neighbours)}")


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except PermissionError:
        raise DataError(f"{path.name} cannot be read: permission denied.") from None
    except (OSError, EOFError, zlib.error) as problem:
        raise DataError(f"{path.name} is a damaged gzip file ({problem}); download or write it again.") from None
    return decode_text(content, path.name)


def _read_parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    with parquet_errors(path, ValueError), path.open("rb") as file:  # pandas leaves a damaged file open
        return pd.read_parquet(file, engine="pyarrow")


def _not_empty(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"{path.name} holds a table without rows or columns.")
    return frame
