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
    "bytes_of_json",
    "check_number_of_rows",
    "decode",
    "parse_json_rows",
]

# What values of Python take in memory, of which JSON may hold one in two or three bytes.
BYTES_OF_LIST, BYTES_OF_OBJECT, BYTES_OF_PLACE, BYTES_OF_NUMBER = 64, 240, 8, 24

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


def bytes_of_json(body: bytes) -> int:
    """Return about how many bytes the values of a JSON body take in memory, from the marks that stand between them.

    A body of 8 MB may hold millions of empty lists, which take 25 times as much. Marks within texts count as well.
    """
    return (
        BYTES_OF_LIST * body.count(b"[")
        + BYTES_OF_OBJECT * body.count(b"{")
        + BYTES_OF_PLACE * body.count(b",")
        + BYTES_OF_NUMBER * body.count(b".")
    )


def parse_json_rows(body: bytes, limits: Limits) -> list[Any]:
    """Return the rows of a JSON body: one object, an array of rows, or ``{"rows": [...]}``.

    Raises ``RequestError``: 400 with the place for what is no JSON, 413 for too many rows, 422 for no rows.
    """
    try:
        value = json.loads(decode(body))
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
    if type(value) is dict and type(value.get("rows")) is list:
        if len(value) > 1:
            raise RequestError(422, 'The body has fields besides "rows"; send {"rows": [...]} only.')
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
