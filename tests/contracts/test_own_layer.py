"""A user's own layer made of existing operations: compiled, on both engines, checked, saved and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import kernels
from chainrule.activations import TanhActivation
from chainrule.data import Dataset
from chainrule.engines import TrainingPlan
from chainrule.engines.numpy_engine import NumpySession
from chainrule.inspection import check_gradients
from chainrule.layers import DenseLayer, Layer
from chainrule.losses import MeanSquaredError
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import Adam
from chainrule.program import Program, Value
from chainrule.stack import LayerStack
from chainrule.types import Array, Shape

RNG = np.random.default_rng(0)
DATA = Dataset(
    np.column_stack([RNG.integers(0, 3, 40), RNG.integers(0, 3, 40), RNG.normal(size=(40, 2))]), RNG.normal(size=40)
)


@dataclass(eq=False)
class Mixing(Layer):
    """Vectors for the codes in the first two columns; behind them, the others and their products with a strength."""

    n_codes: int = 3
    width: int = 2

    def output_shape(self) -> Shape:
        return (2 * self.width + 2 * (self.input_shape()[0] - 2),)

    def parameter_shapes(self) -> dict[str, Shape]:
        return {"vectors": (2 * self.n_codes, self.width), "strength": (self.input_shape()[0] - 2,)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        for name, shape in self.parameter_shapes().items():
            self.parameter_views[name][...] = rng.normal(size=shape)

    def places(self, x: Array) -> Array:
        return x[:, :2].astype(int) + np.array([0, self.n_codes])

    def forward_propagation(self, inputs: Any, training: bool = False) -> Array:
        x, views = self._accept(inputs), self.parameter_views
        vectors = views["vectors"][self.places(x)].reshape(len(x), -1)
        output = np.hstack([vectors, x[:, 2:], x[:, 2:] * views["strength"]])
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array:
        x, error, n = self.input, self._accept_error(output_error), 2 * self.width
        plain, scaled = np.split(error[:, n:], 2, axis=1)
        self.gradient_views["vectors"].fill(0)
        np.add.at(self.gradient_views["vectors"], self.places(x), error[:, :n].reshape(len(x), 2, -1))
        self.gradient_views["strength"][...] = (scaled * x[:, 2:]).sum(axis=0)
        return np.hstack([np.zeros((len(x), 2), x.dtype), plain + scaled * self.parameter_views["strength"]])

    def lower(self, program: Program, x: Value) -> Value:
        rest = program.select(x, range(2, x.width))
        scaled = program.map(lambda x, strength: x * strength, rest, self.array("strength"), name="scaled")
        vectors = program.lookup(program.select(x, (0, 1)), self.array("vectors"), (self.n_codes, self.n_codes))
        return program.concatenate(vectors, rest, scaled)


def network(**settings: Any) -> NeuralNetwork:
    made = NeuralNetwork(epochs=5, batch_size=8, seed=3, optimizer="adam", dtype="float64", **settings)
    for layer in (Mixing(), DenseLayer(6), TanhActivation(), DenseLayer(1)):
        made.add(layer)
    return made


@pytest.mark.skipif(kernels.active_set() != "numba", reason="nothing is compiled")
def test_its_compiled_form_agrees_with_its_own_passes() -> None:
    values = []
    for by_layers in (False, True):
        stack = LayerStack([], dtype="float64", seed=1)
        for layer in (Mixing(), DenseLayer(5), TanhActivation(), DenseLayer(1)):
            stack.add(layer)
        stack.build((4,))
        session = NumpySession(stack, TrainingPlan(MeanSquaredError(), Adam()), by_layers=by_layers)
        batch = session_batches()
        session.train_batches(batch, 0, 0, np.full(batch.n_batches, 0.01), None)
        assert (session._compiled is None) is by_layers
        values.append([stack.vector.values.copy(), session.evaluate(DATA.X, batch.targets, None).predictions])
    for mine, other in zip(*values, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)


def session_batches() -> Any:
    from chainrule.data.batches import ArrayBatches

    return ArrayBatches(np.asarray(DATA.X, np.float64), np.asarray(DATA.y)[:, None], None, batch_size=8, seed=0)


def test_its_gradients_are_right() -> None:
    checked = check_gradients(network().fit(DATA), DATA)
    assert checked, str(checked)


def test_both_engines_train_it_alike() -> None:
    pytest.importorskip("torch")
    ours, theirs = (network(engine=engine).fit(DATA) for engine in ("numpy", "torch"))
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-9)
    np.testing.assert_allclose(ours.predict(DATA), theirs.predict(DATA), rtol=1e-8, atol=1e-10)


def test_it_comes_back_from_a_file(tmp_path: Path) -> None:
    fitted = network().fit(DATA)
    fitted.save(tmp_path / "own")
    loaded = NeuralNetwork.load(tmp_path / "own", custom_objects={"Mixing": Mixing})
    np.testing.assert_array_equal(loaded.predict(DATA), fitted.predict(DATA))
