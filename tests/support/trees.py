"""A network with branches, residual blocks and embeddings, and rows for it, which several tests use."""

from __future__ import annotations

import numpy as np

from chainrule.activations import TanhActivation
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    EmbeddingLayer,
    GaussianNoiseLayer,
    Layer,
    LayerNormalizationLayer,
    Parallel,
    PeriodicEmbeddingLayer,
    PiecewiseLinearEncodingLayer,
    QuantileLayer,
    Residual,
    Sequential,
)

__all__ = ["TREE_X", "TREE_Y", "tree_layers"]

RNG = np.random.default_rng(0)
TREE_X = np.column_stack([RNG.integers(0, 3, 90), RNG.integers(0, 5, 90), RNG.normal(size=(90, 4))])
TREE_Y = TREE_X[:, :1] * TREE_X[:, 2:3] + TREE_X[:, 3:4] - TREE_X[:, 1:2]


def tree_layers() -> list[Layer]:
    """Layers for the rows of TREE_X: two columns of codes and four of numbers."""
    numbers = Sequential([PeriodicEmbeddingLayer(3, 0.5), DenseLayer(6), TanhActivation(), GaussianNoiseLayer(0.1)])
    bins = PiecewiseLinearEncodingLayer(4).adapt(TREE_X[:, 4:])
    scores = QuantileLayer(5).adapt(TREE_X[:, 2:4])
    branches = Parallel(
        [EmbeddingLayer([3, 5], 4), numbers, bins, scores], columns=[(0, 1), (2, 3, 4, 5), (5, 4), (2, 3)]
    )
    inner = Residual([DenseLayer(24), TanhActivation()])
    norms = [BatchNormalizationLayer(), TanhActivation(), DropoutLayer(0.2), LayerNormalizationLayer()]
    projected = Residual([DenseLayer(7), TanhActivation(), DenseLayer(5)], shortcut=[DropoutLayer(0.1), DenseLayer(5)])
    return [branches, Residual([DenseLayer(12), *norms, DenseLayer(24), inner]), projected, DenseLayer(1)]
