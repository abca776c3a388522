"""Raw rows of a stream, the protocol of their encoding, and calculations with row numbers."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple, Protocol

import numpy as np

from chainrule.data.cells import Origin
from chainrule.data.splits import count_of
from chainrule.errors import InvalidInputError
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, IntArray

__all__ = ["Features", "RawRows", "row_numbers", "rows_in_range", "sample_rows", "size_of"]

MAX_HELD_OUT = 100_000  # the maximum number of rows in the validation set and in the test set


class RawRows(NamedTuple):
    """Rows of a file that are not encoded: inputs in a frame or a matrix, labels, and their origin."""

    inputs: Any
    labels: Any
    origin: Origin

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: IntArray) -> RawRows:
        """Return a selection of the rows."""
        inputs, labels = (part.iloc[rows] if hasattr(part, "iloc") else part[rows] for part in self[:2])
        return RawRows(inputs, labels, self.origin.take(rows))

    def checksum(self, before: int) -> int:
        """Return the checksum of arrays, which continues ``before``. Frames are identified by the metadata of files."""
        if not isinstance(self.inputs, np.ndarray):
            return before
        return zlib.crc32(self.labels.tobytes(), zlib.crc32(self.inputs.tobytes(), before))


class Features(Protocol):
    """An encoding of raw inputs that is fitted to the training rows in chunks."""

    def add(self, inputs: Any, sampled: Array, origin: Origin) -> None:
        """Add training rows. ``sampled`` is a mask of the rows that are used for medians."""

    def finish(self) -> None:
        """Fit the encoding after all training rows were added."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns of :meth:`encode`."""

    def encode(self, inputs: Any, origin: Origin) -> Array:
        """Return the encoded rows as a matrix."""


def size_of(name: str, size: float, n_rows: int) -> int:
    """Return the number of rows of a validation or test set. Raises ``InvalidInputError`` if it is too large."""
    if size == 0:
        return 0
    n = count_of(size, n_rows, name, "rows")
    if n > MAX_HELD_OUT and isinstance(size, int | np.integer):
        raise InvalidInputError(f"{name} is {n:,}; at most {MAX_HELD_OUT:,} rows of a stream are held out in memory.")
    return min(n, MAX_HELD_OUT)


def sample_rows(n_rows: int, max_rows: int) -> IntArray:
    """Return sorted numbers of at most ``max_rows`` rows, one drawn at random from each of ``max_rows`` equal parts."""
    if n_rows <= max_rows:
        return np.arange(n_rows)
    edges = np.arange(max_rows + 1) * n_rows // max_rows
    drawn = random_stream(0, Stream.SAMPLE).random(max_rows)
    return edges[:-1] + (drawn * np.diff(edges)).astype(np.int64)


def row_numbers(indices: IntArray, held_out: IntArray) -> IntArray:
    """Return the row numbers of rows that are given by their indices among the rows that are not held out."""
    return indices + np.searchsorted(held_out - np.arange(len(held_out)), indices, side="right")


def rows_in_range(numbers: IntArray, start: int, n_rows: int) -> IntArray:
    """Return those of the sorted row numbers that are in a chunk of ``n_rows`` rows, relative to its ``start``."""
    return numbers[slice(*np.searchsorted(numbers, [start, start + n_rows]))] - start
