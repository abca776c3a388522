"""Rows of Parquet files that together need not fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.cells import Origin
from chainrule.data.parquet_files import ParquetFile, find_parquet_files, name_of_files
from chainrule.data.parts import is_missing_target, listing
from chainrule.data.stream import RowStream
from chainrule.data.stream_rows import Features, RawRows, past, within
from chainrule.data.summaries import ColumnSummary
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import TaskRequest
from chainrule.data.target_summary import not_learnt
from chainrule.data.texts import normal_text
from chainrule.errors import DataError, InvalidInputError, nearest_name
from chainrule.named import checked
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ParquetStream"]

NO_ROWS: IntArray = np.empty(0, np.int64)
# Counts of so many different words of a column are kept in the pass over the rows.
MOST_WORDS = 2**16


@checked
class ParquetStream(RowStream):
    """The rows of one or more Parquet files, with the column ``target`` to predict; together they may be any size.

    The files are read in row groups, and of them the columns that are used. How columns become numbers is learnt in
    one pass, as :class:`TablePreprocessor` learns it from a table in memory, but that medians are those of 131,072 rows
    drawn from all.

    Parameters
    ----------
    paths
        A file, a folder, a pattern such as ``"big/*.parquet"``, or a list of these. The first file says which columns
        there are; the others have them too, with the same kinds of values.
    target
        The column to predict.
    columns, drop
        The columns to learn from, all if not said; and columns to leave out.
    task
        What kind of prediction it is, if the values of the target would suggest another.
    preprocessor
        A :class:`TablePreprocessor` with options for the columns. One that has learnt already is used as it is.
    buffer_rows
        Rows that are in memory at a time, and shuffled; a whole number of batches of them.
    drop_missing_target
        Whether to drop rows whose target is missing. Otherwise such rows are an error. The column is read
        once to find them.

    Raises
    ------
    DataError
        In one sentence that names the file, for files that cannot be read or do not fit together.
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
        self._missing_words = self._options.missing_words
        _compare(files, [target, *self._columns], drop=[*self._options.drop, *drop], takes_all=columns is None)
        self._files = files
        self._groups = [(file, group) for file in files for group in range(len(file.group_rows))]
        name = name_of_files([file.path for file in files])
        self._missing = self._find_missing() if drop_missing_target else {}
        sizes = [file.group_rows[number] for file, number in self._groups]
        for group, places in self._missing.items():
            sizes[group] -= len(places)
        super().__init__(name, sizes, task, buffer_rows)
        if self.n_rows == 0:
            raise DataError(f"{name} holds a table without rows.")

    @property
    def table(self) -> TablePreprocessor:
        """How columns become numbers."""
        features = self._known.features
        assert isinstance(features, _Columns)
        return features.preprocessor

    @property
    def n_columns(self) -> int:
        """The number of columns to learn from, those that are left out among them."""
        return len(self._columns)

    def _find_missing(self) -> dict[int, IntArray]:
        """Return the places of the rows without a target in each group that has some."""
        found: dict[int, IntArray] = {}
        for group, (file, number) in enumerate(self._groups):
            labels = (frame[self.target_name] for frame, _ in file.read(number, [self.target_name]))
            masks = [is_missing_target(piece, not_learnt(self._missing_words)) for piece in labels]
            places = np.flatnonzero(np.concatenate(masks)) if masks else NO_ROWS
            if len(places):
                found[group] = places
        return found

    @property
    def n_without_target(self) -> int:
        """The number of rows that are left out because their target is missing."""
        return sum(map(len, self._missing.values()))

    def _read(self, group: int, first: int) -> Iterator[RawRows]:
        read = [name for name in self._columns if name not in self._options.drop]
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
        start = int(past(np.array([first]), missing)[0])
        for frame, origin in file.read(number, columns, start):
            places = np.setdiff1d(np.arange(len(frame)), within(missing, start, len(frame)), assume_unique=True)
            start += len(frame)
            if len(places) == len(frame):
                yield frame, origin
            elif len(places):
                yield frame.iloc[places], origin.take(places)

    def _new_features(self) -> Features:
        return _Columns(self._options, self._columns)

    def _identity(self) -> str:
        return repr(([(file.path.name, file.checksum) for file in self._files], self._columns, self.target_name))


class _Columns:
    """The columns of a table, by way of a preprocessor."""

    def __init__(self, options: TablePreprocessor, names: Sequence[str]) -> None:
        self.preprocessor = TablePreprocessor.from_dict(options.to_dict())  # that of the user stays as it is
        self._summaries: dict[str, ColumnSummary | None] = {}
        if not self.preprocessor.columns:
            self._summaries = self.preprocessor.new_summaries(names, MOST_WORDS)

    def add(self, inputs: Any, sampled: Array, origin: Origin) -> None:
        """Take in training rows."""
        for name, summary in self._summaries.items():
            if summary is not None:
                summary.add(inputs[name], sampled, origin)

    def finish(self) -> None:
        """Learn from what was taken in, unless the preprocessor knew before."""
        if self._summaries:
            self.preprocessor.fit_summaries(self._summaries)
            self._summaries = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return self.preprocessor.feature_names

    def encode(self, inputs: Any, origin: Origin) -> Array:
        """Return some rows as a matrix."""
        return self.preprocessor.transform(inputs, origin)


def _with_drop(preprocessor: TablePreprocessor, drop: Sequence[str], files: Sequence[ParquetFile]) -> TablePreprocessor:
    """Return a preprocessor like the given one that leaves out these columns, too, where the first file has them."""
    known = [name for file in files for name in file.kinds]
    more = TablePreprocessor(drop=drop)
    more.check_names(known)
    given = preprocessor.to_dict()
    new = [name for name in more.drop if name in files[0].kinds and name not in given["drop"]]
    return TablePreprocessor.from_dict({**given, "drop": [*given["drop"], *new]})


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
        raise InvalidInputError(f"columns is a list of column names, not one text; write columns=[{columns!r}].")
    for place, name in enumerate(columns or ()):
        if normal_text(name) not in names:
            raise DataError(f"{file.path.name} has no column {name!r}.{nearest_name(name, names)}")
        if name in list(columns or ())[:place]:
            raise InvalidInputError(f"columns names the column {name!r} twice; name it once.")
    used = [normal_text(name) for name in (names if columns is None else columns) if normal_text(name) != target]
    if not used:
        raise DataError(
            f"{file.path.name} has no column besides the target {target!r}; there is nothing to learn from."
        )
    options.check_names(used, target=target)
    return used


def _compare(files: Sequence[ParquetFile], used: Sequence[str], drop: Sequence[str], takes_all: bool) -> None:
    """Refuse files that do not have the columns of the first, with values of the same kinds."""
    first = files[0]
    kinds = dict(first.kinds)
    for file in files[1:]:
        for name in used:
            if name in drop:
                continue
            found = file.kinds.get(name)
            if found is None:
                raise DataError(
                    f"{file.path.name} has no column {name!r}, and {first.path.name} has one; give files of one table."
                )
            if kinds[name] == "nothing":
                kinds[name] = found
            if found not in (kinds[name], "nothing"):
                raise DataError(
                    f"{file.path.name} holds a {found} in the column {name!r}, and the files before hold a "
                    f"{kinds[name]}; write all files with the same types."
                )
        more = [name for name in file.kinds if name not in first.kinds and name not in drop]
        if more and takes_all:
            raise DataError(
                f"{file.path.name} has a column {more[0]!r}, and {first.path.name} has none; leave it out, or say with "
                "columns= which ones to use."
            )
