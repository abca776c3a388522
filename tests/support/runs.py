"""A training run without training: the epochs' numbers are written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.callbacks import Callback, TrainingRun
from chainrule.history import History
from chainrule.metrics import find_metric
from chainrule.types import Array

__all__ = ["FakeSession", "play", "played_run"]


class FakeSession:
    """Its weights are the number of the epoch."""

    def __init__(self) -> None:
        self.weights = np.zeros(1)

    def read_weights(self) -> dict[str, Array]:
        return {"w": self.weights.copy()}

    def write_weights(self, weights: dict[str, Array]) -> None:
        self.weights = weights["w"].copy()


def played_run(columns: Mapping[str, Sequence[float]], callbacks: Sequence[Callback], **more: Any) -> TrainingRun:
    """A run that has not begun, and that will record these columns."""
    names = [name for name in columns if name != "loss" and not name.startswith("validation_")]
    settings: dict[str, Any] = {
        "stack": None, "session": FakeSession(), "plan": None, "history": History(), "n_batches": 2,
        "last_epoch": len(next(iter(columns.values()))), "metrics": [find_metric(name) for name in names],
        "has_validation": "validation_loss" in columns, "callbacks": callbacks,
    }  # fmt: skip
    return TrainingRun(**{**settings, **more})


def play(columns: Mapping[str, Sequence[float]], *callbacks: Callback, end: bool = True, **more: Any) -> TrainingRun:
    """Call the callbacks as the loop does, epoch after epoch, until one of them stops the run."""
    run = played_run(columns, callbacks, **more)
    for callback in callbacks:
        callback.on_fit_start(run)
    while run.epoch < run.last_epoch and run.stop_reason is None:
        number = run.epoch - run.first_epoch
        for batch in range(run.n_batches):
            run.batch = batch + 1
            for callback in callbacks:
                callback.on_batch_end(run)
        run.epoch, run.batch = run.epoch + 1, 0
        run.session.weights = np.array([float(run.epoch)])  # type: ignore[attr-defined]
        run.history.append({"epoch": run.epoch, **{name: values[number] for name, values in columns.items()}})
        for callback in callbacks:
            callback.on_epoch_end(run)
    for callback in callbacks if end else ():
        callback.on_fit_end(run)
    return run
