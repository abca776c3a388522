"""An activation, a loss, an optimizer and a layer of a user's own, everywhere that chainrule's own ones go.

Each is defined in a few lines, once. Every test goes through all of them: gradients, compiled code, PyTorch's autograd,
both engines, files, and the exports.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import check_gradients, kernels
from chainrule.activations import ActivationLayer, CustomActivation, TanhActivation
from chainrule.data import Dataset, Target
from chainrule.data.batches import ArrayBatches
from chainrule.engines import TrainingPlan
from chainrule.engines.numpy_engine import NumpySession
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer, Layer
from chainrule.losses import CustomLoss, ElementwiseLoss, LossFunction, RowLoss
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import Optimizer
from chainrule.program import Program, Value
from chainrule.types import Array, Shape
from support.exported import check_numbers
from support.networks import network_of
from support.onnx_runs import assert_predicts_alike

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
X = np.column_stack([RNG.integers(0, 3, (40, 2)), RNG.normal(size=(40, 3))])
DATA = Dataset(X, np.sin(X @ RNG.normal(size=5)) + X[:, 2])


# Activations ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Snake(ActivationLayer):
    """f(x) = x + sin(a x)^2 / a (Ziyin, Hartwig & Ueda 2020, equation 3)."""

    a: float = 1.0

    def activation_function(self, x: Array) -> Array:
        return x + np.sin(self.a * x) ** 2 / self.a

    def derivative(self, x: Array) -> Array:
        return 1 + 2 * np.sin(self.a * x) * np.cos(self.a * x)


@dataclass(eq=False)
class CenteredSoftplus(ActivationLayer):
    """A function of whole rows: softplus less its mean over the units."""

    def activation_function(self, x: Array) -> Array:
        y = np.logaddexp(0, x)
        return y - np.mean(y, axis=-1, keepdims=True)

    def pull_back(self, x: Array, error: Array) -> Array:
        return (error - np.mean(error, axis=-1, keepdims=True)) / (1 + np.exp(-x))


@dataclass(eq=False)
class LearnedSnake(ActivationLayer):
    """The same with a learned frequency."""

    def parameter_shapes(self) -> dict[str, Shape]:
        return {"a": (1,)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        self.parameter_views["a"][...] = 1.3

    def activation_function(self, x: Array) -> Array:
        a = self.parameter_views["a"]
        return x + np.sin(a * x) ** 2 / a

    def derivative(self, x: Array) -> Array:
        return 1 + np.sin(2 * self.parameter_views["a"] * x)

    def parameter_terms(self, x: Array, error: Array) -> dict[str, Array]:
        a = self.parameter_views["a"]
        return {"a": error * (x * np.sin(2 * a * x) / a - np.sin(a * x) ** 2 / a**2)}


def sine_and_half(x: Array) -> Array:
    return np.sin(x) + 0.5 * x


def its_derivative(x: Array) -> Array:
    return np.cos(x) + 0.5


SINE_AND_HALF = CustomActivation(sine_and_half, its_derivative, name="SineAndHalf")


# Losses ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Welsch(ElementwiseLoss):
    """l = c^2 (1 - exp(-(d / c)^2 / 2)), which forgets outliers (Dennis & Welsch 1978)."""

    c: float = 2.0

    def element_loss(self, y_true: Array, y_pred: Array) -> Any:
        return self.c**2 * -np.expm1(-(((y_pred - y_true) / self.c) ** 2) / 2)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Any:
        difference = y_pred - y_true
        return difference * np.exp(-((difference / self.c) ** 2) / 2)


@dataclass(frozen=True)
class Distance(RowLoss):
    """l = sqrt(b^2 + sum_k d_k^2) - b: the distance between two rows, without a kink at 0."""

    b: float = 1.0

    def row_loss(self, y_true: Array, y_pred: Array) -> Any:
        return np.sqrt(self.b**2 + np.sum((y_pred - y_true) ** 2, axis=-1)) - self.b

    def row_derivative(self, y_true: Array, y_pred: Array) -> Any:
        difference = y_pred - y_true
        return difference / np.sqrt(self.b**2 + np.sum(difference**2, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Laplace(ElementwiseLoss):
    """l = v + |m - y| exp(-v) for a median m and the logarithm v of a scale: two outputs for each target."""

    outputs_per_target = 2

    def element_loss(self, y_true: Array, median: Array, log_scale: Array) -> Any:  # type: ignore[override]
        return log_scale + np.abs(median - y_true) * np.exp(-log_scale)

    def element_derivative(self, y_true: Array, median: Array, log_scale: Array) -> Any:  # type: ignore[override]
        difference, precision = median - y_true, np.exp(-log_scale)
        return np.sign(difference) * precision, 1 - np.abs(difference) * precision


@dataclass(frozen=True)
class SquareRoots(ElementwiseLoss):
    """The squared error of the square root that the network gives; what it predicts is the square."""

    def element_loss(self, y_true: Array, y_pred: Array) -> Any:
        return (y_pred - y_true) ** 2 / 2

    def element_derivative(self, y_true: Array, y_pred: Array) -> Any:
        return y_pred - y_true

    def point_predictions(self, outputs: Array) -> Array:
        return outputs**2


def cubed(y: Array, p: Array) -> Array:
    return np.abs(p - y) ** 3


def cubed_derivative(y: Array, p: Array) -> Array:
    return 3 * (p - y) * np.abs(p - y)


CUBED = CustomLoss(cubed, cubed_derivative, name="Cubed")


# Optimizers -----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Yogi(Optimizer):
    """Zaheer et al. 2018, "Adaptive methods for nonconvex optimization", algorithm 2, with corrections."""

    learning_rate: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-3
    weight_decay: float = 0.0

    def rule(self, weights: Any, gradient: Any, rate: float, step: int, mean: Any, square: Any) -> Any:  # type: ignore[override]
        mean = self.beta1 * mean + (1 - self.beta1) * gradient
        square = square - (1 - self.beta2) * np.sign(square - gradient**2) * gradient**2
        scale = np.sqrt(square / (1 - self.beta2**step)) + self.epsilon
        return weights - rate * mean / (1 - self.beta1**step) / scale, mean, square


# Layers ---------------------------------------------------------------------------------------------------------------


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
        x, views = self._check_inputs(inputs), self.parameter_views
        vectors = views["vectors"][self.places(x)].reshape(len(x), -1)
        output = np.hstack([vectors, x[:, 2:], x[:, 2:] * views["strength"]])
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array:
        x, error, n = self.input, self._check_error(output_error), 2 * self.width
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


def mixed_by_torch(x: Any, arrays: Mapping[str, Any]) -> Any:
    vectors = arrays["vectors"][x[:, :2].long() + torch.tensor([0, 3])].flatten(1)
    return torch.hstack([vectors, x[:, 2:], x[:, 2:] * arrays["strength"]])


class LectureDense(Layer):
    """A dense layer as the lecture writes it, which also says which operations it consists of."""

    def __init__(self, n_units: int) -> None:
        self.n_units = n_units

    def initialize(self, optimizer: Any) -> None:  # type: ignore[override]
        self.weights = np.random.rand(self.input_shape()[0], self.n_units) - 0.5  # noqa: NPY002
        self.biases = np.zeros((1, self.n_units))
        self.weights_optimizer, self.biases_optimizer = copy.deepcopy(optimizer), copy.deepcopy(optimizer)

    def output_shape(self) -> Shape:
        return (self.n_units,)

    def forward_propagation(self, input: Any, training: bool = True) -> Array:  # type: ignore[override]
        self.input = input
        return input @ self.weights + self.biases

    def backward_propagation(self, output_error: Array) -> Array:
        input_error = output_error @ self.weights.T
        self.weights = self.weights_optimizer.update(self.weights, self.input.T @ output_error)
        self.biases = self.biases_optimizer.update(self.biases, output_error.sum(axis=0, keepdims=True))
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        return program.affine(x, self.array("weights"), self.array("biases"))


# What a user adds, and the same in PyTorch ----------------------------------------------------------------------------


def half_square(y: Any, p: Any) -> Any:
    return (p - y) ** 2 / 2


def sgd(weights: Any, gradient: Any, step: int, state: dict[str, Any], is_decayed: bool) -> Any:
    return weights - 0.01 * gradient


def yogi(weights: Any, gradient: Any, step: int, state: dict[str, Any], is_decayed: bool) -> Any:
    mean = 0.9 * state.get("mean", 0 * weights) + 0.1 * gradient
    square = state.get("square", 0 * weights)
    square = square - 0.001 * torch.sign(square - gradient**2) * gradient**2
    state.update(mean=mean, square=square)
    weights = weights * (1 - 0.01 * 0.1) if is_decayed else weights
    return weights - 0.01 * mean / (1 - 0.9**step) / ((square / (1 - 0.999**step)).sqrt() + 1e-3)


@dataclass
class Piece:
    """A network with a piece of a user's own, and the same function, loss and update in PyTorch."""

    layer: Callable[[], Layer] = TanhActivation
    layer_by_torch: Callable[[Any, Mapping[str, Any]], Any] = lambda x, _: torch.tanh(x)
    loss: LossFunction = field(default_factory=SquareRoots)
    loss_by_torch: Callable[[Any, Any], Any] = half_square
    optimizer: Callable[[], Any] = lambda: "sgd"
    update_by_torch: Callable[..., Any] = sgd
    comes_first: bool = False

    @property
    def place(self) -> int:
        """Where the layer stands in the network."""
        return 0 if self.comes_first else 1

    def network(self, **settings: Any) -> NeuralNetwork:
        units = self.loss.n_outputs(1)
        behind = [DenseLayer(6), TanhActivation(), DenseLayer(units)]
        layers = [self.layer(), *behind] if self.comes_first else [DenseLayer(4), self.layer(), *behind]
        given = {"epochs": 3, "batch_size": 8, "dtype": "float64", "loss": self.loss, "optimizer": self.optimizer()}
        made = network_of(*layers, **{**given, **settings})
        made.stack.build((5,))
        return made


