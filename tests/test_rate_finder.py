"""The learning-rate finder: its suggestion trains, and the network it asks about is left alone."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from chainrule.activations import ReLUActivation, SoftmaxActivation
from chainrule.errors import DivergenceError, InvalidInputError
from chainrule.layers import DenseLayer, DropoutLayer
from chainrule.neuralnet import NeuralNetwork
from chainrule.rate_finder import find_learning_rate
from support.networks import bits_of, class_rows, network_of, regression_rows


def classifier(optimizer: str, learning_rate: float | None = None) -> NeuralNetwork:
    return network_of(
        DenseLayer(32, (5,)), ReLUActivation(), DropoutLayer(0.1), DenseLayer(3), SoftmaxActivation(), epochs=15,
        loss="categorical_cross_entropy", optimizer=optimizer, learning_rate=learning_rate,
    )  # fmt: skip


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_the_suggestion_trains_better_than_much_lower_or_higher_rates(optimizer: str) -> None:
    data = class_rows(600)
    rate = find_learning_rate(classifier(optimizer), data).suggestion

    def final_loss(factor: float) -> float:
        try:
            return classifier(optimizer, factor * rate).fit(data).history.last("loss")
        except DivergenceError:
            return math.inf

    losses = [final_loss(factor) for factor in (0.01, 1, 100)]
    assert losses[1] < losses[0]
    assert losses[1] < losses[2]


def test_rates_rise_geometrically_and_the_search_ends_when_the_loss_runs_away() -> None:
    search = find_learning_rate(classifier("sgd"), class_rows(600), low=1e-5, high=100, n_steps=80)
    ratios = np.diff(np.log(search.rates))
    np.testing.assert_allclose(ratios, ratios[0])
    assert search.rates[0] == pytest.approx(1e-5)
    assert len(search.rates) == len(search.losses) <= 80
    assert search.suggestion < search.rates[int(np.argmin(search.losses))] * 1.0001
    diverging = network_of(DenseLayer(8, (5,)), ReLUActivation(), DenseLayer(1))
    assert find_learning_rate(diverging, regression_rows(), high=1e30).rates[-1] < 1e6


@pytest.mark.parametrize(
    "settings",
    [
        {"label_smoothing": 0.3},
        {"class_weight": {0: 10.0}},
        {"max_norm": 1.0},
        {"shuffle": False, "batch_size": 50},
        {"l2": 0.1, "clip_norm": 0.01},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_the_steps_are_those_of_a_fit(settings: dict[str, Any]) -> None:
    data = class_rows(100)
    network = network_of(
        DenseLayer(8, (5,)), ReLUActivation(), DenseLayer(3), SoftmaxActivation(), loss="cce", learning_rate=0.1,
        **{"batch_size": 100, **settings},
    )  # fmt: skip
    search = find_learning_rate(network, data, low=0.1, high=0.1 * (1 + 1e-9), n_steps=10)
    n_batches = 100 // network.batch_size
    network.epochs = 10 // n_batches
    losses = network.fit(data).history["loss"]
    averages = [0.0, *(loss * (1 - 0.9**n) for n, loss in enumerate(search.losses, 1))]
    of_steps = [10 * (average - 0.9 * before) for before, average in pairwise(averages)]
    np.testing.assert_allclose(np.reshape(of_steps, (-1, n_batches)).mean(1), losses, rtol=1e-5)


def test_the_network_is_left_untouched_built_or_not() -> None:
    data = class_rows(200)
    network = classifier("adam").fit(data)
    before = bits_of(network), network.history.to_dict(), network.layers[2].rng.bit_generator.state
    moments = {name: array.copy() for name, array in network.optimizer.state.items()}
    find_learning_rate(network, data)
    assert (bits_of(network), network.history.to_dict(), network.layers[2].rng.bit_generator.state) == before
    assert all(np.array_equal(network.optimizer.state[name], array) for name, array in moments.items())
    waiting = network_of(DenseLayer(3), SoftmaxActivation(), loss="cce")
    find_learning_rate(waiting, data)
    assert not waiting.stack.is_built


def test_the_same_network_gives_the_same_search() -> None:
    data = class_rows(200)
    assert find_learning_rate(classifier("adam"), data) == find_learning_rate(classifier("adam"), data)


def test_what_cannot_be_searched_is_told() -> None:
    data = class_rows(200)
    with pytest.raises(InvalidInputError, match="must grow"):
        find_learning_rate(classifier("sgd"), data, low=1, high=0.1)
    with pytest.raises(InvalidInputError, match="at least 10"):
        find_learning_rate(classifier("sgd"), data, n_steps=5)
    with pytest.raises(InvalidInputError, match="finds its own steps"):
        find_learning_rate(classifier("lbfgs"), data)
    with pytest.raises(InvalidInputError, match="lower range"):
        find_learning_rate(network_of(DenseLayer(1, (5,))), regression_rows(), low=1e10, high=1e12)


def test_inputs_and_targets_will_do() -> None:
    data = regression_rows(100)
    network = network_of(DenseLayer(1, (5,)), optimizer="adam")
    assert find_learning_rate(network, data.X, data.y) == find_learning_rate(network, data)
