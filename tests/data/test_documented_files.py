"""Every row of the tables in the documentation about files is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chainrule.data.text_encoding import decode_text
from chainrule.data.text_table import parse_text_table
from chainrule.errors import DataError

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "files-that-can-be-read.md"


def rows_below(heading: str) -> list[tuple[list[str], str]]:
    """Return of each row of the table with this heading the pieces of code in its first cell, and its second cell."""
    table = PAGE.read_text(encoding="utf-8").split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    cells = [line.strip("|").split(" | ") for line in table.splitlines()[2:]]
    return [(re.findall(r"`([^`]*)`", first), second) for first, second in cells]


LAYOUTS = rows_below("Start of the file")
ENCODINGS = [(codec, second) for codecs, second in rows_below("Encoding") for codec in codecs]
# What some encodings cannot write; all have other letters than ASCII's.
TEXTS = {
    "cp1251": "Привет",
    "cp1253": "καλημέρα",
    "shift-jis": "こんにちは",
    "gb18030": "北京市区",
    "euc-kr": "서울시장",
}
TEXTS |= dict.fromkeys(["cp1250"], "zażółć") | dict.fromkeys(["cp437", "mac-roman"], "münchen") | {"ascii": "plain"}


@pytest.mark.parametrize(("code", "names"), LAYOUTS, ids=[code[0] for code, _ in LAYOUTS])
def test_the_columns_are_those_that_the_page_says(code: list[str], names: str) -> None:
    text = code[0].replace(" ↵ ", "\n").replace("→", "\t") + "\n"
    assert list(parse_text_table(text, "rows.csv").columns) == re.findall(r"`([^`]*)`", names)


@pytest.mark.parametrize(("codec", "answer"), ENCODINGS)
def test_encodings_are_read_or_refused_as_the_page_says(codec: str, answer: str) -> None:
    text = f"town,n\n{TEXTS.get(codec, 'Évora')},1\n"
    if answer.startswith("yes"):
        assert decode_text(text.encode(codec), "rows.csv") == text
    else:
        with pytest.raises(DataError, match="neither UTF-8 nor Western European text in line 2"):
            decode_text(text.encode(codec), "rows.csv")
