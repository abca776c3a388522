"""One step of an optimizer over the whole flat parameter vector, in place.

Every kernel changes ``weights`` and its state arrays in place and allocates nothing in the compiled set. Scalars that
depend on the step number (bias corrections) are worked out by the caller in float64, once per step, and rounded here to
the arrays' type. The modules are named as those of ``chainrule.optimizer``, with Muon's momentum
beside that of gradient descent.
"""

from __future__ import annotations

from chainrule.kernels.numpy_kernels.updates.adam import adam, adamw, nadam, radam
from chainrule.kernels.numpy_kernels.updates.adaptive import adadelta, adagrad, lion, rmsprop
from chainrule.kernels.numpy_kernels.updates.first_order import (
    add_scaled,
    add_signs,
    averaged_momentum,
    decayed_descent,
    momentum_descent,
)
from chainrule.kernels.numpy_kernels.updates.resilient import quickprop, rprop

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
