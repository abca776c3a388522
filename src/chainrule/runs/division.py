"""Which rows of a source are trained on, and which are kept aside to validate and to test with."""

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

__all__ = ["Division", "SplitChoice"]

SplitChoice = Literal["auto", "random", "time"]

DEFAULT_SHARE = 0.2
# A truth table is all there is to know: fewer rows than this are neither tested nor validated with.
FEWEST_ROWS_TO_SPLIT = 10


@dataclass(frozen=True)
class Division:
    """How rows are divided: the test part first, the validation part from what is left.

    The sizes are shares, or numbers of rows from 1 up; None means 0.2, or nothing of fewer than 10 rows. The split
    ``"auto"`` keeps groups together, and without groups the shares of the classes; ``"random"`` does not look at them;
    ``"time"`` keeps the last rows aside. ``group`` and ``time`` name the column that says which rows belong together,
    or which are the last.
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
                f"{with_option('group')} and {with_option('time')} are two ways to split the rows; give one of them."
            )
        if self.group is not None and self.split != "auto":
            raise InvalidInputError(f"group is a split of its own; leave split={self.split!r} out.")
        if self.time is not None and self.split == "random":
            raise InvalidInputError("time sorts the rows, and split='random' does not; give one of them.")

    @property
    def shown(self) -> str:
        """What the rows are split by, in words; empty for a random split."""
        if self.group is not None:
            return f"by group ({self.group})"
        if not self.is_by_time:
            return ""
        return "by time, in the order of the rows" if self.time is None else f"by time ({self.time})"

    def columns_without_inputs(self, options: TablePreprocessor) -> list[str]:
        """Return the columns that the rows are split by and that are no inputs: those that the options do not name."""
        asked = options.named_columns()
        return [name for name in (self.group, self.time) if name is not None and name not in asked]

    def column_line(self, options: TablePreprocessor) -> str:
        """Return a line on the column that the rows are split by; empty if there is none, or if it is an input."""
        what = "group" if self.group is not None else "time"
        return "".join(
            f"{name}: the {what} that the rows are split by, not an input"
            for name in self.columns_without_inputs(options)
        )

    @property
    def is_by_time(self) -> bool:
        """Whether the last rows are kept aside."""
        return self.split == "time" or self.time is not None

    def of_rows(
        self,
        target: Target,
        codes: Array,
        groups: Array | None,
        *,
        times: Array | None = None,
        has_test_part: bool,
    ) -> tuple[IntArray, IntArray | None, IntArray | None]:
        """Return the row numbers to train, validate and test with; None for a part that is not wanted.

        ``codes`` are the rows' targets, ``groups`` what rows must stay together by, and ``times`` what says which rows
        are the last: their place, if it is not given. A source that has a test part of its own is not asked for
        another.
        """
        n_rows = len(codes)
        test_size = 0.0 if has_test_part else _wanted(self.test_size, n_rows)
        validation_size = _wanted(self.validation_size, n_rows)
        if self.split == "auto" and target.classes and groups is None and not self.is_by_time:
            aside = [name for name, size in (("validation", validation_size), ("test", test_size)) if size]
            _check_classes(target, codes, ["training", *aside])

        def divide(rows: IntArray, size: float, name: str) -> tuple[IntArray, IntArray | None]:
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
                kept, aside = split_rows(len(rows), size, seed=self.seed, **keys)
            except InvalidInputError as error:
                remedy = target.remedy_for_quantities if keys.get("strategy") == "stratified" else ""
                message = str(error).replace("test_size", name)
                raise type(error)(f"{message.rstrip('.')}{remedy and f'; {remedy}'}.") from None
            return rows[kept], rows[aside]

        rest, test = divide(np.arange(n_rows), test_size, "test_size")
        training, validation = divide(rest, validation_size, "validation_size")
        return training, validation, test

    def of_stream(self, stream: ParquetStream) -> tuple[ParquetStream, Dataset | None, Dataset | None]:
        """Return a stream of the rows to train on, and the others in memory."""
        n_test = size_of("test_size", _wanted(self.test_size, stream.n_rows), stream.n_rows)
        n_left = stream.n_rows - n_test
        n_validation = size_of("validation_size", _wanted(self.validation_size, n_left), n_left)
        return stream.train_validation_test(
            n_validation,
            n_test,
            strategy=cast("SplitChoice", self.split),
            seed=self.seed,
            group=self.group,
            time=self.time,
        )


def _wanted(size: float | None, n_rows: int) -> float:
    """Return a share, or a whole number of rows; None is the share that is usual for so many rows."""
    if size is None:
        return 0.0 if n_rows < FEWEST_ROWS_TO_SPLIT else DEFAULT_SHARE
    return int(size) if size >= 1 and float(size).is_integer() else size


def _first(remedy: str) -> str:
    """Return a remedy as the first of several."""
    return f"{remedy}; else " if remedy else ""


def _check_classes(target: Target, codes: Array, parts: Sequence[str]) -> None:
    """Refuse a class that is too rare to stand in every part."""
    counts = np.bincount(codes, minlength=len(target.classes))
    rare = np.flatnonzero((counts > 0) & (counts < len(parts)))
    if len(rare):
        n_rows = f"{counts[rare[0]]} row{'s' if counts[rare[0]] > 1 else ''}"
        raise DataError(
            f"The class {target.classes[rare[0]]!r} has {n_rows} only, and the {listed(parts)} parts need one each; "
            f"{_first(target.remedy_for_quantities)}add rows of it, leave it out, or choose the split 'random' "
            "(--split random)."
        )
