"""Early stopping, by every criterion that is in use."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, final

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.callbacks.best import BestValue
from chainrule.errors import InvalidInputError
from chainrule.named import also_called
from chainrule.ranges import Range
from chainrule.settings import FROM_ONE, FROM_ZERO, CheckedSettings, Setting, documented
from chainrule.types import Array

__all__ = ["EarlyStopping"]


@also_called(
    arguments={
        "restore_best_weights": "restore_best",
        "start_from_epoch": "min_epochs",
        "n_iter_no_change": "patience",
    }
)
@documented
@final
@dataclass(eq=False)
class EarlyStopping(CheckedSettings, Callback):
    """Stop the training when more of it would not help, by one or more criteria on a quantity of the history.

    Parameters
    ----------
    {settings}

    Attributes
    ----------
    best_value
        The best value seen.
    best_epoch
        The epoch, counted from 1, that had it; 0 for the weights before the first epoch.

    Examples
    --------
    >>> regression_lab = EarlyStopping(monitor="loss", patience=None, tolerance=1e-2, window=5)
    >>> lecture_notes = EarlyStopping(monitor="loss", patience=None, delta=1e-5)
    """

    steers: ClassVar[bool] = True
    watches_network: ClassVar[bool] = False

    monitor: Annotated[
        str | None,
        Setting(
            "A quantity of the history; by default the validation loss, or the training loss without a validation set."
        ),
    ] = None
    patience: Annotated[
        int | None,
        Setting(
            "Stop after this many epochs in a row without a new best value. Only finite values can be the best. "
            "None switches the criterion off.",
            FROM_ONE,
        ),
    ] = 10
    min_delta: Annotated[
        float, Setting("How much better than the best a value must be to be the new best.", FROM_ZERO)
    ] = 0.0
    relative: Annotated[bool, Setting("Whether min_delta is a share of the best value.")] = False
    tolerance: Annotated[
        float | None,
        Setting(
            "Stop when the last values, as many as window, all lie within +-tolerance of the first of them.", FROM_ZERO
        ),
    ] = None
    window: Annotated[
        int, Setting("The number of values that are compared by tolerance.", Range(2, math.inf, includes_low=True))
    ] = 5
    delta: Annotated[
        float | None, Setting("Stop when the quantity changes by less than this from one epoch to the next.", FROM_ZERO)
    ] = None
    max_gap: Annotated[
        float | None, Setting("Stop when the validation loss exceeds the training loss by more than this.", FROM_ZERO)
    ] = None
    min_epochs: Annotated[int, Setting("Never stop before this many epochs of the fit.", FROM_ZERO)] = 0
    restore_best: Annotated[
        bool, Setting("Whether the network gets the weights of its best epoch when the training ends.")
    ] = True
    tol: Annotated[
        float | None,
        Setting(
            "How much better than the best so far a value must be to restart the patience; by default min_delta. "
            "With a tol, every better value is a new best, and progress in smaller steps stops the training, as "
            "in scikit-learn.",
            FROM_ZERO,
        ),
    ] = None
    from_start: Annotated[
        bool,
        Setting(
            "Whether the weights before the first epoch may be the best as well; the monitor is the validation loss.",
            since="0.2",
        ),
    ] = False
    best_epoch: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patience is None and self.tolerance is None and self.delta is None and self.max_gap is None:
            raise InvalidInputError("This EarlyStopping has no criterion; give patience, tolerance, delta or max_gap.")
        self._best = BestValue()
        self._last_progress = 0
        self._best_weights: dict[str, Array] = {}

    @property
    def best_value(self) -> float | None:
        """The best value seen; None as long as no finite one came."""
        return self._best.value

    def on_fit_start(self, run: TrainingRun) -> None:
        """Check that what is watched will be recorded; start afresh unless the run is resumed."""
        self._best.watch(run, self.monitor)
        if self.max_gap is not None:
            run.check_monitor("validation_loss")
        if self.from_start and self._best.name != "validation_loss":
            raise InvalidInputError(
                f"from_start=True needs the monitor 'validation_loss' and a validation set; the monitor is "
                f"{self._best.name!r}."
            )
        if run.is_fresh:
            self.best_epoch, self._last_progress, self._best_weights = 0, 0, {}
            if self.from_start:
                self._best.is_new(run.measure_validation()[0])
                self.best_epoch, self._best_weights = run.epoch, run.session.read_weights()

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Stop the run if a criterion holds for the new value, except after the last epoch, when it ends anyway."""
        value = run.history.last(self._best.name)
        if self._best.is_better(value, self.min_delta if self.tol is None else self.tol, relative=self.relative):
            self._last_progress = run.epoch
        if self._best.is_new(value, self.min_delta, relative=self.relative):
            self.best_epoch = run.epoch
            if self.restore_best:
                self._best_weights = run.session.read_weights()
        if run.epoch < run.last_epoch and run.epoch - run.first_epoch >= self.min_epochs:
            reason = self._reason_to_stop(run)
            if reason:
                run.stop(reason)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Restore the best weights, unless the run is only interrupted."""
        if self.restore_best and self._best_weights and not run.is_interrupted:
            run.session.write_weights(self._best_weights)

    def read_state(self) -> dict[str, Any]:
        """Return the best value, its epoch and its weights, and the epoch from which the patience counts."""
        epochs = {"best_epoch": self.best_epoch, "last_progress": self._last_progress}
        return {"best_value": self.best_value, **epochs, **self._best_weights}

    def write_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`read_state` returned."""
        rest = dict(state)
        self._best.restore(rest.pop("best_value"))
        self.best_epoch = operator.index(rest.pop("best_epoch"))
        self._last_progress = operator.index(rest.pop("last_progress", self.best_epoch))
        self._best_weights = rest

    def _reason_to_stop(self, run: TrainingRun) -> str | None:
        name, best = self._best.name, self.best_value
        if self.patience is not None and run.epoch - (self._last_progress or run.first_epoch) >= self.patience:
            by = f" by more than {self.tol:g}" if self.tol else ""
            return f"{name} has not improved{by} for {self.patience} epochs; " + (
                "it was never a finite number"
                if best is None
                else f"its best was {best:.6g} in epoch {self.best_epoch}"
            )
        n_epochs, n_recent = run.epoch - run.first_epoch, max(self.window, 2)
        values = run.history[name][-min(n_epochs, n_recent) :] if self.tolerance is not None or self.delta else []
        recent = values[-self.window :]
        if (
            self.tolerance is not None
            and len(recent) == self.window
            and all(abs(v - recent[0]) <= self.tolerance for v in recent)
        ):
            return f"{name} stayed within +-{self.tolerance:g} for {self.window} epochs in a row"
        if self.delta is not None and len(values) > 1 and abs(values[-1] - values[-2]) < self.delta:
            return f"{name} changed by less than {self.delta:g} from one epoch to the next"
        if self.max_gap is not None:
            gap = run.history.last("validation_loss") - run.history.last("loss")
            if gap > self.max_gap:
                return f"the validation loss exceeds the training loss by {gap:.6g}, more than {self.max_gap:g}"
        return None
