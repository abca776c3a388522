"""Bytes become the right text, or an error names the line."""

from __future__ import annotations

import codecs

import pytest

from chainrule.data.text_encoding import count_lines, decode_text
from chainrule.errors import DataError

POLISH = "town,p\nŁódź,0\nZürich,1\nSão Paulo,2\n"
WESTERN = "preis,p\nüber “x”,0\n5 €,1\nl’été à Besançon,2\nÄÖÜ,3\nœuvre – 20 °C,4\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
)
@pytest.mark.parametrize("text", [POLISH, "a,b\r\n1,2\r\n", "名前,年\n東京,1\nソウル,2\n", "a,b\r😀,1\r", "a\n1\n"])
def test_unicode_is_read_with_and_without_a_mark(text: str, encoding: str) -> None:
    assert decode_text(text.encode(encoding), "rows.csv") == text


@pytest.mark.parametrize("encoding", ["utf-16-be", "utf-32-be"])
def test_a_mark_tells_the_order_of_bytes(encoding: str) -> None:
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else codecs.BOM_UTF32_BE
    assert decode_text(mark + POLISH.encode(encoding), "rows.csv") == POLISH


def test_western_text_is_that_of_windows() -> None:
    assert decode_text(WESTERN.encode("cp1252"), "rows.csv") == WESTERN
    # The letters are those of Latin-1, too; and a few pairs of bytes may be UTF-8 by chance.
    assert decode_text("café;ñ\n1;2\n".encode("latin-1"), "rows.csv") == "café;ñ\n1;2\n"
    text = "über,é\n" * 20 + "Â°,x\n"
    assert decode_text(text.encode("cp1252"), "rows.csv") == text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (POLISH.encode().replace(b"\xc3\xbc", b"\xfc"), "is UTF-8 text, but line 3 has the byte 0xFC"),
        (POLISH.encode().replace(b"\n", b"\r").replace(b"\xc3\xbc", b"\xfc"), "line 3 has the byte 0xFC"),
        (POLISH.encode() + b"S\xc3", "line 5 has the byte 0xC3"),
        (
            POLISH.encode("utf-8-sig").replace(b"\xc3\xbc", b"\xfc"),
            "UTF-8 text according to its byte order mark, but line 3",
        ),
        (
            codecs.BOM_UTF16_LE + POLISH.encode("utf-16-le") + b"\x00",
            "UTF-16 text according to its byte order mark, but line 5",
        ),
        (codecs.BOM_UTF16_LE + "a\nb\n".encode("utf-16-le") + b"\x00\xd8x\x00", "UTF-16 text .* but line 3"),
        ("é,1\nü,2\n".encode() + "ö,3\nä,3\nü,3\n".encode("cp1252"), "neither UTF-8 nor .* in line 3"),
        (b"a,b\n1,\x002\n", "zero byte in line 2"),
        (b"a,b\r1,2\r\x00", "zero byte in line 3"),
        (b"a,b\n\x00\x01\x02", "zero byte in line 2, so it is a binary file"),
        (POLISH.encode("utf-16-le")[:-1], "zero byte in line"),
        ("a,b\nИмя,1\nМосква,2\n".encode("cp1251"), "neither UTF-8 nor Western European text in line 3"),
        ("a,b\nαβγδε,1\n".encode("cp1253"), "neither UTF-8 nor Western European text in line 2"),
        ("a,b\nzażółć gęślą jaźń,1\n".encode("cp1250"), "neither UTF-8 nor Western European text in line 2"),
        ("a,b\nmünchen,1\nköln,2\n".encode("cp437"), "neither UTF-8 nor Western European text in line 2"),
        ("a,b\nköln,2\n".encode("cp850"), "neither UTF-8 nor Western European text in line 2"),
        ("a,b\nmünchen,1\n".encode("mac-roman"), "neither UTF-8 nor Western European text in line 2"),
        ("a,b\nこんにちは,1\n".encode("shift-jis"), "neither UTF-8 nor Western European text in line 2"),
        ("a,b\n北京市,1\n".encode("gb18030"), "neither UTF-8 nor Western European text in line 2"),
        ("a,b\n서울시,1\n".encode("euc-kr"), "neither UTF-8 nor Western European text in line 2"),
    ],
)
def test_the_line_that_cannot_be_decoded_is_named(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        decode_text(content, "rows.csv")
    assert str(caught.value).startswith("rows.csv ")


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a", 0), ("a\nb", 1), ("a\r\nb\rc\n", 3), ("\r\r\n\n", 3)])
def test_lines_end_in_any_of_three_ways(text: str, count: int) -> None:
    assert count_lines(text) == count
    assert count_lines("x\n" + text, 2) == 1
