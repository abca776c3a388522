"""Muon: momentum steps that are orthogonalised for weight matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from chainrule.optimizer.adam import AdamW
from chainrule.optimizer.base import Optimizer, check_choice, check_count, check_setting
from chainrule.types import Array, Shape

__all__ = ["Muon", "orthogonalize"]

# The coefficients of Jordan's quintic, chosen for the steepest slope at 0, and the norm below which a matrix is zero.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
SMALLEST_NORM = 1e-7


@final
@dataclass(eq=False)
class Muon(Optimizer):
    """Momentum, orthogonalised by Newton-Schulz iterations, for matrices; AdamW for the rest (Jordan et al. 2024).

    m = momentum * m + (1 - momentum) g;  d = (1 - momentum) g + momentum * m with ``nesterov``, else m;
    w -= rate * weight_decay * w;  w -= rate * scale * orthogonalize(d), for a matrix of shape (inputs, units).

    ``adjust`` sets the scale: "match_rms_adamw", 0.2 * sqrt(max(inputs, units)), makes steps as large as AdamW's, so
    that one rate fits all parameters (Liu et al. 2025, Muon is Scalable, equation 4); "original", PyTorch's default,
    is sqrt(max(1, units / inputs)). Every two-dimensional parameter counts as a matrix; all others take steps of AdamW
    with ``beta1``, ``beta2``, ``epsilon`` and the same rate. Decay acts on penalised parameters only.

    PyTorch computes the iterations in bfloat16, so its steps are off by up to a percent. Here the iterations have the
    precision of the weights.
    """

    learning_rate: float = 0.001
    weight_decay: float = 0.1
    momentum: float = 0.95
    nesterov: bool = True
    newton_schulz_steps: int = 5
    adjust: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def __post_init__(self) -> None:
        check_setting(self, "learning_rate", 0, open_low=True)
        check_setting(self, "weight_decay", 0)
        check_setting(self, "momentum", 0, 1)
        check_choice(self, "nesterov", (False, True))
        check_count(self, "newton_schulz_steps", 100)
        check_choice(self, "adjust", ("match_rms_adamw", "original"))
        check_setting(self, "beta1", 0, 1)
        check_setting(self, "beta2", 0, 1)
        check_setting(self, "epsilon", 0, open_low=True)

    def _forget(self) -> None:
        super()._forget()
        self._scratch: dict[tuple[Shape, np.dtype[Any]], tuple[Array, ...]] = {}
        self._rest: AdamW | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the scratch arrays out of copies and pickles."""
        return {**super().__getstate__(), "_scratch": {}, "_rest": None}

    def allocate_state(self, size: int, dtype: np.dtype[Any]) -> dict[str, Array]:
        """Return the momenta and the mean squares for AdamW, both 0, and the number of steps."""
        return {"mean": np.zeros(size, dtype), "square": np.zeros(size, dtype), "steps": np.zeros(1, np.int64)}

    def step(self, weights: Array, gradient: Array, learning_rate: float) -> None:
        """Take one step in place."""
        self.state["steps"] += 1
        for block in self.blocks:
            part = slice(block.start, block.start + block.size)
            decay = learning_rate * self.weight_decay if block.penalized else 0.0
            if len(block.shape) == 2:
                self._step_matrix(block.shape, part, weights[part], gradient[part], learning_rate, decay)
            else:
                self._step_rest(part, weights[part], gradient[part], learning_rate, decay)

    def _step_matrix(
        self, shape: Shape, part: slice, weights: Array, gradient: Array, rate: float, decay: float
    ) -> None:
        rows, columns = shape
        direction, *scratch = self._scratch_for(shape, weights.dtype)
        mean = self.state["mean"][part]
        flat = direction.reshape(-1)
        np.subtract(gradient, mean, out=flat)
        flat *= 1 - self.momentum
        mean += flat
        if self.nesterov:  # (1 - momentum) g + momentum m
            np.subtract(mean, gradient, out=flat)
            flat *= self.momentum
            flat += gradient
        else:
            flat[...] = mean
        orthogonalize(direction, self.newton_schulz_steps, scratch)
        if self.adjust == "original":
            scale = math.sqrt(max(1.0, columns / rows))
        else:
            scale = 0.2 * math.sqrt(max(rows, columns))
        weights *= 1 - decay
        flat *= rate * scale
        weights -= flat

    def _step_rest(self, part: slice, weights: Array, gradient: Array, rate: float, decay: float) -> None:
        state = {name: self.state[name][part] for name in ("mean", "square")}
        if self._rest is None:
            self._rest = AdamW()
        rest = self._rest
        rest.beta1, rest.beta2 = self.beta1, self.beta2
        rest.epsilon, rest.weight_decay = self.epsilon, self.weight_decay
        rest.apply_rule(weights, gradient, rate, int(self.state["steps"][0]), state, decays=decay != 0)

    def _scratch_for(self, shape: Shape, dtype: np.dtype[Any]) -> tuple[Array, ...]:
        key = (shape, dtype)
        if key not in self._scratch:
            self._scratch[key] = (np.empty(shape, dtype), *_allocate_scratch(shape, dtype))
        return self._scratch[key]


def _allocate_scratch(shape: Shape, dtype: np.dtype[Any]) -> tuple[Array, Array, Array, Array]:
    short, long = sorted(shape)
    wide, square = (short, long), (short, short)
    return np.empty(wide, dtype), np.empty(wide, dtype), np.empty(square, dtype), np.empty(square, dtype)


def orthogonalize(matrix: Array, n_steps: int = 5, scratch: Sequence[Array] = ()) -> Array:
    """Push all singular values of ``matrix`` towards 1, in place: M = U S V^T becomes about U V^T.

    From X = M / |M|, each step is X = a X + (b G + c G^2) X with G = X X^T, which maps every singular value s to
    a s + b s^3 + c s^5. Five steps bring values above 0.01 |M| to between 0.7 and 1.2, which is close enough to 1 and
    much cheaper than a singular value decomposition (Jordan 2024, Muon).
    """
    x, product, gram, polynomial = scratch or _allocate_scratch(matrix.shape, matrix.dtype)
    tall = matrix.shape[0] > matrix.shape[1]
    np.copyto(x, matrix.T if tall else matrix)
    norm = math.sqrt(float(np.dot(x.reshape(-1), x.reshape(-1))))
    x *= 1 / (SMALLEST_NORM if norm < SMALLEST_NORM else norm)
    a, b, c = COEFFICIENTS
    for _ in range(n_steps):
        np.matmul(x, x.T, out=gram)
        np.matmul(gram, gram, out=polynomial)
        polynomial *= c
        gram *= b
        polynomial += gram
        np.matmul(polynomial, x, out=product)
        x *= a
        x += product
    np.copyto(matrix, x.T if tall else x)
    return matrix
