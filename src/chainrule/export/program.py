"""A model as the plain operations of one prediction: what a generator of source code writes down.

A program takes one row. Its columns (those of a table, each with what was learnt of it) become a vector of numbers, the
operations turn that vector into the next one, one after another, and the last vector is what :meth:`Model.outputs`
gives: probabilities, or numbers in the target's own units. Nothing of training is left: dropout and noise are gone, a
batch normalisation is a scaling, and rows of any shape are written as vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

import numpy as np

from chainrule.activations import ACTIVATIONS, ActivationLayer, SigmoidActivation, SoftmaxActivation
from chainrule.data.columns import ColumnPlan
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError
from chainrule.export.meaning import network_of, prediction_rule
from chainrule.formulas import Expression, Formula
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    GaussianNoiseLayer,
    InputScalingLayer,
    Layer,
    LayerNormalizationLayer,
    StandardizationLayer,
)
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.program import Map
from chainrule.program import Program as LayerProgram
from chainrule.types import Array

__all__ = [
    "Dense",
    "First",
    "Function",
    "LayerNormalization",
    "Operation",
    "Program",
    "Scaling",
]


@dataclass(frozen=True, eq=False)
class Dense:
    """``z = a W + b``; W has shape (inputs, units)."""

    weights: Array
    biases: Array


@dataclass(frozen=True, eq=False)
class Scaling:
    """``y = (x - center) * factor + offset``, element by element; float64 arrays as long as the vector."""

    center: Array
    factor: Array
    offset: Array


@dataclass(frozen=True, eq=False)
class LayerNormalization:
    """``y = scale * (x - mean) / sqrt(variance + epsilon) + shift``, mean and variance those of the vector itself."""

    scale: Array
    shift: Array
    epsilon: float


@dataclass(frozen=True, eq=False)
class Function:
    """``y = f(x)`` for every element or, if the expression has reductions, for every row of ``width`` elements.

    ``name`` is the name of the function, and ``expression`` is f(x) for the symbol ``x``.
    """

    name: str
    expression: Expression
    width: int

    @property
    def is_of_rows(self) -> bool:
        """Whether an element depends on others of its row."""
        return any(node.is_reduction for node in self.expression.visit())


@dataclass(frozen=True)
class First:
    """The first ``n`` elements; the others go."""

    n: int


Operation: TypeAlias = Dense | Scaling | LayerNormalization | Function | First


@dataclass(frozen=True, eq=False)
class Program:
    """One prediction, step by step.

    Attributes
    ----------
    columns
        The columns of a table that are used, in the order of their numbers; empty for a model that takes numbers.
    n_inputs
        How many numbers there are in front of the first operation; they are rounded to ``dtype``.
    n_outputs
        How many there are behind the last.
    dtype
        The type of the weights.
    operations
        What happens to the numbers, in order.
    target
        What the outputs mean; None for a bare network, whose outputs are what :meth:`NeuralNetwork.predict` gives.
    label_names
        The classes in words.
    target_name
        The column that is predicted; empty where the data were no table.
    """

    columns: tuple[ColumnPlan, ...]
    n_inputs: int
    n_outputs: int
    dtype: np.dtype[Any]
    operations: tuple[Operation, ...]
    target: Target | None
    label_names: tuple[str, ...]
    target_name: str

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels, in the order of the outputs; empty where numbers are predicted."""
        return () if self.target is None else self.target.classes

    @property
    def widest(self) -> int:
        """The length of the longest vector that is met on the way."""
        units = [op.biases.size for op in self.operations if isinstance(op, Dense)]
        return max(self.n_inputs, self.n_outputs, *units)

    @classmethod
    def of(cls, model: Model | NeuralNetwork) -> Self:
        """Return the program of a model, or of a bare network.

        Raises what :func:`network_of` does, and ``InvalidInputError``, naming it, for a layer or a loss of a user's
        own.
        """
        network = network_of(model)
        stack = network.stack
        n_inputs, n_outputs = math.prod(stack.input_shape()), math.prod(stack.output_shape())
        operations = [op for place, layer in enumerate(stack.layers, 1) for op in _operations_of(layer, place)]
        if not isinstance(model, Model):
            return cls((), n_inputs, n_outputs, stack.dtype, tuple(operations), None, (), "")
        operations += _point_predictions(network, n_outputs)
        n_outputs = next((op.n for op in operations if isinstance(op, First)), n_outputs)
        if model.scaling is not None:
            scale, center = np.array(model.scaling.scale), np.array(model.scaling.center)
            operations.append(Scaling(np.zeros_like(scale), scale, center))
        columns = () if model.table is None else model.table.feature_plan.columns
        names = model.notes.get("label_names") or model.target.classes
        label_names = tuple(str(name) for name in names) if model.target.classes else ()
        return cls(
            columns, n_inputs, n_outputs, stack.dtype, tuple(operations), model.target, label_names, model.target_name
        )


