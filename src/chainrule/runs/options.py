"""Everything that a training run can be told, what is wrong with it, and the pieces that it asks for."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast, get_args

from chainrule.architecture import build_network
from chainrule.callbacks import EarlyStopping
from chainrule.data.columns import MissingRule
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target, TaskRequest
from chainrule.engines import Engine, TorchEngine, choose_engine
from chainrule.engines.torch_engine import Precision
from chainrule.errors import InvalidInputError, ModelFileError, check_one_of, nearest_name
from chainrule.losses import LOSSES
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS
from chainrule.randomness import resolve_seed
from chainrule.runs.defaults import FEWEST_EPOCHS, SHORTEST_PATIENCE, default_batch_size, default_patience, most_epochs
from chainrule.runs.division import Division, SplitChoice
from chainrule.runs.settings import engine_settings, shortest
from chainrule.runs.source import RunSource, with_full_paths
from chainrule.runs.suited import check_fits_memory, check_suits_target
from chainrule.runs.typed import check_types, json_values
from chainrule.schedules import SCHEDULES, Schedule
from chainrule.settings import Setting, added_later, declared_settings, option_fields

__all__ = ["NETWORK_OPTIONS", "SplitChoice", "TrainOptions"]

# The settings of a network that are options of a run under the same names, with the same defaults.
NETWORK_OPTIONS = {name: one for name, one in declared_settings(NeuralNetwork).items() if one.setting.group}

_NetworkOptions: Any = dataclasses.make_dataclass(
    "_NetworkOptions", option_fields(NeuralNetwork), frozen=True, kw_only=True
)
# What runs of version 0.1 lack.
_NEW = Setting(since="0.2")


@dataclass(frozen=True)
class TrainOptions(_NetworkOptions):  # type: ignore[misc]  # made from the declarations
    """What to train on, and how; every field but ``source`` has a sensible default.

    Those of :data:`NETWORK_OPTIONS` are fields as well: ``learning_rate``, ``l2``, ``clip_norm``, ...

    Parameters
    ----------
    source, target, task
        A data frame, a file, the name of a data set, or Parquet files to be streamed (several, a folder or a pattern);
        the column to predict; and what kind of prediction that is if the values of the column would suggest another.
    hidden, activation, dropout, batch_normalization
        The hidden layers. The output layer follows from the target.
    output_activation
        What stands behind the numbers of a regression, such as ReLU where none can be negative; they are then learnt in
        their own units, not standardised.
    optimizer, schedule
        The names of the optimizer and of a schedule, which stretches over all epochs.
    epochs
        Number of passes over the training rows. By default 100, and up to 1,000 for small data.
    batch_size
        Rows per step. By default from 32 for small data to 256 for large data.
    loss
        By default, the target determines the loss.
    early_stopping, patience, min_delta, min_epochs, monitor
        Stop when the validation loss is no longer getting better, and keep the best weights. If ``early_stopping`` does
        not say, it is on when one of the others is given, or when ``epochs`` is not: who says how many epochs, and no
        more, gets so many. The patience is 10 epochs if not said, and up to 50 for small data, whose epochs are short.
    test_size, validation_size
        Share of the rows to test with (if the source has no test part of its own), and share of the others to validate
        with; a number from 1 up counts rows. 0.2 each. Validation rows are held out for early stopping only, or when
        their share is given.
    split
        ``"auto"`` is stratified by class; ``"random"`` is not. ``"time"`` tests on the latest rows by the column
        ``time``, or by the only column of dates, or else on the last rows of the source.
    group
        A column, such as a person or a machine. Rows with the same value are kept in the same part. Rows without a
        value form one group.
    time
        A column of dates or numbers by which the rows are sorted. The latest rows are the test rows.
        The columns ``group`` and ``time`` are not inputs, unless ``categorical``, ``numeric`` or ``dates`` names them.
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
    seed
        The source of all randomness, drawn and recorded when None.
    engine, device, precision, compile
        ``"numpy"``, or ``"torch"``; the others are the settings of :class:`TorchEngine`.
    out
        The run folder. By default ``runs/<source>-<time>``.
    """

    source: RunSource
    target: str | None = None
    task: TaskRequest | None = None
    hidden: tuple[int, ...] = (64, 32)
    activation: str = "relu"
    dropout: float = 0.0
    batch_normalization: bool = False
    output_activation: str | None = None
    optimizer: str = "adam"
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
        return self.epochs is None or bool(self._given_stopping())

    def n_epochs(self, n_rows: int) -> int:
        """Return the number of epochs for so many training rows, the most there can be with early stopping."""
        if self.epochs is not None:
            return self.epochs
        if not self.stops_early:
            return FEWEST_EPOCHS
        takes_all_rows = OPTIMIZERS.find(self.optimizer).full_batch
        n_steps = 1 if takes_all_rows else -(-n_rows // self.rows_a_step(n_rows))
        return most_epochs(n_steps)

    def rows_a_step(self, n_rows: int) -> int:
        """Return the batch size for so many training rows."""
        return default_batch_size(n_rows) if self.batch_size is None else max(self.batch_size, 1)

    @classmethod
    def of(cls, source: RunSource, **options: Any) -> Self:
        """Return the options that a call gives; where a field is a tuple, a list or a single value will do as well."""
        hints = typing.get_type_hints(cls)
        given: dict[str, Any] = {}
        for name, value in options.items():
            if name not in hints:
                raise TypeError(f"There is no option {name!r}.{nearest_name(name, hints)}")
            is_tuple = typing.get_origin(hints[name]) is tuple
            given[name] = value if not is_tuple else (value,) if isinstance(value, str | int) else tuple(value)
        if isinstance(given.get("target"), int):
            given["target"] = str(given["target"])  # as the columns of a frame are named
        return cls(source, **given)

    def resolved(self) -> TrainOptions:
        """Return the options with the seed drawn and the file's full path, so that they mean the same tomorrow."""
        return dataclasses.replace(self, seed=resolve_seed(self.seed), source=with_full_paths(self.source))

    def check(self) -> None:
        """Raise InvalidInputError for what is wrong whatever the data are, before they are read."""
        if isinstance(self.source, tuple) and not self.source:
            raise InvalidInputError("There is no file to train on.")
        if not isinstance(self.target, str | None):
            raise InvalidInputError(
                f"target is the name of a column, not a {type(self.target).__name__}; put the values to predict into a "
                "column of the data frame, and give its name."
            )
        for name, choices in (("split", SplitChoice), ("missing", MissingRule)):
            check_one_of(name, getattr(self, name), get_args(choices))
        Division(split=self.split, group=self.group, time=self.time)  # refuses those that exclude one another
        TablePreprocessor(
            self.categorical, numeric=self.numeric, dates=self.dates, drop=self.drop, missing_words=self.missing_words
        )
        self.make_engine()
        if self.class_weight not in (None, "balanced"):
            raise InvalidInputError(f"class_weight is 'balanced' or left out, not {self.class_weight!r}.")
        if self.checkpoint_every < 1:
            raise InvalidInputError(f"checkpoint_every is {self.checkpoint_every}; it must be at least 1.")
        if self.loss is not None:
            LOSSES.find(self.loss)
        if self.early_stopping is False and self._given_stopping():
            raise InvalidInputError(
                f"{' and '.join(self._given_stopping())} would decide when to stop early, which is switched off; leave "
                "out one or the other."
            )
        EarlyStopping(**(self.early_stopping_settings(1) or {}))
        if any(units < 1 for units in self.hidden):
            raise InvalidInputError(f"The hidden layers are {self.hidden}; each needs at least 1 unit.")
        hidden = (1,) if self.hidden else ()
        settings = NETWORK_OPTIONS.values()
        for_classes = {one.name: one.default for one in settings if one.setting.for_classes}
        trial = dataclasses.replace(self, hidden=hidden, loss=None, **for_classes)
        trial.build_network(1, 1, Target("regression"))
        NeuralNetwork(**{name: getattr(self, name) for name in for_classes})

    def data_settings(self) -> dict[str, Any]:
        """Return the arguments of :func:`prepare_data` beside the source, those that say something only."""
        validation_size = 0 if self.validation_size is None and not self.stops_early else self.validation_size
        allows_standardized_targets = self.loss is None or LOSSES.find(self.loss).allows_standardized_targets
        given = {
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
            "standardize_target": None if allows_standardized_targets and self.output_activation is None else False,
        }
        return shortest(given)

    def network_settings(self, n_rows: int, target: Target) -> dict[str, Any]:
        """Return the arguments of :func:`build_network` for so many training rows, those that say something only."""
        network = {
            name: getattr(self, name) for name, one in NETWORK_OPTIONS.items() if getattr(self, name) != one.default
        }
        check_suits_target(target, self.loss, [name for name in network if NETWORK_OPTIONS[name].setting.for_classes])
        given: dict[str, Any] = {
            "hidden": self.hidden,
            "activation": self.activation,
            "dropout": self.dropout or None,
            "batch_normalization": self.batch_normalization or None,
            "output_activation": self.output_activation,
            "loss": self.loss,
            "optimizer": self.optimizer,
            "schedule": self.schedule_piece(n_rows),
            "epochs": self.n_epochs(n_rows),
            "batch_size": self.rows_a_step(n_rows) if self.batch_size is None else self.batch_size,
            # The root of the squared error would be in units of the standardised target.
            "metric": "r2" if target.task == "regression" else "accuracy",
            **network,
            "seed": self.seed,
            **self._engine_settings(),
        }
        return shortest(given)

    def build_network(self, n_inputs: int, n_rows: int, target: Target) -> NeuralNetwork:
        """Return the network that these options describe, ready to fit; refuse one that no memory here can hold."""
        check_fits_memory((n_inputs, *self.hidden, target.n_outputs))
        return build_network(n_inputs, target, **self.network_settings(n_rows, target))

    def make_engine(self) -> Engine:
        """Return the engine; refuse settings that it does not have."""
        if self.engine == "torch":
            return TorchEngine(self.device, self.precision, self.compile)
        if self.precision != "float32" or self.compile:
            raise InvalidInputError("precision and compile are settings of engine='torch'; give it as well.")
        return choose_engine(self.engine, self.device)

    def with_engine(self, engine: str, device: str) -> Self:
        """Return the options with another engine or device; another engine has its own precision."""
        changed = dataclasses.replace(self, engine=cast("Any", engine), device=device)
        if engine != self.engine:
            changed = dataclasses.replace(changed, precision="float32", compile=False)
        changed.make_engine()
        return changed

    def with_epochs(self, epochs: int) -> Self:
        """Return the options for exactly so many epochs; early stopping still keeps the best weights, if it is on."""
        changed = dataclasses.replace(self, epochs=epochs)
        if self.stops_early:
            changed = dataclasses.replace(changed, early_stopping=True, min_epochs=epochs)
        changed.check()
        return changed

    def _engine_settings(self) -> dict[str, Any]:
        """Return the engine as arguments of a network."""
        if self.precision != "float32" or self.compile:
            return {"engine": self.make_engine()}
        return engine_settings(self.engine, self.device)

    def schedule_piece(self, n_rows: int) -> Schedule | None:
        """Return the schedule over all epochs, if there is one."""
        if self.schedule is None:
            return None
        return SCHEDULES.create(self.schedule, epochs=self.n_epochs(n_rows))

    def early_stopping_settings(self, n_rows: int) -> dict[str, Any] | None:
        """Return the arguments of :class:`EarlyStopping`, those that say something only; None if it is off."""
        if not self.stops_early:
            return None
        patience = default_patience(self.n_epochs(n_rows)) if self.epochs is None else SHORTEST_PATIENCE
        given = {
            "monitor": self.monitor,
            "patience": patience if self.patience is None else self.patience,
            "min_delta": self.min_delta or None,
            "min_epochs": self.min_epochs or None,
        }
        return shortest(given)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as values that JSON can hold; a data frame is not one of them, and becomes None."""
        return json_values(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Read what :meth:`to_dict` wrote; raises ModelFileError for anything else, and for what cannot work."""
        try:
            if not isinstance(values, Mapping):
                raise TypeError("they are not a JSON object")
            absent = {field.name for field in dataclasses.fields(cls)} - added_later(cls) - set(values)
            if absent:
                raise KeyError(f"{min(absent)} is missing")
            lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
            options = cls(**{**values, **lists})
            check_types(options)
            options.check()
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise ModelFileError(f"The options of this run are damaged: {str(error).removesuffix('.')}.") from error
        return options

    def _given_stopping(self) -> list[str]:
        """Return the names of the options given that are about early stopping only."""
        names = ("patience", "min_delta", "min_epochs", "monitor")
        return [name for name in names if getattr(self, name) not in (None, 0)]
