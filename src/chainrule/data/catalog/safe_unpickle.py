"""Read the arrays of lists of integers that Keras publishes as pickles in .npz files, without executing code.

A pickle can call any function, so that ``numpy.load(allow_pickle=True)`` executes code from the file. This unpickler
allows only three names, with which a pickle can only make an array, and checks the result.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from chainrule.data.array_files import ARRAY_FILE_PROBLEMS
from chainrule.errors import DataError
from chainrule.types import Array

__all__ = ["read_member"]

# The function is numpy.core.multiarray._reconstruct in NumPy 1, and numpy._core.multiarray._reconstruct in NumPy 2.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
# The exceptions of the unpickler for a damaged or malicious pickle.
_PICKLE_PROBLEMS = (
    *ARRAY_FILE_PROBLEMS, pickle.UnpicklingError, TypeError, AttributeError, IndexError, KeyError, ImportError,
    RecursionError, SystemError,
)  # fmt: skip


class _ArrayUnpickler(pickle.Unpickler):
    """An unpickler that allows only the names of a table, and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it uses {module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it uses external objects")


def read_member(archive: Path, member: str, max_bytes: int = 2**28) -> Array:
    """Return the array ``member`` (such as ``"x_train"``) of a .npz file: an array of numbers, or of lists as objects.

    ``max_bytes`` is the maximum size of the unpacked array. Raises ``DataError`` if the file is damaged, or if its
    pickle contains anything except arrays, lists and integers, in which case no code is executed.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            info = opened.getinfo(f"{member}.npy")
            if info.file_size > max_bytes:
                raise DataError(
                    f"{member} in {archive.name} has {info.file_size} bytes when it is unpacked, but the maximum is "
                    f"{max_bytes}; download the file again."
                )
            content = opened.read(info)
    except KeyError:
        raise DataError(f"{archive.name} has no array {member!r}.") from None
    except DataError:
        raise
    except ARRAY_FILE_PROBLEMS as problem:
        raise DataError(f"{archive.name} is a damaged .npz file ({problem}).") from None
    return _array_of(content, f"{member} in {archive.name}")


def _array_of(content: bytes, where: str) -> Array:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise DataError(f"{where} has the NumPy format version {version}; the published file has version 1.0.")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
        if not dtype.hasobject:
            plain: Array = np.load(io.BytesIO(content), allow_pickle=False)
            return plain
        array = _ArrayUnpickler(stream).load()
    except DataError:
        raise
    except _PICKLE_PROBLEMS as problem:
        raise DataError(f"{where} is not a pickle of arrays, lists and integers ({problem}); it was refused.") from None
    if type(array) is not np.ndarray or array.dtype != object or array.shape != shape or array.ndim != 1:
        raise DataError(f"{where} is not a one-dimensional array of lists with the shape of its header.")
    if not all(type(entry) is list for entry in array):
        raise DataError(f"{where} contains objects that are not lists.")
    if sum(map(len, array)) > len(content):  # a pickle may refer to the same long list many times
        raise DataError(f"{where} contains longer lists than its size allows.")
    return array
