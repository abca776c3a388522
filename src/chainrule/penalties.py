"""Penalties on the size of the weights, added to the mean loss: objective = mean loss + penalty(weights).

A penalty is never divided by the batch size or the number of rows, and it acts on weights only, not on biases.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.formulas import Attempt, Formula, Loop, values_of
from chainrule.named import Registry, also_called
from chainrule.settings import FROM_ZERO, CheckedSettings, Setting
from chainrule.types import Array

__all__ = ["L1", "L1L2", "L2", "PENALTIES", "ElementwisePenalty", "Penalty", "SumOfPenalties", "choose_penalty"]


class Penalty(CheckedSettings, ABC):
    r"""Base class of the penalties: a function of the penalised parameters, which is added to the loss.

    .. math:: \text{objective} = \text{mean loss} + \operatorname{penalty}(w)

    The penalised parameters are the weight matrices, not the biases. A subclass defines ``value`` and ``add_gradient``.
    """

    @abstractmethod
    def value(self, weights: Array) -> float:
        """Return the penalty."""

    @abstractmethod
    def add_gradient(self, weights: Array, gradient: Array) -> None:
        """Add the derivative of the penalty to ``gradient``, in place; both are vectors of one type."""

    def parts(self) -> Sequence[tuple[slice, Penalty]]:
        """Return the penalties that this one is the sum of, each with the slice of the weights that it acts on."""
        return [(slice(None), self)]


class SumOfPenalties(Penalty):
    """The sum of penalties on parts of the weights: that of a network and those of its layers."""

    def __init__(self, parts: Sequence[tuple[slice, Penalty]]) -> None:
        self._parts = parts

    def value(self, weights: Array) -> float:
        """Return the sum."""
        return sum(penalty.value(weights[part]) for part, penalty in self._parts)

    def add_gradient(self, weights: Array, gradient: Array) -> None:
        """Add the derivatives of all penalties to their parts of ``gradient``."""
        for part, penalty in self._parts:
            penalty.add_gradient(weights[part], gradient[part])

    def parts(self) -> Sequence[tuple[slice, Penalty]]:
        """Return the penalties and what they act on."""
        return self._parts


class ElementwisePenalty(Penalty):
    """Base class of the penalties that are a sum over the weights of a function of each.

    A subclass gives that function and its derivative as NumPy formulas, which are traced and compiled.
    """

    _traced: ClassVar[Attempt[TracedPenalty] | None] = None

    @abstractmethod
    def element_value(self, weights: Array) -> Array:
        """Return the penalty on every weight."""

    @abstractmethod
    def element_derivative(self, weights: Array) -> Array:
        """Return the derivative of :meth:`element_value`."""

    def value(self, weights: Array) -> float:
        """Return the penalty."""
        return float(np.sum(self.element_value(weights)))

    def add_gradient(self, weights: Array, gradient: Array) -> None:
        """Add the derivative of the penalty to ``gradient``, in place; both are vectors of one type."""
        gradient += self.element_derivative(weights)

    def traced(self) -> TracedPenalty | None:
        """Return the derivative as a compiled loop; None where it cannot be traced."""
        kind = type(self)
        if kind.add_gradient is not ElementwisePenalty.add_gradient:
            return None  # the formulas do not say what the penalty is
        if self._traced is None or not self._traced.is_current(self):
            made = Attempt.make(self, frozenset({"_traced"}), functools.partial(TracedPenalty.of, self))
            object.__setattr__(self, "_traced", made)  # penalties are frozen dataclasses
        assert self._traced is not None
        return self._traced.formulas

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_traced"}


@dataclass(frozen=True, eq=False)
class TracedPenalty:
    """The derivative of a penalty, as a compiled loop over ``weights`` and ``gradient``, which it is added to."""

    formula: Formula
    loop: Loop

    @classmethod
    def of(cls, penalty: ElementwisePenalty) -> TracedPenalty:
        """Trace a penalty. Raises ``TraceError`` if that is not possible."""
        formula = Formula.trace(type(penalty).element_derivative, penalty, ["weights"])
        gradient = formula.expression.graph.symbol("gradient") + formula.expression
        return cls(formula, Loop(("weights", "gradient"), formula.settings, {"gradient": gradient}))

    def numbers(self, penalty: Penalty) -> list[float]:
        """Return the settings that the loop takes."""
        return values_of(penalty, self.formula.settings)


@final
@dataclass(frozen=True)
class L1(ElementwisePenalty):
    r"""The sum of the absolute values of the weights, which makes many of them 0.

    .. math:: \lambda \sum |w|, \qquad \text{with the derivative } \lambda \operatorname{sign}(w)

    The rate :math:`\lambda` is ``rate``. The derivative at 0 is 0.

    >>> L1(0.1).value(np.array([1.0, -2.0]))
    0.30000000000000004
    """

    rate: Annotated[float, Setting("Factor on the sum of |weights|.", FROM_ZERO)] = 1e-5

    def element_value(self, weights: Array) -> Array:
        return self.rate * np.abs(weights)

    def element_derivative(self, weights: Array) -> Array:
        return self.rate * np.sign(weights)


@also_called(unlike={"weight_decay": "that of SGD and Adam is 'l2'; that of AdamW is a setting of every optimizer."})
@final
@dataclass(frozen=True)
class L2(ElementwisePenalty):
    r"""Half the sum of the squares of the weights.

    .. math:: \frac{\lambda}{2} \sum w^2, \qquad \text{with the derivative } \lambda w

    The rate :math:`\lambda` is ``rate``. It has the meaning of PyTorch's ``weight_decay`` for SGD.

    >>> L2(0.1).value(np.array([1.0, -2.0]))
    0.25
    """

    rate: Annotated[float, Setting("Factor on half the sum of squared weights.", FROM_ZERO)] = 1e-4

    def element_value(self, weights: Array) -> Array:
        return 0.5 * self.rate * weights * weights

    def element_derivative(self, weights: Array) -> Array:
        return self.rate * weights


@also_called(unlike={"elastic_net": "it is L1L2, with a rate for each part."})
@final
@dataclass(frozen=True)
class L1L2(ElementwisePenalty):
    r"""The sum of :class:`L1` and :class:`L2`, the elastic net.

    .. math:: \lambda_1 \sum |w| + \frac{\lambda_2}{2} \sum w^2

    The rates are ``l1`` and ``l2``.

    >>> L1L2(l1=0.1, l2=0.1).value(np.array([1.0, -2.0]))
    0.55
    """

    l1: Annotated[float, Setting("Factor on the sum of |weights|.", FROM_ZERO)] = 1e-5
    l2: Annotated[float, Setting("Factor on half the sum of squared weights.", FROM_ZERO)] = 1e-4

    def element_value(self, weights: Array) -> Array:
        return self.l1 * np.abs(weights) + 0.5 * self.l2 * weights * weights

    def element_derivative(self, weights: Array) -> Array:
        return self.l1 * np.sign(weights) + self.l2 * weights


#: The penalties by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
PENALTIES: Registry[Penalty] = Registry("penalty", Penalty, {"l1": L1, "l2": L2, "l1l2": L1L2})


def choose_penalty(given: str | Penalty | None, l1: float = 0.0, l2: float = 0.0) -> Penalty | None:
    """Return the penalty given, or the one with these rates; None without either."""
    if given is not None:
        if l1 or l2:
            raise InvalidInputError("Give either a penalty or the rates l1 and l2, not both.")
        return PENALTIES.create(given)
    if l1 and l2:
        return L1L2(l1, l2)
    return L1(l1) if l1 else L2(l2) if l2 else None
