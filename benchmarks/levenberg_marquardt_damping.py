"""Compare rules for the damping of Levenberg-Marquardt: those of Hagan and Menhaj, of Nielsen, and of MINPACK.

Small networks (tanh, sigmoid, softplus, PReLU; one or two hidden layers) are fitted to small regressions, in float64,
from the same initial weights. A problem is a data set, a network and a seed. Every rule has the same number of
iterations, each of which tries steps until one reduces the objective. The table contains the number of problems for
which a rule ends within 1 % (and within a factor of 2) of the lowest error of all rules, and the geometric mean of its
error divided by the lowest.

The rules differ in the change of the damping d of (J^T J + d D) move = -J^T r. The gain ratio g is the decrease of the
objective divided by the decrease that the quadratic model predicts:

- constant factors (Hagan and Menhaj 1994): D = I; d / 10 after a step that reduces the objective with g > 1/4, and 10 d
  after a step that does not.
- Nielsen (1999), "Damping parameter in Marquardt's method": D = I; d max(1/3, 1 - (2 g - 1)^3) after a step that
  reduces the objective, and 2 d, 4 d, 8 d ... after consecutive steps that do not.
- MINPACK (Moré 1978): a trust region scaled by the columns of J, by ``scipy.optimize.least_squares(method="lm")``. It
  counts evaluations instead of iterations, and may compute as many Jacobians as the others.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python benchmarks/levenberg_marquardt_damping.py [--iterations 200]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import platform
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Array
from scipy import linalg, optimize
from sklearn.datasets import load_diabetes, make_friedman1, make_friedman2, make_friedman3

from chainrule.activations import ACTIVATIONS
from chainrule.data.batches import Batch
from chainrule.engines import NumpyEngine, TrainingPlan
from chainrule.engines.objective import BatchObjective
from chainrule.layers import DenseLayer
from chainrule.losses import MeanSquaredError
from chainrule.optimizer import LevenbergMarquardt
from chainrule.stack import LayerStack

RESULTS = Path(__file__).parent / "results"
NETWORKS = (("tanh", (8,)), ("tanh", (6, 4)), ("sigmoid", (10,)), ("softplus", (8,)), ("prelu", (8,)))
SEEDS = range(3)
MAX_STEPS, MIN_DAMPING, MAX_DAMPING = 10, 1e-20, 1e10  # steps tried per iteration; bounds of the damping


class Problem:
    """The residuals of a network on some rows, as a function of its weights."""

    def __init__(self, X: Array, y: Array, activation: str, widths: tuple[int, ...], seed: int) -> None:
        self.stack = LayerStack(dtype=np.float64, seed=seed)
        for number, width in enumerate(widths):
            self.stack.add(DenseLayer(width, X.shape[1:] if number == 0 else None))
            self.stack.add(ACTIVATIONS.create(activation))
        self.stack.add(DenseLayer(1))
        plan = TrainingPlan(MeanSquaredError(), LevenbergMarquardt())
        session: Any = NumpyEngine().open(self.stack, plan)
        self.objective = BatchObjective(self.stack, plan, Batch(X, y[:, None], None), session.compute_gradient)
        self.start = self.stack.vector.values.copy()

    def value(self, weights: Array) -> float:
        """Return the mean squared error."""
        return self.objective.value_and_gradient(weights)[0]

    def linearized(self, weights: Array) -> tuple[Array, Array]:
        """Return residuals and Jacobian."""
        blocks = list(self.objective.residuals_and_jacobian(weights))
        return np.concatenate([r for r, _ in blocks]), np.concatenate([J for _, J in blocks])


class ConstantFactors:
    """Damping that is divided or multiplied by ten."""

    def __init__(self, damping: float) -> None:
        self.damping = damping

    def succeed(self, gain: float) -> None:
        self.damping = max(self.damping * (0.1 if gain > 0.25 else 1.0), MIN_DAMPING)

    def fail(self) -> None:
        self.damping = min(self.damping * 10, 2 * MAX_DAMPING)


class Nielsen(ConstantFactors):
    """Damping that is reduced by a smooth function of the gain ratio, and multiplied by 2, 4, 8, ..."""

    growth = 2.0

    def succeed(self, gain: float) -> None:
        self.damping = max(self.damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), MIN_DAMPING)
        self.growth = 2.0

    def fail(self) -> None:
        self.damping = min(self.damping * self.growth, 2 * MAX_DAMPING)
        self.growth = min(2 * self.growth, 2.0**60)


def minimize(problem: Problem, rule: ConstantFactors, n_iterations: int) -> float:
    """Return the final error of a rule."""
    weights, value = problem.start.copy(), problem.value(problem.start)
    for _ in range(n_iterations):
        r, J = problem.linearized(weights)
        normal, half_gradient = J.T @ J, J.T @ r
        for _ in range(MAX_STEPS):
            try:
                factor = linalg.cho_factor(normal + rule.damping * np.eye(len(normal)))
            except linalg.LinAlgError:
                rule.fail()
                continue
            move = -linalg.cho_solve(factor, half_gradient)
            predicted_decrease = float(rule.damping * (move @ move) - half_gradient @ move)
            if predicted_decrease <= np.finfo(float).eps * value:
                return value
            trial = problem.value(weights + move)
            if trial < value:
                rule.succeed((value - trial) / predicted_decrease)
                weights, value = weights + move, trial
                break
            rule.fail()
        if rule.damping > MAX_DAMPING:
            break
    return value


def minimize_by_minpack(problem: Problem, n_iterations: int) -> float:
    """Return the final error of MINPACK's lmder, with at most ``n_iterations`` Jacobians."""
    n_jacobians = 0
    last = problem.start

    class NoMoreJacobiansError(Exception):
        """The limit of Jacobians is reached."""

    def jacobian(weights: Array) -> Array:
        nonlocal n_jacobians, last
        n_jacobians, last = n_jacobians + 1, weights.copy()
        if n_jacobians > n_iterations:
            raise NoMoreJacobiansError
        return problem.linearized(weights)[1]

    def residuals(weights: Array) -> Array:
        return problem.linearized(weights)[0]

    options: dict[str, Any] = {"xtol": 1e-15, "ftol": 1e-15, "gtol": 1e-15, "max_nfev": 100 * n_iterations}
    with contextlib.suppress(NoMoreJacobiansError):
        last = optimize.least_squares(residuals, problem.start, jacobian, method="lm", **options).x
    return problem.value(last)


