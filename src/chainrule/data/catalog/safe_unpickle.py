"""Read the arrays of lists of integers that Keras publishes as pickles inside .npz, without running what a pickle can.

A pickle names functions and calls them, so ``numpy.load(allow_pickle=True)`` runs whatever its author wished. This
unpickler admits three names, which together can only build an array, and looks at what came out.
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

# NumPy 1 wrote numpy.core, NumPy 2 writes numpy._core; both mean the same function.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ADMITTED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
# What a damaged or hostile pickle makes the machinery raise.
_PICKLE_PROBLEMS = (
    *ARRAY_FILE_PROBLEMS, pickle.UnpicklingError, TypeError, AttributeError, IndexError, KeyError, ImportError,
    RecursionError, SystemError,
)  # fmt: skip


class _ArrayUnpickler(pickle.Unpickler):
    """Resolves the admitted names from its own table, and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it refers to objects outside itself")


def read_member(archive: Path, member: str, largest: int = 2**28) -> Array:
    """Return the array ``member`` (such as ``"x_train"``) of a .npz file: plain, or an object array of lists.

    ``largest`` bounds the unpacked bytes. Raises ``DataError`` if the file is damaged, or if its pickle asks for
    anything besides arrays, lists and integers; nothing of it is run then.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            info = opened.getinfo(f"{member}.npy")
            if info.file_size > largest:
                raise DataError(f"{archive.name} unpacks {member} to {info.file_size} bytes, more than it should.")
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
            raise DataError(f"{where} has the NumPy format version {version}, which Keras does not write.")
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
        raise DataError(f"{where} is not the one-dimensional array of lists that its header promises.")
    if not all(type(entry) is list for entry in array):
        raise DataError(f"{where} holds something else than lists.")
    if sum(map(len, array)) > len(content):  # a pickle may name the same long list many times
        raise DataError(f"{where} holds longer lists than its size allows.")
    return array
