"""One connection, without a model behind it."""

from __future__ import annotations

import asyncio
import socket
import time

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from chainrule.serving import Limits, claim_port
from chainrule.serving.protocol import GuardedProtocol

ANSWER = b"x" * 4_000_000


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for start in range(0, len(ANSWER), 2**16):
        await send({"type": "http.response.body", "body": ANSWER[start : start + 2**16], "more_body": True})
    await send({"type": "http.response.body"})


def take_slowly(port: int) -> bytes:
    """What a client receives that pauses every few kilobytes."""
    received = b""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        client.connect(("127.0.0.1", port))
        client.sendall(b"GET / HTTP/1.1\r\nhost: model\r\nconnection: close\r\n\r\n")
        while piece := client.recv(2**16):
            received += piece
            time.sleep(0.01)
    return received


def test_a_client_that_takes_its_answer_slowly_gets_all_of_it() -> None:
    async def main() -> bytes:
        limits, state = Limits(head_seconds=0.3), ServerState()
        config = uvicorn.Config(answer, lifespan="off", log_config=None)
        config.load()

        def connect() -> GuardedProtocol:
            return GuardedProtocol(limits, config=config, server_state=state, app_state={})

        listener = claim_port("127.0.0.1", 0)
        async with await asyncio.get_running_loop().create_server(connect, sock=listener):
            return await asyncio.to_thread(take_slowly, listener.getsockname()[1])

    began = time.monotonic()
    received = asyncio.run(main())
    assert time.monotonic() - began > 1, "many times as long as a client may take nothing"
    assert received.endswith(ANSWER)
