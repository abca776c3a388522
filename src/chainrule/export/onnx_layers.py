"""The layers as ONNX operators: a table with one line for each kind, and the equations of those that are no operator.

ONNX has operators for most activations, but runtimes have several of them in float32 only, or let them overflow on the
way. These are written out in operators that every runtime has in both types.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chainrule import activations, layers
from chainrule.errors import InvalidInputError
from chainrule.kernels.numpy_kernels.activations.rectifiers import SELU_ALPHA, SELU_SCALE
from chainrule.layers import Layer

if TYPE_CHECKING:
    from chainrule.export.onnx_builder import GraphBuilder

__all__ = ["append_layer"]

# From the graph, the layer, the name of its input and a name for its arrays to the name of its output.
Translation: TypeAlias = "Callable[[GraphBuilder, Any, str, str], str]"


def append_layer(graph: GraphBuilder, layer: Layer, value: str, name: str) -> str:
    """Append what a layer does in inference to the graph and return the name of its output."""
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


def _gaussian(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    return graph.call("Exp", graph.call("Neg", graph.call("Mul", z, z)), name=name)


def _softsign(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    return graph.call("Div", z, graph.call("Add", 1.0, graph.call("Abs", z)), name=name)


def _hard_sigmoid(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    return graph.call("Clip", graph.call("Add", graph.call("Div", z, 6.0), 0.5), 0.0, 1.0, name=name)


def _leaky_relu(graph: GraphBuilder, layer: activations.LeakyReLUActivation, z: str, name: str) -> str:
    return _two_slopes(graph, layer.negative_slope, z, name)


def _prelu(graph: GraphBuilder, layer: activations.PReLUActivation, z: str, name: str) -> str:
    return _two_slopes(graph, graph.constant(f"{name}.slope", layer.slope), z, name)


def _two_slopes(graph: GraphBuilder, slope: str | float, z: str, name: str) -> str:
    """max(z, 0) + slope min(z, 0)."""
    below = graph.call("Mul", slope, graph.call("Min", z, 0.0))
    return graph.call("Add", graph.call("Max", z, 0.0), below, name=name)


def _elu(graph: GraphBuilder, layer: activations.ELUActivation, z: str, name: str) -> str:
    return _scaled_elu(graph, layer.alpha, z, name)


def _selu(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    return graph.call("Mul", SELU_SCALE, _scaled_elu(graph, SELU_ALPHA, z, f"{name}.elu"), name=name)


def _scaled_elu(graph: GraphBuilder, alpha: float, z: str, name: str) -> str:
    """max(z, 0) + alpha (exp(min(z, 0)) - 1)."""
    below = graph.call("Sub", graph.call("Exp", graph.call("Min", z, 0.0)), 1.0)
    return graph.call("Add", graph.call("Max", z, 0.0), graph.call("Mul", alpha, below), name=name)


def _gelu(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    """z (1 + erf(z / sqrt 2)) / 2; runtimes have erf in float32 only, which is as exact as 1 + erf in it."""
    argument = graph.call("Mul", z, math.sqrt(0.5))
    erf = graph.cast(graph.call("Erf", graph.cast(argument, np.float32)), graph.dtype)
    return graph.call("Mul", z, graph.call("Mul", 0.5, graph.call("Add", 1.0, erf)), name=name)


def _silu(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    return graph.call("Mul", z, graph.call("Sigmoid", z), name=name)


def _mish(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    return graph.call("Mul", z, graph.call("Tanh", _softplus(graph, layer, z, f"{name}.softplus")), name=name)


def _softplus(graph: GraphBuilder, layer: Layer, z: str, name: str) -> str:
    """max(z, 0) + log(1 + exp(-|z|)), which overflows nowhere."""
    rest = graph.call("Log", graph.call("Add", 1.0, graph.call("Exp", graph.call("Neg", graph.call("Abs", z)))))
    return graph.call("Add", graph.call("Max", z, 0.0), rest, name=name)


_TRANSLATIONS: dict[type[Layer], Translation] = {
    layers.DenseLayer: _dense,
    layers.DropoutLayer: _pass_on,
    layers.GaussianNoiseLayer: _pass_on,
    layers.BatchNormalizationLayer: _batch_normalization,
    layers.LayerNormalizationLayer: _layer_normalization,
    layers.InputScalingLayer: _input_scaling,
    layers.StandardizationLayer: _standardization,
    layers.FlattenLayer: _operator("Flatten", axis=1),
    activations.LinearActivation: _pass_on,
    activations.SigmoidActivation: _operator("Sigmoid"),
    activations.TanhActivation: _operator("Tanh"),
    activations.SoftmaxActivation: _operator("Softmax", axis=-1),
    activations.GaussianActivation: _gaussian,
    activations.SoftsignActivation: _softsign,
    activations.HardSigmoidActivation: _hard_sigmoid,
    activations.ReLUActivation: _operator("Relu"),
    activations.LeakyReLUActivation: _leaky_relu,
    activations.PReLUActivation: _prelu,
    activations.ELUActivation: _elu,
    activations.SELUActivation: _selu,
    activations.GELUActivation: _gelu,
    activations.SiLUActivation: _silu,
    activations.MishActivation: _mish,
    activations.SoftplusActivation: _softplus,
}
