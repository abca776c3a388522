"""Write results/README.md from the results: tables, the machine, the versions, and bar charts.

python benchmarks/report.py [FOLDER]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import busy_machine
import goals
import import_time
import mnist_script
import predict
import runner
from runner import OURS, Result

ORDER = (
    "mnist_step_64", "mnist_step_512", "table_step", "tiny_step", "tiny_epoch", "imdb_epoch", "imdb_epoch_l2",
    "wide_step", "predict", "mnist_script", "mnist_race", "import_time", "busy_machine",
)  # fmt: skip
TABLES = {
    "steps": runner.step_table,
    "predict": predict.table,
    "script": mnist_script.table,
    "race": mnist_script.table,
    "import": import_time.table,
    "busy": busy_machine.table,
}
TITLES = {
    "predict": "S7: predict by 784-128-64-10",
    "mnist_race": "S8: seconds to 98 % test accuracy",
    "import_time": "S9: start-up",
}
THREADS = {"1": "one thread", "default": "default threads of each program", "both": "one thread and default threads"}
INTRODUCTION = """# Benchmarks

`python benchmarks/report.py` writes this page from the JSON files in this folder, which contain every round.
`make bench` repeats all measurements. Each program runs in its own process. The programs take turns (chainrule, peer,
chainrule, next peer, ...), and the numbers are medians over the rounds. "/ chainrule" is the median of the time of the
peer divided by the preceding time of chainrule: above 1, the peer is slower. All numbers are float32. Every step
gathers its rows by a shuffled index.

Before the measurement, all programs train from the same weights on the same batches in a short check. Programs whose
loss differs from that of chainrule by more than the tolerance are left out. "Floor" is the time of the
`np.matmul(out=)` products of the step alone, in the same run. With one thread, all processes run on the same core,
because some programs cannot be restricted to one thread. The exception is the script of the course, whose DataLoader
has two workers.
"""


def read(folder: Path) -> list[tuple[str, Result]]:
    """Return all results in the order of the page, one thread first."""
    found = []
    for path in sorted(folder.glob("*-threads-*.json")):
        name, threads = path.stem.split("-threads-")
        if name in ORDER:
            found.append((ORDER.index(name), threads != "1", name, json.loads(path.read_text())))
    return [(name, result) for _, _, name, result in sorted(found, key=lambda item: item[:2])]


def section(name: str, result: Result) -> str:
    """Return one result as Markdown."""
    workload = result.get("workload", {})
    title = TITLES.get(name, workload.get("title", name))
    facts = [THREADS[result["threads"]]]
    if result.get("one_core"):
        facts.append("on one core")
    if "origin" in workload:
        facts.append(f"data: {workload['origin']}")
    if result["kind"] == "steps":
        rounds = len(next(iter(result["programs"].values())).get("rounds", []))
        facts.append(f"{result['n_steps']:,} steps per round, {rounds} rounds of chainrule")
        facts.append(f"tolerance of the losses {workload['tolerance']:g}")
        note = result["programs"].get(runner.FLOOR, {}).get("prepare", {}).get("note")
        facts += [note] if note else []
    facts.append(f"{result['machine']['time']} UTC, load before {result['machine']['load_before']:.1f}")
    parts = [f"### {title}", "; ".join(facts) + ".", TABLES[result["kind"]](result)]
    if not runner.was_quiet(result):
        parts.append("**The machine was not idle: programs got less than 95 % of a core. Do not quote these numbers.**")
    return "\n\n".join(parts)


def forms(results: list[tuple[str, Result]]) -> str:
    """Return the form in which each program ran, and how its computation differs."""
    lines: dict[str, str] = {}
    for _, result in results:
        for name, fact in result.get("programs", {}).items():
            if "form" in fact:
                differs = fact.get("check", {}).get("difference")
                note = f" Difference: {differs}." if differs and name not in lines else ""
                lines.setdefault(name, f"- **{name}** ({fact['library']}): {fact['form'].replace('``', '`')}{note}")
    return "\n".join(lines[name] for name in sorted(lines))


def chart(results: list[tuple[str, Result]], path: Path, threads: str) -> bool:
    """Draw the time per step of every program, with one panel per workload; return whether there are results."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "chainrule"
    steps = [result for _, result in results if result["kind"] == "steps" and result["threads"] == threads]
    if not steps:
        return False
    n_columns = 2
    n_rows = -(-len(steps) // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(11, 2.9 * n_rows), squeeze=False, layout="constrained")
    for axis, result in zip(axes.flat, steps, strict=False):
        rows = sorted(result["summary"].items(), key=lambda item: -item[1]["seconds_a_step"])
        names, times = [name for name, _ in rows], [row["seconds_a_step"] * 1e6 for _, row in rows]
        colours = {OURS: "#c8441b", runner.FLOOR: "#bbbbbb"}
        bars = axis.barh(names, times, color=[colours.get(name, "#4a7fb5") for name in names])
        axis.bar_label(bars, [f"{t:,.0f}" if t >= 20 else f"{t:.1f}" for t in times], padding=3, fontsize=8)
        axis.set_title(result["workload"]["title"], fontsize=9)
        axis.set_xlabel("microseconds per step", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.15)
        axis.spines[["top", "right"]].set_visible(False)
    for axis in list(axes.flat)[len(steps) :]:
        axis.set_axis_off()
    figure.suptitle(f"Time of a training step, {THREADS[threads]} (lower is better)", fontsize=11)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return True


def write(folder: Path) -> Path:
    """Write the page and its charts."""
    results = read(folder)
    if not results:
        raise SystemExit(f"There are no results in {folder}; run `make bench`.")
    place = results[0][1]["machine"]
    parts = [INTRODUCTION]
    parts.append(
        f"Machine: {place['cpu']} (model {place['cpu_model']}, {place['simd']}), {place['cores']} cores, "
        f"{place['system']}."
    )
    for threads in ("1", "default"):
        name = f"steps-threads-{threads}.svg"
        if chart(results, folder / name, threads):
            parts.append(f"![Time of a training step, {THREADS[threads]}]({name})")
    parts += ["## Goals", goals.write(folder).read_text()]
    for threads, words in THREADS.items():
        some = [section(name, result) for name, result in results if result["threads"] == threads]
        if some:
            parts += [f"## {words.capitalize()}", *some]
    parts += ["## The form of each program", forms(results)]
    versions = ", ".join(f"{name} {version}" for name, version in place["versions"].items())
    parts += ["## Versions", versions + "."]
    page = folder / "README.md"
    page.write_text("\n\n".join(part.strip() for part in parts) + "\n")
    return page


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else runner.HERE / "results"
    print(f"Wrote {write(target)}")
