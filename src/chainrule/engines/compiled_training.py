"""Training steps in compiled code: gather, forward, loss, backward and update, without Python code between them.

Networks whose layers define their operations and whose loss is a traced formula are trained by this module. If the rule
of the optimizer is traced and the penalty is elementwise, whole steps are compiled. Otherwise, only the gradient is
computed here, and Python code updates the weights. The choice depends on the network and the plan only, so that a run
gives the same bits with and without callbacks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from chainrule import kernels
from chainrule.arrays import aligned_zeros
from chainrule.data.batches import Batch, Portion
from chainrule.engines.base import TrainingPlan
from chainrule.engines.members import split_members, whole_program
from chainrule.formulas import TraceError
from chainrule.head import Head
from chainrule.optimizer import Optimizer
from chainrule.penalties import ElementwisePenalty, Penalty, TracedPenalty
from chainrule.program import N_NOISE_SETTINGS, NotLoweredError, Program
from chainrule.stack import LayerStack
from chainrule.threads import team_size
from chainrule.types import Array, Inputs, IntArray, is_sparse

if TYPE_CHECKING:
    from chainrule.engines.operations import Calls

__all__ = ["CompiledTraining"]

ROW_BYTES = 8  # the size of a row number, an int64


class _Variant(NamedTuple):
    """What a tape does besides computing the gradient."""

    updates: bool
    records: bool
    n_weights: int  # of a row: 0 without sample weights, 1, or one for each member
    decoding: tuple[float, float] | None = None  # of inputs that are stored as bytes


class CompiledTraining:
    """One network and one plan as tables of calls, for batches of at most ``batch_size`` rows.

    Attributes
    ----------
    can_update
        Whether compiled code can take whole steps, and not only compute gradients.
    gradient_norm
        The norm of the gradient of the last step before clipping; None without clipping.
    outputs
        The outputs of the network's body for the last batch, before its update.
    """

    def __init__(
        self,
        stack: LayerStack,
        head: Head,
        plan: TrainingPlan,
        averages: Sequence[Array],
        program: Program,
        batch_size: int,
        n_targets: int,
    ) -> None:
        self.averages = averages
        self.stack, self.head, self.plan, self.program = stack, head, plan, program
        self.layers = stack.layers[: head.n_body_layers]
        self.batch_size, self.n_targets = batch_size, n_targets
        self.values, self.states = stack.vector.values, dict(plan.optimizer.state)
        dtype = stack.dtype
        loss = head.traced()
        if loss is None:
            raise TraceError("The loss cannot be traced.")
        self.loss, self.rule = loss, plan.optimizer.traced()
        self.penalties = _traced_penalties(plan)
        adds_loss = plan.optimizer.needs_loss or plan.vat_epsilon > 0
        self.can_update = self.rule is not None and not adds_loss and None not in self.penalties
        self._inputs = aligned_zeros(0 if program.input.is_sparse else batch_size * program.input.width, dtype)
        self._starts = np.zeros(batch_size + 1, np.int64)
        self._targets = np.zeros((batch_size, n_targets), dtype)
        self._row_weights = np.zeros(batch_size * head.n_members, dtype)
        self._norm = np.zeros(1)
        self.n_threads = team_size()
        self._arrays: list[Array] = []  # the buffers for values and errors, which all tapes share
        self._tapes: dict[_Variant, tuple[Any, Calls]] = {}
        self._source: _Source | None = None
        self._bound: dict[str, Array] = {}
        self.gradient_norm: float | None = None
        self.outputs = np.zeros((0, program.output.width), dtype)

    @classmethod
    def of(
        cls,
        stack: LayerStack,
        head: Head,
        plan: TrainingPlan,
        averages: Sequence[Array],
        inputs: Inputs,
        targets: Array,
        batch_size: int,
    ) -> Self | None:
        """Return the compiled form for such data, or None if the network must be computed by its layers.

        ``averages`` contains the moving average of the weights if the plan has one.
        """
        layers = stack.layers[: head.n_body_layers]
        if kernels.active_set() != "numba" or not layers or not stack.vector.size:
            return None
        n_outputs = head.loss.n_outputs(targets.shape[1])
        shape = (n_outputs,) if head.average is None else (head.n_members, n_outputs)
        if inputs.shape[1:] != layers[0].input_shape() or layers[-1].output_shape() != shape:
            return None  # the layers raise an error that describes the rows
        try:
            program = Program.of(layers, is_training=True, is_sparse=is_sparse(inputs))
            training = cls(stack, head, plan, averages, program, batch_size, targets.shape[1])
            training._tape(_Variant(training.can_update, False, 0))  # may raise NotLoweredError
        except (NotLoweredError, TraceError):
            return None
        return training

    def fits(self, inputs: Inputs, targets: Array, batch_size: int, *, is_alone: bool) -> bool:
        """Return whether network, plan and settings have not changed, and batches of this size can be computed.

        A single batch may be smaller than ``batch_size``. With several batches, the tables determine their positions.
        """
        state = self.plan.optimizer.state
        return (
            (batch_size == self.batch_size or (is_alone and batch_size < self.batch_size))
            and targets.shape[1] == self.n_targets
            and inputs.shape[1:] == self.layers[0].input_shape()
            and is_sparse(inputs) == self.program.input.is_sparse
            and self.values is self.stack.vector.values
            and self.states.keys() == state.keys()
            and all(self.states[name] is array for name, array in state.items())
            and self.loss is self.head.traced()
            and self.rule is self.plan.optimizer.traced()
            and self.penalties == _traced_penalties(self.plan)
            and all(calls.is_current for _, calls in self._tapes.values())
        )

    def take_steps(self, portion: Portion, rates: Array, *, records: bool) -> tuple[Array, Array]:
        """Take a step on every batch of a portion, at the given learning rates.

        Returns the mean loss of each step before its update, and the outputs of all rows if ``records`` is True. The
        steps end at a loss that is not finite: it is the last one returned, and its update is not made.
        """
        batches, epoch, first_batch, _ = portion
        rows, losses = portion.rows, np.empty(len(rates))
        outputs = np.empty((len(rows) if records else 0, *self.layers[-1].output_shape()), self.stack.dtype)
        source = self._source_of(batches.inputs, batches.targets, batches.weights, encodes=True)
        from chainrule.kernels.team import team_of

        optimizer, state = self.plan.optimizer, self.plan.optimizer.state
        counters = ("steps", *optimizer.scalar_state)
        before = {name: state[name].copy() for name in counters if name in state}
        arrays = {"record": outputs, "order": rows, **self._rule_numbers(rates)}
        variant = _Variant(True, records, _n_weights(batches.weights), source.decoding)
        tape = self._bind(variant, source, (epoch, first_batch), len(rates), arrays)
        n_done = tape.run(len(rows), batches.batch_size, len(rates), losses, team_of(self.n_threads))
        last = min(n_done, len(rates) - 1)
        self._finish(variant, rows, batches.batch_size, (epoch, first_batch + n_done), last)
        if n_done < len(rates):
            for name, values in before.items():
                state[name][...] = values
            for rate in rates[:n_done].tolist():
                optimizer.begin_step(rate)
        self.gradient_norm = float(self._norm[0]) if self.plan.clips else None
        return losses[: n_done + 1], outputs

    def compute_gradient(self, batch: Batch, epoch: int, step: int) -> float:
        """Write the gradient of the mean loss over a batch to the network's gradients, and return this loss."""
        from chainrule.kernels.team import team_of

        source, rows, losses = self._source_of(*batch), np.arange(batch.n_rows), np.empty(1)
        variant = _Variant(False, False, _n_weights(batch.weights), source.decoding)
        tape = self._bind(variant, source, (epoch, step), 1, {"order": rows})
        n_done = tape.run(batch.n_rows, batch.n_rows, 1, losses, team_of(self.n_threads))
        self._finish(variant, rows, batch.n_rows, (epoch, step + n_done), 0)
        return float(losses[0])

    def _bind(
        self, variant: _Variant, source: _Source, first: tuple[int, int], n_steps: int, arrays: dict[str, Array]
    ) -> Any:
        """Return a tape that is bound to the arrays of its next run."""
        tape, calls = self._tape(variant)
        noise = {name: _noise_settings(op, n_steps, *first) for op, name in calls.noise}
        entries = {name: source.entries(name) for name in calls.entries}
        self._bound = {**source.arrays, **arrays, **noise, **entries}  # the tape has only their addresses
        for name, array in self._bound.items():
            tape.bind(name, array.ctypes.data)
        calls.refresh_settings()
        return tape

    def _finish(self, variant: _Variant, rows: IntArray, batch_size: int, position: tuple[int, int], last: int) -> None:
        """Set the position of the next noise (epoch and step), and the last batch in the layers, after a run."""
        _, calls = self._tape(variant)
        for operation, _ in calls.noise:
            operation.source.epoch, operation.source.step = position
        self._set_last_batch(calls, rows[last * batch_size : (last + 1) * batch_size])

    def _tape(self, variant: _Variant) -> tuple[Any, Calls]:
        if variant not in self._tapes:
            self._tapes[variant] = self._build(variant)
        return self._tapes[variant]

    def _build(self, variant: _Variant) -> tuple[Any, Calls]:
        """Return a tape, and its calls of operations."""
        from chainrule.engines.operations import Buffers, Calls  # this imports Numba
        from chainrule.kernels import rows
        from chainrule.kernels.tape import Placeholder, Tape

        program, dtype, tape = self.program, self.stack.dtype, Tape()
        order = Placeholder("order", self.batch_size * ROW_BYTES)
        n_out = program.output.width
        inputs = self._gather_inputs(tape, order, variant.decoding)
        tape.call(rows.gather(dtype), [Placeholder("targets"), order, self._targets], self.n_targets)
        n_members, members = self.head.n_members, split_members(program)
        if members.rest or len(members.groups) != n_members:
            members = whole_program(program)
        n_groups, per_row = len(members.groups), n_members // len(members.groups)
        steps = (1, self.batch_size) if n_groups > 1 else (n_members, 1)  # from row to row, and from member to member
        shapes = np.array([variant.n_weights, n_members, *steps], np.float64)
        tape.call(rows.gather_weights(dtype), [Placeholder("weights"), order, self._row_weights], 1, shapes)
        buffers = Buffers(self.batch_size, dtype, self._arrays)
        calls = Calls(tape, buffers, {program.input: inputs}, n_threads=self.n_threads)
        settings = np.array(self.loss.numbers(self.plan.loss, self.n_targets, dtype))
        targets = self._targets
        if per_row > 1:  # the loss is computed for each member of an ensemble
            targets, n_repeated = buffers.acquire(n_members * self.n_targets), n_members * self.n_targets
            columns, width = np.arange(n_repeated) % self.n_targets, np.array([float(self.n_targets)])
            tape.call(rows.select(dtype), [self._targets, columns, targets], n_repeated, width)
        calls.forward(members.shared)
        for k, (operations, output) in enumerate(zip(members.groups, members.outputs, strict=True)):
            calls.forward(operations)
            predicted, error = calls.dense(output), buffers.acquire(output.width)
            arrays = [targets, predicted, self._row_weights[k * self.batch_size :], error]
            loss, n_columns = self.loss.loop.address(dtype), n_out // n_members
            tape.call(loss, arrays, n_columns, settings, per_row=per_row, adds_result=True)
            if n_groups > 1:
                calls.join(output, k, program.output)
            calls.errors[output] = error
            calls.backward(len(operations), releases=n_groups > 1)
        calls.backward(len(members.shared))
        calls.cancel(program.cancelled_offsets())
        if variant.records:
            whole = np.array([n_out, 0, n_out, 0], np.float64)
            record = Placeholder("record", self.batch_size * n_out * dtype.itemsize)
            tape.call(rows.copy_columns(dtype), [calls.dense(program.output), record], n_out, whole)
        if variant.updates:
            self._append_update(tape)
        return tape, calls

    def _gather_inputs(self, tape: Any, order: Any, decoding: tuple[float, float] | None) -> Any:
        """Append the call that gathers the inputs of a batch; return their location."""
        from chainrule.engines.operations import ROWS_PER_PART, Csr
        from chainrule.kernels import rows
        from chainrule.kernels.tape import Placeholder, Split

        dtype, n_in = self.stack.dtype, self.program.input.width
        if self.program.input.is_sparse:
            source = [Placeholder(name) for name in ("data", "columns", "starts")]
            entries = Csr(Placeholder("batch data"), Placeholder("batch columns"), self._starts)
            tape.call(rows.gather_csr(dtype), [*source, order, *entries], n_in)
            return entries
        arrays = [Placeholder("inputs"), order, self._inputs]
        split = Split(ROWS_PER_PART, (0, ROW_BYTES, n_in * dtype.itemsize))
        if decoding is None:
            tape.call(rows.gather(dtype), arrays, n_in, split=split)
        else:
            tape.call(rows.gather_bytes(dtype), arrays, n_in, np.array(decoding), split=split)
        return self._inputs

    def _append_update(self, tape: Any) -> None:
        """Append penalty, clipping, the optimizer's step, and the limit on the norms of the weights."""
        from chainrule.engines.operations import NUMBERS_PER_PART
        from chainrule.kernels import statistics
        from chainrule.kernels.tape import Placeholder, Split

        plan, vector, dtype = self.plan, self.stack.vector, self.stack.dtype
        for traced, (part, penalty) in zip(self.penalties, _parts_of(plan.penalty), strict=True):
            assert traced is not None
            arrays = [vector.penalized_values[part], vector.penalized_gradients[part]]
            settings = np.array(traced.numbers(penalty))
            tape.call(traced.loop.address(dtype), arrays, len(arrays[0]), settings, n_rows=1, per_row=0)
        for part in vector.frozen:
            size = np.array([float(part.stop - part.start)])
            tape.call(statistics.zero_if_several(dtype), [vector.gradients[part]], 1, size, n_rows=2, per_row=0)
        if plan.clips:
            bounds = np.array([math.inf if bound is None else bound for bound in (plan.clip_norm, plan.clip_value)])
            arrays = [vector.gradients, self._norm]
            tape.call(statistics.clip(dtype), arrays, vector.size, bounds, n_rows=1, per_row=0)
        assert self.rule is not None
        arrays = [vector.values, vector.gradients, *(plan.optimizer.state[name] for name in self.rule.state)]
        stride = len(self.rule.numbers(plan.optimizer, 0.0, 0)) * 8
        for part, decays, factor in plan.optimizer.parts():
            numbers = Placeholder(_name_of_numbers(decays, factor), stride)
            parts = [array[part] for array in arrays]
            size = part.stop - part.start
            split = Split(NUMBERS_PER_PART, (dtype.itemsize,) * len(parts), by_columns=True)
            loop = self.rule.loop
            tape.call(loop.address(dtype), parts, size, numbers, n_rows=1, per_row=0, split=split)
        if plan.max_norm is not None:
            bound = np.array([float(plan.max_norm)])
            limited = [block for block in vector.blocks if block.penalized and block.rate_factor]
            for matrix in (matrix for block in limited for matrix in block.matrices(vector.values)):
                n_rows, n_columns = matrix.shape
                arrays = [matrix, np.zeros(n_columns)]
                tape.call(statistics.limit_column_norms(dtype), arrays, n_columns, bound, n_rows=n_rows, per_row=0)
        if plan.ema_decay is not None:
            arrays, share = [*self.averages, vector.values], np.array([1 - plan.ema_decay])
            tape.call(statistics.average(dtype), arrays, vector.size, share, n_rows=1, per_row=0)

    def _rule_numbers(self, rates: Array) -> dict[str, Array]:
        """Return the numbers that the optimizer's rule takes in each step, for each group of parts of the vector."""
        optimizer, rule = self.plan.optimizer, self.rule
        assert rule is not None
        steps = optimizer.state.get("steps")
        if type(optimizer).advance is Optimizer.advance:  # the rule needs only the rate and the step number
            numbers = np.tile(np.array(rule.numbers(optimizer, 0.0, 0)), (len(rates), 1))
            first = 0 if steps is None else int(steps[0])
            numbers[:, 0], numbers[:, 1] = rates, np.arange(1, len(rates) + 1) + first
            if steps is not None:
                steps += len(rates)
        else:
            prepared = [rule.numbers(optimizer, rate, optimizer.begin_step(rate)) for rate in rates.tolist()]
            numbers = np.array(prepared)
        groups = {}
        for _, decays, factor in optimizer.parts():
            group_numbers = groups[_name_of_numbers(decays, factor)] = numbers.copy()
            group_numbers[:, 0] *= factor
            if not decays:
                group_numbers[:, rule.decay_index] = 0.0
        return groups

    def _source_of(self, inputs: Inputs, targets: Array, weights: Array | None, *, encodes: bool = False) -> _Source:
        if self._source is None or not self._source.is_of(inputs, targets, weights):
            self._source = _Source(inputs, targets, weights, self.batch_size, self.stack.dtype, encodes)
        return self._source

    def _set_last_batch(self, calls: Calls, last_rows: IntArray) -> None:
        """Set the attributes ``input`` and ``output`` of the layers, as their forward propagation does.

        The values of members that are computed one after another are overwritten; they are None.
        """
        n_rows = len(last_rows)
        values: list[Any] = []
        for value, shape in zip(
            self.program.layer_values,
            [self.stack.input_shape(), *(layer.output_shape() for layer in self.layers)],
            strict=True,
        ):
            location = calls.locations.get(value)
            if location is None:
                values.append(None)
            elif isinstance(location, np.ndarray):
                values.append(location[: n_rows * value.width].reshape(n_rows, *shape))
            else:
                values.append(self._source.rows(last_rows) if self._source is not None else None)
        for layer, inputs, outputs in zip(self.layers, values[:-1], values[1:], strict=True):
            layer.input, layer.output = inputs, outputs
        self.outputs = values[-1]


