"""Tests of many combinations in parts: ``make test`` runs the first part, and ``make test-all`` every part."""

from __future__ import annotations

import pytest

__all__ = ["in_parts"]


def in_parts(n_parts: int) -> pytest.MarkDecorator:
    """Call the test with each ``part`` below ``n_parts``; all parts but the first are slow.

    The test divides its combinations so that the first part has every value together with values of each other kind.
    """
    others = [pytest.param(part, marks=pytest.mark.slow) for part in range(1, n_parts)]
    return pytest.mark.parametrize("part", [0, *others])
