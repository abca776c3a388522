"""L-BFGS: Newton directions, approximated from the changes of the gradient over the last few moves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, final

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.named import also_called
from chainrule.optimizer.base import Objective, ObjectiveOptimizer
from chainrule.optimizer.line_search import Trial, strong_wolfe
from chainrule.ranges import Range
from chainrule.settings import FROM_ZERO, Setting
from chainrule.types import Array

__all__ = ["LBFGS"]


@also_called(
    unlike={
        "bfgs": "it stores a whole matrix; 'lbfgs' stores the last few steps.",
        "l_bfgs_b": "it keeps the weights within bounds; 'lbfgs' has none.",
    },
    arguments={
        "max_eval": "max_evaluations",
        "tolerance_grad": "tolerance",
        "max_iter": "It is the number of epochs of the network.",
    },
)
@final
@dataclass(eq=False)
class LBFGS(ObjectiveOptimizer):
    r"""Limited-memory BFGS with a strong Wolfe line search (Liu and Nocedal 1989).

    .. math:: w \leftarrow w - t H g

    The approximation H of the inverse Hessian follows from the last ``memory`` pairs of moves s and gradient changes y
    by the two-loop recursion (Nocedal and Wright 2006, algorithm 7.4), from :math:`H_0 = \frac{s^\top y}{y^\top y} I`.
    The step length t is that of a line search, which starts at ``learning_rate`` and meets the conditions of ``c1`` and
    ``c2`` within ``max_evaluations`` evaluations of the objective. A pair with too small a product of s and y is left
    out.

    One call of ``minimize`` is one iteration. If the line search finds no lower point, the weights do not change and
    the pairs are deleted, so that the next iteration is one of steepest descent. If that finds no lower point either,
    or if no element of the gradient is above ``tolerance``, the method has converged. It has also converged if an
    iteration lowers the objective from f to f' by at most ``min_decrease * max(|f|, |f'|, 1)`` (SciPy's ``ftol``).

    With an ``evaluation_limit``, the method stops after the iteration in which it has evaluated the objective that many
    times in all.

    >>> from chainrule import Dataset, NeuralNetwork
    >>> from chainrule.layers import DenseLayer
    >>> network = NeuralNetwork(epochs=20, optimizer="lbfgs", dtype="float64", seed=0)
    >>> line = Dataset([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], task="regression")
    >>> network.add(DenseLayer(1)).fit(line).predict([[10.0]]).round(3).tolist()
    [[21.0]]
    """

    learning_rate: float = 1.0
    memory: Annotated[int, Setting("Pairs of vectors that are kept.", Range(1, 1000, True, True))] = 10
    max_evaluations: Annotated[
        int,
        Setting("Evaluations of the objective per iteration.", Range(1, 10_000, True, True)),
    ] = 25
    c1: Annotated[float, Setting("Constant of the first Wolfe condition.", Range(0, 1))] = 1e-4
    c2: Annotated[float, Setting("Constant of the second Wolfe condition.", Range(0, 1))] = 0.9
    tolerance: Annotated[float, Setting("Largest gradient at which the method ends.", FROM_ZERO)] = 1e-7
    min_decrease: Annotated[float, Setting("Relative decrease at which the method ends.", FROM_ZERO, since="0.2")] = 0.0
    evaluation_limit: Annotated[
        int | None, Setting("Evaluations at most.", Range(1, 2**53, True, True), since="0.2")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.c1 >= self.c2:
            raise InvalidInputError(f"LBFGS has c1={self.c1:g} and c2={self.c2:g}; c1 must be below c2.")

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the moves and the gradient changes (ring buffers), the number of pairs so far, and ``converged``.

        With an ``evaluation_limit``, the number of evaluations is counted as well.
        """
        counters = {} if self.evaluation_limit is None else {"evaluations": np.zeros(1, np.int64)}
        return {
            **counters,
            "moves": np.zeros((self.memory, size), dtype),
            "changes": np.zeros((self.memory, size), dtype),
            "pairs": np.zeros(1, np.int64),
            "converged": np.zeros(1, np.int64),
        }

    def restore_state(self, state: Mapping[str, Array], size: int, dtype: np.dtype[Any]) -> None:
        """Take copies of ``state``; refuse pairs that this method would not have kept."""
        super().restore_state(state, size, dtype)
        n_kept = min(int(self.state["pairs"][0]), self.memory)
        moves, changes = (self.state[name][:n_kept].astype(np.float64) for name in ("moves", "changes"))
        with np.errstate(over="ignore", invalid="ignore"):
            curvatures = np.einsum("ij,ij->i", moves, changes)
        if not (curvatures > 0).all():
            raise InvalidInputError("The moves and gradient changes in the state of LBFGS do not belong together.")

    @property
    def stop_reason(self) -> str | None:
        """Why there is no further iteration, in words; None if there is one."""
        n_evaluations = int(self.state["evaluations"][0]) if "evaluations" in self.state else 0
        if self.evaluation_limit is not None and n_evaluations >= self.evaluation_limit and not self.converged:
            return f"LBFGS has evaluated the objective {n_evaluations} times, and its limit is {self.evaluation_limit}"
        return super().stop_reason

    def iterate(self, start: Array, objective: Objective, learning_rate: float) -> tuple[Array, float]:
        """Do one iteration; return its last point and the objective there."""
        state = self.state
        value, gradient = objective.value_and_gradient(start)
        gradient = gradient.copy()
        state["converged"][0] = np.max(np.abs(gradient), initial=0) <= self.tolerance
        if state["converged"][0] or not math.isfinite(value):
            return start, value

        direction = self._direction(gradient)
        slope = float(np.dot(gradient, direction))
        if not slope < 0:
            state["pairs"][0] = 0
            direction = -gradient
            slope = float(np.dot(gradient, direction))
        is_steepest_descent = state["pairs"][0] == 0
        # The length of the gradient is not a suitable step size. The L1 norm of the first move is at most the rate.
        scale = min(1.0, 1 / float(np.sum(np.abs(gradient)))) if is_steepest_descent else 1.0

        def evaluate(step: float) -> Trial:
            if "evaluations" in state:
                state["evaluations"] += 1
            trial_value, trial_gradient = objective.value_and_gradient(start + step * direction)
            return Trial(step, trial_value, float(np.dot(trial_gradient, direction)), trial_gradient.copy())

        origin = Trial(0.0, value, slope, gradient)
        best = strong_wolfe(evaluate, origin, learning_rate * scale, self.c1, self.c2, self.max_evaluations)
        if best.step == 0 or not best.value < value:
            state["converged"][0] = is_steepest_descent
            state["pairs"][0] = 0
            return start, value
        self._remember(direction, best.step, best.gradient - gradient)
        if value - best.value <= self.min_decrease * max(abs(value), abs(best.value), 1):
            state["converged"][0] = True
        return start + best.step * direction, best.value

    def _direction(self, gradient: Array) -> Array:
        """Return -H g by the two-loop recursion."""
        moves, changes, n_pairs = self.state["moves"], self.state["changes"], int(self.state["pairs"][0])
        newest_first = [pair % self.memory for pair in range(n_pairs - 1, max(n_pairs - self.memory, 0) - 1, -1)]
        direction = -gradient
        alpha = {}
        for row in newest_first:
            alpha[row] = float(np.dot(moves[row], direction)) / float(np.dot(moves[row], changes[row]))
            direction -= alpha[row] * changes[row]
        if newest_first:
            s, y = moves[newest_first[0]], changes[newest_first[0]]
            direction *= float(np.dot(s, y)) / float(np.dot(y, y))
        for row in reversed(newest_first):
            beta = float(np.dot(changes[row], direction)) / float(np.dot(moves[row], changes[row]))
            direction += (alpha[row] - beta) * moves[row]
        return direction

    def _remember(self, direction: Array, step: float, change: Array) -> None:
        """Replace the oldest pair by that of this iteration, unless its curvature is 0 or negative within rounding."""
        row = int(self.state["pairs"][0]) % self.memory
        s_y = step * float(np.dot(direction, change))
        lengths = step * float(np.linalg.norm(direction)) * float(np.linalg.norm(change))
        if s_y > 1e-10 * lengths and s_y > np.finfo(change.dtype).tiny:
            np.multiply(direction, step, out=self.state["moves"][row])
            self.state["changes"][row] = change
            self.state["pairs"] += 1
