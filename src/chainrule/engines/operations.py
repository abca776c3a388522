"""The operations of a program as calls of compiled functions, for the forward and the backward pass.

:class:`Calls` appends the calls of each operation to a :class:`~chainrule.kernels.tape.Tape`, and allocates the memory
of the values and of their errors, dL/d(value).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from chainrule.arrays import aligned_zeros
from chainrule.kernels import products, rows, statistics
from chainrule.kernels.matrices import product
from chainrule.kernels.tape import Placeholder, Tape
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

__all__ = ["Buffers", "Calls", "Codes", "Csr", "Location"]

# Appends the calls that compute the gradients of an operation and the errors of its inputs from dL/d(output).
Backward: TypeAlias = "Callable[[Array], None]"


class Codes(NamedTuple):
    """Numbers that are stored as bytes, with the two numbers that :func:`chainrule.kernels.rows.decode` takes."""

    values: Array
    factor: float
    divisor: float


class Csr(NamedTuple):
    """The arrays of a CSR matrix: its entries, their columns (int32), and the starts of the rows (int64)."""

    data: Array | Placeholder
    columns: Array | Placeholder
    starts: Array | Placeholder


Location: TypeAlias = "Array | Placeholder | Csr | Codes"


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
        to_input: bool = False,
    ) -> None:
        self.tape, self.buffers, self.locations = tape, buffers, locations
        self.dtype = buffers.dtype
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
        per_row = operation.n_parts // n_groups
        location = self.locations[x] if operation.n_parts == 1 else self.dense(x)
        decoding = location[1:] if isinstance(location, Codes) else (0, 0)
        settings = np.array([n_inputs, n_inputs * n_groups, n_outputs * n_groups, *decoding], np.float64)
        if isinstance(location, Codes):
            location = location.values
        zeros = np.zeros((n_groups, n_outputs), self.dtype)
        biases, z = zeros if b is None else b.values, self._output(operation)

        def call(kernel: Any, *given: tuple[Any, int]) -> None:
            """Append a call for each group; every array is given with the size of the part for one group."""
            scratch = self._scratch(products.scratch_size(n_inputs, n_outputs))
            bits = self._scratch(products.n_words(self.buffers.n_rows * per_row, n_inputs) * 8 // self.dtype.itemsize)
            for k in range(n_groups):
                parts = [array if n_groups == 1 else array.reshape(-1)[k * size :] for array, size in given]
                arrays = [*parts, scratch, bits, product(self.dtype)]
                self.tape.call(kernel(self.dtype), arrays, n_outputs, settings, per_row=per_row)
            self.buffers.release(scratch)
            self.buffers.release(bits)

        if isinstance(location, Csr):
            self._call(products.affine_csr, [*location, w.values, biases, z], n_outputs, settings)
        else:
            if n_groups > 1 and isinstance(location, Placeholder):  # the addresses of the groups must be known
                location = self._copy(location, self.buffers.acquire(x.width), x.width)
            written = self.buffers.acquire(operation.output.width) if n_groups > 1 and isinstance(z, Placeholder) else z
            weights = (w.values, n_inputs * n_outputs)
            call(products.affine, (location, n_inputs), weights, (biases, n_outputs), (written, n_outputs))
            if written is not z:
                self._copy(written, z, operation.output.width)

        def backward(error: Array) -> None:
            biases_gradient = np.zeros_like(zeros) if b is None else b.gradient
            if isinstance(location, Csr):
                arrays = [*location, error, w.gradient, biases_gradient]
                self._call(products.affine_csr_gradients, arrays, n_outputs, settings)
            else:
                gradients = (w.gradient, n_inputs * n_outputs), (biases_gradient, n_outputs)
                call(products.affine_gradients, (location, n_inputs), (error, n_outputs), *gradients)
            for out in self._error_of(x):
                call(products.affine_error, (error, n_outputs), (w.values, n_inputs * n_outputs), (out, n_inputs))

        return backward

    def _map(self, operation: Map) -> Backward:
        formula, scalars = operation.formula, operation.scalars
        settings = np.array(operation.numbers())
        known: dict[str, Any] = dict(zip(formula.inputs, map(self._entries_or_numbers, operation.inputs), strict=True))
        known["output"] = self._output(operation)
        known |= dict(zip(formula.parameters, (p.values.reshape(-1) for p in operation.parameters), strict=True))
        self._formulas.append((operation, settings))
        n_columns = operation.row_width if formula.is_rowwise else operation.output.width
        per_row = operation.output.width // n_columns

        def call(loop: Any, arrays: list[Any]) -> None:
            if operation.output.is_sparse:
                self._call_on_entries(operation, loop, arrays)
            else:
                self.tape.call(loop.address(self.dtype), arrays, n_columns, settings, per_row=per_row)

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
        """Append a call of a formula for the entries of CSR matrices, which have them at the same positions."""
        if any(parameter.is_trained for parameter in operation.parameters):
            raise NotLoweredError("A formula with parameters cannot take a sparse matrix.")
        given = next(array for array in arrays if isinstance(array, Csr))
        entries, starts = [array.data if isinstance(array, Csr) else array for array in arrays], given.starts
        for place, name in enumerate(loop.arrays):
            if name in loop.columns:  # the number of its column for every entry
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

    def _scratch(self, size: int) -> Array:
        """Return an array of ``size`` numbers for intermediate results of one call."""
        return self.buffers.acquire(-(-size // self.buffers.n_rows))

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
        """Return a place for one number per entry of a CSR matrix, of which there are more in some batches."""
        self.entries.append(f"entries {len(self.entries)}")
        return Placeholder(self.entries[-1])

    def _entries_or_numbers(self, x: Value) -> Csr | Array | Placeholder:
        """Return the location of a value, whose numbers are decoded if they are stored as bytes."""
        location = self.locations[x]
        if isinstance(location, Codes):
            codes, factor, divisor = location
            location = self.locations[x] = self.buffers.acquire(x.width)
            self._call(rows.decode, [codes, location], x.width, np.array([factor, divisor]))
        return location

    def dense(self, x: Value) -> Array | Placeholder:
        """Return the location of a value's numbers. Raises NotLoweredError for a CSR matrix."""
        location = self._entries_or_numbers(x)
        if isinstance(location, Csr):
            raise NotLoweredError("Only affine operations, formulas and noise take a sparse matrix.")
        return location

    def _copy(self, source: Any, out: Any, width: int) -> Any:
        self._call(rows.copy_columns, [source, out], width, np.array([width, 0, width, 0], np.float64))
        return out

    def _call(self, kernel: Any, arrays: Sequence[Any], n_columns: int, settings: Any = None) -> None:
        self.tape.call(kernel(self.dtype), arrays, n_columns, settings)


def _no_backward(error: Array) -> None:
    """Append nothing: the operation has no parameters, and its inputs need no error."""
