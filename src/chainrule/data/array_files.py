"""Tables in NumPy's own files, .npy and .npz, read without pickle."""

from __future__ import annotations

import tokenize
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from chainrule.data.unpacking import UNPACKING_PROBLEMS, check_zip_member
from chainrule.errors import DataError
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ARRAY_FILE_PROBLEMS", "map_npy", "read_array", "read_npy", "read_npz"]

# What NumPy and zipfile raise for files that are damaged, or announce arrays that no memory could hold.
ARRAY_FILE_PROBLEMS = (
    *UNPACKING_PROBLEMS, TypeError, MemoryError, OverflowError, SyntaxError, tokenize.TokenError,
)  # fmt: skip

# A column of a table costs some kilobytes and a fraction of a millisecond, whatever it holds.
MOST_COLUMNS = 2**17

# What people call the two parts and the two arrays, in lower case.
_INPUT_KEYS = {"train": ("x_train", "train_x", "x", "data", "features"), "test": ("x_test", "test_x")}
_LABEL_KEYS = {"train": ("y_train", "train_y", "y", "target", "labels"), "test": ("y_test", "test_y")}
_NAMES_KEY = "feature_names"


def map_npy(path: Path) -> Array:
    """Return the array of a .npy file without reading it; raise ``DataError``, naming the file, for anything else."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"There is no file {path}.") from None
    except ARRAY_FILE_PROBLEMS as problem:
        raise DataError(_unreadable(path, problem)) from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path.name} is not a .npy file but an archive; call it .npz.")
    return array


def read_npy(path: Path) -> pd.DataFrame:
    """Return a .npy array as a frame: columns column_1, column_2, ..., or the fields of a structured array."""
    import pandas as pd

    array = map_npy(path)
    if array.dtype.names is None:
        return _columns(array, "column_", path)
    rows, fields = array.reshape(-1), {}
    for name in array.dtype.names:
        if rows[name].ndim > 1:
            raise DataError(f"{path.name} has an array in each cell of the field {name!r}; give each cell one value.")
        fields[name] = _columns(rows[name], "", path).iloc[:, 0]
    return pd.DataFrame(fields)


def read_npz(path: Path) -> dict[str, pd.DataFrame]:
    """Return the parts of a .npz archive as frames with columns x1, x2, ... and y.

    The arrays are X and y, or x_train, y_train, x_test, y_test; an array ``feature_names`` names the columns.
    A lone array becomes the columns column_1, column_2, ... Other arrays are not read.
    """
    keys = {_NAMES_KEY, *(key for part in ("train", "test") for key in (*_INPUT_KEYS[part], *_LABEL_KEYS[part]))}
    try:
        with path.open("rb") as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise DataError(f"{path.name} is not a .npz archive but a single array; call it .npy.")
        with zipfile.ZipFile(path) as archive:
            members = {
                member.filename.removesuffix(".npy").lower(): member
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
            wanted = [*members] if len(members) == 1 else [name for name in members if name in keys]
            arrays = {name: read_array(archive, members[name], path) for name in wanted}
    except DataError:
        raise
    except ARRAY_FILE_PROBLEMS as problem:
        raise DataError(_unreadable(path, problem)) from None
    names = arrays.pop(_NAMES_KEY, None)
    parts = {}
    for part in ("train", "test"):
        inputs = next((arrays[key] for key in _INPUT_KEYS[part] if key in arrays), None)
        labels = next((arrays[key] for key in _LABEL_KEYS[part] if key in arrays), None)
        if inputs is not None:
            parts[part] = _part(inputs, labels, names, path)
    if "train" in parts:
        return parts
    if len(members) == 1 and arrays:
        return {"train": _columns(next(iter(arrays.values())), "column_", path)}
    raise DataError(f"{path.name} needs arrays X and y, or x_train and y_train; it has {_listing(members)}.")


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Array:
    """Return the array in a member of the .npz file at ``path``; raises one of ``ARRAY_FILE_PROBLEMS`` for damage."""
    check_zip_member(member, path)
    with archive.open(member) as file:
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


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
    """Return an array as a frame, its columns numbered."""
    import pandas as pd

    if array.dtype.kind not in "biufSUM" or array.ndim == 0 or array.dtype.itemsize == 0:
        raise DataError(f"{path.name} holds an array of {array.dtype} and shape {array.shape}, which is not a table.")
    if array.size == 0:
        raise DataError(f"{path.name} holds a table without rows or columns: an array of shape {array.shape}.")
    if array.size // len(array) > MOST_COLUMNS:
        raise DataError(
            f"{path.name} has {array.size // len(array):,} columns, and a table {MOST_COLUMNS:,} at most; give the "
            "array itself to Dataset, or leave columns out."
        )
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as problem:
            raise DataError(f"{path.name} holds bytes that are not UTF-8 text ({problem.object!r:.40}).") from None
    matrix = np.array(array).reshape(len(array), -1)  # no longer a part of the file
    return pd.DataFrame(matrix, columns=[f"{prefix}{number + 1}" for number in range(matrix.shape[1])])


def _unreadable(path: Path, problem: Exception) -> str:
    if any(words in str(problem) for words in ("allow_pickle", "Object arrays", "Python objects")):
        return f"{path.name} holds Python objects, which are not read because they can run code; save plain arrays."
    if "encrypted" in str(problem):
        return f"{path.name} is encrypted; save it without a password."
    return f"{path.name} is damaged or not a NumPy file; write it again with numpy.save or numpy.savez."


def _listing(names: Iterable[str] | Mapping[str, object]) -> str:
    return ", ".join(sorted(names)[:8]) or "none"
