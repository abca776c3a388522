"""Backward propagation against differences of the reported objective, in float64: layers x losses x options.

The gradient is the move of one real step of ``fit`` with plain descent; the objective is what the history reports, mean
loss plus penalty. So sample weights, label smoothing, fused heads and sparse rows are all on the path that users take.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from chainrule.activations import (
    ACTIVATIONS,
    LinearActivation,
    SigmoidActivation,
    SoftmaxActivation,
    SoftplusActivation,
    TanhActivation,
)
from chainrule.data import Dataset
from chainrule.history import History
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    GaussianNoiseLayer,
    InputScalingLayer,
    Layer,
    LayerNormalizationLayer,
)
from chainrule.losses import LOSSES, Dice, LossFunction, MultiMargin, NegativeLogLikelihood, Poisson
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import SGD
from chainrule.penalties import L1, L1L2, L2
from chainrule.types import Array
from support.layers import LAYER_CLASSES, make_layer
from support.networks import network_of
from support.parts import in_parts

N_ROWS, N_FEATURES = 12, 4
RTOL = 1e-7
STEP = 1e-5

LOSS_CLASSES = sorted(set(LOSSES.classes.values()), key=lambda cls: cls.__name__)
PENALTIES = (None, L1(0.01), L2(0.1), L1L2(0.01, 0.1))


def head_of(loss: LossFunction, *, fused: bool = True) -> list[Layer]:
    """The layers that turn the last linear outputs into what the loss takes; not fused, another layer comes after."""
    if loss.output_activation is not None:
        return [loss.output_activation()]
    if loss.fuses_with is None:
        suited = SoftplusActivation() if loss.domain is not None and loss.domain.high > 1 else SigmoidActivation()
        return [] if loss.domain is None else [suited]
    return [loss.fuses_with()] if fused else [loss.fuses_with(), LinearActivation()]


def data_for(loss: LossFunction, n_outputs: int, rng: np.random.Generator, *, weighted: bool, csr: bool) -> Dataset:
    X = rng.normal(size=(N_ROWS, N_FEATURES))
    if csr:
        X *= rng.random(X.shape) < 0.4
    if loss.fuses_with is SoftmaxActivation or isinstance(loss, MultiMargin | NegativeLogLikelihood):
        y: Array = np.arange(N_ROWS) % n_outputs
    elif loss.fuses_with is not None or isinstance(loss, Dice) or "Hinge" in type(loss).__name__:
        y = rng.integers(0, 2, (N_ROWS, n_outputs)).astype(float)
    elif loss.targets is not None:
        y = rng.poisson(2.0, (N_ROWS, n_outputs)).astype(float)
    else:
        y = rng.normal(size=(N_ROWS, n_outputs))
    weights = rng.uniform(0.2, 3, N_ROWS) if weighted else None
    task = "regression" if loss.is_regression else None  # counts look like classes
    return Dataset(sparse.csr_matrix(X) if csr else X, y, sample_weight=weights, task=task)


def check(network: NeuralNetwork, data: Dataset, rng: np.random.Generator) -> None:
    """Compare the move of a step with central differences of fourth order, along one direction for each parameter."""
    network.epochs, network.batch_size = 1, len(data)
    if not network.stack.is_built:
        network.stack.build(data.X.shape[1:])
    vector = network.stack.vector
    start, first_arrays = vector.values.copy(), network.stack.read_arrays()
    states = [layer.rng.bit_generator.state for layer in network.layers]

    def step_from(values: Array, rate: float) -> float:
        """Train one step; return the objective before it."""
        network.stack.write_arrays(first_arrays)
        vector.values[...] = values
        for layer, state in zip(network.layers, states, strict=True):
            layer.rng.bit_generator.state = state
        network.history = History()  # noise depends on the number of the epoch
        network.optimizer = SGD(rate)
        penalty = network.penalty.value(vector.penalized_values) if network.penalty is not None else 0.0
        return network.fit(data).history.last("loss") + penalty

    step_from(start, 1.0)
    gradient = start - vector.values
    assert np.linalg.norm(gradient) > 1e-4
    for block in vector.blocks:
        direction = np.zeros_like(start)
        direction[block.start : block.start + block.size] = rng.normal(size=block.size)
        direction *= STEP / np.linalg.norm(direction)
        near, far = (
            step_from(start + k * direction, 1e-300) - step_from(start - k * direction, 1e-300) for k in (1, 2)
        )
        difference, backward = (8 * near - far) / 12, float(gradient @ direction)
        # 1e-14: rounding in the objective, about 1e-15, is all that an exact gradient may be off by.
        assert abs(backward - difference) <= RTOL * abs(difference) + 1e-14, (
            f"{type(network.layers[block.layer]).__name__}.{block.name}: "
            f"backward {backward / STEP:.9e}, differences {difference / STEP:.9e}"
        )


def rng_of(*key: Any) -> np.random.Generator:
    return np.random.default_rng([ord(letter) for letter in repr(key)])


@pytest.mark.parametrize("layer_class", LAYER_CLASSES, ids=lambda cls: cls.__name__)
@in_parts(4)
def test_every_layer_under_every_loss(layer_class: type[Layer], part: int) -> None:
    """A part has every layer under a quarter of the losses; the PyTorch oracle has every activation under all."""
    first = (part + 2 - LAYER_CLASSES.index(layer_class)) % 4
    for loss_class in LOSS_CLASSES[first::4]:
        rng = rng_of(layer_class.__name__, loss_class.__name__)
        loss, layer = loss_class(), make_layer(layer_class)
        network = network_of(
            DenseLayer(5, (N_FEATURES,), biases_initializer="normal"), layer, DenseLayer(loss.n_outputs(3)),
            *head_of(loss), loss=loss, dtype="float64",
        )  # fmt: skip
        check(network, data_for(loss, 3, rng, weighted=True, csr=False), rng)


OPTIONS = ((1, 3), PENALTIES, (False, True), (0.0, 0.2), (True, False), (False, True))


@pytest.mark.parametrize("loss_class", LOSS_CLASSES, ids=lambda cls: cls.__name__)
@in_parts(4)
def test_every_loss_with_all_options(loss_class: type[LossFunction], part: int) -> None:
    """Outputs, penalty, sample weights, label smoothing, head fused or not, CSR: all of their combinations.

    A part has each combination of the options other than the penalty, and one of the penalties with it.
    """
    loss = loss_class()
    for combination in itertools.product(*(enumerate(values) for values in OPTIONS)):
        places, (n_outputs, penalty, weighted, smoothing, fused, csr) = zip(*combination, strict=True)
        compares = loss.compares_outputs or loss.fuses_with is SoftmaxActivation
        if sum(places) % 4 != part or (compares and n_outputs == 1):
            continue
        if loss.fuses_with is None and (not fused or smoothing):
            continue
        rng = rng_of(loss_class.__name__, n_outputs, penalty, weighted, smoothing, fused, csr)
        network = network_of(
            DenseLayer(5, biases_initializer="normal"), TanhActivation(), DenseLayer(loss.n_outputs(n_outputs)),
            *head_of(loss, fused=fused), loss=loss, penalty=penalty, label_smoothing=smoothing, dtype="float64",
        )  # fmt: skip
        assert network.stack.split_head(loss).activation is None or fused
        check(network, data_for(loss, n_outputs, rng, weighted=weighted, csr=csr), rng)


@pytest.mark.parametrize("csr", [False, True])
@pytest.mark.parametrize("head", ["binary_cross_entropy", "categorical_cross_entropy", "mean_squared_error"])
def test_a_deep_stack_with_everything_in_it(head: str, csr: bool) -> None:
    loss, rng = LOSSES.create(head), rng_of(head, csr)
    first: list[Layer] = [DropoutLayer(0.2)] if csr else [InputScalingLayer(), GaussianNoiseLayer(0.1)]
    network = network_of(
        *first, DenseLayer(7), BatchNormalizationLayer(), TanhActivation(), DropoutLayer(0.3), DenseLayer(6),
        LayerNormalizationLayer(), SoftplusActivation(), DenseLayer(3), *head_of(loss),
        loss=loss, penalty=L1L2(0.01, 0.1), dtype="float64",
    )  # fmt: skip
    check(network, data_for(loss, 3, rng, weighted=True, csr=csr), rng)


def test_poisson_of_the_rate_itself() -> None:
    loss, rng = Poisson(log_input=False), rng_of("rate")
    network = network_of(DenseLayer(3, (N_FEATURES,)), *head_of(loss), loss=loss, dtype="float64")
    check(network, data_for(loss, 3, rng, weighted=True, csr=False), rng)


def test_this_check_can_fail() -> None:
    """A derivative that is wrong by a millionth is found."""

    class Sloppy(ACTIVATIONS.base):  # type: ignore[name-defined,misc]
        def activation_function(self, x: Array) -> Array:
            return np.sin(x)

        def derivative(self, x: Array) -> Array:
            return np.cos(x) * (1 + 1e-6)

    loss, rng = LOSSES.create("mse"), rng_of("sloppy")
    network = network_of(DenseLayer(5, (N_FEATURES,)), Sloppy(), DenseLayer(3), loss=loss, dtype="float64")
    with pytest.raises(AssertionError, match=r"DenseLayer\.weights"):
        check(network, data_for(loss, 3, rng, weighted=False, csr=False), rng)
