"""Losses for regression: of values, quantiles, counts, and means with variances."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import numpy as np
from scipy.special import expit, xlogy

from chainrule.errors import InvalidInputError, shown
from chainrule.losses.base import Band, ElementwiseLoss, RowLoss, ratio
from chainrule.named import also_called
from chainrule.ranges import Range
from chainrule.settings import ABOVE_ZERO, Setting
from chainrule.types import Array

__all__ = [
    "CosineSimilarity",
    "GaussianNegativeLogLikelihood",
    "HalfSquaredError",
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "MultiQuantile",
    "Pinball",
    "Poisson",
]


@also_called(
    "mse",
    "squared_error",
    "MSELoss",
    unlike={
        "l2": "the squared error is 'mean_squared_error'.",
        "l2_loss": "optax's l2_loss is half of 'mean_squared_error'; 'half_squared_error' is its sum over the outputs.",
        "rmse": "it is a metric; train on 'mean_squared_error', which is its square.",
        "root_mean_squared_error": "it is a metric; train on 'mean_squared_error', which is its square.",
    },
)
@final
@dataclass(frozen=True)
class MeanSquaredError(ElementwiseLoss):
    r"""The mean squared error. The mean of the targets is the best constant prediction.

    .. math:: L = \frac{1}{N} \sum (p - y)^2, \qquad \frac{\partial L}{\partial p} = \frac{2}{N} (p - y)

    The sum is over all N elements of the targets y and the predictions p, both of shape (rows, outputs).

    >>> MeanSquaredError().loss([1.0, 2.0], [1.0, 4.0])
    2.0
    """

    is_regression: ClassVar[bool] = True

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return (p - y)^2."""
        return (y_pred - y_true) ** 2

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return 2 (p - y)."""
        return 2 * (y_pred - y_true)

    def squares_factor(self, n_targets: int) -> float:
        """Return 1 / n_targets: the mean over the targets."""
        return 1 / n_targets


@final
@dataclass(frozen=True)
class HalfSquaredError(RowLoss):
    r"""Half the squared error, summed over the outputs of a row, as in many textbooks.

    .. math:: L = \frac{1}{n} \sum_{i=1}^{n} \frac{1}{2} \sum_k (p_{ik} - y_{ik})^2, \qquad
       \frac{\partial L}{\partial p_{ik}} = \frac{p_{ik} - y_{ik}}{n}

    For one target it is half of :class:`MeanSquaredError`. scikit-learn's ``MLPRegressor`` minimises it.

    >>> HalfSquaredError().loss([[1.0, 2.0]], [[1.0, 4.0]])
    2.0
    """

    is_regression: ClassVar[bool] = True

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return sum_k (p_k - y_k)^2 / 2."""
        return np.sum((y_pred - y_true) ** 2, axis=-1) / 2

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return p_k - y_k."""
        return y_pred - y_true

    def squares_factor(self, n_targets: int) -> float:
        """Return 1 / 2."""
        return 0.5


@also_called("mae", "l1", "L1Loss", "absolute_error")
@final
@dataclass(frozen=True)
class MeanAbsoluteError(ElementwiseLoss):
    r"""The mean absolute error (L1). The median of the targets is the best constant prediction.

    .. math:: L = \frac{1}{N} \sum |p - y|, \qquad \frac{\partial L}{\partial p} = \frac{\operatorname{sign}(p - y)}{N}

    The derivative is 0 where p = y.

    >>> MeanAbsoluteError().loss([1.0, 2.0], [1.0, 4.0])
    1.0
    """

    is_regression: ClassVar[bool] = True

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return |p - y|."""
        return np.abs(y_pred - y_true)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return sign(p - y)."""
        return np.sign(y_pred - y_true)


@also_called("mape")
@final
@dataclass(frozen=True)
class MeanAbsolutePercentageError(ElementwiseLoss):
    r"""The mean absolute error in percent of the targets.

    .. math:: L = \frac{1}{N} \sum \frac{100 \, |p - y|}{\max(|y|, \epsilon)}

    Rows with targets near 0 dominate this loss. The definition is the same as in Keras.

    >>> round(MeanAbsolutePercentageError().loss([1.0, 2.0], [1.0, 4.0]), 3)
    50.0
    """

    is_regression: ClassVar[bool] = True
    for_classes: ClassVar[bool] = False
    allows_standardized_targets: ClassVar[bool] = False

    epsilon: Annotated[float, Setting("Lower bound of the divisor.", ABOVE_ZERO)] = 1e-7

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return 100 |p - y| / max(|y|, epsilon)."""
        return 100 * np.abs(y_pred - y_true) / np.maximum(np.abs(y_true), self.epsilon)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return 100 sign(p - y) / max(|y|, epsilon)."""
        return 100 * np.sign(y_pred - y_true) / np.maximum(np.abs(y_true), self.epsilon)


@also_called("msle")
@final
@dataclass(frozen=True)
class MeanSquaredLogarithmicError(ElementwiseLoss):
    r"""The mean squared error of logarithms, for targets >= 0 that range over several powers of ten.

    .. math:: L = \frac{1}{N} \sum \left(\log(1 + p) - \log(1 + y)\right)^2, \qquad
       \frac{\partial L}{\partial p} = \frac{2}{N} \, \frac{\log(1 + p) - \log(1 + y)}{1 + p}

    The loss measures ratios of 1 + p and 1 + y. Predictions must be >= 0, so end the network in a softplus or a ReLU.

    >>> round(MeanSquaredLogarithmicError().loss([9.0, 99.0], [99.0, 9.0]), 3)
    5.302
    """

    is_regression: ClassVar[bool] = True
    for_classes: ClassVar[bool] = False
    allows_standardized_targets: ClassVar[bool] = False
    domain: ClassVar[Range | None] = Range(0, math.inf, includes_low=True)
    targets: ClassVar[Range | None] = Range(0, math.inf, includes_low=True)

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return (log(1 + p) - log(1 + y))^2."""
        return (np.log1p(y_pred) - np.log1p(y_true)) ** 2

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return 2 (log(1 + p) - log(1 + y)) / (1 + p)."""
        return 2 * (np.log1p(y_pred) - np.log1p(y_true)) / (1 + y_pred)


@also_called("HuberLoss", "SmoothL1Loss")
@final
@dataclass(frozen=True)
class Huber(ElementwiseLoss):
    r"""The squared error of small differences and the absolute error of large ones, so that outliers count less.

    .. math:: L = \frac{1}{N} \sum l(p - y), \qquad l(d) = \begin{cases} d^2 / 2 & \text{where } |d| \le \delta \\
       \delta \, (|d| - \delta / 2) & \text{otherwise} \end{cases}

    The derivative of l is d clipped to the range from -delta to delta, so that the gradient of an outlier is bounded.

    Huber 1964, "Robust estimation of a location parameter".

    >>> Huber(delta=1.0).loss([0.0, 0.0], [0.5, 10.0])
    4.8125
    """

    is_regression: ClassVar[bool] = True

    delta: Annotated[float, Setting("Absolute error above which the loss is linear.", ABOVE_ZERO)] = 1.0

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return c (d - c / 2), where c is d clipped to the range from -delta to delta; it covers both cases."""
        difference = y_pred - y_true
        clipped = np.clip(difference, -self.delta, self.delta)
        return clipped * (difference - clipped / 2)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return d clipped to the range from -delta to delta."""
        return np.clip(y_pred - y_true, -self.delta, self.delta)


@final
@dataclass(frozen=True)
class LogCosh(ElementwiseLoss):
    r"""A smooth form of :class:`Huber`.

    .. math:: L = \frac{1}{N} \sum \log \cosh(p - y), \qquad \frac{\partial L}{\partial p} = \frac{\tanh(p - y)}{N}

    For a difference d it is close to d^2 / 2 if d is small, and to |d| - log 2 if d is large. It does not overflow.

    >>> round(LogCosh().loss([0.0], [2.0]), 3)
    1.325
    """

    is_regression: ClassVar[bool] = True

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -log(1 - tanh(d)^2) / 2 where |d| < 1, else |d| + log((1 + exp(-2 |d|)) / 2)."""
        difference = y_pred - y_true
        size = np.abs(difference)
        # Both forms avoid cancellation.
        small = -np.log1p(-(np.tanh(np.minimum(size, 1)) ** 2)) / 2
        return np.where(size < 1, small, size + np.log1p(np.expm1(-2 * size) / 2))

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return tanh d."""
        return np.tanh(y_pred - y_true)


@also_called("quantile", "pinball_loss", "quantile_loss")
@final
@dataclass(frozen=True)
class Pinball(ElementwiseLoss):
    r"""The loss whose best constant prediction is a quantile of the targets.

    .. math:: L = \frac{1}{N} \sum l(p, y), \qquad l(p, y) = \begin{cases} q \, (y - p) & \text{where } p < y \\
       (1 - q) (p - y) & \text{otherwise} \end{cases}

    The quantile q is ``quantile``. The derivative of l is -q where p < y, 1 - q where p > y, and 0 where p = y. With q
    = 0.5 the loss is half the absolute error.

    Koenker & Bassett 1978, "Regression quantiles".

    >>> round(Pinball(quantile=0.9).loss([1.0, 1.0], [0.0, 2.0]), 2)
    0.5
    """

    is_regression: ClassVar[bool] = True
    for_classes: ClassVar[bool] = False

    quantile: Annotated[float, Setting("Quantile to predict.", Range(0, 1))] = 0.5

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return q (y - p) where p < y, else (1 - q) (p - y)."""
        difference = y_pred - y_true
        return np.where(difference < 0, -self.quantile, 1 - self.quantile) * difference

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return -q where p < y, 1 - q where p > y, and 0 where they are equal."""
        difference = y_pred - y_true
        return np.where(difference < 0, -self.quantile, np.where(difference > 0, 1 - self.quantile, 0 * difference))


@also_called("MultiQuantileLoss")
@final
@dataclass(frozen=True)
class MultiQuantile(ElementwiseLoss):
    r"""The mean of :class:`Pinball` over several quantiles, which one network predicts without crossing.

    For k targets and m quantiles, the network has m k unbounded outputs, shape (rows, m k): first those of the quantile
    nearest to 0.5, p = b, for all targets; then, for each larger quantile in order, the gap to the quantile below it;
    then, for each smaller quantile in descending order, the gap to the quantile above it:

    .. math:: p_i = p_{i-1} + \log(1 + e^{g_i})

    The point prediction is the quantile nearest to 0.5. ``predict_quantiles`` of an estimator or a model returns all of
    them.

    >>> loss = MultiQuantile((0.1, 0.5, 0.9))
    >>> loss.quantiles_of(np.array([[1.0, 0.0, -1.0]])).round(2).tolist()
    [[[0.69, 1.0, 1.69]]]
    """

    is_regression: ClassVar[bool] = True
    for_classes: ClassVar[bool] = False

    quantiles: Annotated[tuple[float, ...], Setting("Quantiles to predict, in increasing order.")] = (0.05, 0.5, 0.95)

    def __post_init__(self) -> None:
        super().__post_init__()
        values = np.array(self.quantiles, dtype=object).ravel().tolist()
        given = [value.item() if isinstance(value, np.generic) else value for value in values]
        if not all(isinstance(q, float) and 0 < q < 1 for q in given) or [*given] != sorted(set(given)) or not given:
            raise InvalidInputError(
                f"The quantiles of MultiQuantile are {shown(self.quantiles)}; give numbers between 0 and 1 in "
                "increasing order, such as (0.05, 0.5, 0.95)."
            )
        object.__setattr__(self, "quantiles", tuple(given))

    @property
    def outputs_per_target(self) -> int:  # type: ignore[override]
        """One for each quantile."""
        return len(self.quantiles)

    @property
    def _middle(self) -> int:
        """The index of the quantile nearest to 0.5."""
        return min(range(len(self.quantiles)), key=lambda place: abs(self.quantiles[place] - 0.5))

    def element_loss(self, y_true: Array, *outputs: Array) -> Array:
        """Return the mean of the pinball losses."""
        predicted = zip(self.quantiles, self._quantiles(outputs), strict=True)
        losses = [Pinball(quantile).element_loss(y_true, p) for quantile, p in predicted]
        return sum(losses[1:], losses[0]) / len(losses)

    def element_derivative(self, y_true: Array, *outputs: Array) -> tuple[Array, ...]:  # type: ignore[override]
        """Return the derivatives: a gap moves all quantiles beyond it, by the logistic function of the gap."""
        middle, n = self._middle, len(self.quantiles)
        predicted = zip(self.quantiles, self._quantiles(outputs), strict=True)
        slopes = [Pinball(quantile).element_derivative(y_true, p) / n for quantile, p in predicted]
        above, below = outputs[1 : n - middle], outputs[n - middle :]
        return (
            sum(slopes[1:], slopes[0]),
            *(sum(slopes[place:]) * expit(gap) for place, gap in enumerate(above, middle + 1)),
            *(-sum(slopes[: middle - place]) * expit(gap) for place, gap in enumerate(below)),
        )

    def _quantiles(self, outputs: tuple[Array, ...]) -> list[Array]:
        """Return the predicted quantiles in increasing order for the outputs of each."""
        n_above = len(self.quantiles) - self._middle - 1
        found = [outputs[0]]
        for gap in outputs[1 : 1 + n_above]:
            found.append(found[-1] + np.logaddexp(0, gap))
        for gap in outputs[1 + n_above :]:
            found.insert(0, found[0] - np.logaddexp(0, gap))
        return found

    def point_predictions(self, outputs: Array) -> Array:
        """Return the quantile nearest to 0.5."""
        return outputs

    def quantiles_of(self, outputs: Array) -> Array:
        """Return the quantiles, of shape (rows, targets, quantiles), for outputs of shape (rows, outputs)."""
        return np.stack(self._quantiles(tuple(np.split(outputs, self.outputs_per_target, axis=-1))), axis=-1)

    def band_of(self, outputs: Array) -> Band:
        """Return the smallest and the largest quantile."""
        quantiles = self.quantiles_of(outputs)
        return Band(quantiles[..., 0], quantiles[..., -1], np.ones_like(quantiles[..., 0]))


@also_called("PoissonNLLLoss")
@final
@dataclass(frozen=True)
class Poisson(ElementwiseLoss):
    r"""The mean negative log likelihood of counts in a Poisson distribution, without the constant term log y!.

    .. math:: l = e^p - y p, \qquad \frac{\partial l}{\partial p} = e^p - y

    This is the formula for ``log_input=True`` (the default, as in PyTorch): the network predicts the logarithm p of the
    rate, which may be any number. With ``log_input=False``, p is the rate itself, which must be above 0, so end the
    network in a softplus:

    .. math:: l = p - y \log p, \qquad \frac{\partial l}{\partial p} = 1 - \frac{y}{p}, \qquad l = p \text{ for } y = 0

    >>> Poisson().loss([3.0], [0.0])
    1.0
    """

    is_regression: ClassVar[bool] = True
    for_classes: ClassVar[bool] = False
    allows_standardized_targets: ClassVar[bool] = False
    targets: ClassVar[Range | None] = Range(0, math.inf, includes_low=True)

    log_input: Annotated[bool, Setting("Whether the network predicts the logarithm of the rate.")] = True

    @property
    def domain(self) -> Range | None:  # type: ignore[override]
        """Rates are above 0; their logarithms are any numbers."""
        return None if self.log_input else Range(0, math.inf)

    def point_predictions(self, outputs: Array) -> Array:
        """Return the rates."""
        return np.exp(outputs) if self.log_input else outputs

    def band_of(self, outputs: Array) -> Band:
        """Return the rates, with their square roots (the standard deviations) as the unit."""
        rates = self.point_predictions(outputs)
        return Band(rates, rates, np.sqrt(np.maximum(rates, SHORTEST)))

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return exp(p) - y p, or p - y log p."""
        if self.log_input:
            return np.exp(y_pred) - y_true * y_pred
        return y_pred - xlogy(y_true, y_pred)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return exp(p) - y, or 1 - y / p."""
        if self.log_input:
            return np.exp(y_pred) - y_true
        return 1 - ratio(y_true, y_pred)


@also_called(
    "gaussian_nll",
    unlike={
        "GaussianNLLLoss": "PyTorch's takes the variances as an extra argument; 'gaussian_nll' takes the means and the "
        "logarithms of the variances from twice as many outputs.",
    },
)
@final
@dataclass(frozen=True)
class GaussianNegativeLogLikelihood(ElementwiseLoss):
    r"""The mean negative log likelihood of a normal distribution for each target, with a predicted mean and variance.

    .. math::
       l = \frac{1}{2} \left(v + (m - y)^2 e^{-v}\right), \qquad \frac{\partial l}{\partial m} = (m - y) \, e^{-v},
       \qquad \frac{\partial l}{\partial v} = \frac{1}{2} \left(1 - (m - y)^2 e^{-v}\right)

    For k targets the network has 2 k outputs, shape (rows, 2 k): first the k means m, then the k logarithms v of the
    variances. All may be any numbers. The constant log(2 pi) / 2 is left out. The mean is over rows and targets.

    Nix & Weigend 1994, "Estimating the mean and variance of the target probability distribution".

    >>> GaussianNegativeLogLikelihood().loss([[1.0]], [[3.0, 0.0]])
    2.0
    """

    is_regression: ClassVar[bool] = True
    for_classes: ClassVar[bool] = False
    outputs_per_target: ClassVar[int] = 2

    def element_loss(self, y_true: Array, mean: Array, log_variance: Array) -> Array:  # type: ignore[override]
        """Return (v + (m - y)^2 exp(-v)) / 2."""
        return (log_variance + (mean - y_true) ** 2 * np.exp(-log_variance)) / 2

    def element_derivative(  # type: ignore[override]
        self, y_true: Array, mean: Array, log_variance: Array
    ) -> tuple[Array, Array]:
        """Return (m - y) exp(-v) and (1 - (m - y)^2 exp(-v)) / 2."""
        difference, precision = mean - y_true, np.exp(-log_variance)
        return difference * precision, (1 - difference**2 * precision) / 2

    @staticmethod
    def mean_and_variance(y_pred: Array) -> tuple[Array, Array]:
        """Return the means and the variances, each of shape (rows, k), from outputs of shape (rows, 2 k)."""
        outputs = np.asarray(y_pred)
        half = outputs.shape[-1] // 2
        return outputs[..., :half], np.asarray(np.exp(outputs[..., half:]))

    def band_of(self, outputs: Array) -> Band:
        """Return the means, with the standard deviations as the unit."""
        mean, variance = self.mean_and_variance(outputs)
        return Band(mean, mean, np.sqrt(variance))


SHORTEST = 1e-12  # the smallest squared length of a row; shorter rows are divided by its root, which avoids 0 / 0


@also_called(
    unlike={
        "CosineEmbeddingLoss": "PyTorch's takes pairs of rows with labels 1 (similar) and -1; for the label 1, it is "
        "1 + 'cosine_similarity'.",
    },
)
@final
@dataclass(frozen=True)
class CosineSimilarity(RowLoss):
    r"""Minus the cosine of the angle between a row of targets and a row of predictions.

    .. math:: L = -\frac{1}{n} \sum_{i=1}^{n} u_i \cdot v_i, \qquad u = \frac{y}{|y|}, \quad v = \frac{p}{|p|}

    For a row with the loss l, the derivative is -(u + l v) / |p|. The loss is -1 if both rows have the same direction,
    independent of their lengths. Use it for targets such as embeddings. The definition is the same as in Keras.

    >>> CosineSimilarity().loss([[1.0, 0.0]], [[5.0, 0.0]])
    -1.0
    """

    is_regression: ClassVar[bool] = True
    allows_standardized_targets: ClassVar[bool] = False
    compares_outputs: ClassVar[bool] = True

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -sum_k u_k v_k."""
        return -np.sum(y_true / _length(y_true) * (y_pred / _length(y_pred)), axis=-1)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return -(u_k + l v_k) / |p|; for a row of almost length 0, the length is a constant."""
        length = _length(y_pred)
        u, v = y_true / _length(y_true), y_pred / length
        cosine = np.where(length**2 > SHORTEST, np.sum(u * v, axis=-1, keepdims=True), 0)
        return (cosine * v - u) / length


def _length(rows: Array) -> Array:
    return np.sqrt(np.maximum(np.sum(rows**2, axis=-1, keepdims=True), SHORTEST))
