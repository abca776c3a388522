"""Losses for classification. Targets are 0 and 1: one column, several independent columns, or one-hot rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, final

import numpy as np
from scipy.special import xlog1py, xlogy

from chainrule.activations import ActivationLayer, LogSoftmaxActivation, SigmoidActivation, SoftmaxActivation
from chainrule.activations.classic import log_sigmoid, log_softmax, sigmoid, softmax
from chainrule.errors import InvalidInputError, shown
from chainrule.losses.base import ElementwiseLoss, RowLoss, ratio
from chainrule.named import also_called
from chainrule.ranges import Range, is_finite
from chainrule.settings import ABOVE_ZERO, FROM_ZERO, SHARE, Setting
from chainrule.types import Array

__all__ = [
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CategoricalCrossEntropy",
    "CategoricalFocal",
    "Dice",
    "Hinge",
    "KLDivergence",
    "MultiLabelCrossEntropy",
    "MultiMargin",
    "NegativeLogLikelihood",
    "SquaredHinge",
    "smooth_labels",
]

FROM_0_TO_1 = Range(0, 1, includes_low=True, includes_high=True)

_HAS_SIGMOID = (
    "contains the sigmoid; end the network in SigmoidActivation() and give 'binary_cross_entropy', which computes both "
    "as one function of the logits."
)
_TWO_FOCAL_LOSSES = "it is 'binary_focal' for targets of 0 and 1, and 'categorical_focal' for one of several classes."


@also_called(
    "bce",
    "BCELoss",
    unlike={
        "BCEWithLogitsLoss": f"it {_HAS_SIGMOID}",
        "binary_cross_entropy_with_logits": f"it {_HAS_SIGMOID}",
        "SoftMarginLoss": f"it {_HAS_SIGMOID}",
        "MultiLabelSoftMarginLoss": f"it {_HAS_SIGMOID}",
        "log_loss": "it is 'binary_cross_entropy' for two classes and 'categorical_cross_entropy' for more.",
    },
)
@final
@dataclass(frozen=True)
class BinaryCrossEntropy(ElementwiseLoss):
    r"""The cross-entropy of one probability, or of several independent ones.

    .. math:: L = \frac{1}{N} \sum \left(-w y \log p - (1 - y) \log(1 - p)\right)

    The targets y are 0 or 1, or between them, and the predictions p are probabilities, both of shape (rows, outputs).
    ``pos_weight`` is w, 1 by default; a larger w gives more weight to class 1, for data in which it is rare. For
    probabilities, the derivative of one term is ``(1 - y) / (1 - p) - w y / p``. Nothing is clipped: 0 log 0 is 0, and
    the loss is infinite if the true class has a predicted probability of 0.

    In a network that ends in a sigmoid, sigmoid and loss are computed together from the logits z, which is finite for
    every finite z. For w = 1,

    .. math:: l = \max(z, 0) - y z + \log(1 + e^{-|z|}), \qquad \frac{\partial l}{\partial z} = \sigma(z) - y

    >>> round(BinaryCrossEntropy().loss([1, 0], [0.5, 0.5]), 6)
    0.693147
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = SigmoidActivation
    domain: ClassVar[Range | None] = Range(0, 1)
    targets: ClassVar[Range | None] = FROM_0_TO_1

    pos_weight: Annotated[float, Setting("Factor on the loss of positive targets.", ABOVE_ZERO, since="0.2")] = 1.0

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -w y log p - (1 - y) log(1 - p)."""
        return -self.pos_weight * xlogy(y_true, y_pred) - xlog1py(1 - y_true, -y_pred)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return (1 - y) / (1 - p) - w y / p."""
        return ratio(1 - y_true, 1 - y_pred) - self.pos_weight * ratio(y_true, y_pred)

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return (1 - y) max(z, 0) + w y max(-z, 0) + (1 - y + w y) log(1 + exp(-|z|)), a sum without cancellation."""
        positive, negative = self.pos_weight * y_true, 1 - y_true
        linear = np.where(logits >= 0, negative * logits, -positive * logits)
        return linear + (negative + positive) * np.log1p(np.exp(-np.abs(logits)))

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return (1 - y + w y) sigmoid(z) - w y."""
        positive = self.pos_weight * y_true
        return (1 - y_true + positive) * sigmoid(logits) - positive


