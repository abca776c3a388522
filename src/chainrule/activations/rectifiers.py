"""ReLU and similar activations: close to x for large x, and close to a constant or a small slope far below zero."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, final

import numpy as np
from scipy.special import erfc

from chainrule.activations.base import ActivationLayer
from chainrule.activations.classic import sigmoid
from chainrule.initializers import HeUniform, Initializer, LeCunNormal
from chainrule.named import also_called
from chainrule.ranges import ANY_NUMBER, Range
from chainrule.settings import ABOVE_ZERO, FROM_ZERO, Setting
from chainrule.types import Array, Shape

__all__ = [
    "CELUActivation",
    "ELUActivation",
    "GELUActivation",
    "HardSwishActivation",
    "LeakyReLUActivation",
    "MishActivation",
    "PReLUActivation",
    "ReLUActivation",
    "SELUActivation",
    "SiLUActivation",
    "SoftplusActivation",
]


# Klambauer et al. 2017, equation 14: with these two, mean 0 and variance 1 are a fixed point of the network.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def softplus(x: Array) -> Any:
    """Return log(1 + exp(x)), in a form that does not overflow and is accurate for small results."""
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


@also_called(
    unlike={
        "relu6": "it is a ReLU bounded at 6; 'relu' has no bound.",
        "crelu": "it gives relu(z) and relu(-z), twice as many outputs; 'relu' gives the first.",
    },
)
@final
@dataclass(eq=False)
class ReLUActivation(ActivationLayer):
    r"""The rectified linear unit: 0 for negative inputs, and the input itself for positive inputs.

    .. math:: f(x) = \max(0, x), \qquad f'(x) = 1 \text{ where } x > 0, \text{ else } 0

    >>> ReLUActivation().activation_function(np.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 2.0]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(0, math.inf, includes_low=True)

    def activation_function(self, x: Array) -> Array:
        """Return max(0, x)."""
        return np.maximum(x, 0)

    def derivative(self, x: Array) -> Array:
        """Return 1 where x > 0, else 0."""
        return np.where(x > 0, 1, 0)


@also_called(
    unlike={"rrelu": "it draws its slope at random in training; that of 'leaky_relu' is fixed."},
    arguments={"alpha": "negative_slope", "slope": "negative_slope"},
)
@final
@dataclass(eq=False)
class LeakyReLUActivation(ActivationLayer):
    r"""A ReLU with a small slope for negative inputs, so that the gradient of a unit never stays 0.

    .. math:: f(x) = \begin{cases} x & \text{where } x > 0 \\ a x & \text{otherwise} \end{cases}, \qquad
       f'(x) = 1 \text{ or } a

    The slope a is ``negative_slope``.

    Maas, Hannun & Ng 2013, "Rectifier nonlinearities improve neural network acoustic models".

    >>> LeakyReLUActivation().activation_function(np.array([-1.0, 2.0])).tolist()
    [-0.01, 2.0]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()

    negative_slope: Annotated[float, Setting("Factor on negative inputs.", ANY_NUMBER)] = 0.01

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """Any number if the slope is positive, otherwise the numbers that are at least 0."""
        return ANY_NUMBER if self.negative_slope > 0 else Range(0, math.inf, includes_low=True)

    def activation_function(self, x: Array) -> Array:
        """Return x where x > 0, else ``negative_slope`` x."""
        return np.where(x > 0, x, self.negative_slope * x)

    def derivative(self, x: Array) -> Array:
        """Return 1 where x > 0, else ``negative_slope``."""
        return np.where(x > 0, 1, self.negative_slope)


@also_called(arguments={"init": "initial_slope"})
@final
@dataclass(eq=False)
class PReLUActivation(ActivationLayer):
    r"""A leaky ReLU with a trained slope.

    .. math:: f(x) = \begin{cases} x & \text{where } x > 0 \\ s x & \text{otherwise} \end{cases}, \qquad
       \frac{\partial L}{\partial s} = \sum \frac{\partial L}{\partial f} \min(x, 0)

    One slope s is shared by all units, as by default in PyTorch; with ``shared=False``, each unit has its own, as by
    default in Keras. The first value is ``initial_slope``. Slopes are not penalised, because a penalty would pull them
    towards plain ReLU.

    He et al. 2015, "Delving deep into rectifiers", equations 1 and 8.

    >>> layer = PReLUActivation(shared=False)
    >>> layer.set_input_shape((2,))
    >>> layer.slope = [0.25, 0.5]
    >>> layer.forward_propagation([[-1.0, -1.0]]).tolist()
    [[-0.25, -0.5]]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = ANY_NUMBER

    initial_slope: Annotated[float, Setting("First value of the slopes.", Range(-1, 1))] = 0.25
    shared: Annotated[bool, Setting(since="0.2")] = True

    @property
    def slope(self) -> Array:
        """The slopes, shape (1,), or the shape of a row if they are not shared; assigning copies the values in."""
        return self.get_array("slope")

    @slope.setter
    def slope(self, values: Array) -> None:
        self.set_array("slope", np.reshape(values, self.parameter_shapes()["slope"]))

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of the slopes: one number, or one for each number of a row."""
        return {"slope": (1,) if self.shared else self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Set the slopes to ``initial_slope``, without random numbers."""
        self.parameter_views["slope"][...] = self.initial_slope

    def activation_function(self, x: Array) -> Array:
        """Return x where x > 0, else slope x."""
        return np.where(x > 0, x, self.slope * x)

    def derivative(self, x: Array) -> Array:
        """Return 1 where x > 0, else the slope."""
        return np.where(x > 0, 1, self.slope)

    def parameter_terms(self, x: Array, error: Array) -> dict[str, Array]:
        """Return ``error`` min(x, 0) for the slope."""
        return {"slope": error * np.minimum(x, 0)}


