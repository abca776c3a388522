"""Lowering the learning rate when progress stops."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any, ClassVar, final

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.callbacks.best import BestValue
from chainrule.errors import InvalidInputError, shown
from chainrule.named import also_called
from chainrule.ranges import is_finite

__all__ = ["ReduceOnPlateau"]


@also_called(
    arguments={
        "threshold_mode": "'rel' is relative=True, and 'abs' is relative=False.",
        "min_lr": "Its share of the learning rate is 'min_factor'.",
    }
)
@final
@dataclass(eq=False)
class ReduceOnPlateau(Callback):
    """Multiply the learning rate by ``factor`` after ``patience`` epochs without a new best.

    With ``relative``, ``min_delta`` is a share of the best value, as by default in PyTorch. Epochs of the ``cooldown``
    after a lower rate are not counted. PyTorch's ``patience`` is smaller by 1.

    ``min_factor`` bounds how far the rate can sink below its setting. An :class:`EarlyStopping` beside it needs the
    longer patience of the two. With ``lowest_rate``, the run stops instead of lowering a rate that is at or below it.
    ``tol`` is that of :class:`EarlyStopping`.
    """

    steers: ClassVar[bool] = True
    watches_network: ClassVar[bool] = False

    monitor: str | None = None
    factor: float = 0.1
    patience: int = 5
    min_delta: float = 1e-4
    min_factor: float = 1e-4
    cooldown: int = 0
    relative: bool = False
    tol: float | None = None
    lowest_rate: float = 0.0

    def __post_init__(self) -> None:
        if not (is_finite(self.factor) and 0 < self.factor < 1):
            raise InvalidInputError(
                f"The factor of ReduceOnPlateau is {shown(self.factor)}; it must lie between 0 and 1."
            )
        bounds = {"patience": 1, "min_delta": 0, "min_factor": 0, "cooldown": 0, "lowest_rate": 0}
        for name, low in {**bounds, **({} if self.tol is None else {"tol": 0})}.items():
            value = getattr(self, name)
            if not (is_finite(value) and value >= low):
                raise InvalidInputError(f"The {name} of ReduceOnPlateau is {shown(value)}; it must be at least {low}.")
        if self.relative not in (False, True):
            raise InvalidInputError(
                f"The setting relative of ReduceOnPlateau is {shown(self.relative)}; give True or False."
            )
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
