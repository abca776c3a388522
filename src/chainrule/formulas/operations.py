"""The elementary operations that formulas are made of, each with its spelling in every language.

No other operations can be traced. One row holds the spelling of an operation in all backends, so a new operation is a
new row, and a new backend is a new column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

__all__ = ["CONDITIONS", "INFIX", "OPERATIONS", "REDUCTIONS", "Operation"]


@dataclass(frozen=True)
class Operation:
    """One elementary function of one to three numbers.

    Attributes
    ----------
    name
        The name in expressions.
    numpy
        The function on arrays that defines it.
    scalar
        The Python expression of the numbers ``{0}``, ``{1}``, ..., for compiled loops. Functions named ``fast_...`` are
        those of :mod:`chainrule.formulas.vector_math`.
    torch
        The name of PyTorch's function.
    onnx
        The ONNX operator, or several that are applied one after the other.
    c
        The C expression, in double.
    js
        The JavaScript expression.
    """

    name: str
    numpy: Callable[..., Any]
    scalar: str
    torch: str
    onnx: str
    c: str
    js: str = ""

    def __post_init__(self) -> None:
        if not self.js:
            object.__setattr__(self, "js", self.c)


_INFIX = "({0} %s {1})"

_ALL = (
    Operation("add", np.add, _INFIX % "+", "add", "Add", _INFIX % "+"),
    Operation("subtract", np.subtract, _INFIX % "-", "sub", "Sub", _INFIX % "-"),
    Operation("multiply", np.multiply, _INFIX % "*", "mul", "Mul", _INFIX % "*"),
    Operation("divide", np.divide, _INFIX % "/", "div", "Div", _INFIX % "/"),
    Operation("power", np.power, "({0} ** {1})", "pow", "Pow", "pow({0}, {1})", "Math.pow({0}, {1})"),
    Operation("negative", np.negative, "(-{0})", "neg", "Neg", "(-{0})"),
    Operation("absolute", np.absolute, "abs({0})", "abs", "Abs", "fabs({0})", "Math.abs({0})"),
    # Returns 0 and NaN as they are, as in NumPy.
    Operation(
        "sign",
        np.sign,
        "fast_sign({0})",
        "sign",
        "Sign",
        "({0} > 0 ? 1 : ({0} < 0 ? -1 : {0}))",
        "Math.sign({0})",
    ),
    Operation("sqrt", np.sqrt, "np.sqrt({0})", "sqrt", "Sqrt", "sqrt({0})", "Math.sqrt({0})"),
    Operation("exp", np.exp, "fast_exp({0})", "exp", "Exp", "exp({0})", "Math.exp({0})"),
    Operation("expm1", np.expm1, "fast_expm1({0})", "expm1", "", "expm1({0})", "Math.expm1({0})"),
    Operation("log", np.log, "fast_log({0})", "log", "Log", "log({0})", "Math.log({0})"),
    Operation("log1p", np.log1p, "fast_log1p({0})", "log1p", "", "log1p({0})", "Math.log1p({0})"),
    Operation("tanh", np.tanh, "fast_tanh({0})", "tanh", "Tanh", "tanh({0})", "Math.tanh({0})"),
    Operation("erf", special.erf, "fast_erf({0})", "erf", "Erf", "erf({0})", "erf({0})"),
    Operation("erfc", special.erfc, "fast_erfc({0})", "erfc", "", "erfc({0})", "erfc({0})"),
    Operation("sin", np.sin, "np.sin({0})", "sin", "Sin", "sin({0})", "Math.sin({0})"),
    Operation("cos", np.cos, "np.cos({0})", "cos", "Cos", "cos({0})", "Math.cos({0})"),
    Operation("arctan", np.arctan, "np.arctan({0})", "arctan", "Atan", "atan({0})", "Math.atan({0})"),
    Operation("floor", np.floor, "np.floor({0})", "floor", "Floor", "floor({0})", "Math.floor({0})"),
    # NaN if one of the operands is NaN, as in NumPy.
    Operation(
        "maximum",
        np.maximum,
        "({0} if ({0} >= {1}) | ({0} != {0}) else {1})",
        "maximum",
        "Max",
        "({0} >= {1} || {0} != {0} ? {0} : {1})",
        "Math.max({0}, {1})",
    ),
    Operation(
        "minimum",
        np.minimum,
        "({0} if ({0} <= {1}) | ({0} != {0}) else {1})",
        "minimum",
        "Min",
        "({0} <= {1} || {0} != {0} ? {0} : {1})",
        "Math.min({0}, {1})",
    ),
    Operation("where", np.where, "({1} if {0} else {2})", "where", "Where", "({0} ? {1} : {2})"),
    Operation("less", np.less, _INFIX % "<", "lt", "Less", _INFIX % "<"),
    Operation("less_equal", np.less_equal, _INFIX % "<=", "le", "LessOrEqual", _INFIX % "<="),
    Operation("greater", np.greater, _INFIX % ">", "gt", "Greater", _INFIX % ">"),
    Operation("greater_equal", np.greater_equal, _INFIX % ">=", "ge", "GreaterOrEqual", _INFIX % ">="),
    Operation("equal", np.equal, _INFIX % "==", "eq", "Equal", _INFIX % "==", _INFIX % "==="),
    Operation("not_equal", np.not_equal, _INFIX % "!=", "ne", "", _INFIX % "!=", _INFIX % "!=="),
    Operation("logical_and", np.logical_and, _INFIX % "&", "logical_and", "And", _INFIX % "&&"),
    Operation("logical_or", np.logical_or, _INFIX % "|", "logical_or", "Or", _INFIX % "||"),
    Operation("row_sum", lambda x: np.sum(x, axis=-1, keepdims=True), "", "sum", "ReduceSum", ""),
    Operation("row_mean", lambda x: np.mean(x, axis=-1, keepdims=True), "", "mean", "ReduceMean", ""),
    Operation("row_max", lambda x: np.max(x, axis=-1, keepdims=True), "", "amax", "ReduceMax", ""),
    Operation("logical_not", np.logical_not, "(not {0})", "logical_not", "Not", "(!{0})"),
)

OPERATIONS = {operation.name: operation for operation in _ALL}

# Operations that return true or false.
CONDITIONS = frozenset(
    {
        "less",
        "less_equal",
        "greater",
        "greater_equal",
        "equal",
        "not_equal",
        "logical_and",
        "logical_or",
        "logical_not",
    }
)

# Operations that return one number per row.
REDUCTIONS = frozenset({"row_sum", "row_mean", "row_max"})

# Operations that are written between their operands, or before the only operand.
INFIX = frozenset(o.name for o in _ALL if o.scalar.startswith("({0} ") and "if" not in o.scalar) | {"negative"}
