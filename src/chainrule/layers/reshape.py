"""Layers that change the shape of a row only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

from chainrule.layers.base import Layer
from chainrule.program import Program, Value
from chainrule.types import Array, Inputs, Shape

__all__ = ["FlattenLayer"]


@final
@dataclass(eq=False)
class FlattenLayer(Layer):
    """Flattens every row to a vector: an image of shape (h, w) becomes a vector of shape (h * w,), in row-major order.

    The output is a view of the input. Backward: dL/d(input) is dL/d(output) in the shape of the input.

    >>> layer = FlattenLayer()
    >>> layer.set_input_shape((2, 2))
    >>> layer.forward_propagation([[[1, 2], [3, 4]]]).tolist()
    [[1.0, 2.0, 3.0, 4.0]]
    """

    keeps_range: ClassVar[bool] = True

    def output_shape(self) -> Shape:
        """Return ``(product of the input shape,)``."""
        return (math.prod(self.input_shape()),)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the inputs in the shape (rows, elements of a row)."""
        x: Array = self._check_inputs(inputs)
        output = x.reshape(len(x), *self.output_shape())
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return ``output_error`` in the shape of the inputs."""
        error = self._check_error(output_error)
        return error.reshape(self.input.shape) if self.needs_input_error else None

    def lower(self, program: Program, x: Value) -> Value:
        """Return x, because all rows are vectors in a program."""
        return x
