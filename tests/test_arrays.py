"""What is checked before compiled code, which looks at nothing again: indices, masks, numbers, codes, lengths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from chainrule.activations import ReLUActivation
from chainrule.arrays import aligned_zeros
from chainrule.data import Dataset, split_rows
from chainrule.data.batches import ArrayBatches, Batch
from chainrule.errors import DataError, InvalidInputError
from chainrule.layers import DenseLayer, DropoutLayer, StandardizationLayer
from chainrule.losses import MeanSquaredError
from chainrule.metrics import accuracy, log_loss, mean_squared_error
from chainrule.neuralnet import NeuralNetwork
from support.networks import network_of

X = np.arange(12.0, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 0, 1])


def small_network(**settings: Any) -> NeuralNetwork:
    return network_of(DenseLayer(4, (3,)), ReLUActivation(), DenseLayer(1), epochs=1, **settings)


# Sparse matrices ----------------------------------------------------------------------------------


def csr(change: Callable[[Any], None], format: str = "csr") -> Any:
    matrix = sparse.csr_array(X[:, :3] + 1).asformat(format)
    change(matrix)
    return matrix


def set_to(name: str, place: int | None, value: Any) -> Callable[[Any], None]:
    def change(matrix: Any) -> None:
        array = np.asarray(value) if place is None else getattr(matrix, name).copy()
        if place is not None:
            array[place] = value
        setattr(matrix, name, array)

    return change


DAMAGED = {
    "an index far outside": csr(set_to("indices", 1, 999_999_999)),
    "an index just outside": csr(set_to("indices", 1, 3)),
    "a negative index": csr(set_to("indices", 1, -5)),
    "a row that ends outside": csr(set_to("indptr", 4, 4_000_000)),
    "a row in the middle that ends outside": csr(set_to("indptr", 2, 4_000_000)),
    "a row that ends before it begins": csr(set_to("indptr", 2, 1)),
    "a negative beginning": csr(set_to("indptr", 0, -1)),
    "too few rows": csr(set_to("indptr", None, np.array([0, 3], np.int32))),
    "too few numbers": csr(set_to("data", None, np.ones(2, np.float32))),
    "indices that are no whole numbers": csr(set_to("indices", None, np.zeros(12, np.float32))),
    "indices of 64 bits": csr(set_to("indices", None, np.full(12, 2**40))),
    "a matrix by columns": csr(set_to("indices", 1, 4), "csc"),
    "a matrix by columns with a column that ends outside": csr(set_to("indptr", 3, 10**6), "csc"),
    "a matrix of blocks": csr(set_to("indices", 0, 10**6), "bsr"),
    "a list of entries": csr(lambda matrix: matrix.coords[0].__setitem__(0, 10**6), "coo"),
    "a list of entries with a negative column": csr(lambda matrix: matrix.coords[1].__setitem__(0, -2), "coo"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_sparse_matrix_is_refused_everywhere(name: str) -> None:
    matrix = DAMAGED[name]
    uses: list[Callable[[], Any]] = [
        lambda: Dataset(matrix),
        lambda: small_network().fit(matrix, Y),
        lambda: small_network().predict(matrix),
        lambda: small_network().evaluate(matrix, Y),
        lambda: small_network().forward_propagation(matrix),
        lambda: DenseLayer(2, (3,)).forward_propagation(matrix),
        lambda: DropoutLayer().forward_propagation(matrix),
    ]
    for use in uses:
        with pytest.raises(DataError, match="damaged sparse matrix"):
            use()


def test_a_dataset_that_was_damaged_later_is_refused() -> None:
    dataset = Dataset(sparse.csr_array(X), Y)
    dataset.X.indices[0] = 10**6
    for use in (small_network().fit, small_network().evaluate, small_network().predict):
        with pytest.raises(DataError, match="damaged sparse matrix"):
            use(dataset)


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"])
def test_every_form_of_sparse_matrix_is_read(format: str) -> None:
    network = small_network()
    matrix = sparse.csr_array(np.where(X % 2, X, 0)).asformat(format)
    np.testing.assert_allclose(network.predict(matrix), network.predict(matrix.toarray()), rtol=1e-5)


# Predictions refuse what a fit refuses ------------------------------------------------------------

REFUSED: dict[str, tuple[Any, str]] = {
    "text": ([["a", "b", "c"]], "X contains text"),
    "ragged": ([[1, 2, 3], [4]], "different lengths"),
    "objects": (np.array([[1, {}, 2]], object), r"X has \{\} in row 1, column 2"),
    "None": ([[1, None, 2]], "X has None in row 1, column 2"),
    "long whole numbers": ([[10**400, 1, 1]], "type object"),
    "NaN": ([[1, 2, 3], [1, np.nan, 2]], r"NaN\) in row 2, column 2"),
    "infinity": ([[np.inf, 1, 2]], "infinite value in row 1, column 1"),
    "infinity after many rows": (np.vstack([np.ones((5000, 3)), [[1, 1, np.inf]]]), "row 5001, column 3"),
    "NaN in few float32 rows": (np.array([[1, 1, np.nan]], np.float32), r"NaN\) in row 1, column 3"),
    "NaN in float32 rows": (np.vstack([X, X, [[np.nan, 1, 1]]]).astype(np.float32), r"NaN\) in row 9, column 1"),
    "complex": ([[1j, 1, 2]], "complex"),
    "dates": (np.zeros((1, 3), "M8[s]"), "type datetime64"),
    "records": (np.zeros((1, 3), "f4,f4"), "type "),
    "masked": (np.ma.array(X, mask=X == 4), "masked value in row 2"),
    "a list of masked rows": (list(np.ma.array(X, mask=X == 4)), "masked value in row 2"),
    "a frame": (pd.DataFrame({"a": [1.0, np.nan], "b": [1, 2], "c": [1, 2]}), "row 2, column 'a'"),
    "sparse NaN": (sparse.csr_array([[0, 1, np.nan]]), r"NaN\) in row 1, column 3"),
    "sparse complex": (sparse.csr_array([[0, 1j, 0]]), "complex"),
}


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("name", REFUSED)
def test_predict_refuses_what_fit_refuses(name: str, engine: str) -> None:
    given, words = REFUSED[name]
    network = small_network(engine=engine)
    with pytest.raises(DataError, match=words):
        network.predict(given)
    with pytest.raises(DataError, match=words):
        network.fit(given, np.arange(np.shape(given)[0] if hasattr(given, "shape") else len(given)))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("n_rows", [1, 100])
def test_numbers_too_large_for_the_network_are_refused(engine: str, n_rows: int) -> None:
    rows = np.ones((n_rows, 3))
    rows[-1, 1] = -1e300
    with pytest.raises(DataError, match=r"-1e\+300, which is too large for float32.*dtype='float64'"):
        small_network(engine=engine).predict(rows)
    assert small_network(engine=engine, dtype="float64").predict(rows).shape == (n_rows, 1)
    with pytest.raises(DataError, match=r"1e\+300, which is too large for float32"):
        small_network().predict(sparse.csr_array(rows))


def test_other_numbers_are_predicted_with() -> None:
    network = small_network()
    outputs = network.predict(X)
    forms = [X.tolist(), X.astype(np.float64), X.astype(np.int8), X.astype(np.uint64), pd.DataFrame(X), np.ma.array(X)]
    forms += [np.asfortranarray(X), X[::-1][::-1], X.astype(">f4"), X.astype(np.longdouble)]
    for same in forms:
        np.testing.assert_allclose(network.predict(same), outputs, rtol=1e-6)


def test_numbers_whose_sum_overflows_are_finite() -> None:
    rows = np.full((3000, 3), 3e37, np.float32)
    assert np.isfinite(small_network().predict(rows)).all()


# Masks are never lost -----------------------------------------------------------------------------

MASKED = np.ma.array([0.0, 1.0, 0.0, 1.0], mask=[False, True, False, False])


@pytest.mark.parametrize(
    "use",
    [
        lambda: Dataset(X, MASKED),
        lambda: Dataset(X, Y, sample_weight=MASKED),
        lambda: Dataset(X, Y, groups=MASKED),
        lambda: split_rows(4, 0.5, strategy="time", times=MASKED),
        lambda: split_rows(4, 0.5, strategy="stratified", labels=MASKED),
        lambda: small_network().fit(X, MASKED),
        lambda: next(small_network().get_mini_batches(X, MASKED)),
        lambda: StandardizationLayer().adapt(MASKED.reshape(4, 1)),
        lambda: DenseLayer(1, (1,)).forward_propagation(MASKED.reshape(4, 1)),
        lambda: accuracy(MASKED, Y),
        lambda: accuracy(Y, MASKED),
        lambda: log_loss(Y, MASKED),
        lambda: mean_squared_error(Y, MASKED),
        lambda: mean_squared_error(Y, Y, MASKED),
        lambda: MeanSquaredError().loss(Y, MASKED),
        lambda: MeanSquaredError().loss(MASKED, Y),
        lambda: MeanSquaredError().loss(Y, Y, MASKED),
    ],
)
def test_masked_values_are_refused(use: Callable[[], Any]) -> None:
    with pytest.raises(DataError, match="masked value in row 2"):
        use()


def test_a_mask_that_hides_nothing_is_no_matter() -> None:
    dataset = Dataset(np.ma.array(X), np.ma.array([1.0, 2.0, 3.0, 4.5]), sample_weight=np.ma.ones(4))
    assert dataset.y is not None
    assert dataset.y.tolist() == [1.0, 2.0, 3.0, 4.5]


# Codes and rows -----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [-1, 2, 10**9])
def test_codes_that_stand_for_no_class_are_refused(code: int) -> None:
    network = small_network()
    other = Dataset(X, ["u", "v", "u", "v"])
    network.fit(Dataset(X, ["v", "u", "v", "u"]))
    for uses in (network.fit, network.evaluate):
        dataset = Dataset(X, Y)
        assert dataset.y is not None
        dataset.y[1] = code
        with pytest.raises(DataError, match="The codes of 2 classes must be whole numbers from 0 to 1"):
            uses(dataset)
        with pytest.raises(DataError, match="codes of 2 classes"):
            dataset.one_hot()
    assert other.y is not None
    other.y[1] = code
    with pytest.raises(DataError, match="codes of 2 classes"):
        network.evaluate(other)


@pytest.mark.parametrize("part", ["X", "y", "sample_weight"])
def test_parts_of_different_lengths_never_reach_a_loop(part: str) -> None:
    for use in (small_network().fit, small_network().evaluate):
        dataset = Dataset(X, Y, sample_weight=np.ones(4))
        setattr(dataset, part, getattr(dataset, part)[:2])
        with pytest.raises(DataError, match="same number of rows"):
            use(dataset)


def test_batches_check_what_they_are_given() -> None:
    targets = np.zeros((4, 1), np.float32)
    settings: Any = {"batch_size": 2, "seed": 0}
    for weights, words in ((np.ones(3), "same number"), ([1, -1, 1, 1], "negative"), ([1, np.nan, 1, 1], "negative")):
        with pytest.raises(DataError, match=words):
            ArrayBatches(X, targets, np.asarray(weights), **settings)
    with pytest.raises(DataError, match=r"\[2, 4\]"):
        ArrayBatches(X[:2], targets, None, **settings)
    assert Batch(X, targets, None).check().n_rows == 4


def test_a_row_instead_of_rows_is_told() -> None:
    with pytest.raises(InvalidInputError, match=r"For one row, give \[row\]"):
        small_network().predict([1.0, 2.0, 3.0])
    for odd in (5.0, np.nan, []):
        with pytest.raises(InvalidInputError):
            small_network().predict(odd)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 1000])
def test_aligned_zeros_begin_a_cache_line(size: int, dtype: str) -> None:
    vectors = [aligned_zeros(size, np.dtype(dtype)) for _ in range(5)]
    for vector in vectors:
        assert vector.shape == (size,)
        assert vector.dtype == dtype
        assert not vector.any()
        assert size == 0 or vector.ctypes.data % 64 == 0
        assert vector.flags.c_contiguous
        assert vector.flags.writeable
