"""Compare the server with FastAPI and scikit-learn on the same table: requests per second, and their times.

The table has 8 numbers, 4 categories and two classes, and the network 64 and 32 hidden units. Each request is one row
as JSON, over open connections; each connection sends a request when the last one is answered. Server and load generator
have one core each. The services take turns, and medians over the rounds are reported. "Floor" is uvicorn with an
application that returns a constant, which measures HTTP alone.

Before the measurement, every service predicts the test rows over HTTP, and its accuracy is reported. During the
measurement, one of 50 answers is compared with these predictions.

    python benchmarks/serve.py [--rounds 5] [--seconds 5] [--connections 1,16,64] [--services chainrule,...]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import numpy as np
import pandas as pd
from census import Rows, make_rows
from load import label_of
from peers import fastapi_sklearn

HERE = Path(__file__).resolve().parent
OURS, FLOOR = "chainrule", "floor"
SERVICES = (OURS, "fastapi-frame", "fastapi-array", FLOOR)
HIDDEN = (64, 32)
LIBRARIES = ("pandas", "fastapi", "pydantic", "starlette", "uvicorn", "httptools", "uvloop")
FORMS = {
    OURS: "`chainrule serve RUN`",
    "fastapi-frame": "FastAPI, pydantic, scikit-learn's Pipeline on a data frame of one row",
    "fastapi-array": "the same with an array of objects, which is faster",
    FLOOR: "uvicorn with an application that returns a constant",
}

Result = dict[str, Any]


def train_ours(rows: Rows, folder: Path) -> Path:
    """Train with the command; return the run folder."""
    pd.DataFrame(rows.train).assign(income=rows.train_labels).to_csv(folder / "rows.csv", index=False)
    hidden = ",".join(map(str, HIDDEN))
    options = ["--target", "income", "--hidden", hidden, "--epochs", "8", "--batch-size", "256", "-q"]
    options += ["--learning-rate", "0.003", "--out", str(folder / "run")]
    options += ["--test-size", "0", "--validation-size", "0"]
    subprocess.run([sys.executable, "-m", "chainrule", "train", str(folder / "rows.csv"), *options], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    return folder / "run"


def prepare(names: list[str], rows: Rows, folder: Path) -> dict[str, Path]:
    """Train the model of each service; return the files by the names of the services."""
    files = {}
    for name in names:
        if name == OURS:
            files[name] = train_ours(rows, folder)
        elif name != FLOOR:
            form = name.removeprefix("fastapi-")
            files[name] = folder / f"{form}.pickle"
            fastapi_sklearn.train(rows.train, rows.train_labels, HIDDEN, form, files[name])
    return files


@contextlib.contextmanager
def running(name: str, file: Path | None, core: int | None) -> Iterator[int]:
    """Start a service on its own core; yield its port when it answers."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = machine.environment("1") | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path[1:]])}
    if name == OURS:
        command = ["-m", "chainrule", "serve", str(file), "--port", str(port)]
    else:
        app = "serve:answer_constant" if name == FLOOR else "peers.fastapi_sklearn:build"
        command = ["-m", "uvicorn", app, "--port", str(port), "--http", "httptools", "--no-access-log"]
        command += ["--log-level", "warning"]
        if name != FLOOR:
            command.append("--factory")
            environment |= {"SERVED_MODEL": str(file), "SERVED_FORM": name.removeprefix("fastapi-")}
    process = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)
    try:
        if core is not None:
            os.sched_setaffinity(process.pid, {core})
        wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until the service listens on the port."""
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"A service exited with code {process.returncode} before it answered.")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise SystemExit("A service did not answer within a minute.")


async def answer_constant(scope: Any, receive: Any, send: Any) -> None:
    """Read a request and return a constant: the application of the floor."""
    if scope["type"] == "http":
        while (await receive()).get("more_body"):
            pass
        body = b'{"prediction":"low","probabilities":{"high":0.25,"low":0.75}}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def predict_all(port: int, bodies: list[str]) -> list[str]:
    """Return the labels that a service predicts, with one request after another."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    labels = []
    with contextlib.closing(connection):
        for body in bodies:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            content = response.read()
            if response.status != 200:
                raise SystemExit(f"The service returned status {response.status} for {body}: {content!r}")
            labels.append(label_of(json.loads(content)))
    return labels


def ask(task: Result) -> Result:
    """Run the load generator in its own process."""
    ended = subprocess.run(
        [sys.executable, str(HERE / "load.py")], input=json.dumps(task), stdout=subprocess.PIPE, text=True, check=True
    )
    result: Result = json.loads(ended.stdout)
    seconds = np.array(result.pop("latencies"))
    result |= {"rate": result["answers"] / result["wall"]}
    return result | {f"p{q}": float(np.percentile(seconds, q)) for q in (50, 99)}


