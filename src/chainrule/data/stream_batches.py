"""The batches of a stream: blocks of rows in memory, one after another, each shuffled."""

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

    An epoch takes the groups in an order that depends on the seed and its number alone, and cuts their rows, one group
    after another, into blocks of as many whole batches as the stream's buffer holds; what is left of a group goes on
    into the next block. Each block is shuffled. All of that follows from the numbers of rows, so an epoch can be begun
    at any batch, by reading that batch's block and nothing before its first group; and every process that trains on the
    same stream with the same seed makes the same batches.

    A stream that is one block is kept in memory, its groups in their own order: the batches are then those of
    :class:`ArrayBatches`, bit for bit.

    Parameters
    ----------
    stream
        The rows.
    as_rows
        Turns a dataset of the stream into arrays of the network's type and shapes, with weights of mean 1 over the
        whole stream if it has any.
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
        self.batches_a_block = self.n_batches if fits else max(1, stream.buffer_rows // self.batch_size)
        self._buffers: Batch | None = None
        self._block: tuple[tuple[int, int], ArrayBatches] | None = None  # in memory, by epoch and place
        self._reader: Iterator[Batch] = iter(())
        self._reads_next: tuple[int, int] | None = None  # the block that the reader goes on with
        self._left: Batch | None = None  # rows that were read and did not go into the last block

    @property
    def n_batches(self) -> int:
        """The number of batches of an epoch."""
        return -(-self.n_rows // self.batch_size)

    @property
    def n_blocks(self) -> int:
        """The number of blocks of an epoch."""
        return -(-self.n_batches // self.batches_a_block)

    def portions(self, number: int, first_batch: int, n_batches: int) -> Iterator[Portion]:
        """Yield so many batches of epoch ``number`` from ``first_batch`` on, a block or a part of it at a time."""
        place, end = first_batch, min(first_batch + n_batches, self.n_batches)
        while place < end:
            block, within = divmod(place, self.batches_a_block)
            count = min(end - place, self.batches_a_block - within)
            yield Portion(self._load(number, block), number * self.n_blocks + block, within, count)
            place += count

    def fingerprint(self) -> list[int]:
        """Return numbers that tell these data from others."""
        return [*self.stream.fingerprint(), self.batch_size]

    def group_order(self, number: int) -> IntArray:
        """Return the groups in the order in which epoch ``number`` reads them."""
        n_groups = len(self._group_rows)
        if not self._shuffle or self.n_blocks == 1:
            return np.arange(n_groups)
        return random_stream(self.seed, Stream.ROW_GROUPS, number).permutation(n_groups)

    def _load(self, number: int, block: int) -> ArrayBatches:
        """Return a block of an epoch; read it if it is not the one in memory."""
        key = (number if self.n_blocks > 1 else 0, block)
        if self._block is None or self._block[0] != key:
            size = self.batches_a_block * self.batch_size
            start = block * size
            if self._reads_next != key:
                self._reader, self._left = self._read(key[0], start), None
            rows = self._fill(min(size, self.n_rows - start))
            batches = ArrayBatches(
                rows.inputs, rows.targets, None, batch_size=self.batch_size, seed=self.seed, shuffle=self._shuffle
            )
            batches.weights = rows.weights  # of mean 1 over the stream, not over the block
            self._block, self._reads_next = (key, batches), (key[0], block + 1)
        return self._block[1]

    def _read(self, number: int, first: int) -> Iterator[Batch]:
        """Yield the rows of an epoch from the given one on, before any shuffling within blocks."""
        order = self.group_order(number)
        ends = np.cumsum(self._group_rows[order])
        place = int(np.searchsorted(ends, first, side="right"))
        skipped = first - (int(ends[place - 1]) if place else 0)
        for group in order[place:]:
            for dataset in self.stream.rows_of_group(int(group), skipped):
                yield self._as_rows(dataset)
            skipped = 0

    def _fill(self, n_rows: int) -> Batch:
        """Return the next rows of the reader, in buffers that the next block uses again."""
        done = 0
        while done < n_rows:
            rows = self._left if self._left is not None else next(self._reader)
            taken = min(rows.n_rows, n_rows - done)
            for part, buffer in zip(rows, self._make_buffers(rows), strict=True):
                if buffer is not None:
                    buffer[done : done + taken] = part[:taken]
            self._left = _from(rows, taken) if taken < rows.n_rows else None
            done += taken
        assert self._buffers is not None
        inputs, targets, weights = self._buffers
        return Batch(inputs[:n_rows], targets[:n_rows], None if weights is None else weights[:n_rows])

    def _make_buffers(self, like: Batch) -> Batch:
        if self._buffers is None:
            n_rows = min(self.batches_a_block * self.batch_size, self.n_rows)

            def empty(part: Array) -> Array:
                return np.empty((n_rows, *part.shape[1:]), like.targets.dtype)

            self._buffers = Batch(
                empty(like.inputs), empty(like.targets), None if like.weights is None else empty(like.weights)
            )
        return self._buffers


def _from(rows: Batch, start: int) -> Batch:
    return Batch(rows.inputs[start:], rows.targets[start:], None if rows.weights is None else rows.weights[start:])
