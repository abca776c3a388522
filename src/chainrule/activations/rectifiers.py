"""ReLU and its family: near z for large z, near a constant (or a gentle slope) far below zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from chainrule import kernels
from chainrule.activations.base import KernelActivation
from chainrule.errors import InvalidInputError, shown
from chainrule.initializers import HeUniform, Initializer, LeCunNormal
from chainrule.named import also_called
from chainrule.ranges import ANY_NUMBER, Range, is_finite
from chainrule.types import Array, Shape

__all__ = [
    "ELUActivation",
    "GELUActivation",
    "LeakyReLUActivation",
    "MishActivation",
    "PReLUActivation",
    "ReLUActivation",
    "SELUActivation",
    "SiLUActivation",
    "SoftplusActivation",
]


def _check(activation: object, setting: str, value: float, lowest: float = -np.inf) -> None:
    if not (is_finite(value) and value >= lowest):
        bound = f" >= {lowest:g}" if np.isfinite(lowest) else ""
        raise InvalidInputError(
            f"The {setting} of {type(activation).__name__} is {shown(value)}; it must be a finite number{bound}."
        )


@also_called(
    unlike={
        "relu6": "it is a ReLU bounded at 6; 'relu' has no bound.",
        "crelu": "it gives relu(z) and relu(-z), twice as many outputs; 'relu' gives the first.",
    },
)
@final
@dataclass(eq=False)
class ReLUActivation(KernelActivation):
    """f(z) = max(0, z); f'(z) = 1 where z > 0, else 0."""

    kernel: ClassVar[str] = "relu"
    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(0, math.inf, includes_low=True)


@also_called(unlike={"rrelu": "it draws its slope at random in training; that of 'leaky_relu' is fixed."})
@final
@dataclass(eq=False)
class LeakyReLUActivation(KernelActivation):
    """f(z) = z where z > 0, else ``negative_slope`` z, so that no unit goes silent for good.

    Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".
    """

    kernel: ClassVar[str] = "leaky_relu"
    suited_initializer: ClassVar[Initializer] = HeUniform()

    negative_slope: float = 0.01

    def __post_init__(self) -> None:
        _check(self, "negative_slope", self.negative_slope)

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """Any number, unless no slope leads below zero."""
        return ANY_NUMBER if self.negative_slope > 0 else Range(0, math.inf, includes_low=True)

    def _settings(self) -> tuple[float, ...]:
        return (self.negative_slope,)


