"""Stream the rows of two ``.npy`` files, which are memory-mapped in slices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.array_files import MAX_COLUMNS, map_npy
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

# The number of rows per group. Groups are read in a new order in every epoch; small groups are shuffled better.
GROUP_ROWS = 4096


@checked
class NpyStream(RowStream):
    """A stream of the rows of a ``.npy`` file, with the targets in another file. The files need not fit into memory.

    ``X`` contains numbers (rows, columns), or images (rows, height, width[, channels]), which are flattened. ``y``
    contains labels or numbers, one per row, or numbers (rows, k). For ``task`` and ``buffer_rows`` see
    :class:`ParquetStream`.

    The columns are not standardised. Training is slow if their scales are very different. To standardise them, make
    ``StandardizationLayer().adapt(stream.sample.X)`` the first layer of the network.

    Raises ``DataError`` for files that cannot be read or do not fit together.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> np.save(folder / "X.npy", np.arange(20.0).reshape(10, 2))
    >>> np.save(folder / "y.npy", np.arange(10) % 2)
    >>> len(NpyStream(folder / "X.npy", folder / "y.npy"))
    10
    """

    def __init__(
        self, X: str | Path, y: str | Path, *, task: TaskRequest | None = None, buffer_rows: int = 131_072
    ) -> None:
        self._paths = (Path(X), Path(y))
        inputs, labels = (_open(path) for path in self._paths)
        self._stamps = tuple(map(FileStamp.of, self._paths))
        if inputs.ndim < 2:
            raise DataError(f"{self._paths[0].name} has an array of shape {inputs.shape}; it needs rows and columns.")
        if len(inputs) != len(labels):
            raise DataError(
                f"{self._paths[0].name} has {len(inputs)} rows and {self._paths[1].name} has {len(labels)}; they need "
                "the same number."
            )
        if 0 in inputs.shape:
            raise DataError(
                f"{self._paths[0].name} has an array of shape {inputs.shape}; it needs at least one row and one column."
            )
        if inputs.size // len(inputs) > MAX_COLUMNS:
            raise DataError(
                f"{self._paths[0].name} has rows of {inputs.size // len(inputs):,} numbers; the maximum for streams is "
                f"{MAX_COLUMNS:,}."
            )
        n_rows = len(inputs)
        sizes = [min(GROUP_ROWS, n_rows - start) for start in range(0, n_rows, GROUP_ROWS)]
        super().__init__(self._paths[0].name, sizes, task, buffer_rows)
        self._shape = inputs.shape

    def _read(self, group: int, first: int) -> Iterator[RawRows]:
        start, stop = group * GROUP_ROWS + first, min((group + 1) * GROUP_ROWS, self._shape[0])
        # Each group is mapped again; otherwise all pages that were read would count as memory of this process.
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
    """An encoding of numbers that does not change them."""

    def __init__(self, n_columns: int) -> None:
        self._names = tuple(f"x{column + 1}" for column in range(n_columns))

    def add(self, inputs: Array, sampled: Array, origin: Origin) -> None:
        """Raise ``DataError`` for numbers that are not finite."""
        self.encode(inputs, origin)

    def finish(self) -> None:
        """Do nothing."""

    def names(self) -> tuple[str, ...]:
        """Return the names x1, x2, ..."""
        return self._names

    def encode(self, inputs: Array, origin: Origin) -> Array:
        """Return the numbers as floats."""
        if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
            row, column = (int(index) for index in np.argwhere(~np.isfinite(inputs))[0])
            raise DataError(
                f"{origin}X has {inputs[row, column]} in row {origin.row(row)}, column {column + 1}; give finite "
                "numbers."
            )
        return np.asarray(as_inputs(inputs)[0])


def _as_column(labels: Array) -> Array:
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _open(path: Path) -> Array:
    """Return the memory-mapped array of a file."""
    array = map_npy(path)
    if array.dtype.kind not in "biufUS" or array.ndim == 0:
        raise DataError(
            f"{path.name} contains an array of {array.dtype} and shape {array.shape}; it must contain numbers or "
            "labels, with one row per example."
        )
    return array
