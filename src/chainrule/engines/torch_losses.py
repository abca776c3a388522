"""The losses as functions of tensors, computed by their formulas.

The loss of a batch is ``sum of w_i l_i`` with weights that sum to 1, where ``l_i`` is the loss of row i, or the mean
over its elements. Each member of an ensemble counts as a row with a loss and a weight of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chainrule.errors import InvalidInputError
from chainrule.formulas.translate import evaluate_torch
from chainrule.head import Head

__all__ = ["BatchLoss", "batch_loss"]

BatchLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def batch_loss(head: Head) -> BatchLoss:
    """Return the loss of a batch as a function of targets, outputs of the head's body, and row weights.

    Raises InvalidInputError for a loss without formulas that can be traced.
    """
    loss = head.loss
    traced = loss.traced(of_logits=head.activation is not None)
    if traced is None:
        raise InvalidInputError(
            f"PyTorch has no counterpart of the loss {type(loss).__name__}, because its formulas cannot be traced; "
            "train the network with engine='numpy'."
        )
    results = [traced.value, *traced.derivatives]

    n_members = head.n_members

    def evaluate(targets: Tensor, outputs: Tensor, row_weights: Tensor) -> Tensor:
        if head.average is not None:  # each member has a loss of its own
            outputs = outputs.flatten(0, 1)
            targets = targets.repeat_interleave(n_members, 0)
            weights = row_weights[:, None] if row_weights.dim() == 1 else row_weights
            row_weights = weights.expand(-1, n_members).flatten() / n_members
        dtype = np.dtype(np.float64 if outputs.dtype == torch.float64 else np.float32)
        symbols: dict[str, Any] = {"y_true": targets}
        symbols |= zip(traced.settings, traced.numbers(loss, targets.shape[1], dtype), strict=True)
        symbols |= zip(traced.outputs, outputs.chunk(len(traced.outputs), 1), strict=True)
        with torch.no_grad():
            values, *slopes = evaluate_torch(results if outputs.requires_grad else results[:1], symbols)
            mean = torch.dot(values.mean(1) if values.shape[1] > 1 else values[:, 0], row_weights)
        if not slopes:
            return mean
        derivative = torch.cat(slopes, 1) * (row_weights * symbols["share"])[:, None]
        connected: Tensor = _WithDerivative.apply(outputs, mean, derivative)  # type: ignore[no-untyped-call]
        return connected

    return evaluate


class _WithDerivative(torch.autograd.Function):
    """A number that depends on the outputs and has the given derivative."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, value: Tensor, derivative: Tensor) -> Tensor:
        ctx.save_for_backward(derivative)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        (derivative,) = ctx.saved_tensors
        return error * derivative, None, None
