"""Is the derivative right? The same check that the library's own pieces pass, for anybody's.

The derivative that backward propagation gives along a random direction is held against the central difference of the
reported objective along it, in float64: ``(f(w + h d) - f(w - h d)) / 2h``. In float32 the differences drown in
rounding, so a copy of the network is checked in float64.
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
from chainrule.neuralnet import NeuralNetwork, copy_with, open_trainer
from chainrule.optimizer import SGD
from chainrule.types import Array

__all__ = ["GradientCheck", "GradientPart", "check_gradients"]

STEP = 1e-6
N_DIRECTIONS = 3


@dataclass(frozen=True)
class GradientPart:
    """One part of the gradient: what backward propagation says along a direction, and what differences say."""

    name: str
    backward: float
    difference: float

    @property
    def relative_error(self) -> float:
        """|backward - difference| / max(|backward|, |difference|), or the plain distance where both are tiny."""
        scale = max(abs(self.backward), abs(self.difference), 1e-3)
        error = abs(self.backward - self.difference) / scale
        return math.inf if math.isnan(error) else error


@dataclass(frozen=True)
class GradientCheck:
    """The outcome of a check; ``print`` it, or use it as a truth value."""

    parts: tuple[GradientPart, ...]
    tolerance: float

    @property
    def worst(self) -> GradientPart:
        """The part with the largest relative error."""
        return max(self.parts, key=lambda part: part.relative_error)

    def __bool__(self) -> bool:
        return self.worst.relative_error <= self.tolerance

    def __str__(self) -> str:
        verdict = "right" if self else f"WRONG, worst in {self.worst.name}"
        lines = [f"gradients are {verdict} (tolerance {self.tolerance:g}, float64)"]
        width = max(len(part.name) for part in self.parts)
        for part in self.parts:
            lines.append(
                f"  {part.name:<{width}}  backward {part.backward:+.9e}  differences {part.difference:+.9e}  "
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
    """Check the derivatives of a network on some data, or of a single layer, activation or loss on random numbers.

    The last part compares the gradients of the layers' own passes with those of the operations that ``lower`` returns,
    which compiled code and PyTorch compute.

    Parameters
    ----------
    subject
        A network (with ``data``; its engine gives the gradient of the objective that its ``fit`` would minimise, smooth
        labels and class weights included), or a piece, which is checked inside a small network of its own.
    data
        Rows for a network; a hundred are plenty.
    tolerance
        The relative error up to which a derivative counts as right.

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
            raise InvalidInputError("To check a network, give it data: check_gradients(network, dataset).")
        return GradientCheck(tuple(_network_parts(subject, data, rng)), tolerance)
    if isinstance(subject, Layer):
        return GradientCheck(tuple(_layer_parts(subject, rng)), tolerance)
    if isinstance(subject, LossFunction):
        return GradientCheck(tuple(_loss_parts(subject, rng)), tolerance)
    raise InvalidInputError(f"check_gradients takes a network, a layer, an activation or a loss, not {subject!r}.")


def _network_parts(network: NeuralNetwork, data: Dataset, rng: np.random.Generator) -> list[GradientPart]:
    """Compare along directions that move one parameter block at a time, so that a wrong layer is named."""
    twin = copy_with(
        network, dtype="float64", optimizer=SGD(), batch_size=data.n_rows, shuffle=False, metric=None, clip_norm=None,
        max_norm=None,
    )  # fmt: skip
    trainer = open_trainer(twin, data)
    session, vector, penalty = trainer.run.session, twin.stack.vector, trainer.run.plan.penalty
    portion = next(trainer.batches.portions(0, first_batch=0, n_batches=1))  # all rows
    batch = portion.batches.batch(portion.epoch, portion.first)
    layers = list(twin.stack.walk())
    states = [(layer.rng.bit_generator.state, layer.noise.epoch, layer.noise.step) for layer in layers]

    def restore() -> None:
        for layer, (state, epoch, step) in zip(layers, states, strict=True):  # the same noise every time
            layer.rng.bit_generator.state, layer.noise.epoch, layer.noise.step = state, epoch, step

    def objective(values: Array) -> float:
        restore()
        vector.values[...] = values
        loss = session.compute_gradient(batch)
        return loss + (penalty.value(vector.penalized_values) if penalty is not None else 0.0)

    start = vector.values.copy()
    objective(start)
    compiled = vector.gradients.copy()
    if penalty is not None:
        penalty.add_gradient(vector.penalized_values, vector.penalized_gradients)
    gradient = vector.gradients.copy()
    restore()
    NumpySession(twin.stack, trainer.plan, by_layers=True).compute_gradient(batch)
    own = vector.gradients.copy()
    parts: list[GradientPart] = []
    for block in vector.blocks:
        mask = np.zeros_like(start)
        mask[block.slice] = 1
        name = f"layer {block.layer + 1} {twin.layers[block.layer].layer_name()}.{block.name}"
        parts += _compare(name, objective, start, gradient, rng, mask)
    direction = rng.normal(size=start.size)
    parts.append(GradientPart("backward_propagation and lower", float(own @ direction), float(compiled @ direction)))
    return parts


def _layer_parts(layer: Layer, rng: np.random.Generator) -> list[GradientPart]:
    """Check a layer between two dense layers."""
    network, subject = NeuralNetwork(dtype="float64", seed=int(rng.integers(2**31))), copy.deepcopy(layer)
    width = subject.input_shape()[0] if subject.is_built else 5
    for piece in (DenseLayer(width, (4,), biases_initializer="normal"), subject, DenseLayer(3)):
        network.add(piece)
    return _network_parts(network, Dataset(rng.normal(size=(20, 4)), rng.normal(size=(20, 3))), rng)


def _loss_parts(loss: LossFunction, rng: np.random.Generator) -> list[GradientPart]:
    parts = []
    for n_outputs in (1, 3):
        for weights in (None, rng.uniform(0.5, 2.0, 10))[: 1 + loss.accepts_weights]:
            targets = rng.integers(0, 2, (10, n_outputs)).astype(np.float64)
            predictions = rng.uniform(0.1, 0.9, (10, loss.n_outputs(n_outputs)))
            given = () if weights is None else (weights,)
            derivative = loss.derivative(targets, predictions, *given)
            name = f"{n_outputs} outputs" + (", weighted" if weights is not None else "")

            def value(p: Array, targets: Array = targets, given: tuple[Array, ...] = given) -> float:
                return loss.loss(targets, p, *given)

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
        difference = (function(point + STEP * direction) - function(point - STEP * direction)) / (2 * STEP)
        parts.append(GradientPart(name, float(np.sum(gradient * direction)), float(difference)))
    return [max(parts, key=lambda part: part.relative_error)]
