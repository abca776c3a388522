"""A chain of dense layers and elementwise activations, forward and backward in one piece of compiled code.

The layers' own code takes a training step through some thirty calls from Python, which is most of the time of a small
network. Here the same arithmetic is done, with the same kernels, from a table that says what stands where
(``chainrule/layer_table.py`` writes it; ``kernels/codes.py`` names its columns and numbers).

Matrices lie one after another in flat arrays; :func:`matrix` makes a view of one.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.kernels.codes import BACKWARD, BIASES_AT, FORWARD, N_IN, N_OUT, OUTPUT_AT, WEIGHTS_AT
from chainrule.kernels.numba_kernels.compile import compiled, inlined
from chainrule.kernels.numba_kernels.linear import add_bias, add_csr_row, add_to_csr_rows, find_entries, sum_rows
from chainrule.types import Array, IntArray

__all__ = ["Network", "Rows", "Scratch", "backward", "forward", "gather", "matrix"]

SMALL = 512  # a product of fewer multiplications is done before BLAS has begun


class Rows(NamedTuple):
    """The training set: ``dense`` (rows, features), or, where that has no rows, a CSR matrix; targets and weights."""

    dense: Array
    data: Array
    indices: IntArray
    indptr: IntArray
    mostly_zero: bool  # whether so much of ``dense`` is 0 that its products are faster entry by entry
    targets: Array
    weights: Array  # one number a row, or none at all where all are 1


class Network(NamedTuple):
    """The chain of layers and what training it takes."""

    layers: IntArray  # the table
    settings: Array  # the numbers that each activation takes, such as a slope, a row for each layer
    values: Array
    gradients: Array
    outputs: Array
    errors: Array  # two rows, each with room for the error of any layer
    loss: int  # the address of the compiled loop of a loss; 0 for softmax and cross-entropy
    loss_numbers: Array  # the numbers that it takes


class Scratch(NamedTuple):
    """Room for what a step works out on its way."""

    inputs: Array  # flat
    targets: Array
    row_weights: Array
    entry_columns: IntArray  # the entries of one row that are not 0
    entries: Array


@compiled
def matrix(flat: Array, start: int, n_rows: int, n_columns: int) -> Array:
    """Return the part of a flat array that is this matrix."""
    return flat[start : start + n_rows * n_columns].reshape(n_rows, n_columns)


# Small layers are worked out on the flat arrays themselves: to make a view costs more than the products.


@inlined
def _forward_small(network: Network, index: int, a: Array, a_at: int, n_rows: int) -> None:
    """Write z = a W + b."""
    n_in, n_out, w_at = network.layers[index, N_IN], network.layers[index, N_OUT], network.layers[index, WEIGHTS_AT]
    b_at, z_at = network.layers[index, BIASES_AT], network.layers[index, OUTPUT_AT]
    values, z = network.values, network.outputs
    for i in range(n_rows):
        for j in range(n_out):
            total = values[b_at + j]
            for k in range(n_in):
                total += a[a_at + i * n_in + k] * values[w_at + k * n_out + j]
            z[z_at + i * n_out + j] = total


@inlined
def _backward_small(network: Network, index: int, a: Array, a_at: int, n_rows: int, here: int) -> None:
    """Write dL/dW = a^T e, dL/db = the sums of e over the rows, and, but for the first layer, dL/da = e W^T."""
    n_in, n_out = network.layers[index, N_IN], network.layers[index, N_OUT]
    w_at, b_at = network.layers[index, WEIGHTS_AT], network.layers[index, BIASES_AT]
    values, gradients, errors = network.values, network.gradients, network.errors
    zero = gradients.dtype.type(0)
    for j in range(n_in * n_out):
        gradients[w_at + j] = zero
    for j in range(n_out):
        gradients[b_at + j] = zero
    for i in range(n_rows):
        for j in range(n_out):
            e = errors[here, i * n_out + j]
            gradients[b_at + j] += e
            for k in range(n_in):
                gradients[w_at + k * n_out + j] += a[a_at + i * n_in + k] * e
    if index > 0:
        for i in range(n_rows):
            for k in range(n_in):
                total = zero
                for j in range(n_out):
                    total += errors[here, i * n_out + j] * values[w_at + k * n_out + j]
                errors[1 - here, i * n_in + k] = total


@compiled
def _multiply_mostly_zero(
    a: Array, weights: Array, biases: Array, out: Array, columns: IntArray, entries: Array
) -> None:
    """Write a W + b, with the rows of W that stand behind zeros left out."""
    for i in range(a.shape[0]):
        found, row = find_entries(a[i], columns, entries), out[i]
        for j in range(row.size):
            row[j] = biases[j]
        add_csr_row(entries, columns, 0, found, weights, row)


@compiled
def _multiply_sparse(rows: Rows, picked: IntArray, weights: Array, biases: Array, out: Array) -> None:
    """Write S W + b for some rows of a CSR matrix S."""
    data, indices, indptr = rows.data, rows.indices, rows.indptr
    for i in range(picked.size):
        row = out[i]
        for j in range(row.size):
            row[j] = biases[j]
        add_csr_row(data, indices, indptr[picked[i]], indptr[picked[i] + 1], weights, row)


@compiled
def _multiply_sparse_transposed(rows: Rows, picked: IntArray, error: Array, out: Array) -> None:
    """Write S^T e for some rows of a CSR matrix S."""
    data, indices, indptr = rows.data, rows.indices, rows.indptr
    out[:] = out.dtype.type(0)
    for i in range(picked.size):
        add_to_csr_rows(data, indices, indptr[picked[i]], indptr[picked[i] + 1], error[i], out)


@inlined
def gather(rows: Rows, picked: IntArray, scratch: Scratch) -> None:
    """Collect what a batch is made of."""
    inputs, targets, row_weights = scratch.inputs, scratch.targets, scratch.row_weights
    n_in, one = rows.dense.shape[1], row_weights.dtype.type(1)
    for i in range(picked.size):
        if rows.dense.shape[0] > 0:
            source = rows.dense[picked[i]]
            for j in range(n_in):
                inputs[i * n_in + j] = source[j]
        for j in range(targets.shape[1]):
            targets[i, j] = rows.targets[picked[i], j]
        weight = rows.weights[picked[i]] if rows.weights.size > 0 else one
        row_weights[i] = weight / row_weights.dtype.type(picked.size)


@inlined
def forward(network: Network, rows: Rows, scratch: Scratch, picked: IntArray) -> None:
    """Write the outputs of all layers for these rows."""
    n, layers, outputs, values = picked.size, network.layers, network.outputs, network.values
    for index in range(layers.shape[0]):
        activation, n_in, n_out = layers[index, FORWARD], layers[index, N_IN], layers[index, N_OUT]
        z_at = layers[index, OUTPUT_AT]
        a_at = layers[index - 1, OUTPUT_AT] if index > 0 else 0
        is_sparse = index == 0 and rows.dense.shape[0] == 0
        if activation != 0:
            x, out = outputs[a_at:].ctypes.data, outputs[z_at:].ctypes.data
            settings = network.settings[index].ctypes.data
            call_address(activation, x, out, 0, 0, 0, 0, 0, 0, n, n_in, settings)
        elif n * n_in * n_out < SMALL and not is_sparse:
            _forward_small(network, index, scratch.inputs if index == 0 else outputs, a_at, n)
        else:
            weights, z = matrix(values, layers[index, WEIGHTS_AT], n_in, n_out), matrix(outputs, z_at, n, n_out)
            biases = values[layers[index, BIASES_AT] : layers[index, BIASES_AT] + n_out]
            if is_sparse:
                _multiply_sparse(rows, picked, weights, biases, z)
            elif index == 0 and rows.mostly_zero:
                _multiply_mostly_zero(
                    matrix(scratch.inputs, 0, n, n_in), weights, biases, z, scratch.entry_columns, scratch.entries
                )
            else:
                np.dot(matrix(scratch.inputs if index == 0 else outputs, a_at, n, n_in), weights, z)
                add_bias(z, biases)


@inlined
def backward(network: Network, rows: Rows, scratch: Scratch, picked: IntArray) -> None:
    """Write all gradients, from the error of the outputs in the first row of ``errors``."""
    n, layers, outputs, errors = picked.size, network.layers, network.outputs, network.errors
    here = 0  # the row of ``errors`` with dL/d(output); the other one gets dL/d(input)
    for index in range(layers.shape[0] - 1, -1, -1):
        pull_back, n_in, n_out = layers[index, BACKWARD], layers[index, N_IN], layers[index, N_OUT]
        z_at = layers[index, OUTPUT_AT]
        a_at = layers[index - 1, OUTPUT_AT] if index > 0 else 0
        is_sparse = index == 0 and rows.dense.shape[0] == 0
        if pull_back != 0:
            x, output = outputs[a_at:].ctypes.data, outputs[z_at:].ctypes.data
            error, out = errors[here].ctypes.data, errors[1 - here].ctypes.data
            settings = network.settings[index].ctypes.data
            call_address(pull_back, x, output, error, out, 0, 0, 0, 0, n, n_in, settings)
        elif n * n_in * n_out < SMALL and not is_sparse:
            _backward_small(network, index, scratch.inputs if index == 0 else outputs, a_at, n, here)
        else:
            error = matrix(errors[here], 0, n, n_out)
            gradient = matrix(network.gradients, layers[index, WEIGHTS_AT], n_in, n_out)
            sum_rows(error, network.gradients[layers[index, BIASES_AT] : layers[index, BIASES_AT] + n_out])
            if is_sparse:
                _multiply_sparse_transposed(rows, picked, error, gradient)
            else:
                np.dot(matrix(scratch.inputs if index == 0 else outputs, a_at, n, n_in).T, error, gradient)
            if index > 0:
                weights = matrix(network.values, layers[index, WEIGHTS_AT], n_in, n_out)
                np.dot(error, weights.T, matrix(errors[1 - here], 0, n, n_in))
        here = 1 - here
