"""Methods that give every parameter a step size of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from chainrule import kernels
from chainrule.optimizer.base import Optimizer, check_setting
from chainrule.types import Array

__all__ = ["Adam"]


@final
@dataclass(eq=False)
class Adam(Optimizer):
    """Adaptive moment estimation (Kingma and Ba 2015, algorithm 1).

    m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w -= rate * m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon).
    """

    learning_rate: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_setting(self, "learning_rate", 0, open_low=True)
        check_setting(self, "beta1", 0, 1)
        check_setting(self, "beta2", 0, 1)
        check_setting(self, "epsilon", 0, open_low=True)

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return both moments, zero, and the number of steps taken."""
        return {"mean": np.zeros(size, dtype), "square": np.zeros(size, dtype), "steps": np.zeros(1, np.int64)}

    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Take one step in place."""
        self.state["steps"] += 1
        t = int(self.state["steps"][0])
        kernels.adam(
            weights,
            gradient,
            self.state["mean"],
            self.state["square"],
            self.beta1,
            self.beta2,
            learning_rate / (1 - self.beta1**t),
            math.sqrt(1 - self.beta2**t),
            self.epsilon,
        )
