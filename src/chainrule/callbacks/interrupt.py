"""Ending a run at a clean place when the user presses Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any, ClassVar, final

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.named import checked

__all__ = ["StopOnInterrupt"]

# Impatient fingers press twice, and do not mean to lose what a stop would save.
SECONDS_OF_ONE_PRESS = 2.0


@checked
@final
class StopOnInterrupt(Callback):
    """Turn Ctrl-C into a stop after the steps under way; pressed again two seconds later, it interrupts as usual.

    One that comes when the training is over already, so that there is nothing left to stop, becomes a
    KeyboardInterrupt when all callbacks have concluded.

    Without this callback a KeyboardInterrupt may fall between the halves of an update. Outside the main thread, where
    Python allows no signal handlers, the callback does nothing.

    Parameters
    ----------
    resumable
        Whether the run is left at once, as one that will be resumed. If not, it ends after the current epoch like any
        other that is stopped early: with the best weights where :class:`EarlyStopping` keeps them.

    Attributes
    ----------
    has_stopped
        Whether Ctrl-C has stopped the last run.
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
        if self._pressed and not (self.has_stopped or run.is_interrupted):
            raise KeyboardInterrupt

    def _stop(self, run: TrainingRun) -> None:
        self.has_stopped = True
        (run.interrupt if self._resumable else run.stop)("interrupted")

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._pressed:
            self._pressed, self._pressed_at = True, time.monotonic()
        elif time.monotonic() - self._pressed_at > SECONDS_OF_ONE_PRESS:
            raise KeyboardInterrupt
