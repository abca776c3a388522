"""Subnormal numbers count as 0 while a network trains, in the thread that trains, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from chainrule import kernels
from chainrule.activations import SoftsignActivation, TanhActivation
from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import Dataset
from chainrule.errors import DivergenceError
from chainrule.formulas import Graph, Loop
from chainrule.kernels.subnormals import subnormals_are_zero
from chainrule.layers import DenseLayer, Layer
from chainrule.optimizer import SGD
from chainrule.types import Array, Inputs
from support.networks import network_of, regression_rows

pytestmark = pytest.mark.skipif(kernels.active_set() != "numba", reason="with the reference kernels nothing changes")

SMALL = np.float32(1e-30)
GRAPH = Graph()
TIMES = Loop(("x", "y", "out"), (), {"out": GRAPH.symbol("x") * GRAPH.symbol("y")})


def products() -> dict[str, float]:
    """1e-30 * 1e-10 in float32, by all that computes in this thread."""
    row, column = np.full((1, 20), SMALL), np.full((20, 1), np.float32(1e-10))
    out = np.empty((1, 20), np.float32)
    TIMES(row.astype(np.float32), column.T.copy(), out)
    return {
        "NumPy": float((row * column.T).max()),
        "BLAS": float((row @ column)[0, 0]),
        "compiled loop": float(out.max()),
        "an operand": float((np.full(20, 1e-40, np.float32) * np.float32(2)).max()),
    }


def are_flushed() -> bool:
    found = products()
    assert len({value == 0 for value in found.values()}) == 1, found
    return found["NumPy"] == 0


@pytest.fixture(autouse=True)
def mode_is_left_alone() -> Iterator[None]:
    assert not are_flushed()
    yield
    assert not are_flushed()


def test_the_block_holds_for_everything_that_computes_in_the_thread_and_ends_with_it() -> None:
    with ThreadPoolExecutor(1) as other:
        assert not other.submit(are_flushed).result()
        with subnormals_are_zero():
            assert are_flushed()
            with subnormals_are_zero():
                assert are_flushed()
            assert are_flushed(), "the outer block goes on"
            assert not other.submit(are_flushed).result()
    assert not are_flushed()


def test_an_error_ends_the_block() -> None:
    with pytest.raises(ZeroDivisionError), subnormals_are_zero():
        1 / 0  # noqa: B018
    assert not are_flushed()


class Watch(Callback):
    """Notes how a callback finds the processor."""

    watches_every_batch = True

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def on_fit_start(self, run: TrainingRun) -> None:
        self.seen.append(are_flushed())

    on_epoch_start = on_batch_end = on_epoch_end = on_fit_end = on_fit_start


class Look(Layer):
    """The identity, which notes how a training step finds the processor, and may raise an error."""

    seen: list[bool]
    error: BaseException | None = None

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        if training:
            self.seen.append(are_flushed())
            if self.error is not None:
                raise self.error
            self.input = self.output = np.asarray(inputs)
        return np.asarray(inputs)

    def backward_propagation(self, output_error: Array) -> Array:
        return output_error


def looking(error: BaseException | None = None) -> Look:
    layer = Look()
    layer.seen, layer.error = [], error
    return layer


@pytest.mark.parametrize("optimizer", ["sgd", "rprop", "lbfgs", "levenberg_marquardt"])
def test_steps_are_taken_in_the_block_and_callbacks_called_outside(optimizer: str) -> None:
    watch, layer = Watch(), looking()
    network = network_of(DenseLayer(3, (5,)), layer, DenseLayer(1), epochs=2, optimizer=optimizer)
    network.fit(regression_rows(40), callbacks=[watch])
    assert layer.seen
    assert all(layer.seen)
    assert watch.seen
    assert not any(watch.seen)


@pytest.mark.parametrize("error", [ValueError("odd"), KeyboardInterrupt()])
def test_an_error_or_an_interrupt_in_a_step_ends_the_block(error: BaseException) -> None:
    network = network_of(DenseLayer(3, (5,)), looking(error), DenseLayer(1))
    with pytest.raises(type(error)):
        network.fit(regression_rows(40))
    assert not are_flushed()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_fit_that_diverges_ends_the_block(engine: str) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    data = regression_rows(40)
    network = network_of(DenseLayer(1, (5,)), learning_rate=1e30, epochs=50, engine=engine)
    watch = Watch()
    with pytest.raises(DivergenceError):
        network.fit(data, callbacks=[watch])
    assert not any(watch.seen)


def decaying_network(**settings: Any) -> Any:
    """Half of the inputs are always 0, so that a penalty halves their weights at every step, 132 times."""
    network = network_of(
        DenseLayer(8, (6,)), settings.pop("activation", TanhActivation)(), DenseLayer(1), learning_rate=0.05, l2=10.0,
        epochs=132, batch_size=64, **settings,
    )  # fmt: skip
    X = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    X[:, 3:] = 0
    return network, X, np.zeros(64, np.float32)


def is_subnormal(array: Array) -> bool:
    return bool(((array != 0) & (np.abs(array) < np.finfo(array.dtype).tiny)).any())


@pytest.mark.parametrize(
    ("settings", "rows"),
    [
        ({}, np.asarray),
        ({}, sparse.csr_matrix),
        ({"activation": SoftsignActivation}, np.asarray),  # layer by layer
        ({"engine": "torch"}, np.asarray),
    ],
    ids=["compiled loop", "CSR rows", "layer by layer", "PyTorch"],
)
def test_weights_that_a_penalty_makes_ever_smaller_become_zero(
    settings: dict[str, Any], rows: Callable[[Array], Any]
) -> None:
    if "engine" in settings:
        pytest.importorskip("torch")
    network, X, y = decaying_network(**settings)
    network.fit(Dataset(rows(X), y, task="regression"))
    weights = network.layers[0].weights
    assert not weights[3:].any()
    assert not is_subnormal(network.stack.vector.values)


def test_steps_that_are_taken_by_hand_are_taken_in_the_block() -> None:
    weights = np.ones(20, np.float32)
    optimizer = SGD(1.0)
    for _ in range(132):
        optimizer.update(weights, np.float32(0.5) * weights)
    assert not is_subnormal(weights)
    assert (weights < 2e-38).all()
