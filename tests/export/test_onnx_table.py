"""The preprocessing inside the graph: gaps, words never seen, dates, odd names, on tables of all kinds."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from onnx.reference import ReferenceEvaluator

from chainrule.architecture import build_network
from chainrule.data import TablePreprocessor, Target
from chainrule.errors import DataError, InvalidInputError
from chainrule.export.onnx_graph import build_onnx, onnx_inputs
from chainrule.model import Model
from support.odd_tables import odd_table
from support.onnx_runs import assert_predicts_alike, run_onnx


def model_of(frame: pd.DataFrame, *, n_classes: int = 3, dtype: Any = "float32", **options: Any) -> Model:
    """A network with weights as they were drawn behind a preprocessor that learnt from the frame."""
    table = TablePreprocessor(**options).fit(frame)
    target = Target("multiclass", tuple(f"class {code}" for code in range(n_classes)))
    network = build_network(len(table.feature_names), target, hidden=(16,), activation="tanh", seed=0, dtype=dtype)
    return Model(network, target, table)


@pytest.mark.parametrize("seed", range(6))
def test_generated_tables(seed: int) -> None:
    options: dict[str, Any] = [
        {}, {"scaling": "range", "missing": "mean"}, {"missing": "zero", "max_categories": 3},
        {"drop": ["size", "tiny", "count", "flag", "when", "waiting", "month"]}, {"drop": ["town", "rare"]},
        {"scaling": "standard", "max_categories": 2},
    ][seed]  # fmt: skip
    training = odd_table(seed)
    model = model_of(training, categorical=["code"], **options)
    assert_predicts_alike(model, training)
    assert_predicts_alike(model, odd_table(seed, 200, fresh=True))


def test_numbers_of_a_float64_network() -> None:
    assert_predicts_alike(model_of(odd_table(9), dtype="float64"), odd_table(9, fresh=True))


def test_columns_may_have_any_name() -> None:
    names = ["label", "probabilities", "features", "0_DenseLayer", "1.0", "X", "a b/c ü", "rows"]
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(50, len(names))), columns=names)
    frame["codes"] = rng.choice(["p", "q", "r"], 50)
    frame["codes code"] = rng.choice(["p", "q", "r"], 50)
    model = model_of(frame)
    graph = build_onnx(model)
    assert [value.name for value in graph.graph.input] == list(frame.columns)
    assert [value.name for value in graph.graph.output] == ["label_2", "probabilities_2"]
    label, _ = ReferenceEvaluator(graph).run(None, onnx_inputs(model, frame))
    assert label.tolist() == model.predict(frame).tolist()


def test_a_date_whose_parts_have_the_names_of_columns() -> None:
    days = pd.Timestamp("2021-03-01") + pd.to_timedelta(np.arange(60) * 11, unit="D")
    frame = pd.DataFrame({"d year": np.arange(60.0) % 7, "d": days, "d days": np.arange(60.0) ** 2})
    assert_predicts_alike(model_of(frame), frame)


@pytest.mark.parametrize("year", [1, 1600, 1899, 1968, 1999, 2000, 2399, 9990])
def test_every_day_has_its_year_month_and_weekday(year: int) -> None:
    # The weights let one part through at a time, unscaled.
    frame = pd.DataFrame({"day": pd.Timestamp("1990-01-01") + pd.to_timedelta(np.arange(500), unit="D")})
    target = Target("regression", n_columns=4)
    network = build_network(4, target, hidden=(), dtype="float64")
    network.layers[0].weights = np.eye(4)  # type: ignore[attr-defined]
    model = Model(network, target, TablePreprocessor(scaling="none").fit(frame))
    dates = [datetime.date.fromordinal(datetime.date(year, 2, 20).toordinal() + day) for day in range(2000)]
    epoch = datetime.date(1970, 1, 1).toordinal()
    feeds = {"day": np.array([[date.toordinal() - epoch + 0.999] for date in dates])}
    for outputs in run_onnx(build_onnx(model), feeds).values():
        parts = [[date.year, date.month, date.weekday()] for date in dates]
        np.testing.assert_array_equal(outputs["value"][:, :3], parts)


def test_rows_are_fed_by_hand_as_the_documentation_says() -> None:
    frame = pd.DataFrame({"area": [50.0, 80.0, np.nan] * 20, "town": ["Porto", "Faro", None] * 20})
    model = model_of(frame)
    feeds = {"area": frame[["area"]].to_numpy(), "town": frame[["town"]].fillna("").to_numpy(dtype=object)}
    for outputs in run_onnx(build_onnx(model), feeds).values():
        np.testing.assert_allclose(outputs["probabilities"], model.outputs(frame), atol=1e-6)


def test_polars_frames_and_columns_in_another_order() -> None:
    polars = pytest.importorskip("polars")
    frame = pd.DataFrame({"a": np.arange(40.0), "b": ["x", "y", "z", "x"] * 10})
    assert_predicts_alike(model_of(frame), polars.DataFrame({"more": [0] * 40, "b": frame["b"], "a": frame["a"]}))


def test_refusals() -> None:
    frame = pd.DataFrame({"": np.arange(10.0), "b": np.arange(10.0) ** 2})
    with pytest.raises(InvalidInputError, match="A column without a name"):
        build_onnx(model_of(frame))
    model = model_of(frame[["b"]])
    with pytest.raises(DataError, match="no column 'b'"):
        onnx_inputs(model, frame[[""]])
    with pytest.raises(DataError, match="row 2 has 'many'"):
        onnx_inputs(model, pd.DataFrame({"b": ["1", "many"]}))
