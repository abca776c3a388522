"""Tables with a target column, and sources, which have a training set and possibly an official test set."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from chainrule.data.cells import UNNAMED, Origin
from chainrule.data.dataset import Dataset
from chainrule.data.target import Target, missing_labels
from chainrule.data.texts import normal_text
from chainrule.errors import DataError, InvalidInputError, nearest_name
from chainrule.named import checked
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Part", "Source", "Table", "is_missing_target", "listing", "refuse_missing_target"]


@checked
@dataclass(eq=False)
class Table:
    """A pandas frame and the name of the column to predict.

    >>> import pandas as pd
    >>> Table(pd.DataFrame({"area": [50, 70], "price": [100, 150]}), "price").target
    'price'
    """

    frame: pd.DataFrame
    target: str
    name: str = ""

    def __post_init__(self) -> None:
        self.target = normal_text(str(self.target))
        names = [normal_text(str(name)) for name in self.frame.columns]
        if len(set(names)) == len(names):
            self.frame = self.frame.set_axis(names, axis=1)
        if self.target not in self.frame.columns:
            columns = [str(column) for column in self.frame.columns]
            raise DataError(
                f"{self.name or 'The table'} has no column {self.target!r} to predict; it has {listing(columns)}."
                f"{nearest_name(str(self.target), columns)}"
            )

    def __len__(self) -> int:
        return len(self.frame)

    def split_target(
        self, target: Target | None = None, missing_words: Collection[str] = ()
    ) -> tuple[pd.DataFrame, pd.Series[Any]]:
        """Return the input columns and the target column.

        Raises ``DataError`` if the target is missing in some rows. The words for missing values are those of
        ``target``, if it is given; otherwise the standard ones and ``missing_words``.
        """
        y = self.frame[self.target]
        refuse_missing_target(is_missing_target(y, target, missing_words), self.target)
        if self.frame.shape[1] == 1:
            raise DataError(
                f"The table has no column besides the target {self.target!r}; a model needs at least one input column."
            )
        return self.frame.drop(columns=self.target), y

    def rows_with_target(self, target: Target | None = None, missing_words: Collection[str] = ()) -> IntArray:
        """Return the numbers of the rows with a target. Raises ``DataError`` if there are none."""
        rows = np.flatnonzero(~is_missing_target(self.frame[self.target], target, missing_words))
        if len(rows) == 0:
            raise DataError(f"The target {self.target!r} is missing in every row.")
        return rows

    def take(self, rows: Any) -> Table:
        """Return the given rows (numbers or a slice) as a table with the same target."""
        return replace(self, frame=self.frame.iloc[rows].reset_index(drop=True))


Part: TypeAlias = Dataset | Table


@dataclass(eq=False)
class Source:
    """A training set and the official test set, if the data set has one."""

    name: str
    train: Part
    test: Part | None = None
    notes: str = ""

    def with_target(self, target: str) -> Source:
        """Return the source with another target column. Raises ``InvalidInputError`` if it is not a table."""
        if isinstance(self.train, Dataset) or isinstance(self.test, Dataset):
            raise InvalidInputError(f"{self.name} is not a table, so its target cannot be changed; omit target.")
        test = None if self.test is None else replace(self.test, target=target)
        return replace(self, train=replace(self.train, target=target), test=test)


def is_missing_target(labels: Any, target: Target | None = None, missing_words: Collection[str] = ()) -> Array:
    """Return a mask of the rows whose target is missing.

    The words for missing values are those of ``target``, if it is given; otherwise they are determined from the labels
    and ``missing_words``.
    """
    return missing_labels(labels, missing_words) if target is None else target.is_missing(labels)


def refuse_missing_target(is_missing: Array, name: str, origin: Origin = UNNAMED) -> None:
    """Raise ``DataError`` with the file and the rows if the target is missing in some rows."""
    rows = np.flatnonzero(is_missing)
    if len(rows) == 0:
        return
    where = f"row {origin.row(rows[0])}"
    if len(rows) > 1:
        numbers = ", ".join(f"{origin.row(row)}" for row in rows[:5]) + (", ..." if len(rows) > 5 else "")
        where = f"{len(rows):,} of {len(is_missing):,} rows (rows {numbers})"
    raise DataError(
        f"{origin}The target{f' {name!r}' if name else ''} is missing in {where}; fill it in, or drop such rows with "
        "--drop-missing-target (in Python drop_missing_target=True)."
    )


def listing(columns: list[str]) -> str:
    """Return column names for a message, at most 30 of them."""
    return ", ".join(columns[:30]) + (f" and {len(columns) - 30} more" if len(columns) > 30 else "")
