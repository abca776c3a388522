"""The cells of one column of a table: as text, as numbers, as dates."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np

from chainrule.data.text_table import MISSING_WORDS
from chainrule.errors import DataError
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "DATE_PARTS",
    "UNNAMED",
    "CellType",
    "Origin",
    "cell_text",
    "cell_texts",
    "cell_type",
    "date_parts",
    "distinct_texts",
    "is_date",
    "is_number",
    "parse_dates",
    "parse_numbers",
    "read_dates",
    "read_numbers",
]

CellType: TypeAlias = Literal["number", "date", "category", "text"]

DATE_PARTS = ("year", "month", "weekday", "days")

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")
_BELOW_A_MICROSECOND = re.compile(r"(?<=\.\d{6})\d+")


class Origin(NamedTuple):
    """Where some rows come from, for messages: ``f"{origin}..."`` begins with the file, if there is one to name.

    They are the rows from ``first_row`` on, or of those the ones that ``rows`` counts out.
    """

    file: str = ""
    first_row: int = 0
    rows: IntArray | None = None

    def __str__(self) -> str:
        return f"{self.file}: " if self.file else ""

    def row(self, place: int) -> int:
        """Return the number of a row, counted from 1 in its file."""
        return self.first_row + int(place if self.rows is None else self.rows[place]) + 1

    def take(self, rows: IntArray) -> Origin:
        """Return where some of these rows come from."""
        return self._replace(rows=rows if self.rows is None else self.rows[rows])


UNNAMED = Origin()


def cell_type(column: pd.Series[Any], name: str) -> CellType:
    """Tell what the type of a column says that it holds; text may turn out to be numbers or dates."""
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category"
    if column.dtype.kind in "biufm":
        return "number"
    if column.dtype.kind == "M":
        return "date"
    if column.dtype.kind == "c":
        raise DataError(f"The column {name!r} holds complex numbers; give their real and imaginary parts as columns.")
    return "text"


def read_numbers(column: pd.Series[Any], name: str, origin: Origin = UNNAMED) -> Array:
    """Return a column of numbers as (rows, 1) float64 with NaN where missing; refuse words and infinities by row."""
    if column.dtype.kind == "m":
        seconds: Array = column.dt.total_seconds().to_numpy(dtype=np.float64)
        return seconds.reshape(-1, 1)
    if column.dtype.kind in "biuf":
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        _refuse_infinities(values, name, origin)
        return values.reshape(-1, 1)
    texts, codes = distinct_texts(column)
    strangers = [place for place, text in enumerate(texts) if text is not None and not is_number(text)]
    if strangers:
        found = _first_of(strangers, texts, codes, origin)
        raise DataError(
            f"{origin}The column {name!r} holds numbers, but {found}; give a number, or leave the cell empty."
        )
    return parse_numbers(texts, codes, name, origin)


def parse_numbers(texts: list[str | None], codes: IntArray, name: str, origin: Origin = UNNAMED) -> Array:
    """Return what :func:`read_numbers` does, of a column that is given by its distinct texts, all of them numbers."""
    numbers = [
        np.nan if text is None else text == "True" if text in ("True", "False") else float(text) for text in texts
    ]
    values = np.array(numbers, np.float64)[codes]
    _refuse_infinities(values, name, origin)
    return values.reshape(-1, 1)


def _refuse_infinities(values: Array, name: str, origin: Origin) -> None:
    if np.isinf(values).any():
        row = origin.row(int(np.flatnonzero(np.isinf(values))[0]))
        raise DataError(f"{origin}The column {name!r} has an infinite number in row {row}; give a finite one or none.")


def read_dates(column: pd.Series[Any], name: str, origin: Origin = UNNAMED) -> pd.Series[Any]:
    """Return a column of dates as datetime64 in UTC, NaT where missing; refuse other text by row."""
    if column.dtype.kind != "M":
        return parse_dates(*distinct_texts(column), name, origin)
    return column if getattr(column.dtype, "tz", None) is None else _naive(column)


def parse_dates(texts: list[str | None], codes: IntArray, name: str, origin: Origin = UNNAMED) -> pd.Series[Any]:
    """Return what :func:`read_dates` does, of a column that is given by its distinct texts."""
    import pandas as pd

    # pandas would count all of them in nanoseconds if one had any, and these reach from 1677 to 2262 only.
    known = [_BELOW_A_MICROSECOND.sub("", text) if text is not None and is_date(text) else None for text in texts]
    dates = pd.Series(pd.to_datetime(pd.Series(known, dtype=object), utc=True, format="ISO8601", errors="coerce"))
    # What is left unread is other text, or a day like February 30.
    strangers = [place for place, text in enumerate(texts) if text is not None and pd.isna(dates[place])]
    if strangers:
        found = _first_of(strangers, texts, codes, origin)
        raise DataError(f"{origin}The column {name!r} holds dates, but {found}; write dates as 2024-12-31.")
    return _naive(dates.take(codes).reset_index(drop=True))


def _first_of(strangers: list[int], texts: list[str | None], codes: IntArray, origin: Origin) -> str:
    """Return the first row that has one of these texts, in words."""
    row = int(np.flatnonzero(np.isin(codes, strangers))[0])
    return f"row {origin.row(row)} has {texts[codes[row]]!r}"


def _naive(dates: pd.Series[Any]) -> pd.Series[Any]:
    naive: pd.Series[Any] = dates.dt.tz_convert("UTC").dt.tz_localize(None)
    return naive


def date_parts(dates: pd.Series[Any]) -> Array:
    """Return (rows, 4) float64: year, month, weekday (Monday is 0), and days since 1970 with the time as a fraction."""
    moments = dates.to_numpy()
    # NumPy's arithmetic in the column's own unit: pandas' would not go beyond the years that nanoseconds can count.
    days = (moments - np.array(0, moments.dtype)) / np.timedelta64(1, "D")
    return np.column_stack(
        [np.asarray(part, dtype=np.float64) for part in (dates.dt.year, dates.dt.month, dates.dt.day_of_week, days)]
    )


def distinct_texts(column: pd.Series[Any]) -> tuple[list[str | None], IntArray]:
    """Return the distinct cells as text, None for a missing one, and for each row the place of its text.

    3.0 and 3 are the same text. But for a column of categories, the texts are in the order of their first rows.
    """
    import pandas as pd

    cells: list[Any]
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        cells, codes = column.cat.categories.tolist(), column.cat.codes.to_numpy()
    elif column.dtype != object or pd.api.types.infer_dtype(column, skipna=True) == "string":
        codes, uniques = pd.factorize(column)
        cells = uniques.astype(object).tolist()
    else:  # of all kinds: 1, True and "1" are different texts, and the first two equal
        present = column.notna().to_numpy(dtype=bool)
        cells = column[present].tolist()
        codes = np.where(present, np.cumsum(present) - 1, -1)
    texts: dict[str | None, int] = {}
    places = [texts.setdefault(cell_text(cell), len(texts)) for cell in cells]
    if len(codes) and codes.min() < 0:
        places.append(texts.setdefault(None, len(texts)))  # which -1 leads to
    return list(texts), np.array(places, np.intp)[codes]


def cell_texts(column: pd.Series[Any]) -> list[str | None]:
    """Return each cell as text, ``None`` where it is missing; 3.0 and 3 are the same text."""
    texts, codes = distinct_texts(column)
    return [texts[code] for code in codes.tolist()]


def cell_text(cell: Any) -> str | None:
    """Return a cell that is there as text, ``None`` where that text is a word for a missing value."""
    if isinstance(cell, float) and cell.is_integer():
        # Missing cells turn whole numbers into floats; the category must not change with them.
        return str(int(cell))
    text = str(cell).strip()
    return None if text in MISSING_WORDS else text


def is_number(text: str) -> bool:
    """Tell whether a text is a number, or True or False."""
    return text in ("True", "False") or _can_be_float(text)


def _can_be_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, no spreadsheet does


def is_date(text: str) -> bool:
    """Tell whether a text looks like a date as ISO 8601 writes it."""
    return _ISO_DATE.fullmatch(text) is not None
