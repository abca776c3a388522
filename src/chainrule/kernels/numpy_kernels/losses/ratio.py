"""y / p as the losses mean it."""

from __future__ import annotations

import numpy as np

from chainrule.types import Array

__all__ = ["ratio"]


def ratio(y: Array, p: Array) -> Array:
    """y / p, with 0 / 0 = 0; a p that is NaN stays NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):  # y / 0 = infinity is the true slope
        return np.asarray(np.where(y == 0, 0 * p, y / p))
