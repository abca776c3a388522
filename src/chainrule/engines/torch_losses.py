"""The losses as functions of tensors: those of elements by their own formulas, others by PyTorch's.

Each gives ``l`` for every element, or one for every row, from the targets ``y`` and the network's outputs; the loss of
a batch is ``sum of w_i times the mean over the elements of row i``, with weights that sum to 1. The equations stand
with the loss classes. Heads that are one function of the logits z are so here, too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from chainrule import losses
from chainrule.errors import InvalidInputError
from chainrule.formulas import values_of
from chainrule.formulas.translate import evaluate_torch
from chainrule.head import Head
from chainrule.losses import LossFunction
from chainrule.losses.base import ElementwiseLoss, TracedLoss

__all__ = ["BatchLoss", "batch_loss", "compact_targets"]

Elements = Callable[[Any, Tensor, Tensor], Tensor]
BatchLoss = Callable[[Tensor, Tensor, Tensor], Tensor]


def _times_log(y: Tensor, p: Tensor) -> Tensor:
    """Return y log p, 0 with a slope of 0 where y is 0; ``torch.xlogy`` has no slope where p is 0, too."""
    return y * torch.log(torch.where(y == 0, 1.0, p))


def _power(q: Tensor, gamma: float) -> Tensor:
    """Return q^gamma, with a finite slope at 0, where it is multiplied by 0."""
    return (q.clamp_min(torch.finfo(q.dtype).tiny) if gamma < 1 else q).pow(gamma)


def _gaussian(_: LossFunction, y: Tensor, p: Tensor) -> Tensor:
    mean, log_variance = p[:, : y.shape[1]], p[:, y.shape[1] :]
    return (log_variance + (mean - y).square() * torch.exp(-log_variance)) / 2


def _categorical_cross_entropy(_: LossFunction, y: Tensor, p: Tensor) -> Tensor:
    return -_times_log(y, p).sum(1)


def _focal_weights(loss: losses.BinaryFocal) -> tuple[float, float]:
    return (1.0, 1.0) if loss.alpha is None else (loss.alpha, 1 - loss.alpha)


def _binary_focal(loss: losses.BinaryFocal, y: Tensor, p: Tensor) -> Tensor:
    of_1, of_0 = _focal_weights(loss)
    q = 1 - p
    of_ones = of_1 * _power(q, loss.gamma) * _times_log(y, p)
    return -of_ones - of_0 * _power(p, loss.gamma) * _times_log(1 - y, q)


def _categorical_focal(loss: losses.CategoricalFocal, y: Tensor, p: Tensor) -> Tensor:
    return -(_power(1 - p, loss.gamma) * _times_log(y, p)).sum(1)


_OF_PREDICTIONS: dict[type[LossFunction], Elements] = {
    losses.GaussianNegativeLogLikelihood: _gaussian,
    losses.CategoricalCrossEntropy: _categorical_cross_entropy,
    losses.BinaryFocal: _binary_focal,
    losses.CategoricalFocal: _categorical_focal,
}


def _sigmoid_cross_entropy(_: LossFunction, y: Tensor, z: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(z, y, reduction="none")


def _softmax_cross_entropy(_: LossFunction, y: Tensor, z: Tensor) -> Tensor:
    return functional.cross_entropy(z, y, reduction="none")


def _sigmoid_focal(loss: losses.BinaryFocal, y: Tensor, z: Tensor) -> Tensor:
    of_1, of_0 = _focal_weights(loss)
    log_p, log_q = functional.logsigmoid(z), functional.logsigmoid(-z)
    # A power of q = 1 - p as exp(gamma log q): it has a gradient where q underflows.
    return -of_1 * y * torch.exp(loss.gamma * log_q) * log_p - of_0 * (1 - y) * torch.exp(loss.gamma * log_p) * log_q


def _softmax_focal(loss: losses.CategoricalFocal, y: Tensor, z: Tensor) -> Tensor:
    log_p = functional.log_softmax(z, dim=1)
    return -(y * _power(-torch.expm1(log_p), loss.gamma) * log_p).sum(1)


_OF_LOGITS: dict[type[LossFunction], Elements] = {
    losses.BinaryCrossEntropy: _sigmoid_cross_entropy,
    losses.CategoricalCrossEntropy: _softmax_cross_entropy,
    losses.BinaryFocal: _sigmoid_focal,
    losses.CategoricalFocal: _softmax_focal,
}


def _of_formulas(traced: TracedLoss, loss: LossFunction, y: Tensor, p: Tensor) -> Tensor:
    settings = dict(zip(traced.formula.settings, values_of(loss, traced.formula.settings), strict=True))
    values: Tensor = _Elements.apply(p, y, traced, settings)  # type: ignore[no-untyped-call]
    return values


class _Elements(torch.autograd.Function):
    """The loss of every element, and its derivative as the loss has it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(p: Tensor, y: Tensor, traced: TracedLoss, settings: dict[str, float]) -> Tensor:
        return evaluate_torch([traced.value], {**settings, "y_true": y, "y_pred": p})[0]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        p, y, ctx.traced, ctx.settings = inputs
        ctx.save_for_backward(p, y)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        p, y = ctx.saved_tensors
        (slope,) = evaluate_torch([ctx.traced.derivative], {**ctx.settings, "y_true": y, "y_pred": p})
        return error * slope, None, None, None


def batch_loss(head: Head) -> BatchLoss:
    """Return the loss of a batch as a function of targets, outputs of the head's body, and row weights.

    Raises InvalidInputError for a loss of a user's own.
    """
    loss = head.loss
    elements = (_OF_PREDICTIONS if head.activation is None else _OF_LOGITS).get(type(loss))
    if elements is None and isinstance(loss, ElementwiseLoss):
        traced = loss.traced(of_logits=head.activation is not None)
        elements = None if traced is None else functools.partial(_of_formulas, traced)
    if elements is None:
        raise InvalidInputError(
            f"PyTorch has no counterpart of the loss {type(loss).__name__}; train the network with engine='numpy'."
        )

    def evaluate(targets: Tensor, outputs: Tensor, row_weights: Tensor) -> Tensor:
        values = elements(loss, targets, outputs)
        if values.ndim > 1:
            values = values.mean(1) if values.shape[1] > 1 else values[:, 0]
        return torch.dot(values, row_weights)

    return evaluate


def compact_targets(head: Head, targets: Tensor) -> Tensor:
    """Return the targets in the form that costs least at every step.

    Where the loss is softmax with cross-entropy and every row belongs to one class, as it does unless labels are
    smoothed, they are the numbers of the classes.
    """
    if _OF_LOGITS.get(type(head.loss)) is not _softmax_cross_entropy or head.activation is None:
        return targets
    if not bool(((targets == 0) | (targets == 1)).all() and (targets.sum(1) == 1).all()):
        return targets
    return targets.argmax(1)
