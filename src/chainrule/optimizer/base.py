"""The contract that every optimizer keeps.

An optimizer's settings are dataclass fields and are never changed by training. What it accumulates lives in
:attr:`Optimizer.state`, arrays by name, so that it can be saved and resumed bit for bit. The learning rate of a step
is passed in by the training loop, which knows the schedule; by hand it defaults to the setting.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.parameters import ParameterBlock
from chainrule.types import Array

__all__ = ["Optimizer", "check_setting"]


class Optimizer(ABC):
    """Base class of all optimizers.

    Attributes
    ----------
    learning_rate
        The step size; each class says what it means by it.
    state
        What the optimizer accumulates, arrays by name; empty before the first update.
    full_batch
        Whether the method is made for the gradient of all rows at once (Rprop, Quickprop, L-BFGS, Levenberg-Marquardt).
    """

    full_batch: ClassVar[bool] = False

    learning_rate: float
    state: dict[str, Array]

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        self = super().__new__(cls)
        self.state = {}
        return self

    @abstractmethod
    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the arrays for a vector of ``size`` parameters, at their values before the first step."""

    @abstractmethod
    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Take one step in place; ``state`` is allocated. Settings have been checked by the constructor."""

    def update(self, weights: Array, gradient: Array, learning_rate: float | None = None) -> Array:
        """Take one step along ``gradient``, in place, and return the updated weights.

        Arrays of any shape will do, as long as every call has the same: by hand, a weight matrix; in a network, the
        flat vector of all parameters.
        """
        if not isinstance(weights, np.ndarray) or weights.dtype not in (np.float32, np.float64):
            weights = np.array(weights, dtype=np.float64)
        gradient = np.ascontiguousarray(gradient, dtype=weights.dtype)
        if weights.shape != gradient.shape:
            raise InvalidInputError(f"The weights have shape {weights.shape} and their gradient {gradient.shape}.")
        if not weights.flags.c_contiguous:
            weights[...] = self.update(np.ascontiguousarray(weights), gradient, learning_rate)
            return weights
        if not self.state:
            self.state = self.allocate_state(weights.size, weights.dtype)
        rate = self.learning_rate if learning_rate is None else learning_rate
        self.step(weights.reshape(-1), gradient.reshape(-1), rate)
        return weights

    def set_layout(self, blocks: Sequence[ParameterBlock]) -> None:  # noqa: B027  (only Muon needs it)
        """Learn which slices of the vector are matrices; only methods that look at shapes need it."""

    def fresh(self) -> Self:
        """Return a copy with the same settings and no state, so that two networks never share one."""
        twin = copy.copy(self)
        twin.state = {}
        return twin


def check_setting(
    optimizer: Optimizer, name: str, low: float, high: float = float("inf"), *, open_low: bool = False
) -> None:
    """Raise InvalidInputError unless ``low <= value < high`` (or ``low < value`` with ``open_low``)."""
    value = getattr(optimizer, name)
    if not (value > low if open_low else value >= low) or not value < high:
        bounds = f"{'above' if open_low else 'at least'} {low:g}" + (
            f" and below {high:g}" if high < float("inf") else ""
        )
        raise InvalidInputError(f"The {name} of {type(optimizer).__name__} is {value}; it must be {bounds}.")
