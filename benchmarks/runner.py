"""Compare programs on one workload: each runs in its own process, in alternation, after a check of the results.

The order in each round is chainrule, peer, chainrule, next peer, ... The ratio of a peer is the median over the rounds
of its time divided by the preceding time of chainrule, so that a drift of the machine's speed cancels.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import machine
from datasets import Rows
from workload import Workload, describe

HERE = Path(__file__).resolve().parent
OURS, FLOOR = "chainrule", "floor"
STEP_PEERS = (FLOOR, "torch", "torch-compiled", "jax-step", "jax-scan", "sklearn", "keras", "skorch")

Result = dict[str, Any]


class PeerError(Exception):
    """A program cannot be measured; the message gives the reason."""


class PeerProcess:
    """A program in its own process; ``variables`` are added to its environment."""

    def __init__(self, name: str, folder: Path, threads: str, one_core: bool, **variables: str) -> None:
        self.name = name
        command = [sys.executable, str(HERE / "worker.py"), name, str(folder)]
        self.process = subprocess.Popen(
            [*command, "--one-core"] if one_core else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if VERBOSE else subprocess.DEVNULL,
            text=True,
            env=machine.environment(threads) | variables,
        )

    def ask(self, do: str, **details: Any) -> Result:
        """Send a command and wait for the answer."""
        self.send(do, **details)
        return self.receive()

    def send(self, do: str, **details: Any) -> None:
        """Send a command."""
        assert self.process.stdin is not None
        self.last_command = do
        with contextlib.suppress(BrokenPipeError):  # `receive` raises an error, because the answer is missing
            self.process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            self.process.stdin.flush()

    def receive(self) -> Result:
        """Wait for the answer to the last command."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"its process ended during '{self.last_command}'")
        answer: Result = json.loads(line)
        if "error" in answer:
            raise PeerError(answer["error"])
        return answer

    def close(self) -> None:
        """End the process."""
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


VERBOSE = False


@contextlib.contextmanager
def processes(
    names: Sequence[str], folder: Path, threads: str, one_core: bool
) -> Iterator[tuple[dict[str, PeerProcess], dict[str, Result]]]:
    """Start the programs; yield the running ones, and a description of each or the reason why it cannot run."""
    running: dict[str, PeerProcess] = {}
    facts: dict[str, Result] = {}
    try:
        for name in names:
            running[name] = PeerProcess(name, folder, threads, one_core)
            facts[name] = {}
            attempt(running, facts, name, lambda p, fact: fact.update(p.ask("hello")))
        yield running, facts
    finally:
        for process in running.values():
            process.close()


def attempt(running: dict[str, PeerProcess], facts: dict[str, Result], name: str, action: Any) -> None:
    """Call ``action`` for a program; if it fails, stop the program and record the reason in the result."""
    try:
        action(running[name], facts[name])
    except PeerError as error:
        facts[name]["left_out"] = str(error)
        running.pop(name).close()
        print(f"  {name} is left out: {error}", file=sys.stderr)


def check_losses(running: dict[str, PeerProcess], facts: dict[str, Result]) -> None:
    """Compare all losses after the short task with that of chainrule; leave out programs whose loss differs."""
    for name in [name for name in running if name != FLOOR]:
        attempt(running, facts, name, lambda p, fact: fact.update(check=p.ask("check")))
    if OURS not in running:
        raise SystemExit(f"chainrule failed: {facts[OURS].get('left_out')}")
    ours = facts[OURS]["check"]["loss"]
    for name in [name for name in running if name != FLOOR]:
        check = facts[name]["check"]
        check["relative_difference"] = abs(check["loss"] - ours) / abs(ours)
        if not check["relative_difference"] <= check["tolerance"]:

            def refuse(process: PeerProcess, fact: Result, check: Result = check) -> None:
                raise PeerError(f"its loss is {check['loss']:.6g}, and that of chainrule is {ours:.6g}")

            attempt(running, facts, name, refuse)


def compare_steps(
    workload: Workload, rows: Rows, peers: Sequence[str], threads: str, n_rounds: int, one_core: bool | None = None
) -> Result:
    """Measure the training steps of chainrule and of all peers, and return all measurements."""
    pinned = threads == "1" if one_core is None else one_core
    place = machine.describe()
    with tempfile.TemporaryDirectory() as folder:
        written = workload.write(Path(folder), rows)
        with processes([OURS, *peers], Path(folder), threads, pinned) as (running, facts):
            check_losses(running, facts)
            for name in list(running):

                def warm_up(process: PeerProcess, fact: Result, name: str = name) -> None:
                    fact["prepare"] = process.ask("prepare")
                    fact["first_round_seconds"] = process.ask("round", number=0)["seconds"]
                    if name != FLOOR:
                        fact["loss_after_first_round"] = process.ask("loss")["loss"]
                    fact["rounds"] = []

                attempt(running, facts, name, warm_up)
            for number in range(1, n_rounds + 1):
                for name in [name for name in running if name != OURS] or [OURS]:
                    ours = running[OURS].ask("round", number=number)
                    facts[OURS]["rounds"].append(ours)
                    if name != OURS:
                        attempt(
                            running,
                            facts,
                            name,
                            lambda p, fact, ours=ours, number=number: fact["rounds"].append(
                                {**p.ask("round", number=number), "ours_before": ours["seconds"]}
                            ),
                        )
            for name in list(running):
                attempt(running, facts, name, lambda p, fact: fact.update(memory=p.ask("memory")))
    result = {"kind": "steps", "workload": describe(written), "threads": threads, "one_core": pinned}
    result |= {"n_steps": written.n_steps, "flops_a_step": written.flops_a_step, "machine": place, "programs": facts}
    return {**result, "summary": summarize(result)}


