"""The last layer of a network together with the loss, for every engine.

Sigmoid with binary cross-entropy, and softmax with cross-entropy, are each computed as one function of the logits z.
The derivative for one row is f(z) - y, where f is the activation, and is finite for every z. If activation and loss are
computed one after the other in float32, a confident mistake gives infinity or NaN, or, with clipping, a gradient of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit, log_softmax, logsumexp

from chainrule.activations import ACTIVATIONS, SigmoidActivation, SoftmaxActivation
from chainrule.data.weights import relative_weights
from chainrule.errors import DataError, InvalidInputError
from chainrule.layers import EnsembleMeanLayer, Layer, Sequential
from chainrule.losses import LossFunction
from chainrule.losses.base import TracedLoss
from chainrule.losses.classification import FROM_0_TO_1
from chainrule.ranges import Range
from chainrule.types import Array

__all__ = ["Head", "check_head", "check_targets"]


@dataclass(frozen=True)
class Head:
    """The loss of a chain of layers, and which of the last layers are computed together with it.

    Attributes
    ----------
    loss
        The loss.
    activation
        The last activation, if the loss is computed together with it as one function of the logits.
    n_body_layers
        The number of layers before the head, called the body.
    average
        The last layer, if it averages the members of an ensemble. The loss is then computed for each member.
    """

    loss: LossFunction
    activation: Layer | None
    n_body_layers: int
    average: EnsembleMeanLayer | None = None

    @classmethod
    def of(cls, layers: Sequence[Layer], loss: LossFunction) -> Head:
        """Return the head of a chain of layers; an activation that the loss fuses with becomes part of the head."""
        n, average, activation = len(layers), None, None
        if n and isinstance(layers[-1], EnsembleMeanLayer):
            n, average = n - 1, layers[-1]
        if n and loss.fuses_with is not None and type(layers[n - 1]) is loss.fuses_with:
            n, activation = n - 1, layers[n - 1]
        return cls(loss, activation, n, average)

    @property
    def n_members(self) -> int:
        """The number of members of an ensemble; 1 for other networks."""
        return 1 if self.average is None else self.average.input_shape()[0]

    def evaluate(self, targets: Array, outputs: Array, row_weights: Array, derivative: Array) -> float:
        """Return the mean loss for the outputs of the body and write its derivative with respect to them.

        For an ensemble, it is the mean of the losses of all members, which have the weights of the rows, or weights of
        their own: ``row_weights`` of shape (rows, members).
        """
        if self.average is not None:
            n = self.n_members
            shape = (len(targets) * n, *outputs.shape[2:])
            outputs, derivative = outputs.reshape(shape), derivative.reshape(shape)
            targets = np.repeat(targets, n, axis=0)
            weights = row_weights[:, None] if row_weights.ndim == 1 else row_weights
            row_weights = np.broadcast_to(weights / n, (len(weights), n)).reshape(-1)
        evaluate = self.loss.evaluate if self.activation is None else self.loss.evaluate_logits
        return evaluate(targets, outputs, row_weights, derivative)

    def traced(self) -> TracedLoss | None:
        """Return the loss of the body's outputs as expressions and a compiled loop; None if it cannot be traced."""
        return self.loss.traced(of_logits=self.activation is not None)

    def predictions(self, outputs: Array, weights: Array | None = None) -> Array:
        """Return the outputs of the network for ``outputs`` of the body.

        ``weights`` of shape (rows, members) are those of the members in the mean over the members of an ensemble; a row
        whose weights are all 0 has the plain mean. Weights of shape (rows,) have no effect.
        """
        if self.activation is not None:
            outputs = self.activation.forward_propagation(outputs)
        if self.average is None:
            return outputs
        if weights is None or weights.ndim == 1:
            return self.average.forward_propagation(outputs)
        shares = relative_weights(weights)[:, :, None].astype(outputs.dtype)
        mean: Array = np.sum(shares * outputs, axis=1) / np.sum(shares, axis=1)
        return mean

    @property
    def has_mean_logits(self) -> bool:
        """Whether :meth:`mean_logits` is defined."""
        return self.average is not None and isinstance(self.activation, SigmoidActivation | SoftmaxActivation)

    def mean_logits(self, outputs: Array, weights: Array | None = None) -> Array:
        """Return the logits of :meth:`predictions` of an ensemble, which are finite for all finite outputs.

        They are computed from the logarithms of the probabilities, because a float32 probability rounds to 0 or 1.
        """
        z = np.asarray(outputs, np.float64)
        shares = np.ones(z.shape[:2]) if weights is None or weights.ndim == 1 else relative_weights(weights)
        shares = (shares / shares.sum(axis=1, keepdims=True))[:, :, None]
        if isinstance(self.activation, SigmoidActivation):
            logits = logsumexp(log_expit(z), axis=1, b=shares) - logsumexp(log_expit(-z), axis=1, b=shares)
        else:
            logits = logsumexp(log_softmax(z, axis=-1), axis=1, b=shares)
        mean: Array = logits.astype(outputs.dtype)
        return mean


