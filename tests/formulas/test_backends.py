"""The same formula on every backend: compiled loops, PyTorch, ONNX, C and JavaScript against NumPy in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx.reference
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from chainrule.export.onnx_builder import GraphBuilder
from chainrule.export.pieces import pieces_needed
from chainrule.formulas import Expression, Formula, Graph, Loop
from chainrule.formulas.expression import evaluate
from chainrule.formulas.operations import CONDITIONS, OPERATIONS, REDUCTIONS
from chainrule.formulas.translate import JAVASCRIPT, C, as_function, as_onnx, evaluate_torch
from support.exported import COMPILE, run

# Two rows, one for each argument, with the places where functions change their form.
X = np.array([-3.0, -1.5, -0.6, -1e-4, 0.0, 1e-4, 0.4, 0.6, 1.0, 2.5, 3.0])
Y = np.roll(X, 4) + 0.25

# One formula for each elementary operation and for each function that is written with others.
FORMULAS: dict[str, Any] = {
    **{name: OPERATIONS[name].numpy for name in ("add", "subtract", "multiply", "maximum", "minimum")},
    "divide": lambda x, y: x / (1 + y * y),
    "power": lambda x, y: np.abs(x) ** 1.7 + y**2 + y**3,
    "signs": lambda x, y: np.sign(x) - np.negative(y) + np.abs(x),
    "roots": lambda x, y: np.sqrt(np.abs(x)) + np.log(1 + y * y),
    "exp": lambda x, y: np.exp(x) * np.expm1(y),
    "log1p": lambda x, y: np.log1p(np.exp(-np.abs(x))) + y,
    "small log1p": lambda x, y: np.log1p(x * x * 1e-6),
    "tanh": lambda x, y: np.tanh(x) * y,
    "erf": lambda x, y: special.erf(x) + special.erfc(y),
    "waves": lambda x, y: np.sin(x) * np.cos(y) + np.arctan(x),
    "floor": lambda x, y: np.floor(x * 3) + y,
    "conditions": lambda x, y: np.where((x > 0) & (y <= 1) | ~(x >= y), x, 2 * y),
    "equality": lambda x, y: np.where(x == 0, 1.0, np.where(x != 1, x, y)),
    "conditions as numbers": lambda x, y: (x > 0) * y + (x < y),
    "clip": lambda x, y: np.clip(x, -1, 1) + np.heaviside(y, 0.5),
    "select": lambda x, y: np.select([x < 0, x > 0], [-y, y], 7.0),
    "expit": lambda x, y: special.expit(x) * special.log_expit(y),
    "xlogy": lambda x, y: special.xlogy(np.maximum(x, 0), np.abs(y) + 0.1),
    "constant": lambda x, y: 0 * x + 2.5,
}


def trace(function: Any) -> Expression:
    return Formula.trace(lambda owner, x, y: function(x, y), None, ["x", "y"]).expression


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-14)])
def test_compiled_loop(name: str, dtype: str, tolerance: float) -> None:
    x, y = X.astype(dtype), Y.astype(dtype)
    out = np.empty_like(x)
    Loop(("x", "y", "out"), (), {"out": trace(FORMULAS[name])})(x, y, out)
    truth = FORMULAS[name](x.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(out, np.broadcast_to(truth, x.shape), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", FORMULAS)
def test_pytorch(name: str) -> None:
    x, y = torch.tensor(X), torch.tensor(Y)
    (found,) = evaluate_torch([trace(FORMULAS[name])], {"x": x, "y": y})
    np.testing.assert_allclose(found.numpy(), FORMULAS[name](X, Y) + 0 * X, rtol=1e-14, atol=1e-14)


def test_onnx() -> None:
    graph = GraphBuilder(np.dtype(np.float32))
    symbols = {name: graph.input(name, np.float32, (1,)) for name in ("x", "y")}
    expressions = [trace(function) for function in FORMULAS.values()]
    nodes = as_onnx(
        expressions,
        symbols,
        graph.call,
        lambda value: graph.constant("c", value),
        lambda axes: graph.constant("axes", axes, np.int64),
    )
    for name, node in zip(FORMULAS, nodes, strict=True):
        graph.output(f"out {name}", node, np.float32, (1,))
    model = graph.model("formulas", {}, "", "")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x, y = X.astype(np.float32)[:, None], Y.astype(np.float32)[:, None]
    found = session.run(None, {"x": x, "y": y})
    reference = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x, "y": y})
    for name, ours, theirs in zip(FORMULAS, found, reference, strict=True):
        truth = FORMULAS[name](x.astype(np.float64), y.astype(np.float64)) + 0 * x
        np.testing.assert_allclose(ours, truth, rtol=3e-6, atol=3e-6, err_msg=name)
        np.testing.assert_allclose(theirs + 0 * x, truth, rtol=3e-6, atol=3e-6, err_msg=name)


def of_x(function: Any) -> Expression:
    """The function of x alone: y is 0.7 x - 0.3."""
    return Formula.trace(lambda _, x: function(x, 0.7 * x - 0.3), None, ["x"]).expression


TRUTH = {name: function(X, 0.7 * X - 0.3) + 0 * X for name, function in FORMULAS.items()}


def functions_in(language: Any) -> str:
    """All formulas of x as functions, f0 to fn."""
    formulas = [of_x(function) for function in FORMULAS.values()] + [row_formula(function) for function in ROWS]
    return "\n".join(as_function(one, ["x"], {}, f"f{place}", language, repr) for place, one in enumerate(formulas))


def check_functions(found: Any, tolerance: float) -> None:
    """Compare what the functions write for X with NumPy's numbers."""
    expected = TRUTH | {function.__name__: function(X[None])[0] for function in ROWS}
    for row, (name, truth) in zip(found, expected.items(), strict=True):
        np.testing.assert_allclose(row, truth, rtol=tolerance, atol=1e-13, err_msg=name)


