"""Split rows into training, validation and test sets: at random, stratified by class, by group, or by time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from chainrule.arrays import refuse_masked
from chainrule.errors import DataError, InvalidInputError, check_one_of, shown
from chainrule.ranges import is_finite
from chainrule.types import Array, IntArray, Seed

__all__ = ["SplitStrategy", "count_of", "split_rows", "train_validation_test"]

SplitStrategy: TypeAlias = Literal["random", "stratified", "group", "time"]


def split_rows(
    n_rows: int,
    test_size: float,
    *,
    strategy: SplitStrategy = "random",
    labels: Any = None,
    groups: Any = None,
    times: Any = None,
    seed: Seed = None,
    class_names: Sequence[str] = (),
) -> tuple[IntArray, IntArray]:
    """Return the row numbers of the training set and of the test set, which together contain every row once.

    ``test_size`` is a share between 0 and 1, rounded up, or a number of rows. The strategies are

    - ``"random"``: the test rows are drawn at random;
    - ``"stratified"``: both sets have the same share of every class of ``labels``, to within one row;
    - ``"group"``: rows with the same value in ``groups``, such as a person or a machine, are in the same set; groups
      are drawn, and ``test_size`` is a share of the groups;
    - ``"time"``: the latest rows by ``times``, or the last rows without ``times``, are the test set. Rows with the same
      time are in the same set, so that its size may differ from ``test_size`` by a few rows.

    ``class_names`` are the names of the classes in messages if ``labels`` are codes.

    The rows of each set are shuffled (sorted by time for ``"time"``). With the same seed, ``train_test_split`` of
    scikit-learn draws the same rows.

    >>> train, test = split_rows(10, test_size=0.2, seed=0)
    >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
    (8, 2, True)
    """
    from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit, StratifiedShuffleSplit

    check_one_of("The split strategy", strategy, get_args(SplitStrategy))
    _check_seed(seed)
    n_test = count_of(test_size, n_rows, "test_size", "rows")
    sizes = {"test_size": n_test, "train_size": n_rows - n_test}
    placeholder = np.empty((n_rows, 0))
    if strategy == "time" and times is None:
        return np.arange(n_rows - n_test), np.arange(n_rows - n_test, n_rows)
    if strategy == "time":
        sort_keys = _column(times, n_rows, "times")
        order = np.argsort(sort_keys, kind="stable")
        n_train = _nearest_boundary(sort_keys[order], n_rows - n_test)
        return order[:n_train], order[n_train:]
    if strategy == "group":
        group_codes = np.unique(_column(groups, n_rows, "groups"), return_inverse=True)[1]
        n_groups = int(group_codes.max()) + 1
        if n_groups < 2:
            raise DataError("A split by group needs rows of at least two groups, but all rows are in one group.")
        n_test = min(max(round(n_groups * n_test / n_rows), 1), n_groups - 1)
        splitter = GroupShuffleSplit(1, test_size=n_test, train_size=n_groups - n_test, random_state=seed)
        train, test = next(splitter.split(placeholder, groups=group_codes))
        return train, test
    if strategy == "stratified":
        codes = _class_codes(_column(labels, n_rows, "labels"), n_test, n_rows, class_names)
        train, test = next(StratifiedShuffleSplit(1, **sizes, random_state=seed).split(placeholder, codes))
        return train, test
    train, test = next(ShuffleSplit(1, **sizes, random_state=seed).split(placeholder))
    return train, test


def train_validation_test(
    n_rows: int,
    validation_size: float = 0.2,
    test_size: float = 0.2,
    *,
    strategy: SplitStrategy = "random",
    labels: Any = None,
    groups: Any = None,
    times: Any = None,
    seed: Seed = None,
) -> tuple[IntArray, IntArray, IntArray]:
    """Return the row numbers of the training, validation and test sets. Both sizes are shares of all rows.

    The strategies are those of :func:`split_rows`. With ``"time"``, the validation rows precede the test rows.

    >>> train, validation, test = train_validation_test(10, 0.2, 0.2, seed=0)
    >>> len(train), len(validation), len(test)
    (6, 2, 2)
    """
    n_test = count_of(test_size, n_rows, "test_size", "rows")
    n_validation = count_of(validation_size, n_rows, "validation_size", "rows")
    if n_test + n_validation >= n_rows:
        raise InvalidInputError(
            f"The validation set ({n_validation} rows) and the test set ({n_test} rows) leave no training rows of "
            f"{n_rows} rows; make them smaller."
        )
    keys: dict[str, Any] = {"labels": labels, "groups": groups, "times": times}
    rest, test = split_rows(n_rows, n_test, strategy=strategy, seed=seed, **keys)
    within: dict[str, Any] = {
        name: None if key is None else _column(key, n_rows, name)[rest] for name, key in keys.items()
    }
    # A test set of whole groups rarely has the exact size, so the validation size is scaled to the remaining rows.
    n_left = max(1, round(n_validation * len(rest) / (n_rows - n_test)))
    train, validation = split_rows(len(rest), n_left, strategy=strategy, seed=seed, **within)
    return rest[train], rest[validation], test


def _nearest_boundary(times: Array, n_train: int) -> int:
    """Return the number of rows nearest to ``n_train`` after which the sorted times change."""
    time = times[n_train]
    ends = [int(np.searchsorted(times, time, side)) for side in ("left", "right")]
    ends = [end for end in ends if 0 < end < len(times)]
    return min(ends, key=lambda end: abs(end - n_train), default=n_train)


def _check_seed(seed: Seed) -> None:
    if seed is not None and (not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32):
        raise InvalidInputError(f"seed must be a whole number from 0 to 4294967295, or None, not {seed!r}.")


def count_of(size: float, n_rows: int, name: str, unit: str) -> int:
    """Return the number of rows of a share or a number. Raises ``InvalidInputError`` if one of the sets is empty."""
    if n_rows < 2:
        raise DataError(f"A split needs at least 2 rows, but there are {n_rows}.")
    if not is_finite(size):
        raise InvalidInputError(f"{name} must be a share between 0 and 1 or a number of {unit}, not {shown(size)}.")
    if isinstance(size, int | np.integer):
        count = int(size)
        if not 0 < count < n_rows:
            raise InvalidInputError(f"{name} must be between 1 and {n_rows - 1} for {n_rows} {unit}, not {count}.")
        return count
    if not 0 < size < 1:
        raise InvalidInputError(f"{name} must be a share between 0 and 1 or a number of {unit}, not {size:g}.")
    # In floating-point arithmetic, 0.1 * 30 is slightly more than 3; the tolerance keeps it from being rounded up to 4.
    return min(math.ceil(size * n_rows - 1e-9), n_rows - 1)


def _column(values: Any, n_rows: int, name: str) -> Array:
    if values is None:
        raise InvalidInputError(f"This split strategy needs {name}=, one value per row.")
    refuse_masked(values, name)
    column = np.asarray(values)
    if column.ndim != 1 or len(column) != n_rows:
        raise DataError(f"{name} needs one value per row: {n_rows} values, not an array of shape {column.shape}.")
    if column.dtype.kind in "fmM" and (column != column).any():  # noqa: PLR0124  # NaN and NaT do not equal themselves
        raise DataError(f"{name} is missing in row {int((column != column).argmax()) + 1}.")  # noqa: PLR0124
    return column


def _class_codes(labels: Array, n_test: int, n_rows: int, names: Sequence[str]) -> IntArray:
    """Return the class codes for a stratified split. Raises ``DataError`` if a class has only one row."""
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    smallest = int(counts.argmin())
    if counts[smallest] < 2:
        name = names[classes[smallest]] if names else classes[smallest]
        raise DataError(
            f"The class {name!s} has only one row, and a stratified split needs two of every class; "
            "add rows of that class or split at random."
        )
    if min(n_test, n_rows - n_test) < len(classes):
        raise DataError(
            f"A stratified split of {len(classes)} classes needs at least {len(classes)} rows in each set, but the "
            f"sets have {n_rows - n_test} and {n_test}; change test_size or split at random."
        )
    return codes
