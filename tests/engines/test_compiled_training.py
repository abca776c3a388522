"""Many steps in one compiled call: the same mathematics as layer by layer, the same bits however they are cut."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from chainrule import kernels
from chainrule.activations import (
    ACTIVATIONS,
    CELUActivation,
    CustomActivation,
    GELUActivation,
    LeakyReLUActivation,
    LinearActivation,
    PReLUActivation,
    ReLUActivation,
    SigmoidActivation,
    SoftmaxActivation,
    SoftplusActivation,
    TanhActivation,
)
from chainrule.callbacks import Callback, TrainingRun
from chainrule.data.augment import NoiseAugmentation
from chainrule.data.batches import ArrayBatches
from chainrule.engines import NumpyEngine, TrainingPlan
from chainrule.engines.numpy_engine import NumpySession
from chainrule.errors import DivergenceError, InvalidInputError
from chainrule.files.checkpoint import Checkpoint
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    GaussianNoiseLayer,
    InputScalingLayer,
    Layer,
    LayerNormalizationLayer,
    StandardizationLayer,
)
from chainrule.losses import (
    BinaryCrossEntropy,
    CategoricalCrossEntropy,
    CustomLoss,
    Hinge,
    Huber,
    LogCosh,
    LossFunction,
    MeanSquaredError,
    Pinball,
)
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import (
    SGD,
    Adadelta,
    AdaGrad,
    Adam,
    AdamW,
    Lion,
    Muon,
    NAdam,
    Optimizer,
    Quickprop,
    RAdam,
    RMSprop,
)
from chainrule.penalties import L1, L1L2, L2
from chainrule.stack import LayerStack
from support.networks import bits_of, class_rows, history_without_seconds, network_of, regression_rows

pytestmark = pytest.mark.skipif(kernels.active_set() != "numba", reason="the compiled loop belongs to that set")


def fourth_power(y: Any, p: Any) -> Any:
    return (p - y) ** 4


def fourth_power_derivative(y: Any, p: Any) -> Any:
    return 4 * (p - y) ** 3


HEADS: dict[str, tuple[LossFunction, int, list[type[Layer]]]] = {
    "softmax": (CategoricalCrossEntropy(), 3, [SoftmaxActivation]),
    "sigmoid": (BinaryCrossEntropy(), 2, [SigmoidActivation]),
    "squares": (MeanSquaredError(), 2, []),
    "squares of a sigmoid": (MeanSquaredError(), 2, [SigmoidActivation]),
    "huber": (Huber(0.5), 2, []),
    "log cosh": (LogCosh(), 1, []),
    "pinball": (Pinball(0.3), 2, []),
    "hinge": (Hinge(), 2, []),
    "own": (CustomLoss(fourth_power, fourth_power_derivative, "FourthPower"), 2, []),
}


def session_of(
    hidden: list[Layer],
    head: str,
    n_features: int,
    optimizer: Optimizer,
    dtype: str = "float64",
    *,
    by_layers: bool = False,
    **plan: Any,
) -> NumpySession:
    loss, n_outputs, last = HEADS[head]
    stack = LayerStack(
        [DenseLayer(9, (n_features,)), *hidden, DenseLayer(n_outputs), *(cls() for cls in last)], dtype=dtype, seed=1
    )
    return NumpySession(stack, TrainingPlan(loss, optimizer, **plan), by_layers=by_layers)


def batches_of(
    n_rows: int,
    n_features: int,
    n_outputs: int,
    batch_size: int,
    dtype: str = "float64",
    share: float = 1.0,
    **more: Any,
) -> ArrayBatches:
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(n_rows, n_features)) * (rng.random((n_rows, n_features)) < share)).astype(dtype)
    targets = np.eye(n_outputs, dtype=dtype)[rng.integers(0, n_outputs, n_rows)]
    weights = more.pop("weights", None)
    inputs = sparse.csr_array(X) if more.pop("csr", False) else X
    return ArrayBatches(inputs, targets, weights, batch_size=batch_size, seed=3, **more)


def train_both_ways(make: Any, batches: ArrayBatches, n_epochs: int = 3) -> tuple[NumpySession, NumpySession]:
    """Train twins, one in compiled code and one layer by layer; return both, with their losses compared."""
    fast, slow = make(by_layers=False), make(by_layers=True)
    for epoch in range(n_epochs):
        fast.train_batches(batches, epoch, 0, np.full(batches.n_batches, 0.01), None)
        assert fast._compiled is not None, "this network is not compiled"
        slow.train_batches(batches, epoch, 0, np.full(batches.n_batches, 0.01), None)
        assert slow._compiled is None
        assert fast.gradient_norm() == pytest.approx(slow.gradient_norm(), rel=1e-8)
        assert fast.pop_mean_loss() == pytest.approx(slow.pop_mean_loss(), rel=1e-10)
    return fast, slow


def assert_same(fast: NumpySession, slow: NumpySession, rtol: float = 1e-9) -> None:
    values = slow.stack.vector.values
    np.testing.assert_allclose(fast.stack.vector.values, values, rtol=rtol, atol=rtol * np.abs(values).max())
    for name, array in slow.plan.optimizer.state.items():
        scale = np.abs(array).max()
        np.testing.assert_allclose(fast.plan.optimizer.state[name], array, rtol=rtol, atol=rtol * scale, err_msg=name)


# The same mathematics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "activation", [ReLUActivation, SigmoidActivation, TanhActivation, LeakyReLUActivation, LinearActivation]
)
@pytest.mark.parametrize("batch_size", [1, 7, 32, 100])
def test_steps_are_those_of_the_layers(head: str, activation: type[Layer], batch_size: int) -> None:
    batches = batches_of(100, 6, HEADS[head][1], batch_size)
    hidden: list[Layer] = [activation(), DenseLayer(5), activation()]
    assert_same(*train_both_ways(lambda **how: session_of(hidden_twin(hidden), head, 6, Adam(), **how), batches))


@pytest.mark.parametrize("name", sorted(ACTIVATIONS.classes))
def test_every_activation_is_compiled(name: str) -> None:
    hidden: list[Layer] = [ACTIVATIONS.create(name), DenseLayer(5), ACTIVATIONS.create(name)]
    head = next(iter(HEADS))
    batches = batches_of(100, 6, HEADS[head][1], 16)
    assert_same(*train_both_ways(lambda **how: session_of(hidden_twin(hidden), head, 6, Adam(), **how), batches))


def hidden_twin(layers: list[Layer]) -> list[Layer]:
    return [type(layer)(layer.n_units) if isinstance(layer, DenseLayer) else type(layer)() for layer in layers]


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(),
        SGD(momentum=0.9),
        SGD(momentum=0.9, nesterov=True),
        Adam(beta1=0.8, beta2=0.95, epsilon=1e-6),
        AdamW(weight_decay=0.1),
        RMSprop(),
        RMSprop(alpha=0.9, momentum=0.5),
        RMSprop(alpha=0.9, centered=True),
        NAdam(),
        RAdam(beta2=0.9),
        AdaGrad(),
        Adadelta(),
        Lion(weight_decay=0.1),
        Quickprop(),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "plan",
    [
        {},
        {"penalty": L1(0.01)},
        {"penalty": L2(0.01)},
        {"penalty": L1L2(0.01, 0.02)},
        {"clip_norm": 0.1},
        {"max_norm": 0.5},
        {"penalty": L2(0.1), "clip_norm": 0.2, "max_norm": 0.7},
    ],
    ids=str,
)
def test_every_plan_is_carried_out(optimizer: Optimizer, plan: dict[str, Any]) -> None:
    batches = batches_of(90, 12, 3, 20)  # the last batch has 10 rows
    make = lambda **how: session_of([ReLUActivation()], "softmax", 12, optimizer.fresh(), **how, **plan)  # noqa: E731
    assert_same(*train_both_ways(make, batches))


@pytest.mark.parametrize("csr", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_units", [9, 70])
def test_rows_that_are_mostly_zero(csr: bool, weighted: bool, n_units: int) -> None:
    """With 70 units and dense rows, products leave the zeros out; 9 units are too few for that."""
    weights = np.random.default_rng(5).random(60) if weighted else None
    batches = batches_of(60, 80, 3, 16, share=0.1, csr=csr, weights=weights)

    def make(by_layers: bool) -> NumpySession:
        layers = [DenseLayer(n_units, (80,)), ReLUActivation(), DenseLayer(3), SoftmaxActivation()]
        stack = LayerStack(layers, dtype="float64", seed=0)
        return NumpySession(stack, TrainingPlan(CategoricalCrossEntropy(), Adam()), by_layers=by_layers)

    assert_same(*train_both_ways(make, batches))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("how", ["dense layer", "noise before it"])
@pytest.mark.parametrize(
    ("scale", "decoding"),
    [
        (lambda codes: codes, (1.0, 0.0)),
        (lambda codes: codes / codes.dtype.type(255), (1 / 255, 255.0)),
        (lambda codes: codes * codes.dtype.type(1 / 255), (1 / 255, 0.0)),
        (lambda codes: codes / 16, (1 / 16, 0.0)),
        (lambda codes: codes / 17, None),
        (lambda codes: np.where(np.arange(codes.size).reshape(codes.shape) == codes.size - 1, 0.3, codes), None),
    ],
    ids=["bytes", "by 255", "times 1/255", "by 16", "by 17", "but for the last number"],
)
def test_pixels_are_stored_as_bytes(how: str, dtype: str, scale: Any, decoding: Any) -> None:
    """Training in bytes gives the same bits as training in numbers; inputs that are no bytes stay numbers."""
    batches = batches_of(90, 75, 3, 70, dtype=dtype)
    codes = np.random.default_rng(1).integers(0, 256, (90, 75)) * (np.arange(75) % 3 > 0)
    batches.inputs[...] = scale(codes.astype(dtype)).astype(dtype) if decoding else scale(codes.astype(dtype))

    def make(by_layers: bool = False) -> NumpySession:
        first = [DropoutLayer(0.2)] if how == "noise before it" else []
        layers = [*first, DenseLayer(40), ReLUActivation(), DenseLayer(3), SoftmaxActivation()]
        layers[0].set_input_shape((75,))
        stack = LayerStack(layers, dtype=dtype, seed=0)
        return NumpySession(stack, TrainingPlan(CategoricalCrossEntropy(), Adam()), by_layers=by_layers)

    fast, plain = make(), make()
    fast.train_batches(batches, 0, 0, np.full(2, 1e-3), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chainrule.engines.compiled_training._DECODINGS", ())
        plain.train_batches(batches, 0, 0, np.full(2, 1e-3), None)
    assert fast._compiled._source.decoding == decoding
    assert plain._compiled._source.decoding is None
    assert np.array_equal(fast.stack.vector.values, plain.stack.vector.values)
    assert np.array_equal(fast.stack.layers[0].input, plain.stack.layers[0].input)


def test_float32() -> None:
    batches = batches_of(256, 20, 3, 32, dtype="float32")
    fast, slow = (
        session_of([ReLUActivation()], "softmax", 20, Adam(), "float32", by_layers=how) for how in (False, True)
    )
    for session in (fast, slow):
        session.train_batches(batches, 0, 0, np.full(8, 0.01), None)
    np.testing.assert_allclose(fast.stack.vector.values, slow.stack.vector.values, rtol=1e-4, atol=1e-5)


EVERYTHING = {
    "dropout": lambda: [DropoutLayer(0.3), ReLUActivation()],
    "noise": lambda: [GaussianNoiseLayer(0.2), ReLUActivation()],
    "batch normalization": lambda: [BatchNormalizationLayer(0.2, 1e-3), ReLUActivation()],
    "no parameters in the norms": lambda: [
        BatchNormalizationLayer(affine=False),
        LayerNormalizationLayer(affine=False),
    ],
    "layer normalization": lambda: [LayerNormalizationLayer(1e-3), ReLUActivation()],
    "scaling": lambda: [InputScalingLayer(), TanhActivation()],
    "standardization": lambda: [StandardizationLayer().adapt(np.random.default_rng(1).normal(3, 2, (20, 9)))],
    "prelu": lambda: [PReLUActivation(0.1)],
    "slopes of units": lambda: [PReLUActivation(0.1, shared=False)],
    "settings of activations": lambda: [SoftplusActivation(2.5), GELUActivation("tanh"), CELUActivation(0.4)],
    "softmax": lambda: [SoftmaxActivation()],
    "all": lambda: [BatchNormalizationLayer(), DropoutLayer(0.2), PReLUActivation(), LayerNormalizationLayer()],
}


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("batch_size", [1, 16, 33])
def test_every_layer_is_compiled(name: str, batch_size: int) -> None:
    """With batches of 33 rows, the last of 100 has one."""
    batches = batches_of(100, 6, 3, batch_size)
    fast, slow = train_both_ways(lambda **how: session_of(EVERYTHING[name](), "softmax", 6, Adam(), **how), batches)
    assert_same(fast, slow)
    for mine, other in zip(fast.stack.layers, slow.stack.layers, strict=True):
        for key, array in other.state.items():
            np.testing.assert_allclose(mine.state[key], array, rtol=1e-10, err_msg=key)


def test_dropout_on_sparse_rows_is_that_on_dense_ones() -> None:
    results = []
    for csr, by_layers in ((False, False), (True, False), (True, True)):
        layers = [DropoutLayer(0.4), DenseLayer(7, (80,)), ReLUActivation(), DenseLayer(3), SoftmaxActivation()]
        stack = LayerStack([], dtype="float64", seed=1)
        layers[0].set_input_shape((80,))
        for layer in layers:
            stack.add(layer)
        session = NumpySession(stack, TrainingPlan(CategoricalCrossEntropy(), Adam()), by_layers=by_layers)
        batches = batches_of(60, 80, 3, 16, share=0.1, csr=csr)
        session.train_batches(batches, 0, 0, np.full(batches.n_batches, 0.01), None)
        assert (session._compiled is None) is by_layers
        results.append(stack.vector.values.copy())
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-9, atol=1e-12)


UNTRACED = CustomLoss(lambda y, p: np.array((p - y) ** 2), lambda y, p: np.array(p - y))


@pytest.mark.parametrize("csr", [False, True])
def test_batches_of_other_sizes_take_their_own_rows(csr: bool) -> None:
    """The tables of a session say where a step begins; data in smaller or larger batches need others."""
    values = []
    for by_layers in (False, True):
        session = session_of([TanhActivation()], "softmax", 6, Adam(), by_layers=by_layers)
        for batch_size in (16, 8, 1, 30, 100):
            batches = batches_of(60, 6, 3, batch_size, share=0.5, csr=csr)
            session.train_batches(batches, 0, 0, np.full(batches.n_batches, 0.01), None)
        values.append(session.stack.vector.values)
    np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-12)


def test_a_rate_of_dropout_that_is_changed_counts_on_sparse_rows_too() -> None:
    values = []
    for rate in (0.0, 0.5):
        dropout = DropoutLayer(0.5)
        dropout.set_input_shape((6,))
        stack = LayerStack([dropout, DenseLayer(3), SoftmaxActivation()], dtype="float64", seed=1)
        session = NumpySession(stack, TrainingPlan(CategoricalCrossEntropy(), SGD()))
        batches = batches_of(60, 6, 3, 16, share=0.5, csr=True)
        session.train_batches(batches, 0, 0, np.full(4, 0.01), None)
        dropout.rate = rate
        session.train_batches(batches, 1, 0, np.full(4, 0.01), None)
        assert session._compiled is not None
        values.append(stack.vector.values.copy())
    assert not np.array_equal(*values)


def test_rows_of_another_type_are_converted() -> None:
    values = []
    for dtype in ("float32", "float64"):
        session = session_of([TanhActivation()], "softmax", 6, Adam(), "float32")
        batches = batches_of(60, 6, 3, 16, dtype=dtype)
        session.train_batches(batches, 0, 0, np.full(4, 0.01), None)
        values.append(session.stack.vector.values)
    np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-6)


# What is not compiled --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hidden", "plan", "is_compiled"),
    [
        ([CustomActivation(np.cbrt, np.cos)], {}, False),
        ([ReLUActivation()], {"optimizer": Muon()}, True),
        (
            [ReLUActivation()],
            {"loss": CustomLoss(lambda y, p: np.array((p - y) ** 2), lambda y, p: np.array(p - y))},
            False,
        ),
    ],
    ids=["untraced activation", "muon", "untraced loss"],
)
def test_what_cannot_be_compiled_is_computed_by_numpy(
    hidden: list[Layer], plan: dict[str, Any], is_compiled: bool
) -> None:
    """Of a network with Muon the gradients are compiled, and not its steps."""
    stack = LayerStack([DenseLayer(4, (6,)), *hidden, DenseLayer(2)], seed=0)
    session = NumpySession(stack, TrainingPlan(**{"loss": MeanSquaredError(), "optimizer": Adam(), **plan}))
    batches = batches_of(20, 6, 2, 5, dtype="float32")
    before = stack.vector.values.copy()
    session.train_batches(batches, 0, 0, np.full(4, 0.01), None)
    assert (session._compiled is not None) is is_compiled
    assert session._compiled is None or not session._compiled.can_update
    assert not np.array_equal(stack.vector.values, before)


def test_augmented_rows_are_gathered_by_python() -> None:
    plain, noisy = (
        batches_of(100, 6, 2, 10, dtype="float32", augmentation=augmentation)
        for augmentation in (None, NoiseAugmentation(1e-12))
    )
    values = []
    for batches in (plain, noisy):
        session = session_of([ReLUActivation()], "squares", 6, Adam(), "float32")
        session.train_batches(batches, 0, 0, np.full(10, 0.01), None)
        values.append(session.stack.vector.values)
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


class LoudError(MeanSquaredError):  # type: ignore[misc]
    """A user's own idea of a loss."""

    def evaluate(self, y_true: Any, y_pred: Any, row_weights: Any, derivative: Any) -> float:
        value = super().evaluate(y_true, y_pred, row_weights, derivative)
        derivative *= 100
        return 100 * value


