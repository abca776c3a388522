"""What a callback sees of a training run, and when it is called."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from chainrule.engines.base import Evaluation, Session, TrainingPlan
from chainrule.errors import InvalidInputError, nearest_name
from chainrule.history import History, quantity_name
from chainrule.metrics import Metric, lower_is_better
from chainrule.named import FixedAttributes, also_called
from chainrule.schedules import Schedule
from chainrule.stack import LayerStack
from chainrule.types import Array

__all__ = ["Callback", "TrainingRun"]


@dataclass
class TrainingRun:
    """One call of ``fit``: where it stands, and the handles to change its course.

    Attributes
    ----------
    epoch
        Epochs completed since the network was made.
    batch
        Batches completed in the epoch under way, as of the last call.
    first_epoch
        The value of ``epoch`` at which this fit began; a schedule counts from it.
    last_epoch
        The value of ``epoch`` at which this fit will end.
    n_batches
        Batches an epoch.
    seconds
        Seconds spent in training so far, without those in which anything was compiled.
    rate_factor
        Multiplies the learning rate, besides the schedule; callbacks may change it.
    stop_reason
        Why the run stopped before its last epoch, in words; None while it goes on.
    is_interrupted
        Whether it was stopped from outside and is meant to be resumed.
    measure_validation
        Measures the present weights on the validation set, if ``has_validation``.
    describe
        Returns the network's settings as JSON values, for files; raises InvalidInputError if no file can hold them.
    save
        Writes the network, with its present weights, to a file that :meth:`NeuralNetwork.load` reads.
    capture
        Returns everything the next step depends on, as JSON values and arrays by name.
    """

    stack: LayerStack
    session: Session
    plan: TrainingPlan
    history: History
    last_epoch: int
    n_batches: int
    schedule: Schedule | None = None
    metrics: Sequence[Metric] = ()
    has_validation: bool = False
    epoch: int = 0
    batch: int = 0
    first_epoch: int = 0
    rate_factor: float = 1.0
    learning_rate: float = 0.0
    seconds: float = 0.0
    stop_reason: str | None = None
    is_interrupted: bool = False
    callbacks: Sequence[Callback] = ()
    measure_validation: Callable[[], Evaluation] = lambda: Evaluation(math.nan, np.empty(0))
    describe: Callable[[], dict[str, Any]] = dict
    save: Callable[[str | Path], None] = lambda path: None
    capture: Callable[[], tuple[dict[str, Any], dict[str, Array]]] = lambda: ({}, {})

    def stop(self, reason: str) -> None:
        """End the run after the batch or epoch under way; the first reason given is kept."""
        self.stop_reason = self.stop_reason or reason

    def interrupt(self, reason: str) -> None:
        """End the run as one that will be resumed: nothing is restored or concluded."""
        self.is_interrupted = True
        self.stop(reason)

    @property
    def is_fresh(self) -> bool:
        """Whether this fit has completed no epoch yet, so that callbacks start afresh."""
        return self.epoch == self.first_epoch

    @property
    def default_monitor(self) -> str:
        """The quantity that callbacks watch when not told: the validation loss where there is one."""
        return "validation_loss" if self.has_validation else "loss"

    def check_monitor(self, name: str) -> str:
        """Return what the history calls the quantity ``name``; raise InvalidInputError if it is not recorded."""
        known = ["loss", *(metric.name for metric in self.metrics)]
        known += [f"validation_{quantity}" for quantity in known] if self.has_validation else []
        recorded = name if name in known else quantity_name(name)
        if recorded not in (*known, "objective"):
            lacks_rows = recorded.startswith("validation_") and not self.has_validation
            hint = "; give fit a validation set" if lacks_rows else ""
            raise InvalidInputError(
                f"A callback watches '{name}', which this fit does not record{hint}.{nearest_name(name, known)} "
                f"Recorded are: {', '.join(known)}."
            )
        return recorded

    def lower_is_better(self, name: str) -> bool:
        """Tell whether small values of the recorded quantity are good."""
        return lower_is_better(name, self.metrics)


@also_called(
    arguments={
        "mode": "The metric determines whether lower or higher values are better.",
        "verbose": "Give verbose=True to the network.",
        "threshold": "min_delta",
    }
)
class Callback(FixedAttributes):
    """Base class of callbacks; override what you need.

    A callback whose decisions depend on what it has seen keeps that in :meth:`read_state` and :meth:`write_state`, so
    that a resumed run decides the same. ``order`` says who is called first among callbacks of one fit: lower before
    higher. ``steers`` says that the callback changes the course of training, so that no run is resumed without it.

    Networks are trained many batches at a time. A callback with :meth:`on_batch_end` gets a call for each of them
    unless it sets ``watches_every_batch`` to False: then it is called some five to forty times a second and at the end
    of every epoch, as is enough for a progress bar, and small networks train several times as fast. If it only watches,
    the results are the same bits either way. One that does not look at the network itself, but at the history and the
    run, sets ``watches_network`` to False: an engine on a GPU then need not bring the weights back for it.
    """

    order: ClassVar[int] = 0
    steers: ClassVar[bool] = False
    watches_every_batch: bool = True
    watches_network: ClassVar[bool] = True

    def on_fit_start(self, run: TrainingRun) -> None:
        """Called once, before the first batch, also when a run is resumed."""

    def on_epoch_start(self, run: TrainingRun) -> None:
        """Called before the first batch of an epoch."""

    def on_batch_end(self, run: TrainingRun) -> None:
        """Called after each step, or now and then; see ``watches_every_batch``."""

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Called when the epoch is complete and in ``run.history``."""

    def on_fit_end(self, run: TrainingRun) -> None:
        """Called once when the run is over, whatever ended it."""

    def read_state(self) -> dict[str, Any]:
        """Return what the callback must remember: JSON values and arrays, by name."""
        return {}

    def write_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`read_state` returned."""
