"""The named sets against their published counts."""

import numpy as np
import pytest

from chainrule.data import Dataset, catalog, load_dataset, open_source
from chainrule.data.catalog.regression import linear_regression
from chainrule.data.catalog.shapes import spirals
from chainrule.errors import DataError, InvalidInputError

WITHOUT_FILES = [name for name in catalog.names() if not catalog.get(name).files]
ON_DISK = [name for name in catalog.names() if catalog.get(name).files and name not in ("uci-har", "imdb-reviews")]


def agrees_with_its_description(name):
    described = catalog.get(name)
    source = described.load()
    assert described.name == source.name == name
    width = source.train.n_features if isinstance(source.train, Dataset) else source.train.frame.shape[1] - 1
    assert (len(source.train), width) == (described.rows, described.columns)
    return source


@pytest.mark.parametrize("name", WITHOUT_FILES)
def test_sets_without_files(name):
    agrees_with_its_description(name)
    dataset = load_dataset(name)
    assert dataset.task == catalog.get(name).task
    again = load_dataset(name)
    np.testing.assert_array_equal(dataset.X, again.X)
    np.testing.assert_array_equal(dataset.y, again.y)


@pytest.mark.parametrize(
    ("name", "column", "values"),
    [
        ("iris", 0, [5.1, 4.9]),
        ("wine", 12, [1065, 1050]),
        ("breast-cancer", 0, [17.99, 20.57]),
        ("diabetes", 2, [32.1, 21.6]),
    ],
)
def test_tables_are_given_as_they_were_published(name, column, values):
    dataset = load_dataset(name)
    np.testing.assert_allclose(dataset.X[:2, column], values, rtol=1e-6)
    train, test = dataset.split(test_size=0.3, seed=0)
    scaled = test.standardize(like=train.standardize())
    np.testing.assert_allclose(
        scaled.X,
        (test.X - train.X.mean(axis=0)) / train.X.std(axis=0),
        rtol=1e-3,
        atol=1e-4,
        err_msg="of the training rows",
    )


def test_the_gates_are_the_truth_tables():
    found = {name: load_dataset(name).y.tolist() for name in ("xnor", "gates-and", "gates-or", "gates-nor")}
    assert found == {
        "xnor": [1, 0, 0, 1],
        "gates-and": [0, 0, 0, 1],
        "gates-or": [0, 1, 1, 1],
        "gates-nor": [1, 0, 0, 0],
    }


def test_generated_data_take_parameters():
    quiet = linear_regression(n_features=5, n_rows=50, noise=0.0)
    slopes, residual, *_ = np.linalg.lstsq(quiet.X, quiet.y, rcond=None)
    assert slopes.shape == (5,)
    assert residual < 1e-6
    assert spirals(n_rows=10, seed=1).n_rows == 10
    for make in (lambda: linear_regression(noise=-1), lambda: spirals(n_rows=1)):
        with pytest.raises(InvalidInputError, match="Generated data need"):
            make()


@pytest.mark.usefixtures("data_folder")
@pytest.mark.parametrize("name", ON_DISK)
def test_sets_on_disk(name):
    source = agrees_with_its_description(name)
    if name in ("mnist", "fashion-mnist", "imdb"):
        dataset, test = source.train, source.test
    else:
        dataset = load_dataset(name)
        test = load_dataset(name, "test") if source.test is not None else None
    assert dataset.task == catalog.get(name).task
    assert dataset.X.dtype == np.float32
    check = PUBLISHED.get(name)
    if check is not None:
        check(dataset, test)


def _mnist(train, test):
    assert np.bincount(train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train.X.mean(dtype=np.float64) == pytest.approx(0.1307, abs=1e-4)
    assert train.image_shape == (28, 28)


def _fashion(train, test):
    assert set(np.bincount(train.y)) == {6000}
    assert set(np.bincount(test.y)) == {1000}
    assert train.label_names[9] == "Ankle boot"


def _imdb(train, test):
    assert train.y[:10].tolist() == [1, 0, 0, 1, 0, 0, 1, 0, 1, 0]  # as keras.datasets.imdb.load_data gives them
    assert (train.y.sum(), test.y.sum()) == (12500, 12500)
    assert train.feature_names[4:6] == ("the", "and")
    assert train.X.nnz / 25000 == pytest.approx(130, abs=1)


def _adult(train, test):
    assert (train.y.sum(), test.y.sum(), test.n_rows) == (7841, 3846, 16281)
    assert train.label_names == ("<=50K", ">50K")
    assert "workclass (missing)" in train.feature_names
    assert test.feature_names == train.feature_names


def _har(train, test):
    assert np.bincount(train.y).tolist() == [1226, 1073, 987, 1293, 1423, 1413]
    assert sorted(set(test.groups.tolist())) == [2, 4, 9, 10, 12, 13, 18, 20, 24]


def _boston(train, _):
    assert train.y[:5].tolist() == [24.0, 21.6, 34.7, 33.4, 36.2]


def _california(train, _):
    assert train.y[0] == 452600


PUBLISHED = {
    "mnist": _mnist, "fashion-mnist": _fashion, "imdb": _imdb, "adult": _adult, "har-derived": _har, "boston": _boston,
    "california": _california,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("data_folder")
def test_all_reviews():
    source = agrees_with_its_description("imdb-reviews")
    assert (source.train.y.sum(), source.test.y.sum()) == (12500, 12500)


def test_names_that_are_unknown():
    with pytest.raises(DataError, match="Did you mean 'fashion-mnist'"):
        catalog.get("fashion_mnist")
    with pytest.raises(InvalidInputError, match="no official test set"):
        load_dataset("digits", "test")
    with pytest.raises(InvalidInputError, match="'train' or 'test'"):
        load_dataset("digits", "tset")


def test_a_source_is_a_file_or_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "houses.csv").write_text("rooms,price\n3,100\n4,\n5,150\n6,170\n")
    source = open_source("houses.csv", "price")
    assert source.name == "houses.csv"
    with pytest.raises(DataError, match=r"'price' is missing in row 2; fill it in, or drop .* --drop-missing-target"):
        source.train.split_target()
    X, y = source.train.take([0, 2, 3]).split_target()
    assert (list(X.columns), y.tolist()) == (["rooms"], ["100", "150", "170"])
    assert open_source("iris", "petal width (cm)").train.target == "petal width (cm)"
    for name, target, message in (
        ("houses.csv", None, "the column of houses.csv to predict: rooms, price"),
        ("houses.csv", "prise", "no column 'prise'.*rooms, price.*Did you mean 'price'"),
        ("house", "price", r"neither a file .* Did you mean 'houses\.csv'"),
        ("mnit", None, "Did you mean 'mnist'"),
        ("house.csv", "price", r"Did you mean 'houses\.csv'"),
        ("digits", "x1", "its target cannot be changed"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            open_source(name, target)


def test_parts_of_an_array_file_stay_apart(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.eye(4), y_train=[0, 1, 0, 1], x_test=np.eye(4)[:1], y_test=[1])
    source = open_source(tmp_path / "a.npz")
    assert (source.train.target, len(source.train), len(source.test)) == ("y", 4, 1)
