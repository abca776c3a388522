"""Training with PyTorch, in one or several processes."""

from __future__ import annotations

import contextlib
import math
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from chainrule.data.batches import Batch, Batches, Portion
from chainrule.engines.base import Evaluation, Recorder, TrainingPlan
from chainrule.engines.evaluation import evaluate_outputs, explain_divergence, find_non_finite
from chainrule.engines.session_state import RunningLoss, WeightAverage, collect_state, restore_optimizer
from chainrule.engines.torch_batches import DeviceBatches, TensorBatch, as_array
from chainrule.engines.torch_inference import infer
from chainrule.engines.torch_modules import export_arrays, import_arrays
from chainrule.engines.torch_objective import TorchObjective
from chainrule.engines.torch_step import TrainingStep
from chainrule.engines.torch_threads import limited_torch_threads
from chainrule.engines.torch_workers import Workers
from chainrule.errors import InvalidInputError
from chainrule.kernels.subnormals import subnormals_are_zero
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs

__all__ = ["TorchSession"]


class TorchSession:
    """The training of one stack. Its parameters are on the device until :meth:`update_stack` copies them to it."""

    def __init__(self, stack: LayerStack, plan: TrainingPlan, workers: Workers, precision: str, compiled: bool) -> None:
        if precision != "float32" and stack.dtype != np.float32:
            raise InvalidInputError(
                f"precision='{precision}' needs a network with dtype='float32', and this network has {stack.dtype}."
            )
        if precision == "float16" and isinstance(plan.optimizer, ObjectiveOptimizer):
            raise InvalidInputError(
                f"{type(plan.optimizer).__name__} needs more than 16 bits; leave out precision='float16'."
            )
        if workers.device.type == "mps" and stack.dtype == np.float64:
            raise InvalidInputError(
                "The device 'mps' computes in float32 only; create the network with dtype='float32'."
            )
        self.stack, self.plan, self.workers = stack, plan, workers
        plan.optimizer.set_layout(stack.vector.blocks)
        plan.optimizer.prepare(stack.vector.values)
        self.step = TrainingStep(stack, plan, workers, precision, compiled)
        self.rows = DeviceBatches(workers.device, self.step.share, self.step.head)
        self._loss = RunningLoss()
        self._average = WeightAverage(plan, self.step.vector.values, list(self.step.module.buffers()))
        self._gradient_norm: float | None = None  # of the last step before this session
        self._stack_is_outdated = False
        self._known: Batches | None = None

    # Training ----------------------------------------------------------------------------------------------------

    def train_batches(
        self, batches: Batches, epoch: int, first_batch: int, rates: Array, record: Recorder | None
    ) -> None:
        """Take a step on each batch of an epoch, from ``first_batch`` on, at the given learning rates."""
        if self._known is not batches:
            self._check_same_data(batches)
        is_whole = first_batch + len(rates) == batches.n_batches
        with self._threads():
            done = 0
            for portion in batches.portions(epoch, first_batch, len(rates)):
                with self._average.training():
                    self._train_portion(portion, rates[done : done + portion.n_batches].tolist(), record)
                done += portion.n_batches
            if is_whole:
                self._average.after_epoch(epoch + 1)
        self._stack_is_outdated = True

    def _train_portion(self, portion: Portion, rates: list[float], record: Recorder | None) -> None:
        source, epoch = portion.batches, portion.epoch
        losses: list[Tensor] = []
        outputs: list[Tensor] = []
        sizes: list[int] = []
        batches = iter(self._batches(portion))
        for i, rate in enumerate(rates):
            for noise in self.step.noise_sources:
                noise.epoch, noise.step = epoch, portion.first + i
            self.step.position = (epoch, portion.first + i)
            # The batch has no name, so that its memory, which is in the cache, is free for the next batch.
            losses.append(self._take_step(next(batches), rate))
            self._average.after_step()
            sizes.append(self.step.share.n_rows)
            if record is not None:
                outputs.append(self.step.outputs)
            if self.workers.is_synchronous and not math.isfinite(losses[-1]):
                break
        self._add_losses(losses, sizes, rates, lambda i: source.batch(epoch, portion.first + i))
        if record is not None:
            start = portion.first * source.batch_size
            rows = source.order(epoch)[start : start + sum(sizes)]
            weights = None if source.weights is None else source.weights[rows]
            record(source.targets[rows], weights, self._predictions(torch.cat(outputs), sizes, weights))

    def _batches(self, portion: Portion) -> Iterable[TensorBatch | Batch]:
        if not self._iterates:
            return self.rows.batches(portion)
        numbers = range(portion.first, portion.first + portion.n_batches)
        return (portion.batches.batch(portion.epoch, number) for number in numbers)

    @property
    def _iterates(self) -> bool:
        """Whether the optimizer evaluates the objective itself."""
        return self.step.steps is None

    def _take_step(self, batch: TensorBatch | Batch, learning_rate: float) -> Tensor:
        """Take a step; return the part of this process in the loss before the step."""
        self._stack_is_outdated, self._gradient_norm = True, None
        if isinstance(batch, TensorBatch):
            return self.step.run(batch, learning_rate)
        optimizer, vector = self.plan.optimizer, self.stack.vector
        assert isinstance(optimizer, ObjectiveOptimizer)
        objective = TorchObjective(self.stack, self.plan, batch, self.compute_gradient, self.step)
        _, gradient = objective.value_and_gradient(vector.values)
        self._gradient_norm = float(np.linalg.norm(gradient))  # before trial points overwrite the gradient
        mean_loss = objective.mean_loss / self.workers.size  # the losses of all processes will be added
        loss = torch.tensor(
            mean_loss, dtype=torch.float64, device=self.workers.device if self.workers.size > 1 else None
        )
        if math.isfinite(objective.mean_loss):
            optimizer.minimize(vector.values, objective, learning_rate)
            self.step.vector.load(vector.values)
        return loss

    def compute_gradient(self, batch: Batch) -> float:
        """Write the gradient of the mean loss at the stack's weights to its gradients, and return this loss."""
        self.step.vector.load(self.stack.vector.values)  # but not the running statistics
        loss = self.step.differentiate(self.rows.batch(batch))
        self.stack.vector.gradients[...] = self.step.vector.gradients.cpu().numpy()
        return float(self.workers.total(loss))

    def _add_losses(
        self, losses: list[Tensor], sizes: list[int], rates: list[float], batch_at: Callable[[int], Batch]
    ) -> None:
        """Add the losses of batches to the running mean. Raises DivergenceError for a loss that is not finite."""
        for i, loss in enumerate(self.workers.total(torch.stack(losses)).tolist()):
            if not math.isfinite(loss):
                self.update_stack()
                raise explain_divergence(self.stack, self.step.head, batch_at(i), rates[i])
            self._loss.add(loss, sizes[i])

    def _predictions(self, outputs: Tensor, sizes: list[int], weights: Array | None = None) -> Array:
        """Return the predictions for all rows of batches, from the outputs of the body for the rows of this process."""
        return self.step.head.predictions(as_array(self.workers.gather(outputs, sizes)), weights)

    def _check_same_data(self, batches: Batches) -> None:
        """Raise InvalidInputError unless all processes train on the same data with the same seed."""
        checksum = zlib.crc32(repr((self.stack.seed, batches.n_rows, *batches.fingerprint())).encode())
        if not self.workers.same(checksum):
            raise InvalidInputError(
                "The processes of this run have different data or seeds; give all of them the same rows, and "
                "NeuralNetwork(seed=...) the same number."
            )
        self._known = batches

    # Other methods of sessions-----------------------------------------------------------------------------------

    def all_reduce_min(self, number: int) -> int:
        """Return the smallest of the numbers that the processes of the run pass."""
        return self.workers.smallest(number)

    def pop_mean_loss(self) -> float:
        """Return the mean loss over the rows of the steps since the last call, and start a new mean."""
        return self._loss.pop_mean()

    def batch_predictions(self) -> Array:
        """Return the outputs of the last training batch, before its update."""
        return self._predictions(self.step.outputs, [self.step.share.n_rows])

    def gradient_norm(self) -> float:
        """Return the Euclidean norm of the last step's gradient, penalty included, before clipping."""
        return self.step.gradient_norm() if self._gradient_norm is None else self._gradient_norm

    def evaluate(self, inputs: Inputs, targets: Array, sample_weight: Array | None) -> Evaluation:
        """Return the loss and the predictions with the present weights; each process computes a part of the rows."""
        n_rows = len(targets)
        with self._threads():
            self.step.body.eval()
            own = infer(self.step.body, inputs[self.workers.share_of(n_rows)], self.workers.device)
            self.step.body.train()
            outputs = as_array(self.workers.gather(own, [n_rows]))
        return evaluate_outputs(self.step.head, outputs, targets, sample_weight)

    def update_stack(self) -> None:
        """Copy the parameters and the state of the optimizer from the device to the stack and the optimizer."""
        if self._stack_is_outdated:
            export_arrays(self.step.module, self.stack)
            if self.step.steps is not None:
                self.step.steps.read_state()
            self._stack_is_outdated = False

    def load_stack(self) -> None:
        """Copy the arrays of the stack, which may have been changed since :meth:`update_stack`, to the device."""
        import_arrays(self.stack, self.step.module)

    def find_non_finite(self) -> str | None:
        """Return the name of an array of the network or the optimizer with a number that is not finite, or None."""
        steps = self.step.steps
        if steps is not None and _all_finite(self._tensors(), steps.tensors()):
            return None
        self.update_stack()
        return find_non_finite(self.stack, self.plan.optimizer)

    def penalty_value(self) -> float:
        """Return the penalty on the present weights; 0 without a penalty."""
        return self.step.penalty_value()

    def copy_weights(self) -> list[Tensor]:
        """Return copies of the parameters and running statistics, on the device."""
        return [tensor.clone() for tensor in self._tensors()]

    def restore_weights(self, weights: list[Tensor]) -> None:
        """Set the network to the result of :meth:`copy_weights`."""
        for tensor, copy in zip(self._tensors(), weights, strict=True):
            tensor.copy_(copy)
        self._stack_is_outdated = True
        self.update_stack()

    def _tensors(self) -> list[Tensor]:
        return [tensor.detach() for tensor in self.step.module.state_dict().values()]

    def read_weights(self) -> dict[str, Array]:
        """Return copies of all parameters and layer states."""
        self.update_stack()
        return self.stack.read_arrays()

    def write_weights(self, weights: dict[str, Array]) -> None:
        """Set the network to the result of :meth:`read_weights`."""
        self.update_stack()
        self.stack.write_arrays(weights)
        import_arrays(self.stack, self.step.module)

    def read_state(self) -> dict[str, Array]:
        """Return copies of the optimizer's arrays, of the running mean, and of the scale of float16's loss."""
        self.update_stack()
        numbers = {**self._loss.read(), "gradient_norm": self.gradient_norm()}
        if self.step.scale is not None:
            numbers |= {"loss_scale": self.step.scale.factor, "n_good": self.step.scale.n_good}
        state = collect_state(self.plan.optimizer, numbers)
        if self._average.inactive:
            self._stack_is_outdated = True
            state |= self._average.read(self)
            self._stack_is_outdated = True  # the stack has the trained weights instead of the average
            self.update_stack()
        return state

    def write_state(self, state: dict[str, Array]) -> None:
        """Set the optimizer and the running mean to the result of :meth:`read_state` of a session of any engine."""
        restore_optimizer(self.plan.optimizer, self.stack.vector, state)
        if self.step.steps is not None:
            self.step.steps.write_state()
        self._average.write(self, state)
        self._stack_is_outdated = True
        self._loss.write(state)
        self._gradient_norm = float(state["gradient_norm"][0])
        if self.step.scale is not None and "loss_scale" in state:
            self.step.scale.factor, self.step.scale.n_good = float(state["loss_scale"][0]), int(state["n_good"][0])

    @contextlib.contextmanager
    def _threads(self) -> Iterator[None]:
        """Limit the number of threads on the CPU, and replace subnormal numbers by 0."""
        with limited_torch_threads(), subnormals_are_zero():
            yield


def _all_finite(*groups: Iterable[Tensor]) -> bool:
    """Return whether the sums of all tensors are finite, with a single transfer from the device."""
    sums = [tensor.sum() for tensors in groups for tensor in tensors if tensor.is_floating_point()]
    return bool(torch.stack(sums).isfinite().all())
