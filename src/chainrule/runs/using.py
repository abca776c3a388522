"""Using a trained model on the rows of a file, or of a data set that has a name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data import catalog
from chainrule.data.dataset import Dataset
from chainrule.data.parquet_files import read_frames
from chainrule.data.parts import Table
from chainrule.data.reader import read_table
from chainrule.errors import DataError, nearest_name
from chainrule.model import Model
from chainrule.runs.source import files_to_stream
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "class_probabilities",
    "evaluate_source",
    "predict_chunks",
    "predict_source",
    "prediction_csv",
    "prediction_frame",
]


def predict_source(model: Model, source: str | Path) -> pd.DataFrame:
    """Return a frame with a ``prediction`` for each row, and a column ``probability_<class>`` for each class.

    ``source`` is a file, with or without the column to predict, or a name in the catalogue: its test part, if any.
    """
    inputs, _ = _read(model, source)
    return prediction_frame(model, model.outputs(inputs))


def predict_chunks(model: Model, source: str | Path) -> Iterator[pd.DataFrame]:
    """Yield what :func:`predict_source` returns in pieces: of Parquet files as they are read, of any other at once.

    ``source`` may be a folder or a pattern of Parquet files, too. Any number of rows takes the memory of some thousand.
    """
    path = Path(source).expanduser()
    files = files_to_stream(source)
    if files is None and path.suffix.lower() == ".parquet" and path.is_file():
        files = (path,)
    if files is None:
        yield predict_source(model, source)
        return
    for file in files:
        n_rows = 0
        for frame, origin in read_frames(file):
            inputs = frame.drop(columns=[name for name in frame.columns if name == (model.target_name or "y")])
            if model.table is not None:
                X = model.table.transform(inputs, origin)
            else:
                X = _checked_width(model, Dataset(inputs).X, file.name)
            n_rows += len(frame)
            yield prediction_frame(model, model.outputs_of(X))
        if n_rows == 0:
            raise DataError(f"{file.name} holds a table without rows or columns.")


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


def evaluate_source(model: Model, source: str | Path) -> dict[str, float]:
    """Return the metrics of a model on a file that has the column to predict, or on a data set's test part."""
    inputs, y = _read(model, source)
    if y is None:
        name = model.target_name or "y"
        columns = [str(column) for column in getattr(inputs, "columns", ())]
        raise DataError(
            f"{source} has no column {name!r} with the true values to compare with.{nearest_name(name, columns)}"
        )
    return model.evaluate(inputs, y)


def _read(model: Model, source: str | Path) -> tuple[Any, Any]:
    """Return what the model takes, and the true targets where they are there."""
    if isinstance(source, str) and source in catalog.names():
        opened = catalog.get(source).load()
        part = opened.train if opened.test is None else opened.test
        if isinstance(part, Table):
            return _from_frame(model, part.frame, str(source))
        if part.y is None or part.target is None:
            return part.X, None
        y = part.target.class_array()[part.y] if part.target.classes else part.y
        return _checked_width(model, part.X, source), y
    return _from_frame(model, read_table(source), Path(source).name)


def _from_frame(model: Model, frame: pd.DataFrame, name: str) -> tuple[Any, Any]:
    target = model.target_name or "y"
    y: Any = None
    if target in frame.columns:
        if frame[target].notna().all():
            y = frame[target].to_numpy()
        elif frame[target].notna().any():
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
