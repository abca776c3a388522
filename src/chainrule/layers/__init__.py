"""The layers: each one a page, forward written beside backward."""

from __future__ import annotations

from chainrule.layers.base import Layer
from chainrule.layers.containers import Parallel, ParametricActivationLayer, Residual, Sequential
from chainrule.layers.dense import DenseLayer
from chainrule.layers.dropout import DropoutLayer, GaussianNoiseLayer
from chainrule.layers.embedding import EmbeddingLayer, PeriodicEmbeddingLayer, PiecewiseLinearEncodingLayer
from chainrule.layers.ensemble import BatchEnsembleLayer, EnsembleDenseLayer, EnsembleMeanLayer, RepeatLayer
from chainrule.layers.normalization import BatchNormalizationLayer, LayerNormalizationLayer
from chainrule.layers.reshape import FlattenLayer
from chainrule.layers.scaling import InputScalingLayer, StandardizationLayer
from chainrule.named import Registry

__all__ = [
    "LAYERS",
    "BatchEnsembleLayer",
    "BatchNormalizationLayer",
    "DenseLayer",
    "DropoutLayer",
    "EmbeddingLayer",
    "EnsembleDenseLayer",
    "EnsembleMeanLayer",
    "FlattenLayer",
    "GaussianNoiseLayer",
    "InputScalingLayer",
    "Layer",
    "LayerNormalizationLayer",
    "Parallel",
    "ParametricActivationLayer",
    "PeriodicEmbeddingLayer",
    "PiecewiseLinearEncodingLayer",
    "RepeatLayer",
    "Residual",
    "Sequential",
    "StandardizationLayer",
]

LAYERS: Registry[Layer] = Registry(
    "layer",
    Layer,
    {
        "dense": DenseLayer,
        "dropout": DropoutLayer,
        "gaussian_noise": GaussianNoiseLayer,
        "batch_normalization": BatchNormalizationLayer,
        "layer_normalization": LayerNormalizationLayer,
        "input_scaling": InputScalingLayer,
        "standardization": StandardizationLayer,
        "flatten": FlattenLayer,
        "sequential": Sequential,
        "residual": Residual,
        "parallel": Parallel,
        "embedding": EmbeddingLayer,
        "periodic_embedding": PeriodicEmbeddingLayer,
        "piecewise_linear_encoding": PiecewiseLinearEncodingLayer,
        "parametric_activation": ParametricActivationLayer,
        "repeat": RepeatLayer,
        "ensemble_dense": EnsembleDenseLayer,
        "batch_ensemble": BatchEnsembleLayer,
        "ensemble_mean": EnsembleMeanLayer,
    },
)
