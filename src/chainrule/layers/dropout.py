"""Layers that add noise in training, as a regularisation: dropout and Gaussian noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import numpy as np

from chainrule.layers.base import Layer
from chainrule.program import Program, Value
from chainrule.ranges import ANY_NUMBER, Range
from chainrule.settings import BELOW_ONE, FROM_ZERO, Setting
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["DropoutLayer", "GaussianNoiseLayer"]


@final
@dataclass(eq=False)
class DropoutLayer(Layer):
    r"""Sets inputs to 0 at random in training, each with probability ``rate``; does nothing in inference.

    .. math:: y = x \, m, \qquad m = \begin{cases} 0 & \text{with probability } r \\ 1 / (1 - r) & \text{otherwise}
       \end{cases}, \qquad \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y} \, m

    The rate is r, and m is drawn independently for every element of every batch. The factor 1 / (1 - r) preserves the
    expectation, so that inference needs no scaling ("inverted" dropout). Inputs and outputs have the same shape.

    For a CSR matrix the output is a CSR matrix, and m is drawn for its stored values only, because a 0 stays 0. A CSR
    matrix can only be the input of the network, for which dL/dx is not needed; backward returns None.

    Source: Srivastava et al. 2014, Dropout: A simple way to prevent neural networks from overfitting, section 4 and,
    for the scaling, section 10.

    >>> layer = DropoutLayer(0.5)
    >>> layer.set_input_shape((3,))
    >>> layer.forward_propagation([[1, 2, 3]]).tolist()
    [[1.0, 2.0, 3.0]]
    >>> sorted(set(layer.forward_propagation(np.ones((100, 3)), training=True).ravel().tolist()))
    [0.0, 2.0]
    """

    accepts_sparse: ClassVar[bool] = True
    output_range: ClassVar[Range | None] = ANY_NUMBER

    rate: Annotated[float, Setting("Probability that an element is set to 0.", BELOW_ONE)] = 0.5

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``inputs * m`` in training, and the inputs unchanged otherwise."""
        x = self._check_inputs(inputs)
        if not training:
            return x  # type: ignore[no-any-return]
        values = x.data if is_sparse(x) else x
        positions = entry_positions(x) if is_sparse(x) else np.arange(x.size).reshape(x.shape)
        u = self.noise.draw("uniform", positions, self.dtype)
        mask, output = self._buffer("mask", values.shape), self._buffer("output", values.shape)
        mask[...] = self.drop(np.ones_like(values), u)
        np.multiply(values, mask, out=output)
        self.input, self.output = x, output
        if is_sparse(x):
            self.output = type(x)((output, x.indices, x.indptr), shape=x.shape, copy=False)
        return self.output

    def drop(self, x: Array, u: Array) -> Array:
        """Return x / (1 - rate) where the uniform number u is at least ``rate``, else 0."""
        return np.where(u >= self.rate, x / (1 - self.rate), 0)

    def lower(self, program: Program, x: Value) -> Value:
        """Return x with dropped elements in training, and x unchanged otherwise."""
        return program.map(self.drop, x, program.noise(x, self.noise, "uniform")) if program.is_training else x

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return ``output_error * m``."""
        error = self._check_error(output_error)
        if not self.needs_input_error or is_sparse(self.input):
            return None
        return np.multiply(error, self._buffer("mask", error.shape), out=self._buffer("input_error", error.shape))


@final
@dataclass(eq=False)
class GaussianNoiseLayer(Layer):
    r"""Adds Gaussian noise to its inputs in training; does nothing in inference.

    .. math:: y = x + \text{standard\_deviation} \cdot n, \qquad n \sim N(0, 1), \qquad
       \frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}

    n is drawn for every element of every batch. As the first layer, on standardised data, it is a data augmentation
    that has the effect of a penalty on steep functions. Inputs and outputs have the same shape.

    Source: Bishop 1995, Training with noise is equivalent to Tikhonov regularization.

    >>> layer = GaussianNoiseLayer(0.1)
    >>> layer.set_input_shape((3,))
    >>> layer.forward_propagation([[1, 2, 3]]).tolist()
    [[1.0, 2.0, 3.0]]
    """

    output_range: ClassVar[Range | None] = ANY_NUMBER

    standard_deviation: Annotated[float, Setting("Standard deviation of the noise.", FROM_ZERO)] = 0.1

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the inputs plus noise in training, and the inputs unchanged otherwise."""
        x: Array = self._check_inputs(inputs)
        if not training:
            return x
        output = self._buffer("output", x.shape)
        output[...] = self.add_noise(x, self.noise.draw("normal", np.arange(x.size).reshape(x.shape), self.dtype))
        self.input, self.output = x, output
        return output

    def add_noise(self, x: Array, n: Array) -> Array:
        """Return x + standard_deviation n."""
        return x + self.standard_deviation * n

    def lower(self, program: Program, x: Value) -> Value:
        """Return x plus noise in training, and x unchanged otherwise."""
        return program.map(self.add_noise, x, program.noise(x, self.noise, "normal")) if program.is_training else x

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return ``output_error`` unchanged."""
        error = self._check_error(output_error)
        return error if self.needs_input_error else None


def entry_positions(matrix: Inputs) -> Array:
    """Return the flat index of every stored entry of a CSR matrix: row * n_columns + column."""
    rows: Array = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    positions: Array = rows * matrix.shape[1] + matrix.indices
    return positions
