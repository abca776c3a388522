"""The base class of the activations: a layer that applies one function to its inputs."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.formulas import Attempt, Expression, Formula, TraceError
from chainrule.formulas.expression import elementwise
from chainrule.formulas.traced import PREFIX
from chainrule.initializers import GlorotUniform, Initializer
from chainrule.layers.base import Layer
from chainrule.program import ArrayReference, MapFormula, Program, Value, with_output
from chainrule.types import Array, Inputs, Shape

__all__ = ["ActivationLayer"]

# The attributes of every layer; a trace does not depend on them.
RUNTIME = frozenset(Layer.__annotations__) | {"_traced"}


class ActivationLayer(Layer):
    r"""Base class of the activations, which apply a function f to every element.

    .. math:: a = f(z), \qquad \frac{\partial L}{\partial z} = \frac{\partial L}{\partial a} \, f'(z)

    The output has the shape of the input, (rows, ...), and an activation usually has no parameters.

    A subclass defines :meth:`activation_function` and :meth:`derivative` as NumPy formulas for arrays of any shape.
    They are traced: training and prediction run loops that are compiled from the formulas, and the formulas are
    translated to PyTorch, ONNX, C and JavaScript. A formula that cannot be traced, such as one with an ``if`` on the
    values of its argument, is computed by NumPy.

    ``suited_initializer`` is the initializer for a dense layer before the activation. Its weights preserve the scale of
    the signal through the activation.

    >>> from chainrule.activations import ReLUActivation
    >>> layer = ReLUActivation()
    >>> layer.set_input_shape((2,))
    >>> layer.forward_propagation([[-1.0, 3.0]], training=True).tolist()
    [[0.0, 3.0]]
    >>> layer.backward_propagation(np.array([[5.0, 5.0]], np.float32)).tolist()
    [[0.0, 5.0]]
    """

    suited_initializer: ClassVar[Initializer] = GlorotUniform()
    _traced: Attempt[MapFormula] | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("activation_function", "derivative"):
            if inspect.isfunction(vars(cls).get(name)):
                setattr(cls, name, _on_arrays(vars(cls)[name]))

    @abstractmethod
    def activation_function(self, x: Array) -> Array:
        """Return f(x), element by element."""

    def derivative(self, x: Array) -> Array:
        """Return f'(x), element by element. A function of whole rows may leave it out and give :meth:`pull_back`."""
        raise InvalidInputError(f"{self.layer_name()} has no derivative; define the method derivative or pull_back.")

    def pull_back(self, x: Array, error: Array) -> Array:
        """Return dL/dx, given ``error`` = dL/df(x).

        A function of whole rows overrides this method and multiplies by its Jacobian.
        """
        return error * self.derivative(x)

    def parameter_terms(self, x: Array, error: Array) -> dict[str, Array]:
        """Return the terms of dL/d(parameter) by name, one per element of x.

        A parameter has one element, or the shape of a row. Its gradient is the sum of the terms; see :func:`sum_terms`.
        """
        return {}

    def lower(self, program: Program, x: Value) -> Value:
        """Return f(x), computed by the formulas."""
        formula = self.formulas()
        parameters = tuple(ArrayReference(self, name.removeprefix(PREFIX)) for name in formula.parameters)
        return program.apply(formula, (x,), parameters, self, self.layer_name(), self.input_shape()[-1])

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return f(inputs)."""
        x: Array = self._check_inputs(inputs)
        output = self._allocate("output", x.shape, training)
        output[...] = self.activation_function(x)
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of the parameters, if there are any, and return dL/d(input).

        Returns None if ``needs_input_error`` is False.
        """
        error, x = self._check_error(output_error), self.input
        terms = self.parameter_terms(x, error) if self.gradient_views else {}
        for name, gradient in self.gradient_views.items():
            gradient[...] = sum_terms(terms[name], gradient.shape)
        input_error = None
        if self.needs_input_error:
            input_error = self._buffer("input_error", error.shape)
            input_error[...] = self.pull_back(x, error)
        self._update_parameters()
        return input_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write the sums of :meth:`parameter_terms` over each row."""
        error = self._check_error(output_error)
        for name, terms in self.parameter_terms(self.input, error).items():
            terms.reshape(len(error), -1, *jacobian[name].shape[1:]).sum(axis=1, out=jacobian[name])

    def traced(self) -> MapFormula | None:
        """Return the formulas as expressions and compiled loops, or None if they cannot be traced.

        They are traced once, and again after a change of an attribute whose value is a constant in the trace.
        """
        known = self._traced
        if known is None or not known.is_current(self):
            known = self._traced = Attempt.make(self, RUNTIME, functools.partial(_trace, self))
        return known.formulas

    def formulas(self) -> MapFormula:
        """Return the formulas as :meth:`traced` does; raise ``TraceError`` with the reason if they cannot be traced."""
        traced = self.traced()
        if traced is None:
            assert self._traced is not None  # traced() has set it
            raise TraceError(f"{self.layer_name()} is computed by NumPy only. {self._traced.obstacle}")
        return traced

    @property
    def is_fixed(self) -> bool:
        """Whether the function has no settings, so that it never changes. User-defined classes may have any."""
        return type(self).__module__.startswith("chainrule.") and vars(self).keys() <= RUNTIME

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_traced": None}


def sum_terms(terms: Array, shape: Shape) -> Array:
    """Return the gradient of a parameter from its terms: the sum over the rows and, if it is shared, over the units."""
    sum_over_rows: Any = np.sum(terms.reshape(len(terms), -1), axis=0, dtype=np.float64)
    return np.asarray(sum_over_rows.reshape(-1, *shape).sum(axis=0))


def _trace(layer: ActivationLayer) -> MapFormula:
    """Trace the formulas of an activation. Raises ``TraceError`` if they cannot be traced."""
    kind = type(layer)
    if (kind.forward_propagation, kind.backward_propagation) != (
        ActivationLayer.forward_propagation,
        ActivationLayer.backward_propagation,
    ):
        raise TraceError(
            "Its class overrides forward_propagation or backward_propagation; override activation_function, derivative "
            "and pull_back only."
        )
    names = list(layer.parameter_views)

    def formulas(layer: ActivationLayer, x: Array, error: Array) -> tuple[Array, ...]:
        terms = layer.parameter_terms(x, error)
        return layer.activation_function(x), layer.pull_back(x, error), *(terms[name] for name in names)

    formula = Formula.trace(formulas, layer, ["x", "error"])
    output, input_error, *terms = formula.expressions
    parameters = tuple(f"{PREFIX}{name}" for name in names)
    return MapFormula(
        formula,
        output,
        ("x",),
        parameters,
        {"x": with_output(input_error, output)},
        dict(zip(parameters, terms, strict=True)),
    )


def _on_arrays(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that applies a formula to anything that NumPy can convert to an array, and ignores overflows.

    Raises InvalidInputError if the result does not have one number for each element of the argument. Python's numbers
    are constants.
    """

    @functools.wraps(formula)
    def method(self: Any, x: Any) -> Any:
        if isinstance(x, Expression):
            result = formula(self, x)
            symbols = {node.value for node in x.visit() if node.operation == "symbol"}
            is_constant = not isinstance(result, Expression) or result.operation == "constant"
            if not is_constant and id(result) not in elementwise([result], symbols):
                raise TraceError(f"{formula.__name__} reduces its argument.")
            return result
        x = np.asarray(x)
        x = x.astype(np.result_type(x, np.float32), copy=False)
        with np.errstate(over="ignore"):  # the limit, such as exp(-infinity) = 0, is the desired result
            result = formula(self, np.atleast_1d(x))
        if type(result) in (int, float, bool):
            return np.full_like(x, result)
        shape = np.atleast_1d(x).shape
        if np.shape(result)[: len(shape)] != shape:  # the derivative of softmax has an axis more
            raise InvalidInputError(
                f"{self.layer_name()}.{formula.__name__} returns an array of shape {np.shape(result)} for an input of "
                f"shape {shape}; it must return one number for each element of its input."
            )
        result = np.asarray(result, x.dtype)
        return result if x.ndim else result[0]

    return method
