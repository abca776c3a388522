"""The base class of the activations: a layer that applies one function to its inputs."""

from __future__ import annotations

import functools
import inspect
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from chainrule import kernels
from chainrule.errors import InvalidInputError
from chainrule.formulas import Attempt, Expression, Formula, Loop, TraceError, values_of
from chainrule.initializers import GlorotUniform, Initializer
from chainrule.layers.base import Layer
from chainrule.types import Array, Inputs

__all__ = ["ActivationLayer", "TracedActivation"]

# The attributes that every layer has; a trace does not depend on them.
RUNTIME = frozenset(Layer.__annotations__) | {"_traced"}


class ActivationLayer(Layer):
    """Base class of the activations: output shape = input shape.

    A subclass defines :meth:`activation_function` and :meth:`derivative` as NumPy formulas for arrays of any shape.
    They are traced: training and prediction run loops that are compiled from the formulas, and the formulas are
    translated to PyTorch, ONNX, C and JavaScript. A formula that cannot be traced, such as one with an ``if`` on the
    values of its argument, is computed by NumPy.

    ``suited_initializer`` is the initializer for a dense layer before the activation. Its weights preserve the scale
    of the signal through the activation.
    """

    suited_initializer: ClassVar[Initializer] = GlorotUniform()
    _traced: Attempt[TracedActivation] | None = None

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
        """Return the terms of dL/d(parameter), one per element of x, for each parameter of one element."""
        return {}

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return f(inputs)."""
        z = self._accept(inputs)
        output = self._array_for("output", z.shape, training)
        traced = self._compiled()
        if traced is None:
            output[...] = self.activation_function(z)
        else:
            traced.forward(z, output, settings=values_of(self, traced.settings))
        if training:
            self.input, self.output = z, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of the parameters, if there are any, and return dL/d(input).

        Returns None when ``needs_input_error`` is off.
        """
        error, traced, x = self._accept_error(output_error), self._compiled(), self.input
        assert self.output is not None  # _accept_error has checked it
        settings = () if traced is None else values_of(self, traced.settings)
        for name, gradient in self.gradient_views.items():
            if traced is None:
                gradient[...] = np.sum(self.parameter_terms(x, error)[name], dtype=np.float64)
            else:
                gradient[...] = traced.sums[name](x, error, settings=settings)
        input_error = None
        if self.needs_input_error:
            input_error = self._buffer("input_error", error.shape)
            if traced is None:
                input_error[...] = self.pull_back(x, error)
            else:
                traced.backward(x, self.output, error, input_error, settings=settings)
        self._update_alone()
        return input_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write the sums of :meth:`parameter_terms` over each row."""
        error = self._accept_error(output_error)
        for name, terms in self.parameter_terms(self.input, error).items():
            terms.reshape(len(error), -1).sum(axis=1, keepdims=True, out=jacobian[name])

    def traced(self) -> TracedActivation | None:
        """Return the formulas as expressions and compiled loops, or None if they cannot be traced.

        They are traced once, and again after a change of an attribute whose value is a constant in the trace.
        """
        known = self._traced
        if known is None or not known.is_current(self):
            known = self._traced = Attempt.make(self, RUNTIME, functools.partial(TracedActivation.of, self))
        return known.formulas

    def formulas(self) -> TracedActivation:
        """Return the formulas as :meth:`traced` does; raise ``TraceError`` with the reason if they cannot be traced."""
        traced = self.traced()
        if traced is None:
            assert self._traced is not None  # traced() has set it
            raise TraceError(f"{self.layer_name()} is computed by NumPy only. {self._traced.obstacle}")
        return traced

    @property
    def is_fixed(self) -> bool:
        """Whether the function has no settings, and so is the same for good."""
        traced = self.traced()
        return vars(self).keys() <= RUNTIME and (traced is None or not traced.settings)

    def _compiled(self) -> TracedActivation | None:
        return self.traced() if kernels.active_set() == "numba" else None

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_traced": None}


@dataclass(frozen=True, eq=False)
class TracedActivation:
    """The formulas of an activation as expressions, and as compiled loops.

    Attributes
    ----------
    output
        f(x), as an expression of the symbol ``x`` and the settings.
    input_error
        dL/dx, as an expression of the symbols ``x``, ``output`` for f(x), ``error`` for dL/df(x), and the settings.
    terms
        For each parameter, the term of one element in dL/d(parameter), as an expression of ``x``, ``error`` and the
        settings.
    formula
        The formula that the expressions belong to.
    """

    output: Expression
    input_error: Expression
    terms: dict[str, Expression]
    formula: Formula

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the settings that are symbols; :func:`~chainrule.formulas.values_of` gives their values."""
        return self.formula.settings

    @classmethod
    def of(cls, layer: ActivationLayer) -> TracedActivation:
        """Trace the formulas of an activation. Raises ``TraceError`` if they cannot be traced."""
        kind, names = type(layer), list(layer.parameter_views)
        if (kind.forward_propagation, kind.backward_propagation) != (
            ActivationLayer.forward_propagation,
            ActivationLayer.backward_propagation,
        ):
            raise TraceError(
                "Its class overrides forward_propagation or backward_propagation; override activation_function, "
                "derivative and pull_back only."
            )

        def formulas(layer: ActivationLayer, x: Array, error: Array) -> tuple[Array, ...]:
            terms = layer.parameter_terms(x, error)
            return layer.activation_function(x), layer.pull_back(x, error), *(terms[name] for name in names)

        formula = Formula.trace(formulas, layer, ["x", "error"])
        output, input_error, *terms = formula.expressions
        if output.operands:  # the layer keeps f(x) from the forward pass, so it is not computed again
            input_error = output.graph.replace(input_error, output, output.graph.symbol("output"))
        return cls(output, input_error, dict(zip(names, terms, strict=True)), formula)

    def applied(self, layer: ActivationLayer) -> Expression:
        """Return f(x) with the present settings of the layer as constants."""
        output, graph = self.output, self.output.graph
        for name, value in zip(self.settings, values_of(layer, self.settings), strict=True):
            output = graph.replace(output, graph.symbol(name), graph.constant(value))
        return output

    @cached_property
    def forward(self) -> Loop:
        """The loop that writes f(x) into an array: ``forward(x, out)``."""
        return Loop(("x", "out"), self.settings, {"out": self.output})

    @cached_property
    def backward(self) -> Loop:
        """The loop that writes dL/dx into an array: ``backward(x, output, error, out)``."""
        return Loop(("x", "output", "error", "out"), self.settings, {"out": self.input_error})

    @cached_property
    def sums(self) -> dict[str, Loop]:
        """The loop that returns dL/d(parameter), for each parameter: ``sums[name](x, error)``."""
        return {name: Loop(("x", "error"), self.settings, {}, term) for name, term in self.terms.items()}


def _on_arrays(formula: Callable[..., Any]) -> Callable[..., Any]:
    """Let a formula accept everything that NumPy converts to an array, and ignore overflows in it."""

    @functools.wraps(formula)
    def method(self: Any, x: Any) -> Any:
        if isinstance(x, Expression):
            return formula(self, x)
        x = np.asarray(x)
        x = x.astype(np.result_type(x, np.float32), copy=False)
        with np.errstate(over="ignore"):  # the limit, such as exp(-infinity) = 0, is the result that is wanted
            result = np.asarray(formula(self, np.atleast_1d(x)), x.dtype)
        if result.ndim < max(x.ndim, 1):  # a constant
            return np.full_like(x, result)
        return result if x.ndim else result[0]

    return method
