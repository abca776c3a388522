"""What formulas may do, and what becomes of those that cannot be traced."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule.formulas import Formula, Graph, Loop, TraceError, loops
from chainrule.formulas.expression import evaluate


def trace(function: Any) -> Formula:
    return Formula.trace(lambda owner, x: function(x), None, ["x"])


@pytest.mark.parametrize(
    ("function", "what"),
    [
        (lambda x: x if x > 0 else 0 * x, "np.where"),
        (lambda x: max(x, 0), "np.maximum"),
        (math.exp, "Python number"),
        (lambda x: np.dot(x, x), "dot"),
        (lambda x: np.asarray(x) * 2, "to an array"),
        (np.cumsum, "cumsum"),
        (np.sum, "axis=-1"),
        (lambda x: x[0], "indexes its argument"),
        (lambda x: x * np.arange(3), "ndarray"),
        (lambda x: np.add(x, 1, where=False), "options"),
    ],
)
def test_what_cannot_be_traced_is_said(function: Any, what: str) -> None:
    with pytest.raises(TraceError, match=what):
        trace(function)


def test_a_formula_that_depends_on_something_else_is_refused() -> None:
    calls: list[int] = []

    def unsteady(x: Any) -> Any:
        calls.append(1)
        return x * len(calls)

    with pytest.raises(TraceError, match="other numbers"):
        trace(unsteady)


@dataclass
class Leaky:
    slope: float = 0.1
    is_steep: bool = False

    def f(self, x: Any) -> Any:
        return np.where(x > 0, x, self.slope * x)

    def by_setting(self, x: Any) -> Any:
        return np.tanh(x) if self.slope > 0.5 else x


def test_float_settings_may_change_without_a_new_trace() -> None:
    layer = Leaky()
    formula = Formula.trace(Leaky.f, layer, ["x"])
    assert formula.settings == ("self.slope",)
    layer.slope = 0.5
    found = evaluate(formula.expressions, {"self.slope": 0.5, "x": np.array([-2.0, 2.0])})
    np.testing.assert_array_equal(found[0], [-1.0, 2.0])


def test_a_setting_may_decide_the_form() -> None:
    formula = Formula.trace(Leaky.by_setting, Leaky(0.7), ["x"])
    assert str(formula.expression) == "tanh(x)"
    assert formula.is_current(Leaky(0.9))
    assert not formula.is_current(Leaky(0.3)), "it has to be traced again"
    assert str(Formula.trace(Leaky.by_setting, Leaky(0.3), ["x"]).expression) == "x"


def test_what_function_and_derivative_share_is_one_expression() -> None:
    graph = Graph()
    x = graph.symbol("x")
    sigmoid = 1 / (1 + np.exp(-x))
    derivative = sigmoid * (1 - 1 / (1 + np.exp(-x)))
    assert derivative.operands[0] is sigmoid
    assert derivative.operands[1].operands[1] is sigmoid


def test_settings_are_worked_out_in_float64() -> None:
    """1 - 0.999 in float32 is wrong in the fifth digit."""
    formula = Formula.trace(lambda owner, x, beta: (1 - beta) * x, None, ["x", "beta"])
    x = np.ones(4, np.float32)
    Loop(("x",), ("beta",), {"x": formula.expression})(x, settings=[0.999])
    np.testing.assert_array_equal(x, np.float32(1 - 0.999))


def test_results_may_replace_what_they_are_made_of() -> None:
    formula = Formula.trace(lambda owner, a, b: (a + b, a - b), None, ["a", "b"])
    a, b = np.array([3.0, 5.0]), np.array([1.0, 2.0])
    Loop(("a", "b"), (), dict(zip(("a", "b"), formula.expressions, strict=True)))(a, b)
    np.testing.assert_array_equal([a, b], [[4.0, 7.0], [2.0, 3.0]])


def test_many_threads_may_write_the_same_loop(tmp_path: Path) -> None:
    folder = tmp_path / "formulas"
    folder.mkdir()
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for place in range(50):
                loops._write(folder / "loop.py", f"# {place}\n" * 1000)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert not [path for path in folder.iterdir() if path.name != "loop.py"], "nothing half-written stays"


def test_a_cache_folder_that_fails_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "_folder", lambda: tmp_path / "gone")
    x = Graph().symbol("x")
    out = np.empty(3)
    Loop(("x", "out"), (), {"out": x * 1.2345678 + 7.654321})(np.arange(3.0), out)
    np.testing.assert_allclose(out, np.arange(3.0) * 1.2345678 + 7.654321)
