"""Penalties on the size of the weights, added to the mean loss: objective = mean loss + penalty(weights).

A penalty is never divided by the batch size or the number of rows, and it acts on weights only, not on biases.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np

from chainrule import kernels
from chainrule.errors import InvalidInputError, shown
from chainrule.named import Registry, also_called
from chainrule.ranges import is_finite
from chainrule.types import Array

__all__ = ["L1", "L1L2", "L2", "PENALTIES", "Penalty", "choose_penalty"]


class Penalty(ABC):
    """A function of the penalised slice of the parameter vector."""

    @abstractmethod
    def value(self, weights: Array) -> float:
        """Return the penalty."""

    @abstractmethod
    def add_gradient(self, weights: Array, gradient: Array) -> None:
        """Add the derivative of the penalty to ``gradient``, in place; both are vectors of one type."""


def _check_rate(name: str, rate: float) -> None:
    if not (is_finite(rate) and rate >= 0):
        raise InvalidInputError(f"The rate of the {name} penalty is {shown(rate)}; it must be a finite number >= 0.")


@final
@dataclass(frozen=True)
class L1(Penalty):
    """rate * sum |w|; derivative rate * sign(w), 0 at 0."""

    rate: float = 1e-5

    def __post_init__(self) -> None:
        _check_rate("L1", self.rate)

    def value(self, weights: Array) -> float:
        return self.rate * float(np.sum(np.abs(weights)))

    def add_gradient(self, weights: Array, gradient: Array) -> None:
        kernels.add_signs(gradient, weights, float(self.rate))


@also_called(unlike={"weight_decay": "with SGD it is 'l2'; with Adam it is a setting of AdamW."})
@final
@dataclass(frozen=True)
class L2(Penalty):
    """rate / 2 * sum w^2; derivative rate * w, so the rate means what PyTorch's ``weight_decay`` means for SGD."""

    rate: float = 1e-4

    def __post_init__(self) -> None:
        _check_rate("L2", self.rate)

    def value(self, weights: Array) -> float:
        return 0.5 * self.rate * float(np.dot(weights, weights))

    def add_gradient(self, weights: Array, gradient: Array) -> None:
        kernels.add_scaled(gradient, weights, float(self.rate))


@also_called(unlike={"elastic_net": "it is L1L2, with a rate for each part."})
@final
@dataclass(frozen=True)
class L1L2(Penalty):
    """Both at once, the elastic net: l1 * sum |w| + l2 / 2 * sum w^2."""

    l1: float = 1e-5
    l2: float = 1e-4

    def __post_init__(self) -> None:
        _check_rate("L1", self.l1)
        _check_rate("L2", self.l2)

    def value(self, weights: Array) -> float:
        return L1(self.l1).value(weights) + L2(self.l2).value(weights)

    def add_gradient(self, weights: Array, gradient: Array) -> None:
        L1(self.l1).add_gradient(weights, gradient)
        L2(self.l2).add_gradient(weights, gradient)


PENALTIES: Registry[Penalty] = Registry("penalty", Penalty, {"l1": L1, "l2": L2, "l1l2": L1L2})


def choose_penalty(given: str | Penalty | None, l1: float, l2: float) -> Penalty | None:
    """Return the penalty given, or the one with these rates; None without either."""
    if given is not None:
        if l1 or l2:
            raise InvalidInputError("Give either a penalty or the rates l1 and l2, not both.")
        return PENALTIES.create(given)
    if l1 and l2:
        return L1L2(l1, l2)
    return L1(l1) if l1 else L2(l2) if l2 else None
