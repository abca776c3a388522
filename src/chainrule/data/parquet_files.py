"""Find Parquet files, read their metadata, and read their row groups in chunks of bounded size."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chainrule.data.cells import Origin
from chainrule.data.file_stamp import FileStamp
from chainrule.data.texts import normal_text
from chainrule.errors import DataError, InvalidInputError, missing_packages
from chainrule.json_text import parse_json
from chainrule.paths import cannot_be_read, exists, expand_user, is_folder, nearest_path

if TYPE_CHECKING:
    import pandas as pd

_PATH_ERRORS = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)

__all__ = ["ParquetFile", "find_parquet_files", "first_and_more", "name_of_files", "read_frames", "read_whole_parquet"]

# The number of rows per chunk. A row group may have a million rows.
CHUNK_ROWS = 2**15
# The approximate number of bytes that a cell of text needs in memory; a number needs 8.
TEXT_BYTES = 64


class ParquetFile(NamedTuple):
    """The metadata of a Parquet file, which are stored at its end.

    ``kinds`` contains the kind of the values (number, date, text, ...) of each column by its name in normal form, and
    ``names`` the names in the file. ``checksum`` is the checksum of the metadata, and ``stamp`` the size and time of
    the file.
    """

    path: Path
    kinds: dict[str, str]
    names: dict[str, str]
    group_rows: tuple[int, ...]
    checksum: int
    stamp: FileStamp

    @classmethod
    def open(cls, path: Path) -> ParquetFile:
        """Read the metadata of a file. Raises ``DataError`` if it is damaged or not a Parquet file."""
        with _opened(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
            index = _index_columns(schema, path)
            fields = [(normal_text(field.name), field) for field in schema if field.name not in index]
            kinds = {name: _kind(field.type) for name, field in fields}
            if len(kinds) < len(fields):
                all_names = [name for name, _ in fields]
                repeated = next(name for name in all_names if all_names.count(name) > 1)
                raise DataError(f"{path.name} has more than one column named {repeated!r}; rename one.")
            names = {name: field.name for name, field in fields}
            group_rows = tuple(metadata.row_group(number).num_rows for number in range(metadata.num_row_groups))
            return cls(path, kinds, names, group_rows, _metadata_checksum(path, metadata), FileStamp.of(path))

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return sum(self.group_rows)

    @property
    def bytes_in_memory(self) -> int:
        """The approximate number of bytes that the file needs in memory as a frame."""
        return self.n_rows * sum(TEXT_BYTES if kind == "text" else 8 for kind in self.kinds.values())

    def read(self, group: int, columns: Sequence[str], first: int = 0) -> Iterator[tuple[pd.DataFrame, Origin]]:
        """Yield the rows of a group from ``first`` on in chunks, with their origins.

        Raises ``DataError`` if the file has changed since it was opened.
        """
        import pyarrow as pa

        start = sum(self.group_rows[:group])
        done = 0
        with _opened(self.path) as file:
            self.stamp.check(self.path)
            if _metadata_checksum(self.path, file.metadata) != self.checksum:
                raise DataError(f"{self.path.name} has changed since it was opened; open it again.")
            read = [self.names[name] for name in columns]
            for batch in file.iter_batches(CHUNK_ROWS, row_groups=[group], columns=read, use_threads=False):
                skipped, done = max(first - done, 0), done + len(batch)
                if skipped < len(batch):
                    # The metadata of pandas, such as its index, apply to the whole frame.
                    table = pa.Table.from_batches([batch.slice(skipped)]).replace_schema_metadata(None)
                    yield (
                        _frame_of(table.select(read)).set_axis(list(columns), axis=1),
                        Origin(self.path.name, start + done - len(batch) + skipped),
                    )
            self.stamp.check(self.path)


def find_parquet_files(paths: str | Path | Sequence[str | Path]) -> list[Path]:
    """Return the files of paths, folders and patterns such as ``big/*.parquet``.

    A folder means all ``.parquet`` files in it. The files of a folder or a pattern are sorted by name.
    """
    sources = [paths] if isinstance(paths, str | Path) else list(paths)
    if not sources:
        raise InvalidInputError("No Parquet file was given.")
    files = [file for path in sources for file in _files_at(expand_user(path))]
    seen = set[Path]()
    for file in files:
        if file.resolve() in seen:
            raise InvalidInputError(f"{file} is given twice; give every file once.")
        seen.add(file.resolve())
    return files


def _files_at(path: Path) -> list[Path]:
    if is_folder(path):
        try:
            files = sorted(entry for entry in path.iterdir() if entry.suffix == ".parquet")
        except OSError as problem:
            raise DataError(cannot_be_read(path, problem)) from None
        if not files:
            raise DataError(f"The folder {path} contains no .parquet file.")
        return files
    if not exists(path) and glob.has_magic(str(path)):
        files = [Path(name) for name in sorted(glob.glob(str(path)))]  # noqa: PTH207  # the pattern may be absolute
        if not files:
            raise DataError(f"No file matches the pattern {path}.")
        return files
    if not exists(path):
        raise DataError(f"There is no file {path}.{nearest_path(path)}")
    return [path]


def name_of_files(files: Sequence[Path]) -> str:
    """Return a name for the data in some files."""
    return first_and_more([file.name for file in files])


def first_and_more(names: Sequence[object]) -> str:
    """Return the first name and the number of the other names.

    >>> first_and_more(["a.parquet", "b.parquet", "c.parquet"])
    'a.parquet and 2 more'
    """
    return str(names[0]) if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"


def read_frames(path: Path) -> Iterator[tuple[pd.DataFrame, Origin]]:
    """Yield all rows of a file in chunks, with their origins."""
    file = ParquetFile.open(path)
    for group in range(len(file.group_rows)):
        yield from file.read(group, list(file.kinds))


def read_whole_parquet(path: Path) -> pd.DataFrame:
    """Return all rows of a file, with the same types of columns as :meth:`ParquetFile.read`."""
    file = ParquetFile.open(path)
    with _opened(path) as opened:
        read = list(file.names.values())
        table = opened.read(columns=read, use_threads=False).replace_schema_metadata(None)
        return _frame_of(table.select(read)).set_axis(list(file.names), axis=1)


def _index_columns(schema: Any, path: Path) -> list[str]:
    """Return the columns that contain the index of the frame, according to the metadata written by pandas."""
    text = (schema.metadata or {}).get(b"pandas")
    if text is None:
        return []
    try:
        metadata = parse_json(text)
        index = metadata.get("index_columns", []) if isinstance(metadata, dict) else None
        if not isinstance(index, list):
            raise ValueError("its list of index columns is not a list of names")
    except ValueError as problem:
        raise DataError(
            f"{path.name} has damaged pandas metadata ({problem}); write the file again, or remove its metadata."
        ) from None
    return [name for name in index if isinstance(name, str)]  # a RangeIndex has no column


def _metadata_checksum(path: Path, metadata: Any) -> int:
    with path.open("rb") as raw:
        raw.seek(-metadata.serialized_size - 8, 2)  # the metadata, followed by their length and a magic number
        return zlib.crc32(raw.read())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with _parquet_errors(path):
        from pyarrow import parquet

        # With a buffer, a column chunk is read in pieces instead of as a whole.
        with parquet.ParquetFile(path, buffer_size=2**18, pre_buffer=False) as file:
            yield file


@contextlib.contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    """Raise ``DataError`` for errors of pyarrow, and ``InvalidInputError`` if pyarrow is not installed."""
    try:
        import pyarrow as pa
    except ImportError:
        raise missing_packages("Reading Parquet", "parquet") from None
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as problem:
        if isinstance(problem, DataError):
            raise
        if isinstance(problem, OSError) and problem.errno in _PATH_ERRORS:  # not an error of the content
            raise DataError(cannot_be_read(path, OSError(problem.errno, os.strerror(problem.errno)))) from None
        first_line = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise DataError(f"{path.name} cannot be read as a Parquet file ({first_line}).") from None


def _kind(type_: Any) -> str:
    from pyarrow import types

    if types.is_null(type_):
        return "nothing"
    if types.is_dictionary(type_):
        return "category"
    if types.is_temporal(type_) and not types.is_duration(type_):
        return "date"
    if types.is_boolean(type_) or types.is_integer(type_) or types.is_floating(type_) or types.is_duration(type_):
        return "number"
    return "text"


def _frame_of(table: Any) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    # Nullable types, because otherwise columns with missing cells become floats, which round integers above 2^53.
    types: dict[Any, Any] = {pa.string(): pd.StringDtype("pyarrow"), pa.large_string(): pd.StringDtype("pyarrow")}
    types |= {pa.bool_(): pd.BooleanDtype(), pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}
    frame: pd.DataFrame = table.to_pandas(types_mapper=types.get, date_as_object=False, use_threads=False)
    return frame
