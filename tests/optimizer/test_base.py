"""What the base class does for every optimizer: layouts, decay on one slice, choices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.errors import InvalidInputError
from chainrule.optimizer import SGD, Adam, AdamW, Lion, Muon, RMSprop, Rprop
from chainrule.parameters import ParameterBlock, ParameterVector


@pytest.mark.parametrize("optimizer", [AdamW(weight_decay=0.5), Lion(weight_decay=0.5), Muon(weight_decay=0.5)])
def test_decay_acts_on_the_penalised_slice_only(optimizer: Any) -> None:
    vector = ParameterVector(
        [
            ParameterBlock(0, "biases", (3,), penalized=False),
            ParameterBlock(0, "weights", (2, 3), penalized=True),
            ParameterBlock(1, "scale", (2, 2), penalized=False),
        ],
        np.dtype(np.float64),
    )
    vector.values[:] = 2.0
    own = optimizer.fresh()
    own.set_layout(vector.blocks)
    assert own.n_penalized == 6
    own.update(vector.values, vector.gradients)
    np.testing.assert_allclose(vector.values[:6], 2 * (1 - optimizer.learning_rate * 0.5), rtol=1e-15)
    np.testing.assert_array_equal(vector.values[6:], 2.0)


@pytest.mark.parametrize("optimizer", [AdamW(weight_decay=0.5), Lion(weight_decay=0.5), Muon(weight_decay=0.5)])
def test_by_hand_everything_decays(optimizer: Any) -> None:
    weights = optimizer.fresh().update(np.full((2, 3), 2.0), np.zeros((2, 3)))
    np.testing.assert_allclose(weights, 2 * (1 - optimizer.learning_rate * 0.5), rtol=1e-15)


def test_adamw_without_decay_is_adam() -> None:
    rng = np.random.default_rng(0)
    a, b = np.ones(50), np.ones(50)
    adam, adamw = Adam(), AdamW(weight_decay=0)
    for _ in range(5):
        gradient = rng.normal(size=50)
        np.testing.assert_allclose(adam.update(a, gradient), adamw.update(b, gradient), rtol=1e-14)


def test_a_layout_of_another_size_is_refused() -> None:
    optimizer = SGD()
    optimizer.set_layout([ParameterBlock(0, "weights", (2, 3), penalized=True)])
    with pytest.raises(InvalidInputError, match="updates 6 parameters and was given 5"):
        optimizer.update(np.ones(5), np.ones(5))


def test_a_list_is_turned_into_an_array() -> None:
    assert SGD(learning_rate=0.5).update([1, 2], [1, 1]).tolist() == [0.5, 1.5]  # type: ignore[arg-type]
    assert SGD(learning_rate=0.5).update(np.float64(1), np.float64(1)).tolist() == 0.5  # type: ignore[arg-type]


def test_retained_gradient_is_the_documents_recursion() -> None:
    sgd = SGD(learning_rate=0.1, momentum=0.9)
    assert sgd.retained_gradient is None
    weights = np.array([1.0, 1.0])
    for gradient in ([1.0, 2.0], [3.0, 0.0]):
        sgd.update(weights, np.array(gradient))
    assert sgd.retained_gradient is not None
    np.testing.assert_allclose(sgd.retained_gradient, [0.9 + 3, 1.8])
    np.testing.assert_allclose(weights, [1 - 0.1 - 0.39, 1 - 0.2 - 0.18])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SGD(nesterov="yes"), "nesterov of SGD is 'yes'; allowed are True and False"),
        (lambda: SGD(nesterov=True), "needs a momentum above 0"),
        (lambda: SGD(momentum=1), "momentum of SGD is 1; allowed are numbers from 0 and below 1"),
        (lambda: RMSprop(centered=2), "centered of RMSprop is 2; allowed are True and False"),
        (lambda: Muon(newton_schulz_steps=2.5), "allowed are whole numbers from 1 to 100"),
        (lambda: Muon(adjust="best"), "'match_rms_adamw' and 'original'"),
        (lambda: Rprop(variant="star"), "variant of Rprop is 'star'"),
        (lambda: Rprop(largest_step=1e-7), "smallest_step must be below largest_step"),
    ],
)
def test_refusals_say_what_would_do(make: Any, words: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        make()
    assert words in str(caught.value)


def test_lion_by_hand() -> None:
    """Two steps of algorithm 2 of Chen et al., worked out on paper."""
    lion = Lion(0.1, beta1=0.5, beta2=0.75, weight_decay=0.5)
    weights = np.array([1.0, -2.0, 4.0])
    lion.update(weights, np.array([2.0, -1.0, 0.0]))
    np.testing.assert_allclose(weights, [0.95 - 0.1, -1.9 + 0.1, 3.8])
    np.testing.assert_allclose(lion.state["mean"], [0.5, -0.25, 0.0])
    lion.update(weights, np.array([-1.0, 0.1, 0.0]))  # c = -0.25, -0.075, 0
    np.testing.assert_allclose(weights, [0.85 * 0.95 + 0.1, -1.8 * 0.95 + 0.1, 3.8 * 0.95])
