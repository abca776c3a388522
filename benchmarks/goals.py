"""Compare the results on one thread with the goals of the project, in results/goals.md.

Every goal is a ratio within one run. "times as fast" is the time of the peer divided by that of chainrule. If a program
has several forms, the fastest counts.

    python benchmarks/goals.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import runner
from runner import FLOOR, OURS, Result

Value = Callable[[dict[str, Result]], float]  # takes a summary: the medians and ratios of each program


class Goal(NamedTuple):
    """A goal: the value of a result must be at least ``bound``, or at most."""

    row: str
    result: str
    words: str
    value: Value
    bound: float
    at_most: bool = False


def faster_than(*peers: str) -> Value:
    """Return the time of the fastest of these peers divided by that of chainrule."""
    return lambda summary: min(summary[name]["to_ours"] for name in peers if name in summary)


def faster_than_all(summary: dict[str, Result]) -> float:
    """Return the time of the fastest of all peers divided by that of chainrule."""
    return min(row["to_ours"] for name, row in summary.items() if name not in (OURS, FLOOR))


def above_floor(summary: dict[str, Result]) -> float:
    """Return the time of chainrule divided by that of the matrix products."""
    return float(summary[OURS]["to_floor"])


def predicts(n_rows: str, *peers: str) -> Value:
    """Return the time of the fastest of these peers (or of all) for a prediction divided by that of chainrule."""
    return lambda summary: min(
        row["to_ours"][n_rows]
        for name, row in summary.items()
        if name in peers or (not peers and name not in (OURS, FLOOR))
    )


def memory_share(summary: dict[str, Result]) -> float:
    """Return the peak memory of PyTorch with all rows dense divided by that of chainrule."""
    return float(summary["torch-dense"]["peak_memory"] / summary[OURS]["peak_memory"])


def import_to_numpy(summary: dict[str, Result]) -> float:
    """Return the time of the import divided by that of importing NumPy."""
    return float(summary["import chainrule"]["to_numpy"])


def help_seconds(summary: dict[str, Result]) -> float:
    """Return the time of ``chainrule --help``."""
    return float(summary["chainrule --help"]["seconds"])


def defaults_to_one(summary: dict[str, Result]) -> float:
    """Return the time of chainrule with default threads divided by that with one, with a busy process on every core."""
    return float(summary[OURS]["defaults_to_one"])


def share_of_hand_written(summary: dict[str, Result]) -> float:
    """Return the speed of chainrule relative to hand-written PyTorch, in two processes: the lower of both networks."""
    return min(float(network["to_hand"]["2"]) for network in summary.values())


TORCH = ("torch", "torch-compiled")
DENSE_TORCH = ("torch-dense", "torch-dense-batches")  # all rows are made dense at once, or batch by batch
GOALS = (
    Goal("S1", "mnist_step_64", "MNIST step, batch 64: time / floor", above_floor, 1.22, at_most=True),
    Goal("S1", "mnist_step_64", "times as fast as PyTorch", faster_than(*TORCH), 1.9),
    Goal("S1", "mnist_step_64", "times as fast as a jitted JAX step", faster_than("jax-step"), 1.4),
    Goal("S1", "mnist_step_64", "times as fast as JAX's epoch in one scan", faster_than("jax-scan"), 1.0),
    Goal("S2", "mnist_step_512", "MNIST step, batch 512: time / floor", above_floor, 1.12, at_most=True),
    Goal("S2", "mnist_step_512", "times as fast as PyTorch", faster_than(*TORCH), 1.25),
    Goal("S2", "mnist_step_512", "times as fast as JAX's scan", faster_than("jax-scan"), 1.0),
    Goal("S3", "table_step", "table network: times as fast as PyTorch", faster_than(*TORCH), 15),
    Goal("S3", "table_step", "times as fast as a jitted JAX step", faster_than("jax-step"), 7),
    Goal("S3", "table_step", "times as fast as JAX's scan", faster_than("jax-scan"), 1.0),
    Goal("S4", "tiny_step", "XNOR: times as fast as PyTorch", faster_than(*TORCH), 60),
    Goal("S4", "tiny_step", "times as fast as JAX's scan", faster_than("jax-scan"), 1.0),
    Goal("S5", "imdb_epoch", "IMDB epoch: times as fast as dense PyTorch", faster_than(*DENSE_TORCH), 12),
    Goal("S5", "imdb_epoch", "memory of PyTorch with all rows dense / memory of chainrule", memory_share, 15),
    Goal("S5", "imdb_epoch", "times as fast as scikit-learn on CSR", faster_than("sklearn"), 2),
    Goal("S6", "wide_step", "wide step with dropout and batch norm: multiple of the floor", above_floor, 1.12, True),
    Goal("S6", "wide_step", "times as fast as PyTorch", faster_than(*TORCH), 1.0),
    Goal("S7", "predict", "one row: times as fast as onnxruntime", predicts("1", "onnxruntime"), 1.0),
    Goal("S7", "predict", "10,000 rows: times as fast as the best", predicts("10000"), 1.0),
    Goal("S8", "mnist_script", "ten epochs: times as fast as the documents' script", faster_than("torch-script"), 10),
    Goal("S8", "mnist_race", "seconds to 98 %: times as fast as the best", faster_than_all, 1.0),
    Goal("S9", "import_time", "time of `import chainrule` / time of `import numpy`", import_to_numpy, 1.3, True),
    Goal("S9", "import_time", "`chainrule --help`, seconds", help_seconds, 0.4, True),
    Goal("S11", "busy_machine", "busy machine: time with default threads / with one", defaults_to_one, 1.05, True),
    Goal("S12", "two_processes", "two processes: speed / hand-written PyTorch", share_of_hand_written, 0.95),
)  # fmt: skip


def table(folder: Path) -> str:
    """Return the goals as a Markdown table."""
    lines = ["| | quantity | goal | result | |", "|---|---|---:|---:|---|"]
    machines: dict[str, None] = {}  # in the order of the goals
    for goal in GOALS:
        # "1" precedes "default"; the names of some results on one thread do not contain the number of threads.
        found = sorted([*folder.glob(f"{goal.result}-threads-*.json"), *folder.glob(f"{goal.result}.json")])
        if not found:
            continue
        result = json.loads(found[0].read_text())
        machines[result["machine"]["cpu"]] = None
        value = goal.value(result["summary"])
        reached = value <= goal.bound if goal.at_most else value >= goal.bound
        bound = f"at {'most' if goal.at_most else 'least'} {goal.bound:g}"
        verdict = "reached" if reached else "missed"
        lines.append(f"| {goal.row} | {goal.words} | {bound} | {value:.3g} | {verdict} |")
    return f"One thread, on {' and '.join(machines)}.\n\n" + "\n".join(lines)


def write(folder: Path) -> Path:
    """Write the table to the folder of the results."""
    page = folder / "goals.md"
    page.write_text(table(folder) + "\n")
    return page


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else runner.HERE / "results"
    print(f"Wrote {write(target)}")
