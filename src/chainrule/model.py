"""A trained network with its preprocessing and the meaning of its outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from chainrule.calibration import Calibration, temper
from chainrule.data.dataset import Dataset
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.data.weights import as_weights, weights_of_rows
from chainrule.errors import InvalidInputError, ModelFileError
from chainrule.files.model_file import check_keys, read_model_file, write_model_file
from chainrule.files.network_file import read_history
from chainrule.losses import MultiQuantile
from chainrule.metrics import METRICS
from chainrule.metrics.inputs import normalized_probabilities
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.rounding import safe_deviation
from chainrule.types import Array, Task

__all__ = ["REPORTED_METRICS", "Model", "TargetScaling", "evaluate_model", "measure"]

_NO_TARGETS = "This dataset has no targets y to compare the predictions with."

#: The metrics in the evaluation of a model for each task, the main metric first.
#:
#: :meta hide-value:
REPORTED_METRICS: dict[Task, tuple[str, ...]] = {
    "binary": ("accuracy", "roc_auc", "log_loss"),
    "multiclass": ("accuracy", "balanced_accuracy", "log_loss"),
    "multilabel": ("mean_squared_error", "mean_absolute_error"),
    "regression": ("r2", "root_mean_squared_error", "mean_absolute_error"),
}


def measure(task: Task, y: Array, outputs: Array, sample_weight: Array | None = None) -> dict[str, float]:
    """Return the metrics of the task for class codes or numbers ``y`` and the outputs of a model."""
    return {name: METRICS[name](y, outputs, sample_weight) for name in REPORTED_METRICS[task]}


def _are_texts(values: Any) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(value, str) for value in values)


@dataclass(frozen=True)
class TargetScaling:
    """The standardisation ``(y - center) / scale`` of numeric targets, with a center and a scale per column."""

    center: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = [*self.center, *self.scale]
        if not all(isinstance(n, int | float) and not isinstance(n, bool) and abs(n) < np.inf for n in numbers):
            raise InvalidInputError("The scaling of the target must consist of finite numbers.")
        if len(self.center) != len(self.scale) or not self.center or min(self.scale) <= 0:
            raise InvalidInputError("The scaling of the target needs a center and a scale above 0 for each column.")

    @classmethod
    def learn(cls, y: Array) -> Self:
        """Return the mean and the standard deviation of each column; the scale is 1 if a column is constant."""
        columns = np.asarray(y).reshape(len(y), -1)
        return cls(tuple(columns.mean(axis=0, dtype=np.float64).tolist()), tuple(safe_deviation(columns).tolist()))

    def apply(self, y: Array) -> Array:
        """Return standardised targets in the shape of ``y``."""
        columns = np.asarray(y, np.float64).reshape(len(y), -1)
        return ((columns - self.center) / self.scale).reshape(np.shape(y))

    def undo(self, outputs: Array) -> Array:
        """Return outputs of a network, whose last axis are the columns, in the units of the target, as float64."""
        return np.asarray(outputs, np.float64) * self.scale + self.center


@checked
@dataclass(eq=False, repr=False)
class Model:
    """A trained network with its preprocessing and the meaning of its outputs, which a model file contains.

    Attributes
    ----------
    network
        The network, which maps numbers to numbers.
    target
        The task and the classes.
    table
        The preprocessor of the columns of a table; None for a network whose inputs are arrays.
    scaling
        The standardisation of the target of a regression; None otherwise.
    target_name
        The name of the target column; empty if the data were not a table.
    notes
        Further information about the training data, such as their name.
    calibration
        The temperature or the errors from held-out rows; None without held-out rows and for uncalibrated classes.

    Examples
    --------
    >>> from chainrule import build_network, load_dataset
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(8,), epochs=30, learning_rate=0.01, seed=0).fit(moons)
    >>> model = Model(network, moons.target)
    >>> model.predict([[-1.0, 1.0], [2.0, -0.5]]).tolist(), model.predict_proba([[-1.0, 1.0]]).shape
    ([0, 1], (1, 2))
    """

    network: NeuralNetwork
    target: Target
    table: TablePreprocessor | None = None
    scaling: TargetScaling | None = None
    target_name: str = ""
    notes: dict[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInputError if the parts do not fit together, as in a damaged file."""
        target, scaling, table = self.target, self.scaling, self.table
        if self.network.stack.is_built and not self.network.suits(target):
            raise InvalidInputError(
                f"The network has outputs of shape {self.network.stack.output_shape()}, but the target needs "
                f"{target.n_outputs * self.network.loss.n_outputs(1)} output units."
            )
        if scaling is not None and (target.classes or len(scaling.center) != target.n_columns):
            raise InvalidInputError("The scaling of the target has another number of columns than the target.")
        if not isinstance(self.target_name, str) or not isinstance(self.notes, dict):
            raise InvalidInputError("target_name must be a text, and notes must be a dictionary.")
        names = self.notes.get("label_names", [str(label) for label in target.classes])
        if not _are_texts(names) or len(names) != len(target.classes):
            raise InvalidInputError(f"label_names is {names!r:.80}; it must have {len(target.classes)} texts.")
        calibration = self.calibration
        if calibration is not None and len(calibration.scores) != (0 if target.classes else target.n_columns):
            raise InvalidInputError("The calibration of the model has scores for another number of targets.")
        if table is not None:
            if not table.columns:
                raise InvalidInputError("The table preprocessor of the model is not fitted; call fit first.")
            width = (len(table.feature_names),)
            if self.network.stack.is_built and self.network.stack.input_shape() != width:
                raise InvalidInputError(
                    f"The table has {width[0]} features, but the network has inputs of shape "
                    f"{self.network.stack.input_shape()}."
                )
            if self.target_name and any(
                plan.name == self.target_name and plan.kind != "dropped" for plan in table.columns
            ):
                raise InvalidInputError(f"The column {self.target_name!r} is both an input and the target.")

    def inputs(self, data: Any) -> Any:
        """Return the inputs of the network for a frame (with or without the target), a dataset, or an array."""
        if isinstance(data, Dataset):
            return data.X
        if self.table is None:
            return data
        if not hasattr(data, "columns") and not self.table.takes_arrays:
            raise InvalidInputError(
                "This model needs a table with named columns; give a data frame, or read one with read_table."
            )
        return self.table.encode(data)

    def outputs(self, data: Any) -> Array:
        """Return class probabilities (rows, 1 or classes), or predicted numbers in the units of the target."""
        return self.outputs_of(self.inputs(data))

    def outputs_of(self, inputs: Any, sample_weight: Array | None = None) -> Array:
        """Return :meth:`outputs` for the result of :meth:`inputs`; for weights see :meth:`NeuralNetwork.predict`."""
        return self.predictions_of(self.network.predict(inputs, sample_weight))

    def predictions_of(self, outputs: Array) -> Array:
        """Return :meth:`outputs` for outputs of the network."""
        predictions = self.network.loss.predictions_of(outputs)
        if self.temperature != 1:
            return temper(predictions.astype(np.float64), self.temperature).astype(predictions.dtype)
        return predictions if self.scaling is None else self.scaling.undo(predictions)

    @property
    def temperature(self) -> float:
        """The divisor of the logits of classes; 1 without calibration."""
        return 1.0 if self.calibration is None else self.calibration.temperature

    def predict(self, data: Any) -> Array:
        """Return the predicted label of each row, or the predicted number in the units of the target."""
        return self.target.decode(self.outputs(data))

    def predict_labels(self, data: Any) -> Array:
        """Return the predicted label of each row. Raises InvalidInputError for a regression."""
        if not self.target.classes:
            raise InvalidInputError("This model predicts numbers, not classes; use predict.")
        return self.predict(data)

    def predict_proba(self, data: Any) -> Array:
        """Return the class probabilities as float64, with one column per class in the order of ``target.classes``.

        The sum of each row is 1 up to rounding in float64. For several labels, each column is the probability of one.
        """
        if self.target.task == "regression":
            raise InvalidInputError("This model predicts numbers and has no class probabilities; use predict.")
        self.network.check_gives_probabilities()
        if self.target.task == "multilabel":
            return self.outputs(data).astype(np.float64)
        return normalized_probabilities(self.outputs(data))

    def predict_interval(self, data: Any, alpha: float = 0.1) -> Array:
        """Return the limits between which the true value of each row lies with probability 1 - alpha.

        The intervals are computed from the errors on the held-out rows of the training, or of :meth:`calibrated`. They
        contain about 1 - alpha of the values of new rows that have the same distribution as the training rows.

        Parameters
        ----------
        data
            As for :meth:`predict`.
        alpha
            The share of the true values that may lie outside the intervals.

        Returns
        -------
        Array
            The lower and the upper limits: shape (rows, 2), or (rows, targets, 2) for several targets.
        """
        return self.intervals_of(self.network.predict(self.inputs(data)), alpha)

    def intervals_of(self, outputs: Array, alpha: float) -> Array:
        """Return :meth:`predict_interval` for outputs of the network."""
        if self.target.task != "regression":
            raise InvalidInputError(
                "This model predicts classes, which have no intervals; leave out the interval, and use the "
                "probabilities of the classes (in Python predict_proba)."
            )
        if self.calibration is None:
            raise InvalidInputError(
                "This model was trained without held-out rows, which intervals are computed from; train it with "
                "validation rows (--validation-size 0.2), or give rows that it was not trained on to Model.calibrated."
            )
        loss = self.network.loss
        limits = self.calibration.interval(loss.band_of(np.asarray(outputs, np.float64)), alpha)
        limits = limits if self.scaling is None else self.scaling.undo(limits)
        if loss.targets is not None:  # counts are not negative
            limits = np.clip(limits, loss.targets.low, loss.targets.high)
        return np.moveaxis(limits[..., 0] if self.target.n_columns == 1 else limits, 0, -1)

    def predict_quantiles(self, data: Any) -> Array:
        """Return the quantiles that a network with the loss :class:`MultiQuantile` predicts, in increasing order.

        The shape is (rows, quantiles), or (rows, targets, quantiles) for several targets.
        """
        return self.quantiles_of(self.network.predict(self.inputs(data)))

    def quantiles_of(self, outputs: Array) -> Array:
        """Return :meth:`predict_quantiles` for outputs of the network."""
        loss = self.network.loss
        if not isinstance(loss, MultiQuantile):
            raise InvalidInputError(
                f"The loss {type(loss).__name__} predicts no quantiles; train with a loss such as "
                "'multi_quantile:quantiles=(0.05,0.5,0.95)'."
            )
        quantiles = np.moveaxis(loss.quantiles_of(np.asarray(outputs, np.float64)), -1, 0)
        quantiles = quantiles if self.scaling is None else self.scaling.undo(quantiles)
        return np.moveaxis(quantiles[..., 0] if self.target.n_columns == 1 else quantiles, 0, -1)

    def calibrated(self, data: Any, y: Any = None, sample_weight: Array | None = None) -> Self:
        """Return this model, calibrated by rows that the network was not trained on.

        For classes, the logits are divided by a temperature, with which the log loss on these rows is smallest; the
        predicted classes stay the same. For a regression, :meth:`predict_interval` uses the errors on these rows.

        Parameters
        ----------
        data, y, sample_weight
            A dataset, or rows with their true targets and their weights, as for :meth:`evaluate`.
        """
        codes, weights = self._targets_of(data, y, sample_weight)
        if self.target.task == "multilabel":
            raise InvalidInputError(
                "Models of classes and of numbers can be calibrated; this model predicts several labels."
            )
        if self.target.classes:
            self.network.check_gives_probabilities()
        elif self.scaling is not None:
            codes = self.scaling.apply(codes)
        return replace(
            self, calibration=Calibration.learn(self.network, self.target, self.inputs(data), codes, weights)
        )

    def __repr__(self) -> str:
        named = f"{self.target_name!r}, " if self.target_name else ""
        return f"Model({named}task={self.target.task}, {self.network!r})"

    def evaluate(self, data: Any, y: Any = None, sample_weight: Array | None = None) -> dict[str, float]:
        """Return the metrics of the task for a dataset, or for rows with their true targets ``y``."""
        codes, sample_weight = self._targets_of(data, y, sample_weight)
        outputs = self.outputs_of(self.inputs(data), sample_weight)
        weights = None if sample_weight is None else weights_of_rows(as_weights(sample_weight, len(outputs)))
        return measure(self.target.task, codes, outputs, weights)

    def _targets_of(self, data: Any, y: Any, sample_weight: Array | None) -> tuple[Array, Array | None]:
        """Return the targets as numbers or class codes, and the weights, of a dataset or of rows with targets ``y``."""
        if isinstance(data, Dataset):
            return self.codes_of(data), data.sample_weight
        if y is None:
            raise InvalidInputError("y is missing; give the true targets of the rows as the second argument.")
        return self.target.encode(y), sample_weight

    def codes_of(self, data: Dataset) -> Array:
        """Return the targets of a dataset as numbers, or as class codes of this model."""
        if data.y is None or data.target is None:
            raise InvalidInputError(_NO_TARGETS)
        if data.target.classes and data.target.classes != self.target.classes:
            return self.target.encode(data.target.labels_of(data.y))
        return data.y

    def save(self, path: str | Path) -> None:
        """Write the model to one safetensors file atomically.

        The history is written without the seconds of the epochs, so that the same training gives the same bytes.
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
            "calibration": None if self.calibration is None else self.calibration.to_dict(),
        }
        write_model_file(path, "model", metadata, self.network.stack.read_arrays())

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Return the model in a file written by :meth:`save`."""
        metadata, arrays = read_model_file(path, "model", "network")
        if "target" not in metadata:  # in version 0.1, models and networks had the same kind
            raise ModelFileError(f"'{path}' contains a network without a table; read it with NeuralNetwork.load.")
        check_keys(metadata, ("network", "history", "table", "scaling", "target_name", "notes"), "a model")
        network = NeuralNetwork.from_description(metadata["network"], arrays, custom_objects)
        network.history = read_history(metadata["history"])
        table, scaling = metadata["table"], metadata["scaling"]
        calibration = metadata.get("calibration")  # since version 0.2
        try:
            return cls(
                network,
                Target.from_dict(metadata["target"]),
                None if table is None else TablePreprocessor.from_dict(table),
                None if scaling is None else TargetScaling(*map(tuple, scaling)),
                metadata["target_name"],
                metadata["notes"],
                None if calibration is None else Calibration.from_dict(calibration),
            )
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"'{path}' is damaged: {error}") from error


@checked
def evaluate_model(model: NeuralNetwork | Model, dataset: Dataset) -> tuple[Array, Array]:
    """Return the predictions for a dataset and its true targets, as in the lecture notes.

    Both can be passed to metrics: ``accuracy(actual, predictions)``. ``model.evaluate(dataset)`` returns the loss and
    the metrics.

    >>> from chainrule import build_network, load_dataset
    >>> from chainrule.metrics import accuracy
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(8,), epochs=30, learning_rate=0.01, seed=0).fit(moons)
    >>> predictions, actual = evaluate_model(network, moons)
    >>> accuracy(actual, predictions) > 0.8
    True
    """
    if isinstance(model, NeuralNetwork):
        target = model.target or dataset.target
        if target is None:
            raise InvalidInputError(_NO_TARGETS)
        model = Model(model, target)
    return model.outputs(dataset), model.codes_of(dataset)
