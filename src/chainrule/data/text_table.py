"""Read a table that is written as text."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from chainrule.data.text_encoding import count_lines
from chainrule.data.text_layout import TextLayout, find_layout, rows_of
from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING_WORDS", "parse_text_table"]

# Cells that mean "no value". "None" is not one of them: in many tables it is a category.
MISSING_WORDS = frozenset({"", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>"})

# A text table of more columns is refused: every column costs time and memory, whatever is in it.
MOST_COLUMNS = 100_000


def parse_text_table(
    text: str,
    name: str,
    *,
    column_names: list[str] | None = None,
    most_columns: int = MOST_COLUMNS,
    most_rows: int | None = None,
) -> pd.DataFrame:
    """Return the frame that ``text`` describes; ``name`` is the file's name for messages.

    ``column_names`` says what the columns are called, and that the first line is data. A table of more than
    ``most_columns`` is refused before its rows are read. Of the rows, the first ``most_rows`` are read.
    """
    layout = find_layout(text, name, column_names, most_columns)
    frame = _parse(layout, name, most_rows)
    if frame.empty:
        raise DataError(f"{name} has a line of column names and no rows.")
    return frame


def _parse(layout: TextLayout, name: str, most_rows: int | None) -> pd.DataFrame:
    import pandas as pd

    width = len(layout.names)
    # pandas takes the surplus cells of a first row for an index, and needs very long for thousands of them.
    for row, _, _ in rows_of(layout.text, layout.separator, layout.start):
        if len(row) > width:
            _refuse_ragged(layout, name)
        if any(map(str.strip, row)):
            break
    text = io.StringIO(layout.text)
    text.seek(layout.start)
    try:
        frame = pd.read_csv(
            text,
            sep=layout.separator,
            names=layout.names,
            header=None,
            decimal=_decimal_mark(layout),
            na_values=sorted(MISSING_WORDS),
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            nrows=most_rows,
        )
    except pd.errors.EmptyDataError:
        _refuse_ragged(layout, name)
        return pd.DataFrame(columns=layout.names)
    except (pd.errors.ParserError, ValueError) as problem:
        if "Calling read" in str(problem):  # pandas says so of a Ctrl-C; a text in memory can always be read
            raise KeyboardInterrupt from None
        last_line = _refuse_ragged(layout, name)
        if "EOF inside string" in str(problem):
            raise DataError(f"{name} has a quotation mark in line {last_line} that is never closed.") from None
        raise DataError(f"{name} cannot be read as a table separated by {layout.separator!r}.") from None
    # pandas takes surplus cells for an index and fills short rows with missing values. Neither is meant.
    if not isinstance(frame.index, pd.RangeIndex) or frame.iloc[:, -1].isna().any():
        _refuse_ragged(layout, name)
    return frame


def _decimal_mark(layout: TextLayout) -> str:
    """Return "," where some cell is a number like 3,14 and none is like 3.14."""
    if layout.separator == ",":
        return "."
    edge = re.escape(layout.separator)
    cell = rf'(?:^|{edge})[ ]*"?[+-]?\d*{{mark}}\d+(?:[eE][+-]?\d+)?"?[ ]*(?=$|\r|{edge})'
    has_comma = re.compile(cell.format(mark=","), re.MULTILINE).search(layout.text, layout.start)
    has_point = re.compile(cell.format(mark=r"\."), re.MULTILINE).search(layout.text, layout.start)
    return "," if has_comma and not has_point else "."


def _refuse_ragged(layout: TextLayout, name: str) -> int:
    """Raise ``DataError`` for the first row whose number of cells is not that of the columns, naming its line.

    Returns the line in which the last row begins.
    """
    width = len(layout.names)
    begin = layout.start
    for row, begin, _ in rows_of(layout.text, layout.separator, layout.start):
        if len(row) != width:
            line = _line(layout, begin)
            if any("\n" in cell or "\r" in cell for cell in row):
                raise DataError(f"{name} has a quotation mark in line {line} that is not closed where its row ends.")
            raise DataError(
                f"{name} has {len(row)} values in line {line}, and the table has {width} columns; "
                "check that line, or whether the right separator is used throughout."
            )
    return _line(layout, begin)


def _line(layout: TextLayout, place: int) -> int:
    """Return the number of the line that begins at a place in the text."""
    return layout.lines_before + count_lines(layout.text[layout.start : place]) + 1
