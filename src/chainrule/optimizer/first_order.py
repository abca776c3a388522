"""Stochastic gradient descent, with momentum and Nesterov momentum as options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from chainrule.errors import InvalidInputError
from chainrule.named import also_called
from chainrule.optimizer.base import Optimizer, check_choice, check_setting
from chainrule.types import Array

__all__ = ["SGD"]


@also_called(
    unlike={
        "gradient_descent": "it is 'sgd' with all rows in one batch.",
        "momentum": "it is SGD(momentum=0.9).",
        "nesterov": "it is SGD(momentum=0.9, nesterov=True).",
        "nag": "it is SGD(momentum=0.9, nesterov=True).",
        "asgd": "it averages the weights of all steps; 'sgd' does not.",
    },
)
@final
@dataclass(eq=False)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum, in PyTorch's form.

    ``retained = momentum * retained + gradient``, then ``w -= learning_rate * retained``; with ``nesterov``,
    ``w -= learning_rate * (gradient + momentum * retained)`` (Sutskever et al. 2013).

    Gradient descent is SGD with all rows in one batch. The momentum method is ``SGD(momentum=0.9)``, and that of
    Nesterov is ``SGD(momentum=0.9, nesterov=True)``.

    >>> SGD(learning_rate=0.5).update([1.0, 2.0], [1.0, 1.0]).tolist()
    [0.5, 1.5]
    """

    learning_rate: float = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self, "momentum", 0, 1)
        check_choice(self, "nesterov", (False, True))
        if self.nesterov and self.momentum == 0:
            raise InvalidInputError("SGD with nesterov=True needs a momentum above 0, such as momentum=0.9.")

    @property
    def retained_gradient(self) -> Array | None:
        """``momentum * retained_gradient + gradient`` of the last step; None before the first."""
        return self.state.get("retained_gradient")

    def rule(self, weights: Array, gradient: Array, rate: float, retained_gradient: Array) -> tuple[Array, Array]:
        """Return the weights and the retained gradient after a step."""
        retained_gradient = self.momentum * retained_gradient + gradient
        direction = gradient + self.momentum * retained_gradient if self.nesterov else retained_gradient
        return weights - rate * direction, retained_gradient
