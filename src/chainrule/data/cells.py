"""The cells of a column: their types, their distinct values, and the file and rows that they come from."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from chainrule.data.texts import are_normal, normal_text
from chainrule.errors import CellError
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DATE_PARTS",
    "UNNAMED",
    "CellType",
    "Origin",
    "cell_text",
    "cell_type",
    "date_parts",
    "distinct_cells",
    "distinct_texts",
    "has_codes",
    "number_of_cell",
    "refuse_unusable",
    "texts_of_cells",
    "typed_dates",
    "typed_numbers",
]

CellType: TypeAlias = Literal["number", "date", "category", "text"]

# An integer with 16 digits or more is a code, also in a column of text.
SMALLEST_CODE = 10**15
# Python converts integers with at most 4,300 digits to text.
MAX_BITS = (10**4000).bit_length()

DATE_PARTS = ("year", "month", "weekday", "days", "hour")


class Origin(NamedTuple):
    """The file and the numbers of some rows, for error messages. ``f"{origin}..."`` starts with the name of the file.

    The rows are those from ``first_row`` on, or the selection ``rows`` of them.
    """

    file: str = ""
    first_row: int = 0
    rows: IntArray | None = None

    def __str__(self) -> str:
        return f"{self.file}: " if self.file else ""

    def row(self, index: int) -> int:
        """Return the number of a row in its file, counted from 1."""
        return self.first_row + int(index if self.rows is None else self.rows[index]) + 1

    def rows_at(self, indices: IntArray) -> IntArray:
        """Return the numbers of some rows in their file, counted from 1."""
        return self.first_row + (indices if self.rows is None else self.rows[indices]) + 1

    def take(self, rows: IntArray) -> Origin:
        """Return the origin of some of these rows."""
        return self._replace(rows=rows if self.rows is None else self.rows[rows])


UNNAMED = Origin()


def cell_type(column: pd.Series[Any]) -> CellType:
    """Return the type of the cells according to the dtype. Columns of text may contain numbers or dates."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind == "b":
        return "category"
    if column.dtype.kind in "iufm":
        return "number"
    if column.dtype.kind == "M":
        return "date"
    if column.dtype == object:
        kind = pd.api.types.infer_dtype(column, skipna=True)
        if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
            return "number"
        if kind == "boolean":
            return "category"
    return "text"


def typed_numbers(column: pd.Series[Any]) -> Array | None:
    """Return a column of numbers, durations (in seconds) or booleans as float64 with NaN for missing cells.

    Returns None for columns of other types.
    """
    if column.dtype.kind == "m":
        return np.asarray(column.dt.total_seconds().to_numpy(dtype=np.float64))
    if column.dtype.kind in "biuf":
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    return None


def has_codes(column: pd.Series[Any]) -> bool:
    """Return whether a numeric column contains an integer with 16 digits or more, which must be an identifier."""
    if column.dtype.kind in "iu":
        return bool(column.max() >= SMALLEST_CODE)
    return column.dtype == object and any(
        isinstance(cell, int | np.integer | Decimal) and cell >= SMALLEST_CODE and cell_text(cell).isdecimal()
        for cell in column
    )


def number_of_cell(cell: Any) -> float:
    """Return a number of any real type as float, infinity if it is too large, and NaN for other objects."""
    if isinstance(cell, np.timedelta64):  # a subclass of np.signedinteger
        return np.nan
    if not isinstance(cell, int | float | np.bool_ | np.integer | np.floating | Decimal):
        return np.nan
    try:
        return float(cell)
    except OverflowError:
        return np.inf if cell > 0 else -np.inf