def _n_weights(weights: Array | None) -> int:
    return 0 if weights is None else weights.size // len(weights)


def _name_of_numbers(decays: bool, rate_factor: float) -> str:
    return f"numbers with decay {decays} and factor {rate_factor}"


def _parts_of(penalty: Penalty | None) -> Sequence[tuple[slice, Penalty]]:
    return () if penalty is None else penalty.parts()


def _traced_penalties(plan: TrainingPlan) -> list[TracedPenalty | None]:
    """Return the parts of the penalty as compiled loops; None for one that cannot be traced."""
    return [one.traced() if isinstance(one, ElementwisePenalty) else None for _, one in _parts_of(plan.penalty)]


class _Source:
    """The arrays that batches are gathered from, contiguous and in the network's dtype, as compiled code needs them."""

    def __init__(
        self,
        inputs: Inputs,
        targets: Array,
        weights: Array | None,
        batch_size: int,
        dtype: np.dtype[Any],
        encodes: bool,
    ) -> None:
        self._given = (inputs, targets, weights)
        self.arrays = {"targets": np.ascontiguousarray(targets, dtype)}
        if weights is not None:
            self.arrays["weights"] = np.ascontiguousarray(weights, dtype)
        self.n_entries, self.decoding = 0, None
        if is_sparse(inputs):
            starts = inputs.indptr.astype(np.int64, copy=False)
            capacity = self.n_entries = int(np.sort(np.diff(starts))[-batch_size:].sum())
            self.arrays |= {
                "data": np.ascontiguousarray(inputs.data, dtype),
                "columns": inputs.indices.astype(np.int32, copy=False),
                "starts": starts,
                "batch data": np.zeros(capacity, dtype),
                "batch columns": np.zeros(capacity, np.int32),
            }
        else:
            self.arrays["inputs"] = np.ascontiguousarray(inputs, dtype)
            if encodes:
                self.arrays["inputs"], self.decoding = _encode(self.arrays["inputs"])

    def is_of(self, inputs: Inputs, targets: Array, weights: Array | None) -> bool:
        """Return whether this object was created from these arrays."""
        return all(own is other for own, other in zip(self._given, (inputs, targets, weights), strict=True))

    def entries(self, name: str) -> Array:
        """Return a buffer for the entries of a matrix that is computed from a batch of a CSR matrix."""
        if name not in self.arrays:
            self.arrays[name] = np.zeros(self.n_entries, self.arrays["targets"].dtype)
        return self.arrays[name]

    def rows(self, numbers: IntArray) -> Inputs:
        """Return rows of the inputs."""
        return self._given[0][numbers]


