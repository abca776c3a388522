"""S8: ten epochs of the MNIST script of the course, and the training time of each program to 98 % test accuracy.

First, the script of the course (a DataLoader with two workers, batches of 64 in random order, Adam at 0.001) is
compared with ``NeuralNetwork.fit`` with the same settings, epoch by epoch in alternation. torchvision is not needed:
its data set is replaced by a faster one that returns the same (image tensor, label) for each index.

Then all programs train the same network from the same weights until the test accuracy is 98 %, epoch by epoch in
alternation. The time is that of training with compilation, without measuring the accuracy. The test set only
determines the end of the measurement. All programs use the same seeds.

    python benchmarks/mnist_script.py [--threads 1|default|both] [--seeds 5] [--epochs 10]
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import datasets
import machine
import runner
from runner import OURS, Result
from workload import Workload, describe

GOAL = 0.98
MAX_EPOCHS = 40
SCRIPT = Workload(
    name="mnist_script",
    title="S8: the MNIST script: 784-128-64-10, Adam 0.001, batch 64",
    widths=(784, 128, 64, 10),
    batch=64,
    loss="cross_entropy",
    n_rows=60_000,
)
RACE = dataclasses.replace(SCRIPT, name="mnist_race", title=f"S8: seconds to {GOAL:.0%}", n_rows=60_000 // 64 * 64)
RACERS = tuple(name for name in runner.STEP_PEERS if name != runner.FLOOR)


def race(
    workload: Workload,
    rows: datasets.Rows,
    peers: Sequence[str],
    threads: str,
    *,
    n_epochs: int,
    goal: float,
    pin: bool,
) -> Result:
    """Train all programs in turns, one epoch each, until ``n_epochs`` or the goal; return the results of all epochs."""
    place = machine.describe()
    with tempfile.TemporaryDirectory() as folder:
        written = workload.write(Path(folder), rows)
        with runner.processes([OURS, *peers], Path(folder), threads, pin) as (running, facts):
            runner.check_losses(running, facts)
            for name in list(running):
                runner.attempt(running, facts, name, lambda p, fact: fact.update(prepare=p.ask("prepare"), epochs=[]))
            for number in range(n_epochs):
                for name in list(running):
                    if facts[name]["epochs"] and facts[name]["epochs"][-1]["accuracy"] >= goal:
                        continue
                    runner.attempt(
                        running,
                        facts,
                        name,
                        lambda p, fact, number=number: fact["epochs"].append(
                            p.ask("round", number=number) | p.ask("test_accuracy")
                        ),
                    )
            for name in list(running):
                runner.attempt(running, facts, name, lambda p, fact: fact.update(memory=p.ask("memory")))
    result = {"workload": describe(written), "threads": threads, "one_core": pin, "machine": place, "programs": facts}
    summary = {
        name: {
            "seconds": sum(epoch["seconds"] for epoch in fact["epochs"]),
            "n_epochs": len(fact["epochs"]),
            "accuracy": fact["epochs"][-1]["accuracy"],
            "peak_memory": fact["memory"]["peak"],
        }
        for name, fact in facts.items()
        if "memory" in fact
    }
    return {**result, "summary": summary}


def run_script(arguments: argparse.Namespace, rows: datasets.Rows, threads: str) -> None:
    """Compare the script of the course with chainrule."""
    print(f"{SCRIPT.title}; {arguments.epochs} epochs; threads: {threads}; data: {rows.origin}", flush=True)
    # Several cores, because the two workers of the DataLoader are part of the script.
    result = race(SCRIPT, rows, ("torch-script",), threads, n_epochs=arguments.epochs, goal=2, pin=False)
    ours = result["summary"][OURS]["seconds"]
    for row in result["summary"].values():
        row["to_ours"] = row["seconds"] / ours
    print(table(result))
    runner.save({"kind": "script", **result}, SCRIPT.name, arguments.out)


def run_race(arguments: argparse.Namespace, rows: datasets.Rows, threads: str) -> None:
    """Train all programs to the goal, for several seeds."""
    print(f"{RACE.title} test accuracy; {arguments.seeds} seeds; threads: {threads}; data: {rows.origin}", flush=True)
    wanted = [p for p in RACERS if not arguments.peers or p in arguments.peers.split(",")]
    seeds = [
        race(
            dataclasses.replace(RACE, seed=seed),
            rows,
            wanted,
            threads,
            n_epochs=arguments.max_epochs,
            goal=GOAL,
            pin=threads == "1",
        )
        for seed in range(arguments.seeds)
    ]
    result = {"kind": "race", "goal": GOAL, "seeds": seeds, "programs": seeds[0]["programs"], "summary": {}}
    result |= {key: seeds[0][key] for key in ("workload", "threads", "one_core", "machine")}
    for name in (OURS, *wanted):
        rows_of = [seed["summary"][name] for seed in seeds if name in seed["summary"]]
        if rows_of:
            medians = {key: statistics.median(row[key] for row in rows_of) for key in rows_of[0]}
            medians["reached"] = sum(row["accuracy"] >= GOAL for row in rows_of)
            result["summary"][name] = medians
    for row in result["summary"].values():
        row["to_ours"] = row["seconds"] / result["summary"][OURS]["seconds"]
    print(table(result))
    runner.save(result, RACE.name, arguments.out)


def table(result: Result) -> str:
    """Return the summary as a Markdown table, fastest first."""
    reached = " seeds that reached the goal |" if "goal" in result else ""
    lines = [
        f"| program | seconds | / chainrule | epochs | test accuracy | peak memory (MB) |{reached}",
        "|---|---:|---:|---:|---:|---:|" + ("---:|" if reached else ""),
    ]
    for name, row in sorted(result["summary"].items(), key=lambda item: item[1]["seconds"]):
        last = f" {row['reached']} of {len(result['seeds'])} |" if reached else ""
        lines.append(
            f"| {name} | {row['seconds']:.2f} | {row['to_ours']:.2f} | {row['n_epochs']:g} | {row['accuracy']:.4f} "
            f"| {row['peak_memory'] / 2**20:,.0f} |{last}"
        )
    return "\n".join(lines)


def main() -> None:
    arguments = runner.read_arguments(
        __doc__,
        seeds={"type": int, "default": 5, "help": "number of seeds of the comparison at 98 %%"},
        epochs={"type": int, "default": 10, "help": "epochs of the script"},
        max_epochs={"type": int, "default": MAX_EPOCHS, "help": "largest number of epochs of the comparison at 98 %%"},
    )
    rows = datasets.mnist()
    for threads in arguments.thread_settings:
        run_script(arguments, rows, threads)
        run_race(arguments, rows, threads)


if __name__ == "__main__":
    main()
