"""What streams of every kind are made of: raw rows, the way from them to numbers, and rows counted by their numbers."""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple, Protocol

import numpy as np

from chainrule.data.cells import Origin
from chainrule.data.splits import count_of
from chainrule.errors import InvalidInputError
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, IntArray

__all__ = ["Features", "RawRows", "past", "size_of", "spread", "within"]

MOST_KEPT_ASIDE = 100_000  # rows of each part that is held in memory


class RawRows(NamedTuple):
    """Some rows as they stand in a file: a frame or a matrix, and the labels; ``origin`` says where they come from."""

    inputs: Any
    labels: Any
    origin: Origin

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: IntArray) -> RawRows:
        """Return some of the rows, by their places among these."""
        inputs, labels = (part.iloc[rows] if hasattr(part, "iloc") else part[rows] for part in self[:2])
        return RawRows(inputs, labels, self.origin.take(rows))

    def checksum(self, before: int) -> int:
        """Return the checksum of the rows of arrays, these and all before; those of frames have one in their files."""
        if not isinstance(self.inputs, np.ndarray):
            return before
        return zlib.crc32(self.labels.tobytes(), zlib.crc32(self.inputs.tobytes(), before))


class Features(Protocol):
    """How raw inputs become the network's numbers: learnt from rows in pieces, then applied."""

    def add(self, inputs: Any, sampled: Array, origin: Origin) -> None:
        """Take in training rows; ``sampled`` is a mask of those that medians are taken from."""

    def finish(self) -> None:
        """Conclude, when all rows have been taken in."""

    def names(self) -> tuple[str, ...]:
        """Return the names of the columns of :meth:`encode`."""

    def encode(self, inputs: Any, origin: Origin) -> Array:
        """Return some rows as a matrix."""


def size_of(name: str, size: float, n_rows: int) -> int:
    """Return how many rows a share or a number means, if they are to be kept in memory."""
    if size == 0:
        return 0
    n = count_of(size, n_rows, name, "rows")
    if n > MOST_KEPT_ASIDE and isinstance(size, int | np.integer):
        raise InvalidInputError(
            f"A part of {n:,} rows was asked for, and at most {MOST_KEPT_ASIDE:,} rows of a stream are kept in memory."
        )
    return min(n, MOST_KEPT_ASIDE)


def spread(n_rows: int, most: int) -> IntArray:
    """Return the numbers of at most so many rows, in order: one drawn at random from each of as many equal parts."""
    if n_rows <= most:
        return np.arange(n_rows)
    edges = np.arange(most + 1) * n_rows // most
    drawn = random_stream(0, Stream.SAMPLE).random(most)
    return edges[:-1] + (drawn * np.diff(edges)).astype(np.int64)


def past(places: IntArray, aside: IntArray) -> IntArray:
    """Return the numbers of rows that are given by their places among those that are not kept aside."""
    return places + np.searchsorted(aside - np.arange(len(aside)), places, side="right")


def within(numbers: IntArray, start: int, n_rows: int) -> IntArray:
    """Return the places, among the rows from ``start`` on, of those that are given by their sorted numbers."""
    return numbers[slice(*np.searchsorted(numbers, [start, start + n_rows]))] - start
