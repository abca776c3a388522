"""Prediction of a few rows by a chain of dense layers and elementwise activations, in one piece of compiled code.

The table of layers is that of ``chain``. One row goes through all of them before the next, and of the layers' outputs
only the last two are kept.
"""

from __future__ import annotations

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.kernels.codes import BIASES_AT, FORWARD, N_IN, N_OUT, WEIGHTS_AT
from chainrule.kernels.numba_kernels.chain import matrix
from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.kernels.numba_kernels.linear import add_csr_row, find_entries
from chainrule.types import Array, IntArray

__all__ = ["predict_rows"]


@compiled
def predict_rows(layers: IntArray, values: Array, inputs: Array) -> Array:
    """Return the outputs of a chain, with no activation that takes a setting, for a few rows, one after another.

    Raises FloatingPointError for a row with a number that is not finite.

    For one row every weight is read once, whatever is done: what counts is to leave out those behind zeros (of the
    inputs, and of a ReLU), and not to go back to Python between the layers.
    """
    widest = inputs.shape[1]
    for index in range(layers.shape[0]):
        widest = max(widest, layers[index, N_OUT])
    here, there = np.empty(widest, values.dtype), np.empty(widest, values.dtype)
    columns, entries = np.empty(widest, np.int64), np.empty(widest, values.dtype)
    outputs = np.empty((inputs.shape[0], layers[-1, N_OUT]), values.dtype)
    for i in range(inputs.shape[0]):
        spoilt = values.dtype.type(0)
        for j in range(inputs.shape[1]):
            here[j] = inputs[i, j]
            spoilt += here[j] * values.dtype.type(0)  # NaN from a number that is not finite
        if spoilt != 0:
            raise FloatingPointError("a number is not finite")
        for index in range(layers.shape[0]):
            n_in, n_out = layers[index, N_IN], layers[index, N_OUT]
            if layers[index, FORWARD] == 0:
                found = find_entries(here[:n_in], columns, entries)
                for j in range(n_out):
                    there[j] = values[layers[index, BIASES_AT] + j]
                weights = matrix(values, layers[index, WEIGHTS_AT], n_in, n_out)
                add_csr_row(entries, columns, 0, found, weights, there[:n_out])
            else:
                x, out = here.ctypes.data, there.ctypes.data
                call_address(layers[index, FORWARD], x, out, 0, 0, 0, 0, 0, 0, 1, n_in, 0)
            here, there = there, here
        for j in range(outputs.shape[1]):
            outputs[i, j] = here[j]
    return outputs
