"""Expressions in other languages: PyTorch tensors, ONNX nodes, C and JavaScript text.

Every translation visits the elementary operations in order and makes one value for each, so a subexpression that is
used twice is computed once. The table in :mod:`chainrule.formulas.operations` has the name of each operation in each
language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from scipy import special

from chainrule.formulas.expression import Expression, translate_each
from chainrule.formulas.operations import CONDITIONS, OPERATIONS, REDUCTIONS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["JAVASCRIPT", "C", "Language", "as_function", "as_onnx", "evaluate_torch", "torch_function"]


def evaluate_torch(results: Sequence[Expression], symbols: Mapping[str, Tensor | float]) -> list[Tensor]:
    """Return the values of expressions for tensors of one type on one device, computed by PyTorch.

    The first tensor in ``symbols`` has the shape of the rows.
    """
    import torch

    like = next(value for value in symbols.values() if isinstance(value, torch.Tensor))

    def apply(name: str, values: list[Any]) -> Any:
        if name in REDUCTIONS:  # of a whole row, even where the operand is one number for each row, or for all
            row = torch.broadcast_to(as_tensor(values[0]), like.shape)
            return getattr(torch, OPERATIONS[name].torch)(row, dim=-1, keepdim=True)
        if not any(isinstance(value, torch.Tensor) for value in values):
            return OPERATIONS[name].numpy(*values)  # all operands are settings: in float64 for any type of tensors
        function = getattr(torch, OPERATIONS[name].torch)
        if name == "where" and not isinstance(values[0], torch.Tensor):
            return values[1] if values[0] else values[2]
        if name == "where":
            values[1:] = [as_tensor(value) for value in values[1:]]
        elif name in ("maximum", "minimum", "power", "logical_and", "logical_or") or not isinstance(
            values[0], torch.Tensor
        ):
            values = [as_tensor(value) for value in values]
        return function(*values)

    def as_tensor(value: Any) -> Tensor:
        return value if isinstance(value, torch.Tensor) else like.new_full((), float(value))

    found = translate_each(results, symbols, lambda value: value, apply)
    return [value if isinstance(value, torch.Tensor) else torch.full_like(like, float(value)) for value in found]


# Functions for which ONNX and PyTorch have a single operator, which is computed in one pass.
_OPERATORS: dict[str, Callable[[Any], Any]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": special.expit,
    "Softmax": lambda x: (e := np.exp(x - np.max(x, axis=-1, keepdims=True))) / np.sum(e, axis=-1, keepdims=True),
}

# PyTorch's name of such a function, the function, and dL/dx from x, the output and dL/d(output).
_TORCH_FUNCTIONS: list[tuple[str, Callable[[Any], Any], Callable[[Any, Any, Any], Any]]] = [
    ("relu", _OPERATORS["Relu"], lambda x, output, error: error * np.where(x > 0, 1, 0)),
    ("sigmoid", _OPERATORS["Sigmoid"], lambda x, output, error: error * (output * (1 - output))),
    ("tanh", np.tanh, lambda x, output, error: error * (1 - output**2)),
]


def torch_function(result: Expression, input_errors: Mapping[str, Expression]) -> Callable[[Tensor], Tensor] | None:
    """Return PyTorch's own function for a formula of ``x``, if both have the same value and the same derivative."""
    import torch

    x, output, error = map(result.graph.symbol, ("x", "output", "error"))
    for name, function, derivative in _TORCH_FUNCTIONS:
        if result is function(x) and input_errors.get("x") is derivative(x, output, error):
            found: Callable[[Tensor], Tensor] = getattr(torch, name)
            return found
    return None


def as_onnx(
    results: Sequence[Expression],
    symbols: Mapping[str, Any],
    call: Callable[..., Any],
    constant: Callable[[float], Any],
    axes: Callable[[list[int]], Any],
) -> list[Any]:
    """Return the names of nodes that compute expressions.

    ``call(operator, *operands, **attributes)`` appends a node and returns its name, ``constant(value)`` that of a
    number and ``axes(numbers)`` that of a list of axes. The functions that ONNX lacks are written with others, without
    a loss of digits around 0.
    """

    def apply(name: str, values: list[Any]) -> Any:
        match name:
            case "expm1":  # exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2)
                t = call("Tanh", call("Mul", values[0], constant(0.5)))
                short = call("Div", call("Add", t, t), call("Sub", constant(1), t))
                far = call("Sub", call("Exp", values[0]), constant(1))
                return call("Where", call("Greater", values[0], constant(0.5)), far, short)
            case "log1p":  # log(u) x / (u - 1) with u = 1 + x corrects the rounding error of u (Kahan)
                u = call("Add", values[0], constant(1))
                kept = call("Sub", u, constant(1))
                is_lost = call("Equal", kept, constant(0))
                quotient = call("Div", values[0], call("Where", is_lost, constant(1), kept))
                return call("Where", is_lost, values[0], call("Mul", call("Log", u), quotient))
            case "erfc":
                return call("Sub", constant(1), call("Erf", values[0]))
            case "not_equal":
                return call("Not", call("Equal", *values))
            case "row_sum":  # ReduceSum takes its axes as an operand
                return call("ReduceSum", values[0], axes([-1]), keepdims=1)
            case "row_mean" | "row_max":
                return call(OPERATIONS[name].onnx, values[0], axes=[-1], keepdims=1)
        return call(OPERATIONS[name].onnx, *values)

    made = {
        id(function(x)): operator
        for x in map(results[0].graph.symbol, symbols)
        for operator, function in _OPERATORS.items()
    }
    known = {}
    for node in (node for result in results for node in result.visit() if id(node) in made):
        operator = made[id(node)]
        (x,) = {one.value for one in node.visit() if one.operation == "symbol"}
        known[id(node)] = call(operator, symbols[x], **({"axis": -1} if operator == "Softmax" else {}))
    return translate_each(results, symbols, constant, apply, known)


