"""The folder of real data sets, where this machine has one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture
def data_folder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point CHAINRULE_DATA to the folder of real data; skip the test where there is none."""
    folder = Path(os.environ.get("CHAINRULE_DATA") or _BESIDE_THE_REPOSITORY)
    if not folder.is_dir():
        pytest.skip("needs the real data sets: set CHAINRULE_DATA to their folder")
    monkeypatch.setenv("CHAINRULE_DATA", str(folder))
    return folder
