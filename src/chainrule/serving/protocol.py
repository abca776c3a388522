"""One connection, guarded: uvicorn's HTTP with bounds for clients that are slow, endless, or many.

uvicorn waits for the headers of a request for as long as they take, and holds as many of them as come. An idle or
malicious client could so keep a connection for ever, or fill the memory. Bodies are bounded by
:class:`~chainrule.serving.bodies.BodyReader`; this is for what comes before and after them.
"""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chainrule.serving.base import Limits, to_json

__all__ = ["GuardedProtocol"]

MOST_PIPELINED = 64  # requests that a client sends without waiting for answers


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on heads, waiting, and connections.

    - A connection that has sent no whole head within ``head_seconds`` after it was opened, or after its last answer, is
      closed. So is one whose client takes nothing of an answer for as long.
    - A head beyond ``head_bytes`` gets 431, a connection beyond ``connections`` 503, what is no HTTP 400: as JSON,
      after the answers to the whole requests before it.
    - No other protocol is ever taken up. A request that offers one (curl and Java offer HTTP/2) is answered as if it
      had not: its body is a body, and not the next request.
    - When the server stops, a request that is still being sent is not waited for.
    """

    def __init__(self, limits: Limits, **settings: Any) -> None:
        super().__init__(**settings)
        self._limits = limits
        self._head_bytes = 0  # of a head that is not whole
        self._idle_since = self.loop.time()
        self._unsent = 0  # bytes that the client had not taken when it was last looked at
        self._taken_at = self._idle_since  # when it last took something, or had nothing to take
        self._watch: asyncio.TimerHandle | None = None
        self._under_way: Any = None  # the request that is being answered; uvicorn's cycle is the last that came
        self._plain_head = b""  # of a request that offers another protocol, without that offer
        self._refusal: bytes | None = None  # the last answer, for when those before it are given

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Take a connection, or refuse it where there are too many."""
        super().connection_made(transport)
        self._look_again()
        if len(self.connections) > self._limits.connections:
            self._refuse("503 Service Unavailable", "The server has too many connections; try again in a second.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._watch is not None:
            self._watch.cancel()
        if self._under_way is not None:
            self._under_way.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; give up on a head that grows too long."""
        if self.transport.is_closing() or self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        self._parse(data)
        if self._head_bytes > self._limits.head_bytes:
            most = f"{self._limits.head_bytes:,} bytes"
            self._refuse("431 Request Header Fields Too Large", f"The request's line and headers go beyond {most}.")

    def on_headers_complete(self) -> None:
        """Begin with a request; what is counted from here on is its body."""
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError("too many requests at once")  # which the parser turns into a bad request
        if self.parser.should_upgrade():
            self._plain_head = self._head_without_offer()
            return
        super().on_headers_complete()
        if not self.pipeline:
            self._under_way = self.cycle

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, which is not bounded here."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request; one that is read again without its offer, or a tunnel's, is none."""
        if self._plain_head or self.parser.get_method() == b"CONNECT":
            return
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note when the client was last served; give the last answer of all, where it waits."""
        self._idle_since = self._taken_at = self.loop.time()
        self._under_way = self.pipeline[-1][0] if self.pipeline else None
        if self._refusal is not None and not self.pipeline:
            self._close_with(self._refusal)
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Note that the client takes its answer, and give more of it."""
        self._taken_at = self.loop.time()
        super().resume_writing()

    def shutdown(self) -> None:
        """End the connection when the server stops: at once, or when the answers under way have been taken."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete or not cycle.more_body or self._refusal:
            super().shutdown()
        elif self.pipeline:
            self._refuse("503 Service Unavailable", "The server is stopping.")
        else:
            self.transport.abort()

    def _parse(self, data: bytes) -> None:
        """Give data to the parser, which stops behind the head of a request that offers another protocol."""
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as stop:
                data = self._plain_head + data[stop.args[0] :]
                if not self._plain_head:  # CONNECT, which asks for a tunnel
                    self._refuse("400 Bad Request", "This server is no proxy.")
                    return
                self._plain_head = b""
                self.parser = httptools.HttpRequestParser(self)  # the old one may think that the connection ends here
            except httptools.HttpParserError:
                self._refuse("400 Bad Request", "This is not a valid HTTP request.")
                return

    def _head_without_offer(self) -> bytes:
        method = self.parser.get_method()
        if method == b"CONNECT":
            return b""
        lines = [b"%s %s HTTP/%s" % (method, self.url, self.parser.get_http_version().encode("ascii"))]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def _look_again(self) -> None:
        self._watch = self.loop.call_later(self._limits.head_seconds / 2, self._look)

    def _look(self) -> None:
        """Cut the connection if its client neither takes its answer nor sends a head."""
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        if not 0 < self._unsent <= unsent:
            self._taken_at = now
        self._unsent = unsent
        is_idle = not unsent and (self.cycle is None or self.cycle.response_complete)
        if now - (self._idle_since if is_idle else self._taken_at) > self._limits.head_seconds:
            self.transport.abort()
        else:
            self._look_again()

    def _refuse(self, status: str, sentence: str) -> None:
        """Answer with an error and close, when the whole requests before it have their answers."""
        if self.transport.is_closing() or self._refusal is not None:
            return
        body = to_json({"error": sentence})
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        answer = head.encode("ascii") + b"connection: close\r\n\r\n" + body
        cycle = self.cycle
        is_whole = cycle is not None and not cycle.more_body
        if not is_whole and self.pipeline:
            self.pipeline.popleft()  # it is this request that is refused
        elif not is_whole or cycle.response_complete:
            self._close_with(answer)
            return
        self._refusal = answer

    def _close_with(self, answer: bytes) -> None:
        self.transport.write(answer)
        self.transport.close()
