"""Scorers of scikit-learn as metrics of a network."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import get_scorer

from chainrule.callbacks import Callback, TrainingRun
from chainrule.data.dataset import Dataset
from chainrule.estimators.outputs import ClassColumns, Outputs
from chainrule.fit_data import validation_rows
from chainrule.metrics import METRICS, Metric
from chainrule.types import Array

__all__ = ["MeasureRows", "exact_matches", "metrics_for", "without_scorers"]


def metrics_for(scoring: Any, estimator: Any, outputs: Outputs) -> list[Metric]:
    """Return the metrics that ``scoring`` stands for: names of metrics, or scorers and their names, one or several.

    ``None`` is the score of the estimator. "loss" needs no metric, since the loss is recorded anyway.
    """
    if scoring is None and isinstance(outputs, ClassColumns):
        return [Metric("accuracy", ScorerOnOutputs(exact_matches, estimator, outputs))]
    if scoring is None:
        scoring = "r2" if outputs.classes is None else "accuracy"
    given = scoring if isinstance(scoring, list | tuple) else [scoring]
    return [_metric_for(one, estimator, outputs) for one in given if one != "loss"]


def exact_matches(estimator: Any, X: Any, y: Array, sample_weight: Array | None = None) -> float:
    """Return the share of the rows in which all columns are right, for several columns of classes."""
    return float(np.average((estimator.predict(X) == y).all(axis=1), weights=sample_weight))


def without_scorers(metrics: tuple[Metric, ...]) -> tuple[Metric, ...]:
    """Return the metrics that a model file can name."""
    return tuple(metric for metric in metrics if METRICS.get(metric.name) == metric)


def _metric_for(scoring: Any, estimator: Any, outputs: Outputs) -> Metric:
    has_label_columns = outputs.classes is not None and not outputs.target.classes
    in_units = outputs.scaling is None or scoring == "r2"  # which does not depend on the units
    if isinstance(scoring, str) and scoring in METRICS and not has_label_columns and in_units:
        return METRICS[scoring]
    if isinstance(scoring, Metric):
        return scoring
    name = scoring if isinstance(scoring, str) else _name_of(scoring)
    return Metric(name, ScorerOnOutputs(get_scorer(scoring), estimator, outputs))


def _name_of(scorer: Any) -> str:
    function = getattr(scorer, "_score_func", scorer)
    return str(getattr(function, "__name__", type(scorer).__name__))


class _Predicted(BaseEstimator):  # type: ignore[misc]
    """An estimator that takes the predictions of a network in place of X."""

    def __init__(self, estimator: Any, outputs: Outputs) -> None:
        self.estimator, self.outputs = estimator, outputs
        self.classes_ = outputs.classes

    def predict(self, X: Array) -> Array:
        return self.outputs.labels_of(X)

    def predict_proba(self, X: Array) -> Array:
        return self.outputs.probabilities_of(X)

    def __sklearn_tags__(self) -> Any:
        return self.estimator.__sklearn_tags__()


class MeasureRows(Callback):
    """Measures further rows after every epoch by the first metric of the network; :attr:`scores` has the values."""

    watches_network: ClassVar[bool] = False

    scores: list[float]

    def __init__(self, data: Dataset) -> None:
        self.watches_every_batch = False
        self.scores = []
        self._data = data

    def on_fit_start(self, run: TrainingRun) -> None:
        """Check the rows."""
        self._rows = validation_rows(run.stack, run.plan, self._data, self._data.target)

    def on_epoch_end(self, run: TrainingRun) -> None:
        """Measure the rows."""
        for metric in run.metrics[:1]:
            outputs = run.session.evaluate(*self._rows).predictions
            self.scores.append(metric(self._rows.targets, run.plan.loss.predictions_of(outputs), self._rows.weights))


class ScorerOnOutputs:
    """A scorer ``scorer(estimator, X, y)`` as a function of the targets and predictions of a network."""

    def __init__(self, scorer: Any, estimator: Any, outputs: Outputs) -> None:
        self._scorer, self._outputs, self._estimator = scorer, outputs, _Predicted(clone(estimator), outputs)

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the score."""
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return float(self._scorer(self._estimator, y_pred, self._outputs.labels_of(y_true), **weights))
