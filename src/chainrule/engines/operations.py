"""The operations of a program as calls of compiled functions, for the forward and the backward pass.

:class:`Calls` appends the calls of each operation to a :class:`~chainrule.kernels.tape.Tape`, and allocates the memory
of the values and of their errors, dL/d(value).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from chainrule.arrays import aligned_zeros
from chainrule.kernels import products, rows, statistics
from chainrule.kernels.matrices import product
from chainrule.kernels.tape import Placeholder, Split, Tape
from chainrule.kernels.vectors import VECTOR_BYTES
from chainrule.program import (
    N_NOISE_SETTINGS,
    Affine,
    ArrayReference,
    BatchNormalize,
    Concatenate,
    Lookup,
    Map,
    Noise,
    NotLoweredError,
    Operation,
    Select,
    Value,
)
from chainrule.types import Array

__all__ = ["Buffers", "Calls", "Csr", "Location"]

# The sizes of the smallest parts of a call that threads compute at the same time: rows, inputs and outputs of a
# product, and numbers of a formula.
ROWS_PER_PART, INPUTS_PER_PART, OUTPUTS_PER_PART, NUMBERS_PER_PART = 32, 32, 128, 8192
# A forward product with at least MIN_OUTPUTS outputs and at most MAX_ROWS rows is divided by outputs instead of rows.
MIN_OUTPUTS, MAX_ROWS = 256, 128
VECTORS_OF_LOOPS = 256  # a multiple of the numbers that a compiled loop computes at a time

# Appends the calls that compute the gradients of an operation and the errors of its inputs from dL/d(output).
Backward: TypeAlias = "Callable[[Array], None]"


class Csr(NamedTuple):
    """The arrays of a CSR matrix: its entries, their columns (int32), and the starts of the rows (int64)."""

    data: Array | Placeholder
    columns: Array | Placeholder
    starts: Array | Placeholder


Location: TypeAlias = "Array | Placeholder | Csr"


class Buffers:
    """Flat arrays for values of ``n_rows`` rows; an array that is released is used again.

    ``arrays`` has the arrays that exist already, which are free; new arrays are appended to this list.
    """

    def __init__(self, n_rows: int, dtype: np.dtype[Any], arrays: list[Array] | None = None) -> None:
        self.n_rows, self.dtype = n_rows, dtype
        self._arrays = [] if arrays is None else arrays
        self._free = list(self._arrays)

    def acquire(self, width: int) -> Array:
        """Return an array for rows of ``width`` numbers."""
        size = self.n_rows * width + 3  # noise is written in blocks of four numbers
        fitting = [array for array in self._free if array.size >= size]
        if not fitting:
            self._arrays.append(aligned_zeros(size, self.dtype))
            return self._arrays[-1]
        best = min(fitting, key=lambda array: array.size)
        self._free = [array for array in self._free if array is not best]
        return best

    def release(self, array: Array) -> None:
        """Free an array that is not read any more."""
        self._free.append(array)


class Calls:
    """The calls of a program, appended to a tape.

    Parameters
    ----------
    tape
        The tape.
    buffers
        The arrays for values and errors.
    locations
        The memory of the program's input, and of other values that have memory already. The other values are added.
    n_threads
        The number of threads that may compute parts of a call at the same time.
    to_input
        Whether the backward pass also computes the error of the input.

    Attributes
    ----------
    errors
        The arrays of dL/d(value) that the backward pass begins with, and has computed so far.
    noise
        The noise operations, each with the name of the placeholder of its settings.
    entries
        The names of the placeholders for one number per entry of the input, which is a CSR matrix.
    """

    def __init__(
        self,
        tape: Tape,
        buffers: Buffers,
        locations: dict[Value, Location],
        *,
        n_threads: int = 1,
        to_input: bool = False,
    ) -> None:
        self.tape, self.buffers, self.locations = tape, buffers, locations
        self.dtype, self.n_threads = buffers.dtype, n_threads
        self.noise: list[tuple[Noise, str]] = []
        self.entries: list[str] = []
        self._formulas: list[tuple[Map, Array]] = []
        self.errors: dict[Value, Array] = {}
        self._needing_error: set[Value] = set(locations) if to_input else set()
        self._with_gradient: set[ArrayReference] = set()  # parameters whose gradient is written
        self._forward: list[tuple[Operation, Backward]] = []  # whose backward pass has not been appended

    def forward(self, operations: Sequence[Operation]) -> None:
        """Append the calls that compute the outputs of operations."""
        for operation in operations:
            is_trained = any(array.is_trained for array in operation.arrays)
            needs_error = is_trained or any(x in self._needing_error for x in operation.inputs)
            if needs_error and not isinstance(operation, Noise):
                self._needing_error.add(operation.output)
            self._forward.append((operation, self._append(operation)))

    def _append(self, operation: Operation) -> Backward:
        """Append the calls of an operation; return the function that appends those of its backward pass."""
        match operation:
            case Affine():
                return self._affine(operation)
            case Map():
                return self._map(operation)
            case BatchNormalize():
                return self._batch_normalize(operation)
            case Noise():
                return self._noise(operation)
            case Lookup():
                return self._lookup(operation)
            case Select():
                return self._select(operation)
            case Concatenate():
                return self._concatenate(operation)
        raise NotLoweredError(f"Compiled code has no operation {type(operation).__name__}.")

    def backward(self, n_operations: int, *, releases: bool = False) -> None:
        """Append the backward pass of the last operations, from :attr:`errors` to the gradients of their parameters.

        With ``releases``, the outputs of the operations are not read any more.
        """
        for _ in range(n_operations):
            operation, backward = self._forward.pop()
            x = operation.output
            if x in self.errors and x in self._needing_error:
                for array in operation.arrays:
                    if array.is_trained and array in self._with_gradient:
                        raise NotLoweredError("Compiled code writes the gradient of a parameter for one operation.")
                    self._with_gradient.add(array)
                backward(self.errors[x])
                self.buffers.release(self.errors.pop(x))
            if releases:
                self.release(x)

    def join(self, part: Value, k: int, whole: Value) -> None:
        """Copy the result of member k of an ensemble to its columns of the value of all members."""
        if whole not in self.locations:
            self.locations[whole] = self.buffers.acquire(whole.width)
        settings = np.array([part.width, 0, whole.width, k * part.width], np.float64)
        self._call(rows.copy_columns, [self.dense(part), self.locations[whole]], part.width, settings)

    def cancel(self, offsets: Sequence[ArrayReference]) -> None:
        """Append calls that set the gradients of :meth:`Program.cancelled_offsets` to 0."""
        for offset in offsets:
            size = np.array([float(offset.gradient.size)])
            self._call(statistics.zero_if_several, [offset.gradient], 1, size)

    def release(self, x: Value) -> None:
        """Free the array of a value that is not read any more."""
        location = self.locations[x]
        if isinstance(location, np.ndarray):
            self.buffers.release(location)

    def refresh_settings(self) -> None:
        """Update the settings of the formulas."""
        for operation, settings in self._formulas:
            settings[...] = operation.numbers()

    @property
    def is_fixed(self) -> bool:
        """Whether the formulas depend on nothing that can be set, so that they never change."""
        return all(op.owner is None or getattr(op.owner, "is_fixed", False) for op, _ in self._formulas)

    @property
    def is_current(self) -> bool:
        """Whether the formulas have not changed since the operations were created."""
        return all(operation.is_current for operation, _ in self._formulas)

    def _affine(self, operation: Affine) -> Backward:
        """Append the products of all parts of the input: one product for each group of parts with the same weights."""
        (x,), w, b = operation.inputs, operation.weights, operation.biases
        n_inputs, n_outputs = w.values.shape[-2:]
        n_groups = operation.n_parts if operation.is_separate else 1
        location = self.locations[x] if operation.n_parts == 1 else self.dense(x)
        if isinstance(location, Csr):
            return self._affine_csr(operation, location)
        size = self.dtype.itemsize
        if n_groups > 1 and isinstance(location, Placeholder):  # the addresses of the groups must be known
            location = self._copy(location, self.buffers.acquire(x.width), x.width)
        x_stride, z_stride, n_weights = n_inputs * n_groups, n_outputs * n_groups, n_inputs * n_outputs
        settings = np.array([n_inputs, x_stride, z_stride, n_outputs], np.float64)
        biases, z = np.zeros((n_groups, n_outputs), self.dtype) if b is None else b.values, self._output(operation)
        written = self.buffers.acquire(operation.output.width) if n_groups > 1 and isinstance(z, Placeholder) else z
        weights = (w.values, n_weights, 0)
        if n_outputs >= MIN_OUTPUTS and self.buffers.n_rows * operation.n_parts // n_groups <= MAX_ROWS:
            given = [(location, n_inputs, 0), (w.values, n_weights, size), (biases, n_outputs, size)]
            given, part = [*given, (written, n_outputs, size)], OUTPUTS_PER_PART
        else:
            given = [(location, n_inputs, size * x_stride), weights, (biases, n_outputs, 0)]
            given, part = [*given, (written, n_outputs, size * z_stride)], 0
        self._call_groups(operation, products.affine, settings, n_outputs, *given, part=part)
        if written is not z:
            self._copy(written, z, operation.output.width)

        def backward(error: Array) -> None:
            numbers = np.array([n_outputs, x_stride, z_stride, n_inputs], np.float64)
            gradient = (w.gradient, n_weights, size * n_outputs)
            read, errors = (location, n_inputs, size), (error, n_outputs, 0)
            kernel, part = products.affine_gradients, INPUTS_PER_PART
            self._call_groups(operation, kernel, numbers, n_inputs, read, errors, gradient, part=part)
            if b is not None:
                stride, per_row = np.array([float(z_stride)]), operation.n_parts // n_groups
                for k, sums in enumerate(b.gradient.reshape(n_groups, n_outputs)):
                    arrays = [error[k * n_outputs :], sums]
                    self.tape.call(products.sum_rows(self.dtype), arrays, n_outputs, stride, per_row=per_row)
            for out in self._error_of(x):
                errors = (error, n_outputs, size * z_stride)
                input_errors = (out, n_inputs, size * x_stride)
                self._call_groups(operation, products.affine_error, settings, n_outputs, errors, weights, input_errors)

        return backward

    def _call_groups(
        self,
        operation: Affine,
        kernel: Any,
        settings: Array,
        n_columns: int,
        *given: tuple[Any, int, int],
        part: int = 0,
    ) -> None:
        """Append the call of a product for each group of parts with the same weights.

        Every array is given with the number of its elements for one group, and the bytes from one row to the next.
        Threads divide the rows, or the columns if the size of a part is given; the bytes are then those from one column
        to the next.
        """
        n_inputs, n_outputs = operation.weights.values.shape[-2:]
        n_groups = operation.n_parts if operation.is_separate else 1
        per_row = operation.n_parts // n_groups
        scratch, own = self._own_buffers(products.scratch_size(n_inputs, n_outputs) * self.dtype.itemsize)
        bits, own_bits = self._own_buffers(8 * products.n_words(self.buffers.n_rows * per_row, n_inputs))
        units, owned = tuple(unit for _, _, unit in given), (*(0 for _ in given), own, own_bits)
        split = Split(part or ROWS_PER_PART, units, owned, by_columns=part > 0)
        for k in range(n_groups):
            parts = [array if n_groups == 1 else array.reshape(-1)[k * step :] for array, step, _ in given]
            arrays = [*parts, scratch, bits, product(self.dtype)]
            self.tape.call(kernel(self.dtype), arrays, n_columns, settings, per_row=per_row, split=split)
        self.buffers.release(scratch)
        self.buffers.release(bits)

    def _affine_csr(self, operation: Affine, location: Csr) -> Backward:
        w, b = operation.weights, operation.biases
        n_inputs, n_outputs = w.values.shape
        zeros, settings = np.zeros(n_outputs, self.dtype), np.array([float(n_inputs)])
        arrays = [*location, w.values, zeros if b is None else b.values, self._output(operation)]
        self._call(products.affine_csr, arrays, n_outputs, settings)

        def backward(error: Array) -> None:
            gradients = [w.gradient, np.zeros_like(zeros) if b is None else b.gradient]
            self._call(products.affine_csr_gradients, [*location, error, *gradients], n_outputs, settings)
            if operation.inputs[0] in self._needing_error:
                raise NotLoweredError("Compiled code has no errors of a sparse matrix.")

        return backward

    def _map(self, operation: Map) -> Backward:
        formula, scalars = operation.formula, operation.scalars
        settings = np.array(operation.numbers())
        known: dict[str, Any] = dict(zip(formula.inputs, (self.locations[x] for x in operation.inputs), strict=True))
        known["output"] = self._output(operation)
        known |= dict(zip(formula.parameters, (p.values.reshape(-1) for p in operation.parameters), strict=True))
        self._formulas.append((operation, settings))
        n_columns = operation.row_width if formula.is_rowwise else operation.output.width
        per_row = operation.output.width // n_columns

        def call(loop: Any, arrays: list[Any]) -> None:
            if operation.output.is_sparse:
                self._call_on_entries(operation, loop, arrays)
            else:
                row = 0 if loop.sums or loop.total is not None else n_columns * self.dtype.itemsize
                units = tuple(0 if name in (*loop.columns, *loop.scalars) else row for name in loop.arrays)
                split = Split(_rows_per_part(n_columns), units) if row else None
                self.tape.call(loop.address(self.dtype), arrays, n_columns, settings, per_row=per_row, split=split)

        forward = formula.forward(scalars)
        call(forward, [known[name] for name in forward.arrays])

        def backward(error: Array) -> None:
            trained = {n: p for n, p in zip(formula.parameters, operation.parameters, strict=True) if p.is_trained}
            arrays = {**known, "error": error}
            arrays |= {f"d_{name}": parameter.gradient.reshape(-1) for name, parameter in trained.items()}
            wanted = [(n, x) for n, x in zip(formula.inputs, operation.inputs, strict=True) if x in self._needing_error]
            names, first = tuple(trained), True
            for name, x in wanted or [("", operation.output)]:
                for out in self._error_of(x) if name else [error]:
                    loop = formula.backward((name,) if name else (), names if first else (), scalars)
                    arrays[f"d_{name}"] = out
                    call(loop, [arrays[one] for one in loop.arrays])
                first = False

        return backward

    def _call_on_entries(self, operation: Map, loop: Any, arrays: list[Any]) -> None:
        """Append a call of a formula for the entries of CSR matrices with entries at the same positions."""
        if any(parameter.is_trained for parameter in operation.parameters):
            raise NotLoweredError("A formula with parameters cannot take a sparse matrix.")
        given = next(array for array in arrays if isinstance(array, Csr))
        entries, starts = [array.data if isinstance(array, Csr) else array for array in arrays], given.starts
        for place, name in enumerate(loop.arrays):
            if name in loop.columns:  # every entry gets the number of its column
                of_entries = self._new_entries()
                self._call(rows.of_entries, [arrays[place], given.columns, starts, of_entries], operation.output.width)
                entries[place] = of_entries
        with_address = np.array([float(loop.address(self.dtype)), *operation.numbers()])
        self._formulas.append((operation, with_address[1:]))
        self._call(rows.on_entries, [*entries, *[None] * (7 - len(entries)), starts], 1, with_address)

    def _batch_normalize(self, operation: BatchNormalize) -> Backward:
        (x,), width = operation.inputs, operation.output.width
        h, inverse, totals = self._output(operation), np.zeros(width, self.dtype), np.zeros(2 * width)
        arrays = [self.dense(x), operation.running_mean.values, operation.running_variance.values, h, inverse, totals]
        self._call(statistics.batch_normalize, arrays, width, np.array([operation.momentum, operation.epsilon]))

        def backward(error: Array) -> None:
            means = [np.zeros(width, self.dtype), np.zeros(width, self.dtype)]
            for out in self._error_of(x):
                self._call(statistics.batch_normalize_error, [h, inverse, error, out, *means], width)

        return backward

    def _noise(self, operation: Noise) -> Backward:
        (x,), width = operation.inputs, operation.output.width
        name, location, out = f"noise {len(self.noise)}", self.locations[x], self._output(operation)
        self.noise.append((operation, name))
        settings = Placeholder(name, N_NOISE_SETTINGS * 8)
        if isinstance(location, Csr) and isinstance(out, Csr):
            self._call(statistics.noise_of_entries, [location.columns, location.starts, out.data], width, settings)
        else:
            self._call(statistics.noise, [out], width, settings)
        return _no_backward

    def _lookup(self, operation: Lookup) -> Backward:
        (codes,), table, width = operation.inputs, operation.table, operation.table.values.shape[1]
        firsts, settings = np.concatenate(([0], np.cumsum(operation.sizes))), np.array([float(width)])
        location = self.dense(codes)
        self._call(rows.lookup, [location, table.values, firsts, self._output(operation)], codes.width, settings)

        def backward(error: Array) -> None:
            self._call(rows.lookup_gradient, [location, error, firsts, table.gradient], codes.width, settings)

        return backward

    def _select(self, operation: Select) -> Backward:
        (x,), n = operation.inputs, operation.output.width
        columns, settings = np.array(operation.columns, np.int64), np.array([float(x.width)])
        self._call(rows.select, [self.dense(x), columns, self._output(operation)], n, settings)

        def backward(error: Array) -> None:
            for out in self._error_of(x):
                self._call(rows.select_error, [error, columns, out], n, settings)

        return backward

    def _concatenate(self, operation: Concatenate) -> Backward:
        width, out, first = operation.output.width, self._output(operation), 0
        parts = []
        for x in operation.inputs:
            settings = np.array([x.width, 0, width, first], np.float64)
            self._call(rows.copy_columns, [self.dense(x), out], x.width, settings)
            parts.append((x, np.array([width, first, x.width, 0], np.float64)))
            first += x.width

        def backward(error: Array) -> None:
            for x, settings in parts:
                for out in self._error_of(x):
                    self._call(rows.copy_columns, [error, out], x.width, settings)

        return backward

    def _error_of(self, x: Value) -> Any:
        """Yield an array for dL/dx if it is needed; then add it to the error from other operations that read x."""
        if x not in self._needing_error:
            return
        out = self.buffers.acquire(x.width)
        yield out
        if x in self.errors:
            self._call(rows.add, [out, self.errors[x]], x.width)
            self.buffers.release(out)
        else:
            self.errors[x] = out

    def _own_buffers(self, n_bytes: int) -> tuple[Array, int]:
        """Return an array with a buffer for each thread, and the size of such a buffer in bytes."""
        own = -(-n_bytes // VECTOR_BYTES) * VECTOR_BYTES
        size = own * self.n_threads // self.dtype.itemsize
        return self.buffers.acquire(-(-size // self.buffers.n_rows)), own

    def _output(self, operation: Operation) -> Any:
        """Return the location of the output, which is allocated unless it exists already."""
        if operation.output not in self.locations:
            if operation.output.is_sparse:
                given = self.locations[operation.inputs[0]]
                assert isinstance(given, Csr)  # the output has entries at the same positions as the input
                self.locations[operation.output] = Csr(self._new_entries(), given.columns, given.starts)
            else:
                self.locations[operation.output] = self.buffers.acquire(operation.output.width)
        return self.locations[operation.output]

    def _new_entries(self) -> Placeholder:
        """Return a placeholder for one number per entry of a CSR matrix; batches differ in their number of entries."""
        self.entries.append(f"entries {len(self.entries)}")
        return Placeholder(self.entries[-1])

    def dense(self, x: Value) -> Array | Placeholder:
        """Return the location of a value. Raises NotLoweredError for a CSR matrix."""
        location = self.locations[x]
        if isinstance(location, Csr):
            raise NotLoweredError("Only affine operations, formulas and noise take a sparse matrix.")
        return location

    def _copy(self, source: Any, out: Any, width: int) -> Any:
        self._call(rows.copy_columns, [source, out], width, np.array([width, 0, width, 0], np.float64))
        return out

    def _call(self, kernel: Any, arrays: Sequence[Any], n_columns: int, settings: Any = None) -> None:
        self.tape.call(kernel(self.dtype), arrays, n_columns, settings)


def _rows_per_part(n_columns: int) -> int:
    """Return the number of rows of a formula in the smallest part.

    Their numbers fill whole vectors: the compiler may replace a division in a vector by a reciprocal, and not in the
    numbers that are left over at the end, so that these must be the same for any number of threads.
    """
    whole = VECTORS_OF_LOOPS // math.gcd(VECTORS_OF_LOOPS, n_columns)
    return -(-max(1, NUMBERS_PER_PART // n_columns) // whole) * whole


def _no_backward(error: Array) -> None:
    """Append nothing: the operation has no parameters, and its inputs need no error."""
