"""The same network, data and seed on both engines, and how far apart they end; printed as a table by ``python -m``.

Each combination is trained on both, from the same first weights, by the same fit loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from chainrule.activations import ACTIVATIONS, SigmoidActivation, SoftmaxActivation, SoftplusActivation
from chainrule.data import Dataset
from chainrule.layers import LAYERS, DenseLayer, DropoutLayer, GaussianNoiseLayer, Layer, StandardizationLayer
from chainrule.losses import (
    LOSSES,
    Dice,
    LossFunction,
    MeanAbsolutePercentageError,
    MultiMargin,
)
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import OPTIMIZERS, Optimizer
from chainrule.penalties import L1, L1L2, L2
from support.layers import LAYER_CLASSES, make_layer
from support.networks import history_without_seconds, network_of

__all__ = [
    "AMPLIFIES_ROUNDING",
    "LAYER_NAMES",
    "LOSS_NAMES",
    "OPTIMIZER_NAMES",
    "PENALTIES",
    "Distances",
    "can_minimize",
    "can_train",
    "compare",
    "fifty_steps",
    "layer_of",
    "network_with",
    "rows_for",
]

N_FEATURES, N_UNITS = 4, 5
LAYER_NAMES = sorted((LAYERS if cls in LAYERS.classes.values() else ACTIVATIONS).name_of(cls) for cls in LAYER_CLASSES)
LOSS_NAMES = sorted({LOSSES.name_of(cls) for cls in LOSSES.classes.values()})
OPTIMIZER_NAMES = sorted({OPTIMIZERS.name_of(cls) for cls in OPTIMIZERS.classes.values()})
# They divide by differences of gradients, or solve for steps along which little changes: the last bit of a step decides
# the course of the next fifty, so they are compared in float64, by what they predict.
AMPLIFIES_ROUNDING = ("lbfgs", "levenberg_marquardt", "quickprop")
PENALTIES = (None, L1(0.01), L2(0.1), L1L2(0.01, 0.1))


@dataclass(frozen=True)
class Distances:
    """How far the engines are apart, relative to the size of the numbers compared."""

    predictions_before: float
    weights: float
    predictions: float
    history: float

    def largest(self) -> float:
        """The largest of them."""
        return max(self.weights, self.functional())

    def functional(self) -> float:
        """The largest of those that do not ask which weights make the function."""
        return max(self.predictions_before, self.predictions, self.history)


def layer_of(name: str) -> Layer:
    """A layer of this name."""
    if name == "dense":
        return DenseLayer(6)
    if name == "dropout":
        return DropoutLayer(0.3)
    if name == "gaussian_noise":
        return GaussianNoiseLayer(0.2)
    registry = LAYERS if name in LAYERS.classes else ACTIVATIONS
    return make_layer(registry.find(name))


def head_of(loss: LossFunction) -> list[Layer]:
    """What stands behind the last linear outputs."""
    if loss.output_activation is not None:
        return [loss.output_activation()]
    if loss.fuses_with is None and loss.domain is not None:
        return [SoftplusActivation() if loss.domain.high > 1 else SigmoidActivation()]
    return [] if loss.fuses_with is None else [loss.fuses_with()]


def network_with(
    layer: Layer, loss: LossFunction, engine: str, *, in_front: bool = False, **settings: Any
) -> NeuralNetwork:
    """A dense layer, this layer (or it first), and a dense layer with the head that the loss wants."""
    first = DenseLayer(N_UNITS, weights_initializer="glorot_uniform", biases_initializer="normal")
    last = DenseLayer(loss.n_outputs(3), weights_initializer="glorot_uniform", biases_initializer="normal")
    middle = [layer, first] if in_front else [first, layer]
    network = network_of(*middle, last, *head_of(loss), loss=loss, engine=engine, **settings)
    network.stack.build((N_FEATURES,))
    if isinstance(layer, StandardizationLayer):
        rng = np.random.default_rng(1)
        layer.state["mean"][...] = rng.normal(size=layer.input_shape())
        layer.state["scale"][...] = rng.uniform(0.5, 2, layer.input_shape())
    return network


def rows_for(
    loss: LossFunction, n_rows: int = 50, *, csr: bool = False, weighted: bool = True, seed: int = 0
) -> Dataset:
    """Rows with three targets of the kind that the loss is for, and something to learn in them."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, N_FEATURES))
    if csr:
        X *= rng.random(X.shape) < 0.5
    signal = np.tanh(X @ rng.normal(size=(N_FEATURES, 3))) + 0.1 * rng.normal(size=(n_rows, 3))
    y: Any = signal
    if loss.fuses_with is SoftmaxActivation or loss.output_activation is not None or isinstance(loss, MultiMargin):
        y = signal.argmax(axis=1)
    elif loss.fuses_with is not None or isinstance(loss, Dice) or "Hinge" in type(loss).__name__:
        y = (signal > 0).astype(float)
    elif isinstance(loss, MeanAbsolutePercentageError):
        y = 100 * (2 + signal)  # a step must not grow with 1 / y
    elif loss.targets is not None:
        y = rng.poisson(np.exp(signal)).astype(float)
    weights = rng.uniform(0.2, 3, n_rows) if weighted else None
    task = "regression" if loss.is_regression else None  # counts look like classes
    return Dataset(sparse.csr_matrix(X) if csr else X, y, sample_weight=weights, task=task)


