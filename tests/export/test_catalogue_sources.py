"""C and JavaScript agree with us on every data set of the catalogue, from the rows as they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from chainrule.types import is_sparse
from support.catalogue import CATALOGUE, catalogue_model
from support.exported import expected_of, numbers_of

MOST_ROWS = 100
NAMES = [pytest.param(name, marks=pytest.mark.slow if name.startswith("imdb") else ()) for name in CATALOGUE]


@pytest.mark.parametrize("name", NAMES)
def test_a_model_of_the_catalogue(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model, _, rows, _ = catalogue_model(name, monkeypatch)
    rows = rows[-MOST_ROWS:]
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
