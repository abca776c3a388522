"""Understand a table written as text: which separator, which decimal mark, whether the first line is a header."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import Counter
from typing import TYPE_CHECKING

from chainrule.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MISSING_WORDS", "parse_text_table"]

# Cells that mean "no value". "None" is not one of them: in many tables it is a category.
MISSING_WORDS = frozenset({"", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "<NA>"})

_SEPARATORS = (",", ";", "\t", "|")
_LIKE_A_COMMENT = re.compile(r"\s*[#|%][^\n]*\n?")
_ROWS_LOOKED_AT = 100
_NUMBER = re.compile(r"\s*[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?\s*")

csv.field_size_limit(2**30)


def parse_text_table(
    text: str,
    name: str,
    *,
    column_names: list[str] | None = None,
    most_columns: int | None = None,
    most_rows: int | None = None,
) -> pd.DataFrame:
    """Return the frame that ``text`` describes; ``name`` is the file's name for messages.

    ``column_names`` says what the columns are called, and that the first line is data. A table of more than
    ``most_columns`` is refused before anything is made of its rows: a column costs time and memory. Of the rows, the
    first ``most_rows`` are read.
    """
    text = text.lstrip("\ufeff")
    if not text.strip():
        raise DataError(f"{name} is empty; a table needs a line of column names and rows.")
    text, separator, skipped = _without_comments(text)
    header = next(_rows(text, separator))
    if most_columns is not None and len(header) > most_columns:
        raise DataError(
            f"{name} has {len(header):,} columns in its first line, and {most_columns:,} at most can be used."
        )
    if column_names is None and any(_NUMBER.fullmatch(cell) for cell in header):
        column_names = [f"column_{number + 1}" for number in range(len(header))]
    has_header = column_names is None
    names = _unique_names(header, name) if column_names is None else column_names
    frame = _parse(text, separator, names, has_header, name, skipped, most_rows)
    if frame.empty:
        raise DataError(f"{name} has a line of column names and no rows.")
    return frame


def _parse(
    text: str, separator: str, names: list[str], has_header: bool, name: str, skipped: int, most_rows: int | None
) -> pd.DataFrame:
    import pandas as pd

    # pandas takes the surplus cells of a first row for an index, and needs very long for thousands of them.
    for row in itertools.islice(_rows(text, separator), int(has_header), None):
        if len(row) > len(names):
            _refuse_ragged(text, separator, len(names), name, skipped)
        if any(map(str.strip, row)):
            break
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=separator,
            names=names,
            header=0 if has_header else None,
            decimal=_decimal_mark(text, separator),
            na_values=sorted(MISSING_WORDS),
            keep_default_na=False,
            skipinitialspace=True,
            low_memory=False,
            nrows=most_rows,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as problem:
        if "Calling read" in str(problem):  # pandas says so of a Ctrl-C; a text in memory can always be read
            raise KeyboardInterrupt from None
        last_line = _refuse_ragged(text, separator, len(names), name, skipped)
        if "EOF inside string" in str(problem):
            raise DataError(f"{name} has a quotation mark in line {last_line} that is never closed.") from None
        raise DataError(f"{name} cannot be read as a table separated by {separator!r}.") from None
    # pandas takes surplus cells for an index and fills short rows with missing values. Neither is meant.
    if not isinstance(frame.index, pd.RangeIndex) or frame.iloc[:, -1].isna().any():
        _refuse_ragged(text, separator, len(names), name, skipped)
    return frame


def _rows(text: str, separator: str) -> itertools.chain[list[str]]:
    """Return the rows that are not blank, as lists of cells."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    return itertools.chain(row for row in reader if row)


def _find_separator(text: str) -> tuple[str, int]:
    """Return the separator that cuts most of the first rows into the same number of cells, and that number."""
    best = (",", 1)
    best_score = 0.0
    for separator in _SEPARATORS:
        widths = Counter(len(row) for row in itertools.islice(_rows(text, separator), _ROWS_LOOKED_AT))
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        # Agreement counts for most: a comma inside text may cut more, but not every row alike.
        score = (count / widths.total()) * (1 + min(width, 50) / 1000) if width > 1 else 0.0
        if score > best_score:
            best, best_score = (separator, width), score
    return best


def _without_comments(text: str) -> tuple[str, str, int]:
    """Return the text after leading comment lines, its separator, and how many lines were left out.

    A line that begins like a comment is one only if it has not as many cells as the rest: ``#id,age`` is a header.
    """
    end = 0
    while found := _LIKE_A_COMMENT.match(text, end):
        end = found.end()
    separator, width = _find_separator(text[end:] if text[end:].strip() else text)
    start = 0
    while start < end:
        stop = text.find("\n", start) + 1 or len(text)
        if len(next(_rows(text[start:stop], separator), [])) == width or not text[stop:].strip():
            break
        start = stop
    return text[start:], separator, text.count("\n", 0, start)


def _decimal_mark(text: str, separator: str) -> str:
    """Return "," where some cell is a number like 3,14 and none is like 3.14."""
    if separator == ",":
        return "."
    edge = re.escape(separator)
    cell = rf'(?:^|{edge})[ ]*"?[+-]?\d*{{mark}}\d+(?:[eE][+-]?\d+)?"?[ ]*(?=$|\r|{edge})'
    has_comma = re.search(cell.format(mark=","), text, re.MULTILINE)
    has_point = re.search(cell.format(mark=r"\."), text, re.MULTILINE)
    return "," if has_comma and not has_point else "."


def _unique_names(header: list[str], name: str) -> list[str]:
    names = [cell.strip() or f"column_{number + 1}" for number, cell in enumerate(header)]
    repeated = [label for label, count in Counter(names).items() if count > 1]
    if repeated:
        places = [str(number + 1) for number, label in enumerate(names) if label == repeated[0]]
        raise DataError(
            f"{name} has more than one column called {repeated[0]!r} (columns {' and '.join(places)}); rename one."
        )
    return names


def _refuse_ragged(text: str, separator: str, width: int, name: str, skipped: int) -> int:
    """Raise ``DataError`` for the first row whose number of cells is not ``width``, naming its line.

    Returns the line in which the last row begins.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    start = last = skipped + 1
    for row in reader:
        # An empty line is no row, except in a table of one column, where pandas leaves it out as well.
        if row and len(row) != width:
            if any("\n" in cell for cell in row):
                raise DataError(f"{name} has a quotation mark in line {start} that is not closed where its row ends.")
            raise DataError(
                f"{name} has {len(row)} values in line {start}, and the table has {width} columns; "
                "check that line, or whether the right separator is used throughout."
            )
        last, start = start, skipped + reader.line_num + 1
    return last