@final
@dataclass(frozen=True)
class MultiLabelCrossEntropy(RowLoss):
    r"""The cross-entropy of several labels, of which each row may have any number.

    .. math:: L = \frac{1}{n} \sum_{i=1}^{n} \sum_k \left(-y_{ik} \log p_{ik} - (1 - y_{ik}) \log(1 - p_{ik})\right)

    The target is 1 if row i has label k, and p is its predicted probability, both of shape (rows, labels).
    :class:`BinaryCrossEntropy` is the same with the mean over the labels. In a network that ends in a sigmoid, sigmoid
    and loss are computed together from the logits z, and the derivative of a row is :math:`\sigma(z) - y`.

    >>> round(MultiLabelCrossEntropy().loss([[1, 0]], [[0.5, 0.5]]), 6)
    1.386294
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = SigmoidActivation
    domain: ClassVar[Range | None] = Range(0, 1)
    targets: ClassVar[Range | None] = FROM_0_TO_1

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -sum_k y_k log p_k + (1 - y_k) log(1 - p_k)."""
        return -np.sum(xlogy(y_true, y_pred) + xlog1py(1 - y_true, -y_pred), axis=-1)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return (1 - y_k) / (1 - p_k) - y_k / p_k."""
        return ratio(1 - y_true, 1 - y_pred) - ratio(y_true, y_pred)

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return sum_k (1 - y_k) max(z_k, 0) + y_k max(-z_k, 0) + log(1 + exp(-|z_k|))."""
        linear = np.where(logits >= 0, (1 - y_true) * logits, -y_true * logits)
        return np.sum(linear + np.log1p(np.exp(-np.abs(logits))), axis=-1)

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return sigmoid(z)_k - y_k."""
        return sigmoid(logits) - y_true


@also_called(
    "cross_entropy",
    "cce",
    "sparse_categorical_crossentropy",
    unlike={
        "CrossEntropyLoss": "PyTorch's contains the softmax; end the network in SoftmaxActivation() and give "
        "'categorical_cross_entropy', which computes both as one function of the logits.",
    },
)
@final
@dataclass(frozen=True)
class CategoricalCrossEntropy(RowLoss):
    r"""The cross-entropy of the probabilities of classes.

    .. math:: L = -\frac{1}{n} \sum_{i=1}^{n} \sum_k y_{ik} \log p_{ik}

    The targets y are one-hot (or smoothed) and p are class probabilities, both of shape (rows, classes). For
    probabilities, the derivative of a row is ``-y_k / p_k``. Nothing is clipped, and 0 log 0 is 0. In a network that
    ends in a softmax, softmax and loss are computed together from the logits z, and the derivative of a row is

    .. math:: \frac{\partial l}{\partial z_k} = \operatorname{softmax}(z)_k \sum_j y_j - y_k

    It is finite for every finite z, and adding one number to a whole row of logits does not change it.

    >>> round(CategoricalCrossEntropy().loss([[0, 1, 0]], [[0.25, 0.5, 0.25]]), 6)
    0.693147
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = SoftmaxActivation
    domain: ClassVar[Range | None] = Range(0, 1, sums_to_one=True)
    targets: ClassVar[Range | None] = FROM_0_TO_1

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -sum_k y_k log p_k."""
        return -np.sum(xlogy(y_true, y_pred), axis=-1)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return -y_k / p_k."""
        return -ratio(y_true, y_pred)

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return -sum_k y_k log softmax(z)_k."""
        return -np.sum(y_true * log_softmax(logits), axis=-1)

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return softmax(z)_k sum(y) - y_k."""
        return softmax(logits) * np.sum(y_true, axis=-1, keepdims=True) - y_true


