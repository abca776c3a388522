"""The processes that train one network together, as ``torchrun`` starts them, and their communication.

Every process has the whole network and all of the data, and trains on its share of the rows of every batch. Gradients
are summed over the processes, so all of them take the same steps and hold the same weights, bit for bit; each takes the
same decisions, and only process 0 writes files and shows progress.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import inspect
import itertools
import os
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.rendezvous import rendezvous

from chainrule.errors import InvalidInputError

__all__ = ["BatchShare", "Workers", "choose_device", "join"]


@dataclass(frozen=True)
class Workers:
    """The processes of a run: their number, the number of this process, and its device."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_synchronous(self) -> bool:
        """Whether a number can be read without waiting for a device or for other processes."""
        return self.size == 1 and self.device.type == "cpu"

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, through which gradients are propagated."""
        if self.size == 1:
            return values
        total: Tensor = _SumOverProcesses.apply(values)  # type: ignore[no-untyped-call]
        return total

    def total(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, without gradients."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
        return values

    def smallest(self, number: int) -> int:
        """Return the smallest of the numbers that the processes pass."""
        if self.size == 1:
            return number
        tensor = torch.tensor(number, device=self.device)
        dist.all_reduce(tensor, dist.ReduceOp.MIN)
        return int(tensor)

    def same(self, number: int) -> bool:
        """Return whether all processes pass the same number."""
        return self.smallest(number) == -self.smallest(-number)

    def gather(self, rows: Tensor, sizes: list[int]) -> Tensor:
        """Return all rows of batches of the given sizes, in order, from the rows of this process in each batch."""
        if self.size == 1:
            return rows
        shares = [[self.share_of(size, rank) for size in sizes] for rank in range(self.size)]
        gathered = self._gather_all(rows, [sum(share.stop - share.start for share in own) for own in shares])
        if len(sizes) == 1:
            return gathered
        starts = list(itertools.accumulate(sizes[:-1], initial=0))
        places = [
            torch.arange(start + share.start, start + share.stop)
            for own in shares
            for start, share in zip(starts, own, strict=True)
        ]
        ordered = torch.empty_like(gathered)
        ordered[torch.cat(places).to(gathered.device)] = gathered
        return ordered

    def _gather_all(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Return the rows of all processes, one process after another; ``counts`` has the number of rows of each."""
        rows = rows.contiguous()
        shape, most = rows.shape[1:], max(counts)
        padded = torch.zeros((most, *shape), dtype=rows.dtype, device=rows.device)
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def broadcast(self, value: Any) -> Any:
        """Return the value that process 0 passes."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, device=self.device)
        return box[0]

    def share_of(self, n_rows: int, rank: int | None = None) -> slice:
        """Return the part of ``n_rows`` rows for this process, or for another; all parts differ by one row at most."""
        rank = self.rank if rank is None else rank
        return slice(rank * n_rows // self.size, (rank + 1) * n_rows // self.size)

    def train_together(self, module: nn.Module) -> nn.Module:
        """Return the module wrapped so that backward averages the gradients over the processes."""
        if self.size == 1 or not any(parameter.requires_grad for parameter in module.parameters()):
            return module
        together: Any = nn.parallel.DistributedDataParallel
        # Running statistics are equal in all processes, because batch normalisation uses the whole batch, so they need
        # not be synchronised. The argument for this has another name since PyTorch 2.13.
        known = inspect.signature(together).parameters
        switch = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        wrapped: nn.Module = together(module, gradient_as_bucket_view=True, **{switch: False})
        return wrapped


class _SumOverProcesses(torch.autograd.Function):
    """The sum of the tensors of all processes. Its derivative is the sum of their derivatives."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class BatchShare:
    """The rows of the current batch for this process, and the number of rows of the whole batch."""

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self.n_rows = 0
        self.rows = slice(0, 0)

    def begin(self, n_rows: int) -> None:
        """Start a batch of ``n_rows`` rows."""
        self.n_rows, self.rows = n_rows, self.workers.share_of(n_rows)


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``; ``"auto"`` is a GPU if there is one, else the CPU.

    If a machine has several GPUs, each process of a run uses another one.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        name = "cpu" if accelerator is None else accelerator.type
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidInputError(f"There is no device '{name}'; give auto, cpu, cuda, cuda:1, mps, ...") from None
    if device.type == "cpu":
        return device
    here = torch.accelerator.current_accelerator(check_available=True)
    if here is None or here.type != device.type:
        raise InvalidInputError(
            f"PyTorch finds no device '{name}' on this machine; use device='auto', or device='cpu'."
        )
    if device.index is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InvalidInputError(
            f"The device '{name}' is a single device, but there are several processes; give '{device.type}', so that "
            "each process uses another device."
        )
    index = int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index
    if not index < torch.accelerator.device_count():
        raise InvalidInputError(
            f"There is no device '{device.type}:{index}', because this machine has {torch.accelerator.device_count()}; "
            "start at most one process per device."
        )
    return torch.device(device.type, index)


def join(device: str) -> Workers:
    """Return the processes that torchrun has started; without torchrun, a group of this process only.

    They connect to the address in MASTER_ADDR and MASTER_PORT, with NCCL on NVIDIA GPUs and with gloo otherwise.
    """
    chosen = choose_device(device)
    if chosen.type != "cpu":
        torch.accelerator.set_device_index(chosen)
    if not dist.is_available() or "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Workers(device=chosen)
    if not dist.is_initialized():
        # Its functions have the group as a default argument, and would hold a reference to it if imported later.
        importlib.import_module("torch.distributed.nn.functional")
        store, rank, size = next(rendezvous("env://"))
        store = dist.PrefixStore(_agree_on_name(store, rank, size), store)  # type: ignore[attr-defined]
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", store=store, rank=rank, world_size=size)
        atexit.register(_leave)
    return Workers(dist.get_rank(), dist.get_world_size(), chosen)


def _agree_on_name(store: Any, rank: int, size: int) -> str:
    """Return a name that all running processes share, and that no process before a restart had.

    torchrun keeps the store over a restart (pytorch/pytorch issue 135712), so that a process could find the address of
    a process that has ended. Therefore each process sends a random word, and process 0 answers exactly this word.
    """
    word = uuid.uuid4().hex
    if rank > 0:
        store.set(f"greeting of {rank}", word)
        name: str = store.get(f"answer to {word}").decode()
        store.set(f"{name} is known to {rank}", "")
        return name
    for other in range(1, size):
        is_known = False
        while not is_known:
            greeting = store.get(f"greeting of {other}").decode()
            store.set(f"answer to {greeting}", word)
            is_known = _is_set_soon(store, f"{word} is known to {other}")
    return word


def _is_set_soon(store: Any, key: str) -> bool:
    """Return whether the key is set within a second."""
    for _ in range(100):
        if store.check([key]):
            return True
        time.sleep(0.01)
    return False


def _leave() -> None:
    """End the threads of the group before the interpreter ends: a thread that frees a tensor later aborts the process.

    They end with the last reference to the group (pytorch/pytorch pull request 179291). Distributed modules have such
    references, in reference cycles, which are collected first.
    """
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()
