"""How parameters get their first values.

``fan_in`` is the number of inputs of a unit, ``fan_out`` the number of units; a weight matrix has shape
``(fan_in, fan_out)``. Every initialiser draws in float64 and rounds once, so that float32 and float64 networks with one
seed start from the same numbers.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, final

import numpy as np

from chainrule.named import Registry, also_called
from chainrule.ranges import ANY_NUMBER
from chainrule.settings import FROM_ZERO, CheckedSettings, Setting
from chainrule.types import Array, Shape

__all__ = [
    "INITIALIZERS",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Initializer",
    "LeCunNormal",
    "LeCunUniform",
    "Normal",
    "Orthogonal",
    "Uniform",
    "Zeros",
]


class Initializer(CheckedSettings, ABC):
    """Base class of the initializers: draws the first values of one parameter of a shape.

    ``fan_in`` is the number of inputs of a unit, the first dimension of a weight matrix, and ``fan_out`` the number of
    units.

    >>> HeNormal()((3, 2), np.random.default_rng(0)).shape
    (3, 2)
    """

    @abstractmethod
    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        """Return a float64 array of ``shape``."""


def _choice(family: str) -> str:
    return f"give '{family}_uniform' or '{family}_normal'."


def fans(shape: Shape) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a parameter; a vector counts as one row."""
    return (shape[0], shape[1]) if len(shape) == 2 else (1, math.prod(shape))


@also_called("zeros_")
@final
@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros: right for biases. For weights, it keeps all units of a layer equal throughout the training.

    >>> Zeros()((2,), np.random.default_rng(0)).tolist()
    [0.0, 0.0]
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.zeros(shape)


@also_called(
    unlike={
        "ones": "it is Constant(1.0).",
        "ones_": "it is Constant(1.0).",
        "constant_": "it needs a value; give Constant(value).",
    },
)
@final
@dataclass(frozen=True)
class Constant(Initializer):
    """Every element equal to ``value``; shows the symmetry problem when used for weights.

    >>> Constant(0.5)((2,), np.random.default_rng(0)).tolist()
    [0.5, 0.5]
    """

    value: Annotated[float, Setting("Value of every element.", ANY_NUMBER)] = 0.5

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return np.full(shape, self.value)


@also_called(
    unlike={
        "normal_": "PyTorch's has the standard deviation 1: Normal(1.0); 'normal' has 0.1.",
        "random_normal": "Keras's has the standard deviation 0.05: Normal(0.05); 'normal' has 0.1.",
        "truncated_normal": "it redraws values beyond two standard deviations; 'normal' does not.",
        "trunc_normal_": "it redraws values beyond two bounds; 'normal' does not.",
    },
)
@final
@dataclass(frozen=True)
class Normal(Initializer):
    r"""A normal distribution; with the default this is ``0.1 * randn``, the scaled normal of the lecture notes.

    .. math:: w \sim N(0, \text{scale}^2)

    >>> float(Normal(0.1)((1000, 10), np.random.default_rng(0)).std().round(2))
    0.1
    """

    scale: Annotated[float, Setting("Standard deviation.", FROM_ZERO)] = 0.1

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return rng.normal(0.0, self.scale, shape)


@also_called(
    "random_uniform",
    unlike={"uniform_": "PyTorch's lies between 0 and 1; 'uniform' lies between -0.05 and 0.05."},
)
@final
@dataclass(frozen=True)
class Uniform(Initializer):
    r"""A uniform distribution.

    .. math:: w \sim U(-\text{limit}, \text{limit})

    >>> bool(np.abs(Uniform(0.5)((3, 2), np.random.default_rng(0))).max() <= 0.5)
    True
    """

    limit: Annotated[float, Setting("Largest absolute value.", FROM_ZERO)] = 0.05

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return rng.uniform(-self.limit, self.limit, shape)


@also_called(
    "xavier_uniform",
    "xavier_uniform_",
    unlike={"xavier": _choice("glorot"), "glorot": _choice("glorot")},
)
@final
@dataclass(frozen=True)
class GlorotUniform(Initializer):
    r"""A uniform distribution for sigmoid and tanh (Glorot and Bengio 2010, equation 16); also called Xavier.

    .. math:: w \sim U(-r, r), \qquad r = \sqrt{\frac{6}{\text{fan\_in} + \text{fan\_out}}}

    >>> bool(np.abs(GlorotUniform()((4, 2), np.random.default_rng(0))).max() <= 1)
    True
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        limit = math.sqrt(6 / sum(fans(shape)))
        return rng.uniform(-limit, limit, shape)


@also_called("xavier_normal", "xavier_normal_")
@final
@dataclass(frozen=True)
class GlorotNormal(Initializer):
    r"""A normal distribution for sigmoid and tanh (Glorot and Bengio 2010, equation 12); also called Xavier.

    .. math:: w \sim N\left(0, \frac{2}{\text{fan\_in} + \text{fan\_out}}\right)

    >>> float(GlorotNormal()((100, 100), np.random.default_rng(0)).std().round(2))
    0.1
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return rng.normal(0.0, math.sqrt(2 / sum(fans(shape))), shape)


