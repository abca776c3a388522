"""Numbers, dates and categories as files write them: exported C and JavaScript read what the model reads."""

from __future__ import annotations

import random
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from chainrule.data.columns import ColumnPlan, NumberPlan
from chainrule.data.date_format import PATTERNS, DateFormat
from chainrule.data.number_format import NumberFormat
from chainrule.data.table import TablePreprocessor
from chainrule.data.texts import MISSING_CATEGORY_WORDS, MISSING_NUMBER_WORDS
from chainrule.errors import DataError
from chainrule.export import export_model
from chainrule.export.onnx_graph import build_onnx
from chainrule.export.patterns import compile_pattern
from chainrule.export.torch_program import build_torch_program
from chainrule.serving.rows import TableRows
from support.exported import ask_c, ask_js, compile_c, fitted, reading_of, run

WORDS = tuple(sorted(MISSING_NUMBER_WORDS))
NUMBERS = (
    "1,234.5", "-3", "1.234,50 €", "$1,234", "($5)", "($ 1,234.50)", "12 km/h", "1'000.5", "1’000", "R$ 5", "1e5",
    "-1E-3", "(1.5)", "12,34,567", "1 234,5", "1\u00a0234", "\u22125", "+7", ".5", "5.", "1.234",
    "1,234", "47%", "47.8 %", "0,5", "-3 %", "(1.5%)", "12.0%",
    "7 US$", "$7 US$", "$7", "€7 €/m2", "USD 7.5", "(US$7)", "5 USD",
    "58.5k", "1.2M", "$1.2M", "($3bn)", "-1,5 Mio. €", "2 k€", "3 Stk", "1 star", "(2 stars)", "84%", "0.37", "-0.5 %",
    "10,000+", "5+",
    "-999", "-999.0", "n/a", "1.2.3", "1,2,3", "12,3456", "abc", "1 2", "--5", "",
)  # fmt: skip
NUMBER_FORMATS = (
    NumberFormat(), NumberFormat(",", ".", suffix="€"), NumberFormat(".", ",", prefix="$"), NumberFormat(".", "'"),
    NumberFormat(",", " ", suffix="km/h"), NumberFormat(".", ",", prefix="R$", suffix="%"),
    NumberFormat(prefix="$", suffix="US$"), NumberFormat(prefix="US$", suffix="$"),
    NumberFormat(prefix="€", suffix="€/m2"),
    NumberFormat(prefix="$", words=(("bn", 1e9), ("M", 1e6), ("k", 1e3))),
    NumberFormat(",", ".", suffix="€", words=(("Mio.", 1e6), ("k", 1e3))),
    NumberFormat(words=(("stars", 1.0), ("star", 1.0))), NumberFormat(words=(("Stk", 1.0),)),
    NumberFormat(prefix="US$", suffix="USD", words=(("US$", 1.0), ("$", 1.0)), other_prefixes=("USD", "$")),
    NumberFormat(suffix="%"), NumberFormat(suffix="%", words=(("", 1.0),)),
    NumberFormat(suffix="%", words=(("", 100.0),)), NumberFormat(".", ",", words=(("+", 1.0),)),
)  # fmt: skip
DATES = (
    "2024-12-31", "2024/2/29", "31.12.2024", "1/2/23 5:06 PM", "12/13/2024", "13/12/2024", "3 Mar 2023 14:30",
    "Mon, 3rd March 2023", "20240131", "2024-01", "Jan 2, 2024", "2 de março de 2024", "2024 May 5", "May 2024",
    "12:30", "9:05:59.25 am", "2024-12-31T23:30:00-01:00", "2024-01-01 00:15+0530", "1 déc. 2020", "31.2.2024", "1.2.3",
    "1.2.13", "24:00", "today", "29.02.1900", "3. Oktober 1990", "5 août '99", "n/a", "", "01/02/03",
)  # fmt: skip
DATE_FORMATS = (DateFormat("dmy"), DateFormat("mdy"), DateFormat("ymd"), DateFormat("ymd", time_only=True))


def number_column(written: NumberFormat, *, coerce: bool) -> ColumnPlan:
    words = (*WORDS, "-999")
    numbers = (NumberPlan("x", -1.0, 0.0, 1.0),)
    return ColumnPlan(
        "x", "number", numbers=numbers, missing_indicator=True, format=written, missing_words=words, coerce=coerce
    )


