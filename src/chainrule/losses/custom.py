"""A loss made from a pair of functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

from chainrule.losses.base import ElementwiseLoss
from chainrule.named import checked
from chainrule.settings import Setting
from chainrule.types import Array

__all__ = ["CustomLoss"]


@checked
@final
@dataclass(frozen=True)
class CustomLoss(ElementwiseLoss):
    """A loss made from two functions of ``(y_true, y_pred)``, which are arrays of shape (rows, outputs).

    ``loss_function`` returns the loss of every element and ``loss_derivative`` its derivative with respect to the
    prediction, both in this shape. The class computes the mean and applies the sample weights.

    Model files do not contain functions. They contain the ``name`` of the loss; pass the loss in ``custom_objects`` to
    load such a model.

    >>> fourth_power = CustomLoss(lambda y, p: (p - y) ** 4, lambda y, p: 4 * (p - y) ** 3)
    >>> fourth_power.loss([1.0, 1.0], [1.0, 3.0]), fourth_power.derivative([1.0, 1.0], [1.0, 3.0]).tolist()
    (8.0, [0.0, 16.0])
    """

    is_regression: ClassVar[bool] = True

    loss_function: Annotated[Callable[[Array, Array], Array], Setting("The loss of every element.")]
    loss_derivative: Annotated[Callable[[Array, Array], Array], Setting("Its derivative with respect to y_pred.")]
    name: str = "CustomLoss"

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return the loss of every element."""
        return self.loss_function(y_true, y_pred)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return the derivative of every element with respect to its prediction."""
        return self.loss_derivative(y_true, y_pred)
