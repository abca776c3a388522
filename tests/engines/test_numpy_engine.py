"""Steps on the CPU: what they allocate, bound and refuse, and what they leave behind when numbers run away."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from chainrule import kernels
from chainrule.activations import (
    PReLUActivation,
    ReLUActivation,
    SigmoidActivation,
    SoftmaxActivation,
    TanhActivation,
)
from chainrule.callbacks import Callback, TrainingRun
from chainrule.data import Dataset
from chainrule.data.batches import ArrayBatches, Batch
from chainrule.engines import NumpyEngine, TrainingPlan
from chainrule.engines.objective import BatchObjective
from chainrule.errors import DivergenceError, InvalidInputError
from chainrule.layers import BatchNormalizationLayer, DenseLayer, DropoutLayer, Layer
from chainrule.losses import CategoricalCrossEntropy, HalfSquaredError, LossFunction, MeanSquaredError
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import SGD, Adam, LevenbergMarquardt
from chainrule.penalties import L2
from chainrule.stack import LayerStack
from support.networks import bits_of, network_of, regression_rows, take_step

# Memory -------------------------------------------------------------------------------------------


def peak_of_steps(n_rows: int, batch_size: int) -> int:
    """The most that steps 3, 4, ... of 784-128-64-10 have allocated at any moment, in bytes."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, 784)).astype(np.float32)
    targets = np.eye(10, dtype=np.float32)[rng.integers(0, 10, n_rows)]
    layers = [DenseLayer(128, (784,)), ReLUActivation(), DenseLayer(64), DropoutLayer(0.1), BatchNormalizationLayer()]
    stack = LayerStack([*layers, ReLUActivation(), DenseLayer(10), SoftmaxActivation()], seed=0)
    session = NumpyEngine().open(stack, TrainingPlan(CategoricalCrossEntropy(), Adam(), clip_norm=1.0))
    batches = ArrayBatches(X, targets, np.ones(n_rows), batch_size=batch_size, seed=0)
    rates = np.full(batches.n_batches, 1e-3)
    session.train_batches(batches, 0, 0, rates[:2], None)
    gc.collect()
    tracemalloc.start()
    session.train_batches(batches, 0, 2, rates[2:], None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.skipif(kernels.active_set() != "numba", reason="the reference kernels may allocate")
def test_steps_allocate_nothing_that_grows_with_the_data() -> None:
    """One activation of 512 x 128 numbers would be 256 kB. 1300 rows leave a short last batch."""
    small, large = peak_of_steps(64 * 20 + 20, 64), peak_of_steps(512 * 20 + 20, 512)
    assert large < 64_000
    assert large < small + 8_000


def test_a_short_last_batch_trains_like_any_other() -> None:
    X, y = np.arange(7.0).reshape(7, 1) / 7, np.arange(7.0) ** 1.5
    fitted = network_of(DenseLayer(1, (1,)), optimizer=SGD(0.1), epochs=1, batch_size=3, shuffle=False).fit(X, y)
    by_hand = network_of(DenseLayer(1, (1,)), optimizer=SGD(0.1))
    for rows in (slice(0, 3), slice(3, 6), slice(6, 7)):
        outputs = by_hand.forward_propagation(X[rows], training=True)
        by_hand.backward_propagation(MeanSquaredError().derivative(y[rows, None], outputs))
    np.testing.assert_allclose(fitted.stack.vector.values, by_hand.stack.vector.values, rtol=1e-6)


# Bounds -------------------------------------------------------------------------------------------


def one_step(network: NeuralNetwork, data: Dataset, **plan: Any) -> tuple[np.ndarray, float]:
    """Return the move of a step with learning rate 1, and the norm of the gradient that the session tells."""
    stack = network.stack
    session = NumpyEngine().open(stack, TrainingPlan(MeanSquaredError(), SGD(1.0), **plan))
    before = stack.vector.values.copy()
    take_step(session, Batch(data.X.astype(stack.dtype), data.outputs(1, stack.dtype.name), None), 1.0)
    return before - stack.vector.values, session.gradient_norm()


def test_clipping_shortens_the_gradient_and_keeps_its_direction() -> None:
    data = regression_rows()

    def fresh() -> NeuralNetwork:
        return network_of(DenseLayer(4, (5,)), TanhActivation(), DenseLayer(1), dtype="float64")

    plain, norm = one_step(fresh(), data, penalty=L2(0.1))
    assert norm == pytest.approx(np.linalg.norm(plain))
    clipped, told = one_step(fresh(), data, penalty=L2(0.1), clip_norm=norm / 4)
    np.testing.assert_allclose(clipped, plain / 4, rtol=1e-10)
    assert told == pytest.approx(norm), "the norm that is told is that before clipping"
    unclipped, _ = one_step(fresh(), data, penalty=L2(0.1), clip_norm=norm * 1.01)
    np.testing.assert_array_equal(unclipped, plain)


def test_max_norm_holds_every_unit() -> None:
    network = network_of(
        DenseLayer(6, (5,)), ReLUActivation(), DenseLayer(1), max_norm=0.5, epochs=5, learning_rate=0.1
    )
    network.fit(regression_rows())
    for layer in (network.layers[0], network.layers[2]):
        norms = np.linalg.norm(layer.parameter_views["weights"], axis=0)
        assert norms.max() <= 0.5 * (1 + 1e-6)
        assert norms.max() > 0.4, "the bound is not reached, so this test tells nothing"


@pytest.mark.parametrize("setting", ["clip_norm", "max_norm"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), "1", True])
def test_a_bound_must_be_positive(setting: str, value: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"{setting} is"):
        NeuralNetwork(**{setting: value})


