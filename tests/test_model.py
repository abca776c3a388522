"""A model: the network with its table and its labels, saved and read as one."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss

from chainrule.architecture import build_network
from chainrule.data import Dataset, TablePreprocessor, Target
from chainrule.errors import InvalidInputError, ModelFileError, NotBuiltError
from chainrule.files import read_model_file, write_model_file
from chainrule.layers import DenseLayer
from chainrule.model import Model, TargetScaling
from chainrule.neuralnet import NeuralNetwork
from support.networks import bits_of, class_rows


def frame(n_rows: int = 120, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({"size": rng.normal(100, 20, n_rows), "kind": rng.choice(["house", "flat"], n_rows)})
    table["price"] = 2000 * table["size"] + 50_000 * (table["kind"] == "house") + rng.normal(0, 1000, n_rows)
    table["sold"] = np.where(table["price"] > table["price"].median(), "yes", "no")
    return table


def priced(table: pd.DataFrame) -> Model:
    """A regression on a table with a text column, its targets standardised."""
    inputs = table[["size", "kind"]]
    preprocessor = TablePreprocessor().fit(inputs)
    X = preprocessor.transform(inputs)
    target, scaling = Target.detect(table["price"]), TargetScaling.learn(table["price"].to_numpy())
    network = build_network(X.shape[1], target, hidden=(16,), epochs=60, learning_rate=0.02, seed=0)
    network.fit(Dataset(X, scaling.apply(table["price"].to_numpy()), task="regression"))
    return Model(network, target, preprocessor, scaling, "price", {"source": "made up"})


def classified(n_classes: int) -> tuple[Model, Dataset]:
    data = class_rows(90, n_classes=n_classes)
    labels = np.array([f"class {chr(99 - code)}" for code in range(n_classes)])[data.y]
    data = Dataset(data.X, labels)
    assert data.target is not None
    network = build_network(5, data.target, hidden=(16,), epochs=30, learning_rate=0.02, seed=0).fit(data)
    return Model(network, data.target), data


def test_predictions_are_in_the_units_of_the_target() -> None:
    table = frame()
    model = priced(table)
    assert np.abs(model.predict(table) - table["price"]).mean() < 5_000
    measured = model.evaluate(table, table["price"])
    errors = model.predict(table) - table["price"]
    assert measured["root_mean_squared_error"] == pytest.approx(math.sqrt((errors**2).mean()))
    assert measured["r2"] > 0.98
    np.testing.assert_array_equal(model.predict(table[["kind", "size"]]), model.predict(table))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_predictions_are_labels_and_outputs_probabilities(n_classes: int) -> None:
    model, data = classified(n_classes)
    predicted = model.predict(data)
    assert set(predicted) <= {"class a", "class b", "class c"}
    assert data.target is not None
    truth = data.target.decode(data.one_hot() if n_classes > 2 else np.asarray(data.y)[:, None])
    assert (predicted == truth).mean() == pytest.approx(model.evaluate(data)["accuracy"])
    assert model.evaluate(data) == pytest.approx(model.evaluate(data.X, truth))
    outputs = model.outputs(data)
    assert outputs.shape == (90, 1 if n_classes == 2 else 3)
    assert np.all((outputs >= 0) & (outputs <= 1))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_networks_and_models_give_labels_and_the_probability_of_every_class(n_classes: int, tmp_path: Path) -> None:
    model, data = classified(n_classes)
    network, outputs = model.network, model.network.predict(data)
    network.save(tmp_path / "network")
    for one in (network, NeuralNetwork.load(tmp_path / "network"), model):
        probabilities, labels = one.predict_proba(data), one.predict_labels(data.X)
        assert probabilities.shape == (90, n_classes)
        assert probabilities.dtype == np.float64
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=4e-16)
        np.testing.assert_allclose(probabilities[:, -1], outputs[:, -1], rtol=1e-6)
        np.testing.assert_array_equal(labels, np.array(data.target.classes)[probabilities.argmax(axis=1)])
    np.testing.assert_array_equal(model.predict_labels(data), model.predict(data))


def test_what_predicts_numbers_or_scores_has_no_probabilities() -> None:
    model = priced(frame())
    for wrong in (model.predict_labels, model.predict_proba):
        with pytest.raises(InvalidInputError, match="predicts numbers"):
            wrong(frame())
    inputs = model.inputs(frame())
    for wrong in (model.network.predict_labels, model.network.predict_proba):
        with pytest.raises(InvalidInputError, match="predicts numbers"):
            wrong(inputs)
        with pytest.raises(NotBuiltError, match="does not know the labels"):
            wrong.__func__(NeuralNetwork(), inputs)
    data = class_rows(60, n_classes=2)
    scores = build_network(5, data.target, hidden=(), loss="hinge", epochs=5, seed=0).fit(data)
    numbers = NeuralNetwork(epochs=5, seed=0)
    numbers.add(DenseLayer(1, (5,)))
    numbers.fit(Dataset(data.X, data.y, task="binary"))
    for network in (scores, numbers):
        with pytest.raises(InvalidInputError, match="not probabilities"):
            network.predict_proba(data)
        with pytest.raises(InvalidInputError, match="not probabilities"):
            Model(network, data.target).predict_proba(data)
    np.testing.assert_array_equal(scores.predict_labels(data), (scores.predict(data)[:, 0] >= 0).astype(int))


def test_evaluation_takes_sample_weights() -> None:
    model, data = classified(3)
    half = np.arange(90) < 45
    truth = model.target.decode(data.one_hot())
    weighted = model.evaluate(data.X, truth, sample_weight=half.astype(float))
    assert weighted == pytest.approx(model.evaluate(data.X[half], truth[half]))
    with_weights = Dataset(data.X, truth, sample_weight=half.astype(float), target=model.target)
    assert model.evaluate(with_weights) == pytest.approx(weighted)


def test_everything_comes_back_from_a_file(tmp_path: Path) -> None:
    table = frame()
    model = priced(table)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    new = frame(30, seed=1)
    assert loaded.predict(new).tobytes() == model.predict(new).tobytes()
    assert bits_of(loaded.network) == bits_of(model.network)
    assert (loaded.target, loaded.scaling, loaded.target_name, loaded.notes) == (
        model.target, model.scaling, "price", {"source": "made up"}
    )  # fmt: skip
    assert loaded.network.history["loss"] == model.network.history["loss"]


@pytest.mark.parametrize("n_classes", [2, 10])
def test_models_of_tables_predict_as_scikit_learn_expects(n_classes: int) -> None:
    """``log_loss`` of scikit-learn warns of rows that do not sum to 1 in float64."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=300), "kind": rng.choice(["house", "flat"], 300)})
    labels = np.array([f"class {code}" for code in range(n_classes)])[rng.integers(0, n_classes, 300)]
    preprocessor = TablePreprocessor().fit(table)
    data = Dataset(preprocessor.transform(table), labels)
    assert data.target is not None
    network = build_network(data.n_features, data.target, hidden=(8,), epochs=3, seed=0).fit(data)
    model = Model(network, data.target, preprocessor)
    probabilities = model.predict_proba(table[["kind", "x"]])
    assert (probabilities.shape, probabilities.dtype) == ((300, n_classes), np.float64)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=0, atol=4e-16)
    assert model.predict(table).tolist() == np.array(model.target.classes)[probabilities.argmax(axis=1)].tolist()
    measured = log_loss(labels, probabilities, labels=list(model.target.classes))
    assert measured == pytest.approx(model.evaluate(table, labels)["log_loss"], rel=1e-5)


