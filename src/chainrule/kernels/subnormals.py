"""Subnormal numbers, those below 1.2e-38 in float32 (2.2e-308 in float64), count as 0 while a network trains.

Processors compute about a hundred times slower on them, and training makes many: averages of gradients that have become
0 decay, and so do weights under a penalty whose inputs are nearly always 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from chainrule.kernels import active_set

__all__ = ["subnormals_are_zero"]

# NumPy before 2.3 warns if it looks for the smallest subnormal number, which it does once, while there is none.
np.finfo(np.float32), np.finfo(np.float64)


@contextmanager
def subnormals_are_zero() -> Iterator[None]:
    """Within the block, count subnormal numbers as 0 in everything that this thread computes.

    What held before holds again after the block, however it ends. Nothing changes with the reference kernels, and on
    processors other than x86-64 and 64-bit ARM.
    """
    if active_set() != "numba":
        yield
        return
    from chainrule.kernels.control_word import FLUSHING, exchange

    if not FLUSHING:
        yield
        return
    before = exchange(FLUSHING)
    try:
        yield
    finally:
        exchange(before)
