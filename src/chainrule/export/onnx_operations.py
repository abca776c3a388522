"""The operations of programs as ONNX operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.formulas.translate import as_onnx
from chainrule.program import Affine, ArrayOf, Concatenate, Lookup, Map, NotLoweredError, Operation, Program, Select

if TYPE_CHECKING:
    from chainrule.export.onnx_builder import GraphBuilder

__all__ = ["append_program"]


def append_program(graph: GraphBuilder, program: Program, x: str) -> str:
    """Append the operations of a program in inference, from the rows ``x``, and return the name of the output."""
    names = {program.input: x}
    for operation in program.operations:
        names[operation.output] = _append(graph, operation, [names[value] for value in operation.inputs])
    return names[program.output]


def _append(graph: GraphBuilder, operation: Operation, inputs: Sequence[str]) -> str:
    match operation:
        case Affine():
            return _affine(graph, operation, *inputs)
        case Map():
            return _map(graph, operation, inputs)
        case Lookup():
            return _lookup(graph, operation, *inputs)
        case Select():
            columns = graph.constant("columns", operation.columns, np.int64)
            return graph.call("Gather", *inputs, columns, axis=1)
        case Concatenate():
            return graph.concat(inputs)
    raise NotLoweredError(f"ONNX has no operation {type(operation).__name__}; use it in training only.")


def _affine(graph: GraphBuilder, operation: Affine, x: str) -> str:
    if operation.n_parts == 1 and not operation.is_separate:
        return graph.call("Gemm", x, *(_constant(graph, array) for array in operation.arrays))
    n_parts, n_in = operation.n_parts, operation.weights.values.shape[-2]
    parts = graph.reshape(x, (n_parts, 1, n_in) if operation.is_separate else (n_parts, n_in))
    z = graph.call("MatMul", parts, _constant(graph, operation.weights))
    if operation.biases is not None:
        biases = operation.biases.values
        z = graph.call("Add", z, graph.constant(operation.biases.name, biases[:, None] if biases.ndim == 2 else biases))
    return graph.reshape(z, (operation.output.width,))


def _constant(graph: GraphBuilder, array: ArrayOf) -> str:
    return graph.constant(array.name, array.values)


def _map(graph: GraphBuilder, operation: Map, inputs: Sequence[str]) -> str:
    """Append a formula. Its erf is computed in float32, the only type that runtimes support."""
    formula, width, row_width = operation.formula, operation.output.width, operation.row_width
    wide = np.result_type(graph.dtype, *(array.values for array in operation.parameters))
    if wide != graph.dtype:  # as in NumPy, what is computed with such numbers is of their type
        inputs, graph.dtype = [graph.cast(x, wide) for x in inputs], wide
    is_in_parts = formula.is_of_rows and row_width != width
    if is_in_parts:
        inputs = [graph.reshape(x, (width // row_width, row_width)) for x in inputs]
    symbols = dict(zip(formula.inputs, inputs, strict=True))
    for name, array in zip(formula.parameters, operation.parameters, strict=True):
        if name not in operation.scalars:
            symbols[name] = graph.constant(array.name, array.values.reshape(-1))

    def call(op: str, *operands: str, **attributes: Any) -> str:
        if op == "Erf":
            return graph.cast(graph.call(op, graph.cast(operands[0], np.float32)), graph.dtype)
        return graph.call(op, *operands, **attributes)

    def axes(numbers: list[int]) -> str:
        return graph.constant("axes", numbers, np.int64)

    (value,) = as_onnx([operation.applied()], symbols, call, graph.number, axes)
    if operation.is_one_per_row:
        value = graph.call("Expand", value, graph.call("Shape", inputs[0]))
    return graph.reshape(value, (width,)) if is_in_parts else str(value)


def _lookup(graph: GraphBuilder, operation: Lookup, codes: str) -> str:
    """Append the vectors of the codes; NaN for a code that names none, so that no wrong vector passes unnoticed."""
    is_whole = graph.call("Equal", graph.call("Floor", codes), codes)
    is_inside = graph.call(
        "And",
        graph.call("GreaterOrEqual", codes, 0.0),
        graph.call("Less", codes, graph.constant("sizes", operation.sizes)),
    )
    is_known = graph.call("And", is_whole, is_inside)
    places = graph.call("Where", is_known, graph.call("Add", codes, graph.constant("firsts", operation.firsts)), 0.0)
    vectors = graph.call("Gather", _constant(graph, operation.table), graph.cast(places, np.int64), axis=0)
    axis = graph.constant("axes", [2], np.int64)
    known = graph.call("Where", graph.call("Unsqueeze", is_known, axis), vectors, np.nan)
    return graph.reshape(known, (operation.output.width,))
