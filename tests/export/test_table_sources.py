"""Tables as C and as JavaScript: cells of every kind, missing and unknown ones, and names that are hostile to code."""

from __future__ import annotations

import math
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from chainrule.data.cells import DATE_PARTS
from chainrule.data.columns import ColumnPlan, NumberPlan
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target
from chainrule.data.texts import MISSING_WORDS
from chainrule.errors import DataError, InvalidInputError
from chainrule.export import export_model
from chainrule.export.c_text import identifiers
from chainrule.export.onnx_graph import build_onnx, onnx_inputs
from chainrule.export.torch_program import build_torch_program, torch_inputs
from chainrule.layers import DenseLayer, InputScalingLayer
from chainrule.model import Model
from chainrule.runs.predictions import prediction_csv, prediction_frame
from support.exported import (
    COMPILE,
    ask_c,
    ask_js,
    compile_c,
    expected_of,
    fitted,
    numbers_of,
    reading_of,
    run,
    run_c,
    run_js,
)
from support.networks import network_of

SOURCES = ("c", "js")
SPACES = ["", " ", "\t", "\u00a0", "\u2003", "\u3000 ", "\x1f", "\x85"]


def learnt_table() -> tuple[TablePreprocessor, pd.DataFrame]:
    """Every kind of column, as it is learnt: with gaps and without, of two values and of more, rare ones and dates."""
    rng = np.random.default_rng(3)
    n = 2000
    frame = pd.DataFrame(
        {
            "number": rng.normal(1e6, 3, n),
            "gaps": np.where(rng.random(n) < 0.2, np.nan, rng.normal(size=n)),
            "flag": rng.random(n) < 0.5,
            "two": rng.choice(["left", "right"], n),
            "town": rng.choice(["Porto", "São João", "東京", "a,b", 'say "hi"'], n).astype(object),
            "code": np.where(rng.random(n) < 0.1, np.nan, rng.integers(1, 5, n)),
            "day": pd.date_range("1999-12-25", periods=n, freq="31h").strftime("%Y-%m-%dT%H:%M:%S"),
            "constant": 1,
        }
    )
    frame.loc[::7, "town"] = None
    frame.loc[5, "town"] = "rare"
    frame.loc[::9, "day"] = None
    return TablePreprocessor(categorical=["code"]).fit(frame), frame


TABLE, FRAME = learnt_table()
COLUMNS = [plan.name for plan in TABLE.columns if plan.output_names]


def check_rows(to: str, model: Model, columns: list[str], rows: list[list[Any]], folder: Path) -> None:
    """The cells are handed to the model, and to the source, as text or None."""
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    found = numbers_of(to, model, columns, rows, folder)
    expected = expected_of(model, frame)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("to", SOURCES)
def test_a_table_of_every_kind_of_column(to: str, tmp_path: Path) -> None:
    assert {plan.kind for plan in TABLE.columns} == {"number", "category", "date", "dropped"}
    assert any(plan.is_two_valued for plan in TABLE.columns)
    assert any(plan.other and plan.missing_category for plan in TABLE.columns)
    cells = FRAME[COLUMNS][:300].astype(object).to_numpy()
    rows = [[None if pd.isna(cell) else str(cell).removesuffix(".0") for cell in row] for row in cells]
    check_rows(to, reading_of(TABLE), COLUMNS, rows, tmp_path)


def cells(kind: str) -> st.SearchStrategy[str | None]:
    """Cells that a file may hold, and the edges of what is read."""
    missing = st.sampled_from([None, *sorted(MISSING_WORDS)])
    dates = st.datetimes(pd.Timestamp("1700-01-01").to_pydatetime(), pd.Timestamp("2200-01-01").to_pydatetime())
    zone = st.sampled_from(["", "Z", "+00:00", "+23:59", "-2330", "+0545", "-01:00"])
    kinds: dict[str, st.SearchStrategy[str | None]] = {
        "number": st.floats(-1e9, 1e9).map(repr) | st.integers(-(10**15), 10**15).map(str)
        | st.sampled_from(["True", "False", ".5", "5.", "+1e3", "-0", "1E-5", "nan", "NAN", "007"]),
        "date": st.builds(lambda day, z: day.isoformat() + z, dates, zone) | dates.map(lambda day: str(day.date()))
        | st.builds(lambda day, z: day.strftime("%Y-%m-%d %H:%M") + z, dates, zone),
        "category": st.sampled_from(["left", "right", "Porto", "São João", "東京", "a,b", 'say "hi"', "3", "None"])
        | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    }  # fmt: skip
    spaced = st.builds(lambda a, text, b: a + text + b, st.sampled_from(SPACES), kinds[kind], st.sampled_from(SPACES))
    return missing | kinds[kind] | spaced.filter(lambda text: text is not None)


