"""Optimizers, which update the parameters from their gradients."""

from __future__ import annotations

import dataclasses

from chainrule.errors import InvalidInputError
from chainrule.named import Registry
from chainrule.optimizer import adam, adaptive, first_order, lbfgs, levenberg_marquardt, muon, resilient
from chainrule.optimizer.adam import *
from chainrule.optimizer.adaptive import *
from chainrule.optimizer.base import Objective, ObjectiveOptimizer, Optimizer
from chainrule.optimizer.first_order import *
from chainrule.optimizer.lbfgs import *
from chainrule.optimizer.levenberg_marquardt import *
from chainrule.optimizer.muon import *
from chainrule.optimizer.resilient import *

OPTIMIZERS: Registry[Optimizer] = Registry.of(
    "optimizer", Optimizer, first_order, adaptive, adam, muon, resilient, lbfgs, levenberg_marquardt
)

__all__ = ["OPTIMIZERS", "Objective", "ObjectiveOptimizer", "Optimizer", "own_optimizer"]
__all__ += adam.__all__
__all__ += adaptive.__all__
__all__ += first_order.__all__
__all__ += lbfgs.__all__
__all__ += levenberg_marquardt.__all__
__all__ += muon.__all__
__all__ += resilient.__all__


def own_optimizer(given: str | type[Optimizer] | Optimizer, **settings: float | None) -> Optimizer:
    """Return a new optimizer, for one network only, with the settings that are not None."""
    chosen = {name: value for name, value in settings.items() if value is not None}
    optimizer = OPTIMIZERS.create(given).fresh()
    for name in chosen:
        if not hasattr(optimizer, name):
            raise InvalidInputError(f"{type(optimizer).__name__} has no {name}; leave {name} out.")
    return dataclasses.replace(optimizer, **chosen) if chosen else optimizer  # type: ignore[arg-type]
