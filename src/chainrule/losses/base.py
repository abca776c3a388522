"""What every loss is: one number, and its derivative by the predictions."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from chainrule import kernels
from chainrule.activations import ActivationLayer
from chainrule.arrays import refuse_masked
from chainrule.errors import InvalidInputError, shown
from chainrule.ranges import Range, is_finite
from chainrule.types import Array

__all__ = ["KernelLoss", "LossFunction", "OnePassLoss", "row_weights_of"]


class LossFunction(ABC):
    """Base class of all losses.

    ``fuses_with`` names the activation with which the loss is one function of the logits; a network that ends in
    that activation trains and is measured through :meth:`evaluate_logits`, which is finite where the two steps in
    sequence are not.

    ``domain`` declares the predictions for which the loss is defined, and ``targets`` the targets, None for any; a
    network whose last layer gives others, and data with others, are refused before training. ``is_of_numbers`` says
    that the loss is made for numbers as targets, not for classes; ``takes_scores`` that the outputs are any numbers
    even where the targets are classes, so no activation belongs behind the last dense layer; ``takes_standardized``
    that the targets of a regression may be shifted and scaled.
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = None
    domain: ClassVar[Range | None] = None
    targets: ClassVar[Range | None] = None
    is_of_numbers: ClassVar[bool] = False
    takes_scores: ClassVar[bool] = False
    takes_standardized: ClassVar[bool] = True

    @abstractmethod
    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the (weighted) mean loss."""

    @abstractmethod
    def derivative(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        """Return the derivative of :meth:`loss` with respect to ``y_pred``, in its shape."""

    @property
    def takes_weights(self) -> bool:
        """Whether :meth:`loss` and :meth:`derivative` take sample weights; a user's own need not."""
        return len(inspect.signature(self.loss).parameters) > 2

    def n_outputs(self, n_targets: int) -> int:
        """Return how many outputs the network must have for ``n_targets`` target columns: as many, most often."""
        return n_targets

    def point_predictions(self, outputs: Array) -> Array:
        """Return what the outputs predict, in the targets' own terms: the outputs themselves, most often."""
        return outputs

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss and write its derivative, for arrays that are already checked.

        The result is ``sum row_weights_i l_i``; the weights sum to 1, or, in a mini-batch of weighted rows, nearly so.
        This is what training calls; the built-in losses do it in one pass. A user's own loss is asked for the mean,
        without weights where all are equal, so that one written as ``loss(y_true, y_pred)`` will do. It gets float64,
        in which ``np.clip(y_pred, 1e-15, 1 - 1e-15)`` keeps a logarithm finite, as it does not in float32.
        """
        total = float(row_weights.sum())
        if total == 0:
            derivative.fill(0)
            return 0.0
        weights = () if row_weights.min() == row_weights.max() else (row_weights / total,)
        if weights and not self.takes_weights:
            raise InvalidInputError(
                f"{type(self).__name__} takes no sample weights, and these rows have some; write its loss and "
                "derivative with a third argument, sample_weight=None."
            )
        y_true, y_pred = y_true.astype(np.float64, copy=False), y_pred.astype(np.float64, copy=False)
        derivative[...] = self.derivative(y_true, y_pred, *weights)
        derivative *= derivative.dtype.type(total)
        return total * self.loss(y_true, y_pred, *weights)

    def evaluate_logits(self, y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss of ``fuses_with`` applied to ``logits`` and write the derivative by the logits."""
        raise InvalidInputError(f"{type(self).__name__} is not one function with any activation.")


