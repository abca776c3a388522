"""Explanations of known functions have known values, for networks, models and estimators, on both engines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax

from chainrule import MLPClassifier, MLPRegressor
from chainrule.activations import CustomActivation, SigmoidActivation, SoftmaxActivation, TanhActivation
from chainrule.calibration import Calibration
from chainrule.data import Dataset
from chainrule.errors import DataError, InvalidInputError, NotBuiltError
from chainrule.explain import (
    fgsm,
    integrated_gradients,
    partial_dependence,
    permutation_importance,
    pgd,
    robustness,
    saliency,
)
from chainrule.explain.base import Rows
from chainrule.layers import DenseLayer, DropoutLayer, EnsembleDenseLayer, EnsembleMeanLayer, RepeatLayer
from chainrule.model import Model
from chainrule.neuralnet import NeuralNetwork
from support.networks import class_rows, network_of, regression_rows

RNG = np.random.default_rng(0)
ENGINES = ("numpy", "torch")


def linear(weights: list[float], **settings: Any) -> NeuralNetwork:
    network = network_of(DenseLayer(1, (len(weights),)), dtype="float64", **settings)
    network.layers[0].weights = np.array(weights)[:, None]
    return network


def classifier(n_outputs: int, **settings: Any) -> NeuralNetwork:
    last = [SigmoidActivation()] if n_outputs == 1 else [SoftmaxActivation()]
    loss = "binary_cross_entropy" if n_outputs == 1 else "categorical_cross_entropy"
    layers = [DenseLayer(8, (4,)), TanhActivation(), DropoutLayer(0.5), DenseLayer(n_outputs), *last]
    return network_of(*layers, loss=loss, dtype="float64", **settings)


@pytest.fixture(scope="module")
def flats() -> pd.DataFrame:
    """The price is 3 * area, plus 50 in the town B; the number of rooms has no effect."""
    rng = np.random.default_rng(1)
    n = 240
    frame = pd.DataFrame(
        {
            "area": rng.uniform(20, 120, n).round(1),
            "town": rng.choice(["A", "B", "C"], n),
            "rooms": rng.integers(1, 5, n),
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D"),
        }
    )
    frame.loc[::20, "rooms"] = np.nan
    frame["price"] = 3 * frame["area"] + 50 * (frame["town"] == "B")
    return frame


@pytest.fixture(scope="module")
def regressor(flats: pd.DataFrame) -> MLPRegressor:
    return MLPRegressor(preset="tabular", max_iter=5, random_state=0).fit(flats.drop(columns="price"), flats["price"])


# Permutation importance -----------------------------------------------------------------------------------------------


def test_importance_is_what_shuffling_costs_and_by_column_of_the_table(
    regressor: MLPRegressor, flats: pd.DataFrame
) -> None:
    model = regressor.model_
    model.target_name = "price"
    found = permutation_importance(model, flats, metric="mae", n_repeats=8)  # the target is a column of the table
    assert found.columns == ("area", "town", "rooms", "sold")
    assert [found.columns[k] for k in found.order[:2]] == ["area", "town"]
    # |3 (area - shuffled area)| for uniform numbers has the mean 3 * range / 3
    assert found.importances_mean[0] == pytest.approx(100, rel=0.12)
    assert abs(found.importances_mean[2]) < 2
    assert (found.importances_std > 0).all()
    frame = found.to_frame()
    assert frame.index[0] == "area"
    assert frame["importance"].is_monotonic_decreasing
    by_estimator = permutation_importance(
        regressor, flats.drop(columns="price"), flats["price"], metric="mae", n_repeats=8
    )
    np.testing.assert_array_equal(by_estimator.importances, found.importances)
    with pytest.raises(InvalidInputError, match="Did you mean 'area'"):
        permutation_importance(model, flats, columns="aera")


def test_importance_takes_any_metric_and_is_positive_where_the_metric_gets_worse() -> None:
    rows = class_rows(200, 4)
    network = classifier(3, epochs=20, optimizer="adam", learning_rate=0.01).fit(rows)
    for metric in ("accuracy", "log_loss", lambda y, p: float(np.mean(p.argmax(1) == y))):
        found = permutation_importance(network, rows, metric=metric)
        assert found.importances_mean.max() > 0.05, metric
    with pytest.raises(DataError, match="There are 3 targets for 200 rows"):
        permutation_importance(network, rows.X, [0, 1, 2])


def test_a_group_gets_the_cells_of_another_group_and_stays_together() -> None:
    groups = np.repeat(np.arange(10), 5)
    X = np.column_stack([groups * 1.0, RNG.normal(size=50)])  # the first column is one number for each group
    seen: list[Any] = []

    def watch(y: Any, p: Any) -> float:
        seen.append(p[:, 0].copy())
        return 0.0

    permutation_importance(linear([1.0, 0.0]), X, X[:, 0], metric=watch, columns="x1", groups=groups, n_repeats=3)
    for shuffled in seen[1:]:
        assert all(len(set(shuffled[groups == g])) == 1 for g in range(10))
        assert sorted(set(shuffled)) == list(range(10))
        assert (shuffled != X[:, 0]).any()


# Gradients ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("n_outputs", "output"), [(1, None), (1, 0), (3, None), (3, 2)])
def test_saliency_is_the_gradient_of_the_probability_as_pytorch_computes_it(
    engine: str, n_outputs: int, output: int | None
) -> None:
    network = classifier(n_outputs, engine=engine)
    rows = class_rows(30, 4, max(2, n_outputs))
    network.target = rows.target
    found = saliency(network, rows.X, output=output)
    x = torch.tensor(rows.X, dtype=torch.float64, requires_grad=True)
    p = network.to_torch()(x)
    if n_outputs == 1:
        chosen = p[:, 0] if output is None else 1 - p[:, 0]
    else:
        chosen = p.max(dim=1).values if output is None else p[:, output]
    (gradient,) = torch.autograd.grad(chosen.sum(), x)
    np.testing.assert_allclose(found.inputs, gradient.numpy(), atol=1e-12)
    np.testing.assert_allclose(found.predictions, chosen.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(found.values, np.abs(found.inputs), atol=1e-15)


@pytest.mark.parametrize("engine", ENGINES)
def test_integrated_gradients_are_complete_and_exact_for_a_product(engine: str) -> None:
    rows = class_rows(40, 4)
    network = classifier(3, engine=engine)
    network.target = rows.target
    found = integrated_gradients(network, rows.X)
    assert np.abs(found.completeness_error).max() < 1e-9
    np.testing.assert_allclose(found.values.sum(1), found.predictions - found.baseline_predictions, atol=1e-9)
    assert np.abs(integrated_gradients(network, rows.X, n_steps=1).completeness_error).max() > 1e-4
    square = network_of(DenseLayer(1, (2,)), CustomActivation(np.square, lambda z: 2 * z), dtype="float64")
    square.layers[0].weights = [[1.0], [1.0]]  # F = (a + b)^2 has the contributions a (a + b) and b (a + b)
    values = integrated_gradients(square, [[2.0, 3.0]], baseline=[[0.0, 0.0]]).values
    np.testing.assert_allclose(values, [[10.0, 15.0]])


def test_attributions_of_a_table_are_in_the_units_of_the_target_and_by_column(
    regressor: MLPRegressor, flats: pd.DataFrame
) -> None:
    X = flats.drop(columns="price")
    baseline = X.iloc[[0]]
    found = integrated_gradients(regressor, X, baseline=baseline)
    assert found.columns == ("area", "town", "rooms", "sold")
    np.testing.assert_allclose(found.predictions, regressor.predict(X), rtol=1e-5)
    np.testing.assert_allclose(found.values[:, 0], 3 * (X["area"] - X["area"].iloc[0]), atol=12)
    assert np.abs(found.completeness_error).max() < 0.5
    assert found.importance[0] == pytest.approx(np.abs(found.values[:, 0]).mean())
    by_size = saliency(regressor, X)
    assert by_size.inputs.shape[1] == len(regressor.model_.table.feature_names)
    assert by_size.columns[by_size.order[0]] == "area"
    # Inputs of a date that change together are taken together: with the covariance of the inputs.
    names = regressor.model_.table.feature_names
    places = [place for place, name in enumerate(names) if name.startswith("sold")]
    assert len(places) > 2
    g, covariance = by_size.inputs[:, places], np.cov(regressor.model_.inputs(X)[:, places].T.astype(np.float64))
    np.testing.assert_allclose(by_size.values[:, 3], [np.sqrt(row @ covariance @ row) for row in g], rtol=1e-9)
    scale = regressor.model_.table.describe()[0]["scale"]
    np.testing.assert_allclose(np.median(by_size.values[:, 0]), 3 * scale, rtol=0.15)


# Partial dependence ---------------------------------------------------------------------------------------------------


def test_partial_dependence_of_numbers_categories_and_dates_is_in_the_units_of_the_column(
    regressor: MLPRegressor, flats: pd.DataFrame
) -> None:
    X = flats.drop(columns="price")
    area = partial_dependence(regressor, "area", X)
    assert area.kind == "number"
    assert len(area.grid) == 20
    assert set(area.grid) <= set(X["area"])
    slope = np.polyfit(area.grid, area.average[:, 0], 1)[0]
    assert slope == pytest.approx(3, rel=0.1)
    assert area.individual.shape == (240, 20, 1)
    row = X.iloc[[7]].assign(area=area.grid[3])
    np.testing.assert_allclose(area.individual[7, 3], regressor.predict(row), rtol=1e-5)
    town = partial_dependence(regressor, "town", X)
    assert town.grid.tolist() == ["A", "B", "C"]
    assert town.average[1, 0] - town.average[0, 0] == pytest.approx(50, abs=12)
    sold = partial_dependence(regressor, "sold", X, grid_size=5)
    assert sold.grid.dtype.kind == "M"
    assert len(sold.grid) == 5
    assert sold.to_frame().index.name == "sold"
    rooms = partial_dependence(regressor, "rooms", X)
    assert rooms.grid.tolist() == [1, 2, 3, 4], "missing cells are no value"
    mostly_zero = X.assign(area=np.where(np.arange(240) < 220, 0.0, X["area"]))
    grid = partial_dependence(regressor, "area", mostly_zero, grid_size=10).grid
    assert grid[0] == 0
    assert len(grid) > 5, "also the values of few rows"


def test_swapped_arguments_are_named_and_results_are_short(regressor: MLPRegressor, flats: pd.DataFrame) -> None:
    with pytest.raises(InvalidInputError, match=r"not a DataFrame; .* partial_dependence\(model, column, X\)"):
        partial_dependence(regressor, flats, "area")  # type: ignore[arg-type]
    text = repr(integrated_gradients(regressor, flats.head(30)))
    assert text.startswith("IntegratedGradients(columns=(")
    assert "values=<array (30, 4)>" in text
    assert len(text) < 250


def test_partial_dependence_of_classes_has_a_column_for_each_class() -> None:
    rows = class_rows(60, 4)
    network = classifier(3)
    network.target = rows.target
    found = partial_dependence(network, "x2", rows, max_rows=10, grid_size=4)
    assert found.average.shape == (4, 3)
    assert found.individual.shape[0] == 10
    assert found.output_names == ("0", "1", "2")
    np.testing.assert_allclose(found.average.sum(1), 1)


# Adversarial examples -------------------------------------------------------------------------------------------------


def log_losses(network: NeuralNetwork, X: Any, codes: Any) -> Any:
    p = network.predict(X)
    p = np.hstack([1 - p, p]) if p.shape[1] == 1 else p
    return -np.log(p[np.arange(len(X)), codes])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("n_members", [0, 3])
def test_the_loss_gradient_is_that_of_the_prediction(engine: str, n_outputs: int, n_members: int) -> None:
    rows = class_rows(12, 4, max(2, n_outputs))
    network = classifier(n_outputs, engine=engine)
    if n_members:
        last = network.layers[-1]
        layers = [RepeatLayer(3), EnsembleDenseLayer(5), TanhActivation(), EnsembleDenseLayer(n_outputs), type(last)()]
        network = network_of(*layers, EnsembleMeanLayer(), loss=network.loss, dtype="float64", engine=engine)
        network.stack.build((4,))
    network.target = rows.target
    subject = Rows.of(network, rows, needs_targets=True)
    gradient = subject.loss_gradient(rows.X, subject.targets)
    direction = RNG.normal(size=rows.X.shape)
    high, low = (log_losses(network, rows.X + h * direction, rows.y) for h in (1e-6, -1e-6))
    np.testing.assert_allclose((gradient * direction).sum(1), (high - low) / 2e-6, atol=1e-7)


@pytest.mark.parametrize("norm", ["inf", "l2"])
def test_attacks_stay_in_their_ball_and_increase_the_loss(norm: Any) -> None:
    rows = class_rows(150, 4)
    network = classifier(3, epochs=30, optimizer="adam", learning_rate=0.02).fit(rows)
    clean = log_losses(network, rows.X, rows.y)
    changed = {
        "fgsm": fgsm(network, rows, epsilon=0.3, norm=norm),
        "pgd": pgd(network, rows, epsilon=0.3, norm=norm, bounds=(-2.0, 2.0)),
        "one": fgsm(network, rows, epsilon=0.3, norm=norm, columns=["x2"]),
    }
    for name, X in changed.items():
        sizes = np.abs(X - rows.X).max(1) if norm == "inf" else np.linalg.norm(X - rows.X, axis=1)
        inside = np.abs(rows.X).max(1) < 2
        assert sizes[inside].max() == pytest.approx(0.3, abs=1e-6), name
        assert log_losses(network, X, rows.y)[inside].mean() > clean[inside].mean() + 0.02, name
    assert np.abs(changed["pgd"]).max() <= 2
    assert (changed["one"][:, [0, 2, 3]] == rows.X[:, [0, 2, 3]]).all()
    np.testing.assert_array_equal(changed["pgd"], pgd(network, rows, epsilon=0.3, norm=norm, bounds=(-2.0, 2.0)))


def test_pgd_with_one_step_of_size_epsilon_is_fgsm_and_a_confident_mistake_has_a_gradient() -> None:
    rows = regression_rows(30)
    network = network_of(DenseLayer(6, (5,)), TanhActivation(), DenseLayer(1), dtype="float64")
    one = pgd(network, rows, epsilon=0.1, n_steps=1, step_size=0.1, random_start=False)
    np.testing.assert_allclose(one, fgsm(network, rows, epsilon=0.1), atol=1e-12)
    sure = network_of(DenseLayer(1, (1,)), SigmoidActivation(), loss="binary_cross_entropy")
    sure.layers[0].weights = [[1000.0]]  # in float32, the probability is exactly 1
    moved = fgsm(sure, [[1.0], [-1.0]], [0, 0], epsilon=0.5)
    assert moved[0] == 1.5


def test_robustness_falls_with_epsilon_and_faster_than_under_noise() -> None:
    rows = class_rows(300, 4)
    network = classifier(3, epochs=30, optimizer="adam", learning_rate=0.02).fit(rows)
    found = robustness(network, rows, epsilons=(0, 0.2, 0.5, 1.0))
    network.metrics = ["accuracy"]
    assert found.scores[0] == found.noise_scores[0] == network.score(rows)
    assert (np.diff(found.scores) < 0).all()
    assert (found.scores[1:] < found.noise_scores[1:]).all()
    by_fgsm = robustness(network, rows, epsilons=(0.5,), attack=fgsm)
    assert by_fgsm.scores[0] >= found.scores[2] - 0.02
    assert found.to_frame().shape == (4, 2)


def test_the_seed_reaches_the_attack_and_labels_may_be_given_beside_a_dataset() -> None:
    inputs = RNG.normal(size=(60, 3))
    labels = np.where(inputs[:, 0] > 0, "yes", "no")
    fitted = MLPClassifier((8,), learning_rate_init=0.05, tol=1, n_iter_no_change=20, random_state=0).fit(
        inputs, labels
    )
    measured = permutation_importance(fitted, Dataset(inputs), labels, n_repeats=1)
    assert measured.score == pytest.approx(fitted.score(inputs, labels))
    found = [
        robustness(fitted, inputs, labels, epsilons=(0.3,), norm="l2", metric="log_loss", seed=s).scores
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert found[0] != found[2]


def test_only_numbers_of_a_table_change(regressor: MLPRegressor, flats: pd.DataFrame) -> None:
    X, y = flats.drop(columns="price"), flats["price"]
    table = regressor.model_.table
    change = fgsm(regressor, X, y, epsilon=0.25) - table.transform(X)
    changed = {name for name, size in zip(table.feature_names, np.abs(change).max(0), strict=True) if size > 1e-6}
    assert changed == {"area", "rooms"}
    found = robustness(regressor, X, y, epsilons=(0.0, 0.5))
    assert found.metric == "r2"
    assert found.scores[1] < found.noise_scores[1] < found.scores[0]
    with pytest.raises(InvalidInputError, match="'town' is not a column of numbers"):
        fgsm(regressor, X, y, epsilon=0.1, columns="town")


# One way for all ------------------------------------------------------------------------------------------------------


def test_estimators_with_arrays_frames_and_several_outputs_are_explained() -> None:
    X = RNG.normal(size=(120, 3))
    labels = np.where(X[:, 0] > 0, "up", "down")
    estimator = MLPClassifier((8,), max_iter=30, learning_rate_init=0.02, random_state=0, tol=0, n_iter_no_change=99)
    with pytest.warns(Warning, match="Maximum iterations"):
        estimator.fit(X, labels)
    assert permutation_importance(estimator, X, labels).order[0] == 0
    up, down = (saliency(estimator, X, output=label) for label in ("up", "down"))
    np.testing.assert_allclose(up.inputs, -down.inputs)
    np.testing.assert_allclose(up.predictions, estimator.predict_proba(X)[:, 1], atol=1e-6)
    frame = pd.DataFrame(X, columns=["first", "second", "third"])
    assert partial_dependence(estimator, "first", frame).output_names == ("up",)
    network = network_of(DenseLayer(2, (3,)), dtype="float64")
    with pytest.raises(InvalidInputError, match="give the output, from 0 to 1"):
        saliency(network, X)
    np.testing.assert_allclose(saliency(network, X, output=1).inputs[0], network.layers[0].weights[:, 1])
    with pytest.raises(InvalidInputError, match="the classes are down and up"):
        saliency(estimator, X, output="left")
    with pytest.raises(NotBuiltError, match="not fitted"):
        saliency(MLPClassifier(), X)
    with pytest.raises(InvalidInputError, match="not Pipeline"):
        saliency(type("Pipeline", (), {})(), X)


@pytest.mark.parametrize("n_outputs", [1, 3])
def test_calibrated_probabilities_are_explained(n_outputs: int) -> None:
    rows = class_rows(30, 4, max(2, n_outputs))
    network = classifier(n_outputs)
    assert rows.target is not None
    model = replace(Model(network, rows.target), calibration=Calibration(30, temperature=2.5))
    found = saliency(model, rows, output=1)
    np.testing.assert_allclose(found.predictions, model.predict_proba(rows)[:, 1], atol=1e-9)
    direction = RNG.normal(size=rows.X.shape)
    high, low = (model.predict_proba(rows.X + h * direction)[:, 1] for h in (1e-6, -1e-6))
    np.testing.assert_allclose((found.inputs * direction).sum(1), (high - low) / 2e-6, atol=1e-7)


def test_numbers_behind_a_link_are_explained_in_units_of_the_target() -> None:
    X = RNG.normal(size=(20, 3))
    network = network_of(DenseLayer(2, (3,)), loss="gaussian_negative_log_likelihood", dtype="float64")
    network.target = Dataset(X, X[:, 0], task="regression").target
    found = saliency(network, X)
    np.testing.assert_allclose(found.inputs[0], network.layers[0].weights[:, 0])
    logits = classifier(3)
    logits.target = class_rows(9, 4).target
    rows = class_rows(9, 4)
    body = logits.stack.forward(rows.X, n_layers=4)
    np.testing.assert_allclose(saliency(logits, rows, output=1).predictions, softmax(body, axis=1)[:, 1])
