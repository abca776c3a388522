"""Showing how training goes: a live bar on a terminal and in a notebook, plain lines elsewhere."""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, TextIO, final

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.named import checked

__all__ = ["EpochPrinter", "ProgressBar", "describe_epoch"]

SECONDS_BETWEEN_LINES = 5.0
SECONDS_BETWEEN_PARTS = 30.0  # of an epoch that takes longer
SECONDS_BETWEEN_UPDATES = 0.2  # of the bar in a notebook
NARROW = 130  # columns of a terminal


def describe_epoch(run: TrainingRun, *, brief: bool = False) -> str:
    """Return the newest row of the history as text: ``loss 0.1234, validation_loss 0.2345, accuracy 0.9``.

    With ``brief``, only the values of the validation rows are shown, if there are any.
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


def _batches_in_all(run: TrainingRun) -> int:
    return (run.last_epoch - run.first_epoch) * run.n_batches


@checked
@final
class EpochPrinter(Callback):
    """Print one line per epoch, as ``verbose=True`` of a network does.

    >>> import numpy as np
    >>> from chainrule import NeuralNetwork
    >>> from chainrule.layers import DenseLayer
    >>> network = NeuralNetwork(epochs=2, seed=0).add(DenseLayer(1, weights_initializer="zeros"))
    >>> fitted = network.fit(np.ones((4, 1)), np.zeros(4), callbacks=[EpochPrinter()])
    epoch 1/2: loss 0
    epoch 2/2: loss 0
    """

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


@checked
@final
class ProgressBar(Callback):
    """A progress bar with the values of the current epoch and the remaining time, on a terminal or in a notebook.

    Elsewhere, such as in log files, it prints a line every few seconds. In a long epoch, it prints the number of
    completed batches every half a minute.

    >>> from chainrule import build_network, load_dataset
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(4,), epochs=2, seed=0)
    >>> network.fit(moons, callbacks=[ProgressBar()]).history.n_epochs
    2
    """

    watches_every_batch = False
    watches_network = False

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._view: _View = _Lines(sys.stderr)

    def on_fit_start(self, run: TrainingRun) -> None:
        """Show the bar."""
        stream, display = self._stream or sys.stderr, _notebook_display()
        if self._stream is None and display is not None:
            self._view = _NotebookBar(run, display)
        else:
            self._view = _TerminalBar(run, stream) if stream.isatty() else _Lines(stream)

    def on_batch_end(self, run: TrainingRun) -> None:
        """Move the bar."""
        self._view.show_batch(run)

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Show the epoch's numbers."""
        self._view.show_epoch(run)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Take the bar away, or leave it as it stands, and say why the run stopped early, if it did."""
        self._view.close(run)


class _View(Protocol):
    def show_batch(self, run: TrainingRun) -> None: ...

    def show_epoch(self, run: TrainingRun) -> None: ...

    def close(self, run: TrainingRun) -> None: ...


class _Lines:
    """Plain lines, not too many."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._last_line = stream, time.monotonic()
        self._last_epoch = 0  # whose numbers were printed

    def show_batch(self, run: TrainingRun) -> None:
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_PARTS and run.batch < run.n_batches:
            self._print(run, run.epoch + 1, f"{run.batch:,} of {run.n_batches:,} batches")

    def show_epoch(self, run: TrainingRun) -> None:
        if time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES or run.epoch == run.last_epoch:
            self._print_epoch(run)

    def close(self, run: TrainingRun) -> None:
        if run.stop_reason and run.history.n_epochs and run.epoch != self._last_epoch:
            self._print_epoch(run)

    def _print_epoch(self, run: TrainingRun) -> None:
        self._last_epoch = run.epoch
        self._print(run, run.epoch, describe_epoch(run))

    def _print(self, run: TrainingRun, epoch: int, words: str) -> None:
        self._last_line = time.monotonic()
        print(f"epoch {epoch}/{run.last_epoch}: {words}", file=self._stream)


class _TerminalBar:
    """A bar that rich draws, and redraws in its place."""

    def __init__(self, run: TrainingRun, stream: TextIO) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        console = Console(file=stream)
        self._lines = _Lines(stream)
        self._is_narrow = console.width < NARROW
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[last]}", table_column=Column(no_wrap=True)),
            BarColumn(bar_width=10 if self._is_narrow else 30),
            *([] if self._is_narrow else [TextColumn("batch {task.fields[batch]}", table_column=Column(no_wrap=True))]),
            TextColumn("{task.fields[numbers]}", table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
        )
        self._task = self._progress.add_task(
            "training", total=_batches_in_all(run), completed=_batches_done(run), epoch=run.epoch, last=run.last_epoch,
            numbers="", batch=_place(run),
        )  # fmt: skip
        self._progress.start()

    def show_batch(self, run: TrainingRun) -> None:
        self._progress.update(self._task, completed=_batches_done(run), batch=_place(run))

    def show_epoch(self, run: TrainingRun) -> None:
        self._progress.update(self._task, epoch=run.epoch, numbers=describe_epoch(run, brief=self._is_narrow))

    def close(self, run: TrainingRun) -> None:
        self._progress.stop()
        self._lines.close(run)


class _NotebookBar:
    """One output of the cell, which is replaced as training goes on and stays when it ends."""

    def __init__(self, run: TrainingRun, display: Callable[..., Any]) -> None:
        self._started, self._done_before = time.monotonic(), _batches_done(run)
        self._last_update = self._started
        self._output = display(self._content(run), raw=True, display_id=True)

    def show_batch(self, run: TrainingRun) -> None:
        if time.monotonic() - self._last_update >= SECONDS_BETWEEN_UPDATES:
            self._update(run)

    def show_epoch(self, run: TrainingRun) -> None:
        self.show_batch(run)

    def close(self, run: TrainingRun) -> None:
        self._update(run, run.stop_reason or "")

    def _update(self, run: TrainingRun, reason: str = "") -> None:
        self._last_update = time.monotonic()
        self._output.update(self._content(run, reason), raw=True)

    def _content(self, run: TrainingRun, reason: str = "") -> dict[str, str]:
        """Return the bar as HTML, and as text for a notebook that is read elsewhere."""
        done, in_all = _batches_done(run), _batches_in_all(run)
        parts = [f"epoch {run.epoch}/{run.last_epoch}", describe_epoch(run) if run.history.n_epochs else ""]
        if done > self._done_before and done < in_all and not reason:
            left = (time.monotonic() - self._started) / (done - self._done_before) * (in_all - done)
            parts.append(f"{left / 60:.0f} min left" if left >= 100 else f"{left:.0f} s left")
        words = "; ".join(part for part in [*parts, f"stopped: {reason}" if reason else ""] if part)
        bar = f'<progress value="{done}" max="{max(in_all, 1)}"></progress>'
        return {"text/plain": words, "text/html": f"{bar} {html.escape(words)}"}


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's ``display`` in a notebook, where one output can be replaced again and again."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if getattr(shell, "kernel", None) is None:
        return None
    display: Callable[..., Any] = sys.modules["IPython.display"].display
    return display
