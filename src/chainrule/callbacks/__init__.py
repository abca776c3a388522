"""Callbacks: what happens beside the steps of a training run."""

from __future__ import annotations

from chainrule.callbacks.base import Callback, TrainingRun
from chainrule.callbacks.early_stopping import EarlyStopping
from chainrule.callbacks.interrupt import StopOnInterrupt
from chainrule.callbacks.plateau import ReduceOnPlateau
from chainrule.callbacks.progress import EpochPrinter, ProgressBar
from chainrule.named import Registry

__all__ = [
    "CALLBACKS",
    "Callback",
    "EarlyStopping",
    "EpochPrinter",
    "ProgressBar",
    "ReduceOnPlateau",
    "StopOnInterrupt",
    "TrainingRun",
]

#: The callbacks whose decisions belong to a run and are kept in its checkpoints, by name.
#:
#: :meta hide-value:
CALLBACKS: Registry[Callback] = Registry(
    "callback", Callback, {"early_stopping": EarlyStopping, "reduce_on_plateau": ReduceOnPlateau}
)
