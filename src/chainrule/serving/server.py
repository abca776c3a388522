"""Running the application in a server of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import cast

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from chainrule.model import Model
from chainrule.serving.app import build_app
from chainrule.serving.base import Limits
from chainrule.serving.heads import Hosts
from chainrule.serving.port import claim_port
from chainrule.serving.protocol import GuardedProtocol
from chainrule.threads import limited_threads

__all__ = ["serve"]

SECONDS_TO_STOP = 5
STARTUP_FAILURE = 3  # the exit code


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
    """Serve a model until Ctrl-C or SIGTERM; return the number of that signal.

    Requests under way are answered first, for up to five seconds. A ``listener`` from :func:`claim_port` takes the
    place of host and port. ``on_start`` is given the server's address as soon as it answers. Where the model cannot
    predict, the program ends with 3.

    Requests for another host than this one are refused; ``allow_hosts`` are more names under which the server may be
    asked, such as that of a proxy (``"*"``: any).

    It has to be called in the main thread, where Python has its signals.
    """
    limits = limits or Limits()
    sock = claim_port(host, port) if listener is None else listener
    config = uvicorn.Config(
        _quiet_when_cancelled(build_app(model, limits, hosts=Hosts(sock.getsockname()[0], [host, *allow_hosts]))),
        http=cast("type[GuardedProtocol]", functools.partial(GuardedProtocol, limits)),
        ws="none",
        lifespan="on",
        log_config=None,  # as the program around it logs; to stderr where it does not say
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
    )
    server = _Server(config, on_start)
    with sock, limited_threads(), _noted_signals(server) as received:
        server.run(sockets=[sock])
    if not server.started and not received:
        sys.exit(STARTUP_FAILURE)  # as newer versions of uvicorn do by themselves
    return received[0] if received else 0


class _Server(uvicorn.Server):
    """Says when it is there; when it stops, requests under way have some seconds before they are cut off."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[str], None] | None) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._on_start is not None and sockets:
            host, port = sockets[0].getsockname()[:2]
            self._on_start(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.force_exit:  # by a second Ctrl-C
            asyncio.get_running_loop().call_soon_threadsafe(self._cut_off)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        patience = asyncio.get_running_loop().call_later(SECONDS_TO_STOP, self._cut_off)
        await super().shutdown(sockets)
        patience.cancel()
        if self.force_exit:  # uvicorn then leaves out the end of the application, and its threads would go on
            await self.lifespan.shutdown()

    def _cut_off(self) -> None:
        for connection in self.server_state.connections:
            cast("GuardedProtocol", connection).transport.abort()
        for task in self.server_state.tasks:
            task.cancel()


def _quiet_when_cancelled(app: ASGIApp) -> ASGIApp:
    """Return the application; a request that is cancelled, since its time is up, is nothing for uvicorn's log."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await app(scope, receive, send)

    return call


@contextlib.contextmanager
def _noted_signals(server: uvicorn.Server) -> Iterator[list[int]]:
    """Note the signals that uvicorn, when it has stopped, sends once more to whom they would have gone."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)
        server.should_exit = True

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