@also_called(
    "nll", "NLLLoss", unlike={"NLLLoss2d": "it takes images; 'negative_log_likelihood' takes rows of classes."}
)
@final
@dataclass(frozen=True)
class NegativeLogLikelihood(RowLoss):
    r"""The cross-entropy of the logarithms of class probabilities.

    .. math:: L = -\frac{1}{n} \sum_{i=1}^{n} \sum_k y_{ik} p_{ik}

    The targets y are one-hot and p are logarithms of probabilities, both of shape (rows, classes). The network ends in
    a LogSoftmaxActivation. For one column of classes, :class:`CategoricalCrossEntropy` after a softmax is the same
    function. For several columns of classes, the network ends in a Parallel with one LogSoftmaxActivation for the units
    of each column, and the loss is the sum over the columns.

    >>> NegativeLogLikelihood().loss([[0, 1]], [[-3.0, -0.5]])
    0.5
    """

    domain: ClassVar[Range | None] = Range(-np.inf, 0, includes_high=True)
    targets: ClassVar[Range | None] = FROM_0_TO_1
    compares_outputs: ClassVar[bool] = True
    output_activation: ClassVar[type[ActivationLayer] | None] = LogSoftmaxActivation

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -sum_k y_k p_k."""
        return -np.sum(y_true * y_pred, axis=-1)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return -y_k, and NaN where p_k is NaN."""
        return 0 * y_pred - y_true

    def point_predictions(self, outputs: Array) -> Array:
        """Return the probabilities."""
        return np.exp(outputs)


@also_called(
    "kld",
    "kullback_leibler_divergence",
    unlike={
        "KLDivLoss": "PyTorch's takes logarithms of probabilities; end the network in SoftmaxActivation() and give "
        "'kl_divergence'.",
    },
)
@final
@dataclass(frozen=True)
class KLDivergence(RowLoss):
    r"""The divergence of predicted probabilities from targets that are probabilities. It is 0 where p = y.

    .. math:: L = \frac{1}{n} \sum_{i=1}^{n} \sum_k y_{ik} \log \frac{y_{ik}}{p_{ik}}

    It is :class:`CategoricalCrossEntropy` minus the entropy of the targets, so both have the same derivative.

    Kullback & Leibler 1951, "On information and sufficiency".

    >>> round(KLDivergence().loss([[0.5, 0.5]], [[0.25, 0.75]]), 4)
    0.1438
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = SoftmaxActivation
    domain: ClassVar[Range | None] = Range(0, 1, sums_to_one=True)
    targets: ClassVar[Range | None] = FROM_0_TO_1

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return sum_k y_k log(y_k / p_k)."""
        return np.sum(xlogy(y_true, y_true) - xlogy(y_true, y_pred), axis=-1)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return -y_k / p_k."""
        return -ratio(y_true, y_pred)

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return sum_k y_k (log y_k - log softmax(z)_k)."""
        return np.sum(xlogy(y_true, y_true) - y_true * log_softmax(logits), axis=-1)

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return softmax(z)_k sum(y) - y_k."""
        return softmax(logits) * np.sum(y_true, axis=-1, keepdims=True) - y_true


@also_called(
    "binary_focal_crossentropy",
    unlike={
        "focal": _TWO_FOCAL_LOSSES,
        "focal_loss": _TWO_FOCAL_LOSSES,
        "sigmoid_focal_loss": "torchvision's contains the sigmoid and has alpha = 0.25; end the network in "
        "SigmoidActivation() and give BinaryFocal(alpha=0.25).",
    },
)
@final
@dataclass(frozen=True)
class BinaryFocal(ElementwiseLoss):
    r"""Binary cross-entropy that gives less weight to easy examples, for rare classes, on one or several 0/1 columns.

    .. math:: l = -a y (1 - p)^\gamma \log p - (1 - a) (1 - y) p^\gamma \log(1 - p)

    where a is ``alpha``. Without ``alpha``, the factors a and 1 - a are both replaced by 1, and ``gamma=0`` is then
    :class:`BinaryCrossEntropy`. Sigmoid and loss are computed together from the logits: with q = 1 - p, the derivative
    of ``-q^gamma log p`` with respect to the logit is ``q^gamma (gamma p log p - q)``.

    Lin et al. 2017, "Focal loss for dense object detection", equations 4 and 5.

    >>> easy, hard = BinaryFocal(alpha=None).loss([1], [0.9]), BinaryFocal(alpha=None).loss([1], [0.1])
    >>> round(easy, 4), round(hard, 4)
    (0.0011, 1.8651)
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = SigmoidActivation
    domain: ClassVar[Range | None] = Range(0, 1)
    targets: ClassVar[Range | None] = FROM_0_TO_1

    gamma: Annotated[float, Setting("Exponent of the factor on easy rows.", FROM_ZERO)] = 2.0
    alpha: Annotated[float | None, Setting("Weight of class 1; that of class 0 is 1 - alpha.", SHARE)] = None

    @property
    def _class_weights(self) -> tuple[float, float]:
        return (1.0, 1.0) if self.alpha is None else (self.alpha, 1 - self.alpha)

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -a y (1 - p)^gamma log p - (1 - a) (1 - y) p^gamma log(1 - p)."""
        weight_1, weight_0 = self._class_weights
        p, q = y_pred, 1 - y_pred
        return -weight_1 * xlogy(y_true * q**self.gamma, p) - weight_0 * xlog1py((1 - y_true) * p**self.gamma, -p)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return the derivative of both terms; see :func:`_focal_slope`."""
        weight_1, weight_0 = self._class_weights
        p, q = y_pred, 1 - y_pred
        return weight_1 * _focal_slope(y_true, p, q, self.gamma) - weight_0 * _focal_slope(1 - y_true, q, p, self.gamma)

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return :meth:`element_loss` with logarithms that stay exact where p or 1 - p underflows."""
        weight_1, weight_0 = self._class_weights
        p, q, log_p, log_q = sigmoid(logits), sigmoid(-logits), log_sigmoid(logits), log_sigmoid(-logits)
        return -weight_1 * y_true * q**self.gamma * log_p - weight_0 * (1 - y_true) * p**self.gamma * log_q

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return a y q^gamma (gamma p log p - q) - (1 - a) (1 - y) p^gamma (gamma q log q - p)."""
        (weight_1, weight_0), gamma = self._class_weights, self.gamma
        p, q, log_p, log_q = sigmoid(logits), sigmoid(-logits), log_sigmoid(logits), log_sigmoid(-logits)
        positive = weight_1 * y_true * q**gamma * (gamma * p * log_p - q)
        return positive - weight_0 * (1 - y_true) * p**gamma * (gamma * q * log_q - p)


