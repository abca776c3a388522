"""Checks of requests, and reading their bodies, within the limits."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from chainrule.serving.base import CSV, JSON, Limits, RequestError, shown, tell

__all__ = [
    "BodyReader",
    "CheckHead",
    "ClientGone",
    "Hosts",
    "answer_type",
    "body_text",
    "body_type",
    "check_number_of_rows",
    "json_rows",
]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# The memory of Python values for each mark of a JSON text: a list, an object, an element, a number with a point.
BYTES_OF_MARKS = {b"[": 64, b"{": 240, b",": 8, b".": 24}
BYTES_OF_CELL = 64  # of CSV, as text

_QUALITY = re.compile(r"[01](\.\d{0,3})?")

Hold = Callable[[int], None]  # takes the number of bytes that a request holds from now on


class Hosts:
    """The host names that requests to a server may use in their Host header.

    A malicious web page can make a browser send requests to any address, also to this machine (DNS rebinding); the Host
    header then holds the name of the page's host.

    Parameters
    ----------
    address
        The address that the server listens at. Requests may use it and the names of the loopback interface. For a
        server that listens at all addresses of its machine, they may also use any numeric address, which needs no name
        server, and the name of the machine.
    allowed
        Additional names, such as that of a proxy in front of the server; ``"*"`` allows any.
    """

    def __init__(self, address: str, allowed: Collection[str] = ()) -> None:
        names = {*LOOPBACK, address, *allowed}
        self.takes_any = "*" in allowed
        ip = _numeric(address)
        self.takes_numeric = address == "" or (ip is not None and ip.is_unspecified)
        if self.takes_numeric:
            names |= {socket.gethostname(), socket.getfqdn()}
        self.names = frozenset(name.lower().rstrip(".") for name in names)

    def __contains__(self, host: str) -> bool:
        """Return whether the value of a Host header, with or without a port, is a name of this server."""
        name = _without_port(host).lower().rstrip(".")
        return self.takes_any or name in self.names or (self.takes_numeric and _numeric(name) is not None)


class CheckHead:
    """Middleware that refuses a head that is too long (431), without exactly one Host (400), or for another host (421).

    Without ``hosts``, the Host header is not checked.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Hosts | None) -> None:
        self.app, self.limits, self.hosts = app, limits, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its head is valid."""
        if scope["type"] == "http" and (error := self._error_of(scope)) is not None:
            await tell(error, close=True)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _error_of(self, scope: Scope) -> RequestError | None:
        headers = scope["headers"]
        n_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        n_bytes += sum([len(name) + len(value) + 4 for name, value in headers])
        if n_bytes > self.limits.head_bytes:
            most = f"{self.limits.head_bytes:,} bytes"
            return RequestError(431, f"The request line and the headers have more than {most}.")
        if self.hosts is None:
            return None
        given = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(given) != 1:
            return RequestError(400, f"The request has {len(given) or 'no'} Host headers; it must have one.")
        if given[0] not in self.hosts:
            name = _without_port(given[0])[:80]
            return RequestError(421, f"This server is not {name!r}; start it with --allow-host to accept this name.")
        return None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _numeric(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class ClientGone(Exception):  # noqa: N818  (it is not an error: there is nobody to tell)
    """The client closed the connection."""


class BodyReader:
    """Reads bodies piece by piece, and refuses a body that is too large or too slow while it arrives.

    It also bounds the bytes that all requests hold together, as bodies, inputs, predictions and answers.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.bytes_held = 0

    @contextmanager
    def account(self) -> Iterator[Hold]:
        """Yield a function that sets the number of bytes that a request holds; after the block it holds none.

        The function raises ``RequestError`` 503 if all requests together would hold too many.
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
        """Return the body; ``hold`` is called with its size while it arrives.

        Raises ``RequestError`` 408, 413 or 503, and ``ClientGone``.
        """
        limits = self.limits
        declared = headers.get("content-length", "")
        too_large = f"The body is larger than {limits.body_bytes:,} bytes; send fewer rows in one request."
        if declared.isdecimal() and int(declared[:20]) > limits.body_bytes:
            raise RequestError(413, too_large)
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
                        raise RequestError(413, too_large)
                    hold(n_bytes)
                    pieces.append(piece)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RequestError(
                408, f"The body took longer than {limits.body_seconds:g} seconds; send it faster, or fewer rows."
            ) from None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def body_type(headers: Mapping[str, str]) -> str:
    """Return ``JSON`` or ``CSV``; raises ``RequestError`` 415 for another type of body."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "Compressed bodies are not read; send the rows without Content-Encoding.")
    media, *parameters = (part.strip() for part in headers.get("content-type", "").lower().split(";"))
    if media not in (JSON, CSV):
        given = f"is '{media[:80]}'" if media else "is missing"
        curl = f"(with curl: -H 'Content-Type: {JSON}')"
        raise RequestError(415, f"The Content-Type {given}; send {JSON} or {CSV} {curl}.")
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        charset = value.strip().strip('"')
        if name.strip() == "charset" and charset not in ("utf-8", "utf8", "us-ascii"):
            raise RequestError(415, f"The text is in {charset[:40]}; send it in UTF-8.")
    return media