# Numbers that run away ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "rate", "momentum"),
    [
        ([], 1e6, 0.9),
        ([], 1e30, 0),
        ([], 50.0, 0),
        ([BatchNormalizationLayer], 1e6, 0.9),
        ([BatchNormalizationLayer], 1e30, 0),
    ],
)
def test_divergence_names_place_and_rate_and_gives_back_good_weights(
    layers: list[type[Layer]], rate: float, momentum: float
) -> None:
    data = regression_rows()
    network = network_of(
        DenseLayer(8, (5,)), *(cls() for cls in layers), ReLUActivation(), DenseLayer(8), DenseLayer(1)
    )
    network.optimizer = SGD(rate, momentum)
    network.epochs = 50
    with pytest.raises(DivergenceError, match=rf"not finite at learning rate {rate:g}".replace("+", r"\+")) as caught:
        network.fit(data)
    assert network.stop_reason == str(caught.value)
    assert all(np.isfinite(array).all() for array in network.stack.read_arrays().values())
    assert np.isfinite(network.predict(data)).all()
    # What the optimizer had accumulated on its way to infinity does not spoil the next fit.
    network.optimizer.learning_rate = 0.001
    assert np.isfinite(network.fit(data).history["loss"]).all()


class RaiseTheRate(Callback):
    """Train well for three epochs, then ruin everything."""

    def on_epoch_end(self, run: TrainingRun) -> None:
        self.weights = run.session.read_weights()
        if run.epoch == 3:
            run.rate_factor = 1e25


def test_after_divergence_the_last_whole_epoch_is_given_back() -> None:
    data, callback = regression_rows(), RaiseTheRate()
    network = network_of(
        DenseLayer(8, (5,)), BatchNormalizationLayer(), ReLUActivation(), DenseLayer(1), optimizer=SGD(0.01, 0.9)
    )
    with pytest.raises(DivergenceError, match="learning rate 1e"):
        network.fit(data, callbacks=[callback])
    assert network.history.n_epochs == 3
    assert bits_of(network) == {name: array.tobytes() for name, array in callback.weights.items()}


def test_divergence_stops_in_the_step_that_met_it_and_names_the_layer() -> None:
    network = network_of(DenseLayer(4, (5,)), ReLUActivation(), DenseLayer(1))
    session = NumpyEngine().open(network.stack, TrainingPlan(MeanSquaredError(), SGD()))
    batch = Batch(np.ones((4, 5), np.float32), np.ones((4, 1), np.float32), None)
    take_step(session, batch, 0.01)
    network.stack.layers[2].parameter_views["weights"][0] = np.nan
    before = network.stack.vector.values.copy()
    with pytest.raises(DivergenceError, match=r"a parameter of layer 3 \(DenseLayer\) is not finite"):
        take_step(session, batch, 0.01)
    np.testing.assert_array_equal(network.stack.vector.values, before)
    network.reset()
    with pytest.raises(DivergenceError, match="a target of this batch"):
        take_step(session, batch._replace(targets=np.full((4, 1), np.inf, np.float32)), 0.01)
    network.stack.layers[0].parameter_views["weights"][...] = 3e38
    with pytest.raises(DivergenceError, match=r"the output of layer 1 \(DenseLayer\) is not finite"):
        take_step(session, batch, 0.01)


def test_weights_made_infinite_by_the_last_step_are_found() -> None:
    network = network_of(DenseLayer(1, (1,)), optimizer=SGD(1e38), epochs=1, batch_size=10)
    with pytest.raises(DivergenceError, match="epoch 1 left the weights of layer 1"):
        network.fit(np.ones((10, 1)) * 100, np.arange(10.0) ** 1.5)
    assert np.isfinite(network.stack.vector.values).all()


