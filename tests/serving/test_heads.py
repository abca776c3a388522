"""For whom a request is meant, and how long its head may be."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from starlette.applications import Starlette

from chainrule.serving import Limits
from chainrule.serving.app import build_app
from chainrule.serving.requests import Hosts
from support.served import price_model

MODEL = price_model()


@pytest.mark.parametrize(
    ("address", "allowed", "host", "is_taken"),
    [
        ("127.0.0.1", (), "127.0.0.1:8000", True),
        ("127.0.0.1", (), "127.0.0.1", True),
        ("127.0.0.1", (), "LocalHost:8000", True),
        ("127.0.0.1", (), "localhost.", True),
        ("127.0.0.1", (), "[::1]:8000", True),
        ("127.0.0.1", (), "evil.example:8000", False),
        ("127.0.0.1", (), "127.0.0.1.evil.example", False),
        ("127.0.0.1", (), "10.0.0.5:8000", False),
        ("127.0.0.1", (), "", False),
        ("127.0.0.1", ("model.example",), "model.example", True),
        ("127.0.0.1", ("model.example",), "other.example", False),
        ("127.0.0.1", ("*",), "other.example", True),
        ("10.0.0.5", (), "10.0.0.5:80", True),
        ("10.0.0.5", (), "10.0.0.6:80", False),
        ("0.0.0.0", (), "10.0.0.6:80", True),
        ("::", (), "[fe80::1]:80", True),
        ("0.0.0.0", (), "evil.example", False),
    ],
)
def test_a_server_knows_its_names(address: str, allowed: tuple[str, ...], host: str, is_taken: bool) -> None:
    assert (host in Hosts(address, allowed)) is is_taken


def ask(app: Starlette, headers: list[tuple[str, str]]) -> tuple[int, str]:
    """Send a request with exactly these headers; return the status and the error, if there is one."""
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": "GET", "path": "/health", "query_string": b"", "headers": pairs}
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"]).get("error", "")


def test_requests_for_another_host_are_refused() -> None:
    app = build_app(MODEL, hosts=Hosts("127.0.0.1"))
    assert ask(app, [("host", "127.0.0.1:8000")]) == (200, "")
    status, sentence = ask(app, [("host", "evil.example")])
    assert status == 421
    assert "--allow-host" in sentence
    status, sentence = ask(app, [("host", "127.0.0.1"), ("host", "evil.example")])
    assert status == 400
    assert "2 Host headers" in sentence


def test_a_head_beyond_the_limit_is_refused_however_it_arrives() -> None:
    app = build_app(MODEL, Limits(head_bytes=1000))
    assert ask(app, [("x", "y" * 500)])[0] == 200
    status, sentence = ask(app, [("x", "y" * 1000)])
    assert status == 431
    assert "more than 1,000 bytes" in sentence
