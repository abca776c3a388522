"""What one column of a table holds, and how it becomes numbers: learnt once on the training rows, then applied."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np

from chainrule.data.text_table import MISSING_WORDS
from chainrule.errors import DataError, InvalidInputError
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ColumnKind",
    "ColumnPlan",
    "MissingRule",
    "NumberPlan",
    "cell_texts",
    "date_parts",
    "kind_of",
    "read_dates",
    "read_numbers",
]

ColumnKind: TypeAlias = Literal["number", "category", "date", "dropped"]
MissingRule: TypeAlias = Literal["median", "mean", "zero"]

DATE_PARTS = ("year", "month", "weekday", "days")
# From this share of numbers on, a word among them is more likely a mistake than a category.
MOSTLY = 0.9

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?")


@dataclass(frozen=True)
class NumberPlan:
    """How a number is scaled: ``(x - center) / scale``, with ``fill``, by ``fill_rule``, in place of a missing one."""

    name: str
    fill: float
    center: float
    scale: float
    fill_rule: MissingRule = "median"


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
    def output_names(self) -> tuple[str, ...]:
        """The names of the columns that this one becomes."""
        if self.kind == "category":
            names = [
                f"{self.name}={value}" for value in (self.categories[1:] if self.is_two_valued else self.categories)
            ]
            return (*names, *[f"{self.name} (missing)"] * self.missing_category, *[f"{self.name} (other)"] * self.other)
        return (*(plan.name for plan in self.numbers), *[f"{self.name} (missing)"] * self.missing_indicator)

    def encode(self, column: pd.Series[Any]) -> Array:
        """Return the (rows, outputs) float32 numbers of a column."""
        if self.kind == "category":
            return self._encode_categories(column)
        values = date_parts(read_dates(column, self.name)) if self.kind == "date" else read_numbers(column, self.name)
        missing = np.isnan(values).any(axis=1)
        wanted = [plan.name for plan in self.numbers]
        if self.kind == "date":
            values = values[:, [f"{self.name} {part}" in wanted for part in DATE_PARTS]]
        encoded = np.empty((len(values), len(self.output_names)), dtype=np.float32)
        for place, plan in enumerate(self.numbers):
            filled = np.where(missing, plan.fill, values[:, place])
            with np.errstate(over="ignore"):
                encoded[:, place] = (filled - plan.center) / plan.scale
        if self.missing_indicator:
            encoded[:, -1] = missing
        self._refuse_overflow(encoded, values)
        return encoded

    def _refuse_overflow(self, encoded: Array, values: Array) -> None:
        if not np.isfinite(encoded).all():
            row = int(np.flatnonzero(~np.isfinite(encoded).all(axis=1))[0])
            raise DataError(
                f"The column {self.name!r} has {values[row, 0]:g} in row {row + 1}, too far from the training data."
            )

    def _encode_categories(self, column: pd.Series[Any]) -> Array:
        import pandas as pd

        texts = cell_texts(column)
        missing = np.array([text is None for text in texts], dtype=bool)
        codes = pd.Index(self.categories, dtype=object).get_indexer(pd.Index(texts, dtype=object))
        if self.is_two_valued:
            second: Array = (codes == 1).astype(np.float32)
            return second.reshape(-1, 1)
        places = codes.copy()
        end = len(self.categories)
        unknown = (codes < 0) & ~missing
        places[missing] = end if self.missing_category else -1
        places[unknown] = end + self.missing_category if self.other else -1
        encoded = np.zeros((len(texts), len(self.output_names)), dtype=np.float32)
        known = np.flatnonzero(places >= 0)
        encoded[known, places[known]] = 1
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


def kind_of(column: pd.Series[Any], name: str) -> ColumnKind:
    """Tell whether a column holds numbers, dates or categories.

    Raises ``DataError`` where nearly all cells are numbers (or dates) and one is not: a typing mistake, most likely.
    """
    import pandas as pd

    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category"
    if column.dtype.kind in "biufm":
        return "number"
    if column.dtype.kind == "M":
        return "date"
    if column.dtype.kind == "c":
        raise DataError(f"The column {name!r} holds complex numbers; give their real and imaginary parts as columns.")
    texts = cell_texts(column)
    counts = Counter(text for text in texts if text is not None)
    kinds: tuple[tuple[ColumnKind, Callable[[str], bool]], ...] = (("number", _is_number), ("date", _is_date))
    for kind, is_of_kind in kinds:
        strangers = {text: count for text, count in counts.items() if not is_of_kind(text)}
        if not strangers:
            return kind
        if sum(strangers.values()) <= (1 - MOSTLY) * counts.total():
            text = next(iter(strangers))  # the first one met
            raise DataError(
                f"The column {name!r} holds {kind}s, but row {texts.index(text) + 1} has {text!r}; correct that cell, "
                f"or say categorical=[{name!r}] if the column is a category."
            )
    return "category"


def read_numbers(column: pd.Series[Any], name: str) -> Array:
    """Return a column of numbers as (rows, 1) float64 with NaN where missing; refuse words and infinities by row."""
    if column.dtype.kind == "m":
        seconds: Array = column.dt.total_seconds().to_numpy(dtype=np.float64)
        return seconds.reshape(-1, 1)
    if column.dtype.kind in "biuf":
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        texts = cell_texts(column)
        values = np.full(len(texts), np.nan)
        for row, text in enumerate(texts):
            if text is None:
                continue
            if not _is_number(text):
                raise DataError(
                    f"The column {name!r} holds numbers, but row {row + 1} has {text!r}; give a number, "
                    "or leave the cell empty."
                )
            values[row] = text == "True" if text in ("True", "False") else float(text)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise DataError(f"The column {name!r} has an infinite number in row {row + 1}; give a finite one or none.")
    return values.reshape(-1, 1)


def read_dates(column: pd.Series[Any], name: str) -> pd.Series[Any]:
    """Return a column of dates as datetime64 in UTC, NaT where missing; refuse other text by row."""
    import pandas as pd

    if column.dtype.kind != "M":
        texts = cell_texts(column)
        dates = [text if text is not None and _ISO_DATE.fullmatch(text) else None for text in texts]
        column = pd.Series(pd.to_datetime(pd.Series(dates, dtype=object), utc=True, format="ISO8601", errors="coerce"))
        for row, (text, unread) in enumerate(zip(texts, column.isna(), strict=True)):
            if unread and text is not None:  # other text, or a day like February 30
                raise DataError(
                    f"The column {name!r} holds dates, but row {row + 1} has {text!r}; write dates as 2024-12-31."
                )
    elif getattr(column.dtype, "tz", None) is None:
        return column
    naive: pd.Series[Any] = column.dt.tz_convert("UTC").dt.tz_localize(None)
    return naive


def date_parts(dates: pd.Series[Any]) -> Array:
    """Return (rows, 4) float64: year, month, weekday (Monday is 0), and days since 1970 with the time as a fraction."""
    import pandas as pd

    days = (dates - pd.Timestamp(0)) / pd.Timedelta(days=1)
    return np.column_stack(
        [np.asarray(part, dtype=np.float64) for part in (dates.dt.year, dates.dt.month, dates.dt.day_of_week, days)]
    )


def cell_texts(column: pd.Series[Any]) -> list[str | None]:
    """Return each cell as text, ``None`` where it is missing; 3.0 and 3 are the same text."""
    import pandas as pd

    missing = column.isna().to_numpy(dtype=bool)
    return (
        [
            None if is_missing else _cell_text(cell)
            for cell, is_missing in zip(column.astype(object).tolist(), missing.tolist(), strict=True)
        ]
        if not isinstance(column.dtype, pd.CategoricalDtype)
        else _category_texts(column)
    )


def _category_texts(column: pd.Series[Any]) -> list[str | None]:
    words = [_cell_text(category) for category in column.cat.categories.tolist()]
    return [words[code] if code >= 0 else None for code in column.cat.codes.tolist()]


def _cell_text(cell: Any) -> str | None:
    if isinstance(cell, float) and cell.is_integer():
        # Missing cells turn whole numbers into floats; the category must not change with them.
        return str(int(cell))
    text = str(cell).strip()
    return None if text in MISSING_WORDS else text


def _is_number(text: str) -> bool:
    return text in ("True", "False") or _can_be_float(text)


def _can_be_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, no spreadsheet does


def _is_date(text: str) -> bool:
    return _ISO_DATE.fullmatch(text) is not None


def most_common(texts: list[str | None]) -> list[tuple[str, int]]:
    """Return the values with their counts, the most frequent first and equal ones by name."""
    counts = Counter(text for text in texts if text is not None)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
