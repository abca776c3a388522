"""Batch and layer normalisation: the batch of one row, running statistics, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.errors import InvalidInputError
from chainrule.layers import BatchNormalizationLayer, Layer, LayerNormalizationLayer


def built(layer: Layer, shape: tuple[int, ...], dtype: Any = np.float64) -> Any:
    layer.dtype = np.dtype(dtype)
    layer.set_input_shape(shape)
    layer.initialize()
    return layer


@given(rows=st.integers(2, 50), columns=st.integers(1, 9), offset=st.floats(-1e3, 1e3), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_batch_normalisation_gives_mean_0_and_variance_1(rows: int, columns: int, offset: float, seed: int) -> None:
    x = np.random.default_rng(seed).normal(offset, 3, (rows, columns))
    output = built(BatchNormalizationLayer(epsilon=1e-12), (columns,)).forward_propagation(x, training=True)
    np.testing.assert_allclose(output.mean(axis=0), 0, atol=1e-7)
    np.testing.assert_allclose(output.var(axis=0), 1, atol=1e-4)


@given(rows=st.integers(1, 20), columns=st.integers(2, 30), offset=st.floats(-1e3, 1e3), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_layer_normalisation_does_not_depend_on_the_other_rows(
    rows: int, columns: int, offset: float, seed: int
) -> None:
    x = np.random.default_rng(seed).normal(offset, 3, (rows, columns))
    layer = built(LayerNormalizationLayer(), (columns,))
    output = layer.forward_propagation(x)
    np.testing.assert_allclose(output.mean(axis=1), 0, atol=1e-7)
    np.testing.assert_array_equal(layer.forward_propagation(x[-1:]), output[-1:])


def test_running_statistics_converge_to_those_of_the_data() -> None:
    rng = np.random.default_rng(0)
    layer = built(BatchNormalizationLayer(momentum=0.05), (3,))
    for _ in range(400):
        layer.forward_propagation(rng.normal([1, -2, 100], [1, 2, 3], (64, 3)), training=True)
    np.testing.assert_allclose(layer.running_mean, [1, -2, 100], atol=0.3)
    np.testing.assert_allclose(layer.running_variance, [1, 4, 9], rtol=0.2)
    x = rng.normal([1, -2, 100], [1, 2, 3], (5000, 3))
    np.testing.assert_allclose(layer.forward_propagation(x).std(axis=0), 1, rtol=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_training_batch_of_one_row_is_normalised_by_the_running_statistics(dtype: str) -> None:
    rng = np.random.default_rng(0)
    layer = built(BatchNormalizationLayer(), (3,), dtype)
    layer.scale, layer.shift = [2, 3, 4], [0.1, 0.2, 0.3]
    layer.forward_propagation(rng.normal(size=(16, 3)), training=True)
    mean, variance = layer.running_mean.copy(), layer.running_variance.copy()
    row = rng.normal(size=(1, 3)).astype(dtype)
    output = layer.forward_propagation(row, training=True)
    np.testing.assert_array_equal(output, layer.forward_propagation(row))
    np.testing.assert_array_equal(layer.running_mean, mean)
    np.testing.assert_array_equal(layer.running_variance, variance)
    expected = layer.scale / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(layer.backward_propagation(np.ones((1, 3)))[0], expected, rtol=1e-6)
    assert np.isfinite(layer.gradient_views["scale"]).all()


def test_a_constant_feature_gives_no_infinity() -> None:
    layer = built(BatchNormalizationLayer(), (2,), np.float32)
    output = layer.forward_propagation(np.full((8, 2), 1e6), training=True)
    np.testing.assert_array_equal(output, 0)
    assert np.isfinite(layer.backward_propagation(np.ones((8, 2)))).all()


def test_scale_and_shift_are_not_penalised() -> None:
    assert BatchNormalizationLayer.penalized_parameters == LayerNormalizationLayer.penalized_parameters == ()


def test_initialising_again_resets_the_running_statistics_in_place() -> None:
    layer = built(BatchNormalizationLayer(), (2,))
    held = layer.running_mean
    layer.forward_propagation([[1, 2], [3, 4]], training=True)
    assert held.any()
    layer.initialize()
    assert layer.running_mean is held
    assert held.tolist() == [0, 0]
    assert layer.running_variance.tolist() == [1, 1]


def test_learnt_numbers_can_be_assigned() -> None:
    batch, layer = BatchNormalizationLayer(), LayerNormalizationLayer()
    for each in (batch, layer):
        each.set_input_shape((2,))
        each.scale, each.shift = [2, 3], [5, 5]
    batch.running_mean, batch.running_variance = [1, 1], [4, 1]
    np.testing.assert_allclose(batch.forward_propagation([[3, 3]]), [[7, 11]], rtol=1e-5)
    np.testing.assert_allclose(layer.forward_propagation([[1, 3]]), [[3, 8]], rtol=1e-4)
    with pytest.raises(InvalidInputError, match="running_mean of BatchNormalizationLayer must have shape"):
        batch.running_mean = [1, 2, 3]


@pytest.mark.parametrize(
    "settings_", [{"epsilon": 0}, {"epsilon": 32}, {"epsilon": float("nan")}, {"momentum": 1.1}, {"momentum": -1}]
)
def test_impossible_settings_are_refused(settings_: dict[str, float]) -> None:
    with pytest.raises(InvalidInputError, match="of BatchNormalizationLayer is"):
        BatchNormalizationLayer(**settings_)
    if "epsilon" in settings_:
        with pytest.raises(InvalidInputError, match="epsilon of LayerNormalizationLayer"):
            LayerNormalizationLayer(**settings_)


@pytest.mark.parametrize("cls", [BatchNormalizationLayer, LayerNormalizationLayer])
def test_without_scale_and_shift_it_is_that_of_pytorch(cls: Any) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x, error = rng.normal(2, 3, (8, 5)), rng.normal(size=(8, 5))
    layer = cls(affine=False)
    layer.dtype = np.dtype(np.float64)
    layer.set_input_shape((5,))
    layer.initialize()
    if cls is BatchNormalizationLayer:
        module = torch.nn.BatchNorm1d(5, affine=False, dtype=torch.float64)
    else:
        module = torch.nn.LayerNorm(5, elementwise_affine=False, dtype=torch.float64)
    inputs = torch.tensor(x, requires_grad=True)
    outputs = module(inputs)
    outputs.backward(torch.tensor(error))
    np.testing.assert_allclose(layer.forward_propagation(x, training=True), outputs.detach().numpy(), rtol=1e-10)
    assert inputs.grad is not None
    np.testing.assert_allclose(layer.backward_propagation(error), inputs.grad.numpy(), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(layer.forward_propagation(x), module.eval()(inputs).detach().numpy(), rtol=1e-10)
    assert layer.parameters() == 0
    with pytest.raises(InvalidInputError, match="with affine=False has no scale"):
        layer.scale  # noqa: B018
    with pytest.raises(InvalidInputError, match=f"affine of {cls.__name__} is 'no'; allowed are True and False"):
        cls(affine="no")
