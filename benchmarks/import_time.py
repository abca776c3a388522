"""S9: the time of ``import chainrule`` and ``chainrule --help``, compared with NumPy, PyTorch, scikit-learn and Keras.

Each time is that of a whole process, in alternation, with the files in the cache of the system. The time of an empty
Python process is shown too. The result contains the slowest modules according to ``python -X importtime``.

    python benchmarks/import_time.py [--rounds 15] [--threads 1|default|both]
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine
import runner
from runner import Result

SCRIPTS = Path(sys.executable).parent
COMMANDS = {
    "python": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import chainrule": [sys.executable, "-c", "import chainrule"],
    "import chainrule, use NeuralNetwork": [sys.executable, "-c", "from chainrule import NeuralNetwork, Dataset"],
    "chainrule --help": [str(SCRIPTS / "chainrule"), "--help"],
    "import sklearn": [sys.executable, "-c", "import sklearn"],
    "from sklearn.neural_network import MLPClassifier": [
        sys.executable, "-c", "from sklearn.neural_network import MLPClassifier",
    ],
    "import torch": [sys.executable, "-c", "import torch"],
    "import jax": [sys.executable, "-c", "import jax"],
    "import keras (JAX)": [sys.executable, "-c", "import os; os.environ['KERAS_BACKEND'] = 'jax'; import keras"],
}  # fmt: skip
IMPORTTIME = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")


def seconds_of(command: list[str], threads: str) -> float:
    """Run a command and return its time."""
    start = time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=machine.environment(threads)
    )
    return time.perf_counter() - start


def costliest(statement: str, n: int = 12) -> list[Result]:
    """Return the slowest modules according to ``python -X importtime``, without the modules that they import."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", statement], check=True, capture_output=True, text=True
    )
    found = [
        {"module": match[4], "own_us": int(match[1]), "with_imports_us": int(match[2])}
        for match in map(IMPORTTIME.match, run.stderr.splitlines())
        if match
    ]
    return sorted(found, key=lambda row: -int(row["own_us"]))[:n]


def measure(threads: str, n_rounds: int) -> Result:
    """Time all commands in alternation."""
    place = machine.describe()
    usable, left_out = [], {}
    for name, command in COMMANDS.items():
        try:
            seconds_of(command, threads)  # the first start fills the caches
            usable.append(name)
        except (subprocess.CalledProcessError, OSError) as error:
            left_out[name] = str(error)[:200]
    times: dict[str, list[float]] = {name: [] for name in usable}
    for _ in range(n_rounds):
        for name in usable:
            times[name].append(seconds_of(COMMANDS[name], threads))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    numpy = medians["import numpy"]
    summary = {name: {"seconds": seconds, "to_numpy": seconds / numpy} for name, seconds in medians.items()}
    result = {"kind": "import", "threads": threads, "machine": place, "times": times, "left_out": left_out}
    return {**result, "summary": summary, "costliest": costliest("import chainrule")}


def table(result: Result) -> str:
    """Return the summary as a Markdown table, fastest first."""
    lines = ["| command | seconds | / import numpy |", "|---|---:|---:|"]
    for name, row in sorted(result["summary"].items(), key=lambda item: item[1]["seconds"]):
        lines.append(f"| `{name}` | {row['seconds']:.3f} | {row['to_numpy']:.2f} |")
    return "\n".join(lines)


def main() -> None:
    arguments = runner.read_arguments(__doc__)
    for threads in arguments.thread_settings:
        print(f"S9: start-up; threads: {threads}", flush=True)
        result = measure(threads, max(arguments.rounds, 5))
        print(table(result))
        runner.save(result, "import_time", arguments.out)


if __name__ == "__main__":
    main()
