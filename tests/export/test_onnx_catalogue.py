"""The ONNX graph agrees with us on every data set of the catalogue, from the rows as they come."""

from __future__ import annotations

import pytest

from support.catalogue import CATALOGUE, catalogue_model
from support.onnx_runs import TOLERANCE, assert_predicts_alike

NAMES = [pytest.param(name, marks=pytest.mark.slow if name == "imdb-reviews" else ()) for name in CATALOGUE]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_catalogue(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, exact, rows, rounding = catalogue_model(name, monkeypatch)
    assert_predicts_alike(exact, rows)
    assert_predicts_alike(model, rows, max(TOLERANCE, 2 * rounding))