# Sparse rows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [(), (DropoutLayer(0.0),)])
def test_csr_rows_train_like_dense_ones(layers: tuple[Layer, ...]) -> None:
    rng = np.random.default_rng(0)
    X = (rng.random((80, 30)) < 0.1) * rng.normal(size=(80, 30))
    y = rng.integers(0, 2, 80)

    def trained(given: Any) -> NeuralNetwork:
        body = [type(layer)(0.0) for layer in layers]  # type: ignore[call-arg]
        network = network_of(*body, DenseLayer(6), TanhActivation(), DenseLayer(1), SigmoidActivation())
        network.loss, network.epochs, network.batch_size = MeanSquaredError(), 3, 16
        return network.fit(Dataset(given, y), validation=Dataset(given, y))

    dense, csr = trained(X), trained(sparse.csr_matrix(X))
    np.testing.assert_allclose(csr.stack.vector.values, dense.stack.vector.values, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(csr.history["validation_loss"], dense.history["validation_loss"], rtol=1e-5)
    assert sparse.issparse(csr.layers[0].input)


# Methods that ask for the objective ---------------------------------------------------------------


@pytest.mark.parametrize("loss", [MeanSquaredError(), HalfSquaredError()], ids=["mean", "half"])
@pytest.mark.parametrize("middle", [TanhActivation, PReLUActivation])
def test_residuals_and_jacobian_are_those_of_the_loss(middle: Callable[[], Layer], loss: LossFunction) -> None:
    """r.r is the loss, 2 J'r its gradient, and J the derivative of r, with sample weights and two outputs."""
    rng = np.random.default_rng(0)
    stack = LayerStack([DenseLayer(4, (3,)), middle(), DenseLayer(2)], dtype=np.float64, seed=0)
    batch = Batch(rng.normal(size=(9, 3)), rng.normal(size=(9, 2)), rng.uniform(0.5, 2, 9))
    batch = batch._replace(weights=batch.weights / batch.weights.mean())  # type: ignore[operator,union-attr]
    plan = TrainingPlan(loss, LevenbergMarquardt())
    session: Any = NumpyEngine().open(stack, plan)
    objective = BatchObjective(stack, plan, batch, session.compute_gradient)
    weights = stack.vector.values.copy()
    value, gradient = objective.value_and_gradient(weights)
    gradient = gradient.copy()
    blocks = list(objective.residuals_and_jacobian(weights))
    r, jacobian = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    assert float(r @ r) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(2 * jacobian.T @ r, gradient, rtol=1e-9, atol=1e-12)
    step = 1e-6 * rng.normal(size=weights.size)
    ahead, behind = (next(iter(objective.residuals_and_jacobian(weights + s)))[0] for s in (step, -step))
    np.testing.assert_allclose(jacobian @ step, (ahead - behind) / 2, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize(
    ("optimizer", "epochs", "error"),
    [("rprop", 300, 0.02), ("quickprop", 300, 0.03), ("lbfgs", 200, 0.01), ("levenberg_marquardt", 40, 0.01)],
)
def test_full_batch_methods_fit_a_regression(optimizer: str, epochs: int, error: float) -> None:
    data = regression_rows(200)
    network = network_of(DenseLayer(8, (5,)), TanhActivation(), DenseLayer(1), optimizer=optimizer, epochs=epochs)
    losses = network.fit(data).history["loss"]
    assert losses[-1] < error
    assert network.evaluate(data)["loss"] <= losses[-1] * 1.05


@pytest.mark.parametrize("optimizer", ["lbfgs", "levenberg_marquardt"])
@pytest.mark.parametrize("l2", [0.0, 0.01])
def test_second_order_methods_never_go_up_and_stop_when_converged(optimizer: str, l2: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 2))
    y = X @ [1.0, 2.0] + rng.normal(size=50)
    network = network_of(DenseLayer(1, (2,)), optimizer=optimizer, epochs=100, dtype="float64", l2=l2)
    network.fit(X, y)
    assert network.history.n_epochs < 60
    assert network.stop_reason is not None
    assert "has converged" in network.stop_reason
    weights = network.layers[0].parameter_views["weights"]  # the objective after the last step is not in the history
    final = network.evaluate(X, y)["loss"] + l2 / 2 * float((weights**2).sum())
    design = np.column_stack([X, np.ones(50)])
    closed = np.linalg.solve(design.T @ design * 2 / 50 + l2 * np.diag([1, 1, 0]), design.T @ y * 2 / 50)
    np.testing.assert_allclose(weights[:, 0], closed[:2], rtol=1e-5)
    assert final <= network.history["loss"][0]


@pytest.mark.parametrize(
    ("layers", "settings", "words"),
    [
        ([], {"loss": "mae"}, "not MeanAbsoluteError"),
        ([], {"l1": 0.1}, "can be L2, not L1"),
        ([], {"l1": 0.1, "l2": 0.1}, "can be L2, not L1L2"),
        ([BatchNormalizationLayer], {}, "BatchNormalizationLayer cannot"),
        ([lambda: BatchNormalizationLayer(affine=False)], {}, "BatchNormalizationLayer cannot"),
        ([lambda: BatchNormalizationLayer(affine=False)], {"engine": "torch"}, "BatchNormalizationLayer cannot"),
        ([lambda: DenseLayer(5000)], {}, "GiB for the"),
    ],
)
def test_levenberg_marquardt_refuses_what_it_cannot_do(layers: Any, settings: dict[str, Any], words: str) -> None:
    if settings.get("engine") == "torch":
        pytest.importorskip("torch")
    network = network_of(
        DenseLayer(5, (5,)), *(make() for make in layers), DenseLayer(1), optimizer="levenberg_marquardt", **settings
    )
    before = network.stack.vector.values.tobytes()
    with pytest.raises(InvalidInputError, match=words) as caught:
        network.fit(regression_rows(20))
    assert "\n" not in str(caught.value)
    assert network.stack.vector.values.tobytes() == before