@pytest.mark.parametrize("to", SOURCES)
def test_cells_as_people_write_them(to: str, tmp_path: Path) -> None:
    kinds = [plan.kind for plan in TABLE.columns if plan.output_names]
    model = reading_of(TABLE)
    export_model(model, tmp_path / "model.mjs", "js")
    program = compile_c(model, tmp_path) if to == "c" else tmp_path

    # Few examples of many rows, because each starts a process.
    @settings(max_examples=16, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(*map(cells, kinds)).map(list), min_size=1, max_size=75))
    def check(rows: list[list[Any]]) -> None:
        expected = model.outputs(pd.DataFrame(rows, columns=COLUMNS, dtype=object))
        if to == "c":
            found = [list(map(float, record)) for record in ask_c(program, COLUMNS, rows, tmp_path)[1:]]
        else:
            found = ask_js(rows, tmp_path)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)

    check()


NO_DATES = (
    "2024-02-30", "2023-02-29", "1900-02-29", "2024-13-01", "2024-00-10", "2024-1-1", "2024-01-01T24:00", "today",
    "2024-01-01T10", "2024-01-01T10:60", "2024-01-01T10:00:60", "2024-01-01T10:00:00.", "2024-01-01T10:00+24:00",
    "2024-01-01T10:00+01", "2024-01-01Z", "2024-01-01T10:00x", "-024-01-01", "2024/01/01", "2024-01-32",
)  # fmt: skip
NO_NUMBERS = ("abc", "1_000", "0x10", "1,5", "1e400", "inf", "-Infinity", "1e", "--1", "1 2", "e5", "ann", "+-nan")


@pytest.mark.parametrize("to", SOURCES)
@pytest.mark.parametrize(("kind", "wrong"), [("date", NO_DATES), ("number", NO_NUMBERS)], ids=["date", "number"])
def test_what_is_refused_here_is_refused_there(kind: Any, wrong: tuple[str, ...], to: str, tmp_path: Path) -> None:
    name = "x days" if kind == "date" else "x"
    model = reading_of(fitted(ColumnPlan("x", kind, numbers=(NumberPlan(name, 0.0, 0.0, 1.0),))))
    program = compile_c(model, tmp_path) if to == "c" else export_model(model, tmp_path / "model.mjs", "js")
    for cell in wrong:
        with pytest.raises(DataError):
            model.outputs(pd.DataFrame({"x": [cell]}, dtype=object))
        with pytest.raises(
            AssertionError, match=r"row 1 has '.*' in the column 'x', which holds|The column \"x\" holds"
        ):
            ask_c(program, ["x"], [[cell]], tmp_path) if to == "c" else ask_js([[cell]], tmp_path)


@pytest.mark.parametrize("to", SOURCES)
def test_a_zone_moves_a_date_over_the_end_of_a_month(to: str, tmp_path: Path) -> None:
    numbers = tuple(NumberPlan(f"x {part}", 0.0, 0.0, 1.0) for part in DATE_PARTS)
    days = (
        "2024-02-28",
        "2024-02-29",
        "2023-02-28",
        "2023-12-31",
        "2024-01-01",
        "2024-03-01",
        "1969-12-31",
        "1970-01-01",
    )
    rows = [[f"{day}T{time}"] for day in days for time in ("23:30-01:00", "00:30+01:00", "12:00Z")]
    check_rows(to, reading_of(fitted(ColumnPlan("x", "date", numbers=numbers))), ["x"], rows, tmp_path)


