"""Workloads: the network, its initial weights, the rows and their order. They are the same for all peers.

The runner writes the arrays to a folder once. The process of each peer reads them from there, so that its memory
contains only its own copy.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from datasets import Array, Rows

CHECK_ROWS = 2048  # number of training rows on which the loss is compared


@dataclass(frozen=True)
class Workload:
    """A training task.

    ``tolerance`` is the allowed relative difference of the losses of two programs after ``check_steps`` steps from the
    same weights on the same batches. Compared with float64, over eight seeds of S2, the differences were below 2e-7 for
    most runs of PyTorch and chainrule, but 1e-4 to 6e-4 for one or two runs of each and for half of the runs of JAX.
    The reason is that the input of a ReLU near 0 is positive in one program and negative in the other, and that the
    first step of Adam for a weight has full length for any gradient. The first step of RMSprop is ten times as long, so
    its tolerance is wider.

    ``for_check`` marks the short task of this comparison. It has no dropout, because each program draws other masks.
    Programs that choose the order of the rows themselves get the rows in the given order.
    """

    name: str
    title: str
    widths: tuple[int, ...]
    batch: int
    loss: str  # cross_entropy, binary_cross_entropy or mean_squared_error, each the mean over the rows
    activation: str = "relu"  # or sigmoid
    optimizer: str = "adam"  # or rmsprop; both with PyTorch's default settings
    learning_rate: float = 0.001
    dropout: float = 0.0
    l2: float = 0.0  # the rate of the penalty rate / 2 * sum w^2
    batch_norm: bool = False
    sparse: bool = False  # the inputs are CSR rows
    engine: str = "numpy"  # of chainrule; the device and the precision are those of engine="torch"
    device: str = "cpu"
    precision: str = "float32"
    n_rows: int = 0
    epochs_a_round: int = 1
    check_steps: int = 50
    tolerance: float = 2e-3
    seed: int = 0
    origin: str = ""
    for_check: bool = False
    folder: str = ""

    def write(self, folder: Path, rows: Rows) -> Self:
        """Write the arrays to ``folder``; return the workload that reads them from there."""
        n_rows = self.n_rows or rows.X.shape[0]
        parts = {"": (rows.X[:n_rows], rows.y[:n_rows]), "_test": (rows.X_test, rows.y_test)}
        for part, (X, y) in parts.items():
            if isinstance(X, np.ndarray):
                np.save(folder / f"X{part}.npy", np.ascontiguousarray(X, np.float32))
            else:
                for name in ("data", "indices", "indptr"):
                    np.save(folder / f"X{part}_{name}.npy", getattr(X, name))
            target = np.float32 if self.loss == "mean_squared_error" else np.int64
            np.save(folder / f"y{part}.npy", np.asarray(y, target))
        written = dataclasses.replace(self, n_rows=n_rows, folder=str(folder), origin=rows.origin)
        (folder / "workload.json").write_text(json.dumps(dataclasses.asdict(written)))
        return written

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the workload of a folder."""
        fields = json.loads((folder / "workload.json").read_text())
        return cls(**{**fields, "widths": tuple(fields["widths"])})

    def check_task(self) -> Self:
        """Return the short task on the first rows for which all programs must reach the same loss."""
        n_rows = min(self.n_rows, self.check_steps * self.batch)
        epochs = max(1, self.check_steps * self.batch // n_rows)
        return dataclasses.replace(self, n_rows=n_rows, epochs_a_round=epochs, dropout=0.0, for_check=True)

    @property
    def n_steps(self) -> int:
        """The number of steps per round."""
        return self.epochs_a_round * -(-self.n_rows // self.batch)

    @property
    def n_classes(self) -> int:
        """The number of classes; 0 for a regression."""
        return {"cross_entropy": self.widths[-1], "binary_cross_entropy": 2, "mean_squared_error": 0}[self.loss]

    def inputs(self, part: str = "", first: int | None = None) -> Array:
        """Return the input rows (or only the ``first`` rows), dense or CSR; no other rows are read into memory."""
        folder = Path(self.folder)
        rows = first if part else min(first or self.n_rows, self.n_rows)
        if (folder / f"X{part}.npy").exists():
            mapped = np.load(folder / f"X{part}.npy", mmap_mode="r")
            whole = rows is None or rows == len(mapped)
            return np.load(folder / f"X{part}.npy") if whole else mapped[:rows].copy()
        from scipy.sparse import csr_matrix

        arrays = tuple(np.load(folder / f"X{part}_{name}.npy") for name in ("data", "indices", "indptr"))
        X = csr_matrix(arrays, shape=(len(arrays[2]) - 1, self.widths[0]), copy=False)
        return X if rows in (None, X.shape[0]) else X[:rows]

    def targets(self, part: str = "") -> Array:
        """Return one class code (int64) or number (float32) per row."""
        y = np.load(Path(self.folder) / f"y{part}.npy")
        return y if part else y[: self.n_rows].copy()

    def weights(self) -> list[tuple[Array, Array]]:
        """Return W (inputs, units), Glorot uniform, and b, zeros, of each layer, in float32."""
        rng = np.random.default_rng([self.seed, 7])
        pairs = []
        for n_in, n_out in zip(self.widths, self.widths[1:], strict=False):
            bound = np.sqrt(6 / (n_in + n_out))
            pairs.append((rng.uniform(-bound, bound, (n_in, n_out)).astype(np.float32), np.zeros(n_out, np.float32)))
        return pairs

    def order(self, number: int) -> Array:
        """Return the row numbers of round ``number``: the permutations of its epochs, concatenated."""
        rng = np.random.default_rng([self.seed, number])
        return np.concatenate([rng.permutation(self.n_rows) for _ in range(self.epochs_a_round)])

    def measure_loss(self, outputs: Array, y: Array) -> float:
        """Return the mean loss of the outputs of a network, computed in float64; classes need probabilities."""
        p = np.asarray(outputs, np.float64).reshape(len(y), -1)
        if self.loss == "mean_squared_error":
            return float(np.mean((p[:, 0] - y) ** 2))
        chosen = p[np.arange(len(y)), y] if p.shape[1] > 1 else np.where(y == 1, p[:, 0], 1 - p[:, 0])
        return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float32).tiny))))

    def measure_accuracy(self, outputs: Array, y: Array) -> float:
        """Return the share of rows whose most probable class is correct."""
        outputs = np.asarray(outputs).reshape(len(y), -1)
        predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0.5
        return float(np.mean(predicted == y))

    @property
    def flops_a_step(self) -> int:
        """The number of multiplications and additions in the dense products of a step on a full batch."""
        pairs = list(zip(self.widths, self.widths[1:], strict=False))
        return 2 * self.batch * (2 * sum(a * b for a, b in pairs) + sum(a * b for a, b in pairs[1:]))


def describe(workload: Workload) -> dict[str, Any]:
    """Return the description of a workload for a result."""
    facts = dataclasses.asdict(workload)
    return {name: value for name, value in facts.items() if name not in ("folder", "for_check")}
