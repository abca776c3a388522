"""Convert arrays, frames, images and sparse matrices to checked matrices of floats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import all_finite, as_csr, refuse_masked
from chainrule.data.cells import UNNAMED, Origin, cell_type, distinct_texts
from chainrule.data.number_format import NumberFormat
from chainrule.errors import CellError, ChainruleError, DataError, array_place
from chainrule.types import Array, Inputs, Shape, is_sparse

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_inputs", "as_numbers", "is_frame", "numbers_of_texts"]

# float32 represents all integers up to 2**24 exactly, and float64 up to 2**53.
MAX_INTEGER_FLOAT32 = 2**24
MAX_INTEGER_FLOAT64 = 2**53


def is_frame(X: Any) -> bool:
    """Return whether ``X`` is a pandas or polars frame, without importing either library."""
    return hasattr(X, "columns") and hasattr(X, "to_numpy")


def as_inputs(X: Inputs) -> tuple[Inputs, tuple[str, ...] | None, Shape | None]:
    """Return ``X`` as a finite float matrix or CSR matrix, its column names, and the shape of its images.

    Raises ``DataError`` unless ``X`` contains rows of finite numbers; see :func:`as_numbers`.
    """
    matrix, names = as_numbers(X)
    image_shape = None
    if matrix.ndim in (3, 4):
        image_shape = matrix.shape[1:]
        matrix = matrix.reshape(len(matrix), int(np.prod(image_shape)))
    if matrix.ndim != 2:
        raise DataError(_wrong_dimensions(matrix))
    if 0 in matrix.shape:
        raise DataError(f"X has the shape {matrix.shape}; it needs at least one row and one column.")
    return matrix, names, image_shape


def as_numbers(X: Inputs, *, finite: bool = True) -> tuple[Inputs, tuple[str, ...] | None]:
    """Return ``X``, of any shape, as finite floats or as a CSR matrix, and its column names.

    Arrays of float32 and float64 are not copied. Other numbers are converted to float32, or to float64 if float32 would
    round them. Raises ``DataError`` with the row and column for text, dates, complex numbers, and masked, missing and
    infinite values, and for rows of different lengths and sparse matrices with invalid indices. With ``finite=False``,
    a dense array may contain numbers that are not finite.
    """
    names: tuple[str, ...] | None = None
    if is_sparse(X):
        return _checked_sparse(X), None
    if is_frame(X):
        names = tuple(str(column) for column in X.columns)
        X = _frame_values(X, names)
    array = _as_float(_numeric_array(X))
    if array.ndim == 0:
        raise DataError(_wrong_dimensions(array))
    if finite and not all_finite(array):
        row, *index = np.argwhere(~np.isfinite(array))[0].tolist()
        _raise_not_finite(array[row, *index], row, index, names)
    return array, names


def numbers_of_texts(frame: pd.DataFrame, origin: Origin = UNNAMED) -> pd.DataFrame:
    """Return a frame whose columns of text are converted to numbers with a decimal point.

    Raises ``CellError`` for the first cell that is not a number.
    """
    read = {}
    for name in frame.columns:
        if cell_type(frame[name]) != "text":
            continue
        texts, codes = distinct_texts(frame[name])
        values = NumberFormat().read(texts)[codes]
        if len(values) < len(frame) or np.isnan(values).any():
            present = frame[name].notna().to_numpy(dtype=bool)
            index = int(np.argmin(present)) if not present.all() else int(np.argmax(np.isnan(values)))
            row, cell = origin.row(index), frame[name].iloc[index]
            raise CellError(
                f"{origin}The column {str(name)!r} has {cell!r} in row {row}; the model needs a number there.",
                row=row, column=str(name), value=cell,
            )  # fmt: skip
        read[name] = values
    return frame.assign(**read) if read else frame


def _numeric_array(X: Any) -> Array:
    refuse_masked(X, "X")
    try:
        array = np.asarray(X)
    except ChainruleError:  # raised by streams, which are not arrays
        raise
    except ValueError:
        raise DataError("The rows of X have different lengths; every row needs the same number of columns.") from None
    except (TypeError, RuntimeError) as problem:  # tensors on a GPU, or with a gradient
        raise DataError(f"X cannot be read as an array of numbers: {str(problem).splitlines()[0]}") from None
    if array.dtype.kind == "c":
        raise DataError(
            "X contains complex numbers; give real numbers, for example the real and imaginary parts as two columns."
        )
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O" and array.ndim >= 2:
        for (row, *index), value in np.ndenumerate(array):
            if not isinstance(value, int | float | np.number):
                raise DataError(
                    f"X has {value!r:.60} in {_position(row, index)}, which is not a number; "
                    "convert a table with text to numbers with TablePreprocessor."
                )
    elif array.dtype.kind in "US" and array.ndim >= 2 and array.size:
        raise DataError(
            f"X contains text ({array.flat[0]!s:.40} in {array_place(0, 0)}); "
            "convert a table with text to numbers with TablePreprocessor."
        )
    raise DataError(f"X has the dtype {array.dtype}; give an array of numbers, such as X.astype('float32').")


def _frame_values(frame: Any, names: tuple[str, ...]) -> Array:
    """Return the numbers of a frame. Raises ``DataError`` with the first column that does not contain numbers."""
    repeated = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if repeated:
        raise DataError(f"The frame has more than one column named {sorted(repeated)[0]!r}; give them different names.")
    columns = []
    for label, name in zip(frame.columns, names, strict=True):
        values = np.asarray(frame[label])
        if values.dtype.kind == "O" and getattr(getattr(frame[label], "dtype", None), "kind", "O") in "iufb":
            # A nullable pandas column. Its missing cells become NaN, for which as_numbers raises an error.
            values = frame[label].to_numpy(dtype=np.float64, na_value=np.nan)
        if values.dtype.kind not in "biuf":
            raise DataError(
                f"The column {name!r} of X does not contain numbers; convert the table with TablePreprocessor, or drop "
                "the column."
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
            f"X is a 1-D array of {len(array)} values, but it must have rows and columns; reshape your data with "
            "X.reshape(-1, 1) if it is one column, or X.reshape(1, -1) if it is one row."
        )
    return f"X has {array.ndim} dimensions; it must be a matrix, or images (rows, height, width, channels)."


def _as_float(array: Array) -> Array:
    if array.dtype in (np.float32, np.float64):
        return array
    if (array.dtype.kind in "bf" and array.dtype.itemsize <= 4) or array.dtype.itemsize <= 2:
        return array.astype(np.float32)
    if array.dtype.kind in "iu":
        largest = 0 if array.size == 0 else max(int(array.max()), -int(array.min()))
        if largest <= MAX_INTEGER_FLOAT32:
            return array.astype(np.float32)
        if largest > MAX_INTEGER_FLOAT64 and array.ndim > 1:
            _check_rounding(array)
    return array.astype(np.float64)


def _check_rounding(array: Array) -> None:
    """Raise ``DataError`` for a column of different integers that would all be rounded to the same float."""
    columns = array.reshape(len(array), -1)
    low, high = columns.min(axis=0), columns.max(axis=0)
    lost = np.flatnonzero((low != high) & (low.astype(np.float64) == high.astype(np.float64)))
    if len(lost):
        raise DataError(
            f"Column {lost[0] + 1} of X has whole numbers from {low[lost[0]]} to {high[lost[0]]}, which are all equal "
            "as 64-bit floats; subtract the smallest of them first, or give them as text."
        )


def _position(row: int, index: list[int], names: tuple[str, ...] | None = None) -> str:
    """Return the position of a value as text: its row and column."""
    return f"row {row + 1}, column {names[index[0]]!r}" if names and index else array_place(row, *index)


def _raise_not_finite(value: Any, row: int, index: list[int], names: tuple[str, ...] | None = None) -> None:
    position = _position(row, index, names)
    if np.isnan(value):
        raise DataError(
            f"X has a missing value (NaN) in {position}; fill it in, drop the row, or use TablePreprocessor."
        )
    raise DataError(f"X has an infinite value in {position}; give finite numbers.")


def _checked_sparse(X: Inputs) -> Inputs:
    matrix = as_csr(X, "X")
    if matrix.data.dtype.kind not in "biuf":
        raise DataError(f"X is a sparse matrix of {matrix.data.dtype}; give real numbers.")
    if not all_finite(matrix.data):
        entry = int(np.flatnonzero(~np.isfinite(matrix.data))[0])
        row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
        _raise_not_finite(matrix.data[entry], row, [int(matrix.indices[entry])])
    data = _as_float(matrix.data)
    return matrix if data is matrix.data else type(matrix)((data, matrix.indices, matrix.indptr), shape=matrix.shape)