@final
@dataclass(eq=False)
class ELUActivation(ActivationLayer):
    r"""The exponential linear unit, which approaches -alpha for negative inputs.

    .. math:: f(x) = \begin{cases} x & \text{where } x > 0 \\ \alpha (e^x - 1) & \text{otherwise} \end{cases}, \qquad
       f'(x) = 1 \text{ or } \alpha e^x

    Clevert, Unterthiner & Hochreiter 2016, "Fast and accurate deep network learning by exponential linear units".

    >>> ELUActivation().activation_function(np.array([-1.0, 2.0])).round(3).tolist()
    [-0.632, 2.0]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()

    alpha: Annotated[float, Setting("Minus the limit for small inputs.", FROM_ZERO)] = 1.0

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """Numbers above ``-alpha``."""
        return Range(-self.alpha, math.inf, includes_low=self.alpha == 0)

    def activation_function(self, x: Array) -> Array:
        """Return x where x > 0, else ``alpha`` (exp(x) - 1)."""
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def derivative(self, x: Array) -> Array:
        """Return 1 where x > 0, else ``alpha`` exp(x)."""
        return np.where(x > 0, 1, self.alpha * np.exp(np.minimum(x, 0)))


@final
@dataclass(eq=False)
class CELUActivation(ActivationLayer):
    r"""An exponential linear unit without a kink at 0, for any ``alpha``.

    .. math::
       f(x) = \begin{cases} x & \text{where } x > 0 \\ \alpha (e^{x / \alpha} - 1) & \text{otherwise} \end{cases},
       \qquad f'(x) = 1 \text{ or } e^{x / \alpha}

    Barron 2017, "Continuously differentiable exponential linear units".

    >>> CELUActivation(alpha=2.0).activation_function(np.array([-1.0, 2.0])).round(3).tolist()
    [-0.787, 2.0]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()

    alpha: Annotated[float, Setting("Minus the limit for small inputs.", ABOVE_ZERO)] = 1.0

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """Numbers above ``-alpha``."""
        return Range(-self.alpha, math.inf)

    def activation_function(self, x: Array) -> Array:
        """Return x where x > 0, else ``alpha`` (exp(x / alpha) - 1)."""
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0) / self.alpha))

    def derivative(self, x: Array) -> Array:
        """Return 1 where x > 0, else exp(x / alpha)."""
        return np.exp(np.minimum(x, 0) / self.alpha)


