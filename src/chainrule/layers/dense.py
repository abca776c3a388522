"""The dense (fully connected) layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from chainrule.initializers import INITIALIZERS, GlorotUniform, Initializer
from chainrule.layers.base import ArrayAttribute, Layer
from chainrule.penalties import Penalty
from chainrule.program import Program, Value
from chainrule.ranges import ANY_NUMBER, Range, check_count
from chainrule.types import Array, Inputs, Shape, is_sparse

__all__ = ["DenseLayer"]


@final
@dataclass(eq=False, init=False)
class DenseLayer(Layer):
    """Connects every input with every unit: ``z = a W + b``.

    The weights ``W`` have shape (inputs, units): row i has the weights of input i, and column j those of unit j. The
    biases ``b`` have shape (units,). For a batch of n rows, the input ``a`` has shape (n, inputs) and the output ``z``
    has shape (n, units).

    Backward, with ``e = dL/dz``: ``dL/dW = a^T e``, ``dL/db = sum over rows of e``, ``dL/da = e W^T``.

    The input may be a SciPy CSR matrix, which is multiplied without being converted to a dense array.

    Without a ``weights_initializer``, the initial weights depend on the activation after the layer: He initialisation
    for ReLU and similar activations, LeCun for SELU, and Glorot for others and without an activation.

    >>> layer = DenseLayer(1, (2,))
    >>> layer.weights, layer.biases = [[20], [20]], [-30]
    >>> layer.forward_propagation([[0, 1], [1, 1]]).tolist()
    [[-10.0], [10.0]]
    """

    penalized_parameters: ClassVar[tuple[str, ...]] = ("weights",)
    offset_parameter: ClassVar[str | None] = "biases"
    accepts_sparse: ClassVar[bool] = True
    takes_vectors_only: ClassVar[bool] = True
    output_range: ClassVar[Range | None] = ANY_NUMBER

    n_units: int
    weights_initializer: Initializer | None
    biases_initializer: Initializer

    def __init__(
        self,
        n_units: int,
        input_shape: Shape | None = None,
        *,
        weights_initializer: str | Initializer | None = None,
        biases_initializer: str | Initializer = "zeros",
        trainable: bool = True,
        rate_factor: float = 1.0,
        decays: bool = True,
        penalty: str | Penalty | None = None,
    ) -> None:
        self.n_units = check_count("a DenseLayer", "n_units", n_units)
        self.trainable, self.rate_factor, self.decays, self.penalty = trainable, rate_factor, decays, penalty
        self.weights_initializer = None if weights_initializer is None else INITIALIZERS.create(weights_initializer)
        self.default_initializer: Initializer = GlorotUniform()  # networks replace it by that of the next activation
        self.biases_initializer = INITIALIZERS.create(biases_initializer)
        if input_shape is not None:
            self.set_input_shape(input_shape)

    weights = ArrayAttribute("W, shape (inputs, units).")
    biases = ArrayAttribute("b, shape (units,).")

    def output_shape(self) -> Shape:
        """Return ``(n_units,)``."""
        return (self.n_units,)

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shapes of W and b."""
        return {"weights": (self.input_shape()[0], self.n_units), "biases": (self.n_units,)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Draw W and b from their initialisers."""
        weights_initializer = self.weights_initializer or self.default_initializer
        for name, initializer in (("weights", weights_initializer), ("biases", self.biases_initializer)):
            self.parameter_views[name][...] = initializer(self.parameter_shapes()[name], rng)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``z = a W + b``."""
        inputs = self._accept(inputs)
        output = self._array_for("output", (inputs.shape[0], self.n_units), training)
        if is_sparse(inputs):
            output[...] = inputs @ self.weights
        else:
            np.matmul(inputs, self.weights, out=output)
        output += self.biases
        if training:
            self.input, self.output = inputs, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write ``dL/dW = a^T e`` and ``dL/db``; return ``dL/da = e W^T``."""
        error = self._accept_error(output_error)
        if is_sparse(self.input):
            self.gradient_views["weights"][...] = self.input.T @ error
        else:
            np.matmul(self.input.T, error, out=self.gradient_views["weights"])
        np.sum(error, axis=0, out=self.gradient_views["biases"])
        input_error = None
        if self.needs_input_error:
            input_error = self._buffer("input_error", (len(error), self.input_shape()[0]))
            np.matmul(error, self.weights.T, out=input_error)
        self._update_alone()
        return input_error

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``x W + b``."""
        return program.affine(x, self.array("weights"), self.array("biases"))

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Row i: ``dL_i/dW = a_i e_i^T`` (an outer product) and ``dL_i/db = e_i``."""
        error = self._accept_error(output_error)
        a = self.input.toarray() if is_sparse(self.input) else self.input
        np.multiply(a[:, :, None], error[:, None, :], out=jacobian["weights"])
        jacobian["biases"][...] = error
