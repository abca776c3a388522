"""The predictions of an epoch, recorded while it is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from chainrule.metrics.registry import Metric
from chainrule.types import Array

__all__ = ["EpochRecord"]


class EpochRecord:
    """The predictions, targets and weights of the current epoch, from which its training metrics are computed.

    The record holds ``n_rows`` rows; of an epoch with more rows, it holds the last ones. ``arrays`` and ``n_recorded``
    are those of a record to continue.
    """

    def __init__(self, n_rows: int, arrays: Mapping[str, Array] | None = None, n_recorded: int = 0) -> None:
        self.n_rows = n_rows
        self.arrays = dict(arrays or {})
        self.n_recorded = n_recorded

    def add(self, targets: Array, weights: Array | None, predictions: Array) -> None:
        """Copy rows into the record, over the oldest rows where it is full."""
        last = slice(-self.n_rows, None)
        places = np.arange(self.n_recorded, self.n_recorded + len(targets))[last] % self.n_rows
        parts = {"predictions": predictions, "targets": targets, "weights": weights}
        for name, part in parts.items():
            if part is not None:
                if name not in self.arrays:
                    self.arrays[name] = np.empty((self.n_rows, *part.shape[1:]), part.dtype)
                self.arrays[name][places] = part[last]
        self.n_recorded += len(targets)

    def measure(self, metrics: Sequence[Metric]) -> dict[str, float]:
        """Return the metrics of the recorded rows, and start a new record."""
        rows = slice(0, self.n_recorded)
        arrays = {name: array[rows] for name, array in self.arrays.items()}
        self.n_recorded = 0
        return {m.name: m(arrays["targets"], arrays["predictions"], arrays.get("weights")) for m in metrics}
