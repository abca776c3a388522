"""Networks that are no chains, in every format: branches, residual blocks, and embeddings of codes and numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.activations import SoftmaxActivation, TanhActivation
from chainrule.export import export_model
from chainrule.export.onnx_graph import build_onnx, onnx_inputs
from chainrule.layers import (
    BatchEnsembleLayer,
    DenseLayer,
    EmbeddingLayer,
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    FlattenLayer,
    Layer,
    LayerNormalizationLayer,
    Parallel,
    ParametricActivationLayer,
    RepeatLayer,
    Residual,
    Sequential,
)
from chainrule.neuralnet import NeuralNetwork
from chainrule.program import NotLoweredError
from support.exported import check_numbers, run_c, run_js
from support.networks import network_of
from support.onnx_runs import assert_predicts_alike, run_onnx
from support.trees import TREE_X, tree_layers

X = TREE_X[:40]


def network() -> NeuralNetwork:
    branches = Parallel([DenseLayer(2), Sequential([DenseLayer(1), TanhActivation()])])
    nested = Residual([Residual([DenseLayer(3), TanhActivation()]), DenseLayer(3)])
    made = network_of(*tree_layers(), branches, nested, dtype="float64")
    made.stack.build((6,))
    return made


def ensemble() -> NeuralNetwork:
    made = network_of(
        RepeatLayer(3),
        BatchEnsembleLayer(4, "signs"),
        LayerNormalizationLayer(),
        ParametricActivationLayer(TanhActivation()),
        Residual([EnsembleDenseLayer(5), TanhActivation(), EnsembleDenseLayer(3)], shortcut=EnsembleDenseLayer(3)),
        SoftmaxActivation(),
        EnsembleMeanLayer(),
        dtype="float64",
    )
    made.stack.build((6,))
    rng = np.random.default_rng(1)
    made.stack.vector.values += rng.normal(0, 0.3, made.stack.vector.size)
    return made


MAKERS = [network, ensemble]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("to", ["c", "js"])
def test_sources(to: str, make: Callable[[], NeuralNetwork], tmp_path: Path) -> None:
    check_numbers(to, make(), X, tmp_path, 1e-13)


@pytest.mark.parametrize("make", MAKERS)
def test_onnx(make: Callable[[], NeuralNetwork]) -> None:
    assert_predicts_alike(make(), X, 1e-13)


@pytest.mark.parametrize("make", MAKERS)
def test_pytorch(make: Callable[[], NeuralNetwork]) -> None:
    pytest.importorskip("torch")
    from chainrule.export.torch_program import build_torch_program, torch_inputs

    made = make()
    outputs = build_torch_program(made).module()(torch_inputs(made, X))
    np.testing.assert_allclose(outputs, made.predict(X), rtol=0, atol=1e-13)


@pytest.mark.parametrize("code", [5.0, -1.0, 0.5])
def test_a_code_that_names_no_category_gives_nan(code: float, tmp_path: Path) -> None:
    """Never the vector of another category."""
    pytest.importorskip("torch")
    import torch

    from chainrule.export.torch_program import build_torch_program

    made = network_of(Parallel([EmbeddingLayer([3, 5], 2)], columns=[(0, 1)]), dtype="float64")
    made.stack.build((2,))
    right = made.predict([[2.0, 4.0]])[0]
    for row, expected in (([2.0, code], [*right[:2], np.nan, np.nan]), ([2.0, 4.0], right)):
        found = [np.array(run_c(made, ["a", "b"], [row], tmp_path)[1], float)]
        found.append(np.array(run_js(made, [row], tmp_path)[0], float))
        found += [outputs["outputs"][0] for outputs in run_onnx(build_onnx(made), {"X": np.array([row])}).values()]
        found.append(build_torch_program(made).module()(torch.tensor([row, row], dtype=torch.float64))[0].numpy())
        for numbers in found:
            np.testing.assert_allclose(numbers, expected, rtol=1e-13)


class RowsOfImages(Layer):
    """Weighs the columns of images, and adds the softmax of each line of the image."""

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"factors": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        self.parameter_views["factors"][...] = rng.normal(size=self.input_shape())

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        x = self._check_inputs(inputs)
        return x * self.parameter_views["factors"] + self.softmax.forward_propagation(x)

    def backward_propagation(self, output_error: Any) -> Any:
        raise NotImplementedError

    def set_input_shape(self, shape: tuple[int, ...]) -> None:
        super().set_input_shape(shape)
        self.softmax = SoftmaxActivation()
        self.softmax.set_input_shape(shape)

    def lower(self, program: Any, x: Any) -> Any:
        weighted = program.map(lambda x, factors: x * factors, x, self.array("factors"), name="weigh")
        shares = program.lower(self.softmax, x)
        return program.map(lambda a, b: a + b, weighted, shares, name="double")  # a word of C


@pytest.mark.parametrize("to", ["c", "js", "onnx", "torch"])
def test_rows_that_are_no_vectors(to: Any, tmp_path: Path) -> None:
    images = np.random.default_rng(1).normal(size=(8, 3, 5))
    made = network_of(RowsOfImages(), dtype="float64")
    made.stack.build((3, 5))
    flat = network_of(RowsOfImages(), FlattenLayer(), DenseLayer(2), dtype="float64")
    flat.stack.build((3, 5))
    for one in (made, flat):
        if to in ("c", "js"):
            check_numbers(to, one, images, tmp_path, 1e-13)
        elif to == "onnx":
            assert_predicts_alike(one, images, 1e-13)
            found = run_onnx(build_onnx(one), onnx_inputs(one, images[:0]))
            assert {outputs["outputs"].shape for outputs in found.values()} == {(0, *one.stack.output_shape())}
        else:
            torch = pytest.importorskip("torch")
            from chainrule.export.torch_program import build_torch_program

            outputs = build_torch_program(one).module()(torch.tensor(images))
            np.testing.assert_allclose(outputs, one.predict(images), rtol=0, atol=1e-13)


class Flat(Layer):
    """Three columns that do not depend on x: constants, learned numbers, and the sum of each row."""

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"numbers": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        self.parameter_views["numbers"][...] = rng.normal(size=self.input_shape())

    def output_shape(self) -> tuple[int, ...]:
        return (3 * self.input_shape()[0],)

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        x = self._check_inputs(inputs)
        numbers = np.broadcast_to(self.parameter_views["numbers"], x.shape)
        return np.hstack([np.full_like(x, 0.5), numbers, np.repeat(x.sum(axis=1, keepdims=True), x.shape[1], axis=1)])

    def backward_propagation(self, output_error: Any) -> Any:
        raise NotImplementedError

    def lower(self, program: Any, x: Any) -> Any:
        constants = program.map(lambda x: np.full_like(x, 0.5), x)
        learned = program.map(lambda x, numbers: 1 * numbers, x, self.array("numbers"))
        return program.concatenate(constants, learned, program.map(lambda x: np.sum(x, axis=-1, keepdims=True), x))


@pytest.mark.parametrize("to", ["c", "js", "onnx", "torch"])
def test_formulas_with_fewer_numbers_than_elements(to: Any, tmp_path: Path) -> None:
    made = network_of(Flat(), dtype="float64")
    made.stack.build((4,))
    rows = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_allclose(made.predict(rows), made.layers[0].forward_propagation(rows), rtol=1e-14)
    if to == "onnx":
        assert_predicts_alike(made, rows, 1e-13)
    elif to == "torch":
        torch = pytest.importorskip("torch")
        from chainrule.export.torch_program import build_torch_program

        outputs = build_torch_program(made).module()(torch.tensor(rows))
        np.testing.assert_allclose(outputs, made.predict(rows), rtol=0, atol=1e-13)
    else:
        check_numbers(to, made, rows, tmp_path, 1e-13)


class AlwaysNoisy(Layer):
    """Draws random numbers in inference, too."""

    def forward_propagation(self, inputs: Any, training: bool = False) -> Any:
        return inputs

    def backward_propagation(self, output_error: Any) -> Any:
        return output_error

    def lower(self, program: Any, x: Any) -> Any:
        return program.map(lambda x, noise: x + noise, x, program.noise(x, None, "normal"), name="noisy")


@pytest.mark.parametrize("to", ["c", "js", "onnx"])
def test_an_operation_of_training_is_refused(to: Any, tmp_path: Path) -> None:
    with pytest.raises(NotLoweredError, match="no operation Noise; use it in training only"):
        export_model(network_of(DenseLayer(2, (2,)), AlwaysNoisy()), tmp_path / "model", to)
    assert not list(tmp_path.iterdir())
