"""Many training steps in one call: gather, forward, loss, backward and update, with no Python between them."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.kernels.codes import (
    FORWARD,
    N_IN,
    N_OUT,
    OUTPUT_AT,
    WEIGHTS_AT,
)
from chainrule.kernels.numba_kernels.chain import Network, Rows, Scratch, backward, forward, gather, matrix
from chainrule.kernels.numba_kernels.compile import compiled, inlined
from chainrule.kernels.numba_kernels.linear import limit_column_norms
from chainrule.kernels.numba_kernels.updates import add_scaled, add_signs
from chainrule.types import Array, IntArray

__all__ = ["Network", "Rows", "Scratch", "Update", "train_steps"]


class Update(NamedTuple):
    """The update of the weights by their gradient."""

    rule: int  # the address of the compiled rule
    arrays: IntArray  # the addresses of the arrays that it takes: weights, gradient and state
    item_size: int  # of a number, in bytes
    decay_place: int  # where the weight decay stands among its numbers; -1 for none
    n_steps: IntArray  # how many steps have been taken
    n_penalized: int
    l1: float
    l2: float
    clip_norm: float  # 0 for no limit, here and below
    max_norm: float
    gradient_norm: Array  # one number: that of the last step, before clipping


@inlined
def _evaluate(network: Network, scratch: Scratch, n: int) -> float:
    """Return the mean loss and write its derivative into the first row of ``errors``."""
    width, start = network.layers[-1, N_OUT], network.layers[-1, OUTPUT_AT]
    y_true, y_pred = scratch.targets.ctypes.data, network.outputs[start:].ctypes.data
    weights, error = scratch.row_weights.ctypes.data, network.errors[0].ctypes.data
    numbers = network.loss_numbers.ctypes.data
    value: float = call_address(network.loss, y_true, y_pred, weights, error, 0, 0, 0, 0, n, width, numbers)
    return value


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
def _apply_rule(update: Update, first: int, size: int, numbers: Array) -> None:
    """Step ``size`` parameters from ``first`` on."""
    a, offset = update.arrays, first * update.item_size
    call_address(
        update.rule, a[0] + offset, a[1] + offset, a[2] + offset, a[3] + offset, a[4] + offset, a[5] + offset,
        a[6] + offset, a[7] + offset, 1, size, numbers.ctypes.data,
    )  # fmt: skip


@inlined
def _descend(network: Network, update: Update, numbers: Array) -> None:
    """Penalty, clipping, the optimizer's step, and the limit on the norms of the weights."""
    values, gradients = network.values, network.gradients
    if update.l1 != 0:
        add_signs(gradients[: update.n_penalized], values[: update.n_penalized], update.l1)
    if update.l2 != 0:
        add_scaled(gradients[: update.n_penalized], values[: update.n_penalized], update.l2)
    if update.clip_norm != 0:
        _clip(gradients, update)
    update.n_steps[0] += 1
    decay = numbers[update.decay_place] if update.decay_place >= 0 else 0.0
    n_decayed = update.n_penalized if decay != 0 else values.size
    _apply_rule(update, 0, n_decayed, numbers)
    if n_decayed < values.size:
        numbers[update.decay_place] = 0.0
        _apply_rule(update, n_decayed, values.size - n_decayed, numbers)
    if update.max_norm != 0:
        for index in range(network.layers.shape[0]):
            n_in, n_out = network.layers[index, N_IN], network.layers[index, N_OUT]
            start = network.layers[index, WEIGHTS_AT]
            if network.layers[index, FORWARD] == 0:
                limit_column_norms(matrix(values, start, n_in, n_out), update.max_norm)


@compiled
def train_steps(
    network: Network,
    rows: Rows,
    update: Update,
    scratch: Scratch,
    order: IntArray,
    batch_size: int,
    numbers: Array,
    losses: Array,
    record: Array,
) -> int:
    """Take a step for each row of ``numbers``, which the optimizer's rule gets, on the rows that ``order`` names.

    A step takes ``batch_size`` of them, the last one perhaps fewer. Writes the mean loss of each step before its
    update, and, where ``record`` has room, the outputs of all rows in their order. Returns how many steps were taken:
    fewer where a loss is not finite, and then without that update.
    """
    width, start = network.layers[-1, N_OUT], network.layers[-1, OUTPUT_AT]
    for step in range(len(numbers)):
        picked = order[step * batch_size : min((step + 1) * batch_size, order.size)]
        n = picked.size
        gather(rows, picked, scratch)
        forward(network, rows, scratch, picked)
        losses[step] = _evaluate(network, scratch, n)
        if not math.isfinite(losses[step]):
            return step
        if record.shape[0] > 0:
            for i in range(n):
                for j in range(width):
                    record[step * batch_size + i, j] = network.outputs[start + i * width + j]
        backward(network, rows, scratch, picked)
        _descend(network, update, numbers[step])
    return len(numbers)
