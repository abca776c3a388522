"""A model as one ONNX graph: preprocessing, network, and the meaning of its outputs.

============================  =====================================================================================
what is exported              inputs
============================  =====================================================================================
a model of a table            one for each column that is used, under the column's name, of shape (rows, 1): float64
                              for numbers, and for dates (days since 1970-01-01 UTC, the time as a fraction), NaN
                              where missing; text for categories, "" where missing
a model of arrays or images   ``X``, shape (rows, ...) as the network takes it, in the network's own type
a bare ``NeuralNetwork``      the same
============================  =====================================================================================

============================  =====================================================================================
what it predicts              outputs
============================  =====================================================================================
classes                       ``label``, shape (rows,): text, int64, float64 or bool, as the classes are (text
                              where they differ); and ``probabilities``, shape (rows, classes)
numbers                       ``value``, shape (rows, numbers), in the target's own units
a bare network                ``outputs``, what ``NeuralNetwork.predict`` returns
============================  =====================================================================================

The outputs stand in this order. Inputs keep the names of their columns: where a column is itself called ``label``,
``probabilities`` or ``value``, the output of that name is numbered, ``label_2``.

The number of rows is free. Classes, column names and the version stand in the file's ``metadata_props`` as JSON. The
graph does not refuse what :class:`Model` refuses: an infinite number gives some number, or NaN. Only operators of the
standard (``ai.onnx``, and ``LabelEncoder`` of ``ai.onnx.ml`` where there is text) are used.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.columns import ColumnPlan
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError, missing_packages
from chainrule.export.meaning import describe_model, frame_of, network_of, read_column
from chainrule.export.onnx_operations import append_program
from chainrule.export.onnx_table import append_table
from chainrule.export.program import ModelProgram
from chainrule.files.atomic import write_atomically
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array, is_sparse

if TYPE_CHECKING:
    import onnx

    from chainrule.export.onnx_builder import GraphBuilder

__all__ = ["build_onnx", "onnx_inputs", "write_onnx"]

MOST_BYTES = 2**31 - 2**20  # what one protobuf message holds, with room for the nodes


def build_onnx(model: Model | NeuralNetwork) -> onnx.ModelProto:
    """Return the model as an ONNX graph that ONNX's checker has passed, all shapes inferred.

    Raises ``InvalidInputError`` for a layer or a loss of the user's own, for more than 2 GiB of parameters, and where
    the package onnx is missing.
    """
    builder = _require_builder()
    stack = network_of(model).stack
    if stack.vector.values.nbytes > MOST_BYTES:
        raise InvalidInputError(
            f"The network has {stack.vector.values.nbytes / 2**30:.1f} GiB of parameters, and one ONNX file holds 2 "
            "GiB; export to 'torch' instead."
        )
    graph = builder(stack.dtype)
    if isinstance(model, Model) and model.table is not None:
        value = append_table(graph, model.table)
        value = value if stack.dtype == np.float32 else graph.cast(value, stack.dtype)
    else:
        value = graph.input("X", stack.dtype, stack.input_shape(), "what the network takes")
    if len(stack.input_shape()) > 1:
        value = graph.reshape(value, (math.prod(stack.input_shape()),))
    value = append_program(graph, ModelProgram.of(model).program, value, stack)
    if isinstance(model, Model):
        _append_meaning(graph, model, value)
    else:
        if len(stack.output_shape()) > 1:
            value = graph.reshape(value, stack.output_shape())
        graph.output("outputs", value, stack.dtype, stack.output_shape(), "what the last layer gives")
    described = describe_model(model)
    metadata = {key: entry if isinstance(entry, str) else json.dumps(entry) for key, entry in described.items()}
    return graph.model("chainrule", metadata, described["chainrule_version"], repr(network_of(model)))


def write_onnx(model: Model | NeuralNetwork, path: str | Path) -> None:
    """Write the ONNX graph of a model to one file, whole or not at all; the same model gives the same bytes."""
    write_atomically(path, build_onnx(model).SerializeToString(deterministic=True))


def onnx_inputs(model: Model | NeuralNetwork, data: Any) -> dict[str, Array]:
    """Return what the graph's inputs take, by name, for the rows that ``model.predict`` takes.

    This is ``session.run(None, onnx_inputs(model, frame))`` where chainrule is installed; elsewhere, a column is
    handed over as ``frame[[name]].to_numpy()``, in the type and with the marks for missing cells that the table above
    says. A sparse matrix becomes dense: ONNX graphs take no other.
    """
    if isinstance(model, Model):
        if model.table is not None:
            frame = frame_of(model, data)
            return {plan.name: _column_input(plan, frame[plan.name]) for plan in model.table.feature_plan.columns}
        data = model.inputs(data)
    stack = network_of(model).stack
    rows = data.toarray() if is_sparse(data) else np.asarray(getattr(data, "X", data))
    return {"X": np.ascontiguousarray(rows, stack.dtype).reshape(len(rows), *stack.input_shape())}


def _column_input(plan: ColumnPlan, column: Any) -> Array:
    if plan.kind == "category":
        return np.array([text or "" for text in plan.read_texts(column)], dtype=object).reshape(-1, 1)
    return read_column(plan, column).reshape(-1, 1)


def _append_meaning(graph: GraphBuilder, model: Model, value: str) -> None:
    """Append the labels of classes, and name the results."""
    target, dtype = model.target, graph.dtype
    if not target.classes:
        doc = model.target_name or "what is predicted"
        graph.output("value", value, dtype, (target.n_columns,), doc)
        return
    if model.network.stack.output_shape() == (1,):  # the probability of the second class
        axis = graph.constant("column_axis", [1], np.int64)
        code = graph.cast(graph.call("GreaterOrEqual", graph.call("Squeeze", value, axis), 0.5), np.int64)
        value = graph.concat([graph.call("Sub", 1.0, value), value])
    else:
        code = graph.call("ArgMax", value, axis=1, keepdims=0, name="code")
    labels = _labels(target)
    label = graph.call("Gather", graph.constant("classes", labels, labels.dtype), code)
    graph.output("label", label, labels.dtype, (), model.target_name or "the class")
    graph.output("probabilities", value, dtype, (len(labels),), "one column a class, in the order of 'classes'")


def _labels(target: Target) -> Array:
    """Return the classes as an array of one type; classes of different types as text."""
    labels = target.class_array()
    return np.array([str(label) for label in labels], dtype=object) if labels.dtype.kind in "OU" else labels


def _require_builder() -> type[GraphBuilder]:
    try:
        import onnx  # noqa: F401  (what the builder needs)
    except ImportError:
        raise missing_packages("Exporting to ONNX", "onnx") from None
    from chainrule.export.onnx_builder import GraphBuilder

    return GraphBuilder
