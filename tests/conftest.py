"""Fixtures for tests in any folder: real data sets, and reports without figures."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

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


@pytest.fixture
def without_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write reports without their figures, which take nine tenths of the time of a short run."""

    def draw(self: Any, plot: Any, caption: str, size: Any = None) -> str:
        return f"<figure><figcaption>{html.escape(caption)}</figcaption></figure>"

    if request.node.get_closest_marker("figures") is None:
        monkeypatch.setattr("chainrule.report.Figures.draw", draw)