def answer_type(headers: Mapping[str, str]) -> str:
    """Return ``CSV`` if the Accept header names it and prefers it to JSON, and ``JSON`` otherwise."""
    accept = headers.get("accept", "").lower()
    if CSV not in accept:
        return JSON
    quality = {JSON: 0.0, CSV: 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        given = next((value[2:] for value in parameters if value.startswith("q=")), "1")
        quality[media] = float(given) if _QUALITY.fullmatch(given) else 0.0
    return CSV if quality[CSV] > quality[JSON] else JSON


def body_text(body: bytes, media_type: str, limits: Limits) -> str:
    """Return a body as text; raises ``RequestError`` 413 for too many values, and 400 if it is not UTF-8 text.

    The memory that the values will take is estimated from the marks between them: 8 MB of empty lists take 200 MB.
    """
    if media_type == JSON:
        n_bytes = sum([size * body.count(mark) for mark, size in BYTES_OF_MARKS.items()])
    else:
        separators, line_ends = (b",", b";", b"\t", b"|"), (b"\n", b"\r")
        n_bytes = BYTES_OF_CELL * (max(map(body.count, separators)) + max(map(body.count, line_ends)))
    if n_bytes > limits.value_bytes:
        raise RequestError(413, "The body has too many values; send fewer rows in one request.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"The body is not UTF-8 text: byte {error.start + 1} cannot be read.") from None
    if "\x00" in text:
        raise RequestError(400, "The body is binary, not text: it holds a byte 0.")
    return text


def json_rows(text: str, limits: Limits) -> list[Any]:
    """Return the rows of a JSON text: one object, an array of rows, or ``{"rows": [...]}``.

    Raises ``RequestError``: 400 with the position for invalid JSON, 413 for too many rows, 422 for no rows.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        place = {"line": error.lineno, "column": error.colno, "position": error.pos}
        message = f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        raise RequestError(400, message, **place) from None
    except RecursionError:
        raise RequestError(400, "The body is nested too deeply to be rows.") from None
    except ValueError:  # Python refuses to read numbers with so many digits
        raise RequestError(400, "The body has a whole number with thousands of digits; no model takes one.") from None
    if type(value) is dict and type(value.get("rows")) is list:
        if len(value) > 1:
            raise RequestError(422, 'The body has fields besides "rows"; send {"rows": [...]} only.')
        value = value["rows"]
    rows = [value] if type(value) is dict else value
    if type(rows) is not list:
        wanted = 'send one row as an object, an array of rows, or {"rows": [...]}'
        raise RequestError(422, f"The body is {shown(value)}; {wanted}.")
    if not rows:
        raise RequestError(422, "The body has no rows.")
    check_number_of_rows(len(rows), limits)
    return rows


def check_number_of_rows(n_rows: int, limits: Limits) -> None:
    """Raise ``RequestError`` 413 for more rows than a request may have."""
    if n_rows > limits.rows:
        raise RequestError(413, f"The body has more than {limits.rows:,} rows, the most in one request.")
