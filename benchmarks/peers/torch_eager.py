"""PyTorch, eager."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from datasets import Array
from torch import Tensor, nn
from workload import Workload

from peers import torch_model
from peers.base import Peer


class TorchEager(Peer):
    """The loop of PyTorch's tutorials without its slow parts: the data are two tensors in memory, and rows are gathered
    by ``index_select`` (no DataLoader); gradients are set to None; the optimizer is the faster of its fused and foreach
    forms; subnormal numbers are flushed (``set_flush_denormal``); no loss is read back; predictions use
    ``inference_mode``.
    """

    library = "torch"

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        self.model: nn.Module = torch_model.build(workload)
        self.lay_out()
        make, self.note = torch_model.fastest_optimizer(workload, self.stepper)
        self.optimizer = make(self.model)
        self.loss_of = self.loss_function(self.model)

    def lay_out(self) -> None:
        """Store the rows in memory as tensors."""
        self.X = torch.from_numpy(self.workload.inputs())
        self.y = torch_model.targets(self.workload)

    def rows(self, rows: Tensor) -> tuple[Any, ...]:
        """Return inputs and targets of a batch."""
        return self.X.index_select(0, rows), self.y.index_select(0, rows)

    def loss_function(self, model: nn.Module) -> Callable[..., Tensor]:
        """Return a function that computes the loss of a batch from its inputs and targets."""
        criterion = torch_model.criterion(self.workload)
        return lambda x, y: criterion(model(x), y)

    def step(self, loss_of: Callable[..., Tensor], optimizer: torch.optim.Optimizer, rows: Tensor) -> None:
        """Compute one training step."""
        optimizer.zero_grad(set_to_none=True)
        loss_of(*self.rows(rows)).backward()
        optimizer.step()

    def stepper(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[[int], None]:
        """Return a function that computes some steps with a given network and optimizer."""
        loss_of, rows = self.loss_function(model), torch.arange(min(self.workload.batch, self.workload.n_rows))

        def take(n_steps: int) -> None:
            for _ in range(n_steps):
                self.step(loss_of, optimizer, rows)

        return take

    def epoch(self, order: Array) -> None:
        for one_epoch in torch.split(torch.from_numpy(order), self.workload.n_rows):
            for rows in torch.split(one_epoch, self.workload.batch):
                self.step(self.loss_of, self.optimizer, rows)

    def outputs(self, X: Array) -> Array:
        self.model.eval()
        with torch.inference_mode():
            outputs = torch_model.as_outputs(self.workload, self.model(torch.from_numpy(X)))
        self.model.train()
        return outputs
