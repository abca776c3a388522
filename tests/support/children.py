"""The environment of processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["child_environment"]

TESTS = Path(__file__).parents[1]


def child_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment with the tests' own modules in front of its path, and these variables."""
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **variables}
