"""Adam and its variants: steps from running averages of the gradient and of its square.

All use m = b1 m + (1 - b1) g and v = b2 v + (1 - b2) g^2, both 0 at first, and correct their bias towards 0 by the
number of steps t. Factors that depend on t and the settings alone are computed in float64, once per step.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, final

import numpy as np

from chainrule.named import also_called
from chainrule.optimizer.base import Optimizer
from chainrule.settings import ABOVE_ZERO, BELOW_ONE, FROM_ZERO, Setting
from chainrule.types import Array

__all__ = ["Adam", "AdamW", "Adamax", "NAdam", "RAdam"]


class MomentOptimizer(Optimizer):
    """The base class of Adam and its variants: the settings and running averages that all of them use."""

    optional_arguments: ClassVar[tuple[tuple[str, str], ...]] = (("largest", "amsgrad"),)

    beta1: Annotated[float, Setting("Decay of the average of the gradients.", BELOW_ONE)]
    beta2: Annotated[float, Setting("Decay of the average of their squares.", BELOW_ONE)]
    epsilon: Annotated[float, Setting("Number added to the divisor.", ABOVE_ZERO)]
    amsgrad: Annotated[bool, Setting("Whether to divide by the largest average so far.", since="0.2")] = False

    @abstractmethod
    def rule(self, weights: Any, gradient: Any, *arguments: Any) -> Any:
        """Return the weights and the state arrays after a step."""

    def adam_step(
        self, weights: Any, gradient: Any, rate: Any, step: Any, mean: Any, square: Any, largest: Any = None
    ) -> Any:
        """Return the weights, both moments and, with ``amsgrad``, the largest mean squares after a step of Adam."""
        mean, square = self.update_moments(gradient, mean, square)
        if largest is not None:
            largest = np.maximum(largest, square)
        corrected_mean = mean / (1 - self.beta1**step)
        corrected_square = (square if largest is None else largest) / (1 - self.beta2**step)
        return weights - rate * corrected_mean / (np.sqrt(corrected_square) + self.epsilon), mean, square, largest

    def update_moments(self, gradient: Array, mean: Array, square: Array) -> tuple[Array, Array]:
        """Return b1 m + (1 - b1) g and b2 v + (1 - b2) g^2."""
        return (
            self.beta1 * mean + (1 - self.beta1) * gradient,
            self.beta2 * square + (1 - self.beta2) * gradient**2,
        )


@also_called(
    unlike={
        "amsgrad": "it is Adam(amsgrad=True).",
        "sparse_adam": "it updates only the weights with a nonzero gradient; 'adam' updates all of them.",
    },
)
@final
@dataclass(eq=False)
class Adam(MomentOptimizer):
    """Adaptive moment estimation (Kingma and Ba 2015, algorithm 1).

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon).

    With ``amsgrad``, the largest v so far stands in place of v (Reddi, Kale and Kumar 2018, algorithm 2).
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    rule = MomentOptimizer.adam_step


@final
@dataclass(eq=False)
class Adamax(MomentOptimizer):
    """Adam with the largest recent gradient in place of the root mean square (Kingma and Ba 2015, algorithm 2).

    m = b1 m + (1 - b1) g;  u = max(b2 u, |g| + epsilon);  w -= rate * m / (1 - b1^t) / u.
    """

    learning_rate: float = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def rule(
        self, weights: Array, gradient: Array, rate: float, step: int, mean: Array, size: Array
    ) -> tuple[Array, Array, Array]:
        """Return the weights, the running average and the largest recent gradients after a step."""
        mean = self.beta1 * mean + (1 - self.beta1) * gradient
        size = np.maximum(self.beta2 * size, np.abs(gradient) + self.epsilon)
        return weights - rate * mean / (1 - self.beta1**step) / size, mean, size