class TimidAdam(Adam):  # type: ignore[misc]
    def step(self, weights: Any, gradient: Any, learning_rate: float) -> None:
        assert type(learning_rate) is float, "a NumPy number would make float64 of float32 arithmetic"
        super().step(weights, gradient, 0.0)


def test_subclasses_are_asked_themselves() -> None:
    batches = batches_of(20, 6, 2, 5, dtype="float32")

    def trained(loss: LossFunction, optimizer: Optimizer) -> tuple[NumpySession, Any]:
        session = NumpySession(LayerStack([DenseLayer(2, (6,))], seed=0), TrainingPlan(loss, optimizer))
        before = session.stack.vector.values.copy()
        session.train_batches(batches, 0, 0, np.full(4, 0.01), None)
        return session, session.stack.vector.values - before

    plain, loud = trained(MeanSquaredError(), SGD())[0], trained(LoudError(), SGD())[0]
    assert loud.gradient_norm() > 10 * plain.gradient_norm()
    assert not trained(MeanSquaredError(), TimidAdam())[1].any()


@pytest.mark.parametrize("width", [5, 7])
@pytest.mark.parametrize("csr", [False, True])
def test_rows_of_another_width_are_refused(width: int, csr: bool) -> None:
    session = session_of([ReLUActivation()], "softmax", 6, Adam())
    with pytest.raises(InvalidInputError, match=r"expects rows of shape \(6,\)"):
        session.train_batches(batches_of(20, width, 3, 5, csr=csr), 0, 0, np.full(4, 0.01), None)


