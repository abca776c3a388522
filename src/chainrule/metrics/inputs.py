"""From targets and predictions in any of their forms to columns, labels, scores and weights."""

from __future__ import annotations

import numpy as np

from chainrule.arrays import refuse_masked
from chainrule.errors import InvalidInputError
from chainrule.types import Array, IntArray

__all__ = [
    "as_columns",
    "class_probabilities",
    "count_classes",
    "errors_of",
    "has_nan",
    "labels_and_weights",
    "labels_of",
    "normalized_probabilities",
    "scores_and_weights",
    "weights_of",
]


def as_columns(values: Array) -> Array:
    """Return float64 values of shape (rows, outputs)."""
    refuse_masked(values, "An array to measure")
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(-1, 1) if array.ndim < 2 else array


def class_probabilities(outputs: Array) -> Array:
    """Return one column of probabilities for each class; a network with one output gives that of the second class."""
    return np.hstack([1 - outputs, outputs]) if outputs.shape[1] == 1 else outputs


def normalized_probabilities(outputs: Array) -> Array:
    """Return the same as float64, in rows that sum to 1, which those of a softmax in float32 do only nearly."""
    probabilities = class_probabilities(np.asarray(outputs, np.float64))
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def errors_of(y_true: Array, y_pred: Array) -> Array:
    """Return p - y as (rows, outputs). Nothing is broadcast: only (n,) and (n, 1) count as the same shape."""
    targets, predictions = as_columns(y_true), as_columns(y_pred)
    if targets.shape != predictions.shape:
        raise InvalidInputError(
            f"The targets have shape {np.shape(y_true)} and the predictions {np.shape(y_pred)}; they must be the same."
        )
    return np.asarray(predictions - targets)


def weights_of(sample_weight: Array | None, n_rows: int) -> Array | None:
    """Return the weights as a vector of n_rows numbers, or None; refuse to measure no rows."""
    if n_rows == 0:
        raise InvalidInputError("There are no rows to measure; give at least one target and its prediction.")
    if sample_weight is None:
        return None
    refuse_masked(sample_weight, "sample_weight")
    weights = np.asarray(sample_weight, dtype=np.float64).reshape(-1)
    if len(weights) != n_rows:
        raise InvalidInputError(f"There are {len(weights)} sample weights for {n_rows} rows.")
    if not (weights.min(initial=0) >= 0 and 0 < weights.sum() < np.inf):
        raise InvalidInputError("Sample weights must be finite and not negative, and at least one must be above 0.")
    return weights


def has_nan(y_pred: Array) -> bool:
    """Tell whether a prediction is NaN."""
    predictions = np.asarray(y_pred)
    return predictions.dtype.kind == "f" and bool(np.isnan(predictions).any())


def labels_of(values: Array) -> Array:
    """Return one label a row: the largest of several columns; codes and names as they are; else whether p >= 0.5."""
    refuse_masked(values, "An array to measure")
    array = np.asarray(values)
    if array.ndim > 1 and array.shape[1] > 1:
        return np.asarray(array.argmax(axis=1))
    array = array.reshape(-1)
    if array.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # an infinite score is no whole number, and that is all it has to be
            whole = array.astype(np.int64)
        return whole if np.array_equal(whole, array) else np.asarray(array >= 0.5, dtype=np.int64)
    return array.astype(np.int64) if array.dtype.kind in "bui" else array


def labels_and_weights(y_true: Array, y_pred: Array, sample_weight: Array | None) -> tuple[Array, Array, Array | None]:
    """Return the labels of targets and predictions and the weights, without the rows of weight 0."""
    return _kept(labels_of(y_true), labels_of(y_pred), sample_weight)


def scores_and_weights(y_true: Array, y_pred: Array, sample_weight: Array | None) -> tuple[Array, Array, Array | None]:
    """Return class codes, scores of shape (rows, classes) and the weights, without the rows of weight 0.

    One column of p becomes two, 1 - p and p. Class labels that are texts are in the order of the columns if sorted, as
    in scikit-learn.
    """
    refuse_masked(y_pred, "An array to measure")
    truth, scores = labels_of(y_true), np.asarray(y_pred)
    scores = np.asarray(scores, np.result_type(scores, np.float32))
    scores = class_probabilities(scores.reshape(-1, 1) if scores.ndim < 2 else scores)
    if truth.dtype.kind in "OU" and all(isinstance(label, str) for label in truth):
        classes, codes = np.unique(truth, return_inverse=True)
        truth = codes if len(classes) == scores.shape[1] else truth
    if truth.dtype.kind != "i" or truth.max(initial=0) >= scores.shape[1]:
        raise InvalidInputError(
            "This metric needs class codes from 0, or texts of all classes, and one column of scores for each class in "
            f"sorted order (or one column for two classes); the predictions have shape {np.shape(y_pred)}."
        )
    return _kept(truth, scores, sample_weight)


def count_classes(y_true: Array, y_pred: Array, truth: IntArray, guess: IntArray) -> int:
    """Return the number of classes that the columns and the codes speak of, at least 2."""
    columns = max(np.shape(y)[1] if np.ndim(y) > 1 else 1 for y in (y_true, y_pred))
    return max(columns, 2, int(truth.max(initial=0)) + 1, int(guess.max(initial=0)) + 1)


def _kept(truth: Array, guess: Array, sample_weight: Array | None) -> tuple[Array, Array, Array | None]:
    if len(truth) != len(guess):
        raise InvalidInputError(f"There are {len(truth)} targets for {len(guess)} predictions.")
    weights = weights_of(sample_weight, len(truth))
    if weights is None:
        return truth, guess, None
    # A class that has only rows of weight 0 is not there: it must not count in a mean over the classes.
    counts = weights > 0
    return truth[counts], guess[counts], weights[counts]
