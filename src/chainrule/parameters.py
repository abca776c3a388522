"""All trainable parameters of a network in one flat vector, of which the layers hold named views.

The penalised parameters (weight matrices) come first, then the others (biases, scales), so that penalties and weight
decay act on one slice, without a mask. The gradients are stored in a second vector with the same layout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from chainrule.arrays import aligned_zeros
from chainrule.types import Array, Shape

__all__ = ["ParameterBlock", "ParameterGroup", "ParameterVector"]


class ParameterGroup(NamedTuple):
    """How an optimizer treats a parameter.

    ``rate_factor`` multiplies the learning rate. A parameter with the factor 0 is frozen: training does not change it.
    ``decays`` is False for a parameter without weight decay.
    """

    rate_factor: float = 1.0
    decays: bool = True


@dataclass(frozen=True)
class ParameterBlock:
    """One named parameter of one layer, with its position in the vector and its shape."""

    layer: int
    name: str
    shape: Shape
    penalized: bool
    start: int = 0
    group: ParameterGroup = field(default=ParameterGroup(), compare=False)

    @property
    def rate_factor(self) -> float:
        """The factor on the learning rate."""
        return self.group.rate_factor

    @property
    def decays(self) -> bool:
        """Whether weight decay acts on the parameter: it is penalised, and its layer has not switched decay off."""
        return self.penalized and self.group.decays

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def slice(self) -> slice:
        """The slice of the vector."""
        return slice(self.start, self.start + self.size)

    def view(self, vector: Array) -> Array:
        """Return this block of ``vector`` in the shape of the parameter, as a view."""
        return vector[self.slice].reshape(self.shape)

    def matrices(self, vector: Array) -> list[Array]:
        """Return the weight matrices in this block of ``vector``, as views.

        A parameter with two dimensions is one matrix. A parameter with three dimensions has one matrix for each member
        of an ensemble. Other parameters have no matrices.
        """
        view = self.view(vector)
        return [view] if view.ndim == 2 else [*view] if view.ndim == 3 else []


class ParameterVector:
    """The values and the gradients of a set of parameter blocks.

    Attributes
    ----------
    values
        A contiguous vector of ``size`` elements.
    gradients
        The derivatives of the loss with respect to ``values``, in a vector of the same shape.
    blocks
        The blocks in the order of the vector; block ``k`` starts where block ``k - 1`` ends.
    n_penalized
        The length of the leading slice that penalties and weight decay act on.
    """

    def __init__(self, blocks: Sequence[ParameterBlock], dtype: np.dtype) -> None:
        ordered = [block for block in blocks if block.penalized] + [block for block in blocks if not block.penalized]
        placed: list[ParameterBlock] = []
        start = 0
        for block in ordered:
            placed.append(replace(block, start=start))
            start += block.size
        self.blocks = tuple(placed)
        self.n_penalized = sum(block.size for block in placed if block.penalized)
        self.values: Array = aligned_zeros(start, np.dtype(dtype))
        self.gradients: Array = aligned_zeros(start, np.dtype(dtype))

    def set_groups(self, groups: Mapping[tuple[int, str], ParameterGroup]) -> None:
        """Set the group of every block, by layer number and parameter name."""
        self.blocks = tuple(replace(block, group=groups[block.layer, block.name]) for block in self.blocks)

    @property
    def frozen(self) -> list[slice]:
        """The slices of the vector that training does not change."""
        return [block.slice for block in self.blocks if block.rate_factor == 0]

    @property
    def size(self) -> int:
        """The number of trainable parameters."""
        return self.values.size

    @property
    def penalized_values(self) -> Array:
        """The slice of the values that penalties act on."""
        return self.values[: self.n_penalized]

    @property
    def penalized_gradients(self) -> Array:
        """The slice of the gradients that penalties act on."""
        return self.gradients[: self.n_penalized]
