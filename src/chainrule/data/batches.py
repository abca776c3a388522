"""Mini-batches of data in memory, gathered into reused buffers."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol, Self

import numpy as np

from chainrule.data.augment import Augmentation
from chainrule.data.weights import weights_of_rows
from chainrule.errors import DataError, InvalidInputError
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, Inputs, IntArray, is_sparse

__all__ = ["ArrayBatches", "Batch", "Batches", "Portion", "checksum"]


class Batch(NamedTuple):
    """The inputs and targets of some training rows.

    ``weights`` are the sample weights, with mean 1 over the whole training set; None means that all are 1. They have
    the shape (rows,), or (rows, members) for an ensemble. The arrays are buffers, which the next batch overwrites.
    """

    inputs: Inputs
    targets: Array
    weights: Array | None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.targets)

    def check(self) -> Self:
        """Return the batch. Raises DataError if its arrays have different numbers of rows."""
        sizes = [self.inputs.shape[0], len(self.targets), *([] if self.weights is None else [len(self.weights)])]
        if len(set(sizes)) > 1:
            raise DataError(f"Inputs, targets and weights need the same number of rows, but they have {sizes}.")
        return self


class Portion(NamedTuple):
    """Consecutive batches of an epoch in memory: ``n_batches`` of ``batches``, starting with number ``first``.

    ``epoch`` is the number of the epoch for the methods of ``batches``.
    """

    batches: ArrayBatches
    epoch: int
    first: int
    n_batches: int

    @property
    def rows(self) -> IntArray:
        """The row numbers in the order of the batches."""
        size = self.batches.batch_size
        return self.batches.order(self.epoch)[self.first * size : (self.first + self.n_batches) * size]


class Batches(Protocol):
    """The source of the batches of a fit: data in memory, or files that do not fit into memory.

    The batches of an epoch depend only on the seed and the number of the epoch. An epoch can start at any batch.
    """

    n_rows: int
    batch_size: int

    @property
    def n_batches(self) -> int:
        """The number of batches of an epoch. The last batch may be smaller than ``batch_size``."""
        ...

    def portions(self, number: int, first_batch: int, n_batches: int) -> Iterator[Portion]:
        """Yield ``n_batches`` batches of epoch ``number``, starting with ``first_batch``, as portions in memory.

        The next portion may overwrite the previous one.
        """
        ...

    def fingerprint(self) -> list[int]:
        """Return numbers that identify the data."""
        ...


class ArrayBatches:
    """The batches of data in memory.

    The order of the rows is a permutation that depends only on the seed and the number of the epoch, so that an epoch
    can be resumed at any batch. The last batch may be smaller. If the batch size is the number of rows, the rows are
    not shuffled. An augmentation has its own random numbers for every batch of every epoch. It changes copies of the
    rows, never the arrays of the user.

    Parameters
    ----------
    inputs
        Matrix (rows, features), dense or CSR.
    targets
        Matrix (rows, outputs) with the same dtype.
    sample_weight
        One number per row, or per row and member of an ensemble. The weights are scaled to mean 1.
    augmentation
        A random change of the inputs of every batch, which requires dense inputs.
    """

    def __init__(
        self,
        inputs: Inputs,
        targets: Array,
        sample_weight: Array | None,
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
    ) -> None:
        if batch_size != int(batch_size) or batch_size < 1:
            raise InvalidInputError(f"The batch size is {batch_size}; it must be a whole number >= 1.")
        if augmentation is not None:
            augmentation.check(inputs)
        Batch(inputs, targets, sample_weight).check()
        self.inputs, self.targets, self.seed = inputs, targets, seed
        self.augmentation = augmentation
        self.n_rows = len(targets)
        self.batch_size = min(int(batch_size), self.n_rows)
        self.weights: Array | None = None
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64)
            if not (weights >= 0).all():
                raise DataError("The sample weights contain a negative or missing number; give numbers >= 0.")
            without = np.flatnonzero(np.atleast_1d(weights.sum(axis=0)) <= 0)
            if len(without):
                member = f" for member {without[0] + 1} of the ensemble" if weights.ndim > 1 else ""
                raise DataError(
                    f"No training row has a weight above 0{member}; check the sample weights and the split."
                )
            self.weights = np.asarray(weights / weights_of_rows(weights).mean(), targets.dtype)
        self._buffers: tuple[Array, ...] = ()
        self._is_shuffled = shuffle and self.batch_size < self.n_rows
        self._order: tuple[int, IntArray] | None = None  # the number and the row numbers of the latest epoch

    @property
    def n_batches(self) -> int:
        """The number of batches of an epoch."""
        return -(-self.n_rows // self.batch_size)

    def order(self, number: int) -> IntArray:
        """Return the row numbers in the order of epoch ``number``."""
        if self._order is None or (self._is_shuffled and number != self._order[0]):
            if self._is_shuffled:
                rows = random_stream(self.seed, Stream.BATCHES, number).permutation(self.n_rows)
            else:
                rows = np.arange(self.n_rows)
            self._order = (number, rows)
        return self._order[1]

    def portions(self, number: int, first_batch: int, n_batches: int) -> Iterator[Portion]:
        """Yield one portion with these batches."""
        yield Portion(self, number, first_batch, n_batches)

    def epoch(self, number: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number``, starting with ``first_batch``."""
        for index in range(first_batch, self.n_batches):
            yield self.batch(number, index)

    def batch(self, number: int, index: int) -> Batch:
        """Return batch ``index`` of epoch ``number``."""
        rows = slice(index * self.batch_size, (index + 1) * self.batch_size)
        batch = self._gather(self.order(number)[rows]) if self._is_shuffled else self._slice(rows)
        if self.augmentation is not None:
            rng = random_stream(self.seed, Stream.AUGMENTATION, number * self.n_batches + index)
            self.augmentation.apply(batch.inputs, rng)
        return batch

    def fingerprint(self) -> list[int]:
        """Return numbers that identify the data: their shape, the batch size and checksums.

        There are checksums of some rows of the inputs, of the targets, of the settings of the augmentation if there is
        one, and of the weights if there are any.
        """
        sample = self.inputs[:: max(1, self.n_rows // 64)]
        checksums = [checksum(sample.toarray() if is_sparse(sample) else sample), checksum(self.targets)]
        if self.augmentation is not None:
            checksums.append(zlib.crc32(repr(self.augmentation).encode()))
        if self.weights is not None:
            checksums.append(checksum(self.weights))
        return [*self.inputs.shape, self.batch_size, *checksums]

    def _slice(self, rows: slice) -> Batch:
        inputs, targets = self.inputs[rows], self.targets[rows]
        if self.augmentation is not None:  # which changes its argument
            buffer = self._buffer(0, len(targets))
            np.copyto(buffer, inputs)
            inputs = buffer
        return Batch(inputs, targets, None if self.weights is None else self.weights[rows])

    def _gather(self, rows: Array) -> Batch:
        inputs = self.inputs[rows] if is_sparse(self.inputs) else self._take(0, self.inputs, rows)
        weights = None if self.weights is None else self._take(2, self.weights, rows)
        return Batch(inputs, self._take(1, self.targets, rows), weights)

    def _take(self, index: int, source: Array, rows: Array) -> Array:
        out = self._buffer(index, len(rows))
        np.take(source, rows, axis=0, out=out, mode="clip")
        return out

    def _buffer(self, index: int, n_rows: int) -> Array:
        """Return the first rows of the buffer for inputs (0), targets (1) or weights (2)."""
        if not self._buffers:
            width = self.inputs.shape[1:] if not is_sparse(self.inputs) else (0,)
            widths = (width, self.targets.shape[1:], () if self.weights is None else self.weights.shape[1:])
            self._buffers = tuple(np.empty((self.batch_size, *width), self.targets.dtype) for width in widths)
        return self._buffers[index][:n_rows]


def checksum(part: Inputs) -> int:
    """Return a number that tells an array, or the entries of a sparse matrix, from others."""
    return zlib.crc32(np.ascontiguousarray(part.data if is_sparse(part) else part).tobytes())
