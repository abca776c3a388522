"""PyTorch with torch.compile."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from peers import torch_model
from peers.torch_eager import TorchEager


class TorchCompiled(TorchEager):
    """``torch.compile`` in its default mode over network and loss, which compiles forward and backward; the optimizer
    is the faster of its fused and foreach forms, and everything else as in the eager peer. Needs a C++ compiler.
    """

    def loss_function(self, model: nn.Module) -> Callable[..., Tensor]:
        criterion = torch_model.criterion(self.workload)

        def loss_of(x: Tensor, y: Tensor) -> Tensor:
            return criterion(model(x), y)

        compiled: Callable[..., Tensor] = torch.compile(loss_of)
        return compiled
