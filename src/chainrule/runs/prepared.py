"""A source, split and turned into numbers: what a run trains and measures with."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.model import TargetScaling

__all__ = ["PreparedData"]

# Lines about columns that fit on a screen.
MOST_LINES = 40


@dataclass(frozen=True, eq=False)
class PreparedData:
    """A source, split and turned into numbers.

    Attributes
    ----------
    training
        What ``fit`` takes, a stream if the rows do not fit into memory; the numbers of a regression are standardised.
    validation
        The rows to validate with, in the same form; None where none were kept aside.
    test
        The rows to judge with, their targets in their own units; the training rows where nothing was kept aside.
    target
        What is predicted. It, ``table``, ``scaling`` and ``target_name`` are what a :class:`Model` needs beside the
        network.
    table
        How columns become numbers; None for data that were numbers.
    scaling
        How the numbers of a regression were standardised; None for classes.
    target_name
        The column that is predicted; empty where the data were no table.
    has_test_part
        Whether ``test`` holds rows that were not trained on.
    n_columns
        Columns of the source, without the target.
    target_line
        What the column to predict was taken for, with a sample; empty where the data were no table.
    split_by
        What the rows are split by, in words; empty for a random split.
    split_line
        A line about the column that the rows are split by; empty if there is none, or if it is an input.
    warnings
        What may make the metrics better than they are on new rows, a sentence each.
    n_without_target
        Rows that were left out because their target is missing.
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
        """Return the parts to train, validate and test with, all targets in their own units."""
        training, validation, test = parts
        judged = _sample_of(training) if test is None else test
        return cls(name, training, validation, judged, target, table, None, target_name, test is not None, n_columns)

    def standardized(self) -> Self:
        """Return the data with the numbers to predict standardised as the training part teaches, but for ``test``."""
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
        """The rows to train on, or some of them where they do not fit into memory."""
        return _sample_of(self.training)

    def notes(self) -> dict[str, Any]:
        """Return what a model file keeps of the data."""
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
        """Return a line for each column: what it was taken for and why it was dropped, with a sample.

        Of many columns, these are the first ones and those of which something is to be said.
        """
        if self.table is None:
            return []
        plans = self.table.columns
        first = [f"  {line}" for line in (self.target_line, self.split_line) if line]
        told = [place for place, plan in enumerate(plans) if plan.kind == "dropped" or plan.note]
        shown = set(range(len(plans)))
        if len(plans) > MOST_LINES:
            shown = {*told[:MOST_LINES], *range(MOST_LINES // 2)}
        lines = first + [f"  {plan.explain()}" for place, plan in enumerate(plans) if place in shown]
        if len(plans) > len(shown):
            n_told = sum(place not in shown for place in told)
            rest = f", {n_told:,} of them dropped or with a note" if n_told else ""
            lines.append(f"  ... and {len(plans) - len(shown):,} more columns{rest}")
        return lines

    def describe_columns(self) -> list[dict[str, Any]]:
        """Return a dictionary for the column to predict and each of the others, for a report."""
        if self.table is None:
            return []
        target = {"name": self.target_name, "explanation": self.target_line, "missing": self.n_without_target}
        split_name, _, _ = self.split_line.rpartition(": ")
        split = [{"name": split_name, "explanation": self.split_line}] if self.split_line else []
        return [target, *split, *self.table.describe()]

    def summary(self) -> str:
        """Return one line on rows, columns, task and split."""
        facts = self.describe()
        inputs = "" if facts["inputs"] == facts["columns"] else f" ({facts['inputs']:,} inputs)"
        goal = self.target_name or "the target"
        task = f"{len(self.target.classes)} classes" if self.target.classes else f"{goal}, a number"
        if self.target.classes and self.target_name:
            task += f" of {self.target_name}"
        columns = f"{facts['columns']:,} column{'s' if facts['columns'] != 1 else ''}{inputs}"
        parts = [f"{facts['training_rows']:,} to train on"]
        if self.validation is not None:
            parts.append(f"{facts['validation_rows']:,} to validate")
        parts.append(f"{facts['test_rows']:,} to test" if self.has_test_part else "none kept aside to test")
        if self.split_by:
            parts.append(f"split {self.split_by}")
        left_out = ""
        if self.n_without_target:
            is_one = self.n_without_target == 1
            rows = "1 row without a target is" if is_one else f"{self.n_without_target:,} rows without a target are"
            left_out = f"; {rows} left out"
        return f"{self.name}: {facts['rows']:,} rows, {columns}; {task}; {', '.join(parts)}{left_out}"


def _sample_of(training: Dataset | RowStream) -> Dataset:
    return training if isinstance(training, Dataset) else training.sample


def _with_targets(dataset: Dataset, scaling: TargetScaling) -> Dataset:
    """Return the dataset with its numbers to predict standardised."""
    standardised = dataset.take(slice(None))
    assert dataset.y is not None
    standardised.y = scaling.apply(dataset.y)
    return standardised
