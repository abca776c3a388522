"""The estimators inside the meta-estimators, searches, displays and callbacks of scikit-learn."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import sklearn
from joblib import dump, load
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.inspection import DecisionBoundaryDisplay, PartialDependenceDisplay, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    LearningCurveDisplay,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    ValidationCurveDisplay,
    cross_val_predict,
    cross_validate,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import chainrule
from chainrule import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # joblib's processes are forked where PyTorch has threads
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

X, Y = make_classification(160, 5, n_informative=4, n_redundant=0, class_sep=2.0, random_state=1)
Y3 = make_classification(160, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=1)[1]
XR, YR = make_regression(160, 5, random_state=0)
YR = YR / YR.std()

ENGINES = ["numpy", "torch"]


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**{"hidden_layer_sizes": (6,), "max_iter": 25, "learning_rate_init": 0.02, "random_state": 0,
                            **settings})  # fmt: skip


def regressor(**settings: Any) -> MLPRegressor:
    return MLPRegressor(**{"hidden_layer_sizes": (6,), "max_iter": 40, "learning_rate_init": 0.02, "random_state": 0,
                           **settings})  # fmt: skip


Make = Callable[[Any], BaseEstimator]

CLASSIFIERS: dict[str, Make] = {
    "bagging": lambda one: BaggingClassifier(one, n_estimators=3, random_state=0),
    "AdaBoost": lambda one: AdaBoostClassifier(one, n_estimators=3, random_state=0),
    "hard voting": lambda one: VotingClassifier([("a", one), ("b", LogisticRegression())]),
    "soft voting": lambda one: VotingClassifier([("a", one), ("b", LogisticRegression())], voting="soft"),
    "stacking": lambda one: StackingClassifier([("a", one), ("b", LogisticRegression())], cv=2),
    "temperature": lambda one: CalibratedClassifierCV(one, method="temperature", cv=2),
    "sigmoid": lambda one: CalibratedClassifierCV(one, method="sigmoid", cv=2, ensemble=False),
    "one against the rest": OneVsRestClassifier,
    "one against one": OneVsOneClassifier,
    "pipeline": lambda one: make_pipeline(StandardScaler(), one),
    "grid": lambda one: GridSearchCV(one, {"hidden_layer_sizes": [(4,), (4, 3)], "dropout": [0.0, 0.1]}, cv=2),
    "random": lambda one: RandomizedSearchCV(
        one.set_params(hidden_layer_sizes=(100,)), {"width": [3, 5], "n_layers": [1, 2]}, n_iter=2, cv=2, random_state=0
    ),
    "halving": lambda one: HalvingGridSearchCV(
        one, {"alpha": [1e-3, 1.0, 10.0]}, resource="max_iter", max_resources=20, cv=2, random_state=0
    ),
    "frozen": lambda one: FrozenEstimator(one.fit(X, Y)),
    "threshold": lambda one: TunedThresholdClassifierCV(one, cv=2),
    "fixed threshold": lambda one: FixedThresholdClassifier(one, threshold=0.4),
}  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers_of_classifiers(name: str, engine: str) -> None:
    wrapper = CLASSIFIERS[name](classifier(engine=engine)).fit(X, Y)
    assert wrapper.score(X, Y) > 0.75
    assert set(np.unique(wrapper.predict(X))) <= {0, 1}
    if hasattr(wrapper, "predict_proba"):
        np.testing.assert_allclose(wrapper.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("name", ["bagging", "AdaBoost", "soft voting", "temperature", "one against one", "pipeline"])
def test_classifiers_of_classifiers_of_three_classes(name: str) -> None:
    wrapper = CLASSIFIERS[name](classifier()).fit(X, np.array(["a", "b", "c"])[Y3])
    assert wrapper.predict(X).dtype.kind in "UO"
    assert wrapper.predict_proba(X).shape == (160, 3) if hasattr(wrapper, "predict_proba") else True


REGRESSORS: dict[str, Make] = {
    "bagging": lambda one: BaggingRegressor(one, n_estimators=3, random_state=0),
    "AdaBoost": lambda one: AdaBoostRegressor(one, n_estimators=3, random_state=0),
    "voting": lambda one: VotingRegressor([("a", one), ("b", Ridge())]),
    "stacking": lambda one: StackingRegressor([("a", one), ("b", Ridge())], cv=2),
    "transformed": lambda one: TransformedTargetRegressor(one, transformer=StandardScaler()),
    "grid": lambda one: GridSearchCV(one, {"solver": ["adam", "lbfgs"], "activation": ["tanh", ["selu"]]}, cv=2),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors_of_regressors(name: str, engine: str) -> None:
    wrapper = REGRESSORS[name](regressor(engine=engine)).fit(XR, YR)
    assert wrapper.score(XR, YR) > 0.7


def test_one_estimator_for_each_output() -> None:
    y = np.column_stack([Y, Y3 > 0])
    assert MultiOutputClassifier(classifier()).fit(X, y).predict(X).shape == (160, 2)
    assert ClassifierChain(classifier()).fit(X, y).predict(X).shape == (160, 2)
    numbers = np.column_stack([YR, YR**2])
    assert MultiOutputRegressor(regressor()).fit(XR, numbers).predict(XR).shape == (160, 2)


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_cross_validation_returns_fitted_estimators(n_jobs: int) -> None:
    result = cross_validate(classifier(dropout=0.1), X, Y, cv=2, return_estimator=True, n_jobs=n_jobs)
    for one in result["estimator"]:
        assert one.predict(X).shape == (160,)
        assert one.n_iter_ == 25
    assert result["test_score"].mean() > 0.7
    assert cross_val_predict(classifier(), X, Y, cv=2, method="predict_log_proba").shape == (160, 2)


def test_a_fitted_estimator_goes_through_joblib(tmp_path: Any) -> None:
    fitted = classifier().fit(X, Y)
    dump(fitted, tmp_path / "classifier.joblib")
    for mode in (None, "r"):
        np.testing.assert_array_equal(
            load(tmp_path / "classifier.joblib", mmap_mode=mode).predict_proba(X), fitted.predict_proba(X)
        )


def test_permutation_importance_finds_the_column_that_counts() -> None:
    fitted = regressor(max_iter=200).fit(XR, XR[:, 2])
    importance = permutation_importance(fitted, XR, XR[:, 2], n_repeats=2, random_state=0).importances_mean
    assert importance.argmax() == 2


@pytest.fixture
def no_display() -> Iterator[None]:
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    matplotlib.pyplot.close("all")
    matplotlib.use(before)


@pytest.mark.usefixtures("no_display")
@pytest.mark.filterwarnings("ignore:.*Glyph.*:UserWarning")
def test_displays() -> None:
    frame = pd.DataFrame(X, columns=[*"abcde"])
    PartialDependenceDisplay.from_estimator(classifier().fit(frame, Y), frame, ["a", ("b", "c")], grid_resolution=5)
    PartialDependenceDisplay.from_estimator(regressor().fit(XR, YR), XR, [0], kind="both", grid_resolution=5)
    for y in (Y, Y3):
        DecisionBoundaryDisplay.from_estimator(classifier().fit(X[:, :2], y), X[:, :2], grid_resolution=5)
    LearningCurveDisplay.from_estimator(classifier(), X, Y, cv=2, train_sizes=[0.3, 1.0])
    ValidationCurveDisplay.from_estimator(classifier(), X, Y, param_name="alpha", param_range=[1e-3, 1.0], cv=2)


# Metadata routing -----------------------------------------------------------------------------------------------------


@pytest.fixture
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.mark.usefixtures("routing")
def test_weights_and_validation_rows_are_routed_through_a_pipeline_and_a_search() -> None:
    one = classifier(early_stopping=True).set_fit_request(
        sample_weight=True, X_val=True, y_val=True, sample_weight_val=True
    )
    one.set_score_request(sample_weight=True)
    pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), one, transform_input=["X_val"])
    rows = {"X_val": 100 * X[:40] + 7, "y_val": Y[:40], "sample_weight_val": np.ones(40)}
    fitted = pipeline.fit(100 * X + 7, Y, sample_weight=np.ones(160), **rows)
    inner = fitted[-1]
    assert max(inner.validation_scores_) > 0.8, "the validation rows were standardised as the others"
    by_hand = classifier(early_stopping=True).fit(
        fitted[0].transform(100 * X + 7), Y, X_val=fitted[0].transform(rows["X_val"]), y_val=rows["y_val"]
    )
    np.testing.assert_allclose(inner.validation_loss_curve_, by_hand.validation_loss_curve_)
    search = GridSearchCV(pipeline, {"mlpclassifier__alpha": [1e-3, 1.0]}, cv=2)
    search.fit(100 * X + 7, Y, sample_weight=np.ones(160), **rows)
    assert search.best_estimator_[-1].validation_loss_curve_ is not None
    assert search.score(100 * X + 7, Y) > 0.8


# Callbacks of scikit-learn --------------------------------------------------------------------------------------------

has_callbacks = pytest.mark.skipif(
    importlib.util.find_spec("sklearn.callback") is None, reason="scikit-learn has callbacks from version 1.9 on"
)


@has_callbacks
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_scoring_monitor_sees_every_epoch(make: Any, engine: str) -> None:
    from sklearn.callback import ScoringMonitor

    rows, y = (X, Y) if make is classifier else (XR, YR)
    monitor = ScoringMonitor(scoring="accuracy" if make is classifier else "r2")
    fitted = make(max_iter=6, engine=engine, callbacks=None).set_callbacks(monitor).fit(pd.DataFrame(rows), y)
    log = monitor.get_logs().data_as_pandas
    scores = log[log["task_name"] == "epoch"].iloc[:, -1]
    assert len(scores) == fitted.n_iter_ == 6
    assert scores.iloc[-1] == pytest.approx(fitted.score(pd.DataFrame(rows), y))
    assert not hasattr(fitted, "_callback_fit_ctx")


@has_callbacks
@pytest.mark.parametrize("engine", ENGINES)
def test_monitors_and_progress_bars_go_through_a_search(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="neg_log_loss")
    one = classifier(max_iter=4, engine=engine).set_callbacks(monitor)
    search = GridSearchCV(one, {"alpha": [1e-3, 1.0]}, cv=2).set_callbacks(ProgressBar()).fit(X, Y, sample_weight=None)
    log = monitor.get_logs().data_as_pandas
    assert len(log[log["task_name"] == "epoch"]) == 4 * (2 * 2 + 1)
    assert search.best_estimator_.n_iter_ == 4
    assert "MLPClassifier" in capsys.readouterr().out


@has_callbacks
def test_a_callback_of_scikit_learn_may_stop_the_fit() -> None:
    class Stop:
        def setup(self, estimator: Any, context: Any) -> None: ...

        def teardown(self, estimator: Any, context: Any) -> None: ...

        def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

        def on_fit_task_end(self, estimator: Any, context: Any) -> bool:
            return context.task_name == "epoch" and context.task_id == 2

    fitted = classifier().set_callbacks(Stop()).fit(X, Y)
    assert fitted.n_iter_ == 3
    assert fitted.stop_reason_ == "a callback of scikit-learn stopped the fit"


def test_without_callbacks_in_scikit_learn_estimators_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before version 1.9."""
    monkeypatch.setitem(sys.modules, "sklearn.callback", None)
    monkeypatch.setattr(chainrule, "estimators", importlib.import_module("chainrule.estimators"))  # restored afterwards
    for name in [name for name in sys.modules if name.startswith("chainrule.estimators")]:
        monkeypatch.delitem(sys.modules, name)
    older = importlib.import_module("chainrule.estimators")
    assert older.MLPClassifier is not MLPClassifier
    fitted = older.MLPClassifier((6,), max_iter=3, random_state=0).fit(X, Y)
    assert not hasattr(fitted, "set_callbacks")
    np.testing.assert_array_equal(
        fitted.predict_proba(X), classifier(max_iter=3, learning_rate_init=0.001).fit(X, Y).predict_proba(X)
    )
