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
    r"""Adaptive moment estimation (Kingma and Ba 2015, algorithm 1).

    .. math::
       m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
       v &\leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
       w &\leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    in step t. The running means m and v have the shape of the weights. With ``amsgrad``, the largest v so far stands in
    place of v (Reddi, Kale and Kumar 2018, algorithm 2).

    >>> Adam(learning_rate=0.01).update([1.0, 2.0], [0.1, 10.0]).round(2).tolist()
    [0.99, 1.99]
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
    r"""Adam with the largest recent gradient in place of the root mean square (Kingma and Ba 2015, algorithm 2).

    .. math::
       m &\leftarrow \beta_1 m + (1 - \beta_1) g \\
       u &\leftarrow \max(\beta_2 u, |g| + \epsilon) \\
       w &\leftarrow w - \eta \frac{m / (1 - \beta_1^t)}{u}

    >>> Adamax(learning_rate=0.01).update([1.0, 2.0], [0.1, 10.0]).round(2).tolist()
    [0.99, 1.99]
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
    r"""Adam with decoupled weight decay (Loshchilov and Hutter 2019, algorithm 2).

    .. math:: w \leftarrow w - \eta \lambda w \qquad \text{and then a step of Adam}

    The decay :math:`\lambda` is ``weight_decay`` and acts on penalised parameters (the weight matrices) and not on
    biases; PyTorch decays all parameters. If you call :meth:`update` yourself, all weights decay.

    >>> AdamW(learning_rate=0.01, weight_decay=1.0).update([1.0, 2.0], [0.1, 10.0]).round(2).tolist()
    [0.98, 1.97]
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
    r"""Adam with Nesterov momentum (Dozat 2016, algorithm 8, with the increasing momentum of the paper).

    .. math::
       \mu_t &= \beta_1 \left(1 - \frac{1}{2} \, 0.96^{\, t \psi}\right), \qquad P_t = \mu_1 \cdots \mu_t \\
       w &\leftarrow w - \eta \left(\frac{1 - \mu_t}{1 - P_t} g + \frac{\mu_{t+1}}{1 - P_{t+1}} m\right) \, /
       \left(\sqrt{v / (1 - \beta_2^t)} + \epsilon\right)

    with the running means m and v of :class:`Adam`, and :math:`\psi` = ``momentum_decay``.

    >>> NAdam(learning_rate=0.01).update([1.0, 2.0], [0.1, 10.0]).round(3).tolist()
    [0.989, 1.989]
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
    r"""Rectified Adam: no division by the root of v while v averages few gradients (Liu et al. 2020, algorithm 2).

    .. math::
       l_\infty &= \frac{2}{1 - \beta_2} - 1, \qquad l = l_\infty - \frac{2 t \beta_2^t}{1 - \beta_2^t} \\
       w &\leftarrow w - \eta \frac{m}{1 - \beta_1^t} \begin{cases}
       r \sqrt{1 - \beta_2^t} \, / \, (\sqrt{v} + \epsilon) & \text{where } l > 5 \\
       1 & \text{otherwise} \end{cases} \\
       r &= \sqrt{\frac{(l - 4)(l - 2) \, l_\infty}{(l_\infty - 4)(l_\infty - 2) \, l}}

    with the running means m and v of :class:`Adam`. The number of gradients that v averages is l.

    >>> RAdam(learning_rate=0.01).update([1.0, 2.0], [0.1, 10.0]).round(3).tolist()
    [0.999, 1.9]
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
