"""Which losses a network's last layer suits: decided by what both declare, for every pair and number of units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chainrule.activations import ACTIVATIONS, ActivationLayer, LeakyReLUActivation
from chainrule.errors import DataError, InvalidInputError
from chainrule.head import check_head
from chainrule.layers import DenseLayer, FlattenLayer, Layer
from chainrule.losses import LOSSES, BinaryCrossEntropy, CustomLoss, LossFunction, MultiMargin, Poisson
from chainrule.ranges import ANY_NUMBER, Range
from chainrule.rate_finder import find_learning_rate
from chainrule.types import Array
from support.networks import network_of

CLASSES = sorted(set(ACTIVATIONS.classes.values()), key=lambda cls: cls.__name__)
BOTH_SIGNS = {
    "linear",
    "tanh",
    "softsign",
    "smooth_clip",
    "leaky_relu",
    "prelu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "celu",
    "hard_swish",
}

# What may stand behind the last dense layer of two or more units; a softmax is the only one that asks how many.
SUITED: dict[str, set[str]] = {
    "binary_cross_entropy": {"sigmoid", "softmax"},
    "binary_focal": {"sigmoid", "softmax"},
    "multi_label_cross_entropy": {"sigmoid", "softmax"},
    "categorical_cross_entropy": {"softmax"},
    "categorical_focal": {"softmax"},
    "kl_divergence": {"softmax"},
    "negative_log_likelihood": {"log_softmax"},
    "dice": {"sigmoid", "hard_sigmoid", "softmax", "gaussian"},
    "mean_squared_logarithmic_error": {"relu", "softplus", "sigmoid", "hard_sigmoid", "softmax", "gaussian"},
    "hinge": BOTH_SIGNS,
    "squared_hinge": BOTH_SIGNS,
    "multi_margin": BOTH_SIGNS,
}
COMPARING = {"multi_margin", "cosine_similarity", "negative_log_likelihood"}


def names_of(registry: Any) -> list[str]:
    return sorted({registry.name_of(cls) for cls in registry.classes.values()})


def built(*layers: Layer) -> list[Layer]:
    return network_of(*layers).layers


def is_refused(loss: LossFunction, *layers: Layer) -> bool:
    try:
        check_head(built(*layers), loss)
    except InvalidInputError:
        return True
    return False


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_the_declared_range_is_that_of_the_function(cls: type[ActivationLayer]) -> None:
    activation = built(DenseLayer(3, (2,)), cls())[-1]
    assert isinstance(activation, ActivationLayer)
    z = np.concatenate([np.linspace(-60, 60, 240_001), [-1e6, 1e6]])
    rows = activation.activation_function(np.stack([z, -z, 0 * z], axis=1))
    outputs, declared = rows[:, 0], activation.output_range
    if activation.keeps_range:
        assert np.array_equal(outputs, z)
        return
    assert declared is not None
    for end, found in ((declared.low, outputs.min()), (declared.high, outputs.max())):
        assert found == pytest.approx(end, abs=1e-6) if math.isfinite(end) else abs(found) > 1e3
    assert declared.sums_to_one == np.allclose(rows.sum(axis=1), 1)


@pytest.mark.parametrize("name", names_of(LOSSES))
def test_every_loss_behind_every_activation(name: str) -> None:
    loss = LOSSES.create(name)
    for activation in (None, *names_of(ACTIVATIONS)):
        for units in (1, 2, 3):
            last = [] if activation is None else [ACTIVATIONS.create(activation)]
            suited = activation or "linear"
            allowed = suited in SUITED.get(name, {suited})
            allowed = allowed and not (units == 1 and (suited == "softmax" or name in COMPARING))
            assert is_refused(loss, DenseLayer(units, (4,)), *last) == (not allowed), (activation, units)


@pytest.mark.parametrize("activation", [None, *names_of(ACTIVATIONS)])
def test_a_rate_is_above_zero(activation: str | None) -> None:
    last = [] if activation is None else [ACTIVATIONS.create(activation)]
    assert is_refused(Poisson(log_input=False), DenseLayer(2, (4,)), *last) == (
        activation not in ("softplus", "sigmoid", "softmax", "gaussian")
    )


def test_the_sentence_says_what_is_needed_what_is_given_and_what_to_do() -> None:
    with pytest.raises(InvalidInputError, match=r"needs numbers above 0 and below 1.*ReLU.*from 0 up.*SigmoidAct"):
        check_head(built(DenseLayer(1, (4,)), ACTIVATIONS.create("relu")), BinaryCrossEntropy())
    with pytest.raises(InvalidInputError, match=r"above 0, and DenseLayer gives any number: .*SoftplusActivation\(\)"):
        check_head(built(DenseLayer(1, (4,))), Poisson(log_input=False))
    with pytest.raises(InvalidInputError, match=r"MultiMargin compares two or more outputs .* one output unit: give"):
        check_head(built(DenseLayer(1, (4,))), MultiMargin())


def test_a_layer_that_keeps_numbers_as_they_are_is_looked_through() -> None:
    sigmoid, linear = ACTIVATIONS.create("sigmoid"), ACTIVATIONS.create("linear")
    assert not is_refused(BinaryCrossEntropy(), DenseLayer(1, (4,)), sigmoid, linear, FlattenLayer())
    assert is_refused(BinaryCrossEntropy(), DenseLayer(1, (4,)), linear, FlattenLayer())


def test_settings_decide_the_range() -> None:
    assert LeakyReLUActivation(0.1).output_range == ANY_NUMBER
    assert LeakyReLUActivation(0.0).output_range == Range(0, math.inf, includes_low=True)


class Own(ActivationLayer):
    def activation_function(self, x: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-x)))

    def derivative(self, x: Array) -> Array:
        p = self.activation_function(x)
        return np.asarray(p * (1 - p))


class OwnPositive(Own):
    output_range = Range(0, math.inf)


def test_what_a_user_declares_counts_and_what_is_not_declared_is_allowed() -> None:
    square = CustomLoss(lambda y, p: (p - y) ** 2, lambda y, p: 2 * (p - y))
    assert not is_refused(BinaryCrossEntropy(), DenseLayer(1, (4,)), Own())
    assert not is_refused(square, DenseLayer(1, (4,)), ACTIVATIONS.create("sigmoid"))
    assert is_refused(BinaryCrossEntropy(), DenseLayer(1, (4,)), OwnPositive())


def test_training_and_the_search_for_a_rate_refuse_before_the_first_step() -> None:
    X, y = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20) % 2
    network = network_of(DenseLayer(2, (4,)), ACTIVATIONS.create("softplus"), loss="categorical_cross_entropy")
    weights = network.stack.vector.values.copy()
    with pytest.raises(InvalidInputError, match="probabilities that sum to 1"):
        network.fit(X, y)
    with pytest.raises(InvalidInputError, match="probabilities that sum to 1"):
        find_learning_rate(network, X, y)
    assert np.array_equal(network.stack.vector.values, weights)
    assert network.history.n_epochs == 0


@pytest.mark.parametrize(
    ("loss", "low", "high"),
    [
        ("binary_cross_entropy", 0, 1),
        ("binary_focal", 0, 1),
        ("hinge", 0, 1),
        ("squared_hinge", 0, 1),
        ("poisson", 0, 500),
    ],
)
def test_targets_for_which_a_loss_is_not_defined_are_refused(loss: str, low: float, high: float) -> None:
    """Minimised over such numbers, these losses have no end."""
    X = np.random.default_rng(0).normal(size=(20, 4))

    def fit(y: Array) -> None:
        last = [ACTIVATIONS.create("sigmoid")] if loss.startswith("binary") else []
        network_of(DenseLayer(1, (4,)), *last, loss=loss, epochs=1, learning_rate=1e-4).fit(X, y)

    y = np.linspace(low, high, 20)
    fit(y)
    for outside in (-0.5, *([] if loss == "poisson" else [1.5])):
        with pytest.raises(DataError, match=f"among these is {outside}"):
            fit(np.append(y[1:], outside))
