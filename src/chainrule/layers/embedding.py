"""Embeddings and encodings: layers that represent categories or numbers as vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from chainrule.errors import InvalidInputError, shown
from chainrule.layers.base import ArrayAttribute, Layer
from chainrule.named import also_called
from chainrule.program import Program, Value
from chainrule.ranges import ANY_NUMBER, Range, check_count
from chainrule.settings import ABOVE_ZERO, FROM_ONE, Setting
from chainrule.types import Array, Inputs, Shape

__all__ = ["EmbeddingLayer", "PeriodicEmbeddingLayer", "PiecewiseLinearEncodingLayer", "QuantileLayer"]

LEAST_SHARE = 0.005  # the share of the normal distribution below the least, and above the largest number
UNBOUNDED = 1e30  # instead of infinity, because model files contain no infinite numbers


@also_called(
    arguments={
        "num_embeddings": "n_categories",
        "input_dim": "n_categories",
        "embedding_dim": "n_dimensions",
        "output_dim": "n_dimensions",
    }
)
@final
@dataclass(eq=False)
class EmbeddingLayer(Layer):
    """Replaces every category by a learned vector: the code c in column j becomes row c of the table of column j.

    The inputs are integer codes: ``codes[i, j]`` is from 0 to ``n_categories[j] - 1``. The output has the vectors of
    all columns of a row, each with ``n_dimensions`` elements, one after another. The tables of all columns are stacked
    in ``vectors``, of shape (sum of ``n_categories``, ``n_dimensions``). Their initial values are drawn from N(0, 1),
    as in PyTorch's ``nn.Embedding``.

    Backward, with ``e = dL/d(output)``: the gradient of a table row is the sum of the parts of e at the positions of
    its code. Codes have no gradient, so the layer must be the first layer of the network or of a branch.

    Source: Guo and Berkhahn 2016, Entity embeddings of categorical variables.

    >>> layer = EmbeddingLayer([2, 3], 1)
    >>> layer.set_input_shape((2,))
    >>> layer.vectors = [[10], [20], [1], [2], [3]]
    >>> layer.forward_propagation([[1, 0], [0, 2]]).tolist()
    [[20.0, 1.0], [10.0, 3.0]]
    """

    takes_vectors_only: ClassVar[bool] = True
    penalized_parameters: ClassVar[tuple[str, ...]] = ("vectors",)
    output_range: ClassVar[Range | None] = ANY_NUMBER

    n_categories: tuple[int, ...]
    n_dimensions: Annotated[int, Setting("Length of the vectors.", FROM_ONE)]

    def __post_init__(self) -> None:
        given: Any = self.n_categories
        sizes = tuple(given) if isinstance(given, Sequence | np.ndarray) else (given,)
        if not sizes:
            raise InvalidInputError(
                f"The n_categories of an EmbeddingLayer are {shown(given)}; give the number for each column."
            )
        super().__post_init__()
        self.n_categories = tuple(check_count("an EmbeddingLayer", "n_categories", size) for size in sizes)

    vectors = ArrayAttribute("The stacked tables of all columns, shape (sum of n_categories, n_dimensions).")

    def set_input_shape(self, shape: Shape) -> None:
        """Set the shape of an input row, which must have one column for each element of ``n_categories``."""
        super().set_input_shape(shape)
        if self.input_shape() != (len(self.n_categories),):
            raise InvalidInputError(
                f"An EmbeddingLayer needs one input column for each of the {len(self.n_categories)} elements of "
                f"n_categories; its input rows have shape {self.input_shape()}."
            )

    def output_shape(self) -> Shape:
        """Return ``(columns * n_dimensions,)``."""
        return (self.input_shape()[0] * self.n_dimensions,)

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of the tables."""
        return {"vectors": (sum(self.n_categories), self.n_dimensions)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Draw the vectors from N(0, 1)."""
        self.parameter_views["vectors"][...] = rng.normal(size=self.parameter_shapes()["vectors"])

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the vectors of the codes."""
        codes: Array = self._check_inputs(inputs)
        output = self._allocate("output", (len(codes), *self.output_shape()), training)
        output[...] = self.vectors[self._rows_of(codes)].reshape(output.shape)
        if training:
            self.input, self.output = codes, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradient of the vectors; return 0 as the gradient of the codes."""
        error, gradient = self._check_error(output_error), self.gradient_views["vectors"]
        gradient.fill(0)
        np.add.at(gradient, self._rows_of(self.input), error.reshape(len(error), -1, self.n_dimensions))
        input_error = np.zeros_like(self.input) if self.needs_input_error else None
        self._update_parameters()
        return input_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Row i: dL_i/d(vectors) is ``output_error`` of the row at the table rows of its codes, and 0 elsewhere."""
        error, rows = self._check_error(output_error), np.arange(len(output_error))[:, None]
        jacobian["vectors"].fill(0)
        np.add.at(
            jacobian["vectors"], (rows, self._rows_of(self.input)), error.reshape(len(error), -1, self.n_dimensions)
        )

    def lower(self, program: Program, x: Value) -> Value:
        """Return the table rows of the codes."""
        return program.lookup(x, self.array("vectors"), self.n_categories)

    def _rows_of(self, codes: Array) -> Array:
        """Return the row numbers in ``vectors`` of the codes. Raises InvalidInputError for a code without a row."""
        wrong = ~((codes >= 0) & (codes < self.n_categories) & (np.floor(codes) == codes))
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise InvalidInputError(
                f"An EmbeddingLayer was given the code {codes[row, column]:g} in column {column + 1} (counted from 1); "
                f"give whole numbers from 0 to {self.n_categories[column] - 1} in this column."
            )
        first_rows = np.concatenate(([0], np.cumsum(self.n_categories[:-1])))
        rows: Array = codes.astype(np.intp) + first_rows.astype(np.intp)
        return rows


@final
@dataclass(eq=False)
class PeriodicEmbeddingLayer(Layer):
    r"""Represents every number by sines and cosines with learned frequencies.

    .. math:: y = \left(\sin(2 \pi c x), \cos(2 \pi c x)\right)

    Each column has ``n_frequencies`` frequencies c, with initial values from N(0, ``scale``^2). The input has shape
    (rows, columns), and the output (rows, 2 x columns x n_frequencies): the sines of all columns, ``n_frequencies`` for
    each, and then the cosines. They help a network to fit functions that change quickly with a number.

    Backward, with ``v = 2 pi c x``, ``s = dL/d(sin v)`` and ``k = dL/d(cos v)``: ``dL/dv = s cos(v) - k sin(v)``,
    ``dL/dc = sum over rows of 2 pi x dL/dv``, ``dL/dx = sum over the frequencies of 2 pi c dL/dv``.

    Source: Gorishniy, Rubachev and Babenko 2022, On embeddings for numerical features in tabular deep learning, section
    3.3 (arXiv 2203.05556).

    >>> layer = PeriodicEmbeddingLayer(2)
    >>> layer.set_input_shape((3,))
    >>> layer.output_shape(), layer.parameter_shapes()
    ((12,), {'frequencies': (6,)})
    """

    takes_vectors_only: ClassVar[bool] = True
    output_range: ClassVar[Range | None] = Range(-1, 1, includes_low=True, includes_high=True)

    n_frequencies: Annotated[int, Setting("Number of frequencies per column.", FROM_ONE)] = 16
    scale: Annotated[float, Setting("Standard deviation of the first frequencies.", ABOVE_ZERO)] = 0.1

    frequencies = ArrayAttribute("The frequencies, first those of column 0, shape (columns * n_frequencies,).")

    def output_shape(self) -> Shape:
        """Return ``(2 * columns * n_frequencies,)``."""
        return (2 * self.input_shape()[0] * self.n_frequencies,)

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of the frequencies."""
        return {"frequencies": (self.input_shape()[0] * self.n_frequencies,)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Draw the frequencies from N(0, scale^2)."""
        self.parameter_views["frequencies"][...] = rng.normal(0, self.scale, self.parameter_shapes()["frequencies"])

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the sines and the cosines."""
        x: Array = self._check_inputs(inputs)
        v = self.angle(np.repeat(x, self.n_frequencies, axis=1), self.frequencies)
        output = self._allocate("output", (len(x), *self.output_shape()), training)
        np.concatenate([np.sin(v), np.cos(v)], axis=1, out=output)
        if training:
            self.input, self.output = x, output
        return output

    def angle(self, x: Array, frequencies: Array) -> Array:
        """Return ``2 pi c x``."""
        return 2 * math.pi * (frequencies * x)

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradient of the frequencies; return dL/dx."""
        error, n_columns = self._check_error(output_error), self.input_shape()[0]
        angle_error = self._scaled_angle_error(error)
        x = np.repeat(self.input, self.n_frequencies, axis=1)
        np.sum(angle_error * x, axis=0, out=self.gradient_views["frequencies"])
        input_error = None
        if self.needs_input_error:
            parts = (angle_error * self.frequencies).reshape(len(error), n_columns, self.n_frequencies)
            input_error = parts.sum(axis=2)
        self._update_parameters()
        return input_error

    def _scaled_angle_error(self, error: Array) -> Array:
        """Return ``2 pi dL/dv``."""
        assert self.output is not None  # _check_error has checked it
        (sines, cosines), (s, k) = np.split(self.output, 2, axis=1), np.split(error, 2, axis=1)
        angle_error: Array = 2 * math.pi * (s * cosines - k * sines)
        return angle_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Row i: ``dL_i/dc = 2 pi x_i dL_i/dv``."""
        angle_error = self._scaled_angle_error(self._check_error(output_error))
        np.multiply(angle_error, np.repeat(self.input, self.n_frequencies, axis=1), out=jacobian["frequencies"])

    def lower(self, program: Program, x: Value) -> Value:
        """Return the sines and the cosines."""
        repeated = program.select(x, np.repeat(range(x.width), self.n_frequencies).tolist())
        v = program.map(self.angle, repeated, self.array("frequencies"))
        return program.concatenate(program.map(np.sin, v, name="sin"), program.map(np.cos, v, name="cos"))


@final
@dataclass(eq=False)
class PiecewiseLinearEncodingLayer(Layer):
    """Represents every number by its position in each of ``n_bins`` bins: 0 below a bin, 1 above it, linear inside.

    For bin t of a column, from edge b_(t-1) to b_t: ``(x - b_(t-1)) / (b_t - b_(t-1))``, clipped to the range from 0 to
    1. The first bin is not clipped at 0 and the last bin not at 1, so that numbers outside all bins stay different.
    :meth:`adapt` computes the edges from quantiles of the data, before training; training does not change them. The
    output has ``n_bins`` numbers for each column.

    Source: Gorishniy, Rubachev and Babenko 2022, On embeddings for numerical features in tabular deep learning,
    equation 1 (arXiv 2203.05556). The limit on frequent values in :meth:`adapt` is our own.

    >>> layer = PiecewiseLinearEncodingLayer(2).adapt([[0], [1], [3]])
    >>> layer.edges.tolist()
    [[0.0, 1.0, 3.0]]
    >>> layer.forward_propagation([[0.5], [2], [4]]).tolist()
    [[0.5, 0.0], [1.0, 0.5], [1.0, 1.5]]
    """

    takes_vectors_only: ClassVar[bool] = True
    learns_from_data: ClassVar[bool] = True
    output_range: ClassVar[Range | None] = ANY_NUMBER

    n_bins: Annotated[int, Setting("Number of bins per column.", FROM_ONE)] = 8

    @property
    def edges(self) -> Array:
        """The edges of the bins, shape (columns, n_bins + 1)."""
        starts, widths = (self.get_array(name).reshape(-1, self.n_bins) for name in ("starts", "widths"))
        return np.column_stack([starts, starts[:, -1] + widths[:, -1]])

    def adapt(self, X: npt.ArrayLike) -> PiecewiseLinearEncodingLayer:
        """Compute the edges from quantiles of the columns of X and return the layer.

        The weight of a frequent value is limited to 1 / ``n_bins``, so that its bins do not coincide. If
        a column has fewer different values than edges, some bins would still have the width 0. They are given the mean
        width of the bins instead.
        """
        rows = _rows_to_adapt(self, X)
        self.set_input_shape(rows.shape[1:])
        edges = np.column_stack([_spread_quantiles(column, self.n_bins) for column in rows.T])
        widths = np.diff(edges, axis=0)
        mean_width = np.where(widths.any(axis=0), (edges[-1] - edges[0]) / self.n_bins, 1)
        widths = np.where(widths > 0, widths, mean_width)
        self.initialize()
        self.set_array("starts", edges[:-1].T.reshape(-1))
        self.set_array("widths", widths.T.reshape(-1))
        return self

    def output_shape(self) -> Shape:
        """Return ``(columns * n_bins,)``."""
        return (self.input_shape()[0] * self.n_bins,)

    def state_shapes(self) -> dict[str, Shape]:
        """Return the shapes of the starts and widths of the bins, and of the bounds of their outputs."""
        return dict.fromkeys(("starts", "widths", "low", "high"), self.output_shape())

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set bins of width 1 that start at 0, 1, ..."""
        bins = np.tile(np.arange(self.n_bins), self.input_shape()[0])
        self.state["starts"][...], self.state["widths"][...] = bins, 1
        self.state["low"][...] = np.where(bins == 0, -UNBOUNDED, 0)
        self.state["high"][...] = np.where(bins == self.n_bins - 1, UNBOUNDED, 1)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the position of each number in each bin."""
        x: Array = self._check_inputs(inputs)
        output = self._allocate("output", (len(x), *self.output_shape()), training)
        arrays = [self.get_array(name) for name in ("starts", "widths", "low", "high")]
        output[...] = self.encode(np.repeat(x, self.n_bins, axis=1), *arrays)
        if training:
            self.input, self.output = x, output
        return output

    def encode(self, x: Array, starts: Array, widths: Array, low: Array, high: Array) -> Array:
        """Return the position of x in the bins: (x - starts) / widths, clipped to the range from low to high."""
        return np.minimum(np.maximum((x - starts) / widths, low), high)

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return dL/dx: the sum of ``output_error`` / width over the bins in which x is not clipped."""
        error = self._check_error(output_error)
        if not self.needs_input_error:
            return None
        starts, widths, low, high = (self.get_array(name) for name in ("starts", "widths", "low", "high"))
        positions = (np.repeat(self.input, self.n_bins, axis=1) - starts) / widths
        slopes = np.where((positions >= low) & (positions <= high), error / widths, 0)
        input_error: Array = slopes.reshape(len(error), -1, self.n_bins).sum(axis=2)
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return the position of each number in each bin."""
        repeated = program.select(x, np.repeat(range(x.width), self.n_bins).tolist())
        return program.map(self.encode, repeated, *(self.array(name) for name in ("starts", "widths", "low", "high")))


@final
@dataclass(eq=False)
class QuantileLayer(Layer):
    """Transforms every column to the normal distribution, by a piecewise linear function of the number.

    The function maps the quantile with share p to the quantile of the normal distribution with the same share:

        ``y = c + sum over the parts t of h_t min(max((x - b_(t-1)) / (b_t - b_(t-1)), 0), 1)``

    with the quantiles b of the data and the rise h_t in part t. Numbers outside the range of the data are replaced by
    its ends. The results of the data have mean 0 and variance 1 in each column. :meth:`adapt` determines the function
    before training; training does not change it. A column whose numbers are concentrated in a small part of its range,
    such as an income, becomes easier to learn from.

    Backward: ``dL/dx = dL/dy h_t / (b_t - b_(t-1))`` in part t, and 0 outside all parts.

    >>> layer = QuantileLayer(4).adapt([[0], [1], [2], [50], [1000]])
    >>> [round(float(y), 2) + 0 for y in layer.forward_propagation([[0], [2], [50], [9999]])[:, 0]]
    [-1.53, 0.0, 0.4, 1.53]
    """

    takes_vectors_only: ClassVar[bool] = True
    learns_from_data: ClassVar[bool] = True
    output_range: ClassVar[Range | None] = ANY_NUMBER

    n_parts: Annotated[int, Setting("Number of parts of the range of a column.", FROM_ONE)] = 32

    def adapt(self, X: npt.ArrayLike) -> QuantileLayer:
        """Determine the function of each column from the rows of X and return the layer.

        The weight of a frequent value is limited to 1 / ``n_parts``.
        """
        curves = []
        for column in _rows_to_adapt(self, X).T:
            quantiles = _spread_quantiles(column, self.n_parts)
            knots, numbers = np.unique(quantiles, return_inverse=True)
            # A knot at several quantiles has the mean of their shares; the ends have finite results.
            shares = np.bincount(numbers, np.linspace(0, 1, self.n_parts + 1)) / np.bincount(numbers)
            scores = ndtri(LEAST_SHARE + (1 - 2 * LEAST_SHARE) * shares)
            results = np.interp(column, knots, scores)
            curves.append((knots, (scores - results.mean()) / (results.std() or 1)))
        return self.interpolate(curves)

    def interpolate(self, curves: Sequence[tuple[Array, Array]]) -> QuantileLayer:
        """Set the function of each column, given by its numbers in increasing order and their results.

        There may be at most ``n_parts`` + 1 numbers. Return the layer.
        """
        starts, widths, heights = (np.zeros((len(curves), self.n_parts)) for _ in range(3))
        widths[...] = 1
        for j, (knots, results) in enumerate(curves):
            n = len(knots) - 1
            starts[j, :n], widths[j, :n], heights[j, :n] = knots[:-1], np.diff(knots), np.diff(results)
        self.set_input_shape((len(curves),))
        self.initialize()
        for name, array in (("starts", starts), ("widths", widths), ("heights", heights)):
            self.set_array(name, array.reshape(-1))
        self.set_array("offsets", [results[0] for _, results in curves])
        return self

    def output_shape(self) -> Shape:
        """Return ``(columns,)``."""
        return self.input_shape()

    def state_shapes(self) -> dict[str, Shape]:
        """Return the shapes of the starts, widths and heights of the parts, and of the result at the lower end."""
        (n_columns,) = self.input_shape()
        of_parts: Shape = (n_columns * self.n_parts,)
        return dict.fromkeys(("starts", "widths", "heights"), of_parts) | {"offsets": (n_columns,)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set the function y = x from -``n_parts`` / 2 to ``n_parts`` / 2."""
        low = -self.n_parts / 2
        self.state["starts"][...] = np.tile(low + np.arange(self.n_parts), self.input_shape()[0])
        self.state["widths"][...], self.state["heights"][...], self.state["offsets"][...] = 1, 1, low

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the results of the functions."""
        x: Array = self._check_inputs(inputs)
        starts, widths, heights, offsets = map(self.get_array, ("starts", "widths", "heights", "offsets"))
        output = self._allocate("output", x.shape, training)
        rises = self.rise(np.repeat(x, self.n_parts, axis=1), starts, widths, heights)
        np.add(rises.reshape(*x.shape, self.n_parts).sum(axis=2), offsets, out=output)
        if training:
            self.input, self.output = x, output
        return output

    def rise(self, x: Array, starts: Array, widths: Array, heights: Array) -> Array:
        """Return the rise of the function in each part up to x."""
        return heights * np.minimum(np.maximum((x - starts) / widths, 0), 1)

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return dL/dx."""
        error = self._check_error(output_error)
        if not self.needs_input_error:
            return None
        starts, widths, heights = map(self.get_array, ("starts", "widths", "heights"))
        positions = (np.repeat(self.input, self.n_parts, axis=1) - starts) / widths
        slopes = np.where((positions >= 0) & (positions <= 1), heights / widths, 0)
        input_error: Array = slopes.reshape(*error.shape, self.n_parts).sum(axis=2) * error
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return the sum of the rises of all parts, plus the result at the lower end."""
        repeated = program.select(x, np.repeat(range(x.width), self.n_parts).tolist())
        rises = program.map(self.rise, repeated, *(self.array(name) for name in ("starts", "widths", "heights")))
        sums = program.map(lambda x: np.sum(x, axis=-1, keepdims=True), rises, name="sum", row_width=self.n_parts)
        chosen = program.select(sums, range(0, rises.width, self.n_parts))
        return program.map(lambda x, offsets: x + offsets, chosen, self.array("offsets"), name="add")


def _rows_to_adapt(layer: Layer, X: npt.ArrayLike) -> Array:
    rows = np.asarray(X, np.float64)
    if rows.ndim != 2 or not len(rows) or not np.isfinite(rows).all():
        raise InvalidInputError(
            f"{type(layer).__name__}.adapt needs at least one row of finite numbers, in two dimensions; it was given "
            f"an array of shape {rows.shape}."
        )
    return rows


def _spread_quantiles(column: Array, n: int) -> Array:
    """Return the n + 1 quantiles of a column that divide it into n parts, with a limit on the weight of each value."""
    values, counts = np.unique(column, return_counts=True)
    weights = counts.astype(np.float64)
    for _ in range(n):
        weights = np.minimum(weights, weights.sum() / n)
    shares = np.cumsum(weights) / weights.sum()
    inner = values[np.searchsorted(shares, np.arange(1, n) / n)]
    return np.concatenate([values[:1], inner, values[-1:]])
