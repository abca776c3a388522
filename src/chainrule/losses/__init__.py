"""Loss functions: how wrong the predictions are, as one number, and its derivative.

A loss is the mean over all elements, as PyTorch has it (cross-entropy over classes: the mean over rows). With sample
weights it is the weighted mean over the rows, ``sum w_i l_i / sum w_i``: a row of weight 0 counts as if it were not
there, and a row of weight 2 as if it were there twice. Targets and predictions have the same shape, (rows, outputs),
unless a loss says otherwise (:meth:`LossFunction.n_outputs`).

In the equations ``y`` is a target, ``p`` a prediction, ``d = p - y``, and ``z`` a logit, the number before the last
activation. ``l`` is the loss of one element and ``l'`` its derivative by ``p`` (or ``z``).

A user's own loss is a class with the formulas of one element (:class:`ElementwiseLoss`) or of one row
(:class:`RowLoss`), a pair of functions (:class:`CustomLoss`), or a class with :meth:`LossFunction.loss` and
:meth:`LossFunction.derivative`.
"""

from __future__ import annotations

from chainrule.losses.base import ElementwiseLoss, LossFunction, RowLoss, row_weights_of
from chainrule.losses.classification import (
    BinaryCrossEntropy,
    BinaryFocal,
    CategoricalCrossEntropy,
    CategoricalFocal,
    Dice,
    Hinge,
    KLDivergence,
    MultiMargin,
    SquaredHinge,
    smooth_labels,
)
from chainrule.losses.custom import CustomLoss
from chainrule.losses.regression import (
    CosineSimilarity,
    GaussianNegativeLogLikelihood,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Pinball,
    Poisson,
)
from chainrule.named import Registry

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "CategoricalCrossEntropy",
    "CategoricalFocal",
    "CosineSimilarity",
    "CustomLoss",
    "Dice",
    "ElementwiseLoss",
    "GaussianNegativeLogLikelihood",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "LossFunction",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "MultiMargin",
    "Pinball",
    "Poisson",
    "RowLoss",
    "SquaredHinge",
    "row_weights_of",
    "smooth_labels",
]

LOSSES: Registry[LossFunction] = Registry(
    "loss",
    LossFunction,
    {
        "mean_squared_error": MeanSquaredError,
        "mean_absolute_error": MeanAbsoluteError,
        "mean_absolute_percentage_error": MeanAbsolutePercentageError,
        "mean_squared_logarithmic_error": MeanSquaredLogarithmicError,
        "huber": Huber,
        "log_cosh": LogCosh,
        "pinball": Pinball,
        "poisson": Poisson,
        "gaussian_negative_log_likelihood": GaussianNegativeLogLikelihood,
        "cosine_similarity": CosineSimilarity,
        "binary_cross_entropy": BinaryCrossEntropy,
        "categorical_cross_entropy": CategoricalCrossEntropy,
        "kl_divergence": KLDivergence,
        "dice": Dice,
        "binary_focal": BinaryFocal,
        "categorical_focal": CategoricalFocal,
        "hinge": Hinge,
        "squared_hinge": SquaredHinge,
        "multi_margin": MultiMargin,
    },
)
