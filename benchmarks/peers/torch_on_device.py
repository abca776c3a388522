"""A hand-written PyTorch loop on a device."""

from __future__ import annotations

from collections.abc import Callable

import torch
from datasets import Array
from torch import Tensor, nn
from workload import Workload

from peers import torch_model
from peers.torch_eager import TorchEager


class TorchOnDevice(TorchEager):
    """The eager loop with network and rows on the device. The permutation is copied once per round, batches are
    gathered by ``index_select``, the optimizer is fused Adam, ``autocast`` selects 16 bits, and nothing is read back
    during a round.
    """

    def prepare(self, workload: Workload) -> None:
        self.workload, self.device = workload, torch.device(workload.device)
        self.model: nn.Module = torch_model.build(workload).to(self.device)
        self.lay_out()
        self.optimizer = torch.optim.Adam(self.model.parameters(), workload.learning_rate, fused=True)
        self.loss_of = self.loss_function(self.model)

    def lay_out(self) -> None:
        super().lay_out()
        self.X, self.y = self.X.to(self.device), self.y.to(self.device)

    def loss_function(self, model: nn.Module) -> Callable[..., Tensor]:
        loss_of = super().loss_function(model)
        if self.workload.precision == "float32":
            return loss_of
        narrow = getattr(torch, self.workload.precision)

        def narrow_loss_of(x: Tensor, y: Tensor) -> Tensor:
            with torch.autocast(self.device.type, narrow):
                return loss_of(x, y)

        return narrow_loss_of

    def epoch(self, order: Array) -> None:
        for rows in torch.from_numpy(order).to(self.device).view(-1, self.workload.batch):  # all batches are full
            self.step(self.loss_of, self.optimizer, rows)
        if self.device.type != "cpu":
            torch.accelerator.synchronize()

    def outputs(self, X: Array) -> Array:
        with torch.inference_mode():
            return torch_model.as_outputs(self.workload, self.model(torch.from_numpy(X).to(self.device)).cpu())
