"""Read a text table with all cells as texts."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from chainrule.data.text_encoding import count_lines
from chainrule.data.text_layout import TextLayout, find_layout, rows_of
from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["parse_text_table"]

# The maximum number of columns. Every column needs time and memory, whatever it contains.
MAX_COLUMNS = 100_000
# The number of cells that pandas parses at a time. It needs about 40 bytes per cell in addition to the text.
CELLS_PER_CHUNK = 3_000_000


def parse_text_table(
    text: str,
    name: str,
    *,
    column_names: list[str] | None = None,
    max_columns: int = MAX_COLUMNS,
    max_rows: int | None = None,
) -> pd.DataFrame:
    """Return a text table as a frame of texts (dtype object). ``name`` is the name of the file for messages.

    The cells are the texts of the file without quotes and leading spaces; an empty cell is ``""``. If ``column_names``
    are given, the first line contains values. Raises ``DataError`` for a table of more than ``max_columns`` columns. At
    most ``max_rows`` rows are read.
    """
    layout = find_layout(text, name, column_names, max_columns)
    frame = _parse(layout, name, max_rows)
    if frame.empty:
        raise DataError(f"{name} has a line of column names but no rows.")
    return frame


class _TextReader(io.TextIOBase):
    """A file object of the rows of a text, which is not copied as by ``io.StringIO``."""

    def __init__(self, layout: TextLayout) -> None:
        self._text, self._position = layout.text, layout.start

    def read(self, size: int | None = -1) -> str:
        """Return the next ``size`` characters."""
        end = None if size is None or size < 0 else self._position + size
        characters = self._text[self._position : end]
        self._position += len(characters)
        return characters


def _parse(layout: TextLayout, name: str, max_rows: int | None) -> pd.DataFrame:
    import pandas as pd

    width = len(layout.names)
    # pandas reads surplus cells of the first row as an index, which is very slow for thousands of cells.
    for row, _, _ in rows_of(layout.text, layout.separator, layout.start):
        if len(row) > width:
            _refuse_ragged(layout, name)
        if any(map(str.strip, row)):
            break
    try:
        with pd.read_csv(
            _TextReader(layout),
            sep=layout.separator,
            names=layout.names,
            header=None,
            dtype=object,
            na_filter=False,
            skipinitialspace=True,
            low_memory=False,
            nrows=max_rows,
            chunksize=max(1, CELLS_PER_CHUNK // width),
        ) as frames:
            frame = pd.concat(list(frames), ignore_index=True)
    except pd.errors.EmptyDataError:
        _refuse_ragged(layout, name)
        return pd.DataFrame(columns=layout.names)
    except (pd.errors.ParserError, ValueError) as problem:
        if "Calling read" in str(problem):  # the message of pandas if Ctrl-C interrupts a read
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
    """Raise ``DataError`` with the line for the first row whose number of cells is not the number of columns.

    Return the line of the last row if there is no such row.
    """
    width = len(layout.names)
    begin = layout.start
    for row, begin, _ in rows_of(layout.text, layout.separator, layout.start):
        if len(row) != width:
            line = _line(layout, begin)
            if any("\n" in cell or "\r" in cell for cell in row):
                raise DataError(f"{name} has a quotation mark in line {line} that is not closed where its row ends.")
            raise DataError(
                f"{name} has {len(row)} values in line {line}, but the table has {width} columns; check this line, and "
                "that all lines use the same separator."
            )
    return _line(layout, begin)


def _line(layout: TextLayout, index: int) -> int:
    """Return the number of the line that starts at an index of the text."""
    return layout.lines_before + count_lines(layout.text[layout.start : index]) + 1
