"""Muon: momentum steps that are orthogonalised for weight matrices."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, final

from chainrule.named import also_called
from chainrule.optimizer.adam import MomentOptimizer
from chainrule.optimizer.base import BlockOptimizer
from chainrule.parameters import ParameterBlock
from chainrule.ranges import Range
from chainrule.settings import BELOW_ONE, FROM_ZERO, Setting
from chainrule.types import Array

__all__ = ["Muon"]

# The coefficients of Jordan's quintic, chosen for the steepest slope at 0, and the norm below which a matrix is zero.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
SMALLEST_NORM = 1e-7


@also_called(arguments={"ns_steps": "newton_schulz_steps", "adjust_lr_fn": "adjust"})
@final
@dataclass(eq=False)
class Muon(MomentOptimizer, BlockOptimizer):
    r"""Momentum, orthogonalised by Newton-Schulz iterations, for matrices; AdamW for the rest (Jordan et al. 2024).

    .. math::
       M &\leftarrow \mu M + (1 - \mu) G \\
       W &\leftarrow W - \eta \lambda W - \eta s \operatorname{orthogonalize}(D), \qquad
       D = (1 - \mu) G + \mu M \text{ with nesterov, else } M

    for a matrix W of shape (inputs, units). ``adjust`` sets the scale s: "match_rms_adamw", 0.2 * sqrt(max(inputs,
    units)), makes steps as large as AdamW's, so that one rate fits all parameters (Liu et al. 2025, Muon is Scalable,
    equation 4); "original", PyTorch's default, is sqrt(max(1, units / inputs)). Every two-dimensional parameter is a
    matrix, and one of three dimensions has a matrix for each member of an ensemble; all others take steps of AdamW with
    ``beta1``, ``beta2``, ``epsilon`` and the same rate. Decay acts on penalised parameters only.

    PyTorch computes the iterations in bfloat16, so its steps are off by up to a percent. Here the iterations have the
    precision of the weights.

    >>> Muon(learning_rate=0.1).update([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.0, 2.0]]).shape
    (2, 2)
    """

    learning_rate: float = 0.001
    momentum: Annotated[float, Setting("Momentum.", BELOW_ONE)] = 0.95
    nesterov: Annotated[bool, Setting("Whether to take Nesterov's momentum.")] = True
    newton_schulz_steps: Annotated[int, Setting("Steps of the orthogonalisation.", Range(1, 100, True, True))] = 5
    adjust: Annotated[Literal["match_rms_adamw", "original"], Setting("Scale of the steps.")] = "match_rms_adamw"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: Annotated[float, Setting("Decoupled weight decay.", FROM_ZERO)] = field(default=0.1, kw_only=True)

    rule = MomentOptimizer.adam_step

    def __post_init__(self) -> None:
        super().__post_init__()

    def step_block(
        self, block: ParameterBlock, weights: Array, gradient: Array, rate: float, step: int, state: Mapping[str, Array]
    ) -> None:
        """Take a step for one parameter in place."""
        if len(block.shape) < 2:
            self.apply_rule(weights, gradient, rate, step, state, decays=block.decays)
            return
        mean = state["mean"]
        mean += (1 - self.momentum) * (gradient - mean)
        direction = (1 - self.momentum) * gradient + self.momentum * mean if self.nesterov else mean
        rows, columns = block.shape[-2:]
        if self.adjust == "original":
            scale = math.sqrt(max(1.0, columns / rows))
        else:
            scale = 0.2 * math.sqrt(max(rows, columns))
        self.decay(weights, rate, block)
        shape = (-1, rows, columns)  # one matrix, or one for each member of an ensemble
        matrices = weights.reshape(shape)
        for k, matrix in enumerate(direction.reshape(shape)):
            matrices[k] -= rate * scale * orthogonalize(matrix, self.newton_schulz_steps)


def orthogonalize(matrix: Array, n_steps: int = 5) -> Array:
    r"""Return ``matrix`` with all singular values pushed towards 1: M = U S V^T becomes about U V^T.

    .. math:: X \leftarrow (a I + b X X^\top + c \, (X X^\top)^2) \, X, \qquad X_0 = \frac{M}{|M|}

    maps every singular value s to a s + b s^3 + c s^5. Five steps bring values above 0.01 |M| to between 0.7 and 1.2,
    which is close enough to 1 and much cheaper than a singular value decomposition (Jordan 2024, Muon). The matrix may
    be a tensor of PyTorch.
    """
    is_tall = matrix.shape[0] > matrix.shape[1]
    x: Array = matrix.T if is_tall else matrix
    x = x / ((x * x).sum() ** 0.5).clip(SMALLEST_NORM, None)
    a, b, c = COEFFICIENTS
    for _ in range(n_steps):
        gram = x @ x.T
        polynomial = b * gram + c * (gram @ gram)
        polynomial.reshape(-1)[:: len(gram) + 1] += a
        x = polynomial @ x
    return x.T if is_tall else x
