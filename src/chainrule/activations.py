"""Activation functions, each a layer of its own: f is applied to every element, and backward multiplies by f'.

A user's own activation is a class with two methods, or a pair of functions:

>>> import numpy as np
>>> square = CustomActivation(lambda z: z**2, lambda z: 2 * z)
>>> square.activation_function(np.array([[3.0]])).tolist()
[[9.0]]

``chainrule.inspection.check_gradients`` tells whether the derivative is right.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from chainrule import kernels
from chainrule.layers.base import Layer
from chainrule.named import Registry
from chainrule.types import Array, Inputs

__all__ = ["ACTIVATIONS", "ActivationLayer", "CustomActivation", "ReLUActivation", "SigmoidActivation"]


class ActivationLayer(Layer):
    """Base class of the activations: no parameters (but for PReLU), output shape = input shape.

    Subclasses give :meth:`activation_function` and :meth:`derivative` on arrays of any shape.
    """

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
        """Return ``output_error * f'(input)``."""
        error = self._accept_error(output_error)
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
        return out

    def derivative(self, x: Array) -> Array:
        """Return f'(x), element by element."""
        z = np.ascontiguousarray(x, dtype=np.result_type(np.asarray(x), np.float32))
        out = np.empty_like(z)
        self._pull_back(z, self.activation_function(z), np.ones_like(z), out)
        return out

    def _settings(self) -> tuple[float, ...]:
        """Numbers that the kernels take after the arrays that they read."""
        return ()

    def _evaluate(self, z: Array, out: Array) -> None:
        getattr(kernels, self.kernel)(z, *self._settings(), out)

    def _pull_back(self, z: Array, output: Array, error: Array, out: Array) -> None:
        getattr(kernels, f"{self.kernel}_gradient")(z, output, error, *self._settings(), out)


@final
@dataclass(eq=False)
class ReLUActivation(KernelActivation):
    """f(z) = max(0, z); f'(z) = 1 where z > 0, else 0."""

    kernel: ClassVar[str] = "relu"


@final
@dataclass(eq=False)
class SigmoidActivation(KernelActivation):
    """f(z) = 1 / (1 + exp(-z)), between 0 and 1; f' = f (1 - f)."""

    kernel: ClassVar[str] = "sigmoid"


@final
@dataclass(eq=False)
class CustomActivation(ActivationLayer):
    """An activation from a pair of functions, f and its derivative, both on arrays."""

    function: Callable[[Array], Array]
    function_derivative: Callable[[Array], Array]
    name: str = "CustomActivation"

    def activation_function(self, x: Array) -> Array:
        """Return f(x)."""
        return self.function(x)

    def derivative(self, x: Array) -> Array:
        """Return f'(x)."""
        return self.function_derivative(x)

    def layer_name(self) -> str:
        """Return the name given."""
        return self.name


ACTIVATIONS: Registry[Any] = Registry(
    "activation", ActivationLayer, {"relu": ReLUActivation, "sigmoid": SigmoidActivation}
)