def check_head(layers: Sequence[Layer], loss: LossFunction) -> None:
    """Raise InvalidInputError if the loss is not defined for the outputs of the last layer.

    Minimising a loss over such outputs makes it 0, negative or infinite without better predictions. The check compares
    the ``output_range`` of the layer with the ``domain`` of the loss. If one of them is not declared, as in most
    user-defined layers and losses, the combination is accepted.
    """
    last = _range_determining_layer(layers)
    name, outputs, domain = type(loss).__name__, last.output_range, loss.domain
    inner: Layer = layers[-1]
    while isinstance(inner, Sequential):
        inner = inner.layers[-1]
    if inner is not layers[-1] and (type(inner) is loss.fuses_with or isinstance(inner, EnsembleMeanLayer)):
        raise InvalidInputError(
            f"The network ends in a Sequential whose last layer is {inner.layer_name()}. The loss is computed together "
            f"with that layer; add {inner.layer_name()} to the network by itself, after the Sequential."
        )
    if domain is not None and domain.sums_to_one and layers[-1].output_shape()[-1] == 1:
        raise InvalidInputError(
            f"{name} compares the probabilities of two or more classes, and the network has one output unit: give it "
            "one unit for each class and a softmax, or use a sigmoid and a binary loss with the one unit."
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
            f"The output of {last.layer_name()} with one unit is {outputs}, so the network cannot learn: end it "
            "in a sigmoid, or give it one unit for each class."
        )
    if loss.expects_scores and not outputs.low < 0 < outputs.high:
        raise InvalidInputError(
            f"{name} needs scores that can be negative and positive, and {last.layer_name()} gives {outputs}: remove "
            "this activation, so that the network ends in a DenseLayer."
        )
    if domain is not None and not domain.contains(outputs):
        suitable = [loss.fuses_with] if loss.fuses_with is not None else _activations_within(domain)
        raise InvalidInputError(
            f"{name} needs {domain}, and {last.layer_name()} gives {outputs}: end the network in "
            f"{' or '.join(f'{cls.__name__}()' for cls in suitable)}."
        )


def gives_probabilities(layers: Sequence[Layer], loss: LossFunction) -> bool:
    """Return whether the outputs are probabilities: between 0 and 1 by declaration of the last layer, and not scores.

    A last layer without a declared range counts as one that gives probabilities.
    """
    outputs = _range_determining_layer(layers).output_range
    return not loss.expects_scores and (outputs is None or FROM_0_TO_1.contains(outputs))


def check_targets(targets: Array, loss: LossFunction) -> None:
    """Raise DataError if the loss is not defined for one of the targets."""
    for extreme in (targets.min(), targets.max()):
        if loss.targets is not None and not loss.targets.includes(extreme):
            raise DataError(
                f"The targets of {type(loss).__name__} must be {loss.targets}, and among these is {extreme:g}: choose "
                "a loss for any number, such as mean_squared_error."
            )


def _range_determining_layer(layers: Sequence[Layer]) -> Layer:
    return next((layer for layer in reversed(layers) if not layer.keeps_range), layers[-1])


def _activations_within(domain: Range) -> list[type[Layer]]:
    """Return the activations whose outputs all lie in ``domain``."""
    classes = dict.fromkeys(ACTIVATIONS.classes.values())
    return [cls for cls in classes if (outputs := cls().output_range) is not None and domain.contains(outputs)]
