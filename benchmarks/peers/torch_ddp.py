"""A hand-written PyTorch loop in several processes."""

from __future__ import annotations

import os

import torch
import torch.distributed as dist
from datasets import Array
from torch import nn
from workload import Workload

from peers import torch_model
from peers.torch_eager import TorchEager


class TorchDDP(TorchEager):
    """The eager loop with ``DistributedDataParallel`` over gloo. Every process has all rows as tensors and gathers its
    share of each batch by ``index_select``. It uses fused Adam and ``gradient_as_bucket_view``, flushes subnormal
    numbers, reads no loss back, and only communicates gradients. A single process trains the module directly.
    """

    def prepare(self, workload: Workload) -> None:
        self.workload = workload
        self.model: nn.Module = torch_model.build(workload)
        self.lay_out()
        self.rank, self.size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
        trained = self.model
        if self.size > 1:
            if not dist.is_initialized():
                dist.init_process_group("gloo")
            trained = nn.parallel.DistributedDataParallel(self.model, gradient_as_bucket_view=True)
        self.optimizer = torch.optim.Adam(self.model.parameters(), workload.learning_rate, fused=True)
        self.loss_of = self.loss_function(trained)

    def epoch(self, order: Array) -> None:
        batches = torch.from_numpy(order).view(-1, self.workload.batch)  # all batches are full
        for rows in batches.chunk(self.size, dim=1)[self.rank].contiguous():
            self.step(self.loss_of, self.optimizer, rows)