@also_called(
    unlike={
        "categorical_focal_crossentropy": "Keras multiplies it by alpha = 0.25; 'categorical_focal' is without that "
        "factor.",
    },
)
@final
@dataclass(frozen=True)
class CategoricalFocal(RowLoss):
    r"""The focal loss of class probabilities, which gives less weight to rows that are predicted well.

    .. math:: L = -\frac{1}{n} \sum_{i=1}^{n} \sum_k y_{ik} (1 - p_{ik})^\gamma \log p_{ik}

    ``gamma=0`` is :class:`CategoricalCrossEntropy`. Softmax and loss are computed together from the logits: with
    q = 1 - p, the derivative with respect to the logits z is

    .. math:: \frac{\partial l}{\partial z_k} = h_k - p_k \sum_j h_j, \qquad
       h_k = y_k q_k^\gamma \left(\gamma p_k \log(p_k) / q_k - 1\right)

    Lin et al. 2017, "Focal loss for dense object detection".

    >>> round(CategoricalFocal().loss([[0, 1]], [[0.1, 0.9]]), 4)
    0.0011
    """

    fuses_with: ClassVar[type[ActivationLayer] | None] = SoftmaxActivation
    domain: ClassVar[Range | None] = Range(0, 1, sums_to_one=True)
    targets: ClassVar[Range | None] = FROM_0_TO_1

    gamma: Annotated[float, Setting("Exponent of the factor on easy rows.", FROM_ZERO)] = 2.0

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return -sum_k y_k (1 - p_k)^gamma log p_k."""
        return -np.sum(xlogy(y_true * (1 - y_pred) ** self.gamma, y_pred), axis=-1)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return the derivative of each term; see :func:`_focal_slope`."""
        return _focal_slope(y_true, y_pred, 1 - y_pred, self.gamma)

    def logits_loss(self, y_true: Array, logits: Array) -> Array:
        """Return :meth:`row_loss` with logarithms that stay exact where p or 1 - p underflows."""
        log_p = log_softmax(logits)
        return -np.sum(y_true * (-np.expm1(log_p)) ** self.gamma * log_p, axis=-1)

    def logits_derivative(self, y_true: Array, logits: Array) -> Array:
        """Return h_k - p_k sum(h), where h is the derivative with respect to log p."""
        log_p = log_softmax(logits)
        p, q = np.exp(log_p), -np.expm1(log_p)
        gamma_term = np.where(q == 0, -self.gamma, self.gamma * p * log_p / q)
        h = y_true * q**self.gamma * (gamma_term - 1)
        return h - p * np.sum(h, axis=-1, keepdims=True)


