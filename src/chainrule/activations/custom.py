"""A user's own activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from chainrule.activations.base import ActivationLayer
from chainrule.types import Array

__all__ = ["CustomActivation"]


@final
@dataclass(eq=False)
class CustomActivation(ActivationLayer):
    """An activation from a pair of functions, f and its derivative, both on arrays.

    It has no name in the registry, because a file cannot hold functions: a model with one is read back by handing
    the activation in. Give module-level functions rather than lambdas if the network shall be pickled.
    """

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
