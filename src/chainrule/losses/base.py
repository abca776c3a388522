"""The base classes of the losses: one number, and its derivative with respect to the predictions."""

from __future__ import annotations

import functools
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import numpy as np

from chainrule import kernels
from chainrule.activations import ActivationLayer
from chainrule.arrays import refuse_masked
from chainrule.errors import InvalidInputError
from chainrule.formulas import Attempt, Expression, Formula, Loop, TraceError, values_of
from chainrule.formulas.expression import elementwise
from chainrule.named import also_called
from chainrule.program import Program, Value
from chainrule.ranges import Range
from chainrule.settings import CheckedSettings
from chainrule.types import Array

__all__ = ["Band", "ElementwiseLoss", "FormulaLoss", "LossFunction", "RowLoss", "TracedLoss", "row_weights_of"]


class Band(NamedTuple):
    """The predicted range of each target, as arrays of shape (rows, targets).

    The range is ``lower`` to ``upper``, before it is corrected by the errors on held-out rows. For a loss with one
    prediction per target, both are the prediction. ``scale`` is the unit in which the errors of a row are measured,
    such as a predicted standard deviation.
    """

    lower: Array
    upper: Array
    scale: Array


@also_called(
    arguments={
        "reduction": "A loss is the mean over all elements or rows.",
        "from_logits": "End the network with the activation, which is computed together with the loss.",
        "label_smoothing": "It is a setting of NeuralNetwork.",
        "weight": "It is the setting class_weight of NeuralNetwork.",
    }
)
class LossFunction(CheckedSettings, ABC):
    """Base class of all losses.

    Attributes
    ----------
    fuses_with
        The activation that is computed together with the loss as one function of the logits. For a network that ends
        in this activation, training and evaluation call :meth:`evaluate_logits`, which stays finite where activation
        and loss, computed one after the other, overflow.
    domain
        The predictions for which the loss is defined; None for any. A network whose last layer can give other
        predictions is refused before training.
    targets
        The targets for which the loss is defined; None for any. Data with other targets are refused before training.
    is_regression
        Whether the targets are numbers, not classes.
    for_classes
        Whether a network for classes may use the loss, with targets of 0 and 1. This is also possible for some losses
        of regressions, such as the squared error.
    expects_scores
        Whether the predictions are unbounded scores although the targets are classes. The network then ends in a dense
        layer without an activation.
    allows_standardized_targets
        Whether the targets of a regression may be shifted and scaled.
    compares_outputs
        Whether the loss compares the outputs of a row with one another and so needs two or more of them.
    outputs_per_target
        The number of network outputs for each target column.
    output_activation
        The output activation of a network for classes, which then has one unit per class; None for sigmoid or softmax.
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = None
    domain: ClassVar[Range | None] = None
    targets: ClassVar[Range | None] = None
    is_regression: ClassVar[bool] = False
    for_classes: ClassVar[bool] = True
    expects_scores: ClassVar[bool] = False
    allows_standardized_targets: ClassVar[bool] = True
    compares_outputs: ClassVar[bool] = False
    outputs_per_target: ClassVar[int] = 1
    output_activation: ClassVar[type[ActivationLayer] | None] = None

    @abstractmethod
    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the (weighted) mean loss."""

    @abstractmethod
    def derivative(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        """Return the derivative of :meth:`loss` with respect to ``y_pred``, in its shape."""

    @property
    def accepts_weights(self) -> bool:
        """Whether :meth:`loss` and :meth:`derivative` take sample weights; user-defined losses may leave them out."""
        return len(inspect.signature(self.loss).parameters) > 2

    def n_outputs(self, n_targets: int) -> int:
        """Return the number of outputs that the network must have for ``n_targets`` target columns."""
        return self.outputs_per_target * n_targets

    def squares_factor(self, n_targets: int) -> float | None:
        """Return c if the loss of a row is c times its sum of squared errors, and None for another loss."""
        return None

    def point_predictions(self, outputs: Array) -> Array:
        """Return the predicted values or probabilities: the outputs, or :func:`normalize_scores` of scores.

        This is a NumPy formula, which is traced for exports. If :attr:`outputs_per_target` is 2 or more, its first
        argument has the first outputs of all targets, its second argument the second outputs, and so on. Arguments at
        the end that the formula does not need may be left out.
        """
        return normalize_scores(outputs) if self.expects_scores else outputs

    def predictions_of(self, outputs: Array) -> Array:
        """Return the :meth:`point_predictions` for outputs of shape (rows, outputs)."""
        if self.outputs_per_target == 1:
            return self.point_predictions(outputs)
        return self.point_predictions(*np.split(outputs, self.outputs_per_target, axis=-1)[: self._n_predicting])

    def band_of(self, outputs: Array) -> Band:
        """Return the range of the targets for outputs of shape (rows, outputs): by default, the point predictions."""
        predictions = self.predictions_of(outputs)
        return Band(predictions, predictions, np.ones_like(predictions))

    def lower(self, program: Program, outputs: Value) -> Value:
        """Return the :meth:`point_predictions` as operations. Raises ``TraceError`` if they cannot be traced."""
        parts = [outputs]
        if self.outputs_per_target > 1:
            columns = np.split(np.arange(outputs.width), self.outputs_per_target)[: self._n_predicting]
            parts = [program.select(outputs, part.tolist()) for part in columns]
        try:
            return program.map(self.point_predictions, *parts)
        except TraceError as error:
            raise TraceError(
                f"The point predictions of the loss {type(self).__name__} cannot be exported. {error}"
            ) from error

    @property
    def _n_predicting(self) -> int:
        """The number of outputs per target that :meth:`point_predictions` takes."""
        return len(inspect.signature(self.point_predictions).parameters)

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return ``sum row_weights_i l_i`` and write its derivative into ``derivative``; training calls this method.

        The arrays must be checked already. The weights sum to 1, or to about 1 in a mini-batch of weighted rows. The
        built-in losses override this method and compute both results in one pass.

        This default calls :meth:`loss` and :meth:`derivative` of a user-defined loss. It passes no weights if they are
        all equal, so that ``loss(y_true, y_pred)`` is a sufficient signature. The arrays are passed in float64, in
        which ``np.clip(y_pred, 1e-15, 1 - 1e-15)`` keeps a logarithm finite; in float32, 1 - 1e-15 is 1.
        """
        total = float(row_weights.sum())
        if total == 0:
            derivative.fill(0)
            return 0.0
        weights = () if row_weights.min() == row_weights.max() else (row_weights / total,)
        if weights and not self.accepts_weights:
            raise InvalidInputError(
                f"{type(self).__name__} takes no sample weights, but the rows have different weights; give its methods "
                "loss and derivative a third argument, sample_weight=None."
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
        """Return the loss of ``fuses_with`` applied to ``logits`` and write its derivative with respect to them."""
        raise InvalidInputError(
            f"{type(self).__name__} has no formula for logits, because it fuses with no activation; call evaluate."
        )

    def traced(self, *, of_logits: bool = False) -> TracedLoss | None:
        """Return the formulas as expressions and a compiled loop; None for a loss that is computed by NumPy only."""
        return None


def normalize_scores(scores: Array) -> Array:
    """Return numbers between 0 and 1 that keep the order of the scores.

    Several columns go through a softmax, and a single column through a sigmoid. The results are not calibrated
    probabilities, but their largest element, or the threshold 0.5 for a single column, gives the predicted class.
    """
    is_single = np.sum(0 * scores + 1, axis=-1, keepdims=True) == 1
    largest = np.max(scores, axis=-1, keepdims=True)
    largest = np.where(is_single, np.maximum(largest, 0), largest)
    powers = np.exp(scores - largest)
    power_of_zero = np.where(is_single, np.exp(-np.maximum(largest, 0)), 0)
    shares: Array = powers / (np.sum(powers, axis=-1, keepdims=True) + power_of_zero)
    return shares


def row_weights_of(sample_weight: Array | None, n_rows: int, dtype: np.dtype[Any]) -> Array:
    """Return row weights that sum to 1: the normalised sample weights, or 1/n for each of n rows without them.

    They are computed in float64 and rounded once, so that equal weights and no weights give the same bits.
    """
    if n_rows < 1:
        raise InvalidInputError("A loss is the mean over the rows, and there are none; give at least one row.")
    if sample_weight is None:
        return np.full(n_rows, 1.0 / n_rows, dtype)
    refuse_masked(sample_weight, "sample_weight")
    weights = np.asarray(sample_weight, np.float64).reshape(-1)
    if len(weights) != n_rows:
        raise InvalidInputError(f"There are {len(weights)} sample weights for {n_rows} rows; give one for each row.")
    total = float(weights.sum())
    if not (0 < total < np.inf and weights.min() >= 0):
        raise InvalidInputError("Sample weights must be finite and not negative, and at least one must be above 0.")
    return np.asarray(weights / total, dtype)


class FormulaLoss(LossFunction):
    """Base class of the losses that are defined by formulas, one for the value and one for the derivative.

    The formulas are written in NumPy, traced and compiled. A formula that cannot be traced, such as one with an ``if``
    on the values of an array, is computed by NumPy. A loss that fuses with an activation also defines both formulas
    for the logits. If ``outputs_per_target`` is 2 or more, a formula takes the first outputs of all targets, the second
    outputs, and so on, as separate arguments, and the derivative is a tuple with one array for each of them.
    """

    _traced: ClassVar[Attempt[TracedLoss] | None] = None
    _traced_logits: ClassVar[Attempt[TracedLoss] | None] = None
    _is_elementwise: ClassVar[bool]

    @abstractmethod
    def _formulas(self) -> tuple[Callable[..., Array], Callable[..., Any]]:
        """Return the formulas of the value and of its derivative with respect to the predictions."""

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return the loss of ``fuses_with`` applied to ``logits``, before the mean is taken."""
        raise InvalidInputError(f"{type(self).__name__} has no formula for logits; define logits_loss.")

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return the derivative of :meth:`logits_loss` with respect to the logits."""
        raise InvalidInputError(f"{type(self).__name__} has no formula for logits; define logits_derivative.")

    def evaluate(self, y_true: Array, y_pred: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss and write its derivative in one pass."""
        return self._mean(self.traced(), self._formulas(), y_true, y_pred, row_weights, derivative)

    def evaluate_logits(self, y_true: Array, logits: Array, row_weights: Array, derivative: Array) -> float:
        """Return the loss of ``fuses_with`` applied to ``logits`` and write its derivative with respect to them."""
        if self.fuses_with is None:
            return super().evaluate_logits(y_true, logits, row_weights, derivative)
        traced, formulas = self.traced(of_logits=True), (self.logits_loss, self.logits_derivative)
        return self._mean(traced, formulas, y_true, logits, row_weights, derivative)

    def traced(self, *, of_logits: bool = False) -> TracedLoss | None:
        """Return the formulas as expressions and a compiled loop; None if they cannot be traced."""
        kind, name = type(self), "_traced_logits" if of_logits else "_traced"
        if (kind.evaluate, kind.evaluate_logits) != (FormulaLoss.evaluate, FormulaLoss.evaluate_logits):
            return None  # an overridden method, not the formulas, defines the loss
        known: Attempt[TracedLoss] | None = getattr(self, name)
        if known is None or not known.is_current(self):
            known = Attempt.make(self, RUNTIME, functools.partial(TracedLoss.of, self, of_logits=of_logits))
            object.__setattr__(self, name, known)  # losses are frozen dataclasses
        return known.formulas

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
                f"{type(self).__name__} was given targets of shape {np.shape(y_true)} and predictions of shape "
                f"{np.shape(y_pred)}; both must have the same shape (rows, outputs){twice}."
            )
        derivative = np.empty_like(predictions)
        weights = row_weights_of(sample_weight, len(predictions), predictions.dtype)
        value = self.evaluate(targets, predictions, weights, derivative)
        return value, derivative.reshape(np.shape(y_pred))

    def _mean(
        self,
        traced: TracedLoss | None,
        formulas: tuple[Callable[..., Array], Callable[..., Any]],
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
        value, slope = formulas
        outputs = np.split(y_pred, self.outputs_per_target, axis=1)
        weights = row_weights[:, None] / (y_true.shape[1] if self._is_elementwise else 1)
        with np.errstate(all="ignore"):  # y / 0 is the true slope
            slopes = self._checked(_as_tuple(slope(y_true, *outputs)), y_true.shape, "element", len(outputs))
            derivative[...] = weights * np.hstack(slopes)
            shape, of = (y_true.shape, "element") if self._is_elementwise else ((len(y_true), 1), "row")
            return float(np.sum(weights * self._checked((value(y_true, *outputs),), shape, of, 1)[0], dtype=np.float64))

    def _checked(self, values: tuple[Any, ...], shape: tuple[int, ...], of: str, n_arrays: int) -> list[Array]:
        """Return the results of a formula as arrays; raise InvalidInputError unless they have the right shape."""
        arrays = [np.asarray(array) for array in values]
        if of == "row":
            arrays = [array[:, None] if array.shape == shape[:1] else array for array in arrays]
        if len(arrays) != n_arrays or any(array.shape != shape for array in arrays):
            wanted = f"one number for each {of}, shape {shape}" + f", in {n_arrays} arrays" * (n_arrays > 1)
            raise InvalidInputError(
                f"{getattr(self, 'name', type(self).__name__)} must return {wanted}; a formula returned "
                f"{'shape ' if len(arrays) == 1 else ''}{', '.join(str(array.shape) for array in arrays)}. Do not "
                "take the mean in the formula."
            )
        return arrays

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in RUNTIME}