@final
@dataclass(eq=False)
class SELUActivation(ActivationLayer):
    r"""A scaled exponential linear unit, which keeps mean 0 and variance 1 from layer to layer.

    .. math:: f(x) = s \begin{cases} x & \text{where } x > 0 \\ \alpha (e^x - 1) & \text{otherwise} \end{cases}, \qquad
       s = 1.0507..., \quad \alpha = 1.6732...

    This requires LeCun-normal weights and standardised inputs. Klambauer et al. 2017, "Self-normalizing neural
    networks", equation 2.

    >>> SELUActivation().activation_function(np.array([-1.0, 1.0])).round(3).tolist()
    [-1.111, 1.051]
    """

    suited_initializer: ClassVar[Initializer] = LeCunNormal()
    output_range: ClassVar[Range | None] = Range(-1.7580993408473766, math.inf)

    def activation_function(self, x: Array) -> Array:
        """Return s elu(x, a)."""
        return np.where(x > 0, SELU_SCALE * x, SELU_SCALE * SELU_ALPHA * np.expm1(np.minimum(x, 0)))

    def derivative(self, x: Array) -> Array:
        """Return s elu'(x, a)."""
        return np.where(x > 0, SELU_SCALE, SELU_SCALE * SELU_ALPHA * np.exp(np.minimum(x, 0)))


@also_called(
    unlike={
        "gelu_tanh": "it is GELUActivation(approximate='tanh'); 'gelu' is exact.",
        "geglu": "it multiplies one half of its inputs by the 'gelu' of the other; chainrule has no such activation.",
    },
)
@final
@dataclass(eq=False)
class GELUActivation(ActivationLayer):
    r"""The Gaussian error linear unit: the input times the probability that a standard normal number is below it.

    .. math:: f(x) = x \, \Phi(x), \qquad f'(x) = \Phi(x) + x \, \varphi(x)

    with the normal distribution :math:`\Phi` and its density :math:`\varphi`. With ``approximate="tanh"``, as in GPT-2
    and in PyTorch and Keras with the corresponding setting,

    .. math:: \Phi(x) \approx \frac{1}{2} \left(1 + \tanh\left(\sqrt{2 / \pi} \, (x + 0.044715 \, x^3)\right)\right)

    Hendrycks & Gimpel 2016, "Gaussian error linear units".

    >>> GELUActivation().activation_function(np.array([-1.0, 0.0, 1.0])).round(3).tolist()
    [-0.159, 0.0, 0.841]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()
    approximate: Annotated[Literal["none", "tanh"], Setting(since="0.2")] = "none"

    @property
    def output_range(self) -> Range:  # type: ignore[override]
        """The numbers from the minimum of the function up."""
        low = -0.17004075057125406 if self.approximate == "tanh" else -0.16997120747990371
        return Range(low, math.inf, includes_low=True)

    def activation_function(self, x: Array) -> Array:
        """Return x Phi(x)."""
        return x * self._distribution(x)

    def derivative(self, x: Array) -> Array:
        """Return Phi(x) + x phi(x)."""
        distribution = self._distribution(x)
        if self.approximate == "tanh":
            slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
            return distribution + x * (2 * slope * distribution * (1 - distribution))
        return distribution + x * np.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)

    def _distribution(self, x: Array) -> Any:
        if self.approximate == "tanh":
            return 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * erfc(-x * math.sqrt(0.5))


@also_called(
    "swish",
    unlike={
        "swiglu": "it multiplies one half of its inputs by the 'silu' of the other; chainrule has no such activation.",
    },
)
@final
@dataclass(eq=False)
class SiLUActivation(ActivationLayer):
    r"""The sigmoid linear unit, also called swish.

    .. math:: f(x) = x \, \sigma(x), \qquad f' = \sigma \, (1 + x \, (1 - \sigma)), \qquad
       \sigma(x) = \frac{1}{1 + e^{-x}}

    Elfwing, Uchibe & Doya 2018; Ramachandran, Zoph & Le 2017, "Searching for activation functions".

    >>> SiLUActivation().activation_function(np.array([-1.0, 0.0, 1.0])).round(3).tolist()
    [-0.269, 0.0, 0.731]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(-0.2784645427610738, math.inf, includes_low=True)

    def activation_function(self, x: Array) -> Array:
        """Return x s."""
        return x * sigmoid(x)

    def derivative(self, x: Array) -> Array:
        """Return s (1 + x (1 - s))."""
        s = sigmoid(x)
        return s * (1 + x * (1 - s))


