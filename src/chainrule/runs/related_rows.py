"""Columns that say which rows are related: by time, or because they belong to the same person, machine or the like.

A random split puts related rows into the training and the test part, and the metrics then promise too much.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from shlex import quote
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.cells import UNNAMED, Origin, cell_text, distinct_cells, typed_dates, typed_numbers
from chainrule.data.table import TablePreprocessor
from chainrule.data.texts import MISSING_WORDS
from chainrule.errors import DataError, InvalidInputError, listed
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "find_time",
    "is_group_column",
    "is_time_column",
    "only_date",
    "read_groups",
    "read_times",
    "warnings_of_related_rows",
    "with_options",
]

# A few different values may look regular by chance.
FEWEST_MOMENTS, FEWEST_GROUPS = 10, 10
FEWEST_ROWS_PER_GROUP = 2
# In a series, nearly all steps in time are equal, and nearly all moments have the same number of rows.
MOSTLY = 0.9

_WORDS = (
    "user|customer|client|patient|subject|person|participant|respondent|machine|device|sensor|session|household|family|"
    "student|pupil|speaker|author|animal|vehicle|account|member|employee|group"
)
_NAMED_LIKE_AN_ID = re.compile(
    rf"(?i:(.*[\W_])?(id|uid|uuid|guid)|({_WORDS})([\W_]?(no|nr|num|number|code|key|name))?)|.*[a-z](Id|ID)"
)
_CODE = re.compile(r"([^\W\d]+[-_. ]?)\d{2,}")


def read_groups(frame: pd.DataFrame, name: str) -> IntArray:
    """Return a number for each row, the same for rows with the same text in a column; missing cells are one group."""
    cells, codes = distinct_cells(frame[name])
    numbers: dict[str, int] = {}
    of_cells = [numbers.setdefault("" if cell is None else cell_text(cell), len(numbers)) for cell in cells]
    return np.array(of_cells, np.intp)[codes]


def read_times(frame: pd.DataFrame, name: str, options: TablePreprocessor, origin: Origin = UNNAMED) -> Array:
    """Return a column of dates or numbers as values that can be sorted; refuse any other, and missing cells.

    ``options`` say how the columns of the table are read.
    """
    column = frame[name]
    moments = typed_dates(column)
    if moments is None:
        moments = typed_numbers(column)
    if moments is None:
        plan = next(plan for plan in _reader(frame, name, options, origin).columns if plan.name == name)
        if plan.kind == "dropped":
            moments = _read_row_numbers(column, name, options, origin)
        elif plan.kind in ("date", "number"):
            moments = plan.read_column(column, origin)
        if moments is None:
            raise DataError(
                f"{origin}The rows cannot be sorted by the column {name!r}, which holds neither dates nor numbers "
                f"({plan.explain()})."
            )
    missing = np.isnat(moments) if moments.dtype.kind == "M" else np.isnan(moments)
    if missing.any():
        row = origin.row(int(missing.argmax()))
        raise DataError(
            f"{origin}The column {name!r}, which rows are sorted by, is missing in row {row}; fill it in, or leave "
            "such rows out."
        )
    return moments


def find_time(frame: pd.DataFrame, options: TablePreprocessor, origin: Origin = UNNAMED) -> str | None:
    """Return the name of the only column of dates; None if there is none."""
    reader = with_options(options).fit(frame, origin)
    return only_date([plan.name for plan in reader.columns if plan.kind == "date"])


def only_date(names: Sequence[str]) -> str | None:
    """Return the only one of some columns of dates, None if there is none; refuse to choose between several."""
    if len(names) > 1:
        raise InvalidInputError(
            f"There are several columns of dates ({', '.join(names)}); say with --time COLUMN (in Python time=) which "
            "one the rows are sorted by."
        )
    return names[0] if names else None


def with_options(options: TablePreprocessor, **changes: Sequence[str]) -> TablePreprocessor:
    """Return a preprocessor that is not fitted, with the options of another and some changes."""
    return TablePreprocessor.from_dict({**options.to_dict(), **changes, "columns": []})


def warnings_of_related_rows(frame: pd.DataFrame, table: TablePreprocessor) -> Iterator[str]:
    """Yield a warning if columns indicate that rows are related, although the split is random."""
    times, groups = [], []
    for plan in table.columns:
        column = frame[plan.name]
        if plan.kind == "date":
            if is_time_column(plan.read_column(column)):
                times.append(plan.name)
        elif is_group_column(plan.name, column):
            groups.append(plan.name)
    signs = [f"The rows look like a series in time ({listed(times)})"] if times else []
    signs += [f"Several rows have the same {name}" for name in groups]
    options = [f"--time {quote(name)}" for name in times] + [f"--group {quote(name)}" for name in groups]
    if len(options) > 1:
        signs = [signs[0], *(sign[0].lower() + sign[1:] for sign in signs[1:])]
        effects = ["--time tests the model on the latest rows"] if times else []
        effects += ["--group keeps rows with the same value together"] if groups else []
        yield (
            f"{listed(signs)}. A random split puts related rows into the training part and the test part; choose one "
            f"of {listed(options)} ({', '.join(effects)})."
        )
    elif times:
        yield (
            f"{signs[0]}. A random split tests the model on times between those that it was trained on; {options[0]} "
            "tests it on the latest rows."
        )
    elif groups:
        yield (
            f"{signs[0]}. A random split puts some of them into the training part and others into the test part; "
            f"{options[0]} keeps them together."
        )


def is_time_column(moments: Array) -> bool:
    """Tell whether rows with these dates are a series in time: sorted by them, or at regular steps."""
    moments = moments[~np.isnat(moments)]
    distinct, counts = np.unique(moments, return_counts=True)
    if len(distinct) < FEWEST_MOMENTS:
        return False
    if _is_monotonic(moments):
        return True
    return _share_of_most_frequent(np.diff(distinct)) >= MOSTLY and _share_of_most_frequent(counts) >= MOSTLY


def is_group_column(name: str, column: pd.Series[Any]) -> bool:
    """Tell whether a column holds ids that several rows share.

    Either it is called like one (``patient``, ``store_id``), or its values are codes of one form, such as M07 and M12.
    """
    is_named = _NAMED_LIKE_AN_ID.fullmatch(name.strip()) is not None
    if not is_named and column.dtype.kind in "biufmMc":
        return False
    cells, codes = distinct_cells(column)
    n_rows, groups = 0, set()
    for cell, count in zip(cells, np.bincount(codes % len(cells), minlength=len(cells)).tolist(), strict=True):
        if cell is not None and (text := cell_text(cell)) not in MISSING_WORDS:
            n_rows += count
            groups.add(text)
    if len(groups) * FEWEST_ROWS_PER_GROUP > n_rows:
        return False
    prefixes = {code and code[1] for code in map(_CODE.fullmatch, groups)}
    return len(groups) >= FEWEST_GROUPS and (is_named or (len(prefixes) == 1 and None not in prefixes))


def _reader(frame: pd.DataFrame, name: str, options: TablePreprocessor, origin: Origin) -> TablePreprocessor:
    """Return how the columns are read, with the given one among them."""
    without = {"drop": options.drop, "categorical": options.categorical}
    changes = {option: [one for one in names if one != name] for option, names in without.items()}
    return with_options(options, **changes).fit(frame, origin)


def _read_row_numbers(column: pd.Series[Any], name: str, options: TablePreprocessor, origin: Origin) -> Array | None:
    """Return a column, of which nothing can be learnt, as numbers: those of rows have an order. None for any other."""
    reader = with_options(options, categorical=[], drop=[], dates=[], numeric=[name])
    with contextlib.suppress(DataError):
        (plan,) = reader.fit(column.to_frame(name), origin).columns
        return replace(plan, coerce=False).read_column(column, origin)
    return None


def _is_monotonic(moments: Array) -> bool:
    steps = np.diff(moments)
    zero = np.timedelta64(0)
    return bool((steps >= zero).all() or (steps <= zero).all())


def _share_of_most_frequent(values: Array) -> float:
    return float(np.unique(values, return_counts=True)[1].max() / len(values))
