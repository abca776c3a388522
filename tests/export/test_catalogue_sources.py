"""C and JavaScript agree with us on every data set of the catalogue, from the rows as they come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.architecture import build_network
from chainrule.data import Dataset, TablePreprocessor, Target, catalog
from chainrule.data.parts import Table
from chainrule.model import Model, TargetScaling
from chainrule.types import is_sparse
from support.exported import expected_of, numbers_of

MOST_ROWS = 1000
# The raw files of uci-har are not in the folder of real data; har-derived holds the same people and movements.
NAMES = [
    pytest.param(name, marks=pytest.mark.slow if name.startswith("imdb") else ())
    for name in catalog.names()
    if name != "uci-har"
]


def use_real_data(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ.get("CHAINRULE_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("needs the real data sets: set CHAINRULE_DATA to their folder")
    monkeypatch.setenv("CHAINRULE_DATA", str(folder))


def trained_model(part: Any) -> tuple[Model, Any]:
    """A small network after one epoch, and rows that it has not seen, as a user would hand them in."""
    table, scaling = None, None
    if isinstance(part, Table):
        frame, labels = part.split_target()
        table, rows = TablePreprocessor().fit(frame[:MOST_ROWS]), frame[-100:]
        training = Dataset(table.transform(frame[:MOST_ROWS]), labels[:MOST_ROWS], target=Target.detect(labels))
    else:
        training = part.take(slice(None, None, max(1, len(part) // MOST_ROWS)))
        rows = part.X[-100:]
    target, y = training.target, training.y
    assert target is not None
    assert y is not None
    if target.task == "regression":
        scaling = TargetScaling.learn(y)
        training.y = scaling.apply(y)
    network = build_network(training.n_features, target, hidden=(8, 8), epochs=1, seed=0).fit(training)
    return Model(network, target, table, scaling), rows


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_catalogue(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if catalog.get(name).files:
        use_real_data(monkeypatch)
    model, rows = trained_model(catalog.get(name).load().train)
    if model.table is None:
        cells = (rows.toarray() if is_sparse(rows) else rows).tolist()
        columns = [f"x{place}" for place in range(len(cells[0]))]
    else:
        columns = [plan.name for plan in model.table.columns if plan.output_names]
        cells = rows[columns].astype(object).where(rows[columns].notna(), None).to_numpy().tolist()
    expected = expected_of(model, rows)
    tolerance = 1e-6 * max(1.0, float(np.abs(expected).max()))  # float32 has no more digits of a price
    for to in ("c", "js"):
        found = numbers_of(to, model, columns, cells, tmp_path)
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance, err_msg=to)
