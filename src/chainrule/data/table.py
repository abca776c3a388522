"""From a table with numbers, words, dates and gaps to a matrix: learnt on the training rows, visible, plain JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from chainrule.data.cells import DATE_PARTS, UNNAMED, Origin
from chainrule.data.columns import ColumnPlan, MissingRule, NumberPlan
from chainrule.data.inputs import is_frame
from chainrule.data.summaries import ColumnSummary, NumberSummary
from chainrule.errors import DataError, InvalidInputError, NotBuiltError, check_one_of, nearest_name
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Scaling", "TablePreprocessor", "as_frame"]

Scaling: TypeAlias = Literal["standard", "range", "none"]

# A text column in which every value is different says nothing about new rows; in a small table that can be chance.
FEWEST_ROWS_FOR_AN_ID = 50
# A category in fewer rows than this share is pooled with the other rare ones.
SMALLEST_CATEGORY = 0.001


class TablePreprocessor:
    """Turns frames into float32 matrices the way that :meth:`fit` learnt from the training rows.

    - Numbers are standardised (``scaling="standard"``), brought to 0 ... 1 (``"range"``) or kept (``"none"``). Missing
      ones become the training median, the training mean (``missing="mean"``), or 0 after scaling (``"zero"``: the mean
      of a standardised column, the smallest number of one brought to 0 ... 1); and a column of 0 and 1 says where, if
      training rows lacked any.
    - Categories become one 0/1 column a value, or one in all for two values. Beyond the ``max_categories`` most
      frequent, and below one row in a thousand, they share a column "other"; values never seen go there, or are all 0.
      A missing category is a category.
    - Dates become year, month, weekday and days since 1970, scaled like numbers.
    - Columns that cannot help are dropped, and :attr:`columns` says why: those that never change, hold nothing, or are
      text with a different value in every row.

    ``categorical`` names columns of numbers that are codes; ``drop`` names columns to leave out. At transform the order
    of the columns does not matter, more columns are ignored, and a missing one is a ``DataError``.
    """

    def __init__(
        self,
        categorical: Sequence[str] = (),
        drop: Sequence[str] = (),
        max_categories: int = 64,
        scaling: Scaling = "standard",
        missing: MissingRule = "median",
    ) -> None:
        for option, given, known in (("scaling", scaling, Scaling), ("missing", missing, MissingRule)):
            check_one_of(option, given, get_args(known))
        if isinstance(categorical, str) or isinstance(drop, str):
            raise InvalidInputError("categorical and drop are lists of column names, not one text.")
        if type(max_categories) is not int or max_categories < 1:
            raise InvalidInputError(f"max_categories is a whole number from 1 up, not {max_categories!r}.")
        self.categorical = tuple(str(name) for name in categorical)
        self.drop = tuple(str(name) for name in drop)
        self.max_categories = max_categories
        self.scaling: Scaling = scaling
        self.missing: MissingRule = missing
        self.columns: tuple[ColumnPlan, ...] = ()

    def fit(self, frame: Any) -> TablePreprocessor:
        """Learn from the training rows, and only from them; returns itself."""
        table = as_frame(frame)
        if len(table) == 0:
            raise DataError("The table has no rows to learn from.")
        self.check_names(list(table.columns))
        self._set(self._learn(table[name], name) for name in table.columns)
        return self

    def fit_summaries(self, summaries: Mapping[str, ColumnSummary | None]) -> TablePreprocessor:
        """Learn from summaries of the training rows, None for a column to leave out; returns itself.

        They are those of :meth:`new_summaries`, which have taken in all rows, piece by piece.
        """
        self._set(self._plan(name, summary) for name, summary in summaries.items())
        return self

    def new_summaries(self, names: Sequence[str], most_texts: int) -> dict[str, ColumnSummary | None]:
        """Return an empty summary for each column of a table, None for a column to leave out."""
        self.check_names(names)
        return {name: None if name in self.drop else self._summary(name, most_texts) for name in names}

    def check_names(self, names: Sequence[str]) -> None:
        """Raise ``DataError`` if an option names a column that is not among these."""
        for option, given in (("categorical", self.categorical), ("drop", self.drop)):
            for name in given:
                if name not in names:
                    raise DataError(
                        f"{option} names the column {name!r}, which the table does not have.{nearest_name(name, names)}"
                    )

    def transform(self, frame: Any, origin: Origin = UNNAMED) -> Array:
        """Return the (rows, len(feature_names)) float32 matrix of a frame with the columns that were learnt.

        ``origin`` says for messages which file the rows come from, and where they stand there.
        """
        self._check_fitted()
        table = as_frame(frame)
        used = [plan for plan in self.columns if plan.kind != "dropped"]
        for plan in used:
            if plan.name not in table.columns:
                strangers = set(map(str, table.columns)) - {one.name for one in self.columns}
                raise DataError(
                    f"{origin}The table has no column {plan.name!r}, which the training data had."
                    f"{nearest_name(plan.name, sorted(strangers))}"
                )
        if len(table) == 0:
            raise DataError("The table has no rows.")
        return np.hstack([plan.encode(table[plan.name], origin) for plan in used])

    def fit_transform(self, frame: Any) -> Array:
        """Learn from the training rows and return their matrix."""
        return self.fit(frame).transform(frame)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The names of the matrix's columns: ``age``, ``age (missing)``, ``town=Porto``, ``town (other)``, ..."""
        self._check_fitted()
        return tuple(name for plan in self.columns for name in plan.output_names)

    def describe(self) -> list[dict[str, Any]]:
        """Return a dictionary a column for a report: name, kind, what became of it, and the numbers behind."""
        self._check_fitted()
        rows = []
        for plan in self.columns:
            row: dict[str, Any] = {"name": plan.name, "kind": plan.kind, "missing": plan.n_missing}
            row["outputs"] = list(plan.output_names)
            if plan.kind == "dropped":
                row["reason"] = plan.reason
            if plan.kind == "category":
                row["categories"] = list(plan.categories)
            for number in plan.numbers[:1]:
                row |= {"fill": number.fill, "fill_rule": number.fill_rule}
                row |= {"center": number.center, "scale": number.scale}
            rows.append(row)
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return options and columns as plain values that JSON can hold."""
        return {
            "categorical": list(self.categorical),
            "drop": list(self.drop),
            "max_categories": self.max_categories,
            "scaling": self.scaling,
            "missing": self.missing,
            "columns": [plan.to_dict() for plan in self.columns],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TablePreprocessor:
        """Read what :meth:`to_dict` wrote, to transform alike; raises ``InvalidInputError`` for anything else."""
        lists = [values.get(key) for key in ("categorical", "drop", "columns")]
        if not all(isinstance(entry, list) for entry in lists) or not all(
            isinstance(e, Mapping) for e in lists[2] or ()
        ):
            raise InvalidInputError(
                "The description of a table preprocessor needs lists categorical, drop and columns."
            )
        preprocessor = cls(
            values["categorical"],
            values["drop"],
            values.get("max_categories", None),  # checked on construction
            values.get("scaling", None),  # checked on construction
            values.get("missing", "median"),  # which was the only rule once, and had no name
        )
        preprocessor.columns = tuple(ColumnPlan.from_dict(plan) for plan in values["columns"])
        return preprocessor

    def _check_fitted(self) -> None:
        if not self.columns:
            raise NotBuiltError("The table preprocessor has learnt nothing yet; call fit with the training rows.")

    def _set(self, plans: Iterable[ColumnPlan]) -> None:
        columns = tuple(plans)
        if all(plan.kind == "dropped" for plan in columns):
            reasons = "; ".join(f"{plan.name}: {plan.reason}" for plan in columns[:4])
            raise DataError(f"No column of the table can be learnt from ({reasons or 'it has none'}).")
        self.columns = columns

    def _learn(self, column: pd.Series[Any], name: str) -> ColumnPlan:
        """Return the plan of a column of which all rows are here."""
        if name in self.drop:
            return self._plan(name, None)
        summary = self._summary(name)
        summary.add(column)
        return self._plan(name, summary)

    def _summary(self, name: str, most_texts: int | None = None) -> ColumnSummary:
        return ColumnSummary(name, as_category=name in self.categorical, most_texts=most_texts)

    def _plan(self, name: str, summary: ColumnSummary | None) -> ColumnPlan:
        if summary is None:
            return ColumnPlan(name, "dropped", "left out on request")
        kind = summary.kind()
        if kind == "category":
            return self._category_plan(name, summary)
        reading = summary.readings[kind]
        n_missing = reading.n_missing
        if reading.n_present == 0:
            return ColumnPlan(name, "dropped", "it has no value in any row", n_missing)
        outputs = [f"{name} {part}" for part in DATE_PARTS] if kind == "date" else [name]
        numbers = tuple(
            plan
            for output, number in zip(outputs, reading.numbers, strict=True)
            for plan in self._scale(output, number)
        )
        if not numbers:
            if n_missing == 0 or kind == "date":
                return ColumnPlan(name, "dropped", f"it is {summary.first} in every row", n_missing)
            # A constant with gaps tells something by its gaps alone.
            constant = reading.numbers[0].low
            numbers = (NumberPlan(name, constant, constant, 1.0, self.missing),)
        return ColumnPlan(name, kind, n_missing=n_missing, numbers=numbers, missing_indicator=n_missing > 0)

    def _scale(self, output: str, present: NumberSummary) -> list[NumberPlan]:
        """Return the plan for one number, or none when it never changes, but for rounding."""
        if present.is_constant:
            return []
        center, scale = 0.0, 1.0
        if self.scaling == "range":
            center, scale = present.low, present.width
        elif self.scaling == "standard":
            center, scale = present.mean, present.deviation if present.deviation > 0 else present.high - present.low
        fill = {"median": present.median, "mean": present.mean, "zero": center}[self.missing]
        return [NumberPlan(output, fill, center, scale, self.missing)]

    def _category_plan(self, name: str, summary: ColumnSummary) -> ColumnPlan:
        counts, n_missing, n_rows = summary.most_common(), summary.n_missing_texts, summary.n_rows
        has_more = summary.has_forgotten  # words than these
        if not counts and not has_more:
            return ColumnPlan(name, "dropped", "it has no value in any row", n_missing)
        if len(counts) == n_rows > FEWEST_ROWS_FOR_AN_ID and name not in self.categorical:
            return ColumnPlan(name, "dropped", "every row has a different value, as a name or an id has", n_missing)
        if len(counts) == 1 and n_missing == 0 and not has_more:
            return ColumnPlan(name, "dropped", f"it is {counts[0][0]} in every row")
        floor = math.ceil(n_rows * SMALLEST_CATEGORY)
        kept = [text for text, count in counts[: self.max_categories] if count >= floor]
        if not kept:
            return ColumnPlan(name, "dropped", "no value of it is in one row of a thousand", n_missing)
        return ColumnPlan(
            name,
            "category",
            n_missing=n_missing,
            categories=tuple(sorted(kept)),
            missing_category=n_missing > 0,
            other=has_more or len(kept) < len(counts),
        )


def as_frame(table: Any) -> pd.DataFrame:
    """Return a pandas frame with text for column names, from a pandas or polars frame or a 2-D array."""
    import pandas as pd

    if isinstance(table, pd.DataFrame):
        frame = table
    elif is_frame(table) and hasattr(table, "to_pandas"):
        frame = table.to_pandas()
    elif isinstance(table, np.ndarray) and table.ndim == 2:
        frame = pd.DataFrame(table, columns=[f"x{column + 1}" for column in range(table.shape[1])])
    else:
        raise InvalidInputError(f"A table is a pandas or polars frame or a 2-D array, not {type(table).__name__}.")
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise DataError(f"The table has more than one column called {repeated!r}; give them different names.")
    return frame.set_axis(names, axis=1).reset_index(drop=True)
