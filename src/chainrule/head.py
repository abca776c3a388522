"""The end of a network, where its last layer and the loss meet: the one decision about them, for every engine.

Sigmoid with binary cross-entropy, and softmax with cross-entropy, are one function of the logits z, whose derivative
for one row is f(z) - y, finite for every z. Worked out one after the other in float32, the two give infinity or NaN on
a confident mistake, or, with clipping, a gradient of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chainrule.layers import Layer
from chainrule.losses import LossFunction
from chainrule.types import Array

__all__ = ["Head"]


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
    """

    loss: LossFunction
    activation: Layer | None
    n_body_layers: int

    @classmethod
    def of(cls, layers: Sequence[Layer], loss: LossFunction) -> Head:
        """Decide whether the last of these layers and the loss are one function of the logits."""
        last = layers[-1] if layers else None
        if last is not None and loss.fuses_with is not None and type(last) is loss.fuses_with:
            return cls(loss, last, len(layers) - 1)
        return cls(loss, None, len(layers))

    def evaluate(self, targets: Array, outputs: Array, row_weights: Array, derivative: Array) -> float:
        """Return the mean loss of the body's outputs and write its derivative with respect to them."""
        if self.activation is None:
            return self.loss.evaluate(targets, outputs, row_weights, derivative)
        return self.loss.evaluate_logits(targets, outputs, row_weights, derivative)

    def predictions(self, outputs: Array) -> Array:
        """Turn the body's outputs into the network's outputs."""
        return outputs if self.activation is None else self.activation.forward_propagation(outputs)
