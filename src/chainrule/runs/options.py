"""The options of a training run, their validation, and the arguments for the network and the data made from them."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

import numpy as np

from chainrule.architecture import DEFAULT_HIDDEN, build_network
from chainrule.callbacks import EarlyStopping
from chainrule.data.columns import MissingRule
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target, TaskRequest
from chainrule.engines import Engine, TorchEngine, choose_engine
from chainrule.engines.torch_engine import Precision
from chainrule.errors import InvalidInputError, ModelFileError, check_one_of, listed
from chainrule.losses import LOSSES
from chainrule.named import check_arguments
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, LevenbergMarquardt
from chainrule.randomness import resolve_seed
from chainrule.runs.data_split import DataSplit, SplitChoice
from chainrule.runs.defaults import (
    MIN_EPOCHS,
    MIN_PATIENCE,
    default_batch_size,
    default_max_epochs,
    default_patience,
)
from chainrule.runs.json_fields import check_types, json_values
from chainrule.runs.settings import engine_settings, without_none
from chainrule.runs.source import RunSource, with_full_paths
from chainrule.runs.validation import check_fits_memory, check_suits_target
from chainrule.schedules import SCHEDULES, Schedule
from chainrule.settings import Setting, added_later, declared_settings, members, option_fields

__all__ = ["NETWORK_OPTIONS", "SplitChoice", "TrainOptions"]

# The settings of a network that are also options of a run, with the same names and defaults.
NETWORK_OPTIONS = {
    name: declared for name, declared in declared_settings(NeuralNetwork).items() if declared.setting.group
}

_NetworkOptions: Any = dataclasses.make_dataclass(
    "_NetworkOptions", option_fields(NeuralNetwork), frozen=True, kw_only=True
)
Preset = Literal["plain", "tabular"]

# Options that the records of version 0.1 do not contain.
_NEW = Setting(since="0.2")

# Options that name columns or cells. Whole numbers are read as text, because the columns of a data frame may have them
# as names.
_TEXTS = ("target", "group", "time", "categorical", "numeric", "dates", "drop", "missing_words")


@dataclass(frozen=True)
class TrainOptions(_NetworkOptions):  # type: ignore[misc]  # made from the declarations
    """The options of a training run. Every field except ``source`` has a default.

    The settings in :data:`NETWORK_OPTIONS` are also fields: ``learning_rate``, ``l2``, ``clip_norm``, ...

    Parameters
    ----------
    source, target, task
        A data frame, a file, the name of a data set, or Parquet files to be streamed (several, a folder or a pattern);
        the column to predict; and the task, which by default is inferred from the values of the column.
    preset
        ``"tabular"`` trains an ensemble over cross-validation folds that starts from a linear model: see
        :mod:`chainrule.estimators.tabular`. ``"plain"`` trains one network. Streamed files, images and data without
        columns always use ``"plain"``. Where this list names two defaults, the second is that of ``"plain"``. Every
        option that is given replaces that of the preset.
    hidden, activation, dropout, batch_normalization
        The hidden layers: by default two of 64 or 128 units with dropout 0.1, or of 64 and 32 units with ReLU. The
        output layer follows from the target. Batch normalisation needs ``"plain"``.
    output_activation
        The output activation of a regression, such as ReLU for targets that are never negative. The target is then not
        standardised.
    optimizer, schedule
        The names of the optimizer and of a learning-rate schedule, which covers all epochs: by default AdamW with a
        cosine schedule, or Adam with a constant learning rate.
    epochs
        Number of passes over the training rows. By default from 4 to 400, depending on the number of rows, or from 100
        to 1,000.
    batch_size
        Rows per step. By default from 32 for small data to 1,024 for large data, or from 32 to 256.
    loss
        By default, the target determines the loss.
    early_stopping, patience, min_delta, min_epochs, monitor
        Stop when the validation loss stops improving, and restore the best weights. If ``early_stopping`` is None, it
        is on if one of the other options is given, or if ``epochs`` is not given. The default patience is half of the
        epochs (at least 8), or from 10 to 50 epochs. ``"tabular"`` always monitors the out-of-fold loss; with a given
        number of ``epochs``, it trains all of them and restores the best weights.
    test_size, validation_size
        Share of the rows in the test set (unless the source has its own test set), and share of the other rows in the
        validation set. Numbers from 1 up are numbers of rows. The default is 0.2 for both. ``"tabular"`` has no
        validation set: all rows except the test rows are trained on. With ``"plain"`` and without early stopping, a
        validation set is held out only if ``validation_size`` is given.
    split
        ``"auto"`` stratifies by class and ``"random"`` does not. ``"time"`` holds out the latest rows: by the column
        ``time``, otherwise by the only column of dates, otherwise in the order of the source.
    group
        A column, such as a person or a machine. Rows with the same value are kept in the same part. Rows without a
        value form one group.
    time
        A column of dates or numbers by which the rows are sorted. The latest rows are the test set. The columns
        ``group`` and ``time`` are inputs only if ``categorical``, ``numeric`` or ``dates`` names them.
    categorical, numeric, dates
        Columns to read as categories, numbers or dates, instead of the detected type. ``"day=dmy"`` and ``"day=mdy"``
        set the order of 01/02/2023 in the column ``day``; ``"price=1.234,5"`` and ``"price=1,234.5"`` set the
        separators of the numbers in the column ``price``, which may be the target.
    drop
        Columns to drop.
    missing_words
        Texts that mean a missing value, also in the target, in addition to the standard ones.
    missing
        The replacement for missing numbers: the column's ``"median"`` or ``"mean"``, or ``"zero"`` after scaling.
    drop_missing_target
        Whether to drop rows whose target is missing. Otherwise such rows are an error.
    checkpoint_every
        Epochs between checkpoints.
    calibrate
        Whether to divide the logits of classes by the temperature with the smallest log loss on the validation rows, or
        with the preset ``"tabular"`` on the out-of-fold predictions. The predicted classes stay the same.
    seed
        The seed of all random numbers. None draws a seed, which is recorded.
    engine, device, precision, compile
        The engine is ``"numpy"`` or ``"torch"``; the others are settings of :class:`TorchEngine`.
    out
        The run folder. By default ``runs/<source>-<time>``.
    """

    source: RunSource
    target: str | None = None
    task: TaskRequest | None = None
    preset: Annotated[Preset, _NEW] = "tabular"
    hidden: tuple[int, ...] | None = None
    activation: str | None = None
    dropout: float | None = None
    batch_normalization: bool = False
    output_activation: str | None = None
    optimizer: str | None = None
    schedule: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    loss: str | None = None
    early_stopping: bool | None = None
    patience: int | None = None
    min_delta: float = 0.0
    min_epochs: int = 0
    monitor: str | None = None
    test_size: float | None = None
    validation_size: float | None = None
    split: SplitChoice = "auto"
    group: Annotated[str | None, _NEW] = None
    time: Annotated[str | None, _NEW] = None
    categorical: tuple[str, ...] = ()
    numeric: Annotated[tuple[str, ...], _NEW] = ()
    dates: Annotated[tuple[str, ...], _NEW] = ()
    drop: tuple[str, ...] = ()
    missing_words: Annotated[tuple[str, ...], _NEW] = ()
    missing: MissingRule = "median"
    drop_missing_target: Annotated[bool, _NEW] = False
    checkpoint_every: int = 5
    calibrate: Annotated[bool, _NEW] = False
    seed: int | None = 0
    engine: Literal["numpy", "torch"] = "numpy"
    device: str = "auto"
    precision: Precision = "float32"
    compile: bool = False
    out: str | Path | None = None

    @property
    def stops_early(self) -> bool:
        """Whether early stopping is on."""
        if self.early_stopping is not None:
            return self.early_stopping
        return self.epochs is None or bool(self._given_stopping_options())

    def n_epochs(self, n_rows: int) -> int:
        """Return the number of epochs for ``n_rows`` training rows; with early stopping, the maximum."""
        if self.epochs is not None:
            return self.epochs
        if not self.stops_early:
            return MIN_EPOCHS
        is_full_batch = self.optimizer is not None and OPTIMIZERS.find(self.optimizer).full_batch
        n_steps = 1 if is_full_batch else -(-n_rows // self.rows_per_step(n_rows))
        return default_max_epochs(n_steps)

    def rows_per_step(self, n_rows: int) -> int:
        """Return the batch size for ``n_rows`` training rows."""
        return default_batch_size(n_rows) if self.batch_size is None else max(self.batch_size, 1)

    @classmethod
    def of(cls, source: RunSource, **options: Any) -> Self:
        """Return options made from arguments. Fields that are tuples also accept a list or a single value."""
        check_arguments("train", options, cls)
        hints = typing.get_type_hints(cls)
        arguments = {name: _as_field(value, hints[name]) for name, value in options.items()}
        arguments |= {name: _as_text(arguments[name]) for name in _TEXTS if name in arguments}
        check_types(arguments, {name: hints[name] for name in arguments if name != "target"})
        return cls(source, **arguments)

    def resolved(self) -> TrainOptions:
        """Return the options with a drawn seed and absolute paths, so that the run can be repeated from any folder."""
        return dataclasses.replace(self, seed=resolve_seed(self.seed), source=with_full_paths(self.source))

    def check(self) -> None:
        """Raise InvalidInputError for options that are invalid for any data, before the data are read."""
        if isinstance(self.source, tuple) and not self.source:
            raise InvalidInputError("There is no file to train on.")
        if not isinstance(self.target, str | None):
            raise InvalidInputError(
                f"target is the name of a column, not a {type(self.target).__name__}; put the values to predict into a "
                "column of the data frame, and give its name."
            )
        if self.task == "multilabel":
            raise InvalidInputError(
                "A target column has one label for each row; train on several columns of labels with MLPClassifier."
            )
        for name, choices in (("split", SplitChoice), ("missing", MissingRule), ("preset", Preset)):
            check_one_of(name, getattr(self, name), get_args(choices))
        # The constructor of the split raises an error for invalid options.
        DataSplit(split=self.split, group=self.group, time=self.time)
        TablePreprocessor(
            self.categorical, numeric=self.numeric, dates=self.dates, drop=self.drop, missing_words=self.missing_words
        ).choices()
        self.make_engine()
        if self.class_weight not in (None, "balanced"):
            raise InvalidInputError(f"class_weight must be 'balanced' or None, not {self.class_weight!r}.")
        if self.checkpoint_every < 1:
            raise InvalidInputError(f"checkpoint_every is {self.checkpoint_every}; it must be at least 1.")
        if self.loss is not None:
            LOSSES.create(self.loss)
        if self.early_stopping is False and self._given_stopping_options():
            raise InvalidInputError(
                f"{' and '.join(self._given_stopping_options())} can only be given with early stopping, which is off; "
                "omit them or switch early stopping on."
            )
        EarlyStopping(**(self.early_stopping_settings(1) or {}))
        hidden = self.hidden and tuple(min(units, 1) for units in self.hidden)
        # Settings for classes are checked separately, because the trial network predicts numbers.
        for_classes = {
            name: declared.default for name, declared in NETWORK_OPTIONS.items() if declared.setting.for_classes
        }
        trial = dataclasses.replace(self, hidden=hidden, loss=None, calibrate=False, **for_classes)
        trial.build_network(1, 1, Target("regression"))
        NeuralNetwork(**{name: getattr(self, name) for name in for_classes})

    def data_settings(self) -> dict[str, Any]:
        """Return the arguments of :func:`prepare_data` after the source, without the default values."""
        validation_size = 0 if self.validation_size is None and not self.stops_early else self.validation_size
        allows_standardized_targets = self.loss is None or LOSSES.find(self.loss).allows_standardized_targets
        settings = {
            "target": self.target,
            "task": self.task,
            "test_size": self.test_size,
            "validation_size": validation_size,
            "split": None if self.split == "auto" else self.split,
            "group": self.group,
            "time": self.time,
            "categorical": self.categorical or None,
            "numeric": self.numeric or None,
            "dates": self.dates or None,
            "drop": self.drop or None,
            "missing_words": self.missing_words or None,
            "missing": None if self.missing == "median" else self.missing,
            "drop_missing_target": self.drop_missing_target or None,
            "seed": self.seed,
            "preset": None if self.preset == "plain" else self.preset,
            "standardize_target": None if allows_standardized_targets and self.output_activation is None else False,
        }
        return without_none(settings)

    def network_settings(self, n_rows: int, target: Target) -> dict[str, Any]:
        """Return the arguments of :func:`build_network` for ``n_rows`` training rows, without the default values."""
        settings = {
            **self._given_settings(target),
            "batch_normalization": self.batch_normalization or None,
            "schedule": self.make_schedule(n_rows),
            "epochs": self.n_epochs(n_rows),
            "batch_size": self.rows_per_step(n_rows) if self.batch_size is None else self.batch_size,
        }
        return without_none(settings)

    def design_settings(self, target: Target) -> dict[str, Any]:
        """Return the arguments of :func:`design_network` after the data, without those that have their defaults."""
        refused = {
            f"monitor={self.monitor!r}": self.monitor not in (None, "validation_loss"),
            "batch_normalization": self.batch_normalization,
            f"optimizer={self.optimizer!r}": self.optimizer is not None
            and issubclass(OPTIMIZERS.find(self.optimizer), LevenbergMarquardt),
        }
        names = [name for name, is_given in refused.items() if is_given]
        if names:
            raise InvalidInputError(
                f"{listed(names)} cannot be combined with preset='tabular', which trains an ensemble; omit it, or give "
                "preset='plain' to train one network."
            )
        trains_all = self.epochs is not None and not self.stops_early
        settings = {
            **self._given_settings(target),
            "schedule": self.schedule,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "patience": cast("int", self.epochs) + 1 if trains_all else self.patience,
            "min_delta": self.min_delta or None,
            "min_epochs": self.min_epochs or None,
        }
        return without_none(settings)

    def _given_settings(self, target: Target) -> dict[str, Any]:
        """Return the settings that both presets take; those that are not given are None or absent."""
        network = {
            name: getattr(self, name)
            for name, declared in NETWORK_OPTIONS.items()
            if getattr(self, name) != declared.default
        }
        for_classes = [name for name in network if NETWORK_OPTIONS[name].setting.for_classes]
        check_suits_target(target, self.loss, [*for_classes, *(["calibrate"] if self.calibrate else [])])
        return {
            "hidden": self.hidden,
            "activation": self.activation,
            "dropout": self.dropout,
            "output_activation": self.output_activation,
            "loss": self.loss,
            "optimizer": self.optimizer,
            # R² does not depend on the units; the root mean squared error would refer to the standardised target.
            "metric": "r2" if target.task == "regression" else "accuracy",
            **network,
            "seed": self.seed,
            **self._engine_settings(),
        }

    def build_network(self, n_inputs: int, n_rows: int, target: Target) -> NeuralNetwork:
        """Return the network that these options describe. Raises InvalidInputError if it does not fit into memory."""
        network = self.network_settings(n_rows, target)
        check_fits_memory((n_inputs, *(DEFAULT_HIDDEN if self.hidden is None else self.hidden), target.n_outputs))
        return build_network(n_inputs, target, **network)

    def make_engine(self) -> Engine:
        """Return the engine. Raises InvalidInputError for settings that it does not have."""
        if self.engine == "torch":
            return TorchEngine(self.device, self.precision, self.compile)
        if self.precision != "float32" or self.compile:
            raise InvalidInputError("precision and compile require engine='torch'; give it as well, or omit them.")
        return choose_engine(self.engine, self.device)

    def with_engine(self, engine: str, device: str) -> Self:
        """Return the options with another engine or device. Another engine gets the default precision."""
        changed = dataclasses.replace(self, engine=cast("Any", engine), device=device)
        if engine != self.engine:
            changed = dataclasses.replace(changed, precision="float32", compile=False)
        changed.make_engine()
        return changed

    def with_epochs(self, epochs: int) -> Self:
        """Return the options for exactly ``epochs`` epochs. Early stopping, if on, only restores the best weights."""
        changed = dataclasses.replace(self, epochs=epochs)
        if self.stops_early:
            changed = dataclasses.replace(changed, early_stopping=True, min_epochs=epochs)
        changed.check()
        return changed

    def _engine_settings(self) -> dict[str, Any]:
        """Return the arguments of a network that choose the engine."""
        if self.precision != "float32" or self.compile:
            return {"engine": self.make_engine()}
        return engine_settings(self.engine, self.device)

    def make_schedule(self, n_rows: int) -> Schedule | None:
        """Return the learning-rate schedule over all epochs; None if there is none."""
        if self.schedule is None:
            return None
        return SCHEDULES.create(self.schedule, epochs=self.n_epochs(n_rows))

    def early_stopping_settings(self, n_rows: int) -> dict[str, Any] | None:
        """Return the arguments of :class:`EarlyStopping` without the default values; None if it is off."""
        if not self.stops_early:
            return None
        patience = default_patience(self.n_epochs(n_rows)) if self.epochs is None else MIN_PATIENCE
        settings = {
            "monitor": self.monitor,
            "patience": patience if self.patience is None else self.patience,
            "min_delta": self.min_delta or None,
            "min_epochs": self.min_epochs or None,
        }
        return without_none(settings)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as JSON values. A data frame is replaced by None."""
        return json_values(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return options from the values of :meth:`to_dict`. Raises ModelFileError for invalid values."""
        try:
            if not isinstance(values, Mapping):
                raise TypeError("they are not a JSON object")
            missing = {field.name for field in dataclasses.fields(cls)} - added_later(cls) - set(values)
            if missing:
                raise KeyError(f"{min(missing)} is missing")
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            options = cls(**{"preset": "plain", **values, **lists})  # the only one of older records
            check_types(vars(options), typing.get_type_hints(cls))
            options.check()
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ModelFileError(f"The options of this run are damaged: {str(error).removesuffix('.')}.") from error
        return options

    def _given_stopping_options(self) -> list[str]:
        """Return the names of the options of early stopping whose values are not the defaults."""
        names = ("patience", "min_delta", "min_epochs", "monitor")
        return [name for name in names if getattr(self, name) not in (None, 0)]


def _as_text(value: Any) -> Any:
    """Return whole numbers, also those in a tuple, as text."""
    if isinstance(value, tuple):
        return tuple(map(_as_text, value))
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_field(value: Any, hint: Any) -> Any:
    """Return an argument as the value of a field: Python's numbers, and a tuple for a list, an array or one value."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    items = next((typing.get_args(kind)[0] for kind in members(hint) if typing.get_origin(kind) is tuple), None)
    if items is None or value is None:
        return value
    if isinstance(value, str):
        return (value,) if items is str else value
    return tuple(_as_field(item, None) for item in value) if isinstance(value, Iterable) else (value,)
