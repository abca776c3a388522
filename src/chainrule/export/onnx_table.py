"""A table's preprocessing as ONNX operators: from one named input a column to the matrix that the network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chainrule.data.cells import DATE_PARTS
from chainrule.data.feature_plan import CategoryCodes, FeaturePlan
from chainrule.data.table import TablePreprocessor
from chainrule.errors import InvalidInputError
from chainrule.types import Array

if TYPE_CHECKING:
    from chainrule.export.onnx_builder import GraphBuilder

__all__ = ["append_table"]

_DOCS = {
    "number": "a number; NaN where it is missing",
    "date": "a date as days since 1970-01-01 UTC, its time as a fraction; NaN where it is missing",
    "category": "a category as text without spaces around it, whole numbers without a point; '' where it is missing",
}


def append_table(graph: GraphBuilder, table: TablePreprocessor) -> str:
    """Declare one (rows, 1) input a column and return the name of the float32 matrix of features.

    Numbers and dates are float64, categories are text.
    """
    for column in table.feature_plan.columns:
        if not column.name:
            raise InvalidInputError("A column without a name cannot be an input of an ONNX graph; name it and train.")
        dtype = np.str_ if column.kind == "category" else np.float64
        graph.input(column.name, dtype, (1,), _DOCS[column.kind])
    plan = table.feature_plan
    groups = [] if not plan.numbers and not plan.dates else _append_numbers(graph, plan)
    groups += [_append_category(graph, category) for category in plan.categories]
    features = graph.concat(groups, "features")
    if np.array_equal(plan.order, np.arange(len(plan.order))):
        return features
    order = graph.constant("feature_order", plan.order, np.int64)
    return graph.call("Gather", features, order, axis=1, name="features_in_order")


def _append_numbers(graph: GraphBuilder, plan: FeaturePlan) -> list[str]:
    """Return the scaled numbers, and where they were missing, as float32 matrices."""
    network_dtype, graph.dtype = graph.dtype, np.dtype(np.float64)
    numbers = [_without(graph, name, missing) for name, missing in zip(plan.numbers, plan.missing_numbers, strict=True)]
    parts = [graph.concat(numbers, "numbers")] if numbers else []
    if plan.dates:
        parts += _append_date_parts(graph, graph.concat(plan.dates, "dates"))
    raw = graph.concat(parts, "raw_numbers")
    groups = []
    if plan.chosen.size:
        chosen = raw
        if not np.array_equal(plan.chosen, np.arange(len(plan.numbers) + len(DATE_PARTS) * len(plan.dates))):
            columns = graph.constant("used_numbers", plan.chosen, np.int64)
            chosen = graph.call("Gather", raw, columns, axis=1, name="chosen_numbers")
        fill = graph.constant("fill", plan.fill)
        filled = graph.call("Where", graph.call("IsNaN", chosen, name="missing"), fill, chosen, name="filled")
        centered = graph.call("Sub", filled, graph.constant("center", plan.center), name="centered")
        scaled = graph.call("Div", centered, graph.constant("scale", plan.scale), name="scaled")
        groups.append(graph.cast(scaled, np.float32))
    if plan.indicators.size:
        columns = graph.constant("columns_with_gaps", plan.indicators, np.int64)
        gaps = graph.call("IsNaN", graph.call("Gather", raw, columns, axis=1), name="gaps")
        groups.append(graph.cast(gaps, np.float32))
    graph.dtype = network_dtype
    return groups


def _without(graph: GraphBuilder, value: str, missing: Array) -> str:
    """Return the numbers with NaN for those that stand for a missing value."""
    for number in missing.tolist():
        value = graph.call("Where", graph.call("Equal", value, number), graph.constant("nan", np.nan), value)
    return value


def _append_date_parts(graph: GraphBuilder, days: str) -> list[str]:
    """Return year, month, weekday (Monday is 0), days and hour of a matrix of days since 1970; NaN stays NaN.

    The year begins with March, so that a leap day is its last: Howard Hinnant's ``civil_from_days``, in whole float64
    numbers. An era is 400 years of 146,097 days.
    """

    def call(op: str, a: str | float, b: str | float) -> str:
        return graph.call(op, a, b)

    def quotient(a: str, b: float) -> str:
        return graph.call("Floor", call("Div", a, b))

    whole = graph.call("Floor", days, name="whole_days")
    shifted = call("Add", whole, 719468.0)  # since 0000-03-01
    era = quotient(shifted, 146097.0)
    day = call("Sub", shifted, call("Mul", era, 146097.0))  # of the era
    leaps = call("Sub", call("Sub", quotient(day, 36524.0), quotient(day, 1460.0)), quotient(day, 146096.0))
    year = quotient(call("Add", day, leaps), 365.0)  # of the era
    passed = call("Add", call("Mul", year, 365.0), call("Sub", quotient(year, 4.0), quotient(year, 100.0)))
    march_based = quotient(call("Add", call("Mul", call("Sub", day, passed), 5.0), 2.0), 153.0)  # 0 is March
    january_on = call("GreaterOrEqual", march_based, 10.0)
    month = graph.call(
        "Where", january_on, call("Sub", march_based, 9.0), call("Add", march_based, 3.0), name="date_month"
    )
    civil = call("Add", year, call("Mul", era, 400.0))
    civil = graph.call("Where", january_on, call("Add", civil, 1.0), civil, name="date_year")
    since_monday = call("Add", whole, 3.0)
    weekday = graph.call("Sub", since_monday, call("Mul", quotient(since_monday, 7.0), 7.0), name="date_weekday")
    hour = graph.call("Mul", call("Sub", days, whole), 24.0, name="date_hour")
    return [civil, month, weekday, days, hour]


def _append_category(graph: GraphBuilder, category: CategoryCodes) -> str:
    """Return the 0/1 columns of a category: texts to codes, and each code compared with those that have a column."""
    code = graph.call(
        "LabelEncoder",
        category.name,
        name=f"{category.name} code",
        domain="ai.onnx.ml",
        keys_strings=[*category.codes],
        values_int64s=[*category.codes.values()],
        default_int64=category.unknown,
    )
    outputs = graph.constant(f"{category.name} codes", category.outputs, np.int64)
    return graph.cast(graph.call("Equal", code, outputs), np.float32)
