"""Classical full-batch methods that treat each parameter separately: Rprop and Quickprop."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.named import also_called
from chainrule.optimizer.base import Optimizer
from chainrule.ranges import Range
from chainrule.settings import ABOVE_ZERO, FROM_ONE, FROM_ZERO, Setting
from chainrule.types import Array

__all__ = ["Quickprop", "Rprop"]


@also_called(
    unlike={
        "rprop+": "it is Rprop(variant='plus').",
        "rprop-": "it is Rprop(variant='minus').",
        "irprop+": "it is Rprop(variant='improved_plus').",
        "irprop-": "it is Rprop(variant='improved_minus'), the default.",
    },
    arguments={
        "etas": "Give its two numbers as decrease and increase.",
        "step_sizes": "Give its two numbers as smallest_step and largest_step.",
    },
)
@final
@dataclass(eq=False)
class Rprop(Optimizer):
    r"""Resilient propagation: only the sign of the gradient counts (Riedmiller and Braun 1993).

    .. math:: w \leftarrow w - \operatorname{sign}(g) \, \Delta

    Every parameter has its own step size :math:`\Delta`, which is ``learning_rate`` at first. It grows by the factor
    ``increase`` where the sign of the gradient stays the same and shrinks by ``decrease`` where it changes, between
    ``smallest_step`` and ``largest_step``. The variants (Igel and Huesken 2000) differ in what they do where the sign
    has just changed:

    * "improved_minus" (iRprop-, the default, and what PyTorch calls Rprop): stay for one step;
    * "minus" (Rprop-): step back with the smaller step size;
    * "plus" (Rprop+, the method of 1993): take the last step back, then stay;
    * "improved_plus" (iRprop+): take the last step back only if the loss increased. If you call :meth:`update`
      yourself, set ``optimizer.loss`` to the loss before each update.

    Use all rows in one batch, because the sign of a mini-batch gradient is too noisy. A schedule has no effect after
    the first step, because the method adapts its step sizes itself.

    >>> optimizer = Rprop(learning_rate=0.1)
    >>> weights = optimizer.update([1.0, 2.0], [0.001, -50.0])
    >>> weights.tolist(), optimizer.update(weights, [0.001, -50.0]).round(2).tolist()
    ([0.9, 2.1], [0.78, 2.22])
    """

    full_batch: ClassVar[bool] = True
    needs_loss: ClassVar[bool] = True

    learning_rate: float = 0.01
    variant: Annotated[
        Literal["improved_minus", "minus", "plus", "improved_plus"], Setting("What is done where the sign has changed.")
    ] = "improved_minus"
    increase: Annotated[float, Setting("Factor on a step after equal signs.", FROM_ONE)] = 1.2
    decrease: Annotated[float, Setting("Factor on a step after different signs.", Range(0, 1))] = 0.5
    smallest_step: Annotated[float, Setting("Lower bound of a step.", FROM_ZERO)] = 1e-6
    largest_step: Annotated[float, Setting("Upper bound of a step.", ABOVE_ZERO)] = 50.0
    reversal: float = field(init=False, repr=False)

    def _forget(self) -> None:
        super()._forget()
        self.reversal = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.smallest_step < self.largest_step:
            raise InvalidInputError(
                f"Rprop has smallest_step={self.smallest_step:g} and largest_step={self.largest_step:g}; smallest_step "
                "must be below largest_step."
            )

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the last gradient and move, the step sizes, the number of steps and the last loss."""
        vectors = {name: np.zeros(size, dtype) for name in ("previous_gradient", "move", "step_size")}
        return {**vectors, "steps": np.zeros(1, np.int64), "loss": np.full(1, math.inf)}

    def advance(self, learning_rate: float, step: int) -> None:
        """Decide whether this step takes the last moves back."""
        self.reversal = float(self.variant == "plus")
        if self.variant == "improved_plus":
            if self.loss is None:
                raise InvalidInputError(
                    "Rprop(variant='improved_plus') takes steps back if the loss increases; set its attribute `loss` "
                    "to the loss at these weights before each update."
                )
            self.reversal = float(self.loss > float(self.state["loss"][0]))
            self.state["loss"][0] = self.loss

    def rule(
        self,
        weights: Array,
        gradient: Array,
        rate: float,
        step: int,
        previous_gradient: Array,
        move: Array,
        step_size: Array,
    ) -> tuple[Array, Array, Array, Array]:
        """Return the weights, the gradient and the move to keep, and the step sizes after a step."""
        agreement = np.sign(gradient) * np.sign(previous_gradient)
        factor = np.where(agreement > 0, self.increase, np.where(agreement < 0, self.decrease, 1))
        step_size = np.where(step > 1, step_size, rate)
        step_size = np.clip(step_size * factor, self.smallest_step, self.largest_step)
        change = -np.sign(gradient) * step_size
        if self.variant == "minus":
            return weights + change, gradient, change, step_size
        has_turned = agreement < 0
        new_weights = weights + np.where(has_turned, -self.reversal * move, change)
        return new_weights, np.where(has_turned, 0, gradient), np.where(has_turned, 0, change), step_size


@final
@dataclass(eq=False)
class Quickprop(Optimizer):
    r"""A jump to the minimum of the parabola through the last two gradients (Fahlman 1988, CMU-CS-88-162).

    .. math:: s_t = \frac{g_t}{g_{t-1} - g_t} \, s_{t-1}, \qquad w \leftarrow w + s_t

    for each parameter separately, with the rules of Fahlman:

    * No jump is longer than ``growth`` (mu in the report) times the last move. Where the gradient is not below
      growth / (1 + growth) of the previous gradient, the minimum of the parabola would be further away, or on the other
      side, and the jump has exactly this length.
    * -rate * g is added while the gradient has the sign of the previous one. It is the whole move where the last move
      was 0, as in the first step.

    The weight decay of 1e-4 in the report, which prevents an overflow of the weights, is left to the penalty. The
    gradients in the report are sums over the rows and those here are means, so learning rates here are larger. Use all
    rows in one batch.

    >>> optimizer = Quickprop(learning_rate=0.1)
    >>> weights = optimizer.update([1.0], [2.0])  # the gradient of w^2
    >>> weights.tolist(), optimizer.update(weights, 2 * weights).round(2).tolist()
    ([0.8], [0.29])
    """

    full_batch: ClassVar[bool] = True

    learning_rate: float = 0.1
    growth: Annotated[float, Setting("Upper bound of a step relative to the one before.", ABOVE_ZERO)] = 1.75

    def rule(
        self, weights: Array, gradient: Array, rate: float, previous_gradient: Array, move: Array
    ) -> tuple[Array, Array, Array]:
        """Return the weights, the gradient and the move after a step."""
        # The last move went down the previous gradient, so their signs are opposite.
        forward = np.sign(move)
        slope, previous_slope = -forward * gradient, -forward * previous_gradient
        is_far = slope > self.growth / (1 + self.growth) * previous_slope
        difference = np.where(is_far, 1, previous_slope - slope)
        jump = np.where(is_far, self.growth, slope / difference) * move
        descent = -rate * gradient
        move = np.where(move != 0, jump + np.where(slope > 0, descent, 0), descent)
        return weights + move, gradient, move
