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
    """One call of ``fit``: its state, and the methods by which callbacks influence it.

    Attributes
    ----------
    epoch
        The number of epochs completed since the network was made.
    batch
        The number of batches completed in the current epoch, as of the last call.
    first_epoch
        The value of ``epoch`` at which this fit began; a schedule counts from it.
    last_epoch
        The value of ``epoch`` at which this fit will end.
    n_batches
        The number of batches per epoch.
    seconds
        The training time so far in seconds, without the time for compiling.
    rate_factor
        A factor on the learning rate, in addition to the schedule; callbacks may change it.
    stop_reason
        The reason why the run stopped before its last epoch; None while it continues.
    is_interrupted
        Whether the run was interrupted and is meant to be resumed.
    measure_validation
        A function that measures the current weights on the validation set, if ``has_validation``.
    describe
        A function that returns the settings of the network as JSON values, for files; raises InvalidInputError if a
        setting cannot be stored in a file.
    save
        A function that writes the network, with its current weights, to a file that :meth:`NeuralNetwork.load` reads.
    capture
        A function that returns everything that the next step depends on, as JSON values and arrays by name.
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
        """End the run after the current batch or epoch. The first reason is kept."""
        self.stop_reason = self.stop_reason or reason

    def interrupt(self, reason: str) -> None:
        """End the run as one that will be resumed: callbacks do not restore weights."""
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
    """Base class of callbacks. A subclass overrides the methods that it needs.

    A callback whose decisions depend on earlier calls returns its state in :meth:`read_state` and restores it in
    :meth:`write_state`, so that a resumed run makes the same decisions. ``order`` determines which callback of a fit is
    called first: lower numbers before higher ones. ``steers`` states that the callback changes the course of the
    training, so that a run cannot be resumed without it.

    Many batches are trained in one call of compiled code. A callback with :meth:`on_batch_end` is called after every
    batch, unless it sets ``watches_every_batch`` to False. It is then called five to forty times per second and at the
    end of every epoch, which is enough for a progress bar, and small networks train several times as fast. The results
    have the same bits in both cases, if the callback changes nothing. A callback that reads only the history and the
    run, and not the network, sets ``watches_network`` to False, so that an engine on a GPU need not copy the weights.

    A method receives the :class:`TrainingRun`, whose ``stop`` ends the training after the current epoch. This callback
    limits the training to an hour::

        class OneHour(Callback):
            def on_epoch_end(self, run):
                if run.seconds > 3600:
                    run.stop("an hour has passed")
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
