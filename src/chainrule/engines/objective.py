"""The objective of one batch for second-order methods: value, gradient, residuals and their Jacobian."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from chainrule.data.batches import Batch
from chainrule.engines.base import TrainingPlan
from chainrule.errors import InvalidInputError
from chainrule.layers.containers import write_jacobian_through
from chainrule.penalties import L2
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs

__all__ = ["BatchObjective"]

JACOBIAN_BYTES = 2**26  # the size of a block of rows of the Jacobian


class BatchObjective:
    """objective(weights) = mean loss over the batch + penalty(weights)."""

    def __init__(
        self, stack: LayerStack, plan: TrainingPlan, batch: Batch, compute_gradient: Callable[[Batch], float]
    ) -> None:
        self.stack, self.plan, self.batch, self.compute_gradient = stack, plan, batch, compute_gradient
        self.mean_loss = math.nan  # at the last weights, without the penalty
        self._known_weights: Array | None = None
        self._value = math.nan

    @property
    def l2_rate(self) -> float:
        """The rate of the L2 penalty. Raises InvalidInputError for other penalties, which are no sums of squares."""
        penalty = self.plan.penalty
        if penalty is not None and not isinstance(penalty, L2):
            raise InvalidInputError(
                f"Levenberg-Marquardt minimises squares, so its only penalty can be L2, not {type(penalty).__name__}."
            )
        return 0.0 if penalty is None else penalty.rate

    def value_and_gradient(self, weights: Array) -> tuple[float, Array]:
        """Return the objective at ``weights`` and its gradient, in a buffer that the next call overwrites.

        The last result is stored, because many methods evaluate the objective at the same weights again.
        """
        vector, penalty = self.stack.vector, self.plan.penalty
        if self._known_weights is None or not np.array_equal(weights, self._known_weights):
            if weights is not vector.values:
                vector.values[...] = weights
            self._value = self.mean_loss = self.compute_gradient(self.batch)
            if penalty is not None:
                self._value += penalty.value(vector.penalized_values)
                penalty.add_gradient(vector.penalized_values, vector.penalized_gradients)
            self._known_weights = vector.values.copy()
        return self._value, vector.gradients

    def residuals_and_jacobian(self, weights: Array) -> Iterator[tuple[Array, Array]]:
        """Yield residuals r and J = dr/dw for blocks of rows, such that the mean loss is the sum of r.r.

        For each block, there is one forward pass, and one backward pass for each output unit. A backward pass computes
        the gradient of every row separately.
        """
        factor = self.plan.loss.squares_factor(self.batch.targets.shape[1])
        if factor is None:
            raise InvalidInputError(
                f"Levenberg-Marquardt minimises the mean squared error, not {type(self.plan.loss).__name__}; "
                "use L-BFGS or Adam for other losses."
            )
        if self.stack.split_head(self.plan.loss).average is not None:
            raise InvalidInputError(
                "Levenberg-Marquardt minimises the error of one prediction for each row, and not the mean error of the "
                "members of an ensemble; use L-BFGS or Adam."
            )
        vector, batch = self.stack.vector, self.batch
        self._known_weights = None  # the passes below overwrite the gradient
        if weights is not vector.values:
            vector.values[...] = weights
        n_rows, n_outputs = batch.targets.shape
        rows_per_block = max(1, JACOBIAN_BYTES // (n_outputs * max(1, vector.values.nbytes)))
        scale = np.full(n_rows, 1.0) if batch.weights is None else np.asarray(batch.weights, np.float64)
        scale = np.sqrt(scale * factor / n_rows).astype(vector.values.dtype)
        for start in range(0, n_rows, rows_per_block):
            rows = slice(start, start + rows_per_block)
            outputs, jacobian = self.outputs_and_jacobian(batch.inputs[rows])
            residuals = scale[rows, None] * (outputs - batch.targets[rows])
            jacobian *= scale[rows, None, None]
            yield residuals.reshape(-1), jacobian.reshape(-1, vector.size)

    def outputs_and_jacobian(self, inputs: Inputs) -> tuple[Array, Array]:
        """Return the outputs for some rows, and their derivatives, shape (rows, outputs, parameters)."""
        outputs = self.stack.forward(inputs, training=True)
        units = range(outputs.shape[1])
        return outputs, np.stack([self._unit_jacobian(unit, outputs) for unit in units], axis=1)

    def _unit_jacobian(self, unit: int, outputs: Array) -> Array:
        """Return the derivative of each row's output number ``unit``, shape (rows, parameters)."""
        vector, n_rows = self.stack.vector, len(outputs)
        jacobian = np.zeros((n_rows, vector.size), outputs.dtype)
        views = {
            f"{block.layer}.{block.name}": jacobian[:, block.slice].reshape(n_rows, *block.shape)
            for block in vector.blocks
        }
        unit_error = np.zeros_like(outputs)
        unit_error[:, unit] = 1
        write_jacobian_through({f"{i}.": layer for i, layer in enumerate(self.stack.layers)}, unit_error, views)
        return jacobian
