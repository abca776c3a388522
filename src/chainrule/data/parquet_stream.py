"""Stream the rows of Parquet files, which need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.cells import Origin
from chainrule.data.parquet_files import ParquetFile, find_parquet_files, name_of_files
from chainrule.data.parts import is_missing_target, listing
from chainrule.data.stream import RowStream
from chainrule.data.stream_rows import Features, RawRows, row_numbers, rows_in_range
from chainrule.data.summaries import ColumnSummary
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import TaskRequest
from chainrule.data.target_summary import provisional_target
from chainrule.data.texts import normal_text
from chainrule.errors import DataError, InvalidInputError, nearest_name
from chainrule.named import checked
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ParquetStream"]

NO_ROWS: IntArray = np.empty(0, np.int64)
# The number of distinct texts of a column whose counts are kept during the pass over the rows.
MAX_TEXTS = 2**16


@checked
class ParquetStream(RowStream):
    """A stream of the rows of one or more Parquet files, which need not fit into memory.

    The files are read in row groups, and only the used columns are read. The encoding of the columns is determined in
    one pass over the training rows, as by :class:`TablePreprocessor` for a table in memory, except that medians are
    those of a random sample of 131,072 rows.

    Parameters
    ----------
    paths
        A file, a folder, a pattern such as ``"big/*.parquet"``, or a list of these. All files must have the columns of
        the first file, with the same kinds of values.
    target
        The column to predict.
    columns, drop
        The columns to use, by default all; and columns to drop.
    task
        The task, by default inferred from the values of the target.
    preprocessor
        A :class:`TablePreprocessor` with options for the columns. A fitted preprocessor is not fitted again.
    buffer_rows
        The maximum number of rows in memory, which are shuffled together; rounded down to whole batches.
    drop_missing_target
        Whether to drop rows whose target is missing. Otherwise such rows are an error. The column is read once to find
        them.

    Raises
    ------
    DataError
        If files cannot be read or do not fit together.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        target: str,
        *,
        columns: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        task: TaskRequest | None = None,
        preprocessor: TablePreprocessor | None = None,
        buffer_rows: int = 131_072,
        drop_missing_target: bool = False,
    ) -> None:
        files = [ParquetFile.open(path) for path in find_parquet_files(paths)]
        target = self.target_name = normal_text(target)
        self._options = _with_drop(preprocessor or TablePreprocessor(), drop, files)
        self._columns = _used_columns(files[0], target, columns, self._options)
        choices = self._options.choices()
        self._missing_words = choices.missing_words
        _check_columns(files, [target, *self._columns], drop=[*choices.drop, *drop], uses_all=columns is None)
        self._files = files
        self._groups = [(file, group) for file in files for group in range(len(file.group_rows))]
        name = name_of_files([file.path for file in files])
        self._missing = self._find_missing() if drop_missing_target else {}
        sizes = [file.group_rows[number] for file, number in self._groups]
        for group, rows in self._missing.items():
            sizes[group] -= len(rows)
        super().__init__(name, sizes, task, buffer_rows)
        if self.n_rows == 0:
            raise DataError(f"{name} contains a table without rows.")

    @property
    def table(self) -> TablePreprocessor:
        """The fitted preprocessor of the columns."""
        features = self._content.features
        assert isinstance(features, _Columns)
        return features.preprocessor

    @property
    def n_columns(self) -> int:
        """The number of columns without the target, including dropped columns."""
        return len(self._columns)

    def _find_missing(self) -> dict[int, IntArray]:
        """Return the rows without a target of each group that has such rows."""
        missing: dict[int, IntArray] = {}
        for group, (file, number) in enumerate(self._groups):
            labels = (frame[self.target_name] for frame, _ in file.read(number, [self.target_name]))
            masks = [is_missing_target(chunk, provisional_target(self._missing_words)) for chunk in labels]
            rows = np.flatnonzero(np.concatenate(masks)) if masks else NO_ROWS
            if len(rows):
                missing[group] = rows
        return missing

    @property
    def n_without_target(self) -> int:
        """The number of rows that are dropped because their target is missing."""
        return sum(map(len, self._missing.values()))

    def _read(self, group: int, first: int) -> Iterator[RawRows]:
        read = [name for name in self._columns if name not in self._options.choices().drop]
        for frame, origin in self._read_rows(group, [*read, self.target_name], first):
            yield RawRows(frame.drop(columns=self.target_name), frame[self.target_name], origin)

    def _read_labels(self, group: int) -> Iterator[tuple[Any, Origin]]:
        return self._read_column(group, self.target_name)

    def _read_column(self, group: int, name: str) -> Iterator[tuple[Any, Origin]]:
        file, _ = self._groups[group]
        if name not in file.kinds:
            raise DataError(f"{file.path.name} has no column {name!r}.{nearest_name(name, file.kinds)}")
        for frame, origin in self._read_rows(group, [name]):
            yield frame[name], origin

    def _read_rows(self, group: int, columns: Sequence[str], first: int = 0) -> Iterator[tuple[pd.DataFrame, Origin]]:
        """Yield the rows of a group from ``first`` on, without those whose target is missing."""
        file, number = self._groups[group]
        missing = self._missing.get(group, NO_ROWS)
        start = int(row_numbers(np.array([first]), missing)[0])
        for frame, origin in file.read(number, columns, start):
            missing_here = rows_in_range(missing, start, len(frame))
            rows = np.setdiff1d(np.arange(len(frame)), missing_here, assume_unique=True)
            start += len(frame)
            if len(rows) == len(frame):
                yield frame, origin
            elif len(rows):
                yield frame.iloc[rows], origin.take(rows)

    def _new_features(self) -> Features:
        return _Columns(self._options, self._columns)

    def _identity(self) -> str:
        return repr(([(file.path.name, file.checksum) for file in self._files], self._columns, self.target_name))


