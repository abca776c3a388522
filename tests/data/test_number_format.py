"""Numbers as people write them: what is written in a format is read back, and the format is found from the cells."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule.data import TablePreprocessor
from chainrule.data.number_format import NumberFormat, NumberScan
from chainrule.errors import CellError, DataError, InvalidInputError

MARKS = [(".", ""), (".", ","), (".", " "), (".", "'"), (",", ""), (",", "."), (",", " "), (",", "'")]
AFFIXES = [("", ""), ("$", ""), ("R$", ""), ("CHF", ""), ("Rs.", ""), ("", "%"), ("", "€"), ("", "kr"), ("", "kg"),
           ("", "m²"), ("", "km/h"), ("$", "US$"), ("US$", "$"), ("€", "€/m2"), ("kr", "kr")]  # fmt: skip
formats = st.builds(
    lambda marks, affixes: NumberFormat(*marks, *affixes), st.sampled_from(MARKS), st.sampled_from(AFFIXES)
)
amounts = st.decimals(-(10**9), 10**9, places=2)


def write(number: Decimal, form: NumberFormat, sign: str = "-", space: str = " ") -> str:
    """Write a number in a format, with a space between it and its affixes or without."""
    digits = f"{abs(number):,}".replace(",", "_").replace(".", form.decimal).replace("_", form.thousands)
    before = form.prefix + space * bool(form.prefix)
    after = space * bool(form.suffix) + form.suffix
    return f"{sign if number < 0 else ''}{before}{digits}{after}"


def learn(cells: list[str], **options: list[str]) -> TablePreprocessor:
    return TablePreprocessor(**options).fit(pd.DataFrame({"x": cells, "y": np.arange(len(cells)) / 2}))


@given(formats, st.lists(amounts, min_size=1, max_size=8), st.sampled_from("-\u2212\u2013"), st.sampled_from(["", " "]))
def test_what_is_written_in_a_format_is_read_in_it(
    form: NumberFormat, numbers: list[Decimal], sign: str, space: str
) -> None:
    texts = [write(number, form, sign, space) for number in numbers]
    expected = [float(number) for number in numbers]
    assert form.read(texts).tolist() == expected
    assert form.read([*texts, "no number"]).tolist()[:-1] == expected
    assert np.isnan(form.read(["no number"])).all()
    assert NumberFormat.from_dict(form.to_dict()) == form


@settings(deadline=None)
@given(formats, st.lists(amounts, min_size=3, max_size=12), st.randoms(use_true_random=False))
def test_the_format_is_found_where_a_cell_decides_it(
    form: NumberFormat, numbers: list[Decimal], random: object
) -> None:
    """Two decimals decide what a mark is; where no number is above 999, no thousands mark can be seen."""
    assume(len(set(numbers)) > 2)
    texts = [write(number, form) for number in numbers]
    table = learn(texts)
    plan = table.columns[0]
    assert plan.kind == "number"
    assert plan.note == ""
    assert table.read(pd.DataFrame({"x": texts, "y": 0.0}))["x"].tolist() == [float(number) for number in numbers]
    # Cells that were not seen, and no others beside them.
    for number in (Decimal("1.25"), Decimal("-0.5")):
        new = pd.DataFrame({"x": [write(number, form)], "y": 0.0})
        assert table.read(new)["x"].tolist() == [float(number)]


@pytest.mark.parametrize(
    ("form", "wrong"),
    [
        (NumberFormat(), ["1,5", "1,234", "1 234", "$5", "5%", "1.2.3", "--1", "1e", "0x10", "1_000", "", ".", "1.5-"]),
        (NumberFormat(".", ","), ["12,34", "1,2345", ",123", "0,123", "1,234,5", "1.234.567", "1,23,4567"]),
        (NumberFormat(",", "."), ["3.14", "1.23,4", "1,234.5", "1.2.3", "0.263"]),
        (NumberFormat(prefix="$"), ["€5", "$$5", "5$", "$-", "-$-5", "(-5)", "(5", "5)"]),
        (NumberFormat(suffix="kg"), ["5 g", "5 kg kg", "kg", "kg 5"]),
    ],
)
def test_what_is_written_otherwise_is_no_number(form: NumberFormat, wrong: list[str]) -> None:
    assert np.isnan(form.read(wrong)).all()


def test_infinite_numbers_are_refused_and_not_missing() -> None:
    for cell in ("inf", "-Infinity", "1e999"):
        with pytest.raises(DataError, match="'x' has an infinite number in row 3"):
            learn(["1", "2", cell])


@pytest.mark.parametrize(
    ("cells", "beside", "value", "note"),
    [
        (
            ["3.283", "525", "1.099"],
            [1, 2, 3],
            3283,
            "'3.283' can be read in two ways; it is read as a thousands separator",
        ),
        (["3.283", "5250", "1.099"], [1, 2, 3], 3.283, "it is read as a decimal separator"),
        (["3.283", "5.251", "1.099"], [1, 2, 3], 3.283, "it is read as a decimal separator"),
        (["3.283", "5.251", "1.099"], ["0,5", "2,25", "3,75"], 3283, "it is read as a thousands separator"),
        (["3.283", "5.251", "1.099"], ["0.5", "2.25", "3.75"], 3.283, ""),
        (["565,522", "251,001", "19,099"], [1, 2, 3], 565522, "'565,522' can be read in two ways; it is read as a th"),
        (["3,283", "525", "1,099"], [1, 2, 3], 3283, ""),
        (["3,283", "5,251", "1,099"], ["0,5", "2,25", "3,75"], 3.283, "it is read as a decimal separator"),
        (["3,283", "5,251", "1,099"], ["0.5", "2.25", "3.75"], 3283, ""),
        (["3,283", "5.251", "1,099"], [1, 2, 3], 3283, "'5.251' can be read in two ways"),
        (["47.5%", "3%", "12"], [1, 2, 3], 47.5, "cells without % are read in the same way"),
        (
            ["0.37", "84%", "12.5%"],
            [1, 2, 3],
            37,
            "cells without % are shares, '0.37' is 37% (write '0.37%' if it is a",
        ),
        (["0.5%", "0.25", "1"], [1, 2, 3], 0.5, "cells without % are read in the same way"),
    ],
)
def test_what_marks_leave_open_is_decided_by_the_table_and_said(
    cells: list[str], beside: list[object], value: float, note: str
) -> None:
    frame = pd.DataFrame({"x": cells, "beside": beside})
    table = TablePreprocessor().fit(frame)
    assert table.read(frame)["x"][0] == value
    assert note in table.columns[0].note
    assert bool(note) == bool(table.columns[0].note)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["58.5k", "900", "1.2M"], [58_500, 900, 1_200_000]),
        (["$58.5k", "-$1.2M", "($3bn)"], [58_500, -1_200_000, -3e9]),
        (["1,5 Mio. €", "2 Mrd. €", "750 €"], [1.5e6, 2e9, 750]),
        (["3k", "2m", "5k"], [3000, 2e6, 5000]),
        ([f"{k}k" for k in range(30)], [1000.0 * k for k in range(30)]),
        ([f"{k / 8:.2f}m" for k in range(3)], [0, 0.12, 0.25]),
        (["3 Stk", "12 Stk", "1 Stk"], [3, 12, 1]),
        (["1 star", "2 Stars", "3.5 stars"], [1, 2, 3.5]),
        (["1,200 sq yd", "950 sq yd", "1,000 sq yd"], [1200, 950, 1000]),
        (["10,000+", "500+", "5,000,000+"], [10_000, 500, 5_000_000]),
    ],
)
def test_multiples_and_unknown_units_are_read(cells: list[str], expected: list[float]) -> None:
    table = TablePreprocessor.from_dict(json.loads(json.dumps(learn(cells).to_dict())))
    plan = table.columns[0]
    assert plan.kind == "number"
    assert len(plan.output_names) == 1
    np.testing.assert_allclose(table.read(pd.DataFrame({"x": cells, "y": 0.0}))["x"], expected, rtol=1e-15)
    assert plan.explain().startswith(f"x: number, {next(cell for cell in cells if not cell.isdigit())!r} is ")


@pytest.mark.parametrize(
    ("cells", "word"),
    [(["10k", "20k", "10k"], "k"), (["12A", "7A", "12A"], "A"), (["12b", "7b", "3b"], "b"), (["2m", "3m", "5m"], "m")],
)
def test_whole_numbers_with_a_letter_may_be_codes(cells: list[str], word: str) -> None:
    plan = learn(cells).columns[0]
    assert plan.kind == "category"
    assert f"its cells are numbers with '{word}'; list it under numeric (--numeric) to use it as numbers" in plan.note
    assert learn(cells, numeric=["x"]).columns[0].n_missing == 0


@pytest.mark.parametrize("cells", [["2A", "5C", "3D"], ["12 kg", "5 lb", "7 kg"], ["1st", "2nd", "3rd"], ["5 km", "3"]])
def test_numbers_with_different_words_are_categories(cells: list[str]) -> None:
    assert (learn(cells).columns[0].kind == "category") == (cells != ["5 km", "3"])


def test_a_column_of_whole_numbers_has_the_marks_of_its_table() -> None:
    frame = pd.DataFrame({"a": ["5", "7", "900"], "b": ["0,25", "2,5", "1.003,75"]})
    table = TablePreprocessor().fit(frame)
    assert table.read(frame.assign(a=["1.500", "2.000.000", "7"]))["a"].tolist() == [1500, 2_000_000, 7]
    alone = TablePreprocessor().fit(frame[["a"]])
    assert alone.read(pd.DataFrame({"a": ["1.500"]}))["a"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["$5", "7 US$", "$9"], [5, 7, 9]),
        (["5 $", "US$ 7", "9 $"], [5, 7, 9]),
        (["€ 5", "7 €/m2", "€ 9"], [5, 7, 9]),
        (["Rs 5", "7 Rs.", "Rs 9,500.5"], [5, 7, 9500.5]),
    ],
)
def test_of_a_currency_and_a_unit_one_may_contain_the_other(cells: list[str], expected: list[float]) -> None:
    table = learn(cells)
    assert table.read(pd.DataFrame({"x": cells, "y": 0.0}))["x"].tolist() == expected


def test_lists_are_no_decimal_numbers_where_other_columns_have_decimal_points() -> None:
    frame = pd.DataFrame({"x": ["1,2", "2,3", "1,3"], "beside": ["0.5", "2.25", "3.75"]})
    plan = TablePreprocessor().fit(frame).columns[0]
    assert plan.kind == "category"
    assert "lists" in plan.note
    assert TablePreprocessor(numeric=["x"]).fit(frame).columns[0].kind == "number"
    decimals = frame.assign(x=["1,2", "2,05", "1,3"])
    assert TablePreprocessor().fit(decimals).columns[0].kind == "number"


@pytest.mark.parametrize("cells", [["01", "02", "10"], ["9007199254740993", "9007199254740995", "12"]])
def test_codes_are_categories_unless_they_are_said_to_be_numbers(cells: list[str]) -> None:
    plan = learn(cells).columns[0]
    assert (plan.kind, set(plan.categories)) == ("category", set(cells))
    assert "is a code" in plan.note
    assert learn(cells, numeric=["x"]).columns[0].kind == "number"


@pytest.mark.parametrize("n_words", [1, 50])
def test_one_word_among_numbers_is_a_missing_value_at_any_share(n_words: int) -> None:
    table = learn(["1", "2.5", *["sold out", "Sold out"] * n_words])
    plan = table.columns[0]
    assert (plan.kind, plan.n_missing) == ("number", 2 * n_words)
    assert plan.note == f"'sold out' and 'Sold out' ({2 * n_words} cells) are read as missing values"
    assert plan.missing_indicator
    new = pd.DataFrame({"x": ["sold out", "7"], "y": 0.0})
    assert table.read(new)["x"].isna().tolist() == [True, False]
    with pytest.raises(DataError, match="'x' contains numbers, but row 1 has 'gone'"):
        table.read(new.assign(x=["gone", "7"]))


@pytest.mark.parametrize("words", [["sold out", "gone"], ["12b", "12b"], ["yes", "yes"], ["1.2.3", "1.2.3"]])
def test_other_texts_among_numbers_make_categories_or_are_mistakes(words: list[str]) -> None:
    assert learn(["1", "2", "3", *words]).columns[0].kind == "category"
    many = [str(3 * number) for number in range(100)]
    with pytest.raises(DataError, match=rf"row 101 has '{words[0]}' \(and 1 cell more\); correct that cell"):
        learn([*many, *words])
    coerced = learn([*many, *words], numeric=["x"]).columns[0]
    assert (coerced.kind, coerced.n_missing) == ("number", 2)
    assert f"2 cells such as '{words[0]}' cannot be read and are missing" in coerced.note
    assert learn([*many, *words], categorical=["x"]).columns[0].kind == "category"
    told = learn([*many, *words], **{"missing_words": words}).columns[0]
    assert (told.kind, told.n_missing, told.note) == ("number", 2, "")


@pytest.mark.parametrize("typed", [False, True], ids=["text", "typed"])
@pytest.mark.parametrize(
    ("numbers", "n_missing"),
    [
        ([0, 3, 7, -999, -999], 2),
        ([0, 3, 7, -99, -99, -999, -999], 4),
        ([-30.5, 40, 12, -999, -999], 2),
        ([0, 3, 7, -999], 0),
        ([-80, 500, 20, -99, -99], 0),
        ([-10, -9, -8, -9, -9], 0),
        ([5, 5, -9, -9], 2),
    ],
)
def test_a_number_far_from_all_others_stands_for_a_missing_value(
    numbers: list[float], n_missing: int, typed: bool
) -> None:
    cells = numbers if typed else [str(number) for number in numbers]
    frame = pd.DataFrame({"x": cells, "y": np.arange(len(cells)) / 2})
    table = TablePreprocessor().fit(frame)
    plan = table.columns[0]
    assert plan.n_missing == n_missing
    assert ("read as a missing value" in plan.note) == (n_missing > 0)
    assert int(table.read(frame)["x"].isna().sum()) == n_missing
    spelt = pd.DataFrame({"x": ["-999.0", "-999", "-9.99e2"], "y": 0.0})
    if -999 in numbers:
        assert table.read(spelt)["x"].isna().tolist() == [n_missing > 0] * 3
    assert TablePreprocessor(numeric=["x"]).fit(frame).columns[0].n_missing == 0


def test_a_word_for_a_missing_value_that_is_a_number_is_missing_in_every_spelling() -> None:
    table = learn(["1", "2", "-1", "3"], missing_words=["-1"])
    assert table.columns[0].n_missing == 1
    new = pd.DataFrame({"x": ["-1", "-1.0", "1"], "y": 0.0})
    assert table.read(new)["x"].isna().tolist() == [True, True, False]
    assert table.read(new.assign(x=[-1, -1.0, 1]))["x"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    "damage",
    [
        {"decimal": ";"},
        {"thousands": "."},
        {"prefix": "<script>"},
        {"suffix": 5},
        {"words": [["k", 0]]},
        {"words": [["1", 1]]},
        {"words": 5},
        {"more": 1},
        {"decimal": ["."]},
    ],
)
def test_a_damaged_format_is_refused(damage: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError, match="number format"):
        NumberFormat.from_dict({**NumberFormat(".", ",").to_dict(), "decimal": ".", **damage})


def test_many_texts_are_looked_at_as_closely_as_few() -> None:
    """Of so many texts a sample is looked at first; a cell that decides, or contradicts, is found all the same."""
    counts = np.ones(20_001, np.int64)
    unclear = [f"{k // 1000 + 1}.{k % 1000:03d}" for k in range(20_000)]
    assert NumberScan([*unclear, "1.5"], counts).decided == "."
    assert NumberScan([*unclear, "1,5"], counts).decided == ","
    money = [f"${k},{k % 1000:03d}.25" for k in range(1, 20_001)]
    scan = NumberScan([*money, "7 apples"], counts)
    assert scan.choose()[0] == NumberFormat(".", ",", "$")
    assert np.isnan(scan.read(scan.choose()[0])).sum() == 1 + sum(k > 999 for k in range(1, 20_001))
    assert NumberScan(
        [f"{k} {'abcdefghijklmnopqrstuvwxyz'[k % 26]} Street" for k in range(20_000)], counts[1:]
    ).has_no_numbers
    words = [f"word {k}" for k in range(20_000)]
    assert NumberScan([*words, "word"], counts).has_no_numbers


@pytest.mark.parametrize(
    ("cells", "read", "refused"),
    [
        (["30 %", "4.5%", "1%"], {"12%": 12}, ["30", "0.05"]),
        (["30 %", "4.5%", "12"], {"30": 30, "0.05": 0.05}, []),
        (["30 %", "4.5%", "0.12"], {"0.05": 5, "1": 100, "-.5": -50}, ["30", "1.5"]),
        (["30,5 %", "4,5%", "0,12"], {"0,05": 5, "1,0": 100}, ["30", "1,5"]),
    ],
)
def test_a_cell_without_percent_sign_means_what_such_training_cells_meant(
    cells: list[str], read: dict[str, float], refused: list[str]
) -> None:
    (plan,) = TablePreprocessor().fit(pd.DataFrame({"x": cells})).columns
    np.testing.assert_allclose(plan.read([*read]), [*read.values()])
    for cell in refused:
        with pytest.raises(CellError, match=f"row 1 has '{cell}'; write it like 1.*%"):
            plan.read([cell])


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["5 kg", "6 KG", "7.5 Kg", "8kgs"], [5, 6, 7.5, 8]),
        (["5 KG", "6 KG", "7.5 kg", "8 kg"], [5, 6, 7.5, 8]),
        (["US$5", "USD 6", "$7.5", "8 USD", "(4 $)"], [5, 6, 7.5, 8, -4]),
        (["5 €", "EUR 6,5", "7 EUR", "€8"], [5, 6.5, 7, 8]),
    ],
)
def test_the_spellings_of_one_unit_are_one_unit(cells: list[str], expected: list[float]) -> None:
    frame = pd.DataFrame({"x": cells * 20})
    table = TablePreprocessor.from_dict(TablePreprocessor().fit(frame).to_dict())
    assert table.columns[0].kind == "number"
    assert table.read(frame)["x"].tolist() == expected * 20


def test_a_few_cells_with_another_unit_are_mistakes() -> None:
    cells = [f"{k + 0.5} {'kg' if k % 2 else 'KG'}" for k in range(60)]
    with pytest.raises(CellError, match=r"row 3 has '9 lb' \(and 3 cells more\); correct that cell"):
        TablePreprocessor().fit(pd.DataFrame({"x": [*cells[:2], *["9 lb"] * 4, *cells[2:]]}))
