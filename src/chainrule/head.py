"""The end of a network, where its last layer and the loss meet: the one decision about them, for every engine.

Sigmoid with binary cross-entropy, and softmax with cross-entropy, are one function of the logits z, whose derivative
for one row is f(z) - y, finite for every z. Worked out one after the other in float32, the two give infinity or NaN on
a confident mistake, or, with clipping, a gradient of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chainrule.activations import ACTIVATIONS
from chainrule.errors import DataError, InvalidInputError
from chainrule.layers import EnsembleMeanLayer, Layer
from chainrule.losses import LossFunction
from chainrule.losses.base import TracedLoss
from chainrule.losses.classification import FROM_0_TO_1
from chainrule.ranges import Range
from chainrule.types import Array

__all__ = ["Head", "check_head", "check_targets"]


@dataclass(frozen=True)
class Head:
    """How a loss sits on a chain of layers: after how many of them it starts, and as which function.

    Attributes
    ----------
    loss
        The loss.
    activation
        The last layer, if the loss is computed together with it; training then never computes it by itself.
    n_body_layers
        The number of layers in front of the head.
    average
        The last layer, if it averages the members of an ensemble. The loss is then computed for each of them.
    """

    loss: LossFunction
    activation: Layer | None
    n_body_layers: int
    average: EnsembleMeanLayer | None = None

    @classmethod
    def of(cls, layers: Sequence[Layer], loss: LossFunction) -> Head:
        """Decide whether the last of these layers and the loss are one function of the logits."""
        n, average, activation = len(layers), None, None
        if n and isinstance(layers[-1], EnsembleMeanLayer):
            n, average = n - 1, layers[-1]
        if n and loss.fuses_with is not None and type(layers[n - 1]) is loss.fuses_with:
            n, activation = n - 1, layers[n - 1]
        return cls(loss, activation, n, average)

    @property
    def n_members(self) -> int:
        """The number of members of an ensemble, each of which has a loss of its own; 1 for other networks."""
        return 1 if self.average is None else self.average.input_shape()[0]

    def evaluate(self, targets: Array, outputs: Array, row_weights: Array, derivative: Array) -> float:
        """Return the mean loss of the body's outputs and write its derivative with respect to them.

        It is the mean of the losses of all members.
        """
        if self.average is not None:
            n = self.n_members
            shape = (len(targets) * n, *outputs.shape[2:])
            outputs, derivative = outputs.reshape(shape), derivative.reshape(shape)
            targets, row_weights = np.repeat(targets, n, axis=0), np.repeat(row_weights / n, n)
        evaluate = self.loss.evaluate if self.activation is None else self.loss.evaluate_logits
        return evaluate(targets, outputs, row_weights, derivative)

    def traced(self) -> TracedLoss | None:
        """Return the loss of the body's outputs as expressions and a compiled loop; None where it cannot be traced."""
        return self.loss.traced(of_logits=self.activation is not None)

    def predictions(self, outputs: Array) -> Array:
        """Turn the body's outputs into the network's outputs."""
        for layer in (self.activation, self.average):
            outputs = outputs if layer is None else layer.forward_propagation(outputs)
        return outputs


def check_head(layers: Sequence[Layer], loss: LossFunction) -> None:
    """Refuse a loss that is not defined for the outputs of the last layer, by what the two declare.

    Minimised over such outputs a loss becomes 0, negative or infinite without any row being predicted better. Layers
    and losses that declare nothing, such as a user's own, are taken at their word.
    """
    last = _last_to_set_range(layers)
    name, outputs, domain = type(loss).__name__, last.output_range, loss.domain
    if domain is not None and domain.sums_to_one and layers[-1].output_shape()[-1] == 1:
        raise InvalidInputError(
            f"{name} compares the probabilities of two or more classes, and the network has one output unit: give it "
            "one unit for each class and a softmax, or keep one unit with a sigmoid and a binary loss."
        )
    if loss.compares_outputs and layers[-1].output_shape()[-1] == 1:
        raise InvalidInputError(
            f"{name} compares two or more outputs with one another, and the network has one output unit: give it one "
            "unit for each class or target, or choose another loss."
        )
    if outputs is None:
        return
    if outputs.low == outputs.high:
        raise InvalidInputError(
            f"{last.layer_name()} over one unit gives {outputs}, so there is nothing to learn: end in a sigmoid, or in "
            "one unit for each class."
        )
    if loss.takes_scores and not outputs.low < 0 < outputs.high:
        raise InvalidInputError(
            f"{name} needs scores that can be negative and positive, and {last.layer_name()} gives {outputs}: leave it "
            "out, so that the network ends in a DenseLayer."
        )
    if domain is not None and not domain.contains(outputs):
        suitable = [loss.fuses_with] if loss.fuses_with is not None else _activations_within(domain)
        raise InvalidInputError(
            f"{name} needs {domain}, and {last.layer_name()} gives {outputs}: end the network in "
            f"{' or '.join(f'{cls.__name__}()' for cls in suitable)}."
        )


def gives_probabilities(layers: Sequence[Layer], loss: LossFunction) -> bool:
    """Tell whether the outputs lie between 0 and 1, by what the last layer declares, and are no scores."""
    outputs = _last_to_set_range(layers).output_range
    return not loss.takes_scores and (outputs is None or FROM_0_TO_1.contains(outputs))


def check_targets(targets: Array, loss: LossFunction) -> None:
    """Refuse numbers to predict for which the loss is not defined."""
    for extreme in (targets.min(), targets.max()):
        if loss.targets is not None and not loss.targets.includes(extreme):
            raise DataError(
                f"The targets of {type(loss).__name__} are {loss.targets}, and among these is {extreme:g}: take a loss "
                "for any number, such as mean_squared_error."
            )


def _last_to_set_range(layers: Sequence[Layer]) -> Layer:
    return next((layer for layer in reversed(layers) if not layer.keeps_range), layers[-1])


def _activations_within(domain: Range) -> list[type[Layer]]:
    """Return the activations whose outputs all lie in ``domain``."""
    classes = dict.fromkeys(ACTIVATIONS.classes.values())
    return [cls for cls in classes if (outputs := cls().output_range) is not None and domain.contains(outputs)]
