"""preset="tabular": an ensemble over folds that starts from a linear model."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.linear_model import LogisticRegression, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from chainrule import Dataset, EarlyStopping, InvalidInputError, MLPClassifier, MLPRegressor, Model, Target
from chainrule.activations import ReLUActivation, SmoothClipActivation
from chainrule.estimators.tabular import RIDGE_PENALTIES, design_network
from chainrule.layers import DropoutLayer, EnsembleDenseLayer, PeriodicEmbeddingLayer, QuantileLayer
from chainrule.optimizer import SGD, Adam, AdamW
from support.exported import check_numbers
from support.onnx_runs import assert_predicts_alike

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 4))
Y = np.sin(2 * X[:, 0]) + X[:, 1] + 0.1 * RNG.normal(size=160)
CODES = (X[:, 0] * X[:, 1] > 0).astype(int)


def classifier(**settings: Any) -> MLPClassifier:
    return MLPClassifier(**{"preset": "tabular", "random_state": 0, "max_iter": 20, "width": 16, **settings})


def regressor(**settings: Any) -> MLPRegressor:
    return MLPRegressor(**{"preset": "tabular", "random_state": 0, "max_iter": 20, "width": 16, **settings})


def units_of(estimator: Any) -> list[int]:
    return [layer.n_units for layer in estimator.network_.stack.walk() if isinstance(layer, EnsembleDenseLayer)]


SAME_FOLDS = "The folds are made of rows, so that repeated rows and a weight have different effects."


@parametrize_with_checks(
    [classifier(max_iter=2, width=4, dtype="float64"), regressor(max_iter=2, width=4, dtype="float64")],
    expected_failed_checks=lambda estimator: {"check_sample_weight_equivalence_on_dense_data": SAME_FOLDS},
)
def test_scikit_learns_checks(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


# Results ------------------------------------------------------------------------------------------------------------


def test_a_linear_problem_is_solved_as_by_ridge() -> None:
    inputs = RNG.normal(size=(60, 20))
    targets = inputs @ RNG.normal(size=20) + RNG.normal(size=60)
    new = RNG.normal(size=(500, 20))
    truth = new @ np.linalg.lstsq(inputs, targets, rcond=None)[0]
    ridge = RidgeCV(np.logspace(-3, 4, 15)).fit(inputs, targets)
    ours = MLPRegressor(preset="tabular", random_state=0).fit(inputs, targets)
    assert np.corrcoef(ours.predict(new), truth)[0, 1] > 0.98 * np.corrcoef(ridge.predict(new), truth)[0, 1]
    assert ours.validation_loss_curve_ is not None


def test_without_an_improvement_the_linear_model_is_the_result() -> None:
    inputs, targets = RNG.normal(size=(48, 6)), RNG.normal(size=48)
    ours = regressor(solver=SGD(1e3), max_iter=12, clip_norm=1.0).fit(inputs, targets)
    assert ours.best_iter_ == 0
    for branch in ours.network_.layers[1].layers:
        assert np.abs(branch.layers[-1].weights).max() == 0
        assert np.abs(branch.shortcut.layers[-1].weights).max() > 0
    labels = (inputs[:, 0] + targets > 0).astype(int)
    ours = classifier(solver=SGD(1e3), max_iter=12, clip_norm=1.0, dtype="float64").fit(inputs, labels)
    assert ours.best_iter_ == 0
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, labels)
    difference = ours.predict_proba(inputs) - logistic.predict_proba(inputs)
    assert np.abs(difference).max() < 0.25


@pytest.mark.parametrize("engine", ["numpy", pytest.param("torch", marks=pytest.mark.slow)])
def test_what_is_not_linear_is_learnt(engine: str) -> None:
    ours = MLPRegressor(preset="tabular", random_state=0, engine=engine, max_iter=60).fit(X, Y)
    new = RNG.normal(size=(500, 4))
    truth = np.sin(2 * new[:, 0]) + new[:, 1]
    assert ours.score(new, truth) > 0.9 > RidgeCV().fit(X, Y).score(new, truth) + 0.1
    codes = (truth > 0).astype(int)
    assert classifier(engine=engine).fit(X, (Y > 0).astype(int)).score(new, codes) > 0.85


def test_engines_give_the_same() -> None:
    both = [
        classifier(engine=engine, dtype="float64", max_iter=4).fit(X, CODES).predict_proba(X)
        for engine in ("numpy", "torch")
    ]
    np.testing.assert_allclose(*both, rtol=1e-8)


def test_the_same_seed_gives_the_same_bits() -> None:
    made = [regressor(random_state=seed).fit(X, Y).predict(X) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


@pytest.mark.parametrize("kind", ["numbers", "two classes", "three classes"])
def test_results_are_saved_and_exported(kind: str, tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd")).assign(town=RNG.choice(["Porto", "Faro", "Braga"], 160))
    frame.loc[3, "a"] = np.nan
    if kind == "numbers":
        ours: Any = regressor(max_iter=5).fit(frame, 1000 + 50 * Y)
    else:
        ours = classifier(max_iter=5).fit(frame, CODES if kind == "two classes" else np.digitize(Y, [-0.5, 0.5]))
    ours.model_.save(tmp_path / "model.safetensors")
    model = Model.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(model.predict(frame), ours.predict(frame))
    check_numbers("c", model.network, ours._table.transform(frame)[:20], tmp_path, 1e-5)
    assert_predicts_alike(model.network, ours._table.transform(frame)[:20], 1e-5)
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.predict(frame), ours.predict(frame))


# Data ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "inputs",
    [
        RNG.normal(size=(20, 3)),
        RNG.normal(size=(40, 1)),
        np.column_stack([np.ones(40), RNG.normal(size=(40, 2))]),
        np.column_stack([RNG.integers(0, 2, 40), RNG.normal(size=40) * 1e6 + 1e9]),
        np.vstack([RNG.normal(size=(39, 2)), [[1e12, -1e12]]]),
        RNG.normal(size=(30, 60)),
        RNG.normal(size=(3, 2)),
    ],
    ids=["20 rows", "one feature", "a constant column", "large numbers", "an outlier", "more columns than rows", "3"],
)
def test_all_kinds_of_tables(inputs: Any) -> None:
    targets = inputs[:, -1] + RNG.normal(size=len(inputs))
    ours = regressor().fit(inputs, targets)
    assert np.isfinite(ours.predict(inputs)).all()
    assert ours.score(inputs, targets) > -0.5
    codes = np.arange(len(inputs)) % 2
    assert np.isfinite(classifier().fit(inputs, codes).predict_proba(inputs)).all()


@pytest.mark.parametrize("counts", [(30, 2), (30, 1), (30, 28, 2), (30, 20, 1)])
def test_rare_classes(counts: tuple[int, ...]) -> None:
    codes = np.repeat(np.arange(len(counts)), counts)
    inputs = codes[:, None] + 0.3 * np.random.default_rng(0).normal(size=(len(codes), 3))
    ours = classifier(max_iter=40).fit(inputs, codes)
    np.testing.assert_allclose(ours.predict_proba(inputs).sum(axis=1), 1)
    assert ours.score(inputs, codes) > 0.9


def test_every_row_is_held_out_once_and_classes_are_spread_over_the_folds() -> None:
    ours = classifier(max_iter=1).fit(X, np.repeat([0, 1, 2], [100, 50, 10]))
    layers = [layer for layer in ours.network_.stack.walk() if isinstance(layer, EnsembleDenseLayer)]
    assert {layer.input_shape()[0] for layer in layers} == {8}
    assert ours.n_layers_ == 4
    assert not hasattr(ours, "coefs_")
    shapes = [layer.weights.shape for layer in layers]
    one_kind = [(8, 16, 16), (8, 16, 3), (8, 4, 3)]
    assert shapes == [(8, 4, 16), *one_kind, (8, 36, 16), *one_kind, (8, 36, 16), *one_kind]
    assert not [layer for layer in ours.network_.stack.walk() if isinstance(layer, QuantileLayer)]


def test_tables_with_enough_rows_have_the_scores_of_numbers_beside_them() -> None:
    skewed = np.exp(3 * RNG.normal(size=(500, 2)))
    inputs = np.column_stack([skewed, RNG.integers(0, 3, 500)])
    ours = regressor(max_iter=1).fit(inputs, np.log(skewed[:, 0]))
    shapes = {layer.input_shape() for layer in ours.network_.stack.walk() if isinstance(layer, EnsembleDenseLayer)}
    assert shapes >= {(8, 5), (8, 21)}  # three columns, the scores of two, and 16 sines or bins
    assert ours.score(inputs, np.log(skewed[:, 0])) > 0.99  # the score is nearly a linear function of the logarithm


def test_rows_of_a_group_are_in_one_fold() -> None:
    groups = RNG.permutation(np.repeat([f"group {k}" for k in range(20)], 8))
    for y in (Y, CODES):
        design = design_network(Dataset(X, y, groups=groups), seed=0)
        assert design.training.sample_weight is not None
        seen = design.training.sample_weight
        for group in np.unique(groups):
            assert len(np.unique(seen[groups == group], axis=0)) == 1
        assert (seen[:, :8].sum(axis=1) == 7).all()
    few = design_network(Dataset(X, Y, groups=np.arange(160) % 3)).network
    assert few.layers[-1].input_shape() == (9, 1)
    one = design_network(Dataset(X, Y, groups=np.zeros(160)))
    assert one.training.sample_weight is not None
    assert set((one.training.sample_weight[:, :8] == 0).sum(axis=0)) == {20}, "the rows of a single group are divided"
    with pytest.raises(InvalidInputError, match="at least two rows"):
        design_network(Dataset(X[:1], Y[:1], target=Target("regression")))


def test_rows_without_weight_are_no_rows() -> None:
    weights = RNG.integers(0, 2, 160).astype(float)
    seen = weights > 0
    for make, targets in ((classifier, CODES), (regressor, Y)):
        with_weights = make(max_iter=5).fit(X, targets, weights).predict(X)
        np.testing.assert_array_equal(with_weights, make(max_iter=5).fit(X[seen], targets[seen]).predict(X))


def test_weights_count() -> None:
    inputs = np.vstack([X, X])
    targets = np.concatenate([Y, -Y])
    weights = np.repeat([1.0, 1e-6], 160)
    assert regressor().fit(inputs, targets, weights).score(X, Y) > 0.5
    rare = np.where(X[:, 0] > 1.3, 1, 0)
    noisy = np.where(RNG.random(160) < 0.1, 1 - rare, rare)
    balanced = classifier(class_weight="balanced").fit(X, noisy).predict_proba(X)[:, 1].mean()
    assert balanced > classifier().fit(X, noisy).predict_proba(X)[:, 1].mean() + 0.05


def test_frames_with_all_kinds_of_columns() -> None:
    days = pd.date_range("2024-01-01", periods=160)
    town = RNG.choice(["Porto", "Faro", "Braga"], 160)
    frame = pd.DataFrame(
        {"a": X[:, 0], "town": pd.Categorical(town), "day": days, "price": [f"{v:.2f} EUR" for v in Y]}
    )
    frame.loc[::7, "a"] = np.nan
    targets = np.where(town == "Porto", 2.0, 0.0) + Y
    ours = regressor().fit(frame, targets)
    assert ours.score(frame, targets) > 0.9
    assert list(ours.feature_names_in_) == ["a", "town", "day", "price"]
    assert ours.model_.table is not None
    np.testing.assert_array_equal(ours.model_.predict(frame), ours.predict(frame))
    np.testing.assert_allclose(ours.predict(frame[:5].assign(town="Lagos")).shape, (5,))
    with pytest.raises(InvalidInputError, match="needs a table with named columns"):
        ours.model_.predict(frame.to_numpy())
    of_array = regressor().fit(X, Y)
    np.testing.assert_array_equal(of_array.model_.predict(X), of_array.predict(X))
    polars = regressor().fit(pl.from_pandas(frame), targets)
    np.testing.assert_allclose(polars.predict(pl.from_pandas(frame)), ours.predict(frame), rtol=1e-4, atol=1e-4)
    objects = np.array([["a", 1.0], ["b", 2.0], ["a", np.nan], ["b", 4.0]] * 10, dtype=object)
    assert set(classifier().fit(objects, list("xyxy") * 10).predict(objects)) <= {"x", "y"}


def test_the_sample_of_a_large_table_does_not_follow_the_order_of_its_rows() -> None:
    codes = np.arange(20_002) % 2
    inputs = RNG.normal(size=(len(codes), 2)) + 3 * codes[:, None]
    network = design_network(Dataset(inputs, codes), hidden=(4,), trained_folds=2).network
    assert np.abs(network.layers[1].layers[0].shortcut.layers[-1].weights).min() > 0.1  # type: ignore[attr-defined]


def test_several_outputs() -> None:
    several = np.column_stack([Y, 100 - 50 * X[:, 2]])
    assert regressor(max_iter=40).fit(X, several).score(X, several) > 0.9
    inputs, labels = make_multilabel_classification(150, 8, n_classes=3, random_state=0)
    ours = classifier(max_iter=40).fit(inputs, labels)
    assert ours.predict(inputs).shape == labels.shape
    assert ours.score(inputs, labels) > 0.5


def test_tables_with_more_columns_than_rows_start_from_ridge_regression_without_encodings() -> None:
    wide = np.random.default_rng(2).normal(size=(40, 201))
    target = wide[:, :5].sum(axis=1)
    design = design_network(Dataset(wide, target, target=Target("regression")), hidden=(2,), seed=0)
    assert not [layer for layer in design.network.stack.walk() if isinstance(layer, PeriodicEmbeddingLayer)]
    assert design.training.sample_weight is not None
    seen = design.training.sample_weight[:, 0] > 0
    branch: Any = design.network.layers[1]
    weights = branch.layers[0].shortcut.layers[-1].weights[0, :, 0]
    clipped = SmoothClipActivation().activation_function(wide)
    fits = [Ridge(alpha=alpha).fit(clipped[seen], target[seen]).coef_ for alpha in RIDGE_PENALTIES]
    assert min(np.abs(coefficients - weights).max() for coefficients in fits) < 1e-5


def test_values_that_equal_the_defaults_are_given_in_another_form() -> None:
    def layers(**parameters: Any) -> tuple[set[int], set[str], str, float]:
        network = regressor(**{"width": None, "max_iter": 1, **parameters}).fit(X, Y).network_
        found = list(network.stack.walk())
        units = {layer.n_units for layer in found if isinstance(layer, EnsembleDenseLayer)} - {1}
        kinds = {type(layer).__name__ for layer in found}
        return units, kinds, type(network.optimizer).__name__, network.learning_rate

    preset = layers()
    same = {"dropout": None, "learning_rate_init": np.float64(0.001), "hidden_layer_sizes": [100]}
    assert layers(activation="relu", solver="adam", **same) == preset
    other = {"activation": ReLUActivation(), "solver": Adam(), "dropout": 0.0, "n_layers": 1, "width": 100}
    units, kinds, solver, rate = layers(**other)
    assert (units, solver, rate) == ({100}, "Adam", 0.001) != (preset[0], *preset[2:])
    assert "DropoutLayer" in preset[1] - kinds
    assert "MishActivation" in preset[1] - kinds


def test_losses_that_do_not_allow_standardised_targets_start_from_their_linear_model() -> None:
    counts = np.random.default_rng(0).poisson(np.exp(3 + X[:, 0]))
    fitted = regressor(loss="poisson", max_iter=1, learning_rate_init=1e-9).fit(X, counts)
    assert np.corrcoef(fitted.predict(X), np.exp(3 + X[:, 0]))[0, 1] > 0.99


@pytest.mark.parametrize("name", ["batch_normalization", "layer_normalization"])
def test_normalisation_that_would_mix_the_members_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"cannot be combined with {name}"):
        regressor(**{name: True}).fit(X, Y)


# Parameters ---------------------------------------------------------------------------------------------------------


def test_other_values_than_the_defaults_replace_those_of_the_preset() -> None:
    ours = MLPRegressor(
        preset="tabular", hidden_layer_sizes=[12, 7, 5], activation="tanh", dropout=[0.3, 0.0, 0.0], max_iter=3,
        batch_size=10, solver=AdamW(0.02), schedule=None, random_state=0, clip_norm=2.0, noise=0.1,
    ).fit(X, Y)  # fmt: skip
    network = ours.network_
    assert units_of(ours) == 3 * [12, 7, 5, 1, 1]
    rates = [layer.rate for layer in network.stack.walk() if isinstance(layer, DropoutLayer)]
    assert rates == [0.3, 0.3, 0.3]
    assert (network.epochs, network.batch_size, network.learning_rate, network.clip_norm) == (3, 10, 0.02, 2.0)
    assert ours.n_iter_ == 3
    other = regressor(learning_rate_init=0.002, beta_1=0.8, n_layers=1, width=9, max_iter=1).fit(X, Y)
    optimizer = other.network_.optimizer
    assert (optimizer.learning_rate, optimizer.beta1, optimizer.beta2, optimizer.weight_decay) == (
        0.002,
        0.8,
        0.99,
        0.1,
    )
    assert units_of(other) == 3 * [9, 1, 1]
    assert regressor(solver="lbfgs", max_iter=5).fit(X, Y).score(X, Y) > 0.5


@pytest.mark.parametrize("name", ["warm_start", "early_stopping"])
def test_parameters_that_have_no_meaning_are_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match=f"preset='tabular' cannot be combined with {name}"):
        regressor(**{name: True}).fit(X, Y)


def test_impossible_calls_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="preset"):
        regressor(preset="images").fit(X, Y)
    assert not hasattr(classifier(), "partial_fit")
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        regressor().fit(sparse.csr_matrix(X), Y)


def test_curves_are_those_of_the_held_out_rows() -> None:
    ours = classifier(max_iter=10, scoring=["accuracy", "roc_auc"]).fit(X, CODES)
    assert len(ours.validation_loss_curve_ or ()) == len(ours.validation_scores_ or ()) == ours.n_iter_
    assert set(ours.history_) >= {"validation_loss", "validation_accuracy", "validation_roc_auc", "accuracy"}
    assert ours.best_loss_ is None
    measured = classifier(max_iter=10).fit(X, CODES, X_val=X[:50], y_val=CODES[:50])
    scores = measured.validation_scores_ or []
    assert len(scores) == measured.n_iter_
    assert measured.validation_loss_curve_ == classifier(max_iter=10).fit(X, CODES).validation_loss_curve_
    best = scores[measured.best_iter_ - 1]
    assert best == pytest.approx(measured.score(X[:50], CODES[:50]))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_pipelines_searches_and_clones_work() -> None:
    search = GridSearchCV(classifier(max_iter=3), {"dropout": [0.1, 0.3]}, cv=2).fit(X, CODES)
    assert clone(search.best_estimator_).preset == "tabular"
    assert len(cross_val_score(make_pipeline(StandardScaler(), regressor(max_iter=3)), X, Y, cv=3)) == 3
    stopped = regressor(callbacks=EarlyStopping("loss", patience=1, min_delta=10)).fit(X, Y)
    assert stopped.n_iter_ == 2
    plain = clone(stopped).set_params(preset=None, callbacks=None).fit(X, Y)
    assert plain.model_.table is None


def test_a_fit_that_is_refused_leaves_the_estimator_as_it_is() -> None:
    ours = regressor(max_iter=1).fit(X, Y)
    before = ours.predict(X)
    with pytest.raises(InvalidInputError, match="cannot be combined with early_stopping"):
        ours.set_params(early_stopping=True).fit(X[:, :1], Y)
    np.testing.assert_array_equal(ours.predict(X), before)