class ElementwiseLoss(FormulaLoss):
    r"""Base class of the losses that are the mean over all elements of a function l of a target and its prediction.

    .. math::
       L = \frac{1}{N} \sum l(y, p), \qquad \frac{\partial L}{\partial p} = \frac{1}{N} \frac{\partial l}{\partial p}

    A subclass defines the function and its derivative. :meth:`loss` takes the mean, and :meth:`derivative` therefore
    divides by the number of elements.

    >>> from chainrule.losses import MeanSquaredError
    >>> loss = MeanSquaredError()
    >>> loss.element_loss(np.array([1.0, 2.0]), np.array([1.0, 4.0])).tolist(), loss.loss([1.0, 2.0], [1.0, 4.0])
    ([0.0, 4.0], 2.0)
    >>> loss.derivative([1.0, 2.0], [1.0, 4.0]).tolist()
    [0.0, 2.0]
    """

    _is_elementwise: ClassVar[bool] = True

    @abstractmethod
    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return the loss of every element."""

    @abstractmethod
    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return the derivative of :meth:`element_loss` with respect to the prediction."""

    def _formulas(self) -> tuple[Callable[..., Array], Callable[..., Any]]:
        return self.element_loss, self.element_derivative


class RowLoss(FormulaLoss):
    r"""Base class of the losses that are the mean over all rows of a function of a row of targets and its predictions.

    .. math:: L = \frac{1}{n} \sum_{i=1}^{n} l(y_i, p_i)

    A subclass defines the function and its derivative. :meth:`loss` takes the mean, and :meth:`derivative` therefore
    divides by the number of rows. The formulas take sums, means and maxima over the last axis,
    ``np.sum(..., axis=-1)``, with ``keepdims=True`` if the result is combined with whole rows.

    >>> from chainrule.losses import HalfSquaredError
    >>> HalfSquaredError().row_loss(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])).tolist()
    [12.5]
    """

    _is_elementwise: ClassVar[bool] = False

    @abstractmethod
    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return the loss of every row."""

    @abstractmethod
    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return the derivative of the loss of every row with respect to its predictions, in their shape."""

    def _formulas(self) -> tuple[Callable[..., Array], Callable[..., Any]]:
        return self.row_loss, self.row_derivative


