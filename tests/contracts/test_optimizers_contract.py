"""What every optimizer promises; every concrete class of chainrule is found by introspection, none can be forgotten."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import itertools
import pickle
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import kernels
from chainrule.errors import InvalidInputError
from chainrule.named import settings_of
from chainrule.optimizer import LBFGS, OPTIMIZERS, ObjectiveOptimizer, Optimizer, Rprop
from chainrule.optimizer.base import BlockOptimizer
from chainrule.parameters import ParameterBlock
from chainrule.types import Array

SIZE = 40
BLOCKS = (
    ParameterBlock(0, "weights", (6, 4), True, 0),
    ParameterBlock(1, "weights", (4, 2), True, 24),
    ParameterBlock(0, "biases", (6,), False, 32),
    ParameterBlock(1, "biases", (2,), False, 38),
)


def concrete_subclasses(base: type[Any]) -> Iterator[type[Any]]:
    for cls in base.__subclasses__():
        if not inspect.isabstract(cls) and cls.__module__.startswith("chainrule."):
            yield cls
        yield from concrete_subclasses(cls)


CLASSES = sorted(set(concrete_subclasses(Optimizer)), key=lambda cls: cls.__name__)
GRADIENT_CLASSES = [cls for cls in CLASSES if not issubclass(cls, ObjectiveOptimizer)]

# Settings other than the defaults that choose another path through the code.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "Adam": [{"amsgrad": True}],
    "ASGD": [{"first_averaged": 2.0}],
    "SGD": [{"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.3}, {"momentum": 0.9, "nesterov": True}],
    "RMSprop": [{"momentum": 0.9, "centered": True}],
    "Rprop": [{"variant": "minus"}, {"variant": "plus"}, {"variant": "improved_plus"}],
    "Lion": [{"weight_decay": 0.1}],
    "Muon": [{"adjust": "original", "nesterov": False}],
}
CASES = [(cls, settings) for cls in CLASSES for settings in [{}, *VARIANTS.get(cls.__name__, [])]]
IDS = [f"{cls.__name__}-{'-'.join(map(str, settings.values()))}" for cls, settings in CASES]
GRADIENT_CASES = [(cls, settings) for cls, settings in CASES if cls in GRADIENT_CLASSES]
GRADIENT_IDS = [name for name, (cls, _) in zip(IDS, CASES, strict=True) if cls in GRADIENT_CLASSES]
each_case = pytest.mark.parametrize(("cls", "settings"), CASES, ids=IDS)
each_gradient_case = pytest.mark.parametrize(("cls", "settings"), GRADIENT_CASES, ids=GRADIENT_IDS)


class Quadratic:
    """r.r for r = (A w - b) / sqrt(m), a convex function with its minimum where A w = b."""

    l2_rate = 0.0

    def __init__(self, dtype: Any, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.A = (rng.normal(size=(SIZE, SIZE)) / 8 + np.eye(SIZE)).astype(dtype)
        self.b = rng.normal(size=SIZE).astype(dtype)

    def residuals(self, weights: Array) -> Array:
        return (self.A @ weights - self.b) / np.sqrt(SIZE, dtype=self.A.dtype)

    def residuals_and_jacobian(self, weights: Array) -> Iterator[tuple[Array, Array]]:
        residuals, jacobian = self.residuals(weights), self.A / np.sqrt(SIZE, dtype=self.A.dtype)
        yield residuals[:7], jacobian[:7]
        yield residuals[7:], jacobian[7:]

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        residuals = self.residuals(weights)
        return float(residuals @ residuals), 2 / np.sqrt(SIZE, dtype=self.A.dtype) * (self.A.T @ residuals)


def train(optimizer: Optimizer, weights: Array, n_steps: int, rate: float | None = None) -> float:
    """Do some steps on the quadratic, and return its value."""
    problem = Quadratic(weights.dtype)
    for _ in range(n_steps):
        if isinstance(optimizer, ObjectiveOptimizer):
            optimizer.minimize(weights, problem, rate)
        else:
            optimizer.loss, gradient = problem.value_and_gradient(weights)
            assert optimizer.update(weights, gradient, rate) is weights
    return problem.value_and_gradient(weights)[0]


def make(cls: type[Any], settings: dict[str, Any]) -> Any:
    optimizer = cls(**settings)
    optimizer.set_layout(BLOCKS)
    return optimizer


def test_every_optimizer_is_registered() -> None:
    assert set(OPTIMIZERS.classes.values()) == set(CLASSES)
    for name, cls in OPTIMIZERS.classes.items():
        assert name == name.lower()
        assert OPTIMIZERS.name_of(cls) == name
        assert isinstance(OPTIMIZERS.create(name), cls)


@pytest.mark.parametrize("cls", CLASSES)
def test_classes_are_final_dataclasses_that_explain_themselves(cls: type[Any]) -> None:
    assert dataclasses.is_dataclass(cls)
    assert getattr(cls, "__final__", False)
    assert "__doc__" in vars(cls)
    assert not cls.__doc__.startswith(cls.__name__ + "(")
    assert "learning_rate" in settings_of(cls())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case
def test_it_goes_down_a_convex_quadratic(cls: type[Any], settings: dict[str, Any], dtype: Any) -> None:
    weights = np.random.default_rng(1).normal(size=SIZE).astype(dtype)
    before = Quadratic(dtype).value_and_gradient(weights)[0]
    optimizer = make(cls, settings)
    after = train(optimizer, weights, 100)
    assert after < before
    assert weights.dtype == dtype
    # Lion moves by its tiny rate, whatever the gradient; Adadelta warms up slowly.
    assert after < (0.99 if optimizer.learning_rate < 0.002 or cls.__name__ == "Adadelta" else 0.9) * before


@each_case
def test_its_rate_of_this_step_is_the_one_that_is_passed(cls: type[Any], settings: dict[str, Any]) -> None:
    start = np.random.default_rng(1).normal(size=SIZE)
    small, large, default = start.copy(), start.copy(), start.copy()
    train(make(cls, settings), small, 1, 1e-7)
    train(make(cls, settings), large, 1, 1e-3)
    train(make(cls, settings), default, 1)
    if cls is LBFGS:  # its rate is only where the line search begins
        assert (small != large).any()
    else:
        assert 0 < np.abs(small - start).max() < np.abs(large - start).max()
    fixed = make(cls, settings)
    expected = start.copy()
    train(fixed, expected, 1, fixed.learning_rate)
    np.testing.assert_array_equal(default, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_gradient_case
def test_it_updates_in_place_in_any_shape(cls: type[Any], settings: dict[str, Any], dtype: Any) -> None:
    rng = np.random.default_rng(1)
    start, gradient = rng.normal(size=(4, 6)).astype(dtype), rng.normal(size=(4, 6)).astype(dtype)
    results = []
    for order in ("C", "F"):
        weights, before = np.array(start, order=order), gradient.copy()  # type: ignore[call-overload]
        optimizer = cls(**settings)
        optimizer.loss = 1.0
        for _ in range(2):
            updated = optimizer.update(weights, gradient)
            assert updated is weights
            assert np.shares_memory(updated, weights)
        np.testing.assert_array_equal(gradient, before)
        assert (weights != start).any()
        results.append(weights)
    np.testing.assert_array_equal(*results)


@each_case
def test_its_state_is_arrays_and_nothing_else_changes(cls: type[Any], settings: dict[str, Any]) -> None:
    optimizer = make(cls, settings)
    before = settings_of(optimizer)
    assert optimizer.state == {}
    train(optimizer, np.ones(SIZE), 5)
    assert settings_of(optimizer) == before
    expected = optimizer.allocate_state(SIZE, np.dtype(np.float64))
    assert optimizer.state.keys() == expected.keys()
    for name, array in optimizer.state.items():
        assert isinstance(array, np.ndarray)
        assert array.dtype.kind in "fi"
        assert array.flags.c_contiguous
        assert (array.shape, array.dtype) == (expected[name].shape, expected[name].dtype)
    known = {"state", "blocks", "loss", "reversal", "_checked", "_scratch", "_rest", "_traced", *before}
    assert set(vars(optimizer)) <= known, "what an optimizer accumulates belongs into its state"


@each_case
def test_a_fresh_copy_shares_nothing(cls: type[Any], settings: dict[str, Any]) -> None:
    optimizer = make(cls, settings)
    train(optimizer, np.ones(SIZE), 2)
    twin = optimizer.fresh()
    assert type(twin) is cls
    assert settings_of(twin) == settings_of(optimizer)
    assert twin.state == {}
    assert twin.blocks == ()
    twin.set_layout(BLOCKS)
    mine, its = np.ones(SIZE), np.ones(SIZE)
    train(twin, its, 3)
    for own in twin.state.values():
        assert not any(np.shares_memory(own, other) for other in optimizer.state.values())
    train(make(cls, settings), mine, 3)
    np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@each_case
def test_it_resumes_with_the_same_bits(cls: type[Any], settings: dict[str, Any], dtype: Any) -> None:
    uninterrupted, start = np.ones(SIZE, dtype), np.ones(SIZE, dtype)
    train(make(cls, settings), uninterrupted, 14)

    first = make(cls, settings)
    train(first, start, 7)
    saved = {name: array.copy() for name, array in first.state.items()}
    restored, written = make(cls, settings), make(cls, settings)
    restored.restore_state(saved, SIZE, np.dtype(dtype))
    written.state = written.allocate_state(SIZE, np.dtype(dtype))
    for name, array in saved.items():
        written.state[name][...] = array
    seconds = [restored, written, pickle.loads(pickle.dumps(first)), copy.deepcopy(first)]
    for second in seconds:
        assert not any(np.shares_memory(second.state[name], array) for name, array in first.state.items())
    train(first, start.copy(), 3)  # goes its own way
    for second in seconds:
        weights = start.copy()
        train(second, weights, 7)
        np.testing.assert_array_equal(weights, uninterrupted)


@each_gradient_case
def test_a_step_allocates_nothing_that_grows(cls: type[Any], settings: dict[str, Any]) -> None:
    if kernels.active_set() != "numba":
        pytest.skip("the readable kernels allocate")
    if issubclass(cls, BlockOptimizer):
        pytest.skip("formulas of whole matrices have results of their own")
    side = 400
    weights, gradient = np.ones(side * side + side), np.ones(side * side + side)
    optimizer = cls(**settings)
    optimizer.set_layout(
        (ParameterBlock(0, "weights", (side, side), True, 0), ParameterBlock(0, "biases", (side,), False, side * side))
    )
    optimizer.loss = 1.0
    for _ in range(2):
        optimizer.update(weights, gradient)
    tracemalloc.start()
    try:
        optimizer.update(weights, gradient)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10_000 < weights.nbytes


@pytest.mark.parametrize("cls", CLASSES)
def test_bad_settings_are_refused_by_name(cls: type[Any]) -> None:
    bad_values = (-1.0, float("nan"), float("inf"), "fast", None, True)
    for (name, default), bad in itertools.product(settings_of(cls()).items(), bad_values):
        if bad is default or (isinstance(default, bool) and bad is True):
            continue
        with pytest.raises(InvalidInputError, match=f"The {name} of {cls.__name__} is"):
            cls(**{name: bad})


@pytest.mark.parametrize("cls", CLASSES)
def test_whole_numbers_and_numpy_numbers_are_numbers(cls: type[Any]) -> None:
    for name, default in settings_of(cls()).items():
        if isinstance(default, float):
            given = np.float32(default)
            assert type(getattr(cls(**{name: given}), name)) is float
    assert cls(learning_rate=1).learning_rate == 1.0


@each_case
def test_a_state_that_does_not_fit_is_refused(cls: type[Any], settings: dict[str, Any]) -> None:
    """The kernels check no bounds, so nothing of the wrong size may reach them."""
    optimizer = make(cls, settings)
    state = optimizer.allocate_state(SIZE, np.dtype(np.float64))
    for name in state:
        with pytest.raises(InvalidInputError, match=name):
            optimizer.restore_state({**state, name: state[name].reshape(-1)[:-1]}, SIZE, np.dtype(np.float64))
    if state:
        with pytest.raises(InvalidInputError, match="another optimizer"):
            optimizer.restore_state({}, SIZE, np.dtype(np.float64))
        optimizer.state = {name: array.astype(np.float16) for name, array in state.items()}
        with pytest.raises(InvalidInputError, match="float16"):
            train(optimizer, np.ones(SIZE), 1)


@each_case
def test_one_optimizer_cannot_step_two_arrays(cls: type[Any], settings: dict[str, Any]) -> None:
    optimizer = cls(**settings)
    train(optimizer, np.ones(SIZE), 1)
    call, other = (optimizer.update, np.ones(3)) if cls in GRADIENT_CLASSES else (optimizer.minimize, None)
    with pytest.raises(InvalidInputError, match="fresh"):
        call(np.ones(3), other)


@each_gradient_case
def test_a_gradient_of_another_shape_is_refused(cls: type[Any], settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match=r"\(3,\) and their gradient \(2,\)"):
        cls(**settings).update(np.ones(3), np.ones(2))


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, ObjectiveOptimizer)])
def test_methods_that_need_the_objective_say_so(cls: type[Any]) -> None:
    assert cls.full_batch
    with pytest.raises(InvalidInputError, match="needs the objective"):
        cls().update(np.ones(3), np.ones(3))
    with pytest.raises(InvalidInputError, match="one contiguous vector"):
        cls().minimize(np.ones((2, 2)), Quadratic(np.float64))


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, ObjectiveOptimizer)])
def test_minimize_keeps_the_weights_of_an_interrupted_iteration(cls: type[Any]) -> None:
    """The objective may do its trials in the very vector that is being minimised, and may fail."""
    weights = np.ones(SIZE)

    class Interrupted(Quadratic):
        def value_and_gradient(self, trial: Array) -> tuple[float, Array]:
            weights[...] = trial + 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cls().minimize(weights, Interrupted(np.float64))
    np.testing.assert_array_equal(weights, 1)


@pytest.mark.parametrize("cls", [cls for cls in CLASSES if issubclass(cls, ObjectiveOptimizer)])
def test_minimize_does_not_mind_an_objective_that_shares_its_buffers(cls: type[Any]) -> None:
    weights, expected = np.ones(SIZE), np.ones(SIZE)

    class Sharing(Quadratic):
        buffer = np.empty(SIZE)

        def value_and_gradient(self, trial: Array) -> tuple[float, Array]:
            weights[...] = trial
            value, self.buffer[...] = super().value_and_gradient(trial)
            return value, self.buffer

    sharing, plain = cls(), cls()
    for _ in range(5):
        value = sharing.minimize(weights, Sharing(np.float64))
        assert value == plain.minimize(expected, Quadratic(np.float64))
        np.testing.assert_array_equal(weights, expected)


def test_only_those_that_look_at_the_loss_ask_for_it() -> None:
    assert [cls for cls in CLASSES if cls.needs_loss] == [Rprop]
    assert LBFGS.full_batch
    assert Rprop.full_batch
