"""The batches of a fit as tensors on the device, with the rows of this process."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chainrule.data.batches import ArrayBatches, Batch, Portion
from chainrule.engines.torch_workers import BatchShare
from chainrule.head import Head
from chainrule.types import Array, is_sparse

__all__ = ["DeviceBatches", "TensorBatch", "as_array", "as_tensor"]

# The data are copied to a GPU as a whole if they need at most this share of its free memory, else batch by batch.
SHARE_OF_MEMORY = 0.5


class TensorBatch(NamedTuple):
    """The rows of a batch that are for this process.

    ``row_weights`` of shape (rows,) sum to 1 over the whole batch, or nearly so. Of shape (rows, members), their means
    over the members do.
    """

    inputs: Tensor
    targets: Tensor
    row_weights: Tensor


class _Resident(NamedTuple):
    """All rows of the data, on the device."""

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None


class DeviceBatches:
    """Provides the batches of portions as tensors.

    Dense data that fit into the memory of the device are copied once, and the batches are gathered on the device. Other
    data are gathered on the host and copied by a ``DataLoader``, as are CSR rows, which are converted to dense batches,
    and augmented rows.
    """

    def __init__(self, device: torch.device, share: BatchShare, head: Head) -> None:
        self.device, self.share, self.head = device, share, head
        self._resident_for: ArrayBatches | None = None
        self._resident: _Resident | None = None

    def batches(self, portion: Portion) -> Iterator[TensorBatch]:
        """Yield the batches of a portion, with the rows in ``share``."""
        source, epoch, first, n_batches = portion
        if self._resident_for is not source:
            self._resident_for, self._resident = source, self._move(source)
        if self._resident is not None:
            yield from self._gathered(self._resident, portion)
            return
        loader: DataLoader[TensorBatch] = DataLoader(
            _HostBatches(source, epoch, self.share),
            batch_size=None,
            sampler=range(first, first + n_batches),
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # the loader draws a seed for workers, although there are none
        )
        for batch in loader:
            yield TensorBatch(*(part.to(self.device, non_blocking=True) for part in batch))

    def _gathered(self, data: _Resident, portion: Portion) -> Iterator[TensorBatch]:
        """Yield the batches of data that are on the device."""
        size, start = portion.batches.batch_size, portion.first * portion.batches.batch_size
        order = portion.batches.order(portion.epoch)[start : start + portion.n_batches * size]
        row_numbers = torch.from_numpy(order).to(self.device)
        equal = torch.empty(0)
        for batch_start in range(0, len(order), size):
            rows = row_numbers[batch_start : batch_start + size]
            if len(rows) != self.share.n_rows or not len(equal):  # the first batch, and a smaller last one
                self.share.begin(len(rows))
                equal = torch.full((len(rows),), 1 / len(rows), dtype=data.inputs.dtype, device=self.device)
            own = rows[self.share.rows]
            row_weights = equal[self.share.rows]
            if data.weights is not None:
                row_weights = data.weights.index_select(0, own) / len(rows)
            yield TensorBatch(data.inputs.index_select(0, own), data.targets.index_select(0, own), row_weights)

    def batch(self, batch: Batch) -> TensorBatch:
        """Return the rows of this process in one batch."""
        return TensorBatch(*(part.to(self.device) for part in _tensors(batch, self.share)))

    def _move(self, source: ArrayBatches) -> _Resident | None:
        """Return the data on the device; None if they must be copied batch by batch."""
        if is_sparse(source.inputs) or source.augmentation is not None:
            return None
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if source.inputs.nbytes + source.targets.nbytes > SHARE_OF_MEMORY * free:
                return None
        weights = None if source.weights is None else as_tensor(source.weights).to(self.device)
        inputs, targets = (as_tensor(array).to(self.device) for array in (source.inputs, source.targets))
        return _Resident(inputs, targets, weights)


class _HostBatches(Dataset[TensorBatch]):
    """The batches of an epoch by number, gathered on the host."""

    def __init__(self, source: ArrayBatches, epoch: int, share: BatchShare) -> None:
        self.source, self.epoch, self.share = source, epoch, share

    def __getitem__(self, number: int) -> TensorBatch:
        return _tensors(self.source.batch(self.epoch, number), self.share)


def _tensors(batch: Batch, share: BatchShare) -> TensorBatch:
    """Return the rows of this process in a batch as tensors on the host, which may share memory with the batch."""
    share.begin(batch.n_rows)
    rows = share.rows
    inputs = batch.inputs[rows]
    targets = batch.targets[rows]
    if batch.weights is None:
        row_weights = np.full(len(targets), 1 / batch.n_rows, targets.dtype)
    else:
        row_weights = batch.weights[rows] / targets.dtype.type(batch.n_rows)
    dense = inputs.toarray() if is_sparse(inputs) else inputs
    return TensorBatch(as_tensor(dense), as_tensor(targets), torch.from_numpy(row_weights))


def as_tensor(array: Array) -> Tensor:
    """Return a tensor that shares memory with the array and is only read."""
    rows = np.ascontiguousarray(array)
    if rows.flags.writeable:
        return torch.from_numpy(rows)
    with warnings.catch_warnings():
        # Memory maps and the arrays of joblib workers are read-only.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(rows)


def as_array(tensor: Tensor) -> Array:
    """Return the tensor as an array on the host."""
    values: Array = tensor.detach().cpu().numpy()
    return values
