"""Metrics of predicted classes and of their probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from chainrule.metrics.inputs import count_classes, has_nan, labels_and_weights, scores_and_weights
from chainrule.named import also_called, checked
from chainrule.types import Array

__all__ = [
    "ClassAverage",
    "accuracy",
    "balanced_accuracy",
    "brier_score",
    "confusion_matrix",
    "expected_calibration_error",
    "f1",
    "log_loss",
    "precision",
    "recall",
    "roc_auc",
]


@checked
@also_called(
    "acc",
    "accuracy_score",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    unlike={"binary_accuracy": "of one output it is 'accuracy', which takes several outputs for as many classes."},
)
def accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the share of rows whose class is correct.

    The predictions are labels, codes, or probabilities of shape (rows,), (rows, 1) or (rows, classes).

    >>> accuracy([0, 1, 1], [[0.2], [0.9], [0.4]])
    0.6666666666666666
    """
    if has_nan(y_pred):
        return float("nan")
    truth, guess, weights = labels_and_weights(y_true, y_pred, sample_weight)
    return float(np.average(truth == guess, weights=weights))


@checked
@also_called("balanced_accuracy_score")
def balanced_accuracy(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the mean over the classes of the share of their rows that are correct: the mean of the recalls.

    >>> balanced_accuracy([0, 0, 0, 1], [0, 0, 0, 0])
    0.5
    """
    from sklearn.metrics import recall_score

    if has_nan(y_pred):
        return float("nan")
    truth, guess, weights = labels_and_weights(y_true, y_pred, sample_weight)
    options: dict[str, Any] = {"labels": np.unique(truth), "average": "macro", "zero_division": 0}
    return float(recall_score(truth, guess, sample_weight=weights, **options))


@checked
@also_called(
    "precision_score",
    arguments={"average": "Use the metric 'precision_macro', 'precision_micro' or 'precision_weighted'."},
)
def precision(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    r"""Return the share of the rows predicted as class 1 that are of class 1.

    .. math:: \frac{\text{true positives}}{\text{true positives} + \text{false positives}}

    With more than two classes, it is the mean over the classes.

    >>> precision([0, 1, 1], [1, 1, 0])
    0.5
    """
    return _of_classes("precision_score", y_true, y_pred, sample_weight)


@checked
@also_called(
    "recall_score",
    arguments={"average": "Use the metric 'recall_macro', 'recall_micro' or 'recall_weighted'."},
)
def recall(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    r"""Return the share of the rows of class 1 that are predicted as class 1.

    .. math:: \frac{\text{true positives}}{\text{true positives} + \text{false negatives}}

    With more than two classes, it is the mean over the classes.

    >>> recall([0, 1, 1, 1], [1, 1, 1, 0])
    0.6666666666666666
    """
    return _of_classes("recall_score", y_true, y_pred, sample_weight)


@checked
@also_called(
    "f1_score",
    arguments={"average": "Use the metric 'f1_macro', 'f1_micro' or 'f1_weighted'."},
)
def f1(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    r"""Return the harmonic mean of precision and recall; with more than two classes, the mean over the classes.

    .. math:: F_1 = 2 \, \frac{\text{precision} \cdot \text{recall}}{\text{precision} + \text{recall}}

    >>> f1([0, 1, 1], [1, 1, 0])
    0.5
    """
    return _of_classes("f1_score", y_true, y_pred, sample_weight)


@checked
@also_called("auc", "auroc", "roc_auc_score")
def roc_auc(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the area under the ROC curve.

    It is the probability that a row of class 1 has a higher score than a row of class 0.

    Predictions must be scores or probabilities. With more than two classes it is the mean over the classes, each one
    against the rest. A class that has all rows or none is left out, because its area is not defined; the result is NaN
    if no class is left.

    >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    from sklearn.metrics import roc_auc_score

    if has_nan(y_pred):
        return float("nan")
    truth, scores, weights = scores_and_weights(y_true, y_pred, sample_weight)
    classes = range(scores.shape[1]) if scores.shape[1] > 2 else (1,)
    areas = [
        float(roc_auc_score(truth == code, scores[:, code], sample_weight=weights))
        for code in classes
        if 0 < np.count_nonzero(truth == code) < len(truth)
    ]
    return float(np.mean(areas)) if areas else float("nan")


@checked
@also_called(unlike={"neg_log_loss": "it is 'log_loss' with the opposite sign."})
def log_loss(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    r"""Return the cross-entropy: the mean of -log p of the true class, with natural logarithms.

    .. math:: -\frac{1}{n} \sum_{i=1}^{n} \log p_{i, y_i}

    Predictions must be probabilities. As in scikit-learn, probabilities of exactly 0 and 1 are first moved by the
    precision of their type, so that a confident wrong prediction gives a large number and not infinity.

    >>> round(log_loss([0, 1], [0.5, 0.5]), 4)
    0.6931
    """
    from sklearn.metrics import log_loss as sklearn_log_loss

    if has_nan(y_pred):
        return float("nan")
    truth, columns, weights = scores_and_weights(y_true, y_pred, sample_weight)
    return float(sklearn_log_loss(truth, columns, sample_weight=weights, labels=np.arange(columns.shape[1])))


@checked
@also_called("brier_score_loss", unlike={"neg_brier_score": "it is 'brier_score' with the opposite sign."})
def brier_score(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
    """Return the mean squared error of the probabilities: of class 1, or summed over more than two classes.

    >>> brier_score([0, 1], [[0.5], [1.0]])
    0.125
    """
    if has_nan(y_pred):
        return float("nan")
    truth, columns, weights = scores_and_weights(y_true, y_pred, sample_weight)
    one_hot = truth[:, None] == np.arange(columns.shape[1])
    errors = np.sum((columns - one_hot) ** 2, axis=1) / (2 if columns.shape[1] == 2 else 1)
    return float(np.average(errors, weights=weights))


@checked
@also_called("ece", "calibration_error")
def expected_calibration_error(
    y_true: Array, y_pred: Array, sample_weight: Array | None = None, n_bins: int = 15
) -> float:
    """Return the mean difference between the probability of the predicted class and the share of correct predictions.

    The rows are divided into ``n_bins`` bins of equal width by the probability of the predicted class, and the
    differences of the bins are weighted by their rows. For 0, predictions with a probability of 0.8 are correct in
    80 % of the rows, for example. Guo et al. 2017, "On calibration of modern neural networks", equation 3.

    >>> expected_calibration_error([0, 1, 1, 1], [[0.25], [0.75], [0.75], [0.75]])
    0.25
    """
    if has_nan(y_pred):
        return float("nan")
    truth, columns, weights = scores_and_weights(y_true, y_pred, sample_weight)
    confidence = columns.max(axis=1).astype(np.float64)
    weights = np.ones(len(truth)) if weights is None else weights
    bins = np.minimum((confidence * n_bins).astype(np.intp), n_bins - 1)
    differences = np.bincount(bins, weights * (confidence - (columns.argmax(axis=1) == truth)), n_bins)
    return float(np.abs(differences).sum() / weights.sum())


@checked
def confusion_matrix(y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> Array:
    """Return the number (or the weight) of the rows of each true class (rows) and predicted class (columns).

    The result has shape (classes, classes). If a prediction is NaN, all numbers are NaN.

    >>> confusion_matrix([0, 1, 1], [[0.2], [0.9], [0.4]]).tolist()
    [[1, 0], [1, 1]]
    """
    from sklearn.metrics import confusion_matrix as sklearn_confusion_matrix

    truth, guess, weights = labels_and_weights(y_true, y_pred, sample_weight)
    labels: Array | None = None
    if truth.dtype.kind == "i":
        labels = np.arange(count_classes(y_true, y_pred, truth, guess))
    matrix = sklearn_confusion_matrix(truth, guess, sample_weight=weights, labels=labels)
    return np.full(matrix.shape, np.nan) if has_nan(y_pred) else np.asarray(matrix)


@checked
@dataclass(frozen=True)
class ClassAverage:
    """Precision, recall or F1 with an average over all classes, as in scikit-learn, also if there are two of them.

    ``average`` is "macro", the mean over the classes, "weighted", the same weighted by the rows of each class, or
    "micro", computed from the counts of all classes together, which is the accuracy.

    >>> ClassAverage("f1", "macro")([0, 1, 1], [0, 1, 0])
    0.6666666666666666
    """

    score: Literal["precision", "recall", "f1"]
    average: Literal["macro", "micro", "weighted"]

    @property
    def __name__(self) -> str:
        """The name of the metric, such as "f1_macro"."""
        return f"{self.score}_{self.average}"

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the metric."""
        return _of_classes(f"{self.score}_score", y_true, y_pred, sample_weight, self.average)


def _of_classes(
    name: str, y_true: Array, y_pred: Array, sample_weight: Array | None, average: str | None = None
) -> float:
    import sklearn.metrics

    if has_nan(y_pred):
        return float("nan")
    truth, guess, weights = labels_and_weights(y_true, y_pred, sample_weight)
    options: dict[str, Any] = {"average": average or "macro"}
    if truth.dtype.kind == "i":
        if average is None and count_classes(y_true, y_pred, truth, guess) == 2:
            options = {"average": "binary", "pos_label": 1}
    elif average is None and len(names := np.unique(np.concatenate([truth, guess]))) <= 2:
        options = {"average": "binary", "pos_label": names[-1]}
    score = getattr(sklearn.metrics, name)
    return float(score(truth, guess, sample_weight=weights, zero_division=0, **options))
