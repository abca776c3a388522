"""The yardsticks: known answers, scikit-learn's answers, sparse inputs, and bounded work."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score

from chainrule import baselines
from chainrule.baselines import measure_baselines
from chainrule.data import Dataset, Target
from chainrule.errors import InvalidInputError
from chainrule.model import TargetScaling


def clouds(n_rows: int, n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, n_classes, n_rows)
    return rng.normal(size=(n_rows, 6)) + np.eye(6)[codes] * 1.5, codes


@pytest.mark.parametrize("n_classes", [2, 4])
def test_logistic_regression_is_that_of_scikit_learn(n_classes: int) -> None:
    (X, y), (X_test, y_test) = clouds(300, n_classes, 0), clouds(150, n_classes, 1)
    target = Target.detect(y)
    found = {one.name: one for one in measure_baselines(Dataset(X, y), Dataset(X_test, y_test, target=target))}
    expected = accuracy_score(y_test, LogisticRegression().fit(X, y).predict(X_test))
    assert found["logistic regression"].metrics["accuracy"] == pytest.approx(expected)
    assert found["logistic regression"].note == ""


def test_the_majority_class_scores_its_share() -> None:
    training = Dataset(np.zeros((10, 1)), ["a"] * 7 + ["b"] * 3)
    test = Dataset(np.zeros((4, 1)), ["a", "b", "b", "b"], target=training.target)
    majority = measure_baselines(training, test)[0]
    assert majority.name == "majority class"
    assert majority.metrics["accuracy"] == 0.25
    assert majority.metrics["log_loss"] == pytest.approx(-(np.log(0.7) + 3 * np.log(0.3)) / 4)
    assert majority.metrics["roc_auc"] == 0.5


def test_ridge_and_mean_speak_in_the_units_of_the_target() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = 1e5 + 3e4 * X[:, 0] + 1e3 * rng.normal(size=200)
    scaling = TargetScaling.learn(y[:150])
    training = Dataset(X[:150], scaling.apply(y[:150]))
    mean, ridge = measure_baselines(training, Dataset(X[150:], y[150:]), scaling=scaling)
    expected = np.sqrt(np.mean((y[150:] - y[:150].mean()) ** 2))
    assert mean.metrics["root_mean_squared_error"] == pytest.approx(expected)
    by_hand = Ridge(alpha=1.0).fit(X[:150], y[:150]).predict(X[150:])
    assert ridge.metrics["r2"] == pytest.approx(r2_score(y[150:], by_hand), abs=1e-9)


@pytest.mark.parametrize("task", ["classes", "numbers"])
def test_sparse_rows_give_what_dense_rows_give(task: str) -> None:
    X, codes = clouds(200, 3, 0)
    X[np.random.default_rng(0).random(X.shape) < 0.5] = 0
    y = codes if task == "classes" else X[:, 0] * 2 + codes + 0.5 * X[:, 1]
    dense, sparse = Dataset(X, y), Dataset(csr_matrix(X), y)
    for one, other in zip(measure_baselines(dense, dense), measure_baselines(sparse, sparse), strict=True):
        assert one.metrics == pytest.approx(other.metrics, rel=1e-4)


def test_of_large_data_a_part_is_used_and_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 120)
    X, y = clouds(500, 3, 0)
    found = measure_baselines(Dataset(X, y), Dataset(X, y), seed=4)
    assert found[1].note == "logistic regression was fitted to 120 of the 500 rows"
    assert found == measure_baselines(Dataset(X, y), Dataset(X, y), seed=4)
    assert found[1].metrics["accuracy"] > 0.5


def test_a_part_of_very_unequal_classes_still_has_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_ROWS", 3)
    y = np.zeros(400, dtype=int)
    y[0] = 1
    X = np.arange(400.0).reshape(-1, 1)
    assert measure_baselines(Dataset(X, y), Dataset(X, y))[1].metrics["accuracy"] >= 0.99


def test_a_class_without_training_rows_has_probability_zero() -> None:
    target = Target("multiclass", ("a", "b", "c"))
    training = Dataset([[0.0], [1.0], [0.1], [0.9]], ["a", "b", "a", "b"], target=target)
    test = Dataset([[0.0], [1.0]], ["a", "b"], target=target)
    assert measure_baselines(training, test)[1].metrics["accuracy"] == 1.0


def test_rows_without_targets_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="targets"):
        measure_baselines(Dataset([[1.0]]), Dataset([[1.0]]))
