"""The layers that scale and reshape the inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from chainrule.errors import DataError, InvalidInputError
from chainrule.layers import FlattenLayer, InputScalingLayer, StandardizationLayer
from chainrule.stack import LayerStack


def test_input_scaling_starts_as_the_identity() -> None:
    layer = InputScalingLayer()
    layer.set_input_shape((3,))
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(layer.forward_propagation(x, training=True), x)
    np.testing.assert_array_equal(layer.backward_propagation(np.ones((2, 3))), np.ones((2, 3)))
    assert layer.gradient_views["scale"].tolist() == [3, 5, 7]


@given(rows=st.integers(1, 30), columns=st.integers(1, 6), offset=st.floats(-1e4, 1e4), seed=st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_standardisation_agrees_with_scikit_learn(rows: int, columns: int, offset: float, seed: int) -> None:
    x = np.random.default_rng(seed).normal(offset, 2, (rows, columns))
    x[:, 0] = 0.1  # a constant whose standard deviation is not exactly 0
    layer = StandardizationLayer()
    layer.dtype = np.dtype(np.float64)
    found = layer.adapt(x).forward_propagation(x)
    np.testing.assert_allclose(found, StandardScaler().fit_transform(x), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found[:, 0], 0, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_input_that_is_constant_but_for_rounding_keeps_its_scale(dtype: type[np.floating[Any]]) -> None:
    one, tenth, fifth = dtype(0.3), dtype(0.1), dtype(0.2)
    x = np.array([[one, 1.0], [tenth + fifth, 2.0], [np.nextafter(one, dtype(1)), 2.0]], dtype)
    assert np.ptp(x[:, 0]) > 0
    layer = StandardizationLayer().adapt(x)
    assert layer.scale.tolist() == [1, np.std([1, 2, 2])]
    assert layer.mean[0] == pytest.approx(0.3)


def test_inputs_that_vary_by_more_than_rounding_are_scaled() -> None:
    small = np.arange(5.0)
    x = np.stack([1 + 1e-12 * small, 2.0**62 + 2**20 * small, 1e-100 * (1 + small), 1e9 + 1e-5 * small], axis=1)
    np.testing.assert_array_equal(StandardizationLayer().adapt(x).scale, x.std(axis=0))


def test_standardisation_is_the_identity_before_it_has_seen_data() -> None:
    layer = StandardizationLayer()
    layer.set_input_shape((2,))
    assert layer.forward_propagation([[3, 4]]).tolist() == [[3, 4]]
    assert layer.parameters() == 0


def test_initialising_and_binding_keep_the_statistics() -> None:
    layer = StandardizationLayer().adapt([[0, 0], [2, 4]])
    layer.dtype = np.dtype(np.float64)  # what a network of another type does before it takes a layer in
    layer.initialize()
    layer.bind({}, {})
    assert layer.mean.tolist() == [1, 2]
    assert layer.scale.tolist() == [1, 2]
    assert layer.mean.dtype == np.float64
    layer.mean = [0, 0]
    assert layer.forward_propagation([[3, 4]]).tolist() == [[3, 2]]


def test_what_is_adapted_before_a_network_takes_the_layer_in_is_not_rounded() -> None:
    times = 1.7e9 + np.random.default_rng(0).normal(0, 3, (100, 1))  # seconds since 1970, a float32 knows every 128th
    layer = StandardizationLayer().adapt(times)
    assert layer.forward_propagation(times).dtype == np.float32
    layer.initialize()
    stack = LayerStack([layer], dtype=np.float64)
    np.testing.assert_allclose(stack.forward(times), StandardScaler().fit_transform(times), rtol=1e-9, atol=1e-6)
    assert layer.mean.dtype == np.float64
    assert LayerStack([StandardizationLayer().adapt(times)]).layers[0].state["mean"].dtype == np.float32


def test_a_layer_of_its_own_goes_back_in_its_own_type() -> None:
    layer = StandardizationLayer().adapt([[0, 5], [10, 5]])
    assert layer.forward_propagation([[20, 5]], training=True).tolist() == [[3, 0]]
    error = layer.backward_propagation(np.ones((1, 2)))
    assert error is not None
    assert (error.dtype, error.tolist()) == (np.float32, [[np.float32(0.2), 1]])


def test_images_are_standardised_pixel_by_pixel() -> None:
    images = np.random.default_rng(0).normal(5, 2, (50, 4, 3))
    output = StandardizationLayer().adapt(images).forward_propagation(images)
    np.testing.assert_allclose(output.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(output.std(axis=0), 1, atol=1e-5)


def test_data_to_adapt_to_that_cannot_work_are_refused() -> None:
    layer = StandardizationLayer()
    with pytest.raises(DataError, match=r"X has nan in row 2, column 1 \(counted from 1\); StandardizationLayer"):
        layer.adapt([[1, 2], [np.nan, 3]])
    with pytest.raises(InvalidInputError, match="at least one row"):
        layer.adapt(np.empty((0, 3)))
    with pytest.raises(InvalidInputError, match="at least one row"):
        layer.adapt([1, 2, 3])
    with pytest.raises(InvalidInputError, match="sparse"):
        layer.adapt(sparse.csr_array((3, 3)))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="expects rows of shape"):
        StandardizationLayer().adapt([[1, 2]]).adapt([[1, 2, 3]])


def test_a_refused_batch_leaves_the_layer_as_it_was() -> None:
    layer = StandardizationLayer()
    with pytest.raises(DataError):
        layer.adapt([[np.inf]])
    assert layer.adapt([[1, 2]]).input_shape() == (2,)


def test_flatten_views_the_same_numbers_in_another_shape() -> None:
    layer = FlattenLayer()
    layer.set_input_shape((2, 3))
    assert layer.output_shape() == (6,)
    images = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    output = layer.forward_propagation(images, training=True)
    assert np.shares_memory(output, images)
    assert output[1].tolist() == [6, 7, 8, 9, 10, 11]
    error = np.arange(24, dtype=np.float32).reshape(4, 6)
    np.testing.assert_array_equal(layer.backward_propagation(error), images)
    assert layer.forward_propagation(images[:0]).shape == (0, 6)
