"""The operations of programs as ONNX operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.formulas.expression import elementwise
from chainrule.formulas.translate import as_onnx
from chainrule.program import (
    Affine,
    ArrayReference,
    Concatenate,
    Lookup,
    Map,
    NotLoweredError,
    Operation,
    Program,
    Select,
)
from chainrule.stack import LayerStack
from chainrule.types import Shape

if TYPE_CHECKING:
    from chainrule.export.onnx_builder import GraphBuilder

__all__ = ["append_program"]


def append_program(graph: GraphBuilder, program: Program, x: str, stack: LayerStack) -> str:
    """Append the operations of a program in inference, from the rows ``x``, and return the name of the output.

    Arrays of layers in the stack get the names of these layers.
    """
    layers = {id(inner): f"{i}_{inner.layer_name()}." for i, layer in enumerate(stack.layers) for inner in layer.walk()}
    values = {program.input: x}

    def constant(array: ArrayReference, shape: Shape | None = None) -> str:
        numbers = array.values if shape is None else array.values.reshape(shape)
        return graph.constant(layers.get(id(array.layer), "") + array.name, numbers)

    for operation in program.operations:
        inputs = [values[value] for value in operation.inputs]
        values[operation.output] = _append(graph, operation, inputs, constant)
    return values[program.output]


def _append(graph: GraphBuilder, operation: Operation, inputs: Sequence[str], constant: Callable[..., str]) -> str:
    match operation:
        case Affine():
            return _affine(graph, operation, inputs[0], constant)
        case Map():
            return _map(graph, operation, inputs, constant)
        case Lookup():
            return _lookup(graph, operation, inputs[0], constant(operation.table))
        case Select():
            columns = graph.constant("columns", operation.columns, np.int64)
            return graph.call("Gather", *inputs, columns, axis=1)
        case Concatenate():
            return graph.concat(inputs)
    raise NotLoweredError(f"ONNX has no operation {type(operation).__name__}; use it in training only.")


def _affine(graph: GraphBuilder, operation: Affine, x: str, constant: Callable[..., str]) -> str:
    if operation.n_parts == 1 and not operation.is_separate:
        return graph.call("Gemm", x, *map(constant, operation.arrays))
    n_parts, n_in = operation.n_parts, operation.weights.values.shape[-2]
    parts = graph.reshape(x, (n_parts, 1, n_in) if operation.is_separate else (n_parts, n_in))
    z = graph.call("MatMul", parts, constant(operation.weights))
    if operation.biases is not None:
        biases = operation.biases.values
        shape = (len(biases), 1, biases.shape[-1]) if biases.ndim == 2 else None
        z = graph.call("Add", z, constant(operation.biases, shape))
    return graph.reshape(z, (operation.output.width,))


def _map(graph: GraphBuilder, operation: Map, inputs: Sequence[str], constant: Callable[..., str]) -> str:
    """Append a formula. Its erf is computed in float32, the only type that runtimes support."""
    formula, width, row_width = operation.formula, operation.output.width, operation.row_width
    wide = np.result_type(graph.dtype, *(array.values for array in operation.parameters))
    if wide != graph.dtype:  # as in NumPy, what is computed with such numbers is of their type
        inputs, graph.dtype = [graph.cast(x, wide) for x in inputs], wide
    is_in_parts = formula.is_rowwise and row_width != width
    if is_in_parts:
        inputs = [graph.reshape(x, (width // row_width, row_width)) for x in inputs]
    symbols = dict(zip(formula.inputs, inputs, strict=True))
    for name, array in zip(formula.parameters, operation.parameters, strict=True):
        if name not in operation.scalars:
            symbols[name] = constant(array, (-1,))

    def call(op: str, *operands: str, **attributes: Any) -> str:
        if op == "Erf":
            return graph.cast(graph.call(op, graph.cast(operands[0], np.float32)), graph.dtype)
        return graph.call(op, *operands, **attributes)

    def axes(numbers: list[int]) -> str:
        return graph.constant("axes", numbers, np.int64)

    result = operation.applied()
    (value,) = as_onnx([result], symbols, call, graph.number, axes)
    if id(result) not in elementwise([result], formula.inputs):  # one number for each row, or fewer
        value = graph.call("Expand", value, graph.call("Shape", inputs[0]))
    return graph.reshape(value, (width,)) if is_in_parts else str(value)


def _lookup(graph: GraphBuilder, operation: Lookup, codes: str, table: str) -> str:
    """Append the vectors of the codes; NaN for a code that names none, so that no wrong vector passes unnoticed."""
    is_whole = graph.call("Equal", graph.call("Floor", codes), codes)
    is_inside = graph.call(
        "And",
        graph.call("GreaterOrEqual", codes, 0.0),
        graph.call("Less", codes, graph.constant("sizes", operation.sizes)),
    )
    is_known = graph.call("And", is_whole, is_inside)
    places = graph.call("Where", is_known, graph.call("Add", codes, graph.constant("firsts", operation.firsts)), 0.0)
    vectors = graph.call("Gather", table, graph.cast(places, np.int64), axis=0)
    axis = graph.constant("axes", [2], np.int64)
    known = graph.call("Where", graph.call("Unsqueeze", is_known, axis), vectors, np.nan)
    return graph.reshape(known, (operation.output.width,))