RULES: dict[str, Callable[[Problem, int], float]] = {
    **{
        f"constant factors, from {start:g}": lambda p, n, start=start: minimize(p, ConstantFactors(start), n)
        for start in (1e-3, 1e-1)
    },
    **{f"Nielsen, from {start:g}": lambda p, n, start=start: minimize(p, Nielsen(start), n) for start in (1e-3, 1e-1)},
    "MINPACK": minimize_by_minpack,
}


def data_sets() -> Iterator[tuple[str, Array, Array]]:
    """Yield small regressions with standardised inputs and targets."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-3, 3, 80))[:, None]
    plane = rng.uniform(-2, 2, (150, 2))
    diabetes = load_diabetes()
    given = {
        "wave": (x, np.sin(3 * x[:, 0])),
        "wave with noise": (x, np.sin(3 * x[:, 0]) + 0.2 * rng.normal(size=80)),
        "step": (x, np.sign(x[:, 0]) + 0.05 * rng.normal(size=80)),
        "ripples": (plane, np.cos(2 * np.hypot(plane[:, 0], plane[:, 1]))),
        "saddle": (plane, plane[:, 0] * plane[:, 1]),
        "friedman1": make_friedman1(200, noise=0.0, random_state=0),
        "friedman1 with noise": make_friedman1(200, noise=1.0, random_state=1),
        "friedman2": make_friedman2(150, random_state=0),
        "friedman3": make_friedman3(150, noise=0.1, random_state=0),
        "diabetes": (diabetes.data[:200], diabetes.target[:200]),
    }
    for name, (X, y) in given.items():
        yield name, (X - X.mean(axis=0)) / X.std(axis=0), (y - y.mean()) / y.std()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=200, help="iterations of each rule")
    n_iterations = parser.parse_args().iterations
    ends: list[dict[str, Any]] = []
    for name, X, y in data_sets():
        for activation, widths in NETWORKS:
            for seed in SEEDS:
                problem = Problem(X, y, activation, widths, seed)
                errors = {rule: run(problem, n_iterations) for rule, run in RULES.items()}
                ends.append({"data": name, "activation": activation, "widths": widths, "seed": seed, "errors": errors})
        print(f"{name}: done", flush=True)
    floor = 1e-20  # smaller errors are rounding errors
    rows = []
    for rule in RULES:
        ratios = [max(end["errors"][rule], floor) / max(min(end["errors"].values()), floor) for end in ends]
        within = [sum(ratio <= limit for ratio in ratios) for limit in (1.01, 2)]
        mean = math.exp(float(np.mean(np.log(ratios))))
        rows.append(f"| {rule} | {within[0]} | {within[1]} | {mean:.2f} |")
    table = "\n".join(
        [
            "| damping | within 1 % of the best | within a factor of 2 | geometric mean of error / best |",
            "|---|---:|---:|---:|",
            *rows,
        ]
    )
    print(table)
    where = f"{platform.processor() or platform.machine()}, NumPy {np.__version__}"
    (RESULTS / "levenberg_marquardt_damping.md").write_text(
        f"# Damping rules of Levenberg-Marquardt\n\n"
        f"{len(ends)} problems, {n_iterations} iterations of each rule; {where}.\n"
        f"Written by `python benchmarks/levenberg_marquardt_damping.py --iterations {n_iterations}`.\n\n{table}\n"
    )
    (RESULTS / "levenberg_marquardt_damping.json").write_text(json.dumps({"machine": where, "ends": ends}, indent=1))


if __name__ == "__main__":
    main()
