"""Calibrated probabilities and prediction intervals, computed from held-out rows.

Held-out rows are rows that the network was not trained on: validation rows, or the out-of-fold predictions of an
ensemble over cross-validation folds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import xlogy

from chainrule.data.target import Target
from chainrule.data.weights import as_weights, weights_of_rows
from chainrule.errors import InvalidInputError
from chainrule.losses.base import Band
from chainrule.metrics.inputs import class_probabilities
from chainrule.neuralnet import NeuralNetwork
from chainrule.ranges import is_finite
from chainrule.types import Array, Inputs

__all__ = ["Calibration", "fit_temperature", "temper"]

# The maximum number of stored scores. More scores are replaced by this number of their quantiles.
MOST_SCORES = 999
# A probability of exactly 1 in float32 is taken to be half of its rounding error below 1.
SMALLEST_COMPLEMENT = 2.0**-25
SMALLEST_PROBABILITY = 1e-30
LARGEST_LOGARITHM = 3.0  # of a temperature


def temper(probabilities: Array, temperature: float) -> Array:
    """Return the probabilities for logits divided by a temperature; the most probable class stays the same.

    This is a NumPy formula, which is traced for exports. Each row has the probabilities of all classes. A row of one
    number is the probability of the second of two classes.
    """
    is_single = np.sum(0 * probabilities + 1, axis=-1, keepdims=True) == 1
    powers = np.exp(np.log(np.maximum(probabilities, SMALLEST_PROBABILITY)) / temperature)
    others = np.maximum(1 - np.max(probabilities, axis=-1, keepdims=True), SMALLEST_COMPLEMENT)
    complement = np.exp(np.log(others) / temperature)
    total = np.sum(powers, axis=-1, keepdims=True) + np.where(is_single, complement, 0)
    tempered: Array = powers / total
    return tempered


def fit_temperature(probabilities: Array, codes: Array, weights: Array | None = None) -> float:
    """Return the temperature with the smallest log loss on held-out rows (Guo et al. 2017, arXiv 1706.04599).

    The logarithm of the temperature has a standard normal prior, so that a few rows cannot make it extreme.

    Parameters
    ----------
    probabilities
        The predictions of the network, of shape (rows, 1) for two classes, or (rows, classes).
    codes
        The codes of the true classes.
    weights
        The weights of the rows.
    """
    probabilities = np.asarray(probabilities, np.float64)
    row_weights = np.ones(len(codes)) if weights is None else weights / weights.mean()
    is_true = np.arange(max(probabilities.shape[1], 2)) == np.asarray(codes)[:, None]

    def objective(logarithm: float) -> float:
        p = class_probabilities(temper(probabilities, math.exp(logarithm)))[is_true]
        return float(-xlogy(row_weights, np.maximum(p, SMALLEST_PROBABILITY)).sum() + logarithm**2 / 2)

    found = minimize_scalar(objective, bounds=(-LARGEST_LOGARITHM, LARGEST_LOGARITHM), method="bounded")
    return math.exp(found.x)


@dataclass(frozen=True)
class Calibration:
    """The temperature and the errors of a model, computed from held-out rows.

    Attributes
    ----------
    n_rows
        The number of held-out rows.
    temperature
        The divisor of the logits of classes; 1 leaves the probabilities as they are.
    scores
        For each target of a regression, the distances of the true values of the held-out rows from the predicted range
        (:class:`~chainrule.losses.base.Band`), in units of its ``scale``. They are negative inside the range, and
        sorted. If there are more than 999, they are replaced by 999 of their quantiles.
    """

    n_rows: int
    temperature: float = 1.0
    scores: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def learn(
        cls, network: NeuralNetwork, target: Target, X: Inputs, y: Array, sample_weight: Array | None = None
    ) -> Self:
        """Compute the calibration of a network from held-out rows, with class codes or numbers as in training.

        Weights of shape (rows, members) select the members that were not trained on a row. The weights of the rows
        count for the temperature, not for the scores.
        """
        outputs = np.asarray(network.predict(X, sample_weight), np.float64)
        weights = np.ones(len(outputs))
        if sample_weight is not None:
            weights = weights_of_rows(as_weights(sample_weight, len(outputs)))
        counts = weights > 0
        outputs, y, weights = outputs[counts], np.asarray(y)[counts], weights[counts]
        if target.classes:
            return cls(len(y), fit_temperature(network.loss.predictions_of(outputs), y, weights))
        return cls.of_numbers(y, network.loss.band_of(outputs))

    @classmethod
    def of_numbers(cls, y: Array, band: Band) -> Self:
        """Return the calibration of a regression for true values and predicted ranges, of shape (rows, targets)."""
        y = np.asarray(y, np.float64).reshape(band.lower.shape)
        scores = np.sort(np.maximum(band.lower - y, y - band.upper) / band.scale, axis=0)
        n = len(scores)
        if n > MOST_SCORES:  # the i-th of m kept scores is the quantile i / (m + 1), rounded up to the next score
            ranks = np.ceil(np.arange(1, MOST_SCORES + 1) * (n + 1) / (MOST_SCORES + 1)).astype(np.intp)
            scores = scores[ranks - 1]
        return cls(n, scores=tuple(tuple(column) for column in scores.T.tolist()))

    def interval(self, band: Band, alpha: float) -> Array:
        """Return the lower and upper limits, shape (2, rows, targets), of intervals with the probability 1 - alpha.

        The score of rank ``ceil((n + 1) (1 - alpha))`` is added to both sides of the range. If new rows
        are exchangeable with the n held-out rows, the limits contain at least 1 - alpha of all new values: split
        conformal prediction (Lei et al. 2018, arXiv 1604.04173), for predicted quantiles as in Romano et al. 2019
        (arXiv 1905.03222).
        """
        if not (is_finite(alpha) and 0 < alpha < 1):
            raise InvalidInputError(
                f"alpha is {alpha!r:.40}; give the share of the values that may lie outside the intervals, such as 0.1."
            )
        n = len(self.scores[0])
        rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)
        if rank > n:
            raise InvalidInputError(
                f"alpha is {alpha:g}, and the smallest alpha for {self.n_rows} held-out rows is "
                f"{math.ceil(1e4 / (n + 1)) / 1e4:g}; choose a larger alpha, or hold out more rows."
            )
        margin = np.array([column[rank - 1] for column in self.scores]) * band.scale
        # Predicted quantiles that are too far apart are moved together, at most until they meet.
        margin = np.maximum(margin, (band.lower - band.upper) / 2)
        return np.stack([band.lower - margin, band.upper + margin])

    def to_dict(self) -> dict[str, Any]:
        """Return the calibration as JSON values."""
        return {"n_rows": self.n_rows, "temperature": self.temperature, "scores": [*map(list, self.scores)]}

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Return a calibration from the values of :meth:`to_dict`. Raises ``InvalidInputError`` for invalid values."""
        match values:
            case {"n_rows": int(n_rows), "temperature": temperature, "scores": list(scores)} if (
                is_finite(temperature)
                and math.exp(-LARGEST_LOGARITHM) <= temperature <= math.exp(LARGEST_LOGARITHM)
                and n_rows > 0
                and all(isinstance(column, list) and 0 < len(column) <= MOST_SCORES for column in scores)
                and all(is_finite(score) for column in scores for score in column)
                and all(column == sorted(column) and len(column) == len(scores[0]) for column in scores)
            ):
                return cls(n_rows, float(temperature), tuple(tuple(map(float, column)) for column in scores))
        raise InvalidInputError(
            "The calibration of a model needs 'n_rows', a 'temperature', and sorted 'scores' for each target."
        )