def test_the_width_of_sparse_rows_costs_no_memory() -> None:
    X = sparse.csr_array(([1.0] * 50, (range(50), range(50))), shape=(50, 2**22), dtype=np.float32)
    batches = ArrayBatches(X, np.ones((50, 1), np.float32), None, batch_size=50, seed=0)
    stack = LayerStack([DenseLayer(1, (2**22,))], seed=0)
    session = NumpyEngine().open(stack, TrainingPlan(MeanSquaredError(), SGD()))
    tracemalloc.start()
    session.train_batches(batches, 0, 0, np.full(1, 0.01), None)
    assert tracemalloc.get_traced_memory()[1] < 4 * 50 * 2**22 / 10
    tracemalloc.stop()


def test_what_is_changed_between_epochs_counts() -> None:
    batches = batches_of(90, 6, 3, 20)
    fast, slow = (
        session_of([LeakyReLUActivation(0.1)], "softmax", 6, SGD(momentum=0.5), by_layers=how) for how in (False, True)
    )
    for epoch in range(3):
        for session in (fast, slow):
            session.train_batches(batches, epoch, 0, np.full(batches.n_batches, 0.05), None)
        assert_same(fast, slow)
        for session in (fast, slow):
            optimizer, leaky = session.plan.optimizer, session.stack.layers[1]
            assert isinstance(optimizer, SGD)
            assert isinstance(leaky, LeakyReLUActivation)
            optimizer.momentum, leaky.negative_slope = 0.9, 0.3
            optimizer.state["retained_gradient"] = np.ones_like(session.stack.vector.values)


