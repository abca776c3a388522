"""The rule of every optimizer, by NumPy and compiled: equal numbers, and what is not a number stays so."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import kernels
from chainrule.activations import TanhActivation
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer
from chainrule.optimizer import OPTIMIZERS, Optimizer
from chainrule.optimizer.base import BlockOptimizer
from chainrule.parameters import ParameterBlock
from chainrule.types import Array
from support.networks import network_of, regression_rows

CLASSES = {
    name: cls
    for name, cls in OPTIMIZERS.classes.items()
    if cls.rule is not Optimizer.rule and not issubclass(cls, BlockOptimizer)
}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "adam": [{"amsgrad": True}],
    "sgd": [{"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3}, {"momentum": 0.9, "nesterov": True}],
    "rmsprop": [{"momentum": 0.9}, {"centered": True}, {"momentum": 0.9, "centered": True}],
    "rprop": [{"variant": "minus"}, {"variant": "plus"}, {"variant": "improved_plus"}],
    "adamw": [{"weight_decay": 0.1}],
    "lion": [{"weight_decay": 0.1}],
}
CASES = [(name, given_) for name in CLASSES for given_ in [{}, *VARIANTS.get(name, [])]]
SETS = ["numpy", "numba"]
NOT_NEGATIVE = {"square", "largest", "size", "square_move", "total", "step_size"}


def make(name: str, given_: dict[str, Any], size: int, dtype: Any, seed: int) -> tuple[Any, Array, Array]:
    """An optimizer in the midst of a run, weights and a gradient."""
    rng = np.random.default_rng(seed)

    def draw() -> Array:
        values = rng.normal(size=size)
        values[rng.random(size) < 0.1] = 0
        return values.astype(dtype)

    optimizer = CLASSES[name](**given_)
    weights, gradient = draw(), draw()
    n_penalized = int(rng.integers(0, size + 1))
    blocks = [ParameterBlock(0, "weights", (n_penalized,), True, 0)] if n_penalized else []
    if n_penalized < size:
        blocks.append(ParameterBlock(0, "biases", (size - n_penalized,), False, n_penalized))
    optimizer.set_layout(blocks)
    optimizer.prepare(weights)
    for key, array in optimizer.state.items():
        if array.size == size and array.dtype == dtype and key not in ("loss", "momentum_product"):
            # Means within +-1 keep v - m^2 of centred RMSprop away from 0, where float32 has no digits to compare.
            values = rng.uniform(-1, 1, size) if key == "mean" else draw()
            array[...] = values**2 + 4 if key in NOT_NEGATIVE else values
    if name == "quickprop":  # the last move went against the gradient before it
        previous, move = optimizer.state["previous_gradient"], optimizer.state["move"]
        previous[...] = -np.sign(move) * (np.abs(previous) + dtype(0.1))
    if "steps" in optimizer.state:
        optimizer.state["steps"][0] = rng.integers(1, 30)
    if "momentum_product" in optimizer.state:
        optimizer.state["momentum_product"][0] = 0.4
    optimizer.loss = 1.0
    return optimizer, weights, gradient


def step(kernel_set: str, optimizer: Any, weights: Array, gradient: Array) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "active_set", lambda: kernel_set)
        optimizer.update(weights, gradient, 0.1)


@pytest.mark.parametrize(("name", "given_"), CASES, ids=str)
def test_every_rule_is_traced(name: str, given_: dict[str, Any]) -> None:
    assert CLASSES[name](**given_).traced() is not None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "given_"), CASES, ids=str)
@given(size=st.integers(2, 50), seed=st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_both_ways_compute_the_same(name: str, given_: dict[str, Any], dtype: Any, size: int, seed: int) -> None:
    found = []
    for kernel_set in SETS:
        optimizer, weights, gradient = make(name, given_, size, dtype, seed)
        before = gradient.copy()
        step(kernel_set, optimizer, weights, gradient)
        np.testing.assert_array_equal(gradient, before)
        found.append({"weights": weights, **optimizer.state})
    tolerance = 2e-5 if dtype is np.float32 else 1e-13
    for key, reference in found[0].items():
        assert reference.dtype == found[1][key].dtype
        np.testing.assert_allclose(found[1][key], reference, rtol=tolerance, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize(("name", "given_"), CASES, ids=str)
def test_a_gradient_that_is_not_a_number_reaches_the_weights(
    name: str, given_: dict[str, Any], kernel_set: str
) -> None:
    optimizer, weights, gradient = make(name, given_, 40, np.float64, 0)
    gradient[:] = np.nan
    step(kernel_set, optimizer, weights, gradient)
    assert np.isnan(weights).all()


@pytest.mark.parametrize("kernel_set", SETS)
def test_a_centred_variance_that_rounds_below_zero_counts_as_zero(kernel_set: str) -> None:
    """After many equal gradients v - m^2 is rounding noise; its square root must not be NaN."""
    gradient = np.random.default_rng(0).normal(size=100).astype(np.float32)
    optimizer = CLASSES["rmsprop"](alpha=0.9, epsilon=1e-3, centered=True)
    weights = np.zeros_like(gradient)
    optimizer.prepare(weights)
    optimizer.state["mean"][...] = gradient
    optimizer.state["square"][...] = gradient**2 * np.float32(1 - 1e-6)
    step(kernel_set, optimizer, weights, gradient)
    assert ((optimizer.state["square"] - optimizer.state["mean"] ** 2) < 0).any(), "what this test is about"
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("name", ["adamw", "lion"])
@pytest.mark.parametrize("n_decayed", [0, 1, 25, 40])
def test_decay_ends_where_the_penalised_weights_do(name: str, n_decayed: int, kernel_set: str) -> None:
    optimizer = CLASSES[name](weight_decay=0.1)
    blocks = [
        ParameterBlock(0, "weights", (n_decayed,), True, 0),
        ParameterBlock(0, "b", (40 - n_decayed,), False, n_decayed),
    ]
    optimizer.set_layout([block for block in blocks if block.size])
    weights = np.full(40, 2.0)
    step(kernel_set, optimizer, weights, np.zeros(40))
    np.testing.assert_allclose(weights[:n_decayed], 2 * (1 - 0.1 * 0.1), rtol=1e-15)
    np.testing.assert_array_equal(weights[n_decayed:], 2.0)


@pytest.mark.parametrize("kernel_set", SETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("name", "key"), [("rmsprop", "retained"), ("adadelta", "square_move"), ("adam", "mean")])
def test_a_state_that_is_not_a_number_stays_so(name: str, key: str, dtype: Any, kernel_set: str) -> None:
    optimizer = CLASSES[name](**({"momentum": 0.9} if name == "rmsprop" else {}))
    weights = np.zeros(8, dtype)
    optimizer.prepare(weights)
    optimizer.state[key][:4] = np.nan
    step(kernel_set, optimizer, weights, np.zeros(8, dtype))
    np.testing.assert_array_equal(np.isnan(optimizer.state[key]), [True] * 4 + [False] * 4)


def test_a_setting_may_change_between_steps() -> None:
    """Also from 0, where the rule takes another way."""
    optimizer, fresh = CLASSES["rmsprop"](), CLASSES["rmsprop"](momentum=0.5, alpha=0.7)
    weights, expected, gradient = np.ones(5), np.ones(5), np.arange(5.0)
    optimizer.prepare(weights)
    assert optimizer.traced() is not None
    optimizer.momentum, optimizer.alpha = 0.5, 0.7
    for _ in range(3):
        step("numba", optimizer, weights, gradient)
        step("numpy", fresh, expected, gradient)
    np.testing.assert_allclose(weights, expected, rtol=1e-14)


def test_what_cannot_be_traced_is_computed_by_numpy() -> None:
    class Careful(Optimizer):
        def __init__(self, learning_rate: float = 0.1) -> None:
            self.learning_rate = learning_rate

        def rule(self, weights: Any, gradient: Any, rate: float) -> Any:  # type: ignore[override]
            return weights - rate * gradient if np.abs(gradient).max() < 1 else weights

    optimizer = Careful()
    assert optimizer.traced() is None
    assert optimizer.update(np.ones(2), np.array([0.5, 0.0])).tolist() == [0.95, 1]
    assert optimizer.update(np.ones(2), np.array([5.0, 0.0])).tolist() == [1, 1]


@dataclass(eq=False)
class HeavyBall(Optimizer):
    """Its state are the weights before the step."""

    learning_rate: float = 0.1

    def rule(self, weights: Any, gradient: Any, rate: float, before: Any) -> Any:  # type: ignore[override]
        return weights - rate * gradient + 0.5 * (weights - before), weights


def test_a_state_may_be_what_the_weights_were() -> None:
    found = []
    for kernel_set in SETS:
        optimizer, weights = HeavyBall(), np.ones(3)
        for _ in range(3):
            step(kernel_set, optimizer, weights, weights.copy())
        found.append(weights)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-14)
    networks = [
        network_of(DenseLayer(4), TanhActivation(), DenseLayer(1), optimizer=HeavyBall(), engine=engine, epochs=3,
                   dtype="float64", learning_rate=0.05).fit(regression_rows(30))
        for engine in ("numpy", "torch")
    ]  # fmt: skip
    np.testing.assert_allclose(*(one.predict(regression_rows(30)) for one in networks), rtol=1e-9)


@pytest.mark.parametrize("decay", [0.5, np.float64(0.5), np.float32(0.5), 1])
@pytest.mark.parametrize("kernel_set", SETS)
def test_a_decay_of_any_type_leaves_biases_alone(kernel_set: str, decay: Any) -> None:
    optimizer, weights = CLASSES["adamw"](weight_decay=0.1), np.ones(6)
    optimizer.set_layout([ParameterBlock(0, "weights", (4,), True, 0), ParameterBlock(0, "biases", (2,), False, 4)])
    optimizer.weight_decay = decay
    step(kernel_set, optimizer, weights, np.zeros(6))
    np.testing.assert_allclose(weights, [1 - 0.1 * float(decay)] * 4 + [1] * 2, rtol=1e-7)


def test_what_the_parts_of_a_vector_do_not_tell_is_not_traced() -> None:
    class Normed(Optimizer):
        def __init__(self, weight_decay: float = 0.1) -> None:
            self.learning_rate, self.weight_decay = 0.1, weight_decay

        def rule(self, weights: Any, gradient: Any, rate: float) -> Any:  # type: ignore[override]
            return weights - rate * gradient / np.sqrt(np.sum(gradient**2, axis=-1, keepdims=True))

    assert Normed().traced() is None

    class Rooted(Optimizer):
        def __init__(self) -> None:
            self.learning_rate, self.beta, self.weight_decay = 0.1, 0.5, 0.25

        def rule(self, weights: Any, gradient: Any, rate: float) -> Any:  # type: ignore[override]
            return weights - rate * math.sqrt(1 - self.beta**2) * gradient

    traced = Rooted().traced()
    assert traced is not None, "beta is a constant, and the decay is not"
    assert traced.settings == ("self.weight_decay",)


def test_muon_steps_at_a_rate_of_0_and_by_its_present_settings() -> None:
    Muon = OPTIMIZERS.find("muon")
    optimizer, twin = Muon(), Muon()
    weights, expected = np.ones(5), np.ones(5)
    optimizer.set_layout([ParameterBlock(0, "biases", (5,), False, 0)])
    twin.set_layout(optimizer.blocks)
    optimizer.update(weights, np.arange(5.0), 0.0)
    np.testing.assert_array_equal(weights, 1)
    twin.update(expected, np.arange(5.0), 0.0)
    optimizer.beta1 = twin.beta1 = 0.5
    optimizer.update(weights, np.arange(5.0), 0.1)
    pickle.loads(pickle.dumps(twin)).update(expected, np.arange(5.0), 0.1)
    np.testing.assert_array_equal(weights, expected)


def test_state_arrays_put_in_by_hand_are_checked() -> None:
    optimizer, weights = CLASSES["adam"](), np.ones(4)
    optimizer.update(weights, np.ones(4))
    optimizer.state["mean"] = np.ones(8)[::2]
    with pytest.raises(InvalidInputError, match="'mean'"):
        optimizer.update(weights, np.ones(4))


@pytest.mark.parametrize("kernel_set", SETS)
def test_a_rule_that_returns_too_little_is_named(kernel_set: str) -> None:
    class Forgetful(HeavyBall):
        def rule(self, weights: Any, gradient: Any, rate: float, before: Any) -> Any:
            return weights - rate * gradient

    class InPlace(HeavyBall):
        def rule(self, weights: Any, gradient: Any, rate: float, before: Any) -> Any:
            weights -= rate * gradient

    for cls in (Forgetful, InPlace):
        with pytest.raises(InvalidInputError, match=f"The rule of {cls.__name__} must return weights, before"):
            step(kernel_set, cls(), np.ones(3), np.ones(3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [name for name, cls in OPTIMIZERS.classes.items() if cls().supports_tensors()])
def test_steps_on_tensors_are_those_on_arrays(name: str, dtype: Any) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    blocks = [
        ParameterBlock(0, "weights", (3, 4), True, 0),
        ParameterBlock(1, "weights", (4, 2), True, 12),
        ParameterBlock(0, "biases", (4,), False, 20),
    ]
    optimizer, twin = (OPTIMIZERS.classes[name](weight_decay=0.1) for _ in range(2))
    weights = rng.normal(size=24).astype(dtype)
    tensor = torch.from_numpy(weights.copy())
    for one in (optimizer, twin):
        one.set_layout(blocks)
        one.prepare(weights)
        one.loss = 1.0
    vectors = twin.vector_names()
    twin.state = {key: torch.from_numpy(array) if key in vectors else array for key, array in twin.state.items()}
    for _ in range(4):
        gradient = rng.normal(size=24).astype(dtype)
        optimizer.step(weights, gradient, 0.1)
        twin.step(tensor, torch.from_numpy(gradient), 0.1)
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(tensor.numpy(), weights, rtol=tolerance, atol=tolerance)
    for key, array in optimizer.state.items():
        np.testing.assert_allclose(np.asarray(twin.state[key]), array, rtol=tolerance, atol=tolerance)


def test_the_decay_of_an_own_rule_is_that_of_the_base_class() -> None:
    class Plain(Optimizer):
        def __init__(self, weight_decay: float = 0.5) -> None:
            self.learning_rate, self.weight_decay = 0.1, weight_decay

        def rule(self, weights: Any, gradient: Any, rate: float) -> Any:  # type: ignore[override]
            return weights - rate * gradient

    np.testing.assert_allclose(Plain().update(np.ones(2), np.ones(2)), [1 - 0.1 * 0.5 - 0.1] * 2)

    class Twice(Plain):
        def rule(self, weights: Any, gradient: Any, rate: float) -> Any:
            return weights - rate * self.weight_decay * weights - rate * gradient

    with pytest.raises(InvalidInputError, match="Twice uses weight_decay, which the base class applies"):
        Twice()


@pytest.mark.parametrize("name", [name for name, cls in OPTIMIZERS.classes.items() if cls.rule is not Optimizer.rule])
def test_every_optimizer_decays_beside_the_gradient(name: str) -> None:
    rng = np.random.default_rng(1)
    weights = rng.normal(size=6)
    plain, decaying = weights * (1 - 0.1 * 0.3), weights.copy()
    settings: dict[str, Any] = {"variant": "minus"} if name == "rprop" else {}
    optimizers = [CLASS(weight_decay=decay, **settings) for CLASS in [OPTIMIZERS.classes[name]] for decay in (0, 0.3)]
    gradient = rng.normal(size=6)
    optimizers[0].update(plain, gradient, 0.1)
    optimizers[1].update(decaying, gradient, 0.1)
    np.testing.assert_allclose(decaying, plain, rtol=1e-12)
