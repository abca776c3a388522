"""Measure the prediction of one row in every export format: the size of the file, and the time per call.

There are three untrained models: XNOR (2-8-1), a table of eight numbers and four categories (64-32-1), and images of
784 pixels (128-64-10). chainrule, onnxruntime and PyTorch are called from Python, with rows already in the format that
each of them needs. The C program, compiled with -O2, and the JavaScript program in Node.js contain the loop over the
calls. The calls use 32 rows in turn, on one core. The programs take turns, and medians over the rounds are reported.

    python benchmarks/export_latency.py [--rounds 9]

writes ``results/export.json`` and ``results/export.md``.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pandas as pd
import runner
from exported_models import image_model, table_model

from chainrule import Model, Target, build_network
from chainrule.export import FORMATS, export_model
from chainrule.export.onnx_graph import onnx_inputs
from chainrule.export.torch_program import torch_inputs

N_ROWS = 32
MIN_SECONDS = 0.05  # of a measurement
TOLERANCE = 1e-5  # of every probability

Measure = Callable[[int], tuple[float, list[float]]]  # number of calls -> seconds, and the last output of each row

_C_TIMER = """\
#include "model.c"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const {row} rows[{n}]{width} = {{{rows}}};

int main(int n_arguments, char **arguments)
{{
    double outputs[MODEL_OUTPUTS];
    int i, n = atoi(arguments[n_arguments - 1]);
    clock_t start = clock();
    for (i = 0; i < n; i++)
        model_predict({address}rows[i % {n}], outputs);
    printf("[%.9g, [", (double)(clock() - start) / CLOCKS_PER_SEC);
    for (i = 0; i < {n}; i++) {{
        model_predict({address}rows[i], outputs);
        printf("%s%.9g", i ? ", " : "", outputs[MODEL_OUTPUTS - 1]);
    }}
    printf("]]");
    return 0;
}}
"""

_JS_TIMER = """\
import {{ readFileSync }} from "node:fs";
import {{ outputs }} from "./model.mjs";
const rows = JSON.parse(readFileSync(new URL("rows.json", import.meta.url), "utf-8"));
const n = Number(process.argv[2]);
for (let i = 0; i < Math.min(n, 2000); i++) outputs(rows[i % rows.length]);
const start = process.hrtime.bigint();
for (let i = 0; i < n; i++) outputs(rows[i % rows.length]);
const seconds = Number(process.hrtime.bigint() - start) / 1e9;
console.log(JSON.stringify([seconds, rows.map((row) => outputs(row).at(-1))]));
"""


def xnor_model() -> tuple[Model, np.ndarray]:
    """Return a very small model, and rows for it."""
    target = Target("binary", (0, 1))
    rows = np.random.default_rng(0).integers(0, 2, (N_ROWS, 2)).astype(np.float32)
    return Model(build_network(2, target, hidden=(8,), activation="tanh", seed=0), target), rows


def cells_of(model: Model, rows: Any) -> list[list[Any]]:
    """Return the rows as lists of values; None is a missing value."""
    if model.table is None:
        return rows.tolist()
    columns = [plan.name for plan in model.table.columns if plan.output_names]
    return rows[columns].astype(object).where(rows[columns].notna(), None).to_numpy().tolist()


def by_calls(calls: list[Callable[[], Any]]) -> Measure:
    def measure(n: int) -> tuple[float, list[float]]:
        start = time.perf_counter()
        for i in range(n):
            calls[i % N_ROWS]()
        seconds = time.perf_counter() - start
        return seconds, [float(np.asarray(call()).reshape(-1)[-1]) for call in calls]

    return measure


def by_program(*command: str | Path) -> Measure:
    def measure(n: int) -> tuple[float, list[float]]:
        done = subprocess.run([*command, str(n)], capture_output=True, text=True, check=True)
        seconds, outputs = json.loads(done.stdout)
        return seconds, outputs

    return measure


def c_program(model: Model, rows: Any, folder: Path) -> Measure:
    def literal(cell: Any) -> str:
        return json.dumps(cell) if isinstance(cell, str) else "NAN" if cell is None else repr(float(cell))

    texts = [f"{{{', '.join(map(literal, row))}}}" for row in cells_of(model, rows)]
    is_table = model.table is not None
    source = _C_TIMER.format(
        row="model_row" if is_table else "double", width="" if is_table else "[MODEL_INPUTS]",
        address="&" if is_table else "", n=N_ROWS, rows=",\n".join(texts),
    )  # fmt: skip
    (folder / "timer.c").write_text(source)
    program = folder / "timer"
    subprocess.run(["cc", "-std=c99", "-O2", folder / "timer.c", "-o", program, "-lm"], check=True)
    return by_program(program)


def js_program(model: Model, rows: Any, folder: Path) -> Measure:
    (folder / "rows.json").write_text(json.dumps(cells_of(model, rows)))
    (folder / "timer.mjs").write_text(_JS_TIMER.format())
    return by_program("node", folder / "timer.mjs")


def onnx_session(model: Model, rows: Any, folder: Path) -> Measure:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    feeds = [onnx_inputs(model, rows[i : i + 1]) for i in range(N_ROWS)]
    return by_calls([lambda feed=feed: session.run(["probabilities"], feed)[0] for feed in feeds])


def torch_module(model: Model, rows: Any, folder: Path) -> Measure:
    import torch

    torch.set_num_threads(1)
    module = torch.export.load(folder / "model.pt2").module()
    tensors = [torch_inputs(model, rows[i : i + 1]) for i in range(N_ROWS)]
    return by_calls([lambda tensor=tensor: module(tensor)["probabilities"].numpy() for tensor in tensors])


def measure(model: Model, rows: pd.DataFrame | np.ndarray, n_rounds: int) -> dict[str, Any]:
    """Return the sizes and the seconds per call, after a comparison of the outputs."""
    rows = rows[:N_ROWS]
    sizes: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for to, suffix in FORMATS.items():
            sizes[to] = export_model(model, folder / f"model{suffix}", to).stat().st_size
        model.save(folder / "model.safetensors")
        sizes["chainrule"] = (folder / "model.safetensors").stat().st_size
        single = [rows[i : i + 1] for i in range(N_ROWS)]
        programs = {"chainrule": by_calls([lambda row=row: model.outputs(row) for row in single])}
        programs |= {"onnx": onnx_session(model, rows, folder), "torch": torch_module(model, rows, folder)}
        for to, command, make in (("c", "cc", c_program), ("js", "node", js_program)):
            if shutil.which(command):
                programs[to] = make(model, rows, folder)
        n_calls = {name: compare(name, program, model.outputs(rows)[:, -1]) for name, program in programs.items()}
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        for _ in range(n_rounds):
            for name, program in programs.items():
                seconds[name].append(program(n_calls[name])[0] / n_calls[name])
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {"bytes": sizes, "seconds": seconds, "medians": medians}


def compare(name: str, program: Measure, expected: np.ndarray) -> int:
    """Exit if the outputs differ from those of the model; return a number of calls that is large enough to be timed."""
    n = 1
    while True:
        seconds, outputs = program(n)
        far = np.abs(np.array(outputs) - expected).max()
        if not far <= TOLERANCE:
            raise SystemExit(f"{name} differs from chainrule by {far:.1e}")
        if seconds >= MIN_SECONDS:
            return n
        n *= 4


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return sizes and medians as a Markdown table."""
    lines = [
        "| program | " + " | ".join(f"{name}: kB | us per row" for name in found) + " |",
        "|---|" + "---:|---:|" * len(found),
    ]
    names = {"onnx": "onnxruntime", "torch": "torch.export", "c": "C, -O2", "js": "JavaScript, Node.js"}
    for program in next(iter(found.values()))["medians"]:
        cells = [f"{one['bytes'][program] / 1e3:,.1f} | {one['medians'][program] * 1e6:,.2f}" for one in found.values()]
        lines.append(f"| {names.get(program, program)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def page(result: dict[str, Any]) -> str:
    """Return a result as Markdown."""
    models = result["models"]
    rounds = len(next(iter(next(iter(models.values()))["seconds"].values())))
    return (
        f"# Prediction of one row in every format\n\nWritten by `python benchmarks/export_latency.py` on "
        f"{result['machine']['cpu']}, one core, medians of {rounds} rounds. Python calls the first three.\n\n"
        f"{table(models)}\n"
    )


def main() -> None:
    arguments = runner.read_arguments(__doc__)
    machine.hold_to_one_core()
    where = machine.describe()
    makers = {"XNOR": xnor_model, "table": table_model, "images": image_model}
    found = {name: measure(*make(), arguments.rounds) for name, make in makers.items()}
    print(table(found))
    arguments.out.mkdir(parents=True, exist_ok=True)
    result = {"machine": where, "models": found}
    (arguments.out / "export.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "export.md").write_text(page(result))


if __name__ == "__main__":
    main()