def test_numbers_booleans_and_dates_of_javascript(tmp_path: Path) -> None:
    """A row of JSON is not all text; it counts as pandas would count it."""
    table = fitted(
        ColumnPlan("x", "number", numbers=(NumberPlan("x", 7.0, 0.0, 1.0),), missing_indicator=True),
        ColumnPlan(
            "c", "category", categories=("0", "1e-05", "3", "0.1", "True", "1000000000000000000000"), other=True
        ),
    )
    cells = [0, -0.0, 1e-5, 3.0, 0.1, True, 1e21, 0.25, None]
    rows = [[x, c] for x, c in zip([1, 2.5, True, False, None, "4", "", 0, -1], cells, strict=True)]
    expected = reading_of(table).outputs(pd.DataFrame({"x": [row[0] for row in rows], "c": cells}, dtype=object))
    assert run_js(reading_of(table), rows, tmp_path) == expected.tolist()
    by_name = [{"c": c, "x": x, "more": 1} for x, c in rows]
    assert run_js(reading_of(table), by_name, tmp_path) == expected.tolist()


@pytest.mark.parametrize("row", [{"x": 1}, [1], [1, 2, 3]], ids=["a name", "too short", "too long"])
def test_javascript_refuses_a_row_that_lacks_a_column(row: Any, tmp_path: Path) -> None:
    number = NumberPlan("x", 0.0, 0.0, 1.0)
    table = fitted(ColumnPlan("x", "number", numbers=(number,)), ColumnPlan("toString", "number", numbers=(number,)))
    with pytest.raises(AssertionError, match=r"no column \"toString\"|A row has 2 columns, and not"):
        run_js(reading_of(table), [row], tmp_path)


def test_the_c_program_refuses_a_file_that_lacks_a_column(tmp_path: Path) -> None:
    table = fitted(ColumnPlan("x", "number", numbers=(NumberPlan("x", 0.0, 0.0, 1.0),)))
    with pytest.raises(AssertionError, match="the first line has no column 'x'"):
        run_c(reading_of(table), ["y"], [["1"]], tmp_path)
    with pytest.raises(AssertionError, match="line 2 has 2 values, and the table has 1 column"):
        run_c(reading_of(table), ["x"], [["1", "2"]], tmp_path)


ERRORS = [
    (b"x,day\n1,2024-05-06\n\nabc\x1b[1m,\n", "Error: row 2 has 'abc?[1m' in the column 'x', which holds numbers; the"),
    (b"x;day\n1;2024-05-06\n2;soon\n", "Error: row 2 has 'soon' in the column 'day', which holds dates; the model"),
    (b'x,day\r\n"1","2024-05-06"\r\n2\r\n', "Error: line 3 has 1 value, and the table has 2 columns."),
    (b'x,day,note\n1,,"a\nb\n"\n\n2,\n', "Error: line 6 has 2 values, and the table has 3 columns."),
    (b"x,day\r1,2024-05-06\r2\r", "Error: line 3 has 1 value, and the table has 2 columns."),
    (b"x,day,x\n1,,2\n", "Error: the file has more than one column called 'x'; rename one."),
    (b"", "Error: there is no input; a table needs a line of column names and rows."),
    ("x,day,Größe\n1,,2\n".encode("cp1252"), "Error: line 1 is not UTF-8; save the file as UTF-8."),
    ("x,day,Größe\n1,,2\n".encode("utf-16"), "Error: line 1 is not UTF-8; save the file as UTF-8."),
    ("x,day,note\n1,,K\n2,,€".encode("cp1252"), "Error: line 3 is not UTF-8; save the file as UTF-8."),
    (b"x,day,note\n1,,\xc0\xaf\n", "Error: line 2 is not UTF-8"),  # too long for its character
    (b"x,day,note\n1,,\xed\xa0\x80\n", "Error: line 2 is not UTF-8"),  # half a character of UTF-16
    (b"x,day,note\n1,,\xf4\x90\x80\x80\n", "Error: line 2 is not UTF-8"),  # beyond Unicode
    (b"x,day,note\n1,,\xe2\x82\n", "Error: line 2 is not UTF-8"),  # cut off
]


def number_and_date() -> Model:
    number, date = NumberPlan("x", 0.0, 0.0, 1.0), NumberPlan("day days", 0.0, 0.0, 1.0)
    return reading_of(fitted(ColumnPlan("x", "number", numbers=(number,)), ColumnPlan("day", "date", numbers=(date,))))


def test_the_errors_of_the_c_program_name_the_place(tmp_path: Path) -> None:
    program = compile_c(number_and_date(), tmp_path)
    for content, message in ERRORS:
        done = subprocess.run([program], input=content, capture_output=True, check=False)
        assert done.stderr.decode().startswith(message)
        assert done.returncode == 2
    text = "x;day;note\n1;2024-05-06;aé€🦊\u0800\uffff\U0010ffff\n"
    assert subprocess.run([program], input=text.encode(), capture_output=True, check=False).returncode == 0


