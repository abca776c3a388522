"""The gradient of outputs with respect to the inputs, in inference, for every engine.

Training needs the gradient of the parameters, with noise and the statistics of the batch. Explanations of a trained
network and adversarial examples need the gradient of the inputs of each row, of the function that ``predict`` computes.
:func:`input_gradient` computes it by reverse-mode differentiation of the operations of each layer in inference. It
changes no array of the network.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.engines.base import ErrorOf
from chainrule.errors import InvalidInputError
from chainrule.formulas import TraceError
from chainrule.formulas.expression import evaluate
from chainrule.layers import Layer
from chainrule.program import (
    Affine,
    Concatenate,
    Lookup,
    Map,
    NotLoweredError,
    Operation,
    Program,
    Select,
    Value,
)
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["InputGradient", "ProgramGradient", "chunks_of", "input_gradient", "refuse_codes"]

ROWS_PER_CHUNK, NUMBERS_PER_CHUNK = 2048, 2**22  # upper bounds of the size of a chunk


def input_gradient(
    stack: LayerStack, inputs: Inputs, error_of: ErrorOf, *, n_layers: int | None = None
) -> tuple[Array, Array]:
    """Return the outputs of the stack, or of its first layers, and dL/d(inputs), computed by NumPy.

    ``error_of`` returns dL/d(outputs) for outputs of some rows. The rows of L are independent: its derivative with
    respect to a row of the inputs depends on this row only. A layer that does not define its operations computes its
    backward propagation in training, and must not have noise. CSR rows are converted to dense arrays chunk by chunk.
    """
    rows, gradient = stack.check_inputs(inputs), InputGradient(stack.layers[:n_layers])
    outputs, gradients = [], []
    for part, chunk in chunks_of(rows):
        outputs.append(gradient.forward(chunk))
        gradients.append(gradient.backward(error_of(outputs[-1], part)))
    return np.concatenate(outputs), np.concatenate(gradients)


class InputGradient:
    """The forward pass of layers in inference, and their backward pass to the inputs.

    Attributes
    ----------
    has_copies
        Whether a layer that does not define its operations was copied, so that changes of its weights have no effect.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self._layers = [_LayerGradient(layer) for layer in layers]
        self.has_copies = any(layer.program is None for layer in self._layers)

    def forward(self, inputs: Array) -> Array:
        """Return the outputs for rows of dense inputs."""
        for layer in self._layers:
            inputs = layer.forward(inputs)
        return np.ascontiguousarray(inputs)

    def backward(self, error: Array) -> Array:
        """Return dL/d(inputs) from dL/d(outputs) for the rows of the last forward pass."""
        for layer in reversed(self._layers):
            error = layer.backward(error)
        return error


