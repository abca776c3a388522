"""Rounding: columns that are constant except for rounding, safe scales, and the number of digits to write."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.types import Array

__all__ = ["is_constant", "n_digits", "safe_deviation"]

# A sum taken in another order, or another formula for the same number, seldom differs by more units in the last place.
ROUNDING_UNITS = 16


def is_constant(low: npt.ArrayLike, high: npt.ArrayLike, dtype: Any = np.float64) -> Array:
    """Return, for each smallest and largest number, whether all numbers between them are equal but for rounding.

    ``dtype`` is the type that the numbers were computed in. Whole numbers that a 64-bit integer can hold count as
    exact: they are equal only if they are the same.

    >>> is_constant([0.3, 0.3, 1], [0.1 + 0.2, 0.31, 2]).tolist()
    [True, False, False]
    """
    smallest, largest = np.asarray(low, np.float64), np.asarray(high, np.float64)
    size = np.maximum(np.abs(smallest), np.abs(largest))
    is_exact = (smallest == np.floor(smallest)) & (largest == np.floor(largest)) & (size < 2.0**64)
    unit = np.finfo(dtype).eps if np.issubdtype(dtype, np.floating) else 0.0
    # Halved, so that nothing overflows.
    is_close = largest / 2 - smallest / 2 <= size * (ROUNDING_UNITS * unit / 2)
    return np.asarray((smallest == largest) | (~is_exact & is_close))


def safe_deviation(rows: Array) -> Array:
    """Return the float64 standard deviation of every column, or 1 where the column is constant but for rounding.

    >>> safe_deviation(np.array([[0.3, 1.0], [0.1 + 0.2, 3.0]])).tolist()
    [1.0, 1.0]
    """
    deviation = rows.std(axis=0, dtype=np.float64)
    return np.where(is_constant(rows.min(axis=0), rows.max(axis=0), rows.dtype) | (deviation == 0), 1.0, deviation)


def n_digits(dtype: Any) -> int:
    """Return the number of significant digits of predictions in CSV, by the type of the network's numbers.

    Seven for float32, because further digits would be rounding errors, and seventeen for float64, from which the same
    number is read back.
    """
    return 7 if dtype == np.float32 else 17