# The same bits --------------------------------------------------------------------------------------------------


class Watch(Callback):
    """See every batch, or only now and then."""

    def __init__(self, every_batch: bool) -> None:
        self.watches_every_batch = every_batch
        self.seen: list[tuple[int, int]] = []

    def on_batch_end(self, run: TrainingRun) -> None:
        self.seen.append((run.epoch, run.batch))


@pytest.mark.parametrize("layers", [[ReLUActivation()], [DropoutLayer(0.2)]], ids=str)
def test_the_bits_do_not_depend_on_who_watches(layers: list[Layer]) -> None:
    results = []
    for callbacks in ([], [Watch(every_batch=True)], [Watch(every_batch=False)]):
        hidden = [type(layer)(*([0.2] if isinstance(layer, DropoutLayer) else [])) for layer in layers]
        network = network_of(
            DenseLayer(16, (5,)), *hidden, DenseLayer(3), SoftmaxActivation(), loss="cross_entropy",
            metric=["accuracy"], epochs=3, batch_size=16, optimizer="adam", schedule="cosine", learning_rate=0.01,
        )  # fmt: skip
        network.fit(class_rows(150), validation=class_rows(30, seed=1), callbacks=callbacks)
        results.append((bits_of(network), history_without_seconds(network)))
        for callback in callbacks:
            expected = [(epoch, batch) for epoch in range(3) for batch in range(1, 11)]
            assert callback.seen == (expected if callback.watches_every_batch else expected[9::10])
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("csr", [False, True])
def test_a_run_taken_up_in_the_middle_of_an_epoch_gives_the_same_bits(csr: bool, tmp_path: Path) -> None:
    data = class_rows(150, 20)
    X = sparse.csr_array(np.where(data.X > 1, data.X, 0)) if csr else data.X

    class Interrupt(Callback):
        order = 10

        def on_batch_end(self, run: TrainingRun) -> None:
            if run.epoch == 1 and run.batch == 4:
                run.interrupt("enough")

    def fresh() -> NeuralNetwork:
        return network_of(
            DenseLayer(16, (20,)), ReLUActivation(), DenseLayer(3), SoftmaxActivation(), loss="cross_entropy",
            metric="accuracy", epochs=3, batch_size=16, optimizer="adam", schedule="cosine", learning_rate=0.01,
        )  # fmt: skip

    whole = fresh().fit(X, data.y)
    path = tmp_path / "run.safetensors"
    fresh().fit(X, data.y, callbacks=[Interrupt(), Checkpoint(path)])
    resumed = NeuralNetwork.resume(path, X, data.y)
    assert bits_of(resumed) == bits_of(whole)
    assert history_without_seconds(resumed) == history_without_seconds(whole)


