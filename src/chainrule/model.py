"""A network together with what it takes to use it: how columns become numbers, and what its outputs mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.data.weights import as_weights, weights_of_rows
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.files.model_file import check_keys, read_model_file, write_model_file
from chainrule.files.network_file import read_history
from chainrule.metrics import METRICS
from chainrule.metrics.inputs import normalized_probabilities
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.rounding import safe_deviation
from chainrule.types import Array, Task

__all__ = ["Model", "TargetScaling", "evaluate_model", "measure"]

_NO_TARGETS = "This dataset has no targets y to compare the predictions with."

# What is said of a model; the first is the one that people quote.
_REPORTED: dict[Task, tuple[str, ...]] = {
    "binary": ("accuracy", "roc_auc", "log_loss"),
    "multiclass": ("accuracy", "balanced_accuracy", "log_loss"),
    "regression": ("r2", "root_mean_squared_error", "mean_absolute_error"),
}


def measure(task: Task, y: Array, outputs: Array, sample_weight: Array | None = None) -> dict[str, float]:
    """Return the metrics that belong to the task, for class codes or numbers ``y`` and a model's outputs."""
    return {name: METRICS[name](y, outputs, sample_weight) for name in _REPORTED[task]}


def _are_texts(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


@dataclass(frozen=True)
class TargetScaling:
    """Standardisation of numeric targets for training: ``(y - center) / scale``, one center and scale per column."""

    center: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = [*self.center, *self.scale]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < np.inf for n in numbers):
            raise InvalidInputError("The scaling of the target holds something that is no finite number.")
        if len(self.center) != len(self.scale) or not self.center or min(self.scale) <= 0:
            raise InvalidInputError("The scaling of the target needs a center and a scale above 0 for each column.")

    @classmethod
    def learn(cls, y: Array) -> Self:
        """Return the mean and the standard deviation of each column (1 where it is constant, but for rounding)."""
        columns = np.asarray(y).reshape(len(y), -1)
        return cls(tuple(columns.mean(axis=0, dtype=np.float64).tolist()), tuple(safe_deviation(columns).tolist()))

    def apply(self, y: Array) -> Array:
        """Return standardised targets in the shape of ``y``."""
        columns = np.asarray(y, np.float64).reshape(len(y), -1)
        return ((columns - self.center) / self.scale).reshape(np.shape(y))

    def undo(self, outputs: Array) -> Array:
        """Return a network's outputs in the units of the target, float64."""
        return np.asarray(outputs, np.float64) * self.scale + self.center