def compare(
    layer: Layer | str,
    loss: LossFunction | str,
    data: Dataset | None = None,
    *,
    optimizer: Any = "sgd",
    **settings: Any,
) -> Distances:
    """Train on both engines; every weight, the predictions and every line of the history count.

    A method that finds nothing left to gain stops, by rounding at another epoch on one engine than on the other: of the
    history the epochs count that both have, and the predictions are those of the end.
    """
    networks = []
    for engine in ("numpy", "torch"):
        chosen = LOSSES.create(loss)
        fresh = optimizer.fresh() if isinstance(optimizer, Optimizer) else optimizer
        made = layer_of(layer) if isinstance(layer, str) else layer_of(type(layer).__name__)
        networks.append(network_with(made, chosen, engine, optimizer=fresh, **settings))
    rows = data if data is not None else rows_for(LOSSES.create(loss))
    before = [network.predict(rows) for network in networks]
    for network in networks:
        network.fit(rows)
    ours, theirs = networks
    if ours.history.n_epochs != theirs.history.n_epochs:
        assert min(networks, key=lambda network: network.history.n_epochs).stop_reason is not None
    return Distances(
        relative(*before),
        relative(*(network.stack.vector.values for network in networks)),
        relative(ours.predict(rows), theirs.predict(rows)),
        max(_of_history(values, theirs.history[name]) for name, values in history_without_seconds(ours).items()),
    )


def _of_history(ours: list[float], theirs: list[float]) -> float:
    n_epochs = min(len(ours), len(theirs))
    return relative(ours[:n_epochs], theirs[:n_epochs])


def relative(ours: Any, theirs: Any) -> float:
    """The norm of the difference over that of the numbers themselves."""
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-300))


def _table() -> Iterator[tuple[str, str, int, float]]:
    """For every family: what was compared, in which type, how many combinations, and the largest distance."""
    one_step = {"epochs": 1, "batch_size": 50, "learning_rate": 1.0}
    gradients = [
        (layer, loss, {**one_step, "penalty": penalty})
        for layer in LAYER_NAMES
        for loss in LOSS_NAMES
        for penalty in PENALTIES
    ]
    yield "gradient of one step: layers x losses x penalties", "float64", *_worst("float64", gradients)
    gentle = [name for name in OPTIMIZER_NAMES if name not in AMPLIFIES_ROUNDING]
    for dtype, optimizers in (("float64", gentle), ("float32", gentle), ("float64", AMPLIFIES_ROUNDING)):
        of_losses = [
            ("tanh", loss, fifty_steps(optimizer, loss=loss))
            for optimizer in optimizers
            for loss in LOSS_NAMES
            if can_minimize(optimizer, LOSSES.create(loss))
        ]
        of_layers = [
            (layer, "mean_squared_error", fifty_steps(optimizer, layer))
            for optimizer in optimizers
            for layer in LAYER_NAMES
            if can_train(optimizer, layer)
        ]
        names = ("optimizers" if optimizers is gentle else ", ".join(optimizers)).replace("_", "-")
        yield f"50 steps: {names} x losses", dtype, *_worst(dtype, of_losses)
        yield f"50 steps: {names} x layers", dtype, *_worst(dtype, of_layers)


def _worst(dtype: str, combinations: list[tuple[str, str, dict[str, Any]]]) -> tuple[int, float]:
    largest = 0.0
    for layer, loss, settings in combinations:
        distances = compare(layer, loss, dtype=dtype, **settings)
        amplified = settings.get("optimizer") in AMPLIFIES_ROUNDING
        largest = max(largest, distances.functional() if amplified else distances.largest())
    return len(combinations), largest


def fifty_steps(optimizer: str, layer: str = "tanh", loss: str = "mean_squared_error") -> dict[str, Any]:
    """The settings of a fit of fifty steps on fifty rows; some optimizers see all of them at every step.

    Batch normalisation stands in front: biases before it have a gradient of 0 but for rounding, and several optimizers
    divide that by its own size. Levenberg-Marquardt is at the minimum after thirty steps, and after twenty with a
    piecewise linear encoding; there, rounding decides which of its steps are refused. L-BFGS makes only twelve steps
    with the two losses that have kinks: along a kink, a difference of 1e-12 grows tenfold in two or three steps.
    """
    epochs = 30 if optimizer == "levenberg_marquardt" else 50 if OPTIMIZERS.find(optimizer).full_batch else 10
    if optimizer == "levenberg_marquardt" and layer == "piecewise_linear_encoding":
        epochs = 20
    if optimizer == "lbfgs" and loss in ("mean_absolute_percentage_error", "multi_margin"):
        epochs = 12
    in_front = layer == "batch_normalization"
    return {"optimizer": optimizer, "epochs": epochs, "batch_size": 10, "in_front": in_front}


def can_minimize(optimizer: str, loss: LossFunction) -> bool:
    """Whether the optimizer takes this loss, on either engine."""
    return optimizer != "levenberg_marquardt" or loss.squares_factor(1) is not None


def can_train(optimizer: str, layer: str) -> bool:
    """Whether the optimizer takes this layer on both engines: Levenberg-Marquardt wants the gradient of each row."""
    without = ("batch_normalization", "dropout", "gaussian_noise")
    return optimizer != "levenberg_marquardt" or layer not in without


if __name__ == "__main__":
    print(f"{'compared':62} type     combinations  largest distance")
    for name, dtype, count, distance in _table():
        print(f"{name:62} {dtype}  {count:12,}  {distance:.1e}")