@final
@dataclass(frozen=True)
class Dice(RowLoss):
    r"""A loss of the overlap of two sets, which is 0 for two equal sets.

    .. math::
       L = \frac{1}{n} \sum_{i=1}^{n} \left(1 - \frac{2 \sum_k y_{ik} p_{ik} + s}{\sum_k (y_{ik} + p_{ik}) + s}\right)

    Each row describes a set, such as the labels of a text or the pixels of an object: y is 1 for its elements and 0 for
    the others, and p is the predicted probability of each element. The derivative of a row with the loss l is
    ``(1 - l - 2 y_k) / (sum(y) + sum(p) + s)``. ``smooth`` is s; it makes the loss of two empty sets 0.

    Milletari et al. 2016, "V-Net", section 3.

    >>> round(Dice().loss([[1, 1, 0]], [[1.0, 0.0, 0.0]]), 4)
    0.25
    """

    domain: ClassVar[Range | None] = FROM_0_TO_1
    targets: ClassVar[Range | None] = FROM_0_TO_1

    smooth: Annotated[float, Setting("Number added to numerator and denominator.", ABOVE_ZERO)] = 1.0

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return 1 - (2 sum(y p) + s) / (sum(y) + sum(p) + s)."""
        overlap, total = 2 * np.sum(y_true * y_pred, axis=-1), np.sum(y_true + y_pred, axis=-1)
        return 1 - (overlap + self.smooth) / (total + self.smooth)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return ((2 sum(y p) + s) / (sum(y) + sum(p) + s) - 2 y_k) / (sum(y) + sum(p) + s)."""
        overlap = 2 * np.sum(y_true * y_pred, axis=-1, keepdims=True) + self.smooth
        total = np.sum(y_true + y_pred, axis=-1, keepdims=True) + self.smooth
        return (overlap / total - 2 * y_true) / total


def _focal_slope(y: Array, p: Array, q: Array, gamma: float) -> Array:
    """Return the derivative of -y q^gamma log p with respect to p: y q^gamma (gamma log(p) / q - 1 / p), q = 1 - p."""
    gamma_term = np.where(q == 0, -gamma, xlogy(gamma, p) / q)
    return np.where(y == 0, 0 * p, y * q**gamma * (gamma_term - 1 / p))


@also_called("hinge_loss")
@final
@dataclass(frozen=True)
class Hinge(ElementwiseLoss):
    r"""The loss of a support vector machine.

    .. math:: L = \frac{1}{N} \sum \max(0, 1 - s p), \qquad s = 2 y - 1

    The targets y are 0 or 1. The derivative of a term is -s, or 0. Predictions p are scores of a linear output,
    positive for class 1. With one-hot targets, each column is a classifier of one class against the rest.

    >>> Hinge().loss([1, 0], [0.5, -2.0])
    0.25
    """

    expects_scores: ClassVar[bool] = True
    targets: ClassVar[Range | None] = FROM_0_TO_1

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return max(0, 1 - s p)."""
        return np.maximum(1 - (2 * y_true - 1) * y_pred, 0)

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return -s where 1 - s p > 0, else 0."""
        sign = 2 * y_true - 1
        return -sign * np.sign(np.maximum(1 - sign * y_pred, 0))


