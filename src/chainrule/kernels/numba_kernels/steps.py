"""Many training steps in one call: gather, forward, loss, backward and update, with no Python between them.

The layers' own code takes a training step through some thirty calls from Python, which is most of the time of a small
network. For chains of dense layers and elementwise activations this module does the same arithmetic, with the same
kernels, from a table that says what stands where (:class:`Network`); ``engines/step_program.py`` writes the table.

Matrices lie one after another in flat arrays; :func:`_matrix` makes a view of one.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from chainrule.kernels.numba_kernels.activations import (
    identity,
    identity_gradient,
    leaky_relu,
    leaky_relu_gradient,
    relu,
    relu_gradient,
    sigmoid,
    sigmoid_gradient,
    tanh_gradient,
)
from chainrule.kernels.numba_kernels.compile import compiled, inlined
from chainrule.kernels.numba_kernels.linear import (
    add_bias,
    add_csr_row,
    add_to_csr_rows,
    limit_column_norms,
    sum_rows,
)
from chainrule.kernels.numba_kernels.losses import sigmoid_binary_cross_entropy, softmax_cross_entropy, squared_error
from chainrule.kernels.numba_kernels.updates import adam, adamw, add_scaled, add_signs, momentum_descent, rmsprop
from chainrule.types import Array, IntArray

__all__ = ["ACTIVATIONS", "DENSE", "LOSSES", "UPDATES", "Network", "Rows", "Scratch", "Update", "train_steps"]

# The numbers of what the compiled code knows, by the names of the kernels.
DENSE = 0
ACTIVATIONS = {"identity": 1, "relu": 2, "leaky_relu": 3, "sigmoid": 4, "tanh": 5}
LOSSES = {"softmax_cross_entropy": 0, "sigmoid_binary_cross_entropy": 1, "squared_error": 2}
UPDATES = {"momentum_descent": 0, "adam": 1, "adamw": 2, "rmsprop": 3}

_IDENTITY, _RELU, _LEAKY_RELU, _SIGMOID = 1, 2, 3, 4
_SOFTMAX_CROSS_ENTROPY, _SIGMOID_BINARY_CROSS_ENTROPY = 0, 1
_MOMENTUM_DESCENT, _ADAM, _ADAMW = 0, 1, 2

_SMALL = 512  # a product of fewer multiplications is done before BLAS has begun


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
    """The chain of layers.

    A row of ``layers`` holds: what it is (DENSE or an activation), the widths of its input and its output, where its
    weights and biases begin in ``values`` and ``gradients``, and where its output begins in ``outputs``.
    """

    layers: IntArray
    settings: Array  # the number that an activation takes, such as a slope
    values: Array
    gradients: Array
    outputs: Array
    errors: Array  # two rows, each with room for the error of any layer
    loss: int


class Update(NamedTuple):
    """What is done with the gradient; the ``state`` arrays are those that the rule's kernel takes, in their order."""

    rule: int
    settings: Array
    first_state: Array
    second_state: Array
    third_state: Array
    n_steps: IntArray  # how many steps have been taken
    n_penalized: int
    l1: float
    l2: float
    clip_norm: float  # 0 for no limit, here and below
    max_norm: float
    gradient_norm: Array  # one number: that of the last step, before clipping


class Scratch(NamedTuple):
    """Room for what a step works out on its way."""

    inputs: Array  # flat
    targets: Array
    row_weights: Array
    entry_columns: IntArray  # the entries of one row that are not 0
    entries: Array


@compiled
def _matrix(flat: Array, start: int, n_rows: int, n_columns: int) -> Array:
    """Return the part of a flat array that is this matrix."""
    return flat[start : start + n_rows * n_columns].reshape(n_rows, n_columns)


# Small layers are worked out on the flat arrays themselves: to make a view costs more than the products.


@inlined
def _forward_small(network: Network, index: int, a: Array, a_at: int, n_rows: int) -> None:
    """Write z = a W + b."""
    n_in, n_out, w_at = network.layers[index, 1], network.layers[index, 2], network.layers[index, 3]
    b_at, z_at = network.layers[index, 4], network.layers[index, 5]
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
    n_in, n_out = network.layers[index, 1], network.layers[index, 2]
    w_at, b_at = network.layers[index, 3], network.layers[index, 4]
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
def _multiply_mostly_zero(a: Array, weights: Array, biases: Array, out: Array, scratch: Scratch) -> None:
    """Write a W + b, with the rows of W that stand behind zeros left out."""
    columns, entries = scratch.entry_columns, scratch.entries
    for i in range(a.shape[0]):
        source, row, found = a[i], out[i], 0
        for j in range(source.size):
            # Every number is written, and the place moves on only behind one that counts: no branch to mispredict.
            columns[found] = j
            entries[found] = source[j]
            found += int(source[j] != 0)
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