@final
@dataclass(eq=False)
class AdamW(MomentOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    w -= rate * weight_decay * w, then a step of Adam.

    The decay acts on penalised parameters (the weight matrices) and not on biases; PyTorch decays all parameters. If
    you call :meth:`update` yourself, all weights decay.
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: Annotated[bool, Setting(since="0.2")] = field(default=False, kw_only=True)
    weight_decay: Annotated[float, Setting("Decoupled weight decay.", FROM_ZERO)] = field(default=0.01, kw_only=True)

    rule = MomentOptimizer.adam_step


@also_called(key="nadam")
@final
@dataclass(eq=False)
class NAdam(MomentOptimizer):
    """Adam with Nesterov momentum (Dozat 2016, algorithm 8, with the increasing momentum of the paper).

    mu_t = b1 (1 - 0.96^(t * momentum_decay) / 2);  P_t = mu_1 * ... * mu_t;
    w -= rate * ((1 - mu_t) / (1 - P_t) * g + mu_{t+1} / (1 - P_{t+1}) * m) / (sqrt(v / (1 - b2^t)) + epsilon).
    """

    learning_rate: float = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: Annotated[float, Setting("Speed at which the momentum reaches beta1.", FROM_ZERO)] = 0.004

    scalar_state: ClassVar[tuple[str, ...]] = ("momentum_product",)

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return Adam's state and the product of all momenta so far, 1."""
        return {**super().allocate_state(size, dtype), "momentum_product": np.ones(1)}

    def advance(self, learning_rate: float, step: int) -> None:
        """Multiply the product of the momenta by the momentum of this step."""
        product = float(self.state["momentum_product"][0]) * self._momentum(step)
        # Rounding would keep the product at the smallest positive number.
        self.state["momentum_product"][0] = 0.0 if product < sys.float_info.min else product

    def rule(
        self,
        weights: Array,
        gradient: Array,
        rate: float,
        step: int,
        mean: Array,
        square: Array,
        momentum_product: float,
    ) -> tuple[Array, Array, Array]:
        """Return the weights and both moments after a step."""
        mean, square = self.update_moments(gradient, mean, square)
        momentum, next_momentum = self._momentum(step), self._momentum(step + 1)
        direction = (1 - momentum) / (1 - momentum_product) * gradient
        direction = direction + next_momentum / (1 - momentum_product * next_momentum) * mean
        return weights - rate * direction / (np.sqrt(square / (1 - self.beta2**step)) + self.epsilon), mean, square

    def _momentum(self, step: int) -> float:
        momentum: float = self.beta1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay))
        return momentum


@also_called(key="radam")
@final
@dataclass(eq=False)
class RAdam(MomentOptimizer):
    """Rectified Adam: no division by sqrt(v) while v averages few gradients (Liu et al. 2020, algorithm 2).

    L = 2 / (1 - b2) - 1;  l = L - 2 t b2^t / (1 - b2^t), the number of gradients that v averages. Where l > 5,
    w -= rate * r * m / (1 - b1^t) * sqrt(1 - b2^t) / (sqrt(v) + epsilon), with
    r = sqrt((l - 4) (l - 2) L / ((L - 4) (L - 2) l)); otherwise, w -= rate * m / (1 - b1^t).
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def rule(
        self, weights: Array, gradient: Array, rate: float, step: int, mean: Array, square: Array
    ) -> tuple[Array, Array, Array]:
        """Return the weights and both moments after a step."""
        mean, square = self.update_moments(gradient, mean, square)
        corrected_mean = mean / (1 - self.beta1**step)
        correction = 1 - self.beta2**step
        max_length = 2 / (1 - self.beta2) - 1
        length = max_length - 2 * step * self.beta2**step / correction
        ratio = (length - 4) * (length - 2) * max_length / ((max_length - 4) * (max_length - 2) * length)
        scale = np.sqrt(np.maximum(ratio, 0) * correction) / (np.sqrt(square) + self.epsilon)
        return weights - rate * corrected_mean * np.where(length > 5, scale, 1), mean, square
