"""A user's own loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.losses.base import OnePassLoss
from chainrule.types import Array

__all__ = ["CustomLoss"]


@final
@dataclass(frozen=True)
class CustomLoss(OnePassLoss):
    """A loss from a pair of functions of ``(y_true, y_pred)``, both matrices of shape (rows, outputs).

    ``loss_function`` returns the loss of every element and ``loss_derivative`` its derivative by the prediction, both
    in that same shape: the mean and the sample weights are seen to here. It has no name in the registry, because a
    file cannot hold functions: a model with one is read back by handing the loss in.

    >>> fourth_power = CustomLoss(lambda y, p: (p - y) ** 4, lambda y, p: 4 * (p - y) ** 3)
    >>> fourth_power.loss([1.0, 1.0], [1.0, 3.0]), fourth_power.derivative([1.0, 1.0], [1.0, 3.0]).tolist()
    (8.0, [0.0, 16.0])
    """

    is_of_numbers: ClassVar[bool] = True

    loss_function: Callable[[Array, Array], Array]
    loss_derivative: Callable[[Array, Array], Array]
    name: str = "CustomLoss"

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the weighted mean of the elements' losses and write its derivative."""
        weights = row_weights[:, None] / y_pred.shape[1]
        np.multiply(weights, self._of_elements("loss_derivative", y_true, y_pred), out=derivative)
        return float(np.sum(weights * self._of_elements("loss_function", y_true, y_pred)))

    def _of_elements(self, which: str, y_true: Array, y_pred: Array) -> Array:
        values = np.asarray(getattr(self, which)(y_true, y_pred))
        if values.shape != y_pred.shape:
            raise InvalidInputError(
                f"The {which} of {self.name} must return one number for each element, shape {y_pred.shape}; it "
                f"returned shape {values.shape}. Leave the mean to the loss."
            )
        return values