@final
@dataclass(eq=False)
class PReLUActivation(KernelActivation):
    """A leaky ReLU whose slope is learnt: f(z) = z where z > 0, else slope z.

    One slope is shared by all units, as in PyTorch's default; it begins at ``initial_slope`` and is not penalised (a
    penalty would pull it towards plain ReLU). ``dL/dslope = sum of e min(z, 0)``.

    He et al. 2015, "Delving deep into rectifiers", equations 1 and 8.
    """

    kernel: ClassVar[str] = "leaky_relu"
    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = ANY_NUMBER

    initial_slope: float = 0.25

    def __post_init__(self) -> None:
        _check(self, "initial_slope", self.initial_slope)

    @property
    def slope(self) -> Array:
        """The slope, shape (1,); assigning copies the value in."""
        if "slope" not in self.parameter_views:
            self.initialize()
        return self.parameter_views["slope"]

    @slope.setter
    def slope(self, values: Array) -> None:
        self.set_parameter("slope", np.reshape(values, (1,)))

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of the slope."""
        return {"slope": (1,)}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set the slope to ``initial_slope``; nothing is random in it."""
        self.parameter_views["slope"][...] = self.initial_slope

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write ``dL/dslope`` and return ``output_error * f'(input)``."""
        error = self._accept_error(output_error)
        kernels.leaky_relu_slope_gradient(self.input, error, self.gradient_views["slope"])
        input_error = super().backward_propagation(error)
        self._update_alone()
        return input_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Row i: ``dL_i/dslope = sum of e_i min(z_i, 0)``."""
        error = self._accept_error(output_error)
        products = error * np.minimum(self.input, 0)
        products.reshape(len(error), -1).sum(axis=1, keepdims=True, out=jacobian["slope"])

    def _settings(self) -> tuple[float, ...]:
        return (float(self.slope[0]),)


@also_called("celu")
@final
@dataclass(eq=False)
class ELUActivation(KernelActivation):
    """f(z) = z where z > 0, else ``alpha`` (exp(z) - 1); f' = 1, or alpha exp(z).

    Clevert, Unterthiner & Hochreiter 2016, "Fast and accurate deep network learning by exponential linear units".
    """

    kernel: ClassVar[str] = "elu"
    suited_initializer: ClassVar[Initializer] = HeUniform()

    alpha: float = 1.0

    def __post_init__(self) -> None:
        _check(self, "alpha", self.alpha, lowest=0)

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """Numbers above ``-alpha``."""
        return Range(-self.alpha, math.inf, includes_low=self.alpha == 0)

    def _settings(self) -> tuple[float, ...]:
        return (self.alpha,)


@final
@dataclass(eq=False)
class SELUActivation(KernelActivation):
    """f(z) = s elu(z, a) with s = 1.0507... and a = 1.6732..., which keep mean 0 and variance 1 from layer to layer.

    That needs LeCun-normal weights and standardised inputs. Klambauer et al. 2017, "Self-normalizing neural
    networks", equation 2.
    """

    kernel: ClassVar[str] = "selu"
    suited_initializer: ClassVar[Initializer] = LeCunNormal()
    output_range: ClassVar[Range | None] = Range(-1.7580993408473766, math.inf)


@also_called(
    unlike={
        "gelu_tanh": "it is an approximation by tanh; 'gelu' is exact.",
        "geglu": "it multiplies one half of its inputs by the 'gelu' of the other half; no activation here does that.",
    },
)
@final
@dataclass(eq=False)
class GELUActivation(KernelActivation):
    """f(z) = z Phi(z), Phi the normal distribution, exactly (no tanh); f' = Phi(z) + z phi(z), phi its density.

    Hendrycks & Gimpel 2016, "Gaussian error linear units".
    """

    kernel: ClassVar[str] = "gelu"
    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(-0.16997120747990371, math.inf, includes_low=True)


@also_called(
    "swish",
    unlike={
        "hard_swish": "it is z times hard_sigmoid(z); 'silu' is its smooth form.",
        "hard_silu": "it is z times hard_sigmoid(z); 'silu' is its smooth form.",
        "swiglu": "it multiplies one half of its inputs by the 'silu' of the other half; no activation here does that.",
    },
)
@final
@dataclass(eq=False)
class SiLUActivation(KernelActivation):
    """f(z) = z s with s = sigmoid(z), also called swish; f' = s (1 + z (1 - s)).

    Elfwing, Uchibe & Doya 2018; Ramachandran, Zoph & Le 2017, "Searching for activation functions".
    """

    kernel: ClassVar[str] = "silu"
    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(-0.2784645427610738, math.inf, includes_low=True)


@final
@dataclass(eq=False)
class MishActivation(KernelActivation):
    """f(z) = z t with t = tanh(log(1 + exp(z))); f' = t + z (1 - t^2) sigmoid(z).

    Misra 2020, "Mish: a self regularized non-monotonic activation function".
    """

    kernel: ClassVar[str] = "mish"
    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(-0.30884341301725043, math.inf, includes_low=True)


@final
@dataclass(eq=False)
class SoftplusActivation(KernelActivation):
    """f(z) = log(1 + exp(z)), a smooth ReLU, always positive; f' = sigmoid(z)."""

    kernel: ClassVar[str] = "softplus"
    output_range: ClassVar[Range | None] = Range(0, math.inf)
