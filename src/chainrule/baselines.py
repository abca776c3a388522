"""Baselines: simple models on the same inputs, with which the metrics of a network are compared."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.data.target import Target
from chainrule.data.weights import weights_of_rows
from chainrule.errors import InvalidInputError
from chainrule.model import TargetScaling, measure
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["Baseline", "measure_baselines"]

# The maximum number of non-zero inputs times outputs that logistic regression is fitted to, which takes some seconds.
MAX_WORK = 6e7
MAX_ROWS = 20_000
LOGISTIC_ITERATIONS = 100


@dataclass(frozen=True)
class Baseline:
    """A simple model and its metrics on the test rows. ``note`` says if it was fitted to a sample of the rows."""

    name: str
    metrics: dict[str, float]
    note: str = ""


def measure_baselines(
    training: Dataset,
    test: Dataset,
    *,
    scaling: TargetScaling | None = None,
    seed: int = 0,
    n_rows: int | None = None,
) -> tuple[Baseline, ...]:
    """Fit the baselines to the training set and evaluate them on the test set.

    The baselines of a classification are the most frequent class, with the shares of the classes as probabilities, and
    logistic regression. Those of a regression are the mean and ridge regression. ``scaling`` is the scaling of the
    training targets; the targets of ``test`` are not scaled. To limit the time, logistic regression is fitted to a
    sample of large data, which depends on ``seed``. If ``training`` is a sample, ``n_rows`` is the number of all rows.
    """
    target = training.target
    if target is None or training.y is None or test.y is None:
        raise InvalidInputError("Baselines need a training set and a test set with targets.")
    baselines, test_weights = [], weights_of_rows(test.sample_weight)
    n_rows = training.n_rows if n_rows is None else n_rows
    for name, outputs, n_fitted in _outputs(training, test.X, target, seed):
        predictions = outputs if scaling is None else scaling.undo(outputs)
        note = "" if n_fitted == n_rows else f"{name} was fitted to {n_fitted:,} of the {n_rows:,} rows"
        baselines.append(Baseline(name, measure(target.task, test.y, predictions, test_weights), note))
    return tuple(baselines)


def _outputs(training: Dataset, X: Inputs, target: Target, seed: int) -> Iterator[tuple[str, Array, int]]:
    """Yield the name of each baseline, its outputs, and the number of rows that it was fitted to."""
    assert training.y is not None
    n_rows = X.shape[0]
    if target.task == "regression":
        columns = training.y.reshape(training.n_rows, -1)
        mean = np.average(columns, axis=0, weights=weights_of_rows(training.sample_weight))
        yield "mean", np.tile(mean, (n_rows, 1)), training.n_rows
        yield "ridge regression", _ridge(training, columns, X), training.n_rows
        return
    shares = np.bincount(training.y, weights=weights_of_rows(training.sample_weight), minlength=len(target.classes))
    yield "majority class", _as_outputs(np.tile(shares / shares.sum(), (n_rows, 1)), target), training.n_rows
    if np.count_nonzero(shares) < 2:
        return  # the sample of a stream may have only one class
    rows = _rows_to_fit(training, target, seed)
    part = training if rows is None else training.take(rows)
    yield "logistic regression", _as_outputs(_logistic(part, X, len(target.classes)), target), part.n_rows


def _ridge(training: Dataset, y: Array, X: Inputs) -> Array:
    from sklearn.linear_model import Ridge

    # The iterative solver is faster for sparse matrices and for many columns.
    solver = "lsqr" if is_sparse(training.X) or training.n_features > 2000 else "auto"
    model = Ridge(alpha=1.0, solver=solver).fit(training.X, y, sample_weight=weights_of_rows(training.sample_weight))
    return np.asarray(model.predict(X), np.float64).reshape(X.shape[0], -1)


def _logistic(training: Dataset, X: Inputs, n_classes: int) -> Array:
    """Return the probabilities (rows, classes). Classes without training rows have probability 0."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a baseline need not be exact
        model = LogisticRegression(max_iter=LOGISTIC_ITERATIONS)
        model.fit(training.X, training.y, sample_weight=weights_of_rows(training.sample_weight))
    probabilities = np.zeros((X.shape[0], n_classes))
    probabilities[:, model.classes_] = model.predict_proba(X)
    # The probabilities for float32 inputs sum to 1 only with the accuracy of float32.
    return np.asarray(probabilities / probabilities.sum(axis=1, keepdims=True))


def _rows_to_fit(training: Dataset, target: Target, seed: int) -> Array | None:
    """Return the rows that logistic regression is fitted to; None for all rows."""
    assert training.y is not None
    cells = training.X.nnz if is_sparse(training.X) else training.X.size
    work_per_row = max(1.0, cells / training.n_rows * target.n_outputs)
    n_rows = int(min(training.n_rows, MAX_ROWS, max(MAX_WORK / work_per_row, 1000)))
    if n_rows == training.n_rows:
        return None
    rows = np.sort(np.random.default_rng(seed).choice(training.n_rows, n_rows, replace=False))
    if len(np.unique(training.y[rows])) < 2:  # add the first row of every class
        rows = np.union1d(rows, np.unique(training.y, return_index=True)[1])
    return np.asarray(rows)


def _as_outputs(probabilities: Array, target: Target) -> Array:
    """Return probabilities in the form of a network's outputs: one column for two classes."""
    return probabilities[:, 1:] if target.task == "binary" else probabilities