def summarize(result: Result) -> dict[str, Result]:
    """Return the medians and ratios of a comparison of steps."""
    facts, n_steps = result["programs"], result["n_steps"]
    step = {
        name: statistics.median(r["seconds"] for r in fact["rounds"]) / n_steps
        for name, fact in facts.items()
        if fact.get("rounds")
    }
    summary = {}
    for name, seconds in step.items():
        rounds = facts[name]["rounds"]
        pairs = [r["seconds"] / r["ours_before"] for r in rounds if "ours_before" in r]
        first, ours_first = (facts[n].get("loss_after_first_round") for n in (name, OURS))
        summary[name] = {
            "seconds_a_step": seconds,
            "to_ours": statistics.median(pairs) if pairs else 1.0,
            "to_floor": seconds / step[FLOOR] if FLOOR in step else None,
            "flops": None if result["workload"]["sparse"] else result["flops_a_step"] / seconds,
            "spread": (max(r["seconds"] for r in rounds) - min(r["seconds"] for r in rounds)) / n_steps / seconds,
            "cores": statistics.median(r["cpu_seconds"] / r["seconds"] for r in rounds),
            "peak_memory": facts[name].get("memory", {}).get("peak"),
            "memory_of_imports": facts[name].get("memory", {}).get("imports"),
            "loss_difference": facts[name].get("check", {}).get("relative_difference"),
            "first_round_loss_to_ours": first / ours_first if first is not None and ours_first else None,
        }
    return summary


def was_quiet(result: Result) -> bool:
    """Return whether no other program used the core while the programs on it were measured."""
    cores = [row["cores"] for row in result["summary"].values() if "cores" in row]
    return not (cores and result.get("one_core")) or min(cores) >= 0.95


def step_table(result: Result) -> str:
    """Return the summary as a Markdown table, fastest first."""
    lines = [
        "| program | time per step (us) | time / chainrule | time / floor | GFLOP/s | cores "
        "| peak memory (MB) | of that, imports | difference of losses |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in sorted(result["summary"].items(), key=lambda item: item[1]["seconds_a_step"]):
        floor = f"{row['to_floor']:.2f}" if row["to_floor"] else ""
        differs = f"{row['loss_difference']:.1e}" if row["loss_difference"] is not None else ""
        flops = f"{row['flops'] / 1e9:.1f}" if row["flops"] else ""
        memory = [f"{value / 2**20:,.0f}" if value else "" for value in (row["peak_memory"], row["memory_of_imports"])]
        lines.append(
            f"| {name} | {row['seconds_a_step'] * 1e6:,.1f} | {row['to_ours']:.2f} | {floor} | {flops} "
            f"| {row['cores']:.1f} | {memory[0]} | {memory[1]} | {differs} |"
        )
    left_out = {name: fact["left_out"] for name, fact in result["programs"].items() if "left_out" in fact}
    return "\n".join([*lines, *(f"\n{name} was left out: {reason}" for name, reason in left_out.items())])


def save(result: Result, name: str, folder: Path) -> None:
    """Write a result, and print its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-threads-{result['threads']}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"Wrote {path}\n", flush=True)


def read_arguments(description: str | None, **more: Any) -> argparse.Namespace:
    """Read the command line, with the options of all workloads and ``more``."""
    global VERBOSE  # noqa: PLW0603  (a switch of the command line)
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--threads", choices=("1", "default", "both"), default="both", help="one thread, or each program's default"
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of measurements; medians are reported")
    parser.add_argument("--peers", help="the programs to compare with, separated by commas")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="the folder of the results")
    parser.add_argument("--verbose", action="store_true", help="show the output of the programs")
    for name, options in more.items():
        parser.add_argument(f"--{name}", **options)
    arguments = parser.parse_args()
    VERBOSE = arguments.verbose
    arguments.thread_settings = ("1", "default") if arguments.threads == "both" else (arguments.threads,)
    return arguments


def run_steps(description: str | None, tasks: Sequence[tuple[Workload, Any]], peers: Sequence[str]) -> None:
    """Run a script that compares training steps; ``tasks`` are workloads and functions that return their rows."""
    arguments = read_arguments(description)
    wanted = arguments.peers.split(",") if arguments.peers else peers
    for workload, make_rows in tasks:
        rows = make_rows()
        for threads in arguments.thread_settings:
            print(f"{workload.title}; threads: {threads}; data: {rows.origin}", flush=True)
            result = compare_steps(workload, rows, [p for p in peers if p in wanted], threads, arguments.rounds)
            print(step_table(result))
            if not was_quiet(result):
                print("The machine was not idle; do not quote these numbers.")
            save(result, workload.name, arguments.out)