@checked
@dataclass(eq=False, repr=False)
class Model:
    """A trained network with its preprocessing and the meaning of its outputs; what a model file holds.

    Attributes
    ----------
    network
        The network; it takes numbers and gives numbers.
    target
        The task, and the labels behind the classes.
    table
        How the columns of a table become the network's inputs; None for a network that takes arrays.
    scaling
        How the targets of a regression were standardised; None otherwise.
    target_name
        The column that was predicted, where the data were a table.
    """

    network: NeuralNetwork
    target: Target
    table: TablePreprocessor | None = None
    scaling: TargetScaling | None = None
    target_name: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise InvalidInputError unless the parts belong together; those of a file may come from anywhere."""
        target, scaling, table = self.target, self.scaling, self.table
        if self.network.stack.is_built and not self.network.suits(target):
            raise InvalidInputError(
                f"The network has outputs of shape {self.network.stack.output_shape()}, and the target needs "
                f"{target.n_outputs * self.network.loss.n_outputs(1)} output units."
            )
        if scaling is not None and (target.classes or len(scaling.center) != target.n_columns):
            raise InvalidInputError("The scaling of the target is that of another number of columns to predict.")
        if not isinstance(self.target_name, str) or not isinstance(self.notes, dict):
            raise InvalidInputError("target_name is a text, and notes is a dictionary.")
        names = self.notes.get("label_names", [str(label) for label in target.classes])
        if not _are_texts(names) or len(names) != len(target.classes):
            raise InvalidInputError(f"The notes name {names!r:.80} as the labels of {len(target.classes)} classes.")
        if table is not None:
            if not table.columns:
                raise InvalidInputError("The table preprocessor of the model has learnt no columns.")
            width = (len(table.feature_names),)
            if self.network.stack.is_built and self.network.stack.input_shape() != width:
                raise InvalidInputError(
                    f"The table gives {width[0]} numbers a row, and the network takes rows of shape "
                    f"{self.network.stack.input_shape()}."
                )
            if self.target_name and any(
                plan.name == self.target_name and plan.kind != "dropped" for plan in table.columns
            ):
                raise InvalidInputError(f"The column {self.target_name!r} is both an input and what is predicted.")

    def inputs(self, data: Any) -> Any:
        """Return the network's inputs for a frame (with or without the target column), a dataset, or an array."""
        if isinstance(data, Dataset):
            return data.X
        if self.table is None:
            return data
        if not hasattr(data, "columns"):
            raise InvalidInputError(
                "This model takes a table with named columns; give a data frame, or read one with read_table."
            )
        return self.table.transform(data)

    def outputs(self, data: Any) -> Array:
        """Return class probabilities (rows, 1 or classes), or predicted numbers in their own units."""
        return self.outputs_of(self.inputs(data))

    def outputs_of(self, inputs: Any, sample_weight: Array | None = None) -> Array:
        """Return the same for what :meth:`inputs` gave; ``sample_weight`` is that of :meth:`NeuralNetwork.predict`."""
        outputs = self.network.loss.predictions_of(self.network.predict(inputs, sample_weight))
        return outputs if self.scaling is None else self.scaling.undo(outputs)

    def predict(self, data: Any) -> Array:
        """Return the label of each row, one of those of the training data, or its number in the units of the target."""
        return self.target.decode(self.outputs(data))

    def predict_labels(self, data: Any) -> Array:
        """Return the predicted label of each row; raises InvalidInputError for a model that predicts numbers."""
        if not self.target.classes:
            raise InvalidInputError("This model predicts numbers, not classes; use predict.")
        return self.predict(data)

    def predict_proba(self, data: Any) -> Array:
        """Return the class probabilities as float64, one column per class, in the order of ``target.classes``.

        Each row sums to 1, up to rounding in float64.
        """
        if not self.target.classes:
            raise InvalidInputError("This model predicts numbers and has no class probabilities; use predict.")
        self.network.check_gives_probabilities()
        return normalized_probabilities(self.outputs(data))

    def __repr__(self) -> str:
        named = f"{self.target_name!r}, " if self.target_name else ""
        return f"Model({named}task={self.target.task}, {self.network!r})"

    def evaluate(self, data: Any, y: Any = None, sample_weight: Array | None = None) -> dict[str, float]:
        """Return the task's metrics for a dataset, or for rows with their true targets ``y``, in the target's units."""
        if isinstance(data, Dataset):
            codes, sample_weight = self.codes_of(data), data.sample_weight
        elif y is None:
            raise InvalidInputError("To measure a model on rows, give their true targets as well: evaluate(rows, y).")
        else:
            codes = self.target.encode(y)
        outputs = self.outputs_of(self.inputs(data), sample_weight)
        weights = None if sample_weight is None else weights_of_rows(as_weights(sample_weight, len(outputs)))
        return measure(self.target.task, codes, outputs, weights)

    def codes_of(self, data: Dataset) -> Array:
        """Return the dataset's targets with the model's own codes for its classes."""
        if data.y is None or data.target is None:
            raise InvalidInputError(_NO_TARGETS)
        if data.target.classes and data.target.classes != self.target.classes:
            return self.target.encode(data.target.labels_of(data.y))
        return data.y

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file, whole or not at all.

        The seconds of the epochs are left out of the history, so that the same training gives the same bytes.
        """
        history = self.network.history.to_dict()
        history.pop("seconds", None)
        metadata: dict[str, Any] = {
            "network": self.network.describe(),
            "history": history,
            "target": self.target.to_dict(),
            "table": None if self.table is None else self.table.to_dict(),
            "scaling": None if self.scaling is None else [list(self.scaling.center), list(self.scaling.scale)],
            "target_name": self.target_name,
            "notes": self.notes,
        }
        write_model_file(path, "model", metadata, self.network.stack.read_arrays())

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Read a file that :meth:`save` wrote."""
        metadata, arrays = read_model_file(path, "model", "network")
        if "target" not in metadata:  # files of version 0.1 have the same kind for both
            raise ModelFileError(f"'{path}' holds a bare network; read it with NeuralNetwork.load.")
        check_keys(metadata, ("network", "history", "table", "scaling", "target_name", "notes"), "a model")
        network = NeuralNetwork.from_description(metadata["network"], arrays, custom_objects)
        network.history = read_history(metadata["history"])
        table, scaling = metadata["table"], metadata["scaling"]
        try:
            return cls(
                network,
                Target.from_dict(metadata["target"]),
                None if table is None else TablePreprocessor.from_dict(table),
                None if scaling is None else TargetScaling(*map(tuple, scaling)),
                metadata["target_name"],
                metadata["notes"],
            )
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"'{path}' is damaged: {error}") from error


@checked
def evaluate_model(model: NeuralNetwork | Model, dataset: Dataset) -> tuple[Array, Array]:
    """Return the predictions for a dataset and its true targets, as the lecture notes do.

    Both are as the metrics take them: ``accuracy(actual, predictions)``. ``model.evaluate(dataset)`` returns the loss
    and the metrics themselves.
    """
    if isinstance(model, NeuralNetwork):
        target = model.target or dataset.target
        if target is None:
            raise InvalidInputError(_NO_TARGETS)
        model = Model(model, target)
    return model.outputs(dataset), model.codes_of(dataset)
