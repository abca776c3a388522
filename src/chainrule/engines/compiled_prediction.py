"""Prediction in compiled code, chunk by chunk, with a check of every number that comes in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule import kernels
from chainrule.arrays import refuse_not_finite
from chainrule.formulas import TraceError
from chainrule.program import NotLoweredError, Program
from chainrule.stack import LayerStack, check_inputs
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["predict"]

FEW_ROWS = 4  # so few are multiplied entry by entry: every weight is read once, and those behind zeros are left out
ROWS_A_CHUNK = 2048  # rows of a chunk, whose values stay in the cache

_UNKNOWN: Any = object()  # for what has not been compiled yet, where None says that it cannot be


def predict(stack: LayerStack, inputs: Inputs, *, n_layers: int | None = None) -> Array:
    """Return the outputs of the stack, or of its first layers, for any number of rows; nothing in it is changed."""
    # Whether the numbers are finite is looked at where they are used, while they lie in the cache.
    rows = check_inputs(inputs, stack.dtype, stack.input_shape(), finite=False)
    compiled = _compiled(stack, len(stack.layers[:n_layers]), rows)
    try:
        return _predict_by_layers(stack, rows, n_layers) if compiled is None else compiled.run(rows)
    except FloatingPointError:
        check_inputs(inputs, stack.dtype, stack.input_shape())  # says which number it is
        _predict_by_layers(stack, rows, n_layers)  # or a layer says what is wrong with it
        raise


def _predict_by_layers(stack: LayerStack, rows: Inputs, n_layers: int | None) -> Array:
    body = stack.layers[:n_layers]
    outputs = np.empty((rows.shape[0], *(body[-1].output_shape() if body else stack.input_shape())), stack.dtype)
    for start in range(0, rows.shape[0], ROWS_A_CHUNK):
        chunk = rows[start : start + ROWS_A_CHUNK]
        if not is_sparse(rows):
            refuse_not_finite(chunk)
        outputs[start : start + ROWS_A_CHUNK] = stack.forward(chunk, n_layers=n_layers)
    return outputs


def _compiled(stack: LayerStack, n_layers: int, rows: Inputs) -> _CompiledPrediction | None:
    """Return the compiled form of the first layers for this thread; None where they are computed one by one."""
    n_rows, sparse = rows.shape[0], is_sparse(rows)
    is_few = n_rows <= FEW_ROWS and not sparse
    capacity = FEW_ROWS if is_few else min(ROWS_A_CHUNK, 2 ** max(4, (n_rows - 1).bit_length()))
    known: dict[Any, _CompiledPrediction | None] = stack.compiled.__dict__  # of this thread, and gone with it
    key = (n_layers, sparse, capacity)
    found: _CompiledPrediction | None = known.get(key, _UNKNOWN)
    if found is _UNKNOWN or (found is not None and not found.is_for(stack)):
        found = known[key] = _CompiledPrediction.of(stack, n_layers, sparse, capacity)
    return found


class _CompiledPrediction:
    """The first layers of a stack as a table of calls, for chunks of at most ``capacity`` rows, in one thread."""

    def __init__(self, stack: LayerStack, program: Program, n_layers: int, capacity: int) -> None:
        from chainrule.engines.operations import Buffers, Calls, Csr  # which imports Numba
        from chainrule.kernels import rows
        from chainrule.kernels.tape import Placeholder, Tape

        self.layers, self.capacity = stack.layers[:n_layers], capacity
        self.output_shape = self.layers[-1].output_shape() if self.layers else stack.input_shape()
        # Few rows are copied, which takes less time than to say where they lie.
        self._few: tuple[Array, Array] | None = None
        dtype, n_in, n_out = stack.dtype, program.input.width, program.output.width
        self.tape = tape = Tape()
        outputs: Any = Placeholder("outputs", capacity * n_out * dtype.itemsize)
        if program.input.is_sparse:
            place: Any = Csr(Placeholder("data"), Placeholder("columns"), Placeholder("starts", capacity * 8))
        elif capacity <= FEW_ROWS:
            place, outputs = np.zeros(capacity * n_in, dtype), np.zeros(capacity * n_out, dtype)
            self._few = place.reshape(capacity, *stack.input_shape()), outputs.reshape(capacity, *self.output_shape)
        else:
            place = Placeholder("inputs", capacity * n_in * dtype.itemsize)
        if not program.input.is_sparse:
            tape.call(rows.check_finite(dtype), [place], n_in)
        buffers = Buffers(capacity, dtype)
        locations = {program.input: place, **({program.output: outputs} if program.operations else {})}
        self.calls = calls = Calls(tape, buffers, locations, mostly_zero=capacity <= FEW_ROWS)
        last_reader = {x: k for k, operation in enumerate(program.operations) for x in operation.inputs}
        for k, operation in enumerate(program.operations):
            calls.forward(operation)
            for x in set(operation.inputs):
                if last_reader[x] == k and isinstance(calls.locations[x], np.ndarray):
                    buffers.release(calls.locations[x])  # type: ignore[arg-type]
        if not program.operations:
            whole = np.array([n_in, 0, n_in, 0], np.float64)
            tape.call(rows.copy_columns(dtype), [calls.dense(program.input), outputs], n_in, whole)
        self.is_fixed = calls.is_fixed
        self.dtype, self._check = dtype, np.zeros(1)

    @classmethod
    def of(cls, stack: LayerStack, n_layers: int, sparse: bool, capacity: int) -> _CompiledPrediction | None:
        """Return the compiled form, or None where the layers compute."""
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
        """Whether the layers and their formulas are still those that this was made from."""
        same = all(own is other for own, other in zip(self.layers, stack.layers, strict=False))
        return same and (self.is_fixed or self.calls.is_current)

    def run(self, rows: Inputs) -> Array:
        """Return the outputs. Raises FloatingPointError for a number that is not finite."""
        if not self.is_fixed:
            self.calls.refresh_settings()
        n_rows = rows.shape[0]
        if self._few is not None:
            self._few[0][:n_rows] = rows
            if not self.tape.run(n_rows, self.capacity, 1, 0, self._check):
                raise FloatingPointError("a number is not finite")
            return self._few[1][:n_rows].copy()
        outputs = np.empty((n_rows, *self.output_shape), self.dtype)
        n_chunks = -(-n_rows // self.capacity)
        arrays = {"outputs": outputs}
        if is_sparse(rows):
            columns, starts = rows.indices.astype(np.int32, copy=False), rows.indptr.astype(np.int64, copy=False)
            arrays |= {"data": rows.data, "columns": columns, "starts": starts}
        else:
            arrays["inputs"] = rows
        for name, array in arrays.items():
            self.tape.bind(name, array.ctypes.data)
        if len(self._check) < n_chunks:
            self._check = np.zeros(n_chunks)
        if self.tape.run(n_rows, self.capacity, n_chunks, -1 if is_sparse(rows) else 0, self._check) < n_chunks:
            raise FloatingPointError("a number is not finite")
        return outputs
