"""Which networks the compiled loop of whole training steps can take, and how it is told about them.

The loop (``kernels/numba_kernels/steps.py``) supports dense layers, activations and optimizers whose formulas can be
traced, losses whose formulas can be traced, and plain rows. Other networks are trained layer by layer, with the
same mathematics. The choice depends on the network, the plan and the data alone, so a run gives the same bits with and
without callbacks.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from chainrule import kernels
from chainrule.activations import ActivationLayer, TracedActivation
from chainrule.data.batches import ArrayBatches
from chainrule.engines.base import TrainingPlan
from chainrule.formulas import values_of
from chainrule.formulas.loops import N_ARRAYS
from chainrule.head import Head
from chainrule.kernels.codes import (
    N_IN,
    N_OUT,
    OUTPUT_AT,
)
from chainrule.layer_table import as_read_only, settings_table, tabulate_layers
from chainrule.losses.base import TracedLoss
from chainrule.optimizer import Optimizer
from chainrule.optimizer.base import TracedRule
from chainrule.penalties import L1, L1L2, L2, Penalty
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs, IntArray, is_sparse

__all__ = ["StepProgram"]

# Where BLAS computes for so long that the calls from Python no longer count, NumPy's own is the faster one.
MOST_MULTIPLICATIONS = 2**27
# Rows with fewer numbers other than 0 than this share are multiplied entry by entry, in front of a layer this wide.
DENSITY, LEAST_INPUTS, LEAST_UNITS = 0.25, 64, 64
ROWS_LOOKED_AT = 256


class StepProgram:
    """One network, one plan and one set of rows, as the tables that the compiled loop reads."""

    def __init__(self, stack: LayerStack, head: Head, plan: TrainingPlan, batches: ArrayBatches, parts: _Parts) -> None:
        from chainrule.kernels.numba_kernels import steps

        self._take_steps = steps.train_steps
        self._layers, self._batches, self._parts = stack.layers[: head.n_body_layers], batches, parts
        self._values = stack.vector.values
        dtype, n_rows = stack.dtype, batches.batch_size
        table = tabulate_layers(self._layers, stack.vector, n_rows)
        n_features, widest = int(table[0, N_IN]), int(table[:, N_OUT].max())
        self._network = steps.Network(
            layers=table,
            settings=settings_table(self._layers),
            values=stack.vector.values,
            gradients=stack.vector.gradients,
            outputs=np.zeros(n_rows * int(table[:, N_OUT].sum()), dtype),
            errors=np.zeros((2, n_rows * widest), dtype),
            loss=parts.loss.loop.address(dtype),
            loss_numbers=np.array(parts.loss.numbers(plan.loss, batches.targets.shape[1], dtype)),
        )
        self._rows = steps.Rows(
            *_as_arrays(batches.inputs, dtype),
            mostly_zero=_is_mostly_zero(batches.inputs, self._layers[0].output_shape()[0]),
            targets=as_read_only(batches.targets),
            weights=as_read_only(np.zeros(0, dtype) if batches.weights is None else batches.weights),
        )
        self._scratch = steps.Scratch(
            inputs=np.zeros(0 if is_sparse(batches.inputs) else n_rows * n_features, dtype),
            targets=np.zeros((n_rows, batches.targets.shape[1]), dtype),
            row_weights=np.zeros(n_rows, dtype),
            entry_columns=np.zeros(n_features, np.int64),
            entries=np.zeros(n_features, dtype),
        )
        arrays = [stack.vector.values, stack.vector.gradients, *parts.states]
        addresses = np.zeros(N_ARRAYS, np.int64)
        addresses[: len(arrays)] = [array.ctypes.data for array in arrays]
        self._optimizer = plan.optimizer
        # If the optimizer has nothing else to prepare before a step, the loop counts the steps itself.
        self._counts_steps = type(plan.optimizer).advance is Optimizer.advance
        self._counter = plan.optimizer.state.get("steps")
        steps_taken = self._counter if self._counts_steps else None
        self._update = steps.Update(
            rule=parts.rule.loop.address(dtype),
            arrays=addresses,
            item_size=dtype.itemsize,
            decay_place=parts.rule.decay_place,
            n_steps=np.zeros(1, np.int64) if steps_taken is None else steps_taken,
            n_penalized=stack.vector.n_penalized,
            l1=parts.l1,
            l2=parts.l2,
            clip_norm=float(plan.clip_norm or 0),
            max_norm=float(plan.max_norm or 0),
            gradient_norm=np.zeros(1),
        )

    @classmethod
    def compile(cls, stack: LayerStack, head: Head, plan: TrainingPlan, batches: ArrayBatches) -> Self | None:
        """Return the program, or None where the steps have to be taken layer by layer."""
        if not _is_for_the_loop(stack, head, batches):
            return None
        parts = _Parts.of(stack, head, plan)
        return None if parts is None else cls(stack, head, plan, batches, parts)

    def is_for(self, stack: LayerStack, head: Head, plan: TrainingPlan, batches: ArrayBatches) -> bool:
        """Whether rows, arrays and settings are still those that the program was made for."""
        parts = _Parts.of(stack, head, plan)
        return (
            parts is not None
            and self._batches is batches
            and self._values is stack.vector.values
            and self._counter is plan.optimizer.state.get("steps")
            and self._parts.numbers == parts.numbers
            and all(mine is other for mine, other in zip(self._parts.states, parts.states, strict=True))
        )

    def run(self, order: IntArray, rates: Array, record: Array) -> Array:
        """Take a step at each rate, on these rows in their order, and return the mean loss of each before its update.

        ``record`` gets the outputs of all rows, or has no rows. Where a loss is not finite it is the last one returned,
        and its update has not been done.
        """
        losses = np.empty(len(rates))
        batch_size = self._batches.batch_size
        state, counted = self._optimizer.state, ("steps", *self._optimizer.scalar_state)
        before = {name: state[name].copy() for name in counted if name in state}
        numbers = self._prepare_steps(rates)
        n_done = self._take_steps(
            self._network, self._rows, self._update, self._scratch, order, batch_size, numbers, losses, record
        )
        if n_done < len(rates) and not self._counts_steps:
            for name, values in before.items():
                state[name][...] = values
            for rate in rates[:n_done].tolist():
                self._optimizer.begin_step(rate)
        last = min(n_done, len(rates) - 1)
        self._show(order[last * batch_size : (last + 1) * batch_size])
        return losses[: last + 1]

    def _prepare_steps(self, rates: Array) -> Array:
        """Return the numbers that the optimizer's rule takes, a row for each step."""
        optimizer, rule = self._optimizer, self._parts.rule
        if self._counts_steps:
            numbers = np.tile(np.array(rule.numbers(optimizer, 0.0, 0)), (len(rates), 1))
            numbers[:, 0], numbers[:, 1] = rates, np.arange(1, len(rates) + 1) + self._update.n_steps[0]
            return numbers
        return np.array([rule.numbers(optimizer, rate, optimizer.begin_step(rate)) for rate in rates.tolist()])

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
        table, outputs = self._network.layers, self._network.outputs
        if is_sparse(self._batches.inputs):
            inputs = self._batches.inputs[rows]
        else:
            inputs = self._scratch.inputs[: len(rows) * table[0, N_IN]].reshape(len(rows), -1)
        for layer, row in zip(self._layers, table, strict=True):
            width, start = row[N_OUT], row[OUTPUT_AT]
            layer.input = inputs
            inputs = layer.output = outputs[start : start + len(rows) * width].reshape(-1, width)