def test_c(tmp_path: Path) -> None:
    n_functions = len(FORMULAS) + len(ROWS)
    # A function may write over its argument.
    calls = "\n".join(f"memcpy(v, x, sizeof x); f{k}(v, {len(X)}, {len(X)}, v); show(v);" for k in range(n_functions))
    (tmp_path / "f.c").write_text(
        f"""#include <math.h>
#include <stdio.h>
#include <string.h>
{functions_in(C)}
static void show(const double *v) {{ for (int i = 0; i < {len(X)}; i++) printf("%.17g\\n", v[i]); }}
int main(void)
{{
    const double x[] = {{{", ".join(map(repr, X.tolist()))}}};
    double v[{len(X)}];
    {calls}
    return 0;
}}
"""
    )
    run(*COMPILE, tmp_path / "f.c", "-o", tmp_path / "f", "-lm")
    check_functions(np.array(run(tmp_path / "f").split(), float).reshape(n_functions, -1), 1e-13)


def test_javascript(tmp_path: Path) -> None:
    n_functions = len(FORMULAS) + len(ROWS)
    calls = ", ".join(f"apply(f{place})" for place in range(n_functions))
    (tmp_path / "f.mjs").write_text(
        f"""{pieces_needed("pieces.mjs", ["erf", "erfc"])}
{functions_in(JAVASCRIPT)}
const apply = (f) => {{
  const v = Float64Array.from({X.tolist()});
  f(v, v.length, v.length, v);
  return Array.from(v);
}};
console.log(JSON.stringify([{calls}]));
"""
    )
    check_functions(json.loads(run("node", tmp_path / "f.mjs")), 1e-12)


def row_formula(function: Any) -> Expression:
    return Formula.trace(lambda _, x: function(x), None, ["x"]).expression


def softmax(x: Any) -> Any:
    powers = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return powers / np.sum(powers, axis=-1, keepdims=True)


def standardized(x: Any) -> Any:
    centered = x - np.mean(x, axis=-1, keepdims=True)
    return centered / np.sqrt(np.mean(centered**2, axis=-1, keepdims=True) + 1e-5)


ROWS = [softmax, standardized]