def test_the_bits_do_not_depend_on_the_threads_of_the_machine() -> None:
    """Every BLAS has one thread, and compiled code computes the same bits with any number of threads."""
    code = """
import hashlib, numpy as np
from threadpoolctl import threadpool_info
from chainrule import Callback, NeuralNetwork
from chainrule.activations import ReLUActivation
from chainrule.layers import DenseLayer

class Count(Callback):
    def on_batch_end(self, run):
        counts.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

rng = np.random.default_rng(0)
X, y = rng.normal(size=(4096, 200)), rng.normal(size=4096)
digest, counts = hashlib.sha256(), set()
for batch_size in (64, 2048):  # small products and large ones
    network = NeuralNetwork(seed=0, epochs=1, batch_size=batch_size, optimizer="adam", l2=1e-3)
    for layer in (DenseLayer(300, (200,)), ReLUActivation(), DenseLayer(300), ReLUActivation(), DenseLayer(1)):
        network.add(layer)
    digest.update(network.fit(X, y, callbacks=[Count()]).stack.vector.values.tobytes())
print(digest.hexdigest(), counts)
"""
    variables = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    printed = []
    for n_threads in ("1", "2"):
        environment = {**os.environ, **dict.fromkeys(variables, n_threads)}
        environment.pop("CHAINRULE_THREADS", None)
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        printed.append(done.stdout)
    assert printed[0] == printed[1]
    assert printed[1].endswith(" {1}\n"), "every BLAS that is loaded, SciPy's too, is held to one thread"


