"""The one fit loop, for every engine.

    for each epoch:
        for each mini-batch:  forward, loss, backward, update        (the engine may take many in one call)
        loss, metrics and validation into the history
        callbacks

The loss and the metrics of the training rows are those of the batches as they were trained on, each before its update;
validation is measured after the epoch. :mod:`chainrule.run_state` saves and restores a run between any two batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.callbacks import Callback, TrainingRun
from chainrule.data.augment import Augmentation
from chainrule.data.batches import checksum
from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.data.weights import weights_of_rows
from chainrule.engines import Engine, TrainingPlan, describe_engine
from chainrule.engines.base import Evaluation
from chainrule.engines.virtual_adversarial import check_virtual_adversarial
from chainrule.errors import DivergenceError, InvalidInputError
from chainrule.fit_data import training_batches, validation_rows
from chainrule.history import History
from chainrule.kernels.compiling import training_clock
from chainrule.metrics import EpochRecord
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.run_state import SavedRun, capture
from chainrule.stack import LayerStack
from chainrule.threads import limited_threads
from chainrule.types import Array, is_sparse

__all__ = ["Trainer"]

# How long callbacks that do not watch every batch may wait for a call, and how many rows may be trained on meanwhile.
SECONDS_A_CALL = 0.1
ROWS_A_CALL = 2**16
# The training metrics of an epoch of a stream are those of its last rows, at most this many.
ROWS_RECORDED = 2**17

_ELSEWHERE = "another process of the run was stopped"


class Trainer:
    """A training run with its data, checked and ready to train.

    ``fit``, ``resume``, the rate finder and the gradient check all use it. ``describe`` and ``save`` are those of the
    network; ``saved`` is the run in a checkpoint that is to go on.

    Attributes
    ----------
    run
        The run, as callbacks see it.
    plan
        The loss, the optimizer and the other settings of training.
    batches
        The batches of an epoch.
    validation
        The rows measured after each epoch, if there are any.
    """

    def __init__(
        self,
        engine: Engine,
        stack: LayerStack,
        plan: TrainingPlan,
        history: History,
        training: Dataset | RowStream,
        validation: Dataset | None = None,
        callbacks: Sequence[Callback] = (),
        *,
        describe: Callable[[], dict[str, Any]],
        save: Callable[[str | Path], None],
        augmentation: Augmentation | None = None,
        saved: SavedRun | None = None,
    ) -> None:
        _check_callbacks(callbacks)
        _check_metrics(plan, training)
        sparse = isinstance(training, Dataset) and is_sparse(training.X)
        check_virtual_adversarial(stack, plan, is_sparse=sparse)
        self.engine, self.plan, self._save_network = engine, plan, save
        self.batches = training_batches(stack, plan, training, augmentation)
        self.validation = None if validation is None else validation_rows(stack, plan, validation, training.target)
        n_rows = min(training.n_rows, ROWS_RECORDED) if isinstance(training, RowStream) else training.n_rows
        if saved is None:
            epoch = history.n_epochs
            self.record = EpochRecord(n_rows)
            place: dict[str, Any] = {"epoch": epoch, "first_epoch": epoch, "last_epoch": epoch + plan.epochs}
        else:
            saved.check_data(self._fingerprint())
            place = saved.place(history, self.batches)
            self.record = saved.record(n_rows, stack, plan, self.batches)
        self.run = TrainingRun(
            stack,
            engine.open(stack, plan),
            plan,
            history,
            n_batches=self.batches.n_batches,
            schedule=plan.schedule,
            metrics=plan.metrics,
            has_validation=self.validation is not None,
            callbacks=sorted(callbacks, key=lambda callback: callback.order),
            measure_validation=self._measure_validation,
            describe=describe,
            save=self._save,
            capture=self._capture,
            **place,
        )
        if saved is not None:
            saved.restore(self.run)

    def train(self) -> None:
        """Train until ``run.last_epoch``, or until something stops the run.

        Raises
        ------
        DivergenceError
            As soon as the loss of a batch is not finite; the stack then holds the weights of its last whole epoch.
        """
        run, session = self.run, self.run.session
        pace = _Pace(run.callbacks, self.batches.batch_size)
        watches_network = any(callback.watches_network for callback in run.callbacks)
        recorder = self._record_batch if run.metrics else None
        started: list[Callback] = []
        with limited_threads():
            finite_weights = session.copy_weights()
            try:
                for callback in run.callbacks:
                    callback.on_fit_start(run)
                    started.append(callback)
                while run.epoch < run.last_epoch and self._goes_on():
                    if run.batch == 0:
                        for callback in run.callbacks:
                            callback.on_epoch_start(run)
                    start = training_clock()
                    while n_steps := self._agree_on_steps(pace.n_steps):
                        call_start, rates = training_clock(), self._learning_rates(n_steps)
                        run.learning_rate = float(rates[-1])
                        session.train_batches(self.batches, run.epoch, run.batch, rates, recorder)
                        run.batch += n_steps
                        pace.note(training_clock() - call_start)
                        if pace.watches_network:
                            session.update_stack()
                        for callback in pace.watchers:
                            callback.on_batch_end(run)
                        if pace.watches_network:
                            session.load_stack()
                    if n_steps is None:
                        break
                    self._close_epoch(training_clock() - start)
                    finite_weights = self._copy_weights()
                    if watches_network:
                        session.update_stack()
                    for callback in run.callbacks:
                        callback.on_epoch_end(run)
                    if watches_network:
                        session.load_stack()
            except DivergenceError as error:
                run.stop(str(error))
                session.restore_weights(finite_weights)  # the weights since then led to numbers that overflow
                raise
            finally:
                with contextlib.ExitStack() as endings:  # all of them are called, whatever another raises
                    for callback in reversed(started):
                        endings.callback(callback.on_fit_end, run)
                    endings.callback(session.update_stack)  # called first

    def _goes_on(self) -> bool:
        """Whether nothing has stopped the run, here or in a process that trains with this one.

        An epoch is completed even if something has stopped the run in its middle, before a kill and a resume.
        """
        run = self.run
        stopped, going_on = 1, 2  # and 0: interrupted, to be resumed
        own = going_on if run.stop_reason is None or run.batch > 0 else stopped
        agreed = run.session.all_reduce_min(0 if run.is_interrupted else own)
        if agreed == 0:
            run.interrupt(_ELSEWHERE)
        elif agreed == stopped:
            run.stop(_ELSEWHERE)
        return agreed == going_on

    def _agree_on_steps(self, most: int) -> int | None:
        """Return the number of steps until the next call of the callbacks: 0 at the end of the epoch.

        None means that the run was interrupted, here or in a process that trains with this one.
        """
        run = self.run
        left = run.n_batches - run.batch
        n_steps = run.session.all_reduce_min(0 if run.is_interrupted else max(min(most, left), 1))
        if not n_steps:
            run.interrupt(_ELSEWHERE)
            return None
        return n_steps if left else 0

    def _record_batch(self, targets: Array, weights: Array | None, outputs: Array) -> None:
        self.record.add(targets, weights_of_rows(weights), self.run.plan.loss.predictions_of(outputs))

    def _learning_rates(self, n_steps: int) -> Array:
        """Return the learning rates of the next steps."""
        run = self.run
        rate = run.plan.optimizer.learning_rate * run.rate_factor
        if run.schedule is None:
            return np.full(n_steps, rate)
        start = run.epoch - run.first_epoch
        factors = [run.schedule(start + (run.batch + i) / run.n_batches) for i in range(n_steps)]
        return rate * np.array(factors, np.float64)

    @np.errstate(all="ignore")  # numbers that are not finite are reported, not warned of
    def _close_epoch(self, seconds: float) -> None:
        """Write the epoch into the history."""
        run, optimizer = self.run, self.run.plan.optimizer
        run.epoch, run.batch = run.epoch + 1, 0
        run.seconds += seconds
        row: dict[str, float] = {"epoch": run.epoch, "loss": run.session.pop_mean_loss()}
        if run.plan.penalty is not None:
            row["penalty"] = run.session.penalty_value()
        if run.metrics:
            row |= self.record.measure(run.metrics)
        if self.validation is not None:
            loss, outputs = self._measure_validation()
            targets, weights = self.validation.targets, weights_of_rows(self.validation.weights)
            predictions = run.plan.loss.predictions_of(outputs)
            row["validation_loss"] = loss
            for metric in run.metrics:
                row[f"validation_{metric.name}"] = metric(targets, predictions, weights)
        row |= {"learning_rate": run.learning_rate, "gradient_norm": run.session.gradient_norm(), "seconds": seconds}
        run.history.append(row)
        if isinstance(optimizer, ObjectiveOptimizer) and optimizer.stop_reason:
            run.stop(optimizer.stop_reason)

    def _measure_validation(self) -> Evaluation:
        """Return the loss and the outputs for the validation set."""
        assert self.validation is not None  # a monitor of the validation loss is checked before
        return self.run.session.evaluate(*self.validation)

    def _copy_weights(self) -> Any:
        """Return a copy of the weights after an epoch; raise DivergenceError if they are not finite."""
        run = self.run
        place = run.session.find_non_finite()
        if place is not None:
            raise DivergenceError(
                f"Training stopped: epoch {run.epoch} left {place} not finite, at learning rate {run.learning_rate:g}. "
                "Try a smaller learning rate, clip_norm=1, or standardised inputs; the network holds the weights of "
                "the last epoch before."
            )
        return run.session.copy_weights()

    def _save(self, path: str | Path) -> None:
        """Write the network with its present weights."""
        self.run.session.update_stack()
        self._save_network(path)

    def _capture(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return everything that the next step depends on, and what tells these data from others."""
        values, arrays = capture(self.run, self.record)
        return {**values, "data": self._fingerprint(), "engine": describe_engine(self.engine)}, arrays

    def _fingerprint(self) -> list[int]:
        """Return numbers that tell these data from others."""
        held_out = [part for part in self.validation or () if part is not None]
        return [*self.batches.fingerprint(), *map(checksum, held_out)]


