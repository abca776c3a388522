"""Small networks and rows that many tests share."""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.data import Dataset
from chainrule.data.batches import ArrayBatches, Batch
from chainrule.engines import Session
from chainrule.layers import Layer
from chainrule.neuralnet import NeuralNetwork

__all__ = ["bits_of", "class_rows", "history_without_seconds", "network_of", "regression_rows", "take_step"]


def network_of(*layers: Layer, **settings: Any) -> NeuralNetwork:
    """A network of these layers, with a seed unless one is given."""
    network = NeuralNetwork(**{"seed": 0, **settings})
    for layer in layers:
        network.add(layer)
    return network


def regression_rows(n_rows: int = 200, n_features: int = 5, *, seed: int = 0, **more: Any) -> Dataset:
    """Smooth, not linear, with a little noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, n_features))
    y = np.sin(X @ rng.normal(size=n_features)) + X[:, 0] + 0.05 * rng.normal(size=n_rows)
    return Dataset(X, y, **more)


def class_rows(n_rows: int = 200, n_features: int = 5, n_classes: int = 3, *, seed: int = 0, **more: Any) -> Dataset:
    """Overlapping clouds, one a class."""
    rng = np.random.default_rng(seed)
    codes = np.arange(n_rows) % n_classes
    centers = rng.normal(size=(n_classes, n_features))
    return Dataset(centers[codes] + rng.normal(size=(n_rows, n_features)), codes, **more)


def bits_of(network: NeuralNetwork) -> dict[str, bytes]:
    """Everything the network has learnt, to the bit."""
    return {name: array.tobytes() for name, array in network.stack.read_arrays().items()}


def history_without_seconds(network: NeuralNetwork) -> dict[str, list[float | None]]:
    """What must be the same in two runs; how long they took is not."""
    return {name: values for name, values in network.history.to_dict().items() if name != "seconds"}


def take_step(session: Session, batch: Batch, learning_rate: float) -> None:
    """Take one step on a batch."""
    batches = ArrayBatches(*batch, batch_size=batch.n_rows, seed=0)
    session.train_batches(batches, 0, 0, np.array([learning_rate]), None)
