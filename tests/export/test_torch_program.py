"""The ``torch.export`` program: written, read back, and equal to us, for tables, images, classes and numbers."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from chainrule.activations import ACTIVATIONS, CustomActivation
from chainrule.architecture import build_network
from chainrule.data import Dataset, TablePreprocessor, Target
from chainrule.errors import DataError, InvalidInputError, NotBuiltError
from chainrule.export import export_model
from chainrule.export.torch_parts import TableFeatures
from chainrule.export.torch_program import build_torch_program, torch_inputs, write_torch_program
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    FlattenLayer,
    InputScalingLayer,
    LayerNormalizationLayer,
    StandardizationLayer,
)
from chainrule.model import Model, TargetScaling
from chainrule.neuralnet import NeuralNetwork
from support.catalogue import CATALOGUE, catalogue_model
from support.networks import network_of
from support.odd_tables import odd_table
from support.onnx_runs import TOLERANCE


def read_back(model: Model | NeuralNetwork, path: Path) -> tuple[Any, dict[str, Any]]:
    """Write the program, and return it from the file with what the file says of itself."""
    write_torch_program(model, path)
    said = {"chainrule.json": ""}
    return torch.export.load(path, extra_files=said).module(), json.loads(said["chainrule.json"])


def test_a_table_with_gaps_dates_and_words_never_seen(tmp_path: Path) -> None:
    training = odd_table(0)
    table = TablePreprocessor(["code"]).fit(training)
    target = Target("binary", ("no", "yes"))
    network = build_network(len(table.feature_names), target, hidden=(16,), activation="tanh", seed=0)
    model = Model(network, target, table, target_name="sold", notes={"label_names": ["NO", "YES"]})
    program, said = read_back(model, tmp_path / "model.pt2")
    for rows in (training, odd_table(0, 200, fresh=True), training[:1]):
        outputs = program(torch_inputs(model, rows))
        expected = model.outputs(rows)
        np.testing.assert_allclose(outputs["probabilities"], np.hstack([1 - expected, expected]), rtol=0, atol=1e-6)
        clear = np.abs(expected[:, 0] - 0.5) > TOLERANCE
        labels = np.array(said["classes"])[outputs["code"]]
        assert (labels == model.predict(rows))[clear].all()
    assert (said["task"], said["target"], said["class_names"]) == ("binary", "sold", ["NO", "YES"])
    assert [column["name"] for column in said["columns"]] == list(training.columns)
    towns = next(column for column in said["columns"] if column["name"] == "town")
    assert towns["categories"] == ["Braga", "Faro", "None", "Porto", "São Tomé"]


def test_rows_are_fed_by_hand_as_the_documentation_says(tmp_path: Path) -> None:
    frame = pd.DataFrame({"area": [50.0, 80.0, np.nan, 90.0] * 20, "town": ["Porto", "Faro", None, "Braga"] * 20})
    table, target = TablePreprocessor().fit(frame), Target("regression", n_columns=2)
    network = build_network(len(table.feature_names), target, hidden=(4,), loss="gaussian_nll", seed=0)
    model = Model(network, target, table, TargetScaling((1e5, 0.0), (2e4, 3.0)))
    program, said = read_back(model, tmp_path / "model.pt2")
    towns = said["columns"][1]["categories"]
    by_hand = [[80.0, towns.index("Faro")], [np.nan, np.nan], [70.0, -1]]
    asked = pd.DataFrame({"area": [80.0, None, 70.0], "town": ["Faro", None, "Atlantis"]})
    value = program(torch.tensor(by_hand, dtype=torch.float64))["value"]
    np.testing.assert_allclose(value, model.outputs(asked), rtol=1e-6)


# The others take a second each to export, or to read.
QUICK = ("xnor", "iris", "diabetes", "adult", "california")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CATALOGUE]
)
def test_a_model_of_the_catalogue(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, exact, rows, rounding = catalogue_model(name, monkeypatch)
    for exported, tolerance in ((model, max(TOLERANCE, 2 * rounding)), (exact, TOLERANCE)):
        program, _ = read_back(exported, tmp_path / "model.pt2")
        outputs, expected = program(torch_inputs(exported, rows)), exported.outputs(rows)
        got = outputs["probabilities"][:, -expected.shape[1] :] if model.target.classes else outputs["value"]
        largest = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * largest)


def features_of(table: TablePreprocessor) -> TableFeatures:
    """The module in front of the network, which takes a moment where a whole program takes a second."""
    columns = tuple(plan.name for plan in table.columns if plan.kind != "dropped")
    return TableFeatures(table.feature_plan, columns, torch.float64)


@pytest.mark.parametrize("year", [1, 1600, 1899, 1999, 2399, 9990])
def test_every_day_has_its_year_month_and_weekday(year: int) -> None:
    frame = pd.DataFrame({"day": pd.Timestamp("1990-01-01") + pd.to_timedelta(np.arange(500), unit="D")})
    features = features_of(TablePreprocessor(scaling="none").fit(frame))
    dates = [datetime.date.fromordinal(datetime.date(year, 2, 20).toordinal() + day) for day in range(2000)]
    epoch = datetime.date(1970, 1, 1).toordinal()
    parts = features(torch.tensor([[date.toordinal() - epoch + 0.999] for date in dates], dtype=torch.float64))
    assert parts[:, :3].tolist() == [[date.year, date.month, date.weekday()] for date in dates]


def test_a_code_that_no_category_has_is_an_unknown_value() -> None:
    frame = pd.DataFrame({"town": [*["Porto", "Faro", None, "Braga"] * 20]})
    features = features_of(TablePreprocessor().fit(frame))
    encoded = features(torch.tensor([[0], [2], [3], [4], [-1], [np.nan]], dtype=torch.float64))
    unknown = [0, 0, 0, 0]
    assert encoded.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0], unknown, unknown, unknown, [0, 0, 0, 1]]


def test_every_layer_and_activation(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 2, 3))
    layers: list[Any] = [StandardizationLayer().adapt(rows), InputScalingLayer(), LayerNormalizationLayer()]
    layers += [FlattenLayer(), DropoutLayer(), BatchNormalizationLayer()]
    for name in dict.fromkeys(ACTIVATIONS.name_of(ACTIVATIONS.find(name)) for name in ACTIVATIONS.names()):
        layers += [DenseLayer(5), ACTIVATIONS.create(name)]
    network = network_of(*layers, dtype="float64")
    for layer in network.layers:  # so that they are not what the translation starts from
        if isinstance(layer, BatchNormalizationLayer):
            layer.running_mean, layer.running_variance = rng.normal(size=6), rng.uniform(0.5, 2, 6)
        for values in layer.parameter_views.values():
            values[...] += 0.1 * rng.normal(size=values.shape)
    program, said = read_back(network, tmp_path / "model.pt2")
    np.testing.assert_allclose(program(torch_inputs(network, rows)), network.predict(rows), rtol=0, atol=1e-12)
    assert list(said) == ["chainrule_version"]


@pytest.mark.parametrize("layer", [BatchNormalizationLayer, LayerNormalizationLayer])
def test_numbers_far_from_zero_keep_their_variance(layer: Any) -> None:
    rows = (1e4 + np.random.default_rng(0).normal(size=(50, 6))).astype(np.float32)
    network = network_of(DropoutLayer(), layer(), DenseLayer(2))
    network.stack.build((6,))
    if layer is BatchNormalizationLayer:
        network.layers[1].running_mean = rows.mean(axis=0)
        network.layers[1].scale, network.layers[1].shift = np.linspace(0.5, 2, 6), np.linspace(-1, 1, 6)
    outputs = build_torch_program(network).module()(torch_inputs(network, rows))
    np.testing.assert_allclose(outputs, network.predict(rows), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("loss", "task"), [("hinge", "multiclass"), ("hinge", "binary"), ("poisson", "regression")])
def test_losses_mean_their_predictions(loss: str, task: Any) -> None:
    target = Target(task, {"multiclass": ("a", "b", "c"), "binary": (0, 1), "regression": ()}[task])
    model = Model(build_network(3, target, hidden=(4,), loss=loss, seed=0), target)
    rows = np.random.default_rng(0).normal(size=(30, 3))
    outputs = build_torch_program(model).module()(torch_inputs(model, rows))
    expected = model.outputs(rows)
    if task == "regression":
        np.testing.assert_allclose(outputs["value"], expected, rtol=1e-6)
        return
    np.testing.assert_allclose(outputs["probabilities"][:, -expected.shape[1] :], expected, rtol=0, atol=1e-6)
    assert np.array(target.classes)[outputs["code"]].tolist() == model.predict(rows).tolist()


def test_a_file_is_whole_and_the_number_of_rows_free(tmp_path: Path) -> None:
    network = network_of(DenseLayer(2, (3,)))
    export_model(network, tmp_path / "a.pt2", "torch")
    write_torch_program(network, tmp_path / "b.pt2")
    assert (tmp_path / "a.pt2").read_bytes() == (tmp_path / "b.pt2").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt2", "b.pt2"]
    program = torch.export.load(tmp_path / "a.pt2").module()
    assert [tuple(program(torch.zeros(n, 3)).shape) for n in (0, 1, 2, 7)] == [(0, 2), (1, 2), (2, 2), (7, 2)]


def test_refusals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(NotBuiltError, match="no weights yet"):
        build_torch_program(NeuralNetwork())
    own = network_of(DenseLayer(2, (2,)), CustomActivation(np.cbrt, np.cos, name="CubeRoot"))
    with pytest.raises(InvalidInputError, match="CubeRoot is computed by NumPy only"):
        write_torch_program(own, tmp_path / "a.pt2")
    frame = pd.DataFrame({"a": np.arange(9.0)})
    table, target = TablePreprocessor().fit(frame), Target("regression")
    model = Model(build_network(1, target), target, table)
    with pytest.raises(DataError, match="no column 'a'"):
        torch_inputs(model, frame.rename(columns={"a": "b"}))
    with pytest.raises(InvalidInputError, match="numbers already"):
        torch_inputs(model, Dataset(table.transform(frame)))
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InvalidInputError, match="pip install torch"):
        write_torch_program(network_of(DenseLayer(2, (3,))), tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())
