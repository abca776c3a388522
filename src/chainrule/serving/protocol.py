"""One connection, guarded: uvicorn's HTTP with bounds for clients that are slow, endless, or many.

uvicorn waits for the headers of a request for as long as they take, and holds as many of them as come. An idle or
malicious client could so keep a connection for ever, or fill the memory. Bodies are bounded by
:class:`~chainrule.serving.bodies.BodyReader`; this is for what comes before and after them.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chainrule.serving.answers import to_json
from chainrule.serving.limits import Limits

__all__ = ["GuardedProtocol"]

MOST_PIPELINED = 64  # requests that a client sends without waiting for answers
SECONDS_TO_LEAVE = 3.0  # for a client that has its answer, or not read it yet, when the server stops


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on heads, waiting, and connections.

    - A connection that has sent no whole head within ``head_seconds`` after it was opened, or after its last answer, is
      closed. So is one whose client takes nothing of an answer for as long.
    - A head beyond ``head_bytes`` gets 431, a connection beyond ``connections`` 503, what is no HTTP 400: as JSON.
    - When the server stops, clients that are still sending are cut off, since they have no answer to lose.
    """

    def __init__(self, limits: Limits, **settings: Any) -> None:
        super().__init__(**settings)
        self._limits = limits
        self._head_bytes = 0  # of a head that is not whole
        self._idle_since = self.loop.time()
        self._unsent = 0  # bytes that the client had not taken when it was last looked at
        self._watch: asyncio.TimerHandle | None = None

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
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on; give up on a head that grows too long."""
        if self.transport.is_closing():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > self._limits.head_bytes:
            most = f"{self._limits.head_bytes:,} bytes"
            self._refuse("431 Request Header Fields Too Large", f"The request's line and headers go beyond {most}.")

    def on_headers_complete(self) -> None:
        """Begin with a request; what is counted from here on is its body."""
        if len(self.pipeline) >= MOST_PIPELINED:
            raise ValueError("too many requests at once")  # which the parser turns into a bad request
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body, which is not bounded here."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request."""
        self._head_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note when the client was last served."""
        self._idle_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse("400 Bad Request", "This is not a valid HTTP request.")

    def shutdown(self) -> None:
        """End the connection when the server stops: at once, or when the answer under way has been taken."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete and cycle.more_body:
            self.transport.abort()
            return
        super().shutdown()
        self.loop.call_later(SECONDS_TO_LEAVE, self.transport.abort)

    def _look_again(self) -> None:
        self._watch = self.loop.call_later(self._limits.head_seconds / 2, self._look)

    def _look(self) -> None:
        """Cut the connection if its client neither takes its answer nor sends a head."""
        unsent = self.transport.get_write_buffer_size()
        is_idle = self.cycle is None or self.cycle.response_complete
        waited = self.loop.time() - self._idle_since
        if (0 < self._unsent <= unsent) or (is_idle and not unsent and waited > self._limits.head_seconds):
            self.transport.abort()
            return
        self._unsent = unsent
        self._look_again()

    def _refuse(self, status: str, sentence: str) -> None:
        if self.transport.is_closing():
            return
        body = to_json({"error": sentence})
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode("ascii") + b"connection: close\r\n\r\n" + body)
        self.transport.close()
