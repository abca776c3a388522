"""Every layer and activation as ONNX operators gives our numbers, in both types and both runtimes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.activations import ACTIVATIONS, CustomActivation
from chainrule.errors import InvalidInputError
from chainrule.export.onnx_graph import build_onnx
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    FlattenLayer,
    Layer,
    LayerNormalizationLayer,
    StandardizationLayer,
)
from chainrule.neuralnet import NeuralNetwork
from support.layers import LAYER_CLASSES, make_layer
from support.networks import network_of
from support.onnx_runs import assert_predicts_alike, run_onnx


def with_drawn_numbers(network: NeuralNetwork) -> NeuralNetwork:
    """Put other numbers than the first ones into every parameter and state, those of scales and variances above 0."""
    rng = np.random.default_rng(3)
    for layer in network.layers:
        for arrays in (layer.parameter_views, layer.state):
            for name, array in arrays.items():
                drawn = rng.normal(size=array.shape)
                array[...] = np.abs(drawn) + 0.5 if "scale" in name or "variance" in name else drawn
    return network


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cls", LAYER_CLASSES)
def test_a_layer(cls: type[Layer], dtype: Any) -> None:
    layer = make_layer(cls)
    layer.set_input_shape((6,))
    network = with_drawn_numbers(network_of(layer, dtype=dtype))
    rows = np.random.default_rng(0).normal(size=(200, 6)) * 3
    rows[0], rows[1], rows[2] = 0, 100, -100  # the kinks, and where a careless exponential overflows
    assert_predicts_alike(network, rows)


@pytest.mark.parametrize("cls", [cls for cls in LAYER_CLASSES if not cls.takes_vectors_only])
def test_a_layer_of_images(cls: type[Layer]) -> None:
    layer = make_layer(cls)
    layer.set_input_shape((4, 5))
    network = with_drawn_numbers(network_of(layer, FlattenLayer(), DenseLayer(2)))
    assert_predicts_alike(network, np.random.default_rng(0).normal(size=(7, 4, 5)))


def test_settings_reach_the_graph() -> None:
    layers = [
        ACTIVATIONS.find("leaky_relu")(0.3), BatchNormalizationLayer(epsilon=0.1), ACTIVATIONS.find("elu")(2.5),
        LayerNormalizationLayer(epsilon=0.5), ACTIVATIONS.find("prelu")(-0.7),
        ACTIVATIONS.find("prelu")(-0.7, shared=False), ACTIVATIONS.find("celu")(0.4),
        ACTIVATIONS.find("softplus")(2.5), ACTIVATIONS.find("gelu")("tanh"),
    ]  # fmt: skip
    network = network_of(DenseLayer(5, (4,)), *layers)
    assert_predicts_alike(network, np.random.default_rng(1).normal(size=(50, 4)) * 3)


def test_rows_far_from_zero_keep_their_variance() -> None:
    network = network_of(LayerNormalizationLayer(), dtype="float32")
    rows = 3000 + np.random.default_rng(0).normal(size=(20, 8))
    network.stack.build((8,))
    assert_predicts_alike(network, rows)


@pytest.mark.parametrize("offset", [100, 1e4, 1e5])
def test_columns_far_from_zero_keep_their_variance(offset: float) -> None:
    rows = offset + np.random.default_rng(0).normal(size=(50, 3))
    network = network_of(BatchNormalizationLayer(), DenseLayer(8), ACTIVATIONS.create("relu"), DenseLayer(1))
    network.stack.build((3,))
    with_drawn_numbers(network).layers[0].set_array("running_mean", np.full(3, offset))
    assert_predicts_alike(network, rows)


def test_standardised_inputs_of_large_numbers() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 3)) * [1, 1e3, 1e-3] + [0, 1e5, 1]
    network = network_of(StandardizationLayer().adapt(rows), DenseLayer(2))
    assert_predicts_alike(network, rows)


@pytest.mark.parametrize("n_rows", [0, 1, 5])
def test_the_number_of_rows_is_free(n_rows: int) -> None:
    network = network_of(DenseLayer(4, (3,)), LayerNormalizationLayer(), ACTIVATIONS.create("gelu"), DenseLayer(2))
    for outputs in run_onnx(build_onnx(network), {"X": np.ones((n_rows, 3), np.float32)}).values():
        assert outputs["outputs"].shape == (n_rows, 2)


def test_a_layer_of_ones_own_is_named() -> None:
    network = network_of(DenseLayer(2, (2,)), CustomActivation(np.cbrt, np.cos, name="CubeRoot"))
    with pytest.raises(InvalidInputError, match="CubeRoot is computed by NumPy only"):
        build_onnx(network)
