"""The layers as ONNX operators: activations from their formulas, and the equations of the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chainrule import layers
from chainrule.activations import ActivationLayer
from chainrule.errors import InvalidInputError
from chainrule.formulas.translate import as_onnx
from chainrule.layers import Layer
from chainrule.program import Map, Program

if TYPE_CHECKING:
    from chainrule.export.onnx_builder import GraphBuilder

__all__ = ["append_layer"]

# From the graph, the layer, the name of its input and a name for its arrays to the name of its output.
Translation: TypeAlias = "Callable[[GraphBuilder, Any, str, str], str]"


def append_layer(graph: GraphBuilder, layer: Layer, value: str, name: str) -> str:
    """Append what a layer does in inference to the graph and return the name of its output."""
    if isinstance(layer, ActivationLayer):
        return _activation(graph, layer, value, name)
    translation = _TRANSLATIONS.get(type(layer))
    if translation is None:
        raise InvalidInputError(
            f"The layer {layer.layer_name()} has no translation into ONNX's operators, as a layer of your own has not; "
            "build the network from chainrule's layers to export it."
        )
    return translation(graph, layer, value, name)


def _operator(op: str, **attributes: Any) -> Translation:
    """A layer that is an operator of its own."""
    return lambda graph, layer, z, name: graph.call(op, z, name=name, **attributes)


def _pass_on(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    return z


def _dense(graph: GraphBuilder, layer: layers.DenseLayer, a: str, name: str) -> str:
    weights, biases = graph.constant(f"{name}.weights", layer.weights), graph.constant(f"{name}.biases", layer.biases)
    return graph.call("Gemm", a, weights, biases, name=name)


def _batch_normalization(graph: GraphBuilder, layer: layers.BatchNormalizationLayer, x: str, name: str) -> str:
    """(x - mean) * factor + shift: runtimes fold the operator to x * a + b, and float32 loses far from zero."""
    factor = layer.scale / np.sqrt(layer.running_variance + layer.epsilon)
    centered = graph.call("Sub", x, graph.constant(f"{name}.running_mean", layer.running_mean))
    scaled = graph.call("Mul", centered, graph.constant(f"{name}.factor", factor))
    return graph.call("Add", scaled, graph.constant(f"{name}.shift", layer.shift), name=name)


def _layer_normalization(graph: GraphBuilder, layer: layers.LayerNormalizationLayer, x: str, name: str) -> str:
    """Normalised in float64, as by our own kernel: float32 rows far from zero need it."""
    dtype, wide, axes = graph.dtype, np.dtype(np.float64), list(range(1, 1 + len(layer.input_shape())))
    exact = graph.cast(x, wide)
    centered = graph.call("Sub", exact, graph.call("ReduceMean", exact, axes=axes))
    variance = graph.call("ReduceMean", graph.call("Mul", centered, centered), axes=axes)
    graph.dtype = wide
    deviation = graph.call("Sqrt", graph.call("Add", variance, layer.epsilon))
    graph.dtype = dtype
    normalized = graph.cast(graph.call("Div", centered, deviation), dtype)
    scaled = graph.call("Mul", normalized, graph.constant(f"{name}.scale", layer.scale))
    return graph.call("Add", scaled, graph.constant(f"{name}.shift", layer.shift), name=name)


def _input_scaling(graph: GraphBuilder, layer: layers.InputScalingLayer, x: str, name: str) -> str:
    return graph.call("Mul", x, graph.constant(f"{name}.scale", layer.scale), name=name)


def _standardization(graph: GraphBuilder, layer: layers.StandardizationLayer, x: str, name: str) -> str:
    centered = graph.call("Sub", x, graph.constant(f"{name}.mean", layer.mean))
    return graph.call("Div", centered, graph.constant(f"{name}.scale", layer.scale), name=name)


def _activation(graph: GraphBuilder, layer: ActivationLayer, z: str, name: str) -> str:
    """Append the formula of an activation. Its erf is computed in float32, the only type that runtimes support."""

    def call(op: str, *operands: str, **attributes: Any) -> str:
        if op == "Erf":
            return graph.cast(graph.call(op, graph.cast(operands[0], np.float32)), graph.dtype)
        return graph.call(op, *operands, **attributes)

    expressions = [op.applied() for op in Program.of([layer]).operations if isinstance(op, Map)]
    if not expressions:
        return z
    (value,) = as_onnx(
        expressions,
        {"x": z},
        call,
        graph.number,
        lambda axes: graph.constant("axes", axes, np.int64),
    )
    return str(value)


_TRANSLATIONS: dict[type[Layer], Translation] = {
    layers.DenseLayer: _dense,
    layers.DropoutLayer: _pass_on,
    layers.GaussianNoiseLayer: _pass_on,
    layers.BatchNormalizationLayer: _batch_normalization,
    layers.LayerNormalizationLayer: _layer_normalization,
    layers.InputScalingLayer: _input_scaling,
    layers.StandardizationLayer: _standardization,
    layers.FlattenLayer: _operator("Flatten", axis=1),
}