def _operations_of(layer: Layer, place: int) -> Iterable[Operation]:
    """Return what a layer does in inference. By its very type: a subclass may do something else."""
    if isinstance(layer, ActivationLayer):
        return _activation(layer)
    if type(layer) not in _LAYERS:
        raise InvalidInputError(
            f"Layer {place} ({layer.layer_name()}) is not one of chainrule's own, and no export can say what it does; "
            "replace it by layers of chainrule."
        )
    return _LAYERS[type(layer)](layer)


def _activation(layer: ActivationLayer) -> Iterable[Operation]:
    is_ours = type(layer) in ACTIVATIONS.classes.values()
    name = ACTIVATIONS.name_of(type(layer)) if is_ours else layer.layer_name()
    maps = [op for op in LayerProgram.of([layer]).operations if isinstance(op, Map)]
    return [Function(name, op.applied(), op.row_width) for op in maps]


def _nothing(layer: Any) -> Iterable[Operation]:
    return []


def _dense(layer: DenseLayer) -> Iterable[Operation]:
    return [Dense(layer.weights, layer.biases)]


def _scaling(center: Array, factor: Array, offset: Array) -> Iterable[Operation]:
    flat = [np.asarray(array, np.float64).reshape(-1) for array in (center, factor, offset)]
    return [Scaling(*flat)]


def _batch_normalization(layer: BatchNormalizationLayer) -> Iterable[Operation]:
    variance = layer.running_variance.astype(np.float64)
    return _scaling(layer.running_mean, layer.scale / np.sqrt(variance + layer.epsilon), layer.shift)


def _input_scaling(layer: InputScalingLayer) -> Iterable[Operation]:
    none = np.zeros(layer.scale.shape)
    return _scaling(none, layer.scale, none)


def _standardization(layer: StandardizationLayer) -> Iterable[Operation]:
    return _scaling(layer.mean, 1 / layer.scale.astype(np.float64), np.zeros(layer.mean.shape))


def _layer_normalization(layer: LayerNormalizationLayer) -> Iterable[Operation]:
    return [LayerNormalization(layer.scale.reshape(-1), layer.shift.reshape(-1), layer.epsilon)]


_LAYERS: dict[type[Layer], Callable[[Any], Iterable[Operation]]] = {
    DenseLayer: _dense,
    DropoutLayer: _nothing,
    GaussianNoiseLayer: _nothing,
    FlattenLayer: _nothing,
    BatchNormalizationLayer: _batch_normalization,
    LayerNormalizationLayer: _layer_normalization,
    InputScalingLayer: _input_scaling,
    StandardizationLayer: _standardization,
}


def _point_predictions(network: NeuralNetwork, n_outputs: int) -> Iterable[Operation]:
    """Return what turns the network's outputs into predictions, as its loss has it."""
    match prediction_rule(network):
        case "sigmoid":
            return [Function("sigmoid", SigmoidActivation().formulas().result, 1)]
        case "softmax":
            return [Function("softmax", SoftmaxActivation().formulas().result, n_outputs)]
        case "exp":
            return [Function("exponential", Formula.trace(lambda _, x: np.exp(x), None, ["x"]).expression, 1)]
        case "first_half":
            return [First(n_outputs // 2)]
        case "outputs":
            return []
