"""What every session carries from step to step beside the weights, and saves: the running mean loss, the optimizer."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from chainrule.optimizer import Optimizer
from chainrule.parameters import ParameterVector
from chainrule.types import Array

__all__ = ["RunningLoss", "collect_state", "restore_optimizer"]

OPTIMIZER_PREFIX = "optimizer."  # of the optimizer's arrays among those of a session


class RunningLoss:
    """The mean loss over the rows trained on since it was taken last."""

    def __init__(self) -> None:
        self._sum, self._n_rows = 0.0, 0

    def add(self, loss: float, n_rows: int) -> None:
        """Add a batch of so many rows, whose mean loss this is."""
        self._sum += loss * n_rows
        self._n_rows += n_rows

    def add_batches(self, losses: Array, batch_size: int, n_rows: int) -> None:
        """Add batches with ``n_rows`` in all; the last has what is left by the others, which are full."""
        parts = losses * batch_size
        parts[-1] = losses[-1] * (n_rows - (len(losses) - 1) * batch_size)
        # One after another, as if every batch were added by itself: however many are taken at a time, the bits agree.
        self._sum = float(np.cumsum(np.concatenate(([self._sum], parts)))[-1])
        self._n_rows += n_rows

    def take(self) -> float:
        """Return the mean, NaN of no rows, and start a new one."""
        mean = self._sum / self._n_rows if self._n_rows else math.nan
        self._sum, self._n_rows = 0.0, 0
        return mean

    def read(self) -> dict[str, float]:
        """Return the numbers that the mean is made of."""
        return {"loss_sum": self._sum, "rows": self._n_rows}

    def write(self, state: Mapping[str, Array]) -> None:
        """Go on from the numbers in a saved state."""
        self._sum, self._n_rows = float(state["loss_sum"][0]), int(state["rows"][0])


def collect_state(optimizer: Optimizer, numbers: Mapping[str, float]) -> dict[str, Array]:
    """Return copies of the optimizer's arrays, and these numbers, each as an array."""
    state = {OPTIMIZER_PREFIX + name: array.copy() for name, array in optimizer.state.items()}
    return state | {name: np.array([number]) for name, number in numbers.items()}


def restore_optimizer(optimizer: Optimizer, vector: ParameterVector, state: Mapping[str, Array]) -> None:
    """Give the optimizer of these parameters its arrays from what :func:`collect_state` returned."""
    arrays = {n.removeprefix(OPTIMIZER_PREFIX): a for n, a in state.items() if n.startswith(OPTIMIZER_PREFIX)}
    optimizer.restore_state(arrays, vector.size, vector.values.dtype)
