"""The layers that scale and reshape the inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.naive_bayes import MultinomialNB
from sklearn.preprocessing import StandardScaler

from chainrule.architecture import build_network
from chainrule.data import Dataset
from chainrule.errors import DataError, InvalidInputError
from chainrule.layers import FlattenLayer, InputScalingLayer, NaiveBayesWeightingLayer, StandardizationLayer
from chainrule.neuralnet import NeuralNetwork
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


def texts(n_rows: int) -> tuple[Any, Any]:
    """Rows of 0 and 1, and labels that depend on some of the columns."""
    rng = np.random.default_rng(0)
    X = (rng.random((n_rows, 12)) < rng.uniform(0.05, 0.6, 12)).astype(np.float32)
    return X, np.where(X @ rng.normal(size=12) + rng.normal(size=n_rows) > 0, "pos", "neg")


@pytest.mark.parametrize("smoothing", [1.0, 0.1])
def test_the_weights_of_naive_bayes_are_its_log_count_ratios(smoothing: float) -> None:
    X, y = texts(60)
    X[:, 3] = 0  # a word that is in no text
    logs = MultinomialNB(alpha=smoothing).fit(X, y).feature_log_prob_
    for rows in (X, sparse.csr_array(X), sparse.csc_matrix(X), 3 * sparse.coo_array(X) / 3):
        layer = NaiveBayesWeightingLayer(smoothing).adapt(rows, y)
        np.testing.assert_allclose(layer.ratios, logs[1] - logs[0], rtol=1e-6)
    layer.initialize()
    np.testing.assert_allclose(layer.ratios, logs[1] - logs[0], rtol=1e-6)


def test_naive_bayes_weights_keep_sparse_rows_sparse_and_are_saved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    X, y = texts(5000)  # several chunks of a prediction
    rows, dense = Dataset(sparse.csr_array(X), y), Dataset(X, y)
    layer = NaiveBayesWeightingLayer().adapt(dense.X, dense.y)
    assert rows.target is not None
    networks = [
        build_network(
            12, rows.target, hidden=5, input_layer=layer, input_dropout=0.2, epochs=2, batch_size=64, seed=0,
            dtype="float64",
        )
        for _ in range(2)
    ]  # fmt: skip
    expected = networks[0].fit(dense).predict(X)
    by_hand = build_network(12, rows.target, hidden=5, seed=0, dtype="float64")
    for name in ("weights", "biases"):
        for own, other in ((0, 2), (2, 4)):
            by_hand.layers[own].set_array(name, networks[0].layers[other].get_array(name))
    np.testing.assert_allclose(by_hand.predict(X * layer.ratios), expected, rtol=1e-6)
    with monkeypatch.context() as patched:
        patched.setattr(sparse.csr_array, "toarray", lambda *_: pytest.fail("a sparse matrix was made dense"))
        found = networks[1].fit(rows).predict(rows.X)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    networks[1].save(tmp_path / "model")
    assert NeuralNetwork.load(tmp_path / "model").predict(rows.X).tobytes() == found.tobytes()


def test_naive_bayes_needs_counts_and_two_classes() -> None:
    layer = NaiveBayesWeightingLayer()
    with pytest.raises(InvalidInputError, match=r"X of shape \(3, 2\) and y of shape \(3,\) with 3 different labels"):
        layer.adapt(np.eye(3, 2), [0, 1, 2])
    with pytest.raises(InvalidInputError, match=r"y of shape \(2,\)"):
        layer.adapt(np.eye(3, 2), [0, 1])
    for wrong in (-1, np.nan):
        with pytest.raises(DataError, match="negative"):
            layer.adapt(sparse.csr_array([[wrong, 0], [1, 1]]), [0, 1])
    with pytest.raises(InvalidInputError, match=r"takes rows of shape \(2,\), and n_inputs is 3"):
        build_network(3, Dataset(np.eye(3), [0, 1, 0]).target, input_layer=layer.adapt(np.eye(2), [0, 1]))  # type: ignore[arg-type]


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
