"""Formulas: methods written in NumPy, traced once and checked, and then available to every backend.

>>> import numpy as np
>>> cube = Formula.trace(lambda self, x: x**3, object(), ["x"])
>>> cube.expression
((x * x) * x)
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from chainrule.formulas.expression import Expression, Graph, TraceError, evaluate
from chainrule.types import Array

__all__ = ["Attempt", "Formula", "settings_of", "values_of"]

# The points where traces are compared with the formulas: near the usual bounds of piecewise formulas, and far away.
_SAMPLES = np.array([-30.0, -4.1, -3.0, -1.0, -0.6, -0.1, -1e-3, 0.0, 1e-3, 0.2, 0.5, 0.9, 1.0, 2.5, 3.0, 5.7, 30.0])
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Formula:
    """The expressions that a method computes from its arguments and from the float settings of its object.

    Attributes
    ----------
    expressions
        The results: one, or several where the method returns a tuple.
    arguments
        The names of the arrays that the method takes.
    settings
        The names of the object's numbers (:func:`settings_of`) that are symbols as well, so that they may change
        without a new trace.
    """

    expressions: tuple[Expression, ...]
    arguments: tuple[str, ...]
    settings: tuple[str, ...]

    @property
    def expression(self) -> Expression:
        """The only result."""
        (only,) = self.expressions
        return only

    @classmethod
    def trace(
        cls,
        method: Callable[..., Any],
        owner: Any,
        arguments: Sequence[str],
        *,
        samples: Mapping[str, Array] | None = None,
    ) -> Formula:
        """Call ``method(owner, *arguments)`` with symbols, and compare the trace with the method on sample points.

        Float settings of the owner become symbols where the method allows it, and constants otherwise. ``samples``
        replaces the sample points of some arguments, for formulas that are not defined everywhere.

        Raises ``TraceError`` if the method cannot be traced, or if the trace gives other numbers than the method.
        """
        names = settings_of(owner)
        graph = Graph(dict(zip(names, values_of(owner, names), strict=True)))
        symbols = [graph.symbol(name) for name in arguments]
        try:
            results = method(_with_symbols(owner, names, graph), *symbols)
        except (TraceError, TypeError, ValueError, AttributeError):
            names = ()  # a setting is used in a way in which a symbol cannot be used, as in math.sqrt
            results = method(owner, *symbols)
        expressions = tuple(map(graph.express, results if isinstance(results, tuple) else (results,)))
        formula = cls(expressions, tuple(arguments), names)
        formula._check(method, owner, samples or {})
        return formula

    def is_current(self, owner: Any) -> bool:
        """Whether the conditions on settings that the method branches on (``if``) still have the same outcomes."""
        graph = self.expressions[0].graph
        if not graph.decisions:
            return True
        values = dict(zip(self.settings, values_of(owner, self.settings), strict=True))
        if values == graph.settings:
            return True
        return all(bool(evaluate([condition], values)[0]) == decision for condition, decision in graph.decisions)

    def values(self, owner: Any, arrays: Mapping[str, Any]) -> list[Array]:
        """Return the results for some arrays, computed by NumPy from the trace."""
        names = dict(zip(self.settings, values_of(owner, self.settings), strict=True))
        return evaluate(self.expressions, {**names, **arrays})

    def _check(self, method: Callable[..., Any], owner: Any, samples: Mapping[str, Array]) -> None:
        given = {
            name: np.array(samples.get(name, np.roll(_SAMPLES, 5 * place)), np.float64).reshape(1, -1)
            for place, name in enumerate(self.arguments)
        }
        with np.errstate(all="ignore"):
            results = method(_in_float64(owner), *(array.copy() for array in given.values()))
        for expected, found in zip(
            results if isinstance(results, tuple) else (results,), self.values(owner, given), strict=True
        ):
            if not np.allclose(
                np.broadcast_to(found, np.shape(expected)), expected, _TOLERANCE, _TOLERANCE, equal_nan=True
            ):
                raise TraceError(
                    f"The trace of {getattr(method, '__qualname__', method)} gives other numbers than the formula "
                    "itself; a formula may depend on its arguments and settings only."
                )


class HoldsFormula(Protocol):
    """An object that was made from a formula."""

    @property
    def formula(self) -> Formula:
        """The formula."""
        ...


Traced = TypeVar("Traced", bound=HoldsFormula)


@dataclass(frozen=True)
class Attempt(Generic[Traced]):
    """The outcome of tracing the formulas of an object.

    Attributes
    ----------
    formulas
        The result; None if the formulas cannot be traced.
    obstacle
        The reason why they cannot be traced; empty if they can.
    constants
        The attributes of the object whose values are constants in the formulas.
    """

    formulas: Traced | None
    obstacle: str
    constants: Mapping[str, Any]

    @classmethod
    def make(cls, owner: Any, runtime: Collection[str], trace: Callable[[], Traced]) -> Attempt[Traced]:
        """Try to trace; ``runtime`` names the attributes of the owner on which its formulas do not depend."""
        formulas, obstacle = None, ""
        try:
            formulas = trace()
        except TraceError as error:
            obstacle = str(error)
        known = {*runtime, *(formulas.formula.settings if formulas is not None else ())}
        return cls(formulas, obstacle, {name: value for name, value in vars(owner).items() if name not in known})

    def is_current(self, owner: Any) -> bool:
        """Whether the constants of the formulas, and the conditions that they branch on, are still the same."""
        same = all(vars(owner).get(name) is value for name, value in self.constants.items())
        return same and (self.formulas is None or self.formulas.formula.is_current(owner))


def settings_of(owner: Any) -> tuple[str, ...]:
    """Return the names of the numbers that an object's formulas take besides their arguments.

    These are the public attributes that hold a float and, for a layer, the parameters with a single element.
    """
    floats = [name for name, value in _attributes(owner).items() if type(value) is float and not name.startswith("_")]
    return (*floats, *(name for name, values in _parameters(owner).items() if values.size == 1))


def values_of(owner: Any, settings: Sequence[str]) -> list[float]:
    """Return the present values of some of an object's settings."""
    parameters = _parameters(owner)
    return [parameters[name].item() if name in parameters else float(getattr(owner, name)) for name in settings]


def _attributes(owner: Any) -> dict[str, Any]:
    return getattr(owner, "__dict__", {})


def _parameters(owner: Any) -> dict[str, Array]:
    return getattr(owner, "parameter_views", {})


def _in_float64(owner: Any) -> Any:
    """Return an object with its parameters in float64, as the samples are."""
    parameters = _parameters(owner)
    if not parameters:
        return owner
    twin = copy.copy(owner)
    twin.parameter_views = {name: values.astype(np.float64) for name, values in parameters.items()}
    return twin


def _with_symbols(owner: Any, names: Sequence[str], graph: Graph) -> Any:
    """Return a copy of an object in which these settings are symbols."""
    if not names:
        return owner
    twin = copy.copy(owner)
    parameters = {name: graph.symbol(name) if name in names else values for name, values in _parameters(owner).items()}
    vars(twin).update({name: graph.symbol(name) for name in names if name not in parameters})
    if parameters:
        twin.parameter_views = parameters
    return twin
