"""Layers for an ensemble of K members in one network, with rows of shape (K, n).

A :class:`RepeatLayer` copies the input for every member. Dense layers with separate weights or factors for each member
follow. An :class:`EnsembleMeanLayer` at the end averages the predictions. The loss in training is the mean of the
losses of the members, so that every member is trained to predict the targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.layers.base import ArrayAttribute, Layer
from chainrule.layers.dense import AffineLayer
from chainrule.program import Program, Value
from chainrule.settings import FROM_ONE, Setting
from chainrule.types import Array, Inputs, Shape

__all__ = ["BatchEnsembleLayer", "EnsembleDenseLayer", "EnsembleMeanLayer", "RepeatLayer"]


class _MembersLayer(Layer):
    """Base class of the layers that take rows of shape (members, n)."""

    def set_input_shape(self, shape: Shape) -> None:
        """Set the shape of an input row, (members, n). Raises InvalidInputError for other shapes."""
        super().set_input_shape(shape)
        if len(self.input_shape()) != 2:
            raise InvalidInputError(
                f"{self.layer_name()} takes rows of shape (members, n), not {self.input_shape()}; put a RepeatLayer "
                "before it."
            )


@dataclass(eq=False)
class _MembersAffineLayer(_MembersLayer, AffineLayer):
    """Base class of the dense layers for the members of an ensemble."""

    biases = ArrayAttribute("b, shape (members, units).")

    def output_shape(self) -> Shape:
        """Return ``(members, n_units)``."""
        return (self.input_shape()[0], self.n_units)


@final
@dataclass(eq=False)
class RepeatLayer(Layer):
    """Repeats every row ``n`` times, once for each member of an ensemble: shape (d,) becomes (n, d).

    Backward: ``dL/dx`` is the sum of the gradients of the copies.

    >>> layer = RepeatLayer(2)
    >>> layer.set_input_shape((3,))
    >>> layer.forward_propagation([[1, 2, 3]]).tolist()
    [[[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]]
    """

    takes_vectors_only: ClassVar[bool] = True
    keeps_range: ClassVar[bool] = True

    n: Annotated[int, Setting("Number of copies.", FROM_ONE)]

    def output_shape(self) -> Shape:
        """Return ``(n, d)``."""
        return (self.n, *self.input_shape())

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return n copies of each row."""
        x: Array = self._check_inputs(inputs)
        output = self._allocate("output", (len(x), *self.output_shape()), training)
        output[...] = x[:, None]
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return the sum of ``output_error`` over the copies."""
        error = self._check_error(output_error)
        return np.asarray(error.sum(axis=1)) if self.needs_input_error else None

    def lower(self, program: Program, x: Value) -> Value:
        """Return n times all columns of x."""
        return program.select(x, [*range(x.width)] * self.n)


@final
@dataclass(eq=False)
class EnsembleDenseLayer(_MembersAffineLayer):
    """A separate dense layer for each member k: ``z_k = a_k W_k + b_k``.

    ``weights`` has shape (members, inputs, units) and ``biases`` (members, units). A network of these layers trains one
    independent network for each member, all at the same time.

    Backward, for each member: ``dL/dW = a^T e``, ``dL/db = sum over rows of e``, ``dL/da = e W^T``, with ``e = dL/dz``.

    >>> layer = EnsembleDenseLayer(1)
    >>> layer.set_input_shape((2, 1))
    >>> layer.weights = [[[10]], [[20]]]
    >>> layer.forward_propagation([[[1], [2]]]).tolist()
    [[[10.0], [40.0]]]
    """

    weights = ArrayAttribute("W, shape (members, inputs, units).")

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shapes of W and b."""
        n_members, n_inputs = self.input_shape()
        return {"weights": (n_members, n_inputs, self.n_units), "biases": (n_members, self.n_units)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Draw the weights of each member from the initializer; set the biases to 0."""
        for weights in self.parameter_views["weights"]:
            weights[...] = self.draw_weights(weights.shape, rng)
        self.parameter_views["biases"].fill(0)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``z_k = a_k W_k + b_k``."""
        a: Array = self._check_inputs(inputs)
        output = self._allocate("output", (len(a), *self.output_shape()), training)
        np.add(np.matmul(a.swapaxes(0, 1), self.weights).swapaxes(0, 1), self.biases, out=output)
        if training:
            self.input, self.output = a, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of W and b; return ``dL/da``."""
        error = self._check_error(output_error)
        member_errors = error.swapaxes(0, 1)
        np.matmul(self.input.transpose(1, 2, 0), member_errors, out=self.gradient_views["weights"])
        np.sum(error, axis=0, out=self.gradient_views["biases"])
        input_error = None
        if self.needs_input_error:
            input_error = np.ascontiguousarray(np.matmul(member_errors, self.weights.swapaxes(1, 2)).swapaxes(0, 1))
        self._update_parameters()
        return input_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Row i: ``dL_i/dW_k = a_ik e_ik^T`` and ``dL_i/db = e_i``."""
        error = self._check_error(output_error)
        np.multiply(self.input[..., None], error[:, :, None, :], out=jacobian["weights"])
        jacobian["biases"][...] = error

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``x_k W_k + b_k`` for each part x_k of x."""
        return program.affine(x, self.array("weights"), self.array("biases"))


@final
@dataclass(eq=False)
class BatchEnsembleLayer(_MembersAffineLayer):
    """A dense layer with shared weights and separate factors for each member: ``z_k = ((a_k * r_k) W) * s_k + b_k``.

    ``weights`` W has shape (inputs, units). ``input_scales`` r, ``output_scales`` s and ``biases`` b have one row for
    each member. The effective weights of member k are the elementwise product of W and the rank-1 matrix ``r_k s_k^T``.

    Initially, s is 1, and r is 1 or, with ``scales="signs"``, 1 or -1 at random. Use "signs" in the first layer of an
    ensemble, because the outputs of all its members would otherwise be equal.

    Backward, with ``h_k = a_k * r_k``, ``y_k = h_k W`` and ``e = dL/dz``: ``dL/ds = sum of e y``, ``dL/db = sum of e``,
    ``dL/dy = e s``, ``dL/dW = sum over the members of h_k^T dL/dy_k``, ``dL/dr = sum of a dL/dh``, ``dL/da = r dL/dh``.

    Source: Wen, Tran and Ba 2020, BatchEnsemble, equation 2 (arXiv 2002.06715); with first values as in Gorishniy et
    al. 2024, TabM (arXiv 2410.24210).

    >>> layer = BatchEnsembleLayer(1)
    >>> layer.set_input_shape((2, 1))
    >>> layer.weights, layer.input_scales = [[10]], [[1], [-1]]
    >>> layer.forward_propagation([[[1], [2]]]).tolist()
    [[[10.0], [-20.0]]]
    """

    scales: Annotated[Literal["ones", "signs"], Setting("First values of the input scales.")] = "ones"

    weights = ArrayAttribute("W, shape (inputs, units).")
    input_scales = ArrayAttribute("r, shape (members, inputs).")
    output_scales = ArrayAttribute("s, shape (members, units).")

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shapes of W, r, s and b."""
        n_members, n_inputs = self.input_shape()
        return {
            "weights": (n_inputs, self.n_units),
            "input_scales": (n_members, n_inputs),
            "output_scales": self.output_shape(),
            "biases": self.output_shape(),
        }

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Draw W from its initializer, and r according to ``scales``; set s to 1 and b to 0."""
        views = self.parameter_views
        views["weights"][...] = self.draw_weights(views["weights"].shape, rng)
        views["input_scales"].fill(1)
        if self.scales == "signs":
            views["input_scales"][...] = rng.choice([-1.0, 1.0], views["input_scales"].shape)
        views["output_scales"].fill(1)
        views["biases"].fill(0)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``((a * r) W) * s + b``."""
        a: Array = self._check_inputs(inputs)
        scaled = np.multiply(a, self.input_scales, out=self._allocate("scaled", a.shape, training))
        product = self._allocate("product", (len(a), *self.output_shape()), training)
        np.matmul(scaled, self.weights, out=product)
        output = self._allocate("output", product.shape, training)
        np.multiply(product, self.output_scales, out=output)
        output += self.biases
        if training:
            self.input, self.output = a, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients; return ``dL/da``."""
        error, gradients = self._check_error(output_error), self.gradient_views
        scaled, product = self._buffer("scaled", self.input.shape), self._buffer("product", error.shape)
        np.sum(error, axis=0, out=gradients["biases"])
        np.sum(error * product, axis=0, out=gradients["output_scales"])
        product_error = error * self.output_scales
        rows = scaled.reshape(-1, self.input_shape()[1])
        np.matmul(rows.T, product_error.reshape(len(rows), -1), out=gradients["weights"])
        scaled_error = product_error @ self.weights.T
        np.sum(scaled_error * self.input, axis=0, out=gradients["input_scales"])
        input_error = scaled_error * self.input_scales if self.needs_input_error else None
        self._update_parameters()
        return input_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write the gradients of single rows, which are those of backward propagation without the sums over rows."""
        error = self._check_error(output_error)
        scaled, product = self._buffer("scaled", self.input.shape), self._buffer("product", error.shape)
        jacobian["biases"][...] = error
        np.multiply(error, product, out=jacobian["output_scales"])
        product_error = error * self.output_scales
        np.matmul(scaled.swapaxes(1, 2), product_error, out=jacobian["weights"])
        np.multiply(product_error @ self.weights.T, self.input, out=jacobian["input_scales"])

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``((x_k * r_k) W) * s_k + b_k`` for each part x_k of x."""
        scaled = program.map(lambda x, r: x * r, x, self.array("input_scales"), name="scale")
        product = program.affine(scaled, self.array("weights"))
        s, b = self.array("output_scales"), self.array("biases")
        return program.map(lambda z, s, b: z * s + b, product, s, b, name="scale_and_shift")


@final
@dataclass(eq=False)
class EnsembleMeanLayer(_MembersLayer):
    """The mean over the members of an ensemble: shape (members, n) becomes (n,).

    As the last layer, it averages the predictions of the members, such as probabilities. Training then minimises the
    mean of the losses of the members, not the loss of the mean prediction. The gradient of a member is therefore 1 / K
    of that of a network trained alone, for K members; :meth:`NeuralNetwork.fit` says what this means for learning rates
    and penalties. Each member may have weights for the rows of its own, so that it is trained on its own part of the
    rows (``sample_weight`` of :class:`Dataset`). In other places, the layer is an ordinary mean in training too.

    Backward: the gradient of every member is ``dL/dy`` divided by the number of members.

    >>> layer = EnsembleMeanLayer()
    >>> layer.set_input_shape((2, 1))
    >>> layer.forward_propagation([[[1], [2]]]).tolist()
    [[1.5]]
    """

    keeps_range: ClassVar[bool] = True

    def output_shape(self) -> Shape:
        """Return ``(n,)``."""
        return self.input_shape()[1:]

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the mean over the members."""
        x: Array = self._check_inputs(inputs)
        output = self._allocate("output", (len(x), *self.output_shape()), training)
        np.mean(x, axis=1, out=output)
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return ``output_error`` / members, repeated for each member."""
        error = self._check_error(output_error)
        if not self.needs_input_error:
            return None
        n_members = self.input_shape()[0]
        return np.repeat(error[:, None] / n_members, n_members, axis=1)

    def lower(self, program: Program, x: Value) -> Value:
        """Return the mean, by operations on columns.

        The columns are reordered so that the members of one output are adjacent; every group of columns is replaced by
        its mean; and one column of each group is selected.
        """
        n_members, n_outputs = self.input_shape()
        together = program.select(x, np.arange(x.width).reshape(n_members, n_outputs).T.reshape(-1).tolist())
        means = program.map(lambda x: np.mean(x, axis=-1, keepdims=True), together, name="mean", row_width=n_members)
        return program.select(means, range(0, x.width, n_members))
