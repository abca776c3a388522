"""skorch, which trains PyTorch modules behind scikit-learn's interface."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from datasets import Array
from skorch import NeuralNet
from torch import Tensor
from torch.utils.data import TensorDataset
from workload import Workload

from peers import torch_model
from peers.base import Peer


class WholeBatches:
    """An iterator that gathers all rows of a batch at once, in the given order."""

    order: Tensor

    def __init__(self, dataset: TensorDataset, batch_size: int) -> None:
        self.dataset, self.batch_size = dataset, batch_size

    def __iter__(self) -> Iterator[Any]:
        for rows in torch.split(WholeBatches.order, self.batch_size):
            yield tuple(tensor.index_select(0, rows) for tensor in self.dataset.tensors)


class SkorchNet(Peer):
    """``NeuralNet.partial_fit`` as the documentation of skorch recommends for speed: ``verbose=0``,
    ``callbacks="disable"``, and a ``TensorDataset``. In addition: fused Adam, no validation split, subnormal numbers
    flushed, and an iterator that gathers whole batches instead of the DataLoader, which fetches row by row.
    """

    library = "skorch"

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        self.net = NeuralNet(
            torch_model.build(workload),
            criterion=torch_model.criterion(workload),
            optimizer=torch.optim.Adam,
            optimizer__fused=True,
            lr=workload.learning_rate,
            batch_size=workload.batch,
            iterator_train=WholeBatches,
            train_split=None,
            callbacks="disable",
            verbose=0,
        ).initialize()
        self.data = TensorDataset(torch.from_numpy(workload.inputs()), torch_model.targets(workload))

    def epoch(self, order: Array) -> None:
        for one_epoch in torch.split(torch.from_numpy(order), self.workload.n_rows):
            WholeBatches.order = one_epoch
            self.net.partial_fit(self.data, y=None, epochs=1)

    def outputs(self, X: Array) -> Array:
        module = self.net.module_.eval()
        with torch.inference_mode():
            return torch_model.as_outputs(self.workload, module(torch.from_numpy(X)))
