"""Predict and evaluate with a trained model on a data frame, a file, or a named data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chainrule.data import catalog
from chainrule.data.cells import UNNAMED, Origin
from chainrule.data.columns import UnknownCategories
from chainrule.data.dataset import Dataset
from chainrule.data.file_content import name_of_content
from chainrule.data.inputs import numbers_of_texts
from chainrule.data.parquet_files import ParquetFile, name_of_files, read_frames
from chainrule.data.parts import Table, is_missing_target
from chainrule.data.reader import read_table
from chainrule.data.table import as_frame
from chainrule.data.target_summary import encode_labels, refuse_missing_labels
from chainrule.data.texts import normal_text
from chainrule.errors import DataError, InvalidInputError, listed, nearest_name, warn
from chainrule.metrics.inputs import class_probabilities
from chainrule.model import Model, measure
from chainrule.named import checked
from chainrule.paths import expand_user, is_file
from chainrule.rounding import n_digits
from chainrule.runs.folder import load_run
from chainrule.runs.results import RunResult
from chainrule.runs.source import Frame, RunSource, files_to_stream
from chainrule.types import Array, is_sparse

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Trained",
    "evaluate",
    "is_named_like_training_data",
    "predict",
    "predict_chunks",
    "prediction_csv",
    "prediction_frame",
]

# The source of the rows to predict: rows in memory, files, or the name of a data set.
Rows: TypeAlias = RunSource | Sequence[str | Path] | Array | Dataset
# A trained model, the result of a run, or the path of a run folder or model file.
Trained: TypeAlias = Model | RunResult | str | Path


@checked
def predict(model: Trained, source: Rows, *, keep: Sequence[str] = (), interval: float | None = None) -> pd.DataFrame:
    """Return a frame with a ``prediction`` for each row, and a column ``probability_<class>`` for each class.

    Parameters
    ----------
    model
        A model, the result of :func:`train`, or the path of a run folder or model file.
    source
        A pandas or polars data frame or the path of a file, with or without the target column; several Parquet files,
        or a folder or a pattern of them; or the name of a data set, of which the test set is used if it has one. Models
        trained on arrays also accept an array or a :class:`Dataset`.
    keep
        Columns of the source, such as an id, to put before the predictions.
    interval
        For a regression, the share of the true values that may lie outside the columns ``lower`` and ``upper``, such
        as 0.1: see :meth:`Model.predict_interval`. Without it, there are no such columns.

    Returns
    -------
    DataFrame
        The predictions. If ``source`` is a pandas frame, they have the same index.
    """
    import pandas as pd

    predictions = pd.concat([*predict_chunks(model, source, keep=keep, interval=interval)], ignore_index=True)
    return predictions.set_index(source.index) if isinstance(source, pd.DataFrame) else predictions


def predict_chunks(
    model: Trained, source: Rows, *, keep: Sequence[str] = (), interval: float | None = None
) -> Iterator[pd.DataFrame]:
    """Yield the frame of :func:`predict` in chunks. Sources other than Parquet files are one chunk.

    The memory needed does not grow with the number of rows in Parquet files.
    """
    import pandas as pd

    model = _open(model)
    if isinstance(keep, str):
        raise InvalidInputError(f"keep is a list of column names, not one text; write keep=[{keep!r}].")
    keep = [normal_text(str(name)) for name in keep]
    rows, unknown = _open_rows(model, source), UnknownCategories()
    if isinstance(rows, Dataset):
        if keep:
            raise InvalidInputError(f"{rows.name} has no named columns to keep; omit keep.")
        yield _predicted(model, _inputs_of_dataset(model, rows), interval)
        return
    for name, frame, origin in rows:
        for column in keep:
            if column not in frame.columns:
                raise DataError(f"{name} has no column {column!r} to keep.{nearest_name(column, frame.columns)}")
        predictions = _predicted(model, _inputs_of_frame(model, frame, name, origin, unknown), interval)
        for column in keep:
            if column in predictions.columns:
                raise DataError(
                    f"The column {column!r} to keep has the name of a column of the predictions; rename it in the data."
                )
        yield pd.concat([frame[list(keep)].reset_index(drop=True), predictions], axis=1) if keep else predictions
    _warn_about_unknown(unknown)


def _predicted(model: Model, inputs: Any, interval: float | None) -> pd.DataFrame:
    outputs = model.network.predict(inputs)
    limits = None if interval is None else model.intervals_of(outputs, interval)
    return prediction_frame(model, model.predictions_of(outputs), limits)


def prediction_frame(model: Model, outputs: Array, limits: Array | None = None) -> pd.DataFrame:
    """Return the frame of :func:`predict` for outputs of the model, and for limits of :meth:`Model.intervals_of`."""
    import pandas as pd

    columns: dict[str, Any] = {"prediction": model.target.decode(outputs)}
    if model.target.classes:
        names = model.notes.get("label_names") or [str(label) for label in model.target.classes]
        probabilities = class_probabilities(outputs)
        columns |= {f"probability_{name}": probabilities[:, place] for place, name in enumerate(names)}
    elif model.target.task == "multilabel":
        columns = {f"prediction_{place + 1}": label for place, label in enumerate(columns["prediction"].T)}
        columns |= {f"probability_{place + 1}": probability for place, probability in enumerate(outputs.T)}
    elif outputs.shape[1] > 1:
        columns = {f"prediction_{place + 1}": outputs[:, place] for place in range(outputs.shape[1])}
    if limits is not None:
        ends = [f"_{place + 1}" for place in range(limits.shape[1])] if limits.ndim == 3 else [""]
        for end, of_target in zip(ends, limits.reshape(len(limits), -1, 2).swapaxes(0, 1), strict=True):
            columns |= {f"lower{end}": of_target[:, 0], f"upper{end}": of_target[:, 1]}
    return pd.DataFrame(columns)


def prediction_csv(model: Model, frame: pd.DataFrame, header: bool = True, n_kept: int = 0) -> str:
    """Return a frame of :func:`predict` as CSV.

    Predicted numbers and probabilities have seven significant digits (seventeen for networks in float64). Labels and
    the first ``n_kept`` columns are not rounded.
    """
    not_rounded = list(frame.columns[:n_kept])
    if model.target.classes:  # numeric labels
        not_rounded.append("prediction")
    number_format = f"%.{n_digits(model.network.stack.dtype)}g"
    objects = frame.astype(dict.fromkeys(not_rounded, object))
    text: str = objects.to_csv(index=False, header=header, float_format=number_format)
    return text


@checked
def evaluate(model: Trained, source: Rows, *, drop_missing_target: bool = False) -> dict[str, float]:
    """Return the metrics of a model on rows with known targets.

    Parquet files are read in chunks. The targets and outputs of all rows are kept in memory, because metrics such as
    the area under the ROC curve need all of them.

    Parameters
    ----------
    model, source
        As for :func:`predict`. Pass an array with its targets as a :class:`Dataset`.
    drop_missing_target
        Whether to drop rows whose target is missing. Otherwise such rows are an error.
    """
    model = _open(model)
    rows, unknown = _open_rows(model, source), UnknownCategories()
    if isinstance(rows, Dataset):
        _inputs_of_dataset(model, rows)  # checks the number of columns
        return model.evaluate(rows)
    target = _target_column(model)
    for file in _parquet_files(source) or ():  # checked before any rows are read
        _check_has_target(target, file.name, ParquetFile.open(file).kinds)
    codes, outputs = [], []
    for name, chunk, chunk_origin in rows:
        _check_has_target(target, name, chunk.columns)
        frame, origin = chunk, chunk_origin
        if drop_missing_target:
            row_numbers = np.flatnonzero(~is_missing_target(frame[target], model.target))
            frame, origin = frame.iloc[row_numbers], origin.take(row_numbers)
        if len(frame):
            refuse_missing_labels(frame[target], target, origin, model.target)
            codes.append(encode_labels(model.target, frame[target], origin))
            outputs.append(model.outputs_of(_inputs_of_frame(model, frame, name, origin, unknown)))
    if not codes:
        raise DataError(f"The target {target!r} is missing in every row.")
    _warn_about_unknown(unknown)
    return measure(model.target.task, np.concatenate(codes), np.concatenate(outputs))


def is_named_like_training_data(model: Model, source: str | Path | Sequence[str | Path]) -> bool:
    """Return whether the model was trained on data with this name, so that metrics on it may be too optimistic."""
    files = _parquet_files(source)
    if files is not None:
        return name_of_files(files) == model.notes.get("data")
    assert isinstance(source, str | Path)
    return Path(source).name == model.notes.get("data")


def _open(model: Trained) -> Model:
    if isinstance(model, RunResult):
        return model.model
    if isinstance(model, str | Path):
        return load_run(model)
    if not isinstance(model, Model):
        raise InvalidInputError(
            f"model must be a Model, the result of train, or the path of a run folder, not a {type(model).__name__}."
        )
    return model


def _parquet_files(source: Rows) -> tuple[Path, ...] | None:
    """Return the Parquet files of a source, which are read in chunks; None for any other source."""
    if isinstance(source, Dataset) or is_sparse(source) or isinstance(source, np.ndarray):
        return None
    files = files_to_stream(source)
    if files is None and isinstance(source, str | Path):
        path = expand_user(source)
        return (path,) if path.suffix.lower() == ".parquet" and is_file(path) else None
    return files


def _open_rows(model: Model, source: Rows) -> Dataset | Iterable[tuple[str, pd.DataFrame, Origin]]:
    """Return the rows of a source as a dataset, or as frames with their names and origins.

    A named data set is represented by its test set if it has one.
    """
    files = _parquet_files(source)
    if files is not None:
        return _read_chunks(files)
    if isinstance(source, Dataset):
        return source
    if is_sparse(source) or isinstance(source, np.ndarray):
        return Dataset(model.inputs(source), name="The array")
    if isinstance(source, Frame):
        return [("The data frame", as_frame(source), UNNAMED)]
    if isinstance(source, str) and source in catalog.names():
        opened = catalog.get(source).load()
        part = opened.train if opened.test is None else opened.test
        return [(source, part.frame, UNNAMED)] if isinstance(part, Table) else part
    assert isinstance(source, str | Path)
    name = name_of_content(source)
    return [(name, as_frame(read_table(source)), Origin(name))]


def _read_chunks(files: Sequence[Path]) -> Iterator[tuple[str, pd.DataFrame, Origin]]:
    n_rows = 0
    for file in files:
        for frame, origin in read_frames(file):
            n_rows += len(frame)
            yield file.name, frame, origin
    if n_rows == 0:
        raise DataError(f"{name_of_files(files)} contains a table without rows or columns.")


def _target_column(model: Model) -> str:
    return normal_text(model.target_name) or "y"


def _check_has_target(target: str, name: str, columns: Iterable[Any]) -> None:
    names = list(map(str, columns))
    if target not in names:
        raise DataError(
            f"{name} has no column {target!r} with the true values to compare with.{nearest_name(target, names)}"
        )


def _warn_about_unknown(unknown: UnknownCategories) -> None:
    """Warn about categories that are unknown because no training row has them."""
    if unknown:
        counts = {name: f"{n:,} row{'s' if n > 1 else ''}" for name, (n, _) in unknown.items()}
        columns = listed([f"{name!r} ({counts[name]}, such as {text!r})" for name, (_, text) in unknown.items()])
        warn(f"Categories that the training data did not have: {columns}; predictions for these rows may be wrong.")


def _inputs_of_frame(model: Model, frame: pd.DataFrame, name: str, origin: Origin, unknown: UnknownCategories) -> Any:
    inputs = frame.drop(columns=_target_column(model), errors="ignore")
    if model.table is not None:
        return model.table.encode(inputs, origin, unknown)
    return _check_width(model, Dataset(numbers_of_texts(inputs, origin)).X, name)


def _inputs_of_dataset(model: Model, dataset: Dataset) -> Any:
    if model.table is not None and dataset.feature_names != model.table.feature_names:
        raise DataError(f"{dataset.name} is not a table; this model needs a table with named columns.")
    return _check_width(model, dataset.X, dataset.name)


def _check_width(model: Model, X: Any, name: str) -> Any:
    """Return the inputs unchanged. Raises DataError if the model has another number of inputs."""
    n_inputs = model.network.stack.input_shape()[0]
    if X.shape[1] != n_inputs:
        raise DataError(f"{name or 'The data set'} has {X.shape[1]} columns of inputs; this model needs {n_inputs}.")
    return X