def date_column(written: DateFormat, *, coerce: bool) -> ColumnPlan:
    parts = ("year", "month", "weekday", "days", "hour")
    numbers = tuple(NumberPlan(f"x {part}", -1.0, 0.0, 1.0) for part in parts)
    return ColumnPlan("x", "date", numbers=numbers, format=written, missing_words=WORDS, coerce=coerce)


def mutated(texts: tuple[str, ...], n: int) -> list[str]:
    """Texts with a character left out, put in or changed here and there."""
    rng = random.Random(0)
    changed = []
    for _ in range(n):
        text = list(rng.choice(texts))
        at = rng.randrange(len(text) + 1)
        text[at : at + rng.randint(0, 1)] = rng.choice(
            ["", " ", ".", ",", "1", "0", "-", "/", ":", "(", "€", "e", "Jan"]
        )
        changed.append("".join(text))
    return [text for text in (*texts, *changed) if not re.search("[eE][0-9]{2}", text)]  # which are too far off


PLANS = [
    (number_column(written, coerce=True), mutated(NUMBERS, 300)) for written in NUMBER_FORMATS
] + [(date_column(written, coerce=True), mutated(DATES, 300)) for written in DATE_FORMATS]  # fmt: skip


@pytest.mark.parametrize("to", ["c", "js"])
@pytest.mark.parametrize(("plan", "cells"), PLANS, ids=[str(plan.format) for plan, _ in PLANS])
def test_cells_are_read_as_the_model_reads_them(plan: ColumnPlan, cells: list[str], to: str, tmp_path: Path) -> None:
    model = reading_of(fitted(plan))
    expected = model.outputs(pd.DataFrame({"x": cells}, dtype=object))
    assert 0.02 < np.mean(expected[:, 0] == -1) < 0.98, "some are read, and some are not"
    if to == "c":
        _, *records = ask_c(compile_c(model, tmp_path), ["x"], [[cell] for cell in cells], tmp_path)
        found = np.array(records, float)
    else:
        export_model(model, tmp_path / "model.mjs", "js")
        found = np.array(ask_js([[cell] for cell in cells], tmp_path), float)
    differs = np.flatnonzero(~np.isclose(found, expected, rtol=1e-6, atol=1e-6).all(axis=1))
    assert [cells[row] for row in differs] == []


@pytest.mark.parametrize("to", ["c", "js"])
@pytest.mark.parametrize(
    ("plan", "wrong"),
    [
        (number_column(NumberFormat(), coerce=False), "1.2.3"),
        (date_column(DateFormat("dmy"), coerce=False), "32/1/2024"),
    ],
    ids=["number", "date"],
)
def test_what_is_no_number_or_date_is_refused(plan: ColumnPlan, wrong: str, to: str, tmp_path: Path) -> None:
    model = reading_of(fitted(plan))
    with pytest.raises(DataError):
        model.outputs(pd.DataFrame({"x": [wrong]}, dtype=object))
    program = compile_c(model, tmp_path) if to == "c" else export_model(model, tmp_path / "model.mjs", "js")
    with pytest.raises(AssertionError, match=r"cannot use|holds"):
        ask_c(program, ["x"], [[wrong]], tmp_path) if to == "c" else ask_js([[wrong]], tmp_path)


@pytest.mark.parametrize("to", ["c", "js"])
def test_files_say_how_times_of_day_are_written(to: str, tmp_path: Path) -> None:
    model = reading_of(fitted(date_column(DateFormat("ymd", time_only=True), coerce=False)))
    export_model(model, tmp_path / ("model.c" if to == "c" else "model.mjs"), to)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert re.search("x.* a time of day.* such as 18:30", text)
    assert "a Date" not in text
    assert "such as 2024" not in text


def test_numbers_that_stand_for_missing_ones_are_known_in_every_format(tmp_path: Path) -> None:
    model = reading_of(fitted(number_column(NumberFormat(), coerce=False)))
    cells = np.array([[-999.0], [5.0], [np.nan]])
    expected = model.outputs(pd.DataFrame(cells, columns=["x"]))
    np.testing.assert_array_equal(expected, [[-1, 1], [5, 0], [-1, 1]])
    graph = build_onnx(model)
    (outputs,) = ReferenceEvaluator(graph).run(None, {"x": cells})
    np.testing.assert_array_equal(outputs, expected)
    program = build_torch_program(model).module()
    (found,) = program(torch.from_numpy(cells)).values()
    np.testing.assert_array_equal(found, expected)
    export_model(model, tmp_path / "model.mjs", "js")
    np.testing.assert_array_equal(ask_js([[-999.0], [5], [None]], tmp_path), expected)
    rows = TableRows(model.table)
    for cell in (-999.0, -999, "-999", "-999.0"):
        np.testing.assert_array_equal(rows.encode([{"x": cell}, {"x": 5}]), expected[:2])


