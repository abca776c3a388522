"""Subnormal numbers, below 1.2e-38 in float32 (2.2e-308 in float64), are replaced by 0 during training.

Processors compute with them about a hundred times slower, and training produces many: running averages of gradients
that have become 0, and penalised weights whose inputs are nearly always 0, decay to subnormal numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from chainrule.kernels import active_set

__all__ = ["subnormals_are_zero"]

# NumPy before 2.3 determines the smallest subnormal number at the first call, and warns if they are switched off.
np.finfo(np.float32), np.finfo(np.float64)


@contextmanager
def subnormals_are_zero() -> Iterator[None]:
    """Within the block, replace subnormal numbers by 0 in all computations of this thread.

    The previous setting is restored after the block, also after an exception. Nothing is changed if compiled code is
    switched off, and on processors other than x86-64 and 64-bit ARM.
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
