"""S10: time and memory against the rows, where the rows come from Parquet files that need not fit into memory.

The rows are generated in pieces, with eight columns of numbers (one with gaps), a word, a date and a number to predict,
in files of a million rows with groups of 100,000. Every size is a process of its own, on one thread: it loads the
kernels with a small stream, then learns the columns in one pass and trains a 64-32 network for one epoch, batch 256,
with Adam, in the default buffer of 131,072 rows. The target: time linear in the rows within 10 %, and memory constant
within 10 %, each against a million rows.

    python benchmarks/stream.py [--rows 100000,1000000,10000000] [--rounds 3] [--folder DIR]

It writes stream.json and stream.md into results/. Ten million rows take 0.9 GB on the disk; the files are kept if a
folder is given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import machine
import numpy as np

RESULTS = Path(__file__).parent / "results"
ROWS_A_FILE, ROWS_A_GROUP = 1_000_000, 100_000
REFERENCE = 1_000_000
TOWNS = np.array(["Braga", "Coimbra", "Faro", "Lisboa", "Porto"])
MB = 2**20


def generate(folder: Path, n_rows: int) -> list[Path]:
    """Write so many rows, unless they are there, and return their files."""
    import pyarrow as pa
    from pyarrow import parquet

    files = []
    for number, start in enumerate(range(0, n_rows, ROWS_A_FILE)):
        stop = min(start + ROWS_A_FILE, n_rows)
        path = folder / f"{n_rows}-{number:03}.parquet"
        files.append(path)
        if path.exists():
            continue
        with parquet.ParquetWriter(path.with_suffix(".part"), schema()) as writer:
            for first in range(start, stop, ROWS_A_GROUP):
                rows = rows_of(first, min(ROWS_A_GROUP, stop - first))
                writer.write_table(pa.table(rows, schema=schema()))
        path.with_suffix(".part").rename(path)
    return files


def schema() -> Any:
    import pyarrow as pa

    numbers = [(f"x{column}", pa.float32()) for column in range(8)]
    return pa.schema([*numbers, ("town", pa.string()), ("day", pa.timestamp("s")), ("y", pa.float32())])


def rows_of(first: int, n_rows: int) -> dict[str, Any]:
    import pyarrow as pa

    rng = np.random.default_rng(first)
    x = rng.standard_normal((n_rows, 8), np.float32)
    town = rng.integers(0, len(TOWNS), n_rows)
    day = rng.integers(0, 1000, n_rows)
    y = x[:, 0] * x[:, 1] + np.sin(x[:, 2]) + town + day / 500 + 0.1 * rng.standard_normal(n_rows)
    columns: dict[str, Any] = {f"x{column}": x[:, column] for column in range(8)}
    columns["x3"] = pa.array(x[:, 3], mask=rng.random(n_rows) < 0.1)
    days = np.datetime64("2024-01-01", "s") + day * np.timedelta64(86_400, "s")
    return {**columns, "town": TOWNS[town], "day": days, "y": y.astype(np.float32)}


def measure(files: list[str], small: str) -> dict[str, Any]:
    """Return the seconds and the peak of memory of learning the columns and of an epoch."""
    train(small)
    loaded = machine.peak_memory()
    start = time.perf_counter()
    from chainrule import ParquetStream

    stream = ParquetStream(files, "y").learn()
    learnt, peak_learning = time.perf_counter(), machine.peak_memory()
    network = train(stream)
    seconds = {"learn": learnt - start, "train": time.perf_counter() - learnt}
    memory = {"loaded": loaded, "learnt": peak_learning, "trained": machine.peak_memory()}
    return {"seconds": seconds, "memory": memory, "loss": network.history.last("loss")}


def train(data: Any) -> Any:
    from chainrule import ParquetStream, build_network

    stream = data if isinstance(data, ParquetStream) else ParquetStream(data, "y", buffer_rows=1024)
    network = build_network(stream.n_features, stream.target, epochs=1, batch_size=256, metric=None, seed=0)
    return network.fit(stream)


def ask(files: list[Path], small: Path) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", json.dumps([*map(str, files)]), "--small", str(small)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=machine.environment("1"))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(points: list[dict[str, Any]]) -> str:
    """Return the points as Markdown, each against the one of a million rows, or the largest if there is none."""
    reference = next((point for point in points if point["rows"] == REFERENCE), points[-1])
    lines = [
        "| rows | learn columns | train an epoch | time a row | beside reference | peak memory | beside reference |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for point in points:
        time_a_row, memory = cost(point)
        its_time, its_memory = cost(reference)
        learn, epoch = (statistics.median(r["seconds"][part] for r in point["rounds"]) for part in ("learn", "train"))
        lines.append(
            f"| {point['rows']:,} | {learn:.2f} s | {epoch:.2f} s | {1e6 * time_a_row:.2f} µs | "
            f"{100 * (time_a_row / its_time - 1):+.1f} % | {memory / MB:.0f} MB | "
            f"{100 * (memory / its_memory - 1):+.1f} % |"
        )
    return "\n".join(lines)


def cost(point: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds a row and the peak of memory: medians of the rounds."""
    seconds = statistics.median(sum(r["seconds"].values()) for r in point["rounds"])
    return seconds / point["rows"], statistics.median(r["memory"]["trained"] for r in point["rounds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="100000,1000000,10000000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--small", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        machine.hold_to_one_core()
        print(json.dumps(measure(json.loads(given.measure), given.small)))
        return
    sizes = sorted(int(size) for size in given.rows.split(","))
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result: dict[str, Any] = {"machine": machine.describe()}
        small, files = generate(folder, 5_000)[0], {}
        for n_rows in sizes:
            print(f"{n_rows:,} rows: generating ...", file=sys.stderr)
            files[n_rows] = generate(folder, n_rows)
        rounds: dict[int, list[dict[str, Any]]] = {n_rows: [] for n_rows in sizes}
        for number in range(given.rounds):  # all sizes in turn, so that a busy minute falls on all alike
            for n_rows in sizes:
                rounds[n_rows].append(ask(files[n_rows], small))
                print(f"round {number + 1}, {n_rows:,} rows: {rounds[n_rows][-1]['seconds']}", file=sys.stderr)
    result["points"] = [{"rows": n_rows, "rounds": rounds[n_rows]} for n_rows in sizes]
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "stream.json").write_text(json.dumps(result, indent=1) + "\n")
    text = table(result["points"])
    (RESULTS / "stream.md").write_text(f"# Rows streamed from Parquet\n\n{text}\n")
    print(text)


if __name__ == "__main__":
    main()
