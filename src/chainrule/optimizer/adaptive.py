"""Optimizers with a step size for each parameter, from its past gradients or their signs: AdaGrad, RMSprop, ..."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from chainrule.optimizer.base import Optimizer, check_choice, check_setting
from chainrule.types import Array

__all__ = ["AdaGrad", "Adadelta", "Lion", "RMSprop"]


@final
@dataclass(eq=False)
class AdaGrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi, Hazan and Singer 2011).

    total += g^2;  w -= rate * g / (sqrt(total) + epsilon).

    ``initial_total`` is the first value of the totals (``initial_accumulator_value`` in PyTorch).
    """

    learning_rate: float = 0.01
    epsilon: float = 1e-10
    initial_total: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self, "epsilon", 0, open_low=True)
        check_setting(self, "initial_total", 0)

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the totals of the squared gradients."""
        return {"total": np.full(size, self.initial_total, dtype)}

    def rule(self, weights: Array, gradient: Array, rate: float, total: Array) -> tuple[Array, Array]:
        """Return the weights and the totals of the squared gradients after a step."""
        total = total + gradient**2
        return weights - rate * gradient / (np.sqrt(total) + self.epsilon), total


@final
@dataclass(eq=False)
class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient (Tieleman and Hinton 2012, lecture 6.5).

    v = alpha v + (1 - alpha) g^2;  move = g / (sqrt(v) + epsilon);  w -= rate * move.

    With ``centered``, the running mean m of g is subtracted: sqrt(v - m^2) instead of sqrt(v) (Graves 2013, equation
    40). With ``momentum``, retained = momentum * retained + move, and w -= rate * retained. The settings and their
    defaults are PyTorch's; Keras calls ``alpha`` rho.
    """

    learning_rate: float = 0.01
    alpha: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self, "alpha", 0, 1)
        check_setting(self, "epsilon", 0, open_low=True)
        check_setting(self, "momentum", 0, 1)
        check_choice(self, "centered", (False, True))

    def rule(
        self, weights: Array, gradient: Array, rate: float, square: Array, mean: Array, retained: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Return the weights, the running averages and the retained moves after a step.

        Arrays that the settings do not use stay 0. If rounding makes v - m^2 negative, 0 is used instead.
        """
        square = self.alpha * square + (1 - self.alpha) * gradient**2
        variance = square
        if self.centered:
            mean = self.alpha * mean + (1 - self.alpha) * gradient
            variance = np.maximum(square - mean**2, 0)
        move = gradient / (np.sqrt(variance) + self.epsilon)
        if self.momentum > 0:
            move = retained = self.momentum * retained + move
        return weights - rate * move, square, mean, retained


@final
@dataclass(eq=False)
class Adadelta(Optimizer):
    """Steps in the units of the parameters, which need no learning rate (Zeiler 2012, algorithm 1).

    v = rho v + (1 - rho) g^2;  move = g * sqrt(u + epsilon) / sqrt(v + epsilon);  u = rho u + (1 - rho) move^2;
    w -= rate * move.  The paper has no rate, which is a rate of 1.
    """

    learning_rate: float = 1.0
    rho: float = 0.9
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self, "rho", 0, 1)
        check_setting(self, "epsilon", 0, open_low=True)

    def rule(
        self, weights: Array, gradient: Array, rate: float, square: Array, square_move: Array
    ) -> tuple[Array, Array, Array]:
        """Return the weights and the mean squares of the gradients and of the moves after a step."""
        square = self.rho * square + (1 - self.rho) * gradient**2
        move = gradient * np.sqrt(square_move + self.epsilon) / np.sqrt(square + self.epsilon)
        square_move = self.rho * square_move + (1 - self.rho) * move**2
        return weights - rate * move, square, square_move


@final
@dataclass(eq=False)
class Lion(Optimizer):
    """Steps of equal size with the sign of a momentum (Chen et al. 2023, Symbolic Discovery, algorithm 2).

    c = b1 m + (1 - b1) g;  w -= rate * (sign(c) + weight_decay * w);  m = b2 m + (1 - b2) g.

    The decay acts on penalised parameters only. Learning rates that are 3 to 10 times smaller than for Adam work best.
    """

    learning_rate: float = 0.0001
    beta1: float = 0.9
    beta2: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        check_setting(self, "beta1", 0, 1)
        check_setting(self, "beta2", 0, 1)

    def rule(self, weights: Array, gradient: Array, rate: float, mean: Array) -> tuple[Array, Array]:
        """Return the weights and the momentum after a step."""
        direction = np.sign(self.beta1 * mean + (1 - self.beta1) * gradient)
        return weights - rate * direction, self.beta2 * mean + (1 - self.beta2) * gradient