class _Columns:
    """The encoding of the columns of a table by a preprocessor."""

    def __init__(self, options: TablePreprocessor, names: Sequence[str]) -> None:
        self.preprocessor = TablePreprocessor.from_dict(options.to_dict())  # a copy of the user's preprocessor
        self._summaries: dict[str, ColumnSummary | None] = {}
        if not self.preprocessor.columns:
            self._summaries = self.preprocessor.new_summaries(names, MAX_TEXTS)

    def add(self, inputs: Any, sampled: Array, origin: Origin) -> None:
        """Add training rows to the summaries of the columns."""
        for name, summary in self._summaries.items():
            if summary is not None:
                summary.add(inputs[name], sampled, origin)

    def finish(self) -> None:
        """Fit the preprocessor to the summaries, unless it was fitted before."""
        if self._summaries:
            self.preprocessor.fit_summaries(self._summaries)
            self._summaries = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return self.preprocessor.feature_names

    def encode(self, inputs: Any, origin: Origin) -> Array:
        """Return the encoded rows."""
        return self.preprocessor.encode(inputs, origin)


def _with_drop(preprocessor: TablePreprocessor, drop: Sequence[str], files: Sequence[ParquetFile]) -> TablePreprocessor:
    """Return a copy of the preprocessor that also drops these columns, as far as the first file has them."""
    known = [name for file in files for name in file.kinds]
    additional = TablePreprocessor(drop=drop)
    additional.check_names(known)
    values = preprocessor.to_dict()
    new = [name for name in additional.choices().drop if name in files[0].kinds and name not in values["drop"]]
    return TablePreprocessor.from_dict({**values, "drop": [*values["drop"], *new]})


def _used_columns(
    file: ParquetFile, target: str, columns: Sequence[str] | None, options: TablePreprocessor
) -> list[str]:
    names = list(file.kinds)
    if target not in names:
        raise DataError(
            f"{file.path.name} has no column {target!r} to predict; it has {listing(names)}."
            f"{nearest_name(target, names)}"
        )
    if isinstance(columns, str):
        raise InvalidInputError(f"columns must be a list of column names, not one text; write columns=[{columns!r}].")
    for index, name in enumerate(columns or ()):
        if normal_text(name) not in names:
            raise DataError(f"{file.path.name} has no column {name!r}.{nearest_name(name, names)}")
        if name in list(columns or ())[:index]:
            raise InvalidInputError(f"columns names the column {name!r} twice; name it once.")
    used = [normal_text(name) for name in (names if columns is None else columns) if normal_text(name) != target]
    if not used:
        raise DataError(
            f"{file.path.name} has no column besides the target {target!r}; a model needs at least one input column."
        )
    options.check_names(used, target=target)
    return used


def _check_columns(files: Sequence[ParquetFile], used: Sequence[str], drop: Sequence[str], uses_all: bool) -> None:
    """Raise ``DataError`` unless all files have the columns of the first file, with the same kinds of values."""
    first = files[0]
    kinds = dict(first.kinds)
    for file in files[1:]:
        for name in used:
            if name in drop:
                continue
            kind = file.kinds.get(name)
            if kind is None:
                raise DataError(
                    f"{file.path.name} has no column {name!r}, but {first.path.name} has one; give files of one table."
                )
            if kinds[name] == "nothing":
                kinds[name] = kind
            if kind not in (kinds[name], "nothing"):
                raise DataError(
                    f"{file.path.name} has the type {kind} in the column {name!r}, but the previous files have "
                    f"{kinds[name]}; write all files with the same types."
                )
        additional = [name for name in file.kinds if name not in first.kinds and name not in drop]
        if additional and uses_all:
            raise DataError(
                f"{file.path.name} has a column {additional[0]!r}, but {first.path.name} has none; drop it, or list "
                "the columns to use in columns=."
            )
