"""One training step on tensors: forward, loss, backward, penalty, clipping, update."""

from __future__ import annotations

import functools
import math
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor

from chainrule.engines.base import TrainingPlan
from chainrule.engines.torch_batches import TensorBatch
from chainrule.engines.torch_losses import batch_loss
from chainrule.engines.torch_modules import build_module, noise_sources_of
from chainrule.engines.torch_optimizers import DeviceVector, OptimizerSteps
from chainrule.engines.torch_workers import BatchShare, Workers
from chainrule.engines.virtual_adversarial import first_change
from chainrule.errors import InvalidInputError
from chainrule.formulas import Formula
from chainrule.formulas.translate import evaluate_torch
from chainrule.kernels.compiling import start_compiling, stop_compiling
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.penalties import ElementwisePenalty, Penalty
from chainrule.program import Program
from chainrule.stack import LayerStack

__all__ = ["LossScale", "TrainingStep"]


MIN_SCALE = 2.0**-24  # the smallest number of float16


class LossScale:
    """The factor of the loss that keeps small gradients above the smallest number of float16.

    If a gradient overflows, the step is skipped and the factor is halved. After 2,000 steps without an overflow, the
    factor is doubled (Micikevicius et al. 2018, Mixed precision training, section 3.2).
    """

    def __init__(self) -> None:
        self.factor, self.n_good = 2.0**16, 0

    def undo(self, gradients: Tensor) -> bool:
        """Divide the gradients by the factor; return whether all of them are finite."""
        is_finite = bool(gradients.mul_(1 / self.factor).isfinite().all())
        self.n_good = self.n_good + 1 if is_finite else 0
        if not is_finite:
            self.factor /= 2
        elif self.n_good == 2000:
            self.factor, self.n_good = 2 * self.factor, 0
        return is_finite


