"""The objective of one batch for second-order methods, computed by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from chainrule.data.batches import Batch
from chainrule.engines.base import TrainingPlan
from chainrule.engines.objective import BatchObjective
from chainrule.engines.torch_batches import as_tensor
from chainrule.engines.torch_step import TrainingStep
from chainrule.errors import InvalidInputError
from chainrule.layers import Layer
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["TorchObjective"]


class TorchObjective(BatchObjective):
    """objective(weights) = mean loss over the batch + penalty(weights), for a vector of weights on the host."""

    def __init__(
        self,
        stack: LayerStack,
        plan: TrainingPlan,
        batch: Batch,
        compute_gradient: Callable[[Batch], float],
        step: TrainingStep,
    ) -> None:
        super().__init__(stack, plan, batch, compute_gradient)
        self.step = step

    def residuals_and_jacobian(self, weights: Array) -> Iterator[tuple[Array, Array]]:
        """Yield residuals r and J = dr/dw for blocks of rows; every process computes them for all rows."""
        for layer in self.stack.walk():
            if type(layer).write_jacobian is Layer.write_jacobian:
                layer.write_jacobian(np.empty((0, 0)), {})  # raises InvalidInputError
        if self.step.noise_sources:
            raise InvalidInputError(
                "PyTorch cannot compute Levenberg-Marquardt for layers with noise; remove the noise or use "
                "engine='numpy'."
            )
        return super().residuals_and_jacobian(weights)

    def outputs_and_jacobian(self, inputs: Inputs) -> tuple[Array, Array]:
        """Return the outputs for some rows, and their derivatives, shape (rows, outputs, parameters)."""
        body, slots = self.step.body, self.step.vector.slots
        self.step.vector.load(self.stack.vector.values)
        names = {parameter: name for name, parameter in body.named_parameters()}
        weights = {names[slot.parameter]: slot.parameter.detach() for slot in slots}

        def outputs_of(row: Tensor, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            outputs = torch.func.functional_call(body, weights, (row[None],))[0]
            return outputs, outputs

        rows = as_tensor(inputs.toarray() if is_sparse(inputs) else inputs).to(self.step.workers.device)
        jacobians, outputs = torch.vmap(torch.func.jacrev(outputs_of, argnums=1, has_aux=True), (0, None))(
            rows, weights
        )
        jacobian = np.empty((*outputs.shape, self.stack.vector.size), self.stack.dtype)
        for slot in slots:
            part = jacobians[names[slot.parameter]].cpu().numpy()
            start = slot.block.start
            jacobian[..., start : start + slot.block.size] = part.reshape(*outputs.shape, -1)
        return outputs.cpu().numpy(), jacobian