def test_texts_too_long_for_a_value_are_not_looked_at() -> None:
    """Patterns and composing take a time that grows with the square of some texts."""
    plan = date_column(DateFormat("dmy"), coerce=True)
    long = ["1 mar" + " " * 100_000 + "!", "1" * 100_000 + "x", "a" + "\u0301\u0316" * 100_000]
    assert np.isnat(plan.read(long)).all()
    assert np.isnan(number_column(NumberFormat(), coerce=True).read(long)).all()
    assert TablePreprocessor().fit(pd.DataFrame({"x": [*long, "b"] * 20})).columns[0].kind == "category"


CATEGORIES = (
    ColumnPlan("x", "category", categories=("No", "Yes"), other=True, missing_category=True),
    ColumnPlan("x", "category", categories=("não", "sim"), other=True),
    ColumnPlan("x", "category", categories=("01", "02", "2A", "São João", "NA"), other=True, missing_category=True,
               missing_words=tuple(sorted(MISSING_CATEGORY_WORDS - {"NA"}))),
    ColumnPlan("x", "category", categories=("1", "1.5", "10", "9007199254740993"), other=True, from_numbers=True),
)  # fmt: skip
CELLS = (
    "yes", "YES", "nO", " Yes\u00a0", "NÃO", "Não", "SIM", "n\u0061\u0303o", "01", "1", "1.0", "02", "2a", "2A", "NA",
    "n/a", "São João", "Sa\u0303o Joa\u0303o", "10.00", "1.5", "9007199254740993", "9007199254740992", "", "unknown",
)  # fmt: skip


@pytest.mark.parametrize("to", ["c", "js"])
@pytest.mark.parametrize("plan", CATEGORIES, ids=["yes", "sim", "codes", "numbers"])
def test_categories_are_found_in_all_their_spellings(plan: ColumnPlan, to: str, tmp_path: Path) -> None:
    model = reading_of(fitted(plan))
    expected = model.outputs(pd.DataFrame({"x": CELLS}, dtype=object))
    if to == "c":
        _, *records = ask_c(compile_c(model, tmp_path), ["x"], [[cell] for cell in CELLS], tmp_path)
        found: Any = np.array(records, float)
    else:
        export_model(model, tmp_path / "model.mjs", "js")
        found = ask_js([[cell] for cell in CELLS], tmp_path)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "text",
    [
        "town, Ａrea, price\nPorto, 5, 1\n",
        "\ufefftown,Ａrea\nPorto,5\n",
        "town;Ａrea\nPorto;5\n",
        "\u00a0town\tＡrea \r\nPorto\t5\r\n",
        'Ａrea, "town"\n5, "Porto"\n',
    ],
    ids=["spaces", "mark", "semicolon", "tab", "quotes"],
)
def test_the_c_program_reads_the_headers_that_training_reads(text: str, tmp_path: Path) -> None:
    table = fitted(
        ColumnPlan("town", "category", categories=("Faro", "Porto")),
        ColumnPlan("Ａrea", "number", numbers=(NumberPlan("Ａrea", 0.0, 0.0, 1.0),)),
    )
    program = compile_c(reading_of(table), tmp_path)
    assert run(program, text=text).splitlines()[1] == "1,5"


def test_decomposed_names_of_columns_are_found(tmp_path: Path) -> None:
    table = fitted(ColumnPlan("título", "number", numbers=(NumberPlan("título", 0.0, 0.0, 1.0),)))
    program = compile_c(reading_of(table), tmp_path)
    header = unicodedata.normalize("NFD", "título")
    assert run(program, text=f"{header}\n7\n").splitlines()[1] == "7"


def test_patterns_beyond_what_can_be_compiled_are_refused() -> None:
    for pattern in (r"\d+", "a)", "(?P<x>a"):
        with pytest.raises((ValueError, IndexError)):
            compile_pattern(pattern, ["x"])


def test_all_patterns_of_dates_can_be_compiled() -> None:
    for pattern in PATTERNS:
        groups = list(re.compile(pattern).groupindex)
        assert compile_pattern(pattern, groups).code