def test_the_c_program_of_arrays_names_the_place_of_a_number(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="row 2 has 'abc' where the model takes number 3; the model cannot use it"):
        run_c(network_of(DenseLayer(1, (3,))), ["a", "b", "c"], [["1", "2", "3"], ["1", "2", "abc"]], tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_c_program_writes_the_digits_that_predict_writes(dtype: Any, tmp_path: Path) -> None:
    network = network_of(InputScalingLayer(), dtype=dtype)
    network.stack.build((3,))
    model = Model(network, Target("regression", n_columns=3))
    rows = [[0.1, 1e21, -2.0], [1 / 3, 1e-7, 123456789.0], [2 / 3, 1e5, 16777216.0]]
    inputs = np.array(rows, dtype)
    expected = prediction_csv(model, prediction_frame(model, inputs))
    text = [[repr(float(cell)) for cell in row] for row in inputs]
    assert [",".join(record) for record in run_c(model, ["a", "b", "c"], text, tmp_path)] == expected.splitlines()


@pytest.mark.parametrize("to", SOURCES)
def test_far_off_numbers_are_refused_as_here(to: str, tmp_path: Path) -> None:
    model = reading_of(fitted(ColumnPlan("x", "number", numbers=(NumberPlan("x", 0.0, 0.0, 1e-30),))))
    with pytest.raises(DataError, match="too far from the training data"):
        model.outputs(pd.DataFrame({"x": [1e20]}))
    with pytest.raises(AssertionError, match=r"cannot use|far from the training data"):
        numbers_of(to, model, ["x"], [["1e20"]], tmp_path)


hostile = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\n"), max_size=12) | st.sampled_from(
    ["*/ oops", "/* oops", "??/", "??/\t\\", "</script><script>", "<!--", '"; oops();', "\\", "\\u0022", "%s%n",
     "`${x}`", "int", "NULL", "NAN", "9 lives", "", "_x", "naïve", "ναι", "\u2028", "🦊", "__proto__", "constructor",
     "model_row", "x" * 5000, "'", "?" * 3000, "row", "unix"]
)  # fmt: skip


def hostile_model(names: list[str], labels: list[str]) -> tuple[Model, list[list[str]]]:
    """Names everywhere: of columns and classes, as categories, and rows with each of them in every place."""
    kept = sorted({name.strip() for name in names} - MISSING_WORDS)
    plans = [
        ColumnPlan(name, "number", numbers=(NumberPlan(name, 0.5, 0.0, 1.0),))
        if place % 2
        else ColumnPlan(name, "category", categories=(*kept, "z"), missing_category=True, other=True)
        for place, name in enumerate(names)
    ]
    table = fitted(*plans)
    network = network_of(DenseLayer(len(labels), (len(table.feature_names),)))
    target, notes = Target("multiclass", tuple(labels)), {"label_names": labels}
    rows = [[str(place) if plan.kind == "number" else text for place, plan in enumerate(plans)] for text in kept]
    return Model(network, target, table, target_name=f"{names[0]}{names[1]}?", notes=notes), rows or [
        ["1"] * len(names)
    ]


@pytest.mark.parametrize("to", SOURCES)
def test_hostile_names_are_only_names(to: str, tmp_path: Path) -> None:
    some = st.lists(hostile, min_size=3, max_size=5, unique=True)

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(names=some, labels=some)
    def check(names: list[str], labels: list[str]) -> None:
        model, rows = hostile_model(names, labels)
        expected = model.predict(pd.DataFrame(rows, columns=names, dtype=object)).tolist()
        if to == "js":
            assert run_js(model, rows, tmp_path, "predict") == expected
            assert ask_js([dict(zip(names, row, strict=True)) for row in rows], tmp_path, "predict") == expected
            return
        header, *records = run_c(model, names, rows, tmp_path)
        assert header[1:] == [f"probability_{label}" for label in labels]
        assert [record[0] for record in records] == expected

    check()


def test_text_that_no_file_can_hold_still_compiles(tmp_path: Path) -> None:
    """Half of a surrogate pair, and what a compiler reads before it reads C: trigraphs and the ends of lines."""
    names = ["\ud800", "??/\n", "\\\n", "\r*/", "*/"]
    model, _ = hostile_model(names, names)
    compile_c(model, tmp_path)
    text = (tmp_path / "model.c").read_text("ascii")
    assert "??" not in text
    export_model(model, tmp_path / "model.mjs", "js")
    assert run("node", "--check", tmp_path / "model.mjs") == ""


