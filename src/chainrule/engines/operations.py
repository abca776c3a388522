"""The operations of a program as calls of compiled code: what each one computes forward, and backward.

:class:`Calls` appends the calls of one operation after another to a :class:`~chainrule.kernels.tape.Tape`, and knows
where every value and its error lie in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from chainrule.arrays import aligned_zeros
from chainrule.kernels import products, rows, statistics
from chainrule.kernels.tape import Placeholder, Tape
from chainrule.program import (
    N_NOISE_SETTINGS,
    Affine,
    BatchNormalize,
    Concatenate,
    Lookup,
    Map,
    Noise,
    NotLoweredError,
    Operation,
    Program,
    Select,
    Value,
)
from chainrule.types import Array

__all__ = ["Buffers", "Calls", "Csr", "Location"]

# Appends the calls that lead from dL/d(output) of an operation to its gradients and the errors of its inputs.
Backward: TypeAlias = "Callable[[Array], None]"


class Csr(NamedTuple):
    """The arrays of a CSR matrix: its entries, their columns (int32), and where the rows begin (int64)."""

    data: Array | Placeholder
    columns: Array | Placeholder
    starts: Array | Placeholder


Location: TypeAlias = "Array | Placeholder | Csr"


class Buffers:
    """Flat arrays for values of ``n_rows`` rows, each of which may be used again when it is given back.

    ``arrays`` are at hand from the start; new ones are added to this list.
    """

    def __init__(self, n_rows: int, dtype: np.dtype[Any], arrays: list[Array] | None = None) -> None:
        self.n_rows, self.dtype = n_rows, dtype
        self._arrays = [] if arrays is None else arrays
        self._free = list(self._arrays)

    def acquire(self, width: int) -> Array:
        """Return an array with room for rows of this width."""
        size = self.n_rows * width + 3  # noise is written four numbers at a time
        fitting = [array for array in self._free if array.size >= size]
        if not fitting:
            self._arrays.append(aligned_zeros(size, self.dtype))
            return self._arrays[-1]
        best = min(fitting, key=lambda array: array.size)
        self._free = [array for array in self._free if array is not best]
        return best

    def release(self, array: Array) -> None:
        """Say that nothing more is read from an array."""
        self._free.append(array)


class Calls:
    """The calls of a program, appended to a tape.

    Parameters
    ----------
    tape
        The tape.
    buffers
        Where arrays for values and errors come from.
    locations
        Where the program's input lies, and values that have a location already; the others are added.
    mostly_zero
        Whether so much of the input is 0 that products with it are faster entry by entry.
    """

    def __init__(
        self, tape: Tape, buffers: Buffers, locations: dict[Value, Location], *, mostly_zero: bool = False
    ) -> None:
        self.tape, self.buffers, self.locations = tape, buffers, locations
        self.dtype, self._is_mostly_zero, self._inputs = buffers.dtype, mostly_zero, set(locations)
        self.noise: list[tuple[Noise, str]] = []  # with the name of the location of its settings
        self.entries: list[str] = []  # the names of the locations of the entries of computed CSR matrices
        self._formulas: list[tuple[Map, Array]] = []
        self._errors: dict[Value, Array] = {}
        self._needed: set[Value] = set()

    def forward(self, operation: Operation) -> Backward:
        """Append the calls that compute the output; return what appends those of the backward pass."""
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

    def backward(
        self, program: Program, backwards: Sequence[Backward], error: Array, *, to_input: bool = False
    ) -> Array | None:
        """Append the backward pass, from the error of the program's output to the gradients of all parameters.

        With ``to_input`` it goes on to the error of the program's input, and returns where that lies.
        """
        self._needed, self._errors = _needing_error(program, to_input), {program.output: error}
        for operation, backward in zip(reversed(program.operations), reversed(backwards), strict=True):
            if operation.output in self._errors and operation.output in self._needed:
                backward(self._errors[operation.output])
                self.buffers.release(self._errors.pop(operation.output))
        for offset in program.cancelled_offsets():
            size = np.array([float(offset.gradient.size)])
            self._call(statistics.zero_if_several, [offset.gradient], 1, size)
        return self._errors.get(program.input)

    def refresh_settings(self) -> None:
        """Bring the settings of formulas up to date."""
        for operation, settings in self._formulas:
            settings[...] = operation.numbers()

    @property
    def is_fixed(self) -> bool:
        """Whether the formulas have no settings, and so are the same for good."""
        return all(getattr(op.owner, "is_fixed", not op.formula.settings) for op, _ in self._formulas)

    @property
    def is_current(self) -> bool:
        """Whether the formulas are still those that the operations were made from."""
        return all(operation.is_current for operation, _ in self._formulas)

    def _affine(self, operation: Affine) -> Backward:
        (x,), w, b, z = operation.inputs, operation.weights, operation.biases, self._output(operation)
        if operation.n_parts > 1:
            return self._affine_of_parts(operation)
        n_out, blas, location = operation.output.width, products.blas_address(self.dtype), self.locations[x]
        settings = np.array([x.width, x.width, n_out], np.float64)
        biases = np.zeros(n_out, self.dtype) if b is None else b.values
        if isinstance(location, Csr):
            self._call(products.affine_csr, [*location, w.values, biases, z], n_out, settings)
        elif self._is_mostly_zero and x in self._inputs:
            room = [np.zeros(x.width, self.dtype), np.zeros(x.width, np.int64)]
            self._call(products.affine_entries, [location, w.values, biases, z, *room], n_out, settings)
        else:
            self._call(products.affine, [location, w.values, biases, z, blas], n_out, settings)

        def backward(error: Array) -> None:
            gradients = [w.gradient, np.zeros(n_out, self.dtype) if b is None else b.gradient]
            if isinstance(location, Csr):
                self._call(products.affine_csr_gradients, [*location, error, *gradients], n_out, settings)
            else:
                self._call(products.affine_gradients, [location, error, *gradients, blas], n_out, settings)
            for out in self._error_of(x):
                self._call(products.affine_error, [error, w.values, out, blas], n_out, settings)

        return backward

    def _affine_of_parts(self, operation: Affine) -> Backward:
        """Append the products of the parts of an input: rows of one product, or one product for each part."""
        (x,), weights, biases = operation.inputs, operation.weights, operation.biases
        n_in, n_out = weights.values.shape[-2:]
        n_groups = operation.n_parts if operation.is_separate else 1
        per_row, blas = operation.n_parts // n_groups, products.blas_address(self.dtype)
        settings = np.array([n_in, n_in * n_groups, n_out * n_groups], np.float64)
        location, z = self.dense(x), self._output(operation)
        if isinstance(location, Placeholder):  # parts are addressed by their first column
            given, location = location, self.buffers.acquire(x.width)
            self._copy(given, location, x.width)
        written = self.buffers.acquire(operation.output.width) if isinstance(z, Placeholder) else z
        shape = (n_groups, n_out)

        def groups(*arrays: tuple[Array, int]) -> Iterator[list[Array]]:
            """Yield the parts of arrays for each product; each is given with its part's size."""
            for k in range(n_groups):
                yield [array.reshape(-1)[k * size :] for array, size in arrays]

        own = (weights.values, n_in * n_out), (np.zeros(shape, self.dtype) if biases is None else biases.values, n_out)
        for arrays in groups((location, n_in), *own, (written, n_out)):
            self.tape.call(products.affine(self.dtype), [*arrays, blas], n_out, settings, per_row=per_row)
        if isinstance(z, Placeholder):
            self._copy(written, z, operation.output.width)

        def backward(error: Array) -> None:
            of_biases = np.zeros(shape, self.dtype) if biases is None else biases.gradient
            gradients = (weights.gradient, n_in * n_out), (of_biases, n_out)
            for arrays in groups((location, n_in), (error, n_out), *gradients):
                self.tape.call(products.affine_gradients(self.dtype), [*arrays, blas], n_out, settings, per_row=per_row)
            for out in self._error_of(x):
                for arrays in groups((error, n_out), own[0], (out, n_in)):
                    self.tape.call(products.affine_error(self.dtype), [*arrays, blas], n_out, settings, per_row=per_row)

        return backward

    def _map(self, operation: Map) -> Backward:
        formula, scalars = operation.formula, operation.scalars
        settings = np.array(operation.numbers())
        known: dict[str, Any] = dict(zip(formula.inputs, (self.locations[x] for x in operation.inputs), strict=True))
        known["output"] = self._output(operation)
        known |= dict(zip(formula.parameters, (p.values.reshape(-1) for p in operation.parameters), strict=True))
        self._formulas.append((operation, settings))
        n_columns = operation.row_width if formula.is_of_rows else operation.output.width
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
            wanted = [(n, x) for n, x in zip(formula.inputs, operation.inputs, strict=True) if x in self._needed]
            names, first = tuple(trained), True
            for name, x in wanted or [("", operation.output)]:
                for out in self._error_of(x) if name else [error]:
                    loop = formula.backward((name,) if name else (), names if first else (), scalars)
                    arrays[f"d_{name}"] = out
                    call(loop, [arrays[one] for one in loop.arrays])
                first = False

        return backward

    def _call_on_entries(self, operation: Map, loop: Any, arrays: list[Any]) -> None:
        """Append a call of a formula on the entries of CSR matrices, which have them at the same locations."""
        if loop.columns or loop.scalars:
            raise NotLoweredError("A formula with parameters cannot take a sparse matrix.")
        (starts, *_) = {id(a.starts): a.starts for a in arrays if isinstance(a, Csr)}.values()
        entries = [array.data if isinstance(array, Csr) else array for array in arrays]
        with_address = np.array([float(loop.address(self.dtype)), *operation.numbers()])
        self._formulas.append((operation, with_address[1:]))
        self._call(rows.on_entries, [*entries, *[None] * (7 - len(entries)), starts], 1, with_address)

    def _batch_normalize(self, operation: BatchNormalize) -> Backward:
        (x,), width = operation.inputs, operation.output.width
        h, inverse, totals = self._output(operation), np.zeros(width, self.dtype), np.zeros(2 * width)
        arrays = [self.dense(x), operation.running_mean.values, operation.running_variance.values, h, inverse, totals]
        self._call(statistics.batch_normalize, arrays, width, np.array([operation.momentum, operation.epsilon]))

        def backward(error: Array) -> None:
            room = [np.zeros(width, self.dtype), np.zeros(width, self.dtype)]
            for out in self._error_of(x):
                self._call(statistics.batch_normalize_error, [h, inverse, error, out, *room], width)

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
        return _nothing

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
        locations = []
        for x in operation.inputs:
            settings = np.array([x.width, 0, width, first], np.float64)
            self._call(rows.copy_columns, [self.dense(x), out], x.width, settings)
            locations.append((x, np.array([width, first, x.width, 0], np.float64)))
            first += x.width

        def backward(error: Array) -> None:
            for x, settings in locations:
                for part in self._error_of(x):
                    self._call(rows.copy_columns, [error, part], x.width, settings)

        return backward

    def _error_of(self, x: Value) -> Any:
        """Yield where to write dL/dx, unless nobody needs it; what is written is added to what is there already."""
        if x not in self._needed:
            return
        out = self.buffers.acquire(x.width)
        yield out
        if x in self._errors:
            self._call(rows.add, [out, self._errors[x]], x.width)
            self.buffers.release(out)
        else:
            self._errors[x] = out

    def _output(self, operation: Operation) -> Any:
        """Return where the output lies; it gets a location of its own unless it has one already."""
        if operation.output not in self.locations:
            if operation.output.is_sparse:
                given = self.locations[operation.inputs[0]]
                assert isinstance(given, Csr)  # what is computed from a sparse value has its entries
                entries = Placeholder(f"entries {len(self.locations)}")
                self.entries.append(entries.name)
                self.locations[operation.output] = Csr(entries, given.columns, given.starts)
            else:
                self.locations[operation.output] = self.buffers.acquire(operation.output.width)
        return self.locations[operation.output]

    def dense(self, x: Value) -> Array | Placeholder:
        """Return where a value lies that must be dense."""
        location = self.locations[x]
        if isinstance(location, Csr):
            raise NotLoweredError("Only affine operations, formulas and noise take a sparse matrix.")
        return location

    def _copy(self, source: Any, out: Any, width: int) -> None:
        self._call(rows.copy_columns, [source, out], width, np.array([width, 0, width, 0], np.float64))

    def _call(self, kernel: Any, arrays: Sequence[Any], n_columns: int, settings: Any = None) -> None:
        self.tape.call(kernel(self.dtype), arrays, n_columns, settings)


def _nothing(error: Array) -> None:
    """The backward pass of an operation without parameters and without inputs that need an error."""


def _needing_error(program: Program, to_input: bool) -> set[Value]:
    """Return the values that depend on parameters, or on the input if that needs an error, too."""
    needed = {program.input} if to_input else set()
    for operation in program.operations:
        is_trained = any(array.is_trained for array in operation.arrays)
        if not isinstance(operation, Noise) and (is_trained or any(x in needed for x in operation.inputs)):
            needed.add(operation.output)
    return needed
