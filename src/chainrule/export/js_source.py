"""A model as one JavaScript module, without dependencies, for Node.js and for browsers."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from chainrule.data.columns import ColumnPlan
from chainrule.data.date_format import ISO_PATTERN, MONTHS, PATTERNS, TIME_PATTERN, WEEKDAYS, DateFormat
from chainrule.data.number_format import PYTHON_PATTERN, NumberFormat
from chainrule.export.patterns import javascript_pattern
from chainrule.export.pieces import pieces_needed
from chainrule.export.program import ModelProgram
from chainrule.export.steps import Steps
from chainrule.files.atomic import write_atomically
from chainrule.formulas.translate import JAVASCRIPT
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array

__all__ = ["js_source", "write_js"]

COLUMNS_LISTED = 20
LARGEST_WHOLE_DOUBLE = 2**53


def write_js(model: Model | NeuralNetwork, path: Path) -> None:
    """Write the module to a file, whole or not at all."""
    write_atomically(path, js_source(ModelProgram.of(model), path.name))


def js_source(program: ModelProgram, file_name: str) -> str:
    """Return the text of the module, in ASCII.

    It exports ``predict(row)``, ``outputs(row)`` and, for classes, ``probabilities(row)``, ``classes`` and
    ``classNames``. Weights keep their bits; the arithmetic is double.
    """
    steps = Steps(program, JAVASCRIPT, _array, repr, _camel)
    pieces = {*steps.pieces, "table" if program.columns else "vector"}
    pieces |= {kind for kind in ("floats", "doubles") if any(f" = {kind}(" in array for array in steps.arrays)}
    parts = [
        _heading(program, file_name),
        pieces_needed("pieces.mjs", pieces),
        *steps.functions,
        "\n".join([*_constants(program), *steps.arrays]),
        _outputs(steps, program.n_outputs),
        _predict(program),
    ]
    return "\n\n".join(parts) + "\n"


def _heading(program: ModelProgram, file_name: str) -> str:
    target = program.target_name and f" of {_comment(program.target_name)}"
    what = f"classes{target}" if program.classes else f"numbers{target}"
    lines = [f"A network of chainrule that predicts {what}; it needs nothing else.", ""]
    if program.columns:
        lines += ["A row is an object with these columns, or an array of them in this order:", ""]
        lines += [f"  {_comment(plan.name)}  {_kind(plan)}" for plan in program.columns[:COLUMNS_LISTED]]
        if len(program.columns) > COLUMNS_LISTED:
            lines += [f"  and {len(program.columns) - COLUMNS_LISTED} more, which `columns` names"]
        lines += ["", "A cell that is null, NaN, empty or a word for it (NA, null, ?) is missing."]
    else:
        lines += [f"A row is an array of {program.n_inputs} numbers."]
    name = _comment(f"./{file_name}")
    lines += ["", f"  import {{ predict }} from {name};", "  predict(row);"]
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */"])


def _kind(plan: ColumnPlan) -> str:
    if plan.is_time_of_day:
        return "a time of day, a text such as 18:30"
    return {"number": "a number", "date": "a Date, or a text such as 2024-12-31"}.get(plan.kind, "a category")


def _constants(program: ModelProgram) -> list[str]:
    if not program.columns:
        rounding = "Math.fround" if program.dtype == np.float32 else "Number"
        lines = [f"const N_INPUTS = {program.n_inputs};", f"const round = {rounding};"]
    else:
        plans = ",\n".join(f"  {_plan(plan)}" for plan in program.columns)
        patterns = ", ".join(_value(javascript_pattern(pattern)) for pattern in PATTERNS)
        lines = [
            f"const MONTHS = new Map(Object.entries({_value(MONTHS)}));",
            f"const WEEKDAYS = new Set({_value(sorted(WEEKDAYS))});",
            f"const DATE_PATTERNS = [{patterns}];",
            f"const PLANS = [\n{plans},\n];",
            "/** The names of the columns. */",
            "export const columns = PLANS.map((plan) => plan.name);",
        ]
    if program.classes:
        labels = [_label(label) for label in program.classes]
        lines += ["/** The labels that are predicted. */", f"export const classes = {_value(labels)};"]
        lines += ["/** The same in words. */", f"export const classNames = {_value(program.label_names)};"]
    return lines


def _plan(plan: ColumnPlan) -> str:
    """Return what is known of a column as an object of JavaScript."""
    values: dict[str, Any] = {"name": plan.name, "kind": plan.kind, "missing": plan.missing_words}
    raw: dict[str, str] = {}
    if plan.kind == "category":
        missing, other, first, end = plan.special_codes
        values |= {"categories": plan.categories, "noPlace": missing, "other": other, "first": first, "end": end}
        values["fromNumbers"] = plan.from_numbers
        raw["words"] = f"new Map({_value(list(plan.spellings.items()))})"
        raw["numbers"] = f"new Map({_value(list(plan.number_codes.items()))})"
        return _object(values, raw)
    values["numbers"] = [
        {"part": part, "fill": number.fill, "center": number.center, "scale": number.scale}
        for part, number in zip(plan.parts, plan.numbers, strict=True)
    ]
    values |= {"indicator": plan.missing_indicator, "coerce": plan.coerce}
    if plan.kind == "number":
        known = plan.format if isinstance(plan.format, NumberFormat) else None
        pattern = PYTHON_PATTERN if known is None else known.pattern
        written = known or NumberFormat()
        values |= {"pattern": javascript_pattern(pattern), "affixes": written.affixes}
        values |= {"suffix": written.suffix, "words": written.words}
        values |= {"decimal": written.decimal, "takesTrue": known is None}
        values["missingNumbers"] = plan.missing_numbers.tolist()
    elif isinstance(plan.format, DateFormat):
        kinds = "times of day" if plan.is_time_of_day else "dates"
        values |= {"order": plan.format.order, "written": f"{kinds} such as {plan.format.example()}"}
        raw["patterns"] = f"[{_value(javascript_pattern(TIME_PATTERN))}]" if plan.format.time_only else "DATE_PATTERNS"
    else:
        values |= {"order": "ymd", "written": "dates such as 2024-12-31", "patterns": [javascript_pattern(ISO_PATTERN)]}
    return _object(values, raw)


def _object(values: dict[str, Any], raw: dict[str, str]) -> str:
    members = [f"{name}: {_value(value)}" for name, value in values.items()]
    return f"{{{', '.join([*members, *(f'{name}: {text}' for name, text in raw.items())])}}}"


def _outputs(steps: Steps, n_outputs: int) -> str:
    buffers = [f"const v{place} = new Float64Array({length});" for place, length in enumerate(steps.buffers)]
    return "\n".join(
        [
            "/**",
            " * The outputs for a row: the probability of the second of two classes, or of each class, or numbers.",
            " * @param {Object|Array} row",
            " * @returns {Float64Array}",
            " */",
            "export function outputs(row) {",
            *(f"  {line}" for line in (*buffers, "v0.set(encodeRow(row));", *steps.lines)),
            f"  return {steps.last}.subarray(0, {n_outputs});",
            "}",
        ]
    )


def _predict(program: ModelProgram) -> str:
    if not program.classes:
        single = program.target is not None and program.n_outputs == 1
        returned, kind = ("outputs(row)[0]", "number") if single else ("Array.from(outputs(row))", "number[]")
        return _function("predict", "The prediction for a row.", kind, [f"return {returned};"])
    if program.n_outputs == 1:
        shares, code = "const [p] = outputs(row);\n  return [1 - p, p];", "Number(outputs(row)[0] >= 0.5)"
    else:
        shares, code = "return Array.from(outputs(row));", "x.indexOf(Math.max(...x))"
    first = ["const x = outputs(row);"] if "x." in code else []
    return "\n\n".join(
        [
            _function("probabilities", "The probability of each class, in their order.", "number[]", [shares]),
            _function("predict", "The label of the most probable class.", "*", [*first, f"return classes[{code}];"]),
        ]
    )


def _function(name: str, what: str, returned: str, body: list[str]) -> str:
    lines = ["/**", f" * {what}", " * @param {Object|Array} row", f" * @returns {{{returned}}}", " */"]
    return "\n".join([*lines, f"export function {name}(row) {{", *(f"  {line}" for line in body), "}"])


def _array(name: str, values: Array) -> str:
    """Return the definition of an array: whole numbers as a list, others as base 64, which keeps every bit."""
    if values.dtype.kind == "i":
        return f"const {name} = {values.tolist()};"
    kind = "doubles" if values.dtype == np.float64 else "floats"
    data = np.ascontiguousarray(values, "<f8" if kind == "doubles" else "<f4").tobytes()
    return f'const {name} = {kind}("{base64.b64encode(data).decode()}");'


def _value(value: Any) -> str:
    """Return a value as JavaScript that can also stand inside a page: no `<` begins or ends a script there."""
    return json.dumps(value, ensure_ascii=True).replace("<", "\\u003c")


def _comment(text: str) -> str:
    return _value(text).replace("*/", "*\\/")


def _label(label: Any) -> Any:
    """Return a label as JavaScript can hold it: a whole number too large for a double as text."""
    too_large = isinstance(label, int) and abs(label) > LARGEST_WHOLE_DOUBLE
    return str(label) if too_large else label


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
