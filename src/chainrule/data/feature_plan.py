"""The encoding of a whole table, compiled to arrays, for training, prediction, serving and exports.

The numbers of all columns are collected in one matrix of *raw* columns: the columns of numbers, then year, month,
weekday, days and hour of the dates, with NaN for missing cells. They are filled, centred and scaled together. The
scaled numbers, the indicators of missing cells, and the 0/1 columns of the categories are then brought into the order
of the features. :meth:`FeaturePlan.encode` does this with NumPy. The ONNX and PyTorch exports contain the same arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn, Self

import numpy as np

from chainrule.data.cells import DATE_PARTS, UNNAMED, Origin, date_parts
from chainrule.data.columns import ColumnPlan
from chainrule.errors import CellError
from chainrule.types import Array, IntArray

__all__ = ["CategoryCodes", "FeaturePlan"]

# Numbers beyond this multiple of their limit are replaced by the limit, so that their squares do not overflow.
FAR = 1e6
ROWS_PER_BLOCK = 8192  # so that the float64 matrix of the raw columns fits into the processor's cache


def _bounded(x: Array, limit: Array) -> Array:
    """Return ``x / sqrt(1 + (x / limit)^2)``, which is between -limit and limit."""
    ratio = np.clip(x / limit, -FAR, FAR)
    return limit * (ratio / np.sqrt(1 + ratio**2))


@dataclass(frozen=True)
class CategoryCodes:
    """The codes of the texts of a category, and the codes that have a 0/1 column, in their order.

    The texts are the categories, the words for a missing value, and the words for yes and no in lower case. If a code
    has no column, as unknown texts in a category without rare values, all columns are 0.
    """

    name: str
    codes: dict[str, int]
    missing: int
    unknown: int
    outputs: IntArray

    @classmethod
    def of(cls, plan: ColumnPlan) -> Self:
        """Return the codes of a column."""
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
    """The encoding of a fitted :class:`~chainrule.data.TablePreprocessor`, by groups of columns.

    Attributes
    ----------
    columns
        The plans of the columns that are used, in the order of the table.
    numbers
        The names of the columns of numbers.
    dates
        The names of the columns of dates.
    categories
        The codes of the columns of categories.
    missing_numbers
        For each column of numbers, the numbers that stand for a missing value, such as -999.
    chosen
        The raw columns that are used: of a date, only the parts that vary. Raw column ``len(numbers) + p * len(dates) +
        j`` is part p (year, month, weekday, days, hour) of date j.
    fill
        For each chosen raw column, the replacement of a missing number. A number becomes ``(number - center) / scale``,
        in float64, rounded to float32.
    center
        For each chosen raw column, the number that is subtracted.
    scale
        For each chosen raw column, the divisor.
    limits
        The bounds of the scaled columns, by their indices among the chosen raw columns; see :class:`NumberPlan`.
    curves
        The knots and the scores of the scaled columns, by the same indices.
    indicators
        The raw columns that have an indicator of missing cells.
    feature_indices
        The indices of the features made from the chosen raw columns, then from the indicators, then from categories.
    """

    columns: tuple[ColumnPlan, ...]
    numbers: tuple[str, ...]
    dates: tuple[str, ...]
    categories: tuple[CategoryCodes, ...]
    missing_numbers: tuple[Array, ...]
    chosen: IntArray
    fill: Array
    center: Array
    scale: Array
    limits: dict[int, float]
    curves: dict[int, tuple[Array, Array]]
    indicators: IntArray
    feature_indices: IntArray

    @classmethod
    def of(cls, columns: Sequence[ColumnPlan]) -> Self:
        """Return the plan of a table from the plans of its columns."""
        plans = tuple(plan for plan in columns if plan.kind != "dropped")
        first = np.cumsum([0, *(len(plan.output_names) for plan in plans)]).tolist()
        plans_and_features = [*zip(plans, first[:-1], strict=True)]
        numbers = [(plan, feature) for plan, feature in plans_and_features if plan.kind == "number"]
        dates = [(plan, feature) for plan, feature in plans_and_features if plan.kind == "date"]
        categories = [(plan, feature) for plan, feature in plans_and_features if plan.kind == "category"]

        # The scaled raw columns and those with an indicator, with the index of their feature.
        scaled = [(raw, plan.numbers[0], feature) for raw, (plan, feature) in enumerate(numbers)]
        for index, (plan, feature) in enumerate(dates):
            for offset, (part, number) in enumerate(zip(plan.parts, plan.numbers, strict=True)):
                scaled.append((len(numbers) + part * len(dates) + index, number, feature + offset))
        indicators = [
            (raw, feature + len(plan.numbers))
            for raw, (plan, feature) in enumerate([*numbers, *dates])
            if plan.missing_indicator
        ]
        feature_indices = [feature for *_, feature in scaled] + [feature for _, feature in indicators]
        for plan, feature in categories:
            feature_indices += range(feature, feature + len(plan.output_names))
        return cls(
            plans,
            tuple(plan.name for plan, _ in numbers),
            tuple(plan.name for plan, _ in dates),
            tuple(CategoryCodes.of(plan) for plan, _ in categories),
            tuple(plan.missing_numbers for plan, _ in numbers),
            np.array([raw for raw, *_ in scaled], np.int64),
            np.array([number.fill for _, number, _ in scaled], np.float64),
            np.array([number.center for _, number, _ in scaled], np.float64),
            np.array([number.scale for _, number, _ in scaled], np.float64),
            {index: number.limit for index, (_, number, _) in enumerate(scaled) if number.limit},
            {
                index: (np.array(number.knots), np.array(number.scores))
                for index, (_, number, _) in enumerate(scaled)
                if number.knots
            },
            np.array([raw for raw, _ in indicators], np.int64),
            np.array(feature_indices, np.int64),
        )

    @property
    def order(self) -> IntArray:
        """The order of the features: feature i is column ``order[i]`` of numbers, indicators and categories."""
        return np.argsort(self.feature_indices)

    def encode(self, values: Sequence[Array], origin: Origin = UNNAMED) -> Array:
        """Return the (rows, features) float32 matrix of rows.

        ``values`` are the values of :attr:`columns`, as returned by :meth:`ColumnPlan.read`. ``origin`` contains the
        file and the numbers of the rows, for messages. Raises ``CellError`` if a scaled number is too large for
        float32.
        """
        features = np.zeros((len(values[0]), len(self.feature_indices)), dtype=np.float32)
        for start in range(0, len(features), ROWS_PER_BLOCK):
            rows = slice(start, start + ROWS_PER_BLOCK)
            self._write(features[rows], [column[rows] for column in values])
        if not np.isfinite(features).all():
            self._refuse(features, values, origin)
        return features

    def _write(self, features: Array, values: Sequence[Array]) -> None:
        number_columns, date_columns, category_columns, first, shift = self._groups
        n_numbers, n_dates = len(number_columns), len(date_columns)
        if n_numbers or n_dates:
            raw = np.empty((len(features), n_numbers + len(DATE_PARTS) * n_dates))
            for index, column in enumerate(number_columns):
                raw[:, index] = values[column]
            for index, column in enumerate(date_columns, n_numbers):
                raw[:, index::n_dates] = date_parts(values[column])
            chosen, n_chosen = raw.take(self.chosen, axis=1), len(self.chosen)
            chosen = np.where(np.isnan(chosen), self.fill, chosen)
            with np.errstate(over="ignore"):  # encode checks for infinite numbers
                scaled = ((chosen - self.center) / self.scale).astype(np.float32)
            features[:, self.feature_indices[:n_chosen]] = self.bend(scaled) if self.is_bent else scaled
            if n_indicators := len(self.indicators):
                columns = self.feature_indices[n_chosen : n_chosen + n_indicators]
                features[:, columns] = np.isnan(raw.take(self.indicators, axis=1))
        if category_columns:
            codes = np.array([values[column] for column in category_columns])
            columns, rows = (codes >= first[:, None]).nonzero()
            features[rows, codes[columns, rows] + shift[columns]] = 1

    @property
    def is_bent(self) -> bool:
        """Whether scaled numbers are bounded, or replaced by normal scores."""
        return bool(self.limits or self.curves)

    def bend(self, scaled: Array) -> Array:
        """Return scaled numbers: those in :attr:`limits` are bounded, those in :attr:`curves` replaced by scores."""
        bent = scaled.astype(np.float64)
        for column, limit in self.limits.items():
            bent[:, column] = _bounded(bent[:, column], np.array(limit))
        for column, (knots, scores) in self.curves.items():
            bent[:, column] = np.interp(bent[:, column], knots, scores)
        return np.where(np.isfinite(scaled), bent, scaled)

    @cached_property
    def _groups(self) -> tuple[list[int], list[int], list[int], IntArray, IntArray]:
        """The indices of the columns of numbers, dates and categories, and the first code and the shift of categories.

        The codes of a category from its first code on have a feature; code k has the feature ``k + shift``.
        """
        by_kind: dict[str, list[int]] = {"number": [], "date": [], "category": []}
        first, shift, feature = [], [], 0
        for index, plan in enumerate(self.columns):
            by_kind[plan.kind].append(index)
            if plan.kind == "category":
                first.append(plan.special_codes.first)
                shift.append(feature - plan.special_codes.first)
            feature += len(plan.output_names)
        return by_kind["number"], by_kind["date"], by_kind["category"], np.array(first, int), np.array(shift, int)

    def _refuse(self, features: Array, values: Sequence[Array], origin: Origin) -> NoReturn:
        row_index, feature = (int(index) for index in np.argwhere(~np.isfinite(features))[0])
        column = [index for index, plan in enumerate(self.columns) for _ in plan.output_names][feature]
        name, value, row = self.columns[column].name, values[column][row_index].item(), origin.row(row_index)
        text = f"{value:g}" if isinstance(value, float) else value
        raise CellError(
            f"{origin}The column {name!r} has {text} in row {row}, which is too far from the training data.",
            row=row, column=name, value=value,
        )  # fmt: skip
