"""Activation functions. Each is a layer that applies f to every element and multiplies by f' in the backward pass.

An activation of your own is a class with two methods, or a pair of functions:

>>> import numpy as np
>>> square = CustomActivation(lambda z: z**2, lambda z: 2 * z)
>>> square.activation_function(np.array([[3.0]])).tolist()
[[9.0]]

``chainrule.inspection.check_gradients`` checks the derivative.
"""

from __future__ import annotations

from typing import Any

from chainrule.activations import classic, rectifiers
from chainrule.activations.base import ActivationLayer
from chainrule.activations.classic import *
from chainrule.activations.custom import CustomActivation
from chainrule.activations.rectifiers import *
from chainrule.named import Registry

#: The activations by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
ACTIVATIONS: Registry[Any] = Registry.of("activation", ActivationLayer, classic, rectifiers)

__all__: list[str] = []
__all__ += classic.__all__
__all__ += rectifiers.__all__
__all__ += ["ACTIVATIONS", "ActivationLayer", "CustomActivation"]
