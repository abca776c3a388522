"""Ending a run at a clean place when the user presses Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType
from typing import Any, ClassVar, final

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.named import checked

__all__ = ["StopOnInterrupt", "interrupts_raised"]

# Impatient fingers press twice, and do not mean to lose what a stop would save.
SECONDS_OF_ONE_PRESS = 2.0


_raises: ContextVar[bool] = ContextVar("_raises", default=False)


@contextmanager
def interrupts_raised() -> Iterator[None]:
    """Within the block, a fit that Ctrl-C has stopped raises KeyboardInterrupt instead of returning.

    A caller that trains several models one after another is interrupted as a whole by it.
    """
    token = _raises.set(True)
    try:
        yield
    finally:
        _raises.reset(token)


@checked
@final
class StopOnInterrupt(Callback):
    """Make Ctrl-C stop the training after the current steps. Ctrl-C again after two seconds interrupts at once.

    If Ctrl-C is pressed when the training has already ended, a KeyboardInterrupt is raised after all callbacks have
    finished.

    Without this callback, a KeyboardInterrupt may occur in the middle of an update. Python allows signal handlers only
    in the main thread; in other threads, the callback does nothing.

    Parameters
    ----------
    resumable
        If True, the run stops at once, and can be resumed. If False, it ends after the current epoch, as with early
        stopping: with the best weights if :class:`EarlyStopping` restores them.

    Attributes
    ----------
    has_stopped
        Whether Ctrl-C has stopped the last run.

    Examples
    --------
    >>> from chainrule import NeuralNetwork, load_dataset
    >>> callbacks = [StopOnInterrupt()]  # pass them to fit
    >>> callbacks[0].has_stopped
    False
    """

    order: ClassVar[int] = 50  # after those that may end the run for good, before the checkpoint
    watches_every_batch = False
    watches_network = False

    has_stopped: bool

    def __init__(self, *, resumable: bool = True) -> None:
        self._resumable = resumable
        self.has_stopped = False
        self._pressed = False
        self._pressed_at = 0.0
        self._previous: Any = None

    def on_fit_start(self, run: TrainingRun) -> None:
        """Watch for Ctrl-C."""
        self._pressed = self.has_stopped = False
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._note)

    def on_batch_end(self, run: TrainingRun) -> None:
        """Stop the run if Ctrl-C was pressed."""
        if self._pressed:
            self._stop(run)

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Stop the run if Ctrl-C was pressed after its last step, in validation; not one that has ended by itself."""
        if self._pressed and run.stop_reason is None:
            self._stop(run)

    def on_fit_end(self, run: TrainingRun) -> None:
        """Give the signal back, and pass on a Ctrl-C that came too late to stop anything."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
        if self._pressed and (_raises.get() or not (self.has_stopped or run.is_interrupted)):
            raise KeyboardInterrupt

    def _stop(self, run: TrainingRun) -> None:
        self.has_stopped = True
        (run.interrupt if self._resumable else run.stop)("interrupted")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._pressed:
            self._pressed, self._pressed_at = True, time.monotonic()
        elif time.monotonic() - self._pressed_at > SECONDS_OF_ONE_PRESS:
            raise KeyboardInterrupt
