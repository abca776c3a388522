"""Run one program: read commands as lines of JSON, and write the answers as lines of JSON.

    python worker.py PEER FOLDER [--one-core]

The runner starts this script. ``FOLDER`` contains the workload.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import machine


class Worker:
    """The commands; each returns the fields of the answer."""

    def __init__(self, name: str, folder: Path) -> None:
        import peers
        from workload import Workload

        self.cls = peers.load(name)
        self.memory_of_imports = machine.peak_memory()
        self.workload = Workload.read(folder)
        self.made = False

    def hello(self) -> dict[str, Any]:
        return {"library": self.cls.library, "form": " ".join((self.cls.__doc__ or "").split())}

    def check(self) -> dict[str, Any]:
        """Train on the short task and return the loss, which must agree with that of the other programs."""
        from workload import CHECK_ROWS

        task = self.workload.check_task()
        peer = self.cls()
        peer.prepare(task)
        peer.epoch(task.order(0))
        X, y = task.inputs(first=CHECK_ROWS), task.targets()[:CHECK_ROWS]
        loss, tolerance = peer.loss(task, X, y), peer.tolerance or task.tolerance
        difference = peer.difference
        del peer, X
        gc.collect()  # so that this memory does not count in the measured rounds
        return {"loss": loss, "tolerance": tolerance, "difference": difference}

    def prepare(self) -> dict[str, Any]:
        start = time.perf_counter()
        self.peer = self.cls()
        self.peer.prepare(self.workload)
        return {"seconds": time.perf_counter() - start, "note": self.peer.note}

    def round(self, number: int) -> dict[str, Any]:
        """Train one round and return its time, without the time of drawing the order of the rows."""
        order = self.workload.order(number)
        start = time.perf_counter()
        cpu = time.process_time()
        self.peer.epoch(order)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "step_seconds": self.peer.step_seconds or seconds}

    def loss(self) -> dict[str, Any]:
        from workload import CHECK_ROWS

        X, y = self.workload.inputs(first=CHECK_ROWS), self.workload.targets()[:CHECK_ROWS]
        return {"loss": self.peer.loss(self.workload, X, y)}

    def test_accuracy(self) -> dict[str, Any]:
        outputs = self.peer.outputs(self.workload.inputs("_test"))
        return {"accuracy": self.workload.measure_accuracy(outputs, self.workload.targets("_test"))}

    def predict(self, rows: int, calls: int) -> dict[str, Any]:
        """Time ``calls`` predictions of ``rows`` rows each, from NumPy to NumPy, with different rows in every call."""
        X = self.workload.inputs("_test")
        starts = [(call * rows) % max(1, len(X) - rows) for call in range(calls)]
        parts = [X[start : start + rows] for start in starts]
        outputs = self.peer.outputs(parts[0])
        start = time.perf_counter()
        for part in parts:
            self.peer.outputs(part)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "outputs": outputs[0].tolist(), "sum": float(outputs.sum())}

    def memory(self) -> dict[str, Any]:
        return {"peak": machine.peak_memory(), "imports": self.memory_of_imports}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)  # separate from the output of the libraries
    os.dup2(2, 1)
    if "--one-core" in sys.argv:
        machine.hold_to_one_core()
    worker: Worker | None = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if worker is None:
                worker = Worker(sys.argv[1], Path(sys.argv[2]))
            answer = getattr(worker, command.pop("do"))(**command)
        except Exception as error:
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        print(json.dumps(answer), file=answers, flush=True)
        if "error" in answer and "RANK" in os.environ:
            break  # so that the other processes of this program do not wait for this one


if __name__ == "__main__":
    main()