def cores() -> tuple[int | None, int | None]:
    """Return a core for the server and one for the load generator, or None if the system cannot restrict processes."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (allowed[-1], allowed[-2]) if len(allowed) > 1 else (None, None)


def measure(names: list[str], connections: list[int], rounds: int, seconds: float) -> Result:
    """Measure all services in turn, round after round."""
    place, rows, (server_core, load_core) = machine.describe(), make_rows(), cores()
    bodies = [json.dumps(row) for row in rows.test]
    programs: dict[str, Result] = {name: {"form": FORMS[name], "rounds": []} for name in names}
    labels: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(names, rows, Path(folder))
        for number in range(rounds):
            for name in names:
                with running(name, files.get(name), server_core) as port:
                    if name not in labels:  # also a warm-up before the first round
                        labels[name] = predict_all(port, bodies)
                        right = [a == b for a, b in zip(labels[name], rows.test_labels, strict=True)]
                        programs[name]["accuracy"] = statistics.mean(right)
                    task = {"port": port, "bodies": bodies, "core": load_core}
                    task["labels"] = None if name == FLOOR else labels[name]
                    ask({**task, "connections": 4, "seconds": min(1.0, seconds)})
                    for n in connections:
                        result = {"round": number, "connections": n}
                        result |= ask({**task, "connections": n, "seconds": seconds})
                        programs[name]["rounds"].append(result)
                        print(f"  {name}, {n} connections: {result['rate']:,.0f} requests per second", flush=True)
    return {"kind": "serve", "machine": place | {"versions": versions(place)}, "seconds": seconds,
            "connections": connections, "pinned": server_core is not None, "programs": programs,
            "summary": summarize(programs, connections)}  # fmt: skip


def versions(place: Result) -> dict[str, str]:
    """Return the versions of the measured libraries."""
    common = {name: place["versions"][name] for name in ("python", "chainrule", "numpy", "scikit-learn")}
    return common | machine.versions_of(LIBRARIES)


def summarize(programs: dict[str, Result], connections: list[int]) -> dict[str, Any]:
    """Return the medians over the rounds, by service and number of connections."""
    summary: dict[str, Any] = {}
    for name, program in programs.items():
        for n in connections:
            rounds = [result for result in program["rounds"] if result["connections"] == n]
            row = {key: statistics.median(r[key] for r in rounds) for key in ("rate", "p50", "p99", "generator_cores")}
            rates = [r["rate"] for r in rounds]
            row["spread"] = (max(rates) - min(rates)) / row["rate"]
            summary.setdefault(name, {})[str(n)] = row
    for rows in summary.values():
        for n, row in rows.items():
            row["to_ours"] = row["rate"] / summary[OURS][n]["rate"] if OURS in summary else None
    return summary


def table(result: Result) -> str:
    """Return the summary as a Markdown table."""
    lines = [
        "| connections | service | requests per second | rate of chainrule / rate | p50 (ms) | p99 (ms) | spread "
        "| use of the generator's core |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for n in result["connections"]:
        for name, rows in result["summary"].items():
            row = rows[str(n)]
            ratio = f"{1 / row['to_ours']:.2f}" if row["to_ours"] else ""
            lines.append(
                f"| {n} | {name} | {row['rate']:,.0f} | {ratio} | {row['p50'] * 1e3:.2f} | {row['p99'] * 1e3:.2f} "
                f"| {row['spread']:.0%} | {row['generator_cores']:.0%} |"
            )
    return "\n".join(lines)


def page(result: Result) -> str:
    """Return a result as Markdown."""
    place = result["machine"]
    heavy = max(row["generator_cores"] for rows in result["summary"].values() for row in rows.values())
    accuracies = ", ".join(
        f"{name} {program['accuracy']:.3f}" for name, program in result["programs"].items() if name != FLOOR
    )
    rounds = len(next(iter(result["programs"].values()))["rounds"]) // len(result["connections"])
    parts = [
        "# Requests per second",
        f"Written by `python benchmarks/serve.py`; serve.json contains every round. Medians of {rounds} rounds of "
        f"{result['seconds']:g} seconds. One row per request, one worker; server and load generator "
        f"{'on one core each' if result['pinned'] else 'on any core'}.",
        f"Machine: {place['cpu']} (model {place['cpu_model']}, {place['simd']}), {place['cores']} cores, "
        f"{place['system']}; {place['time']} UTC, load before {place['load_before']:.1f}.",
        f"The load generator used at most {heavy:.0%} of its core"
        + (". Near 100 %, the service is faster than the measured rate." if heavy > 0.9 else "."),
        table(result),
        f"Accuracy of the 1,000 rows, predicted over HTTP: {accuracies}.",
        "\n".join(f"- **{name}**: {program['form']}." for name, program in result["programs"].items()),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in place["versions"].items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="number of measurements; medians are reported")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each measurement")
    parser.add_argument("--connections", default="1,16,64", help="numbers of connections, separated by commas")
    parser.add_argument("--services", default=",".join(SERVICES), help="the services, separated by commas")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="the folder of the results")
    arguments = parser.parse_args()
    names = [name for name in SERVICES if name in arguments.services.split(",")]
    connections = [int(n) for n in arguments.connections.split(",")]
    result = measure(names, connections, arguments.rounds, arguments.seconds)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "serve.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "serve.md").write_text(page(result))
    print(table(result))
    print(f"Wrote {arguments.out / 'serve.md'}")


if __name__ == "__main__":
    main()
