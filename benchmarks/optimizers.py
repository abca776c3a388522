"""Compare the training time of the classical optimizers on a small regression with that of Adam.

The data are 200 rows of Friedman's function (10 inputs, 5 of them noise). The network is 10-12-1 with tanh, in float64,
with five seeds and the same initial weights for all methods. Every method trains for the same time. The table shows the
median over the seeds of the training error at several times, and of the time until the final error of Adam is reached.
Adam has the best of its usual settings (mini-batches of 32 or full batches, three learning rates), chosen by its final
error. The other methods have their default settings.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/optimizers.py [--seconds 3]
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import make_friedman1

from chainrule import Callback, Dataset, NeuralNetwork
from chainrule.activations import TanhActivation
from chainrule.callbacks import TrainingRun
from chainrule.layers import DenseLayer

RESULTS = Path(__file__).parent / "results"
SEEDS = range(5)
MARKS = (0.03, 0.1, 0.3, 1.0, 3.0)


class Stopwatch(Callback):
    """Record the error after every epoch, and stop after a given time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.points: list[tuple[float, float]] = []

    def on_fit_start(self, run: TrainingRun) -> None:
        self.start = time.perf_counter()

    def on_epoch_end(self, run: TrainingRun) -> None:
        elapsed = time.perf_counter() - self.start
        self.points.append((elapsed, run.history.last("loss")))
        if elapsed > self.seconds:
            run.stop("the time limit is reached")

    def error_at(self, seconds: float) -> float:
        """Return the lowest error until this time."""
        return min((error for elapsed, error in self.points if elapsed <= seconds), default=float("nan"))

    def seconds_to(self, error: float) -> float:
        """Return the time at which the error is reached."""
        return next((elapsed for elapsed, reached in self.points if reached <= error), float("inf"))


def train(dataset: Dataset, seconds: float, **settings: Any) -> list[Stopwatch]:
    watches = []
    for seed in SEEDS:
        network = NeuralNetwork(epochs=10**6, seed=seed, dtype="float64", **settings)
        for layer in (DenseLayer(12, (10,)), TanhActivation(), DenseLayer(1)):
            network.add(layer)
        watches.append(Stopwatch(seconds))
        network.fit(dataset, callbacks=[watches[-1]])
    return watches


def median_error(watches: list[Stopwatch], seconds: float) -> float:
    return statistics.median(watch.error_at(seconds) for watch in watches)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="training time of each method and seed")
    seconds = parser.parse_args().seconds
    X, y = make_friedman1(200, n_features=10, noise=0.0, random_state=0)
    dataset = Dataset(X, (y - y.mean()) / y.std()).standardize()

    for optimizer in ("adam", "rprop", "quickprop", "lbfgs", "levenberg_marquardt"):
        train(dataset, 0.02, optimizer=optimizer)  # compiles its kernels

    forms = [(rate, size) for rate in (0.003, 0.01, 0.03) for size in (32, 200)]
    adams = {
        form: train(dataset, seconds, optimizer="adam", learning_rate=form[0], batch_size=form[1]) for form in forms
    }
    best = min(adams, key=lambda form: median_error(adams[form], seconds))
    watches = {f"adam (rate {best[0]:g}, batch {best[1]})": adams[best]}
    for optimizer in ("rprop", "quickprop", "lbfgs", "levenberg_marquardt"):
        watches[optimizer] = train(dataset, seconds, optimizer=optimizer)

    goal = median_error(adams[best], seconds)
    marks = [mark for mark in MARKS if mark <= seconds]
    lines = [
        "| optimizer | "
        + " | ".join(f"error at {mark:g} s" for mark in marks)
        + " | epochs | seconds to Adam's error |",
        "|---|" + "---|" * (len(marks) + 2),
    ]
    for name, runs in watches.items():
        errors = " | ".join(f"{median_error(runs, mark):.2e}" for mark in marks)
        reached = statistics.median(run.seconds_to(goal) for run in runs)
        n_epochs = statistics.median(len(run.points) for run in runs)
        lines.append(f"| {name} | {errors} | {n_epochs:,.0f} | {reached:.3f} |".replace("inf", "not reached"))
    table = "\n".join(lines)
    print(table)
    RESULTS.mkdir(exist_ok=True)
    where = f"{platform.processor() or platform.machine()}, NumPy {np.__version__}, one thread"
    (RESULTS / "optimizers.md").write_text(
        f"# Optimizers on a regression of 200 rows\n\n"
        f"Training mean squared error, standardised targets, median of 5 seeds; {where}.\n"
        f"Written by `python benchmarks/optimizers.py --seconds {seconds:g}`.\n\n{table}\n"
    )
    curves = {name: [run.points[:: max(1, len(run.points) // 200)] for run in runs] for name, runs in watches.items()}
    (RESULTS / "optimizers.json").write_text(json.dumps({"machine": where, "seconds": seconds, "curves": curves}))


if __name__ == "__main__":
    main()
