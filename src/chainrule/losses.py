"""Loss functions: how wrong the predictions are, as one number, and its derivative.

A loss is the mean over all elements, as PyTorch has it (cross-entropy over classes: the mean over rows). With sample
weights it is the weighted mean over the rows, ``sum w_i l_i / sum w_i``. Targets and predictions have the same shape,
(rows, outputs).

A user's own loss is a class with :meth:`LossFunction.loss` and :meth:`LossFunction.derivative`, or a pair of functions
(:class:`CustomLoss`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from chainrule import kernels
from chainrule.activations import ActivationLayer
from chainrule.errors import InvalidInputError
from chainrule.named import Registry
from chainrule.types import Array

__all__ = ["LOSSES", "LossFunction", "MeanSquaredError"]


class LossFunction(ABC):
    """Base class of all losses.

    ``fuses_with`` names the activation with which the loss is one function of the logits; a network that ends in
    that activation trains and is measured through :meth:`evaluate_logits`, which is finite where the two steps in
    sequence are not.
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = None

    @abstractmethod
    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the (weighted) mean loss."""

    @abstractmethod
    def derivative(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        """Return the derivative of :meth:`loss` with respect to ``y_pred``, in its shape."""

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss and write its derivative, for arrays that are already checked.

        ``row_weights`` sum to 1. This is what training calls; the built-in losses do it in one pass.
        """
        derivative[...] = self.derivative(y_true, y_pred, row_weights)
        return self.loss(y_true, y_pred, row_weights)

    def evaluate_logits(self, y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss of ``fuses_with`` applied to ``logits`` and write the derivative by the logits."""
        raise InvalidInputError(f"{type(self).__name__} is not one function with any activation.")


def row_weights_of(sample_weight: Array | None, n_rows: int, dtype: np.dtype) -> Array:
    """Return weights that sum to 1: the sample weights normalised, or 1/n each.

    Computed in float64 and rounded once, so that equal weights and no weights give the same bits.
    """
    if sample_weight is None:
        return np.full(n_rows, 1.0 / n_rows, dtype)
    weights = np.asarray(sample_weight, np.float64).reshape(-1)
    if len(weights) != n_rows:
        raise InvalidInputError(f"There are {len(weights)} sample weights for {n_rows} rows.")
    return np.asarray(weights / weights.sum(), dtype)


class KernelLoss(LossFunction):
    """Base class of the built-in losses: one kernel gives the value and the derivative in one pass."""

    kernel: ClassVar[str]

    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the (weighted) mean loss."""
        return self._evaluated(y_true, y_pred, sample_weight)[0]

    def derivative(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        """Return the derivative of :meth:`loss` with respect to ``y_pred``, in its shape."""
        return self._evaluated(y_true, y_pred, sample_weight)[1]

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss and write its derivative in one pass."""
        return float(getattr(kernels, self.kernel)(y_true, y_pred, *self._settings(), row_weights, derivative))

    def _settings(self) -> tuple[float, ...]:
        """Numbers that the kernel takes after ``y_true`` and ``y_pred``."""
        return ()

    def _evaluated(self, y_true: Array, y_pred: Array, sample_weight: Array | None) -> tuple[float, Array]:
        predictions = _as_matrix(y_pred, np.result_type(np.asarray(y_pred), np.float32))
        targets = _as_matrix(y_true, predictions.dtype)
        if targets.shape != predictions.shape:
            raise InvalidInputError(
                f"{type(self).__name__} got targets of shape {np.shape(y_true)} and predictions of shape "
                f"{np.shape(y_pred)}; they must be the same."
            )
        derivative = np.empty_like(predictions)
        weights = row_weights_of(sample_weight, len(predictions), predictions.dtype)
        value = self.evaluate(targets, predictions, weights, derivative)
        return value, derivative.reshape(np.shape(y_pred))


def _as_matrix(values: Array, dtype: np.dtype) -> Array:
    array = np.ascontiguousarray(values, dtype=dtype)
    return array.reshape(-1, 1) if array.ndim == 1 else array


@final
@dataclass(frozen=True)
class MeanSquaredError(KernelLoss):
    """mean (p - y)^2."""

    kernel: ClassVar[str] = "squared_error"


LOSSES: Registry[LossFunction] = Registry("loss", LossFunction, {"mean_squared_error": MeanSquaredError})
