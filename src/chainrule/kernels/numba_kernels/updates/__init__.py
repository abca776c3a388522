"""One step of an optimizer in one pass; the reference modules of the same names say what each one computes."""

from __future__ import annotations

from chainrule.kernels.numba_kernels.updates.adam import adam, adamw, nadam, radam
from chainrule.kernels.numba_kernels.updates.adaptive import adadelta, adagrad, lion, rmsprop
from chainrule.kernels.numba_kernels.updates.first_order import (
    add_scaled,
    add_signs,
    averaged_momentum,
    decayed_descent,
    momentum_descent,
)
from chainrule.kernels.numba_kernels.updates.resilient import quickprop, rprop

__all__ = [
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "add_scaled",
    "add_signs",
    "averaged_momentum",
    "decayed_descent",
    "lion",
    "momentum_descent",
    "nadam",
    "quickprop",
    "radam",
    "rmsprop",
    "rprop",
]
