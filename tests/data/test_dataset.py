import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from chainrule.data import Dataset, Target, class_weight_rows
from chainrule.errors import DataError, InvalidInputError

X = np.arange(12, dtype=np.float32).reshape(6, 2)
Y = ["a", "b", "a", "b", "c", "c"]


def test_importing_data_is_light():
    code = "import sys, chainrule.data; print({'pandas', 'sklearn', 'scipy', 'torch', 'numba'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_are_not_copied_nor_written(dtype):
    matrix = X.astype(dtype)
    matrix.flags.writeable = False
    dataset = Dataset(matrix, Y)
    assert np.shares_memory(dataset.X, matrix)
    dataset.standardize()
    dataset.scale(-1, 1)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [(np.uint8, "float32"), (bool, "float32"), (np.float16, "float32"), (np.int64, "float32")],
)
def test_other_numbers_become_floats(values, dtype):
    assert Dataset(X.astype(values)).X.dtype == dtype
    assert Dataset([[2**24 + 1]]).X[0, 0] == 2**24 + 1


def test_frames_give_their_names():
    frame = pd.DataFrame({"u": [1, 2], "v": [0.5, 1.5], "w": [True, False]})
    for one in (frame, pl.DataFrame(frame.to_dict("list")), frame.astype({"u": "Int64"})):
        dataset = Dataset(one, [0, 1])
        assert dataset.feature_names == ("u", "v", "w")
        np.testing.assert_array_equal(dataset.X, [[1, 0.5, 1], [2, 1.5, 0]])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.coo_matrix, sparse.csc_array, sparse.lil_matrix])
def test_sparse_becomes_csr(kind):
    dataset = Dataset(kind(X), Y)
    assert dataset.X.format == "csr"
    assert dataset.X.dtype == np.float32
    np.testing.assert_array_equal(dataset.take([1, 3]).X.toarray(), X[[1, 3]])
    with pytest.raises(InvalidInputError, match="dense"):
        dataset.standardize()


def test_images_are_flattened_and_remembered():
    dataset = Dataset(np.ones((5, 4, 3, 2), dtype=np.uint8))
    assert dataset.shape == (5, 24)
    assert dataset.image_shape == (4, 3, 2)
    assert dataset.take(slice(2)).image_shape == (4, 3, 2)


def _with(value, row=1, column=1):
    matrix = X.copy()
    matrix[row, column] = value
    return matrix


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"X": X, "y": [1, 2]}, "6 rows and y has 2"),
        ({"X": _with(np.nan)}, "NaN.* row 2, column 2"),
        ({"X": _with(-np.inf, 3, 0)}, "infinite.* row 4, column 1"),
        ({"X": pd.DataFrame({"p": [1.0, np.nan]})}, "row 2, column 'p'"),
        ({"X": pd.DataFrame({"p": pd.array([1, None], dtype="Int64")})}, "row 2, column 'p'"),
        ({"X": pd.DataFrame({"p": ["u", "v"]})}, "'p'.*TablePreprocessor"),
        ({"X": pl.DataFrame({"p": ["u", "v"]})}, "'p'.*TablePreprocessor"),
        ({"X": pd.DataFrame([[1, 2]], columns=["p", "p"])}, "more than one column named 'p'"),
        ({"X": np.empty((0, 2))}, "at least one row"),
        ({"X": np.empty((2, 0))}, "at least one row"),
        ({"X": np.ones(3)}, r"reshape\(-1, 1\)"),
        ({"X": np.ones((1,) * 5)}, "5 dimensions"),
        ({"X": [["a", "b"]]}, "text.*TablePreprocessor"),
        ({"X": np.array([[1, "b"]], dtype=object)}, "'b' in row 1, column 2"),
        ({"X": np.array([[1, 2]], dtype=object)}, "astype"),
        ({"X": [[1, 2], [3]]}, "different lengths"),
        ({"X": X * 1j}, "complex"),
        ({"X": sparse.csr_matrix(_with(np.nan))}, "row 2, column 2"),
        ({"X": X, "sample_weight": [1, 1, -1, 1, 1, 1]}, "-1 in row 3"),
        ({"X": X, "sample_weight": [1, 1, np.nan, 1, 1, 1]}, "nan in row 3"),
        ({"X": X, "sample_weight": np.zeros(6)}, "zero in every row"),
        ({"X": X, "sample_weight": [1]}, "one value per row"),
        ({"X": X, "feature_names": ["u"]}, "1 feature names for 2 columns"),
        ({"X": X, "y": Y, "label_names": ["u"]}, "1 label names for 3 classes"),
        ({"X": X, "y": [*Y[:5], "?!"], "target": Target("binary", ("a", "b"))}, "'c' in row 5"),
    ],
)
def test_bad_data_is_refused_with_its_place(arguments, message):
    with pytest.raises(DataError, match=message):
        Dataset(**arguments)


def test_damaged_sparse_is_refused():
    matrix = sparse.csr_matrix(X)
    matrix.indices[0] = 99
    with pytest.raises(DataError, match="damaged"):
        Dataset(matrix)


def test_a_sum_that_overflows_is_no_infinity():
    assert Dataset(np.full((4, 2), 3e38, dtype=np.float32)).n_rows == 4


def test_parts_keep_target_names_and_weights():
    dataset = Dataset(X, Y, ["u", "v"], sample_weight=np.arange(6) + 1.0, groups=[1, 1, 2, 2, 3, 3], name="six")
    part = dataset.take([0, 2])
    assert part.target is dataset.target
    assert (part.name, part.feature_names, part.label_names) == ("six", ("u", "v"), ("a", "b", "c"))
    assert part.sample_weight.tolist() == [1, 3]
    assert part.groups.tolist() == [1, 2]
    assert dataset.take(dataset.y == 2).y.tolist() == [2, 2]
    assert part.outputs(3).shape == (2, 3)
    train, test = dataset.split(0.34, seed=1)
    assert not set(train.groups) & set(test.groups)
    with pytest.raises(DataError, match="no row was selected"):
        dataset.take([])


