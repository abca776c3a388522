"""Generated linear data with Gaussian noise, as in the regression lab."""

from __future__ import annotations

import numpy as np

from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source
from chainrule.errors import InvalidInputError
from chainrule.types import Seed

__all__ = ["SETS", "linear_regression"]


def linear_regression(n_features: int = 3, n_rows: int = 100, noise: float = 0.1, seed: Seed = 3) -> Dataset:
    """Return ``y = X w + noise * e`` with X, w and e drawn from the standard normal distribution."""
    if n_features < 1 or n_rows < 1 or not 0 <= noise < np.inf:
        raise InvalidInputError("Generated data need at least one column, at least one row, and noise >= 0.")
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, n_features), dtype=np.float32)
    slopes = rng.standard_normal(n_features)
    return Dataset(X, X @ slopes + noise * rng.standard_normal(n_rows), task="regression", name="regression")


SETS = (
    NamedSet(
        name="regression",
        title="Generated regression",
        task="regression",
        rows=100,
        columns=3,
        summary="100 rows of a linear function of 3 normal variables, with normal noise of standard deviation 0.1.",
        licence="none needed",
        notes="chainrule.data.catalog.regression.linear_regression generates other sizes and noise.",
        read=lambda _: Source("regression", linear_regression()),
    ),
)
