"""Frames with text, missing values and numbers as text, given to the estimators with and without a preprocessor."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.preprocessing import StandardScaler

from chainrule import MLPClassifier, MLPRegressor, Model, TablePreprocessor
from chainrule.errors import DataError, InvalidInputError
from support.exported import numbers_of

RNG = np.random.default_rng(0)
N = 120
SIZE = RNG.uniform(0.5, 5, N)
TOWN = RNG.choice(["Porto", "Faro"], N)
FRAME = pd.DataFrame({"size": [f"{size:.3f}k" for size in SIZE], "town": TOWN})
FRAME.loc[::10, "size"] = None
PRICE = 2 * SIZE * np.where(TOWN == "Porto", 2, 1)
NAMED = np.where(TOWN == "Porto", "yes", "no")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def regressor(**settings: Any) -> MLPRegressor:
    return MLPRegressor(
        **{"hidden_layer_sizes": (16,), "max_iter": 60, "random_state": 0, "solver": "lbfgs", **settings}
    )


def test_a_preprocessor_makes_numbers_of_columns_without_a_preset() -> None:
    model = regressor(preprocessor=TablePreprocessor()).fit(FRAME, PRICE)
    assert model.score(FRAME, PRICE) > 0.9
    assert model.feature_names_in_.tolist() == ["size", "town"]
    lists = FRAME.astype(object).where(FRAME.notna(), None).to_dict("list")
    for frame in (pl.DataFrame(lists), lists):
        np.testing.assert_array_equal(model.predict(frame), model.predict(FRAME))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(FRAME), model.predict(FRAME))
    np.testing.assert_allclose(model.model_.predict(FRAME), model.predict(FRAME))
    with pytest.warns(UserWarning, match="X does not have valid feature names, but MLPRegressor was fitted"):
        result = model.predict(FRAME.to_numpy())
    np.testing.assert_array_equal(result, model.predict(FRAME))
    tags = model.__sklearn_tags__().input_tags
    assert (tags.allow_nan, tags.string, tags.sparse) == (True, True, False)


def test_the_parameters_of_the_preprocessor_are_searched() -> None:
    model = regressor(preprocessor=TablePreprocessor(missing="zero"))
    assert clone(model).preprocessor.missing == "zero"
    search = GridSearchCV(model, {"preprocessor__drop": [[], ["town"]]}, cv=3).fit(FRAME, PRICE)
    assert search.best_params_ == {"preprocessor__drop": []}
    assert not model.preprocessor.columns  # which is a parameter and is not fitted itself
    preset = MLPClassifier(preset="tabular", preprocessor=TablePreprocessor(drop=["size"]), max_iter=2, random_state=0)
    assert preset.fit(FRAME, NAMED).model_.table.feature_names == ("town=Porto",)


@pytest.mark.parametrize("settings", [{}, {"preset": "tabular", "width": 4}], ids=["plain", "preset"])
def test_numbers_written_as_text_are_targets_of_a_regression(settings: dict[str, Any]) -> None:
    inputs = FRAME[["town"]].assign(size=SIZE) if settings else SIZE[:, None]
    texts = [f"${1000 * price:,.0f}" for price in PRICE]
    model, same = (MLPRegressor(max_iter=2, random_state=0, **settings) for _ in range(2))
    model.fit(inputs, pd.Series(texts))
    rounded = np.round(1000 * PRICE)
    np.testing.assert_array_equal(model.predict(inputs), same.fit(inputs, rounded).predict(inputs))
    assert model.score(inputs, texts) == model.score(inputs, rounded)
    with pytest.raises(DataError, match="Regression needs numbers, but the target has 'cheap' in row 2"):
        model.fit(inputs, [texts[0], "cheap", *texts[2:]])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA], ids=str)
@pytest.mark.parametrize("settings", [{}, {"preset": "tabular"}], ids=["plain", "preset"])
def test_missing_targets_are_named(missing: Any, settings: dict[str, Any]) -> None:
    for estimator, y in ((MLPClassifier(**settings), NAMED), (MLPRegressor(**settings), PRICE)):
        with_gaps = pd.Series(y, dtype=object)
        with_gaps[3] = with_gaps[7] = missing
        for targets in (with_gaps, with_gaps.to_numpy()):
            with pytest.raises(ValueError, match=r"Input y contains NaN \((None|nan|<NA>) in row 4 and 1 more\)"):
                estimator.fit(SIZE[:, None], targets)


def test_text_without_a_preprocessor_is_refused_with_what_to_do() -> None:
    expected = "could not convert string to float: .*MLPClassifier takes text with preprocessor=TablePreprocessor"
    for inputs in (FRAME[["town"]], FRAME[["town"]].to_numpy(), pl.DataFrame({"town": TOWN.tolist()})):
        with pytest.raises(ValueError, match=expected):
            MLPClassifier().fit(inputs, NAMED)
    numbers = MLPClassifier(max_iter=1).fit(pd.DataFrame({"town": SIZE}), NAMED)
    with pytest.raises(ValueError, match=expected):
        numbers.predict(FRAME[["town"]])


@pytest.mark.parametrize("settings", [{}, {"preset": "tabular"}], ids=["plain", "preset"])
def test_two_columns_of_one_name_are_refused(settings: dict[str, Any]) -> None:
    frame = pd.concat([pd.DataFrame({"a": SIZE, "b": SIZE})] * 2, axis=1)
    with pytest.raises(DataError, match="more than one column named 'a' and 'b'; give them different names"):
        MLPClassifier(**settings).fit(frame, NAMED)


def test_scores_of_texts_with_a_preprocessor_are_those_of_a_pipeline() -> None:
    scores = cross_val_score(regressor(preprocessor=TablePreprocessor()), FRAME, PRICE, cv=3)
    assert scores.min() > 0.8


@pytest.mark.parametrize("to", ["c", "js"])
def test_embeddings_of_categories_are_learned_saved_and_exported(to: str, tmp_path: Path) -> None:
    streets = [f"street {k:02d}" for k in range(20)]
    worth = dict(zip(streets, RNG.permutation(20), strict=True))
    frame = pd.DataFrame(
        {"street": RNG.choice(streets, 300), "town": RNG.choice(["a", "b"], 300), "x": RNG.normal(size=300)}
    )
    y = frame["street"].map(worth) / 10 + frame["x"]
    model = regressor(preprocessor=TablePreprocessor(), embedding_size=2, hidden_layer_sizes=(8,)).fit(frame, y)
    assert model.score(frame, y) > 0.95
    layer = model.network_.layers[0]
    assert layer.parameter_shapes()["0.weights"] == (20, 2)
    assert layer.output_shape() == (2 + 2,)
    saved = Model.load(model.model_.save(tmp_path / "model.safetensors") or tmp_path / "model.safetensors")
    new = pd.DataFrame({"street": ["street 03", "unknown"], "town": ["a", "b"], "x": [0.5, 1.0]})
    np.testing.assert_allclose(saved.predict(new), model.predict(new), rtol=1e-5)
    found = numbers_of(to, saved, list(new.columns), new.astype(str).to_numpy().tolist(), tmp_path)
    np.testing.assert_allclose(found[:, 0], model.predict(new), rtol=1e-5)
    for settings, message in (
        (({}), "embedding_size needs columns"),
        ({"preset": "tabular"}, "combined with embedding"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            MLPRegressor(embedding_size=2, **settings).fit(frame[["x"]], y)


def test_another_preprocessor_and_dates_as_targets_are_refused_in_one_sentence() -> None:
    for other in (StandardScaler(), "table"):
        with pytest.raises(InvalidInputError, match=r"preprocessor is .*; give a TablePreprocessor"):
            MLPRegressor(preprocessor=other).fit(FRAME, PRICE)
    days = np.datetime64("2024-01-01") + np.arange(N)
    for settings in ({}, {"preset": "tabular"}):
        with pytest.raises(ValueError, match="The targets are dates or durations"):
            MLPRegressor(**settings).fit(SIZE[:, None], days)
