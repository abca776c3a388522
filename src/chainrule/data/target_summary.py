"""The statistics of a target column, which is read in chunks: the task, the classes with their counts, the scale."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from chainrule.data.cells import UNNAMED, Origin, distinct_texts
from chainrule.data.number_format import NumberFormat
from chainrule.data.parts import is_missing_target, refuse_missing_target
from chainrule.data.summaries import NumberSummary
from chainrule.data.target import (
    MAX_INTEGER_CLASSES,
    ClassLabel,
    Labels,
    Target,
    TaskRequest,
    is_text,
    label_array,
    read_labels,
)
from chainrule.data.text_columns import NO_CONVENTIONS, TextColumn
from chainrule.data.texts import MISSING_NUMBER_WORDS
from chainrule.errors import DataError
from chainrule.types import Array, IntArray

__all__ = ["TargetSummary", "encode_labels", "provisional_target", "refuse_missing_labels"]

# The maximum number of distinct labels.
MAX_LABELS = 2**16
# A target for the detection of missing labels before the words of the column are known.
PROVISIONAL_TARGET = Target("regression", missing_words=("",))


class TargetSummary:
    """Infer the target from labels or numbers that are added in chunks, with the result of :meth:`Target.detect`.

    The classes are those of all rows. The counts of the classes, and the mean and deviation of numbers, are those of
    the training rows.
    """

    def __init__(self, task: TaskRequest | None = None, name: str = "", missing_words: Collection[str] = ()) -> None:
        self.task, self.name, self.missing_words = task, name, tuple(sorted(missing_words))
        self.n_columns = 1
        self.numbers: list[NumberSummary] = []
        self._counts: dict[ClassLabel, int] | None = {}  # None if there are too many distinct numbers for classes
        self._has_text = False
        self._texts = TextColumn(name)
        self._format: NumberFormat | None = None  # set if there are too many distinct texts, which are numbers

    def add(self, labels: Any, is_training: Array, origin: Origin) -> None:
        """Add the labels of rows. ``is_training`` is a mask of the training rows."""
        refuse_missing_labels(labels, self.name, origin, provisional_target(self.missing_words))
        if is_text(labels):
            self._add_texts(labels, is_training, origin)
            return
        if np.ndim(labels) == 2 or self.task == "regression":
            self._counts = None
        if self._counts is not None:
            self._count(labels, is_training)
        if not self._has_text:
            values = label_array(labels)
            if values.dtype.kind in "biuf":
                self._add_numbers(values.astype(np.float64).reshape(len(values), -1)[is_training])
            elif self.task == "regression":
                Target.detect(values, "regression")  # raises an error, because they are not numbers
            else:
                self._has_text = True

    @property
    def has_classes(self) -> bool:
        """Whether the labels so far may be classes."""
        if not self._texts.texts:
            return self._counts is not None
        labels = self._read_labels()
        few = labels.format is None or len(labels.values) <= MAX_INTEGER_CLASSES
        return self.task != "regression" and self._format is None and (few or self.task is not None)

    def target(self) -> Target:
        """Return the inferred target. Raises ``DataError`` if the labels are not a valid target."""
        if self._texts.texts or self._format is not None:
            return self._target_of_texts()
        if self._counts is None:
            return Target("regression", n_columns=self.n_columns, missing_words=self.missing_words)
        labels = np.empty(len(self._counts), dtype=object)
        labels[:] = list(self._counts)
        return replace(Target.detect(labels, self.task), missing_words=self.missing_words)

    def class_counts(self, target: Target) -> IntArray:
        """Return the number of training rows of each class."""
        return np.array([(self._counts or {}).get(label, 0) for label in target.classes], np.int64)

    def _add_texts(self, labels: Any, is_training: Array, origin: Origin) -> None:
        chunk = TextColumn(self.name)
        chunk.add_rows(*distinct_texts(labels), is_training, origin)
        if self._format is not None:
            self._add_numbers_from_texts(chunk)
            return
        self._texts.add(chunk.texts, chunk.counts, chunk.sampled, chunk.rows, origin.file)
        if len(self._texts.texts) > 2 * MAX_LABELS:
            found = self._read_labels()
            if found.format is None or self.task not in (None, "regression"):
                raise self._too_many()
            self._format = found.format
            self._add_numbers_from_texts(self._texts)
            self._texts = TextColumn(self.name)

    def _add_numbers_from_texts(self, column: TextColumn) -> None:
        """Add the numbers in texts. Raises ``DataError`` for texts that are not numbers."""
        assert self._format is not None
        if self.task is None and column.number_scan.code:
            first, file, row = column.first_of(column.code_indices())
            raise DataError(
                f"{file}The target{self._named()} has {column.texts[first]!r} in row {row}, which is a code and not a "
                "number, but the previous rows were read as numbers; choose the task 'regression' (--task regression) "
                "if it is a number, or another column to predict."
            )
        values = self._format.read(column.texts)
        if not np.isfinite(values).all():
            first, file, row = column.first_of(np.flatnonzero(~np.isfinite(values)))
            raise DataError(
                f"{file}The target{self._named()} is a number, but row {row} has {column.texts[first]!r}; give a "
                "finite number there."
            )
        self.numbers = self.numbers or [NumberSummary()]
        used = column.sampled > 0
        self.numbers[0].add(values[used], np.zeros(int(used.sum()), np.int64), column.sampled[used])

    def _target_of_texts(self) -> Target:
        if self._format is not None:
            words = tuple(sorted(MISSING_NUMBER_WORDS.union(self.missing_words)))
            return Target("regression", format=self._format, missing_words=words)
        column, labels = self._texts, self._read_labels()
        missing = [index for index, text in enumerate(column.texts) if text not in labels.values]
        if missing:
            column.refuse_missing(missing[0])
        target = Target.detect(list(labels.values.values()), self.task)
        target = replace(target, format=labels.format, missing_words=labels.missing_words)
        self._counts = {}
        for text, count in zip(column.texts, column.sampled.tolist(), strict=True):
            label = labels.values[text]
            self._counts[label] = self._counts.get(label, 0) + count
        if not target.classes:
            assert labels.format is not None
            self._format = labels.format
            self._add_numbers_from_texts(column)
        return target

    def _read_labels(self) -> Labels:
        """Return the labels or numbers of the texts so far."""
        return read_labels(
            self._texts, NO_CONVENTIONS, as_numbers=self.task == "regression", missing_words=self.missing_words
        )

    def _count(self, labels: Any, is_training: Array) -> None:
        import pandas as pd

        assert self._counts is not None
        try:
            codes, uniques = pd.factorize(labels)
        except TypeError:  # unhashable objects, such as lists
            label_array(labels)
            raise
        counts = np.bincount(codes[is_training], minlength=len(uniques))
        distinct = label_array(np.asarray(uniques))
        for label, count in zip(distinct.tolist(), counts.tolist(), strict=True):
            self._counts[label] = self._counts.get(label, 0) + count
        is_number = distinct.dtype.kind in "iuf"
        if is_number and self.task is None and len(self._counts) > 2:
            is_whole = all(float(label).is_integer() for label in self._counts)
            if not is_whole or len(self._counts) > MAX_INTEGER_CLASSES:
                self._counts = None
        elif is_number and len(self._counts) > 2 and (distinct != np.floor(distinct)).any():
            value = distinct[distinct != np.floor(distinct)][0]
            raise DataError(
                f"Unknown label type: continuous values such as {value!s} cannot be classes; choose the task "
                "'regression' (--task regression)."
            )
        if self._counts is not None and len(self._counts) > MAX_LABELS:
            raise self._too_many()

    def _too_many(self) -> DataError:
        return DataError(
            f"The target{self._named()} has more than {MAX_LABELS:,} different values; choose another column to "
            "predict, or the task 'regression' (--task regression) if it is a number."
        )

    def _add_numbers(self, values: Array) -> None:
        if not self.numbers:
            self.n_columns = values.shape[1]
            self.numbers = [NumberSummary() for _ in range(self.n_columns)]
        for summary, column in zip(self.numbers, values.T, strict=True):
            summary.add(column, np.zeros(len(column), bool))  # no sample, because the median is not needed

    def _named(self) -> str:
        return f" {self.name!r}" if self.name else ""


def provisional_target(missing_words: Collection[str]) -> Target:
    """Return a target for which only empty texts and the given words are missing labels."""
    return replace(PROVISIONAL_TARGET, missing_words=("", *missing_words))


def refuse_missing_labels(labels: Any, name: str, origin: Origin, target: Target = PROVISIONAL_TARGET) -> None:
    """Raise ``DataError`` with the file and the row if a label is missing or infinite.

    The words for missing labels are those of ``target``, by default only empty texts.
    """
    refuse_missing_target(is_missing_target(labels, target), name, origin)
    if getattr(labels.dtype, "kind", "O") == "f":
        is_infinite = ~np.isfinite(np.asarray(labels).reshape(len(labels), -1)).all(axis=1)
        if is_infinite.any():
            row = origin.row(int(is_infinite.argmax()))
            named = f" {name!r}" if name else ""
            raise DataError(f"{origin}The target{named} is infinite in row {row}; give finite numbers.")


def encode_labels(target: Target, labels: Any, origin: Origin = UNNAMED) -> Array:
    """Return the result of ``target.encode``, which is called only for the distinct labels of classes."""
    import pandas as pd

    if not target.classes:
        return target.encode(labels, origin)
    try:
        codes, uniques = pd.factorize(labels)
        return np.asarray(target.encode(np.asarray(uniques))[codes])
    except (DataError, TypeError):  # TypeError for unhashable objects
        target.encode(labels, origin)  # raises the error with the row
        raise
