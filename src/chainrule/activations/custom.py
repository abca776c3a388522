"""An activation made of two functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, final

from chainrule.activations.base import ActivationLayer
from chainrule.named import checked
from chainrule.settings import Setting
from chainrule.types import Array

__all__ = ["CustomActivation"]


@checked
@final
@dataclass(eq=False)
class CustomActivation(ActivationLayer):
    """An activation made of two functions of arrays, f and its derivative.

    Model files do not contain functions. They contain the ``name`` of the activation; pass the activation in
    ``custom_objects`` to load such a model. Use functions of a module instead of lambdas if the network is to be
    pickled.

    >>> import numpy as np
    >>> sine = CustomActivation(np.sin, np.cos, name="Sine")
    >>> sine.activation_function(np.array([0.0, np.pi / 2])).tolist()
    [0.0, 1.0]
    """

    function: Annotated[Callable[[Array], Array], Setting("f.")]
    function_derivative: Annotated[Callable[[Array], Array], Setting("The derivative of f.")]
    name: str = "CustomActivation"

    def activation_function(self, x: Array) -> Array:
        """Return f(x)."""
        return self.function(x)

    def derivative(self, x: Array) -> Array:
        """Return f'(x)."""
        return self.function_derivative(x)

    def layer_name(self) -> str:
        """Return ``name``."""
        return self.name