class TrainingStep:
    """The layers of a stack as a module on the device, and a training step of the module.

    Attributes
    ----------
    module
        One module for each layer, in order.
    share
        The rows of the current batch for this process.
    noise_sources
        The sources of the random numbers in training.
    outputs
        The outputs of the body for these rows, before the update.
    position
        The epoch and the number of the batch.
    """

    def __init__(self, stack: LayerStack, plan: TrainingPlan, workers: Workers, precision: str, compiled: bool) -> None:
        self.plan, self.workers = plan, workers
        self.head = stack.split_head(plan.loss)
        self.share = BatchShare(workers)
        self.module = build_module(stack, self.share).to(workers.device).train()
        self.noise_sources = noise_sources_of(self.module)
        self.vector = DeviceVector(stack, self.module, workers.device)
        if not self.vector.slots:
            raise InvalidInputError("This network has no parameters to train; add a DenseLayer.")
        program = Program.of(stack.layers[: self.head.n_body_layers], is_training=True)
        offsets = [offset.values for offset in program.cancelled_offsets()]
        self._cancelled = [
            self.vector.gradient_of(block)
            for _, block in self.vector.slots
            if any(np.shares_memory(block.view(stack.vector.values), offset) for offset in offsets)
        ]
        self.body = self.module[: self.head.n_body_layers]
        self._trained = workers.train_together(self.body)
        if compiled:
            _watch_compiler()
            self._trained = torch.compile(self._trained)  # type: ignore[assignment]
        self._loss = batch_loss(self.head)
        self._narrow = None if precision == "float32" else getattr(torch, precision)
        self.scale = LossScale() if precision == "float16" else None
        self._penalized = self.vector.values[: self.vector.n_penalized]
        self._penalties = [(part, *_traced(one)) for part, one in (plan.penalty.parts() if plan.penalty else ())]
        iterates = isinstance(plan.optimizer, ObjectiveOptimizer)
        self.steps = None if iterates else OptimizerSteps(plan.optimizer, self.vector)
        self.outputs, self.position = torch.empty((0, 0)), (0, 0)
        self._seed = stack.seed
        self._norm_before_clipping: Tensor | None = None

    def run(self, batch: TensorBatch, learning_rate: float) -> Tensor:
        """Take one step; return the part of this process in the loss of the batch before the step."""
        loss = self._whole_gradient(batch)
        if self.workers.is_synchronous and not math.isfinite(loss):
            return loss  # the weights are not changed, so that explain_divergence can find the reason
        if self.scale is None or self.scale.undo(self.vector.gradients):
            self._update(loss, learning_rate)
        elif self.scale.factor < MIN_SCALE:  # the scale is not the reason for infinite gradients
            return loss * math.nan
        return loss

    @torch.no_grad()
    def _update(self, loss: Tensor, learning_rate: float) -> None:
        """Update the parameters from the gradient of the loss, to which that of the penalty is added."""
        steps, optimizer = self.steps, self.plan.optimizer
        assert steps is not None  # an ObjectiveOptimizer only needs gradients
        gradients = self.vector.gradients
        for part, formula, settings in self._penalties:
            (derivative,) = evaluate_torch([formula.expression], {"weights": self._penalized[part], **settings})
            gradients[: self.vector.n_penalized][part] += derivative
        self._norm_before_clipping = None
        for part in self.vector.frozen:
            gradients[part] = 0
        if self.plan.clips:
            norm = self._norm_before_clipping = torch.linalg.vector_norm(gradients)
            if self.plan.clip_norm is not None:
                gradients.mul_((self.plan.clip_norm / norm).clamp_max(1.0))
        if self.plan.clip_value is not None:
            gradients.clamp_(-self.plan.clip_value, self.plan.clip_value)
        if optimizer.needs_loss:
            optimizer.loss = float(self.workers.total(loss)) + self.penalty_value()
        steps.step(learning_rate)
        if self.plan.max_norm is not None:
            self._limit_norms(self.plan.max_norm)

    def _whole_gradient(self, batch: TensorBatch) -> Tensor:
        """Compute the gradient of the loss and of the term of virtual adversarial training, and return their sum."""
        if not self.plan.vat_epsilon:
            return self.differentiate(batch)
        changed, least_loss = self._change(batch, self.plan.vat_epsilon)
        statistics = [(buffer, buffer.clone()) for buffer in self.module.buffers()]
        divergence = self.differentiate(changed) - least_loss
        own = self.vector.gradients.clone()
        for buffer, values in statistics:  # the running statistics are those of the rows that are not changed
            buffer.copy_(values)
        loss = self.differentiate(batch)
        self.vector.gradients += own
        return loss + divergence

    def _change(self, batch: TensorBatch, epsilon: float) -> tuple[TensorBatch, Tensor]:
        """Return the result of ``virtual_adversarial.VirtualAdversary.change`` for the rows of this process."""
        x, weights = batch.inputs, batch.row_weights
        first = first_change(self._seed, self.position, (self.share.n_rows, *x.shape[1:]), epsilon)[self.share.rows]
        self.module.eval()
        with torch.no_grad():
            outputs = self.body(x)
            targets = self.module[self.head.n_body_layers :](outputs)
            least_loss = self._loss(targets, outputs, weights)
        start = (x + torch.from_numpy(first).to(x)).requires_grad_()
        loss = self._loss(targets, self.body(start), torch.ones_like(weights))
        (gradient,) = torch.autograd.grad(loss, start)
        self.module.train()
        lengths = torch.linalg.vector_norm(gradient.flatten(1), dim=1).reshape(-1, *[1] * (x.dim() - 1))
        change = gradient * (epsilon / lengths.clamp_min(torch.finfo(x.dtype).tiny))
        return TensorBatch(x + change, targets, weights), least_loss

    def differentiate(self, batch: TensorBatch) -> Tensor:
        """Compute the gradient of the loss of a batch; return the part of this process in the loss."""
        self.vector.forget_gradients()
        with nullcontext() if self._narrow is None else torch.autocast(self.workers.device.type, self._narrow):
            outputs = self._trained(batch.inputs)
        outputs = outputs.to(batch.row_weights.dtype)
        loss = self._loss(batch.targets, outputs, batch.row_weights)
        # DistributedDataParallel averages the gradients, but those of the parts of the loss must be added.
        factor = self.workers.size * (1.0 if self.scale is None else self.scale.factor)
        whole = loss if factor == 1 else loss * factor
        whole.backward()  # type: ignore[no-untyped-call]
        self.vector.gather_gradients()
        if self.share.n_rows > 1:
            for gradient in self._cancelled:
                gradient.zero_()
        self.outputs = outputs.detach()
        return loss.detach()

    def gradient_norm(self) -> float:
        """Return the norm of the last step's gradient, penalty included, before clipping; NaN before the first."""
        before_clipping = self._norm_before_clipping
        return float(torch.linalg.vector_norm(self.vector.gradients) if before_clipping is None else before_clipping)

    @torch.no_grad()
    def penalty_value(self) -> float:
        """Return the penalty on the present weights."""
        return self.plan.penalty.value(self._penalized.cpu().numpy()) if self.plan.penalty is not None else 0.0

    def _limit_norms(self, limit: float) -> None:
        """Scale the weights of every unit whose norm exceeds ``limit`` down to this norm."""
        for parameter, block in self.vector.slots:
            if block.penalized and block.rate_factor and len(block.shape) >= 2:  # one matrix, or one for each member
                norms = parameter.norm(dim=-2, keepdim=True)
                parameter.mul_((limit / norms).clamp_max(1.0))


@functools.cache
def _watch_compiler() -> None:
    """Stop the training clock while ``torch.compile`` compiles; called once in a process."""
    from torch._dynamo.callback import on_compile_end, on_compile_start

    on_compile_start(lambda *_: start_compiling())
    on_compile_end(lambda *_: stop_compiling())


def _traced(penalty: Penalty) -> tuple[Formula, dict[str, float]]:
    """Return the derivative of a penalty as a formula, and its settings."""
    traced = penalty.traced() if isinstance(penalty, ElementwisePenalty) else None
    if traced is None:
        raise InvalidInputError(
            f"The penalty {type(penalty).__name__} cannot be traced as a formula of each weight; train the network "
            "with engine='numpy'."
        )
    numbers = traced.numbers(penalty)
    return traced.formula, dict(zip(traced.formula.settings, numbers, strict=True))
