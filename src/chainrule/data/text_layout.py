"""Detect the layout of a text table: the comments above it, the separator of its cells, and the column names."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chainrule.data.text_encoding import count_lines
from chainrule.data.text_header import DATE, DIGITS, NO_VALUE, header_evidence, is_number
from chainrule.data.texts import normal_text
from chainrule.errors import DataError

__all__ = ["TextLayout", "find_layout", "rows_of"]

# The size of the sample of the text in which the separator and the header are detected. A longer line is refused.
SAMPLE_ROWS = 100
SAMPLE_LINES = 1000
SAMPLE_CHARACTERS = 2**22
# The number of cells per row that are used to compare separators.
SAMPLE_CELLS = 50

_SEPARATORS = (",", ";", "\t", "|")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_SOMETHING = re.compile(r"[^\s\ufeff\x1a]")
_COMMENT = re.compile(r"\s*[#|%](\s*)")
_SEPARATOR_LINE = re.compile(r"\s*\"?sep=([\t !#-/:-@\[-`{-~])\"?[ \t,;]*(?:\r\n|\r|\n|\Z)", re.IGNORECASE)
_QUOTED_OR_SPACES = re.compile(r'(?<!\S)"[^"]*(?:""[^"]*)*+"(?!\S)|[ \t]+')

_MEASURE = re.compile(rf"[^\d\s,;|\"]{{0,4}}\s?{DIGITS}\s?[^\d\s,;|\"]{{0,4}}")
_SEVERAL_NUMBERS = re.compile(r"[+-]?[\d.]+(?:\s+[+-]?[\d.]+)+")
_WRONGLY_SPLIT = re.compile(r"[;|\t\"]|,(?! )")

csv.field_size_limit(2**30)


@dataclass(frozen=True)
class TextLayout:
    """The layout of a text table: the names of its columns, and the separator of its cells.

    The rows start at the index ``start`` of ``text``, after ``lines_before`` lines of the file.
    """

    text: str
    separator: str
    names: list[str]
    start: int
    lines_before: int


def find_layout(text: str, name: str, column_names: Sequence[str] | None, max_columns: int) -> TextLayout:
    """Detect the layout of a text table in the first part of the text. ``name`` is that of the file, for messages.

    If ``column_names`` are given, the first line contains values.

    Raises ``DataError`` with the line, also for a table of more than ``max_columns`` columns.
    """
    text = text.rstrip("\x1a")  # the end-of-file character of DOS
    _refuse_long_lines(text, name)
    start = len(text) - len(text.lstrip("\ufeff"))
    given = _SEPARATOR_LINE.match(text, start)
    start = given.end() if given else start
    if not _SOMETHING.search(text, start):
        raise DataError(f"{name} is empty; a table needs a line of column names, and rows.")
    separator = given[1] if given else _find_separator(_sample(text, _end_of_comments(text, start)))
    lines_before = 0
    if separator == " ":
        lines_before = count_lines(text, start)
        text, start, separator = _separate_by_tabs(text[start:]), 0, "\t"
    start, header = _find_header(text, separator, start, column_names, name, max_columns)
    names = list(column_names) if column_names is not None else _unique_names(header, name)
    return TextLayout(text, separator, names, start, lines_before + count_lines(text, start))


def rows_of(text: str, separator: str, start: int = 0) -> Iterator[tuple[list[str], int, int]]:
    """Yield the rows from ``start`` on that are not blank lines, with their start and end in the text."""
    position = start

    def lines() -> Iterator[str]:
        nonlocal position
        for match in _LINE.finditer(text, start):
            position = match.end()
            yield match[0]

    end = start
    for row in csv.reader(lines(), delimiter=separator, skipinitialspace=True):
        begin, end = end, position
        if len(row) > 1 or not text[begin:end].isspace():
            yield row, begin, end


def _refuse_long_lines(text: str, name: str) -> None:
    size = SAMPLE_CHARACTERS
    for start in range(0, len(text) - size, size):
        if text.find("\n", start, start + size) < 0 and text.find("\r", start, start + size) < 0:
            line = count_lines(text, start) + 1
            raise DataError(
                f"{name} has more than {size:,} characters in line {line}, which is too long for a row of a table; "
                "check that it is the right file."
            )


def _end_of_comments(text: str, start: int) -> int:
    """Return the start of the first line that is neither blank nor a comment; of the first comment if there is none."""
    first_comment = None
    for match in _LINE.finditer(text, start):
        if match[0].isspace():
            continue
        if not _COMMENT.match(match[0]):
            return match.start()
        first_comment = match.start() if first_comment is None else first_comment
    return start if first_comment is None else first_comment


def _sample(text: str, start: int) -> str:
    """Return a sample of the text from ``start`` on, which ends at the end of a line."""
    stop = end = min(start + 2 * SAMPLE_CHARACTERS, len(text))
    for match in itertools.islice(_LINE.finditer(text, start, stop), SAMPLE_LINES):
        end = match.end()
    if end == stop < len(text):  # inside a line
        end = max(text.rfind("\n", start, stop), text.rfind("\r", start, stop)) + 1
    return text[start:end]


def _first_rows(text: str, separator: str, start: int) -> list[list[str]]:
    sample = _sample(text, start)
    rows = [row for row, _, _ in itertools.islice(rows_of(sample, separator), SAMPLE_ROWS)]
    is_cut = len(rows) < SAMPLE_ROWS and start + len(sample) < len(text)  # possibly inside a quoted cell
    return rows[:-1] if is_cut and len(rows) > 1 else rows


def _find_separator(sample: str) -> str:
    """Return the separator that splits the first rows into equally many cells that look like values.

    The separator " " means any number of spaces and tabs.
    """
    best, best_score = None, 0.9 if _is_column_of_numbers(sample) else 0.3  # the score of a table with one column
    rows_by = {separator: _first_rows(sample, separator, 0) for separator in _SEPARATORS if separator in sample}
    for separator, rows in rows_by.items():
        score = _score(rows, text_quality=0.7)
        if score > best_score:
            best, best_score = separator, score
    # Words that are separated by spaces are probably one text.
    lines = "".join(match[0] for match in itertools.islice(_LINE.finditer(sample), SAMPLE_ROWS))
    if 0.99 * _score(_first_rows(_separate_by_tabs(lines), "\t", 0), text_quality=0.3) > best_score:
        return " "
    if best is None:  # one column, unless the first row and half of the other rows have several cells
        shares = {
            separator: sum(len(row) > 1 for row in rows) / len(rows)
            for separator, rows in rows_by.items()
            if len(rows[0]) > 1
        }
        best = max(shares, key=shares.__getitem__, default=None)
        if best is None or shares[best] < 0.5:
            best = next((separator for separator in _SEPARATORS if separator not in rows_by), _SEPARATORS[0])
    return best


def _is_column_of_numbers(sample: str) -> bool:
    """Return whether a word is followed by lines with one number each, possibly with a decimal comma."""
    lines = [match[0].strip() for match in itertools.islice(_LINE.finditer(sample), SAMPLE_ROWS) if match[0].strip()]
    return not any(separator in lines[0] for separator in _SEPARATORS) and all(map(is_number, lines[1:]))


def _score(rows: list[list[str]], text_quality: float) -> float:
    """Return a score of split rows: the share of rows with the same number of cells times the quality of the cells."""
    width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 1)
    if width == 1:
        return 0.0
    agreement = count / len(rows) * (1.0 if len(rows[0]) == width else 0.5)
    with_tabs = sum(any("\t" in cell for cell in row) for row in rows) / len(rows)  # cells should not contain tabs
    cells = [cell for row in rows if len(row) == width for cell in row[:SAMPLE_CELLS]]
    return agreement * (1 - 0.6 * with_tabs) * sum(_quality(cell, text_quality) for cell in cells) / len(cells)


def _quality(cell: str, text_quality: float) -> float:
    """Return how much a cell looks like one value: 1 for numbers, dates and empty cells, 0.2 for a wrong split."""
    text = cell.strip()
    if text.lower() in NO_VALUE or is_number(text) or _MEASURE.fullmatch(text) or DATE.fullmatch(text):
        return 1.0
    return 0.2 if _WRONGLY_SPLIT.search(text) or _SEVERAL_NUMBERS.fullmatch(text) else text_quality


def _separate_by_tabs(text: str) -> str:
    """Return the text of a table that is separated by spaces and tabs, with one tab between cells."""

    def replace(match: re.Match[str]) -> str:
        if match[0][0] == '"':
            return match[0]
        at_edge = (
            match.start() == 0 or text[match.start() - 1] in "\r\n" or text[match.end() : match.end() + 1] in "\r\n"
        )
        return "" if at_edge else "\t"

    return _QUOTED_OR_SPACES.sub(replace, text)


def _find_header(
    text: str,
    separator: str,
    start: int,
    column_names: Sequence[str] | None,
    name: str,
    max_columns: int,
) -> tuple[int, list[str]]:
    """Return the start of the rows, and the column names, which are empty texts if the file has none."""
    first = _end_of_comments(text, start)
    rows = _first_rows(text, separator, first)
    if len(rows[0]) > max_columns:
        raise DataError(f"{name} has {len(rows[0]):,} columns in its first line; the maximum is {max_columns:,}.")
    if column_names is not None:
        return first, []
    width = Counter(map(len, rows)).most_common(1)[0][0]
    evidence = header_evidence(rows[0], rows[1:])
    if first > start and evidence <= 0:
        begin, names = _header_in_comments(text, separator, start, first, width)
        if begin < first:  # a row such as #id,age
            first, rows = begin, _first_rows(text, separator, begin)
            evidence = header_evidence(rows[0], rows[1:])
        elif names and _has_values(rows[0], evidence):  # names in a comment, as written by numpy.savetxt
            return first, names
    header = rows[0]
    if len(header) != width and 2 * sum(len(row) == width for row in rows) > len(rows):
        # R writes no name for the first column, which contains the names of the rows.
        if separator != "\t" or len(header) != width - 1 or header_evidence(["", *header], rows[1:]) < 0:
            line = count_lines(text, next(rows_of(text, separator, first))[1]) + 1
            raise DataError(
                f"{name} has {len(header)} values in line {line}, but most lines below it have {width}; remove the "
                "lines above the column names, or correct that line."
            )
        header, evidence = ["", *header], 1
    if _has_values(header, evidence):
        return first, [""] * len(header)
    _, begin, end = next(rows_of(text, separator, first))
    if end == len(text) and any("\n" in cell or "\r" in cell for cell in header):
        raise DataError(f"{name} has a quotation mark in line {count_lines(text, begin) + 1} that is never closed.")
    return end, header


def _has_values(row: list[str], evidence: float) -> bool:
    """Return whether a first row contains values. Without evidence from other rows, a row with a number does."""
    return evidence < 0 or (evidence == 0 and any(map(is_number, row)))


def _header_in_comments(text: str, separator: str, start: int, end: int, width: int) -> tuple[int, list[str]]:
    """Search for column names in the comment lines above a table of ``width`` columns.

    Return the start of the last comment lines that are rows like ``#id,age``, or ``end`` if there are none, and the
    cells of the last line if it has the form ``# id,age``.
    """
    begin, names = end, list[str]()
    for match in _LINE.finditer(text, start, end):
        comment = _COMMENT.match(match[0])
        if comment is None:
            continue  # a blank line
        spaced = bool(comment[1])
        row = match[0][comment.end() :] if spaced else match[0]
        cells = next(csv.reader([row], delimiter=separator, skipinitialspace=True), [])
        if len(cells) != width or width == 1:
            begin, names = end, []
        elif spaced:
            begin, names = end, cells
        else:
            begin, names = min(begin, match.start()), []
    return begin, names


def _unique_names(header: list[str], name: str) -> list[str]:
    names = [normal_text(cell) or f"column_{number + 1}" for number, cell in enumerate(header)]
    repeated = [label for label, count in Counter(names).items() if count > 1]
    if repeated:
        numbers = [str(number + 1) for number, label in enumerate(names) if label == repeated[0]][:3]
        raise DataError(
            f"{name} has more than one column named {repeated[0]!r} (columns {' and '.join(numbers)}); rename one."
        )
    return names
