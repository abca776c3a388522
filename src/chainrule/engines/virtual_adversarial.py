"""Virtual adversarial training: predictions that change little when the inputs are changed a little.

The objective gets a second term, the mean over the rows x of a batch of

``D(p(x), p(x + r))  with  D(p, q) = loss(p, q) - loss(p, p)``,

where p(x) is the prediction for x. For the cross-entropies, D is the Kullback-Leibler divergence; for the mean squared
error, it is the squared distance of the predictions. The change r has the length epsilon and the direction in which D
increases most, which is approximated by one step of the power iteration: ``r = epsilon g / |g|``, where g is the
gradient of ``D(p(x), p(x + d))`` with respect to d, at a random d of length ``epsilon / 10``.

The term does not depend on the targets. Its gradient is that of the loss for the rows x + r with the targets p(x),
because p(x) and r count as constants. They are computed as in inference, without noise and with running statistics. The
prediction for x + r is computed as in training, with the noise of the step and the statistics of the changed rows.

Source: Miyato et al. 2018, Virtual adversarial training: a regularization method for supervised and semi-supervised
learning (arXiv 1704.03976), section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chainrule.data.batches import Batch
from chainrule.engines.base import TrainingPlan
from chainrule.engines.compiled_prediction import predict
from chainrule.engines.input_gradient import InputGradient
from chainrule.errors import InvalidInputError
from chainrule.head import Head
from chainrule.program import Lookup, Program
from chainrule.randomness import Stream, random_stream
from chainrule.stack import LayerStack
from chainrule.types import Array, Shape

__all__ = ["ChangedBatch", "VirtualAdversary", "check_virtual_adversarial", "first_change"]

FIRST_LENGTH = 0.1  # the length of the random change at which the gradient is computed, as a share of epsilon


class ChangedBatch(NamedTuple):
    """The rows x + r with the targets p(x), and the mean of loss(p(x), p(x))."""

    batch: Batch
    least_loss: float


class VirtualAdversary:
    """Computes the changes of the rows of batches for the present weights of a network, for the NumPy engine."""

    def __init__(self, stack: LayerStack, head: Head, epsilon: float) -> None:
        self.stack, self.head, self.epsilon = stack, head, epsilon
        self._gradient: InputGradient | None = None

    def change(self, batch: Batch, position: tuple[int, int]) -> ChangedBatch:
        """Return the changed rows of a batch, where ``position`` is its epoch and its number in the epoch."""
        head, n_rows, dtype = self.head, batch.n_rows, self.stack.dtype
        outputs = predict(self.stack, batch.inputs, n_layers=head.n_body_layers)
        targets, error = head.predictions(outputs), np.empty_like(outputs)
        weights = np.full(n_rows, 1 / n_rows, dtype)
        row_weights = weights if batch.weights is None else weights * batch.weights
        least_loss = head.evaluate(targets, outputs, row_weights, error)
        if self._gradient is None or self._gradient.has_copies:
            self._gradient = InputGradient(self.stack.layers[: head.n_body_layers])
        first = first_change(self.stack.seed, position, batch.inputs.shape, self.epsilon)
        changed = self._gradient.forward(batch.inputs + first.astype(dtype, copy=False))
        head.evaluate(targets, changed, weights, error)
        gradient = self._gradient.backward(error)
        change = gradient * (self.epsilon / np.maximum(_lengths(gradient), np.finfo(dtype).tiny))
        return ChangedBatch(Batch(batch.inputs + change, targets, batch.weights), least_loss)


def first_change(seed: int, position: tuple[int, int], shape: Shape, epsilon: float) -> Array:
    """Return the random changes of all rows of a batch of this shape, float32, for every engine."""
    changes = random_stream(seed, Stream.VIRTUAL_ADVERSARIAL, *position).standard_normal(shape, np.float32)
    changes *= np.float32(FIRST_LENGTH * epsilon) / _lengths(changes)
    return changes


def _lengths(changes: Array) -> Array:
    """Return the Euclidean norm of each row, in a shape that is broadcast to that of the rows."""
    lengths: Array = np.linalg.norm(changes.reshape(len(changes), -1), axis=1)
    return lengths.reshape(-1, *[1] * (changes.ndim - 1))


def check_virtual_adversarial(stack: LayerStack, plan: TrainingPlan, *, is_sparse: bool) -> None:
    """Raise InvalidInputError if the plan has virtual adversarial training, which the network does not allow."""
    if not plan.vat_epsilon:
        return
    head = stack.split_head(plan.loss)
    program = Program.of(stack.layers, allows_unknown=True, is_sparse=is_sparse)
    if is_sparse or any(isinstance(operation, Lookup) for operation in program.operations):
        kind = "a sparse matrix" if is_sparse else "codes of categories"
        raise InvalidInputError(
            f"The inputs are {kind}, and vat_epsilon, which changes every input a little, needs a dense array of "
            "numbers; leave vat_epsilon out."
        )
    if head.average is not None:
        raise InvalidInputError("vat_epsilon is not for ensembles in one network; leave it out, or train one member.")
    outputs = np.linspace(0.2, 0.8, 2 * stack.output_shape()[-1]).reshape(2, -1)
    error, has_one_output = np.ones_like(outputs), plan.loss.n_outputs(1) == 1
    if has_one_output:
        head.evaluate(head.predictions(outputs), outputs, np.full(2, 0.5), error)
    if not has_one_output or np.abs(error).max() > 1e-6:
        raise InvalidInputError(
            f"vat_epsilon needs a loss that is least for predictions equal to the targets, such as a cross-entropy or "
            f"mean_squared_error, and {type(plan.loss).__name__} is not; choose another loss, or leave vat_epsilon out."
        )
