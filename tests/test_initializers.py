"""Initialisers: moments within statistical bounds, orthogonality, one seed one set of numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from chainrule.initializers import (
    INITIALIZERS,
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LeCunNormal,
    LeCunUniform,
    Normal,
    Orthogonal,
    Uniform,
    Zeros,
)

SHAPE = (300, 200)
VARIANCES: list[tuple[Initializer, float, bool]] = [  # the variance, and whether the numbers are uniform
    (Normal(), 0.01, False),
    (Normal(2.0), 4.0, False),
    (Uniform(), 0.05**2 / 3, True),
    (GlorotUniform(), 2 / 500, True),
    (GlorotNormal(), 2 / 500, False),
    (HeUniform(), 2 / 300, True),
    (HeNormal(), 2 / 300, False),
    (LeCunUniform(), 1 / 300, True),
    (LeCunNormal(), 1 / 300, False),
]


@pytest.mark.parametrize(("initializer", "variance", "uniform"), VARIANCES, ids=repr)
def test_mean_and_variance(initializer: Initializer, variance: float, uniform: bool) -> None:
    draw = initializer(SHAPE, np.random.default_rng(0))
    n = draw.size
    assert draw.shape == SHAPE
    # Five standard deviations of the sample's mean and variance.
    assert abs(draw.mean()) < 5 * math.sqrt(variance / n)
    kurtosis = 1.8 if uniform else 3.0
    assert abs(draw.var() - variance) < 5 * variance * math.sqrt((kurtosis - 1) / n)
    assert abs(np.mean(draw**4) / variance**2 - kurtosis) < 0.15
    if uniform:
        assert np.abs(draw).max() <= math.sqrt(3 * variance)


def test_constants() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(Zeros()((3, 2), rng), 0)
    np.testing.assert_array_equal(Constant(0.25)((3, 2), rng), 0.25)
    assert rng.random() == np.random.default_rng(0).random(), "constants draw nothing"


@pytest.mark.parametrize("shape", [(30, 20), (20, 30), (25, 25), (7, 1), (1, 7)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    draw = Orthogonal(gain=3.0)(shape, np.random.default_rng(0)) / 3
    product = draw.T @ draw if shape[0] >= shape[1] else draw @ draw.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-14)


def test_orthogonal_favours_no_rotation() -> None:
    """A plain QR has a first column of one sign only."""
    rng = np.random.default_rng(0)
    corners = [Orthogonal()((3, 3), rng)[0, 0] for _ in range(400)]
    assert abs(np.mean(np.sign(corners))) < 0.25


@pytest.mark.parametrize("name", INITIALIZERS.names())
@pytest.mark.parametrize("shape", [(6, 4), (4,)])
def test_same_seed_same_numbers_in_both_precisions(name: str, shape: Any) -> None:
    initializer = INITIALIZERS.create(name)
    first, again = (initializer(shape, np.random.default_rng(7)) for _ in range(2))
    assert first.dtype == np.float64
    assert first.shape == shape
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    narrow = np.empty(shape, np.float32)
    narrow[...] = again
    np.testing.assert_array_equal(narrow, first.astype(np.float32))
    if name not in ("zeros", "constant"):
        assert (initializer(shape, np.random.default_rng(8)) != first).any()


def test_every_initializer_is_registered() -> None:
    found = {cls for cls in Initializer.__subclasses__() if cls.__module__.startswith("chainrule.")}
    assert found == set(INITIALIZERS.classes.values())
