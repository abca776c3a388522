"""S11: training on a busy machine, where another process computes on every core.

784-128-64-10 with Adam, batch 512, in four conditions: one thread and the default threads of each program, on an idle
and on a busy machine. On the busy machine, the default threads should not be slower than one thread. No process is
restricted to a core. The competing processes multiply matrices with one thread each, at the same priority.

    python benchmarks/busy_machine.py [--rounds 5] [--peers torch,jax-step]
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import datasets
import machine
import runner
from runner import FLOOR, OURS, Result
from workload import Workload

TASK = Workload(
    name="busy_machine",
    title="S11: a busy machine: 784-128-64-10, Adam, batch 512",
    widths=(784, 128, 64, 10),
    batch=512,
    loss="cross_entropy",
    n_rows=50 * 512,
)
PEERS = (FLOOR, "torch", "jax-step", "jax-scan", "sklearn")
CONDITIONS = ("1 quiet", "default quiet", "1 busy", "default busy")
COMPETITOR = """
import numpy as np
a = np.random.default_rng(0).random((512, 512), np.float32)
while True:
    a @ a
"""


@contextlib.contextmanager
def competitors(number: int) -> Iterator[None]:
    """Run ``number`` processes that compute."""
    started = [
        subprocess.Popen([sys.executable, "-c", COMPETITOR], env=machine.environment("1")) for _ in range(number)
    ]
    try:
        time.sleep(1)
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


def table(result: Result) -> str:
    """Return the four conditions as a Markdown table."""
    lines = [
        "| program | 1 thread, idle (us) | default threads, idle | 1 thread, busy | default threads, busy "
        "| busy: default threads / 1 thread | busy, default threads: / chainrule |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in sorted(result["summary"].items(), key=lambda item: item[1]["default busy"]):
        cells = [f"{row[key] * 1e6:,.0f}" for key in CONDITIONS]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['defaults_to_one']:.2f} | {row['to_ours']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    arguments = runner.read_arguments(__doc__)
    wanted = arguments.peers.split(",") if arguments.peers else PEERS
    peers = [peer for peer in PEERS if peer in wanted]
    rows = datasets.mnist()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(f"{TASK.title}; {cores} competing processes; data: {rows.origin}", flush=True)
    conditions: dict[str, Result] = {}
    for busy in (0, cores):
        for threads in ("1", "default"):
            with competitors(busy):
                key = f"{threads} {'busy' if busy else 'quiet'}"
                conditions[key] = runner.compare_steps(TASK, rows, peers, threads, arguments.rounds, one_core=False)
                print(f"  {key}: done", flush=True)
    summary: dict[str, Result] = {}
    for name in (OURS, *peers):
        row = {
            key: result["summary"][name]["seconds_a_step"]
            for key, result in conditions.items()
            if name in result["summary"]
        }
        if len(row) == len(conditions):
            summary[name] = {**row, "defaults_to_one": row["default busy"] / row["1 busy"]}
    for row in summary.values():
        row["to_ours"] = row["default busy"] / summary[OURS]["default busy"]
    first = conditions["1 quiet"]
    result = {"kind": "busy", "workload": first["workload"], "threads": "both", "machine": first["machine"]}
    result |= {"competitors": cores, "conditions": conditions, "programs": first["programs"], "summary": summary}
    print(table(result))
    runner.save(result, TASK.name, arguments.out)


if __name__ == "__main__":
    main()
