"""Measure how training scales: time and memory as functions of the rows, the width, the depth and the batch size.

Every point is measured in its own process, on one thread and one core. The process loads the kernels, generates the
data, builds the network, fits once without measurement, and then repeatedly fits one epoch, with Adam in float32. The
time of a step is compared with that of its matrix products (the floor of the other benchmarks), and with that of one
pass of the optimizer over the parameters at the speed of the memory.

    python benchmarks/scale.py [--curves rows,width,depth,batch] [--rounds 7]

It takes about three minutes, and writes scale.json, scale.md and scale.svg to results/.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import machine
import numpy as np
from peers.floor import Floor
from runner import HERE, Result
from workload import Workload

MIN_STEPS, MAX_STEPS, FLOP_PER_FIT = 4, 500, 10**10  # number of steps of a fit, and its approximate operations
ARRAYS, MOVES = 4, 7  # Adam reads weights, gradients and two averages, and writes all but the gradients
BYTES, MB = 4, 2**20
ROWS, POWERS = (10_000, 30_000, 100_000, 300_000, 1_000_000), [2**power for power in range(13)]


def make_task(widths: tuple[int, ...], batch: int, n_rows: int = 0) -> Workload:
    """Return a task; without ``n_rows``, the number of full batches is large enough to time a fit."""
    loss = "mean_squared_error" if widths[-1] == 1 else "cross_entropy"
    task = Workload(name="scale", title="", widths=widths, batch=batch, loss=loss)
    n_steps = min(MAX_STEPS, max(MIN_STEPS, FLOP_PER_FIT // task.flops_a_step))
    return dataclasses.replace(task, n_rows=n_rows or n_steps * batch)


class Curve(NamedTuple):
    """Tasks that differ in one quantity: the value of the quantity, the name of the line in the plot, and the task."""

    title: str
    axis: str
    tasks: list[tuple[int, str, Workload]]


CURVES = {
    "rows": Curve(
        "Rows in memory (64-128-64-1, batch 256)", "rows", [(n, "", make_task((64, 128, 64, 1), 256, n)) for n in ROWS]
    ),
    "width": Curve(
        "Width (64-w-w-1, batch 128)",
        "units per layer, w",
        [(n, "", make_task((64, n, n, 1), 128)) for n in POWERS[4:]],
    ),
    "depth": Curve(
        "Depth (hidden layers of 64 or of 512 units, batch 128)",
        "hidden layers",
        [(n, f"{w} units", make_task((64, *[w] * n, 1), 128)) for w in (64, 512) for n in POWERS[:6]],
    ),
    "batch": Curve(
        "Batch size (784-128-64-10)", "rows per batch", [(n, "", make_task((784, 128, 64, 10), n)) for n in POWERS]
    ),
}


def prepare(task: Workload) -> tuple[Any, Callable[[], Any]]:
    """Return the dataset of a task, and a function that builds its network."""
    from chainrule import Dataset, build_network

    rng = np.random.default_rng(0)
    X = rng.standard_normal((task.n_rows, task.widths[0]), np.float32)
    y = np.arange(task.n_rows) % task.n_classes if task.n_classes else rng.standard_normal(task.n_rows, np.float32)
    data: Any = Dataset(X, y, task=None if task.n_classes else "regression")
    settings: Any = {"hidden": task.widths[1:-1], "batch_size": task.batch, "epochs": 1, "metric": None, "seed": 0}
    return data, lambda: build_network(task.widths[0], data.target, **settings)


def measure(task: Workload, n_rounds: int) -> Result:
    """Return the rounds of a task and of its products, and the peak memory after each stage."""
    tiny, build_tiny = prepare(make_task((2, 2, task.widths[-1]), 16, n_rows=64))
    build_tiny().fit(tiny)
    memory = {"kernels": machine.peak_memory()}
    data, build = prepare(task)
    memory["data"] = machine.peak_memory()
    network = build()
    memory["network"] = machine.peak_memory()
    network.fit(data)
    rounds = []
    for _ in range(n_rounds):
        start, cpu = time.perf_counter(), time.process_time()
        network.fit(data)
        seconds = time.perf_counter() - start
        rounds.append({"fit": seconds, "cpu": time.process_time() - cpu, "steps": network.history.last("seconds")})
    memory["training"] = machine.peak_memory()  # before the arrays of the products are allocated
    floor = Floor()
    floor.prepare(dataclasses.replace(task, n_rows=min(task.n_rows, MAX_STEPS * task.batch)))
    floor.epoch(None)
    products = [t / floor.n_steps for t in timeit.repeat(lambda: floor.epoch(None), number=1, repeat=n_rounds)]
    return {"rounds": rounds, "floor_rounds": products, "memory": memory}


def measure_limits() -> Result:
    """Return the best FLOP/s of a product, and the best bytes/s of a copy and of ``a += b`` on arrays of each size."""
    speeds = []
    for size in (2**19, 2**22, 2**25, 2**28):  # bytes of an array
        a, b = (np.full(size // BYTES, 1, np.float32) for _ in range(2))
        repeat = max(10, 2**28 // size)
        copy = min(timeit.repeat(partial(np.copyto, a, b), number=1, repeat=repeat))
        add = min(timeit.repeat(partial(np.add, a, b, out=a), number=1, repeat=repeat))
        speeds.append({"bytes": 2 * size, "copy": 2 * size / copy, "add": 3 * size / add})
    return {"sgemm": Floor.peak(repeats=20), "memory": speeds}


def ask(task: Workload | None, n_rounds: int) -> Any:
    """Measure a task, or without one the limits of the machine, in its own process."""
    point = json.dumps(task and dataclasses.asdict(task))
    command = [sys.executable, __file__, "--point", point, "--rounds", str(n_rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=machine.environment("1"))
    return json.loads(done.stdout)


def summarize(task: Workload, seen: Result, limits: Result) -> Result:
    """Return the measurements of a point and their medians in seconds and bytes; a step is that of a full batch."""
    n_parameters = sum((n_in + 1) * n_out for n_in, n_out in pairwise(task.widths))
    speed = min(limits["memory"], key=lambda s: abs(math.log(s["bytes"] / (ARRAYS * BYTES * n_parameters))))
    middle = {key: statistics.median(r[key] for r in seen["rounds"]) for key in ("fit", "steps", "cpu")}
    step = middle["steps"] * task.batch / task.n_rows
    parts = {"products": statistics.median(seen["floor_rounds"])}
    parts["optimizer"] = MOVES * BYTES * n_parameters / max(speed["copy"], speed["add"])
    parts["rest"] = step - sum(parts.values())
    return {
        "parameters": n_parameters,
        "data": task.n_rows * (task.widths[0] + 1) * BYTES,
        "epoch": middle["steps"],
        "step": step,
        "row": step / task.batch,
        **parts,
        "largest": max(parts, key=lambda name: parts[name]),
        "flops": task.flops_a_step / step,
        "around": middle["fit"] - middle["steps"],
        "cores": middle["cpu"] / middle["fit"],
        "peak": seen["memory"]["training"],
        "added": seen["memory"]["training"] - seen["memory"]["data"],
        **seen,
    }


def short(value: float) -> str:
    """Return a number with three digits, or all digits before the decimal point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(heads: str, rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, " | ".join("---:" for _ in heads.split("|")), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def tables(axis: str, points: list[Result], limits: Result) -> list[str]:
    """Return the times and the memory of a curve."""
    times, memory = list[list[str]](), list[list[str]]()
    for p in points:
        label = f"{p['x']:,}" + (f" of {p['series']}" if p["series"] else "")
        us = [short(p[key] * 1e6) for key in ("step", "row", "products", "optimizer", "rest")]
        speed = [f"{p['step'] / p['products']:.2f}", short(p["flops"] / 1e9), f"{p['flops'] / limits['sgemm']:.1%}"]
        times.append([label, *us, p["largest"], *speed, short(p["around"] * 1e3)])
        peaks = [short(p["memory"][stage] / MB) for stage in ("kernels", "data", "network", "training")]
        memory.append([label, f"{p['parameters']:,}", short(p["data"] / MB), *peaks, short(p["added"] / MB)])
    heads = "time per step (us) | per row (us) | products (us) | optimizer (us) | rest (us) | largest part"
    heads += " | step / products | GFLOP/s | of the peak | fit without its steps (ms)"
    stages = "after loading kernels | after making data | after building the network | after training"
    stages += " | of network and training"
    words = "Memory in MB. The columns 'after ...' contain the peak memory of the process until then."
    return [table(f"{axis} | {heads}", times), words, table(f"{axis} | parameters | data | {stages}", memory)]


def fact(name: str, points: list[Result], limits: Result) -> str:
    """Return a summary of a curve in one sentence."""
    a, z = points[0], points[-1]
    if name == "rows":
        power = math.log(z["epoch"] / a["epoch"]) / math.log(z["x"] / a["x"])
        growth = (z["peak"] - a["peak"]) / (z["data"] - a["data"])
        return f"The time of an epoch grows as rows^{power:.2f}; each byte of data adds {growth:.2f} bytes to the peak."
    if name == "width":
        shares = [f"{p['products'] / p['step']:.0%} of a step with {p['x']:,} units" for p in (a, z)]
        speed, memory = z["flops"] / limits["sgemm"], z["added"] / BYTES / z["parameters"]
        text = f"The products take {shares[0]} and {shares[1]}. With {z['x']:,} units, training reaches {speed:.0%} of "
        return text + f"the peak of the machine, and needs {memory:.1f} numbers of memory per parameter."
    if name == "depth":
        costs = []
        for series in dict.fromkeys(point["series"] for point in points):
            *_, b, c = (point for point in points if point["series"] == series)
            step, products = (short((c[key] - b[key]) / (c["x"] - b["x"]) * 1e6) for key in ("step", "products"))
            costs.append(f"{step} us per step with {series}, of which the products take {products} us")
        return f"An additional hidden layer takes {', and '.join(costs)}."
    least = min(point["row"] for point in points)
    cheap = [point["x"] for point in points if point["row"] <= 1.25 * least]
    text = f"A step of the smallest batch takes {short(a['step'] * 1e6)} us. The lowest time per row is "
    text += f"{short(least * 1e6)} us; batches of {cheap[0]:,} to {cheap[-1]:,} rows need at most a quarter more."
    return text


def draw(curves: dict[str, list[Result]], path: Path) -> None:
    """Draw one panel per curve, with the time above and the memory below."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams |= {"svg.hashsalt": "chainrule", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    times = {"step": ("training", "#c8441b", "o"), "products": ("matrix products", "#2f6fab", "s")}
    times["optimizer"] = ("optimizer at the speed of the memory", "#8a8a8a", "")
    memory = {"peak": ("peak of the process", "#2c7d5b", "o")}
    memory["added"] = ("of that, network and training", "#7b5ea7", "s")
    n_rows = -(-len(curves) // 2)
    figure = Figure(figsize=(11, 5 * n_rows), layout="constrained")
    panels = figure.subfigures(n_rows, 2, squeeze=False, hspace=0.05).flat
    for (name, points), panel in zip(curves.items(), panels, strict=False):
        above, below = panel.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        for style, series in zip(("-", "--"), dict.fromkeys(point["series"] for point in points), strict=False):
            line = [point for point in points if point["series"] == series]
            x = [point["x"] for point in line]
            factor = {"rows": [p["epoch"] / p["step"] for p in line], "batch": [1e6 / n for n in x]}.get(name, 1e6)
            for axis, looks, unit in ((above, times, factor), (below, memory, 1 / MB)):
                for key, (label, colour, marker) in looks.items():
                    y = np.multiply([p[key] for p in line], unit)
                    axis.plot(x, y, style, color=colour, marker=marker, markersize=4, label=label)
                    if key in ("step", "added"):
                        axis.annotate(series, (x[-1], y[-1]), (8, 0), textcoords="offset points", va="center")
        panel.suptitle(CURVES[name].title)
        ticks = sorted({point["x"] for point in points})[:: 2 if name == "batch" else 1]
        above.set(xscale="log", yscale="log")
        above.set_ylabel({"rows": "s per epoch", "batch": "us per row"}.get(name, "us per step"))
        below.set(yscale="log", ylabel="MB", xlabel=CURVES[name].axis)
        below.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        below.minorticks_off()
        for axis in (above, below):
            axis.yaxis.set_major_formatter("{x:,g}")
            axis.grid(alpha=0.3)
    figure.legend(handles=[*above.lines[:3], *below.lines[:2]], loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, facecolor="white", metadata={"Date": None})


def page(result: Result) -> str:
    """Return a result as Markdown."""
    place, limits, curves = result["machine"], result["limits"], result["curves"]
    versions = ", ".join(f"{name} {place['versions'][name]}" for name in ("python", "chainrule", "numpy", "numba"))
    speeds = [[short(s["bytes"] / MB), short(s["copy"] / 1e9), short(s["add"] / 1e9)] for s in limits["memory"]]
    quiet = min(point["cores"] for points in curves.values() for point in points) >= 0.95
    parts = [
        "# Scaling of training",
        "Written by `python benchmarks/scale.py`; scale.json contains every round. Adam, float32, one thread, one "
        f"core, medians of {result['n_rounds']} fits of one epoch.",
        f"Machine: {place['cpu']} (model {place['cpu_model']}, {place['simd']}), {place['cores']} cores, "
        f"{place['system']}; {place['time']} UTC, load before {place['load_before']:.1f}. Versions: {versions}.",
        "" if quiet else "**The machine was not idle: some point got less than 95 % of a core. Do not quote this.**",
        "![Time and memory as functions of rows, width, depth and batch size](scale.svg)",
        "\n".join(f"- **{CURVES[name].title}.** {fact(name, points, limits)}" for name, points in curves.items()),
        "## Limits of the machine",
        f"The peak is the speed of a product of two matrices of 1024 x 1024: {short(limits['sgemm'] / 1e9)} GFLOP/s.",
        table("memory in use (MB) | copy (GB/s) | a += b (GB/s)", speeds),
    ]
    for name, points in curves.items():
        parts += [f"## {CURVES[name].title}", *tables(CURVES[name].axis, points, limits)]
    return "\n\n".join(part for part in parts if part) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", default=",".join(CURVES), help="the curves, separated by commas")
    parser.add_argument("--rounds", type=int, default=7, help="number of measurements; medians are reported")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
    parser.add_argument("--point", type=json.loads, default="false", help=argparse.SUPPRESS)  # see ask
    arguments = parser.parse_args()
    if arguments.point is not False:
        machine.hold_to_one_core()
        task = arguments.point and Workload(**{**arguments.point, "widths": tuple(arguments.point["widths"])})
        print(json.dumps(measure(task, arguments.rounds) if task else measure_limits()))
        return
    place, limits = machine.describe(), ask(None, arguments.rounds)
    curves: dict[str, list[Result]] = {name: [] for name in arguments.curves.split(",")}
    for name, points in curves.items():
        for x, series, task in CURVES[name].tasks:
            points.append({"x": x, "series": series, **summarize(task, ask(task, arguments.rounds), limits)})
            print(f"{name} {x:,} {series}: {short(points[-1]['step'] * 1e6)} us a step", flush=True)
    result = {"n_rounds": arguments.rounds, "machine": place, "limits": limits, "curves": curves}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "scale.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "scale.md").write_text(page(result))
    draw(curves, arguments.out / "scale.svg")
    print(f"written: {arguments.out / 'scale.md'}")


if __name__ == "__main__":
    main()
