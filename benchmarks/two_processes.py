"""S12: two processes that train one network, against one process, and against PyTorch's own engine by hand.

Two networks: 784-128-64-10, and 784-1024-256-10 with ten times its parameters (9.8 times, to be exact). Adam, float32,
MNIST, 512 rows a step in all, so that each of two processes takes 256. Ours is ``NeuralNetwork(engine="torch")``, by
hand is the loop of ``peers/torch_ddp.py``. Every process has one thread and, where the machine has as many, a core of
its own; those of a pair are started with the variables that torchrun sets, and meet over gloo. They all wait while
another program has its turn. The first weights are the same, and so are the batches of a check before the clock starts.

    python benchmarks/two_processes.py [--rounds 15] [--networks small,large]

It takes some eight minutes on two cores, and writes two_processes.json and two_processes.md into results/. A round of
ours is a call of ``fit``, with all that is done around its steps; starting the processes is not part of it.
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
WORDS = {BY_HAND: "DDP by hand", OURS: OURS}
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
    """A program in one process, or in several that compute together."""

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
        for process in self.processes:  # all of them: where one fails, the others only say that they lost it
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
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def measure(workload: Workload, rows: Rows, n_rounds: int) -> Result:
    """Measure a network: both programs, alone and in two processes, round after round."""
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
    """Return a round as long as its slowest process took."""
    longest = {key: max(answer[key] for answer in answers) for key in ("seconds", "step_seconds")}
    return {**longest, "cores": [answer["cpu_seconds"] / answer["seconds"] for answer in answers]}


def check_losses(programs: dict[str, Result]) -> None:
    """Stop unless all have the same loss after the short task."""
    ours = programs[f"{OURS} x 1"]["check"]["loss"]
    for key, program in programs.items():
        check = program["check"]
        check["relative_difference"] = abs(check["loss"] - ours) / abs(ours)
        if not check["relative_difference"] <= check["tolerance"]:
            raise SystemExit(f"{key}: its loss is {check['loss']:.6g} where ours is {ours:.6g}: something else")


def summarize(programs: dict[str, Result], n_steps: int) -> Result:
    """Return steps a second of each program, our speed as a share of that by hand, and what the second process adds."""

    def ratio(of: str, to: str) -> float:
        pairs = zip(programs[of]["rounds"], programs[to]["rounds"], strict=True)
        return statistics.median(b["seconds"] / a["seconds"] for a, b in pairs)

    rates = {}
    for key, program in programs.items():
        seconds = [seen["seconds"] for seen in program["rounds"]]
        middle = statistics.median(seconds)
        rates[key] = {
            "steps_a_second": n_steps / middle,
            "seconds_a_step": middle / n_steps,
            "within_fit": statistics.median(seen["step_seconds"] for seen in program["rounds"]) / n_steps,
            "spread": (max(seconds) - min(seconds)) / middle,
            "cores": [statistics.median(cores) for cores in zip(*(r["cores"] for r in program["rounds"]), strict=True)],
        }
    return {
        "programs": rates,
        "to_hand": {str(n): ratio(f"{OURS} x {n}", f"{BY_HAND} x {n}") for n in (1, 2)},
        "speed_up": {name: ratio(f"{name} x 2", f"{name} x 1") for name in (BY_HAND, OURS)},
    }


def was_quiet(result: Result) -> bool:
    """Whether the programs of one process had their core to themselves."""
    rows = result["summary"]["programs"]
    return min(rows[f"{name} x 1"]["cores"][0] for name in (BY_HAND, OURS)) >= 0.95


def section(result: Result) -> str:
    """Return what was seen of a network as Markdown."""
    summary, programs = result["summary"], result["programs"]
    lines = [
        "| program | processes | steps a second | time a step (us) | of that, in the steps | spread | speed / by hand "
        "| cores | peak memory a process (MB) | loss differs by |",
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
        f"Two processes against one, times as fast: {gains}. In two processes ours has {share:.3f} of the speed by "
        f"hand; the goal, at least {GOAL:g}, is {'reached' if share >= GOAL else 'missed'}.",
    ]
    if not was_quiet(result):
        parts.append("**The machine was not quiet: a program got less than 95 % of its core. Do not quote these.**")
    return "\n\n".join(parts)


def page(result: Result) -> str:
    """Return a result as Markdown."""
    place, networks = result["machine"], result["networks"]
    one = next(iter(networks.values()))
    versions = ", ".join(f"{name} {place['versions'][name]}" for name in ("python", "chainrule", "numpy", "torch"))
    forms = {program["program"]: program["form"].replace("``", "`") for program in one["programs"].values()}
    return "\n\n".join(
        [
            "# Two processes against one: the measurements",
            "Written by `python benchmarks/two_processes.py`; two_processes.json beside this page holds every round. "
            f"Adam, float32, {one['workload']['batch']} rows a step in all, data: {one['workload']['origin']}. One "
            f"thread a process; the programs take turns; medians of {result['n_rounds']} rounds, ratios as medians of "
            "the rounds' ratios. A round of ours is a whole `fit`; 'in the steps' leaves out what it does around them.",
            f"Machine: {place['cpu']} (model {place['cpu_model']}, {place['simd']}), {place['cores']} cores, "
            f"{place['system']}; {place['time']} UTC, load before {place['load_before']:.1f}. Versions: {versions}.",
            *(section(network) for network in networks.values()),
            "\n".join(f"- **{WORDS[name]}**: {form}" for name, form in forms.items()),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default=",".join(NETWORKS), help="only these, separated by commas")
    parser.add_argument("--rounds", type=int, default=15, help="how often everything is measured; medians are reported")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
    parser.add_argument("--verbose", action="store_true", help="show what the programs print")
    arguments = parser.parse_args()
    runner.VERBOSE = arguments.verbose
    place, rows = machine.describe(), datasets.mnist()
    networks = {}
    for name in arguments.networks.split(","):
        try:
            networks[name] = measure(NETWORKS[name], rows, arguments.rounds)
        except PeerError as error:
            raise SystemExit(f"{error}; --verbose shows what it prints.") from error
        print(f"{section(networks[name])}\n", flush=True)
    summary = {name: network["summary"] for name, network in networks.items()}
    result = {"n_rounds": arguments.rounds, "machine": place, "networks": networks, "summary": summary}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "two_processes.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "two_processes.md").write_text(page(result) + "\n")
    print(f"written: {arguments.out / 'two_processes.md'}")


if __name__ == "__main__":
    main()
