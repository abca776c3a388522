"""The dense layer against hand calculation, against itself on sparse inputs, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.initializers import Constant
from chainrule.layers import LAYERS, DenseLayer


def test_forward_and_backward_by_hand() -> None:
    layer = DenseLayer(2, (3,))
    layer.weights = [[1, 2], [3, 4], [5, 6]]
    layer.biases = [10, 20]
    assert layer.forward_propagation([[1, 0, 1]], training=True).tolist() == [[16, 28]]
    assert layer.backward_propagation(np.array([[1, 10]])).tolist() == [[21, 43, 65]]  # type: ignore[union-attr]
    assert layer.gradient_views["weights"].tolist() == [[1, 10], [0, 0], [1, 10]]
    assert layer.gradient_views["biases"].tolist() == [1, 10]


def test_assigned_weights_are_copied_in() -> None:
    layer = DenseLayer(1, (2,))
    own = layer.weights
    values = np.ones((2, 1), np.float32)
    layer.weights = values
    values[:] = 5
    assert layer.weights is own
    assert own.tolist() == [[1], [1]]


def test_initializers_are_named_or_given() -> None:
    layer = DenseLayer(2, (3,), weights_initializer=Constant(0.5), biases_initializer="constant")
    layer.initialize()
    assert np.unique(layer.weights).tolist() == [0.5]
    assert np.unique(layer.biases).tolist() == [0.5]
    assert layer.parameters() == 8
    assert LAYERS.create("dense", n_units=2).layer_name() == "DenseLayer"


def test_a_change_of_type_before_initialisation_is_taken_up() -> None:
    layer = DenseLayer(2, (3,))
    layer.initialize()
    layer.dtype = np.dtype(np.float64)
    layer.initialize()
    assert layer.weights.dtype == layer.gradient_views["weights"].dtype == np.float64


@pytest.mark.parametrize("n_units", [0, -1, 2.5, float("nan"), float("inf"), "many", None])
def test_an_impossible_number_of_units_is_refused(n_units: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"n_units of DenseLayer is .*; allowed are whole numbers from 1 up"):
        DenseLayer(n_units)


def test_a_forgotten_comma_in_the_input_shape_is_explained() -> None:
    with pytest.raises(InvalidInputError, match=r"such as \(8,\)"):
        DenseLayer(6, 8)  # type: ignore[arg-type]


def test_weights_before_the_input_shape_are_refused() -> None:
    with pytest.raises(NotBuiltError, match="input shape of DenseLayer is not known"):
        DenseLayer(2).weights  # noqa: B018


@given(rows=st.integers(1, 12), columns=st.integers(1, 12), seed=st.integers(0, 1000), density=st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_a_sparse_batch_trains_as_the_dense_one(rows: int, columns: int, seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns)) * (rng.random((rows, columns)) < density)
    error = rng.normal(size=(rows, 3))
    found = []
    for batch in (x, sparse.csr_array(x)):
        layer = DenseLayer(3)
        layer.dtype = np.dtype(np.float64)
        layer.set_input_shape((columns,))
        layer.initialize(rng=np.random.default_rng(1))
        jacobian = {"weights": np.empty((rows, columns, 3)), "biases": np.empty((rows, 3))}
        output = layer.forward_propagation(batch, training=True)
        input_error = layer.backward_propagation(error)
        layer.write_jacobian(error, jacobian)
        found.append([output, input_error, *layer.gradient_views.values(), *jacobian.values()])
    for dense, from_csr in zip(*found, strict=True):
        np.testing.assert_allclose(from_csr, dense, rtol=1e-12, atol=1e-14)


def test_a_sparse_batch_is_never_made_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("toarray", "todense"):
        monkeypatch.setattr(sparse.csr_array, name, None)
    layer = DenseLayer(2, (5,))
    layer.forward_propagation(sparse.csr_array((4, 5), dtype=np.float32), training=True)
    layer.needs_input_error = False
    assert layer.backward_propagation(np.ones((4, 2))) is None