def test_the_module_is_ascii_and_ends_no_script(tmp_path: Path) -> None:
    plans = [
        ColumnPlan(name, "category", categories=("</script>", "é"), other=True) for name in ("</script>", "*/", "<!--")
    ]
    export_model(reading_of(fitted(*plans)), tmp_path / "m.mjs", "js")
    text = (tmp_path / "m.mjs").read_text("ascii")
    assert "</script" not in text
    assert "<!--" not in text
    assert run("node", "--check", tmp_path / "m.mjs") == ""


def test_text_with_nul_is_refused_for_c(tmp_path: Path) -> None:
    plan = ColumnPlan("x", "category", categories=("a\0b", "c", "d"))
    with pytest.raises(InvalidInputError, match="holds the character NUL"):
        export_model(reading_of(fitted(plan)), tmp_path / "m.c", "c")
    assert list(tmp_path.iterdir()) == []


@given(st.lists(hostile, unique=True, max_size=8))
def test_identifiers_are_of_c_and_all_different(names: list[str]) -> None:
    found = identifiers(names)
    assert len(set(found)) == len(names)
    assert all(name.isascii() and name.isidentifier() and not name.startswith("_") for name in found)


def test_a_program_of_ones_own_uses_the_interface(tmp_path: Path) -> None:
    """Two models in one program, by their names, in a file of its own; NULL and NAN are missing."""
    model = reading_of(TABLE)
    for name in ("a model.c", "2nd.c"):
        export_model(model, tmp_path / name, "c")
    user = tmp_path / "user.c"
    user.write_text(
        '#define CHAINRULE_DECLARATIONS\n#include "a model.c"\n#include "2nd.c"\n'
        "#include <math.h>\n#include <stdio.h>\n"
        "int main(void)\n{\n"
        "    a_model_row row = {0};\n    x_2nd_row other = {0};\n"
        "    double outputs[A_MODEL_OUTPUTS];\n    int i, bad;\n"
        '    row.number = NAN;\n    row.town = " Porto";\n    row.day = "2001-02-03";\n    other.day = "bad";\n'
        "    bad = a_model_predict(&row, outputs);\n"
        '    for (i = 0; i < A_MODEL_OUTPUTS; i++)\n        printf("%.9g,", outputs[i]);\n'
        '    printf("%d,%d\\n", bad, x_2nd_predict(&other, outputs));\n    return 0;\n}\n'
    )
    run(*COMPILE, user, tmp_path / "a model.c", tmp_path / "2nd.c", "-o", tmp_path / "user", "-lm")
    *numbers, good, bad = map(float, run(tmp_path / "user").split(","))
    frame = pd.DataFrame([[np.nan, 0.0, 0, None, "Porto", None, "2001-02-03"]], columns=COLUMNS)
    np.testing.assert_allclose(numbers, model.outputs(frame)[0], rtol=1e-6)
    assert (good, bad) == (0, COLUMNS.index("day") + 1)
    assert math.isnan(frame["number"][0])


@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_bounded_numbers_and_scores_of_quantiles_are_exported(scaling: Any, tmp_path: Path) -> None:
    table = TablePreprocessor(categorical=["code"], scaling=scaling).fit(FRAME)
    model = reading_of(table)
    frame = FRAME.head(30).astype(object)
    frame.loc[3, ["number", "gaps"]] = 1e12, -1e30
    expected = model.outputs(frame)
    np.testing.assert_array_equal(expected, table.transform(frame))
    names = [plan.name for plan in table.feature_plan.columns]
    cells = [[None if pd.isna(cell) else str(cell) for cell in row] for row in frame[names].to_numpy().tolist()]
    for to in SOURCES:
        np.testing.assert_allclose(numbers_of(to, model, names, cells, tmp_path), expected, atol=2e-6)
    (value,) = ReferenceEvaluator(build_onnx(model)).run(None, onnx_inputs(model, frame))
    np.testing.assert_allclose(value, expected, atol=2e-6)
    export_model(model, tmp_path / "table.pt2", "torch")  # PyTorch refuses empty buffers
    (value,) = build_torch_program(model).module()(torch_inputs(model, frame)).values()
    np.testing.assert_allclose(value, expected, atol=2e-6)
