"""Optimizers, which update the parameters from their gradients."""

from __future__ import annotations

import dataclasses

from chainrule.errors import InvalidInputError
from chainrule.named import Registry
from chainrule.optimizer.adam import Adam, Adamax, AdamW, NAdam, RAdam
from chainrule.optimizer.adaptive import Adadelta, Adafactor, AdaGrad, Lion, RMSprop
from chainrule.optimizer.base import Objective, ObjectiveOptimizer, Optimizer
from chainrule.optimizer.first_order import ASGD, SGD
from chainrule.optimizer.lbfgs import LBFGS
from chainrule.optimizer.levenberg_marquardt import LevenbergMarquardt
from chainrule.optimizer.muon import Muon
from chainrule.optimizer.resilient import Quickprop, Rprop

__all__ = [
    "ASGD",
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adadelta",
    "Adafactor",
    "Adam",
    "AdamW",
    "Adamax",
    "LevenbergMarquardt",
    "Lion",
    "Muon",
    "NAdam",
    "Objective",
    "ObjectiveOptimizer",
    "Optimizer",
    "Quickprop",
    "RAdam",
    "RMSprop",
    "Rprop",
    "own_optimizer",
]

OPTIMIZERS: Registry[Optimizer] = Registry(
    "optimizer",
    Optimizer,
    {
        "sgd": SGD,
        "asgd": ASGD,
        "adagrad": AdaGrad,
        "rmsprop": RMSprop,
        "adam": Adam,
        "adamw": AdamW,
        "adamax": Adamax,
        "nadam": NAdam,
        "radam": RAdam,
        "adadelta": Adadelta,
        "adafactor": Adafactor,
        "lion": Lion,
        "muon": Muon,
        "rprop": Rprop,
        "quickprop": Quickprop,
        "lbfgs": LBFGS,
        "levenberg_marquardt": LevenbergMarquardt,
    },
)


def own_optimizer(given: str | type[Optimizer] | Optimizer, **settings: float | None) -> Optimizer:
    """Return a new optimizer, for one network only, with the settings that are not None."""
    chosen = {name: value for name, value in settings.items() if value is not None}
    optimizer = OPTIMIZERS.create(given).fresh()
    for name in chosen:
        if not hasattr(optimizer, name):
            raise InvalidInputError(f"{type(optimizer).__name__} has no {name}; leave {name} out.")
    return dataclasses.replace(optimizer, **chosen) if chosen else optimizer  # type: ignore[arg-type]
