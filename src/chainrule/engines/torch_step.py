"""One training step on tensors: forward, loss, backward, penalty, clipping, update."""

from __future__ import annotations

import functools
import math
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from chainrule.engines.base import TrainingPlan
from chainrule.engines.torch_losses import batch_loss
from chainrule.engines.torch_modules import build_module, noise_sources_of
from chainrule.engines.torch_optimizers import slots_of, steps_of
from chainrule.engines.torch_rows import TensorBatch
from chainrule.engines.torch_workers import BatchShare, Workers
from chainrule.errors import InvalidInputError
from chainrule.kernels.compiling import start_compiling, stop_compiling
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.penalties import L1, L1L2, L2, Penalty
from chainrule.program import Program
from chainrule.stack import LayerStack

__all__ = ["LossScale", "TrainingStep"]


LEAST_SCALE = 2.0**-24  # the smallest number of float16


class LossScale:
    """The factor that keeps small gradients above float16's smallest number: halved where one overflows.

    Such a step is left out; after 2,000 good ones in a row the factor is doubled (Micikevicius et al. 2018, Mixed
    precision training, section 3.2).
    """

    def __init__(self) -> None:
        self.factor, self.n_good = 2.0**16, 0

    def undo(self, gradients: list[Tensor]) -> bool:
        """Divide the gradients by the factor; return whether all of them are finite."""
        torch._foreach_mul_(gradients, 1 / self.factor)
        is_finite = bool(torch.stack(torch._foreach_norm(gradients)).isfinite().all())
        self.n_good = self.n_good + 1 if is_finite else 0
        if not is_finite:
            self.factor /= 2
        elif self.n_good == 2000:
            self.factor, self.n_good = 2 * self.factor, 0
        return is_finite


