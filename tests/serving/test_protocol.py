"""One connection, without a model behind it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from chainrule.serving import Limits, claim_port
from chainrule.serving.protocol import GuardedProtocol

R = TypeVar("R")

ANSWER = b"x" * 4_000_000
REQUEST = b"GET / HTTP/1.1\r\nhost: model\r\n\r\n"
LAST_REQUEST = b"GET / HTTP/1.1\r\nhost: model\r\nconnection: close\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(ANSWER), 2**16):
        await send({"type": "http.response.body", "body": ANSWER[start : start + 2**16], "more_body": True})
    await send({"type": "http.response.body"})


def ask(client: Callable[[socket.socket, GuardedProtocol], R], app: ASGIApp = answer, **limits: float) -> R:
    """What a client returns that has one connection to an application; it is given the server's end of it too."""

    async def main() -> R:
        state, connections = ServerState(), []
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()

        def connect() -> GuardedProtocol:
            connections.append(GuardedProtocol(Limits(**limits), config=config, server_state=state, app_state={}))  # type: ignore[arg-type]
            return connections[-1]

        def use() -> R:
            with socket.socket() as mine:
                mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
                mine.settimeout(120)
                mine.connect(("127.0.0.1", port))
                while not connections or connections[0].transport is None:
                    time.sleep(0.001)
                return client(mine, connections[0])

        listener = claim_port("127.0.0.1", 0)
        port = listener.getsockname()[1]
        async with await asyncio.get_running_loop().create_server(connect, sock=listener):
            received = await asyncio.to_thread(use)
            await asyncio.gather(*state.tasks)
            return received

    return asyncio.run(main())


def pieces(client: socket.socket, pause: float = 0.0) -> list[bytes]:
    received = []
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(2**16):
            received.append(piece)
            time.sleep(pause)
    return received


def everything(client: socket.socket) -> bytes:
    return b"".join(pieces(client))


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it() -> None:
    def take_slowly(client: socket.socket, _: GuardedProtocol) -> list[bytes]:
        client.sendall(LAST_REQUEST)
        return pieces(client, pause=0.02)

    received = ask(take_slowly, head_seconds=0.5)
    assert len(received) * 0.02 > 3 * 0.5, "many times as long as a client may take nothing"
    assert b"".join(received).endswith(ANSWER)


def test_a_client_may_take_nothing_for_as_long_as_a_head_may_take() -> None:
    def pause(client: socket.socket, _: GuardedProtocol) -> bytes:
        time.sleep(0.4 * 1.2)
        client.sendall(LAST_REQUEST)
        time.sleep(0.8 * 1.2)  # within it, the server looks twice, and sees nothing taken between
        return everything(client)

    assert ask(pause, head_seconds=1.2).endswith(ANSWER)


def test_a_client_that_takes_nothing_for_longer_is_cut_off() -> None:
    def take_nothing(client: socket.socket, server: GuardedProtocol) -> bool:
        client.sendall(LAST_REQUEST)
        for _ in range(10_000):
            if server.transport.is_closing():
                return True
            time.sleep(0.01)
        return False

    assert ask(take_nothing, head_seconds=0.3)


@pytest.mark.parametrize("n_requests", [1, 3])
@pytest.mark.parametrize("is_begun", [False, True], ids=["before its answer", "in its answer"])
def test_a_request_that_is_cut_off_is_silent(n_requests: int, is_begun: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        if is_begun:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000")]})
        await asyncio.wait_for(gone.wait(), 120)
        for _ in range(10 * is_begun):
            await send({"type": "http.response.body", "body": b"x" * 10, "more_body": True})

    def leave(client: socket.socket, server: GuardedProtocol) -> None:
        client.sendall(REQUEST * n_requests)
        while server.cycle is None or len(server.pipeline) < n_requests - 1:
            time.sleep(0.01)
        time.sleep(0.1)
        loop = server.loop
        loop.call_soon_threadsafe(server.transport.abort)
        loop.call_soon_threadsafe(lambda: loop.call_soon(loop.call_soon, gone.set))

    gone = asyncio.Event()
    with caplog.at_level(logging.WARNING):
        ask(leave, patient)
    assert caplog.messages == []


def test_what_is_refused_twice_is_told_once_and_in_its_turn() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.1)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    def send_nonsense(client: socket.socket, _: GuardedProtocol) -> bytes:
        head = b"POST / HTTP/1.1\r\nhost: model\r\ntransfer-encoding: chunked\r\n\r\n"
        client.sendall(REQUEST * 2 + head)
        time.sleep(0.05)
        client.sendall(b"Z" * 100 + b"\r\n")  # no chunk, and beyond the bytes of a head
        return everything(client)

    received = ask(send_nonsense, slow, head_bytes=100)
    assert [line[9:12] for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.1")] == [b"200", b"200", b"400"]
