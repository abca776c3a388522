"""A loss and an optimizer of a user's own, everywhere that chainrule's own ones go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import check_gradients
from chainrule.engines import NumpyEngine, TrainingPlan
from chainrule.engines.numpy_engine import NumpySession
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer
from chainrule.losses import CustomLoss, ElementwiseLoss, LossFunction, RowLoss
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import Optimizer
from chainrule.types import Array
from support.networks import network_of, regression_rows

torch = pytest.importorskip("torch")
DATA = regression_rows(40)


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


def cubed(y: Array, p: Array) -> Array:
    return np.abs(p - y) ** 3


def cubed_derivative(y: Array, p: Array) -> Array:
    return 3 * (p - y) * np.abs(p - y)


CUBED = CustomLoss(cubed, cubed_derivative, name="Cubed")
LOSSES: dict[str, LossFunction] = {
    "of elements": Welsch(1.5),
    "of rows": Distance(0.5),
    "of two outputs": Laplace(),
    "a pair of functions": CUBED,
}
ORACLE: dict[str, Callable[[Any, Any], Any]] = {
    "of elements": lambda y, p: 1.5**2 * (1 - torch.exp(-(((p - y) / 1.5) ** 2) / 2)),
    "of rows": lambda y, p: torch.hypot((p - y).norm(dim=1, keepdim=True), torch.tensor(0.5)) - 0.5,
    "of two outputs": lambda y, p: -torch.distributions.Laplace(p[:, :2], p[:, 2:].exp()).log_prob(y) - np.log(2),
    "a pair of functions": lambda y, p: (p - y).abs() ** 3,
}


@dataclass(eq=False)
class Yogi(Optimizer):
    """Zaheer et al. 2018, "Adaptive methods for nonconvex optimization", algorithm 2, with decay and corrections."""

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


def network(**settings: Any) -> NeuralNetwork:
    loss = settings.get("loss")
    layers = [DenseLayer(6), DenseLayer(1 if loss is None else loss.n_outputs(1))]
    return network_of(*layers, **{"epochs": 5, "batch_size": 8, "learning_rate": 0.01, **settings})


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_the_loss_are_checked(name: str) -> None:
    assert check_gradients(LOSSES[name])
    assert check_gradients(network(loss=LOSSES[name]), DATA)


@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_that_of_pytorch(name: str) -> None:
    rng = np.random.default_rng(0)
    y, p = rng.normal(size=(9, 2)), rng.normal(size=(9, LOSSES[name].n_outputs(2)))
    weights, theirs_in = rng.uniform(0.1, 1, 9), torch.tensor(p, requires_grad=True)
    theirs = (ORACLE[name](torch.tensor(y), theirs_in).mean(1) * torch.tensor(weights / weights.sum())).sum()
    theirs.backward()
    assert LOSSES[name].loss(y, p, weights) == pytest.approx(theirs.item(), rel=1e-12)
    np.testing.assert_allclose(LOSSES[name].derivative(y, p, weights), theirs_in.grad, rtol=1e-12, atol=1e-14)


PLANS: dict[str, dict[str, Any]] = {
    **{f"a loss {name}": {"loss": loss} for name, loss in LOSSES.items()},
    "an optimizer": {"optimizer": Yogi(weight_decay=0.1)},
}


@pytest.mark.parametrize("name", PLANS)
def test_whole_steps_are_taken_in_compiled_code(name: str) -> None:
    trained = network(**PLANS[name]).fit(DATA)
    plan = TrainingPlan(trained.loss, trained.optimizer)
    session = NumpyEngine().open(trained.stack, plan)
    assert isinstance(session, NumpySession)
    assert plan.optimizer.traced() is not None
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DenseLayer, "forward_propagation", lambda *_, **__: calls.append("forward"))
        trained.fit(DATA)
    assert not calls


@pytest.mark.parametrize("name", PLANS)
def test_both_engines_train_alike(name: str) -> None:
    ours, theirs = (network(engine=engine, dtype="float64", **PLANS[name]).fit(DATA) for engine in ("numpy", "torch"))
    np.testing.assert_allclose(ours.predict(DATA), theirs.predict(DATA), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ours.history["loss"], theirs.history["loss"], rtol=1e-9)


@pytest.mark.parametrize("name", PLANS)
def test_they_come_back_from_a_file(name: str, tmp_path: Path) -> None:
    before = network(**PLANS[name]).fit(DATA)
    before.save(tmp_path / "own.safetensors")
    own = {"Welsch": Welsch, "Distance": Distance, "Laplace": Laplace, "Cubed": CUBED, "Yogi": Yogi}
    after = NeuralNetwork.load(tmp_path / "own.safetensors", custom_objects=own)
    assert repr(after.loss) == repr(before.loss)
    assert repr(after.optimizer) == repr(before.optimizer)
    np.testing.assert_array_equal(after.predict(DATA), before.predict(DATA))


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