def _noise_settings(operation: Any, n_steps: int, epoch: int, first_step: int) -> Array:
    """Return the settings of the noise of each step."""
    settings = np.empty((n_steps, N_NOISE_SETTINGS))
    settings[:, :2], settings[:, 2] = operation.source.key, epoch
    settings[:, 3] = first_step + np.arange(n_steps)
    settings[:, 4:] = operation.kind == "normal", operation.first_column, operation.row_width
    return settings


# The factors and divisors that are tried for storing numbers as bytes: each number must be exactly the factor times its
# byte or, if the divisor is not 0, its byte divided by the divisor.
_DECODINGS = ((1.0, 0.0), (1 / 255, 0.0), (1 / 255, 255.0), (1 / 16, 0.0))
_SAMPLED_ROWS = 64  # the number of rows that are tried first


def _encode(inputs: Array) -> tuple[Array, tuple[float, float] | None]:
    """Return the inputs as bytes, and how they are decoded, or the inputs and None.

    Pixels are often numbers of one byte. If they are stored as bytes, gathering the rows of a batch reads a quarter of
    the memory. All numbers are verified.
    """
    from chainrule.formulas.calls import call_arrays
    from chainrule.kernels.rows import encode

    n_rows, width = len(inputs), math.prod(inputs.shape[1:])
    row = np.zeros(width, inputs.dtype)

    def encoded(rows: Array, factor: float, divisor: float) -> Array | None:
        codes = np.empty(rows.shape, np.uint8)
        settings, rest = np.array([factor, divisor, round(1 / factor)]), [row] * 5
        failed = call_arrays(encode(inputs.dtype), rows, codes, row, *rest, len(rows), width, settings)
        return None if math.isnan(failed) else codes

    sample = np.ascontiguousarray(inputs[:: max(1, n_rows // _SAMPLED_ROWS)])
    for decoding in _DECODINGS if width > 1 else ():
        scaled = sample / decoding[0]
        is_near = (scaled > -0.5) & (scaled < 255.5) & (np.abs(scaled - np.rint(scaled)) < 1e-3)
        if is_near.all() and encoded(sample, *decoding) is not None:
            codes = encoded(inputs, *decoding)
            return (inputs, None) if codes is None else (codes, decoding)
    return inputs, None
