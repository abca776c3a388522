"""Run the application in a uvicorn server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

import h11
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chainrule.model import Model
from chainrule.serving.app import build_app
from chainrule.serving.base import Limits, RequestError, error_response
from chainrule.serving.port import open_port
from chainrule.serving.requests import Hosts
from chainrule.threads import limited_threads

__all__ = ["serve"]

SECONDS_TO_STOP = 5
STARTUP_FAILURE = 3  # the exit code
UNSENT_BYTES = 2**16  # the maximum size of the unsent part of an answer in the buffers of the system


def serve(
    model: Model,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    limits: Limits | None = None,
    allow_hosts: Sequence[str] = (),
    listener: socket.socket | None = None,
    on_start: Callable[[str], None] | None = None,
) -> int:
    """Serve a model until Ctrl-C or SIGTERM. Return the number of the signal.

    Requests in progress are answered before the server stops, for up to five seconds. A ``listener`` from
    :func:`open_port` replaces host and port. ``on_start`` is called with the address of the server when the server is
    ready. If the model cannot predict, the program ends with exit code 3.

    Requests with the name of another host are refused; ``allow_hosts`` are additional names of the server, such as that
    of a proxy (``"*"``: any).

    Call it in the main thread, because Python handles signals there.
    """
    limits = limits or Limits()
    sock = open_port(host, port) if listener is None else listener
    address, bound_port = sock.getsockname()[:2]
    url = f"http://[{address}]:{bound_port}" if ":" in address else f"http://{address}:{bound_port}"
    app = build_app(
        model,
        limits,
        hosts=Hosts(address, [host, *allow_hosts]),
        on_start=None if on_start is None else lambda: on_start(url),
    )
    config = uvicorn.Config(
        _adapt_to_uvicorn(app),
        http="h11",  # unlike httptools, h11 limits the size of heads and declines protocol upgrades
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="critical",  # the application logs its errors
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections + 1,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=SECONDS_TO_STOP,
        h11_max_incomplete_event_size=limits.head_bytes,
    )
    server, received = uvicorn.Server(config), list[int]()

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        server.should_exit = True

    # This handler is used until uvicorn has installed its own, and for the signals that uvicorn raises after it stops.
    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with sock, limited_threads():
            _limit_unsent_bytes(sock, limits.idle_seconds)
            server.run(sockets=[sock])
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    if not server.started and not received:
        sys.exit(STARTUP_FAILURE)  # newer versions of uvicorn exit with this code
    return received[0] if received else 0


def _adapt_to_uvicorn(app: ASGIApp) -> ASGIApp:
    """Return an application that handles cases which uvicorn would report as errors of the application.

    uvicorn cancels requests that take too long when it stops; they are answered with 503. It answers invalid HTTP
    itself, possibly while the application answers the same request.
    """

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unless_answered(message: Message) -> None:
            with contextlib.suppress(h11.LocalProtocolError):
                await send(message)

        try:
            await app(scope, receive, send_unless_answered)
        except asyncio.CancelledError:
            if scope["type"] == "http":
                error = RequestError(503, "The server is stopping.")
                await error_response(error, close=True)(scope, receive, send)

    return call


def _limit_unsent_bytes(listener: socket.socket, seconds: int) -> None:
    """Limit the size and the time of answers that the system buffers for slow clients.

    Connections inherit the options of their listener. Systems without these options have their own limits.
    """
    for name, value in (("TCP_NOTSENT_LOWAT", UNSENT_BYTES), ("TCP_USER_TIMEOUT", 1000 * seconds)):
        if hasattr(socket, name):
            with contextlib.suppress(OSError):  # some systems define the option but do not support it
                listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
