"""Networks trained in one process and, by ``torchrun``, in several; ``python -m`` prints how far apart they end."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from chainrule.activations import ReLUActivation, SigmoidActivation, SoftmaxActivation, TanhActivation
from chainrule.callbacks import EarlyStopping
from chainrule.data import Dataset, NpyStream
from chainrule.engines import choose_engine
from chainrule.errors import InvalidInputError
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    GaussianNoiseLayer,
    RepeatLayer,
)
from chainrule.neuralnet import NeuralNetwork
from support.children import child_environment
from support.networks import class_rows, network_of, regression_rows

__all__ = ["CASES", "learnt", "torchrun", "torchrun_command", "worker_of"]


def _classes(*extra: Any, n_rows: int = 103, **settings: Any) -> NeuralNetwork:
    """A network for three classes, fitted on a number of rows that no number of processes divides."""
    network = network_of(
        *extra, DenseLayer(12), TanhActivation(), DenseLayer(3), SoftmaxActivation(), engine="torch",
        loss="categorical_cross_entropy", metric="accuracy", **{"epochs": 4, "batch_size": 17, **settings},
    )  # fmt: skip
    return network.fit(class_rows(n_rows), validation=0.2)


def _weighted() -> NeuralNetwork:
    weights = np.random.default_rng(0).uniform(0, 3, 80)
    network = network_of(DenseLayer(8), ReLUActivation(), DenseLayer(1), engine="torch", batch_size=9, epochs=4, l2=0.1)
    return network.fit(regression_rows(80, sample_weight=weights))


def _bagged() -> NeuralNetwork:
    seen = 1.0 - np.eye(3)[np.arange(80) % 3]
    network = network_of(
        RepeatLayer(3), EnsembleDenseLayer(8), ReLUActivation(), EnsembleDenseLayer(1), EnsembleMeanLayer(),
        engine="torch", batch_size=2, epochs=2, metric="r2",
    )  # fmt: skip
    rows = regression_rows(80)
    return network.fit(rows.X, rows.y, seen, validation=(rows.X, rows.y, 1 - seen))


def _sparse() -> NeuralNetwork:
    rows = class_rows(70, n_classes=2)
    data = Dataset(sparse.csr_matrix(rows.X * (rows.X > 0)), rows.y)
    network = network_of(
        DropoutLayer(0.3), DenseLayer(6), SigmoidActivation(), DenseLayer(1), SigmoidActivation(), engine="torch",
        loss="binary_cross_entropy", optimizer="adam", epochs=4, batch_size=11,
    )  # fmt: skip
    return network.fit(data)


def _stopped_early() -> NeuralNetwork:
    network = network_of(DenseLayer(20), ReLUActivation(), DenseLayer(1), engine="torch", optimizer="adam", epochs=200)
    return network.fit(regression_rows(60), validation=0.3, callbacks=[EarlyStopping(patience=3)])


def _streamed() -> NeuralNetwork:
    rows = class_rows(103)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder, "X.npy"), Path(folder, "y.npy")
        for path, part in zip(paths, (rows.X, rows.y), strict=True):
            np.save(path, part)
        network = network_of(
            DenseLayer(12), TanhActivation(), DenseLayer(3), SoftmaxActivation(), engine="torch", batch_size=17,
            loss="categorical_cross_entropy", metric="accuracy", epochs=4, class_weight="balanced",
        )  # fmt: skip
        return network.fit(NpyStream(*paths, buffer_rows=40), validation=0.2)


CASES: dict[str, Callable[[], NeuralNetwork]] = {
    "sgd": _classes,
    "float64": lambda: _classes(optimizer="adam", dtype="float64"),
    "adam": lambda: _classes(optimizer="adam"),
    "clipped": lambda: _classes(optimizer="adam", clip_norm=0.1, max_norm=1.0),
    "batch normalisation": lambda: _classes(BatchNormalizationLayer(), optimizer="adam"),
    "dense, batch normalisation": lambda: _classes(
        DenseLayer(9), BatchNormalizationLayer(), ReLUActivation(), optimizer="adam"
    ),
    "dropout": lambda: _classes(DropoutLayer(0.4), optimizer="adam"),
    "noise": lambda: _classes(GaussianNoiseLayer(0.3), optimizer="adam"),
    "virtual adversarial": lambda: _classes(
        BatchNormalizationLayer(), DropoutLayer(0.2), optimizer="adam", dtype="float64", vat_epsilon=0.5
    ),
    "fewer rows than processes": lambda: _classes(batch_size=2, n_rows=13),
    "one row a batch": lambda: _classes(batch_size=1, n_rows=11),
    "lbfgs": lambda: _classes(optimizer="lbfgs", dtype="float64", epochs=6),
    "rprop": lambda: _classes(optimizer="rprop", dtype="float64", epochs=6),
    "weights": _weighted,
    "weights of members": _bagged,
    "sparse": _sparse,
    "stopped early": _stopped_early,
    "streamed": _streamed,
}


def learnt(network: NeuralNetwork) -> dict[str, Any]:
    """All that a network has learnt and recorded, by name."""
    history = {f"history {name}": values for name, values in network.history.to_dict().items() if name != "seconds"}
    return {**network.stack.read_arrays(), **history}


def torchrun_command(n_processes: int, *arguments: str, options: tuple[str, ...] = ("--standalone",)) -> list[str]:
    """The command that starts a module in so many processes of this machine."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(n_processes), *options]
    return [*launch, "-m", *arguments]


