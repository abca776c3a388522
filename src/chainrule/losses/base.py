"""What every loss is: one number, and its derivative by the predictions."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from chainrule import kernels
from chainrule.activations import ActivationLayer
from chainrule.arrays import refuse_masked
from chainrule.errors import InvalidInputError, shown
from chainrule.formulas import Attempt, Expression, Formula, Loop, TraceError, values_of
from chainrule.ranges import Range, is_finite
from chainrule.types import Array

__all__ = ["ElementwiseLoss", "KernelLoss", "LossFunction", "OnePassLoss", "TracedLoss", "row_weights_of"]


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
        value = np.asarray(self.loss(y_true, y_pred, *weights))
        if value.size != 1:
            raise InvalidInputError(
                f"{type(self).__name__}.loss must return one number, the mean; it returned shape {value.shape}."
            )
        return total * float(value.item())

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


class ElementwiseLoss(OnePassLoss):
    """Base class of the losses that are the mean of a function of each target and its prediction.

    A subclass gives that function, :meth:`element_loss`, and its derivative by the prediction, as NumPy formulas. They
    are traced and compiled; a formula that cannot be traced, such as one with an ``if`` on the values of an array, is
    computed by NumPy. A loss that fuses with an activation also gives both as functions of the logits.
    """

    _traced: ClassVar[Attempt[TracedLoss] | None] = None
    _traced_logits: ClassVar[Attempt[TracedLoss] | None] = None

    @abstractmethod
    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return the loss of every element."""

    @abstractmethod
    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return the derivative of :meth:`element_loss` by the prediction."""

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return :meth:`element_loss` of ``fuses_with`` applied to ``logits``."""
        raise InvalidInputError(f"{type(self).__name__} is not one function with any activation.")

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return the derivative of :meth:`logits_loss` by the logits."""
        raise InvalidInputError(f"{type(self).__name__} is not one function with any activation.")

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss and write its derivative in one pass."""
        return self._mean(
            self.traced(), self.element_loss, self.element_derivative, y_true, y_pred, row_weights, derivative
        )

    def evaluate_logits(self, y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss of ``fuses_with`` applied to ``logits`` and write the derivative by the logits."""
        if self.fuses_with is None:
            return super().evaluate_logits(y_true, logits, row_weights, derivative)
        traced = self.traced(of_logits=True)
        return self._mean(traced, self.logits_loss, self.logits_derivative, y_true, logits, row_weights, derivative)

    def traced(self, *, of_logits: bool = False) -> TracedLoss | None:
        """Return the formulas as expressions and as a compiled loop; None where they cannot be traced."""
        kind, name = type(self), "_traced_logits" if of_logits else "_traced"
        if (kind.evaluate, kind.evaluate_logits) != (ElementwiseLoss.evaluate, ElementwiseLoss.evaluate_logits):
            return None  # the formulas do not say what the loss is
        known: Attempt[TracedLoss] | None = getattr(self, name)
        if known is None or not known.is_current(self):
            known = Attempt.make(self, RUNTIME, functools.partial(TracedLoss.of, self, of_logits=of_logits))
            object.__setattr__(self, name, known)  # losses are frozen dataclasses
        return known.formulas

    def _mean(
        self,
        traced: TracedLoss | None,
        value: Callable[[Array, Array], Array],
        slope: Callable[[Array, Array], Array],
        y_true: Array,
        y_pred: Array,
        row_weights: Array,
        derivative: Array,
    ) -> float:
        if traced is not None and kernels.active_set() == "numba":
            dtype = y_pred.dtype
            y_true, y_pred, row_weights = (np.ascontiguousarray(a, dtype) for a in (y_true, y_pred, row_weights))
            numbers = traced.numbers(self, y_true.shape[1], dtype)
            return traced.loop(y_true, y_pred, row_weights, derivative, settings=numbers)
        weights = row_weights[:, None] / y_true.shape[1]
        with np.errstate(all="ignore"):  # y / 0 is the true slope
            derivative[...] = weights * self._checked(slope(y_true, y_pred), y_pred)
            return float(np.sum(weights * self._checked(value(y_true, y_pred), y_pred)))

    def _checked(self, values: Any, y_pred: Array) -> Array:
        """Return what a formula gave for the elements; refuse what is not one number for each."""
        elements = np.asarray(values)
        if elements.shape != y_pred.shape:
            raise InvalidInputError(
                f"{getattr(self, 'name', type(self).__name__)} must return one number for each element, shape "
                f"{y_pred.shape}; a formula returned shape {elements.shape}. Leave the mean to the loss."
            )
        return elements

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in RUNTIME}


# The attributes on which no formula depends.
RUNTIME = frozenset({"_traced", "_traced_logits"})
# In float32, derivatives below this are stored as 0: products with them would be subnormal numbers, on which processors
# are about a hundred times slower. A network that has learned its data by heart would be full of them.
SMALLEST = 1e-25


@dataclass(frozen=True, eq=False)
class TracedLoss:
    """The formulas of an elementwise loss, as expressions and as a compiled loop.

    Attributes
    ----------
    value
        The loss of an element, of the symbols ``y_true`` and ``y_pred`` and the settings.
    derivative
        Its derivative by the prediction.
    formula
        What both are parts of.
    """

    value: Expression
    derivative: Expression
    formula: Formula

    @classmethod
    def of(cls, loss: ElementwiseLoss, *, of_logits: bool) -> TracedLoss:
        """Trace the formulas of a loss. Raises ``TraceError`` for what cannot be traced."""

        def formulas(loss: ElementwiseLoss, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
            if of_logits:
                return loss.logits_loss(y_true, y_pred), loss.logits_derivative(y_true, y_pred)
            return loss.element_loss(y_true, y_pred), loss.element_derivative(y_true, y_pred)

        formula = Formula.trace(formulas, loss, ["y_true", "y_pred"])
        if any(node.is_reduction for result in formula.expressions for node in result.visit()):
            raise TraceError("A loss of elements reduces the rows.")
        value, derivative = formula.expressions
        return cls(value, derivative, formula)

    @cached_property
    def loop(self) -> Loop:
        """``loop(y_true, y_pred, row_weights, derivative)`` writes the derivative and returns the mean loss."""
        graph = self.value.graph
        weight = graph.symbol("share") * graph.symbol("row_weights")
        is_small = np.absolute(self.derivative) < graph.symbol("smallest")
        written = weight * np.where(is_small, 0, self.derivative)
        arrays, settings = (
            ("y_true", "y_pred", "row_weights", "derivative"),
            ("share", "smallest", *self.formula.settings),
        )
        return Loop(arrays, settings, {"derivative": written}, weight * self.value, ("row_weights",))

    def numbers(self, loss: ElementwiseLoss, n_columns: int, dtype: np.dtype[Any]) -> list[float]:
        """Return what the loop takes beside arrays."""
        smallest = SMALLEST if dtype == np.float32 else 0.0
        return [1 / n_columns, smallest, *values_of(loss, self.formula.settings)]


class KernelLoss(OnePassLoss):
    """Base class of the losses of whole rows: one kernel gives the value and the derivative in one pass.

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


def ratio(y: Array, p: Array) -> Array:
    """Return y / p, with 0 / 0 = 0; a p that is NaN stays NaN."""
    return np.where(y == 0, 0 * p, y / np.where(y == 0, 1, p))


def _as_matrix(values: Array, dtype: np.dtype[Any]) -> Array:
    refuse_masked(values, "An array that a loss was given")
    array = np.ascontiguousarray(values, dtype=dtype)
    return array.reshape(-1, 1) if array.ndim == 1 else array