PIECES: dict[str, Piece] = {
    "an activation with a setting": Piece(lambda: Snake(a=1.7), lambda x, _: x + torch.sin(1.7 * x) ** 2 / 1.7),
    "an activation of rows": Piece(
        CenteredSoftplus,
        lambda x, _: torch.nn.functional.softplus(x) - torch.nn.functional.softplus(x).mean(dim=-1, keepdim=True),
    ),
    "an activation with a parameter": Piece(
        LearnedSnake, lambda x, arrays: x + torch.sin(arrays["a"] * x) ** 2 / arrays["a"]
    ),
    "an activation of functions": Piece(
        lambda: CustomActivation(sine_and_half, its_derivative, name="SineAndHalf"),
        lambda x, _: torch.sin(x) + 0.5 * x,
    ),
    "a loss of elements": Piece(
        loss=Welsch(1.5), loss_by_torch=lambda y, p: 1.5**2 * (1 - torch.exp(-(((p - y) / 1.5) ** 2) / 2))
    ),
    "a loss of rows": Piece(
        loss=Distance(0.5),
        loss_by_torch=lambda y, p: torch.hypot((p - y).norm(dim=1, keepdim=True), torch.tensor(0.5)) - 0.5,
    ),
    "a loss of two outputs": Piece(
        loss=Laplace(),
        loss_by_torch=lambda y, p: (
            -torch.distributions.Laplace(*scales_of(p)).log_prob(y) - torch.log(torch.tensor(2.0, dtype=y.dtype))
        ),
    ),
    "a loss of functions": Piece(loss=CUBED, loss_by_torch=lambda y, p: (p - y).abs() ** 3),
    "a loss with predictions of its own": Piece(loss=SquareRoots(), loss_by_torch=half_square),
    "an optimizer": Piece(optimizer=lambda: Yogi(weight_decay=0.1), update_by_torch=yogi),
    "a layer of several operations": Piece(Mixing, mixed_by_torch, comes_first=True),
    "a layer of the lecture": Piece(
        lambda: LectureDense(3), lambda x, arrays: x @ arrays["weights"] + arrays["biases"]
    ),
}
OWN = {cls.__name__: cls for cls in (Snake, CenteredSoftplus, LearnedSnake, Mixing, LectureDense)} | {
    "SineAndHalf": SINE_AND_HALF, "Cubed": CUBED, "Yogi": Yogi,
    **{cls.__name__: cls for cls in (Welsch, Distance, Laplace, SquareRoots)},
}  # fmt: skip