def torchrun(n_processes: int, *arguments: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """Run a module in so many processes, to the end."""
    return subprocess.run(
        torchrun_command(n_processes, *arguments), capture_output=True, text=True, check=False, timeout=240, **settings
    )


def worker_of(parent: int, rank: int) -> int | None:
    """The process of this rank among the children of torchrun."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent_id = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                environment = (entry / "environ").read_bytes().split(b"\0")
            except (OSError, IndexError, ValueError):
                continue  # it has ended meanwhile
            if parent_id == parent and f"RANK={rank}".encode() in environment:
                return int(entry.name)
    return None


def _train_all(folder: Path) -> None:
    """Train every case; each process writes what it has learnt, and at its end which of its threads are alive."""
    atexit.register(_note_threads, folder / f"threads {os.environ['RANK']}")  # called last, for it is the first here
    choose_engine("torch", "cpu").join()  # as a command does, before it has a network
    for name, train in CASES.items():
        np.savez(folder / f"{name} {os.environ['RANK']}.npz", **learnt(train()))
    (folder / f"refusal {os.environ['RANK']}").write_text(_refusal())


def _note_threads(path: Path) -> None:
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    path.write_text("\n".join(sorted(names)))


def _refusal() -> str:
    """What a process is told that has other data than the others."""
    network = network_of(DenseLayer(1), engine="torch", epochs=1)
    try:
        network.fit(regression_rows(30, seed=int(os.environ["RANK"])))
    except InvalidInputError as error:
        return str(error)
    return "nothing"


def _print_table() -> None:
    """Print how far two and three processes end from one: the worst number of each case, relative to its array."""
    alone = {name: learnt(train()) for name, train in CASES.items()}
    columns = []
    for n_processes in (2, 3):
        with tempfile.TemporaryDirectory() as folder:
            torchrun(n_processes, "support.together", folder, env=child_environment()).check_returncode()
            saved = {name: dict(np.load(Path(folder, f"{name} 0.npz"))) for name in CASES}
        columns.append({name: _distance(saved[name], known) for name, known in alone.items()})
    print(f"{'trained':28}  2 processes  3 processes")
    for name in CASES:
        print(f"{name:28}  {columns[0][name]:.1e}      {columns[1][name]:.1e}")


def _distance(theirs: dict[str, Any], ours: dict[str, Any]) -> float:
    """The largest distance of any number, relative to the largest number of its array."""
    distances = []
    for name, values in ours.items():
        a, b = np.asarray(values, np.float64), np.asarray(theirs[name], np.float64)
        distances.append(float(np.abs(a - b).max(initial=0) / np.abs(a).max(initial=1e-300)))
    return max(distances)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _train_all(Path(sys.argv[1]))
    else:
        _print_table()
