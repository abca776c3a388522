"""Describe the inputs and outputs of a model: as a JSON schema, as an OpenAPI document, and as a page."""

from __future__ import annotations

import json
import math
import shlex
from datetime import UTC, datetime, timedelta
from html import escape
from importlib import resources
from string import Template
from typing import Any

from chainrule.data.columns import ColumnPlan, NumberPlan
from chainrule.data.table import Scaling
from chainrule.model import Model
from chainrule.serving.base import JSON, Limits

__all__ = ["curl_command", "describe_model", "example_row", "openapi_document", "page_html"]

MAX_EXAMPLE_VALUES = 40  # a longer row is not readable
MAX_LISTED = 20


def describe_model(model: Model, limits: Limits) -> dict[str, Any]:
    """Return the schema as JSON values.

    ``input`` is ``"table"``, with ``columns`` in the order of arrays and ``ignored`` columns that may be present; or
    ``"array"``, with the ``shape`` of a row. Columns of numbers have the mean and the standard deviation, or the
    minimum and the maximum, of the training data, whichever the model scales by. If the values of a column may all have
    been the same, which a model file does not tell, only the mean or the minimum is given.
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
        schema["has_intervals"] = model.calibration is not None and target.task == "regression"
    if model.table is None:
        schema |= {"input": "array", "shape": list(model.network.stack.input_shape())}
    else:
        ignored = [{"name": plan.name, "reason": plan.reason} for plan in model.table.columns if plan.kind == "dropped"]
        if model.target_name:
            ignored.append({"name": model.target_name, "reason": "it is the target"})
        columns = [_describe_column(plan, model.table.scaling) for plan in model.table.feature_plan.columns]
        schema |= {"input": "table", "columns": columns, "ignored": ignored}
    return schema | {"limits": {"rows": limits.rows, "body_bytes": limits.body_bytes}}


def _describe_column(plan: ColumnPlan, scaling: Scaling) -> dict[str, Any]:
    column: dict[str, Any] = {"name": plan.name, "type": plan.kind}
    if plan.kind == "category":
        column["categories"] = list(plan.categories)
        column["unknown"] = "a separate category" if plan.other else "no category"
        column["missing"] = "a separate category" if plan.missing_category else "no category"
        return column
    if plan.kind == "date":
        column["format"] = "2024-12-31, or with a time: 2024-12-31T18:30:00Z"
        column["missing"] = "the middle of the training dates"
        return column
    (number,) = plan.numbers
    # A column that is constant except for missing cells is divided by 1, which is not its standard deviation.
    has_spread = not (plan.missing_indicator and number.scale == 1 and number.center == number.fill)
    if scaling == "range":
        column |= {"minimum": number.center} | ({"maximum": number.center + number.scale} if has_spread else {})
    elif scaling == "standard":
        column |= {"mean": number.center} | ({"standard_deviation": number.scale} if has_spread else {})
    elif scaling in ("robust", "quantile"):
        column |= {"median": number.center} | ({"interquartile_range": number.scale} if has_spread else {})
    column["missing"] = number.fill
    return column


def example_row(model: Model) -> dict[str, Any] | list[float] | None:
    """Return a valid row; None if a row is too long to be readable."""
    if model.table is None:
        shape = model.network.stack.input_shape()
        return [0.0] * shape[0] if len(shape) == 1 and shape[0] <= MAX_EXAMPLE_VALUES else None
    used = model.table.feature_plan.columns
    return {plan.name: _example_cell(plan) for plan in used} if len(used) <= MAX_EXAMPLE_VALUES else None


def _example_cell(plan: ColumnPlan) -> Any:
    if plan.kind == "category":
        return plan.categories[0]
    if plan.kind == "date":
        days = next((number.fill for number in plan.numbers if number.name == f"{plan.name} days"), 20_000.0)
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=int(days))).date().isoformat()
    return _round(plan.numbers[0])


def _round(number: NumberPlan) -> float:
    """Return the value for missing cells with four digits, as an int if it is a whole number."""
    value = float(f"{number.fill:.4g}")
    return int(value) if value.is_integer() and abs(value) < 1e15 else value


def openapi_document(schema: dict[str, Any], example: Any, version: str) -> dict[str, Any]:
    """Return the OpenAPI document for the result of ``describe_model``. ``example`` is a row, or None.

    ``openapi.json`` contains the parts that are the same for all models.
    """
    document: dict[str, Any] = json.loads(_read_text("openapi.json"))
    document["info"] |= {"title": f"chainrule: {schema['target']}", "version": version}
    predict = document["paths"]["/predict"]["post"]
    predict["summary"] = f"Predict {schema['target']}"
    body = predict["requestBody"]["content"][JSON]
    if schema["input"] == "table":
        body["schema"]["anyOf"].insert(0, {"$ref": "#/components/schemas/RowObject"})
    if example is not None:
        body["example"] = {"rows": [example]}
    schemas = document["components"]["schemas"]
    schemas["Rows"]["maxItems"] = schema["limits"]["rows"]
    schemas |= _table_row(schema) if schema["input"] == "table" else _array_row(schema)
    schemas["Predictions"] = _predictions(schema)
    if schema.get("has_intervals"):
        description = "Add the limits of intervals; about this share of the true values lies outside them, such as 0.1."
        share = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}
        predict["parameters"] = [{"name": "interval", "in": "query", "description": description, "schema": share}]
    return document


def _table_row(schema: dict[str, Any]) -> dict[str, Any]:
    cells = {column["name"]: _cell(column) for column in schema["columns"]}
    unused = {column["name"]: {"description": f"Not used: {column['reason']}."} for column in schema["ignored"]}
    by_name = {"type": "object", "properties": cells | unused, "required": [*cells], "additionalProperties": False}
    in_order = _array([*cells.values()], len(cells)) | {"description": f"The values in this order: {', '.join(cells)}."}
    either = {"anyOf": [{"$ref": "#/components/schemas/RowObject"}, {"$ref": "#/components/schemas/RowArray"}]}
    return {"Row": either, "RowObject": by_name, "RowArray": in_order}


def _array(items: Any, size: int | None = None) -> dict[str, Any]:
    """Return the schema of an array, with a size if it is given. A list of items contains one schema per element."""
    schema = {"type": "array", "prefixItems" if isinstance(items, list) else "items": items}
    return schema if size is None else schema | {"minItems": size, "maxItems": size}


def _cell(column: dict[str, Any]) -> dict[str, Any]:
    missing = column["missing"]
    if column["type"] == "category":
        listed = f"One of: {', '.join(column['categories'])}."
        others = f"Other values are encoded as {column['unknown']}, and null as {missing}."
        types = ["string", "number", "boolean", "null"]
        return {"type": types, "description": f"{listed} {others}", "examples": column["categories"][:5]}
    if column["type"] == "date":
        return {"type": ["string", "null"], "description": f"A date: {column['format']}; null if it is missing."}
    numbers = ("minimum", "maximum", "mean", "standard_deviation")
    facts = ", ".join(f"{name.replace('_', ' ')} {column[name]:.6g}" for name in numbers if name in column)
    training = f" In the training data: {facts}." if facts else ""
    return {"type": ["number", "boolean", "null"], "description": f"A number; null means {missing:.6g}.{training}"}


def _array_row(schema: dict[str, Any]) -> dict[str, Any]:
    n_numbers = math.prod(schema["shape"])
    description = f"Nested arrays, such as the lines of an image, with {n_numbers} numbers in total."
    nested = _array({"type": "array", "minItems": 1}) | {"minItems": 1, "description": description}
    return {"Row": {"anyOf": [_array({"type": ["number", "boolean"]}, n_numbers), nested]}}


def _predictions(schema: dict[str, Any]) -> dict[str, Any]:
    optional: dict[str, Any] = {}
    if "classes" in schema:
        classes = schema["classes"]
        each = _array({"type": "number", "minimum": 0, "maximum": 1}, len(classes))
        properties = {
            "predictions": _array({"enum": classes}),
            "classes": {"const": classes},
            "probabilities": _array(each) | {"description": "For each row, the probability of each class."},
        }
    else:
        n, number = schema["numbers_predicted"], {"type": "number"}
        limits = _array(number, 2)
        properties = {"predictions": _array(number if n == 1 else _array(number, n))}
        if schema["task"] == "multilabel":
            properties = {
                "predictions": _array(_array({"enum": [0, 1]}, n)),
                "probabilities": _array(_array(number, n)),
            }
        if schema["has_intervals"]:
            optional = {"intervals": _array(limits if n == 1 else _array(limits, n))}
    return {"type": "object", "properties": properties | optional, "required": [*properties]}


def curl_command(address: str, example: Any) -> str:
    """Return a shell command that requests a prediction, or the schema if there is no example."""
    if example is None:
        return f"curl -s {address}/schema"
    body = json.dumps(example if isinstance(example, dict) else [example])
    return f"curl -s {address}/predict -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def page_html(schema: dict[str, Any], example: Any, address: str) -> str:
    """Return the page, which does not load other files."""
    if schema["input"] == "table":
        rows = [
            f"<tr><td>{escape(column['name'])}</td><td>{column['type']}</td><td>{_facts(column)}</td></tr>"
            for column in schema["columns"]
        ]
        inputs = f"<table><tr><th>column</th><th>type</th><th>values</th></tr>{''.join(rows)}</table>"
        unused = [column["name"] for column in schema["ignored"] if column["name"] != schema["target"]]
        inputs += f"<p>Not used: {_listing(unused)}.</p>" if unused else ""
    else:
        inputs = f"<p>Rows are arrays of numbers of shape {' × '.join(map(str, schema['shape']))}.</p>"
    return Template(_read_text("page.html")).substitute(
        target=escape(schema["target"]),
        outputs=f"one of {_listing(schema['classes'])}" if "classes" in schema else "a number",
        command=escape(curl_command(address, example)),
        inputs=inputs,
        max_rows=f"{schema['limits']['rows']:,}",
    )


def _facts(column: dict[str, Any]) -> str:
    if column["type"] == "category":
        return _listing(column["categories"])
    if column["type"] == "date":
        return escape(column["format"])
    if "minimum" in column:
        return f"{column['minimum']:.6g}" + (f" to {column['maximum']:.6g}" if "maximum" in column else " or more")
    spread = f" ± {column['standard_deviation']:.6g}" if "standard_deviation" in column else ""
    return f"about {column['mean']:.6g}{spread}" if "mean" in column else ""


def _listing(values: list[Any]) -> str:
    text = escape(", ".join(map(str, values[:MAX_LISTED])))
    return f"{text}, ... ({len(values)} in total)" if len(values) > MAX_LISTED else text


def _read_text(name: str) -> str:
    return resources.files("chainrule.serving").joinpath(name).read_text(encoding="utf-8")
