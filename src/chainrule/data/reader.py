"""Read a table from a text file, a Parquet file or a NumPy file. No code in a file is executed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chainrule.data.array_files import read_npy, read_npz
from chainrule.data.file_content import (
    STANDARD_INPUT,
    check_can_be_read,
    is_pipe,
    name_of_content,
    opened,
    read_content,
)
from chainrule.data.parquet_files import read_whole_parquet
from chainrule.data.text_encoding import decode_text
from chainrule.data.text_table import parse_text_table
from chainrule.data.unpacking import unpack
from chainrule.errors import DataError, nearest_name
from chainrule.named import checked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_parts", "read_table"]

# The first bytes of common files that are not text tables.
_OTHER_KINDS = {
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "a NumPy array",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook or another old Office document",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"SQLite format 3": "an SQLite database",
    b"\x89HDF": "an HDF5 file",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF document",
    b"@relation": "an ARFF file",
    b"<!doctype": "an HTML page",
    b"<html": "an HTML page",
    b"<?xml": "an XML document",
    b'{"': "JSON",
    b'[{"': "JSON",
}


@checked
def read_table(path: str | Path, *, columns: Sequence[str] | None = None) -> pd.DataFrame:
    r"""Return the table in a file, or some of its columns.

    The file contains text, Parquet or NumPy arrays: .npy, or .npz with X and y or x_train, y_train, ... (the test rows
    follow the training rows). ``"-"`` is the standard input.

    A text file may be compressed (gzip, bzip2, xz, or zip with one table), and may have any name. The encoding and the
    separator are detected. If the first line contains values instead of names, the columns are named column_1,
    column_2, ... Every cell is returned as its text in the file, in a column of dtype object; an empty cell is ``""``.
    :class:`TablePreprocessor` determines the types of the columns, and its ``read`` returns numbers, dates and
    categories. Columns of Parquet and NumPy files keep their types.

    Raises ``DataError`` with the file and, if possible, the line.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "houses.csv"
    >>> path.write_text("area,town\n50,Porto\n70,Faro\n")
    27
    >>> read_table(path)["town"].tolist()
    ['Porto', 'Faro']
    """
    import pandas as pd

    parts = read_parts(path)
    frame = pd.concat(parts.values(), ignore_index=True) if len(parts) > 1 else next(iter(parts.values()))
    if columns is None:
        return frame
    for column in columns:
        if column not in frame.columns:
            raise DataError(
                f"{name_of_content(path)} has no column {column!r}.{nearest_name(column, map(str, frame.columns))}"
            )
    return frame[list(columns)]


def read_parts(path: str | Path) -> dict[str, pd.DataFrame]:
    """Return the training set ``"train"`` of a file, and the test set ``"test"`` of a .npz file that has one."""
    check_can_be_read(path)
    kind = _kind_of_file(path)
    if kind == "text":
        return {"train": _read_text(path)}
    path = Path(path)
    if kind == "parquet":
        return {"train": _not_empty(read_whole_parquet(path), path)}
    return read_npz(path) if kind == "npz" else {"train": read_npy(path)}


def _kind_of_file(path: str | Path) -> str:
    """Return "parquet", "npy", "npz" or "text", according to the name of the file or its first bytes."""
    if str(path) == STANDARD_INPUT or is_pipe(path):
        return "text"
    suffix = Path(path).suffix.lower().removeprefix(".")
    if suffix in ("parquet", "npy", "npz"):
        return suffix
    with opened(path) as file:
        first = file.read(6)
    return "parquet" if first.startswith(b"PAR1") else "npy" if first == b"\x93NUMPY" else "text"


def _read_text(source: str | Path) -> pd.DataFrame:
    name = name_of_content(source)
    content = unpack(read_content(source), name)
    start = content[:100].lower()
    for first, kind in _OTHER_KINDS.items():
        if start.startswith(first.lower()):
            raise DataError(f"{name} is {kind}, not a text table; save the table as CSV or Parquet, and give its path.")
    return parse_text_table(decode_text(content, name), name)


def _not_empty(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise DataError(f"{path.name} contains a table without rows or columns.")
    return frame
