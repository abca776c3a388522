"""The batches of a stream, which is read in blocks that are shuffled in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from chainrule.data.batches import ArrayBatches, Batch, Portion
from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.errors import InvalidInputError
from chainrule.randomness import Stream, random_stream
from chainrule.types import Array, IntArray

__all__ = ["StreamBatches"]


class StreamBatches:
    """The batches of rows that need not fit into memory; see :class:`chainrule.data.Batches`.

    In every epoch, the groups are read in an order that depends only on the seed and the number of the epoch. Their
    rows are divided into blocks of as many whole batches as fit into the buffer of the stream. The rest of a group is
    the beginning of the next block. The rows of each block are shuffled. The blocks depend only on the numbers of rows,
    so that an epoch can start at any batch: only the block of this batch, from its first group on, has to be read. All
    processes that train on the same stream with the same seed have the same batches.

    If the stream has only one block, the block is kept in memory, and the groups are not reordered. The batches then
    have the same bits as those of :class:`ArrayBatches`.

    Parameters
    ----------
    stream
        The stream of the training rows.
    as_rows
        A function that converts a dataset to arrays with the dtype and the shapes of the network. Its weights, if any,
        have mean 1 over the whole stream.
    """

    def __init__(
        self,
        stream: RowStream,
        as_rows: Callable[[Dataset], Batch],
        *,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
    ) -> None:
        if batch_size != int(batch_size) or batch_size < 1:
            raise InvalidInputError(f"The batch size is {batch_size}; it must be a whole number >= 1.")
        self.stream, self.seed = stream, seed
        self._as_rows, self._shuffle = as_rows, shuffle
        self._group_rows = stream.group_rows
        self.n_rows = stream.n_rows
        self.batch_size = min(int(batch_size), self.n_rows)
        fits = self.n_rows <= stream.buffer_rows
        self.batches_per_block = self.n_batches if fits else max(1, stream.buffer_rows // self.batch_size)
        self._buffers: Batch | None = None
        self._block: tuple[tuple[int, int], ArrayBatches] | None = None  # epoch and number of the block in memory
        self._reader: Iterator[Batch] = iter(())
        self._next_block: tuple[int, int] | None = None  # epoch and number of the next block of the reader
        self._rest: Batch | None = None  # rows that were read after the end of the last block

    @property
    def n_batches(self) -> int:
        """The number of batches of an epoch."""
        return -(-self.n_rows // self.batch_size)

    @property
    def n_blocks(self) -> int:
        """The number of blocks of an epoch."""
        return -(-self.n_batches // self.batches_per_block)

    def portions(self, number: int, first_batch: int, n_batches: int) -> Iterator[Portion]:
        """Yield ``n_batches`` batches of epoch ``number``, from ``first_batch`` on; a portion is (part of) a block."""
        batch, end = first_batch, min(first_batch + n_batches, self.n_batches)
        while batch < end:
            block, first_in_block = divmod(batch, self.batches_per_block)
            count = min(end - batch, self.batches_per_block - first_in_block)
            yield Portion(self._load(number, block), number * self.n_blocks + block, first_in_block, count)
            batch += count

    def fingerprint(self) -> list[int]:
        """Return numbers that identify the data."""
        return [*self.stream.fingerprint(), self.batch_size]

    def group_order(self, number: int) -> IntArray:
        """Return the order of the groups in epoch ``number``."""
        n_groups = len(self._group_rows)
        if not self._shuffle or self.n_blocks == 1:
            return np.arange(n_groups)
        return random_stream(self.seed, Stream.ROW_GROUPS, number).permutation(n_groups)

    def _load(self, number: int, block: int) -> ArrayBatches:
        """Return a block of an epoch, which is read unless it is in memory."""
        key = (number if self.n_blocks > 1 else 0, block)
        if self._block is None or self._block[0] != key:
            size = self.batches_per_block * self.batch_size
            start = block * size
            if self._next_block != key:
                self._reader, self._rest = self._read(key[0], start), None
            rows = self._fill(min(size, self.n_rows - start))
            batches = ArrayBatches(
                rows.inputs, rows.targets, None, batch_size=self.batch_size, seed=self.seed, shuffle=self._shuffle
            )
            batches.weights = rows.weights  # with mean 1 over the stream, not over the block
            self._block, self._next_block = (key, batches), (key[0], block + 1)
        return self._block[1]

    def _read(self, number: int, first: int) -> Iterator[Batch]:
        """Yield the rows of an epoch from row ``first`` on, which are not yet shuffled within blocks."""
        order = self.group_order(number)
        ends = np.cumsum(self._group_rows[order])
        first_group = int(np.searchsorted(ends, first, side="right"))
        skipped = first - (int(ends[first_group - 1]) if first_group else 0)
        for group in order[first_group:]:
            for dataset in self.stream.rows_of_group(int(group), skipped):
                yield self._as_rows(dataset)
            skipped = 0

    def _fill(self, n_rows: int) -> Batch:
        """Return the next rows of the reader in buffers, which the next block overwrites."""
        done = 0
        while done < n_rows:
            rows = self._rest if self._rest is not None else next(self._reader)
            taken = min(rows.n_rows, n_rows - done)
            for part, buffer in zip(rows, self._make_buffers(rows), strict=True):
                if buffer is not None:
                    buffer[done : done + taken] = part[:taken]
            self._rest = _skip_rows(rows, taken) if taken < rows.n_rows else None
            done += taken
        assert self._buffers is not None
        inputs, targets, weights = self._buffers
        return Batch(inputs[:n_rows], targets[:n_rows], None if weights is None else weights[:n_rows])

    def _make_buffers(self, like: Batch) -> Batch:
        if self._buffers is None:
            n_rows = min(self.batches_per_block * self.batch_size, self.n_rows)

            def empty(part: Array) -> Array:
                return np.empty((n_rows, *part.shape[1:]), like.targets.dtype)

            self._buffers = Batch(
                empty(like.inputs), empty(like.targets), None if like.weights is None else empty(like.weights)
            )
        return self._buffers


def _skip_rows(rows: Batch, start: int) -> Batch:
    return Batch(rows.inputs[start:], rows.targets[start:], None if rows.weights is None else rows.weights[start:])
