"""Optimizers, which update the parameters from their gradients."""

from __future__ import annotations

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

#: The optimizers by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
OPTIMIZERS: Registry[Optimizer] = Registry.of(
    "optimizer", Optimizer, first_order, adaptive, adam, muon, resilient, lbfgs, levenberg_marquardt
)

__all__: list[str] = []
__all__ += first_order.__all__
__all__ += adam.__all__
__all__ += adaptive.__all__
__all__ += resilient.__all__
__all__ += lbfgs.__all__
__all__ += levenberg_marquardt.__all__
__all__ += muon.__all__
__all__ += ["OPTIMIZERS", "Objective", "ObjectiveOptimizer", "Optimizer", "own_optimizer"]


def own_optimizer(given: str | type[Optimizer] | Optimizer, **settings: float | None) -> Optimizer:
    """Return a new optimizer, for one network only, with the settings that are not None."""
    optimizer = OPTIMIZERS.create(given).fresh()
    name = type(optimizer).__name__
    if not hasattr(optimizer, "learning_rate"):
        raise InvalidInputError(
            f"{name} has no learning_rate; set self.learning_rate in its constructor, or make it a dataclass with the "
            "field learning_rate."
        )
    chosen = {setting: value for setting, value in settings.items() if value is not None}
    for setting, value in chosen.items():
        if not hasattr(optimizer, setting):
            raise InvalidInputError(f"{name} has no {setting}; leave {setting} out.")
        setattr(optimizer, setting, value)
    if chosen:
        optimizer.__post_init__()  # which checks them
    return optimizer
