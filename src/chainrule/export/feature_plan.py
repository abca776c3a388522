"""A table's preprocessing as arrays, for runtimes that work on whole matrices rather than cell by cell.

All numbers of a row are treated alike: filled, centred, scaled. So they are brought together in one matrix of *raw*
columns (the number columns, then year, month, weekday, days and hour of the dates), NaN where the cell is missing. What
comes of them, what says where they were missing, and the 0/1 columns of the categories, group beside group, are then
put into the order that the network learnt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from chainrule.data.columns import ColumnPlan
from chainrule.data.table import TablePreprocessor
from chainrule.types import Array, IntArray

__all__ = ["CategoryCodes", "FeaturePlan", "used_columns"]


@dataclass(frozen=True)
class CategoryCodes:
    """A category as codes: which text has which, and which codes have a 0/1 column of their own, in their order.

    The texts are those of the categories, the column's words for a missing value, and those for yes and no, in lower
    case.

    A code without a column is all 0: an unknown text, say, where training rows had none that was rare.
    """

    name: str
    codes: dict[str, int]
    missing: int
    unknown: int
    outputs: IntArray

    @classmethod
    def of(cls, plan: ColumnPlan) -> Self:
        """Read them from what was learnt of the column."""
        n = len(plan.categories)
        missing, unknown = n, n + 1
        kept = np.arange(1 if plan.is_two_valued else 0, n)
        extra = [missing] * plan.missing_category + [unknown] * plan.other
        codes = {text: code for code, text in enumerate(plan.categories)}
        codes |= {word: missing for word in plan.missing_words if word not in codes}
        codes |= {word: code for word, code in plan.spellings.items() if word not in codes}
        return cls(plan.name, codes, missing, unknown, np.array([*kept, *extra], np.int64))


@dataclass(frozen=True, eq=False)
class FeaturePlan:
    """What a fitted :class:`TablePreprocessor` does, over groups of columns.

    Attributes
    ----------
    numbers
        The columns of numbers, in the order of the table.
    missing_numbers
        For each of them, the numbers that stand for a missing value, such as -999.
    dates
        Those of dates.
    categories
        Those of categories.
    chosen
        Which raw columns are used: of a date, only the parts that vary. Raw column ``len(numbers) + p * len(dates) +
        j`` is part p (year, month, weekday, days, hour) of date j.
    fill
        What a missing number becomes. Each chosen one is ``((NaN -> fill) - center) / scale``, in float64, then rounded
        to float32.
    center
        What is subtracted.
    scale
        What is divided by.
    indicators
        The raw columns whose missing cells are a 0/1 column.
    order
        Feature i of the network is column ``order[i]`` of: numbers, indicators, categories.
    """

    numbers: tuple[str, ...]
    missing_numbers: tuple[Array, ...]
    dates: tuple[str, ...]
    categories: tuple[CategoryCodes, ...]
    chosen: IntArray
    fill: Array
    center: Array
    scale: Array
    indicators: IntArray
    order: IntArray

    @classmethod
    def of(cls, table: TablePreprocessor) -> Self:
        """Read the plan from the columns that were learnt."""
        plans = used_columns(table)
        first = np.cumsum([0, *(len(plan.output_names) for plan in plans)]).tolist()
        placed = [*zip(plans, first[:-1], strict=True)]
        numbers = [(plan, feature) for plan, feature in placed if plan.kind == "number"]
        dates = [(plan, feature) for plan, feature in placed if plan.kind == "date"]
        categories = [(plan, feature) for plan, feature in placed if plan.kind == "category"]

        # Raw columns with their numbers, and raw columns to ask for gaps, each with the feature that it becomes.
        scaled = [(raw, plan.numbers[0], feature) for raw, (plan, feature) in enumerate(numbers)]
        for place, (plan, feature) in enumerate(dates):
            for offset, (part, number) in enumerate(zip(plan.parts, plan.numbers, strict=True)):
                scaled.append((len(numbers) + part * len(dates) + place, number, feature + offset))
        gaps = [
            (raw, feature + len(plan.numbers))
            for raw, (plan, feature) in enumerate([*numbers, *dates])
            if plan.missing_indicator
        ]
        grouped = [feature for *_, feature in scaled] + [feature for _, feature in gaps]
        for plan, feature in categories:
            grouped += range(feature, feature + len(plan.output_names))
        return cls(
            tuple(plan.name for plan, _ in numbers),
            tuple(plan.missing_numbers for plan, _ in numbers),
            tuple(plan.name for plan, _ in dates),
            tuple(CategoryCodes.of(plan) for plan, _ in categories),
            np.array([raw for raw, *_ in scaled], np.int64),
            np.array([number.fill for _, number, _ in scaled], np.float64),
            np.array([number.center for _, number, _ in scaled], np.float64),
            np.array([number.scale for _, number, _ in scaled], np.float64),
            np.array([raw for raw, _ in gaps], np.int64),
            np.argsort(grouped),
        )


def used_columns(table: TablePreprocessor) -> tuple[ColumnPlan, ...]:
    """Return the columns that are not dropped: those that a row must have."""
    return tuple(plan for plan in table.columns if plan.kind != "dropped")
