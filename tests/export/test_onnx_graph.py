"""What the graph says of a model: labels, probabilities, numbers in their units, metadata; and what it refuses."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest

from chainrule.architecture import build_network, output_layers
from chainrule.data import Dataset, TablePreprocessor, Target
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.export import export_model, onnx_graph
from chainrule.export.onnx_graph import build_onnx, onnx_inputs, write_onnx
from chainrule.layers import DenseLayer
from chainrule.losses import LOSSES, MeanSquaredError, Poisson
from chainrule.model import Model, TargetScaling
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array
from support.networks import class_rows, network_of, regression_rows
from support.onnx_runs import assert_predicts_alike, run_onnx

X = np.random.default_rng(5).normal(size=(60, 5))


def model_of(target: Target, loss: str | None = None, **settings: Any) -> Model:
    """A network with weights as they were drawn: what it says is of no matter here."""
    return Model(build_network(5, target, hidden=(8,), loss=loss, seed=0, **settings), target)


def targets_for(loss: str) -> list[Target]:
    """Targets of every kind that the loss is made for."""
    numbers = [Target("regression"), Target("regression", n_columns=3)]
    classes = [Target("binary", ("no", "yes")), Target("multiclass", ("a", "b", "c"))]
    if LOSSES.create(loss).is_regression:
        return numbers
    return [t for t in classes if not loss.startswith("bin" if t.task == "multiclass" else "cat")]


CASES = [(loss, target) for loss in LOSSES.names() for target in targets_for(loss)]


@pytest.mark.parametrize(("loss", "target"), CASES, ids=[f"{c[0]}-{c[1].task}-{c[1].n_columns}" for c in CASES])
def test_every_loss_means_its_predictions(loss: str, target: Target) -> None:
    assert_predicts_alike(model_of(target, loss), X)


def test_settings_of_a_loss_count() -> None:
    target = Target("regression")
    assert_predicts_alike(model_of(target, Poisson(log_input=False), output_activation="softplus"), X)  # type: ignore[arg-type]


def test_columns_keep_their_names_where_outputs_have_the_same() -> None:
    frame = pd.DataFrame({"label": np.arange(20.0), "probabilities": np.arange(20.0) ** 2, "label_2": [0.0, 1.0] * 10})
    table, target = TablePreprocessor().fit(frame), Target("binary", ("no", "yes"))
    model = Model(build_network(3, target, hidden=(4,), seed=0), target, table)
    graph = build_onnx(model)
    assert [entry.name for entry in graph.graph.input] == list(frame)
    assert [entry.name for entry in graph.graph.output] == ["label_3", "probabilities_2"]
    for labels, probabilities in (outputs.values() for outputs in run_onnx(graph, onnx_inputs(model, frame)).values()):
        assert labels.tolist() == model.predict(frame).tolist()
        np.testing.assert_allclose(probabilities[:, 1:], model.outputs(frame), atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_are_in_the_units_of_the_target(dtype: Any) -> None:
    model = model_of(Target("regression", n_columns=2), dtype=dtype)
    model.scaling = TargetScaling((1e6, -3.0), (2e5, 0.5))
    assert_predicts_alike(model, X)
    outputs = run_onnx(build_onnx(model), onnx_inputs(model, X))["onnxruntime"]
    assert outputs["value"].shape == (60, 2)
    assert outputs["value"].dtype == np.float64
    assert np.abs(outputs["value"][:, 0] - 1e6).max() < 1e6


@pytest.mark.parametrize(
    ("classes", "kind"),
    [
        (("no", "yes"), "O"), ((False, True), "b"), ((3, 7), "i"), ((-1.5, 2.0, 3.5), "f"), (("1", 2), "O"),
        (("a", "ä", "日"), "O"), ((1, 2, 3), "i"),
    ],
)  # fmt: skip
def test_labels_are_of_the_type_of_the_classes(classes: Any, kind: str) -> None:
    model = model_of(Target("binary" if len(classes) == 2 else "multiclass", classes))
    assert_predicts_alike(model, X)
    for outputs in run_onnx(build_onnx(model), onnx_inputs(model, X)).values():
        assert outputs["label"].shape == (60,)
        assert outputs["label"].dtype.kind in (kind if kind != "O" else "OU")
        assert outputs["probabilities"].shape == (60, len(classes))
        np.testing.assert_allclose(outputs["probabilities"].sum(axis=1), 1, atol=1e-6)


def test_two_classes_may_have_two_outputs() -> None:
    target = Target("binary", ("no", "yes"))
    network = build_network(5, Target("multiclass", (0, 1)), hidden=(8,), seed=0)
    assert_predicts_alike(Model(network, target), X)


def test_a_half_is_the_second_class() -> None:
    model = model_of(Target("binary", ("no", "yes")))
    model.network.stack.vector.values[:] = 0
    for outputs in run_onnx(build_onnx(model), onnx_inputs(model, X)).values():
        assert set(outputs["label"].tolist()) == {"yes"} == set(model.predict(X).tolist())


def test_a_bare_network_gives_its_outputs() -> None:
    trained = build_network(5, Target("multiclass", (0, 1, 2)), hidden=(8,), epochs=2, seed=0).fit(class_rows())
    assert_predicts_alike(trained, X)
    rates = network_of(DenseLayer(1, (5,)), loss="poisson")
    assert_predicts_alike(rates, X)  # the logarithms, as predict gives them
    graph = build_onnx(rates)
    assert [value.name for value in (*graph.graph.input, *graph.graph.output)] == ["X", "outputs"]


def test_what_the_graph_says_of_itself() -> None:
    model = model_of(Target("multiclass", (1, 2, 3)))
    model.target_name, model.notes = "grade", {"label_names": ["low", "middle", "high"]}
    graph = build_onnx(model)
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert (said["task"], said["target"]) == ("multiclass", "grade")
    assert json.loads(said["classes"]) == [1, 2, 3]
    assert json.loads(said["class_names"]) == ["low", "middle", "high"]
    assert said["chainrule_version"] == graph.producer_version != ""
    assert {entry.domain for entry in graph.opset_import} <= {"", "ai.onnx.ml"}
    shapes = {value.name: value.type.tensor_type.shape.dim for value in (*graph.graph.input, *graph.graph.output)}
    assert {name: [dim.dim_param or dim.dim_value for dim in dims] for name, dims in shapes.items()} == {
        "X": ["rows", 5], "label": ["rows"], "probabilities": ["rows", 3],
    }  # fmt: skip
    inferred = {value.name for value in graph.graph.value_info}
    assert {name for node in graph.graph.node for name in node.output} - set(shapes) <= inferred


def test_a_file_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    model = model_of(Target("binary", ("no", "yes")))
    export_model(model, tmp_path / "a.onnx", "onnx")
    write_onnx(model, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    onnx.checker.check_model(str(tmp_path / "a.onnx"), full_check=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
    with pytest.raises(InvalidInputError, match="it is a folder"):
        write_onnx(model, tmp_path)


def test_inputs_are_what_predict_takes() -> None:
    model = model_of(Target("regression"))
    data = regression_rows(n_features=5)
    np.testing.assert_array_equal(onnx_inputs(model, data)["X"], data.X.astype(np.float32))
    images = network_of(DenseLayer(1, (6,)))
    assert onnx_inputs(images, Dataset(np.ones((4, 2, 3))).X)["X"].shape == (4, 6)


class OwnLoss(MeanSquaredError):  # type: ignore[misc]
    def point_predictions(self, outputs: Array) -> Array:
        return np.cbrt(outputs)


def test_refusals(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    target = Target("regression")
    with pytest.raises(NotBuiltError, match="no weights yet"):
        build_onnx(NeuralNetwork())
    with pytest.raises(InvalidInputError, match="Only a Model or a NeuralNetwork can be exported, not str"):
        build_onnx("model.safetensors")  # type: ignore[arg-type]
    broken = network_of(DenseLayer(3, (5,)))
    broken.stack.vector.values[0] = np.nan
    with pytest.raises(InvalidInputError, match=r"'0.weights' hold a number that is not finite"):
        build_onnx(broken)
    other = TablePreprocessor().fit(pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}))
    with pytest.raises(
        InvalidInputError, match=r"The table has 2 features, but the network has inputs of shape \(5,\)"
    ):
        build_onnx(Model(model_of(target).network, target, other))
    network = network_of(DenseLayer(3, (5,)), *output_layers(target, OwnLoss()), loss=OwnLoss())
    with pytest.raises(
        InvalidInputError, match=r"The point predictions of the loss OwnLoss cannot be exported\. A formula uses cbrt"
    ):
        write_onnx(Model(network, target), tmp_path / "a.onnx")
    assert_predicts_alike(network, X)
    monkeypatch.setattr(onnx_graph, "MOST_BYTES", 10)
    with pytest.raises(InvalidInputError, match="GiB of parameters"):
        build_onnx(network)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InvalidInputError, match="pip install onnx"):
        write_onnx(network, tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())
