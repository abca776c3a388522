"""The optimizers: how the parameters move once the gradient is known."""

from __future__ import annotations

from chainrule.named import Registry
from chainrule.optimizer.adaptive import Adam
from chainrule.optimizer.base import Optimizer
from chainrule.optimizer.first_order import SGD

__all__ = ["OPTIMIZERS", "SGD", "Adam", "Optimizer"]

OPTIMIZERS: Registry[Optimizer] = Registry("optimizer", Optimizer, {"sgd": SGD, "adam": Adam})