def test_machine_code_is_made_again_when_any_kernel_file_changes() -> None:
    from chainrule.kernels import compile, tape

    kernel: Any = tape.run_steps
    assert [cell.cell_contents for cell in kernel.py_func.__closure__] == [compile._CHECKSUM]
    named = {path.name for path in compile._SOURCES}
    assert {"tape.py", "products.py", "rows.py", "statistics.py", "calls.py"} <= named


# What it leaves behind ------------------------------------------------------------------------------------------


def test_layers_show_the_last_batch() -> None:
    data = regression_rows(50)
    network = network_of(DenseLayer(4, (5,)), ReLUActivation(), DenseLayer(1), epochs=1, batch_size=20, shuffle=False)
    network.fit(data)
    first, relu, last = network.layers
    np.testing.assert_array_equal(first.input, data.X[40:].astype(np.float32))
    np.testing.assert_array_equal(relu.output, np.maximum(first.output, 0))
    assert last.input is relu.output
    assert last.output.shape == (10, 1)


def test_a_loss_that_is_not_finite_stops_in_its_step() -> None:
    data = regression_rows(60)
    data.y[45] = 1e38  # in the third batch; its square is infinite in float32
    network = network_of(DenseLayer(4, (5,)), ReLUActivation(), DenseLayer(1), epochs=1, batch_size=20, shuffle=False)
    with pytest.raises(DivergenceError, match="the loss is not finite"):
        network.fit(data)
    assert np.isfinite(network.predict(data)).all()

    session = network_of(DenseLayer(4, (5,)), ReLUActivation(), DenseLayer(1))
    stack, plan = session.stack, TrainingPlan(MeanSquaredError(), SGD())
    batches = ArrayBatches(
        data.X.astype(np.float32), data.y.astype(np.float32)[:, None], None, batch_size=20, seed=0, shuffle=False
    )
    one, two = (NumpySession(twin, plan_of(plan)) for twin in (stack, stack.astype("float32")))
    with pytest.raises(DivergenceError):
        one.train_batches(batches, 0, 0, np.full(3, 0.01), None)
    two.train_batches(batches, 0, 0, np.full(2, 0.01), None)
    np.testing.assert_array_equal(one.stack.vector.values, two.stack.vector.values)


def plan_of(plan: TrainingPlan) -> TrainingPlan:
    return TrainingPlan(plan.loss, plan.optimizer.fresh())


def test_no_call_allocates_what_grows_with_the_data() -> None:
    def peak(n_rows: int, batch_size: int) -> int:
        session = session_of([ReLUActivation()], "softmax", 400, Adam(), "float32")
        batches = batches_of(n_rows, 400, 3, batch_size, dtype="float32")
        rates = np.full(4, 0.01)
        session.train_batches(batches, 0, 0, rates, None)
        gc.collect()
        tracemalloc.start()
        session.train_batches(batches, 0, 4, rates, None)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small, large = peak(64 * 8, 64), peak(512 * 8, 512)
    assert large < 20_000
    assert large < small + 4_000