@final
@dataclass(frozen=True)
class SquaredHinge(ElementwiseLoss):
    r"""The square of :class:`Hinge`, which is differentiable.

    .. math:: L = \frac{1}{N} \sum \max(0, 1 - s p)^2, \qquad s = 2 y - 1

    The derivative of a term is ``-2 s max(0, 1 - s p)``.

    >>> SquaredHinge().loss([1, 0], [0.5, -2.0])
    0.125
    """

    expects_scores: ClassVar[bool] = True
    targets: ClassVar[Range | None] = FROM_0_TO_1

    def element_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return max(0, 1 - s p)^2."""
        return np.maximum(1 - (2 * y_true - 1) * y_pred, 0) ** 2

    def element_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return -2 s max(0, 1 - s p)."""
        sign = 2 * y_true - 1
        return -2 * sign * np.maximum(1 - sign * y_pred, 0)


@also_called(
    "MultiMarginLoss",
    unlike={
        "categorical_hinge": "it compares the true class with the best of the others; 'multi_margin' compares it with "
        "each of them.",
    },
)
@final
@dataclass(frozen=True)
class MultiMargin(RowLoss):
    r"""The hinge loss of several classes.

    .. math:: L = \frac{1}{n} \sum_{i=1}^{n} \frac{1}{K} \sum_k (1 - y_{ik}) \max(0, m - s_i + p_{ik})

    Predictions p are scores of a linear output, shape (rows, classes). The targets y are one-hot, and s is the score of
    the true class, which should exceed each other score by m, the ``margin``.

    Weston & Watkins 1999, "Support vector machines for multi-class pattern recognition".

    >>> MultiMargin().loss([[1, 0]], [[0.5, 0.0]])
    0.25
    """

    expects_scores: ClassVar[bool] = True
    compares_outputs: ClassVar[bool] = True
    targets: ClassVar[Range | None] = FROM_0_TO_1

    margin: Annotated[float, Setting("Least distance of the scores.", ABOVE_ZERO)] = 1.0

    def row_loss(self, y_true: Array, y_pred: Array) -> Array:
        """Return mean_k (1 - y_k) max(0, margin - s + p_k)."""
        violation = self.margin - np.sum(y_true * y_pred, axis=-1, keepdims=True) + y_pred
        return np.mean((1 - y_true) * np.maximum(violation, 0), axis=-1)

    def row_derivative(self, y_true: Array, y_pred: Array) -> Array:
        """Return (a_k - y_k sum(a)) / K for K classes, where a_k is 1 - y_k if the margin to class k is too small."""
        violation = self.margin - np.sum(y_true * y_pred, axis=-1, keepdims=True) + y_pred
        violations = (1 - y_true) * np.sign(np.maximum(violation, 0))
        n_classes = np.sum(0 * y_true + 1, axis=-1, keepdims=True)
        return (violations - y_true * np.sum(violations, axis=-1, keepdims=True)) / n_classes


def smooth_labels(targets: Array, amount: float, *, independent: bool = False) -> Array:
    """Return smoothed labels: ``y (1 - a) + a / k`` for one-hot rows of k classes, where a is ``amount``.

    One column of 0 and 1 has two classes, and so has each of several ``independent`` columns. Szegedy et al. 2016,
    "Rethinking the Inception architecture for computer vision", section 7.

    >>> smooth_labels(np.array([[0.0, 1.0]]), 0.1).tolist()
    [[0.05, 0.9500000000000001]]
    """
    if not (is_finite(amount) and 0 <= amount < 1):
        raise InvalidInputError(f"The label smoothing is {shown(amount)}; it must lie in [0, 1).")
    labels = np.asarray(targets)
    labels = np.asarray(labels, np.result_type(labels, np.float32))
    n_classes = labels.shape[1] if labels.ndim > 1 and labels.shape[1] > 1 and not independent else 2
    return np.asarray(labels * (1 - amount) + amount / n_classes)
