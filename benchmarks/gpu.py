"""Compare a training step of chainrule on a GPU (``engine="torch"``) with a hand-written PyTorch loop on the same GPU.

The networks are 784-128-64-10 with batches of 64 and 512 rows, and 784-4096-4096-10 with 512 and 4096, trained with
Adam in float32 and in bfloat16 by autocast. The hand-written loop (``peers/torch_on_device.py``) keeps the rows and the
permutation on the device, uses fused Adam, and reads nothing back during a round. Both use the default precision of
products of PyTorch (no TF32). Each program runs in its own process, and they take turns. The losses after a short task
from the same weights are compared first.

    python benchmarks/gpu.py [--device cuda] [--rounds 5] [--nets small,wide]

It takes about five minutes, and writes gpu.json and gpu.md to results/. There are two times for chainrule: that of a
step, from the seconds of the history, and that of ``fit`` divided by the number of steps, which includes the copy of
the data to the GPU and of the weights back after every epoch. The benchmark needs a GPU. ``--device cpu`` tries the
script on smaller networks with a few rows, and writes nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from pathlib import Path

import datasets
import machine
import runner
import torch
from runner import HERE, OURS, Result
from workload import Workload

BY_HAND = "torch-on-device"
GOAL = 0.95
PRECISIONS = {"float32": 1e-2, "bfloat16": 1e-1}  # with the tolerance of the losses; wide networks differ sooner
NETS: dict[str, list[tuple[tuple[int, ...], int, int]]] = {  # widths, batch, epochs per round
    "small": [((784, 128, 64, 10), 64, 5), ((784, 128, 64, 10), 512, 30)],
    "wide": [((784, 4096, 4096, 10), 512, 10), ((784, 4096, 4096, 10), 4096, 10)],
}


def tasks(nets: list[str], device: str) -> list[Workload]:
    """Return the tasks of these networks, each in every precision."""
    found = []
    for widths, batch, epochs in (case for net in nets for case in NETS[net]):
        for precision, tolerance in PRECISIONS.items():
            task = Workload(
                name="gpu",
                title=f"{'-'.join(map(str, widths))}, batch {batch}, {precision}",
                widths=widths,
                batch=batch,
                loss="cross_entropy",
                n_rows=60_000 // batch * batch,
                epochs_a_round=epochs,
                check_steps=min(50, 60_000 // batch),  # at most one epoch, because the rows are sorted beforehand
                tolerance=tolerance,
                engine="torch",
                device=device,
                precision=precision,
            )
            if device == "cpu":
                few = {"widths": tuple(min(width, 784) for width in widths), "n_rows": 2 * batch, "check_steps": 2}
                task = dataclasses.replace(task, title=f"{task.title} (smaller)", epochs_a_round=1, **few)
            found.append(task)
    return found


def summarize(result: Result) -> Result:
    """Return the seconds per step of both, and the speed of chainrule relative to the loop: of the steps and of fit."""
    programs, n_steps = result["programs"], result["n_steps"]
    for name in (OURS, BY_HAND):
        if "left_out" in programs[name]:
            raise SystemExit(f"{result['workload']['title']}: {name} failed: {programs[name]['left_out']}")
    ours, hand = (programs[name]["rounds"] for name in (OURS, BY_HAND))

    def middle(rounds: list[Result], key: str) -> float:
        return statistics.median(one[key] for one in rounds) / n_steps

    def share(key: str) -> float:
        return statistics.median(b["seconds"] / a[key] for a, b in zip(ours, hand, strict=True))

    return {
        "ours": middle(ours, "step_seconds"),
        "ours_fit": middle(ours, "seconds"),
        "by_hand": middle(hand, "seconds"),
        "share": share("step_seconds"),
        "share_fit": share("seconds"),
        "loss_difference": programs[BY_HAND]["check"]["relative_difference"],
    }


def table(summary: dict[str, Result]) -> str:
    """Return the summary as a Markdown table."""
    lines = [
        "| network | hand-written (us per step) | chainrule | chainrule, whole fit | speed / hand-written "
        "| whole fit: speed / hand-written | difference of losses | |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name, row in summary.items():
        times = " | ".join(f"{row[key] * 1e6:,.0f}" for key in ("by_hand", "ours", "ours_fit"))
        verdict = "reached" if row["share"] >= GOAL else "missed"
        shares = f"{row['share']:.3f} | {row['share_fit']:.3f}"
        lines.append(f"| {name} | {times} | {shares} | {row['loss_difference']:.1e} | {verdict} |")
    return "\n".join(lines)


def page(result: Result) -> str:
    """Return a result as Markdown."""
    place = result["machine"]
    versions = ", ".join(f"{name} {place['versions'][name]}" for name in ("python", "chainrule", "numpy", "torch"))
    return "\n\n".join(
        [
            "# Training steps on a GPU",
            "Written by `python benchmarks/gpu.py`; gpu.json contains every round. A training step with Adam on "
            f'{result["origin"]}, by chainrule with `engine="torch"` and by a hand-written PyTorch loop on the same '
            f"GPU. The programs take turns; medians of {result['n_rounds']} rounds. 'Whole fit' is the time of `fit` "
            f"divided by the number of steps. The goal is at least {GOAL:g} of the speed of the hand-written loop, "
            "in the steps.",
            f"Machine: {result['card']}; {place['cpu']}, {place['cores']} cores, {place['system']}; {place['time']} "
            f"UTC, load before {place['load_before']:.1f}. Versions: {versions}.",
            table(result["summary"]),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", type=torch.device, default="cuda", help="cuda, cuda:1, mps, ...; cpu for a trial")
    parser.add_argument("--nets", default=",".join(NETS), help="only these, separated by commas")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured; medians are reported")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="where the results go")
    parser.add_argument("--verbose", action="store_true", help="show what the programs print")
    arguments = parser.parse_args()
    runner.VERBOSE = arguments.verbose
    here = torch.accelerator.current_accelerator(check_available=True)
    is_trial = arguments.device.type == "cpu"
    if not is_trial and (here is None or here.type != arguments.device.type):
        print(f"There is no device '{arguments.device}' on this machine, so the benchmark on a GPU was not run.")
        return
    rows, results, place = datasets.mnist(), list[Result](), machine.describe()
    summary: dict[str, Result] = {}
    for task in tasks(arguments.nets.split(","), str(arguments.device)):
        results.append(runner.compare_steps(task, rows, [BY_HAND], "1", arguments.rounds, one_core=False))
        summary[task.title] = summarize(results[-1])
        print(f"{task.title}: {summary[task.title]['share']:.3f} of the speed of the hand-written loop", flush=True)
    print(table(summary))
    if is_trial:
        print("This was a test on the CPU; nothing is written.")
        return
    card = torch.cuda.get_device_name(arguments.device) if arguments.device.type == "cuda" else str(arguments.device)
    result = {"n_rounds": arguments.rounds, "machine": place, "card": card, "origin": rows.origin}
    result |= {"summary": summary, "cases": results}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "gpu.md").write_text(page(result) + "\n")
    print(f"Wrote {arguments.out / 'gpu.md'}")


if __name__ == "__main__":
    main()
