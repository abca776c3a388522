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
    r"""Stochastic gradient descent with momentum, in PyTorch's form.

    .. math::
       r &\leftarrow \mu r + (1 - d) g \\
       w &\leftarrow w - \eta r

    The momentum :math:`\mu` is ``momentum``, d is ``dampening``, which has no effect in the first step, and r is
    ``retained_gradient``, an array of the shape of the weights. With ``nesterov`` (Sutskever et al. 2013), the second
    line is :math:`w \leftarrow w - \eta (g + \mu r)`.

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
    r"""Averaged stochastic gradient descent (Polyak and Juditsky 1992; Xu 2011, Towards optimal one pass learning).

    .. math::
       \eta_t &= \frac{\eta}{(1 + \lambda \eta (t - 1))^\alpha} \\
       w &\leftarrow w - \eta_t (g + \lambda w) \\
       \bar{w} &\leftarrow \bar{w} + \frac{w - \bar{w}}{\max(1, t - 1 - t_0)}

    with :math:`\lambda` = ``shrinkage``, :math:`\alpha` = ``power`` and :math:`t_0` = ``first_averaged``, which PyTorch
    calls lambd, alpha and t0. As in PyTorch, the averaged weights are not those of the network: they are in
    ``optimizer.state["average"]``. They are the present weights until step ``first_averaged`` + 1.

    >>> optimizer = ASGD(learning_rate=0.5)
    >>> optimizer.update([1.0, 2.0], [1.0, 1.0]).round(2).tolist()
    [0.5, 1.5]
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
