"""``check_gradients``: right derivatives pass, wrong ones are found and named."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from chainrule.activations import ActivationLayer, CustomActivation, SoftmaxActivation, TanhActivation
from chainrule.data.dataset import Dataset
from chainrule.errors import InvalidInputError
from chainrule.inspection import check_gradients
from chainrule.layers import BatchNormalizationLayer, DenseLayer, DropoutLayer, Layer
from chainrule.losses import LOSSES, CustomLoss, LossFunction
from chainrule.types import Array
from support.layers import LAYER_CLASSES, make_layer
from support.networks import bits_of, class_rows, network_of, regression_rows


@pytest.mark.parametrize("cls", LAYER_CLASSES)
def test_the_layers_of_the_library_pass(cls: type[Layer]) -> None:
    check = check_gradients(make_layer(cls))
    assert check, str(check)


@pytest.mark.parametrize("cls", sorted(set(LOSSES.classes.values()), key=str))
def test_the_losses_of_the_library_pass(cls: type[LossFunction]) -> None:
    check = check_gradients(cls())
    assert check, str(check)
    assert len(check.parts) == 4


@pytest.mark.parametrize("error", [1e-5, 1.0])
def test_a_wrong_activation_is_found(error: float) -> None:
    right, wrong = CustomActivation(np.sin, np.cos), CustomActivation(np.sin, lambda z: np.cos(z) * (1 + error))
    assert check_gradients(right)
    check = check_gradients(wrong)
    assert not check
    assert check.worst.name.startswith("layer 1 DenseLayer"), "what lies before the wrong layer gets a wrong error"
    assert "WRONG, with the largest error in layer 1 DenseLayer" in str(check)
    assert check.worst.relative_error == pytest.approx(error / (1 + error), rel=0.01)


def test_a_wrong_loss_is_found() -> None:
    right = CustomLoss(lambda y, p: (p - y) ** 4, lambda y, p: 4 * (p - y) ** 3)
    wrong = CustomLoss(lambda y, p: (p - y) ** 4, lambda y, p: 3 * (p - y) ** 3)
    assert check_gradients(right)
    assert not check_gradients(wrong)
    network = network_of(DenseLayer(4, (5,)), TanhActivation(), DenseLayer(1), loss=wrong)
    assert not check_gradients(network, regression_rows(30))
    network.loss = right
    assert check_gradients(network, regression_rows(30))


class ForgetsWeights(LossFunction):
    """Right without sample weights, wrong with them."""

    def loss(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        return float(np.average(((y_pred - y_true) ** 2).mean(1), weights=sample_weight))

    def derivative(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
        return np.asarray(2 * (y_pred - y_true) / y_pred.size)


def test_a_loss_that_forgets_the_sample_weights_is_found() -> None:
    check = check_gradients(ForgetsWeights())
    assert not check
    assert check.worst.name.endswith("weighted")
    assert all(part.relative_error < 1e-6 for part in check.parts if "weighted" not in part.name)


def test_a_loss_of_two_arguments_is_checked_without_weights() -> None:
    class Square(LossFunction):
        def loss(self, y_true: Array, y_pred: Array) -> float:  # type: ignore[override]
            return float(np.mean((y_pred - y_true) ** 2))

        def derivative(self, y_true: Array, y_pred: Array) -> Array:  # type: ignore[override]
            return np.asarray(2 * (y_pred - y_true) / y_pred.size)

    check = check_gradients(Square())
    assert check
    assert [part.name for part in check.parts] == ["1 outputs", "3 outputs"]


def test_a_network_is_checked_with_the_class_weights_that_it_trains_with() -> None:
    data = class_rows(40, n_classes=2)
    for class_weight, is_right in ((None, True), ({0: 5.0}, False)):
        network = network_of(
            DenseLayer(4, (5,)), TanhActivation(), DenseLayer(1), loss=ForgetsWeights(), class_weight=class_weight
        )
        assert bool(check_gradients(network, data)) is is_right, class_weight


def test_a_network_is_checked_with_the_smooth_labels_that_it_trains_with() -> None:
    only_for_0_and_1 = CustomLoss(lambda y, p: (p - y) ** 2, lambda y, p: 2 * (p - np.round(y)))
    for label_smoothing, is_right in ((0.0, True), (0.2, False)):
        network = network_of(
            DenseLayer(4, (5,)), TanhActivation(), DenseLayer(3), loss=only_for_0_and_1, label_smoothing=label_smoothing
        )
        assert bool(check_gradients(network, class_rows(40))) is is_right, label_smoothing


@dataclass(eq=False)
class Doubling(ActivationLayer):
    """A layer of the user's whose backward pass is wrong by a switch."""

    factor: float = 2.0

    def activation_function(self, x: Any) -> Any:
        return 2 * x

    def derivative(self, x: Any) -> Any:
        return np.full_like(x, self.factor)


def noise_of(layer: Layer) -> tuple[Any, str]:
    return layer.rng.bit_generator.state, str(vars(layer.noise))


def test_a_network_is_checked_as_it_stands_and_left_alone() -> None:
    data = class_rows(40)
    network = network_of(
        DenseLayer(6, (5,)), BatchNormalizationLayer(), Doubling(), DropoutLayer(0.3), DenseLayer(3),
        SoftmaxActivation(), loss="categorical_cross_entropy", l2=0.1, optimizer="adam",
    ).fit(data)  # fmt: skip
    before, states = (
        bits_of(network),
        [(layer.rng.bit_generator.state, str(vars(layer.noise))) for layer in network.layers],
    )
    check = check_gradients(network, data)
    assert check, str(check)
    assert check.parts[0].name == "layer 1 DenseLayer.weights"
    assert [part.name for part in check.parts][-1] == "backward_propagation and lower"
    assert len(check.parts) == len(network.stack.vector.blocks) + 1
    assert bits_of(network) == before
    assert [noise_of(layer) for layer in network.layers] == states
    network.layers[2].factor = 2.001  # type: ignore[attr-defined]
    check = check_gradients(network, data)
    assert not check
    assert "layer 1 DenseLayer.weights" in {part.name for part in check.parts if part.relative_error > 1e-4}
    assert all(part.relative_error < 1e-6 for part in check.parts if part.name.startswith("layer 5"))


def test_rounding_errors_of_a_large_loss_are_not_taken_for_errors() -> None:
    """The weights of inputs that are 0 have no gradient, and their differences are rounding errors of the loss."""
    y = 1e4 * np.random.default_rng(0).normal(size=20)
    network = network_of(DenseLayer(3, (2,)), TanhActivation(), DenseLayer(1), loss="mean_squared_error")
    assert check_gradients(network, Dataset(np.zeros((20, 2)), y))


def test_a_derivative_that_is_not_a_number_is_wrong() -> None:
    assert not check_gradients(CustomActivation(np.sin, lambda z: z * np.nan))


def test_what_cannot_be_checked_is_told() -> None:
    with pytest.raises(InvalidInputError, match="data is missing"):
        check_gradients(network_of(DenseLayer(1, (5,))))
    with pytest.raises(InvalidInputError, match="must be a network"):
        check_gradients(np.sin)  # type: ignore[arg-type]
