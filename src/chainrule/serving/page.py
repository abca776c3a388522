"""The page at ``/``: what the model takes, and a command to try. It loads nothing from anywhere."""

from __future__ import annotations

import html
import json
import shlex
from typing import Any

__all__ = ["curl_command", "page_html"]

STYLE = """:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;overflow-wrap:anywhere}
table{border-collapse:collapse}th,td{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0;
border-bottom:1px solid #8885;overflow-wrap:normal}pre{background:#8882;padding:1rem;white-space:pre-wrap}"""


def curl_command(address: str, example: Any) -> str:
    """Return a command for a shell that asks the server for a prediction; for its schema where there is no example."""
    if example is None:
        return f"curl -s {address}/schema"
    body = json.dumps(example if isinstance(example, dict) else [example])
    return f"curl -s {address}/predict -H 'Content-Type: application/json' -d {shlex.quote(body)}"


def page_html(schema: dict[str, Any], example: Any, address: str) -> str:
    """Return the page."""
    target = html.escape(schema["target"])
    gives = f"one of {_listing(schema['classes'])}" if "classes" in schema else "a number"
    parts = [
        "<!doctype html><html lang='en'><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>{target}</title><style>{STYLE}</style>",
        f"<h1>{target}</h1><p>This model predicts {target}, {gives}.</p>",
        "<h2>Try it</h2>",
        f"<pre>{html.escape(curl_command(address, example))}</pre>",
        "<h2>What it takes</h2>",
    ]
    if schema["input"] == "table":
        rows = [
            f"<tr><td>{html.escape(column['name'])}</td><td>{column['type']}</td><td>{_facts(column)}</td></tr>"
            for column in schema["columns"]
        ]
        parts.append(f"<table><tr><th>column</th><th>type</th><th>values</th></tr>{''.join(rows)}</table>")
        unused = [one["name"] for one in schema["ignored"] if one["name"] != schema["target"]]
        if unused:
            parts.append(f"<p>Not used: {_listing(unused)}.</p>")
    else:
        parts.append(f"<p>Rows are arrays of numbers of shape {' × '.join(map(str, schema['shape']))}.</p>")
    parts.append(
        f"<p>At most {schema['limits']['rows']:,} rows in one request. JSON or CSV in, JSON or CSV out. More: "
        "<a href='schema'>schema</a>, <a href='openapi.json'>OpenAPI</a>, <a href='health'>health</a>, "
        "<a href='metrics'>metrics</a>.</p></html>"
    )
    return "\n".join(parts)


def _facts(column: dict[str, Any]) -> str:
    if column["type"] == "category":
        return _listing(column["categories"])
    if column["type"] == "date":
        return html.escape(column["format"])
    if "minimum" in column:
        return f"{column['minimum']:.6g}" + (f" to {column['maximum']:.6g}" if "maximum" in column else " or more")
    if "mean" not in column:
        return ""
    spread = f" ± {column['standard_deviation']:.6g}" if "standard_deviation" in column else ""
    return f"about {column['mean']:.6g}{spread}"


def _listing(values: list[Any]) -> str:
    text = html.escape(", ".join(map(str, values[:20])))
    return f"{text}, ... ({len(values)} in all)" if len(values) > 20 else text
