"""Derivatives of expressions, by the chain rule from the result back to the symbols."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.formulas.expression import Expression, TraceError

__all__ = ["pull_back"]


def pull_back(result: Expression, error: Expression, symbols: Sequence[str]) -> list[Expression]:
    """Return dL/d(symbol) for some symbols of ``result``, given ``error`` = dL/d(result), element by element.

    A symbol that is the same for several elements, such as a parameter of a column, gets one term for each element; its
    derivative is the sum of the terms.

    Raises ``TraceError`` for an operation that has no derivative.
    """
    nodes = list(result.visit())
    varying, of_row = _varying(nodes, symbols), _of_row(nodes)
    errors: dict[int, list[Expression]] = defaultdict(list)
    # A result with one number for each row stands in every column, each of which has an error.
    errors[id(result)].append(result.graph.apply("row_sum", error) if id(result) in of_row else error)
    found = {}
    for node in reversed(nodes):
        if id(node) not in varying or not errors[id(node)]:
            continue
        first, *others = errors[id(node)]
        total = sum(others, start=first)
        if node.operation == "symbol":
            found[node.value] = total
        for place, operand in enumerate(node.operands):
            if id(operand) in varying:
                share = _share(node, place, total, of_row)
                if share is not None:
                    errors[id(operand)].append(share)
    return [found.get(name, result.graph.constant(0)) for name in symbols]


def _varying(nodes: Sequence[Expression], symbols: Sequence[str]) -> set[int]:
    """Return the ``id`` of those nodes, in the order of a visit, that depend on the symbols."""
    varying: set[int] = set()
    for node in nodes:
        is_symbol = node.operation == "symbol" and node.value in symbols
        if is_symbol or any(id(operand) in varying for operand in node.operands):
            varying.add(id(node))
    return varying


def _of_row(nodes: Sequence[Expression]) -> set[int]:
    """Return the ``id`` of those nodes that have one number for each row: reductions, and what follows from them."""
    of_row: set[int] = set()
    for node in nodes:
        is_followed = node.operands and all(id(o) in of_row or o.operation == "constant" for o in node.operands)
        if node.is_reduction or (is_followed and any(id(o) in of_row for o in node.operands)):
            of_row.add(id(node))
    return of_row


def _share(node: Expression, place: int, error: Expression, of_row: set[int]) -> Expression | None:
    """Return what a node adds to dL/d(operand), given dL/d(node); None for nothing."""
    operand, graph = node.operands[place], node.graph
    if node.is_reduction:
        count = graph.apply("row_sum", graph.constant(1))
        if node.operation == "row_max":
            return graph.apply("where", operand == node, error, 0)
        if id(operand) in of_row:
            return error * count if node.operation == "row_sum" else error
        return error if node.operation == "row_sum" else error / count
    rule = _RULES.get(node.operation)
    if rule is None:
        if node.is_condition or node.operation in ("sign", "floor"):
            return None
        raise TraceError(f"A formula uses {node.operation}, which has no derivative.")
    share: Expression | None = rule(place, error, node, *node.operands)
    if share is not None and id(operand) in of_row and id(node) not in of_row:
        return graph.apply("row_sum", share)
    return share


def _of_one(derivative: Callable[[Any, Any], Any]) -> Callable[..., Expression]:
    """Return the rule of a function of one number, given f'(x) from f(x) and x."""
    return lambda place, error, f, x: error * derivative(f, x)


_RULES: dict[str, Callable[..., Any]] = {
    "add": lambda place, error, f, a, b: error,
    "subtract": lambda place, error, f, a, b: -error if place else error,
    "multiply": lambda place, error, f, a, b: error * (a if place else b),
    "divide": lambda place, error, f, a, b: -error * f / b if place else error / b,
    "power": lambda place, error, f, a, b: error * (f * np.log(a) if place else b * a ** (b - 1)),
    "maximum": lambda place, error, f, a, b: np.where(a >= b, 0 if place else error, error if place else 0),
    "minimum": lambda place, error, f, a, b: np.where(a <= b, 0 if place else error, error if place else 0),
    "where": lambda place, error, f, c, a, b: (
        None if place == 0 else np.where(c, error if place == 1 else 0, error if place == 2 else 0)
    ),
    "negative": lambda place, error, f, x: -error,
    "absolute": _of_one(lambda f, x: np.sign(x)),
    "sqrt": _of_one(lambda f, x: 0.5 / f),
    "exp": _of_one(lambda f, x: f),
    "expm1": _of_one(lambda f, x: f + 1),
    "log": lambda place, error, f, x: error / x,
    "log1p": lambda place, error, f, x: error / (1 + x),
    "tanh": _of_one(lambda f, x: 1 - f * f),
    "erf": _of_one(lambda f, x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "erfc": _of_one(lambda f, x: -2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "sin": _of_one(lambda f, x: np.cos(x)),
    "cos": _of_one(lambda f, x: -np.sin(x)),
    "arctan": lambda place, error, f, x: error / (1 + x * x),
}
