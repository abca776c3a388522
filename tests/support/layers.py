"""One layer of every class, for the tests that go through all of them."""

from __future__ import annotations

from collections.abc import Callable

from chainrule.activations import ACTIVATIONS, PReLUActivation, TanhActivation
from chainrule.layers import (
    LAYERS,
    BatchEnsembleLayer,
    DenseLayer,
    EmbeddingLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    InputScalingLayer,
    Layer,
    LayerNormalizationLayer,
    Parallel,
    ParametricActivationLayer,
    PeriodicEmbeddingLayer,
    RepeatLayer,
    Residual,
    Sequential,
)

__all__ = ["LAYER_CLASSES", "NEEDS_OTHER_ROWS", "make_layer"]

# How to make a layer whose constructor needs arguments, or for which other settings than the defaults tell more.
_MAKERS: dict[type[Layer], Callable[[], Layer]] = {
    DenseLayer: lambda: DenseLayer(4),
    Parallel: lambda: Parallel(
        (DenseLayer(3), Sequential((DenseLayer(2), TanhActivation()))), columns=((2, 0, 2), None)
    ),
    ParametricActivationLayer: lambda: ParametricActivationLayer(PReLUActivation()),
    PeriodicEmbeddingLayer: lambda: PeriodicEmbeddingLayer(3, 0.1),
    Residual: lambda: Residual(
        (LayerNormalizationLayer(), Residual((TanhActivation(),), shortcut=InputScalingLayer()))
    ),
    Sequential: lambda: Sequential((DenseLayer(5), TanhActivation())),
}

# They take codes, or rows of ensembles: see tests/layers/test_blocks.py and test_ensembles.py.
NEEDS_OTHER_ROWS: set[type[Layer]] = {
    EmbeddingLayer,
    RepeatLayer,
    EnsembleDenseLayer,
    BatchEnsembleLayer,
    EnsembleMeanLayer,
}
LAYER_CLASSES: list[type[Layer]] = sorted(
    {*LAYERS.classes.values(), *ACTIVATIONS.classes.values()} - NEEDS_OTHER_ROWS, key=lambda cls: cls.__name__
)


def make_layer(cls: type[Layer]) -> Layer:
    """Return a layer of the class."""
    return _MAKERS.get(cls, cls)()