def _is_for_the_loop(stack: LayerStack, head: Head, batches: ArrayBatches) -> bool:
    """Whether the compiled loop knows the layers and the rows, and is the faster way."""
    layers = stack.layers[: head.n_body_layers]
    if kernels.active_set() != "numba" or batches.augmentation is not None or not layers:
        return False
    if len(tabulate_layers(layers, stack.vector, 1)) < len(layers):
        return False
    # The loop checks no bounds; the layers say what is wrong with such rows.
    n_outputs = head.loss.n_outputs(batches.targets.shape[1])
    if batches.inputs.shape[1:] != layers[0].input_shape() or (n_outputs,) != layers[-1].output_shape():
        return False
    multiplications = 3 * batches.batch_size * stack.vector.n_penalized
    return multiplications <= MOST_MULTIPLICATIONS or is_sparse(batches.inputs)


class _Parts(NamedTuple):
    """Loss, optimizer and penalty as the loop knows them: by their very types, for a subclass may differ."""

    loss: TracedLoss
    loss_settings: list[float]
    rule: TracedRule
    rule_settings: list[float]
    states: list[Array]
    l1: float
    l2: float
    activations: list[tuple[TracedActivation, list[float]]]

    @property
    def numbers(self) -> tuple[Any, ...]:
        """All but the arrays."""
        return (*self[:4], *self[5:])

    @classmethod
    def of(cls, stack: LayerStack, head: Head, plan: TrainingPlan) -> _Parts | None:
        """Return the parts of a plan; None where the loop does not know one of them."""
        loss = plan.loss.traced(of_logits=head.activation is not None)
        rule, rates = plan.optimizer.traced(), _rates(plan.penalty)
        if loss is None or rule is None or rates is None or plan.optimizer.needs_loss:
            return None
        settings, states = values_of(plan.optimizer, rule.settings), [plan.optimizer.state[n] for n in rule.state]
        traced = [(layer, layer.traced()) for layer in stack.layers if isinstance(layer, ActivationLayer)]
        activations = [(found, values_of(layer, found.settings)) for layer, found in traced if found is not None]
        loss_settings = values_of(plan.loss, loss.formula.settings)
        return cls(loss, loss_settings, rule, settings, states, *rates, activations)


def _as_arrays(inputs: Inputs, dtype: np.dtype[Any]) -> tuple[Array, Array, IntArray, IntArray]:
    """Return the inputs as the loop takes them: dense rows, and the arrays of a CSR matrix; one of the two is empty."""
    arrays = [inputs, np.zeros(0, dtype), np.zeros(0, np.int32), np.zeros(0, np.int32)]
    if is_sparse(inputs):
        index = np.int32 if inputs.nnz < 2**31 else np.int64
        parts = (part.astype(index, copy=False) for part in (inputs.indices, inputs.indptr))
        arrays = [np.zeros((0, inputs.shape[1]), dtype), inputs.data, *parts]
    dense, data, indices, indptr = (as_read_only(array) for array in arrays)
    return dense, data, indices, indptr


def _is_mostly_zero(inputs: Inputs, n_units: int) -> bool:
    """Whether a look at some rows says that products entry by entry are faster than those of BLAS."""
    if is_sparse(inputs) or inputs.shape[1] < LEAST_INPUTS or n_units < LEAST_UNITS:
        return False
    some = inputs[:: max(1, len(inputs) // ROWS_LOOKED_AT)]
    return bool(np.count_nonzero(some) < DENSITY * some.size)


def _rates(penalty: Penalty | None) -> tuple[float, float] | None:
    """Return the rates of the L1 and the L2 penalty; None for another penalty than these."""
    if type(penalty) not in (type(None), L1, L2, L1L2):
        return None
    match penalty:
        case None:
            return 0.0, 0.0
        case L1L2():
            return float(penalty.l1), float(penalty.l2)
        case L1():
            return float(penalty.rate), 0.0
        case L2():
            return 0.0, float(penalty.rate)
    return None
