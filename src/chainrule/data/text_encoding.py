"""Decode the bytes of a text file: UTF-8, UTF-16, UTF-32 or Windows-1252, or an error that names the line."""

from __future__ import annotations

import codecs
import re

from chainrule.errors import DataError

__all__ = ["count_lines", "decode_text"]

# UTF-32 comes before UTF-16, because the mark of UTF-16-LE is the beginning of that of UTF-32-LE.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b-\x1f]")
_UNUSED_CHARACTERS = "\U00040000"  # nearly all characters from here on are unassigned
_UNDECODED = re.compile("[\udc80-\udcff]")  # the result of "surrogateescape" for bytes that are not UTF-8
# A text is Windows-1252 if it has at least this number of undecoded bytes per valid UTF-8 sequence, because a few pairs
# of bytes may be valid UTF-8 by chance.
_WINDOWS_RATIO = 20
# Bytes that do not occur in Western European text in Windows-1252: long runs of accented letters (Cyrillic, Greek,
# Arabic, Asian encodings), and signs inside words (Central European, DOS and Macintosh encodings).
_NOT_WESTERN = re.compile(
    rb"[\xc0-\xff]{4}|(?!(.)\1{5})[\x80-\x9f\xa1-\xff]{6}|[\x81\x8d\x8f\x90\x9d]"
    rb"|[a-z\xe0-\xff][\x80\x82-\x84\x86-\x8b\x93-\x95\x98\x99\x9b\x9f\xa1\xa3\xa5\xa6\xa9\xab\xac\xae\xaf\xb1\xb3\xb6\xb9\xbb-\xbf][a-z\xe0-\xff]"
)


def decode_text(content: bytes, name: str) -> str:
    """Return the text of a file without its byte order mark. ``name`` is the name of the file for messages.

    The encoding is given by a byte order mark. Without one, text with many zero bytes is UTF-16 or UTF-32, and other
    text is UTF-8 if it is valid, otherwise Windows-1252 (Western European, with the euro sign).

    Raises ``DataError`` with the line for other encodings and for binary files.
    """
    for mark, encoding in _BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return _check_zeros(_decode(content[len(mark) :], encoding, name), name)
    if b"\x00" in content:
        return _check_zeros(_decode_without_mark(content, name), name)
    try:
        return _check_zeros(content.decode("utf-8"), name)
    except UnicodeDecodeError:
        return _check_zeros(_decode_windows_1252(content, name), name)


def count_lines(text: str, end: int | None = None) -> int:
    """Return the number of line breaks (CR LF, CR or LF) in ``text[:end]``."""
    return text.count("\n", 0, end) + text.count("\r", 0, end) - text.count("\r\n", 0, end)


def _decode(content: bytes, encoding: str, name: str) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as problem:
        line = count_lines(content[: problem.start].decode(encoding, "replace")) + 1
        raise DataError(
            f"{name} is {encoding[:-3].upper() if encoding != 'utf-8' else 'UTF-8'} text according to its byte order "
            f"mark, but line {line} cannot be decoded; save the file again as UTF-8."
        ) from None


def _decode_without_mark(content: bytes, name: str) -> str:
    """Decode text with zero bytes, which is UTF-16 or UTF-32 without a byte order mark."""
    sizes = ("utf-32-le", "utf-32-be") if len(content) % 4 == 0 else ()
    even, odd = content[::2].count(0), content[1::2].count(0)
    for encoding in (*sizes, "utf-16-le" if odd > even else "utf-16-be"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not _CONTROL.search(text) and max(text) < _UNUSED_CHARACTERS:
            return text
    return content.decode("latin-1")  # _check_zeros then raises an error


def _check_zeros(text: str, name: str) -> str:
    """Return the text. Raises ``DataError`` for a zero character, which occurs only in binary files."""
    if (index := text.find("\x00")) >= 0:
        raise DataError(
            f"{name} has a zero byte in line {count_lines(text, index) + 1}, so it is a binary file or damaged text; "
            "check that it is the right file."
        )
    return text


def _decode_windows_1252(content: bytes, name: str) -> str:
    text = content.decode("utf-8", "surrogateescape")
    n_bad = len(text) - len(_UNDECODED.sub("", text))
    n_good = len(text) - len(text.encode("ascii", "ignore")) - n_bad
    first = _UNDECODED.search(text)
    assert first is not None
    line = count_lines(text, first.start()) + 1
    if n_bad <= n_good:
        raise DataError(
            f"{name} is UTF-8 text, but line {line} has the byte 0x{ord(first[0]) - 0xDC00:02X}, which is not UTF-8; "
            "correct that line, or save the whole file as UTF-8."
        )
    foreign = _NOT_WESTERN.search(content)
    if foreign is None and n_bad >= _WINDOWS_RATIO * n_good:
        return content.decode("cp1252")
    if foreign is not None:
        line = count_lines(content[: foreign.start()].decode("latin-1")) + 1
    raise DataError(f"{name} is neither UTF-8 nor Western European text in line {line}; save the whole file as UTF-8.")
