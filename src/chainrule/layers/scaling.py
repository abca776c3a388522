"""Layers that scale the inputs, so that the scaling of the data is a part of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from chainrule.arrays import all_finite, as_csr, refuse_masked
from chainrule.errors import DataError, InvalidInputError, array_place
from chainrule.layers.base import ArrayAttribute, Layer
from chainrule.program import Program, Value
from chainrule.ranges import ANY_NUMBER, Range
from chainrule.rounding import safe_deviation
from chainrule.settings import ABOVE_ZERO, Setting
from chainrule.types import Array, Inputs, Shape, is_sparse

__all__ = ["InputScalingLayer", "NaiveBayesWeightingLayer", "StandardizationLayer"]


@final
@dataclass(eq=False)
class InputScalingLayer(Layer):
    """Multiplies every input by a learned factor: ``y = x * scale``.

    ``scale`` has the shape of a row, and its initial value is 1. After training, a factor near 0 shows that the network
    does not use this input. Backward, with ``e = dL/dy``: ``dL/d(scale) = sum over rows of e * x``,
    ``dL/dx = e * scale``.

    >>> layer = InputScalingLayer()
    >>> layer.set_input_shape((2,))
    >>> layer.scale = [2, 0]
    >>> layer.forward_propagation([[1, 5]]).tolist()
    [[2.0, 0.0]]
    """

    output_range: ClassVar[Range | None] = ANY_NUMBER

    scale = ArrayAttribute("The learned factors, shape of a row.")

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of the factors."""
        return {"scale": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set the factors to 1."""
        self.parameter_views["scale"].fill(1)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``inputs * scale``."""
        x: Array = self._check_inputs(inputs)
        output: Array = np.multiply(x, self.scale, out=self._allocate("output", x.shape, training))
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradient of the factors; return ``output_error * scale``."""
        error = self._check_error(output_error)
        np.sum(error * self.input, axis=0, out=self.gradient_views["scale"])
        input_error = None
        if self.needs_input_error:
            input_error = np.multiply(error, self.scale, out=self._buffer("input_error", error.shape))
        self._update_parameters()
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``x * scale``."""
        return program.map(lambda x, scale: x * scale, x, self.array("scale"), name="scale")

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Row i: ``dL_i/d(scale) = e_i * x_i``."""
        np.multiply(self._check_error(output_error), self.input, out=jacobian["scale"])


@final
@dataclass(eq=False)
class StandardizationLayer(Layer):
    """Standardises every input by the statistics of the data: ``y = (x - mean) / scale``.

    :meth:`adapt` computes ``mean`` and ``scale`` (the standard deviation, with divisor n) from data, before training.
    Until then the layer is the identity. Training does not change ``mean`` and ``scale``, and neither does
    ``initialize``, or ``reset`` of a network, because they describe the data. They are float64 until the layer is added
    to a network, which converts them to its dtype. Backward: ``dL/dx = dL/dy / scale``.

    >>> layer = StandardizationLayer()
    >>> layer.adapt([[0, 5], [10, 5]]).forward_propagation([[20, 5]]).tolist()
    [[3.0, 0.0]]
    """

    learns_from_data: ClassVar[bool] = True
    output_range: ClassVar[Range | None] = ANY_NUMBER

    mean = ArrayAttribute("The means that are subtracted, shape of a row.")
    scale = ArrayAttribute("The divisors, shape of a row.")

    def adapt(self, X: npt.ArrayLike) -> StandardizationLayer:
        """Compute mean and scale from the rows of X and return the layer.

        The scale of an input that is constant up to rounding is 1.
        """
        if hasattr(X, "tocsr"):
            raise InvalidInputError(
                "A StandardizationLayer cannot adapt to a sparse matrix, because subtracting a mean would make it "
                "dense; give a dense array (X.toarray())."
            )
        refuse_masked(X, "X")
        given = np.asarray(X)
        rows = given.astype(np.float64)
        if rows.ndim < 2 or len(rows) == 0:
            raise InvalidInputError(
                "StandardizationLayer.adapt needs rows of at least one dimension, and at least one row; it was given "
                f"an array of shape {rows.shape}."
            )
        if self.is_built and rows.shape[1:] != self.input_shape():
            raise InvalidInputError(
                f"This StandardizationLayer expects rows of shape {self.input_shape()}; it was given an array of shape "
                f"{rows.shape}."
            )
        if not np.isfinite(rows).all():
            place = np.argwhere(~np.isfinite(rows))[0]
            raise DataError(
                f"X has {rows[tuple(place)]} in {array_place(*place)}; StandardizationLayer.adapt needs finite numbers."
            )
        if not self.is_built:
            self.set_input_shape(rows.shape[1:])
        found = {"mean": rows.mean(axis=0), "scale": safe_deviation(given if given.dtype.kind == "f" else rows)}
        if self.is_bound:
            self.mean, self.scale = found["mean"], found["scale"]
        else:
            self.state = found
        return self

    def state_shapes(self) -> dict[str, Shape]:
        """Return the shapes of mean and scale."""
        return {"mean": self.input_shape(), "scale": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set mean 0 and scale 1."""
        self.state["mean"].fill(0)
        self.state["scale"].fill(1)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``(inputs - mean) / scale``."""
        x: Array = self._check_inputs(inputs)
        output = self._allocate("output", x.shape, training)
        np.divide(x - self.mean.astype(self.dtype), self.scale.astype(self.dtype), out=output)
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return ``output_error / scale``."""
        error = self._check_error(output_error)
        if not self.needs_input_error:
            return None
        input_error = self._buffer("input_error", error.shape)
        np.divide(error, self.scale.astype(self.dtype), out=input_error)
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``(x - mean) / scale``."""
        mean, scale = self.array("mean"), self.array("scale")
        return program.map(lambda x, mean, scale: (x - mean) / scale, x, mean, scale, name="standardize")


@final
@dataclass(eq=False)
class NaiveBayesWeightingLayer(Layer):
    r"""Multiplies every input by its weight in a naive Bayes classifier, the log-count ratio of two classes.

    .. math::
       y_j = r_j x_j, \qquad r_j = \log \frac{p_j / \sum_k p_k}{q_j / \sum_k q_k}, \qquad
       p_j = \alpha + \sum_{i \text{ of class 1}} x_{ij}, \qquad q_j = \alpha + \sum_{i \text{ of class 0}} x_{ij}

    The inputs are 0 and 1 for the words of a text, or counts of words. The ratios r are the weights of a multinomial
    naive Bayes classifier with the smoothing :math:`\alpha`. They are 1 until :meth:`adapt` computes them from the
    training rows. Training does not change them. A CSR matrix is multiplied without being converted to a dense array.
    Backward: :math:`\partial L / \partial x_j = r_j \, \partial L / \partial y_j`.

    Source: Wang and Manning 2012, Baselines and bigrams: simple, good sentiment and topic classification, section 2.

    >>> layer = NaiveBayesWeightingLayer().adapt([[1, 0, 1], [1, 1, 0], [0, 1, 1]], ["bad", "bad", "good"])
    >>> [round(float(ratio), 2) for ratio in layer.ratios]
    [-0.76, 0.34, 0.34]
    """

    accepts_sparse: ClassVar[bool] = True
    takes_vectors_only: ClassVar[bool] = True
    learns_from_data: ClassVar[bool] = True
    output_range: ClassVar[Range | None] = ANY_NUMBER

    smoothing: Annotated[float, Setting("Added to the counts of every input.", ABOVE_ZERO)] = 1.0

    ratios = ArrayAttribute("The log-count ratios, shape (inputs,).")

    def adapt(self, X: Inputs, y: npt.ArrayLike) -> NaiveBayesWeightingLayer:
        """Compute the ratios from the rows of X, which may be a sparse matrix, and their labels; return the layer.

        Class 1 is the second of the two labels in sorted order.
        """
        refuse_masked(X, "X")
        rows: Any = as_csr(X, "X") if is_sparse(X) else np.asarray(X, np.float64)
        labels, codes = np.unique(np.asarray(y), return_inverse=True)
        if rows.ndim != 2 or codes.shape != rows.shape[:1] or len(labels) != 2:
            raise InvalidInputError(
                "NaiveBayesWeightingLayer.adapt needs rows in two dimensions, and one label of two classes for each of "
                f"them; it was given X of shape {rows.shape} and y of shape {np.shape(y)} with {len(labels)} different "
                "labels."
            )
        values = rows.data if is_sparse(rows) else rows
        if not all_finite(values) or values.min(initial=0) < 0:
            raise DataError("X has a negative number or one that is not finite; the inputs are counts, or 0 and 1.")
        q, p = (self.smoothing + np.asarray(rows[codes == k].sum(axis=0, dtype=np.float64)).ravel() for k in (0, 1))
        self.set_input_shape(rows.shape[1:])
        self.initialize()
        self.ratios = np.log(p / p.sum()) - np.log(q / q.sum())
        return self

    def state_shapes(self) -> dict[str, Shape]:
        """Return the shape of the ratios."""
        return {"ratios": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set the ratios to 1."""
        self.state["ratios"].fill(1)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Any:
        """Return ``inputs * ratios``."""
        x = self._check_inputs(inputs)
        if is_sparse(x):
            output = type(x)((x.data * self.ratios[x.indices], x.indices, x.indptr), shape=x.shape, copy=False)
        else:
            output = np.multiply(x, self.ratios, out=self._allocate("output", x.shape, training))
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return ``output_error * ratios``."""
        error = self._check_error(output_error)
        if not self.needs_input_error or is_sparse(self.input):
            return None
        input_error: Array = np.multiply(error, self.ratios, out=self._buffer("input_error", error.shape))
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``x * ratios``."""
        return program.map(lambda x, ratios: x * ratios, x, self.array("ratios"), name="weight")
