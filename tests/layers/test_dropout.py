"""Dropout and noise: what they do to the numbers on average, and that they do nothing in inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer, DropoutLayer, GaussianNoiseLayer, Layer
from chainrule.randomness import NoiseSource


def built(layer: Layer, n_features: int, dtype: Any = np.float64) -> Any:
    layer.dtype = np.dtype(dtype)
    layer.set_input_shape((n_features,))
    return layer


@given(
    rate=st.just(0) | st.floats(0.01, 0.95), seed=st.integers(0, 10_000), dtype=st.sampled_from(["float32", "float64"])
)
@settings(max_examples=50, deadline=None)
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float, seed: int, dtype: str) -> None:
    layer = built(DropoutLayer(rate), 100, dtype)
    layer.noise = NoiseSource(seed)
    n = 400 * 100
    output = layer.forward_propagation(np.ones((400, 100)), training=True)
    dropped = np.mean(output == 0)
    six_deviations = 6 * np.sqrt(rate * (1 - rate) / n)
    assert abs(dropped - rate) <= six_deviations
    assert abs(output.mean(dtype=np.float64) - 1) <= six_deviations / (1 - rate) + 1e-6
    np.testing.assert_allclose(output[output != 0], 1 / (1 - rate), rtol=1e-6)


def test_dropout_draws_elements_independently() -> None:
    layer = built(DropoutLayer(0.5), 50)
    kept = layer.forward_propagation(np.ones((4000, 50)), training=True) != 0
    correlations = np.corrcoef(kept.T) - np.eye(50)
    assert np.abs(correlations).max() < 5 / np.sqrt(4000)
    assert np.abs(kept.mean(axis=1) - 0.5).max() < 5 * np.sqrt(0.25 / 50), "no row is dropped as a whole"


def test_every_batch_is_drawn_anew_and_the_generator_decides() -> None:
    x = np.ones((20, 30))

    def two_batches(seed: int) -> list[Any]:
        layer = built(DropoutLayer(0.5), 30)
        layer.noise = NoiseSource(seed)
        return [layer.forward_propagation(x, training=True).copy() for _ in range(2)]

    first, second = two_batches(1)
    assert (first != second).any()
    np.testing.assert_array_equal([first, second], two_batches(1))
    assert (first != two_batches(2)[0]).any()


def test_the_error_is_dropped_where_the_input_was() -> None:
    layer = built(DropoutLayer(0.3), 10)
    output = layer.forward_propagation(np.ones((6, 10)), training=True)
    np.testing.assert_array_equal(layer.backward_propagation(np.full((6, 10), 2.0)), 2 * output)


def test_rate_0_changes_nothing() -> None:
    x = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_array_equal(built(DropoutLayer(0), 4).forward_propagation(x, training=True), x)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_a_sparse_batch_stays_sparse_and_agrees_in_expectation(kind: Any) -> None:
    rng = np.random.default_rng(0)
    dense = rng.uniform(1, 2, (40, 25)) * (rng.random((40, 25)) < 0.2)
    dense[3] = 0
    batch = kind(dense)
    stored = batch.data.copy()
    mean = {}
    for name, x in (("sparse", batch), ("dense", dense)):
        layer, total = built(DropoutLayer(0.4), 25), np.zeros_like(dense)
        for _ in range(2000):
            output = layer.forward_propagation(x, training=True)
            total += output.toarray() if name == "sparse" else output
        mean[name] = total / 2000
        if name == "sparse":
            assert type(output) is kind
            assert output.nnz == batch.nnz
            assert layer.backward_propagation(np.ones((40, 25))) is None
    np.testing.assert_array_equal(batch.data, stored)
    # Five standard deviations of a mean of 2000: 2 * sqrt(0.4 / 0.6) / sqrt(2000) = 0.037.
    np.testing.assert_allclose(mean["sparse"], dense, atol=5 * 0.037)
    np.testing.assert_allclose(mean["dense"], dense, atol=5 * 0.037)
    assert (mean["sparse"][dense == 0] == 0).all()


def test_a_dense_layer_behind_sparse_dropout_sees_what_was_kept() -> None:
    batch = sparse.csr_array(np.eye(6, dtype=np.float32))
    dropout, dense = built(DropoutLayer(0.5), 6, np.float32), DenseLayer(2, (6,))
    kept = dropout.forward_propagation(batch, training=True)
    output = dense.forward_propagation(kept, training=True)
    np.testing.assert_allclose(output, kept.toarray() @ dense.weights + dense.biases, rtol=1e-6)
    dense.backward_propagation(np.ones((6, 2)))
    gone = kept.toarray().sum(axis=0) == 0
    assert 0 < gone.sum() < 6
    assert (dense.gradient_views["weights"][gone] == 0).all()


def test_batches_with_more_stored_values_and_dense_ones_may_alternate() -> None:
    layer = built(DropoutLayer(0.5), 6)
    for density in (0.2, 0.9, 0.1):
        batch = sparse.random_array((8, 6), density=density, format="csr", rng=1)
        assert layer.forward_propagation(batch, training=True).nnz == batch.nnz
        x = np.ones((5, 6))
        output = layer.forward_propagation(x, training=True)
        np.testing.assert_array_equal(layer.backward_propagation(x), output)


def test_inference_hands_the_very_inputs_on() -> None:
    x = np.ones((3, 4))
    assert built(DropoutLayer(0.9), 4).forward_propagation(x) is x
    assert built(GaussianNoiseLayer(9), 4).forward_propagation(x) is x


@pytest.mark.parametrize("rate", [-0.1, 1, 1.5, float("nan")])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(InvalidInputError, match=r"rate of DropoutLayer is .*; allowed are numbers from 0 and below 1"):
        DropoutLayer(rate)


def test_noise_has_mean_0_and_the_deviation_asked_for() -> None:
    layer = built(GaussianNoiseLayer(0.3), 100)
    x = np.random.default_rng(5).normal(size=(2000, 100))
    noise = layer.forward_propagation(x, training=True) - x
    n = noise.size
    assert abs(noise.mean()) < 5 * 0.3 / np.sqrt(n)
    assert abs(noise.std() - 0.3) < 5 * 0.3 / np.sqrt(2 * n)
    assert abs(np.mean(noise**4) / noise.var() ** 2 - 3) < 5 * np.sqrt(24 / n)  # the shape is normal


@pytest.mark.parametrize("standard_deviation", [-1, float("inf"), float("nan")])
def test_an_impossible_deviation_is_refused(standard_deviation: float) -> None:
    with pytest.raises(InvalidInputError, match="allowed are finite numbers from 0 up"):
        GaussianNoiseLayer(standard_deviation)
