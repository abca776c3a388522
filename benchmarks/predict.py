"""S7: ``predict`` of one row and of 10,000 rows by 784-128-64-10, from NumPy arrays to probabilities.

All programs have the same weights, and their outputs are compared first. The floor is the products of the forward pass.

    python benchmarks/predict.py [--threads 1|default|both] [--rounds 5] [--peers torch,onnxruntime]
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import datasets
import machine
import numpy as np
import runner
from runner import FLOOR, OURS, Result
from workload import Workload, describe

TASK = Workload(
    name="predict",
    title="S7: predict by 784-128-64-10",
    widths=(784, 128, 64, 10),
    batch=64,
    loss="cross_entropy",
    n_rows=6_400,
)
PEERS = (FLOOR, "torch", "jax-step", "sklearn", "onnxruntime")
CALLS = {1: 2000, 10_000: 5}  # rows per call -> calls per round
TOLERANCE = 1e-5  # of every probability of a row


def measure(peers: Sequence[str], threads: str, n_rounds: int, rows: datasets.Rows) -> Result:
    """Time the predictions of all programs in alternation."""
    place, pinned = machine.describe(), threads == "1"
    with tempfile.TemporaryDirectory() as folder:
        written = TASK.write(Path(folder), rows)
        with runner.processes([OURS, *peers], Path(folder), threads, pinned) as (running, facts):
            for name in list(running):
                runner.attempt(running, facts, name, lambda p, fact: fact.update(prepare=p.ask("prepare"), times={}))
            for n_rows, calls in CALLS.items():
                for name in list(running):
                    runner.attempt(
                        running,
                        facts,
                        name,
                        lambda p, fact, n=n_rows: fact.update(outputs=p.ask("predict", rows=n, calls=2)["outputs"]),
                    )
                for name in [name for name in running if name != FLOOR]:
                    far = np.abs(np.subtract(facts[name]["outputs"], facts[OURS]["outputs"])).max()
                    if not far <= TOLERANCE:

                        def refuse(process: runner.PeerProcess, fact: Result, far: float = far) -> None:
                            raise runner.PeerError(f"its probabilities differ from those of chainrule by {far:.1e}")

                        runner.attempt(running, facts, name, refuse)
                for _ in range(n_rounds):
                    for name in [name for name in running if name != OURS]:
                        for timed in (OURS, name):
                            seconds = running[timed].ask("predict", rows=n_rows, calls=calls)["seconds"] / calls
                            facts[timed]["times"].setdefault(str(n_rows), []).append(seconds)
            for name in list(running):
                runner.attempt(running, facts, name, lambda p, fact: fact.update(memory=p.ask("memory")))
    summary = {}
    for name, fact in facts.items():
        if fact.get("times"):
            medians = {n: statistics.median(times) for n, times in fact["times"].items()}
            summary[name] = {"seconds": medians, "to_ours": {}, "peak_memory": fact["memory"]["peak"]}
    for row in summary.values():
        row["to_ours"] = {n: seconds / summary[OURS]["seconds"][n] for n, seconds in row["seconds"].items()}
    result = {"kind": "predict", "workload": describe(written), "threads": threads, "one_core": pinned}
    return {**result, "machine": place, "programs": facts, "summary": summary}


def table(result: Result) -> str:
    """Return the summary as a Markdown table, sorted by the time for one row."""
    lines = ["| program | one row (us) | / chainrule | 10,000 rows (ms) | / chainrule |", "|---|---:|---:|---:|---:|"]
    for name, row in sorted(result["summary"].items(), key=lambda item: item[1]["seconds"]["1"]):
        one, many = row["seconds"]["1"] * 1e6, row["seconds"]["10000"] * 1e3
        ratios = row["to_ours"]
        lines.append(f"| {name} | {one:,.1f} | {ratios['1']:.2f} | {many:,.2f} | {ratios['10000']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    arguments = runner.read_arguments(__doc__)
    wanted = arguments.peers.split(",") if arguments.peers else PEERS
    rows = datasets.mnist()
    for threads in arguments.thread_settings:
        print(f"{TASK.title}; threads: {threads}; data: {rows.origin}", flush=True)
        result = measure([p for p in PEERS if p in wanted], threads, arguments.rounds, rows)
        print(table(result))
        runner.save(result, TASK.name, arguments.out)


if __name__ == "__main__":
    main()
