"""The metrics against scikit-learn, in every form that targets and predictions may have."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as sklearn_metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import metrics
from chainrule.errors import InvalidInputError
from chainrule.metrics import METRICS, Metric, confusion_matrix, default_metrics, find_metric
from chainrule.types import Array

REGRESSION = {
    "mean_squared_error": sklearn_metrics.mean_squared_error,
    "mean_absolute_error": sklearn_metrics.mean_absolute_error,
    "root_mean_squared_error": lambda y, p, **kw: np.sqrt(sklearn_metrics.mean_squared_error(y, p, **kw)),
    "r2": sklearn_metrics.r2_score,
}
OF_LABELS = {
    "accuracy": sklearn_metrics.accuracy_score,
    "balanced_accuracy": sklearn_metrics.balanced_accuracy_score,
    "precision": sklearn_metrics.precision_score,
    "recall": sklearn_metrics.recall_score,
    "f1": sklearn_metrics.f1_score,
}
AVERAGES = {
    f"{name}_{average}": functools.partial(OF_LABELS[name], average=average, zero_division=0)
    for name in ("precision", "recall", "f1")
    for average in ("macro", "micro", "weighted")
}


def calibration_error(y: Array, p: Array, sample_weight: Array | None = None) -> float:
    """The expected calibration error, bin by bin."""
    p = np.stack([1 - p, p], 1) if p.ndim == 1 else p
    weights, chosen, total = np.ones(len(y)) if sample_weight is None else sample_weight, p.argmax(1), 0.0
    for low in np.arange(15) / 15:
        inside = (p.max(1) >= low) & (p.max(1) < low + 1 / 15)
        if inside.any():
            right = np.average(chosen[inside] == y[inside], weights=weights[inside])
            total += weights[inside].sum() * abs(right - np.average(p.max(1)[inside], weights=weights[inside]))
    return total / weights.sum()


OF_PROBABILITIES = {
    "roc_auc": sklearn_metrics.roc_auc_score,
    "log_loss": sklearn_metrics.log_loss,
    "brier_score": sklearn_metrics.brier_score_loss,
    "expected_calibration_error": calibration_error,
}


def binary(seed: int = 0) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=60)
    return y, 1 / (1 + np.exp(-(y - 0.5 + rng.standard_normal(60)))), rng.uniform(0, 2, 60)


def multiclass(seed: int = 0, classes: int = 3) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=60)
    z = rng.standard_normal((60, classes)) + np.eye(classes)[y]
    return y, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rng.uniform(0, 2, 60)


def test_the_tables_have_every_metric() -> None:
    assert METRICS.keys() == {*REGRESSION, *OF_LABELS, *OF_PROBABILITIES, *AVERAGES}
    assert all(getattr(metrics, name) is metric.function for name, metric in METRICS.items() if name not in AVERAGES)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", REGRESSION)
def test_metrics_of_numbers_are_those_of_scikit_learn(name: str, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    for outputs in (1, 3):
        y, p = rng.standard_normal((2, 40, outputs))
        weights = rng.uniform(0, 2, 40) if weighted else None
        expected = REGRESSION[name](y, p, sample_weight=weights)
        assert METRICS[name](y, p, weights) == pytest.approx(expected, rel=1e-12)
    assert METRICS[name](y[:, 0], p[:, :1], weights) == METRICS[name](y[:, :1].tolist(), p[:, 0], weights)
    with pytest.raises(InvalidInputError, match="must be the same"):
        METRICS[name](y[:, 0], p)


def test_r2_of_a_constant_target_is_that_of_scikit_learn() -> None:
    constant, other = np.full(5, 2.0), np.arange(5.0)
    assert metrics.r2(constant, constant) == 1
    assert metrics.r2(constant, other) == 0
    both = np.stack([constant, other], axis=1)
    assert metrics.r2(both, both + 1) == sklearn_metrics.r2_score(both, both + 1)
    assert np.isnan(metrics.r2([1.0], [1.0]))


def test_r2_of_a_target_that_is_constant_but_for_rounding_is_that_of_a_constant() -> None:
    assert metrics.r2([0.1] * 7, [0.1] * 6 + [0.2]) == 0
    assert metrics.r2([0.1] * 7, [0.1] * 7) == 1
    assert metrics.r2([0.3, 0.1 + 0.2, 0.3], [0.3, 0.3, 0.3]) == 0
    assert metrics.r2([0.3, 0.1 + 0.2, 9.0], [0.3, 0.4, 9.0], [1, 1, 0]) == 0
    small = 1e-12 * np.arange(5)
    assert metrics.r2(1 + small, 1 + small[::-1]) == pytest.approx(-3, rel=1e-3), "small, but no rounding"
    assert metrics.r2(2.0**53 + np.arange(2.0), 2.0**53 + np.arange(2.0)) == 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OF_LABELS)
def test_metrics_of_labels_are_those_of_scikit_learn_in_every_form(name: str, weighted: bool) -> None:
    y, p, weights = binary()
    w = weights if weighted else None
    expected = OF_LABELS[name](y, p > 0.5, sample_weight=w)
    targets = (y, y.astype(bool), y.astype(np.float32)[:, None], np.eye(2)[y], y.tolist())
    predictions = (p, p[:, None].astype(np.float32), np.stack([1 - p, p], 1), (p > 0.5).astype(int), (p > 0.5) * 1.0)
    for target in targets:
        for prediction in predictions:
            assert METRICS[name](target, prediction, w) == pytest.approx(expected, rel=1e-12)

    y, p, weights = multiclass()
    w, labels = weights if weighted else None, p.argmax(axis=1)
    options = {"average": "macro"} if name in ("precision", "recall", "f1") else {}
    expected = OF_LABELS[name](y, labels, sample_weight=w, **options)
    for target in (y, y.astype(float), y[:, None], np.eye(3)[y]):
        for prediction in (p, p.astype(np.float32), labels, labels[:, None].astype(float)):
            assert METRICS[name](target, prediction, w) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", AVERAGES)
def test_averages_over_classes_are_those_of_scikit_learn(name: str, weighted: bool) -> None:
    for rows in (binary, multiclass):
        y, p, weights = rows()
        w = weights if weighted else None
        labels = p > 0.5 if p.ndim == 1 else p.argmax(axis=1)
        assert METRICS[name](y, p, w) == pytest.approx(AVERAGES[name](y, labels, sample_weight=w), rel=1e-12)
    words = np.array(["a", "b", "c"])
    expected = AVERAGES[name](words[[0, 1, 2, 1]], words[[0, 0, 2, 1]])
    assert METRICS[name](words[[0, 1, 2, 1]], words[[0, 0, 2, 1]]) == pytest.approx(expected)
    assert find_metric(pickle.loads(pickle.dumps(METRICS[name].function))) is METRICS[name]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", OF_PROBABILITIES)
def test_metrics_of_probabilities_are_those_of_scikit_learn_in_every_form(name: str, weighted: bool) -> None:
    y, p, weights = binary()
    w = weights if weighted else None
    expected = OF_PROBABILITIES[name](y, p, sample_weight=w)
    for target in (y, y.astype(float)[:, None], np.eye(2)[y]):
        for prediction in (p, p[:, None], np.stack([1 - p, p], 1)):
            assert METRICS[name](target, prediction, w) == pytest.approx(expected, rel=1e-12)
            assert METRICS[name](target, prediction.astype(np.float32), w) == pytest.approx(expected, rel=1e-5)

    y, p, weights = multiclass()
    if name != "roc_auc":
        expected = OF_PROBABILITIES[name](y, p, sample_weight=weights)
    else:
        expected = np.mean([sklearn_metrics.roc_auc_score(y == k, p[:, k], sample_weight=weights) for k in range(3)])
        assert metrics.roc_auc(y, p) == pytest.approx(sklearn_metrics.roc_auc_score(y, p, multi_class="ovr"))
    for target in (y, np.eye(3)[y]):
        assert METRICS[name](target, p, weights) == pytest.approx(expected, rel=1e-12)
        assert METRICS[name](target, p.astype(np.float32), weights) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), counts=st.lists(st.integers(0, 2), min_size=60, max_size=60))
def test_weights_count_rows(seed: int, counts: list[int]) -> None:
    rows = np.repeat(np.arange(60), counts)
    rng = np.random.default_rng(seed)
    y, p, _ = multiclass(seed)
    values, guesses = rng.standard_normal((2, 60, 2))
    if len(rows) > 1:
        for name, metric in METRICS.items():
            truth, guess = (values, guesses) if name in REGRESSION else (y, p)
            kept = metric(truth[rows], guess[rows])
            assert metric(truth, guess, np.array(counts)) == pytest.approx(kept, rel=1e-9, abs=1e-12, nan_ok=True)


def test_a_small_validation_set_gives_a_number_and_no_warning() -> None:
    y, p = [0, 0, 2], np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])  # class 1 predicted, not there
    for metric in METRICS.values():
        if "regression" not in metric.tasks:
            assert np.isfinite(metric(y, p))
    assert metrics.balanced_accuracy(y, p) == 0.75
    assert metrics.roc_auc(y, p) == (0.75 + 1) / 2
    for metric in (metrics.precision, metrics.recall, metrics.f1):
        assert metric([0, 0], [[0.1], [0.2]]) == 0
    assert np.isnan(metrics.roc_auc([1, 1], [0.2, 0.3]))


@pytest.mark.parametrize("name", METRICS)
def test_a_class_of_weight_0_is_not_there(name: str) -> None:
    y, weights = np.array([0, 1, 1, 0, 2]), np.array([1.0, 2, 1, 1, 0])
    p = np.array([[6, 3, 1], [2, 7, 1], [5, 4, 1], [2, 3, 5], [8, 1, 1]]) / 10
    truth, guess = (y, p[:, 0]) if name in REGRESSION else (y, p)
    assert METRICS[name](truth, guess, weights) == pytest.approx(METRICS[name](truth[:4], guess[:4], weights[:4]))


def test_names_as_labels() -> None:
    y, p = np.array(["no", "yes", "yes", "no"]), np.array(["no", "yes", "no", "no"], dtype=object)
    assert metrics.accuracy(y, p) == 0.75
    assert metrics.recall(y, p) == 0.5
    assert confusion_matrix(y, p).tolist() == [[2, 0], [1, 1]]
    assert metrics.f1(["a", "b", "c"], ["a", "b", "b"]) == pytest.approx((1 + 2 / 3 + 0) / 3)


@pytest.mark.parametrize("classes", [2, 3])
def test_scores_of_texts_are_in_sorted_order(classes: int) -> None:
    y, p, _ = multiclass(classes=classes)
    names = np.array(["cat", "dog", "eel"])[y]
    for metric in (metrics.log_loss, metrics.brier_score, metrics.roc_auc):
        assert metric(names, p) == metric(names.tolist(), p) == metric(y, p)
    with pytest.raises(InvalidInputError, match="texts of all classes"):
        metrics.log_loss(np.where(y == 0, "cat", "cat"), p)


def test_the_confusion_matrix_has_every_class() -> None:
    y, p, weights = multiclass()
    assert np.array_equal(confusion_matrix(y, p), sklearn_metrics.confusion_matrix(y, p.argmax(1)))
    expected = sklearn_metrics.confusion_matrix(y, p.argmax(1), sample_weight=weights)
    np.testing.assert_allclose(confusion_matrix(np.eye(3)[y], p, weights), expected)
    assert confusion_matrix([0, 0], np.eye(3)[[0, 1]]).tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert confusion_matrix([0, 0], [0, 0]).tolist() == [[2, 0], [0, 0]]


@pytest.mark.parametrize("name", METRICS)
def test_nan_predictions_make_the_metric_nan(name: str) -> None:
    assert np.isnan(METRICS[name]([0, 1, 1], [[0.2], [np.nan], [0.7]]))


@pytest.mark.parametrize("y_pred", [[[0.2], [np.nan], [0.7]], np.array([[0.2, 0.8], [np.nan, 0.5], [0.1, np.nan]])])
def test_nan_predictions_are_counted_as_no_class(y_pred: Any) -> None:
    matrix = confusion_matrix([0, 1, 1], y_pred)
    assert matrix.shape == (2, 2)
    assert np.isnan(matrix).all()


@pytest.mark.parametrize("metric", [*METRICS.values(), confusion_matrix])
@pytest.mark.parametrize("weights", [None, []])
def test_no_rows_are_refused(metric: Any, weights: Any) -> None:
    with pytest.raises(InvalidInputError, match="no rows"):
        metric([], [], weights)


def test_infinite_scores_are_ordered_like_any_other() -> None:
    assert metrics.accuracy([0, 1, 1], [-np.inf, np.inf, 0.2]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", METRICS)
def test_mistakes_are_named(name: str) -> None:
    y = np.array([0, 1, 1])
    with pytest.raises(InvalidInputError, match="predictions"):
        METRICS[name](y, np.array([[0.2], [0.7]]))
    for wrong, words in [(np.ones(2), "3 rows"), (np.zeros(3), "above 0"), (-np.ones(3), "above 0")]:
        with pytest.raises(InvalidInputError, match=words):
            METRICS[name](y, np.array([0.2, 0.7, 0.6]), wrong)


def test_scores_need_a_column_for_each_class() -> None:
    for metric in (metrics.roc_auc, metrics.log_loss):
        with pytest.raises(InvalidInputError, match="one column of scores for each class"):
            metric([0, 1, 2], [0, 1, 2])
        with pytest.raises(InvalidInputError, match="class codes"):
            metric(["a", "b", "c"], [0.2, 0.4, 0.6])


def test_metrics_are_found_by_name_function_or_themselves() -> None:
    for name, metric in METRICS.items():
        assert metric.name == name
        for named in (name, name.replace("_", "-").upper(), metric, metric.function):
            assert find_metric(named) is metric
    short = {"mse": "mean_squared_error", "MAE": "mean_absolute_error", "rmse": "root_mean_squared_error",
             "r2_score": "r2", "f1_score": "f1", "auc": "roc_auc"}  # fmt: skip
    assert {alias: find_metric(alias).name for alias in short} == short
    assert find_metric(metrics.rmse).name == "root_mean_squared_error"
    assert not find_metric("mse").greater_is_better
    assert find_metric("r2").greater_is_better
    with pytest.raises(InvalidInputError, match="Did you mean 'accuracy'"):
        find_metric("acuracy")
    wrong: Any = 3
    with pytest.raises(InvalidInputError, match="is no metric"):
        find_metric(wrong)


def test_a_users_own_metric() -> None:
    def bias(y_true: Array, y_pred: Array) -> Any:
        return np.mean(np.subtract(y_pred, y_true))

    found = find_metric(bias)
    assert (found.name, found.greater_is_better) == ("bias", True)
    assert found([1, 2], [2, 4]) == 1.5
    assert isinstance(found([1, 2], [2, 4]), float)
    bias.greater_is_better = False  # type: ignore[attr-defined]
    assert not find_metric(bias).greater_is_better
    weighted = find_metric(sklearn_metrics.mean_squared_error)
    assert weighted([1, 2], [1, 4], [1, 0]) == 0
    assert find_metric(Metric("own", bias, greater_is_better=False)).name == "own"


def test_what_is_followed_by_default() -> None:
    assert [metric.name for metric in default_metrics("binary")] == ["accuracy"]
    assert [metric.name for metric in default_metrics("multiclass")] == ["accuracy"]
    assert [metric.name for metric in default_metrics("regression")] == ["r2", "root_mean_squared_error"]
    for task in ("binary", "multiclass", "regression"):
        assert all(task in metric.tasks for metric in default_metrics(task))
    wrong: Any = "regresion"
    with pytest.raises(InvalidInputError, match="Did you mean 'regression'"):
        default_metrics(wrong)
