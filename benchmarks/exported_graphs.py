"""What an exported graph costs: the size of the file, and the time of one row and of 1,000, beside the model itself.

Two models, with weights as they were drawn: a table of eight numbers and four categories (network 64-32-1), and images
of 784 pixels (network 128-64-10). chainrule is asked by ``Model.outputs`` with the rows as they come, a data frame or
an array; the graphs with arrays that lie ready, as a server holds them. One thread, taking turns; medians over rounds.

    python benchmarks/exported_graphs.py [--rounds 9]
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pandas as pd
import runner
from runner import Result

from chainrule import Model, TablePreprocessor, Target, build_network
from chainrule.export import export_model
from chainrule.export.onnx_graph import onnx_inputs
from chainrule.export.torch_program import torch_inputs

ROWS = (1, 1000)
CALLS = {1: 200, 1000: 5}  # rows a call -> calls a round
TOLERANCE = 1e-5  # of every probability


def table_model() -> tuple[Model, pd.DataFrame]:
    """A model of a table, and rows for it."""
    rng = np.random.default_rng(0)
    columns: dict[str, Any] = {f"number {i}": rng.normal(i, i + 1, 2000) for i in range(8)}
    columns |= {f"word {i}": rng.choice([f"value {k}" for k in range(3 * i + 2)], 2000) for i in range(4)}
    frame = pd.DataFrame(columns)
    frame.loc[::9, "number 3"] = np.nan
    table = TablePreprocessor().fit(frame)
    target = Target("binary", ("no", "yes"))
    return Model(build_network(len(table.feature_names), target, hidden=(64, 32), seed=0), target, table), frame


def image_model() -> tuple[Model, np.ndarray]:
    """A model of images as vectors, and rows for it."""
    target = Target("multiclass", tuple(range(10)))
    rows = np.random.default_rng(0).random((2000, 784), np.float32)
    return Model(build_network(784, target, hidden=(128, 64), seed=0), target), rows


def programs(model: Model, folder: Path) -> tuple[dict[str, Callable[[Any], Callable[[], Any]]], dict[str, int]]:
    """Return for each program how to prepare rows into a call, and the sizes of the files."""
    import onnxruntime
    import torch

    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    export_model(model, folder / "model.onnx", "onnx")
    export_model(model, folder / "model.pt2", "torch")
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    module = torch.export.load(folder / "model.pt2").module()

    def by_chainrule(rows: Any) -> Callable[[], Any]:
        return lambda: model.outputs(rows)

    def by_onnxruntime(rows: Any) -> Callable[[], Any]:
        feeds = onnx_inputs(model, rows)
        return lambda: session.run(["probabilities"], feeds)[0]

    def by_torch(rows: Any) -> Callable[[], Any]:
        tensor = torch_inputs(model, rows)

        def call() -> Any:
            return module(tensor)["probabilities"].numpy()

        return call

    sizes = {"onnxruntime": (folder / "model.onnx").stat().st_size, "torch": (folder / "model.pt2").stat().st_size}
    model.save(folder / "model.safetensors")
    sizes["chainrule"] = (folder / "model.safetensors").stat().st_size
    return {"chainrule": by_chainrule, "onnxruntime": by_onnxruntime, "torch": by_torch}, sizes


def measure(model: Model, rows: Any, n_rounds: int) -> Result:
    """Time all programs in turns, after comparing what they say."""
    with tempfile.TemporaryDirectory() as folder:
        prepare, sizes = programs(model, Path(folder))
        seconds: Result = {name: {} for name in prepare}
        for n_rows in ROWS:
            calls = {name: make(rows[:n_rows]) for name, make in prepare.items()}
            expected = model.outputs(rows[:n_rows])
            for name, call in calls.items():
                far = np.abs(call()[:, -expected.shape[1] :] - expected).max()
                if not far <= TOLERANCE:
                    raise SystemExit(f"{name}'s probabilities differ from ours by {far:.1e}")
            for _ in range(n_rounds):
                for name, call in calls.items():
                    start = time.perf_counter()
                    for _ in range(CALLS[n_rows]):
                        call()
                    passed = (time.perf_counter() - start) / CALLS[n_rows]
                    seconds[name].setdefault(str(n_rows), []).append(passed)
    medians = {name: {n: statistics.median(times) for n, times in found.items()} for name, found in seconds.items()}
    return {"bytes": sizes, "seconds": seconds, "medians": medians}


def table(measured: Result) -> str:
    """Return the medians as a Markdown table."""
    lines = ["| program | file (kB) | one row (us) | 1,000 rows (ms) |", "|---|---:|---:|---:|"]
    for name, medians in measured["medians"].items():
        size, one, many = measured["bytes"][name] / 1000, medians["1"] * 1e6, medians["1000"] * 1e3
        lines.append(f"| {name} | {size:,.1f} | {one:,.1f} | {many:,.2f} |")
    return "\n".join(lines)


def main() -> None:
    arguments = runner.read_arguments(__doc__)
    found = {}
    for name, make in (("table", table_model), ("images", image_model)):
        found[name] = measure(*make(), arguments.rounds)
        print(f"{name}\n{table(found[name])}\n", flush=True)
    result = {"kind": "exports", "threads": "1", "machine": machine.describe(), "models": found}
    runner.save(result, "exported_graphs", arguments.out)


if __name__ == "__main__":
    main()
