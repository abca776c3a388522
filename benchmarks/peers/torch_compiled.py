"""PyTorch with torch.compile."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from peers import torch_model
from peers.torch_eager import TorchEager


class TorchCompiled(TorchEager):
    """``torch.compile`` in its default mode for network and loss, which compiles forward and backward passes. The
    optimizer is the faster of its fused and foreach forms, and the rest is as in the eager peer. A C++ compiler is
    needed.
    """

    def loss_function(self, model: nn.Module) -> Callable[..., Tensor]:
        criterion = torch_model.criterion(self.workload)

        def loss_of(x: Tensor, y: Tensor) -> Tensor:
            return criterion(model(x), y)

        compiled: Callable[..., Tensor] = torch.compile(loss_of)
        return compiled
