"""What every activation is: a layer that applies one function to its inputs."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import numpy as np

from chainrule import kernels
from chainrule.initializers import GlorotUniform, Initializer
from chainrule.layers.base import Layer
from chainrule.types import Array, Inputs

__all__ = ["ActivationLayer", "KernelActivation"]


class ActivationLayer(Layer):
    """Base class of the activations: no parameters (but for PReLU), output shape = input shape.

    Subclasses give :meth:`activation_function` and :meth:`derivative` on arrays of any shape. ``suited_initializer``
    declares the first weights of a dense layer in front that keep the size of the signal through the activation.
    """

    suited_initializer: ClassVar[Initializer] = GlorotUniform()

    @abstractmethod
    def activation_function(self, x: Array) -> Array:
        """Return f(x), element by element."""

    @abstractmethod
    def derivative(self, x: Array) -> Array:
        """Return f'(x), element by element."""

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return f(inputs)."""
        z = self._accept(inputs)
        output = self._array_for("output", z.shape, training)
        self._evaluate(z, output)
        if training:
            self.input, self.output = z, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Return ``output_error * f'(input)``, or None when ``needs_input_error`` is off."""
        error = self._accept_error(output_error)
        if not self.needs_input_error:
            return None
        input_error = self._buffer("input_error", error.shape)
        assert self.output is not None  # _accept_error has seen to it
        self._pull_back(self.input, self.output, error, input_error)
        return input_error

    def _evaluate(self, z: Array, out: Array) -> None:
        out[...] = self.activation_function(z)

    def _pull_back(self, z: Array, output: Array, error: Array, out: Array) -> None:
        np.multiply(error, self.derivative(z), out=out)


class KernelActivation(ActivationLayer):
    """Base class of the built-in activations, whose mathematics are the two kernels named after them."""

    kernel: ClassVar[str]

    def activation_function(self, x: Array) -> Array:
        """Return f(x), element by element."""
        z = np.ascontiguousarray(x, dtype=np.result_type(np.asarray(x), np.float32))
        out = np.empty_like(z)
        self._evaluate(z, out)
        return out.reshape(np.shape(x))

    def derivative(self, x: Array) -> Array:
        """Return f'(x), element by element."""
        z = np.ascontiguousarray(x, dtype=np.result_type(np.asarray(x), np.float32))
        out = np.empty_like(z)
        self._pull_back(z, self.activation_function(z), np.ones_like(z), out)
        return out.reshape(np.shape(x))

    def _settings(self) -> tuple[float, ...]:
        """Numbers that the kernels take after the arrays that they read."""
        return ()

    def _evaluate(self, z: Array, out: Array) -> None:
        getattr(kernels, self.kernel)(z, *self._settings(), out)

    def _pull_back(self, z: Array, output: Array, error: Array, out: Array) -> None:
        getattr(kernels, f"{self.kernel}_gradient")(z, output, error, *self._settings(), out)
