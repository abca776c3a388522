"""The encoding of a whole table, compiled to arrays: training, prediction, serving and exports all use this plan.

All numbers of a row are treated alike: filled, centred, scaled. They are brought together in one matrix of *raw*
columns (the number columns, then year, month, weekday, days and hour of the dates), NaN where the cell is missing. The
scaled numbers, the indicators of missing cells, and the 0/1 columns of the categories are then put into the order of
the features. :meth:`FeaturePlan.encode` does this with NumPy; the ONNX and PyTorch exports write the same arrays.
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

ROWS_AT_A_TIME = 8192  # so that the float64 matrix of the raw columns stays in the processor's cache


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
        What is subtracted.
    scale
        The divisor.
    indicators
        The raw columns that have an indicator of missing cells.
    places
        The features that the chosen raw columns become, then those of the indicators, then those of the categories.
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
    indicators: IntArray
    places: IntArray

    @classmethod
    def of(cls, columns: Sequence[ColumnPlan]) -> Self:
        """Return the plan of a table from the plans of its columns."""
        plans = tuple(plan for plan in columns if plan.kind != "dropped")
        first = np.cumsum([0, *(len(plan.output_names) for plan in plans)]).tolist()
        placed = [*zip(plans, first[:-1], strict=True)]
        numbers = [(plan, feature) for plan, feature in placed if plan.kind == "number"]
        dates = [(plan, feature) for plan, feature in placed if plan.kind == "date"]
        categories = [(plan, feature) for plan, feature in placed if plan.kind == "category"]

        # Raw columns with their scaling, and raw columns with an indicator, each with its feature.
        scaled = [(raw, plan.numbers[0], feature) for raw, (plan, feature) in enumerate(numbers)]
        for place, (plan, feature) in enumerate(dates):
            for offset, (part, number) in enumerate(zip(plan.parts, plan.numbers, strict=True)):
                scaled.append((len(numbers) + part * len(dates) + place, number, feature + offset))
        gaps = [
            (raw, feature + len(plan.numbers))
            for raw, (plan, feature) in enumerate([*numbers, *dates])
            if plan.missing_indicator
        ]
        places = [feature for *_, feature in scaled] + [feature for _, feature in gaps]
        for plan, feature in categories:
            places += range(feature, feature + len(plan.output_names))
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
            np.array([raw for raw, _ in gaps], np.int64),
            np.array(places, np.int64),
        )

    @property
    def order(self) -> IntArray:
        """Feature i is column ``order[i]`` of the groups side by side: numbers, indicators, categories."""
        return np.argsort(self.places)

    def encode(self, values: Sequence[Array], origin: Origin = UNNAMED) -> Array:
        """Return the (rows, features) float32 matrix of some rows.

        ``values`` are those of :attr:`columns`, as :meth:`ColumnPlan.read` returns them; ``origin`` is the file and the
        place of the rows, for messages. Raises ``CellError`` for a number that is too large for float32 when scaled.
        """
        features = np.zeros((len(values[0]), len(self.places)), dtype=np.float32)
        for start in range(0, len(features), ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            self._write(features[rows], [column[rows] for column in values])
        if not np.isfinite(features).all():
            self._refuse(features, values, origin)
        return features

    def _write(self, features: Array, values: Sequence[Array]) -> None:
        number_columns, date_columns, category_columns, first, shift = self._groups
        n_numbers, n_dates = len(number_columns), len(date_columns)
        if n_numbers or n_dates:
            raw = np.empty((len(features), n_numbers + len(DATE_PARTS) * n_dates))
            for place, column in enumerate(number_columns):
                raw[:, place] = values[column]
            for place, column in enumerate(date_columns, n_numbers):
                raw[:, place::n_dates] = date_parts(values[column])
            chosen, n_chosen = raw.take(self.chosen, axis=1), len(self.chosen)
            chosen = np.where(np.isnan(chosen), self.fill, chosen)
            with np.errstate(over="ignore"):  # encode refuses what is too large
                features[:, self.places[:n_chosen]] = (chosen - self.center) / self.scale
            if n_gaps := len(self.indicators):
                features[:, self.places[n_chosen : n_chosen + n_gaps]] = np.isnan(raw.take(self.indicators, axis=1))
        if category_columns:
            codes = np.array([values[column] for column in category_columns])
            columns, rows = (codes >= first[:, None]).nonzero()
            features[rows, codes[columns, rows] + shift[columns]] = 1

    @cached_property
    def _groups(self) -> tuple[list[int], list[int], list[int], IntArray, IntArray]:
        """The columns of numbers, dates and categories; the first code of a category that has a feature, and the shift.

        Code k of a category has the feature ``k + shift``.
        """
        by_kind: dict[str, list[int]] = {"number": [], "date": [], "category": []}
        first, shift, feature = [], [], 0
        for place, plan in enumerate(self.columns):
            by_kind[plan.kind].append(place)
            if plan.kind == "category":
                first.append(plan.places.first)
                shift.append(feature - plan.places.first)
            feature += len(plan.output_names)
        return by_kind["number"], by_kind["date"], by_kind["category"], np.array(first, int), np.array(shift, int)

    def _refuse(self, features: Array, values: Sequence[Array], origin: Origin) -> NoReturn:
        place, feature = (int(index) for index in np.argwhere(~np.isfinite(features))[0])
        column = [place for place, plan in enumerate(self.columns) for _ in plan.output_names][feature]
        name, value, row = self.columns[column].name, values[column][place].item(), origin.row(place)
        shown = f"{value:g}" if isinstance(value, float) else value
        raise CellError(
            f"{origin}The column {name!r} has {shown} in row {row}, too far from the training data.",
            row=row, column=name, value=value,
        )  # fmt: skip