@pytest.mark.parametrize("function", ROWS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 2e-6), ("float64", 1e-14)])
def test_reductions_of_rows(function: Any, dtype: str, tolerance: float) -> None:
    x = np.random.default_rng(0).normal(scale=3, size=(7, 5)).astype(dtype)
    expression = Formula.trace(lambda owner, x: function(x), None, ["x"]).expression
    out = np.empty_like(x)
    total = Loop(("x", "out"), (), {"out": expression}, total=expression)(x, out)
    truth = function(x.astype(np.float64))
    np.testing.assert_allclose(out, truth, rtol=tolerance, atol=tolerance)
    assert total == pytest.approx(truth.sum(), abs=1e-4)
    (found,) = evaluate_torch([expression], {"x": torch.tensor(x)})
    np.testing.assert_allclose(found.numpy(), truth, rtol=tolerance, atol=tolerance)


_BINARY = ["add", "subtract", "multiply", "maximum", "minimum"]
_UNARY = ["negative", "absolute", "tanh", "sign", "floor", "sin"]


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    graph = Graph()
    nodes = [graph.symbol("x"), graph.symbol("y"), graph.constant(0.5)]
    for _ in range(draw(st.integers(1, 12))):
        one, other = draw(st.sampled_from(nodes)), draw(st.sampled_from(nodes))
        name = draw(st.sampled_from([*_BINARY, *_UNARY, "where"]))
        if name in _BINARY:
            nodes.append(graph.apply(name, one, other))
        elif name in _UNARY:
            nodes.append(graph.apply(name, one))
        else:
            nodes.append(graph.apply("where", graph.apply("less", one, other), one, draw(st.sampled_from(nodes))))
    return nodes[-1]


@given(expressions())
@settings(max_examples=25, deadline=None)
def test_any_expression_compiles_to_what_numpy_computes(expression: Expression) -> None:
    (truth,) = evaluate([expression], {"x": X, "y": Y})
    out = np.empty_like(X)
    Loop(("x", "y", "out"), (), {"out": expression})(X, Y, out)
    np.testing.assert_allclose(out, truth + 0 * X, rtol=1e-12, atol=1e-12)


def test_every_operation_is_in_a_formula() -> None:
    met = {node.operation for function in FORMULAS.values() for node in trace(function).visit()}
    assert OPERATIONS.keys() - met <= REDUCTIONS
    assert met >= CONDITIONS


def test_several_arrays_and_parameters_in_c_and_javascript(tmp_path: Path) -> None:
    """Rows of three numbers; a parameter has one number for each column, and a name that no language allows."""
    names = ["x", "y", "self.p", "double"]
    formula = Formula.trace(lambda _, x, y, p, q: p * softmax(x + y) - q * y, None, names).expression
    x, y = np.arange(6.0).reshape(2, 3), np.array([[0.5, -1, 2], [3, 0, 1]])
    p, q = np.array([2.0, 3, 4]), np.array([0.5, 0.25, 1])
    arrays = {"x": x, "y": y, "p": p, "q": q}
    spelled = {name: ", ".join(map(repr, array.ravel().tolist())) for name, array in arrays.items()}
    texts = {
        language.name: as_function(formula, names[:2], {names[2]: "float", names[3]: "double"}, "f", language, repr)
        for language in (C, JAVASCRIPT)
    }
    (tmp_path / "f.c").write_text(
        f"""#include <math.h>
#include <stdio.h>
{texts["c"]}
int main(void)
{{
    const double x[] = {{{spelled["x"]}}}, y[] = {{{spelled["y"]}}}, q[] = {{{spelled["q"]}}};
    const float p[] = {{{spelled["p"]}}};
    double out[6];
    f(x, y, p, q, 3, 6, out);
    for (int i = 0; i < 6; i++) printf("%.17g\\n", out[i]);
    return 0;
}}
"""
    )
    run(*COMPILE, tmp_path / "f.c", "-o", tmp_path / "f", "-lm")
    (tmp_path / "f.mjs").write_text(
        f"""{texts["js"]}
const out = new Float64Array(6);
f([{spelled["x"]}], [{spelled["y"]}], [{spelled["p"]}], [{spelled["q"]}], 3, 6, out);
console.log(JSON.stringify(Array.from(out)));
"""
    )
    expected = (p * softmax(x + y) - q * y).ravel()
    np.testing.assert_allclose(np.array(run(tmp_path / "f").split(), float), expected, rtol=1e-14)
    np.testing.assert_allclose(json.loads(run("node", tmp_path / "f.mjs")), expected, rtol=1e-14)
