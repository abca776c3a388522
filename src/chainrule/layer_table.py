"""Chains of dense layers and elementwise activations as tables of numbers, for the compiled loops that take them whole.

``kernels/codes.py`` names the columns of the table and the numbers in them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from chainrule import kernels
from chainrule.activations import (
    LeakyReLUActivation,
    LinearActivation,
    ReLUActivation,
    SigmoidActivation,
    TanhActivation,
)
from chainrule.arrays import refuse_not_finite
from chainrule.kernels.codes import DENSE, IDENTITY, LEAKY_RELU, RELU, SIGMOID, TANH
from chainrule.layers import DenseLayer, Layer
from chainrule.parameters import ParameterBlock, ParameterVector
from chainrule.types import Array, IntArray

__all__ = ["FewRows", "as_read_only", "tabulate_layers"]

# By their very types: a subclass may do something else.
_KINDS: dict[type[Layer], int] = {
    DenseLayer: DENSE,
    LinearActivation: IDENTITY,
    ReLUActivation: RELU,
    LeakyReLUActivation: LEAKY_RELU,
    SigmoidActivation: SIGMOID,
    TanhActivation: TANH,
}


def tabulate_layers(layers: Sequence[Layer], blocks: Sequence[ParameterBlock], n_rows: int) -> IntArray:
    """Return a row for each layer up to the first one that the loops do not know; none without a dense one in front.

    The outputs of the layers, for ``n_rows`` rows, lie one after another; a row of the table ends with where its own
    begin.
    """
    starts = {(block.layer, block.name): block.start for block in blocks}
    table: list[tuple[int, ...]] = []
    size = 0
    for index, layer in enumerate(layers):
        if type(layer) not in _KINDS or (index == 0 and type(layer) is not DenseLayer):
            break
        n_in, n_out = layer.input_shape()[0], layer.output_shape()[0]
        weights, biases = (starts.get((index, name), 0) for name in ("weights", "biases"))
        table.append((_KINDS[type(layer)], n_in, n_out, weights, biases, size))
        size += n_rows * n_out
    return np.array(table, np.int64).reshape(-1, 6)


def as_read_only(array: Array) -> Array:
    """Return a contiguous view that cannot be written to: a loop is compiled again for each kind of array."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


class FewRows(NamedTuple):
    """What predicting few rows needs: the layers in front that a compiled loop knows, as a table, and the loop."""

    layers: list[Layer]
    table: IntArray
    loop: Callable[[IntArray, Array, Array], Array] | None

    @classmethod
    def of(cls, layers: list[Layer], vector: ParameterVector) -> FewRows:
        """Look at these layers; with the reference kernels, and behind a slope that may still be set, none is known."""
        if kernels.active_set() != "numba":
            return cls(layers.copy(), tabulate_layers([], vector.blocks, 1), None)
        from chainrule.kernels.numba_kernels.few_rows import predict_rows

        known = list(itertools.takewhile(lambda layer: not isinstance(layer, LeakyReLUActivation), layers))
        return cls(layers.copy(), tabulate_layers(known, vector.blocks, 1), predict_rows)

    def predict(self, rows: Array, n_layers: int, values: Array) -> tuple[Array, int]:
        """Go through as many of the first ``n_layers`` as the loop knows; return their outputs and how many they are.

        The parameters are in the flat vector ``values``; without a layer that is known the outputs are a copy.
        Raises FloatingPointError for a number that is not finite.
        """
        table = self.table[:n_layers]
        if self.loop is None or not len(table):
            refuse_not_finite(rows)
            return rows.copy(), 0
        return self.loop(table, values, as_read_only(rows)), len(table)
