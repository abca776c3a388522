"""The model and the rows of an explanation, as columns of the table and as inputs of the network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self, cast

import numpy as np
from scipy.special import log_expit, log_softmax, softmax

from chainrule.calibration import temper
from chainrule.data.dataset import Dataset
from chainrule.data.table import as_frame
from chainrule.data.target import Target
from chainrule.data.weights import weights_of_rows
from chainrule.engines.input_gradient import ProgramGradient
from chainrule.errors import DataError, InvalidInputError, NotBuiltError, listed, nearest_name, shown
from chainrule.formulas import TraceError
from chainrule.metrics import METRICS, Metric, default_metrics, find_metric
from chainrule.metrics.inputs import class_probabilities
from chainrule.metrics.registry import MetricFunction
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.program import Program
from chainrule.types import Array, IntArray, is_sparse

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Column", "Explanation", "Output", "Rows", "as_model", "choose_metric"]

ColumnKind = Literal["number", "category", "date"]


class Explanation:
    """The base class of results, which are dataclasses; its ``repr`` has the shapes of the arrays."""

    def __repr__(self) -> str:
        values = {field.name: getattr(self, field.name) for field in fields(cast("Any", self))}
        parts = (
            f"{name}=<array {value.shape}>" if isinstance(value, np.ndarray) else f"{name}={shown(value)}"
            for name, value in values.items()
        )
        return f"{type(self).__name__}({', '.join(parts)})"


class Column(NamedTuple):
    """A column of the table, with the indices (``places``) of the inputs of the network that are made from it.

    The first ``n_values`` of these inputs are numbers of the column; the others are 0 or 1, such as the indicator of
    missing cells.
    """

    name: str
    kind: ColumnKind
    places: slice
    n_values: int


class Output(NamedTuple):
    """The number that is explained in each row: ``sign * prediction + offset`` for one column of the predictions."""

    columns: IntArray
    sign: int = 1
    offset: int = 0

    def of(self, predictions: Array) -> Array:
        """Return the number of each row as float64."""
        chosen = np.asarray(np.take_along_axis(predictions, self.columns[:, None], axis=1)[:, 0], np.float64)
        return self.sign * chosen + self.offset


def as_model(subject: Any) -> Model:
    """Return the model of a network, an estimator, or the result of a run."""
    if isinstance(subject, Model):
        return subject
    if isinstance(subject, NeuralNetwork):
        n_outputs = subject.stack.output_shape()[-1] // subject.loss.n_outputs(1)
        return Model(subject, subject.target or Target("regression", n_columns=n_outputs))
    if hasattr(type(subject), "model_"):
        try:
            found = subject.model_
        except AttributeError as error:
            raise NotBuiltError(f"{error} Call fit first.") from error
    else:
        found = getattr(subject, "model", None)
    if not isinstance(found, Model):
        raise InvalidInputError(
            "The model must be a NeuralNetwork, a Model, a fitted MLPClassifier or MLPRegressor, or the result of "
            f"train, not {type(subject).__name__}; load_run returns the model in a run folder."
        )
    return found


def choose_metric(given: str | Metric | MetricFunction | None, model: Model) -> Metric:
    """Return a metric by any of its names; by default that of the task, accuracy or R2."""
    task = model.target.task
    metric = default_metrics(task)[0] if given is None else find_metric(given)
    if task == "regression" and model.target.n_columns == 1 and task not in metric.tasks:
        known = listed([one.name for one in METRICS.values() if task in one.tasks])
        raise InvalidInputError(
            f"The metric {metric.name} is for classes, and the model predicts numbers; give one of {known}."
        )
    return metric


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of a table, as inputs of the network, with their targets if they are needed.

    Attributes
    ----------
    model
        The model.
    columns
        The columns of the table that the network uses. The columns of an array are its features.
    inputs
        The inputs of the network, a dense array (rows, inputs).
    frame
        The rows as they were given, if they are a table.
    codes
        The targets as class codes or numbers; None if they were not given.
    weights
        The weights of the rows; None without weights.
    """

    model: Model
    columns: tuple[Column, ...]
    inputs: Array
    frame: pd.DataFrame | None = None
    codes: Array | None = None
    weights: Array | None = None

    @classmethod
    def of(cls, subject: Any, X: Any = None, y: Any = None, *, needs_targets: bool = False) -> Self:
        """Return rows of the same kind as the training rows of a model; those of a run are its test rows by default.

        Without ``y``, the targets are those of a :class:`Dataset`, or the column of the target in a table.
        """
        if isinstance(subject, cls):
            return subject
        model = as_model(subject)
        if X is None:
            X, y = getattr(subject, "test_rows", (None, None))
        if X is None:
            raise InvalidInputError("X is missing; give rows with the columns of the training data.")
        table, frame, weights = model.table, None, None
        if isinstance(X, Dataset):
            dataset, weights = X, weights_of_rows(X.sample_weight)
        elif table is None:
            dataset = Dataset(X)
        else:
            frame = as_frame(X)
            if y is None and model.target_name in frame.columns:
                y = frame[model.target_name]
            dataset = Dataset(model.inputs(frame), feature_names=table.feature_names)
        codes = None
        if needs_targets:
            if y is None and (not isinstance(X, Dataset) or X.y is None):
                raise InvalidInputError("y is missing; give the true targets of the rows.")
            codes = model.codes_of(X) if isinstance(X, Dataset) and y is None else model.target.encode(y)
            if len(codes) != dataset.n_rows:
                raise DataError(f"There are {len(codes)} targets for {dataset.n_rows} rows; give one for each row.")
        inputs = model.network.stack.check_inputs(dataset.X)
        inputs = inputs.toarray() if is_sparse(inputs) else inputs.reshape(dataset.n_rows, -1)
        return cls(model, _columns_of(model, dataset.feature_names), inputs, frame, codes, weights)

    def take(self, rows: IntArray) -> Self:
        """Return some of the rows."""
        frame = None if self.frame is None else self.frame.iloc[rows]
        codes = None if self.codes is None else self.codes[rows]
        return replace(
            self, inputs=self.inputs[rows], frame=frame, codes=codes,
            weights=None if self.weights is None else self.weights[rows],
        )  # fmt: skip

    def sample(self, max_rows: int | None, seed: int) -> Self:
        """Return a random sample of at most ``max_rows`` rows, in their order."""
        return self.take(self.sampled(max_rows, seed))

    def sampled(self, max_rows: int | None, seed: int) -> IntArray:
        """Return the indices of the rows of :meth:`sample`."""
        n_rows = len(self.inputs)
        if max_rows is None or n_rows <= max_rows:
            return np.arange(n_rows)
        return np.sort(np.random.default_rng(seed).choice(n_rows, max_rows, replace=False))

    def choose(self, names: Sequence[str] | str | None) -> tuple[Column, ...]:
        """Return the columns with these names; all columns for None."""
        if names is None:
            return self.columns
        by_name = {column.name: column for column in self.columns}
        chosen = [names] if isinstance(names, str) else [str(name) for name in names]
        for name in chosen:
            if name not in by_name:
                hint = nearest_name(name, by_name)
                raise InvalidInputError(
                    f"The model uses no column {name!r}.{hint or f' Its columns are {listed(list(by_name)[:20])}.'}"
                )
        return tuple(by_name[name] for name in chosen)

    def values(self, column: Column) -> Array:
        """Return the cells of a column: numbers, dates as datetime64 in UTC, or the texts of categories."""
        if self.model.table is None:
            return self.inputs[:, column.places.start]
        if self.frame is None:
            raise InvalidInputError(
                f"The values of the column {column.name!r} are needed, and this Dataset has only the inputs of the "
                "network; give the table."
            )
        values: Array = self.model.table.read(self.frame)[column.name].to_numpy()
        return values

    def outputs(self, inputs: Array) -> Array:
        """Return the predictions for inputs of the network: probabilities, or numbers in the units of the target."""
        return self.model.outputs_of(self._shaped(inputs))

    def score(self, metric: Metric, inputs: Array) -> float:
        """Return a metric of the predictions for inputs in place of those of the rows."""
        assert self.codes is not None
        return metric(self.codes, self.outputs(inputs), self.weights)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the predictions: of the class of a binary classification, of all classes, or of the numbers."""
        target = self.model.target
        if target.classes:
            names = self.model.notes.get("label_names") or [str(label) for label in target.classes]
            return tuple(names[1:] if target.task == "binary" else names)
        name = self.model.target_name or "prediction"
        return (name,) if target.n_columns == 1 else tuple(f"{name} {k + 1}" for k in range(target.n_columns))

    def choose_output(self, given: Any) -> Output:
        """Return the output for a class, or for one of several targets of a regression.

        By default, it is the second class of two, and the predicted class of each row for more classes.
        """
        target, n_rows = self.model.target, len(self.inputs)
        if not target.classes:
            if given is None and target.n_columns > 1:
                raise InvalidInputError(
                    f"The model predicts {target.n_columns} numbers; give the output, from 0 to {target.n_columns - 1}."
                )
            place = 0 if given is None else given
            if type(place) is not int or not 0 <= place < target.n_columns:
                raise InvalidInputError(f"The output is {given!r}; give a number from 0 to {target.n_columns - 1}.")
            return Output(np.full(n_rows, place))
        if given is None and target.task != "binary":
            predicted = class_probabilities(self.model.network.predict(self._shaped(self.inputs)))
            return Output(predicted.argmax(axis=1))
        place = 1
        if given is not None:
            texts = [str(label) for label in target.classes]
            if str(given) not in texts:
                raise InvalidInputError(f"The output is {given!r}, and the classes are {listed(texts[:20])}.")
            place = texts.index(str(given))
        has_one_column = self.model.network.stack.output_shape()[-1] == self.model.network.loss.n_outputs(1)
        if has_one_column and target.task == "binary":
            is_probability = not self.model.network.loss.expects_scores
            return Output(np.zeros(n_rows, np.int64), *((1, 0) if place else (-1, int(is_probability))))
        return Output(np.full(n_rows, place))

    def gradient(self, inputs: Array, output: Output) -> tuple[Array, Array]:
        """Return the number that is explained in each row, and its gradient with respect to the inputs, as float64.

        The gradient is that of :meth:`Model.outputs_of`.
        """
        network, scaling = self.model.network, self.model.scaling
        link = _point_predictions(self.model)
        scale = np.ones(1) if scaling is None else np.array(scaling.scale)
        sizes = scale[output.columns] * output.sign if len(scale) > 1 else np.full(len(inputs), scale[0] * output.sign)
        predictions: list[Array] = []

        def error_of(outputs: Array, rows: slice) -> Array:
            found = outputs if link is None else link.forward(outputs)
            predictions.append(found)
            error = np.zeros_like(found)
            error[np.arange(len(found)), output.columns[rows]] = sizes[rows]
            return error if link is None else link.backward(error)

        _, gradient = network.engine.input_gradient(network.stack, self._shaped(inputs), error_of)
        found = np.concatenate(predictions)
        values = output.of(found if scaling is None else scaling.undo(found))
        return values, gradient.reshape(len(inputs), -1).astype(np.float64)

    @property
    def targets(self) -> Array:
        """The targets as the loss of the network takes them."""
        model, codes = self.model, self.codes
        assert codes is not None
        network, n_outputs = model.network, model.network.stack.output_shape()[-1]
        y = codes if model.scaling is None else model.scaling.apply(codes)
        n_targets = n_outputs // network.loss.n_outputs(1)
        targets: Array = model.target.as_outputs(y, n_targets, network.stack.dtype)
        return targets

    def loss_gradient(self, inputs: Array, targets: Array) -> Array:
        """Return the gradient of the loss of each row with respect to its inputs.

        For an ensemble, it is the loss of the mean prediction. The gradient is finite for confident predictions,
        because the loss is computed from the logits.
        """
        stack, loss = self.model.network.stack, self.model.network.loss
        head = stack.split_head(loss)
        is_mean_of_classes = head.has_mean_logits and self.model.target.classes
        if head.average is not None and not is_mean_of_classes:

            def error_of(outputs: Array, rows: slice) -> Array:
                return np.asarray(loss.derivative(targets[rows], outputs) * len(outputs), outputs.dtype)

            n_layers = len(stack)
        else:

            def error_of(outputs: Array, rows: slice) -> Array:
                weights = np.ones(len(outputs), outputs.dtype)
                if is_mean_of_classes:  # -log(mean of p_k) has the gradient of -log p_k times p_k / sum of p_k
                    shares = softmax(_log_likelihoods(outputs, targets[rows]), axis=1)
                    weights = (shares * head.n_members).astype(outputs.dtype)
                error = np.empty(outputs.shape, outputs.dtype)
                head.evaluate(targets[rows], outputs, weights, error)
                return error

            n_layers = head.n_body_layers
        engine = self.model.network.engine
        _, gradient = engine.input_gradient(stack, self._shaped(inputs), error_of, n_layers=n_layers)
        return gradient.reshape(len(inputs), -1)

    def _shaped(self, inputs: Array) -> Array:
        stack = self.model.network.stack
        return inputs.astype(stack.dtype, copy=False).reshape(len(inputs), *stack.input_shape())


def _columns_of(model: Model, feature_names: Sequence[str]) -> tuple[Column, ...]:
    if model.table is None:
        return tuple(Column(name, "number", slice(k, k + 1), 1) for k, name in enumerate(feature_names))
    columns, first = [], 0
    for plan in model.table.columns:
        if plan.kind != "dropped":
            end = first + len(plan.output_names)
            columns.append(Column(plan.name, plan.kind, slice(first, end), len(plan.numbers)))
            first = end
    return tuple(columns)


def _point_predictions(model: Model) -> ProgramGradient | None:
    """Return the operations from the outputs of a network to the predictions of the model; None if they are the same.

    Labels that are computed from scores, as with a hinge loss, have no gradient; the scores are explained instead.
    """
    network, temperature = model.network, model.temperature
    if network.loss.expects_scores:
        return None
    program = Program(network.stack.output_shape()[-1], is_training=False)
    try:
        predictions = network.loss.lower(program, program.input)
        if temperature != 1:
            predictions = program.map(lambda p: temper(p, temperature), predictions, name="temper")
        program.layer_values.append(predictions)
    except TraceError:
        return None
    return ProgramGradient(program) if program.operations else None


def _log_likelihoods(logits: Array, targets: Array) -> Array:
    """Return log p of the true class for each member of an ensemble, from logits (rows, members, outputs)."""
    z = np.asarray(logits, np.float64)
    if z.shape[-1] == 1:
        return np.asarray(log_expit(np.where(targets[:, :1] > 0.5, z[..., 0], -z[..., 0])))
    return np.asarray((log_softmax(z, axis=-1) * targets[:, None, :]).sum(axis=-1))
