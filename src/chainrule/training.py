"""The one fit loop, for every engine.

    for each epoch:
        for each mini-batch:  forward, loss, backward, update        (the engine may take many in one call)
        loss, metrics and validation into the history
        callbacks

The loss and the metrics of the training rows are those of the batches as they were trained on, each before its update;
validation is measured after the epoch. :mod:`chainrule.run_state` takes up a run between any two batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.data.batches import Batch, Batches
from chainrule.errors import DivergenceError
from chainrule.kernels.compiling import training_clock
from chainrule.metrics import Metric
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.threads import limited_threads
from chainrule.types import Array

__all__ = ["EpochRecord", "train"]

# How long callbacks that do not watch every batch may wait for a call, and how many rows may be trained on meanwhile.
SECONDS_A_CALL = 0.1
ROWS_A_CALL = 2**16

_ELSEWHERE = "another process of the run was stopped"


class EpochRecord:
    """The outputs, targets and weights of the epoch under way, from which its training metrics are taken.

    It has room for ``n_rows``; of an epoch with more, the last so many count.
    """

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows
        self.arrays: dict[str, Array] = {}
        self.n_recorded = 0

    def add(self, targets: Array, weights: Array | None, predictions: Array) -> None:
        """Copy some rows in, where there is no room over the oldest."""
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
        """Return the metrics over what was recorded, and start a new record."""
        rows = slice(0, self.n_recorded)
        arrays = {name: array[rows] for name, array in self.arrays.items()}
        self.n_recorded = 0
        return {m.name: m(arrays["targets"], arrays["predictions"], arrays.get("weights")) for m in metrics}


def train(run: TrainingRun, batches: Batches, validation: Batch | None, record: EpochRecord) -> None:
    """Train until ``run.last_epoch``, or until something stops the run.

    Raises
    ------
    DivergenceError
        As soon as the loss of a batch is not finite; the stack then holds the weights of its last whole epoch.
    """
    with limited_threads():
        _train(run, batches, validation, record)


def _train(run: TrainingRun, batches: Batches, validation: Batch | None, record: EpochRecord) -> None:
    callbacks = run.callbacks = sorted(run.callbacks, key=lambda callback: callback.order)
    pace = _Pace(callbacks, batches.batch_size)
    watches_network = any(callback.watches_network for callback in callbacks)
    started: list[Callback] = []
    finite_weights = run.session.keep_weights()
    try:
        for callback in callbacks:
            callback.on_fit_start(run)
            started.append(callback)
        while run.epoch < run.last_epoch and _goes_on(run):
            if run.batch == 0:
                for callback in callbacks:
                    callback.on_epoch_start(run)
            start = training_clock()
            if not _train_epoch(run, batches, record, pace):
                break
            _close_epoch(run, validation, record, training_clock() - start)
            finite_weights = _copy_weights(run)
            if watches_network:
                run.session.update_stack()
            for callback in callbacks:
                callback.on_epoch_end(run)
            if watches_network:
                run.session.adopt_stack()
    except DivergenceError as error:
        run.stop(str(error))
        run.session.put_back(finite_weights)  # those since then led to numbers that overflow
        raise
    finally:
        with contextlib.ExitStack() as last_words:  # each has its say, whatever another raises
            for callback in reversed(started):
                last_words.callback(callback.on_fit_end, run)
            last_words.callback(run.session.update_stack)  # the first of them


class _Pace:
    """How many steps are taken until callbacks are asked; the results do not depend on it."""

    def __init__(self, callbacks: Sequence[Callback], batch_size: int) -> None:
        self.watchers = [c for c in callbacks if type(c).on_batch_end is not Callback.on_batch_end]
        watches_all = any(callback.watches_every_batch for callback in self.watchers)
        self.watches_network = any(callback.watches_network for callback in self.watchers)
        self.most = 1 if watches_all else max(1, ROWS_A_CALL // batch_size)
        self.n_steps = min(self.most, 16)

    def note(self, seconds: float) -> None:
        """Take longer or shorter strides, after a call that took so long."""
        if seconds < SECONDS_A_CALL / 4:
            self.n_steps = min(self.most, 4 * self.n_steps)
        elif seconds > 2 * SECONDS_A_CALL:
            self.n_steps = max(1, self.n_steps // 2)


def _goes_on(run: TrainingRun) -> bool:
    """Whether nothing has stopped the run, here or in a process that trains with this one.

    An epoch is completed even if something has stopped the run in its middle, before a kill and a resume.
    """
    stopped, going_on = 1, 2  # and 0: interrupted, to be resumed
    own = going_on if run.stop_reason is None or run.batch > 0 else stopped
    agreed = run.session.agree(0 if run.is_interrupted else own)
    if agreed == 0:
        run.interrupt(_ELSEWHERE)
    elif agreed == stopped:
        run.stop(_ELSEWHERE)
    return agreed == going_on


def _train_epoch(run: TrainingRun, batches: Batches, record: EpochRecord, pace: _Pace) -> bool:
    """Train on the batches that are left of the epoch; return whether they were all done."""

    def note(targets: Array, weights: Array | None, outputs: Array) -> None:
        record.add(targets, weights, run.plan.loss.point_predictions(outputs))

    while True:
        start, left = training_clock(), run.n_batches - run.batch
        n_steps = run.session.agree(0 if run.is_interrupted else max(min(pace.n_steps, left), 1))
        if not n_steps:
            run.interrupt(_ELSEWHERE)
            return False
        if not left:
            return True
        rates = _learning_rates(run, n_steps)
        run.learning_rate = float(rates[-1])
        run.session.train_batches(batches, run.epoch, run.batch, rates, note if run.metrics else None)
        run.batch += len(rates)
        pace.note(training_clock() - start)
        if pace.watches_network:
            run.session.update_stack()
        for callback in pace.watchers:
            callback.on_batch_end(run)
        if pace.watches_network:
            run.session.adopt_stack()


def _learning_rates(run: TrainingRun, n_steps: int) -> Array:
    """Return the learning rates of the next steps."""
    rate = run.plan.optimizer.learning_rate * run.rate_factor
    if run.schedule is None:
        return np.full(n_steps, rate)
    start = run.epoch - run.first_epoch
    factors = [run.schedule(start + (run.batch + i) / run.n_batches) for i in range(n_steps)]
    return rate * np.array(factors, np.float64)


@np.errstate(all="ignore")  # what is not finite is reported as such, not by warnings
def _close_epoch(run: TrainingRun, validation: Batch | None, record: EpochRecord, seconds: float) -> None:
    """Write the epoch into the history."""
    run.epoch, run.batch = run.epoch + 1, 0
    run.seconds += seconds
    row: dict[str, float] = {"epoch": run.epoch, "loss": run.session.take_mean_loss()}
    if run.plan.penalty is not None:
        row["penalty"] = run.session.penalty_value()
    if run.metrics:
        row |= record.measure(run.metrics)
    if validation is not None:
        loss, outputs = run.session.evaluate(*validation)
        predictions = run.plan.loss.point_predictions(outputs)
        row["validation_loss"] = loss
        for metric in run.metrics:
            row[f"validation_{metric.name}"] = metric(validation.targets, predictions, validation.weights)
    row |= {"learning_rate": run.learning_rate, "gradient_norm": run.session.gradient_norm(), "seconds": seconds}
    run.history.append(row)
    if isinstance(run.plan.optimizer, ObjectiveOptimizer) and run.plan.optimizer.converged:
        run.stop(f"{type(run.plan.optimizer).__name__} found no way further down")


def _copy_weights(run: TrainingRun) -> Any:
    """Return a copy of the weights that the epoch has left, which are finite."""
    place = run.session.find_not_finite()
    if place is not None:
        raise DivergenceError(
            f"Training stopped: epoch {run.epoch} left {place} not finite, at learning rate {run.learning_rate:g}. Try "
            "a smaller learning rate, clip_norm=1, or standardised inputs; the network holds the weights of the last "
            "epoch before."
        )
    return run.session.keep_weights()
