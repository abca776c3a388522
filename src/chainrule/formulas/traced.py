"""Formulas: methods written in NumPy, traced once and checked, and then available to every backend.

>>> import numpy as np
>>> cube = Formula.trace(lambda self, x: x**3, object(), ["x"])
>>> cube.expression
((x * x) * x)
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from chainrule.formulas.expression import Expression, Graph, TraceError, evaluate
from chainrule.types import Array

__all__ = ["Attempt", "Formula", "settings_of", "values_of"]

# The points where traces are compared with the formulas: near the usual bounds of piecewise formulas, and far away. The
# second row has numbers between 0 and 1, where the sums of logarithms are defined.
_SAMPLES = np.array(
    [
        [-30.0, -4.1, -3.0, -1.0, -0.6, -0.1, -1e-3, 0.0, 1e-3, 0.2, 0.5, 0.9, 1.0, 2.5, 3.0, 5.7, 30.0],
        [1e-3, 0.06, 0.12, 0.18, 0.24, 0.3, 0.36, 0.42, 0.48, 0.54, 0.6, 0.66, 0.72, 0.78, 0.84, 0.9, 0.999],
    ]
)
_TOLERANCE = 1e-9

# What the symbols of settings begin with, so that no setting is taken for an argument.
PREFIX = "self."


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
        The names of the object's numbers (:func:`settings_of`), which are symbols as well: they may change without a
        new trace.
    offered
        Those and the numbers that the method could have used and does not.
    parameters
        The names of the object's parameters that the method uses: symbols of one number, or of one for each column.
    """

    expressions: tuple[Expression, ...]
    arguments: tuple[str, ...]
    settings: tuple[str, ...]
    offered: tuple[str, ...]
    parameters: tuple[str, ...] = ()

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

        Numbers of the owner become symbols named ``self.name`` where the method allows it, and constants otherwise: all
        of them, or those that are no whole numbers, or the weight decay alone, which has to be switched off for some
        parameters. ``samples`` replaces the sample points of some arguments, for formulas that are not defined
        everywhere.

        Raises ``TraceError`` if the method cannot be traced, or if the trace gives other numbers than the method.
        """
        names = settings_of(owner)
        values = dict(zip(names, values_of(owner, names), strict=True))
        fractions = tuple(name for name in names if not isinstance(_attribute(owner, name), int))
        decay = tuple(name for name in names if name == f"{PREFIX}weight_decay")
        obstacle: Exception = TraceError("A formula returns nothing.")
        parameters = tuple(f"{PREFIX}{name}" for name in _parameters(owner))
        for chosen in dict.fromkeys((names, fractions, decay)):
            graph = Graph({name: values[name] for name in chosen})  # the decisions of an attempt are its own
            symbols = [graph.symbol(name) for name in arguments]
            try:
                results = method(_with_symbols(owner, (*chosen, *parameters), graph), *symbols)
                given = results if isinstance(results, tuple) else (results,)
                expressions = tuple(graph.as_number(graph.express(result)) for result in given)
            except Exception as error:  # a formula is a user's code, and may do anything with a symbol
                obstacle = error
                continue
            roots = (*expressions, *(condition for condition, _ in graph.decisions))
            used = {node.value for root in roots for node in root.visit() if node.operation == "symbol"}
            settings, trained = (tuple(name for name in some if name in used) for some in (chosen, parameters))
            formula = cls(expressions, tuple(arguments), settings, chosen, trained)
            formula._check(method, owner, samples or {})
            return formula
        if isinstance(obstacle, TraceError):
            raise obstacle
        raise TraceError(f"A formula cannot be called with symbols ({type(obstacle).__name__}: {obstacle}).")

    def is_current(self, owner: Any) -> bool:
        """Whether the conditions on settings that the method branches on (``if``) still have the same outcomes."""
        graph = self.expressions[0].graph
        if not graph.decisions:
            return True
        values = dict(zip(self.settings, values_of(owner, self.settings), strict=True))
        if all(graph.settings[name] == value for name, value in values.items()):
            return True
        return all(bool(evaluate([condition], values)[0]) == decision for condition, decision in graph.decisions)

    def _check(self, method: Callable[..., Any], owner: Any, samples: Mapping[str, Array]) -> None:
        given = {
            name: np.reshape(samples[name], (1, -1)) if name in samples else np.roll(_SAMPLES, 5 * place, axis=1)
            for place, name in enumerate(self.arguments)
        }
        with np.errstate(all="ignore"):
            results = method(_in_float64(owner), *(array.copy() for array in given.values()))
        known: dict[str, Any] = dict(zip(self.settings, values_of(owner, self.settings), strict=True))
        known |= {f"{PREFIX}{name}": array for name, array in _parameters(_in_float64(owner)).items()}
        traced = evaluate(self.expressions, {**known, **given})
        for expected, found in zip(results if isinstance(results, tuple) else (results,), traced, strict=True):
            shape = np.shape(expected)
            values = np.reshape(found, shape) if np.size(found) == np.size(expected) else np.broadcast_to(found, shape)
            if not np.allclose(values, expected, _TOLERANCE, _TOLERANCE, equal_nan=True):
                raise TraceError(
                    "A formula gives other numbers than its trace; it depends on something else than its arguments "
                    "and settings, such as random numbers."
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
        The attributes that the formulas hold as constants.
    shapes
        The shapes of the parameters.
    """

    formulas: Traced | None
    obstacle: str
    constants: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]

    @classmethod
    def make(cls, owner: Any, runtime: Collection[str], trace: Callable[[], Traced]) -> Attempt[Traced]:
        """Try to trace; ``runtime`` names the attributes of the owner on which its formulas do not depend."""
        formulas, obstacle = None, ""
        attributes = {name: value for name, value in _attributes(owner).items() if name not in runtime}
        try:
            for name, value in attributes.items():
                if _may_change(value):
                    raise TraceError(f"Its attribute '{name}' may change without notice; make it a number or a tuple.")
            formulas = trace()
        except Exception as error:  # a formula is a user's code: what it raises is raised again when NumPy computes it
            obstacle = str(error) if isinstance(error, TraceError) else f"{type(error).__name__}: {error}"
        symbols = () if formulas is None else formulas.formula.offered
        constants = {name: value for name, value in attributes.items() if f"{PREFIX}{name}" not in symbols}
        return cls(formulas, obstacle, constants, _shapes(owner))

    def is_current(self, owner: Any) -> bool:
        """Whether what the formulas hold as constant is still the same."""
        same = all(getattr(owner, name, None) is value for name, value in self.constants.items())
        same = same and self.shapes == _shapes(owner)
        return same and (self.formulas is None or self.formulas.formula.is_current(owner))


