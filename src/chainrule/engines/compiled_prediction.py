"""Prediction in compiled code, in chunks of rows, with a check that all inputs are finite."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.arrays import refuse_not_finite
from chainrule.engines.members import split_members
from chainrule.formulas import TraceError
from chainrule.program import NotLoweredError, Operation, Program
from chainrule.stack import LayerStack
from chainrule.threads import team_size
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["predict"]

FEW_ROWS = 4  # at most this number of rows are copied, which takes less time than binding their addresses
ROWS_PER_CHUNK = 2048  # the values of a chunk fit into the processor's cache

_NOT_COMPILED: Any = object()  # None means that the layers cannot be compiled


def predict(stack: LayerStack, inputs: Inputs, *, n_layers: int | None = None) -> Array:
    """Return the outputs of the stack, or of its first layers, for any number of rows, without changing the stack."""
    # The compiled code checks whether the numbers are finite when it reads them.
    rows = stack.check_inputs(inputs, finite=False)
    compiled = _compiled(stack, len(stack.layers[:n_layers]), rows)
    try:
        return _predict_by_layers(stack, rows, n_layers) if compiled is None else compiled.run(rows)
    except FloatingPointError:
        stack.check_inputs(inputs)  # raises an error that names the number
        _predict_by_layers(stack, rows, n_layers)  # a layer may raise an error that describes its input
        raise


def _predict_by_layers(stack: LayerStack, rows: Inputs, n_layers: int | None) -> Array:
    body = stack.layers[:n_layers]
    outputs = np.empty((rows.shape[0], *(body[-1].output_shape() if body else stack.input_shape())), stack.dtype)
    for start in range(0, rows.shape[0], ROWS_PER_CHUNK):
        chunk = rows[start : start + ROWS_PER_CHUNK]
        if not is_sparse(rows):
            refuse_not_finite(chunk)
        outputs[start : start + ROWS_PER_CHUNK] = stack.forward(chunk, n_layers=n_layers)
    return outputs


def _compiled(stack: LayerStack, n_layers: int, rows: Inputs) -> _CompiledPrediction | None:
    """Return the compiled form of the first layers for this thread; None if they must be computed by NumPy."""
    n_rows, sparse = rows.shape[0], is_sparse(rows)
    is_few = n_rows <= FEW_ROWS and not sparse
    capacity = FEW_ROWS if is_few else min(ROWS_PER_CHUNK, 2 ** max(4, (n_rows - 1).bit_length()))
    known: dict[Any, _CompiledPrediction | None] = stack.compiled.__dict__  # the attributes of this thread
    key = (n_layers, sparse, capacity)
    found: _CompiledPrediction | None = known.get(key, _NOT_COMPILED)
    if found is _NOT_COMPILED or (found is not None and not found.is_for(stack)):
        found = known[key] = _CompiledPrediction.of(stack, n_layers, sparse, capacity)
    return found


class _CompiledPrediction:
    """The first layers of a stack as a table of calls, for at most ``capacity`` rows at a time.

    Each thread that predicts has its own object.
    """

    def __init__(self, stack: LayerStack, program: Program, n_layers: int, capacity: int) -> None:
        from chainrule.engines.operations import ROWS_PER_PART, Buffers, Calls, Csr  # this imports Numba
        from chainrule.kernels import rows
        from chainrule.kernels.tape import Placeholder, Split, Tape
        from chainrule.kernels.team import team_of

        self.layers, self.capacity = stack.layers[:n_layers], capacity
        self.output_shape = self.layers[-1].output_shape() if self.layers else stack.input_shape()
        self._few: tuple[Array, Array] | None = None
        dtype, n_in, n_out = stack.dtype, program.input.width, program.output.width
        self._n_threads, self._team_of = team_size() if capacity > FEW_ROWS else 1, team_of
        self.tape = tape = Tape()
        outputs: Any = Placeholder("outputs", capacity * n_out * dtype.itemsize)
        if program.input.is_sparse:
            inputs: Any = Csr(Placeholder("data"), Placeholder("columns"), Placeholder("starts", capacity * 8))
        elif capacity <= FEW_ROWS:
            inputs, outputs = np.zeros(capacity * n_in, dtype), np.zeros(capacity * n_out, dtype)
            self._few = inputs.reshape(capacity, *stack.input_shape()), outputs.reshape(capacity, *self.output_shape)
        else:
            inputs = Placeholder("inputs", capacity * n_in * dtype.itemsize)
        if not program.input.is_sparse:
            split = Split(ROWS_PER_PART, (n_in * dtype.itemsize,))
            tape.call(rows.check_finite(dtype), [inputs], n_in, split=split)
        buffers = Buffers(capacity, dtype)
        locations = {program.input: inputs, **({program.output: outputs} if program.operations else {})}
        self.calls = calls = Calls(tape, buffers, locations, n_threads=self._n_threads)
        shared, groups, results, joined, rest = split_members(program)
        last_reader = {x: op for op in itertools.chain(shared, *groups, rest) for x in op.inputs}

        def append(operations: Sequence[Operation]) -> None:
            for operation in operations:
                calls.forward([operation])
                for x in set(operation.inputs):
                    if last_reader[x] is operation:
                        calls.release(x)

        append(shared)
        for k, (operations, result) in enumerate(zip(groups, results, strict=True)):
            append(operations)
            if len(groups) > 1:
                calls.join(result, k, joined)
                calls.release(result)
        append(rest)
        if not program.operations:
            whole = np.array([n_in, 0, n_in, 0], np.float64)
            tape.call(rows.copy_columns(dtype), [calls.dense(program.input), outputs], n_in, whole)
        self.is_fixed = calls.is_fixed
        self.dtype, self._check = dtype, np.zeros(1)

    @classmethod
    def of(cls, stack: LayerStack, n_layers: int, sparse: bool, capacity: int) -> _CompiledPrediction | None:
        """Return the compiled form, or None if the layers must be computed by NumPy."""
        if kernels.active_set() != "numba":
            return None
        try:
            if n_layers:
                program = Program.of(stack.layers[:n_layers], is_sparse=sparse)
            else:
                program = Program(math.prod(stack.input_shape()), is_training=False, is_sparse=sparse)
            return cls(stack, program, n_layers, capacity)
        except (NotLoweredError, TraceError):
            return None

    def is_for(self, stack: LayerStack) -> bool:
        """Return whether the layers and their formulas have not changed since they were compiled."""
        same = all(own is other for own, other in zip(self.layers, stack.layers, strict=False))
        return same and (self.is_fixed or self.calls.is_current)

    def run(self, rows: Inputs) -> Array:
        """Return the outputs. Raises FloatingPointError if an input is not finite."""
        if not self.is_fixed:
            self.calls.refresh_settings()
        n_rows = rows.shape[0]
        if self._few is not None:
            self._few[0][:n_rows] = rows
            if not self.tape.run(n_rows, self.capacity, 1, self._check):
                raise FloatingPointError("an input is not finite")
            return self._few[1][:n_rows].copy()
        outputs = np.empty((n_rows, *self.output_shape), self.dtype)
        n_chunks = -(-n_rows // self.capacity)
        arrays = {"outputs": outputs}
        if is_sparse(rows):
            columns, starts = rows.indices.astype(np.int32, copy=False), rows.indptr.astype(np.int64, copy=False)
            arrays |= {"data": rows.data, "columns": columns, "starts": starts}
            arrays |= {name: np.empty_like(rows.data) for name in self.calls.entries}
        else:
            arrays["inputs"] = rows
        for name, array in arrays.items():
            self.tape.bind(name, array.ctypes.data)
        if len(self._check) < n_chunks:
            self._check = np.zeros(n_chunks)
        if self.tape.run(n_rows, self.capacity, n_chunks, self._check, self._team_of(self._n_threads)) < n_chunks:
            raise FloatingPointError("an input is not finite")
        return outputs
