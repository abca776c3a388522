"""A user's own loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

from chainrule.losses.base import ElementwiseLoss
from chainrule.types import Array

__all__ = ["CustomLoss"]


@final
@dataclass(frozen=True)
class CustomLoss(ElementwiseLoss):
    """A loss from a pair of functions of ``(y_true, y_pred)``, both matrices of shape (rows, outputs).

    ``loss_function`` returns the loss of every element and ``loss_derivative`` its derivative by the prediction, both
    in that same shape: the mean and the sample weights are computed here. A file holds its ``name``, and a model with
    one is read back by handing the loss in.

    >>> fourth_power = CustomLoss(lambda y, p: (p - y) ** 4, lambda y, p: 4 * (p - y) ** 3)
    >>> fourth_power.loss([1.0, 1.0], [1.0, 3.0]), fourth_power.derivative([1.0, 1.0], [1.0, 3.0]).tolist()
    (8.0, [0.0, 16.0])
    """

    is_of_numbers: ClassVar[bool] = True

    loss_function: Callable[[Array, Array], Array]
    loss_derivative: Callable[[Array, Array], Array]
    name: str = "CustomLoss"

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return the loss of every element."""
        return self.loss_function(y_true, y_pred)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return the derivative of every element by its prediction."""
        return self.loss_derivative(y_true, y_pred)
