"""What one column of a table holds, and how it becomes numbers: learnt once on the training rows, then applied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np

from chainrule.data.cells import DATE_PARTS, UNNAMED, Origin, date_parts, distinct_texts, read_dates, read_numbers
from chainrule.errors import DataError, InvalidInputError
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["CategoryPlaces", "ColumnKind", "ColumnPlan", "MissingRule", "NumberPlan"]

ColumnKind: TypeAlias = Literal["number", "category", "date", "dropped"]
MissingRule: TypeAlias = Literal["median", "mean", "zero"]


@dataclass(frozen=True)
class NumberPlan:
    """How a number is scaled: ``(x - center) / scale``, with ``fill``, by ``fill_rule``, in place of a missing one."""

    name: str
    fill: float
    center: float
    scale: float
    fill_rule: MissingRule = "median"


class CategoryPlaces(NamedTuple):
    """Where the values of a category stand among its numbers: value k at place k, and the others at these places.

    -1 is no place: all numbers are then 0. The numbers are those of the places ``first`` to ``end - 1``.
    """

    missing: int
    other: int
    first: int
    end: int


@dataclass(frozen=True)
class ColumnPlan:
    """What was learnt of a column of the training rows, as plain values that JSON can hold.

    A number or date has ``numbers`` (a date several: year, month, ...) and ``missing_indicator`` where training rows
    lacked it. A category has its ``categories`` in the order of their outputs; ``missing_category`` and ``other`` say
    whether missing cells and rare or unknown values have an output of their own. A dropped column has a ``reason``.
    """

    name: str
    kind: ColumnKind
    reason: str = ""
    n_missing: int = 0
    numbers: tuple[NumberPlan, ...] = ()
    missing_indicator: bool = False
    categories: tuple[str, ...] = ()
    missing_category: bool = False
    other: bool = False

    @property
    def is_two_valued(self) -> bool:
        """Whether the category needs one 0/1 output only, for its second value."""
        return len(self.categories) == 2 and not self.missing_category and not self.other

    @property
    def places(self) -> CategoryPlaces:
        """Where the values of a category stand among its numbers."""
        n = len(self.categories)
        missing = n if self.missing_category else -1
        other = n + self.missing_category if self.other else -1
        return CategoryPlaces(missing, other, int(self.is_two_valued), n + self.missing_category + self.other)

    @property
    def parts(self) -> tuple[int, ...]:
        """Which of year, month, weekday and days (0 to 3) the numbers of a date are; of a number, 0."""
        if self.kind != "date":
            return tuple(range(len(self.numbers)))
        names = {plan.name for plan in self.numbers}
        return tuple(place for place, part in enumerate(DATE_PARTS) if f"{self.name} {part}" in names)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the columns that this one becomes."""
        if self.kind == "category":
            names = [
                f"{self.name}={value}" for value in (self.categories[1:] if self.is_two_valued else self.categories)
            ]
            return (*names, *[f"{self.name} (missing)"] * self.missing_category, *[f"{self.name} (other)"] * self.other)
        return (*(plan.name for plan in self.numbers), *[f"{self.name} (missing)"] * self.missing_indicator)

    def encode(self, column: pd.Series[Any], origin: Origin = UNNAMED) -> Array:
        """Return the (rows, outputs) float32 numbers of a column; ``origin`` says where its rows come from."""
        if self.kind == "category":
            return self._encode_categories(column)
        if self.kind == "date":
            values = date_parts(read_dates(column, self.name, origin))
        else:
            values = read_numbers(column, self.name, origin)
        missing = np.isnan(values).any(axis=1)
        encoded = np.empty((len(values), len(self.output_names)), dtype=np.float32)
        for place, (part, plan) in enumerate(zip(self.parts, self.numbers, strict=True)):
            filled = np.where(missing, plan.fill, values[:, part])
            with np.errstate(over="ignore"):
                encoded[:, place] = (filled - plan.center) / plan.scale
        if self.missing_indicator:
            encoded[:, -1] = missing
        self._refuse_overflow(encoded, values, origin)
        return encoded

    def _refuse_overflow(self, encoded: Array, values: Array, origin: Origin) -> None:
        if not np.isfinite(encoded).all():
            row = int(np.flatnonzero(~np.isfinite(encoded).all(axis=1))[0])
            raise DataError(
                f"{origin}The column {self.name!r} has {values[row, 0]:g} in row {origin.row(row)}, too far from the "
                "training data."
            )

    def _encode_categories(self, column: pd.Series[Any]) -> Array:
        texts, codes = distinct_texts(column)
        missing, other, first, end = self.places
        place_of = {text: place for place, text in enumerate(self.categories)}
        places = np.array([missing if text is None else place_of.get(text, other) for text in texts], np.intp)[codes]
        encoded = np.zeros((len(places), end - first), dtype=np.float32)
        known = np.flatnonzero(places >= first)
        encoded[known, places[known] - first] = 1
        return encoded

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ColumnPlan:
        """Read what ``dataclasses.asdict`` and JSON made of a plan; raises ``InvalidInputError`` for anything else."""
        try:
            numbers = tuple(NumberPlan(**plan) for plan in values.get("numbers", ()))
            plan = cls(**{**values, "numbers": numbers, "categories": tuple(values.get("categories", ()))})
        except TypeError:
            raise InvalidInputError("The description of a table column has fields that are not known.") from None
        sound = (
            isinstance(plan.name, str)
            and plan.kind in get_args(ColumnKind)
            and all(isinstance(category, str) for category in plan.categories)
            and all(type(flag) is bool for flag in (plan.missing_indicator, plan.missing_category, plan.other))
            and all(
                isinstance(number.name, str)
                and number.fill_rule in get_args(MissingRule)
                and all(isinstance(part, int | float) for part in (number.fill, number.center, number.scale))
                and all(map(math.isfinite, (number.fill, number.center, number.scale)))
                and number.scale > 0
                for number in numbers
            )
            and (len(numbers) == 1 if plan.kind == "number" else plan.kind == "date" or not numbers)
            and (plan.kind != "date" or {number.name for number in numbers} <= {f"{plan.name} {p}" for p in DATE_PARTS})
        )
        if not sound:
            raise InvalidInputError(f"The description of the table column {values.get('name')!r} is damaged.")
        return plan

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values that JSON can hold."""
        return asdict(self)
