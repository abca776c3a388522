"""Rows of two ``.npy`` files, mapped into memory a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.array_files import MOST_COLUMNS, map_npy
from chainrule.data.cells import Origin
from chainrule.data.file_stamp import FileStamp
from chainrule.data.inputs import as_inputs
from chainrule.data.stream import RowStream
from chainrule.data.stream_rows import Features, RawRows
from chainrule.data.target import TaskRequest
from chainrule.errors import DataError
from chainrule.named import checked
from chainrule.types import Array

__all__ = ["NpyStream"]

# Rows of a group. They are read in a new order in every epoch, so small groups shuffle well; a group is one access.
GROUP_ROWS = 4096


@checked
class NpyStream(RowStream):
    """The rows of an array in a ``.npy`` file, with their targets in another; neither need fit into memory.

    ``X`` holds numbers (rows, columns), or images (rows, height, width[, channels]), which are flattened. ``y`` holds
    labels or numbers, one a row, or (rows, k) numbers. ``task`` and ``buffer_rows`` mean what they do for a
    :class:`ParquetStream`.

    Nothing is standardised, as with arrays in memory: the network takes the numbers as they are, and learns slowly from
    columns of very different sizes. ``network.add(StandardizationLayer().adapt(stream.sample.X))`` as its first layer
    does for arrays what the preprocessing of a table does for :class:`ParquetStream`.

    Raises ``DataError``, in one sentence that names the file, for files that cannot be read or do not fit together.
    """

    def __init__(
        self, X: str | Path, y: str | Path, *, task: TaskRequest | None = None, buffer_rows: int = 131_072
    ) -> None:
        self._paths = (Path(X), Path(y))
        inputs, labels = (_open(path) for path in self._paths)
        self._stamps = tuple(map(FileStamp.of, self._paths))
        if inputs.ndim < 2:
            raise DataError(f"{self._paths[0].name} holds an array of shape {inputs.shape}; it needs rows and columns.")
        if len(inputs) != len(labels):
            raise DataError(
                f"{self._paths[0].name} has {len(inputs)} rows and {self._paths[1].name} has {len(labels)}; they need "
                "the same number."
            )
        if 0 in inputs.shape:
            raise DataError(f"{self._paths[0].name} has the shape {inputs.shape}; it needs a row and a column.")
        if inputs.size // len(inputs) > MOST_COLUMNS:
            raise DataError(
                f"{self._paths[0].name} has rows of {inputs.size // len(inputs):,} numbers; a stream takes "
                f"{MOST_COLUMNS:,} at most."
            )
        n_rows = len(inputs)
        sizes = [min(GROUP_ROWS, n_rows - start) for start in range(0, n_rows, GROUP_ROWS)]
        super().__init__(self._paths[0].name, sizes, task, buffer_rows)
        self._shape = inputs.shape

    def _read(self, group: int, first: int) -> Iterator[RawRows]:
        start, stop = group * GROUP_ROWS + first, min((group + 1) * GROUP_ROWS, self._shape[0])
        # Mapped again for each group; otherwise the pages that were read would count as memory of this process.
        inputs, labels = (np.array(_open(path)[start:stop]) for path in self._paths)
        self._check_unchanged()
        yield RawRows(inputs.reshape(len(inputs), -1), _as_column(labels), Origin(self.name, start))

    def _read_labels(self, group: int) -> Iterator[tuple[Any, Origin]]:
        start = group * GROUP_ROWS
        labels = np.array(_open(self._paths[1])[start : start + GROUP_ROWS])
        self._check_unchanged()
        yield _as_column(labels), Origin(self.name, start)

    def _new_features(self) -> Features:
        return _Numbers(int(np.prod(self._shape[1:])))

    def _check_unchanged(self) -> None:
        for path, stamp in zip(self._paths, self._stamps, strict=True):
            stamp.check(path)

    def _identity(self) -> str:
        return repr([(array.shape, array.dtype.str) for array in map(_open, self._paths)])


class _Numbers:
    """Numbers that the network takes as they are."""

    def __init__(self, n_columns: int) -> None:
        self._names = tuple(f"x{column + 1}" for column in range(n_columns))

    def add(self, inputs: Array, sampled: Array, origin: Origin) -> None:
        """Learn nothing, but refuse what is no finite number."""
        self.encode(inputs, origin)

    def finish(self) -> None:
        """There is nothing to conclude."""

    def names(self) -> tuple[str, ...]:
        """Return x1, x2, ..."""
        return self._names

    def encode(self, inputs: Array, origin: Origin) -> Array:
        """Return the numbers as floats."""
        if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
            row, column = (int(place) for place in np.argwhere(~np.isfinite(inputs))[0])
            raise DataError(
                f"{origin}X has {inputs[row, column]} in row {origin.row(row)}, column {column + 1}; give finite "
                "numbers."
            )
        return np.asarray(as_inputs(inputs)[0])


def _as_column(labels: Array) -> Array:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _open(path: Path) -> Array:
    """Return a file's array without reading it."""
    array = map_npy(path)
    if array.dtype.kind not in "biufUS" or array.ndim == 0:
        raise DataError(f"{path.name} holds no array of numbers or labels with a row for each example.")
    return array
