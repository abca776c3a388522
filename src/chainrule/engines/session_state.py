"""The state that sessions have besides the weights: the running mean loss, averaged weights and the optimizer."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.engines.base import Session, TrainingPlan
from chainrule.optimizer import Optimizer
from chainrule.parameters import ParameterVector
from chainrule.types import Array

__all__ = ["RunningLoss", "WeightAverage", "collect_state", "restore_optimizer"]

OPTIMIZER_PREFIX = "optimizer."  # prefix of the names of the optimizer's arrays
TRAINED_PREFIX = "trained."  # prefix of the names of the trained weights, if the network has their average


class RunningLoss:
    """The mean loss over the rows of the steps since the last call of :meth:`pop_mean`."""

    def __init__(self) -> None:
        self._sum, self._n_rows = 0.0, 0

    def add(self, loss: float, n_rows: int) -> None:
        """Add the mean loss of a batch of ``n_rows`` rows."""
        self._sum += loss * n_rows
        self._n_rows += n_rows

    def add_batches(self, losses: Array, batch_size: int, n_rows: int) -> None:
        """Add batches with ``n_rows`` in all; the last has what is left by the inactive, which are full."""
        parts = losses * batch_size
        parts[-1] = losses[-1] * (n_rows - (len(losses) - 1) * batch_size)
        # The sum is sequential, so that its bits do not depend on the number of batches that are added in one call.
        self._sum = float(np.cumsum(np.concatenate(([self._sum], parts)))[-1])
        self._n_rows += n_rows

    def pop_mean(self) -> float:
        """Return the mean, NaN without rows, and start a new one."""
        mean = self._sum / self._n_rows if self._n_rows else math.nan
        self._sum, self._n_rows = 0.0, 0
        return mean

    def read(self) -> dict[str, float]:
        """Return the sum and the number of rows."""
        return {"loss_sum": self._sum, "rows": self._n_rows}

    def write(self, state: Mapping[str, Array]) -> None:
        """Set the sum and the number of rows from a saved state."""
        self._sum, self._n_rows = float(state["loss_sum"][0]), int(state["rows"][0])


class WeightAverage:
    """An average of the weights, if the plan has one: a moving average over steps, or the mean over epochs (SWA).

    Within :meth:`training`, the network has the trained weights. Otherwise it has the average, so that evaluations,
    predictions and files use the average. With SWA, running statistics are averaged too. The arrays may be tensors of
    PyTorch. Source: Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization".

    Attributes
    ----------
    inactive
        The average within :meth:`training`, and the trained weights otherwise; empty without an average.
    """

    def __init__(self, plan: TrainingPlan, parameters: Any, statistics: Sequence[Any]) -> None:
        self._decay, self._first_epoch = plan.ema_decay, plan.swa_from
        self._active: list[Any] = [] if plan.ema_decay is None and plan.swa_from is None else [parameters]
        self._active += statistics if plan.swa_from is not None else []
        self.inactive = [array * 1 for array in self._active]

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Within the block, set the network to the trained weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def after_step(self) -> None:
        """Update the moving average after a step; called within :meth:`training`."""
        if self._decay is not None:
            for average, weights in zip(self.inactive, self._active, strict=True):
                average[...] += (1 - self._decay) * (weights - average)

    def after_epoch(self, number: int) -> None:
        """Update the mean over epochs after an epoch; called outside :meth:`training`."""
        if self._first_epoch is not None:
            n_averaged = max(number - self._first_epoch + 1, 1)
            for average, weights in zip(self._active, self.inactive, strict=True):
                average[...] = weights if n_averaged == 1 else average + (weights - average) / n_averaged

    def read(self, session: Session) -> dict[str, Array]:
        """Return the trained weights."""
        if not self._active:
            return {}
        with self.training():
            return {f"{TRAINED_PREFIX}{name}": array for name, array in session.read_weights().items()}

    def write(self, session: Session, state: Mapping[str, Array]) -> None:
        """Set the trained weights to the result of :meth:`read`."""
        if self._active:
            with self.training():
                names = [name for name in state if name.startswith(TRAINED_PREFIX)]
                session.write_weights({name.removeprefix(TRAINED_PREFIX): state[name] for name in names})

    def _swap(self) -> None:
        for active, inactive in zip(self._active, self.inactive, strict=True):
            copy = active * 1
            active[...] = inactive
            inactive[...] = copy


def collect_state(optimizer: Optimizer, numbers: Mapping[str, float]) -> dict[str, Array]:
    """Return copies of the optimizer's arrays, and ``numbers`` as arrays."""
    state = {OPTIMIZER_PREFIX + name: array.copy() for name, array in optimizer.state.items()}
    return state | {name: np.array([number]) for name, number in numbers.items()}


def restore_optimizer(optimizer: Optimizer, vector: ParameterVector, state: Mapping[str, Array]) -> None:
    """Set the arrays of the optimizer to those in the result of :func:`collect_state`."""
    arrays = {n.removeprefix(OPTIMIZER_PREFIX): a for n, a in state.items() if n.startswith(OPTIMIZER_PREFIX)}
    optimizer.restore_state(arrays, vector.size, vector.values.dtype)
