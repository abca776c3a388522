"""Optimizers with a step size for each parameter, from its past gradients or their signs: AdaGrad, RMSprop, ..."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np

from chainrule.named import also_called
from chainrule.optimizer.base import BlockOptimizer, Optimizer
from chainrule.parameters import ParameterBlock
from chainrule.settings import ABOVE_ZERO, BELOW_ONE, FROM_ZERO, Setting
from chainrule.types import Array

__all__ = ["AdaGrad", "Adadelta", "Adafactor", "Lion", "RMSprop"]


@also_called(
    key="adagrad",
    arguments={"initial_accumulator_value": "initial_total"},
)
@final
@dataclass(eq=False)
class AdaGrad(Optimizer):
    r"""Steps divided by the root of the sum of all squared gradients (Duchi, Hazan and Singer 2011).

    .. math::
       v &\leftarrow v + g^2 \\
       w &\leftarrow w - \eta \frac{g}{\sqrt{v} + \epsilon}

    ``initial_total`` is the first value of v (``initial_accumulator_value`` in PyTorch).

    >>> AdaGrad(learning_rate=0.5).update([1.0, 2.0], [0.1, 10.0]).round(2).tolist()
    [0.5, 1.5]
    """

    learning_rate: float = 0.01
    epsilon: Annotated[float, Setting("Number added to the divisor.", ABOVE_ZERO)] = 1e-10
    initial_total: Annotated[float, Setting("First value of the sums of squares.", FROM_ZERO)] = 0.0

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the totals of the squared gradients."""
        return {"total": np.full(size, self.initial_total, dtype)}

    def rule(self, weights: Array, gradient: Array, rate: float, total: Array) -> tuple[Array, Array]:
        """Return the weights and the totals of the squared gradients after a step."""
        total = total + gradient**2
        return weights - rate * gradient / (np.sqrt(total) + self.epsilon), total


@also_called(
    key="rmsprop",
    arguments={"rho": "alpha"},
)
@final
@dataclass(eq=False)
class RMSprop(Optimizer):
    r"""Steps divided by a running root mean square of the gradient (Tieleman and Hinton 2012, lecture 6.5).

    .. math::
       v &\leftarrow \alpha v + (1 - \alpha) g^2 \\
       w &\leftarrow w - \eta \frac{g}{\sqrt{v} + \epsilon}

    With ``centered``, the running mean m of g is subtracted: :math:`\sqrt{v - m^2}` stands in place of :math:`\sqrt{v}`
    (Graves 2013, equation 40). With ``momentum`` :math:`\mu`, the move is retained: :math:`r \leftarrow \mu r + g /
    (\sqrt{v} + \epsilon)` and :math:`w \leftarrow w - \eta r`. The settings and their defaults are PyTorch's; Keras
    calls ``alpha`` rho.

    >>> RMSprop(learning_rate=0.01).update([1.0, 2.0], [0.1, 10.0]).round(2).tolist()
    [0.9, 1.9]
    """

    learning_rate: float = 0.01
    alpha: Annotated[float, Setting("Decay of the average of the squares.", BELOW_ONE)] = 0.99
    epsilon: Annotated[float, Setting("Number added to the divisor.", ABOVE_ZERO)] = 1e-8
    momentum: Annotated[float, Setting("Momentum.", BELOW_ONE)] = 0.0
    centered: Annotated[bool, Setting("Whether to subtract the squared mean of the gradients.")] = False

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
    r"""Steps in the units of the parameters, which need no learning rate (Zeiler 2012, algorithm 1).

    .. math::
       v &\leftarrow \rho v + (1 - \rho) g^2 \\
       s &= g \frac{\sqrt{u + \epsilon}}{\sqrt{v + \epsilon}} \\
       u &\leftarrow \rho u + (1 - \rho) s^2 \\
       w &\leftarrow w - \eta s

    The paper has no learning rate, which corresponds to a rate of 1.

    >>> Adadelta().update([1.0, 2.0], [0.1, 10.0]).round(3).tolist()
    [0.997, 1.997]
    """

    learning_rate: float = 1.0
    rho: Annotated[float, Setting("Decay of both averages.", BELOW_ONE)] = 0.9
    epsilon: Annotated[float, Setting("Number added to both averages.", ABOVE_ZERO)] = 1e-6

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
    r"""Steps of equal size with the sign of a momentum (Chen et al. 2023, Symbolic Discovery, algorithm 2).

    .. math::
       c &= \beta_1 m + (1 - \beta_1) g \\
       w &\leftarrow w - \eta (\operatorname{sign}(c) + \lambda w) \\
       m &\leftarrow \beta_2 m + (1 - \beta_2) g

    The decay :math:`\lambda` is ``weight_decay`` and acts on penalised parameters only. Learning rates that are 3 to 10
    times smaller than for Adam work best.

    >>> Lion(learning_rate=0.01).update([1.0, 2.0], [0.1, -10.0]).round(2).tolist()
    [0.99, 2.01]
    """

    learning_rate: float = 0.0001
    beta1: Annotated[float, Setting("Share of the average in a step.", BELOW_ONE)] = 0.9
    beta2: Annotated[float, Setting("Decay of the average of the gradients.", BELOW_ONE)] = 0.99

    def rule(self, weights: Array, gradient: Array, rate: float, mean: Array) -> tuple[Array, Array]:
        """Return the weights and the momentum after a step."""
        direction = np.sign(self.beta1 * mean + (1 - self.beta1) * gradient)
        return weights - rate * direction, self.beta2 * mean + (1 - self.beta2) * gradient


