"""Training on the CPU, in compiled code or by the NumPy code of the layers."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from chainrule.activations import ActivationLayer
from chainrule.data.batches import Batch, Batches, Portion
from chainrule.engines.base import ErrorOf, Evaluation, Group, Recorder, Session, SingleProcess, TrainingPlan
from chainrule.engines.compiled_prediction import predict
from chainrule.engines.compiled_training import CompiledTraining
from chainrule.engines.evaluation import evaluate_outputs, explain_divergence, find_non_finite
from chainrule.engines.input_gradient import input_gradient
from chainrule.engines.objective import BatchObjective
from chainrule.engines.session_state import RunningLoss, WeightAverage, collect_state, restore_optimizer
from chainrule.engines.virtual_adversarial import VirtualAdversary
from chainrule.errors import InvalidInputError
from chainrule.kernels.subnormals import subnormals_are_zero
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs

__all__ = ["NumpyEngine", "NumpySession"]


@dataclass(frozen=True)
class NumpyEngine:
    """The default engine: NumPy arrays and compiled code, on the CPU.

    ``device`` may be ``"auto"`` or ``"cpu"``, which are the same; it exists because both engines have this setting.

    >>> from chainrule import NeuralNetwork
    >>> NeuralNetwork().engine
    NumpyEngine(device='auto')
    """

    device: Literal["auto", "cpu"] = "auto"

    def __post_init__(self) -> None:
        if self.device not in get_args(Literal["auto", "cpu"]):
            raise InvalidInputError(
                f"The device is {self.device!r}, and engine='numpy' computes on the CPU; give engine='torch' as well."
            )

    def open(self, stack: LayerStack, plan: TrainingPlan) -> Session:
        """Return a session that trains ``stack`` according to ``plan``."""
        return NumpySession(stack, plan)

    def predict(self, stack: LayerStack, inputs: Inputs, *, n_layers: int | None = None) -> Array:
        """Return the outputs of the stack, or of its first layers, for any number of rows."""
        return predict(stack, inputs, n_layers=n_layers)

    def input_gradient(
        self, stack: LayerStack, inputs: Inputs, error_of: ErrorOf, *, n_layers: int | None = None
    ) -> tuple[Array, Array]:
        """Return the outputs of the stack, or of its first layers, and dL/d(inputs), in inference."""
        return input_gradient(stack, inputs, error_of, n_layers=n_layers)

    def join(self) -> Group:
        """Return a group of one process. Raises InvalidInputError if torchrun has started several processes."""
        n_processes = os.environ.get("WORLD_SIZE", "1")
        if n_processes != "1":
            raise InvalidInputError(
                f"torchrun has started {n_processes} processes, and engine='numpy' trains in one; give engine='torch'."
            )
        return SingleProcess()


class NumpySession:
    """The training of one stack: in compiled code if possible, and otherwise by the NumPy code of the layers.

    With ``by_layers=True``, no compiled code is used. After the first step, a compiled step allocates no memory that
    grows with the data.
    """

    def __init__(self, stack: LayerStack, plan: TrainingPlan, *, by_layers: bool = False) -> None:
        for layer in stack.walk():
            if isinstance(layer, ActivationLayer):
                layer.traced()  # trace the formulas now, so that tracing does not count as training time
        self.stack, self.plan = stack, plan
        self.head = stack.split_head(plan.loss)
        plan.optimizer.set_layout(stack.vector.blocks)
        plan.optimizer.prepare(stack.vector.values)
        self._most_norm = float(plan.max_norm or 0)
        self._columns = [
            matrix
            for block in stack.vector.blocks
            if plan.max_norm is not None and block.penalized and block.rate_factor
            for matrix in block.matrices(stack.vector.values)
        ]
        self._frozen = stack.vector.frozen
        self._loss = RunningLoss()
        states = [array for layer in stack.layers for array in layer.state.values()]  # also of the layers inside
        self._average = WeightAverage(plan, stack.vector.values, states)
        self._outputs: Array = np.empty((0, 0), stack.dtype)
        self._error = self._row_weights = self._outputs
        self._gradient_norm: float | None = None  # before clipping; None if the gradient is not changed by clipping
        self._position = (0, 0)  # the epoch and the batch of the next step
        self._adversary = VirtualAdversary(stack, self.head, plan.vat_epsilon) if plan.vat_epsilon else None
        self._compiled: CompiledTraining | None = None
        self._by_layers = by_layers

    def train_batches(
        self, batches: Batches, epoch: int, first_batch: int, rates: Array, record: Recorder | None
    ) -> None:
        """Take a step on each batch of an epoch, from ``first_batch`` on, at the given learning rates."""
        is_whole = first_batch + len(rates) == batches.n_batches
        for portion in batches.portions(epoch, first_batch, len(rates)):
            source, (own_rates, rates) = portion.batches, np.split(rates, [portion.n_batches])
            with np.errstate(all="ignore"), subnormals_are_zero(), self._average.training():
                is_alone = portion.n_batches == 1
                compiled = self._compile(source.inputs, source.targets, source.batch_size, is_alone=is_alone)
                if compiled is not None and compiled.can_update and source.augmentation is None:
                    losses, outputs = compiled.take_steps(portion, own_rates, records=record is not None)
                    self._finish_steps(compiled, portion, own_rates, losses)
                    if record is not None:
                        rows, weights = portion.rows, source.weights
                        weights = None if weights is None else weights[rows]
                        record(source.targets[rows], weights, self.head.predictions(outputs, weights))
                    continue
                # Python floats, because NumPy's float64 would convert the results of a float32 network to float64.
                for number, rate in enumerate(own_rates.tolist(), start=portion.first):
                    batch, self._position = source.batch(portion.epoch, number), (portion.epoch, number)
                    if isinstance(self.plan.optimizer, ObjectiveOptimizer):
                        self._minimize(self.plan.optimizer, batch, rate)
                    else:
                        divergence, added = self._adversarial_part(batch)
                        loss = self.compute_gradient(batch)
                        if added is not None:
                            self.stack.vector.gradients += added
                        self._update(loss + divergence, batch, rate)
                    self._limit_norms()
                    self._average.after_step()
                    if record is not None:
                        record(batch.targets, batch.weights, self.head.predictions(self._outputs, batch.weights))

        if is_whole:
            self._average.after_epoch(epoch + 1)

    def _minimize(self, optimizer: ObjectiveOptimizer, batch: Batch, learning_rate: float) -> None:
        """Do one iteration of an optimizer that evaluates the objective itself."""
        objective = BatchObjective(self.stack, self.plan, batch, self.compute_gradient)
        values = self.stack.vector.values
        _, gradient = objective.value_and_gradient(values)
        self._add_loss(objective.mean_loss, batch, learning_rate)
        self._gradient_norm = float(np.linalg.norm(gradient))  # before trial points overwrite the gradient
        optimizer.minimize(values, objective, learning_rate)

    def _update(self, loss: float, batch: Batch, learning_rate: float) -> None:
        """Update the parameters from the gradient of the loss, to which that of the penalty is added."""
        optimizer, vector, penalty = self.plan.optimizer, self.stack.vector, self.plan.penalty
        self._add_loss(loss, batch, learning_rate)
        if penalty is not None:
            penalty.add_gradient(vector.penalized_values, vector.penalized_gradients)
        for part in self._frozen:
            vector.gradients[part] = 0
        if self.plan.clips:
            norm = self._gradient_norm = self.gradient_norm()
            if self.plan.clip_norm is not None and norm > self.plan.clip_norm:
                vector.gradients *= self.stack.dtype.type(self.plan.clip_norm / norm)
            if self.plan.clip_value is not None:
                np.clip(vector.gradients, -self.plan.clip_value, self.plan.clip_value, out=vector.gradients)
        if optimizer.needs_loss:
            optimizer.loss = loss + (penalty.value(vector.penalized_values) if penalty is not None else 0.0)
        optimizer.step(vector.values, vector.gradients, learning_rate)

    def _limit_norms(self) -> None:
        """Scale the weights of every unit whose norm exceeds ``max_norm`` down to this norm."""
        for weights in self._columns:
            norms = np.sqrt(np.sum(np.square(weights, dtype=np.float64), axis=0))
            weights[...] *= np.minimum(1, self._most_norm / np.maximum(norms, self._most_norm)).astype(weights.dtype)

    def _compile(self, inputs: Inputs, targets: Array, batch_size: int, *, is_alone: bool) -> CompiledTraining | None:
        """Return the compiled form of the network and the plan; None if the network must be computed by its layers."""
        if self._compiled is not None and self._compiled.fits(inputs, targets, batch_size, is_alone=is_alone):
            return self._compiled
        if not self._by_layers:
            self._compiled = CompiledTraining.of(
                self.stack, self.head, self.plan, self._average.inactive, inputs, targets, batch_size
            )
            self._by_layers = self._compiled is None
        return self._compiled

    def _finish_steps(self, compiled: CompiledTraining, portion: Portion, rates: Array, losses: Array) -> None:
        """Store the results of compiled steps. Raises DivergenceError if the last loss is not finite."""
        self._outputs, self._gradient_norm = compiled.outputs, compiled.gradient_norm
        source, last = portion.batches, len(losses) - 1
        if not math.isfinite(losses[last]):
            batch = source.batch(portion.epoch, portion.first + last)
            raise explain_divergence(self.stack, self.head, batch, float(rates[last]))
        self._loss.add_batches(losses, source.batch_size, len(portion.rows))

    def _adversarial_part(self, batch: Batch) -> tuple[float, Array | None]:
        """Return the term of virtual adversarial training and its gradient; 0 and None without it."""
        if self._adversary is None:
            return 0.0, None
        changed, least_loss = self._adversary.change(batch, self._position)
        statistics = [(array, array.copy()) for layer in self.stack.layers for array in layer.state.values()]
        divergence = self.compute_gradient(changed) - least_loss
        for array, values in statistics:  # the running statistics are those of the rows that are not changed
            array[...] = values
        return divergence, self.stack.vector.gradients.copy()

    def compute_gradient(self, batch: Batch) -> float:
        """Write the gradient of the mean loss over the batch to the stack's gradients, and return this loss."""
        compiled = self._compile(batch.inputs, batch.targets, batch.n_rows, is_alone=True)
        if compiled is not None:
            loss = compiled.compute_gradient(batch, *self._position)
            self._outputs = compiled.outputs
            return loss
        n_rows, n_body = batch.n_rows, self.head.n_body_layers
        for layer in self.stack.walk():
            layer.noise.epoch, layer.noise.step = self._position
        self._outputs = batch.inputs
        for layer in self.stack.layers[:n_body]:
            self._outputs = layer.forward_propagation(self._outputs, training=True)
        if self._error.shape != self._outputs.shape:
            self._error = np.empty_like(self._outputs)
        shape = (n_rows,) if batch.weights is None else batch.weights.shape
        if self._row_weights.shape != shape:
            self._row_weights = np.empty(shape, self.stack.dtype)
        if batch.weights is None:
            self._row_weights.fill(1 / n_rows)
        else:
            np.divide(batch.weights, n_rows, out=self._row_weights)
        loss = self.head.evaluate(batch.targets, self._outputs, self._row_weights, self._error)
        self.stack.backward(self._error, n_layers=n_body)
        return loss

    def pop_mean_loss(self) -> float:
        """Return the mean loss over the rows of the steps since the last call, and start a new mean."""
        return self._loss.pop_mean()

    def batch_predictions(self) -> Array:
        """Return the outputs of the last training batch, before its update."""
        return self.head.predictions(self._outputs)

    def gradient_norm(self) -> float:
        """Return the Euclidean norm of the last step's gradient, before clipping."""
        if self._gradient_norm is not None:
            return self._gradient_norm
        return float(np.linalg.norm(self.stack.vector.gradients))

    @np.errstate(all="ignore")  # find_non_finite reports numbers that are not finite
    def evaluate(self, inputs: Inputs, targets: Array, sample_weight: Array | None) -> Evaluation:
        """Return the loss and the predictions with the present weights."""
        outputs = predict(self.stack, inputs, n_layers=self.head.n_body_layers)
        return evaluate_outputs(self.head, outputs, targets, sample_weight)

    def find_non_finite(self) -> str | None:
        """Return the name of an array of the network or the optimizer with a number that is not finite, or None."""
        return find_non_finite(self.stack, self.plan.optimizer)

    def update_stack(self) -> None:
        """Do nothing, because the session trains the arrays of the stack."""

    def load_stack(self) -> None:
        """Do nothing, because the session trains the arrays of the stack."""

    def all_reduce_min(self, number: int) -> int:
        """Return the number, because there is one process."""
        return number

    def penalty_value(self) -> float:
        """Return the penalty on the present weights; 0 without a penalty."""
        penalty = self.plan.penalty
        return 0.0 if penalty is None else penalty.value(self.stack.vector.penalized_values)

    def copy_weights(self) -> dict[str, Array]:
        """Return copies of all parameters and layer states."""
        return self.stack.read_arrays()

    def restore_weights(self, weights: dict[str, Array]) -> None:
        """Set the network to the result of :meth:`copy_weights`."""
        self.stack.write_arrays(weights)

    def read_weights(self) -> dict[str, Array]:
        """Return copies of all parameters and layer states."""
        return self.stack.read_arrays()

    def write_weights(self, weights: dict[str, Array]) -> None:
        """Set the network to the result of :meth:`read_weights`."""
        self.stack.write_arrays(weights)

    def read_state(self) -> dict[str, Array]:
        """Return copies of the optimizer's arrays and of the running mean."""
        state = collect_state(self.plan.optimizer, {**self._loss.read(), "gradient_norm": self.gradient_norm()})
        return state | self._average.read(self)

    def write_state(self, state: dict[str, Array]) -> None:
        """Set the optimizer and the running mean to the result of :meth:`read_state`."""
        restore_optimizer(self.plan.optimizer, self.stack.vector, state)
        self._loss.write(state)
        self._gradient_norm = float(state["gradient_norm"][0])
        self._average.write(self, state)

    def _add_loss(self, loss: float, batch: Batch, learning_rate: float) -> None:
        self._gradient_norm = None
        if not math.isfinite(loss):
            raise explain_divergence(self.stack, self.head, batch, learning_rate)
        self._loss.add(loss, batch.n_rows)