@also_called(
    "kaiming_uniform",
    "kaiming_uniform_",
    unlike={"he": _choice("he"), "kaiming": _choice("he"), "msra": _choice("he")},
)
@final
@dataclass(frozen=True)
class HeUniform(Initializer):
    r"""A uniform distribution for ReLU and similar activations (He et al. 2015, equation 10); also called Kaiming.

    .. math:: w \sim U(-r, r), \qquad r = \sqrt{\frac{6}{\text{fan\_in}}}

    >>> bool(np.abs(HeUniform()((6, 2), np.random.default_rng(0))).max() <= 1)
    True
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        limit = math.sqrt(6 / fans(shape)[0])
        return rng.uniform(-limit, limit, shape)


@also_called("kaiming_normal", "kaiming_normal_")
@final
@dataclass(frozen=True)
class HeNormal(Initializer):
    r"""A normal distribution for ReLU and similar activations (He et al. 2015, equation 10); also called Kaiming.

    .. math:: w \sim N\left(0, \frac{2}{\text{fan\_in}}\right)

    >>> float(HeNormal()((200, 100), np.random.default_rng(0)).std().round(2))
    0.1
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return rng.normal(0.0, math.sqrt(2 / fans(shape)[0]), shape)


@also_called(unlike={"lecun": _choice("lecun")})
@final
@dataclass(frozen=True)
class LeCunUniform(Initializer):
    r"""A uniform distribution that keeps the variance of the inputs (LeCun et al. 1998, equation 16).

    .. math:: w \sim U(-r, r), \qquad r = \sqrt{\frac{3}{\text{fan\_in}}}

    >>> bool(np.abs(LeCunUniform()((3, 2), np.random.default_rng(0))).max() <= 1)
    True
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        limit = math.sqrt(3 / fans(shape)[0])
        return rng.uniform(-limit, limit, shape)


@also_called(
    unlike={"variance_scaling": "Keras's is a truncated normal; 'lecun_normal' is the nearest."},
)
@final
@dataclass(frozen=True)
class LeCunNormal(Initializer):
    r"""A normal distribution that keeps the variance of the inputs, for SELU (LeCun et al. 1998, equation 16).

    .. math:: w \sim N\left(0, \frac{1}{\text{fan\_in}}\right)

    >>> float(LeCunNormal()((100, 100), np.random.default_rng(0)).std().round(2))
    0.1
    """

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        return rng.normal(0.0, math.sqrt(1 / fans(shape)[0]), shape)


@also_called("orthogonal_")
@final
@dataclass(frozen=True)
class Orthogonal(Initializer):
    r"""A random matrix with orthonormal rows or columns, times ``gain`` (Saxe et al. 2014).

    .. math:: W^\top W = \text{gain}^2 I \text{ for at least as many rows as columns, else } W W^\top = \text{gain}^2 I

    >>> W = Orthogonal()((3, 2), np.random.default_rng(0))
    >>> bool(np.allclose(W.T @ W, np.eye(2)))
    True
    """

    gain: Annotated[float, Setting("Factor on the matrix.", ANY_NUMBER)] = 1.0

    def __call__(self, shape: Shape, rng: np.random.Generator) -> Array:
        rows, columns = fans(shape)
        q, r = np.linalg.qr(rng.normal(size=(max(rows, columns), min(rows, columns))))
        # Without the signs of r's diagonal, QR favours some rotations over others.
        q *= np.sign(np.diag(r))
        return self.gain * (q if rows >= columns else q.T).reshape(shape)


#: The initializers by name, in a :class:`chainrule.named.Registry` with the dictionary ``classes``.
#:
#: :meta hide-value:
INITIALIZERS: Registry[Initializer] = Registry(
    "initializer",
    Initializer,
    {
        "zeros": Zeros,
        "constant": Constant,
        "normal": Normal,
        "uniform": Uniform,
        "glorot_uniform": GlorotUniform,
        "glorot_normal": GlorotNormal,
        "he_uniform": HeUniform,
        "he_normal": HeNormal,
        "lecun_uniform": LeCunUniform,
        "lecun_normal": LeCunNormal,
        "orthogonal": Orthogonal,
    },
)
