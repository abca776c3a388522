"""S12: compare training in two processes with one process, and chainrule with hand-written PyTorch.

The networks are 784-128-64-10, and 784-1024-256-10 with 9.8 times as many parameters. They are trained on MNIST with
Adam in float32 and 512 rows per step in total, 256 in each of two processes. chainrule has ``engine="torch"``; the
hand-written loop is ``peers/torch_ddp.py``. Every process has one thread and, if the machine has enough, its own core.
The processes of a pair have the environment variables that torchrun sets, and communicate with gloo. The programs take
turns. The initial weights are the same, and so are the batches of a check before the measurement.

    python benchmarks/two_processes.py [--rounds 15] [--networks small,large]

It takes about eight minutes on two cores, and writes two_processes.json and two_processes.md to results/. A round of
chainrule is a call of ``fit``, without the start of the processes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import datasets
import machine
import runner
from datasets import Rows
from runner import HERE, OURS, PeerError, PeerProcess, Result
from workload import Workload, describe

BY_HAND = "torch-ddp"
WORDS = {BY_HAND: "hand-written DDP", OURS: OURS}
GOAL = 0.95
NETWORKS = {
    name: Workload(
        name=name,
        title="-".join(map(str, widths)),
        widths=widths,
        batch=512,
        loss="cross_entropy",
        n_rows=60_000 // 512 * 512,
        epochs_a_round=epochs,
        engine="torch",
    )
    for name, widths, epochs in (("small", (784, 128, 64, 10), 5), ("large", (784, 1024, 256, 10), 1))
}


class Together:
    """A program in one process, or in several processes of one group."""

    def __init__(self, name: str, folder: Path, n_processes: int) -> None:
        shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(n_processes)}
        places = [{**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(n_processes)]
        self.processes = [
            PeerProcess(name, folder, "1", True, **variables) for variables in (places if n_processes > 1 else [{}])
        ]

    def ask(self, do: str, **details: Any) -> list[Result]:
        """Send a command to all processes, and wait for all answers."""
        for process in self.processes:
            process.send(do, **details)
        answers, errors = list[Result](), list[str]()
        for process in self.processes:  # if one fails, the errors of the others only report the lost connection
            try:
                answers.append(process.receive())
            except PeerError as error:
                errors.append(str(error))
        if errors:
            raise PeerError(f"{self.processes[0].name}: {'; '.join(errors)}")
        return answers

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.close()


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def measure(workload: Workload, rows: Rows, n_rounds: int) -> Result:
    """Measure a network with both programs, in one and in two processes."""
    programs: dict[str, Result] = {}
    with contextlib.ExitStack() as until_the_end:
        folder = Path(until_the_end.enter_context(tempfile.TemporaryDirectory()))
        written = workload.write(folder, rows)
        running: dict[str, Together] = {}
        for n in (1, 2):
            for name in (BY_HAND, OURS):
                key = f"{name} x {n}"
                together = until_the_end.enter_context(contextlib.closing(Together(name, folder, n)))
                running[key] = together
                first = together.ask("hello")[0]
                programs[key] = {"program": name, "processes": n, **first, "check": together.ask("check")[0]}
        check_losses(programs)
        for together in running.values():
            together.ask("prepare")
            together.ask("round", number=0)
        for number in range(1, n_rounds + 1):
            for key, together in running.items():
                programs[key].setdefault("rounds", []).append(one_round(together.ask("round", number=number)))
        for key, together in running.items():
            programs[key]["memory"] = [answer["peak"] for answer in together.ask("memory")]
    result = {"workload": describe(written), "n_steps": written.n_steps, "programs": programs}
    result["parameters"] = sum((n_in + 1) * n_out for n_in, n_out in pairwise(workload.widths))
    return {**result, "summary": summarize(programs, written.n_steps)}


def one_round(answers: list[Result]) -> Result:
    """Return a round with the times of its slowest process."""
    longest = {key: max(answer[key] for answer in answers) for key in ("seconds", "step_seconds")}
    return {**longest, "cores": [answer["cpu_seconds"] / answer["seconds"] for answer in answers]}


def check_losses(programs: dict[str, Result]) -> None:
    """Exit unless all programs have the same loss after the short task."""
    ours = programs[f"{OURS} x 1"]["check"]["loss"]
    for key, program in programs.items():
        check = program["check"]
        check["relative_difference"] = abs(check["loss"] - ours) / abs(ours)
        if not check["relative_difference"] <= check["tolerance"]:
            raise SystemExit(f"The loss of {key} is {check['loss']:.6g}, and that of chainrule is {ours:.6g}.")


def summarize(programs: dict[str, Result], n_steps: int) -> Result:
    """Return the steps per second of each program, the relative speed of chainrule, and the gain of two processes."""

    def ratio(of: str, to: str) -> float:
        pairs = zip(programs[of]["rounds"], programs[to]["rounds"], strict=True)
        return statistics.median(b["seconds"] / a["seconds"] for a, b in pairs)

    rates = {}
    for key, program in programs.items():
        seconds = [one["seconds"] for one in program["rounds"]]
        middle = statistics.median(seconds)
        rates[key] = {
            "steps_a_second": n_steps / middle,
            "seconds_a_step": middle / n_steps,
            "within_fit": statistics.median(one["step_seconds"] for one in program["rounds"]) / n_steps,
            "spread": (max(seconds) - min(seconds)) / middle,
            "cores": [statistics.median(cores) for cores in zip(*(r["cores"] for r in program["rounds"]), strict=True)],
        }
    return {
        "programs": rates,
        "to_hand": {str(n): ratio(f"{OURS} x {n}", f"{BY_HAND} x {n}") for n in (1, 2)},
        "speed_up": {name: ratio(f"{name} x 2", f"{name} x 1") for name in (BY_HAND, OURS)},
    }


def was_quiet(result: Result) -> bool:
    """Return whether no other program used the cores while the single processes were measured."""
    rows = result["summary"]["programs"]
    return min(rows[f"{name} x 1"]["cores"][0] for name in (BY_HAND, OURS)) >= 0.95


def section(result: Result) -> str:
    """Return the results of a network as Markdown."""
    summary, programs = result["summary"], result["programs"]
    lines = [
        "| program | processes | steps per second | time per step (us) | of that, in the steps | spread "
        "| speed / hand-written | cores | peak memory per process (MB) | difference of losses |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for key, row in summary["programs"].items():
        program = programs[key]
        name, n = program["program"], program["processes"]
        share = f"{summary['to_hand'][str(n)]:.3f}" if name == OURS else ""
        lines.append(
            f"| {WORDS[name]} | {n} | {row['steps_a_second']:,.1f} | {row['seconds_a_step'] * 1e6:,.0f} "
            f"| {row['within_fit'] * 1e6:,.0f} | {row['spread']:.0%} | {share} | {sum(row['cores']):.2f} "
            f"| {max(program['memory']) / 2**20:,.0f} | {program['check']['relative_difference']:.1e} |"
        )
    gains = ", ".join(f"{WORDS[name]} {gain:.2f}" for name, gain in summary["speed_up"].items())
    share = summary["to_hand"]["2"]
    parts = [
        f"## {result['workload']['title']}: {result['parameters']:,} parameters",
        "\n".join(lines),
        f"Speed of two processes relative to one: {gains}. In two processes, chainrule has {share:.3f} of the speed of "
        f"the hand-written loop; the goal, at least {GOAL:g}, is {'reached' if share >= GOAL else 'missed'}.",
    ]
    if not was_quiet(result):
        parts.append("**The machine was not idle: a program got less than 95 % of a core. Do not quote this.**")
    return "\n\n".join(parts)


def page(result: Result) -> str:
    """Return a result as Markdown."""
    place, networks = result["machine"], result["networks"]
    one = next(iter(networks.values()))
    versions = ", ".join(f"{name} {place['versions'][name]}" for name in ("python", "chainrule", "numpy", "torch"))
    forms = {program["program"]: program["form"].replace("``", "`") for program in one["programs"].values()}
    return "\n\n".join(
        [
            "# Training in two processes",
            "Written by `python benchmarks/two_processes.py`; two_processes.json contains every round. Adam, float32, "
            f"{one['workload']['batch']} rows per step in total, data: {one['workload']['origin']}. One thread per "
            f"process; the programs take turns; medians of {result['n_rounds']} rounds; ratios are medians of the "
            "ratios of the rounds. A round of chainrule is a call of `fit`; 'in the steps' is the time of its steps.",
            f"Machine: {place['cpu']} (model {place['cpu_model']}, {place['simd']}), {place['cores']} cores, "
            f"{place['system']}; {place['time']} UTC, load before {place['load_before']:.1f}. Versions: {versions}.",
            *(section(network) for network in networks.values()),
            "\n".join(f"- **{WORDS[name]}**: {form}" for name, form in forms.items()),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="the networks, separated by commas")
    parser.add_argument("--rounds", type=int, default=15, help="number of measurements; medians are reported")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="the folder of the results")
    parser.add_argument("--verbose", action="store_true", help="show the output of the programs")
    arguments = parser.parse_args()
    runner.VERBOSE = arguments.verbose
    place, rows = machine.describe(), datasets.mnist()
    networks = {}
    for name in arguments.networks.split(","):
        try:
            networks[name] = measure(NETWORKS[name], rows, arguments.rounds)
        except PeerError as error:
            raise SystemExit(f"{error}; --verbose shows the output of the programs.") from error
        print(f"{section(networks[name])}\n", flush=True)
    summary = {name: network["summary"] for name, network in networks.items()}
    result = {"n_rounds": arguments.rounds, "machine": place, "networks": networks, "summary": summary}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "two_processes.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "two_processes.md").write_text(page(result) + "\n")
    print(f"Wrote {arguments.out / 'two_processes.md'}")


if __name__ == "__main__":
    main()