def scales_of(p: Any) -> tuple[Any, Any]:
    median, log_scale = p.split(p.shape[1] // 2, dim=1)
    return median, log_scale.exp()


@pytest.fixture(params=PIECES)
def piece(request: pytest.FixtureRequest) -> Piece:
    return PIECES[request.param]


# What is promised -----------------------------------------------------------------------------------------------------


def test_its_gradients_are_right(piece: Piece) -> None:
    checked = check_gradients(piece.network().fit(DATA), DATA)
    assert checked, str(checked)
    assert check_gradients(piece.loss)
    assert piece.comes_first or check_gradients(piece.layer())


def test_the_layer_is_that_of_pytorch(piece: Piece) -> None:
    layer = piece.network().layers[piece.place]
    z = X if piece.comes_first else 3 * X[:, 1:]
    error = RNG.normal(size=(len(z), *layer.output_shape()))
    theirs_in = torch.tensor(z, requires_grad=True)
    arrays = {name: torch.tensor(array, requires_grad=True) for name, array in layer.parameter_views.items()}
    theirs = piece.layer_by_torch(theirs_in, arrays)
    theirs.backward(torch.tensor(error))
    np.testing.assert_allclose(layer.forward_propagation(z, training=True), theirs.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.backward_propagation(error), theirs_in.grad, rtol=1e-12, atol=1e-12)
    for name, array in arrays.items():
        np.testing.assert_allclose(layer.gradient_views[name], array.grad, rtol=1e-12, atol=1e-12, err_msg=name)


def test_the_loss_is_that_of_pytorch(piece: Piece) -> None:
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(9, 2)), rng.normal(size=(9, piece.loss.n_outputs(2)))
    weights, theirs_in = rng.uniform(0.1, 1, 9), torch.tensor(p, requires_grad=True)
    per_row = piece.loss_by_torch(torch.tensor(y), theirs_in).mean(1)
    theirs = (per_row * torch.tensor(weights / weights.sum())).sum()
    theirs.backward()
    assert piece.loss.loss(y, p, weights) == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(piece.loss.derivative(y, p, weights), theirs_in.grad, rtol=1e-12, atol=1e-14)


