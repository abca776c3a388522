"""Metrics by name, with what is known of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from chainrule.errors import InvalidInputError, nearest_name
from chainrule.metrics.classification import (
    ClassAverage,
    accuracy,
    balanced_accuracy,
    brier_score,
    expected_calibration_error,
    f1,
    log_loss,
    precision,
    recall,
    roc_auc,
)
from chainrule.metrics.regression import mean_absolute_error, mean_squared_error, r2, root_mean_squared_error
from chainrule.named import checked, find_name
from chainrule.settings import CheckedSettings, Setting
from chainrule.types import Array, Task

__all__ = ["METRICS", "Metric", "MetricFunction", "default_metrics", "find_metric", "lower_is_better"]

MetricFunction: TypeAlias = Callable[..., float]

_EVERY_TASK: tuple[Task, ...] = ("binary", "multiclass", "multilabel", "regression")
_CLASSES: tuple[Task, ...] = ("binary", "multiclass")
_NUMBERS: tuple[Task, ...] = ("multilabel", "regression")


@checked
@dataclass(frozen=True)
class Metric(CheckedSettings):
    """A metric with its name, whether larger values are better, and the tasks that it is for."""

    name: str
    function: Annotated[MetricFunction, Setting("A function of (y_true, y_pred).")]
    greater_is_better: bool = True
    tasks: tuple[Task, ...] = _EVERY_TASK
    needs_probabilities: bool = False

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> float:
        """Return the metric; a function that knows no sample weights is called without them when there are none."""
        if sample_weight is None:
            return float(self.function(y_true, y_pred))
        return float(self.function(y_true, y_pred, sample_weight=sample_weight))


#: The metrics by name, as a dictionary of :class:`Metric`.
#:
#: :meta hide-value:
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, True, _CLASSES),
        Metric("balanced_accuracy", balanced_accuracy, True, _CLASSES),
        Metric("precision", precision, True, _CLASSES),
        Metric("recall", recall, True, _CLASSES),
        Metric("f1", f1, True, _CLASSES),
        Metric("roc_auc", roc_auc, True, _CLASSES, needs_probabilities=True),
        Metric("log_loss", log_loss, False, _CLASSES, needs_probabilities=True),
        Metric("brier_score", brier_score, False, _CLASSES, needs_probabilities=True),
        Metric("expected_calibration_error", expected_calibration_error, False, _CLASSES, needs_probabilities=True),
        Metric("mean_squared_error", mean_squared_error, False, _NUMBERS),
        Metric("mean_absolute_error", mean_absolute_error, False, _NUMBERS),
        Metric("root_mean_squared_error", root_mean_squared_error, False, _NUMBERS),
        Metric("r2", r2, True, _NUMBERS),
        *(
            Metric(f"{score}_{average}", ClassAverage(score, average), True, _CLASSES)
            for score in ("precision", "recall", "f1")
            for average in ("macro", "micro", "weighted")
        ),
    )
}


@checked
def find_metric(given: str | Metric | MetricFunction) -> Metric:
    """Return the metric for a name, a function of this module, a Metric, or a user-defined function.

    A user-defined function is called as ``function(y_true, y_pred)``, and with ``sample_weight=`` if there are weights.
    If smaller values are better, set its attribute ``greater_is_better = False``.

    >>> find_metric("mse").name
    'mean_squared_error'
    """
    if isinstance(given, Metric):
        return given
    if isinstance(given, str):
        return METRICS[find_name("metric", given, {name: metric.function for name, metric in METRICS.items()})]
    if not callable(given):
        raise InvalidInputError(f"{given!r} is no metric; give a name, a function of (y_true, y_pred), or a Metric.")
    for metric in METRICS.values():
        if metric.function is given or (isinstance(given, ClassAverage) and metric.function == given):
            return metric
    name = getattr(given, "__name__", type(given).__name__)
    return Metric(name, given, bool(getattr(given, "greater_is_better", True)))


def lower_is_better(quantity: str, metrics: Iterable[Metric]) -> bool:
    """Return whether smaller values of a quantity of the history are better, in a fit with these metrics."""
    name = quantity.removeprefix("validation_")
    return not any(metric.name == name and metric.greater_is_better for metric in metrics)


@checked
def default_metrics(task: Task) -> tuple[Metric, ...]:
    """Return the metrics of a task if none are given: accuracy for classes, R^2 and RMSE for numbers."""
    if task not in _EVERY_TASK:
        raise InvalidInputError(
            f"There is no task called '{task}'.{nearest_name(str(task), _EVERY_TASK)} "
            f"Known are: {', '.join(_EVERY_TASK)}."
        )
    of_task = {"multilabel": ("mean_squared_error",), "regression": ("r2", "root_mean_squared_error")}
    return tuple(METRICS[name] for name in of_task.get(task, ("accuracy",)))
