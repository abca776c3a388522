"""Averages that sink below the normal range of float32, and how they are kept from it.

Averages of gradients that have become zero decay into the numbers below the normal range of float32, on which
processors compute about a hundred times slower (MNIST's border pixels do this to Adam within two epochs). So an average
that has sunk below what could move a weight is stored as zero, and a gradient whose square would lie below the range
adds nothing to the average of squares.
"""

from __future__ import annotations

from chainrule.kernels.numba_kernels.compile import compiled

__all__ = ["NO_GRADIENT", "NO_MEAN", "NO_SQUARE", "flushed"]

# Averages below these are stored as zero. That of gradients lies well above the smallest normal float32, 1.2e-38, since
# the compiler may multiply it by the learning rate before it divides.
NO_SQUARE = 1.1754944e-38
NO_MEAN = 1e-30
NO_GRADIENT = 1e-15  # a gradient below this has no square to speak of


@compiled
def flushed(value: float, bound: float, zero: float) -> float:
    """Zero instead of a number below ``bound``; NaN stays NaN.

    ``bound`` and ``zero`` have the type of ``value``, so that a loop over float32 numbers has no wider ones in it.
    """
    return zero if abs(value) < bound else value
