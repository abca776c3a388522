"""An ONNX graph, written node by node: each call names an operator and returns the name of what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import helper, numpy_helper

from chainrule.types import Shape

__all__ = ["OPSET", "GraphBuilder"]

# The oldest operators that say all we need, so that runtimes of 2021 and later run the file.
OPSET, ML_OPSET, IR_VERSION = 15, 2, 8

ROWS = "rows"  # the name of the batch dimension, which is free

Operand: TypeAlias = "str | float"  # a value's name, or a number


class GraphBuilder:
    """Collects inputs, constants, nodes and outputs.

    Numbers among the operands become constants of ``dtype``, the type that is computed in at present. Names are made
    different from one another by numbering, after the inputs have taken theirs.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._numbers: dict[tuple[float, np.dtype[Any]], str] = {}
        self._names: set[str] = set()

    def input(self, name: str, dtype: Any, row_shape: Shape, doc: str = "") -> str:
        """Declare a named input of shape (rows, *row_shape), before anything else is named."""
        self._names.add(name)
        self._inputs.append(helper.make_tensor_value_info(name, _element_type(dtype), (ROWS, *row_shape), doc))
        return name

    def output(self, name: str, value: str, dtype: Any, row_shape: Shape, doc: str = "") -> None:
        """Declare a named output of shape (rows, *row_shape)."""
        value = self._append("Identity", [value], name, "", {})
        self._outputs.append(helper.make_tensor_value_info(value, _element_type(dtype), (ROWS, *row_shape), doc))

    def constant(self, name: str, values: Any, dtype: Any = None) -> str:
        """Keep an array, of the type computed in unless another is said."""
        array = np.asarray(values, self.dtype if dtype is None else dtype)
        name = self._fresh(name)
        if array.dtype.kind in "OU":
            texts = [text.encode() for text in array.ravel().tolist()]
            self._constants.append(helper.make_tensor(name, onnx.TensorProto.STRING, array.shape, texts))
        else:
            self._constants.append(numpy_helper.from_array(array, name))
        return name

    def call(self, op: str, *operands: Operand, name: str = "", domain: str = "", **attributes: Any) -> str:
        """Append a node with one output and return the output's name."""
        inputs = [operand if isinstance(operand, str) else self.number(operand) for operand in operands]
        return self._append(op, inputs, name or op.lower(), domain, attributes)

    def cast(self, value: str, dtype: Any) -> str:
        """Turn a value into another type."""
        return self.call("Cast", value, to=_element_type(dtype))

    def concat(self, values: Sequence[str], name: str = "") -> str:
        """Put matrices beside each other; one alone stays as it is."""
        return values[0] if len(values) == 1 else self.call("Concat", *values, axis=1, name=name)

    def reshape(self, value: str, row_shape: Shape) -> str:
        """Give the rows another shape."""
        return self.call("Reshape", value, self.constant("row_shape", (0, *row_shape), np.int64))

    def model(self, name: str, metadata: Mapping[str, str], version: str, doc: str) -> onnx.ModelProto:
        """Return the whole, with the shapes of all values inferred; raises what ONNX's checker finds."""
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, self._constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
            ir_version=IR_VERSION,
            producer_name="chainrule",
            producer_version=version,
            doc_string=doc,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)

    def _append(self, op: str, inputs: list[str], name: str, domain: str, attributes: dict[str, Any]) -> str:
        output = self._fresh(name)
        self._nodes.append(helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes))
        return output

    def number(self, value: float) -> str:
        """Return the constant for a number; equal ones are one."""
        key = (value, self.dtype)
        if key not in self._numbers:
            self._numbers[key] = self.constant(f"{value!r}", value)
        return self._numbers[key]

    def _fresh(self, name: str) -> str:
        unique, number = name, 1
        while unique in self._names:
            number += 1
            unique = f"{name}_{number}"
        self._names.add(unique)
        return unique


def _element_type(dtype: Any) -> int:
    dtype = np.dtype(dtype)
    return onnx.TensorProto.STRING if dtype.kind in "OU" else helper.np_dtype_to_tensor_dtype(dtype)