def test_it_trains_as_by_the_gradients_of_pytorch(piece: Piece) -> None:
    network = piece.network(epochs=6, batch_size=len(X))
    arrays = {name: torch.tensor(array, requires_grad=True) for name, array in network.stack.read_arrays().items()}
    penalized = {f"{i}.{name}" for i, layer in enumerate(network.layers) for name in layer.penalized_parameters}
    x, y = torch.tensor(X), torch.tensor(DATA.y)[:, None]
    states: dict[str, dict[str, Any]] = {name: {} for name in arrays}
    losses = []
    for step in range(1, 7):
        outputs = x
        for index, layer in enumerate(network.layers):
            of_layer = {name: arrays[f"{index}.{name}"] for name in layer.parameter_views}
            if isinstance(layer, DenseLayer):
                outputs = outputs @ of_layer["weights"] + of_layer["biases"]
            elif index == piece.place:
                outputs = piece.layer_by_torch(outputs, of_layer)
            else:
                outputs = torch.tanh(outputs)
        loss = piece.loss_by_torch(y, outputs).mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(arrays.values()))
        arrays = {
            name: piece.update_by_torch(
                array.detach(), gradient, step, states[name], name in penalized
            ).requires_grad_()
            for (name, array), gradient in zip(arrays.items(), gradients, strict=True)
        }
    network.fit(DATA)
    np.testing.assert_allclose(network.history["loss"], losses, rtol=1e-11)
    for name, array in network.stack.read_arrays().items():
        np.testing.assert_allclose(array, arrays[name].detach(), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.skipif(kernels.active_set() != "numba", reason="nothing is compiled")
def test_training_and_prediction_are_compiled(piece: Piece, monkeypatch: pytest.MonkeyPatch) -> None:
    network, calls = piece.network(), list[str]()
    network.fit(DATA)
    watched = [(layer, name) for layer in network.layers for name in ("forward_propagation", "backward_propagation")]
    for owner, name in (*watched, (network.loss, "evaluate"), (network.optimizer, "step")):
        defining = next(cls for cls in type(owner).__mro__ if name in vars(cls))
        monkeypatch.setattr(defining, name, lambda *_, name=name, **__: calls.append(name))
    network.fit(DATA)
    network.predict(X)
    assert not calls


@pytest.mark.skipif(kernels.active_set() != "numba", reason="nothing is compiled")
def test_compiled_code_agrees_with_its_own_passes(piece: Piece) -> None:
    values = []
    for by_layers in (False, True):
        network = piece.network()
        plan = TrainingPlan(network.loss, network.optimizer)
        session = NumpySession(network.stack, plan, by_layers=by_layers)
        batches = ArrayBatches(X, np.asarray(DATA.y)[:, None], None, batch_size=8, seed=0)
        session.train_batches(batches, 0, 0, np.full(batches.n_batches, 0.01), None)
        assert (session._compiled is None) is by_layers
        values.append([network.stack.vector.values, session.evaluate(X, batches.targets, None).predictions])
    for mine, other in zip(*values, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)


def test_both_engines_train_it_alike(piece: Piece) -> None:
    ours, theirs = (piece.network(engine=engine).fit(DATA) for engine in ("numpy", "torch"))
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-9)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9, atol=1e-11)


