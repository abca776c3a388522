"""From a source to the rows that a network trains on: split first, then everything learnt on the training part only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.columns import MissingRule
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source, Table
from chainrule.data.sources import open_source
from chainrule.data.splits import split_rows
from chainrule.data.summaries import ColumnSummary
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target, TaskRequest
from chainrule.errors import DataError, InvalidInputError
from chainrule.model import TargetScaling
from chainrule.runs.prepared import DEFAULT_SHARE, FEWEST_ROWS_TO_SPLIT, PreparedData, with_targets
from chainrule.runs.source import files_to_stream
from chainrule.runs.streaming import prepare_stream
from chainrule.types import Array, IntArray, Seed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PreparedData", "prepare_data"]


def prepare_data(
    source: str | Path | Sequence[str | Path],
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
    """Read a source, split it, and turn it into numbers as its training part teaches.

    The sizes are shares, or numbers of rows from 1 up; None means 0.2, or nothing of fewer than 10 rows. The test part
    of a source that has its own is that one. ``standardize_target=False`` leaves the numbers of a regression as they
    are. :class:`TrainOptions` explains the other arguments.

    Several Parquet files, and one that would take more than a quarter of the machine's memory, are streamed: the part
    to train on is then a :class:`ParquetStream`, and the others have at most 100,000 rows each.
    """
    files = files_to_stream(source)
    if files is not None:
        return prepare_stream(
            files, target=target, task=task, test_size=test_size, validation_size=validation_size, split=split,
            categorical=categorical, drop=drop, missing=missing, seed=seed, standardize_target=standardize_target,
        )  # fmt: skip
    assert isinstance(source, str | Path)
    opened = open_source(source, target)
    if isinstance(opened.train, Table):
        return _prepare_table(
            opened, task, test_size, validation_size, split, TablePreprocessor(categorical, drop, missing=missing),
            seed, standardize_target,
        )  # fmt: skip
    if categorical or drop or missing != "median":
        raise InvalidInputError(f"{opened.name} has no table of columns; leave categorical, drop and missing out.")
    whole = opened.train
    if whole.target is None or whole.y is None:
        raise DataError(f"{opened.name} has no target to learn.")
    if task not in (None, whole.task) and not (task == "classification" and whole.target.classes):
        raise InvalidInputError(f"{opened.name} has a {whole.task} target; leave the task out.")
    if opened.test is not None and not isinstance(opened.test, Dataset):
        raise InvalidInputError(f"{opened.name} mixes a dataset and a table.")
    rows = _split(whole.n_rows, whole.target, whole.y, whole.groups, opened.test is not None,
                  test_size, validation_size, split, seed)  # fmt: skip
    training, validation, test = (None if part is None else whole.take(part) for part in rows)
    assert training is not None
    test = opened.test if opened.test is not None else test
    return _finish(
        opened.name, training, validation, test, whole.target, None, "", whole.n_features, standardize_target
    )


def _prepare_table(
    source: Source,
    task: TaskRequest | None,
    test_size: float | None,
    validation_size: float | None,
    split: str,
    preprocessor: TablePreprocessor,
    seed: Seed,
    standardize_target: bool,
) -> PreparedData:
    whole = source.train
    assert isinstance(whole, Table)
    frame, labels = whole.split_target()
    target = Target.detect(labels, task)
    if 2 * len(target.classes) > len(labels):
        raise DataError(
            f"The target {whole.target!r} has {len(target.classes)} classes in {len(labels)} rows, fewer than two rows "
            "a class; choose another column to predict, or the task 'regression' if it is a number."
        )
    _check_cells(frame, {*preprocessor.categorical, *preprocessor.drop})
    codes = target.encode(labels)
    rows = _split(len(frame), target, codes, None, source.test is not None, test_size, validation_size, split, seed)
    parts: list[tuple[pd.DataFrame, pd.Series[Any]] | None] = [
        None if part is None else (frame.iloc[part], labels.iloc[part]) for part in rows
    ]
    if source.test is not None:
        assert isinstance(source.test, Table)
        parts[2] = source.test.split_target()
    assert parts[0] is not None
    preprocessor.fit(parts[0][0])
    datasets = [
        None
        if part is None
        else Dataset(
            preprocessor.transform(part[0]), part[1], preprocessor.feature_names, name=source.name, target=target
        )
        for part in parts
    ]
    assert datasets[0] is not None
    return _finish(
        source.name, datasets[0], datasets[1], datasets[2], target, preprocessor, whole.target, frame.shape[1],
        standardize_target,
    )  # fmt: skip


def _finish(
    name: str,
    training: Dataset,
    validation: Dataset | None,
    test: Dataset | None,
    target: Target,
    table: TablePreprocessor | None,
    target_name: str,
    n_columns: int,
    standardize_target: bool,
) -> PreparedData:
    """Standardise the numbers to predict as the training part teaches; ``test`` keeps its own units."""
    judged = training if test is None else test
    scaling: TargetScaling | None = None
    if target.task == "regression" and standardize_target:
        assert training.y is not None
        scaling = TargetScaling.learn(training.y)
        training = with_targets(training, scaling)
        validation = None if validation is None else with_targets(validation, scaling)
    return PreparedData(
        name, training, validation, judged, target, table, scaling, target_name, test is not None, n_columns
    )


def _split(
    n_rows: int,
    target: Target,
    codes: Array,
    groups: Array | None,
    has_test_part: bool,
    test_size: float | None,
    validation_size: float | None,
    split: str,
    seed: Seed,
) -> tuple[IntArray | None, IntArray | None, IntArray | None]:
    """Return the row numbers to train, validate and test with; None for a part that is not wanted."""

    def size(given: float | None) -> float:
        if given is None:
            return 0.0 if n_rows < FEWEST_ROWS_TO_SPLIT else DEFAULT_SHARE
        return int(given) if given >= 1 and float(given).is_integer() else given

    def divide(rows: IntArray, wanted: float, name: str) -> tuple[IntArray, IntArray | None]:
        if wanted == 0:
            return rows, None
        keys: dict[str, Any] = {}
        if split == "time":
            keys = {"strategy": "time"}
        elif split == "auto" and groups is not None:
            keys = {"strategy": "group", "groups": groups[rows]}
        elif split == "auto" and target.classes:
            keys = {"strategy": "stratified", "labels": target.class_array()[codes[rows]]}
        try:
            kept, aside = split_rows(len(rows), wanted, seed=seed, **keys)
        except InvalidInputError as error:
            raise type(error)(str(error).replace("test_size", name)) from None
        return rows[kept], rows[aside]

    n_parts = 1 + (not has_test_part and size(test_size) > 0) + (size(validation_size) > 0)
    if split == "auto" and target.classes and groups is None:
        _check_classes(target, codes, n_parts)
    everything = np.arange(n_rows)
    rest, test = (everything, None) if has_test_part else divide(everything, size(test_size), "test_size")
    training, validation = divide(rest, size(validation_size), "validation_size")
    return training, validation, test


def _check_classes(target: Target, codes: Array, n_parts: int) -> None:
    """Refuse a class that is too rare to stand in every part."""
    counts = np.bincount(codes, minlength=len(target.classes))
    rare = np.flatnonzero((counts > 0) & (counts < n_parts))
    if len(rare):
        n_rows = f"{counts[rare[0]]} row{'s' if counts[rare[0]] > 1 else ''}"
        raise DataError(
            f"The class {target.classes[rare[0]]!r} has {n_rows} only, and each of the {n_parts} parts (training, "
            "validation, test) needs one; add rows of it, leave it out, or choose the split 'random'."
        )


def _check_cells(frame: pd.DataFrame, exempt: set[str]) -> None:
    """Refuse cells that cannot be read while rows still have the numbers that they have in the file."""
    for label in frame.columns:
        if str(label) not in exempt:
            summary = ColumnSummary(str(label))
            summary.add(frame[label])
            summary.kind()
