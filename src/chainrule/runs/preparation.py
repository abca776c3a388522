"""From a source to the rows that a network trains on: split first, then everything learnt on the training part only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.cells import UNNAMED, Origin
from chainrule.data.columns import MissingRule
from chainrule.data.dataset import Dataset
from chainrule.data.number_format import NumberScan
from chainrule.data.parquet_files import ParquetFile
from chainrule.data.parquet_stream import ParquetStream
from chainrule.data.parts import Source, Table, listing
from chainrule.data.sources import open_source
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target, TaskRequest
from chainrule.data.text_columns import table_evidence
from chainrule.data.texts import normal_text
from chainrule.errors import DataError, InvalidInputError, warn
from chainrule.runs.division import Division
from chainrule.runs.prepared import PreparedData
from chainrule.runs.related_rows import (
    find_time,
    only_date,
    read_groups,
    read_times,
    warnings_of_related_rows,
    with_options,
)
from chainrule.runs.source import RunSource, files_to_stream
from chainrule.types import Seed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PreparedData", "prepare_data"]

MOST_CLASSES_SHOWN = 6


def prepare_data(
    source: RunSource | Sequence[str | Path],
    *,
    target: str | None = None,
    task: TaskRequest | None = None,
    test_size: float | None = None,
    validation_size: float | None = None,
    split: str = "auto",
    group: str | None = None,
    time: str | None = None,
    categorical: Sequence[str] = (),
    numeric: Sequence[str] = (),
    dates: Sequence[str] = (),
    drop: Sequence[str] = (),
    missing_words: Sequence[str] = (),
    missing: MissingRule = "median",
    drop_missing_target: bool = False,
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
    group, time = (None if name is None else normal_text(name) for name in (group, time))
    division = Division(test_size, validation_size, split, seed, group, time)
    options = TablePreprocessor(
        categorical, drop, missing=missing, numeric=numeric, dates=dates, missing_words=missing_words
    )
    files = files_to_stream(source)
    if files is not None:
        data = _prepare_stream(files, target, task, options, division, drop_missing_target)
    else:
        opened = open_source(source, target)
        if isinstance(opened.train, Table):
            data = _prepare_table(opened, opened.train, task, options, division, drop_missing_target)
        else:
            for_tables: dict[str, Any] = {"group": group, "time": time, "categorical": categorical}
            for_tables |= {"numeric": numeric, "dates": dates}
            for_tables |= {"drop": drop, "missing_words": missing_words, "drop_missing_target": drop_missing_target}
            given = [name for name, value in for_tables.items() if value]
            given += ["missing"] if missing != "median" else []
            if given:
                raise InvalidInputError(f"{opened.name} has no table of columns; leave out {', '.join(given)}.")
            data = _prepare_arrays(opened, opened.train, task, division)
    for sentence in data.warnings:
        warn(sentence)
    return data.standardized() if standardize_target else data


def _prepare_stream(
    files: Sequence[Path],
    target: str | None,
    task: TaskRequest | None,
    options: TablePreprocessor,
    division: Division,
    drop_missing_target: bool,
) -> PreparedData:
    """Split a stream; its columns are learnt from the training rows in one pass over the files."""
    kinds = ParquetFile.open(files[0]).kinds
    if target is None:
        raise DataError(f"Say which column of {files[0].name} to predict: {listing(list(kinds))}.")
    if division.split == "time" and division.time is None:
        time = only_date([name for name, kind in kinds.items() if kind == "date"])
        division = dataclasses.replace(division, time=time)
    no_inputs = division.columns_without_inputs(options)
    stream = ParquetStream(
        files,
        target,
        columns=[name for name in kinds if name not in (*no_inputs, target)] if no_inputs else None,
        drop=[name for name in options.drop if name not in no_inputs],
        task=task,
        preprocessor=with_options(options, drop=[]),
        drop_missing_target=drop_missing_target,
    )
    parts = division.of_stream(stream)
    training = parts[0]
    data = PreparedData.of_parts(
        parts, training.name, training.target, training.table, training.target_name, training.n_columns
    )
    return dataclasses.replace(
        data,
        split_by=division.shown,
        split_line=division.column_line(options),
        n_without_target=stream.n_without_target,
    )


def _prepare_arrays(source: Source, whole: Dataset, task: TaskRequest | None, division: Division) -> PreparedData:
    if whole.target is None or whole.y is None:
        raise DataError(f"{source.name} has no target to learn.")
    if task not in (None, whole.task) and not (task == "classification" and whole.target.classes):
        raise InvalidInputError(f"{source.name} has a {whole.task} target; leave the task out.")
    if isinstance(source.test, Table):
        raise InvalidInputError(f"{source.name} mixes a dataset and a table.")
    rows = division.of_rows(whole.target, whole.y, whole.groups, has_test_part=source.test is not None)
    training = whole.take(rows[0])
    validation, test = (None if part is None else whole.take(part) for part in rows[1:])
    if source.test is not None:
        test = source.test
    return PreparedData.of_parts((training, validation, test), source.name, whole.target, None, "", whole.n_features)


def _prepare_table(
    source: Source,
    whole: Table,
    task: TaskRequest | None,
    options: TablePreprocessor,
    division: Division,
    drop_missing_target: bool,
) -> PreparedData:
    asked = {"group": division.group, "time": division.time}
    options, marks = options.for_inputs(whole.target)
    options.check_names(whole.frame.columns, target=whole.target, beside=asked)
    (frame, labels), origin = _with_target(whole, drop_missing_target, missing_words=options.missing_words)
    target = Target.learn(
        labels, task, name=whole.target, others=frame, missing_words=options.missing_words, marks=marks
    )
    if 2 * len(target.classes) > len(labels):
        raise DataError(
            f"The target {whole.target!r} has {len(target.classes)} classes in {len(labels)} rows, fewer than two rows "
            "a class; choose another column to predict, or the task 'regression' (--task regression) if it is a "
            f"number.{_no_number(labels)}"
        )
    if division.split == "time" and division.time is None:
        division = dataclasses.replace(division, time=find_time(frame, options, origin))
    groups = None if division.group is None else read_groups(frame, division.group)
    times = None if division.time is None else read_times(frame, division.time, options, origin)
    codes = target.encode(labels)
    rows = division.of_rows(target, codes, groups, times=times, has_test_part=source.test is not None)
    no_inputs = division.columns_without_inputs(options)
    table = with_options(options, drop=[name for name in options.drop if name not in no_inputs])
    inputs = frame.drop(columns=no_inputs)
    table.fit(inputs.iloc[rows[0]], origin.take(rows[0]), table_evidence(labels.to_frame()))

    def numbers(frame: pd.DataFrame, labels: pd.Series[Any], origin: Origin) -> Dataset:
        return Dataset(table.transform(frame, origin), labels, table.feature_names, name=source.name, target=target)

    training, validation, test = (
        None if part is None else numbers(inputs.iloc[part], labels.iloc[part], origin.take(part)) for part in rows
    )
    assert training is not None
    is_random = groups is None and not division.is_by_time and (validation is not None or test is not None)
    if source.test is not None:
        assert isinstance(source.test, Table)
        (test_frame, test_labels), test_origin = _with_target(source.test, drop_missing_target, target)
        test = numbers(test_frame, test_labels, test_origin)
    data = PreparedData.of_parts(
        (training, validation, test), source.name, target, table, whole.target, inputs.shape[1]
    )
    return dataclasses.replace(
        data,
        target_line=_explain(target, whole.target, labels)
        + (f"; {target.remedy_for_quantities}" if task is None and target.remedy_for_quantities else ""),
        split_by=division.shown,
        split_line=division.column_line(options),
        n_without_target=len(whole) - len(frame),
        warnings=tuple(warnings_of_related_rows(inputs, table)) if is_random else (),
    )


def _with_target(
    table: Table, drop_missing: bool, target: Target | None = None, missing_words: Sequence[str] = ()
) -> tuple[tuple[pd.DataFrame, pd.Series[Any]], Origin]:
    """Return the inputs and the targets of the rows that are used, and where these stand in the table."""
    if not drop_missing:
        return table.split_target(target, missing_words), UNNAMED
    rows = table.rows_with_target(target, missing_words)
    return table.take(rows).split_target(target, missing_words), UNNAMED.take(rows)


def _explain(target: Target, name: str, labels: pd.Series[Any]) -> str:
    """Return a line on what the column to predict was taken for, with a sample."""
    note = f"; {target.note}" if target.note else ""
    if target.classes:
        shown = ", ".join(map(str, target.classes[:MOST_CLASSES_SHOWN]))
        more = ", ..." if len(target.classes) > MOST_CLASSES_SHOWN else ""
        return f"{name}: the target, {len(target.classes)} classes, {shown}{more}{note}"
    sample = labels.iloc[0]
    is_read = f", {sample!r} is {target.encode(labels[:1])[0]:.10g}" if isinstance(sample, str) else ""
    return f"{name}: the target, a number{is_read}{note}"


def _no_number(labels: Any) -> str:
    """Return a sentence about the first label that is no number, where most of them are."""
    texts = [normal_text(str(label)) for label in labels]
    scan = NumberScan(texts, np.ones(len(texts), np.int64))
    strangers = np.flatnonzero(np.isnan(scan.read(scan.choose()[0])))
    if not 0 < 2 * len(strangers) < len(labels):
        return ""
    return f" Row {strangers[0] + 1} has {texts[strangers[0]]!r}, which is not a number."
