"""TablePreprocessor as a scikit-learn transformer: in pipelines, searches and column transformers."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags

from chainrule.data import TablePreprocessor
from chainrule.errors import InvalidInputError

RNG = np.random.default_rng(0)
SIZE = RNG.uniform(40, 200, 60)
FRAME = pd.DataFrame(
    {
        "size": [f"{size:.1f} m²" for size in SIZE],
        "town": RNG.choice(["Porto", "Faro", "Braga"], 60),
        "rooms": np.where(RNG.random(60) < 0.2, np.nan, SIZE // 25),
    },
    index=np.arange(60) + 1000,
)
PRICE = 900 * SIZE + 40_000 * (FRAME["town"] == "Porto").to_numpy()
NAMES = ["size", "town=Braga", "town=Faro", "town=Porto", "rooms", "rooms (missing)"]


@pytest.mark.parametrize("frame", [FRAME, pl.DataFrame(FRAME.to_dict("list"))], ids=["pandas", "polars"])
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_the_output_is_the_frame_that_is_asked_for(frame: Any, container: Any) -> None:
    table = TablePreprocessor().set_output(transform=container)
    result = table.fit_transform(frame)
    assert isinstance(result, pd.DataFrame if container == "pandas" else pl.DataFrame)
    assert list(result.columns) == NAMES == table.get_feature_names_out().tolist()
    if isinstance(frame, pd.DataFrame) and container == "pandas":
        assert result.index.equals(frame.index)
    np.testing.assert_array_equal(result.to_numpy(), clone(table).set_output(transform="default").fit_transform(frame))
    np.testing.assert_array_equal(result.to_numpy(), table.encode(frame))  # which is always an array


def test_it_is_a_step_of_pipelines_and_searches() -> None:
    pipeline = make_pipeline(TablePreprocessor(), Ridge(1e-3))
    grid = {"tablepreprocessor__scaling": ["standard", "range"], "tablepreprocessor__drop": [(), ["size"]]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(FRAME, PRICE)
    best = search.best_estimator_[0]
    assert list(best.drop) == []
    assert search.best_score_ > 0.99
    assert search.predict(FRAME[["rooms", "size", "town"]].head(2)) == pytest.approx(search.predict(FRAME.head(2)))
    assert pipeline[:1].fit(FRAME).get_feature_names_out().tolist() == NAMES
    assert "TablePreprocessor" in pipeline._repr_html_()


def test_it_is_a_part_of_a_column_transformer() -> None:
    parts = ColumnTransformer([("texts", TablePreprocessor(), ["size", "town"]), ("rest", "passthrough", ["rooms"])])
    result = parts.set_output(transform="pandas").fit_transform(FRAME)
    assert list(result.columns) == [f"texts__{name}" for name in NAMES[:4]] + ["rest__rooms"]
    np.testing.assert_array_equal(result["texts__size"], TablePreprocessor().fit_transform(FRAME)[:, 0])


def test_copies_keep_the_parameters_and_pickles_the_columns() -> None:
    table = TablePreprocessor(numeric=["size"], missing_words=["none yet"]).fit(FRAME)
    copy = clone(table)
    assert copy.get_params() == table.get_params()
    assert (copy.columns, hasattr(copy, "n_features_in_"), hasattr(copy, "feature_names_in_")) == ((), False, False)
    for same in (
        pickle.loads(pickle.dumps(table)),
        TablePreprocessor.from_dict(json.loads(json.dumps(table.to_dict()))),
    ):
        assert same.n_features_in_ == 3
        assert same.feature_names_in_.tolist() == list(FRAME.columns)
        np.testing.assert_array_equal(same.transform(FRAME), table.transform(FRAME))
    assert repr(table) == "TablePreprocessor(numeric=['size'], missing_words=['none yet'])"
    assert "TablePreprocessor" in table._repr_html_()
    by_index = TablePreprocessor(categorical=FRAME.columns[2:]).fit(FRAME)
    assert by_index.columns[2].kind == "category"
    assert repr(by_index).startswith("TablePreprocessor(categorical=Index(['rooms']")
    tags = get_tags(table).input_tags
    assert (tags.allow_nan, tags.categorical, tags.string, tags.sparse) == (True, True, True, False)


def test_parameters_are_checked_by_fit() -> None:
    table = TablePreprocessor().set_params(scaling="standart")
    with pytest.raises(InvalidInputError, match="Did you mean 'standard'"):
        table.fit(FRAME)
    with pytest.raises(InvalidInputError, match=r"Invalid parameter 'scalling' .* Did you mean 'scaling'"):
        table.set_params(scalling="range")
    with pytest.raises(InvalidInputError, match="transform is one of default, pandas, polars"):
        table.set_output(transform="numpy")


def test_an_array_has_the_columns_of_the_training_rows_in_their_order() -> None:
    table = TablePreprocessor().fit(FRAME)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        result = table.transform(FRAME.to_numpy())
    np.testing.assert_array_equal(result, table.transform(FRAME))
    with pytest.raises(ValueError, match="X has 2 features, but TablePreprocessor is expecting 3 features as input"):
        table.transform(FRAME.to_numpy()[:, :2])
    with pytest.raises(ValueError, match=r"no columns 'size' and 'rooms', which the training data had"):
        table.transform(FRAME[["town"]])
    unnamed = TablePreprocessor().fit(FRAME.to_numpy())
    assert not hasattr(unnamed, "feature_names_in_")
    assert unnamed.get_feature_names_out(["a", "b", "c"]).tolist()[:2] == ["a", "b=Braga"]
    np.testing.assert_array_equal(unnamed.transform(FRAME.to_numpy()), result)
    with pytest.raises(ValueError, match="input_features is not equal to feature_names_in_"):
        table.get_feature_names_out(["a", "b", "c"])


def test_scikit_learn_is_not_imported_for_frames() -> None:
    code = (
        "import sys, pandas as pd\n"
        "from chainrule.data import TablePreprocessor\n"
        "TablePreprocessor().fit_transform(pd.DataFrame({'a': [1, 2, 4], 'b': ['x', 'y', 'x']}))\n"
        "print('sklearn' in sys.modules)"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "False"
