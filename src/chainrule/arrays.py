"""Checks of arrays that users give, made once because compiled code does not check again, and aligned allocation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.errors import DataError, array_place
from chainrule.types import Array, Inputs

__all__ = ["aligned_zeros", "all_finite", "as_csr", "refuse_masked", "refuse_not_finite"]


_CACHE_LINE = 64  # bytes


def aligned_zeros(size: int, dtype: np.dtype[Any]) -> Array:
    """Return a vector of zeros whose first element begins a cache line.

    NumPy aligns arrays to 16 bytes. A load of a whole vector register then reads two cache lines, so that products with
    a sparse matrix take 1.4 times as long.
    """
    room = np.zeros(size * dtype.itemsize + _CACHE_LINE, np.uint8)
    start = -room.ctypes.data % _CACHE_LINE
    return room[start : start + size * dtype.itemsize].view(dtype)


def refuse_masked(values: Any, name: str) -> None:
    """Raise DataError for masked values: what NumPy would go on with is whatever lies below the mask.

    An array of NumPy's masked kind passes when nothing in it is masked.
    """
    parts = values if isinstance(values, list | tuple) else [values]
    for row, part in enumerate(parts):
        if isinstance(part, np.ma.MaskedArray) and np.ma.getmaskarray(part).any():
            place = np.argwhere(np.ma.getmaskarray(part))[0].tolist() if part is values else [row]
            raise DataError(
                f"{name} has a masked value in {array_place(*place[:1] or [0])}; fill masked values in with "
                "filled(...), or leave these rows out."
            )


def all_finite(values: Array) -> bool:
    """Tell whether all numbers of an array are finite."""
    # A sum is finite only if every term is, and needs no array of booleans. A sum can also overflow where every term
    # is finite: only then is each one looked at.
    with np.errstate(all="ignore"):
        return math.isfinite(np.add.reduce(values, axis=None)) or bool(np.isfinite(values).all())


def refuse_not_finite(values: Array) -> None:
    """Raise FloatingPointError, as compiled code does, if a number of an array is not finite."""
    if not all_finite(values):
        raise FloatingPointError("a number is not finite")


def as_csr(matrix: Inputs, name: str) -> Inputs:
    """Return a SciPy sparse matrix as CSR, itself if it is that; raise DataError if an index in it leads outside.

    SciPy checks a matrix when it is made, and neither when its arrays are changed nor when it is converted.
    """
    if matrix.ndim != 2:
        raise DataError(f"{name} is a sparse array of {matrix.ndim} dimensions; it needs rows and columns.")
    if matrix.format not in ("csr", "csc", "bsr", "coo"):
        matrix = matrix.tocoo()
    n_rows, n_columns = matrix.shape
    if matrix.format == "coo":
        sound = (
            len(matrix.row) == len(matrix.col) == len(matrix.data)
            and _within(matrix.row, n_rows)
            and _within(matrix.col, n_columns)
        )
    else:
        height, width = matrix.blocksize if matrix.format == "bsr" else (1, 1)
        sizes = (n_columns, n_rows) if matrix.format == "csc" else (n_rows // height, n_columns // width)
        sound = _is_compressed(matrix.indptr, matrix.indices, len(matrix.data), *sizes)
    if not sound:
        raise DataError(f"{name} is a damaged sparse matrix: it has entries outside its {n_rows} x {n_columns} cells.")
    return matrix.tocsr()


def _is_compressed(indptr: Array, indices: Array, n_data: int, n_major: int, n_minor: int) -> bool:
    """Tell whether these are the index arrays of a compressed matrix with so many rows, or columns, to begin with."""
    if not _is_index(indptr) or not _is_index(indices) or len(indptr) != n_major + 1 or indptr[0] != 0:
        return False
    n_entries = int(indptr[-1])
    if not 0 <= n_entries <= min(len(indices), n_data) or (indptr[1:] < indptr[:-1]).any():
        return False
    return _within(indices[:n_entries], n_minor)


def _within(indices: Array, size: int) -> bool:
    """Tell whether all of these are whole numbers from 0 to ``size - 1``."""
    if not _is_index(indices):
        return False
    # Read without their sign, negative numbers are larger than any size: one look is enough.
    return len(indices) == 0 or int(indices.view(f"u{indices.dtype.itemsize}").max()) < size


def _is_index(array: Any) -> bool:
    is_array = isinstance(array, np.ndarray) and array.ndim == 1
    return is_array and array.dtype.kind == "i" and array.dtype.isnative
