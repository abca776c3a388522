"""Read tables from NumPy files (.npy and .npz), without pickle."""

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

# The exceptions of NumPy and zipfile for damaged files and for headers with impossible sizes.
ARRAY_FILE_PROBLEMS = (
    *UNPACKING_PROBLEMS, TypeError, MemoryError, OverflowError, SyntaxError, tokenize.TokenError,
)  # fmt: skip

# The maximum number of columns. Every column of a table needs some kilobytes, whatever it contains.
MAX_COLUMNS = 2**17

# The usual names of the arrays of inputs and labels in the training and test sets, in lower case.
_INPUT_KEYS = {"train": ("x_train", "train_x", "x", "data", "features"), "test": ("x_test", "test_x")}
_LABEL_KEYS = {"train": ("y_train", "train_y", "y", "target", "labels"), "test": ("y_test", "test_y")}
_NAMES_KEY = "feature_names"


def map_npy(path: Path) -> Array:
    """Return the memory-mapped array of a .npy file. Raises ``DataError`` for other files."""
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
    """Return a .npy array as a frame with the columns column_1, column_2, ..., or the fields of a structured array."""
    import pandas as pd

    array = map_npy(path)
    if array.dtype.names is None:
        return _columns(array, "column_", path)
    rows, fields = array.reshape(-1), {}
    for name in array.dtype.names:
        if rows[name].ndim > 1:
            raise DataError(f"{path.name} has an array in each cell of the field {name!r}; cells need one value each.")
        fields[name] = _columns(rows[name], "", path).iloc[:, 0]
    return pd.DataFrame(fields)


def read_npz(path: Path) -> dict[str, pd.DataFrame]:
    """Return the training and test sets of a .npz archive as frames with the columns x1, x2, ... and y.

    The arrays are X and y, or x_train, y_train, x_test and y_test. An array ``feature_names`` contains the names of the
    columns. The only array of an archive becomes the columns column_1, column_2, ... Other arrays are not read.
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
            used = [*members] if len(members) == 1 else [name for name in members if name in keys]
            arrays = {name: read_array(archive, members[name], path) for name in used}
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
    raise DataError(f"{path.name} must contain the arrays X and y, or x_train and y_train; it has {_listing(members)}.")


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> Array:
    """Return the array in a member of the .npz file at ``path``. Raises one of ``ARRAY_FILE_PROBLEMS`` if damaged."""
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
            raise DataError(f"{path.name} has a feature named {name!r}, which is the name of the labels; rename it.")
        frame[name] = columns[name]
    return frame


def _columns(array: Array, prefix: str, path: Path) -> pd.DataFrame:
    """Return an array as a frame with numbered columns."""
    import pandas as pd

    if array.dtype.kind not in "biufSUM" or array.ndim == 0 or array.dtype.itemsize == 0:
        raise DataError(
            f"{path.name} contains an array of {array.dtype} and shape {array.shape}, which is not a table."
        )
    if array.size == 0:
        raise DataError(f"{path.name} contains a table without rows or columns: an array of shape {array.shape}.")
    if array.size // len(array) > MAX_COLUMNS:
        raise DataError(
            f"{path.name} has {array.size // len(array):,} columns, and a table can have at most {MAX_COLUMNS:,}; pass "
            "the array to Dataset, or remove columns."
        )
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as problem:
            raise DataError(f"{path.name} contains bytes that are not UTF-8 text ({problem.object!r:.40}).") from None
    matrix = np.array(array).reshape(len(array), -1)  # a copy that does not depend on the file
    return pd.DataFrame(matrix, columns=[f"{prefix}{number + 1}" for number in range(matrix.shape[1])])


def _unreadable(path: Path, problem: Exception) -> str:
    if any(words in str(problem) for words in ("allow_pickle", "Object arrays", "Python objects")):
        return f"{path.name} contains Python objects, which are not read because they can run code; save plain arrays."
    if "encrypted" in str(problem):
        return f"{path.name} is encrypted; save it without a password."
    return f"{path.name} is damaged or not a NumPy file; write it again with numpy.save or numpy.savez."


def _listing(names: Iterable[str] | Mapping[str, object]) -> str:
    return ", ".join(sorted(names)[:8]) or "none"