def test_files_of_networks_and_of_models_are_told_apart(tmp_path: Path) -> None:
    model, data = classified(3)
    model.save(tmp_path / "model")
    model.network.save(tmp_path / "network")
    assert read_model_file(tmp_path / "network", "network")[0]["kind"] == "network"
    assert read_model_file(tmp_path / "model", "model")[0]["kind"] == "model"
    for file in ("model", "network"):
        assert NeuralNetwork.load(tmp_path / file).predict(data).tobytes() == model.network.predict(data).tobytes()
    golden = Path(__file__).parent / "files" / "golden"
    for bare in (tmp_path / "network", golden / "network_0_1.safetensors"):
        with pytest.raises(ModelFileError, match=r"network without a table; read it with NeuralNetwork\.load"):
            Model.load(bare)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_classifiers_come_back_from_a_file(n_classes: int, tmp_path: Path) -> None:
    model, data = classified(n_classes)
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert loaded.predict(data).tolist() == model.predict(data).tolist()
    assert loaded.table is None
    assert loaded.scaling is None
    bare = NeuralNetwork.load(tmp_path / "model")
    assert bare.predict(data).tobytes() == model.network.predict(data).tobytes()


def test_the_same_training_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("first", "second"):
        priced(frame()).save(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_target_scaling() -> None:
    y = np.array([[1.0, 5.0], [3.0, 5.0]])
    scaling = TargetScaling.learn(y)
    assert scaling.apply(y).tolist() == [[-1, 0], [1, 0]], "a constant column is only centred"
    assert scaling.undo(scaling.apply(y)).tolist() == y.tolist()
    for constant in ([0.1] * 7, [0.3, 0.1 + 0.2, 0.3], np.float32([0.3, np.float32(0.1) + np.float32(0.2)])):
        scaling = TargetScaling.learn(np.array(constant))
        assert scaling.center == (pytest.approx(0.3 if constant[0] > 0.2 else 0.1),)
        assert scaling.scale == (1.0,)
    column = TargetScaling.learn(y[:, 0])
    assert column.apply(y[:, 0]).shape == (2,)


def test_mistakes_are_told(tmp_path: Path) -> None:
    model = priced(frame())
    with pytest.raises(InvalidInputError, match="give a data frame"):
        model.predict(np.ones((2, 2)))
    with pytest.raises(InvalidInputError, match="no targets y"):
        model.evaluate(Dataset(np.ones((2, 3))))
    model.network.save(tmp_path / "bare")
    with pytest.raises(ModelFileError, match=r"read it with NeuralNetwork\.load"):
        Model.load(tmp_path / "bare")


@pytest.mark.parametrize("part", ["target", "table", "scaling", "history", "notes"])
@pytest.mark.parametrize(
    "value",
    [{}, [], 5, "text", [[1]], {"a": [None]}, {"classes": 3, "task": []}, {"loss": [10**300]}, [[10**300], [1]]],
)
def test_a_damaged_part_is_refused_or_harmless(part: str, value: Any, tmp_path: Path) -> None:
    path = tmp_path / "model"
    priced(frame(20)).save(path)
    metadata, arrays = read_model_file(path, "model")
    metadata[part] = json.loads(json.dumps(value))
    rest = {name: entry for name, entry in metadata.items() if name not in ("version", "kind")}
    write_model_file(path, "model", rest, arrays)
    with contextlib.suppress(ModelFileError):
        Model.load(path)
