"""Levenberg-Marquardt: Gauss-Newton steps for sums of squares, damped until the objective decreases."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, cast, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.machine import machine_memory
from chainrule.named import also_called
from chainrule.optimizer.base import Objective, ObjectiveOptimizer
from chainrule.ranges import Range
from chainrule.settings import ABOVE_ZERO, FROM_ZERO, Setting
from chainrule.types import Array

__all__ = ["LevenbergMarquardt"]

_BLOCK_BYTES = 2**26
_MIN_DAMPING, _MAX_DAMPING = 1e-20, 1e10


@also_called("lm")
@final
@dataclass(eq=False)
class LevenbergMarquardt(ObjectiveOptimizer):
    r"""Damped Gauss-Newton for the mean squared error (Levenberg 1944, Marquardt 1963; Hagan and Menhaj 1994).

    For the objective :math:`r^\top r + \frac{\lambda}{2} w^\top w` with the residuals r, the penalty :math:`\lambda` =
    l2, the Jacobian J = dr/dw, and the damping d, whose first value is ``damping``:

    .. math::
       \left(J^\top J + \frac{\lambda}{2} I + d I\right) s &= -\left(J^\top r + \frac{\lambda}{2} w\right) \\
       w &\leftarrow w + \eta s

    The move s is kept if the objective decreases. Then d *= max(``damping_decrease``, 1 - (2 g - 1)^3), where g is the
    decrease divided by the decrease that the quadratic model predicts. Otherwise d *= ``damping_increase``, a factor
    that doubles with every further failure in the iteration, and the system is solved again, at most ``max_tries``
    times; after that, the weights do not change in this iteration. This is the rule of Nielsen (1999), "Damping
    parameter in Marquardt's method", equation 2.4. ``benchmarks/levenberg_marquardt_damping.py`` compares it with other
    rules on 150 small problems.

    Marquardt scales d by the diagonal of J^T J. This class does not, like Hagan and Menhaj, because the columns of J
    for a saturated unit are almost 0 and their moves would be arbitrarily large. The method has converged if no element
    of the gradient is above ``tolerance``, if the predicted decrease is below rounding, or if d is above 1e10.

    All computations are in float64. They take p^2 memory and m p^2 time for p parameters and m residuals (rows x
    outputs), so the method is for small networks. Networks that would need more than ``max_bytes``, or more memory than
    the machine has, are refused.

    >>> from chainrule import Dataset, NeuralNetwork
    >>> from chainrule.layers import DenseLayer
    >>> network = NeuralNetwork(epochs=5, optimizer="levenberg_marquardt", dtype="float64", seed=0)
    >>> line = Dataset([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], task="regression")
    >>> network.add(DenseLayer(1)).fit(line).predict([[10.0]]).round(3).tolist()
    [[21.0]]
    """

    learning_rate: float = 1.0
    damping: Annotated[float, Setting("First damping.", ABOVE_ZERO)] = 1e-3
    damping_increase: Annotated[float, Setting("Factor on the damping after a failed step.", Range(1, math.inf))] = 2.0
    damping_decrease: Annotated[float, Setting("Least factor on the damping after a step.", Range(0, 1))] = 1 / 3
    max_tries: Annotated[int, Setting("Steps that are tried per iteration.", Range(1, 1000, True, True))] = 10
    tolerance: Annotated[float, Setting("Relative decrease at which the method ends.", FROM_ZERO)] = 1e-10
    max_bytes: Annotated[int, Setting("Memory for the Jacobian.", Range(1, 2**50, True, True))] = 2**31

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the damping, float64, and ``converged``."""
        return {"damping": np.full(1, self.damping), "converged": np.zeros(1, np.int64)}

    @staticmethod
    def rows_per_block(n_parameters: int) -> int:
        """Return how many rows of the Jacobian an objective should give at a time: as many as 64 MiB hold."""
        return max(1, _BLOCK_BYTES // (8 * max(1, n_parameters)))

    def check_size(self, n_parameters: int, n_residuals: int) -> None:
        """Raise InvalidInputError, before training, if a network is too large for this method."""
        rows = min(n_residuals, self.rows_per_block(n_parameters))
        needed = 8 * n_parameters * (2 * n_parameters + rows)
        memory = machine_memory()  # the max_bytes in a model file may be above it
        if needed > min(self.max_bytes, memory):
            bound = "max_bytes" if self.max_bytes <= memory else "the memory of this machine"
            raise InvalidInputError(
                f"Levenberg-Marquardt would need {_format_bytes(needed)} for the {n_parameters:,} parameters of this "
                f"network, above {bound} ({_format_bytes(min(self.max_bytes, memory))}); use L-BFGS or Adam instead."
            )

    def iterate(self, start: Array, objective: Objective, learning_rate: float) -> tuple[Array, float]:
        """Do one iteration; return its last point and the objective there."""
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        state = self.state
        normal, half_gradient, value = self._normal_equations(start, objective)
        state["converged"][0] = 2 * np.max(np.abs(half_gradient), initial=0) <= self.tolerance
        if state["converged"][0] or not math.isfinite(value):
            return start, value

        end, damping = start, float(state["damping"][0])
        factor, increase = np.empty_like(normal), self.damping_increase
        for _ in range(self.max_tries):
            np.copyto(factor, normal)
            np.einsum("ii->i", factor)[:] += damping
            try:
                move = -cho_solve(cho_factor(factor, lower=True, overwrite_a=True, check_finite=False), half_gradient)
            except LinAlgError:  # too little damping for a system that is singular to working precision
                damping, increase = damping * increase, 2 * increase
                continue
            descent = -float(np.dot(half_gradient, move))
            curvature = descent - damping * float(np.dot(move, move))
            predicted_decrease = 2 * learning_rate * descent - learning_rate**2 * curvature
            if predicted_decrease <= np.finfo(start.dtype).eps * value:
                state["converged"][0] = 1
                break
            trial = (start + learning_rate * move).astype(start.dtype, copy=False)
            trial_value = objective.value_and_gradient(trial)[0]
            if trial_value < value:
                gain = (value - trial_value) / predicted_decrease
                damping *= max(self.damping_decrease, 1 - (2 * gain - 1) ** 3)
                end, value = trial, trial_value
                break
            damping, increase = damping * increase, 2 * increase
        if damping > _MAX_DAMPING:
            state["converged"][0] = 1
        state["damping"][0] = min(max(damping, _MIN_DAMPING), _MAX_DAMPING)
        return end, value

    def _normal_equations(self, start: Array, objective: Objective) -> tuple[Array, Array, float]:
        """Return J^T J + l2 / 2 I (lower triangle), J^T r + l2 / 2 w, and the objective; J is processed in blocks."""
        from scipy.linalg.blas import dsyrk

        normal = np.zeros((start.size, start.size), order="F")
        half_gradient = np.zeros(start.size)
        value = 0.0
        for residuals, jacobian in _blocks(objective.residuals_and_jacobian(start)):
            r, J = residuals.astype(np.float64, copy=False), np.ascontiguousarray(jacobian, np.float64)
            normal = dsyrk(1.0, J.T, 1.0, normal, lower=1, overwrite_c=1)
            half_gradient += r @ J
            value += float(np.dot(r, r))
        half_rate, weights = objective.l2_rate / 2, start[: self.n_penalized].astype(np.float64)
        np.einsum("ii->i", normal)[: self.n_penalized] += half_rate
        half_gradient[: self.n_penalized] += half_rate * weights
        return normal, half_gradient, value + half_rate * float(np.dot(weights, weights))


def _blocks(given: tuple[Array, Array] | Iterable[tuple[Array, Array]]) -> Iterable[tuple[Array, Array]]:
    return (cast("tuple[Array, Array]", given),) if isinstance(given, tuple) else given


def _format_bytes(n_bytes: float) -> str:
    return f"{n_bytes / 2**30:,.1f} GiB" if n_bytes >= 2**30 else f"{n_bytes / 2**20:,.1f} MiB"
