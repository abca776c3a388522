"""Find columns that determine the target, which may be computed from it or known only afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from chainrule.data.table import TablePreprocessor
from chainrule.errors import listed, with_option
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["determines", "warnings_of_leaks"]

# The minimum number of rows that are compared.
MIN_ROWS = 50
# The minimum rank correlation with a numeric target, and the minimum mean number of rows per value of a column that
# determines the class.
MIN_CORRELATION, MIN_ROWS_PER_VALUE = 0.99999, 5


def warnings_of_leaks(
    frame: pd.DataFrame, table: TablePreprocessor, targets: Array, *, are_classes: bool
) -> Iterator[str]:
    """Yield a warning if columns of a sample of the training rows determine the target."""
    names = [
        plan.name
        for plan in table.feature_plan.columns
        if determines(plan.read_column(frame[plan.name]), targets, are_classes=are_classes)
    ]
    if names:
        columns = f"column{'s' if len(names) > 1 else ''} {listed([*map(repr, names)])}"
        verb, copies = ("determine", "copies") if len(names) > 1 else ("determines", "a copy")
        yield (
            f"The {columns} {verb} the target, like {copies} of it. Drop a column with {with_option('drop')} if it is "
            "computed from the target or known only after it, because new rows would be predicted worse than measured."
        )


def determines(values: Array, targets: Array, *, are_classes: bool) -> bool:
    """Return whether a column determines the class of each row, or has almost the same ranks as a numeric target.

    ``values`` are those of :meth:`ColumnPlan.read_column`. Rows without a value are left out.
    """
    present = ~np.isnat(values) if values.dtype.kind == "M" else ~np.isnan(values)
    values, targets = values[present], targets[present]
    distinct, groups = np.unique(values, return_inverse=True)
    if len(values) < MIN_ROWS or len(distinct) < 2 or len(np.unique(targets)) < 2:
        return False
    if are_classes:
        n_pairs = len(np.unique(np.column_stack([groups, targets]), axis=0))
        return n_pairs == len(distinct) and len(distinct) * MIN_ROWS_PER_VALUE <= len(values)
    if values.dtype.kind == "i" or targets.ndim > 1:  # a category, or several targets
        return False
    ranks = np.unique(targets, return_inverse=True)[1]
    return bool(abs(np.corrcoef(groups, ranks)[0, 1]) >= MIN_CORRELATION)