# The attributes on which no formula depends.
RUNTIME = frozenset({"_traced", "_traced_logits"})
# In float32, derivatives below this are stored as 0: products with them would be subnormal numbers, with which
# processors compute about a hundred times slower. They are frequent in a network that fits its training data perfectly.
SMALLEST = 1e-25


@dataclass(frozen=True, eq=False)
class TracedLoss:
    """The formulas of a loss, as expressions and a compiled loop.

    Attributes
    ----------
    value
        The loss of an element or of a row, as an expression of the symbols ``y_true``, :attr:`outputs` and the
        settings.
    derivatives
        The derivatives of ``value`` with respect to the outputs. Derivatives that are smaller than the symbol
        ``smallest`` are replaced by 0.
    formula
        The trace that the expressions belong to.
    is_elementwise
        Whether the loss is the mean over all elements instead of the mean over the rows.
    """

    value: Expression
    derivatives: tuple[Expression, ...]
    formula: Formula
    is_elementwise: bool

    @classmethod
    def of(cls, loss: FormulaLoss, *, of_logits: bool) -> TracedLoss:
        """Trace the formulas of a loss. Raises ``TraceError`` if they cannot be traced."""

        def formulas(loss: FormulaLoss, y_true: Array, *outputs: Array) -> tuple[Array, ...]:
            value, slope = (loss.logits_loss, loss.logits_derivative) if of_logits else loss._formulas()
            return value(y_true, *outputs), *_as_tuple(slope(y_true, *outputs))

        formula = Formula.trace(formulas, loss, ["y_true", *_parts("y_pred", loss.outputs_per_target)])
        value, *derivatives = formula.expressions
        is_elementwise = id(value) in elementwise([value], formula.arguments)
        if is_elementwise is not loss._is_elementwise or len(derivatives) != loss.outputs_per_target:
            raise TraceError("A formula must return one number for each element or row, but returns other shapes.")
        smallest: Any = value.graph.symbol("smallest")
        stored: Any = tuple(np.where(np.absolute(slope) < smallest, 0, slope) for slope in derivatives)
        return cls(value, stored, formula, is_elementwise)

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the numbers that the loop takes; ``share`` is the factor of an element in the loss of a row."""
        return ("share", "smallest", *self.formula.settings)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the symbols for the outputs of the network."""
        return self.formula.arguments[1:]

    @cached_property
    def loop(self) -> Loop:
        """The loop ``loop(y_true, y_pred, row_weights, derivative)``.

        It writes the derivative and returns the mean loss.
        """
        graph, names = self.value.graph, _parts("derivative", len(self.derivatives))
        weight = graph.symbol("share") * graph.symbol("row_weights")
        return Loop(
            arrays=("y_true", "y_pred", "row_weights", "derivative"),
            settings=self.settings,
            outputs={name: weight * slope for name, slope in zip(names, self.derivatives, strict=True)},
            total=weight * self.value,
            rows=("row_weights",),
            parts={"y_pred": self.outputs, "derivative": names} if len(names) > 1 else {},
            sums_rows=not self.is_elementwise,
            scratch="" if len(names) > 1 else "derivative",
        )

    def numbers(self, loss: LossFunction, n_targets: int, dtype: np.dtype[Any]) -> list[float]:
        """Return the values of :attr:`settings` for a number of target columns."""
        smallest = SMALLEST if dtype == np.float32 else 0.0
        return [1 / n_targets if self.is_elementwise else 1.0, smallest, *values_of(loss, self.formula.settings)]


def _parts(name: str, n_parts: int) -> tuple[str, ...]:
    return tuple(f"{name}{place}" for place in range(n_parts)) if n_parts > 1 else (name,)


def _as_tuple(arrays: Any) -> tuple[Any, ...]:
    return arrays if isinstance(arrays, tuple) else (arrays,)


def ratio(y: Array, p: Array) -> Array:
    """Return y / p, with 0 / 0 = 0; the result is NaN where p is NaN."""
    return np.where(y == 0, 0 * p, y / np.where(y == 0, 1, p))


def _as_matrix(values: Array, dtype: np.dtype[Any]) -> Array:
    refuse_masked(values, "An array that a loss was given")
    array = np.ascontiguousarray(values, dtype=dtype)
    return array.reshape(-1, 1) if array.ndim == 1 else array
