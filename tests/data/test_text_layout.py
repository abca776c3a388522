"""How a text is a table: separator, comments, names in the first row, and the bounds of the search for them."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Any

import pytest

from chainrule.data import text_layout
from chainrule.data.text_layout import find_layout
from chainrule.data.text_table import parse_text_table
from chainrule.errors import DataError

UNNAMED = "unnamed"  # stands for column_1, column_2, ...


def columns(text: str) -> list[str] | str:
    names = list(parse_text_table(text, "rows.csv").columns)
    return UNNAMED if names == [f"column_{place + 1}" for place in range(len(names))] else names


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        # Decimal commas beside another separator, and commas in the names.
        (lines("Länge, mm;Breite, mm;Masse, g", "3,09;4,04;12,48"), ["Länge, mm", "Breite, mm", "Masse, g"], "3,09"),
        (lines("a;b", "1,5;2", "2,5;3"), ["a", "b"], "1,5"),
        (lines("a;b", "1 234,50;2", "2 500,00;3"), ["a", "b"], "1 234,50"),
        (lines("a;b", "1.234,50 €;2", "2.500,00 €;3"), ["a", "b"], "1.234,50 €"),
        (lines("a b", "1,5 2,5", "2,5 3,5"), ["a", "b"], "1,5"),
        (lines("a\tb", "1,234.50\t2", "2,500\t3"), ["a", "b"], "1,234.50"),
        (lines("price", "3,50", "4,20"), ["price"], "3,50"),
        # Lists and texts with separators in them.
        (lines("who, short;where", "Ann, A;Porto", "Bob, B;Faro"), ["who, short", "where"], "Ann, A"),
        (lines("id;tags;y", "1;a,b;0", "2;c,d;1"), ["id", "tags", "y"], "1"),
        (lines("id,tags,y", "1,a;b,0", "2,c;d,1"), ["id", "tags", "y"], "1"),
        (lines("id;where;y", "1;41.1,-8.6;0", "2;41.2,-8.5;1"), ["id", "where", "y"], "1"),
        (lines("name\tage", "Smith, John\t34", "Jones, Mary\t20"), ["name", "age"], "Smith, John"),
        (lines("name\tage", "Smith,John\t34", "Jones,Mary\t20"), ["name", "age"], "Smith,John"),
        (lines("pixels\tlabel", "1,2,3,4,5\tcat", "4,5,6,7,8\tdog"), ["pixels", "label"], "1,2,3,4,5"),
        (lines("when,n", "2020-01-01 10:00:00,34", "2020-01-02 11:00:00,20"), ["when", "n"], "2020-01-01 10:00:00"),
        (lines("when\tn", "2020-01-01 10:00:00\t34", "2020-01-02 11:00:00\t20"), ["when", "n"], "2020-01-01 10:00:00"),
        (lines('"a","b;c"', '"1,5","x;y"', '"2,5","z;w"'), ["a", "b;c"], "1,5"),
        (
            lines("id;title;price", '1;"Flat near metro, 3 rooms; ref 1";3,5', '2;"House near beach; ref 2";8,1'),
            ["id", "title", "price"],
            "1",
        ),
        (lines("first name,last name,years", "A B,C D,5", "E F,G H,6"), ["first name", "last name", "years"], "A B"),
        # White space.
        (lines(" 0.636  18.00   2.310  0", " 0.0409  19.00   3.310  0"), UNNAMED, "0.636"),
        (lines('18.0   4   307.0  1\t"model 0"', '19.0   5   101.0  2\t"model 1 x"'), UNNAMED, "18.0"),
        (lines("a b c", "0 0 -1.182", "1 1 -1.769"), ["a", "b", "c"], "0"),
        (lines('"a x" "b"  c', "0 0 -1.182", "1 1 -1.769"), ["a x", "b", "c"], "0"),
        (lines("a b c", "1 ? 3", "2 NA 5"), ["a", "b", "c"], "1"),
        (lines('"a" "b"', '"r1" 0.5 2', '"r2" 0.6 3'), ["column_1", "a", "b"], "r1"),  # as R writes them
        (lines('"a"\t"b"', '"r1"\t0.5\t2', '"r2"\t0.6\t3'), ["column_1", "a", "b"], "r1"),
        (lines("text", "Hello, world", "Foo", "Bar, baz, qux"), ["text"], "Hello, world"),
        (lines("text", "Hello world", "Foo bar", "baz qux"), ["text"], "Hello world"),
        (lines("good movie", "bad movie", "old movie"), ["good movie"], "bad movie"),
        # A first line that says what the separator is.
        ("sep=;\na;b;c\n0;0;0\n", ["a", "b", "c"], "0"),
        ("\ufeffsep=;\r\na;b\r\n0;0\r\n", ["a", "b"], "0"),
        ('"sep=;"\na;b\n0;0\n', ["a", "b"], "0"),
        ("SEP=^\na^b,c\n0^0\n", ["a", "b,c"], "0"),
        ("sep=\t\na,b\tc\n0\t0\n", ["a,b", "c"], "0"),
        # Ends of lines, and of the file.
        ("a,b\r1,2\r3,4\r", ["a", "b"], "1"),
        ("a,b\r\n1,2\r3,4\n5,6\r\r\n7,8", ["a", "b"], "1"),
        ("# note\ra,b\r1,2\r3,4\r", ["a", "b"], "1"),
        ("a,b\n1,2\n3,4\n\x1a", ["a", "b"], "1"),
        ("\n  \na,b\n1,2\n", ["a", "b"], "1"),
    ],
)
def test_the_separator_and_the_names_are_found(text: str, names: list[str] | str, first: str) -> None:
    assert columns(text) == names
    layout = find_layout(text, "rows.csv", None, 100)
    assert next(text_layout.rows_of(layout.text, layout.separator, layout.start))[0][0].strip() == first


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (lines("country,2019,2020", "c0,0,0", "c1,1,2", "c2,2,4"), ["country", "2019", "2020"]),
        (lines("country;2019;2020", "Portugal;10,1;10,3", "Spain;47;47,3"), ["country", "2019", "2020"]),
        (lines('"country","2019","2020"', '"PT","1","2"', '"ES","3","5"'), ["country", "2019", "2020"]),
        (lines("country,2020", "Portugal,10.3", "Spain,47.3"), ["country", "2020"]),
        (lines("2018,2019,2020", "1.5,2.5,3", "2,3,4"), ["2018", "2019", "2020"]),
        (lines("country,2020-01-01,2020-02-01", "A,1,2", "B,3,4"), ["country", "2020-01-01", "2020-02-01"]),
        (lines("0,1,2,3", "5.1,3.5,1.4,0.2", "4.9,3.0,1.4,0.2"), ["0", "1", "2", "3"]),
        (lines(",0,1", "0,5.1,3.5", "1,4.9,3.0"), ["column_1", "0", "1"]),
        (lines("0,1,2,3,4,5", "5,9,3,2,2,7", "1,6,6,0,4,9"), ["0", "1", "2", "3", "4", "5"]),
        (lines("id,1,2,3", "a,yes,no,yes", "b,no,no,yes"), ["id", "1", "2", "3"]),
        (lines("Q1,Q2,Q3", "1,2,3", "4,5,6"), ["Q1", "Q2", "Q3"]),
        (lines("age,town", "31,Porto", "?,", "NA,Faro"), ["age", "town"]),
        (lines("town,plan", "Porto,Basic"), ["town", "plan"]),
        (lines("a,b", "1,2", "a,b", "3,4"), ["a", "b"]),
        # A name that is also one of the values below it.
        (lines("sex,other", "male,yes", "female,other", "male,no"), ["sex", "other"]),
        (lines("name,red,size", "ann,red,s", "bob,blue,m"), ["name", "red", "size"]),
        (
            lines("sex,other,none,plan,age", "m,yes,none,b,31", "f,other,one,c,45"),
            ["sex", "other", "none", "plan", "age"],
        ),
        (lines("2019,2020", "1,²²²²", *["1,2"] * 9), ["2019", "2020"]),  # digits that are no number
        # Values.
        (lines("1,2", "3,4"), UNNAMED),
        (lines("1,2"), UNNAMED),
        (lines("1,2,3", "3,5,1", "7,7,2"), UNNAMED),
        (lines("0,0,0", "0,1,1", "1,0,1", "1,1,0"), UNNAMED),
        (lines(*(",".join(str(i + j) for j in range(8)) for i in range(5))), UNNAMED),
        (lines("Acme,2019,2020", "Foo,2001,2021", "Bar,2018,2022"), UNNAMED),
        (lines("Porto,2020", "Faro,1500", "Braga,980", "Lisboa,3000"), UNNAMED),
        (lines("3,09;4,04;12,48", "3,39;4,13;14,00"), UNNAMED),
        (lines("5.1,3.5,Iris-setosa", "4.9,3.0,Iris-setosa"), UNNAMED),
        (lines("39, State-gov, 77516", "50, Private, 83311"), UNNAMED),
        (lines("2020-01-01,5", "2020-01-02,6"), UNNAMED),
        (lines("p,x,s", "e,x,y", "e,b,s", "p,x,y"), UNNAMED),  # words that are values further below
        (lines("ann,red,s", "bob,red,m", "cy,blue,s"), UNNAMED),
        (lines("John Smith,34", "Mary Jones,20"), UNNAMED),
    ],
)
def test_the_rows_below_tell_whether_the_first_has_names(text: str, names: list[str] | str) -> None:
    assert columns(text) == names


def test_a_count_above_ratings_is_names_and_ratings_alone_are_values() -> None:
    draw = random.Random(1)
    ratings = [f"{user}," + ",".join(str(draw.randint(1, 5)) for _ in range(4)) for user in range(30)]
    assert columns(lines("user,1,2,3,4", *ratings)) == ["user", "1", "2", "3", "4"]
    assert columns(lines(*ratings)) == UNNAMED


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (lines("# made by hand", "a,b", "1,2"), ["a", "b"]),
        (lines("# made by Anna, Porto", "a,b", "1,2", "3,4"), ["a", "b"]),
        (lines("#made by Anna, Porto", "a,b", "1,2", "3,4"), ["a", "b"]),
        (lines("# made by Anna, Porto", "name,town", "Bea,Faro"), ["name", "town"]),
        (lines("#id,b", "1,2"), ["#id", "b"]),
        (lines("#name,town", "Anna,Porto", "Bea,Faro"), ["#name", "town"]),
        (lines("##x=1", "##contig=<ID=1,length=5>", "#CHROM\tPOS", "1\t5", "2\t7"), ["#CHROM", "POS"]),
        (lines("# x y z", "1.0 2.0 3.0", "4 5 6"), ["x", "y", "z"]),  # as numpy.savetxt writes names
        (lines("# x y", "1.0 2.0"), ["x", "y"]),
        (lines("# x,y,z", "1.0,2.0,3.0", "4,5,6"), ["x", "y", "z"]),
        (lines("# a", "#b", "text", "x"), ["text"]),
        (lines("% note", "", "# another", "a|b", "1|2"), ["a", "b"]),
        (lines("#ff0000,red", "#00ff00,green", "#0000ff,blue"), ["#ff0000", "red"]),
    ],
)
def test_comments_above_the_table_are_left_out(text: str, names: list[str]) -> None:
    assert columns(text) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            lines("My table", "a,b", "1,2", "3,4"),
            "1 values in line 1, but most lines below it have 2; remove the lines",
        ),
        (lines("# x", "My table", "", "a,b,c", "1,2,3", "4,5,6"), "1 values in line 2, but most lines below it have 3"),
        (lines("a,b,c", "1,2", "1,2,3", "4", "5,6", "7,8,9,0"), "2 values in line 2, but the table has 3"),
        (lines("# note", "#code\tplace\tzone\tnote", "x\t1\ty", "x\t2\ty\tz", "u\t1\ty"), "4 values in line 4"),
        (lines('a,"b', "1,2", "3,4"), "quotation mark in line 1 that is never closed"),
        (lines("sep=;", "a;b", "1;2", "1;2;3"), "3 values in line 4"),
        (lines("# note", "a b", "1 2", "1 2", "1 2 3"), "3 values in line 5"),
        ("# note\ra,b\r1,2\r1,2,3\r", "3 values in line 4"),
        (lines("a,b", "1" * 2**24), "more than 4,194,304 characters in line 2"),
        ("1," * 10**6 + "1", "1,000,001 columns in its first line; the maximum is 100,000"),
    ],
)
def test_the_line_is_named(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_text_table(text, "rows.csv")


@pytest.mark.parametrize(
    "text", ["", "\n", "\x0c\n", "\u3000\n", "sep=;\n", "sep=;", "\ufeffsep=;\r\n\x1a", "\xa0\n" * 2000]
)
def test_a_text_of_blank_lines_is_empty(text: str) -> None:
    with pytest.raises(DataError, match="is empty; a table needs a line of column names, and rows"):
        parse_text_table(text, "rows.csv")


@pytest.mark.parametrize(
    "text",
    [
        "#\n" * 50_000 + "a,b\n1,2\n",
        "#a,b\n" * 50_000 + "a,b\n1,2\n",
        "\n" * 50_000 + "a,b\n1,2\n",
        "a,b\n" + "1,2\n" * 50_000,
        "a,b\n" + "\n" * 50_000 + "1,2\n",
        'a,b\n1,"' + "\n" * 50_000,
        "a b\n" + '1 " \n' * 50_000,
    ],
    ids=["comments", "comments with cells", "blank lines", "rows", "blank rows", "never closed", "stray quotes"],
)
def test_no_line_is_looked_at_many_times(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    class Counting:
        def finditer(self, *arguments: Any) -> Iterator[re.Match[str]]:
            nonlocal looks
            for match in pattern.finditer(*arguments):
                looks += 1
                yield match

    pattern = text_layout._LINE
    monkeypatch.setattr(text_layout, "_LINE", Counting())
    assert find_layout(text, "rows.csv", None, 100).names == ["a", "b"]
    assert looks <= 4 * text.count("\n")