def chunks_of(rows: Inputs) -> Iterator[tuple[slice, Array]]:
    """Yield parts of the rows, each with its slice, as dense arrays."""
    n_rows = max(1, min(ROWS_PER_CHUNK, NUMBERS_PER_CHUNK // math.prod(rows.shape[1:])))
    for start in range(0, rows.shape[0], n_rows):
        part = slice(start, start + n_rows)
        yield part, rows[part].toarray() if is_sparse(rows) else rows[part]


def refuse_codes(layer_name: str = "The network") -> InvalidInputError:
    """Return the error for codes of categories that are not whole numbers, as on the path of integrated gradients."""
    return InvalidInputError(
        f"{layer_name} looks up vectors of categories, and a code between two categories has no vector; use "
        "permutation_importance or partial_dependence."
    )


class _LayerGradient:
    """The forward pass of a layer in inference, and its backward pass to the inputs."""

    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        try:
            self.program: ProgramGradient | None = ProgramGradient(Program.of([layer]))
        except (NotLoweredError, TraceError):
            self.program, self.layer = None, copy.deepcopy(layer)
            self.layer.needs_input_error = True

    def forward(self, inputs: Array) -> Array:
        if self.program is None:
            return self.layer.forward_propagation(inputs, training=True)
        outputs = self.program.forward(inputs.reshape(len(inputs), -1))
        return outputs.reshape(len(inputs), *self.layer.output_shape())

    def backward(self, error: Array) -> Array:
        if self.program is None:
            input_error = self.layer.backward_propagation(error)
            assert input_error is not None
            return input_error
        input_error = self.program.backward(error.reshape(len(error), -1))
        return input_error.reshape(len(error), *self.layer.input_shape())


class ProgramGradient:
    """A program for inference, computed by NumPy: its output, and dL/d(input) from dL/d(output)."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._values: dict[Value, Array] = {}

    def forward(self, inputs: Array) -> Array:
        """Return the output for rows, and keep the values of the operations for :meth:`backward`."""
        self._values = {self.program.input: inputs}
        for operation in self.program.operations:
            read = [self._values[x] for x in operation.inputs]
            self._values[operation.output] = _forward(operation, read)
        return self._values[self.program.output]

    def backward(self, error: Array) -> Array:
        """Return dL/d(input) from dL/d(output) for the rows of the last forward pass."""
        errors: dict[Value, Array] = {self.program.output: error}
        for operation in reversed(self.program.operations):
            if operation.output not in errors:
                continue
            read = [self._values[x] for x in operation.inputs]
            parts = _backward(operation, read, self._values[operation.output], errors.pop(operation.output))
            for x, part in zip(operation.inputs, parts, strict=True):
                errors[x] = errors[x] + part if x in errors else part
        source = self._values[self.program.input]
        return errors.get(self.program.input, np.zeros_like(source))


def _forward(operation: Operation, inputs: list[Array]) -> Array:
    (x, *_), n_rows = inputs, len(inputs[0])
    match operation:
        case Affine(weights=weights, biases=biases):
            z = np.matmul(_members(x, weights.values.shape[-2]), weights.values)
            if biases is not None:
                z = z + biases.values.reshape(-1, 1, z.shape[-1])
            return _joined(z)
        case Map():
            shape, symbols = _symbols(operation, inputs)
            (result,) = evaluate([operation.formula.result], symbols, shape)
            return _whole(result, x, shape)
        case Lookup(table=table, firsts=firsts, sizes=sizes):
            if ((x != np.floor(x)) | (x < 0) | (x >= sizes)).any():
                raise refuse_codes()
            vectors: Array = table.values[x.astype(np.int64) + np.array(firsts)]
            return vectors.reshape(n_rows, -1)
        case Select(columns=columns):
            return x[:, list(columns)]
        case Concatenate():
            return np.concatenate(inputs, axis=1)
    raise NotLoweredError(f"NumPy cannot differentiate the operation {type(operation).__name__}.")


def _backward(operation: Operation, inputs: list[Array], output: Array, error: Array) -> list[Array]:
    """Return dL/d(input) for each input of an operation."""
    x = inputs[0]
    match operation:
        case Affine(weights=weights):
            transposed = np.swapaxes(weights.values, -1, -2)
            return [_joined(np.matmul(_members(error, transposed.shape[-2]), transposed))]
        case Map(formula=formula):
            shape, symbols = _symbols(operation, inputs)
            symbols |= {"output": output.reshape(shape), "error": error.reshape(shape)}
            slopes = evaluate([formula.input_errors[name] for name in formula.inputs], symbols, shape)
            return [_whole(slope, x, shape) for slope in slopes]
        case Select(columns=columns):
            # The errors of a column that was selected several times are added.
            order = np.argsort(columns, kind="stable")
            selected, first = np.unique(np.array(columns)[order], return_index=True)
            total = np.zeros_like(x)
            total[:, selected] = np.add.reduceat(error[:, order], first, axis=1)
            return [total]
        case Concatenate():
            return np.split(error, np.cumsum([part.shape[1] for part in inputs[:-1]]), axis=1)
    return [np.zeros_like(x)]  # codes have no gradient


def _members(x: Array, width: int) -> Array:
    """Return values (rows, parts * width) as (parts, rows, width)."""
    return np.swapaxes(x.reshape(len(x), -1, width), 0, 1)


def _joined(z: Array) -> Array:
    """Return values (parts, rows, width) as (rows, parts * width)."""
    return np.swapaxes(z, 0, 1).reshape(z.shape[1], -1)


def _symbols(operation: Map, inputs: list[Array]) -> tuple[tuple[int, ...], dict[str, Array]]:
    """Return the shape of the rows over which a formula reduces, and the values of its symbols."""
    formula = operation.formula
    width = operation.row_width if formula.is_rowwise else operation.output.width
    symbols: dict[str, Any] = {name: x.reshape(-1, width) for name, x in zip(formula.inputs, inputs, strict=True)}
    symbols |= {n: p.values.reshape(-1) for n, p in zip(formula.parameters, operation.parameters, strict=True)}
    dtype = inputs[0].dtype
    symbols |= {n: dtype.type(v) for n, v in zip(formula.settings, operation.numbers(), strict=True)}
    return (inputs[0].size // width, width), symbols


def _whole(result: Array, like: Array, shape: tuple[int, ...]) -> Array:
    """Return a result, which may be one number for each row or for all, in the shape and the dtype of ``like``."""
    whole: Array = np.broadcast_to(result, shape).reshape(like.shape)
    return whole.astype(like.dtype, copy=False)
