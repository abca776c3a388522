"""S10: time and memory of training on a stream of Parquet files, as functions of the number of rows.

The rows are generated in pieces, with eight columns of numbers (one with missing values), a category, a date and a
number to predict, in files of a million rows with groups of 100,000. Every size is measured in its own process, on one
thread. The process loads the kernels with a small stream. Then it analyses the columns in one pass and trains a 64-32
network for one epoch, batch 256, with Adam, with the default buffer of 131,072 rows. The goal is a time proportional to
the rows within 10 %, and constant memory within 10 %, compared with a million rows.

    python benchmarks/stream.py [--rows 100000,1000000,10000000] [--rounds 3] [--folder DIR]

It writes stream.json and stream.md to results/. Ten million rows take 0.9 GB on the disk. With ``--folder``, the files
are kept.
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
FILE_ROWS, GROUP_ROWS = 1_000_000, 100_000
REFERENCE = 1_000_000
TOWNS = np.array(["Braga", "Coimbra", "Faro", "Lisboa", "Porto"])
MB = 2**20


def generate(folder: Path, n_rows: int) -> list[Path]:
    """Write files with ``n_rows`` rows, unless they exist, and return their paths."""
    import pyarrow as pa
    from pyarrow import parquet

    files = []
    for number, start in enumerate(range(0, n_rows, FILE_ROWS)):
        stop = min(start + FILE_ROWS, n_rows)
        path = folder / f"{n_rows}-{number:03}.parquet"
        files.append(path)
        if path.exists():
            continue
        with parquet.ParquetWriter(path.with_suffix(".part"), schema()) as writer:
            for first in range(start, stop, GROUP_ROWS):
                rows = rows_of(first, min(GROUP_ROWS, stop - first))
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
    """Return the seconds and the peak memory of the analysis of the columns and of an epoch."""
    train(small)
    loaded = machine.peak_memory()
    start = time.perf_counter()
    from chainrule import ParquetStream

    stream = ParquetStream(files, "y").learn()
    analysed, peak_analysis = time.perf_counter(), machine.peak_memory()
    network = train(stream)
    seconds = {"learn": analysed - start, "train": time.perf_counter() - analysed}
    memory = {"loaded": loaded, "learnt": peak_analysis, "trained": machine.peak_memory()}
    return {"seconds": seconds, "memory": memory, "loss": network.history.last("loss")}


def train(data: Any) -> Any:
    from chainrule import ParquetStream, build_network

    stream = data if isinstance(data, ParquetStream) else ParquetStream(data, "y", buffer_rows=1024)
    network = build_network(stream.n_features, stream.target, epochs=1, batch_size=256, metric=None, seed=0)
    return network.fit(stream)


def ask(files: list[Path], small: Path) -> dict[str, Any]:
    """Measure in a separate process."""
    command = [sys.executable, __file__, "--measure", json.dumps([*map(str, files)]), "--small", str(small)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=machine.environment("1"))
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def table(points: list[dict[str, Any]]) -> str:
    """Return the points as a Markdown table, relative to the point of a million rows, or else to the largest one."""
    reference = next((point for point in points if point["rows"] == REFERENCE), points[-1])
    lines = [
        f"| rows | column analysis | epoch | time per row | relative to {reference['rows']:,} rows | peak memory "
        f"| relative to {reference['rows']:,} rows |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for point in points:
        row_time, memory = cost(point)
        reference_time, reference_memory = cost(reference)
        learn, epoch = (statistics.median(r["seconds"][part] for r in point["rounds"]) for part in ("learn", "train"))
        lines.append(
            f"| {point['rows']:,} | {learn:.2f} s | {epoch:.2f} s | {1e6 * row_time:.2f} µs | "
            f"{100 * (row_time / reference_time - 1):+.1f} % | {memory / MB:.0f} MB | "
            f"{100 * (memory / reference_memory - 1):+.1f} % |"
        )
    return "\n".join(lines)


def cost(point: dict[str, Any]) -> tuple[float, float]:
    """Return the medians of the seconds per row and of the peak memory."""
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
        for number in range(given.rounds):  # all sizes in turn, so that load of the machine affects all sizes
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
