"""Expressions: the operations of a NumPy formula, recorded by calling it with symbols instead of arrays.

A symbol is an :class:`Expression` without operands. NumPy functions and Python operators that are applied to it return
an expression instead of numbers (``__array_ufunc__``, ``__array_function__``), so a formula written for arrays can be
called with symbols without any change::

    >>> import numpy as np
    >>> x = Graph().symbol("x")
    >>> print(np.maximum(0, x) * 2)
    (maximum(0, x) * 2)

Equal expressions of one graph are the same object. A function and its derivative that are traced in one graph therefore
share their common subexpressions, and a backend computes these once.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from scipy import special

from chainrule.errors import InvalidInputError
from chainrule.formulas.operations import CONDITIONS, INFIX, OPERATIONS, REDUCTIONS
from chainrule.types import Array

__all__ = ["Expression", "Graph", "TraceError", "elementwise", "evaluate", "translate_each"]


class TraceError(InvalidInputError):
    """A formula does something that cannot be recorded, such as an ``if`` on the values of an array."""


class Expression(np.lib.mixins.NDArrayOperatorsMixin):
    """An elementary operation on other expressions, a symbol, or a constant.

    Attributes
    ----------
    graph
        The graph that the expression belongs to.
    operation
        The name in :data:`~chainrule.formulas.operations.OPERATIONS`, ``"symbol"`` or ``"constant"``.
    operands
        The expressions that the operation is applied to.
    value
        The name of a symbol, or the number of a constant.
    """

    __slots__ = ("graph", "operands", "operation", "value")

    def __init__(self, graph: Graph, operation: str, operands: tuple[Expression, ...], value: Any) -> None:
        self.graph, self.operation, self.operands, self.value = graph, operation, operands, value

    @property
    def is_reduction(self) -> bool:
        """Whether the operation returns one number per row."""
        return self.operation in REDUCTIONS

    @property
    def is_condition(self) -> bool:
        """Whether the value is true or false rather than a number."""
        return self.operation in CONDITIONS

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or any(options[name] is not None for name in options):
            what = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
            raise TraceError(f"A formula uses {what} with options, which cannot be traced; use the plain function.")
        rule = _UFUNCS.get(ufunc)
        if rule is None:
            _refuse(ufunc.__name__)
        return rule(*map(self.graph.express, inputs))

    def __array_function__(self, function: Any, types: Any, inputs: Any, options: Any) -> Expression:
        rule = _FUNCTIONS.get(function)
        if rule is None:
            _refuse(function.__name__)
        return rule(self.graph, *inputs, **options)

    def __bool__(self) -> bool:
        decision = self.graph.decide(self)
        if decision is not None:
            return decision
        raise TraceError(
            "A formula branches on the values of its argument (if, and, or, not, max, min); use np.where, np.maximum, "
            "np.minimum, & and | instead, which work element by element."
        )

    def __float__(self) -> NoReturn:
        raise TraceError("A formula converts its argument to a Python number, as math.exp does; use NumPy functions.")

    __int__ = __index__ = __float__

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TraceError("A formula converts its argument to an array; use NumPy functions on the argument itself.")

    def __iter__(self) -> NoReturn:
        raise TraceError("A formula iterates over its argument; write it for the whole array at once.")

    def __getitem__(self, _: object) -> NoReturn:
        raise TraceError("A formula indexes its argument; use np.where, which works element by element.")

    def __setitem__(self, *_: object) -> NoReturn:
        raise TraceError("A formula assigns to elements of its argument; use np.where, which returns a new array.")

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Expression:
        """Return the sum over each row."""
        return _reduce("row_sum")(self.graph, self, axis, keepdims=keepdims)

    def max(self, axis: int | None = None, keepdims: bool = False) -> Expression:
        """Return the largest number of each row."""
        return _reduce("row_max")(self.graph, self, axis, keepdims=keepdims)

    def mean(self, axis: int | None = None, keepdims: bool = False) -> Expression:
        """Return the mean of each row."""
        return _reduce("row_mean")(self.graph, self, axis, keepdims=keepdims)

    def astype(self, _: object) -> Expression:
        """Return the expression as a number: its type is that of the arrays for which it is evaluated."""
        return self.graph.as_number(self)

    def __str__(self) -> str:
        if self.operation == "constant":
            return f"{self.value:g}"
        if self.operation == "symbol":
            return str(self.value)
        if self.operation in INFIX:
            return OPERATIONS[self.operation].scalar.format(*self.operands)
        return f"{self.operation}({', '.join(map(str, self.operands))})"

    __repr__ = __str__

    def visit(self, known: Iterable[int] = ()) -> Iterator[Expression]:
        """Yield all subexpressions, each once and operands first, and then the expression itself.

        Expressions whose ``id`` is in ``known`` are left out, and so are subexpressions that occur only in them.
        """
        seen = set(known)
        stack = [(self, False)]
        while stack:
            node, is_ready = stack.pop()
            if id(node) in seen:
                continue
            if is_ready:
                seen.add(id(node))
                yield node
            else:
                stack.append((node, True))
                stack.extend((operand, False) for operand in reversed(node.operands))


class Graph:
    """The expressions of formulas that are traced together; equal expressions are the same object.

    Attributes
    ----------
    settings
        The present values of some symbols. An ``if`` that depends on these symbols only is decided by their values.
    decisions
        The conditions that were decided in this way, with their outcomes. The trace is valid for these outcomes only.
    """

    def __init__(self, settings: Mapping[str, float] | None = None) -> None:
        self.settings = dict(settings or {})
        self.decisions: list[tuple[Expression, bool]] = []
        self._known: dict[tuple[Any, ...], Expression] = {}

    def decide(self, condition: Expression) -> bool | None:
        """Return whether a condition holds for the present settings; None if it depends on other symbols."""
        symbols = {node.value for node in condition.visit() if node.operation == "symbol"}
        if not symbols <= self.settings.keys():
            return None
        decision = bool(evaluate([condition], self.settings)[0])
        self.decisions.append((condition, decision))
        return decision

    def symbol(self, name: str) -> Expression:
        """Return the symbol of this name."""
        return self._make("symbol", (), name)

    def constant(self, value: float) -> Expression:
        """Return a constant number."""
        # The hexadecimal form is part of the key because -0.0 and 0.0 are equal, but not the same constant.
        return self._make("constant", (), float(value), float(value).hex())

    def apply(self, operation: str, *operands: Any) -> Expression:
        """Return an operation on expressions and numbers."""
        nodes = tuple(map(self.express, operands))
        if operation not in ("logical_and", "logical_or", "logical_not"):
            first = 1 if operation == "where" else 0
            nodes = (*nodes[:first], *map(self.as_number, nodes[first:]))
        return self._make(operation, nodes, None)

    def express(self, value: Any) -> Expression:
        """Return an expression as it is, and a number as a constant."""
        if isinstance(value, Expression):
            if value.graph is not self:
                raise TraceError("A formula uses a value from an earlier call; compute all values anew in every call.")
            return value
        if isinstance(value, numbers.Real | np.bool_) or (isinstance(value, np.ndarray) and value.ndim == 0):
            return self.constant(float(value))
        raise TraceError(
            f"A formula combines its argument with an object of type {type(value).__name__}; only single numbers can "
            "be traced, not arrays."
        )

    def as_number(self, node: Expression) -> Expression:
        """Return a condition as 1 or 0, and any other expression as it is."""
        if not node.is_condition:
            return node
        return self._make("where", (node, self.constant(1), self.constant(0)), None)

    def replace(self, expression: Expression, old: Expression, new: Expression) -> Expression:
        """Return ``expression`` with its subexpression ``old`` replaced by ``new``."""
        made: dict[int, Expression] = {id(old): new}
        for node in expression.visit():
            if id(node) not in made:
                operands = tuple(made[id(operand)] for operand in node.operands)
                made[id(node)] = self._make(node.operation, operands, node.value) if operands else node
        return made[id(expression)]

    def _make(self, operation: str, operands: tuple[Expression, ...], value: Any, key: Any = None) -> Expression:
        place = (operation, value if key is None else key, *map(id, operands))
        if place not in self._known:
            self._known[place] = Expression(self, operation, operands, value)
        return self._known[place]


def translate_each(
    results: Sequence[Expression],
    symbols: Mapping[str, Any],
    constant: Callable[[float], Any],
    apply: Callable[[str, list[Any]], Any],
    known: Mapping[int, Any] | None = None,
) -> list[Any]:
    """Return the values of expressions in any representation, such as arrays, tensors or the text of a program.

    ``symbols`` has the values of the symbols by name, ``constant`` returns the value of a constant, and ``apply`` that
    of an operation with operands of the given values. ``known`` has the values of some expressions by their ``id``.
    """
    values = dict(known or {})
    for result in results:
        for node in result.visit(tuple(values)):
            if node.operation == "constant":
                values[id(node)] = constant(node.value)
            elif node.operation == "symbol":
                values[id(node)] = symbols[node.value]
            else:
                values[id(node)] = apply(node.operation, [values[id(operand)] for operand in node.operands])
    return [values[id(result)] for result in results]


def elementwise(results: Iterable[Expression], arrays: Collection[str]) -> set[int]:
    """Return the ``id`` of the subexpressions whose values differ between the elements of a row.

    ``arrays`` are the names of the symbols that stand for one number per element.
    """
    found: set[int] = set()
    for result in results:
        for node in result.visit():
            is_array = node.operation == "symbol" and node.value in arrays
            if is_array or (not node.is_reduction and any(id(operand) in found for operand in node.operands)):
                found.add(id(node))
    return found


def evaluate(
    results: Sequence[Expression], symbols: Mapping[str, Any], shape: tuple[int, ...] | None = None
) -> list[Array]:
    """Return the values of expressions for arrays and numbers, computed by NumPy.

    With the ``shape`` of the rows, reductions are those of a whole row, even where the operand is one number for each
    row, or for all.
    """

    def apply(name: str, values: list[Any]) -> Any:
        if shape is not None and name in REDUCTIONS:
            values = [np.broadcast_to(values[0], shape)]
        return OPERATIONS[name].numpy(*values)

    with np.errstate(all="ignore"):
        return translate_each(results, symbols, lambda value: value, apply)


def _refuse(name: str) -> NoReturn:
    functions = ", ".join(sorted(name for name in OPERATIONS if hasattr(np, name)))
    raise TraceError(
        f"A formula uses {name}, which cannot be traced; write it with the NumPy functions {functions}, or with erf "
        "and erfc of scipy.special."
    )


def _elementary(operation: str) -> Callable[..., Expression]:
    def rule(*operands: Expression) -> Expression:
        return operands[0].graph.apply(operation, *operands)

    return rule


def _power(base: Expression, exponent: Expression) -> Any:
    """Write common powers as products, quotients or roots, which are faster and more accurate."""
    known: dict[float, Callable[[Any], Any]] = {
        -1.0: lambda x: 1 / x,
        0.5: np.sqrt,
        1.0: lambda x: x,
        2.0: lambda x: x * x,
        3.0: lambda x: x * x * x,
    }
    if exponent.operation == "constant" and exponent.value in known:
        return known[exponent.value](base)
    return base.graph.apply("power", base, exponent)


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.absolute(x))
    return np.where(x >= 0, 1.0, e) / (1 + e)


def _log_sigmoid(x: Any) -> Any:
    return np.minimum(x, 0) - np.log1p(np.exp(-np.absolute(x)))


def _xlogy(x: Any, y: Any) -> Any:
    return np.where(x == 0, 0 * y, x * np.log(y))


def _is_nan(x: Any) -> Any:
    return np.not_equal(x, x)


_UFUNCS: dict[Any, Any] = {
    operation.numpy: _elementary(name)
    for name, operation in OPERATIONS.items()
    if isinstance(operation.numpy, np.ufunc)
} | {
    np.power: _power,
    np.float_power: _power,
    np.square: lambda x: x * x,
    np.reciprocal: lambda x: 1 / x,
    np.positive: lambda x: x,
    np.fabs: np.absolute,
    np.fmax: lambda x, y: np.where((x >= y) | _is_nan(y), x, y),
    np.fmin: lambda x, y: np.where((x <= y) | _is_nan(y), x, y),
    np.exp2: lambda x: np.exp(x * float(np.log(2))),
    np.log2: lambda x: np.log(x) / float(np.log(2)),
    np.log10: lambda x: np.log(x) / float(np.log(10)),
    np.sinh: lambda x: 0.5 * (np.expm1(x) - np.expm1(-x)),
    np.cosh: lambda x: 0.5 * (np.exp(x) + np.exp(-x)),
    np.tan: lambda x: np.sin(x) / np.cos(x),
    np.logaddexp: lambda x, y: np.maximum(x, y) + np.log1p(np.exp(-np.absolute(x - y))),
    np.heaviside: lambda x, half: np.where(x > 0, 1.0, np.where(x < 0, 0.0, np.where(x == 0, half, x))),
    np.isnan: _is_nan,
    np.bitwise_and: _elementary("logical_and"),
    np.bitwise_or: _elementary("logical_or"),
    np.invert: _elementary("logical_not"),
    special.expit: _sigmoid,
    special.log_expit: _log_sigmoid,
    special.xlogy: _xlogy,
    special.xlog1py: lambda x, y: np.where(x == 0, 0 * y, x * np.log1p(y)),
    special.ndtr: lambda x: 0.5 * special.erfc(-x * float(np.sqrt(0.5))),
}


def _clip(graph: Graph, x: Any, low: Any = None, high: Any = None, **options: Any) -> Expression:
    low, high = options.pop("min", low), options.pop("max", high)
    if any(value is not None for value in options.values()):
        raise TraceError("A formula uses clip with options, which cannot be traced; give the two bounds only.")
    held = graph.express(x) if low is None else graph.apply("maximum", x, low)
    return held if high is None else graph.apply("minimum", held, high)


def _select(graph: Graph, conditions: Sequence[Any], choices: Sequence[Any], default: Any = 0) -> Expression:
    result = graph.express(default)
    for condition, choice in zip(reversed(conditions), reversed(choices), strict=True):
        result = graph.apply("where", condition, choice, result)
    return result


def _reduce(operation: str) -> Callable[..., Expression]:
    """Return the rule of a reduction; without ``keepdims``, NumPy refuses to combine the result with whole rows."""

    def rule(graph: Graph, x: Any, axis: int | None = None, *, keepdims: bool = False, **options: Any) -> Expression:
        if axis != -1 or options:
            raise TraceError("A formula reduces its whole argument, or another axis than the last; give axis=-1.")
        return graph.apply(operation, x)

    return rule


_FUNCTIONS: dict[Any, Callable[..., Expression]] = {
    np.sum: _reduce("row_sum"),
    np.max: _reduce("row_max"),
    np.mean: _reduce("row_mean"),
    np.where: lambda graph, condition, x, y: graph.apply("where", condition, x, y),
    np.clip: _clip,
    np.select: _select,
    np.zeros_like: lambda graph, x, **_: graph.constant(0),
    np.ones_like: lambda graph, x, **_: graph.constant(1),
    np.full_like: lambda graph, x, value, **_: graph.express(value),
}
