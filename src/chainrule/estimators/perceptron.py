"""The base class of the estimators: one fit for classes and numbers, and the fitted attributes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from chainrule.calibration import Calibration
from chainrule.callbacks import Callback, EarlyStopping, ReduceOnPlateau
from chainrule.callbacks.interrupt import StopOnInterrupt
from chainrule.data.dataset import Dataset
from chainrule.data.inputs import is_frame
from chainrule.data.table import TablePreprocessor, as_frame, check_column_names, has_column_names
from chainrule.data.target import plain_targets
from chainrule.errors import InvalidInputError, check_one_of, shown, warn
from chainrule.estimators.outputs import Outputs
from chainrule.estimators.parameters import NewParameters, SklearnParameters
from chainrule.estimators.presets import (
    Problem,
    check_tabular,
    draw_parameters,
    hidden_units,
    loss_of,
    plain,
    solver_of,
    tabular,
)
from chainrule.estimators.scoring import MeasureRows, metrics_for, without_scorers
from chainrule.estimators.sklearn_callbacks import CallbackSupport, SklearnCallbacks, with_callbacks
from chainrule.history import History
from chainrule.layers import DenseLayer, Layer
from chainrule.layers.dense import AffineLayer
from chainrule.metrics import Metric, lower_is_better
from chainrule.model import Model
from chainrule.named import also_called, checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.schedules import Schedule
from chainrule.settings import check_settings
from chainrule.types import Array, Inputs

__all__ = ["HELD_OUT", "MultilayerPerceptron", "available_if", "takes_batches", "with_attributes"]

Class = TypeVar("Class", bound=type)

# scikit-learn's learning_rate="adaptive" divides by 5, and stops at this rate.
ADAPTIVE_FACTOR, LOWEST_RATE = 0.2, 1e-6


HELD_OUT = (
    "rows that the network is not trained on; give X_val and y_val to fit, or set early_stopping=True or "
    "preset='tabular'"
)

# The fitted attributes of both estimators, for their docstrings.
_ATTRIBUTES = """\
network_
    The :class:`NeuralNetwork`, with methods such as ``summary`` and ``save``.
model_
    The :class:`Model`: the network with the meaning of its outputs, which can be saved, exported and served.
coefs_
    The weights of the dense layers, of shape (inputs, units); not available with ``preset="tabular"``.
intercepts_
    The biases of the dense layers.
history_
    Loss, penalty, metrics, learning rate and seconds of every epoch, also of earlier fits with ``warm_start``.
loss_curve_
    Loss plus penalty of every epoch.
loss_
    The last element of ``loss_curve_``.
best_loss_
    The smallest element of ``loss_curve_``; None with ``early_stopping``.
calibration_
    The :class:`~chainrule.calibration.Calibration` from the rows held out for validation, or with
    ``preset="tabular"`` from the out-of-fold predictions: the errors of a regressor, or the ``temperature`` of a
    classifier with ``calibrate``. None if there are no such rows.
validation_loss_curve_
    The loss on the validation rows after every epoch; None if there are none. With ``preset="tabular"``, each row
    is predicted by the members of the ensemble that were not trained on it.
validation_scores_
    The score on the validation rows after every epoch; None if there are none.
best_validation_score_
    The largest of ``validation_scores_``; None if there are no validation rows.
n_iter_
    The number of epochs of the last fit.
best_iter_
    The epoch of the last fit, counted from 1, with the best validation score, or without ``early_stopping`` with
    the smallest loss. With ``preset="tabular"``, the one with the smallest validation loss; 0 is the linear model.
stop_reason_
    The reason why the last fit stopped before ``max_iter`` epochs; None if it did not.
t_
    The number of rows trained on, over all epochs.
n_features_in_
    The number of input columns.
feature_names_in_
    The names of the input columns, if X was a frame.
n_layers_
    The number of layers, including the input and the output layer.
n_outputs_
    The number of outputs.
