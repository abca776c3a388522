"""Split the rows of a source into a training set, a validation set and a test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.parquet_stream import ParquetStream
from chainrule.data.splits import split_rows
from chainrule.data.stream_rows import size_of
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.errors import DataError, InvalidInputError, check_one_of, listed, with_option
from chainrule.types import Array, IntArray, Seed

__all__ = ["DataSplit", "SplitChoice"]

SplitChoice = Literal["auto", "random", "time"]

DEFAULT_SHARE = 0.2
# By default, a source with fewer rows, such as a truth table, is used for training as a whole.
MIN_ROWS_TO_SPLIT = 10


@dataclass(frozen=True)
class DataSplit:
    """The settings of a split: first the test set is held out, then the validation set.

    Sizes below 1 are shares, other sizes are numbers of rows. None means 0.2, or 0 if there are fewer than 10 rows. The
    split ``"auto"`` keeps the rows of a group together; without groups, it is stratified by class. ``"random"`` ignores
    groups and classes, and ``"time"`` holds out the last rows. ``group`` and ``time`` are the names of the columns that
    contain the groups and the times.
    """

    test_size: float | None = None
    validation_size: float | None = None
    split: str = "auto"
    seed: Seed = 0
    group: str | None = None
    time: str | None = None

    def __post_init__(self) -> None:
        check_one_of("split", self.split, get_args(SplitChoice))
        if self.group is not None and self.time is not None:
            raise InvalidInputError(
                f"{with_option('group')} and {with_option('time')} cannot be combined; give one of them."
            )
        if self.group is not None and self.split != "auto":
            raise InvalidInputError(f"group cannot be combined with split={self.split!r}; omit split.")
        if self.time is not None and self.split == "random":
            raise InvalidInputError("time cannot be combined with split='random'; give one of them.")

    @property
    def description(self) -> str:
        """The criterion of the split in words, such as ``"by group (patient)"``; empty for a random split."""
        if self.group is not None:
            return f"by group ({self.group})"
        if not self.is_by_time:
            return ""
        return "by time, in the order of the rows" if self.time is None else f"by time ({self.time})"

    def columns_to_exclude(self, options: TablePreprocessor) -> list[str]:
        """Return the group or time column, which is not an input unless ``options`` name it."""
        inputs = options.named_columns()
        return [name for name in (self.group, self.time) if name is not None and name not in inputs]

    def column_line(self, options: TablePreprocessor) -> str:
        """Return a line about the group or time column; empty if there is none, or if it is an input."""
        kind = "group" if self.group is not None else "time"
        return "".join(
            f"{name}: the {kind} column of the split, not an input" for name in self.columns_to_exclude(options)
        )

    @property
    def is_by_time(self) -> bool:
        """Whether the last rows are held out."""
        return self.split == "time" or self.time is not None

    def split_rows(
        self,
        target: Target,
        codes: Array,
        groups: Array | None,
        *,
        times: Array | None = None,
        has_test_part: bool,
    ) -> tuple[IntArray, IntArray | None, IntArray | None]:
        """Return the row numbers of the training, validation and test sets; None for a set of size 0.

        ``codes`` are the encoded targets, ``groups`` the groups and ``times`` the times of the rows. Without ``times``,
        the last rows of the source are the latest. No test rows are held out from a source with its own test set.
        """
        n_rows = len(codes)
        test_size = 0.0 if has_test_part else _resolve_size(self.test_size, n_rows)
        validation_size = _resolve_size(self.validation_size, n_rows)
        if self.split == "auto" and target.classes and groups is None and not self.is_by_time:
            held_out = [name for name, size in (("validation", validation_size), ("test", test_size)) if size]
            _check_classes(target, codes, ["training", *held_out])

        def hold_out(rows: IntArray, size: float, name: str) -> tuple[IntArray, IntArray | None]:
            if size == 0:
                return rows, None
            keys: dict[str, Any] = {}
            if self.is_by_time:
                keys = {"strategy": "time", "times": None if times is None else times[rows]}
            elif self.split == "auto" and groups is not None:
                keys = {"strategy": "group", "groups": groups[rows]}
            elif self.split == "auto" and target.classes:
                keys = {"strategy": "stratified", "labels": target.class_array()[codes[rows]]}
            try:
                kept, held_out = split_rows(len(rows), size, seed=self.seed, **keys)
            except InvalidInputError as error:
                remedy = target.remedy_for_quantities if keys.get("strategy") == "stratified" else ""
                message = str(error).replace("test_size", name)
                raise type(error)(f"{message.rstrip('.')}{remedy and f'; {remedy}'}.") from None
            return rows[kept], rows[held_out]

        rest, test = hold_out(np.arange(n_rows), test_size, "test_size")
        training, validation = hold_out(rest, validation_size, "validation_size")
        return training, validation, test

    def split_stream(self, stream: ParquetStream) -> tuple[ParquetStream, Dataset | None, Dataset | None]:
        """Return the training set as a stream, and the validation and test sets in memory."""
        n_test = size_of("test_size", _resolve_size(self.test_size, stream.n_rows), stream.n_rows)
        n_left = stream.n_rows - n_test
        n_validation = size_of("validation_size", _resolve_size(self.validation_size, n_left), n_left)
        return stream.train_validation_test(
            n_validation,
            n_test,
            strategy=cast("SplitChoice", self.split),
            seed=self.seed,
            group=self.group,
            time=self.time,
        )


def _resolve_size(size: float | None, n_rows: int) -> float:
    """Return a size as a share or as a whole number of rows. None is replaced by the default for ``n_rows`` rows."""
    if size is None:
        return 0.0 if n_rows < MIN_ROWS_TO_SPLIT else DEFAULT_SHARE
    return int(size) if size >= 1 and float(size).is_integer() else size


def _check_classes(target: Target, codes: Array, parts: Sequence[str]) -> None:
    """Raise DataError if a class has fewer rows than there are parts."""
    counts = np.bincount(codes, minlength=len(target.classes))
    rare = np.flatnonzero((counts > 0) & (counts < len(parts)))
    if len(rare):
        n_rows = f"{counts[rare[0]]} row{'s' if counts[rare[0]] > 1 else ''}"
        remedy = target.remedy_for_quantities
        raise DataError(
            f"The class {target.classes[rare[0]]!r} has only {n_rows}, and the {listed(parts)} parts need one each; "
            f"{f'{remedy}; otherwise ' if remedy else ''}add rows of this class, drop the class, or choose the split "
            "'random' (--split random)."
        )