def refuse_unusable(column: pd.Series[Any], name: str, origin: Origin = UNNAMED) -> None:
    """Raise ``CellError`` for the first cell of an unsupported type.

    Such cells are collections such as lists, complex numbers, bytes, and integers with too many digits.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        kinds = set(map(type, column.cat.categories.tolist()))
    elif column.dtype == object or column.dtype.kind == "c":
        kinds = set(map(type, column.tolist()))
    else:
        return
    if int not in kinds and not any(issubclass(kind, _UNUSABLE) and not issubclass(kind, str) for kind in kinds):
        return
    for index, cell in enumerate(column.tolist()):
        if problem := _find_problem(cell):
            row, (what, remedy) = origin.row(index), problem
            raise CellError(
                f"{origin}The column {name!r} has {what} in row {row}{remedy}.", row=row, column=name, value=cell
            )


_UNUSABLE = (Collection, complex, np.complexfloating)


def _find_problem(cell: Any) -> tuple[str, str] | None:
    """Return a description of an unsupported cell and what to do about it; None for a supported cell."""
    if isinstance(cell, bytes | bytearray):
        decode = "; if it is text, decode it with Series.str.decode('utf-8')"
        return f"the bytes {bytes(cell[:20])!r}", f"{decode}, otherwise drop the column with drop (--drop)"
    if isinstance(cell, Collection) and not isinstance(cell, str):
        remedy = "put each value into its own column, or drop the column with drop (--drop)"
        return f"{cell!r}", f", but a cell must contain one value; {remedy}"
    if isinstance(cell, complex | np.complexfloating):
        if cell != cell:  # noqa: PLR0124  # NaN is a missing value
            return None
        return f"the complex number {cell}", "; use two columns for the real and the imaginary part"
    if type(cell) is int and cell.bit_length() > MAX_BITS:
        return "a whole number of more than 4,000 digits", "; give a smaller one, or leave the cell empty"
    return None


def typed_dates(column: pd.Series[Any]) -> Array | None:
    """Return a column of dates as datetime64 in UTC with NaT for missing cells; None for columns of other types."""
    if column.dtype.kind != "M":
        return None
    if getattr(column.dtype, "tz", None) is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.asarray(column.to_numpy())


def date_parts(dates: Array) -> Array:
    """Return the :data:`DATE_PARTS` of dates as (rows, 5) float64 with NaN for missing dates.

    The weekday of Monday is 0. The days are counted from 1970-01-01, with the time as a fraction, and the hours include
    the minutes as a fraction.
    """
    missing = np.isnat(dates)
    present = np.where(missing, np.array(0, dates.dtype), dates)
    years = present.astype("M8[Y]").astype(np.int64) + 1970
    months = present.astype("M8[M]").astype(np.int64) % 12 + 1
    weekdays = (present.astype("M8[D]").astype(np.int64) + 3) % 7
    days = (present - np.array(0, present.dtype)) / np.timedelta64(1, "D")
    hours = (days - np.floor(days)) * 24
    parts = np.column_stack([years, months, weekdays, days, hours]).astype(np.float64)
    parts[missing] = np.nan
    return parts


def distinct_cells(column: pd.Series[Any]) -> tuple[list[Any], IntArray]:
    """Return the distinct cells of a column, with None for missing cells, and for each row the index of its cell.

    A column of mixed types, in which 1, True and "1" differ, may have repeated cells.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        cells, codes = column.cat.categories.tolist(), column.cat.codes.to_numpy()
    elif column.dtype != object or pd.api.types.infer_dtype(column, skipna=True) == "string":
        codes, uniques = pd.factorize(column)
        cells = uniques.astype(object).tolist()
    else:
        present = column.notna().to_numpy(dtype=bool)
        cells = column[present].tolist()
        codes = np.where(present, np.cumsum(present) - 1, -1)
    if len(codes) and codes.min() < 0:
        cells = [*cells, None]  # at index -1
    return cells, np.asarray(codes, np.intp)


def distinct_texts(column: pd.Series[Any]) -> tuple[list[str], IntArray]:
    """Return the distinct texts of a column in normal form, and for each cell the index of its text.

    Missing cells are skipped. The texts are in the order of their first rows, except for columns of categories.
    """
    return texts_of_cells(*distinct_cells(column))


def texts_of_cells(cells: list[Any], codes: IntArray) -> tuple[list[str], IntArray]:
    """Return the result of :func:`distinct_texts` for the result of :func:`distinct_cells`."""
    if cells and cells[-1] is None:
        cells = cells[:-1]
        codes = codes[(codes >= 0) & (codes < len(cells))]
    if are_normal(cells):
        return cells, codes
    texts: dict[str, int] = {}
    indices = [texts.setdefault(cell_text(cell), len(texts)) for cell in cells]
    return list(texts), np.array(indices, np.intp)[codes]


def cell_text(cell: Any) -> str:
    """Return a cell that is not missing as text in normal form. 3.0 and 3 give the same text."""
    if type(cell) is str:
        return normal_text(cell)
    if isinstance(cell, float | np.floating) and float(cell).is_integer():
        # In a column with missing cells, integers are stored as floats.
        return str(int(cell))
    if isinstance(cell, Decimal):
        # normalize() would round to the precision of the context.
        return f"{cell:f}".partition(".")[0] if cell == cell.to_integral_value() else str(cell)
    return normal_text(str(cell))
