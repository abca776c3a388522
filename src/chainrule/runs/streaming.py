"""Rows that a run streams: split, with everything learnt from the training part in one pass over the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from chainrule.data.columns import MissingRule
from chainrule.data.parquet_files import ParquetFile
from chainrule.data.parquet_stream import ParquetStream
from chainrule.data.parts import listing
from chainrule.data.stream_rows import size_of
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import TaskRequest
from chainrule.errors import DataError, InvalidInputError
from chainrule.model import TargetScaling
from chainrule.runs.prepared import DEFAULT_SHARE, FEWEST_ROWS_TO_SPLIT, PreparedData, with_targets
from chainrule.types import Seed

__all__ = ["prepare_stream"]


def prepare_stream(
    files: Sequence[Path],
    *,
    target: str | None = None,
    task: TaskRequest | None = None,
    test_size: float | None = None,
    validation_size: float | None = None,
    split: str = "auto",
    categorical: Sequence[str] = (),
    drop: Sequence[str] = (),
    missing: MissingRule = "median",
    seed: Seed = 0,
    standardize_target: bool = True,
) -> PreparedData:
    """Return a stream of the rows to train on, and the others in memory; :func:`prepare_data` explains the arguments.

    ``split`` is by ``"time"``, or at random.
    """
    if target is None:
        names = list(ParquetFile.open(files[0]).kinds)
        raise DataError(f"Say which column of {files[0].name} to predict: {listing(names)}.")
    options = TablePreprocessor(categorical, missing=missing)
    stream = ParquetStream(files, target, drop=drop, task=task, preprocessor=options)
    n_test = _count("test_size", test_size, stream.n_rows)
    n_validation = _count("validation_size", validation_size, stream.n_rows - n_test)
    training, validation, test = stream.train_validation_test(
        n_validation, n_test, strategy=_strategy(split), seed=seed
    )
    sample, scaling = training.sample, None
    if training.task == "regression" and standardize_target:
        scale = tuple(deviation if deviation > 0 else 1.0 for deviation in training.target_deviation)
        scaling = TargetScaling(training.target_center, scale)
        training = training.with_targets(scaling.center, scaling.scale)
        validation = None if validation is None else with_targets(validation, scaling)
    return PreparedData(
        name=training.name,
        training=training,
        validation=validation,
        test=sample if test is None else test,
        target=training.target,
        table=training.table,
        scaling=scaling,
        target_name=target,
        has_test_part=test is not None,
        n_columns=training.n_columns,
    )


def _strategy(split: str) -> Literal["random", "time"]:
    if split not in ("auto", "random", "time"):
        raise InvalidInputError(f"The split of a stream is 'random' or 'time', not {split!r}.")
    return "time" if split == "time" else "random"


def _count(name: str, size: float | None, n_rows: int) -> int:
    if size is None:
        size = 0.0 if n_rows < FEWEST_ROWS_TO_SPLIT else DEFAULT_SHARE
    return size_of(name, int(size) if size >= 1 and float(size).is_integer() else size, n_rows)
