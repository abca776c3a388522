"""Tables in NumPy's own files, .npy and .npz, read without pickle."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chainrule.errors import DataError
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ARRAY_FILE_PROBLEMS", "read_npy", "read_npz"]

# What NumPy and zipfile raise for files that are damaged, or announce arrays that no memory could hold.
ARRAY_FILE_PROBLEMS = (
    ValueError, EOFError, OSError, MemoryError, OverflowError, NotImplementedError, SyntaxError, RecursionError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip

# What people call the two parts and the two arrays, in lower case.
_INPUT_KEYS = {"train": ("x_train", "train_x", "x", "data", "features"), "test": ("x_test", "test_x")}
_LABEL_KEYS = {"train": ("y_train", "train_y", "y", "target", "labels"), "test": ("y_test", "test_y")}


def read_npy(path: Path) -> pd.DataFrame:
    """Return a .npy array as a frame: columns column_1, column_2, ..., or the fields of a structured array."""
    import pandas as pd

    try:
        with path.open("rb") as file:  # numpy.load leaves a damaged file open
            array = np.load(file, allow_pickle=False)
    except ARRAY_FILE_PROBLEMS as problem:
        raise DataError(_unreadable(path, problem)) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path.name} is not a .npy file but an archive; call it .npz.")
    if array.dtype.names:
        return pd.DataFrame(array.reshape(-1))
    return _columns(array, "column_", path)


def read_npz(path: Path) -> dict[str, pd.DataFrame]:
    """Return the parts of a .npz archive as frames with columns x1, x2, ... and y.

    The arrays are X and y, or x_train, y_train, x_test, y_test; an array ``feature_names`` names the columns.
    A lone array becomes the columns column_1, column_2, ...
    """
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"{path.name} is not a .npz archive but a single array; call it .npy.")
            arrays = {name.lower(): archive[name] for name in archive.files}
    except DataError:
        raise
    except ARRAY_FILE_PROBLEMS as problem:
        raise DataError(_unreadable(path, problem)) from None
    names = arrays.pop("feature_names", None)
    parts = {}
    for part in ("train", "test"):
        inputs = next((arrays[key] for key in _INPUT_KEYS[part] if key in arrays), None)
        labels = next((arrays[key] for key in _LABEL_KEYS[part] if key in arrays), None)
        if inputs is not None:
            parts[part] = _part(inputs, labels, names, path)
    if "train" in parts:
        return parts
    if len(arrays) == 1:
        return {"train": _columns(next(iter(arrays.values())), "column_", path)}
    raise DataError(f"{path.name} needs arrays X and y, or x_train and y_train; it has {_listing(arrays)}.")


def _part(inputs: Array, labels: Array | None, names: Array | None, path: Path) -> pd.DataFrame:
    frame = _columns(inputs, "x", path)
    if names is not None and names.shape == (frame.shape[1],) and len(set(names.tolist())) == len(names):
        frame.columns = [str(name) for name in names]
    if labels is None:
        return frame
    if labels.shape[:1] != (len(frame),):
        raise DataError(f"{path.name} has {len(frame)} rows of inputs and labels of shape {labels.shape}.")
    columns = _columns(labels, "y", path)
    if columns.shape[1] == 1:
        columns.columns = ["y"]
    for name in columns.columns:
        if name in frame.columns:
            raise DataError(f"{path.name} has a feature called {name!r}, which is the name of the labels.")
        frame[name] = columns[name]
    return frame


def _columns(array: Array, prefix: str, path: Path) -> pd.DataFrame:
    import pandas as pd

    if array.dtype.kind not in "biufUM" or array.ndim == 0:
        raise DataError(f"{path.name} holds an array of {array.dtype} and shape {array.shape}, which is no table.")
    matrix = array.reshape(len(array), int(np.prod(array.shape[1:])))
    return pd.DataFrame(matrix, columns=[f"{prefix}{number + 1}" for number in range(matrix.shape[1])])


def _unreadable(path: Path, problem: Exception) -> str:
    if "allow_pickle" in str(problem) or "Object arrays" in str(problem):
        return f"{path.name} holds Python objects, which are not read because they can run code; save plain arrays."
    return f"{path.name} is damaged or not a NumPy file; write it again with numpy.save or numpy.savez."


def _listing(arrays: Mapping[str, Array]) -> str:
    return ", ".join(sorted(arrays)[:8]) or "none"
