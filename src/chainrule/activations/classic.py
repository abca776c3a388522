"""The activations with bounded output (and the linear one): what neurons and output layers began with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from chainrule.activations.base import KernelActivation
from chainrule.named import also_called
from chainrule.ranges import Range
from chainrule.types import Array

__all__ = [
    "GaussianActivation",
    "HardSigmoidActivation",
    "LinearActivation",
    "SigmoidActivation",
    "SoftmaxActivation",
    "SoftsignActivation",
    "TanhActivation",
]


@also_called("identity")
@final
@dataclass(eq=False)
class LinearActivation(KernelActivation):
    """f(z) = z, the identity: the output of a regression. f' = 1."""

    kernel: ClassVar[str] = "identity"
    keeps_range: ClassVar[bool] = True


@also_called(
    "logistic",
    unlike={
        "log_sigmoid": "it is the logarithm of 'sigmoid'; a loss takes that logarithm itself.",
        "glu": "it multiplies one half of its inputs by the sigmoid of the other half; no activation here does that.",
    },
)
@final
@dataclass(eq=False)
class SigmoidActivation(KernelActivation):
    """f(z) = 1 / (1 + exp(-z)), between 0 and 1; f' = f (1 - f)."""

    kernel: ClassVar[str] = "sigmoid"
    output_range: ClassVar[Range | None] = Range(0, 1)


@also_called(unlike={"hard_tanh": "it is z held between -1 and 1; 'tanh' is its smooth form."})
@final
@dataclass(eq=False)
class TanhActivation(KernelActivation):
    """f(z) = (exp(z) - exp(-z)) / (exp(z) + exp(-z)), between -1 and 1; f' = 1 - f^2."""

    kernel: ClassVar[str] = "tanh"
    output_range: ClassVar[Range | None] = Range(-1, 1)


@also_called(
    unlike={
        "log_softmax": "it is the logarithm of 'softmax'; give 'softmax', and a loss takes that logarithm itself.",
        "softmin": "it is a 'softmax' of -z.",
        "softmax2d": "it is a 'softmax' over the channels of an image; here it goes over the units of a layer.",
    },
)
@final
@dataclass(eq=False)
class SoftmaxActivation(KernelActivation):
    """f(z)_j = exp(z_j) / sum_k exp(z_k) over the last axis: the probabilities of k classes, sum 1.

    Adding one number to a whole row changes nothing. Every output depends on every input of its row, so the
    derivative is a matrix a row, ``df_j / dz_k = f_j (1[j = k] - f_k)``; backward multiplies the error by it without
    building it: ``e_j -> f_j (e_j - sum_k e_k f_k)``.

    >>> SoftmaxActivation().activation_function([[1e6, 1e6]]).tolist()
    [[0.5, 0.5]]
    """

    kernel: ClassVar[str] = "softmax"

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """Probabilities that sum to 1; one unit alone always has the probability 1."""
        if self.is_built and self.output_shape()[-1] == 1:
            return Range(1, 1, includes_low=True, includes_high=True)
        return Range(0, 1, sums_to_one=True)

    def derivative(self, x: Array) -> Array:
        """Return the Jacobian of every row: for x of shape (..., k), shape (..., k, k), symmetric."""
        f = self.activation_function(x)
        return np.asarray(f[..., :, None] * (np.eye(f.shape[-1], dtype=f.dtype) - f[..., None, :]))


@final
@dataclass(eq=False)
class GaussianActivation(KernelActivation):
    """f(z) = exp(-z^2), between 0 and 1, largest at 0; f' = -2 z f."""

    kernel: ClassVar[str] = "gaussian"
    output_range: ClassVar[Range | None] = Range(0, 1, includes_high=True)


@final
@dataclass(eq=False)
class SoftsignActivation(KernelActivation):
    """f(z) = z / (1 + |z|), between -1 and 1, with longer tails than tanh; f' = 1 / (1 + |z|)^2."""

    kernel: ClassVar[str] = "softsign"
    output_range: ClassVar[Range | None] = Range(-1, 1)


@final
@dataclass(eq=False)
class HardSigmoidActivation(KernelActivation):
    """f(z) = z / 6 + 1/2 held between 0 and 1, PyTorch's form; f' = 1/6 where |z| < 3, else 0."""

    kernel: ClassVar[str] = "hard_sigmoid"
    output_range: ClassVar[Range | None] = Range(0, 1, includes_low=True, includes_high=True)
