"""The source of a run: a data frame, a file, the name of a data set, or Parquet files to stream."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

from chainrule.data import catalog
from chainrule.data.file_content import is_pipe
from chainrule.data.parquet_files import ParquetFile, find_parquet_files, first_and_more
from chainrule.data.table import as_frame
from chainrule.errors import DataError, InvalidInputError, ModelFileError
from chainrule.machine import machine_memory
from chainrule.paths import expand_user, is_file, is_folder

__all__ = [
    "Frame",
    "RunSource",
    "files_to_stream",
    "shown_source",
    "source_checksum",
    "source_name",
    "with_full_paths",
]


@runtime_checkable
class Frame(Protocol):
    """A pandas or polars data frame."""

    columns: Any

    def to_numpy(self) -> Any:
        """Return the cells as an array."""


RunSource: TypeAlias = str | Path | tuple[str | Path, ...] | Frame

_TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".gz", ".bz2", ".xz", ".zip")
# A Parquet file that would need more than this share of the machine's memory is streamed.
SHARE_OF_MEMORY = 0.25


def files_to_stream(source: RunSource | Sequence[str | Path]) -> tuple[Path, ...] | None:
    """Return the files of a source that is streamed; None for a source that is read into memory.

    Several files, and the files of a folder or a pattern, are streamed. A single file is streamed if it would need more
    than a quarter of the machine's memory. A text that is the name of a data set means that data set; a ``Path`` is
    always a file.
    """
    if isinstance(source, Frame) or _is_name(source):
        return None
    if not isinstance(source, str | Path):
        if not isinstance(source, Sequence) or not all(isinstance(path, str | Path) for path in source):
            hint = "; call its collect() first" if hasattr(source, "collect") else ""
            raise InvalidInputError(
                "The data must be a pandas or polars data frame, the path of a file, the name of a data set, or a list "
                f"of Parquet files, not a {type(source).__name__}{hint}."
            )
        for path in source:
            if Path(path).suffix.lower() in (*_TEXT_SUFFIXES, ".npz", ".npy"):
                raise DataError(
                    f"{Path(path).name} is not a Parquet file, and several files must be Parquet files; write the "
                    "table to Parquet files, or to one file."
                )
        return tuple(find_parquet_files(source))
    path = expand_user(source)
    if is_folder(path):
        return tuple(find_parquet_files(path))
    if is_file(path):
        is_parquet = path.suffix.lower() == ".parquet"
        is_large = is_parquet and ParquetFile.open(path).bytes_in_memory > SHARE_OF_MEMORY * machine_memory()
        return (path,) if is_large else None
    return tuple(find_parquet_files(path)) if glob.has_magic(str(path)) and path.suffix == ".parquet" else None


def with_full_paths(source: RunSource) -> RunSource:
    """Return a source with absolute paths. A source that is streamed becomes a tuple of its files."""
    files = files_to_stream(source)
    if files is not None:
        return tuple(path.resolve() for path in files)
    if isinstance(source, (Frame, tuple)) or _is_name(source) or is_pipe(source):
        return source
    path = expand_user(source)
    return path.resolve() if is_file(path) else source


def source_name(source: RunSource) -> str:
    """Return a short name for a run folder: the name of the file, or of the folder of several files."""
    if isinstance(source, Frame):
        return "frame"
    if not isinstance(source, tuple) and is_pipe(source):
        return "piped"
    paths = [Path(path) for path in source] if isinstance(source, tuple) else [Path(source)]
    return paths[0].resolve().parent.name if len(paths) > 1 else paths[0].name.split(".")[0]


def shown_source(source: RunSource) -> str:
    """Return a text that describes the source."""
    if isinstance(source, Frame):
        return "data frame"
    return first_and_more(source) if isinstance(source, tuple) else str(source)


def source_checksum(source: RunSource) -> str | None:
    """Return the SHA-256 of the source file; None for pipes and named data sets.

    For streamed files, it is the checksum of their metadata, which contain the numbers of rows and the ranges of the
    columns. For a data frame, it is the checksum of the names, types and cells of its columns.
    """
    if isinstance(source, Frame):
        return _frame_checksum(source)
    if isinstance(source, tuple):
        try:
            files = [ParquetFile.open(Path(path)) for path in source]
        except DataError as error:
            raise ModelFileError(f"A data file of this run cannot be read: {error}") from error
        return hashlib.sha256(repr([(file.n_rows, file.checksum) for file in files]).encode()).hexdigest()
    path = Path(source)
    if not path.is_absolute() or is_pipe(path):
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFileError(f"The data file '{path}' cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # not a valid name of a file
        raise ModelFileError(f"The data file {str(path)!r} cannot be read: {error}.") from error


def _frame_checksum(frame: Frame) -> str:
    import pandas as pd

    table = as_frame(frame)
    checksum = hashlib.sha256()
    for name in table.columns:
        checksum.update(f"{name}\0{table[name].dtype}\0".encode())
        column = table[name]
        try:
            hashes = pd.util.hash_pandas_object(column, index=False)
        except TypeError:  # unhashable cells such as lists, which only dropped columns contain
            hashes = pd.util.hash_pandas_object(column.map(repr), index=False)
        checksum.update(hashes.to_numpy().tobytes())
    return checksum.hexdigest()


def _is_name(source: RunSource | Sequence[str | Path]) -> TypeGuard[str]:
    return isinstance(source, str) and source in catalog.names()
