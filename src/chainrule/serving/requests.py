"""Check requests and read their bodies within the limits."""

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

from chainrule.serving.base import CSV, JSON, Limits, RequestError, error_response, shown

__all__ = [
    "BodyReader",
    "CheckHead",
    "ClientDisconnected",
    "Hosts",
    "answer_type",
    "body_text",
    "body_type",
    "check_number_of_rows",
    "json_rows",
]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# The memory of Python objects per character of a JSON text: lists, objects, elements, and numbers with a point.
JSON_BYTES = {b"[": 64, b"{": 240, b",": 8, b".": 24}
CSV_CELL_BYTES = 64

_QUALITY = re.compile(r"[01](\.\d{0,3})?")

Reserve = Callable[[int], None]  # called with the number of bytes that a request needs from now on


class Hosts:
    """The host names that requests to a server may use in their Host header.

    A malicious web page can make a browser send requests to any address, also to this machine (DNS rebinding). The Host
    header then contains the name of the host of the page.

    Parameters
    ----------
    address
        The address that the server listens on. Requests may use it and the names of the loopback interface. If the
        server listens on all addresses of its machine, they may also use any numeric address and the name of the
        machine.
    allowed
        Additional names, such as that of a proxy in front of the server; ``"*"`` allows any.
    """

    def __init__(self, address: str, allowed: Collection[str] = ()) -> None:
        names = {*LOOPBACK, address, *allowed}
        self.allows_any = "*" in allowed
        ip = _parse_ip(address)
        self.allows_numeric = address == "" or (ip is not None and ip.is_unspecified)
        if self.allows_numeric:
            names |= {socket.gethostname(), socket.getfqdn()}
        self.names = frozenset(name.lower().rstrip(".") for name in names)

    def __contains__(self, host: str) -> bool:
        """Return whether the value of a Host header, with or without a port, is a name of this server."""
        name = _without_port(host).lower().rstrip(".")
        return self.allows_any or name in self.names or (self.allows_numeric and _parse_ip(name) is not None)


