"""Reading a request: its headers, its body within the limits, and the rows that the body holds."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.types import Receive

from chainrule.serving.base import CSV, JSON, Limits, RequestError, shown

__all__ = [
    "BodyReader",
    "ClientGone",
    "Hold",
    "answer_type",
    "body_type",
    "check_number_of_rows",
    "decode",
    "parse_json_rows",
]

LONG_TEXT = 2**15  # characters; about a millisecond's work

_ROWS_BEGIN = re.compile(r'[ \t\n\r]*(\{[ \t\n\r]*"rows"[ \t\n\r]*:[ \t\n\r]*)?\[[ \t\n\r]*')
_BEHIND_A_ROW = re.compile(r"[ \t\n\r]*([,\]]?)[ \t\n\r]*")
_DECODER = json.JSONDecoder()
_QUALITY = re.compile(r"[01](\.\d{0,3})?")

Hold = Callable[[int], None]  # takes the number of bytes that a request holds from now on


class ClientGone(Exception):  # noqa: N818  (it is no error: nobody is left to be told)
    """The client closed the connection before its request was whole."""


class BodyReader:
    """Reads bodies piece by piece, and refuses what is too large or too slow before it is all there.

    It knows how many bytes all requests hold at the moment, as bodies, inputs, predictions and answers, and keeps
    that bounded too.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes_held = 0

    @contextmanager
    def account(self) -> Iterator[Hold]:
        """Give a function that notes how many bytes one request holds; at the end of the block it holds none.

        The function raises ``RequestError`` 503 where all requests together would hold too many.
        """
        held = 0

        def hold(n_bytes: int) -> None:
            nonlocal held
            if n_bytes > held and self.bytes_held - held + n_bytes > self.limits.all_body_bytes:
                raise RequestError(503, "The server is busy with other large requests; try again in a second.")
            self.bytes_held += n_bytes - held
            held = n_bytes

        try:
            yield hold
        finally:
            hold(0)

    async def read(self, headers: Mapping[str, str], receive: Receive, hold: Hold) -> bytes:
        """Return the body, which ``hold``, of :meth:`account`, is told about while it comes.

        Raises ``RequestError`` 408, 413 or 503, and ``ClientGone``.
        """
        limits = self.limits
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limits.body_bytes:
            raise _too_large(limits)
        pieces: list[bytes] = []
        n_bytes, more = 0, True
        try:
            async with asyncio.timeout(limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    piece: bytes = message.get("body", b"")
                    n_bytes += len(piece)
                    if n_bytes > limits.body_bytes:
                        raise _too_large(limits)
                    hold(n_bytes)
                    pieces.append(piece)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RequestError(
                408, f"The body took longer than {limits.body_seconds:g} seconds; send it faster, or fewer rows."
            ) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def body_type(headers: Mapping[str, str]) -> str:
    """Return ``JSON`` or ``CSV``; raises ``RequestError`` 415 for another kind of body."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "Compressed bodies are not read; send the rows without Content-Encoding.")
    media, *parameters = headers.get("content-type", "").lower().split(";")
    if media.strip() in (JSON, CSV):
        for name, _, value in (parameter.partition("=") for parameter in parameters):
            charset = value.strip().strip('"')
            if name.strip() == "charset" and charset not in ("utf-8", "utf8", "us-ascii"):
                raise RequestError(415, f"The text is in {charset[:40]}; send it in UTF-8.")
        return media.strip()
    given = f"is '{media.strip()[:80]}'" if media.strip() else "is missing"
    raise RequestError(
        415,
        f"The Content-Type {given}; send {JSON} or {CSV} (with curl: -H 'Content-Type: {JSON}').",
    )


def answer_type(headers: Mapping[str, str]) -> str:
    """Return ``CSV`` where the Accept header names it and likes JSON less, and ``JSON`` otherwise."""
    accept = headers.get("accept", "").lower()
    if CSV not in accept:
        return JSON
    quality = {JSON: 0.0, CSV: 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        given = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        quality[media] = float(given) if _QUALITY.fullmatch(given) else 0.0
    return CSV if quality[CSV] > quality[JSON] else JSON


def parse_json_rows(body: bytes, limits: Limits, row_length: int) -> list[Any]:
    """Return the rows of a JSON body: one object, an array of rows, or ``{"rows": [...]}``.

    Raises ``RequestError``: 400 with the place for what is no JSON, 413 for too many rows or one beyond
    ``row_length`` characters, 422 for no rows.
    """
    try:
        value = _read_json(decode(body), limits, row_length)
    except json.JSONDecodeError as error:
        raise RequestError(
            400,
            f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno}).",
            line=error.lineno,
            column=error.colno,
            position=error.pos,
        ) from None
    except RecursionError:
        raise RequestError(400, "The body is nested too deeply to be rows.") from None
    except ValueError:  # Python reads whole numbers of up to some thousand digits
        raise RequestError(400, "The body has a whole number with thousands of digits; no model takes one.") from None
    if type(value) is dict and len(value) == 1 and type(value.get("rows")) is list:
        value = value["rows"]
    rows = [value] if type(value) is dict else value
    if type(rows) is not list:
        raise RequestError(
            422, f'The body is {shown(value)}; send one row as an object, an array of rows, or {{"rows": [...]}}.'
        )
    if not rows:
        raise RequestError(422, "The body has no rows.")
    check_number_of_rows(len(rows), limits)
    return rows


def _read_json(text: str, limits: Limits, row_length: int) -> Any:
    """Return what ``json.loads`` does, but read a long text row by row.

    ``json.loads`` lets no other thread work until it is done, and makes millions of rows before they can be counted.
    """
    if len(text) <= LONG_TEXT:
        return json.loads(text)
    begin = _ROWS_BEGIN.match(text)
    if begin is None:
        if len(text) > row_length:
            raise _too_long(1, row_length)
        return json.loads(text)
    if text.startswith("]", begin.end()) and len(text) > row_length:
        raise RequestError(422, "The body has no rows.")
    if text.startswith("]", begin.end()):
        return json.loads(text)
    rows: list[Any] = []
    place, separator, length = begin.end(), ",", 0
    while separator == ",":
        start = place
        row, place = _read_row(text, start, length, row_length, len(rows) + 1)
        length = place - start
        rows.append(row)
        check_number_of_rows(len(rows), limits)
        behind = _BEHIND_A_ROW.match(text, place)
        assert behind is not None, "it matches anything"
        separator, place = behind[1], behind.end()
    rest = text[place:].strip(" \t\n\r")
    if separator == "]" and rest == ("}" if begin[1] else ""):
        return rows
    if begin[1] and rest.startswith(","):
        raise RequestError(422, 'The body has something beside its "rows"; send {"rows": [...]} alone.')
    return json.loads(text)  # which says what is wrong


def _read_row(text: str, start: int, length: int, most: int, number: int) -> tuple[Any, int]:
    """Return the value that begins at ``start``, and its end; it may be ``most`` characters long.

    Rows are mostly as long as the one before, whose ``length`` is given: to copy more of the text would be a waste.
    """
    for end in (start + min(2 * length + LONG_TEXT, most), start + most + 1):
        part = text[start:end]
        try:
            value, stop = _DECODER.raw_decode(part)
        except json.JSONDecodeError as error:
            is_cut_off = error.pos > len(part) - 20 or error.msg.startswith("Unterminated string")
            if end >= len(text) or not is_cut_off:
                raise json.JSONDecodeError(error.msg, text, start + error.pos) from None
            continue
        if stop < len(part) or end >= len(text):  # and not the first digits of a number
            return value, start + stop
    raise _too_long(number, most)


def _too_long(number: int, most: int) -> RequestError:
    return RequestError(413, f"Row {number} is longer than {most:,} characters.", row=number)


def decode(body: bytes) -> str:
    """Return a body as text; raises ``RequestError`` 400 where it is none."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"The body is not UTF-8 text: byte {error.start + 1} cannot be read.") from None
    if "\x00" in text:
        raise RequestError(400, "The body is binary, not text: it holds a byte 0.")
    return text


def check_number_of_rows(n_rows: int, limits: Limits) -> None:
    """Raise ``RequestError`` 413 for more rows than a request may have."""
    if n_rows > limits.rows:
        raise RequestError(413, f"The body has more than {limits.rows:,} rows, the most in one request.")


def _too_large(limits: Limits) -> RequestError:
    return RequestError(413, f"The body is larger than {limits.body_bytes:,} bytes; send fewer rows in one request.")
