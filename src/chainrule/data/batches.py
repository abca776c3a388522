"""Mini-batches of rows, gathered into buffers that are used again and again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from chainrule import kernels
from chainrule.errors import InvalidInputError
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["ArrayBatches", "Batch"]


class Batch(NamedTuple):
    """Some rows of the training data.

    ``weights`` are the rows' sample weights, with mean 1 over the whole training set, or None when all are 1. The
    arrays belong to the source, which overwrites them when the next batch is asked for.
    """

    inputs: Inputs
    targets: Array
    weights: Array | None

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.targets)


class ArrayBatches:
    """The batches of data that lie in memory.

    Every epoch is a permutation of the rows that depends on the seed and the number of the epoch alone, so an epoch
    can be taken up again at any batch. The last batch may be shorter. A batch as large as the data is the data, in
    their own order.

    Parameters
    ----------
    inputs
        Matrix (rows, features), dense or CSR.
    targets
        Matrix (rows, outputs) of the same type.
    sample_weight
        One number a row, any scale; scaled here to mean 1.
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
    ) -> None:
        if batch_size != int(batch_size) or batch_size < 1:
            raise InvalidInputError(f"The batch size is {batch_size}; it must be a whole number >= 1.")
        self.inputs, self.targets, self.seed, self.shuffle = inputs, targets, seed, shuffle
        self.n_rows = len(targets)
        self.batch_size = min(int(batch_size), self.n_rows)
        self.weights: Array | None = None
        if sample_weight is not None:
            weights = np.asarray(sample_weight, np.float64)
            self.weights = np.asarray(weights / weights.mean(), targets.dtype)
        self._buffers: tuple[Array, ...] = ()

    @property
    def n_batches(self) -> int:
        """The number of batches of an epoch."""
        return -(-self.n_rows // self.batch_size)

    def epoch(self, number: int, first_batch: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch ``number`` from batch ``first_batch`` on."""
        if not self.shuffle or self.batch_size == self.n_rows:
            for start in range(first_batch * self.batch_size, self.n_rows, self.batch_size):
                rows = slice(start, start + self.batch_size)
                yield Batch(self.inputs[rows], self.targets[rows], None if self.weights is None else self.weights[rows])
            return
        order = random_stream(self.seed, Stream.BATCHES, number).permutation(self.n_rows)
        for start in range(first_batch * self.batch_size, self.n_rows, self.batch_size):
            yield self._gather(order[start : start + self.batch_size])

    def fingerprint(self) -> list[int]:
        """Return numbers that tell these data from others: their shape, and checksums of targets and of some rows."""
        some = self.inputs[:: max(1, self.n_rows // 64)]
        values = some.toarray() if is_sparse(some) else some
        checksums = [zlib.crc32(np.ascontiguousarray(part).tobytes()) for part in (values, self.targets)]
        return [*self.inputs.shape, self.batch_size, *checksums]

    def _gather(self, rows: Array) -> Batch:
        inputs = self.inputs[rows] if is_sparse(self.inputs) else self._take(0, self.inputs, rows)
        weights = None if self.weights is None else self._take(2, self.weights, rows)
        return Batch(inputs, self._take(1, self.targets, rows), weights)

    def _take(self, place: int, source: Array, rows: Array) -> Array:
        if not self._buffers:
            width = self.inputs.shape[1:] if not is_sparse(self.inputs) else (0,)
            self._buffers = (
                np.empty((self.batch_size, *width), self.targets.dtype),
                np.empty((self.batch_size, *self.targets.shape[1:]), self.targets.dtype),
                np.empty((self.batch_size, 1), self.targets.dtype),
            )
        out = self._buffers[place][: len(rows)]
        kernels.take_rows(source.reshape(self.n_rows, -1), rows, out.reshape(len(rows), -1))
        return out if source.ndim > 1 else out[:, 0]
