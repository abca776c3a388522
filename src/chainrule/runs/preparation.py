"""Read a source, split its rows, and encode them with a preprocessor that is fitted to the training set only."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from chainrule.data.target import Target, TaskRequest, missing_label_remedy
from chainrule.data.text_columns import table_conventions
from chainrule.data.texts import normal_text
from chainrule.errors import DataError, InvalidInputError, counted, warn
from chainrule.runs.data_split import DataSplit
from chainrule.runs.leaks import warnings_of_leaks
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
from chainrule.types import IntArray, Seed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PreparedData", "prepare_data"]

MAX_SHOWN_CLASSES = 6
MAX_SAMPLE = 10_000  # of the test rows, which are kept for explanations, and of the training rows that are checked


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
    preset: Literal["plain", "tabular"] = "plain",
) -> PreparedData:
    """Read a source, split its rows, and encode them; the encoding is fitted to the training set.

    Sizes below 1 are shares, other sizes are numbers of rows. None means 0.2, or 0 if there are fewer than 10 rows. If
    the source has its own test set, that one is used. With ``standardize_target=False``, the target of a regression is
    not standardised. With ``preset="tabular"``, tables have no validation set. :class:`TrainOptions` explains the other
    arguments.

    Several Parquet files, and one that would need more than a quarter of the machine's memory, are streamed: the
    training set is then a :class:`ParquetStream`, and the other sets have at most 100,000 rows each.
    """
    group, time = (None if name is None else normal_text(name) for name in (group, time))
    data_split = DataSplit(test_size, validation_size, split, seed, group, time)
    options = TablePreprocessor(
        categorical, drop, missing=missing, numeric=numeric, dates=dates, missing_words=missing_words
    )
    files = files_to_stream(source)
    if files is not None:
        data = _prepare_stream(files, target, task, options, data_split, drop_missing_target)
    else:
        opened = open_source(source, target)
        if isinstance(opened.train, Table):
            if preset == "tabular":
                if validation_size:
                    raise InvalidInputError(
                        "validation_size cannot be combined with preset='tabular', which validates every row with the "
                        "members that are not trained on it; omit it, or give preset='plain' to train one network."
                    )
                data_split = dataclasses.replace(data_split, validation_size=0)
            data = _prepare_table(opened, opened.train, task, options, data_split, drop_missing_target)
        else:
            for_tables: dict[str, Any] = {"group": group, "time": time, "categorical": categorical}
            for_tables |= {"numeric": numeric, "dates": dates}
            for_tables |= {"drop": drop, "missing_words": missing_words, "drop_missing_target": drop_missing_target}
            given = [name for name, value in for_tables.items() if value]
            given += ["missing"] if missing != "median" else []
            if given:
                raise InvalidInputError(f"{opened.name} is not a table with named columns; omit {', '.join(given)}.")
            data = _prepare_arrays(opened, opened.train, task, data_split)
    for sentence in data.warnings:
        warn(sentence)
    return data.standardized() if standardize_target else data


def _prepare_stream(
    files: Sequence[Path],
    target: str | None,
    task: TaskRequest | None,
    options: TablePreprocessor,
    data_split: DataSplit,
    drop_missing_target: bool,
) -> PreparedData:
    """Open a stream and split it. Its columns are analysed in one pass over the training rows."""
    kinds = ParquetFile.open(files[0]).kinds
    if target is None:
        raise DataError(f"Give the target, the column of {files[0].name} to predict: {listing(list(kinds))}.")
    if data_split.split == "time" and data_split.time is None:
        time = only_date([name for name, kind in kinds.items() if kind == "date"])
        data_split = dataclasses.replace(data_split, time=time)
    excluded = data_split.columns_to_exclude(options)
    stream = ParquetStream(
        files,
        target,
        columns=[name for name in kinds if name not in (*excluded, target)] if excluded else None,
        drop=[name for name in options.choices().drop if name not in excluded],
        task=task,
        preprocessor=with_options(options, drop=[]),
        drop_missing_target=drop_missing_target,
    )
    parts = data_split.split_stream(stream)
    training = parts[0]
    data = PreparedData.of_parts(
        parts, training.name, training.target, training.table, training.target_name, training.n_columns
    )
    return dataclasses.replace(
        data,
        split_by=data_split.description,
        split_line=data_split.column_line(options),
        n_without_target=stream.n_without_target,
    )


def _prepare_arrays(source: Source, dataset: Dataset, task: TaskRequest | None, data_split: DataSplit) -> PreparedData:
    target = dataset.target
    if target is None or dataset.y is None:
        raise DataError(f"{source.name} has no target.")
    if task not in (None, dataset.task) and not (task == "classification" and target.classes):
        raise InvalidInputError(f"{source.name} has a {dataset.task} target; omit the task.")
    if isinstance(source.test, Table):
        raise InvalidInputError(f"{source.name} mixes a dataset and a table.")
    rows = data_split.split_rows(target, dataset.y, dataset.groups, has_test_part=source.test is not None)
    training = dataset.take(rows[0])
    validation, test = (None if part is None else dataset.take(part) for part in rows[1:])
    if source.test is not None:
        test = source.test
    return PreparedData.of_parts((training, validation, test), source.name, target, None, "", dataset.n_features)


def _prepare_table(
    source: Source,
    data: Table,
    task: TaskRequest | None,
    options: TablePreprocessor,
    data_split: DataSplit,
    drop_missing_target: bool,
) -> PreparedData:
    split_columns = {"group": data_split.group, "time": data_split.time}
    options, separators = options.for_inputs(data.target)
    options.check_names(data.frame.columns, target=data.target, other_options=split_columns)
    (frame, labels), origin = _separate_target(data, drop_missing_target, missing_words=options.missing_words)
    target = Target.learn(
        labels, task, name=data.target, others=frame, missing_words=options.missing_words, separators=separators
    )
    if 2 * len(target.classes) > len(labels):
        raise DataError(
            f"The target {data.target!r} has {len(target.classes)} classes in {len(labels)} rows, fewer than two rows "
            "per class; choose another column to predict, or the task 'regression' (--task regression) if it is a "
            f"number.{_find_text(labels)}"
        )
    if data_split.split == "time" and data_split.time is None:
        data_split = dataclasses.replace(data_split, time=find_time(frame, options, origin))
    groups = None if data_split.group is None else read_groups(frame, data_split.group)
    times = None if data_split.time is None else read_times(frame, data_split.time, options, origin)
    codes = target.encode(labels)
    rows = data_split.split_rows(target, codes, groups, times=times, has_test_part=source.test is not None)
    excluded = data_split.columns_to_exclude(options)
    table = with_options(options, drop=[name for name in options.choices().drop if name not in excluded])
    inputs = frame.drop(columns=excluded)
    table.fit_frame(inputs.iloc[rows[0]], origin.take(rows[0]), table_conventions(labels.to_frame()))

    def encode(frame: pd.DataFrame, labels: pd.Series[Any], origin: Origin) -> Dataset:
        return Dataset(table.encode(frame, origin), labels, table.feature_names, name=source.name, target=target)

    training, validation, test = (
        None if part is None else encode(inputs.iloc[part], labels.iloc[part], origin.take(part)) for part in rows
    )
    assert training is not None
    tested = inputs.iloc[rows[0] if rows[2] is None else rows[2]]
    training.groups = None if groups is None else groups[rows[0]]
    is_random = groups is None and not data_split.is_by_time and (validation is not None or test is not None)
    if source.test is not None:
        assert isinstance(source.test, Table)
        (test_frame, test_labels), test_origin = _separate_target(source.test, drop_missing_target, target)
        test, tested = encode(test_frame, test_labels, test_origin), test_frame
    sampled, positions = _sample(inputs.iloc[rows[0]])
    prepared = PreparedData.of_parts(
        (training, validation, test), source.name, target, table, data.target, inputs.shape[1]
    )
    return dataclasses.replace(
        prepared,
        target_line=_explain(target, data.target, labels)
        + (f"; {target.remedy_for_quantities}" if task is None and target.remedy_for_quantities else ""),
        split_by=data_split.description,
        split_line=data_split.column_line(options),
        n_without_target=len(data) - len(frame),
        warnings=(
            *(warnings_of_related_rows(inputs, table) if is_random else ()),
            *warnings_of_leaks(sampled, table, codes[rows[0]][positions], are_classes=bool(target.classes)),
        ),
        test_sample=_sample(tested),
    )


def _sample(frame: pd.DataFrame) -> tuple[pd.DataFrame, IntArray]:
    """Return up to MAX_SAMPLE rows of a frame, with their positions."""
    n_rows = len(frame)
    if n_rows <= MAX_SAMPLE:
        return frame, np.arange(n_rows)
    rows = np.sort(np.random.default_rng(0).choice(n_rows, MAX_SAMPLE, replace=False))
    return frame.iloc[rows], rows


def _separate_target(
    table: Table, drop_missing: bool, target: Target | None = None, missing_words: Sequence[str] = ()
) -> tuple[tuple[pd.DataFrame, pd.Series[Any]], Origin]:
    """Return the inputs and the labels of the rows to use, and the positions of these rows in the table."""
    if not drop_missing:
        return table.split_target(target, missing_words), UNNAMED
    rows = table.rows_with_target(target, missing_words)
    return table.take(rows).split_target(target, missing_words), UNNAMED.take(rows)


def _explain(target: Target, name: str, labels: pd.Series[Any]) -> str:
    """Return a line about the target: its detected type with an example."""
    note = f"; {target.note}" if target.note else ""
    if target.classes:
        shown = ", ".join(map(str, target.classes[:MAX_SHOWN_CLASSES]))
        more = ", ..." if len(target.classes) > MAX_SHOWN_CLASSES else ""
        return f"{name}: the target, {len(target.classes)} classes, {shown}{more}{note}"
    sample = labels.iloc[0]
    example = f", {sample!r} is {target.encode(labels[:1])[0]:.10g}" if isinstance(sample, str) else ""
    return f"{name}: the target, a number{example}{note}"


def _find_text(labels: Any) -> str:
    """Return a sentence about the first label that is not a number; empty unless most labels are numbers."""
    texts = [normal_text(str(label)) for label in labels]
    scan = NumberScan(texts, np.ones(len(texts), np.int64))
    not_numbers = np.flatnonzero(np.isnan(scan.read(scan.choose()[0])))
    if not 0 < 2 * len(not_numbers) < len(labels):
        return ""
    word, n_more = texts[not_numbers[0]], len(not_numbers) - 1
    more = f" (and {counted(n_more, 'row')} more)" if n_more else ""
    return (
        f" Row {not_numbers[0] + 1} has {word!r}{more}, which is not a number; correct it{missing_label_remedy(word)}."
    )
