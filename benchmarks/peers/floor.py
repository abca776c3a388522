"""The floor: only the matrix products of a training step."""

from __future__ import annotations

import time

import numpy as np
from datasets import Array
from workload import Workload

from peers.base import Peer


class Floor(Peer):
    """``np.matmul(out=)`` alone: forward, weight gradients, and input gradients except those of the first layer.

    Rows are not gathered, and there is no bias, activation, loss or optimizer.
    """

    library = "numpy"

    def prepare(self, workload: Workload) -> None:
        rng = np.random.default_rng(0)
        self.n_steps = workload.n_steps
        self.weights = [W for W, _ in workload.weights()]
        self.values = [rng.random((workload.batch, n), np.float32) for n in workload.widths]
        self.errors = [rng.random((workload.batch, n), np.float32) for n in workload.widths]
        self.gradients = [np.empty_like(W) for W in self.weights]
        self.note = f"sgemm peak {self.peak() / 1e9:.0f} GFLOP/s"

    def epoch(self, order: Array) -> None:
        values, errors, gradients = self.values, self.errors, self.gradients
        layers = list(enumerate(self.weights))
        for _ in range(self.n_steps):
            for i, W in layers:
                np.matmul(values[i], W, out=values[i + 1])
            for i, W in reversed(layers):
                np.matmul(values[i].T, errors[i + 1], out=gradients[i])
                if i > 0:
                    np.matmul(errors[i + 1], W.T, out=errors[i])

    def outputs(self, X: Array) -> Array:
        """Return only the forward products."""
        for W in self.weights:
            X = np.matmul(X, W)
        return X

    @staticmethod
    def peak(size: int = 1024, repeats: int = 8) -> float:
        """Return the best FLOP/s of a square float32 product."""
        rng = np.random.default_rng(0)
        a, b, c = (rng.random((size, size), np.float32) for _ in range(3))
        best = np.inf
        for _ in range(repeats):
            start = time.perf_counter()
            np.matmul(a, b, out=c)
            best = min(best, time.perf_counter() - start)
        return 2 * size**3 / best