def row_weights_of(sample_weight: Array | None, n_rows: int, dtype: np.dtype[Any]) -> Array:
    """Return weights that sum to 1: the sample weights normalised, or 1/n each.

    Computed in float64 and rounded once, so that equal weights and no weights give the same bits.
    """
    if n_rows < 1:
        raise InvalidInputError("A loss is the mean over the rows, and there are none.")
    if sample_weight is None:
        return np.full(n_rows, 1.0 / n_rows, dtype)
    refuse_masked(sample_weight, "sample_weight")
    weights = np.asarray(sample_weight, np.float64).reshape(-1)
    if len(weights) != n_rows:
        raise InvalidInputError(f"There are {len(weights)} sample weights for {n_rows} rows.")
    total = float(weights.sum())
    if not (0 < total < np.inf and weights.min() >= 0):
        raise InvalidInputError("Sample weights must be finite and not negative, and at least one must be above 0.")
    return np.asarray(weights / total, dtype)


class OnePassLoss(LossFunction):
    """Base class of the losses that :meth:`evaluate` value and derivative together; it checks what they are given."""

    @abstractmethod
    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss and write its derivative in one pass."""

    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the (weighted) mean loss."""
        return self._evaluated(y_true, y_pred, sample_weight)[0]

    def derivative(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        """Return the derivative of :meth:`loss` with respect to ``y_pred``, in its shape."""
        return self._evaluated(y_true, y_pred, sample_weight)[1]

    def _evaluated(self, y_true: Array, y_pred: Array, sample_weight: Array | None) -> tuple[float, Array]:
        predictions = _as_matrix(y_pred, np.result_type(np.asarray(y_pred), np.float32))
        targets = _as_matrix(y_true, predictions.dtype)
        if targets.ndim != 2 or predictions.shape != (targets.shape[0], self.n_outputs(targets.shape[1])):
            twice = "" if self.n_outputs(1) == 1 else f", with {self.n_outputs(1)} prediction columns for each target"
            raise InvalidInputError(
                f"{type(self).__name__} got targets of shape {np.shape(y_true)} and predictions of shape "
                f"{np.shape(y_pred)}; both must be (rows, outputs) and the same{twice}."
            )
        derivative = np.empty_like(predictions)
        weights = row_weights_of(sample_weight, len(predictions), predictions.dtype)
        value = self.evaluate(targets, predictions, weights, derivative)
        return value, derivative.reshape(np.shape(y_pred))


class KernelLoss(OnePassLoss):
    """Base class of the built-in losses: one kernel gives the value and the derivative in one pass.

    A second kernel, of the logits, belongs to those that fuse with an activation.
    """

    kernel: ClassVar[str]
    logits_kernel: ClassVar[str | None] = None

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss and write its derivative in one pass."""
        return self._run(self.kernel, y_true, y_pred, row_weights, derivative)

    def evaluate_logits(self, y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss of ``fuses_with`` applied to ``logits`` and write the derivative by the logits."""
        if self.logits_kernel is None:
            return super().evaluate_logits(y_true, logits, row_weights, derivative)
        return self._run(self.logits_kernel, y_true, logits, row_weights, derivative)

    def _settings(self) -> tuple[float, ...]:
        """Numbers that the kernels take after ``y_true`` and ``y_pred``."""
        return ()

    def _run(self, kernel: str, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        return float(getattr(kernels, kernel)(y_true, y_pred, *self._settings(), row_weights, derivative))

    def _check(self, setting: str, value: float, low: float, high: float, ends: str) -> None:
        """Refuse a setting outside the interval; ``ends`` is "[]", "[)", "(]" or "()", its brackets."""
        inside = (
            is_finite(value)
            and (low <= value if ends[0] == "[" else low < value)
            and (value <= high if ends[1] == "]" else value < high)
        )
        if not inside:
            bounds = f"{ends[0]}{low:g}, {high:g}{ends[1]}"
            raise InvalidInputError(
                f"The {setting} of {type(self).__name__} is {shown(value)}; it must lie in {bounds}."
            )


def _as_matrix(values: Array, dtype: np.dtype[Any]) -> Array:
    refuse_masked(values, "An array that a loss was given")
    array = np.ascontiguousarray(values, dtype=dtype)
    return array.reshape(-1, 1) if array.ndim == 1 else array
