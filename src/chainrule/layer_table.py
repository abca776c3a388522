"""Chains of dense layers and elementwise activations as tables of numbers, for the compiled loops that take them whole.

``kernels/codes.py`` names the columns of the table and the numbers in them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from chainrule import kernels
from chainrule.activations import ActivationLayer, TracedActivation
from chainrule.arrays import refuse_not_finite
from chainrule.formulas import values_of
from chainrule.layers import DenseLayer, Layer
from chainrule.parameters import ParameterVector
from chainrule.types import Array, IntArray

__all__ = ["FewRows", "as_read_only", "settings_table", "tabulate_layers"]


def tabulate_layers(layers: Sequence[Layer], vector: ParameterVector, n_rows: int) -> IntArray:
    """Return a row for each layer before the first one that the loops do not support; the first layer must be dense.

    The loops support dense layers, and activations without parameters whose formulas can be traced. The outputs of the
    layers for ``n_rows`` rows are stored one after another; the last column of the table is where they begin.
    """
    starts = {(block.layer, block.name): block.start for block in vector.blocks}
    table: list[tuple[int, ...]] = []
    size = 0
    for index, layer in enumerate(layers):
        loops = (0, 0)
        if isinstance(layer, ActivationLayer):
            traced = _traced(layer)
            if traced is None or traced.terms or index == 0:
                break
            loops = traced.forward.address(vector.values.dtype), traced.backward.address(vector.values.dtype)
        elif type(layer) is not DenseLayer:  # a subclass may compute something else
            break
        n_in, n_out = layer.input_shape()[0], layer.output_shape()[0]
        weights, biases = (starts.get((index, name), 0) for name in ("weights", "biases"))
        table.append((*loops, n_in, n_out, weights, biases, size))
        size += n_rows * n_out
    return np.array(table, np.int64).reshape(-1, 7)


def settings_table(layers: Sequence[Layer]) -> Array:
    """Return the present settings of the activations among these layers, a row for each layer."""
    rows = [values_of(layer, traced.settings) if (traced := _traced(layer)) is not None else () for layer in layers]
    table = np.zeros((len(rows), max(map(len, rows), default=0)))
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def _traced(layer: Layer) -> TracedActivation | None:
    return layer.traced() if isinstance(layer, ActivationLayer) else None


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
        """Prepare the leading layers; none with the NumPy kernels, and none after a setting that may change."""
        if kernels.active_set() != "numba":
            return cls(layers.copy(), tabulate_layers([], vector, 1), None)
        from chainrule.kernels.numba_kernels.few_rows import predict_rows

        known = list(
            itertools.takewhile(lambda layer: not isinstance(layer, ActivationLayer) or layer.is_fixed, layers)
        )
        return cls(layers.copy(), tabulate_layers(known, vector, 1), predict_rows)

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
