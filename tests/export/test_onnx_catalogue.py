"""The graph agrees with us on every data set of the catalogue, from the rows as they come."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from chainrule.architecture import build_network
from chainrule.data import Dataset, TablePreprocessor, Target, catalog
from chainrule.data.parts import Table
from chainrule.model import Model, TargetScaling
from support.onnx_runs import TOLERANCE, assert_predicts_alike

MOST_ROWS = 2000
# The raw files of uci-har are not in the folder of real data; har-derived holds the same people and movements.
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name == "imdb-reviews" else ())
    for name in catalog.names()
    if name != "uci-har"
]


def put_in_place(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where the set has files and they are not there."""
    if not catalog.get(name).files:
        return
    folder = Path(os.environ.get("CHAINRULE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("needs the real data sets: set CHAINRULE_DATA to their folder")
    monkeypatch.setenv("CHAINRULE_DATA", str(folder))


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_catalogue(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(name, monkeypatch)
    part = catalog.get(name).load().train
    table, scaling = None, None
    if isinstance(part, Table):
        frame, labels = part.split_target()
        rows, unseen = frame[:MOST_ROWS], frame[-MOST_ROWS:]
        table = TablePreprocessor().fit(rows)
        training = Dataset(table.transform(rows), labels[:MOST_ROWS], target=Target.detect(labels))
    else:
        training = part.take(slice(None, None, max(1, len(part) // MOST_ROWS)))
        rows, unseen = training.X, part.X[-min(500, len(part)) :]
    target, y = training.target, training.y
    assert target is not None
    assert y is not None
    if target.task == "regression":
        scaling = TargetScaling.learn(y)
        training.y = scaling.apply(y)
    network = build_network(training.n_features, target, hidden=(16,), epochs=1, seed=0).fit(training)
    model = Model(network, target, table, scaling)
    exact = Model(build_network(training.n_features, target, hidden=(16,), dtype="float64"), target, table, scaling)
    exact.network.stack.vector.values[:] = network.stack.vector.values
    assert_predicts_alike(exact, unseen)
    # In float32 a sum of 784 pixels depends on their order: ours, and the runtime's, is as far from the exact one.
    truth = exact.outputs(unseen)
    rounding = np.abs(model.outputs(unseen) - truth).max() / max(1.0, np.abs(truth).max())
    assert_predicts_alike(model, unseen, max(TOLERANCE, 2 * rounding))
