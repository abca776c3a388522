"""What stands around a network's layers in every format: what its outputs mean, and what the file says of itself."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import numpy as np

from chainrule.data.cells import DATE_PARTS, date_parts
from chainrule.data.columns import ColumnPlan
from chainrule.data.dataset import Dataset
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array

__all__ = ["describe_model", "frame_of", "network_of", "read_column"]


def network_of(model: Model | NeuralNetwork) -> NeuralNetwork:
    """Return the network of a model, or the bare network itself.

    Raises NotBuiltError where it has no weights yet, and InvalidInputError for what cannot be exported: weights that
    are not finite, a table with another number of features than the network takes, other things than models.
    """
    network: Any = model.network if isinstance(model, Model) else model
    if not isinstance(network, NeuralNetwork):
        raise InvalidInputError(f"Only a Model or a NeuralNetwork can be exported, not {type(model).__name__}.")
    if not network.stack.is_built:
        raise NotBuiltError("The network has no weights yet; fit it, or give the first layer its input shape.")
    for name, array in network.stack.read_arrays().items():
        if not np.isfinite(array).all():
            raise InvalidInputError(f"The network's '{name}' hold a number that is not finite; train it again.")
    if isinstance(model, Model) and model.table is not None:
        n_features, shape = len(model.table.feature_names), network.stack.input_shape()
        if shape != (n_features,):
            raise InvalidInputError(f"The table gives {n_features} numbers a row, and the network takes {shape}.")
    return network


def describe_model(model: Model | NeuralNetwork) -> dict[str, Any]:
    """Return what a reader of the file must know, as values that JSON can hold."""
    described: dict[str, Any] = {"chainrule_version": version("chainrule")}
    if not isinstance(model, Model):
        return described
    described |= {"task": model.target.task, "target": model.target_name}
    classes = list(model.target.classes)
    if classes:
        names = model.notes.get("label_names") or [str(label) for label in classes]
        described |= {"classes": classes, "class_names": names}
    if model.table is not None:
        described["columns"] = [
            {"name": plan.name, "kind": plan.kind} | ({"categories": plan.categories} if plan.categories else {})
            for plan in model.table.feature_plan.columns
        ]
    return described


def frame_of(model: Model, data: Any) -> Any:
    """Return the rows that a model of a table takes as a pandas frame, once it has read them itself.

    Raises ``DataError`` for cells that cannot be read and for a column that is missing.
    """
    if isinstance(data, Dataset):
        raise InvalidInputError("These rows have been turned into numbers already; give the table that they came from.")
    model.inputs(data)
    frame = data.to_pandas() if hasattr(data, "to_pandas") else data
    return frame.rename(columns=str)


def read_column(plan: ColumnPlan, column: Any) -> Array:
    """Return a column of numbers, or of dates as days since 1970, as float64 with NaN where it is missing."""
    values = plan.read_column(column)
    return date_parts(values)[:, DATE_PARTS.index("days")] if plan.kind == "date" else values
