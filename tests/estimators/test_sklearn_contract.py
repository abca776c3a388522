"""The checks of scikit-learn for estimators, with no expected failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator, parametrize_with_checks

from chainrule import MLPClassifier, MLPRegressor, TablePreprocessor

pytestmark = pytest.mark.filterwarnings("ignore")  # some checks fit for five epochs, others divide by zero


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_scikit_learns_checks_of_the_preprocessor() -> None:
    results = check_estimator(TablePreprocessor(), on_skip=None)
    assert len(results) > 40
    assert {result["check_name"] for result in results if result["status"] != "passed"} <= {"check_array_api_input"}


def test_no_check_of_scikit_learns_own_classes_is_left_out() -> None:
    from sklearn.neural_network import MLPClassifier as TheirClassifier
    from sklearn.neural_network import MLPRegressor as TheirRegressor

    for ours, theirs in ((MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)):
        names = [
            {getattr(check, "func", check).__name__ for _, check in estimator_checks_generator(cls(), legacy=True)}
            for cls in (ours, theirs)
        ]
        assert names[1] <= names[0]
