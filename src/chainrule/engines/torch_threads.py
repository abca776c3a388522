"""How many threads PyTorch may use on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from chainrule.threads import wanted_threads

__all__ = ["limited_torch_threads"]

_lock = threading.Lock()
_before: dict[int, int] = {}  # how many threads PyTorch used before each block under way, by the block's own thread


@contextmanager
def limited_torch_threads() -> Iterator[None]:
    """Within the block, let PyTorch use as many threads as a fit may; the old number comes back at its end.

    The number belongs to the thread, but one that uses PyTorch for the first time begins with the last that any thread
    has set: beside another block, with its limit. What came before that limit comes back there, too.
    """
    n_threads, thread = wanted_threads(), threading.get_ident()
    if thread in _before:
        yield
        return
    before = torch.get_num_threads()
    with _lock:
        if before == n_threads:
            before = max(_before.values(), default=before)
        _before[thread] = before
    torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        with _lock:
            del _before[thread]
