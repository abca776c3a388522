"""How a column's plan reads cells: one at a time, from whatever source, as it was learnt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chainrule.data import TablePreprocessor

GOLDEN = json.loads((Path(__file__).parent / "golden" / "table_0_1.json").read_text(encoding="utf-8"))


def test_a_table_of_version_0_1_reads_its_cells_as_it_did() -> None:
    table = TablePreprocessor.from_dict(GOLDEN["preprocessor"])
    assert list(table.feature_names) == GOLDEN["features"]
    frame = pd.DataFrame(GOLDEN["rows"], dtype=object)
    np.testing.assert_array_equal(table.transform(frame), np.array(GOLDEN["matrix"], np.float32))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_cells_without_a_frame_become_the_same_bits(size: int) -> None:
    table = TablePreprocessor.from_dict(GOLDEN["preprocessor"])
    frame = pd.DataFrame(GOLDEN["rows"], dtype=object).iloc[:size]
    for plan in table.columns:
        if plan.kind != "dropped":
            cells = [row[plan.name] for row in GOLDEN["rows"][:size]]
            np.testing.assert_array_equal(plan.encode_cells(cells), plan.encode(frame[plan.name]))