class CheckHead:
    """Middleware that refuses requests whose head is too long (431), or whose Host is missing (400) or wrong (421).

    Without ``hosts``, the Host header is not checked.
    """

    def __init__(self, app: ASGIApp, limits: Limits, hosts: Hosts | None) -> None:
        self.app, self.limits, self.hosts = app, limits, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if its head is valid."""
        if scope["type"] == "http" and (error := self._find_error(scope)) is not None:
            await error_response(error, close=True)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _find_error(self, scope: Scope) -> RequestError | None:
        headers = scope["headers"]
        n_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        n_bytes += sum([len(name) + len(value) + 4 for name, value in headers])
        if n_bytes > self.limits.head_bytes:
            max_size = f"{self.limits.head_bytes:,} bytes"
            return RequestError(431, f"The request line and the headers have more than {max_size}.")
        if self.hosts is None:
            return None
        names = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(names) != 1:
            return RequestError(400, f"The request has {len(names) or 'no'} Host headers; it must have one.")
        if names[0] not in self.hosts:
            name = _without_port(names[0])[:80]
            return RequestError(421, f"This server is not {name!r}; start it with --allow-host to accept this name.")
        return None


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _parse_ip(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


class ClientDisconnected(Exception):  # noqa: N818  # not an error: no answer can be sent
    """The client closed the connection."""


class BodyReader:
    """Read bodies in chunks, and refuse a body that is too large or too slow while it is received.

    It also limits the total number of bytes of all requests: their bodies, inputs, predictions and answers.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.reserved_bytes = 0

    @contextmanager
    def account(self) -> Iterator[Reserve]:
        """Yield a function that sets the number of bytes of a request, which is 0 after the block.

        The function raises ``RequestError`` 503 if the total number of bytes of all requests would be too large.
        """
        reserved = 0

        def reserve(n_bytes: int) -> None:
            nonlocal reserved
            if n_bytes > reserved and self.reserved_bytes - reserved + n_bytes > self.limits.all_body_bytes:
                raise RequestError(503, "The server is busy with other large requests; try again in a second.")
            self.reserved_bytes += n_bytes - reserved
            reserved = n_bytes

        try:
            yield reserve
        finally:
            reserve(0)

    async def read(self, headers: Mapping[str, str], receive: Receive, reserve: Reserve) -> bytes:
        """Return the body. ``reserve`` is called with its current size while it is received.

        Raises ``RequestError`` 408, 413 or 503, and ``ClientDisconnected``.
        """
        limits = self.limits
        declared = headers.get("content-length", "")
        too_large = f"The body is larger than {limits.body_bytes:,} bytes; send fewer rows in one request."
        if declared.isdecimal() and int(declared[:20]) > limits.body_bytes:
            raise RequestError(413, too_large)
        chunks: list[bytes] = []
        n_bytes, more = 0, True
        try:
            async with asyncio.timeout(limits.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnected
                    chunk: bytes = message.get("body", b"")
                    n_bytes += len(chunk)
                    if n_bytes > limits.body_bytes:
                        raise RequestError(413, too_large)
                    reserve(n_bytes)
                    chunks.append(chunk)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise RequestError(
                408, f"The body took longer than {limits.body_seconds:g} seconds; send it faster, or fewer rows."
            ) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def body_type(headers: Mapping[str, str]) -> str:
    """Return ``JSON`` or ``CSV``. Raises ``RequestError`` 415 for other types of bodies."""
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestError(415, "Compressed bodies are not supported; send the rows without Content-Encoding.")
    media, *parameters = (part.strip() for part in headers.get("content-type", "").lower().split(";"))
    if media not in (JSON, CSV):
        problem = f"is '{media[:80]}'" if media else "is missing"
        curl = f"(with curl: -H 'Content-Type: {JSON}')"
        raise RequestError(415, f"The Content-Type {problem}; send {JSON} or {CSV} {curl}.")
    for name, _, value in (parameter.partition("=") for parameter in parameters):
        charset = value.strip().strip('"')
        if name.strip() == "charset" and charset not in ("utf-8", "utf8", "us-ascii"):
            raise RequestError(415, f"The charset is {charset[:40]}; send the text in UTF-8.")
    return media


def answer_type(headers: Mapping[str, str]) -> str:
    """Return ``CSV`` if the Accept header names it and prefers it to JSON, and ``JSON`` otherwise."""
    accept = headers.get("accept", "").lower()
    if CSV not in accept:
        return JSON
    quality = {JSON: 0.0, CSV: 0.0}
    for part in accept.split(","):
        media, *parameters = (item.strip() for item in part.split(";"))
        value = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        quality[media] = float(value) if _QUALITY.fullmatch(value) else 0.0
    return CSV if quality[CSV] > quality[JSON] else JSON


def body_text(body: bytes, media_type: str, limits: Limits) -> str:
    """Return a body as text. Raises ``RequestError`` 413 for too many values, and 400 if it is not UTF-8 text.

    The memory that the values need is estimated from the characters between them: 8 MB of empty lists need 200 MB.
    """
    if media_type == JSON:
        n_bytes = sum([size * body.count(character) for character, size in JSON_BYTES.items()])
    else:
        separators, line_ends = (b",", b";", b"\t", b"|"), (b"\n", b"\r")
        n_bytes = CSV_CELL_BYTES * (max(map(body.count, separators)) + max(map(body.count, line_ends)))
    if n_bytes > limits.value_bytes:
        raise RequestError(413, "The body has too many values; send fewer rows in one request.")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(400, f"The body is not UTF-8 text: byte {error.start + 1} cannot be read.") from None
    if "\x00" in text:
        raise RequestError(400, "The body is binary and not text: it contains a zero byte.")
    return text


def json_rows(text: str, limits: Limits) -> list[Any]:
    """Return the rows of a JSON text: one object, an array of rows, or ``{"rows": [...]}``.

    Raises ``RequestError``: 400 with the position for invalid JSON, 413 for too many rows, 422 for no rows.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        position = {"line": error.lineno, "column": error.colno, "position": error.pos}
        message = f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        raise RequestError(400, message, **position) from None
    except RecursionError:
        raise RequestError(400, "The body is nested too deeply; rows are objects or arrays of values.") from None
    except ValueError:  # Python does not read integers with thousands of digits
        raise RequestError(400, "The body has a number with thousands of digits; send a smaller number.") from None
    if type(value) is dict and type(value.get("rows")) is list:
        if len(value) > 1:
            raise RequestError(422, 'The body has other fields than "rows"; send only {"rows": [...]}.')
        value = value["rows"]
    rows = [value] if type(value) is dict else value
    if type(rows) is not list:
        expected = 'send one row as an object, an array of rows, or {"rows": [...]}'
        raise RequestError(422, f"The body is {shown(value)}; {expected}.")
    if not rows:
        raise RequestError(422, "The body has no rows.")
    check_number_of_rows(len(rows), limits)
    return rows


def check_number_of_rows(n_rows: int, limits: Limits) -> None:
    """Raise ``RequestError`` 413 if a request has too many rows."""
    if n_rows > limits.rows:
        raise RequestError(413, f"The body has more than {limits.rows:,} rows; send fewer rows in one request.")
