"""What scikit-learn's MLP does with the same parameters, ours does too: parameters, objective, stopping, attributes."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.neural_network as theirs
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler

import chainrule
from chainrule.types import Array

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def data_for(kind: str) -> tuple[str, Array, Array]:
    """The name of the class to use, inputs and targets; fewer than 200 rows are one batch."""
    if kind == "labels":
        X, y = make_multilabel_classification(150, 6, n_classes=4, random_state=0)
    elif kind in ("classes", "two classes"):
        X, y = load_iris(return_X_y=True)
        X, y = (X, y) if kind == "classes" else (X, np.where(y == 2, "virginica", "other"))
    else:
        X, y = (part[:150] for part in load_diabetes(return_X_y=True))
        y = np.column_stack([y, y**2]) if kind == "numbers" else y
        y = StandardScaler().fit_transform(y.reshape(len(y), -1)) if kind != "counts" else np.round(y / 50)[:, None]
        y = y if kind == "numbers" else y[:, 0]
    name = "MLPRegressor" if kind in ("number", "numbers", "counts") else "MLPClassifier"
    return name, StandardScaler().fit_transform(X), y


# Adam's epsilon is added in two ways that agree where it is small; nothing is shuffled in full batches.
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {"epsilon": 1e-16, "alpha": 0.01},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05, "alpha": 0.05},
    "plain sgd": {"solver": "sgd", "learning_rate_init": 0.05, "momentum": 0.0},
    "old momentum": {"solver": "sgd", "learning_rate_init": 0.05, "nesterovs_momentum": False},
    "tanh": {"activation": "tanh", "epsilon": 1e-16, "hidden_layer_sizes": (8, 5)},
    "logistic": {"activation": "logistic", "solver": "sgd", "learning_rate_init": 0.1, "hidden_layer_sizes": 7},
    "adam of other decay": {"epsilon": 1e-16, "beta_1": 0.8, "beta_2": 0.9},
}


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "number", "numbers"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_the_same_steps_are_taken(settings: str, kind: str, weighted: bool) -> None:
    """In full batches: the same initial weights, objective, updates and number of epochs."""
    name, X, y = data_for(kind)
    weights = np.random.default_rng(0).uniform(0.2, 3, len(y)) if weighted else None
    # Of several numbers, scikit-learn minimises the sum of the losses, but it reports, and stops by, their mean.
    tol = 0 if kind == "numbers" else 1e-3
    pair = [
        getattr(module, name)(max_iter=60, random_state=3, tol=tol, **SETTINGS[settings]).fit(X, y, weights)
        for module in (theirs, chainrule)
    ]
    their, our = pair
    assert our.n_iter_ == their.n_iter_
    for ours, other in zip(our.coefs_ + our.intercepts_, their.coefs_ + their.intercepts_, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-6, atol=1e-8)
    predictions = [getattr(one, "predict_proba", one.predict)(X) for one in pair]
    np.testing.assert_allclose(predictions[1], predictions[0], rtol=1e-6, atol=1e-8)
    if kind != "numbers":
        # The penalty that scikit-learn reports is that before the step.
        np.testing.assert_allclose(our.loss_curve_, their.loss_curve_, rtol=2e-3)
    for attribute in ("out_activation_", "n_layers_", "n_outputs_", "t_", "n_features_in_", "validation_scores_"):
        assert getattr(our, attribute) == getattr(their, attribute), attribute


def test_counts_are_learnt_by_the_same_steps() -> None:
    name, X, y = data_for("counts")
    pair = [
        getattr(module, name)(loss="poisson", max_iter=40, random_state=0, solver="sgd").fit(X, y)
        for module in (theirs, chainrule)
    ]
    np.testing.assert_allclose(pair[1].predict(X), pair[0].predict(X), rtol=1e-8)
    assert pair[1].out_activation_ == pair[0].out_activation_ == "exp"


@pytest.mark.parametrize("rate", ["constant", "invscaling", "adaptive"])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_training_stops_in_the_same_epoch(rate: str, early_stopping: bool) -> None:
    name, X, y = data_for("two classes")
    pair = [
        getattr(module, name)(
            max_iter=300, random_state=1, solver="sgd", learning_rate=rate, learning_rate_init=0.2, power_t=0.1,
            momentum=0, tol=1e-3, n_iter_no_change=4, early_stopping=early_stopping, validation_fraction=0.2,
        ).fit(X, y)
        for module in (theirs, chainrule)
    ]  # fmt: skip
    their, our = pair
    assert our.n_iter_ == their.n_iter_ < 300
    np.testing.assert_allclose(our.coefs_[0], their.coefs_[0], rtol=1e-6, atol=1e-9)
    if early_stopping:
        np.testing.assert_allclose(our.validation_scores_, their.validation_scores_)
        assert our.best_validation_score_ == pytest.approx(their.best_validation_score_)
        assert our.best_loss_ is their.best_loss_ is None
        assert our.best_iter_ == 1 + int(np.argmax(our.validation_scores_))
    else:
        assert our.validation_scores_ is their.validation_scores_ is our.best_validation_score_ is None
        assert our.best_loss_ == pytest.approx(their.best_loss_)
    assert our.stop_reason_ is not None


def test_the_validation_rows_of_numbers_are_the_same() -> None:
    name, X, y = data_for("number")
    pair = [
        getattr(module, name)(max_iter=30, random_state=1, early_stopping=True, epsilon=1e-16).fit(X, y)
        for module in (theirs, chainrule)
    ]
    np.testing.assert_allclose(pair[1].validation_scores_, pair[0].validation_scores_, rtol=1e-6)


@pytest.mark.parametrize("kind", ["classes", "two classes", "labels", "number", "numbers"])
def test_lbfgs_comes_as_far_down(kind: str) -> None:
    name, X, y = data_for(kind)
    settings = {"solver": "lbfgs", "alpha": 0.5, "hidden_layer_sizes": (6,), "random_state": 0, "activation": "tanh"}
    pair = [getattr(module, name)(**settings, max_iter=1500).fit(X, y) for module in (theirs, chainrule)]
    their, our = pair
    factor = y.shape[1] if kind == "numbers" else 1
    assert our.loss_ < 1.1 * factor * their.loss_
    assert our.n_iter_ < 1500
    assert our.stop_reason_ == "LBFGS has converged"
    assert our.loss_curve_[-1] == our.loss_


def test_lbfgs_says_that_it_has_not_converged() -> None:
    name, X, y = data_for("number")
    for limits in ({"max_iter": 5}, {"max_fun": 5}):
        with pytest.warns(ConvergenceWarning, match="lbfgs failed to converge after"):
            our = getattr(chainrule, name)(solver="lbfgs", random_state=0, **limits).fit(X, y)
        assert our.n_iter_ <= 5


def test_more_epochs_are_asked_for_where_training_has_not_converged() -> None:
    name, X, y = data_for("number")
    with pytest.warns(ConvergenceWarning, match=r"Maximum iterations \(3\) reached"):
        getattr(chainrule, name)(max_iter=3, random_state=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(chainrule, name)(max_iter=30, random_state=0, tol=1.0).fit(X, y)
        getattr(chainrule, name)(max_iter=3, random_state=0, schedule="cosine").fit(X, y)  # made for three epochs


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_parameters_have_the_same_names_order_and_defaults(name: str) -> None:
    ours, others = (inspect.signature(getattr(module, name)).parameters for module in (chainrule, theirs))
    common = [key for key in ours if key in others]
    assert common == list(others)
    for key, parameter in others.items():
        assert ours[key].default == parameter.default, key
        assert ours[key].kind == parameter.kind, key
    assert all(parameter.kind == parameter.KEYWORD_ONLY for key, parameter in ours.items() if key not in others)


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_fitted_attributes_have_the_same_names_and_types(name: str) -> None:
    _, X, y = data_for("classes")
    pair = [getattr(module, name)(max_iter=2, random_state=0).fit(X, y) for module in (theirs, chainrule)]
    for attribute, value in vars(pair[0]).items():
        if attribute.endswith("_") and not attribute.startswith("_"):
            ours = getattr(pair[1], attribute)
            assert isinstance(ours, type(value)) or isinstance(value, float | int | np.number), attribute
            assert np.shape(ours) == np.shape(value) if not isinstance(value, list) else len(ours) == len(value)
            assert hasattr(type(pair[1]), attribute) or attribute in vars(pair[1])


def test_a_batch_that_is_too_large_is_clipped_with_their_words() -> None:
    name, X, y = data_for("classes")
    with pytest.warns(UserWarning, match="It is going to be clipped"):
        clipped = getattr(chainrule, name)(batch_size=1000, max_iter=2, random_state=0).fit(X, y)
    whole = getattr(chainrule, name)(batch_size=len(y), max_iter=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(clipped.predict_proba(X), whole.predict_proba(X))
