"""Using a trained model on the rows of a file, or of a data set that has a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data import catalog
from chainrule.data.cells import Origin
from chainrule.data.dataset import Dataset
from chainrule.data.parquet_files import ParquetFile, name_of_files, read_frames
from chainrule.data.parts import Table
from chainrule.data.reader import read_table
from chainrule.data.target_summary import encode_labels, refuse_missing_labels
from chainrule.errors import DataError, nearest_name
from chainrule.model import Model, measure
from chainrule.runs.source import files_to_stream
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "class_probabilities",
    "evaluate_source",
    "is_named_like_training_data",
    "predict_chunks",
    "predict_source",
    "prediction_csv",
    "prediction_frame",
]


def predict_source(model: Model, source: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Return a frame with a ``prediction`` for each row, and a column ``probability_<class>`` for each class.

    ``source`` is a file, with or without the column to predict; several Parquet files, a folder or a pattern of them;
    or a name in the catalogue: its test part, if any.
    """
    import pandas as pd

    return pd.concat(predict_chunks(model, source), ignore_index=True)


def predict_chunks(model: Model, source: str | Path | Sequence[str | Path]) -> Iterator[pd.DataFrame]:
    """Yield what :func:`predict_source` returns in pieces: of Parquet files as they are read, of any other at once.

    Any number of rows takes the memory of some thousand.
    """
    files = _files_in_pieces(source)
    if files is None:
        assert isinstance(source, str | Path)
        inputs, _ = _read(model, source, with_target=False)
        yield prediction_frame(model, model.outputs(inputs))
        return
    for X, _, _ in _pieces(model, files):
        yield prediction_frame(model, model.outputs_of(X))


def prediction_frame(model: Model, outputs: Array) -> pd.DataFrame:
    """Return the frame of :func:`predict_source` for what ``model.outputs`` gave."""
    import pandas as pd

    columns: dict[str, Any] = {"prediction": model.target.decode(outputs)}
    if model.target.classes:
        names = model.notes.get("label_names") or [str(label) for label in model.target.classes]
        probabilities = class_probabilities(outputs)
        columns |= {f"probability_{name}": probabilities[:, place] for place, name in enumerate(names)}
    elif outputs.shape[1] > 1:
        columns = {f"prediction_{place + 1}": outputs[:, place] for place in range(outputs.shape[1])}
    return pd.DataFrame(columns)


def prediction_csv(model: Model, frame: pd.DataFrame, header: bool = True) -> str:
    """Return a frame of :func:`prediction_frame` as CSV: numbers with seven digits, labels as they were given."""
    if model.target.classes:  # a label that is a number is a name, and no measurement
        frame = frame.astype({"prediction": object})
    text: str = frame.to_csv(index=False, header=header, float_format="%.7g")
    return text


def class_probabilities(outputs: Array) -> Array:
    """Return a column for each class, from those or from the one column of the second of two classes."""
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def evaluate_source(model: Model, source: str | Path | Sequence[str | Path]) -> dict[str, float]:
    """Return the metrics of a model on rows that have the column to predict.

    ``source`` is that of :func:`predict_source`. Parquet files are read in pieces. What is kept of a row are its target
    and the model's outputs, since metrics such as the area under the ROC curve need those of all rows at once.
    """
    files = _files_in_pieces(source)
    if files is not None:
        return _evaluate_files(model, files)
    assert isinstance(source, str | Path)
    inputs, y = _read(model, source, with_target=True)
    if y is None:
        raise _no_target(model, str(source), getattr(inputs, "columns", ()))
    return model.evaluate(inputs, y)


def is_named_like_training_data(model: Model, source: str | Path | Sequence[str | Path]) -> bool:
    """Whether the model was trained on data of this name, so that its metrics on them may flatter it."""
    files = _files_in_pieces(source)
    if files is not None:
        return name_of_files(files) == model.notes.get("data")
    assert isinstance(source, str | Path)
    return Path(source).name == model.notes.get("data")


def _evaluate_files(model: Model, files: Sequence[Path]) -> dict[str, float]:
    for file in files:  # before any of them is read
        columns = ParquetFile.open(file).kinds
        if _target_name(model) not in columns:
            raise _no_target(model, file.name, columns)
    codes, outputs = [], []
    for X, labels, origin in _pieces(model, files):
        refuse_missing_labels(labels, _target_name(model), origin)
        codes.append(encode_labels(model.target, labels, origin))
        outputs.append(model.outputs_of(X))
    return measure(model.target.task, np.concatenate(codes), np.concatenate(outputs))


def _target_name(model: Model) -> str:
    return model.target_name or "y"


def _no_target(model: Model, name: str, columns: Iterable[Any]) -> DataError:
    target = _target_name(model)
    return DataError(
        f"{name} has no column {target!r} with the true values to compare with."
        f"{nearest_name(target, map(str, columns))}"
    )


def _files_in_pieces(source: str | Path | Sequence[str | Path]) -> tuple[Path, ...] | None:
    """Return the files of a source that is Parquet, which is read in pieces; None for any other."""
    files = files_to_stream(source)
    if files is None and isinstance(source, str | Path):
        path = Path(source).expanduser()
        return (path,) if path.suffix.lower() == ".parquet" and path.is_file() else None
    return files


def _pieces(model: Model, files: Sequence[Path]) -> Iterator[tuple[Any, pd.Series[Any] | None, Origin]]:
    """Yield the rows of files a piece at a time: the network's inputs, the targets where they are there, the origin."""
    target, n_rows = _target_name(model), 0
    for file in files:
        for frame, origin in read_frames(file):
            labels = frame[target] if target in frame.columns else None
            inputs = frame.drop(columns=target, errors="ignore")
            if model.table is not None:
                X = model.table.transform(inputs, origin)
            else:
                X = _checked_width(model, Dataset(inputs).X, file.name)
            n_rows += len(frame)
            yield X, labels, origin
    if n_rows == 0:
        raise DataError(f"{name_of_files(files)} holds a table without rows or columns.")


def _read(model: Model, source: str | Path, *, with_target: bool) -> tuple[Any, Any]:
    """Return what the model takes, and the true targets where they are wanted and there."""
    if isinstance(source, str) and source in catalog.names():
        opened = catalog.get(source).load()
        part = opened.train if opened.test is None else opened.test
        if isinstance(part, Table):
            return _from_frame(model, part.frame, str(source), with_target=with_target)
        if part.y is None or part.target is None:
            return part.X, None
        y = part.target.labels_of(part.y) if part.target.classes else part.y
        return _checked_width(model, part.X, source), y
    return _from_frame(model, read_table(source), Path(source).name, with_target=with_target)


def _from_frame(model: Model, frame: pd.DataFrame, name: str, *, with_target: bool) -> tuple[Any, Any]:
    target = _target_name(model)
    y: Any = None
    if target in frame.columns:
        if with_target and frame[target].notna().any():
            _, y = Table(frame, target, name).split_target()  # names the rows where it is missing
        frame = frame.drop(columns=target)
    if model.table is not None:
        return frame, y
    return _checked_width(model, Dataset(frame).X, name), y


def _checked_width(model: Model, X: Any, source: str | Path) -> Any:
    """Return the inputs of a model that takes arrays; refuse another number of columns."""
    if model.table is not None:
        raise DataError(f"{source} is no table, and this model takes one with its columns by name.")
    wanted = model.network.stack.input_shape()[0]
    if X.shape[1] != wanted:
        raise DataError(f"{source} has {X.shape[1]} columns of inputs, and this model takes {wanted}.")
    return X
