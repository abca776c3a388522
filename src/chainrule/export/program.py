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

from chainrule.calibration import temper
from chainrule.data.columns import ColumnPlan
from chainrule.data.feature_plan import FeaturePlan, bounded
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError
from chainrule.export.meaning import network_of
from chainrule.layers import Layer
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.program import Map, Program, Value
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
    """Return the layer between the scaled numbers of a table and the network, if there is one."""
    return [] if plan is None or not plan.is_bent else [BentFeaturesLayer(plan, dtype)]


class BentFeaturesLayer(Layer):
    """Bounds scaled numbers, or replaces them by the scores of their quantiles: a layer in front of a network."""

    plan: FeaturePlan

    def __init__(self, plan: FeaturePlan, dtype: np.dtype[Any]) -> None:
        self.plan = plan
        self.set_input_shape((len(plan.feature_indices),))
        starts, widths, rises, first = [], [], np.zeros((0, len(plan.curves))), []
        for column, (knots, scores) in enumerate(plan.curves.values()):
            starts += knots[:-1].tolist()
            widths += np.diff(knots).tolist()
            first.append(scores[0])
            own = np.zeros((len(knots) - 1, len(plan.curves)))
            own[:, column] = np.diff(scores)
            rises = np.vstack([rises, own])
        arrays: dict[str, Any] = {
            "limits": [*plan.limits.values()],
            "starts": starts,
            "widths": widths,
            "rises": rises,
            "first": first,
        }
        # PyTorch cannot export empty buffers.
        self.state = {name: np.array(values, dtype) for name, values in arrays.items() if len(values)}

    def output_shape(self) -> Shape:
        """Return the shape of the features of a row."""
        return self.input_shape()

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the features."""
        features: Array = np.array(self._check_inputs(inputs))
        columns = self.plan.feature_indices[: len(self.plan.chosen)]
        features[:, columns] = self.plan.bend(features[:, columns])
        return features

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Raise InvalidInputError: networks are trained without this layer."""
        raise InvalidInputError("The features of a table have no backward pass; train its network.")

    def lower(self, program: Program, x: Value) -> Value:
        """Return the features: bounded numbers, scores of quantiles, and the others, in their order."""
        limited, curved = (
            [int(self.plan.feature_indices[k]) for k in of] for of in (self.plan.limits, self.plan.curves)
        )
        others = [column for column in range(x.width) if column not in {*limited, *curved}]
        parts = [program.select(x, others)] if others else []
        if limited:
            parts.append(program.map(bounded, program.select(x, limited), self.array("limits")))
        if curved:
            n_bins = [len(knots) - 1 for knots, _ in self.plan.curves.values()]
            repeated = program.select(x, np.repeat(curved, n_bins).tolist())
            share = program.map(
                lambda z, starts, widths: np.clip((z - starts) / widths, 0, 1),
                repeated, self.array("starts"), self.array("widths"), name="share_of_bin",
            )  # fmt: skip
            parts.append(program.affine(share, self.array("rises"), self.array("first")))
        order = np.argsort([*others, *limited, *curved]).tolist()
        return program.select(program.concatenate(*parts), order)


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
