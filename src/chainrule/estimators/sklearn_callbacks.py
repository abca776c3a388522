"""Callbacks of scikit-learn, which it has from version 1.9 on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from chainrule.callbacks import Callback, TrainingRun

__all__ = ["CallbackSupport", "SklearnCallbacks", "with_callbacks"]

Method = TypeVar("Method", bound=Callable[..., Any])

try:
    from sklearn.callback import CallbackSupportMixin as CallbackSupport
    from sklearn.callback import with_callbacks
except ImportError:

    class CallbackSupport:  # type: ignore[no-redef]
        """Nothing, where scikit-learn has no callbacks."""

    def with_callbacks(method: Method) -> Method:
        """Return the method."""
        return method


class SklearnCallbacks(Callback):
    """Calls the callbacks that were set by ``set_callbacks``, or handed down by a meta-estimator, in every epoch.

    Parameters
    ----------
    estimator
        The estimator that is being fitted.
    max_iter
        The largest number of epochs.
    arguments
        X, y and the sample weights, as ``fit`` was given them.
    attributes
        A function that returns the fitted attributes which predictions need.
    """

    order: ClassVar[int] = 10

    def __init__(
        self, estimator: Any, max_iter: int, arguments: dict[str, Any], attributes: Callable[[], dict[str, Any]]
    ) -> None:
        self.watches_every_batch = False
        self._context = estimator._init_callback_context(max_subtasks=max_iter)
        self._arguments = {"estimator": estimator, **arguments}
        self._attributes = attributes
        self._epoch: Any = None

    def on_fit_start(self, run: TrainingRun) -> None:
        """Begin the fit."""
        self._context.call_on_fit_task_begin(**self._arguments)

    def on_epoch_start(self, run: TrainingRun) -> None:
        """Begin an epoch."""
        self._epoch = self._context.subcontext("epoch").call_on_fit_task_begin(**self._arguments)

    def on_epoch_end(self, run: TrainingRun) -> None:
        """End an epoch; stop the run if a callback says so."""
        if self._epoch.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._attributes):
            run.stop("a callback of scikit-learn stopped the fit")

    def close(self) -> None:
        """End the fit."""
        self._context.call_on_fit_task_end(**self._arguments, reconstruction_attributes=self._attributes)
