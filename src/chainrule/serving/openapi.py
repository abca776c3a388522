"""The OpenAPI 3.1 description of a served model, for programs that write clients."""

from __future__ import annotations

from typing import Any

from chainrule.serving.bodies import CSV, JSON

__all__ = ["openapi_document"]


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
    n_numbers = 1
    for size in schema["shape"]:
        n_numbers *= size
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
