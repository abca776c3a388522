"""What a model takes and gives, read from its file, for programs: ``/schema``, and the same as OpenAPI 3.1."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from chainrule.data.columns import ColumnPlan, NumberPlan
from chainrule.data.table import TablePreprocessor
from chainrule.model import Model
from chainrule.serving.base import CSV, JSON, Limits

__all__ = ["describe_model", "example_row", "openapi_document"]

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


def openapi_document(schema: dict[str, Any], example: Any, version: str) -> dict[str, Any]:
    """Return the document for what ``describe_model`` said of the model; ``example`` is a row, or None."""
    row = _table_row(schema) if schema["input"] == "table" else _array_row(schema)
    rows = {"type": "array", "items": {"$ref": "#/components/schemas/Row"}, "minItems": 1}
    rows["maxItems"] = schema["limits"]["rows"]
    forms: list[dict[str, Any]] = [
        {"$ref": "#/components/schemas/Rows"},
        {
            "type": "object",
            "properties": {"rows": {"$ref": "#/components/schemas/Rows"}},
            "required": ["rows"],
            "additionalProperties": False,
        },
    ]
    if schema["input"] == "table":
        forms.insert(0, {"$ref": "#/components/schemas/RowObject"})
    json_body: dict[str, Any] = {"schema": {"anyOf": forms}}
    if example is not None:
        json_body["example"] = {"rows": [example]}
    errors = {"400": "The body is not JSON.", "408": "The body came too slowly.", "413": "Too many bytes or rows."}
    errors |= {"415": "Neither JSON nor CSV.", "422": "A row does not fit.", "503": "The server is busy."}
    predict = {
        "operationId": "predict",
        "summary": f"Predict {schema['target']}",
        "requestBody": {
            "required": True,
            "content": {
                JSON: json_body,
                CSV: {"schema": {"type": "string", "description": "A line of column names, then a line a row."}},
            },
        },
        "responses": {
            "200": {
                "description": "A prediction for each row, in the order of the rows.",
                "content": {
                    JSON: {"schema": {"$ref": "#/components/schemas/Predictions"}},
                    CSV: {"schema": {"type": "string"}},
                },
            },
            **{status: _error(sentence) for status, sentence in errors.items()},
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"chainrule: {schema['target']}", "version": version, "license": {"name": "see the model"}},
        "paths": {
            "/predict": {"post": predict},
            "/schema": {"get": _get("schema", "What the model takes and gives", JSON)},
            "/health": {"get": _get("health", "Whether the server is there", JSON)},
            "/metrics": {"get": _get("metrics", "Counts and times for Prometheus", "text/plain")},
        },
        "components": {"schemas": {**row, "Rows": rows, "Predictions": _predictions(schema), "Error": _ERROR}},
    }


_ERROR = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "description": "One sentence: what is wrong, where, and what is expected."},
        "row": {"type": "integer", "minimum": 1, "description": "The number of the row, where it is about one."},
        "column": {"type": "string"},
    },
    "required": ["error"],
}


def _table_row(schema: dict[str, Any]) -> dict[str, Any]:
    properties = {column["name"]: _cell(column) for column in schema["columns"]}
    required = list(properties)
    by_name = {
        "type": "object",
        "properties": properties
        | {one["name"]: {"description": f"Not used: {one['reason']}."} for one in schema["ignored"]},
        "required": required,
        "additionalProperties": False,
    }
    in_order = {
        "type": "array",
        "description": f"The values in this order: {', '.join(required)}.",
        "prefixItems": [properties[name] for name in required],
        "minItems": len(required),
        "maxItems": len(required),
    }
    either = {"anyOf": [{"$ref": "#/components/schemas/RowObject"}, {"$ref": "#/components/schemas/RowArray"}]}
    return {"Row": either, "RowObject": by_name, "RowArray": in_order}


def _cell(column: dict[str, Any]) -> dict[str, Any]:
    if column["type"] == "category":
        listed = ", ".join(column["categories"])
        return {
            "type": ["string", "number", "boolean", "null"],
            "description": f"One of: {listed}. Another value counts as {column['unknown']}, null as "
            f"{column['missing']}.",
            "examples": column["categories"][:5],
        }
    if column["type"] == "date":
        return {"type": ["string", "null"], "description": f"A date: {column['format']}; null where it is missing."}
    numbers = ("minimum", "maximum", "mean", "standard_deviation")
    facts = ", ".join(f"{name.replace('_', ' ')} {column[name]:.6g}" for name in numbers if name in column)
    training = f" In the training data: {facts}." if facts else ""
    return {
        "type": ["number", "boolean", "null"],
        "description": f"A number; null counts as {column['missing']:.6g}.{training}",
    }


def _array_row(schema: dict[str, Any]) -> dict[str, Any]:
    n_numbers = math.prod(schema["shape"])
    flat = {"type": "array", "items": {"type": ["number", "boolean"]}, "minItems": n_numbers, "maxItems": n_numbers}
    nested = {
        "type": "array",
        "items": {"type": "array", "minItems": 1},
        "minItems": 1,
        "description": f"Nested arrays, as the lines of an image, with {n_numbers} numbers in all.",
    }
    return {"Row": {"anyOf": [flat, nested]}}


def _predictions(schema: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    if "classes" in schema:
        number = {"type": "number", "minimum": 0, "maximum": 1}
        n = len(schema["classes"])
        properties["predictions"] = {"type": "array", "items": {"enum": schema["classes"]}}
        properties["classes"] = {"const": schema["classes"]}
        properties["probabilities"] = {
            "type": "array",
            "description": "For each row, the probability of each class.",
            "items": {"type": "array", "items": number, "minItems": n, "maxItems": n},
        }
    else:
        item: dict[str, Any] = {"type": "number"}
        if schema["numbers_predicted"] > 1:
            n = schema["numbers_predicted"]
            item = {"type": "array", "items": item, "minItems": n, "maxItems": n}
        properties["predictions"] = {"type": "array", "items": item}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _error(sentence: str) -> dict[str, Any]:
    return {"description": sentence, "content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}


def _get(name: str, summary: str, media_type: str) -> dict[str, Any]:
    content = {media_type: {"schema": {"type": "string" if media_type == "text/plain" else "object"}}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, "content": content}}}