def test_it_comes_back_from_a_file_and_from_pytorch(piece: Piece, tmp_path: Path) -> None:
    before = piece.network().fit(DATA)
    before.save(tmp_path / "own.safetensors")
    after = NeuralNetwork.load(tmp_path / "own.safetensors", custom_objects=OWN)
    assert repr(after) == repr(before)
    assert repr(after.optimizer) == repr(before.optimizer)
    np.testing.assert_array_equal(after.predict(X), before.predict(X))
    np.testing.assert_allclose(NeuralNetwork.from_torch(before.to_torch()).predict(X), before.predict(X), rtol=1e-12)


@pytest.mark.parametrize("to", ["c", "js"])
def test_c_and_javascript_predict_the_same(piece: Piece, to: str, tmp_path: Path) -> None:
    check_numbers(to, Model(piece.network().fit(DATA), Target("regression")), X, tmp_path, 1e-12)


def test_onnx_predicts_the_same(piece: Piece) -> None:
    assert_predicts_alike(Model(piece.network().fit(DATA), Target("regression")), X, 1e-12)


def test_the_program_of_pytorch_predicts_the_same(piece: Piece) -> None:
    from chainrule.export.torch_program import build_torch_program, torch_inputs

    model = Model(piece.network().fit(DATA), Target("regression"))
    found = build_torch_program(model).module()(torch_inputs(model, X))["value"]
    np.testing.assert_allclose(found, model.outputs(X), rtol=0, atol=1e-12)


# What is refused, or computed by NumPy --------------------------------------------------------------------------------


class MeanFirst(Distance):
    def row_loss(self, y_true: Array, y_pred: Array) -> Any:
        return np.mean((y_pred - y_true) ** 2)


class PerElement(Distance):
    def row_loss(self, y_true: Array, y_pred: Array) -> Any:
        return (y_pred - y_true) ** 2


class OneSlope(Laplace):
    def element_derivative(self, y_true: Array, median: Array, log_scale: Array) -> Any:  # type: ignore[override]
        return np.sign(median - y_true) * np.exp(-log_scale)


@pytest.mark.parametrize("loss", [MeanFirst(), PerElement(), OneSlope()])
def test_results_of_another_shape_are_refused(loss: LossFunction) -> None:
    y = np.zeros((4, 2))
    with pytest.raises(InvalidInputError, match=f"{type(loss).__name__} must return one number for each"):
        loss.loss(y, np.ones((4, loss.n_outputs(2))))
    assert loss.traced() is None


class Branching(Distance):
    def row_loss(self, y_true: Array, y_pred: Array) -> Any:
        value = super().row_loss(y_true, y_pred)
        return value if np.shape(value)[0] >= 0 else -value


def test_a_row_loss_that_cannot_be_traced_is_computed_by_numpy() -> None:
    y, p = np.zeros((4, 2)), np.ones((4, 2))
    assert Branching().traced() is None
    assert Branching().loss(y, p) == pytest.approx(Distance().loss(y, p), rel=1e-15)
    np.testing.assert_allclose(Branching().derivative(y, p), Distance().derivative(y, p), rtol=1e-15)