@compiled
def _activate(kind: int, setting: float, z: Array, out: Array) -> None:
    if kind == _RELU:
        relu(z, out)
    elif kind == _SIGMOID:
        sigmoid(z, out)
    elif kind == _LEAKY_RELU:
        leaky_relu(z, setting, out)
    elif kind == _IDENTITY:
        identity(z, out)
    else:
        for i in range(z.size):
            out[i] = np.tanh(z[i])


@compiled
def _pull_back(kind: int, setting: float, z: Array, output: Array, error: Array, out: Array) -> None:
    if kind == _RELU:
        relu_gradient(z, output, error, out)
    elif kind == _SIGMOID:
        sigmoid_gradient(z, output, error, out)
    elif kind == _LEAKY_RELU:
        leaky_relu_gradient(z, output, error, setting, out)
    elif kind == _IDENTITY:
        identity_gradient(z, output, error, out)
    else:
        tanh_gradient(z, output, error, out)


@inlined
def _gather(rows: Rows, picked: IntArray, scratch: Scratch) -> None:
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
def _forward(network: Network, rows: Rows, scratch: Scratch, picked: IntArray) -> None:
    n, layers, outputs, values = picked.size, network.layers, network.outputs, network.values
    for index in range(layers.shape[0]):
        kind, n_in, n_out, z_at = layers[index, 0], layers[index, 1], layers[index, 2], layers[index, 5]
        a_at = layers[index - 1, 5] if index > 0 else 0
        is_sparse = index == 0 and rows.dense.shape[0] == 0
        if kind != DENSE:
            a, z = outputs[a_at : a_at + n * n_in], outputs[z_at : z_at + n * n_out]
            _activate(kind, network.settings[index], a, z)
        elif n * n_in * n_out < _SMALL and not is_sparse:
            _forward_small(network, index, scratch.inputs if index == 0 else outputs, a_at, n)
        else:
            weights, z = _matrix(values, layers[index, 3], n_in, n_out), _matrix(outputs, z_at, n, n_out)
            biases = values[layers[index, 4] : layers[index, 4] + n_out]
            if is_sparse:
                _multiply_sparse(rows, picked, weights, biases, z)
            elif index == 0 and rows.mostly_zero:
                _multiply_mostly_zero(_matrix(scratch.inputs, 0, n, n_in), weights, biases, z, scratch)
            else:
                np.dot(_matrix(scratch.inputs if index == 0 else outputs, a_at, n, n_in), weights, z)
                add_bias(z, biases)


@inlined
def _evaluate(network: Network, scratch: Scratch, n: int) -> float:
    """Return the mean loss and write its derivative into the first row of ``errors``."""
    width, start = network.layers[-1, 2], network.layers[-1, 5]
    outputs, error = _matrix(network.outputs, start, n, width), _matrix(network.errors[0], 0, n, width)
    targets, row_weights = scratch.targets[:n], scratch.row_weights[:n]
    if network.loss == _SOFTMAX_CROSS_ENTROPY:
        return softmax_cross_entropy(targets, outputs, row_weights, error)
    if network.loss == _SIGMOID_BINARY_CROSS_ENTROPY:
        return sigmoid_binary_cross_entropy(targets, outputs, row_weights, error)
    return squared_error(targets, outputs, row_weights, error)