def test_split_keeps_class_shares():
    dataset = Dataset(np.ones((100, 1)), np.arange(100) % 4 == 0)
    train, test = dataset.split(seed=3)
    assert (len(train), len(test), int(test.y.sum())) == (80, 20, 5)
    assert len(dataset.split(stratify=False, seed=3)[1]) == 20


def test_standardize_and_scale_like_the_training_part():
    rng = np.random.default_rng(0)
    raw = np.column_stack([rng.normal(1000, 5, 50), np.full(50, 0.1)]).astype(np.float32)
    train, test = Dataset(raw[:40]), Dataset(raw[40:])
    standard = train.standardize()
    np.testing.assert_allclose(standard.X.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(standard.X.std(axis=0), [1, 0], atol=1e-4)
    assert standard.X.dtype == np.float32
    np.testing.assert_array_equal(test.standardize(like=train).X, test.standardize(like=standard).X)
    ranged = train.scale(-1, 1)
    assert (ranged.X[:, 0].min(), ranged.X[:, 0].max()) == (-1, 1)
    np.testing.assert_array_equal(test.scale(-1, 1, like=train).X, test.scale(like=ranged).X)
    with pytest.raises(InvalidInputError, match="low must be below high"):
        train.scale(1, 1)
    with pytest.raises(DataError, match="columns"):
        train.standardize(like=Dataset(X[:, :1]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_columns_that_are_constant_but_for_rounding_are_only_moved(dtype):
    one = dtype(0.3)
    train = Dataset(np.array([[one, 1], [np.nextafter(one, dtype(1)), 2], [dtype(0.1) + dtype(0.2), 2]], dtype))
    new = Dataset(np.array([[0.31, 1]], dtype))
    assert new.standardize(train.standardize()).X[0, 0] == pytest.approx(0.01, rel=1e-4)
    assert new.scale(like=train.scale()).X[0, 0] == pytest.approx(0.01, rel=1e-4)


def test_label_names_stand_for_all_classes():
    dataset = Dataset(X, [0, 1, 0, 1, 0, 1], label_names=["u", "v", "w"])
    assert dataset.target.classes == (0, 1, 2)
    assert dataset.one_hot().shape == (6, 3)
    with pytest.raises(InvalidInputError, match="no y"):
        Dataset(X).one_hot()
    with pytest.raises(InvalidInputError, match="needs a target of classes"):
        Dataset(X, np.arange(6) / 4).one_hot()


@pytest.mark.parametrize("rule", ["balanced", {"b": 3.0}])
def test_a_weight_of_two_counts_like_two_rows_also_for_class_weights(rule):
    labels, weights = np.array(["a", "a", "a", "b", "b", "c"]), np.array([2, 0, 1, 3, 1, 0])
    target = Dataset(X, labels).target
    weighted = class_weight_rows(Dataset(X, labels, sample_weight=weights, target=target), rule)
    rows = np.repeat(np.arange(6), weights)
    repeated = class_weight_rows(Dataset(X[rows], labels[rows], target=target), rule)
    np.testing.assert_allclose(weighted, np.bincount(rows, repeated, minlength=6))


def test_class_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    labels = ["a", "a", "a", "b", "b", "c"]
    weights = np.arange(6) + 1.0
    dataset = Dataset(X, labels, sample_weight=weights)
    for rule in ("balanced", {"a": 2.0, "c": 0.5, "b": 1.0}):
        of_class = compute_class_weight(rule, classes=np.array(["a", "b", "c"]), y=labels, sample_weight=weights)
        np.testing.assert_allclose(class_weight_rows(dataset, rule), of_class[dataset.y] * weights)
    assert class_weight_rows(dataset, None).tolist() == weights.tolist()
    unweighted = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    np.testing.assert_allclose(class_weight_rows(Dataset(X, labels), "balanced"), unweighted[dataset.y])
    for rule, message in (
        ("balance", "balanced"),
        ({"aa": 1}, "the classes are 'a', 'b', 'c'"),
        ({"a": -1}, "finite number >= 0"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            class_weight_rows(dataset, rule)
    with pytest.raises(InvalidInputError, match="classes"):
        class_weight_rows(Dataset(X, np.arange(6) / 4), "balanced")


def test_columns_of_whole_numbers_that_floats_cannot_tell_apart_are_refused():
    column = np.arange(2**63 - 20, 2**63 - 10)
    with pytest.raises(DataError, match=r"Column 2 of X has whole numbers from 9223372036854775788 to"):
        Dataset(np.column_stack([np.zeros(10, np.int64), column]))
    stamps = np.arange(10) * 10**9 + 1_700_000_000 * 10**9  # nanoseconds: rounded, and as good as before
    assert len(np.unique(Dataset(stamps.reshape(-1, 1)).X)) == 10


def test_a_class_too_small_to_be_split_is_named_by_its_label() -> None:
    dataset = Dataset(np.random.default_rng(0).normal(size=(60, 3)), ["common"] * 30 + ["usual"] * 29 + ["rare"])
    with pytest.raises(DataError, match="The class rare has only one row"):
        dataset.split(0.2)


@pytest.mark.parametrize("weight", [-1, np.inf, np.nan, "2", None, [1], 2j, 10**400])
def test_a_class_weight_that_is_no_weight_is_named(weight):
    data = Dataset([[0.0], [1.0]], ["a", "b"])
    with pytest.raises(InvalidInputError, match=r"The weight of class 'a' is .*; it must be a finite number"):
        class_weight_rows(data, {"a": weight})
