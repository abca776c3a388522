"""Muon: orthogonalisation, and which step every parameter takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule.optimizer import AdamW, Muon
from chainrule.optimizer.muon import orthogonalize
from chainrule.parameters import ParameterBlock


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(20, 20), (30, 8), (8, 30), (5, 1), (1, 5), (1, 1)])
def test_singular_values_come_near_one_and_directions_stay(shape: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    u, _, vt = np.linalg.svd(rng.normal(size=shape), full_matrices=False)
    singular = np.linspace(0.2, 1, min(shape))
    matrix = ((u * singular) @ vt).astype(dtype)
    result = orthogonalize(matrix)
    assert result.dtype == dtype
    rotated = u.T @ result @ vt.T
    np.testing.assert_allclose(rotated, np.diag(np.diag(rotated)), atol=1e-4 if dtype is np.float32 else 1e-12)
    assert np.diag(rotated).min() > 0.6
    assert np.diag(rotated).max() < 1.25


def test_a_zero_gradient_stays_zero_and_nan_stays_nan() -> None:
    np.testing.assert_array_equal(orthogonalize(np.zeros((3, 4))), 0)
    assert np.isnan(orthogonalize(np.full((3, 4), np.nan))).all()


def test_matrices_are_orthogonalised_and_the_rest_takes_adamws_step() -> None:
    rng = np.random.default_rng(0)
    blocks = [ParameterBlock(0, "weights", (4, 3), True, 0), ParameterBlock(0, "biases", (3,), False, 12)]
    muon, adam = Muon(0.01), AdamW(0.01, weight_decay=0)
    muon.set_layout(blocks)
    weights = rng.normal(size=15)
    matrix, biases = weights[:12].reshape(4, 3).copy(), weights[12:].copy()
    alone = Muon(0.01)
    for _ in range(4):
        gradient = rng.normal(size=15)
        muon.update(weights, gradient)
        alone.update(matrix, gradient[:12].reshape(4, 3))
        adam.update(biases, gradient[12:])
    np.testing.assert_allclose(weights[:12].reshape(4, 3), matrix, rtol=1e-14)
    np.testing.assert_allclose(weights[12:], biases, rtol=1e-14)


def test_a_step_is_as_large_as_adamws() -> None:
    rng = np.random.default_rng(0)
    weights = np.zeros((60, 40))
    step = Muon(1.0).update(weights, rng.normal(size=(60, 40)))
    assert 0.15 < np.sqrt(np.mean(step**2)) < 0.25
