"""A model as the operations of one prediction, from which all exports are generated.

A row of a table (with the fitted encoding of each column) or of numbers becomes a vector. The operations of the network
in inference follow, then those of the loss that turn outputs into predictions, and then the temperature of class
probabilities or the scaling to the target's own units, so that the result is what :meth:`Model.outputs` gives. Rows of
any shape are vectors here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from chainrule.activations import LinearActivation, SmoothClipActivation
from chainrule.calibration import temper
from chainrule.data.columns import ColumnPlan
from chainrule.data.feature_plan import FeaturePlan
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError
from chainrule.export.meaning import network_of
from chainrule.layers import Layer, Parallel, QuantileLayer
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.program import Map, Program, Value
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs, Shape

__all__ = ["ModelProgram", "PredictionLayer", "layers_before", "plan_buffers"]


@dataclass(frozen=True, eq=False)
class ModelProgram:
    """One prediction, step by step.

    Attributes
    ----------
    columns
        The columns of a table that are used, in the order of their numbers; empty for a model that takes numbers.
    program
        The operations. Its input is rounded to ``dtype``.
    dtype
        The type of the weights.
    target
        What the outputs mean; None for a bare network, whose outputs are what :meth:`NeuralNetwork.predict` gives.
    label_names
        The classes in words.
    target_name
        The column that is predicted; empty where the data were no table.
    """

    columns: tuple[ColumnPlan, ...]
    program: Program
    dtype: np.dtype[Any]
    target: Target | None
    label_names: tuple[str, ...]
    target_name: str

    @property
    def n_inputs(self) -> int:
        """How many numbers a row has in front of the first operation."""
        return self.program.input.width

    @property
    def n_outputs(self) -> int:
        """How many numbers a row has behind the last operation."""
        return self.program.output.width

    @property
    def classes(self) -> tuple[Any, ...]:
        """The labels, in the order of the outputs; empty where numbers are predicted."""
        return () if self.target is None else self.target.classes

    @classmethod
    def of(cls, model: Model | NeuralNetwork) -> Self:
        """Return the program of a model, or of a bare network.

        Raises what :func:`network_of` does, and ``NotLoweredError`` or ``TraceError`` for a layer or a loss that does
        not consist of operations.
        """
        network = network_of(model)
        layers, dtype = network.stack.layers, network.stack.dtype
        if not isinstance(model, Model):
            return cls((), Program.of(layers), dtype, None, (), "")
        plan = None if model.table is None else model.table.feature_plan
        program = Program.of([*layers_before(plan, dtype), *layers, PredictionLayer(model)])
        columns = () if plan is None else plan.columns
        names = model.notes.get("label_names") or model.target.classes
        label_names = tuple(str(name) for name in names) if model.target.classes else ()
        return cls(columns, program, dtype, model.target, label_names, model.target_name)


def layers_before(plan: FeaturePlan | None, dtype: np.dtype[Any]) -> list[Layer]:
    """Return the layers between the scaled numbers of a table and the network, if there are any.

    They bound numbers, or replace them by the scores of their quantiles, as :meth:`FeaturePlan.bend` does.
    """
    if plan is None or not plan.is_bent:
        return []
    features = plan.feature_indices.tolist()
    columns_of: dict[float, list[int]] = {}
    for k, limit in plan.limits.items():
        columns_of.setdefault(limit, []).append(features[k])
    parts: list[tuple[Layer, list[int]]] = [(SmoothClipActivation(one), own) for one, own in columns_of.items()]
    if plan.curves:
        curves = [*plan.curves.values()]
        scores = QuantileLayer(max(len(knots) - 1 for knots, _ in curves)).interpolate(curves)
        parts.append((scores, [features[k] for k in plan.curves]))
    changed = [column for _, columns in parts for column in columns]
    unchanged = [column for column in range(len(features)) if column not in changed]
    parts += [(LinearActivation(), unchanged)] if unchanged else []
    order = tuple(np.argsort([*changed, *unchanged]).tolist())
    layers, columns = zip(*parts, strict=True)
    stack = LayerStack([Parallel(layers, columns), Parallel((LinearActivation(),), (order,))], dtype=dtype, seed=0)
    stack.build((len(features),))
    return list(stack.layers)


class PredictionLayer(Layer):
    """What a model makes of the outputs of its network, as a layer behind them: predictions in the target's units."""

    model: Model

    def __init__(self, model: Model) -> None:
        self.model = model
        self.set_input_shape(model.network.stack.output_shape())
        if model.scaling is not None:
            self.state = {"scale": np.array(model.scaling.scale), "center": np.array(model.scaling.center)}

    def output_shape(self) -> Shape:
        """Return the shape of the predictions of a row: one for each target."""
        *rest, n_outputs = self.input_shape()
        return (*rest, n_outputs // self.model.network.loss.outputs_per_target)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the predictions."""
        return self.model.predictions_of(self._check_inputs(inputs))

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Raise InvalidInputError: networks are trained without this layer."""
        raise InvalidInputError("The predictions of a model have no backward pass; train its network.")

    def lower(self, program: Program, x: Value) -> Value:
        """Return the predictions."""
        predictions = self.model.network.loss.lower(program, x)
        temperature = self.model.temperature
        if temperature != 1:
            return program.map(lambda p: temper(p, temperature), predictions, name="temper")
        if self.model.scaling is None:
            return predictions
        scale, center = self.array("scale"), self.array("center")
        return program.map(lambda y, scale, center: y * scale + center, predictions, scale, center, name="target_units")


def plan_buffers(program: Program) -> tuple[Mapping[Value, int], list[int]]:
    """Return a buffer for each value of a program, by number, and the length of each buffer.

    A buffer is used again when no later operation reads its value. A formula may write over the value that it reads.
    """
    last_reader = {x: place for place, operation in enumerate(program.operations) for x in operation.inputs}
    last_reader[program.output] = len(program.operations)
    buffers, lengths, free = {program.input: 0}, [program.input.width], list[int]()
    for place, operation in enumerate(program.operations):
        done = [buffers[x] for x in dict.fromkeys(operation.inputs) if last_reader[x] == place]
        usable = [*done, *free] if isinstance(operation, Map) else free
        width = operation.output.width
        if usable:
            chosen = min(usable, key=lambda buffer: abs(lengths[buffer] - width))
        else:
            chosen = len(lengths)
            lengths.append(0)
        buffers[operation.output], lengths[chosen] = chosen, max(lengths[chosen], width)
        unread = [] if operation.output in last_reader else [chosen]
        free = [buffer for buffer in {*free, *done, *unread} if buffer != chosen or unread]
    return buffers, lengths
