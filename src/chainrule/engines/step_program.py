"""Which networks the compiled loop of whole training steps can take, and how it is told about them.

The loop (``kernels/numba_kernels/steps.py``) knows dense layers, the commonest activations, losses and optimizers, and
plain rows. Everything else is trained layer by layer, with the same mathematics. Which way is taken depends on the
network, the plan and the data alone, never on who watches: a run gives the same bits with callbacks and without.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from chainrule import kernels
from chainrule.activations import (
    LeakyReLUActivation,
    LinearActivation,
    ReLUActivation,
    SigmoidActivation,
    TanhActivation,
)
from chainrule.data.batches import ArrayBatches
from chainrule.engines.base import TrainingPlan
from chainrule.layers import DenseLayer, Layer
from chainrule.losses import BinaryCrossEntropy, CategoricalCrossEntropy, LossFunction, MeanSquaredError
from chainrule.optimizer import SGD, Adam, AdamW, Optimizer, RMSprop
from chainrule.penalties import L1, L1L2, L2, Penalty
from chainrule.stack import Head, LayerStack
from chainrule.types import Array, Inputs, IntArray, is_sparse

__all__ = ["StepProgram"]

ACTIVATIONS: dict[type[Layer], str] = {
    LinearActivation: "identity",
    ReLUActivation: "relu",
    LeakyReLUActivation: "leaky_relu",
    SigmoidActivation: "sigmoid",
    TanhActivation: "tanh",
}

# Where BLAS computes for so long that the calls from Python no longer count, NumPy's own is the faster one.
MOST_MULTIPLICATIONS = 2**27
# The loop's tanh takes one number at a time, NumPy's sixteen.
MOST_TANH = 4096
# Rows with fewer numbers other than 0 than this share are multiplied entry by entry, in front of a layer this wide.
DENSITY, LEAST_INPUTS, LEAST_UNITS = 0.25, 64, 64
ROWS_LOOKED_AT = 256


class StepProgram:
    """One network, one plan and one set of rows, as the tables that the compiled loop reads."""

    def __init__(self, stack: LayerStack, head: Head, plan: TrainingPlan, batches: ArrayBatches) -> None:
        from chainrule.kernels.numba_kernels import steps

        self._take_steps = steps.train_steps
        self._layers, self._batches = stack.layers[: head.n_body_layers], batches
        self._optimizer_state = plan.optimizer.state
        table, self._outputs_at, n_outputs = _layout(stack, head, batches.batch_size)
        widest = int(table[:, 1:3].max())
        dtype, n_rows = stack.dtype, batches.batch_size
        self._network = steps.Network(
            layers=table,
            settings=np.array([getattr(layer, "negative_slope", 0.0) for layer in self._layers]),
            values=stack.vector.values,
            gradients=stack.vector.gradients,
            outputs=np.zeros(n_outputs, dtype),
            errors=np.zeros((2, n_rows * widest), dtype),
            loss=steps.LOSSES[str(_loss_kernel(plan.loss, head))],
        )
        self._rows = steps.Rows(
            *_as_arrays(batches.inputs, dtype),
            mostly_zero=_is_mostly_zero(batches.inputs, self._layers[0].output_shape()[0]),
            targets=batches.targets,
            weights=np.zeros(0, dtype) if batches.weights is None else batches.weights,
        )
        self._scratch = steps.Scratch(
            inputs=np.zeros(0 if is_sparse(batches.inputs) else n_rows * table[0, 1], dtype),
            targets=np.zeros((n_rows, batches.targets.shape[1]), dtype),
            row_weights=np.zeros(n_rows, dtype),
            entry_columns=np.zeros(table[0, 1] + 1, np.int64),
            entries=np.zeros(table[0, 1] + 1, dtype),
        )
        rule, settings, state = _rule(plan.optimizer)
        l1, l2 = _rates(plan.penalty)
        state += [np.zeros(0, dtype)] * (3 - len(state))
        self._update = steps.Update(
            rule=steps.UPDATES[rule],
            settings=np.array(settings),
            first_state=state[0],
            second_state=state[1],
            third_state=state[2],
            n_steps=plan.optimizer.state.get("steps", np.zeros(1, np.int64)),
            n_penalized=stack.vector.n_penalized,
            l1=l1,
            l2=l2,
            clip_norm=float(plan.clip_norm or 0),
            max_norm=float(plan.max_norm or 0),
            gradient_norm=np.zeros(1),
        )

    @classmethod
    def compile(cls, stack: LayerStack, head: Head, plan: TrainingPlan, batches: ArrayBatches) -> Self | None:
        """Return the program, or None where the steps have to be taken layer by layer."""
        return cls(stack, head, plan, batches) if _is_known(stack, head, plan, batches) else None

    def fits(self, plan: TrainingPlan, batches: ArrayBatches) -> bool:
        """Whether these are still the rows and the optimizer's arrays that the program was made for."""
        return self._batches is batches and self._optimizer_state is plan.optimizer.state

    def run(self, order: IntArray, rates: Array, record: Array) -> Array:
        """Take a step at each rate, on these rows in their order, and return the mean loss of each before its update.

        ``record`` gets the outputs of all rows, or has no rows. Where a loss is not finite it is the last one returned,
        and its update has not been done.
        """
        losses = np.empty(len(rates))
        batch_size = self._batches.batch_size
        n_done = self._take_steps(
            self._network, self._rows, self._update, self._scratch, order, batch_size, rates, losses, record
        )
        last = min(n_done, len(rates) - 1)
        self._show(order[last * batch_size : (last + 1) * batch_size])
        return losses[: last + 1]

    @property
    def gradient_norm(self) -> float | None:
        """The norm of the last step's gradient before it was clipped; None without clipping."""
        return float(self._update.gradient_norm[0]) if self._update.clip_norm else None

    @property
    def last_outputs(self) -> Array:
        """What the network made of the last batch, before its update."""
        outputs = self._layers[-1].output
        assert outputs is not None
        return outputs

    def _show(self, rows: IntArray) -> None:
        """Let the layers show the last batch as their input and output, as they do when trained one by one."""
        width = self._network.layers[0, 1]
        inputs = self._scratch.inputs[: len(rows) * width].reshape(-1, width)
        if is_sparse(self._batches.inputs):
            inputs = self._batches.inputs[rows]
        for layer, start in zip(self._layers, self._outputs_at, strict=True):
            width = layer.output_shape()[0]
            layer.input = inputs
            inputs = layer.output = self._network.outputs[start : start + len(rows) * width].reshape(-1, width)