out_activation_
    The activation of the outputs: "logistic", "softmax", "identity", ..."""


def with_attributes(owner: Class) -> Class:
    """Replace ``{attributes}`` in the docstring of a class by the common fitted attributes (class decorator)."""
    if owner.__doc__:  # python -OO removes docstrings
        owner.__doc__ = owner.__doc__.replace("{attributes}", _ATTRIBUTES.replace("\n", "\n    "))
    return owner


class Rows(NamedTuple):
    """Checked rows: inputs, labels or numbers, and sample weights."""

    X: Inputs
    y: Array
    weights: Array | None

    def take(self, rows: Any) -> Rows:
        """Return some of the rows."""
        return Rows(self.X[rows], self.y[rows], None if self.weights is None else self.weights[rows])


def _structure(layers: Iterable[Layer]) -> str:
    """Return the layers as text: those with parameters by their type and the shapes, the others with their settings."""
    texts = []
    for layer in layers:
        shapes = layer.parameter_shapes().values()
        texts.append(f"{type(layer).__name__} {', '.join(map(str, shapes))}" if shapes else repr(layer))
    return ", ".join(texts)


class AvailableMethod:
    """A method that is available if a check of the estimator raises no error.

    Unlike that of scikit-learn's ``available_if``, the AttributeError has the message of the check, which says what to
    do.
    """

    def __init__(self, check: Callable[[Any], object], method: Callable[..., Any]) -> None:
        self.check, self.method, self.__doc__ = check, method, method.__doc__

    def __get__(self, estimator: Any, owner: type) -> Any:
        if estimator is None:
            return self.method
        try:
            self.check(estimator)
        except InvalidInputError as problem:  # of another parameter
            raise AttributeError(str(problem)) from problem
        return MethodType(self.method, estimator)


def available_if(check: Callable[[Any], object]) -> Callable[[Callable[..., Any]], Any]:
    """Return a decorator of methods that are available if ``check(estimator)`` raises no AttributeError."""
    return partial(AvailableMethod, check)


def takes_batches(estimator: Any) -> None:
    """Raise AttributeError if the solver does not take mini-batches, as scikit-learn does."""
    if estimator.preset:
        raise AttributeError(
            f"partial_fit is not available with preset={estimator.preset!r}, which trains on all rows at once; use "
            "fit, or preset=None"
        )
    if solver_of(estimator).full_batch:
        raise AttributeError(
            f"partial_fit is only available for stochastic optimizers. {estimator.solver} is not stochastic."
        )


@checked
@also_called(
    arguments={
        "hidden": "hidden_layer_sizes",
        "epochs": "max_iter",
        "seed": "random_state",
        "optimizer": "solver",
        "lr": "learning_rate_init",
        "patience": "n_iter_no_change",
        "l2": "alpha",
        "metric": "scoring",
        "beta1": "beta_1",
        "beta2": "beta_2",
    }
)
@dataclass(eq=False, repr=False)
class MultilayerPerceptron(NewParameters, SklearnParameters, CallbackSupport, BaseEstimator):  # type: ignore[misc]
    """Base class of :class:`MLPClassifier` and :class:`MLPRegressor`."""

    @abstractmethod
    def _find_outputs(self, y: Array, known: Outputs | None, *, incremental: bool, classes: Any = None) -> Outputs:
        """Return what is to be predicted; compare it with what is ``known`` from the previous fit."""

    @with_callbacks  # type: ignore[untyped-decorator]
    @checked
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train a network on rows X with targets y.

        Parameters
        ----------
        X
            The inputs, of shape (rows, columns): an array, a frame of pandas or polars, or a sparse matrix. With a
            preprocessor or a preset, the columns may contain text, dates and missing values.
        y
            The targets, of shape (rows,) or (rows, outputs). A regression reads numbers that are written as text.
        sample_weight
            The weights of the rows. A row of weight 0 has the same effect as no row.
        X_val, y_val, sample_weight_val
            Rows that are measured after every epoch, for ``validation_scores_`` and ``validation_loss_curve_``. With
            ``early_stopping``, they take the place of the rows that are held out.

        Returns
        -------
        object
            The fitted estimator.
        """
        if (X_val is None) != (y_val is None):
            raise InvalidInputError("X_val and y_val are given together; give both of them, or none.")
        return self._fit(X, y, sample_weight, None if X_val is None else (X_val, y_val, sample_weight_val))

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        validation: tuple[Any, Any, Any] | None,
        *,
        incremental: bool = False,
        classes: Any = None,
    ) -> Self:
        check_settings(type(self), vars(self))
        if self.preset is not None:
            check_one_of("preset", self.preset, ("tabular",))
            check_tabular(self)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if incremental and self.swa_from is not None:
            raise InvalidInputError(
                "partial_fit does not support swa_from, which averages the weights of several epochs of one fit; give "
                "ema_decay, or call fit."
            )
        if self._calibrates and validation is None and not (self.preset or self.early_stopping):
            raise InvalidInputError(f"calibrate=True needs {HELD_OUT}.")
        goes_on = self.__sklearn_is_fitted__() and (self.warm_start or incremental)
        rows = self._check_rows(X, y, sample_weight, reset=not goes_on)
        known = self._outputs if goes_on else None
        outputs = self._find_outputs(rows.y, known, incremental=incremental, classes=classes)
        if rows.weights is not None and not rows.weights.all():
            rows = rows.take(np.flatnonzero(rows.weights))
        held_out = None
        if validation is not None:
            held_out = self._check_rows(*validation, reset=False)
        rng = check_random_state(self.random_state)
        if self.preset:
            return self._fit_tabular(rows, outputs, held_out, self._problem(rows, outputs, rng), (X, y, sample_weight))
        problem = self._problem(rows, outputs, rng)
        drawn = [] if goes_on else draw_parameters(self, problem, rng)
        if self.early_stopping and held_out is None:
            rows, held_out = self._split(rows, outputs, rng)
            problem = self._problem(rows, outputs, rng, seed=problem.seed)
        if held_out is not None:
            self._check_known(outputs, held_out.y)

        layers, settings = plain(self, problem)
        self._outputs: Outputs = outputs
        if outputs.classes is not None:
            self.classes_ = outputs.classes
        metrics = metrics_for(self.scoring, self, outputs)
        network = NeuralNetwork(**{**settings, "metric": [] if held_out is None else metrics})
        if incremental:
            network.epochs = 1
        if goes_on:
            self._continue(network, layers, self.network_, incremental=incremental)
        else:
            self.t_ = 0
            layers[0].set_input_shape((problem.n_features,))
            for layer in layers:
                network.add(layer)
            dense = [layer for layer in layers if isinstance(layer, DenseLayer)]
            for layer, (weights, biases) in zip(dense, drawn, strict=False):
                layer.weights, layer.biases = weights, biases
        self.network_: NeuralNetwork = network
        monitor = self._monitor(network.metrics)
        callbacks = [] if incremental else self._stopping(network, monitor)
        watched = None if held_out is None else self._dataset(held_out)
        given = (X, y, sample_weight)
        self._train(network, self._dataset(rows), watched, monitor, callbacks, given, incremental=incremental)
        return self

    def _fit_tabular(
        self, rows: Rows, outputs: Outputs, held_out: Rows | None, problem: Problem, given: tuple[Any, Any, Any]
    ) -> Self:
        """Train the network of ``preset="tabular"``."""
        outputs = outputs.scaled_for(rows.y, loss_of(self, outputs), getattr(self, "output_activation", None))
        self._outputs, self.t_ = outputs, 0
        if outputs.classes is not None:
            self.classes_ = outputs.classes
        design = tabular(self, problem, self._dataset(rows))
        network = self.network_ = design.network
        network.metrics = tuple(metrics_for(self.scoring, self, outputs))
        callbacks: list[Callback] = [design.stopping]
        measured = None
        if held_out is not None:
            self._check_known(outputs, held_out.y)
            measured = MeasureRows(self._dataset(held_out))
            callbacks.append(measured)
        self._train(network, design.training, design.validation, "validation_loss", callbacks, given)
        self.best_iter_ = design.stopping.best_epoch
        if measured is not None and measured.scores:
            self.validation_scores_: list[float] | None = measured.scores
            self.best_validation_score_: float | None = max(measured.scores)
        return self

    def _check_rows(self, X: Any, y: Any, sample_weight: Any, *, reset: bool) -> Rows:
        """Return rows as arrays, checked by scikit-learn."""
        reads_columns = self._reads_columns() if reset else self._table is not None
        y = plain_targets(y, as_numbers=self._outputs_are_numbers)
        if reads_columns and has_column_names(X):
            frame, y = self._check_frame(X, reset=reset), self._check_targets(y)
            check_consistent_length(frame, y)
            X = frame
        else:
            own: dict[str, Any] = {"accept_sparse": "csr", "dtype": (np.float64, np.float32)}
            if reads_columns:
                own = {"dtype": None, "ensure_all_finite": "allow-nan", "ensure_min_samples": 2}
            own |= {"multi_output": True, "y_numeric": self._outputs_are_numbers}
            with self._explaining(X):
                X, y = validate_data(self, X, y, reset=reset, **own)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self._outputs_are_numbers and y.dtype.kind in "mM":
            raise ValueError("The targets are dates or durations; give numbers, such as days since a date.")
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, y, dtype=np.float64)
            if not weights.any():
                raise ValueError("Sample weights must contain at least one non-zero number.")
            if weights.min() < 0:
                raise ValueError("Negative values in data passed to `sample_weight`.")
        if reset:
            self._table: TablePreprocessor | None = None
            self._is_ensemble = bool(self.preset)
            if reads_columns:
                frame = as_frame(X)
                seen = frame if weights is None else frame[weights > 0]
                if not isinstance(self.preprocessor, TablePreprocessor | None):
                    raise InvalidInputError(
                        f"preprocessor is {shown(self.preprocessor)}; give a TablePreprocessor, or put other "
                        "transformers before the estimator in a Pipeline."
                    )
                table = TablePreprocessor() if self.preprocessor is None else clone(self.preprocessor)
                self._table = table.fit(seen)
        if self._table is not None:
            X = self._table.encode(X)
        return Rows(X, y, weights)

    def _reads_columns(self) -> bool:
        """Tell whether a preprocessor converts the columns of a table to numbers."""
        return self.preset is not None or self.preprocessor is not None

    @contextmanager
    def _explaining(self, X: Any) -> Iterator[None]:
        """Add what to do to scikit-learn's errors about text and about frames with two columns of the same name."""
        if is_frame(X):
            check_column_names(X)
        try:
            yield
        except ValueError as error:
            if not str(error).startswith("could not convert string to float"):
                raise
            raise ValueError(
                f"{error}; {type(self).__name__} takes text with preprocessor=TablePreprocessor() or preset='tabular'."
            ) from None

    def _check_frame(self, X: Any, *, reset: bool) -> Any:
        """Return a frame of pandas or polars, or a dictionary, as a frame of pandas; check its columns."""
        frame = as_frame(X)
        validate_data(self, X if is_frame(X) else frame, skip_check_array=True, reset=reset)
        return frame

    def _check_targets(self, y: Any) -> Array:
        """Return the targets of a frame as an array, checked by scikit-learn."""
        if y is None:
            raise ValueError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        targets: Array = _check_y(y, multi_output=True, y_numeric=self._outputs_are_numbers, estimator=self)
        return targets

    _outputs_are_numbers = False

    @property
    def _calibrates(self) -> bool:
        """Whether held-out rows determine the temperature of class probabilities."""
        return getattr(self, "calibrate", False)

    def _check_known(self, outputs: Outputs, y: Array) -> None:
        """Raise ValueError for validation rows with a class that no training row has."""
        unknown = outputs.unknown_labels(y)
        if unknown:
            raise ValueError(f"The validation rows have classes that the training rows do not have: {unknown}")

    def _problem(self, rows: Rows, outputs: Outputs, rng: np.random.RandomState, seed: int | None = None) -> Problem:
        if seed is None:
            given = self.random_state
            seed = int(given) if isinstance(given, int | np.integer) else int(rng.randint(np.iinfo(np.int32).max))
        return Problem(
            outputs,
            n_rows=rows.X.shape[0],
            n_features=rows.X.shape[1],
            mean_weight=1.0 if rows.weights is None else float(rows.weights.mean()),
            dtype=rows.X.dtype.name if self.dtype is None else self.dtype,
            seed=seed,
            table=self._table,
        )

    def _split(self, rows: Rows, outputs: Outputs, rng: np.random.RandomState) -> tuple[Rows, Rows]:
        """Split the rows into training and validation rows, stratified by class.

        If a class has only one row, it is a training row.
        """
        numbers, stratify, alone = np.arange(rows.X.shape[0]), None, np.empty(0, np.intp)
        if outputs.target.classes:
            _, codes, counts = np.unique(rows.y, return_inverse=True, return_counts=True)
            is_alone = counts[codes] == 1
            numbers, stratify, alone = numbers[~is_alone], rows.y[~is_alone], numbers[is_alone]
        training, held_out = train_test_split(
            numbers, test_size=self.validation_fraction, random_state=rng, stratify=stratify
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        return rows.take(np.concatenate([training, alone])), rows.take(held_out)

    def _check_same_structure(self, layers: list[Layer], previous: NeuralNetwork) -> None:
        """Raise ValueError if the parameters ask for other layers than those of the fitted network."""
        units = tuple(layer.n_units for layer in previous.layers if isinstance(layer, DenseLayer))[:-1]
        if units != hidden_units(self):
            raise ValueError(
                f"The fitted network has hidden layers of {units} units, and the parameters ask for "
                f"{hidden_units(self)}; set warm_start=False to fit another network."
            )
        shape = previous.stack.input_shape()
        for layer in layers:
            layer.set_input_shape(shape)
            shape = layer.output_shape()
        fitted, asked = _structure(previous.layers), _structure(layers)
        if fitted != asked:
            raise ValueError(
                f"The fitted network has the layers {fitted}, and the parameters ask for {asked}; set "
                "warm_start=False to fit another network."
            )

    def _continue(
        self, network: NeuralNetwork, layers: list[Layer], previous: NeuralNetwork, *, incremental: bool
    ) -> None:
        """Let a network with new settings, which asks for the same layers, go on where the previous one is."""
        self._check_same_structure(layers, previous)
        network.stack, network.history, network.target = previous.stack, previous.history, previous.target
        if incremental:
            network.optimizer = previous.optimizer
            network.schedule = (
                None if network.schedule is None else _Shifted(network.schedule, previous.history.n_epochs)
            )

    def _dataset(self, rows: Rows) -> Dataset:
        outputs = self._outputs
        weights = outputs.row_weights(rows.y, getattr(self, "class_weight", None), rows.weights)
        return Dataset(rows.X, outputs.targets_of(rows.y), sample_weight=weights, target=outputs.target)

    def _train(
        self,
        network: NeuralNetwork,
        training: Dataset,
        validation: Dataset | None,
        monitor: str,
        stopping: list[Callback],
        given: tuple[Any, Any, Any],
        *,
        incremental: bool = False,
    ) -> None:
        """Train the network, and set the fitted attributes."""
        first_epoch = network.history.n_epochs
        interrupt = StopOnInterrupt(resumable=False)
        own: Any = () if self.callbacks is None else self.callbacks
        callbacks: list[Callback] = list(own) if isinstance(own, list | tuple) else [own]
        callbacks += [*stopping, *([] if incremental else [interrupt])]
        bridge = None
        if not incremental and hasattr(self, "_init_callback_context"):
            X, y, sample_weight = given
            metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
            arguments = {"X": X, "y": y, "metadata": metadata}
            bridge = SklearnCallbacks(self, network.epochs, arguments, self._fitted_attributes)
            callbacks += [bridge] if getattr(self, "_skl_callbacks", None) else []
        self.calibration_: Calibration | None = None  # that of the last fit is not valid during this one
        network.fit(
            training,
            validation=validation,
            callbacks=callbacks,
            augmentation=self.augmentation,
        )
        if validation is not None and (self._calibrates or self._outputs_are_numbers):
            assert validation.y is not None
            self.calibration_ = Calibration.learn(
                network, self._outputs.target, validation.X, validation.y, validation.sample_weight
            )
        self._set_attributes(network, monitor, first_epoch, training.n_rows)
        network.metrics, network.schedule = without_scorers(network.metrics), _in_files(network.schedule)
        if bridge is not None and getattr(self, "_skl_callbacks", None):
            bridge.close()
        if interrupt.has_stopped:
            warn("Training interrupted by user.")
        elif not incremental and not self.preset:
            self._warn_if_not_converged(network)

    def _monitor(self, metrics: tuple[Metric, ...]) -> str:
        """Return the quantity of the history that decides when to stop."""
        if not self.early_stopping:
            return "objective"
        first = self.scoring[0] if isinstance(self.scoring, list | tuple) else self.scoring
        return f"validation_{'loss' if first == 'loss' else metrics[0].name}"

    def _stopping(self, network: NeuralNetwork, monitor: str) -> list[Callback]:
        """Return the callbacks that stop training by scikit-learn's rules, and keep the best weights."""
        if isinstance(network.optimizer, ObjectiveOptimizer) and not self.early_stopping:
            return []
        callbacks: list[Callback] = []
        patience = network.epochs + 1 if np.isinf(self.n_iter_no_change) else int(self.n_iter_no_change) + 1
        if self.solver == "sgd" and self.learning_rate == "adaptive":
            callbacks.append(
                ReduceOnPlateau(
                    monitor, ADAPTIVE_FACTOR, patience, min_delta=0, min_factor=0, tol=self.tol, lowest_rate=LOWEST_RATE
                )
            )
            patience = network.epochs + 1
        return [*callbacks, EarlyStopping(monitor, patience, tol=self.tol, restore_best=self.early_stopping)]

    def _set_attributes(self, network: NeuralNetwork, monitor: str, first_epoch: int, n_rows: int) -> None:
        history, target = network.history, self._outputs.target
        sign = 1 if lower_is_better(monitor, network.metrics) else -1
        values = sign * np.array(history[monitor][first_epoch:])
        self.n_iter_ = len(values)
        self.best_iter_ = int(np.nanargmin(values)) + 1 if np.isfinite(values).any() else self.n_iter_
        self.t_ += n_rows * self.n_iter_
        self.n_layers_ = len(self._dense_layers()) + 1
        self.n_outputs_ = target.n_outputs
        self.out_activation_ = _name_of_last(network)
        self.loss_ = history.last("objective")
        self.best_loss_ = None if self.early_stopping or self.preset else min(self.loss_curve_)
        scores = f"validation_{network.metrics[0].name}" if network.metrics else ""
        self.validation_scores_ = list(history[scores]) if scores else None
        self.best_validation_score_ = max(history[scores][first_epoch:]) if scores else None
        self.stop_reason_ = network.stop_reason

    def _warn_if_not_converged(self, network: NeuralNetwork) -> None:
        optimizer = network.optimizer
        if isinstance(optimizer, ObjectiveOptimizer):
            if not optimizer.converged:
                warn(
                    f"{self.solver} failed to converge after {self.n_iter_} iteration(s). Increase max_iter="
                    f"{self.max_iter} or max_fun={self.max_fun} to improve the convergence.",
                    ConvergenceWarning,
                )
        elif network.stop_reason is None and network.schedule is None:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
            )

    def _fitted_attributes(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in vars(self).items()
            if name.endswith("_") or name in ("_outputs", "_table", "_is_ensemble")
        }

    def _predictions(self, X: Any) -> Array:
        """Return the predictions of the model: probabilities, or numbers in the units of the targets."""
        outputs = self._network_outputs(X)
        return self.model_.predictions_of(outputs)

    def _network_outputs(self, X: Any) -> Array:
        """Return the outputs of the network, of shape (rows, columns)."""
        check_is_fitted(self)
        if self._table is None:
            with self._explaining(X):
                X = validate_data(self, X, accept_sparse="csr", dtype=(np.float64, np.float32), reset=False)
        elif has_column_names(X):
            X = self._table.encode(self._check_frame(X, reset=False))
        else:
            X = self._table.encode(validate_data(self, X, dtype=None, ensure_all_finite="allow-nan", reset=False))
        outputs: Array = self.network_.predict(X)
        # The predictions for a table are float64, as those for an array of float64 are.
        return outputs if self._table is None else outputs.astype(np.float64, copy=False)

    @property
    def coefs_(self) -> list[Array]:
        """The weights of the dense layers, of shape (inputs, units)."""
        return [layer.weights for layer in self._single_layers()]

    @property
    def intercepts_(self) -> list[Array]:
        """The biases of the dense layers."""
        return [layer.biases for layer in self._single_layers()]

    @property
    def history_(self) -> History:
        """Loss, penalty and metrics of every epoch, of all fits if ``warm_start`` or ``partial_fit`` went on."""
        return self._fitted_network().history

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of every epoch, with the penalty."""
        return list(self.history_["objective"])

    @property
    def validation_loss_curve_(self) -> list[float] | None:
        """The loss on the validation rows after every epoch; None without validation rows."""
        curve = self.history_.get("validation_loss")
        return None if curve is None else list(curve)

    @property
    def model_(self) -> Model:
        """The network and the meaning of its outputs, which can be saved, exported and served."""
        return Model(
            self._fitted_network(),
            self._outputs.target,
            self._table,
            self._outputs.scaling,
            calibration=self.calibration_,
        )

    def _dense_layers(self) -> list[Any]:
        """Return the dense layers from the inputs to the outputs, of an ensemble those of its first kind of members."""
        layers: Any = self._fitted_network().layers
        if self._is_ensemble:
            layers = layers[1].layers[0].layers
        return [layer for layer in layers if isinstance(layer, AffineLayer)]

    def _single_layers(self) -> list[Any]:
        """Return the dense layers of a network that is no ensemble; raise AttributeError for others."""
        layers = self._dense_layers()
        if self._is_ensemble:
            raise AttributeError(
                "coefs_ and intercepts_ are not available with preset='tabular', which trains an ensemble; "
                "network_.stack.read_arrays() returns all arrays."
            )
        return layers

    def _fitted_network(self) -> NeuralNetwork:
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        network: NeuralNetwork = self.network_
        return network

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = not self._reads_columns()
        if self._reads_columns():
            tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        tags.target_tags.multi_output = True
        return tags


@dataclass(frozen=True)
class _Shifted(Schedule):
    """A schedule that goes on after some epochs."""

    schedule: Schedule
    n_epochs: int

    def __call__(self, epoch: float) -> float:
        return self.schedule(self.n_epochs + epoch)


def _in_files(schedule: Schedule | None) -> Schedule | None:
    """Return the schedule as a model file can describe it."""
    return schedule.schedule if isinstance(schedule, _Shifted) else schedule


def _name_of_last(network: NeuralNetwork) -> str:
    """Return the name of the output activation, as scikit-learn calls it."""
    from chainrule.activations import ACTIVATIONS, ActivationLayer

    last: Any = network.layers[-1]
    if not isinstance(last, ActivationLayer):
        return "exp" if getattr(network.loss, "log_input", False) else "identity"
    name = ACTIVATIONS.name_of(last)
    return {"sigmoid": "logistic", "linear": "identity"}.get(name, name)
