"""The number of threads that PyTorch uses on the CPU."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from chainrule.threads import wanted_threads

__all__ = ["limited_torch_threads"]

_lock = threading.Lock()
_before: dict[int, int] = {}  # the number of threads before each active block, by the thread of the block


@contextmanager
def limited_torch_threads() -> Iterator[None]:
    """Within the block, limit PyTorch to :func:`wanted_threads`; the previous number is restored at the end.

    The limit belongs to the Python thread. A thread that uses PyTorch for the first time starts with the number that
    any thread set last, which may be the limit of another active block. In this case, the number before that limit is
    restored.
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
