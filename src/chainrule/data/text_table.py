"""Read a table that is written as text: its cells as they stand there, without a guess at what they mean."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from chainrule.data.text_encoding import count_lines
from chainrule.data.text_layout import TextLayout, find_layout, rows_of
from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["parse_text_table"]

# A text table of more columns is refused: every column costs time and memory, whatever is in it.
MOST_COLUMNS = 100_000
# Cells that pandas cuts at a time. It needs some 40 bytes for each, beside those of the text that it makes of it.
CELLS_AT_A_TIME = 3_000_000


def parse_text_table(
    text: str,
    name: str,
    *,
    column_names: list[str] | None = None,
    most_columns: int = MOST_COLUMNS,
    most_rows: int | None = None,
) -> pd.DataFrame:
    """Return the frame that ``text`` describes; ``name`` is the file's name for messages.

    Every cell is text (of dtype object), as it stands in the file but for its quotes and the spaces before it; an empty
    cell is ``""``. ``column_names`` says what the columns are called, and that the first line is data. A table of more
    than ``most_columns`` is refused before its rows are read. Of the rows, the first ``most_rows`` are read.
    """
    layout = find_layout(text, name, column_names, most_columns)
    frame = _parse(layout, name, most_rows)
    if frame.empty:
        raise DataError(f"{name} has a line of column names and no rows.")
    return frame


class _Pieces(io.TextIOBase):
    """The rows of a text, for pandas to read piece by piece; ``io.StringIO`` would copy all of it."""

    def __init__(self, layout: TextLayout) -> None:
        self._text, self._place = layout.text, layout.start

    def read(self, size: int | None = -1) -> str:
        """Return the next ``size`` characters."""
        end = None if size is None or size < 0 else self._place + size
        piece = self._text[self._place : end]
        self._place += len(piece)
        return piece


def _parse(layout: TextLayout, name: str, most_rows: int | None) -> pd.DataFrame:
    import pandas as pd

    width = len(layout.names)
    # pandas takes the surplus cells of a first row for an index, and needs very long for thousands of them.
    for row, _, _ in rows_of(layout.text, layout.separator, layout.start):
        if len(row) > width:
            _refuse_ragged(layout, name)
        if any(map(str.strip, row)):
            break
    try:
        with pd.read_csv(
            _Pieces(layout),
            sep=layout.separator,
            names=layout.names,
            header=None,
            dtype=object,
            na_filter=False,
            skipinitialspace=True,
            low_memory=False,
            nrows=most_rows,
            chunksize=max(1, CELLS_AT_A_TIME // width),
        ) as frames:
            frame = pd.concat(list(frames), ignore_index=True)
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
    # pandas fills short rows with empty cells.
    if (frame.iloc[:, -1] == "").any():
        _refuse_ragged(layout, name)
    return frame


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