class Language(NamedTuple):
    """The parts of a function in a language with C-like syntax."""

    name: Literal["c", "js"]
    value: str
    parameter: str
    head: str
    loop: str
    end: str
    number: str
    condition: str
    variable: str
    infinity: str
    nan: str


C = Language(
    "c",
    "const double *{name}, ",
    "const {kind} *{name}, ",
    "static void {name}({arguments}size_t width, size_t n, double *out)\n{{\n"
    "    size_t start, i;\n    for (start = 0; start < n; start += width) {{",
    "for (i = 0; i < width; i++) {",
    "    }\n}",
    "const double",
    "const int",
    "double",
    "INFINITY",
    "NAN",
)
JAVASCRIPT = Language(
    "js",
    "{name}, ",
    "{name}, ",
    "function {name}({arguments}width, n, out) {{\n    for (let start = 0; start < n; start += width) {{",
    "for (let i = 0; i < width; i++) {",
    "    }\n}",
    "const",
    "const",
    "let",
    "Infinity",
    "NaN",
)


def as_function(
    result: Expression,
    values: Sequence[str],
    parameters: Mapping[str, str],
    name: str,
    language: Language,
    constant: Callable[[float], str],
) -> str:
    """Return a function in C or JavaScript that computes an expression in double and writes it to an array ``out``.

    It takes one array for each symbol in ``values``, of ``n`` numbers in rows of ``width``, and one of ``width``
    numbers for each symbol in ``parameters``, which says their type in C. ``out`` may be one of the arrays.
    """
    arrays = {symbol: f"a{place}" for place, symbol in enumerate(values)}
    arrays |= {symbol: f"b{place}" for place, symbol in enumerate(parameters)}
    locals_ = {symbol: f"{'x' if symbol in values else 'p'}{array[1:]}" for symbol, array in arrays.items()}
    arguments = "".join(
        language.parameter.format(name=array, kind=parameters[symbol])
        if symbol in parameters
        else language.value.format(name=array)
        for symbol, array in arrays.items()
    )
    lines = [language.head.format(name=name, arguments=arguments)]
    names: dict[int, str] = {}

    def append_pass(node: Expression, last: str) -> None:
        used = {one.value for one in node.visit(tuple(names)) if one.operation == "symbol"}
        body = [
            f"{language.number} {locals_[symbol]} = {array}[{'i' if symbol in parameters else 'start + i'}];"
            for symbol, array in arrays.items()
            if symbol in used
        ]
        statements, value = _statements(node, locals_, names, language, constant)
        body += [*statements, last.format(value)]
        lines.extend([f"        {language.loop}", *(f"            {line}" for line in body), "        }"])

    for place, node in enumerate(one for one in result.visit() if one.is_reduction):
        row = f"r{place}"
        if node.operation == "row_max":
            lines.append(f"        {language.variable} {row} = -{language.infinity};")
            append_pass(node.operands[0], f"{row} = {{0}} > {row} ? {{0}} : {row};")
        else:
            lines.append(f"        {language.variable} {row} = 0;")
            append_pass(node.operands[0], f"{row} += {{0}}{' / width' if node.operation == 'row_mean' else ''};")
        names[id(node)] = row
    append_pass(result, "out[start + i] = {};")
    return "\n".join([*lines, language.end])


def _statements(
    result: Expression,
    symbols: Mapping[str, str],
    names: Mapping[int, str],
    language: Language,
    constant: Callable[[float], str],
) -> tuple[list[str], str]:
    """Return statements, one for each operation, and the name of the result afterwards."""
    lines: list[str] = []

    def apply(name: str, values: list[str]) -> str:
        spelling = OPERATIONS[name].c if language.name == "c" else OPERATIONS[name].js
        kind = language.condition if name in CONDITIONS else language.number
        local = f"t{len(lines)}"
        lines.append(f"{kind} {local} = {spelling.format(*values)};")
        return local

    def spell(number: float) -> str:
        if np.isnan(number):
            return language.nan
        text = constant(number) if np.isfinite(number) else f"{'-' if number < 0 else ''}{language.infinity}"
        return f"({text})" if text.startswith("-") else text

    (value,) = translate_each([result], symbols, spell, apply, names)
    return lines, value
