"""PyTorch on sparse rows of words, in three forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from datasets import Array
from torch import Tensor, nn
from workload import Workload

from peers import torch_model
from peers.torch_eager import TorchEager


class TorchDense(TorchEager):
    """The whole matrix is made dense in memory, as in tutorials; the rest is as in the eager peer."""

    def lay_out(self) -> None:
        self.X = torch.from_numpy(self.workload.inputs().toarray())
        self.y = torch_model.targets(self.workload)

    def outputs(self, X: Array) -> Array:
        return super().outputs(X.toarray())


class TorchDenseBatches(TorchDense):
    """The matrix stays CSR, and the rows of each batch are made dense. This is slower, but needs little memory."""

    def lay_out(self) -> None:
        self.sparse = self.workload.inputs()
        self.y = torch_model.targets(self.workload)

    def rows(self, rows: Tensor) -> tuple[Any, ...]:
        return torch.from_numpy(self.sparse[rows.numpy()].toarray()), self.y.index_select(0, rows)


class _Bag(nn.Module):
    """The first layer, as the sum of the rows of W for the words of a text."""

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        dense = torch_model.build(workload)
        first = dense[0]
        assert isinstance(first, nn.Linear)
        weights = first.weight.detach().T.contiguous()
        self.bag = nn.EmbeddingBag.from_pretrained(weights, freeze=False, mode="sum", include_last_offset=True)
        self.bias = nn.Parameter(first.bias.detach().clone())
        self.rest = dense[1:]

    def forward(self, words: tuple[Tensor, Tensor]) -> Tensor:
        logits: Tensor = self.rest(self.bag(*words) + self.bias)
        return logits


class TorchEmbeddingBag(TorchEager):
    """``nn.EmbeddingBag(mode="sum")``, which sums the rows of W for the words of a text and reads no others. This is
    possible because every stored number is 1. Its gradient is dense, because RMSprop needs a dense one.
    """

    def lay_out(self) -> None:
        self.sparse = self.workload.inputs()
        if not np.all(self.sparse.data == 1):
            raise ValueError("EmbeddingBag without weights needs rows that contain only zeros and ones")
        self.y = torch_model.targets(self.workload)

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        self.lay_out()
        self.model = _Bag(workload)
        groups = torch_model.parameters(workload, self.model)
        self.optimizer = torch.optim.RMSprop(groups, lr=workload.learning_rate, foreach=True)
        self.loss_of = self.loss_function(self.model)

    @staticmethod
    def words(rows: Array) -> tuple[Tensor, Tensor]:
        """Return the words of CSR rows, and the boundaries of the rows."""
        return torch.from_numpy(rows.indices), torch.from_numpy(rows.indptr)

    def rows(self, rows: Tensor) -> tuple[Any, ...]:
        return self.words(self.sparse[rows.numpy()]), self.y.index_select(0, rows)

    def outputs(self, X: Array) -> Array:
        with torch.inference_mode():
            return torch_model.as_outputs(self.workload, self.model(self.words(X)))
