"""What every session carries from step to step beside the weights, and saves: the running mean loss, the optimizer."""

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

OPTIMIZER_PREFIX = "optimizer."  # of the optimizer's arrays among those of a session
TRAINED_PREFIX = "trained."  # of the weights that are trained, where the network shows their average


class RunningLoss:
    """The mean loss over the rows trained on since it was taken last."""

    def __init__(self) -> None:
        self._sum, self._n_rows = 0.0, 0

    def add(self, loss: float, n_rows: int) -> None:
        """Add a batch of so many rows, whose mean loss this is."""
        self._sum += loss * n_rows
        self._n_rows += n_rows

    def add_batches(self, losses: Array, batch_size: int, n_rows: int) -> None:
        """Add batches with ``n_rows`` in all; the last has what is left by the inactive, which are full."""
        parts = losses * batch_size
        parts[-1] = losses[-1] * (n_rows - (len(losses) - 1) * batch_size)
        # One after another, as if every batch were added by itself: however many are taken at a time, the bits agree.
        self._sum = float(np.cumsum(np.concatenate(([self._sum], parts)))[-1])
        self._n_rows += n_rows

    def pop_mean(self) -> float:
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


class WeightAverage:
    """An average of the weights, if the plan has one: a moving average over steps, or the mean over epochs (SWA).

    The network predicts with the average, and only within :meth:`training` it has the weights that are trained. So
    whatever measures, saves or keeps the network outside of it gets the average. With SWA, running statistics are
    averaged too. The arrays may be tensors of PyTorch. Izmailov et al. 2018, "Averaging weights leads to wider optima
    and better generalization".

    Attributes
    ----------
    inactive
        The average within :meth:`training`, and otherwise the weights that are trained; empty without an average.
    """

    def __init__(self, plan: TrainingPlan, parameters: Any, statistics: Sequence[Any]) -> None:
        self._decay, self._first_epoch = plan.ema_decay, plan.swa_from
        self._shown: list[Any] = [] if plan.ema_decay is None and plan.swa_from is None else [parameters]
        self._shown += statistics if plan.swa_from is not None else []
        self.inactive = [array * 1 for array in self._shown]

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Let the network have the weights that are trained."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def after_step(self) -> None:
        """Take a step into the moving average; called within :meth:`training`."""
        if self._decay is not None:
            for average, weights in zip(self.inactive, self._shown, strict=True):
                average[...] += (1 - self._decay) * (weights - average)

    def after_epoch(self, number: int) -> None:
        """Take an epoch into the mean: all from the first one on count the same."""
        if self._first_epoch is not None:
            n_averaged = max(number - self._first_epoch + 1, 1)
            for average, weights in zip(self._shown, self.inactive, strict=True):
                average[...] = weights if n_averaged == 1 else average + (weights - average) / n_averaged

    def read(self, session: Session) -> dict[str, Array]:
        """Return the weights that are trained."""
        if not self._shown:
            return {}
        with self.training():
            return {f"{TRAINED_PREFIX}{name}": array for name, array in session.read_weights().items()}

    def write(self, session: Session, state: Mapping[str, Array]) -> None:
        """Take over what :meth:`read` returned."""
        if self._shown:
            with self.training():
                names = [name for name in state if name.startswith(TRAINED_PREFIX)]
                session.write_weights({name.removeprefix(TRAINED_PREFIX): state[name] for name in names})

    def _swap(self) -> None:
        for shown, other in zip(self._shown, self.inactive, strict=True):
            kept = shown * 1
            shown[...] = other
            other[...] = kept


def collect_state(optimizer: Optimizer, numbers: Mapping[str, float]) -> dict[str, Array]:
    """Return copies of the optimizer's arrays, and these numbers, each as an array."""
    state = {OPTIMIZER_PREFIX + name: array.copy() for name, array in optimizer.state.items()}
    return state | {name: np.array([number]) for name, number in numbers.items()}


def restore_optimizer(optimizer: Optimizer, vector: ParameterVector, state: Mapping[str, Array]) -> None:
    """Give the optimizer of these parameters its arrays from what :func:`collect_state` returned."""
    arrays = {n.removeprefix(OPTIMIZER_PREFIX): a for n, a in state.items() if n.startswith(OPTIMIZER_PREFIX)}
    optimizer.restore_state(arrays, vector.size, vector.values.dtype)
