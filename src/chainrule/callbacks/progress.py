"""Showing how training goes: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO, final

from chainrule.callbacks.base import Callback, TrainingRun

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["EpochPrinter", "ProgressBar", "describe_epoch"]

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_PARTS = 30.0  # of an epoch that takes longer
NARROW = 130  # columns of a terminal


def describe_epoch(run: TrainingRun, *, brief: bool = False) -> str:
    """Return the newest line of the history in words: ``loss 0.1234, validation_loss 0.2345, accuracy 0.9``.

    ``brief`` says it with the validation rows only, where there are any.
    """
    shown = [name for name in run.history if name.removeprefix("validation_") in _quantities(run)]
    if brief and run.has_validation:
        shown = [name for name in shown if name.startswith("validation_")]
    return ", ".join(f"{name} {run.history.last(name):.4g}" for name in shown)


def _quantities(run: TrainingRun) -> set[str]:
    return {"loss", *(metric.name for metric in run.metrics)}


def _place(run: TrainingRun) -> str:
    return f"{run.batch:,}/{run.n_batches:,}"


def _batches_done(run: TrainingRun) -> int:
    return (run.epoch - run.first_epoch) * run.n_batches + run.batch


@final
class EpochPrinter(Callback):
    """Print one line an epoch, as the course's ``verbose`` does."""

    watches_network = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Print the epoch's numbers."""
        print(f"epoch {run.epoch}/{run.last_epoch}: {describe_epoch(run)}", file=self._stream or sys.stdout)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Say why the run stopped early, if it did."""
        if run.stop_reason:
            print(f"stopped after epoch {run.epoch}: {run.stop_reason}", file=self._stream or sys.stdout)


@final
class ProgressBar(Callback):
    """A live bar with the epoch's numbers and the time left; where there is no terminal, a line every few seconds.

    Of an epoch that takes long, such a line says every half a minute how many batches are done.
    """

    watches_every_batch = False
    watches_network = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = 0.0
        self._is_narrow = False

    def on_fit_start(self, run: TrainingRun) -> None:
        """Show the bar."""
        stream = self._stream or sys.stderr
        self._last_line = time.monotonic()
        if not stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        console = Console(file=stream)
        self._is_narrow = console.width < NARROW
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[last]}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=10 if self._is_narrow else 30),
            *([] if self._is_narrow else [TextColumn("batch {task.fields[batch]}", table_column=Column(no_wrap=True))]),
            TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
        )
        total = (run.last_epoch - run.first_epoch) * run.n_batches
        self._task = self._progress.add_task(
            "training", total=total, completed=_batches_done(run), epoch=run.epoch, last=run.last_epoch, numbers="",
            batch=_place(run),
        )  # fmt: skip
        self._progress.start()

    def on_batch_end(self, run: TrainingRun) -> None:
        """Move the bar."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=_batches_done(run), batch=_place(run))
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_PARTS and run.batch < run.n_batches:
            self._print(run, run.epoch + 1, f"{run.batch:,} of {run.n_batches:,} batches")

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Show the epoch's numbers."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, epoch=run.epoch, numbers=describe_epoch(run, brief=self._is_narrow))
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES or run.epoch == run.last_epoch:
            self._print_line(run)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Take the bar away and leave a line."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if run.stop_reason and run.history.n_epochs:
            self._print_line(run)

    def _print_line(self, run: TrainingRun) -> None:
        self._print(run, run.epoch, describe_epoch(run))

    def _print(self, run: TrainingRun, epoch: int, words: str) -> None:
        self._last_line = time.monotonic()
        print(f"epoch {epoch}/{run.last_epoch}: {words}", file=self._stream or sys.stderr)
