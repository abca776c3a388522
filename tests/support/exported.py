"""Exported sources at work: compiled by gcc, or run by Node.js."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.data.columns import ColumnPlan
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.export import export_model
from chainrule.layers import InputScalingLayer
from chainrule.model import Model
from chainrule.types import Array
from support.networks import network_of

__all__ = [
    "COMPILE",
    "ask_c",
    "ask_js",
    "check_numbers",
    "compile_c",
    "expected_of",
    "fitted",
    "numbers_of",
    "reading_of",
    "run",
    "run_c",
    "run_js",
]

COMPILE = ("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2")


def run(*command: str | Path, text: str | None = None) -> str:
    """What the command prints; the test is skipped where there is no such program, and fails if that fails."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    done = subprocess.run(command, input=text, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr[:4000]
    return done.stdout


def compile_c(model: Any, folder: Path) -> Path:
    """The program that reads CSV."""
    source, program = folder / "model.c", folder / "model"
    export_model(model, source, "c")
    run(*COMPILE, "-DCHAINRULE_MAIN", source, "-o", program, "-lm")
    return program


def run_c(model: Any, header: Sequence[str], rows: Sequence[Sequence[Any]], folder: Path) -> list[list[str]]:
    """The records that the C program prints for these rows, header and all; None is an empty cell."""
    return ask_c(compile_c(model, folder), header, rows, folder)


def ask_c(program: Path, header: Sequence[str], rows: Sequence[Sequence[Any]], folder: Path) -> list[list[str]]:
    """The same by a program that is compiled already."""
    table = folder / "rows.csv"
    with table.open("w", newline="", encoding="utf-8", errors="surrogatepass") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    with table.open(encoding="utf-8", errors="surrogatepass", newline="") as file:
        return list(csv.reader(io.StringIO(run(program, text=file.read()), newline="")))


def run_js(model: Any, rows: Sequence[Any], folder: Path, function: str = "outputs") -> Any:
    """What a function of the module gives for each row, as JSON has it."""
    export_model(model, folder / "model.mjs", "js")
    return ask_js(rows, folder, function)


def ask_js(rows: Sequence[Any], folder: Path, function: str = "outputs") -> Any:
    """The same by the module that lies there already."""
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    (folder / "ask.mjs").write_text(
        'import { readFileSync } from "node:fs";\n'
        f'import {{ {function} as f }} from "./model.mjs";\n'
        'const rows = JSON.parse(readFileSync(new URL("rows.json", import.meta.url), "utf-8"));\n'
        "const plain = (value) => (ArrayBuffer.isView(value) ? Array.from(value) : value);\n"
        "console.log(JSON.stringify(rows.map((row) => plain(f(row)))));\n",
        encoding="utf-8",
    )
    return json.loads(run("node", folder / "ask.mjs"))


def numbers_of(to: str, model: Any, columns: Sequence[str], rows: Sequence[Sequence[Any]], folder: Path) -> Array:
    """What the exported source gives for these rows: the probability of every class, or the predicted numbers."""
    has_classes = isinstance(model, Model) and bool(model.target.classes)
    if to == "js":
        return np.array(run_js(model, rows, folder, "probabilities" if has_classes else "outputs"), np.float64)
    _, *records = run_c(model, columns, rows, folder)
    return np.array([[float(cell) for cell in record[has_classes:]] for record in records])


def expected_of(model: Any, data: Any) -> Array:
    """The same by the model itself."""
    if not isinstance(model, Model):
        return np.asarray(model.predict(data)).reshape(len(data), -1)
    outputs = model.outputs(data)
    return np.hstack([1 - outputs, outputs]) if model.target.classes and outputs.shape[1] == 1 else outputs


def reading_of(table: TablePreprocessor) -> Model:
    """A model whose outputs are the very numbers that the table becomes."""
    layer = InputScalingLayer()
    layer.set_input_shape((len(table.feature_names),))
    return Model(network_of(layer), Target("regression", n_columns=len(table.feature_names)), table)


def fitted(*plans: ColumnPlan) -> TablePreprocessor:
    table = TablePreprocessor()
    table._columns = plans
    return table


def check_numbers(to: str, model: Any, X: Array, folder: Path, tolerance: float = 1e-6) -> None:
    """The source gives what the model gives for these rows, in units of the largest output where that is above 1."""
    columns = [f"x{place}" for place in range(X[0].size)]
    found = numbers_of(to, model, columns, X.reshape(len(X), -1).tolist(), folder)
    expected = expected_of(model, X)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, float(np.abs(expected).max())))