@final
@dataclass(eq=False)
class Adafactor(BlockOptimizer):
    r"""Steps divided by a root mean square that is kept for rows and columns only (Shazeer and Stern 2018).

    For a matrix G of gradients, with :math:`\beta = 1 - t^{-k}` and k = ``decay_power``:

    .. math::
       r &\leftarrow \beta r + (1 - \beta) \operatorname{mean}(G^2 \text{ over each row}) \\
       c &\leftarrow \beta c + (1 - \beta) \operatorname{mean}(G^2 \text{ over each column}) \\
       U &= G \, / \sqrt{r c^\top / \operatorname{mean}(r)} \\
       W &\leftarrow W - \min\left(\eta, 1 / \sqrt{t}\right) \max(s, \operatorname{rms}(W))
       \frac{U}{\max(1, \operatorname{rms}(U) / d)}

    where rms is the root mean square of a parameter, s is ``smallest_scale`` and d is ``clip_threshold``. For other
    parameters, a running mean v of the squared gradients stands in place of the matrix below the root. The state of a
    matrix of n rows and m columns therefore has n + m numbers. Settings and results are as in PyTorch, which calls
    ``decay_power`` -beta2_decay, ``clip_threshold`` d, and ``epsilon`` and ``smallest_scale`` eps.

    >>> Adafactor(learning_rate=0.1).update([[1.0, 2.0]], [[0.1, 10.0]]).shape
    (1, 2)
    """

    learning_rate: float = 0.01
    decay_power: Annotated[float, Setting("Exponent of the decay.", ABOVE_ZERO)] = 0.8
    epsilon: Annotated[float, Setting("Number added to the squares.", ABOVE_ZERO)] = 1.1920929e-7
    smallest_scale: Annotated[float, Setting("Lower bound of the size of a parameter.", ABOVE_ZERO)] = 1e-3
    clip_threshold: Annotated[float, Setting("Upper bound of the size of a step.", ABOVE_ZERO)] = 1.0

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the mean squares, those of the rows and columns of a matrix one after another, and the step number."""
        n_squares = sum(_n_squares(block) for block in self.blocks)
        return {"squares": np.zeros(n_squares, dtype), "steps": np.zeros(1, np.int64)}

    def vector_names(self) -> tuple[str, ...]:
        """Return the name of the mean squares."""
        return ("squares",)

    def state_of(self, part: slice) -> dict[str, Array]:
        """Return the mean squares of the parameter in a slice of the vector."""
        start = sum(_n_squares(block) for block in self.blocks if block.start < part.start)
        n_squares = sum(_n_squares(block) for block in self.blocks if block.start == part.start)
        return {"squares": self.state["squares"][start : start + n_squares]}

    def step_block(
        self, block: ParameterBlock, weights: Array, gradient: Array, rate: float, step: int, state: Mapping[str, Array]
    ) -> None:
        """Take a step for one parameter in place."""
        new_share = step**-self.decay_power
        scale = min(rate, step**-0.5) * _root_mean_square(weights).clip(self.smallest_scale, None)
        self.decay(weights, rate, block)
        estimate = squares = state["squares"]
        if len(block.shape) == 2:
            n_rows = block.shape[0]
            gradients = (gradient * gradient).reshape(block.shape)
            rows, columns = squares[:n_rows], squares[n_rows:]
            rows += new_share * (gradients.mean(1) - rows)
            columns += new_share * (gradients.mean(0) - columns)
            estimate = (rows[:, None] * columns / rows.mean().clip(self.epsilon, None)).reshape(-1)
        else:
            squares += new_share * (gradient * gradient - squares)
        update = gradient / estimate.clip(self.epsilon**2, None) ** 0.5
        weights -= scale / (_root_mean_square(update) / self.clip_threshold).clip(1.0, None) * update


def _n_squares(block: ParameterBlock) -> int:
    return sum(block.shape) if len(block.shape) == 2 else block.size


def _root_mean_square(values: Array) -> Any:
    return (values * values).mean() ** 0.5
