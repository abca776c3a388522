"""Find columns that indicate related rows, such as dates or the ids of persons or machines.

A random split puts related rows into both the training set and the test set, so that the metrics are too optimistic.
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

# Fewer distinct values may look regular by chance.
MIN_TIMES, MIN_GROUPS = 10, 10
MIN_ROWS_PER_GROUP = 2
# In a time series, at least this share of the time steps are equal, and of the times have the same number of rows.
REGULAR_SHARE = 0.9

_WORDS = (
    "user|customer|client|patient|subject|person|participant|respondent|machine|device|sensor|session|household|family|"
    "student|pupil|speaker|author|animal|vehicle|account|member|employee|group"
)
_NAMED_LIKE_AN_ID = re.compile(
    rf"(?i:(.*[\W_])?(id|uid|uuid|guid)|({_WORDS})([\W_]?(no|nr|num|number|code|key|name))?)|.*[a-z](Id|ID)"
)
_CODE = re.compile(r"([^\W\d]+[-_. ]?)\d{2,}")


def read_groups(frame: pd.DataFrame, name: str) -> IntArray:
    """Return the number of the group of each row. Rows with the same text form a group, and so do missing cells."""
    cells, codes = distinct_cells(frame[name])
    numbers: dict[str, int] = {}
    cell_groups = [numbers.setdefault("" if cell is None else cell_text(cell), len(numbers)) for cell in cells]
    return np.array(cell_groups, np.intp)[codes]


def read_times(frame: pd.DataFrame, name: str, options: TablePreprocessor, origin: Origin = UNNAMED) -> Array:
    """Return a column of dates or numbers as an array that can be sorted.

    Raises DataError for other columns and for missing cells. ``options`` determine how the columns are read.
    """
    column = frame[name]
    times = typed_dates(column)
    if times is None:
        times = typed_numbers(column)
    if times is None:
        plan = next(plan for plan in _fit_with(frame, name, options, origin).columns if plan.name == name)
        if plan.kind == "dropped":
            times = _read_row_numbers(column, name, options, origin)
        elif plan.kind in ("date", "number"):
            times = plan.read_column(column, origin)
        if times is None:
            raise DataError(
                f"{origin}The rows cannot be sorted by the column {name!r}, which contains neither dates nor numbers "
                f"({plan.explain()})."
            )
    missing = np.isnat(times) if times.dtype.kind == "M" else np.isnan(times)
    if missing.any():
        row = origin.row(int(missing.argmax()))
        raise DataError(
            f"{origin}The column {name!r}, by which the rows are sorted, is missing in row {row}; fill it in, or drop "
            "such rows."
        )
    return times


def find_time(frame: pd.DataFrame, options: TablePreprocessor, origin: Origin = UNNAMED) -> str | None:
    """Return the name of the only column of dates; None if there is none."""
    reader = with_options(options).fit_frame(frame, origin)
    return only_date([plan.name for plan in reader.columns if plan.kind == "date"])


def only_date(names: Sequence[str]) -> str | None:
    """Return the name if there is one, and None if there is none. Raises InvalidInputError if there are several."""
    if len(names) > 1:
        raise InvalidInputError(
            f"There are several columns of dates ({', '.join(names)}); give the one to sort the rows by with --time "
            "COLUMN (in Python time=)."
        )
    return names[0] if names else None


def with_options(options: TablePreprocessor, **changes: Sequence[str]) -> TablePreprocessor:
    """Return a new preprocessor with the options of another one and the given changes, not fitted."""
    return TablePreprocessor.from_dict({**options.to_dict(), **changes, "columns": []})


def warnings_of_related_rows(frame: pd.DataFrame, table: TablePreprocessor) -> Iterator[str]:
    """Yield a warning if columns indicate that the rows of a random split are related."""
    times, groups = [], []
    for plan in table.columns:
        column = frame[plan.name]
        if plan.kind == "date":
            if is_time_column(plan.read_column(column)):
                times.append(plan.name)
        elif is_group_column(plan.name, column):
            groups.append(plan.name)
    signs = [f"The rows look like a time series ({listed(times)})"] if times else []
    signs += [f"Several rows have the same {name}" for name in groups]
    options = [f"--time {quote(name)}" for name in times] + [f"--group {quote(name)}" for name in groups]
    if len(options) > 1:
        signs = [signs[0], *(sign[0].lower() + sign[1:] for sign in signs[1:])]
        effects = ["--time tests the model on the latest rows"] if times else []
        effects += ["--group keeps rows with the same value together"] if groups else []
        yield (
            f"{listed(signs)}. A random split puts related rows into both the training set and the test set; choose "
            f"one of {listed(options)} ({', '.join(effects)})."
        )
    elif times:
        yield (
            f"{signs[0]}. A random split tests the model on times between those of the training set; {options[0]} "
            "tests it on the latest rows."
        )
    elif groups:
        yield (
            f"{signs[0]}. A random split puts some of them into the training set and others into the test set; "
            f"{options[0]} keeps them together."
        )


def is_time_column(times: Array) -> bool:
    """Return whether rows with these dates are a time series: sorted by date, or at regular steps."""
    times = times[~np.isnat(times)]
    distinct, counts = np.unique(times, return_counts=True)
    if len(distinct) < MIN_TIMES:
        return False
    if _is_monotonic(times):
        return True
    return min(_share_of_most_frequent(np.diff(distinct)), _share_of_most_frequent(counts)) >= REGULAR_SHARE


def is_group_column(name: str, column: pd.Series[Any]) -> bool:
    """Return whether a column contains ids that several rows share.

    The name of such a column looks like an id (``patient``, ``store_id``), or its values are codes of one form, such as
    M07 and M12.
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
    if len(groups) * MIN_ROWS_PER_GROUP > n_rows:
        return False
    prefixes = {code and code[1] for code in map(_CODE.fullmatch, groups)}
    return len(groups) >= MIN_GROUPS and (is_named or (len(prefixes) == 1 and None not in prefixes))


def _fit_with(frame: pd.DataFrame, name: str, options: TablePreprocessor, origin: Origin) -> TablePreprocessor:
    """Return a preprocessor fitted to a frame, of which the named column is neither dropped nor categorical."""
    without = {"drop": options.choices().drop, "categorical": options.choices().categorical}
    changes = {option: [column for column in columns if column != name] for option, columns in without.items()}
    return with_options(options, **changes).fit_frame(frame, origin)


def _read_row_numbers(column: pd.Series[Any], name: str, options: TablePreprocessor, origin: Origin) -> Array | None:
    """Return a dropped column, such as row numbers, as numbers; None if it does not contain numbers."""
    table = with_options(options, categorical=[], drop=[], dates=[], numeric=[name])
    with contextlib.suppress(DataError):
        (plan,) = table.fit_frame(column.to_frame(name), origin).columns
        return replace(plan, coerce=False).read_column(column, origin)
    return None


def _is_monotonic(times: Array) -> bool:
    steps = np.diff(times)
    zero = np.timedelta64(0)
    return bool((steps >= zero).all() or (steps <= zero).all())


def _share_of_most_frequent(values: Array) -> float:
    return float(np.unique(values, return_counts=True)[1].max() / len(values))
