"""Lowering the learning rate when progress stops."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.callbacks.best import BestValue
from chainrule.named import also_called
from chainrule.ranges import Range
from chainrule.settings import FROM_ONE, FROM_ZERO, CheckedSettings, Setting, documented

__all__ = ["ReduceOnPlateau"]


@also_called(
    arguments={
        "threshold_mode": "'rel' is relative=True, and 'abs' is relative=False.",
        "min_lr": "Its share of the learning rate is 'min_factor'.",
    }
)
@documented
@final
@dataclass(eq=False)
class ReduceOnPlateau(CheckedSettings, Callback):
    """Multiply the learning rate by ``factor`` after ``patience`` epochs without a new best value.

    PyTorch's ``patience`` is smaller by 1. An :class:`EarlyStopping` in the same fit needs a longer patience.

    Parameters
    ----------
    {settings}

    Examples
    --------
    >>> from chainrule import build_network, load_dataset
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(4,), epochs=8, learning_rate=0.1, seed=0)
    >>> plateau = ReduceOnPlateau(patience=1, factor=0.5, monitor="loss", min_delta=1.0)
    >>> rates = network.fit(moons, callbacks=[plateau]).history["learning_rate"]
    >>> rates[0], rates[-1] < rates[0]
    (0.1, True)
    """

    steers: ClassVar[bool] = True
    watches_network: ClassVar[bool] = False

    monitor: Annotated[
        str | None,
        Setting(
            "A quantity of the history; by default the validation loss, or the training loss without a validation set."
        ),
    ] = None
    factor: Annotated[float, Setting("Factor on the learning rate.", Range(0, 1))] = 0.1
    patience: Annotated[
        int, Setting("Lower the rate after this many epochs in a row without a new best value.", FROM_ONE)
    ] = 5
    min_delta: Annotated[
        float, Setting("How much better than the best a value must be to be the new best.", FROM_ZERO)
    ] = 1e-4
    min_factor: Annotated[float, Setting("Lower bound of the product of all factors.", FROM_ZERO)] = 1e-4
    cooldown: Annotated[int, Setting("Epochs after a reduction that do not count.", FROM_ZERO)] = 0
    relative: Annotated[bool, Setting("Whether min_delta is a share of the best value, as by default in PyTorch.")] = (
        False
    )
    tol: Annotated[
        float | None,
        Setting(
            "How much better than the best so far a value must be to restart the patience; by default min_delta.",
            FROM_ZERO,
        ),
    ] = None
    lowest_rate: Annotated[
        float, Setting("Stop the training instead of lowering a learning rate at or below this.", FROM_ZERO)
    ] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._best = BestValue()
        self._waited = self._cooling = 0

    def on_fit_start(self, run: TrainingRun) -> None:
        """Check that what is watched will be recorded."""
        self._best.watch(run, self.monitor)
        if run.is_fresh:
            self._waited = self._cooling = 0

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Count the epochs without progress and lower the rate when they are too many."""
        value, tol = run.history.last(self._best.name), self.min_delta if self.tol is None else self.tol
        is_progress = self._best.is_better(value, tol, relative=self.relative)
        self._best.is_new(value, self.min_delta, relative=self.relative)
        if is_progress or self._best.value is None or self._cooling:
            self._waited = 0
        else:
            self._waited += 1
        self._cooling = max(0, self._cooling - 1)
        if self._waited >= self.patience:
            rate = run.learning_rate
            if self.lowest_rate and rate <= self.lowest_rate and run.epoch < run.last_epoch:
                run.stop(f"{self._best.name} has not improved for {self.patience} epochs, at learning rate {rate:g}")
            run.rate_factor = max(run.rate_factor * self.factor, self.min_factor)
            self._waited, self._cooling = 0, self.cooldown

    def read_state(self) -> dict[str, Any]:
        """Return the best value, how long it has stood, and the rest of the cooldown."""
        return {"best": self._best.value, "waited": self._waited, "cooling": self._cooling}

    def write_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`read_state` returned."""
        self._best.restore(state["best"])
        self._waited = operator.index(state["waited"])
        self._cooling = operator.index(state.get("cooling", 0))