@inlined
def _backward(network: Network, rows: Rows, scratch: Scratch, picked: IntArray) -> None:
    n, layers, outputs, errors = picked.size, network.layers, network.outputs, network.errors
    here = 0  # the row of ``errors`` with dL/d(output); the other one gets dL/d(input)
    for index in range(layers.shape[0] - 1, -1, -1):
        kind, n_in, n_out, z_at = layers[index, 0], layers[index, 1], layers[index, 2], layers[index, 5]
        a_at = layers[index - 1, 5] if index > 0 else 0
        is_sparse = index == 0 and rows.dense.shape[0] == 0
        if kind != DENSE:
            a, z = outputs[a_at : a_at + n * n_in], outputs[z_at : z_at + n * n_out]
            _pull_back(kind, network.settings[index], a, z, errors[here, : n * n_out], errors[1 - here, : n * n_in])
        elif n * n_in * n_out < _SMALL and not is_sparse:
            _backward_small(network, index, scratch.inputs if index == 0 else outputs, a_at, n, here)
        else:
            error = _matrix(errors[here], 0, n, n_out)
            gradient = _matrix(network.gradients, layers[index, 3], n_in, n_out)
            sum_rows(error, network.gradients[layers[index, 4] : layers[index, 4] + n_out])
            if is_sparse:
                _multiply_sparse_transposed(rows, picked, error, gradient)
            else:
                np.dot(_matrix(scratch.inputs if index == 0 else outputs, a_at, n, n_in).T, error, gradient)
            if index > 0:
                weights = _matrix(network.values, layers[index, 3], n_in, n_out)
                np.dot(error, weights.T, _matrix(errors[1 - here], 0, n, n_in))
        here = 1 - here


@compiled
def _clip(gradients: Array, update: Update) -> None:
    total = 0.0
    for i in range(gradients.size):
        total += np.float64(gradients[i]) * np.float64(gradients[i])
    norm = update.gradient_norm[0] = math.sqrt(total)
    if norm > update.clip_norm:
        factor = gradients.dtype.type(update.clip_norm / norm)
        for i in range(gradients.size):
            gradients[i] *= factor


@inlined
def _descend(network: Network, update: Update, rate: float) -> None:
    """Penalty, clipping, the optimizer's step, and the limit on the norms of the weights."""
    values, gradients, settings = network.values, network.gradients, update.settings
    if update.l1 != 0:
        add_signs(gradients[: update.n_penalized], values[: update.n_penalized], update.l1)
    if update.l2 != 0:
        add_scaled(gradients[: update.n_penalized], values[: update.n_penalized], update.l2)
    if update.clip_norm != 0:
        _clip(gradients, update)
    update.n_steps[0] += 1
    t, one, two = update.n_steps[0], update.first_state, update.second_state
    if update.rule in (_ADAM, _ADAMW):
        beta1, beta2, epsilon = settings[0], settings[1], settings[2]
        step_size, root_correction = rate / (1 - beta1**t), math.sqrt(1 - beta2**t)
        if update.rule == _ADAM:
            adam(values, gradients, one, two, beta1, beta2, step_size, root_correction, epsilon)
        else:
            decay, n = rate * settings[3], update.n_penalized
            adamw(values, gradients, one, two, beta1, beta2, step_size, root_correction, epsilon, decay, n)
    elif update.rule == _MOMENTUM_DESCENT:
        momentum_descent(values, gradients, one, rate, settings[0], settings[1] != 0)
    else:
        alpha, epsilon, momentum, centered = settings[0], settings[1], settings[2], settings[3] != 0
        rmsprop(values, gradients, one, two, update.third_state, rate, alpha, epsilon, momentum, centered)
    if update.max_norm != 0:
        for index in range(network.layers.shape[0]):
            n_in, n_out, start = network.layers[index, 1], network.layers[index, 2], network.layers[index, 3]
            if network.layers[index, 0] == DENSE:
                limit_column_norms(_matrix(values, start, n_in, n_out), update.max_norm)


@compiled
def train_steps(
    network: Network,
    rows: Rows,
    update: Update,
    scratch: Scratch,
    order: IntArray,
    batch_size: int,
    rates: Array,
    losses: Array,
    record: Array,
) -> int:
    """Take ``len(rates)`` steps on the rows that ``order`` names, ``batch_size`` at a time; the last may be fewer.

    Writes the mean loss of each step before its update, and, where ``record`` has room, the outputs of all rows in
    their order. Returns how many steps were taken: fewer where a loss is not finite, and then without that update.
    """
    width, start = network.layers[-1, 2], network.layers[-1, 5]
    for step in range(rates.size):
        picked = order[step * batch_size : min((step + 1) * batch_size, order.size)]
        n = picked.size
        _gather(rows, picked, scratch)
        _forward(network, rows, scratch, picked)
        losses[step] = _evaluate(network, scratch, n)
        if not math.isfinite(losses[step]):
            return step
        if record.shape[0] > 0:
            for i in range(n):
                for j in range(width):
                    record[step * batch_size + i, j] = network.outputs[start + i * width + j]
        _backward(network, rows, scratch, picked)
        _descend(network, update, rates[step])
    return rates.size
