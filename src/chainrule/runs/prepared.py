"""The encoded training, validation and test sets of a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.model import TargetScaling
from chainrule.types import IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PreparedData"]

# The maximum number of printed lines about columns.
MAX_LINES = 40


@dataclass(frozen=True, eq=False)
class PreparedData:
    """The training, validation and test sets of a source, encoded as numbers.

    Attributes
    ----------
    training
        The training set, a stream if the rows do not fit into memory. The target of a regression is standardised.
    validation
        The validation set, with the same scaling; None if no rows were held out for validation.
    test
        The test set, with targets in their original units. If no rows were held out, it contains training rows.
    target
        The task and the classes. A :class:`Model` is made from it, ``table``, ``scaling``, ``target_name`` and the
        network.
    table
        The preprocessor of the columns; None if the source is not a table.
    scaling
        The standardisation of the target of a regression; None for classes.
    target_name
        The name of the target column; empty if the source is not a table.
    has_test_part
        Whether ``test`` contains rows that are not training rows.
    n_columns
        The number of columns of the source, without the target.
    target_line
        A line about the target: its detected type with an example. Empty if the source is not a table.
    split_by
        The criterion of the split in words; empty for a random split.
    split_line
        A line about the group or time column of the split; empty if there is none, or if it is an input.
    warnings
        Sentences about possible reasons why the metrics on the test set are too optimistic.
    n_without_target
        The number of rows that were dropped because their target is missing.
    test_sample
        For a table in memory, up to 10,000 rows of ``test`` as they are in the source, with their positions in
        ``test``, for explanations in the units of the columns.
    """

    name: str
    training: Dataset | RowStream
    validation: Dataset | None
    test: Dataset
    target: Target
    table: TablePreprocessor | None
    scaling: TargetScaling | None
    target_name: str
    has_test_part: bool
    n_columns: int
    target_line: str = ""
    split_by: str = ""
    split_line: str = ""
    warnings: tuple[str, ...] = ()
    n_without_target: int = 0
    test_sample: tuple[pd.DataFrame, IntArray] | None = None

    @classmethod
    def of_parts(
        cls,
        parts: tuple[Dataset | RowStream, Dataset | None, Dataset | None],
        name: str,
        target: Target,
        table: TablePreprocessor | None,
        target_name: str,
        n_columns: int,
    ) -> Self:
        """Return the training, validation and test sets, all with targets in their original units."""
        training, validation, test = parts
        test_rows = _sample(training) if test is None else test
        return cls(name, training, validation, test_rows, target, table, None, target_name, test is not None, n_columns)

    def standardized(self) -> Self:
        """Return the data with the target of a regression standardised by the training set, except in ``test``."""
        training, validation = self.training, self.validation
        if self.target.task != "regression":
            return self
        if isinstance(training, Dataset):
            assert training.y is not None
            scaling = TargetScaling.learn(training.y)
            training = _with_targets(training, scaling)
        else:
            scale = tuple(deviation if deviation > 0 else 1.0 for deviation in training.target_deviation)
            scaling = TargetScaling(training.target_center, scale)
            training = training.with_targets(scaling.center, scaling.scale)
        validation = None if validation is None else _with_targets(validation, scaling)
        return dataclasses.replace(self, training=training, validation=validation, scaling=scaling)

    @property
    def training_sample(self) -> Dataset:
        """The training set, or a sample of it if it does not fit into memory."""
        return _sample(self.training)

    def notes(self) -> dict[str, Any]:
        """Return the information about the data that model files contain."""
        return {"label_names": list(self.training.label_names), "data": self.name, "tested_apart": self.has_test_part}

    def describe(self) -> dict[str, Any]:
        """Return the sizes and the task as JSON values."""
        n_validation = 0 if self.validation is None else self.validation.n_rows
        n_test = self.test.n_rows if self.has_test_part else 0
        return {
            "name": self.name,
            "task": self.target.task,
            "classes": list(self.training.label_names),
            "rows_without_target": self.n_without_target,
            "split_by": self.split_by,
            "warnings": list(self.warnings),
            "rows": self.training.n_rows + n_validation + n_test,
            "columns": self.n_columns,
            "inputs": self.training.n_features,
            "training_rows": self.training.n_rows,
            "validation_rows": n_validation,
            "test_rows": n_test,
        }

    def column_lines(self) -> list[str]:
        """Return a line for each column: its detected type with an example, or why it was dropped.

        If there are many columns, only the first ones and those that are dropped or have a note are included.
        """
        if self.table is None:
            return []
        plans = self.table.columns
        first = [f"  {line}" for line in (self.target_line, self.split_line) if line]
        with_note = [number for number, plan in enumerate(plans) if plan.kind == "dropped" or plan.note]
        shown = set(range(len(plans)))
        if len(plans) > MAX_LINES:
            shown = {*with_note[:MAX_LINES], *range(MAX_LINES // 2)}
        lines = first + [f"  {plan.explain()}" for number, plan in enumerate(plans) if number in shown]
        if len(plans) > len(shown):
            n_omitted = sum(number not in shown for number in with_note)
            rest = f", {n_omitted:,} of them dropped or with a note" if n_omitted else ""
            lines.append(f"  ... and {len(plans) - len(shown):,} more columns{rest}")
        return lines

    def describe_columns(self) -> list[dict[str, Any]]:
        """Return a dictionary for the target, the column of the split and each input column, for a report."""
        if self.table is None:
            return []
        target = {"name": self.target_name, "explanation": self.target_line, "missing": self.n_without_target}
        split_name, _, _ = self.split_line.rpartition(": ")
        split = [{"name": split_name, "explanation": self.split_line}] if self.split_line else []
        return [target, *split, *self.table.describe()]

    def summary(self) -> str:
        """Return one line about the rows, the columns, the task and the split."""
        facts = self.describe()
        inputs = "" if facts["inputs"] == facts["columns"] else f" ({facts['inputs']:,} inputs)"
        goal = self.target_name or "the target"
        task = f"{len(self.target.classes)} classes" if self.target.classes else f"{goal}, a number"
        if self.target.classes and self.target_name:
            task += f" of {self.target_name}"
        columns = f"{facts['columns']:,} column{'s' if facts['columns'] != 1 else ''}{inputs}"
        parts = [f"{facts['training_rows']:,} training rows"]
        if self.validation is not None:
            parts.append(f"{facts['validation_rows']:,} validation rows")
        parts.append(f"{facts['test_rows']:,} test rows" if self.has_test_part else "no test rows")
        if self.split_by:
            parts.append(f"split {self.split_by}")
        dropped = ""
        if self.n_without_target:
            rows = "1 row" if self.n_without_target == 1 else f"{self.n_without_target:,} rows"
            dropped = f"; {rows} without a target dropped"
        return f"{self.name}: {facts['rows']:,} rows, {columns}; {task}; {', '.join(parts)}{dropped}"


def _sample(training: Dataset | RowStream) -> Dataset:
    return training if isinstance(training, Dataset) else training.sample


def _with_targets(dataset: Dataset, scaling: TargetScaling) -> Dataset:
    """Return a copy of the dataset with standardised targets."""
    standardised = dataset.take(slice(None))
    assert dataset.y is not None
    standardised.y = scaling.apply(dataset.y)
    return standardised
