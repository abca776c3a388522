"""Detect whether the first row of a text table contains column names, by comparing it with the rows below."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Literal

from chainrule.data.texts import MISSING_NUMBER_WORDS

__all__ = ["DATE", "DIGITS", "NO_VALUE", "header_evidence", "is_number"]

# Numbers with decimal points or commas, and with thousands separators.
DIGITS = r"(?:\d{1,3}(?:([.,'\u00a0\u202f])\d{3})(?:\1\d{3})*(?:[.,]\d+)?|\d+(?:[.,]\d+|\.)?)(?:[eE][+-]?\d+)?"
DATE = re.compile(
    r"\d{1,4}([-/.])\d{1,2}(?:\1\d{1,4})?(?:[T ]\s?\d{1,2}:\d{2}[^,;|]{0,20})?|\d{1,2}:\d{2}(?::\d{2})?[^,;|]{0,6}"
)
NO_VALUE = frozenset(word.lower() for word in MISSING_NUMBER_WORDS)

_NUMBER = re.compile(rf"[(+\u2212-]?\s?[$€£¥]?\s?[+\u2212-]?(?:{DIGITS}|[.,]\d+(?:[eE][+-]?\d+)?)\s?[%‰$€£¥]?\)?")
_PLAIN_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_DIGIT_RUN, _UPPER_RUN, _LOWER_RUN = re.compile(r"\d+"), re.compile(r"[A-Z]+"), re.compile(r"[^\W\d_A-Z]+")
# A sequence of at least this number of numbers consists of names (pixels, wave lengths, days).
_MIN_SEQUENCE = 6
# The number of columns that are compared.
_MAX_COLUMNS = 200


def is_number(text: str) -> bool:
    """Return whether a cell is a number, possibly with separators, a currency sign or a per cent sign."""
    return _NUMBER.fullmatch(text.strip()) is not None


def header_evidence(first: Sequence[str], below: Sequence[Sequence[str]]) -> float:
    """Return a positive number if the row ``first`` contains names, and a negative one if it contains values.

    Each column has a vote. A cell is a name if the cells below are of another kind, and a value if they are of the same
    kind. Words above words are values if most of them also occur in rows below. (A single name, such as ``other``, may
    also be a value of its column.) Numbers above numbers are names if they are a sequence such as 2019, 2020, 2021, and
    the numbers below are not.
    """
    cells = [cell.strip() for cell in first[:_MAX_COLUMNS]]
    rows = [row for row in below if len(row) == len(first) and [*row] != [*first]]
    votes = 0.0
    numbers, words = list[tuple[str, list[str]]](), list[tuple[str, list[str]]]()
    for index, cell in enumerate(cells):
        column = [text for row in rows if (text := row[index].strip()).lower() not in NO_VALUE]
        if cell.lower() in NO_VALUE or not column:
            continue
        kind = _kind_of(column)
        if kind == _kind_of([cell]) == "number":
            numbers.append((cell, column))
        elif kind == _kind_of([cell]) == "word":
            words.append((cell, column))
        elif kind is not None:
            votes += -1 if kind == _kind_of([cell]) else 1
    return votes + _votes_of_words(words) + _votes_of_numbers(numbers)


def _kind_of(column: Sequence[str]) -> Literal["number", "date", "word"] | None:
    """Return the kind of nearly all cells of a column; None for a mixture."""
    if sum(map(is_number, column)) >= 0.8 * len(column):
        return "number"
    if sum(DATE.fullmatch(text) is not None for text in column) >= 0.8 * len(column):
        return "date"
    return None if any(map(is_number, column)) else "word"


def _votes_of_words(words: list[tuple[str, list[str]]]) -> float:
    """Return the votes of words above words, each of which is given with the cells below it."""
    n_repeated = sum(cell in column for cell, column in words)
    shapes = [(_shape(cell), set(map(_shape, column))) for cell, column in words]
    n_different = sum(len(below) == 1 and shape not in below for shape, below in shapes)
    return 0.5 * n_different - (n_repeated if 2 * n_repeated > len(words) else 0)


def _shape(text: str) -> str:
    """Return the shape of a text: ``CUST-0012`` and ``ABC-7`` both have the shape ``A-9``."""
    return _LOWER_RUN.sub("a", _UPPER_RUN.sub("A", _DIGIT_RUN.sub("9", text)))


def _votes_of_numbers(numbers: list[tuple[str, list[str]]]) -> float:
    """Return the votes of numbers above numbers, each of which is given with the cells below it."""
    if not all(_PLAIN_NUMBER.fullmatch(cell) for cell, _ in numbers):
        return -len(numbers)
    values = [_value(cell) for cell, _ in numbers]
    above_decimals = sum(_is_whole(cell) and not any(map(_is_whole, column)) for cell, column in numbers)
    years = all(_is_year(cell) for cell, _ in numbers)
    n_unlike = sum(_is_unlike_column(cell, column) for cell, column in numbers) if years else above_decimals
    if len(numbers) < 2:  # not a sequence, but a year may be a name
        return 0 if years and n_unlike else -len(numbers)
    rows = [[_value(text) for text in row] for row in zip(*(column for _, column in numbers), strict=False)]
    step = _step(values)
    n_same_step = sum(_step(row) == step for row in rows)
    is_sequence = (years and _is_monotonic(values)) or (step is not None and 2 * n_same_step < len(rows))
    is_count = len(values) > 2 and values[0] in (0, 1) and step == 1 and len(rows) >= 10 and not n_same_step
    if is_count or (is_sequence and (len(values) >= _MIN_SEQUENCE or 2 * n_unlike > len(values))):
        return len(numbers)
    return -len(numbers)


def _is_whole(cell: str) -> bool:
    return cell.lstrip("+-").isdecimal()


def _is_year(cell: str) -> bool:
    return cell.isdecimal() and len(cell) == 4 and 1800 <= int(cell) <= 2200


def _is_unlike_column(cell: str, column: Sequence[str]) -> bool:
    """Return whether a year is above numbers that are not years and are all smaller or all greater."""
    values = [_value(text) for text in column]
    return not min(values) <= _value(cell) <= max(values) and 2 * sum(map(_is_year, column)) < len(column)


def _is_monotonic(values: Sequence[float]) -> bool:
    return len(set(values)) == len(values) and list(values) in (sorted(values), sorted(values, reverse=True))


def _step(values: Sequence[float]) -> float | None:
    """Return the difference between successive numbers if it is constant and not 0; None otherwise."""
    steps = {round(after - before, 9) for before, after in itertools.pairwise(values)}
    step = steps.pop()
    return None if steps or step == 0 else step


def _value(text: str) -> float:
    found = _PLAIN_NUMBER.search(text.replace(" ", ""))
    return float(found[0].replace(",", ".")) if found else 0.0
