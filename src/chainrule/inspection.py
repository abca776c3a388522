"""Check derivatives of networks, layers, activations and losses against finite differences.

The directional derivative from backward propagation is compared with the central difference of the objective,
``(f(w + h d) - f(w - h d)) / 2h``, along random directions d. In float32, the rounding errors of the differences are
too large, so a copy of the network is checked in float64.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.engines.numpy_engine import NumpySession
from chainrule.errors import InvalidInputError
from chainrule.layers import DenseLayer, Layer
from chainrule.losses import LossFunction
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork, open_batch
from chainrule.types import Array

__all__ = ["GradientCheck", "GradientPart", "check_gradients"]

STEP = 1e-6
N_DIRECTIONS = 3
N_ROUNDINGS = 8  # bound of the error of the objective, in units of its last place


@dataclass(frozen=True)
class GradientPart:
    """The derivative of some parameters along a direction, from backward propagation and from differences.

    ``rounding`` bounds the rounding error of the difference, which grows with the size of the objective.
    """

    name: str
    backward: float
    difference: float
    rounding: float = 0.0

    @property
    def relative_error(self) -> float:
        """(|backward - difference| - rounding) / max(|backward|, |difference|, 0.001), or 0 if that is negative."""
        scale = max(abs(self.backward), abs(self.difference), 1e-3)
        error = max(abs(self.backward - self.difference) - self.rounding, 0.0) / scale
        return math.inf if math.isnan(error) else error


@dataclass(frozen=True)
class GradientCheck:
    """The result of a check, which can be printed and is true if all derivatives are correct."""

    parts: tuple[GradientPart, ...]
    tolerance: float

    @property
    def worst(self) -> GradientPart:
        """The part with the largest relative error."""
        return max(self.parts, key=lambda part: part.relative_error)

    def __bool__(self) -> bool:
        return self.worst.relative_error <= self.tolerance

    def __str__(self) -> str:
        result = "correct" if self else f"WRONG, with the largest error in {self.worst.name}"
        lines = [f"gradients are {result} (tolerance {self.tolerance:g}, float64)"]
        width = max(len(part.name) for part in self.parts)
        for part in self.parts:
            lines.append(
                f"  {part.name:<{width}}  backward {part.backward:+.6e}  differences {part.difference:+.6e}  "
                f"relative error {part.relative_error:.1e}"
            )
        return "\n".join(lines)


@checked
def check_gradients(
    subject: NeuralNetwork | Layer | LossFunction,
    data: Dataset | None = None,
    *,
    tolerance: float = 1e-6,
    seed: int = 0,
) -> GradientCheck:
    """Check the derivatives of a network on data, or of a single layer, activation or loss on random numbers.

    The last part compares the gradients of the backward passes of the layers with those of the operations returned by
    ``lower``, which compiled code and PyTorch compute.

    Parameters
    ----------
    subject
        A network, or a layer, activation or loss, which is checked in a small network. The gradient of a network is
        computed by its engine for the objective of its ``fit``, including label smoothing and class weights.
    data
        The rows for a network. A hundred rows are sufficient.
    tolerance
        The maximum relative error of a correct derivative.

    Examples
    --------
    >>> from chainrule.activations import CustomActivation
    >>> bool(check_gradients(CustomActivation(np.sin, np.cos)))
    True
    >>> bool(check_gradients(CustomActivation(np.sin, np.sin)))
    False
    """
    rng = np.random.default_rng(seed)
    if isinstance(subject, NeuralNetwork):
        if data is None:
            raise InvalidInputError("data is missing; give a dataset: check_gradients(network, dataset).")
        return GradientCheck(tuple(_network_parts(subject, data, rng)), tolerance)
    if isinstance(subject, Layer):
        return GradientCheck(tuple(_layer_parts(subject, rng)), tolerance)
    if isinstance(subject, LossFunction):
        return GradientCheck(tuple(_loss_parts(subject, rng)), tolerance)
    raise InvalidInputError(f"subject must be a network, a layer, an activation or a loss, not {subject!r}.")


def _network_parts(network: NeuralNetwork, data: Dataset, rng: np.random.Generator) -> list[GradientPart]:
    """Check one block of parameters at a time, so that the layer of a wrong gradient is known."""
    twin, trainer, batch = open_batch(network, data, dtype="float64", clip_norm=None, max_norm=None)
    session, vector, penalty = trainer.run.session, twin.stack.vector, trainer.run.plan.penalty
    layers = list(twin.stack.walk())
    states = [(layer.rng.bit_generator.state, layer.noise.epoch, layer.noise.step) for layer in layers]

    def restore_noise() -> None:
        for layer, (state, epoch, step) in zip(layers, states, strict=True):
            layer.rng.bit_generator.state, layer.noise.epoch, layer.noise.step = state, epoch, step

    def objective(values: Array) -> float:
        restore_noise()
        vector.values[...] = values
        loss = session.compute_gradient(batch)
        return loss + (penalty.value(vector.penalized_values) if penalty is not None else 0.0)

    start = vector.values.copy()
    objective(start)
    compiled = vector.gradients.copy()
    if penalty is not None:
        penalty.add_gradient(vector.penalized_values, vector.penalized_gradients)
    gradient = vector.gradients.copy()
    restore_noise()
    NumpySession(twin.stack, trainer.plan, by_layers=True).compute_gradient(batch)
    gradient_of_layers = vector.gradients.copy()
    parts: list[GradientPart] = []
    for block in vector.blocks:
        mask = np.zeros_like(start)
        mask[block.slice] = 1
        name = f"layer {block.layer + 1} {twin.layers[block.layer].layer_name()}.{block.name}"
        parts += _compare(name, objective, start, gradient, rng, mask)
    direction = rng.normal(size=start.size)
    backward, lowered = float(gradient_of_layers @ direction), float(compiled @ direction)
    parts.append(GradientPart("backward_propagation and lower", backward, lowered))
    return parts


def _layer_parts(layer: Layer, rng: np.random.Generator) -> list[GradientPart]:
    """Check a layer between two dense layers."""
    network, subject = NeuralNetwork(dtype="float64", seed=int(rng.integers(2**31))), copy.deepcopy(layer)
    width = subject.input_shape()[0] if subject.is_built else 5
    for part in (DenseLayer(width, (4,), biases_initializer="normal"), subject, DenseLayer(3)):
        network.add(part)
    return _network_parts(network, Dataset(rng.normal(size=(20, 4)), rng.normal(size=(20, 3))), rng)


def _loss_parts(loss: LossFunction, rng: np.random.Generator) -> list[GradientPart]:
    parts = []
    for n_outputs in (1, 3):
        for weights in (None, rng.uniform(0.5, 2.0, 10))[: 1 + loss.accepts_weights]:
            targets = rng.integers(0, 2, (10, n_outputs)).astype(np.float64)
            predictions = rng.uniform(0.1, 0.9, (10, loss.n_outputs(n_outputs)))
            arguments = () if weights is None else (weights,)
            derivative = loss.derivative(targets, predictions, *arguments)
            name = f"{n_outputs} outputs" + (", weighted" if weights is not None else "")

            def value(p: Array, targets: Array = targets, arguments: tuple[Array, ...] = arguments) -> float:
                return loss.loss(targets, p, *arguments)

            parts += _compare(name, value, predictions, derivative, rng)
    return parts


def _compare(
    name: str,
    function: Callable[[Array], float],
    point: Array,
    gradient: Array,
    rng: np.random.Generator,
    mask: Array | float = 1.0,
) -> list[GradientPart]:
    parts: list[Any] = []
    for _ in range(N_DIRECTIONS):
        direction = rng.normal(size=point.shape) * mask
        direction /= np.linalg.norm(direction)
        above, below = function(point + STEP * direction), function(point - STEP * direction)
        rounding = N_ROUNDINGS * np.finfo(np.float64).eps * max(abs(above), abs(below)) / STEP
        difference = float(above - below) / (2 * STEP)
        parts.append(GradientPart(name, float(np.sum(gradient * direction)), difference, float(rounding)))
    return [max(parts, key=lambda part: part.relative_error)]