class _Pace:
    """The number of steps between two calls of the callbacks; the results do not depend on it."""

    def __init__(self, callbacks: Sequence[Callback], batch_size: int) -> None:
        self.watchers = [c for c in callbacks if type(c).on_batch_end is not Callback.on_batch_end]
        watches_all = any(callback.watches_every_batch for callback in self.watchers)
        self.watches_network = any(callback.watches_network for callback in self.watchers)
        self.most = 1 if watches_all else max(1, ROWS_A_CALL // batch_size)
        self.n_steps = min(self.most, 16)

    def note(self, seconds: float) -> None:
        """Adapt the number of steps to the seconds that the last call took."""
        if seconds < SECONDS_A_CALL / 4:
            self.n_steps = min(self.most, 4 * self.n_steps)
        elif seconds > 2 * SECONDS_A_CALL:
            self.n_steps = max(1, self.n_steps // 2)


def _check_metrics(plan: TrainingPlan, training: Dataset | RowStream) -> None:
    """Refuse a metric of classes where numbers other than 0 and 1 are predicted."""
    if not isinstance(training, Dataset) or training.task != "regression" or training.y is None:
        return
    for metric in plan.metrics:
        if "regression" not in metric.tasks and not np.isin(training.y, (0, 1)).all():
            raise InvalidInputError(
                f"The metric {metric.name} is for classes, and the targets are numbers: take r2, mean_absolute_error "
                "or root_mean_squared_error."
            )


def _check_callbacks(callbacks: Sequence[Callback]) -> None:
    given: Sequence[Any] = callbacks  # a user may give anything
    for callback in given:
        if not isinstance(callback, Callback):
            hint = " Did you forget to call it?" if isinstance(callback, type) else ""
            raise InvalidInputError(f"callbacks holds {callback!r}, which is not a Callback.{hint}")
