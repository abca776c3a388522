"""A small model of each data set in the catalogue, with rows as they come that it has not seen."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from chainrule.architecture import build_network
from chainrule.data import Dataset, TablePreprocessor, Target, catalog
from chainrule.data.parts import Table
from chainrule.model import Model, TargetScaling

__all__ = ["CATALOGUE", "CatalogueModel", "catalogue_model"]

MOST_ROWS = 2000
_BESIDE_THE_REPOSITORY = Path(__file__).parents[3] / "shared" / "data"

# The raw files of uci-har are not in the folder of real data; har-derived holds the same people and movements.
CATALOGUE = [name for name in catalog.names() if name != "uci-har"]


class CatalogueModel(NamedTuple):
    """A model, the same in float64, rows, and by how much float32 rounds their predictions (relative to the largest).

    In float32 a sum of 784 pixels depends on their order: two programs that are right differ by about that much.
    """

    model: Model
    exact: Model
    rows: Any
    rounding: float


def catalogue_model(name: str, monkeypatch: pytest.MonkeyPatch) -> CatalogueModel:
    """Return a model that has seen one epoch; skip where the set has files and they are not there."""
    if catalog.get(name).files:
        folder = Path(os.environ.get("CHAINRULE_DATA") or _BESIDE_THE_REPOSITORY)
        if not folder.is_dir():
            pytest.skip("needs the real data sets: set CHAINRULE_DATA to their folder")
        monkeypatch.setenv("CHAINRULE_DATA", str(folder))
    return _trained(name)


@functools.cache
def _trained(name: str) -> CatalogueModel:
    part = catalog.get(name).load().train
    table, scaling = None, None
    if isinstance(part, Table):
        frame, labels = part.split_target()
        seen, rows = frame[:MOST_ROWS], frame[-MOST_ROWS:]
        table = TablePreprocessor().fit(seen)
        training = Dataset(table.transform(seen), labels[:MOST_ROWS], target=Target.detect(labels))
    else:
        training = part.take(slice(None, None, max(1, len(part) // MOST_ROWS)))
        rows = part.X[-min(500, len(part)) :]
    target, y = training.target, training.y
    assert target is not None
    assert y is not None
    if target.task == "regression":
        scaling = TargetScaling.learn(y)
        training.y = scaling.apply(y)
    network = build_network(training.n_features, target, hidden=(16,), epochs=1, seed=0).fit(training)
    twin = build_network(training.n_features, target, hidden=(16,), dtype="float64")
    twin.stack.vector.values[:] = network.stack.vector.values
    model, exact = (Model(n, target, table, scaling) for n in (network, twin))
    truth = exact.outputs(rows)
    difference = np.abs(model.outputs(rows) - truth).max() / max(1.0, np.abs(truth).max())
    return CatalogueModel(model, exact, rows, float(difference))
