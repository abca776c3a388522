"""Sample weights: one for each row, or one for each row and each member of an ensemble."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from chainrule.arrays import refuse_masked
from chainrule.errors import DataError, array_place
from chainrule.types import Array

__all__ = ["as_weights", "relative_weights", "weights_of_rows"]


def as_weights(sample_weight: Any, n_rows: int) -> Array:
    """Return sample weights as float64 of shape (rows,) or (rows, members). Raises DataError for other values."""
    refuse_masked(sample_weight, "sample_weight")
    weights = np.asarray(sample_weight)
    if weights.ndim not in (1, 2) or len(weights) != n_rows or not weights.size:
        raise DataError(
            f"sample_weight has shape {weights.shape}; give one value per row, shape ({n_rows},), or one per row and "
            f"member of an ensemble, shape ({n_rows}, members)."
        )
    if weights.dtype.kind not in "biuf":
        raise DataError(f"sample_weight has the dtype {weights.dtype}; it must contain numbers.")
    weights = weights.astype(np.float64)
    bad = np.argwhere(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        value, position = f"{weights[tuple(bad[0])]:g}", array_place(*bad[0])
        raise DataError(f"sample_weight is {value} in {position}; weights must be finite and >= 0.")
    if not weights.any():
        raise DataError("sample_weight is zero in every row; at least one row needs a weight above 0.")
    return weights


def relative_weights(weights: Array) -> Array:
    """Return (rows, members) weights divided by the largest weight of their row; 1 in rows without a weight above 0."""
    largest = weights.max(axis=1, keepdims=True)
    relative: Array = np.divide(weights, largest, out=np.ones_like(weights), where=largest > 0)
    return relative


@overload
def weights_of_rows(weights: Array) -> Array: ...
@overload
def weights_of_rows(weights: Array | None) -> Array | None: ...
def weights_of_rows(weights: Array | None) -> Array | None:
    """Return one weight for each row: the mean over the members of an ensemble; None for None.

    If all members of a row have the same weight, the result is exactly this weight.
    """
    if weights is None or weights.ndim == 1:
        return weights
    mean: Array = weights.max(axis=1) * relative_weights(weights).mean(axis=1)
    return mean