@also_called("hard_silu")
@final
@dataclass(eq=False)
class HardSwishActivation(ActivationLayer):
    r"""The input times a hard sigmoid, an approximation of SiLU without an exponential function.

    .. math:: f(x) = x \, h(x), \qquad h(x) = \min\left(1, \max\left(0, \frac{x}{6} + \frac{1}{2}\right)\right), \qquad
       f'(x) = \begin{cases} x / 3 + 1 / 2 & \text{where } |x| < 3 \\ h(x) & \text{otherwise} \end{cases}

    Howard et al. 2019, "Searching for MobileNetV3", equation 8.

    >>> HardSwishActivation().activation_function(np.array([-3.0, 0.0, 1.5, 4.0])).tolist()
    [-0.0, 0.0, 1.125, 4.0]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(-0.375, math.inf, includes_low=True)

    def activation_function(self, x: Array) -> Array:
        """Return x h."""
        return x * np.clip(x / 6 + 0.5, 0, 1)

    def derivative(self, x: Array) -> Array:
        """Return x / 3 + 1/2 where |x| < 3, else 0 or 1."""
        return np.where(np.abs(x) < 3, x / 3 + 0.5, np.where(x > 0, 1, 0))


@final
@dataclass(eq=False)
class MishActivation(ActivationLayer):
    r"""A smooth function with a small minimum below 0, similar to SiLU.

    .. math:: f(x) = x \, t, \qquad t = \tanh\left(\log(1 + e^x)\right), \qquad f' = t + x \, (1 - t^2) \, \sigma(x)

    Misra 2020, "Mish: a self regularized non-monotonic activation function".

    >>> MishActivation().activation_function(np.array([-1.0, 0.0, 1.0])).round(3).tolist()
    [-0.303, 0.0, 0.865]
    """

    suited_initializer: ClassVar[Initializer] = HeUniform()
    output_range: ClassVar[Range | None] = Range(-0.30884341301725043, math.inf, includes_low=True)

    def activation_function(self, x: Array) -> Array:
        """Return x t."""
        return x * np.tanh(softplus(x))

    def derivative(self, x: Array) -> Array:
        """Return t + x (1 - t^2) sigmoid(x)."""
        t = np.tanh(softplus(x))
        return t + x * (1 - t**2) * sigmoid(x)


@final
@dataclass(eq=False)
class SoftplusActivation(ActivationLayer):
    r"""A smooth ReLU, always positive, and sharper for a larger ``beta``.

    .. math:: f(x) = \frac{\log(1 + e^{\beta x})}{\beta}, \qquad f'(x) = \sigma(\beta x)

    >>> SoftplusActivation().activation_function(np.array([-1.0, 0.0, 1.0])).round(3).tolist()
    [0.313, 0.693, 1.313]
    """

    output_range: ClassVar[Range | None] = Range(0, math.inf)

    beta: Annotated[float, Setting("Sharpness.", ABOVE_ZERO, since="0.2")] = 1.0

    def activation_function(self, x: Array) -> Array:
        """Return log(1 + exp(beta x)) / beta."""
        return softplus(self.beta * x) / self.beta

    def derivative(self, x: Array) -> Array:
        """Return sigmoid(beta x)."""
        return sigmoid(self.beta * x)
