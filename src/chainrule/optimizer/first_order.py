"""Stochastic gradient descent, with momentum and Nesterov momentum as options, and with averaged weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.named import also_called
from chainrule.optimizer.base import Optimizer
from chainrule.settings import BELOW_ONE, FROM_ZERO, Setting
from chainrule.types import Array

__all__ = ["ASGD", "SGD"]


@also_called(
    unlike={
        "gradient_descent": "it is 'sgd' with all rows in one batch.",
        "momentum": "it is SGD(momentum=0.9).",
        "nesterov": "it is SGD(momentum=0.9, nesterov=True).",
        "nag": "it is SGD(momentum=0.9, nesterov=True).",
    },
)
@final
@dataclass(eq=False)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, in PyTorch's form.

    ``retained = momentum * retained + gradient``, then ``w -= learning_rate * retained``; with ``nesterov``,
    ``w -= learning_rate * (gradient + momentum * retained)`` (Sutskever et al. 2013). After the first step, gradients
    enter ``retained`` with the factor 1 - ``dampening``.

    Gradient descent is SGD with all rows in one batch. The momentum method is ``SGD(momentum=0.9)``, and that of
    Nesterov is ``SGD(momentum=0.9, nesterov=True)``.

    >>> SGD(learning_rate=0.5).update([1.0, 2.0], [1.0, 1.0]).tolist()
    [0.5, 1.5]
    """

    learning_rate: float = 0.01
    momentum: Annotated[float, Setting("Momentum.", BELOW_ONE)] = 0.0
    nesterov: Annotated[bool, Setting("Whether to take Nesterov's momentum.")] = False
    dampening: Annotated[float, Setting("Dampening of the gradient.", BELOW_ONE, since="0.2")] = 0.0

    optional_arguments: ClassVar[tuple[tuple[str, str], ...]] = (("step", "dampening"),)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise InvalidInputError("SGD with nesterov=True needs a momentum above 0, such as momentum=0.9.")
        if self.dampening and (self.nesterov or self.momentum == 0):
            raise InvalidInputError("SGD with a dampening needs a momentum above 0, and nesterov=False.")

    @property
    def retained_gradient(self) -> Array | None:
        """``momentum * retained_gradient + gradient`` of the last step; None before the first."""
        return self.state.get("retained_gradient")

    def rule(
        self, weights: Array, gradient: Array, rate: float, retained_gradient: Array, step: int | None = None
    ) -> tuple[Array, Array]:
        """Return the weights and the retained gradient after a step."""
        share = 1 if step is None else np.where(step > 1, 1 - self.dampening, 1)
        retained_gradient = self.momentum * retained_gradient + share * gradient
        direction = gradient + self.momentum * retained_gradient if self.nesterov else retained_gradient
        return weights - rate * direction, retained_gradient


@also_called(arguments={"lambd": "shrinkage", "alpha": "power", "t0": "first_averaged"})
@final
@dataclass(eq=False)
class ASGD(Optimizer):
    """Averaged stochastic gradient descent (Polyak and Juditsky 1992; Xu 2011, Towards optimal one pass learning).

    eta = rate / (1 + shrinkage * rate * (t - 1))^power;  w -= eta * (g + shrinkage * w);
    average += (w - average) / max(1, t - 1 - first_averaged).

    As in PyTorch, the averaged weights are not those of the network: they are in ``optimizer.state["average"]``. They
    are the present weights until step ``first_averaged`` + 1. PyTorch calls the settings lambd, alpha and t0.
    """

    learning_rate: float = 0.01
    shrinkage: Annotated[float, Setting("Decay of the weights and of the rate.", FROM_ZERO)] = 1e-4
    power: Annotated[float, Setting("Exponent of the rate.", FROM_ZERO)] = 0.75
    first_averaged: Annotated[float, Setting("Step at which the average begins.", FROM_ZERO)] = 1e6

    def rule(self, weights: Array, gradient: Array, rate: float, step: int, average: Array) -> tuple[Array, Array]:
        """Return the weights and their average after a step."""
        eta = rate / (1 + self.shrinkage * rate * (step - 1)) ** self.power
        weights = weights - eta * (gradient + self.shrinkage * weights)
        share = 1 / np.maximum(1, step - 1 - self.first_averaged)
        return weights, (1 - share) * average + share * weights
