"""The data of the workloads: real data if the files exist, otherwise generated data with the same sparsity.

The real files are read from the folder named by CHAINRULE_DATA, or from ../shared/data next to the repository. Nothing
is downloaded. Every function returns the arrays and a description of their origin.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = Any  # a NumPy array, or a SciPy CSR matrix

BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Rows:
    """Inputs, targets and their origin."""

    X: Array
    y: Array
    X_test: Array
    y_test: Array
    origin: str


def real_file(path: str) -> bool:
    """Return whether a file exists in the data folder; if so, let chainrule read this folder."""
    folder = Path(os.environ.get("CHAINRULE_DATA", BESIDE_THE_REPOSITORY))
    if not (folder / path).exists():
        return False
    os.environ["CHAINRULE_DATA"] = str(folder)
    return True


def mnist() -> Rows:
    """60,000 training images and 10,000 test images of 784 pixels from 0 to 1 (19 % of them not 0), in 10 classes."""
    if real_file("mnist/train-images-idx3-ubyte.gz"):
        from chainrule import load_dataset

        train, test = load_dataset("mnist", part="train"), load_dataset("mnist", part="test")
        return Rows(train.X, train.y, test.X, test.y, "MNIST")
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, 70_000)
    pixels = np.stack(np.meshgrid(*[np.linspace(-1, 1, 28)] * 2), axis=-1).reshape(784, 2)
    strokes = rng.uniform(-0.5, 0.5, (10, 6, 2))  # an image of a class has six blurred dots near the centre
    distance = np.linalg.norm(pixels[None, None] - strokes[:, :, None], axis=-1).min(axis=1)
    ink = np.exp(-((distance / 0.25) ** 2))
    ink *= 0.19 / ink.mean()
    ink[ink < 0.02] = 0  # as in MNIST, the margins are always empty
    X = rng.random((70_000, 784), np.float32)
    X *= rng.random((70_000, 784), np.float32) < ink[y].astype(np.float32)
    return Rows(X[:60_000], y[:60_000], X[60_000:], y[60_000:], "generated, as sparse as MNIST (19 % not 0)")


def table(n_rows: int = 20_000) -> Rows:
    """A regression with 13 standardised columns, as many as Boston housing has."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n_rows + 2_000, 13), np.float32)
    y = np.sin(X[:, 0] * 2) + X[:, 1] * X[:, 2] + 0.5 * X[:, 3] + 0.1 * rng.standard_normal(len(X))
    y = y.astype(np.float32)
    return Rows(X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:], "generated regression")


def xnor(copies: int) -> Rows:
    """The four rows of XNOR, ``copies`` times."""
    X = np.tile(np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), (copies, 1))
    y = np.tile(np.array([1, 0, 0, 1]), copies)
    return Rows(X, y, X[:4], y[:4], f"the four rows of XNOR, {copies:,} times" if copies > 1 else "the rows of XNOR")


def imdb() -> Rows:
    """25,000 reviews as CSR rows of 10,000 words, about 130 of them present; the target is a positive review."""
    if real_file("imdb/imdb.npz"):
        from chainrule import load_dataset

        train, test = load_dataset("imdb", part="train"), load_dataset("imdb", part="test")
        return Rows(train.X, train.y, test.X, test.y, "IMDB, 10,000 words")
    from scipy.sparse import csr_matrix

    rng = np.random.default_rng(2)
    n_rows, n_words, draws = 27_000, 10_000, 230
    words = np.minimum(rng.zipf(1.3, (n_rows, draws)), n_words) - 1
    X = csr_matrix((np.ones(words.size, np.float32), (np.repeat(np.arange(n_rows), draws), words.ravel())))
    X.resize((n_rows, n_words))
    X.data[:] = 1
    score = X @ rng.standard_normal(n_words).astype(np.float32)
    y = (score > np.median(score)).astype(np.int64)
    return Rows(X[:25_000], y[:25_000], X[25_000:], y[25_000:], "generated, as sparse as IMDB")
