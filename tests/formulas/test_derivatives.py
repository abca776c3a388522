"""Derivatives of expressions, against central differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from chainrule.formulas import Formula, Loop, TraceError
from chainrule.formulas.derivatives import pull_back
from chainrule.types import Array


def rows(function: Callable[..., Any], x: Any) -> Any:
    return function(x, axis=-1, keepdims=True)


FORMULAS: dict[str, Callable[[Any, Any], Any]] = {
    "polynomial": lambda x, a: a * x**3 - x / a + (x - 2) * (-a),
    "powers": lambda x, a: (x * x + 1) ** 1.7 + np.abs(x) ** 0.5 + (a * a + 0.1) ** x,
    "exponentials": lambda x, a: np.exp(a * x) + np.expm1(x) - np.log1p(x * x) + np.log(x * x + 0.1),
    "waves": lambda x, a: np.sin(a * x) * np.cos(x) + np.arctan(x) + np.tanh(a + x),
    "errors": lambda x, a: special.erf(a * x) + special.erfc(x),
    "branches": lambda x, a: np.where(x > a, x * a, np.maximum(x, -1) + np.minimum(a * x, 0.3)),
    "steps": lambda x, a: x * np.sign(x - 0.1) + np.floor(3 * x) * a,
    "softmax": lambda x, a: np.exp(a * x - rows(np.max, a * x)) / rows(np.sum, np.exp(a * x - rows(np.max, a * x))),
    "normalization": lambda x, a: (
        a * (x - rows(np.mean, x)) / np.sqrt(rows(np.mean, (x - rows(np.mean, x)) ** 2) + 0.1)
    ),
    "reductions of reductions": lambda x, a: x * rows(np.sum, a * rows(np.mean, x * x) * x) + rows(np.max, x),
    "one number for each row": lambda x, a: rows(np.mean, x) * rows(np.sum, np.tanh(a * x)) + rows(np.max, a * x),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_errors_of_elements_and_columns_agree_with_differences(name: str) -> None:
    formula = FORMULAS[name]
    traced = Formula.trace(lambda _, x, a: formula(x, a), None, ["x", "a"])
    error = traced.expression.graph.symbol("error")
    of_x, of_a = pull_back(traced.expression, error, ["x", "a"])
    loop = Loop(("x", "error", "d_x", "a", "d_a"), (), {"d_x": of_x}, columns=("a", "d_a"), sums={"d_a": of_a})
    rng = np.random.default_rng(0)
    x, e, a = rng.normal(size=(6, 5)), rng.normal(size=(6, 5)), rng.uniform(0.3, 1.5, 5)
    d_x, d_a = np.empty_like(x), np.empty_like(a)
    loop(x, e, d_x, a, d_a)

    def differences(values: Array) -> Array:
        found = np.empty_like(values)
        for place in np.ndindex(values.shape):
            start, sides = values[place], []
            for step in (1e-6, -1e-6):
                values[place] = start + step
                sides.append(float(np.sum(e * formula(x, a))))
            values[place] = start
            found[place] = (sides[0] - sides[1]) / 2e-6
        return found

    np.testing.assert_allclose(d_x, differences(x), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(d_a, differences(a), rtol=1e-6, atol=1e-7)


def test_a_symbol_that_does_not_occur_has_the_derivative_0() -> None:
    traced = Formula.trace(lambda _, x: x * x, None, ["x"])
    (found,) = pull_back(traced.expression, traced.expression.graph.symbol("error"), ["y"])
    assert str(found) == "0"


def test_a_parameter_of_one_number_gets_the_sum_over_all_elements() -> None:
    traced = Formula.trace(lambda _, x, a: a * x, None, ["x", "a"])
    (of_a,) = pull_back(traced.expression, traced.expression.graph.symbol("error"), ["a"])
    loop = Loop(("x", "error", "d_a"), (), {}, scalars=("d_a",), sums={"d_a": of_a})
    x, e, d_a = np.arange(6.0).reshape(2, 3), np.full((2, 3), 2.0), np.empty(1)
    loop(x, e, d_a)
    assert d_a[0] == 30
    with pytest.raises(TraceError):
        Formula.trace(lambda _, x: np.linalg.norm(x), None, ["x"])