def _is_known(stack: LayerStack, head: Head, plan: TrainingPlan, batches: ArrayBatches) -> bool:
    """Whether the compiled loop can take these steps, and is the faster way."""
    if kernels.active_set() != "numba" or batches.augmentation is not None:
        return False
    layers = stack.layers[: head.n_body_layers]
    if not layers or type(layers[0]) is not DenseLayer:
        return False
    if any(type(layer) is not DenseLayer and type(layer) not in ACTIVATIONS for layer in layers):
        return False
    multiplications = 3 * batches.batch_size * stack.vector.n_penalized
    n_tanh = sum(batches.batch_size * layer.output_shape()[0] for layer in layers if type(layer) is TanhActivation)
    return (
        (multiplications <= MOST_MULTIPLICATIONS or is_sparse(batches.inputs))
        and n_tanh <= MOST_TANH
        and _loss_kernel(plan.loss, head) is not None
        and type(plan.optimizer) in (SGD, Adam, AdamW, RMSprop)
        and type(plan.penalty) in (type(None), L1, L2, L1L2)
    )


def _layout(stack: LayerStack, head: Head, n_rows: int) -> tuple[IntArray, list[int], int]:
    """Return a row of the table for each layer, where each layer's output begins, and the size of all outputs."""
    starts = {(block.layer, block.name): block.start for block in stack.vector.blocks}
    table, outputs_at, size = [], [], 0
    for index, layer in enumerate(stack.layers[: head.n_body_layers]):
        n_in, n_out = layer.input_shape()[0], layer.output_shape()[0]
        kind = _kind(layer)
        table.append((kind, n_in, n_out, starts.get((index, "weights"), 0), starts.get((index, "biases"), 0), size))
        outputs_at.append(size)
        size += n_rows * n_out
    return np.array(table, np.int64), outputs_at, size


def _kind(layer: Layer) -> int:
    from chainrule.kernels.numba_kernels import steps

    return steps.DENSE if type(layer) is DenseLayer else steps.ACTIVATIONS[ACTIVATIONS[type(layer)]]


def _as_arrays(inputs: Inputs, dtype: np.dtype[Any]) -> tuple[Array, Array, IntArray, IntArray]:
    """Return the inputs as the loop takes them: dense rows, and the arrays of a CSR matrix; one of the two is empty."""
    if not is_sparse(inputs):
        none = np.zeros(0, np.int32)
        return inputs, np.zeros(0, dtype), none, none
    # Always 32 bits where these suffice: for each combination of types the loop would be compiled once more.
    index = np.int32 if inputs.nnz < 2**31 else np.int64
    indices, indptr = inputs.indices.astype(index, copy=False), inputs.indptr.astype(index, copy=False)
    return np.zeros((0, inputs.shape[1]), dtype), inputs.data, indices, indptr


def _is_mostly_zero(inputs: Inputs, n_units: int) -> bool:
    """Whether a look at some rows says that products entry by entry are faster than those of BLAS."""
    if is_sparse(inputs) or inputs.shape[1] < LEAST_INPUTS or n_units < LEAST_UNITS:
        return False
    some = inputs[:: max(1, len(inputs) // ROWS_LOOKED_AT)]
    return bool(np.count_nonzero(some) < DENSITY * some.size)


def _loss_kernel(loss: LossFunction, head: Head) -> str | None:
    """Return the name of the kernel of a loss, or None where the loop does not know it."""
    if isinstance(loss, MeanSquaredError):
        return loss.kernel
    if head.activation is not None and isinstance(loss, BinaryCrossEntropy | CategoricalCrossEntropy):
        return loss.logits_kernel
    return None


def _rule(optimizer: Optimizer) -> tuple[str, list[float], list[Array]]:
    """Return the name of the optimizer's kernel, the settings and the state arrays that it takes."""
    state = optimizer.state
    match optimizer:
        case Adam():
            return "adam", [optimizer.beta1, optimizer.beta2, optimizer.epsilon], [state["mean"], state["square"]]
        case AdamW():
            settings = [optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weight_decay]
            return "adamw", settings, [state["mean"], state["square"]]
        case RMSprop():
            settings = [optimizer.alpha, optimizer.epsilon, optimizer.momentum, float(optimizer.centered)]
            return "rmsprop", settings, [state["square"], state["mean"], state["retained"]]
        case SGD():
            return "momentum_descent", [optimizer.momentum, float(optimizer.nesterov)], [state["retained_gradient"]]
        case _:
            raise AssertionError(f"{type(optimizer).__name__} is none of the compiled loop's")


def _rates(penalty: Penalty | None) -> tuple[float, float]:
    """Return the rates of the L1 and the L2 penalty."""
    match penalty:
        case L1L2():
            return float(penalty.l1), float(penalty.l2)
        case L1():
            return float(penalty.rate), 0.0
        case L2():
            return 0.0, float(penalty.rate)
        case _:
            return 0.0, 0.0