def settings_of(owner: Any) -> tuple[str, ...]:
    """Return the numbers that an object's formulas take besides their arguments, as the formulas write them.

    They are its public attributes that hold a real number now, and those of its classes: ``("self.alpha",)``.
    """
    names = [name for name, value in _attributes(owner).items() if _is_number(value) and not name.startswith("_")]
    return tuple(f"{PREFIX}{name}" for name in names if name.isidentifier() and name not in _parameters(owner))


def values_of(owner: Any, settings: Sequence[str]) -> list[float]:
    """Return the present values of some of an object's settings."""
    return [float(_attribute(owner, name)) for name in settings]


def _attribute(owner: Any, setting: str) -> Any:
    return getattr(owner, setting.removeprefix(PREFIX))


def _may_change(value: object) -> bool:
    return isinstance(value, list | dict | set | np.ndarray)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)


def _attributes(owner: Any) -> dict[str, Any]:
    """Return the attributes of an object that hold values: its own, and those of its classes."""
    found: dict[str, Any] = {}
    for cls in reversed(type(owner).__mro__):
        if not cls.__module__.startswith(("builtins", "abc", "typing")):
            found = {name: value for name, value in found.items() if name not in vars(cls)} | {
                name: value
                for name, value in vars(cls).items()
                if not name.startswith("_")
                and (_is_number(value) or isinstance(value, bool | str) or _may_change(value))
            }
    names = [field.name for field in dataclasses.fields(owner)] if dataclasses.is_dataclass(owner) else []
    found |= {name: getattr(owner, name) for name in names if hasattr(owner, name)}
    return found | getattr(owner, "__dict__", {})


def _parameters(owner: Any) -> dict[str, Array]:
    return getattr(owner, "parameter_views", {})


def _shapes(owner: Any) -> dict[str, tuple[int, ...]]:
    return {name: values.shape for name, values in _parameters(owner).items()}


def _in_float64(owner: Any) -> Any:
    """Return an object with its parameters in float64, as the samples are, and one number of each."""
    parameters = _parameters(owner)
    if not parameters:
        return owner
    twin = copy.copy(owner)
    twin.parameter_views = {name: values.astype(np.float64).ravel()[:1] for name, values in parameters.items()}
    return twin


def _with_symbols(owner: Any, settings: Sequence[str], graph: Graph) -> Any:
    """Return a copy of an object that has symbols for these settings."""
    if not settings:
        return owner
    twin = copy.copy(owner)
    symbols = {name.removeprefix(PREFIX): graph.symbol(name) for name in settings}
    parameters = {name: symbols.pop(name, values) for name, values in _parameters(owner).items()}
    for name, symbol in symbols.items():
        object.__setattr__(twin, name, symbol)  # a frozen dataclass too
    if parameters:
        twin.parameter_views = parameters
    return twin
