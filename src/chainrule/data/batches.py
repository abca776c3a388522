"""Mini-batches of rows: of data in memory, gathered into buffers that are used again and again."""

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
    """Some rows of the training data.

    ``weights`` are the sample weights, with mean 1 over the whole training set, or None when all are 1. They have the
    shape (rows,), or (rows, members) for an ensemble. The arrays belong to the source, which overwrites them when the
    next batch is asked for.
    """

    inputs: Inputs
    targets: Array
    weights: Array | None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.targets)

    def check(self) -> Self:
        """Return the batch; raise DataError unless its parts have the same rows, for kernels check no bounds."""
        sizes = [self.inputs.shape[0], len(self.targets), *([] if self.weights is None else [len(self.weights)])]
        if len(set(sizes)) > 1:
            raise DataError(f"Inputs, targets and weights need the same number of rows, and they have {sizes}.")
        return self


class Portion(NamedTuple):
    """Some consecutive batches of an epoch that lie in memory: ``n_batches`` of ``batches``, from ``first`` on.

    ``epoch`` is the number to ask ``batches`` with.
    """

    batches: ArrayBatches
    epoch: int
    first: int
    n_batches: int

    @property
    def rows(self) -> IntArray:
        """The numbers of the rows, in the order of the batches."""
        size = self.batches.batch_size
        return self.batches.order(self.epoch)[self.first * size : (self.first + self.n_batches) * size]


class Batches(Protocol):
    """Where the batches of a fit come from: memory, or files larger than it.

    Every epoch is the same for the same seed, and can be begun at any batch.
    """

    n_rows: int
    batch_size: int

    @property
    def n_batches(self) -> int:
        """The number of batches of an epoch; the last may be shorter than ``batch_size``."""
        ...

    def portions(self, number: int, first_batch: int, n_batches: int) -> Iterator[Portion]:
        """Yield so many batches of epoch ``number`` from ``first_batch`` on, as portions that lie in memory.

        A portion may be overwritten when the next is asked for.
        """
        ...

    def fingerprint(self) -> list[int]:
        """Return numbers that tell these data from others."""
        ...


class ArrayBatches:
    """The batches of data that lie in memory.

    Every epoch is a permutation of the rows that depends on the seed and the number of the epoch alone, so an epoch
    can be taken up again at any batch. The last batch may be shorter. A batch as large as the data is the data, in
    their own order. An augmentation draws from a stream of its own for every batch of every epoch, so an epoch that is
    taken up again sees the same rows; it changes copies, and the user's arrays are never written to.

    Parameters
    ----------
    inputs
        Matrix (rows, features), dense or CSR.
    targets
        Matrix (rows, outputs) of the same type.
    sample_weight
        One number for each row, or for each row and each member of an ensemble. They are scaled here to mean 1.
    augmentation
        A random change of the inputs of every batch; they must be dense then.
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
                raise DataError("The sample weights hold a number that is negative or missing; give numbers >= 0.")
            without = np.flatnonzero(np.atleast_1d(weights.sum(axis=0)) <= 0)
            if len(without):
                member = f" for member {without[0] + 1} of the ensemble" if weights.ndim > 1 else ""
                raise DataError(
                    f"No row to train on has a weight above 0{member}; look at the sample weights and the split."
                )
            self.weights = np.asarray(weights / weights_of_rows(weights).mean(), targets.dtype)
        self._buffers: tuple[Array, ...] = ()
        self._is_shuffled = shuffle and self.batch_size < self.n_rows
        self._order: tuple[int, IntArray] | None = None  # of the epoch last asked for

    @property
    def n_batches(self) -> int:
        """The number of batches of an epoch."""
        return -(-self.n_rows // self.batch_size)

    def order(self, number: int) -> IntArray:
        """Return the numbers of the rows in the order in which epoch ``number`` takes them."""
        if self._order is None or (self._is_shuffled and number != self._order[0]):
            if self._is_shuffled:
                rows = random_stream(self.seed, Stream.BATCHES, number).permutation(self.n_rows)
            else:
                rows = np.arange(self.n_rows)
            self._order = (number, rows)
        return self._order[1]

    def portions(self, number: int, first_batch: int, n_batches: int) -> Iterator[Portion]:
        """Yield the one portion that these batches are."""
        yield Portion(self, number, first_batch, n_batches)

    def epoch(self, number: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` from batch ``first_batch`` on."""
        for place in range(first_batch, self.n_batches):
            yield self.batch(number, place)

    def batch(self, number: int, place: int) -> Batch:
        """Return batch ``place`` of epoch ``number``."""
        rows = slice(place * self.batch_size, (place + 1) * self.batch_size)
        batch = self._gather(self.order(number)[rows]) if self._is_shuffled else self._slice(rows)
        if self.augmentation is not None:
            rng = random_stream(self.seed, Stream.AUGMENTATION, number * self.n_batches + place)
            self.augmentation.apply(batch.inputs, rng)
        return batch

    def fingerprint(self) -> list[int]:
        """Return numbers that tell these data from others: their shape, and checksums.

        The checksums are those of some rows of the inputs, of the targets, of the settings of the augmentation if there
        is one, and of the weights if there are any.
        """
        some = self.inputs[:: max(1, self.n_rows // 64)]
        checksums = [checksum(some.toarray() if is_sparse(some) else some), checksum(self.targets)]
        if self.augmentation is not None:
            checksums.append(zlib.crc32(repr(self.augmentation).encode()))
        if self.weights is not None:
            checksums.append(checksum(self.weights))
        return [*self.inputs.shape, self.batch_size, *checksums]

    def _slice(self, rows: slice) -> Batch:
        inputs, targets = self.inputs[rows], self.targets[rows]
        if self.augmentation is not None:  # it writes, so it gets a copy
            buffer = self._buffer(0, len(targets))
            np.copyto(buffer, inputs)
            inputs = buffer
        return Batch(inputs, targets, None if self.weights is None else self.weights[rows])

    def _gather(self, rows: Array) -> Batch:
        inputs = self.inputs[rows] if is_sparse(self.inputs) else self._take(0, self.inputs, rows)
        weights = None if self.weights is None else self._take(2, self.weights, rows)
        return Batch(inputs, self._take(1, self.targets, rows), weights)

    def _take(self, place: int, source: Array, rows: Array) -> Array:
        out = self._buffer(place, len(rows))
        np.take(source, rows, axis=0, out=out, mode="clip")
        return out

    def _buffer(self, place: int, n_rows: int) -> Array:
        """Return the first rows of the buffer for inputs (0), targets (1) or weights (2)."""
        if not self._buffers:
            width = self.inputs.shape[1:] if not is_sparse(self.inputs) else (0,)
            widths = (width, self.targets.shape[1:], () if self.weights is None else self.weights.shape[1:])
            self._buffers = tuple(np.empty((self.batch_size, *width), self.targets.dtype) for width in widths)
        return self._buffers[place][:n_rows]


def checksum(part: Inputs) -> int:
    """Return a number that tells an array, or the entries of a sparse matrix, from others."""
    return zlib.crc32(np.ascontiguousarray(part.data if is_sparse(part) else part).tobytes())