class TrainingStep:
    """A stack's layers as a module on the device, and the step that trains it.

    Attributes
    ----------
    module
        One part for each layer, in their order.
    share
        This process's rows of the batch under way.
    noise_sources
        Where the random numbers of training come from; at the place of a step they are the same each time.
    outputs
        What the body gave for the rows, before the update.
    """

    def __init__(self, stack: LayerStack, plan: TrainingPlan, workers: Workers, precision: str, compiled: bool) -> None:
        self.plan, self.workers = plan, workers
        self.head = stack.split_head(plan.loss)
        self.share = BatchShare(workers)
        self.module = build_module(stack, self.share).to(workers.device).train()
        self.noise_sources = noise_sources_of(self.module)
        self.slots = slots_of(stack, self.module)
        if not self.slots:
            raise InvalidInputError("This network has no parameters to train; add a DenseLayer.")
        self.parameters = [slot.parameter for slot in self.slots]
        program = Program.of(stack.layers[: self.head.n_body_layers], is_training=True)
        offsets = [offset.values for op in program.operations for offset in program.cancelled_offsets(op)]
        self._cancelled = [
            slot.parameter
            for slot in self.slots
            if any(np.shares_memory(slot.block.view(stack.vector.values), offset) for offset in offsets)
        ]
        self.body = self.module[: self.head.n_body_layers]
        self._trained = workers.train_together(self.body)
        if compiled:
            _watch_compiler()
            self._trained = torch.compile(self._trained)  # type: ignore[assignment]
        self._loss = batch_loss(self.head)
        self._narrow = None if precision == "float32" else getattr(torch, precision)
        self.scale = LossScale() if precision == "float16" else None
        self._penalized: list[Tensor] = [slot.parameter for slot in self.slots if slot.block.penalized]
        self._l1, self._l2 = _penalty_rates(plan.penalty)
        iterates = isinstance(plan.optimizer, ObjectiveOptimizer)
        self.steps = None if iterates else steps_of(plan.optimizer, self.slots, stack.vector)
        self.outputs = torch.empty((0, 0))
        self._norm_before_clipping: Tensor | None = None

    def take(self, batch: TensorBatch, learning_rate: float) -> Tensor:
        """Take one step; return this process's part of the batch's loss, before it."""
        loss = self.differentiate(batch)
        if self.workers.waits_for_nothing and not math.isfinite(loss):
            return loss  # the weights stay what they were, so that it can be told where this came from
        if self.scale is None or self.scale.undo(self.gradients):
            self._update(loss, learning_rate)
        elif self.scale.factor < LEAST_SCALE:  # it is not the scale that makes them infinite
            return loss * math.nan
        return loss

    @torch.no_grad()
    def _update(self, loss: Tensor, learning_rate: float) -> None:
        """Move the parameters along the gradients that they have."""
        steps, optimizer = self.steps, self.plan.optimizer
        assert steps is not None  # a method that finds its own steps asks for gradients only
        if self._l2:
            torch._foreach_add_(self._penalized_gradients, self._penalized, alpha=self._l2)
        if self._l1:
            torch._foreach_add_(self._penalized_gradients, torch._foreach_sign(self._penalized), alpha=self._l1)
        self._norm_before_clipping = None
        if self.plan.clip_norm is not None:
            gradients = self.gradients
            self._norm_before_clipping = _norm(gradients)
            torch._foreach_mul_(gradients, (self.plan.clip_norm / self._norm_before_clipping).clamp_max(1.0))
        if optimizer.needs_loss:
            optimizer.loss = float(self.workers.total(loss)) + self.penalty_value()
        steps.step(learning_rate)
        if self.plan.max_norm is not None:
            self._limit_norms(self.plan.max_norm)

    def differentiate(self, batch: TensorBatch) -> Tensor:
        """Give every parameter the gradient of the batch's loss; return this process's part of the loss."""
        for parameter in self.parameters:
            parameter.grad = None
        with nullcontext() if self._narrow is None else torch.autocast(self.workers.device.type, self._narrow):
            outputs = self._trained(batch.inputs)
        outputs = outputs.to(batch.row_weights.dtype)
        loss = self._loss(batch.targets, outputs, batch.row_weights)
        # Gradients are averaged over the processes, and the parts of the loss add up.
        factor = self.workers.size * (1.0 if self.scale is None else self.scale.factor)
        whole = loss if factor == 1 else loss * factor
        whole.backward()  # type: ignore[no-untyped-call]
        if self.share.n_rows > 1:
            for parameter in self._cancelled:
                _gradient(parameter).zero_()
        self.outputs = outputs.detach()
        return loss.detach()

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients of all parameters."""
        return [_gradient(parameter) for parameter in self.parameters]

    def gradient_norm(self) -> float:
        """Return the norm of the last step's gradient, penalty included, before clipping; NaN before the first."""
        if self._norm_before_clipping is not None:
            return float(self._norm_before_clipping)
        return float(_norm(self.gradients)) if self.parameters[0].grad is not None else math.nan

    @torch.no_grad()
    def penalty_value(self) -> float:
        """Return the penalty on the present weights."""
        l1 = sum((w.abs().sum() for w in self._penalized), torch.zeros(()))
        l2 = sum((w.square().sum() for w in self._penalized), torch.zeros(()))
        return self._l1 * float(l1) + 0.5 * self._l2 * float(l2)

    @property
    def _penalized_gradients(self) -> list[Tensor]:
        return [_gradient(parameter) for parameter in self._penalized]

    def _limit_norms(self, limit: float) -> None:
        """Scale the weights that go into any one unit down to this norm."""
        for slot in self.slots:
            if slot.block.penalized and len(slot.block.shape) == 2:
                norms = slot.parameter.norm(dim=0, keepdim=True)
                slot.parameter.mul_((limit / norms).clamp_max(1.0))


@functools.cache
def _watch_compiler() -> None:
    """Have the training clock stand still while ``torch.compile`` compiles; once in a process."""
    from torch._dynamo.callback import on_compile_end, on_compile_start

    on_compile_start(lambda *_: start_compiling())
    on_compile_end(lambda *_: stop_compiling())


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # every parameter has a part in the loss
    return parameter.grad


def _norm(gradients: list[Tensor]) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    return norm


def _penalty_rates(penalty: Penalty | None) -> tuple[float, float]:
    """Return the rates of the L1 and the L2 penalty."""
    match penalty:
        case None:
            return 0.0, 0.0
        case L1(rate):
            return rate, 0.0
        case L2(rate):
            return 0.0, rate
        case L1L2(l1, l2):
            return l1, l2
    raise InvalidInputError(
        f"PyTorch has no counterpart of the penalty {type(penalty).__name__}; train the network with engine='numpy'."
    )
