"""What a model takes and gives, read from its file: the answer of ``/schema``, and an example row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chainrule.data.columns import ColumnPlan, NumberPlan
from chainrule.data.table import TablePreprocessor
from chainrule.model import Model
from chainrule.serving.limits import Limits

__all__ = ["describe_model", "example_row"]

WIDEST_EXAMPLE = 40  # values; a longer row is no example for people


def describe_model(model: Model, limits: Limits) -> dict[str, Any]:
    """Return the schema as JSON values.

    ``input`` is ``"table"``, with ``columns`` in the order in which arrays give them and ``ignored`` columns that may
    be there; or ``"array"``, with the ``shape`` of a row. The numbers of a column say where the training data lay:
    mean and standard deviation, or minimum and maximum, whichever the model scales by. Of a column whose values may all
    have been the same, which a model does not note, only the mean or the minimum is given.
    """
    target = model.target
    schema: dict[str, Any] = {"task": target.task, "target": model.target_name or "y"}
    if target.classes:
        schema["classes"] = list(target.classes)
        names = model.notes.get("label_names") or []
        if [str(label) for label in target.classes] != list(names) and names:
            schema["class_names"] = list(names)
    else:
        schema["numbers_predicted"] = target.n_columns
    if model.table is None:
        schema |= {"input": "array", "shape": list(model.network.stack.input_shape())}
    else:
        plans = model.table.columns
        schema["input"] = "table"
        schema["columns"] = [_describe_column(plan, model.table) for plan in plans if plan.kind != "dropped"]
        ignored = [{"name": plan.name, "reason": plan.reason} for plan in plans if plan.kind == "dropped"]
        if model.target_name:
            ignored.append({"name": model.target_name, "reason": "it is what the model predicts"})
        schema["ignored"] = ignored
    schema["limits"] = {"rows": limits.rows, "body_bytes": limits.body_bytes}
    return schema


def _describe_column(plan: ColumnPlan, table: TablePreprocessor) -> dict[str, Any]:
    column: dict[str, Any] = {"name": plan.name, "type": plan.kind}
    if plan.kind == "category":
        column["categories"] = list(plan.categories)
        column["unknown"] = "a category of its own" if plan.other else "no category"
        column["missing"] = "a category of its own" if plan.missing_category else "no category"
        return column
    if plan.kind == "date":
        column["format"] = "2024-12-31, or with a time: 2024-12-31T18:30:00Z"
        column["missing"] = "the middle of the training dates"
        return column
    (number,) = plan.numbers
    # A column that is constant but for its gaps is kept for those, and divided by 1, which says nothing of its spread.
    has_spread = not (plan.missing_indicator and number.scale == 1 and number.center == number.fill)
    if table.scaling == "range":
        column |= {"minimum": number.center} | ({"maximum": number.center + number.scale} if has_spread else {})
    elif table.scaling == "standard":
        column |= {"mean": number.center} | ({"standard_deviation": number.scale} if has_spread else {})
    column["missing"] = number.fill
    return column


def example_row(model: Model) -> dict[str, Any] | list[float] | None:
    """Return a row that the model takes; None where a row is too long to be read."""
    if model.table is None:
        shape = model.network.stack.input_shape()
        return [0.0] * shape[0] if len(shape) == 1 and shape[0] <= WIDEST_EXAMPLE else None
    used = [plan for plan in model.table.columns if plan.kind != "dropped"]
    return {plan.name: _example_cell(plan) for plan in used} if len(used) <= WIDEST_EXAMPLE else None


def _example_cell(plan: ColumnPlan) -> Any:
    if plan.kind == "category":
        return plan.categories[0]
    if plan.kind == "date":
        days = next((number.fill for number in plan.numbers if number.name == f"{plan.name} days"), 20_000.0)
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(days))).date().isoformat()
    return _round(plan.numbers[0])


def _round(number: NumberPlan) -> float:
    """Return the value for missing cells with four digits, as a whole number where it is one."""
    value = float(f"{number.fill:.4g}")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
