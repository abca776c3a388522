"""From what people hand in (arrays, frames, images, sparse matrices) to one kind of matrix that kernels can trust."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.errors import DataError
from chainrule.types import Array, Inputs, Shape, is_sparse

__all__ = ["as_inputs", "is_frame"]

# Above 2**24 float32 no longer holds every whole number.
LARGEST_WHOLE_FLOAT32 = 2**24


def is_frame(X: Any) -> bool:
    """Tell whether ``X`` is a pandas or polars frame, without importing either."""
    return hasattr(X, "columns") and hasattr(X, "to_numpy")


def as_inputs(X: Inputs) -> tuple[Inputs, tuple[str, ...] | None, Shape | None]:
    """Return ``X`` as a finite float matrix or CSR matrix, the column names it came with, and the shape of its images.

    float32 and float64 pass without a copy; other numbers become float32, or float64 where float32 would round them.
    Raises ``DataError`` for anything that is not rows of finite numbers.
    """
    names: tuple[str, ...] | None = None
    if is_sparse(X) or (hasattr(X, "tocsr") and hasattr(X, "nnz")):
        return _checked_sparse(X), None, None
    if is_frame(X):
        names = tuple(str(column) for column in X.columns)
        X = _frame_values(X, names)
    matrix = _numeric_array(X)
    image_shape = None
    if matrix.ndim in (3, 4):
        image_shape = matrix.shape[1:]
        matrix = matrix.reshape(len(matrix), int(np.prod(image_shape)))
    if matrix.ndim != 2:
        raise DataError(_wrong_dimensions(matrix))
    if 0 in matrix.shape:
        raise DataError(f"X has the shape {matrix.shape}; it needs at least one row and one column.")
    matrix = _as_float(matrix)
    _refuse_not_finite(matrix, names)
    return matrix, names, image_shape


def _numeric_array(X: Any) -> Array:
    try:
        array = np.asarray(X)
    except ValueError:
        raise DataError("The rows of X have different lengths; every row needs the same number of columns.") from None
    if array.dtype.kind == "c":
        raise DataError(
            "X holds complex numbers; give real numbers (the real and imaginary parts as two columns, say)."
        )
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O" and array.ndim == 2 and array.size:
        for column in range(array.shape[1]):
            for row, value in enumerate(array[:, column]):
                if not isinstance(value, int | float | np.number):
                    raise DataError(
                        f"X has {value!r} in row {row + 1}, column {column + 1}, which is no number; "
                        "turn a table with text into numbers with TablePreprocessor."
                    )
    elif array.dtype.kind in "US" and array.ndim == 2 and array.size:
        raise DataError(
            f"X holds text ({array[0, 0]!s:.40} in row 1, column 1); "
            "turn a table with text into numbers with TablePreprocessor."
        )
    raise DataError(f"X has the type {array.dtype}; give an array of numbers (X.astype('float32'), say).")


def _frame_values(frame: Any, names: tuple[str, ...]) -> Array:
    """Return the numbers of a frame; name the first column that has none."""
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        raise DataError(
            f"The frame has more than one column called {sorted(repeated)[0]!r}; give them different names."
        )
    columns = []
    for label, name in zip(frame.columns, names, strict=True):
        values = np.asarray(frame[label])
        if values.dtype.kind == "O" and getattr(getattr(frame[label], "dtype", None), "kind", "O") in "iufb":
            # A nullable pandas column: its missing cells become NaN here, and are named below.
            values = frame[label].to_numpy(dtype=np.float64, na_value=np.nan)
        if values.dtype.kind not in "biuf":
            raise DataError(
                f"The column {name!r} of X does not hold numbers; turn the table into numbers with TablePreprocessor, "
                "or leave the column out."
            )
        columns.append(values)
    if len({values.dtype for values in columns}) == 1:
        array = np.asarray(frame.to_numpy())
        if array.dtype.kind in "biuf":
            return array
    return np.column_stack(columns) if columns else np.empty((len(frame), 0))


def _wrong_dimensions(array: Array) -> str:
    if array.ndim == 1:
        return (
            f"X is a 1-D array of {len(array)} values, and it needs rows and columns; reshape your data with "
            "X.reshape(-1, 1) if it is one column, or X.reshape(1, -1) if it is one row."
        )
    return f"X has {array.ndim} dimensions; it needs rows and columns, or images (rows, height, width, channels)."


def _as_float(matrix: Array) -> Array:
    if matrix.dtype in (np.float32, np.float64):
        return matrix
    if matrix.dtype.kind in "bf" and matrix.dtype.itemsize <= 4:
        return matrix.astype(np.float32)
    if matrix.dtype.kind in "iu" and (
        matrix.dtype.itemsize <= 2 or (matrix.max() <= LARGEST_WHOLE_FLOAT32 and matrix.min() >= -LARGEST_WHOLE_FLOAT32)
    ):
        return matrix.astype(np.float32)
    return matrix.astype(np.float64)


def _all_finite(values: Array) -> bool:
    # A sum over the data is finite only if every term is, and needs no array of booleans. A sum can also overflow
    # where every term is finite: only then is each one looked at.
    with np.errstate(all="ignore"):
        return bool(np.isfinite(values.sum())) or bool(np.isfinite(values).all())


def _refuse_not_finite(matrix: Array, names: tuple[str, ...] | None) -> None:
    if _all_finite(matrix):
        return
    row, column = np.argwhere(~np.isfinite(matrix))[0]
    _raise_not_finite(matrix[row, column], int(row), int(column), names)


def _raise_not_finite(value: Any, row: int, column: int, names: tuple[str, ...] | None) -> None:
    where = f"row {row + 1}, column {names[column]!r}" if names else f"row {row + 1}, column {column + 1}"
    if np.isnan(value):
        raise DataError(
            f"X has a missing value (NaN) in {where}; fill it in, leave the row out, or use TablePreprocessor."
        )
    raise DataError(f"X has an infinite value in {where}; give finite numbers.")


def _checked_sparse(X: Inputs) -> Inputs:
    matrix = X.tocsr()
    if 0 in matrix.shape:
        raise DataError(f"X has the shape {matrix.shape}; it needs at least one row and one column.")
    if matrix.data.dtype.kind not in "biuf":
        raise DataError(f"X is a sparse matrix of {matrix.data.dtype}; give real numbers.")
    if matrix.nnz:
        # Kernels index with these without looking again.
        indices = matrix.indices[: matrix.nnz]
        if indices.min() < 0 or indices.max() >= matrix.shape[1]:
            raise DataError(f"X is a damaged sparse matrix: it has entries outside its {matrix.shape[1]} columns.")
        if not _all_finite(matrix.data):
            entry = int(np.flatnonzero(~np.isfinite(matrix.data))[0])
            row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
            _raise_not_finite(matrix.data[entry], row, int(matrix.indices[entry]), None)
    data = _as_float(matrix.data) if matrix.nnz else matrix.data.astype(np.float32)
    return matrix if data is matrix.data else type(matrix)((data, matrix.indices, matrix.indptr), shape=matrix.shape)
