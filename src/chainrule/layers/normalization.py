"""Normalisation layers, which keep the outputs of other layers at mean 0 and variance 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, TypeAlias, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.layers.base import ArrayAttribute, Layer
from chainrule.program import Program, Value
from chainrule.ranges import ANY_NUMBER, Range
from chainrule.settings import SHARE, Setting
from chainrule.types import Array, Inputs, Shape

__all__ = ["BatchNormalizationLayer", "LayerNormalizationLayer"]


# Smaller numbers may be rounded to 0 in float32. Larger ones are more likely to be a number of features.
Epsilon: TypeAlias = Annotated[float, Setting("Added to the variance.", Range(1e-30, 1, includes_low=True))]


class _NormalizationLayer(Layer):
    """The base class of both layers: the output is ``scale * h + shift``, or h itself with ``affine=False``."""

    output_range: ClassVar[Range | None] = ANY_NUMBER

    epsilon: float
    affine: bool

    scale = ArrayAttribute("The learned factors, shape of a row, initially 1.")
    shift = ArrayAttribute("The learned offsets, shape of a row, initially 0.")

    def get_array(self, name: str) -> Array:
        """Return the parameter or the state ``name``. Raises InvalidInputError if ``affine=False`` leaves it out."""
        if not self.affine and name in ("scale", "shift"):
            raise InvalidInputError(f"A {type(self).__name__} with affine=False has no {name}.")
        return super().get_array(name)

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shapes of scale and shift, if there are any."""
        return {"scale": self.input_shape(), "shift": self.input_shape()} if self.affine else {}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set scale 1 and shift 0."""
        if self.affine:
            self.parameter_views["scale"].fill(1)
            self.parameter_views["shift"].fill(0)

    def write_output(self, normalized: Array, output: Array) -> None:
        """Write ``scale * h + shift``."""
        output[...] = self.scale * normalized + self.shift if self.affine else normalized

    def write_gradients(self, error: Array, normalized: Array) -> Array:
        """Write the gradients of scale and shift; return dL/dh."""
        if not self.affine:
            return error
        np.sum(error * normalized, axis=0, out=self.gradient_views["scale"])
        np.sum(error, axis=0, out=self.gradient_views["shift"])
        h_error: Array = error * self.scale
        return h_error

    def lower_affine(self, program: Program, h: Value) -> Value:
        """Return ``scale * h + shift``."""
        return program.map(scale_and_shift, h, self.array("scale"), self.array("shift")) if self.affine else h


@final
@dataclass(eq=False)
class BatchNormalizationLayer(_NormalizationLayer):
    r"""Normalises every feature by its mean and variance over the batch.

    .. math:: y = \gamma h + \beta, \qquad h = \frac{x - \mu}{\sqrt{v + \epsilon}}

    :math:`\gamma` is ``scale`` and :math:`\beta` is ``shift``, of shape (features,), as every parameter of the layer.
    The input x has shape (rows, features). In training, the mean :math:`\mu` and the variance v are those of the n rows
    of the batch (the variance with divisor n), and the running statistics r are updated by

    .. math:: r \leftarrow (1 - \text{momentum}) \, r + \text{momentum} \cdot \text{statistic of the batch}

    with the unbiased variance of the batch (divisor n - 1). In inference, h is computed from the running statistics, so
    that the output of a row does not depend on other rows. This is the definition of PyTorch's ``BatchNorm1d``. With
    ``affine=False``, y is h and there are no parameters.

    Backward, with :math:`e = \partial L / \partial y`, since the mean and the variance depend on every row:

    .. math::
       \frac{\partial L}{\partial \gamma} = \sum_i e_i h_i, \qquad
       \frac{\partial L}{\partial \beta} = \sum_i e_i, \qquad
       \frac{\partial L}{\partial x} = \frac{\gamma}{\sqrt{v + \epsilon}}
       \left(e - \operatorname{mean}(e) - h \operatorname{mean}(e h)\right)

    An offset that is the same in every row, such as the biases of a dense layer before this layer, cancels out in
    training. A network therefore sets the gradient of these biases to exactly 0. Otherwise, it would be a rounding
    error, which Adam would turn into steps of full length.

    A training batch of one row has no variance (PyTorch raises an error). Such a batch, often the last of an epoch, is
    normalised by the running statistics, which are treated as constants and not updated.

    Source: Ioffe and Szegedy 2015, Batch normalization, algorithms 1 and 2.

    >>> layer = BatchNormalizationLayer()
    >>> layer.set_input_shape((1,))
    >>> layer.forward_propagation([[0], [10]], training=True).round(3).tolist()
    [[-1.0], [1.0]]
    >>> layer.running_mean.tolist(), layer.running_variance.tolist()
    ([0.5], [5.900000095367432])
    """

    takes_vectors_only: ClassVar[bool] = True
    mixes_rows: ClassVar[bool] = True

    momentum: Annotated[float, Setting("Weight of the newest batch.", SHARE)] = 0.1
    epsilon: Epsilon = 1e-5
    affine: Annotated[bool, Setting(since="0.2")] = True

    running_mean = ArrayAttribute("The mean that inference subtracts, shape (n_features,).")
    running_variance = ArrayAttribute("The variance that inference normalises by, shape (n_features,).")

    def state_shapes(self) -> dict[str, Shape]:
        """Return the shapes of the running statistics."""
        return {"running_mean": self.input_shape(), "running_variance": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set scale 1, shift 0, running mean 0 and running variance 1."""
        super().draw_parameters(rng)
        self.state["running_mean"].fill(0)
        self.state["running_variance"].fill(1)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``scale * h + shift``."""
        x: Array = self._check_inputs(inputs)
        mean, variance = self.running_mean, self.running_variance
        if training and len(x) > 1:
            mean, variance = self._buffer("mean", mean.shape), self._buffer("variance", variance.shape)
            mean[...] = x.mean(axis=0, dtype=np.float64)
            variance[...] = np.square(x - mean).mean(axis=0, dtype=np.float64)
            self._update_running_statistics(mean, variance, len(x))
        inverse_deviation = self._allocate("inverse_deviation", variance.shape, training)
        np.add(variance, self.epsilon, out=inverse_deviation)
        np.sqrt(inverse_deviation, out=inverse_deviation)
        np.divide(1, inverse_deviation, out=inverse_deviation)
        output = self._allocate("output", x.shape, training)
        normalized = self._buffer("normalized", x.shape) if training else output
        np.multiply(x - mean, inverse_deviation, out=normalized)
        self.write_output(normalized, output)
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of scale and shift; return dL/dx, including the terms of the batch mean and variance."""
        error = self._check_error(output_error)
        normalized = self._buffer("normalized", error.shape)
        h_error = self.write_gradients(error, normalized)
        input_error = None
        if self.needs_input_error:
            inverse_deviation = self._buffer("inverse_deviation", self.input_shape())
            input_error = self._buffer("input_error", error.shape)
            centered = h_error
            if len(error) > 1:  # for one row, the statistics were constants
                means = np.mean(h_error, axis=0), np.mean(h_error * normalized, axis=0)
                centered = h_error - (means[0] + normalized * means[1])
            np.multiply(centered, inverse_deviation, out=input_error)
        self._update_parameters()
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``scale * h + shift``."""
        mean, variance = self.array("running_mean"), self.array("running_variance")
        if program.is_training:
            h = program.batch_normalize(x, mean, variance, self.momentum, self.epsilon)
        else:
            h = program.map(self.standardize, x, mean, variance)
        return self.lower_affine(program, h)

    def standardize(self, x: Array, mean: Array, variance: Array) -> Array:
        """Return ``(x - mean) / sqrt(variance + epsilon)``."""
        return (x - mean) / np.sqrt(variance + self.epsilon)

    def _update_running_statistics(self, mean: Array, variance: Array, n_rows: int) -> None:
        """Update the running statistics by those of a batch."""
        running_mean, running_variance = self.running_mean, self.running_variance
        running_mean += self.momentum * (mean - running_mean)
        running_variance += self.momentum * (variance * (n_rows / (n_rows - 1)) - running_variance)


@final
@dataclass(eq=False)
class LayerNormalizationLayer(_NormalizationLayer):
    r"""Normalises every row by the mean and variance of its own features.

    .. math:: y = \gamma h + \beta, \qquad h = \frac{x - \mu}{\sqrt{v + \epsilon}}

    :math:`\gamma` is ``scale`` and :math:`\beta` is ``shift``, of the shape of a row. The mean :math:`\mu` and the
    variance v are those of all features of the row (the variance with the number of features as divisor), in training
    and in inference. This is the definition of PyTorch's ``LayerNorm(input_shape)``. With ``affine=False``, y is h and
    there are no parameters.

    Backward, with :math:`e = \partial L / \partial y`, :math:`g = \gamma e` and means over the row:

    .. math::
       \frac{\partial L}{\partial \gamma} = \sum_i e_i h_i, \qquad
       \frac{\partial L}{\partial \beta} = \sum_i e_i, \qquad
       \frac{\partial L}{\partial x} =
       \frac{g - \operatorname{mean}(g) - h \operatorname{mean}(g h)}{\sqrt{v + \epsilon}}

    Source: Ba, Kiros and Hinton 2016, Layer normalization, equation 4.

    >>> layer = LayerNormalizationLayer()
    >>> layer.set_input_shape((2,))
    >>> layer.forward_propagation([[0, 10], [7, 5]]).round(3).tolist()
    [[-1.0, 1.0], [1.0, -1.0]]
    """

    epsilon: Epsilon = 1e-5
    affine: Annotated[bool, Setting(since="0.2")] = True

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``scale * h + shift``."""
        x: Array = self._check_inputs(inputs)
        output = self._allocate("output", x.shape, training)
        normalized = self._buffer("normalized", x.shape) if training else output
        rows = x.reshape(len(x), -1)
        normalized[...] = self.standardize(rows).reshape(x.shape)
        self.write_output(normalized, output)
        if training:
            self.input, self.output = x, output
        return output

    def standardize(self, x: Array) -> Array:
        """Return h for rows that are vectors."""
        centered, deviation = self._center(x)
        return centered / deviation

    def _center(self, x: Array) -> tuple[Array, Array]:
        """Return ``x - mean`` and ``sqrt(variance + epsilon)``.

        The mean is subtracted twice. The second subtraction removes the rounding error of the first, which is large for
        rows that are far from 0.
        """
        centered: Array = x - np.mean(x, axis=-1, keepdims=True)
        centered = centered - np.mean(centered, axis=-1, keepdims=True)
        return centered, np.sqrt(np.mean(centered * centered, axis=-1, keepdims=True) + self.epsilon)

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of scale and shift; return dL/dx, including the terms of the row's mean and variance."""
        error = self._check_error(output_error)
        normalized = self._buffer("normalized", error.shape)
        h_error = self.write_gradients(error, normalized)
        input_error = None
        if self.needs_input_error:
            rows = (len(error), -1)
            x, h, g = self.input.reshape(rows), normalized.reshape(rows), h_error.reshape(rows)
            _, deviation = self._center(x)
            centered = g - np.mean(g, axis=1, keepdims=True) - h * np.mean(g * h, axis=1, keepdims=True)
            input_error = self._buffer("input_error", error.shape)
            input_error[...] = (centered / deviation).reshape(error.shape)
        self._update_parameters()
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``scale * h + shift``."""
        return self.lower_affine(program, program.map(self.standardize, x))

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Row i: ``dL_i/d(scale) = e_i * h_i`` and ``dL_i/d(shift) = e_i``."""
        if self.affine:
            error = self._check_error(output_error)
            np.multiply(error, self._buffer("normalized", error.shape), out=jacobian["scale"])
            jacobian["shift"][...] = error


def scale_and_shift(h: Array, scale: Array, shift: Array) -> Array:
    """Return ``scale * h + shift``."""
    return scale * h + shift
