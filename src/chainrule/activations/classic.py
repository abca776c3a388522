"""The classical activations: the linear one, sigmoid, tanh, softmax, and others with bounded output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import numpy as np

from chainrule.activations.base import ActivationLayer
from chainrule.named import also_called
from chainrule.ranges import Range
from chainrule.settings import ABOVE_ZERO, Setting
from chainrule.types import Array

__all__ = [
    "GaussianActivation",
    "HardSigmoidActivation",
    "LinearActivation",
    "LogSoftmaxActivation",
    "SigmoidActivation",
    "SmoothClipActivation",
    "SoftmaxActivation",
    "SoftsignActivation",
    "TanhActivation",
]


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)), in a form that does not overflow for large positive or negative x."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


@also_called("identity")
@final
@dataclass(eq=False)
class LinearActivation(ActivationLayer):
    r"""The identity, for the output of a regression.

    .. math:: f(x) = x, \qquad f'(x) = 1

    >>> LinearActivation().activation_function(np.array([-1.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    keeps_range: ClassVar[bool] = True

    def activation_function(self, x: Array) -> Array:
        """Return x."""
        return x

    def derivative(self, x: Array) -> Array:
        """Return 1."""
        return np.ones_like(x)


@also_called(
    "logistic",
    unlike={
        "log_sigmoid": "it is the logarithm of 'sigmoid'; use 'sigmoid', because the losses compute that logarithm.",
        "glu": "it multiplies one half of its inputs by the sigmoid of the other; chainrule has no such activation.",
    },
)
@final
@dataclass(eq=False)
class SigmoidActivation(ActivationLayer):
    r"""The logistic function, with values between 0 and 1, for the probability of one class.

    .. math:: f(x) = \frac{1}{1 + e^{-x}}, \qquad f' = f \, (1 - f)

    >>> SigmoidActivation().activation_function(np.array([-2.0, 0.0, 2.0])).round(3).tolist()
    [0.119, 0.5, 0.881]
    """

    output_range: ClassVar[Range | None] = Range(0, 1)

    def activation_function(self, x: Array) -> Array:
        """Return 1 / (1 + exp(-x))."""
        return sigmoid(x)

    def derivative(self, x: Array) -> Array:
        """Return f (1 - f)."""
        f = self.activation_function(x)
        return f * (1 - f)


def log_sigmoid(x: Array) -> Array:
    """Return the logarithm of :func:`sigmoid`, also where the sigmoid underflows to 0."""
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def softmax(x: Array) -> Array:
    """Return exp(x_j) / sum_k exp(x_k), each row shifted by its maximum so that nothing overflows."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def log_softmax(x: Array) -> Array:
    """Return the logarithm of :func:`softmax`, also where the softmax underflows to 0."""
    shifted = x - np.max(x, axis=-1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))


@also_called(unlike={"hard_tanh": "it is z clipped to the range from -1 to 1; 'tanh' is its smooth form."})
@final
@dataclass(eq=False)
class TanhActivation(ActivationLayer):
    r"""The hyperbolic tangent, with values between -1 and 1.

    .. math:: f(x) = \frac{e^x - e^{-x}}{e^x + e^{-x}}, \qquad f' = 1 - f^2

    >>> TanhActivation().activation_function(np.array([-1.0, 0.0, 1.0])).round(3).tolist()
    [-0.762, 0.0, 0.762]
    """

    output_range: ClassVar[Range | None] = Range(-1, 1)

    def activation_function(self, x: Array) -> Array:
        """Return tanh(x)."""
        return np.tanh(x)

    def derivative(self, x: Array) -> Array:
        """Return 1 - f^2."""
        return 1 - self.activation_function(x) ** 2


@also_called(
    unlike={
        "softmin": "it is a 'softmax' of -z.",
        "softmax2d": "it is a 'softmax' over the channels of an image; that of chainrule is over the units of a layer.",
    },
)
@final
@dataclass(eq=False)
class SoftmaxActivation(ActivationLayer):
    r"""The probabilities of k classes: every row of the result, shape (rows, k), is positive and has the sum 1.

    .. math:: f(x)_j = \frac{e^{x_j}}{\sum_k e^{x_k}}, \qquad \frac{\partial f_j}{\partial x_k} = f_j \, ([j = k] - f_k)

    Adding one number to a whole row does not change the result. Every output depends on every input of its row, so the
    derivative of a row is a matrix, shape (rows, k, k).

    >>> SoftmaxActivation().activation_function([[1e6, 1e6]]).tolist()
    [[0.5, 0.5]]
    """

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """Probabilities that sum to 1; one unit alone always has the probability 1."""
        if self.is_built and self.output_shape()[-1] == 1:
            return Range(1, 1, includes_low=True, includes_high=True)
        return Range(0, 1, sums_to_one=True)

    def activation_function(self, x: Array) -> Array:
        """Return exp(x_j) / sum_k exp(x_k), each row shifted by its maximum so that nothing overflows."""
        return softmax(x)

    def derivative(self, x: Array) -> Array:
        """Return the Jacobian of every row: for x of shape (..., k), shape (..., k, k), symmetric."""
        f = self.activation_function(x)
        return np.asarray(f[..., :, None] * (np.eye(f.shape[-1], dtype=f.dtype) - f[..., None, :]))

    def pull_back(self, x: Array, error: Array) -> Array:
        """Return f_j (e_j - sum_k e_k f_k), which is ``error`` times the Jacobian, without computing the Jacobian."""
        f = self.activation_function(x)
        return f * (error - np.sum(error * f, axis=-1, keepdims=True))


@final
@dataclass(eq=False)
class LogSoftmaxActivation(ActivationLayer):
    r"""The logarithms of the probabilities of k classes.

    .. math:: f(x)_j = x_j - \log \sum_k e^{x_k}, \qquad \frac{\partial f_j}{\partial x_k} = [j = k] - e^{f_k}

    To train a classifier, end the network in a :class:`SoftmaxActivation`: the cross-entropy computes the logarithms
    itself.

    >>> LogSoftmaxActivation().activation_function(np.array([[0.0, 0.0]])).round(3).tolist()
    [[-0.693, -0.693]]
    """

    output_range: ClassVar[Range | None] = Range(-math.inf, 0, includes_high=True)

    def activation_function(self, x: Array) -> Array:
        """Return x_j - log(sum_k exp(x_k))."""
        return log_softmax(x)

    def derivative(self, x: Array) -> Array:
        """Return the Jacobian of every row: for x of shape (..., k), shape (..., k, k)."""
        p = softmax(x)
        return np.asarray(np.eye(p.shape[-1], dtype=p.dtype) - p[..., None, :])

    def pull_back(self, x: Array, error: Array) -> Array:
        """Return e_k - p_k sum_j e_j, which is ``error`` times the Jacobian, without computing the Jacobian."""
        return error - softmax(x) * np.sum(error, axis=-1, keepdims=True)


@final
@dataclass(eq=False)
class GaussianActivation(ActivationLayer):
    r"""A bell curve, with values between 0 and 1 and its maximum at 0.

    .. math:: f(x) = e^{-x^2}, \qquad f' = -2 x f

    >>> GaussianActivation().activation_function(np.array([-1.0, 0.0, 1.0])).round(3).tolist()
    [0.368, 1.0, 0.368]
    """

    output_range: ClassVar[Range | None] = Range(0, 1, includes_high=True)

    def activation_function(self, x: Array) -> Array:
        """Return exp(-x^2)."""
        return np.exp(-(x**2))

    def derivative(self, x: Array) -> Array:
        """Return -2 x f."""
        return -2 * x * self.activation_function(x)


@final
@dataclass(eq=False)
class SoftsignActivation(ActivationLayer):
    r"""A curve between -1 and 1 that approaches its limits more slowly than tanh.

    .. math:: f(x) = \frac{x}{1 + |x|}, \qquad f'(x) = \frac{1}{(1 + |x|)^2}

    >>> SoftsignActivation().activation_function(np.array([-1.0, 0.0, 3.0])).tolist()
    [-0.5, 0.0, 0.75]
    """

    output_range: ClassVar[Range | None] = Range(-1, 1)

    def activation_function(self, x: Array) -> Array:
        """Return x / (1 + |x|)."""
        return x / (1 + np.abs(x))

    def derivative(self, x: Array) -> Array:
        """Return 1 / (1 + |x|)^2."""
        return (1 / (1 + np.abs(x))) ** 2


@final
@dataclass(eq=False)
class HardSigmoidActivation(ActivationLayer):
    r"""A sigmoid of three straight lines, as in PyTorch.

    .. math:: f(x) = \min\left(1, \max\left(0, \frac{x}{6} + \frac{1}{2}\right)\right), \qquad
       f'(x) = \frac{1}{6} \text{ where } |x| < 3, \text{ else } 0

    >>> HardSigmoidActivation().activation_function(np.array([-4.0, 0.0, 1.5])).tolist()
    [0.0, 0.5, 0.75]
    """

    output_range: ClassVar[Range | None] = Range(0, 1, includes_low=True, includes_high=True)

    def activation_function(self, x: Array) -> Array:
        """Return x / 6 + 1/2, clipped to the range from 0 to 1."""
        return np.clip(x / 6 + 0.5, 0, 1)

    def derivative(self, x: Array) -> Array:
        """Return 1/6 where |x| < 3, else 0."""
        return np.where(np.abs(x) < 3, 1 / 6, 0)


# Above this multiple of the limit, a float32 equals the limit, and its square is finite.
_FAR = 1e15


@final
@dataclass(eq=False)
class SmoothClipActivation(ActivationLayer):
    r"""A smooth bound on the absolute value of the inputs.

    .. math:: f(x) = \frac{x}{\sqrt{1 + (x / c)^2}}, \qquad f'(x) = \left(1 + (x / c)^2\right)^{-3/2}

    The bound c is ``limit``. Small numbers are almost unchanged. As the first layer, it bounds the influence of
    outliers in standardised inputs.

    Source: Holzmueller, Grinsztajn and Steinwart 2024, Better by default, section 3 (arXiv 2407.04491).

    >>> SmoothClipActivation(limit=3.0).activation_function(np.array([0.1, 4.0, 1e9])).round(2).tolist()
    [0.1, 2.4, 3.0]
    """

    limit: Annotated[float, Setting("Upper bound of the outputs.", ABOVE_ZERO)] = 3.0

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """The numbers between the limits."""
        return Range(-self.limit, self.limit, includes_low=True, includes_high=True)

    def activation_function(self, x: Array) -> Array:
        """Return x / sqrt(1 + (x / limit)^2)."""
        u = np.clip(x / self.limit, -_FAR, _FAR)
        return self.limit * (u / np.sqrt(1 + u**2))

    def derivative(self, x: Array) -> Array:
        """Return (1 + (x / limit)^2)^(-3/2)."""
        u = np.clip(x / self.limit, -_FAR, _FAR)
        return (1 / np.sqrt(1 + u**2)) ** 3
