"""A load generator for HTTP: several connections, each of which sends a request when the last one is answered.

It runs in its own process (``python benchmarks/load.py`` reads its task as JSON from the standard input), on another
core than the server. It reports its use of the core: near 100 %, the generator limits the measured rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from typing import Any

import httptools

Result = dict[str, Any]
CHECK_EVERY = 50  # the number of answers of which one is parsed and compared


class Client(asyncio.Protocol):
    """A connection that sends a request, waits for the whole answer, records the time, and sends the next request."""

    def __init__(self, load: Load, first: int) -> None:
        self.load, self.number = load, first
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""
        self.began = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def send(self) -> None:
        self.number += self.load.step
        self.body = b""
        self.began = time.perf_counter()
        self.transport.write(self.load.requests[self.number % len(self.load.requests)])

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        now = time.perf_counter()
        if self.parser.get_status_code() != 200:
            self.load.fail(f"status {self.parser.get_status_code()}: {self.body[:200]!r}")
        self.load.seconds.append(now - self.began)
        if len(self.load.seconds) % CHECK_EVERY == 0:
            self.load.check(self.number, self.body)
        if now < self.load.end:
            self.parser = httptools.HttpResponseParser(self)
            self.send()
        else:
            self.transport.close()
            self.load.done(now)

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self.load.end:
            self.load.fail(f"the server closed a connection: {exc}")


class Load:
    """The shared state of the connections."""

    def __init__(self, requests: list[bytes], labels: list[str] | None, n_connections: int) -> None:
        self.requests, self.labels, self.step = requests, labels, n_connections
        self.open = n_connections
        self.seconds: list[float] = []
        self.n_checked = 0
        self.end = self.last = 0.0
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def check(self, number: int, body: bytes) -> None:
        """Compare an answer with the earlier prediction of the service for this row."""
        if self.labels is not None:
            expected = self.labels[number % len(self.labels)]
            if label_of(json.loads(body)) != expected:
                self.fail(f"request {number} was answered with {body!r} instead of {expected}")
            self.n_checked += 1

    def done(self, now: float) -> None:
        self.open -= 1
        self.last = now
        if not self.open and not self.finished.done():
            self.finished.set_result(None)

    def fail(self, why: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(RuntimeError(why))


def label_of(answer: Result) -> str:
    """Return the prediction in the answer of either service."""
    label = answer["predictions"][0] if "predictions" in answer else answer["prediction"]
    return str(label)


def request_bytes(port: int, body: bytes) -> bytes:
    """Return the bytes of a request."""
    head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


async def put_load(port: int, bodies: list[str], labels: list[str] | None, connections: int, seconds: float) -> Result:
    """Send requests for some seconds, and return the number of answers and their times."""
    load = Load([request_bytes(port, body.encode()) for body in bodies], labels, connections)
    loop = asyncio.get_running_loop()
    clients = []
    for first in range(connections):
        _, client = await loop.create_connection(lambda first=first: Client(load, first), "127.0.0.1", port)
        clients.append(client)
    cpu, start = time.process_time(), time.perf_counter()
    load.end = start + seconds
    for client in clients:
        client.send()
    await load.finished
    wall = load.last - start
    return {
        "answers": len(load.seconds),
        "wall": wall,
        "latencies": load.seconds,
        "checked": load.n_checked,
        "generator_cores": (time.process_time() - cpu) / wall,
    }


def main() -> None:
    task = json.load(sys.stdin)
    if task["core"] is not None:
        os.sched_setaffinity(0, {task["core"]})
    with contextlib.suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    result = asyncio.run(put_load(task["port"], task["bodies"], task["labels"], task["connections"], task["seconds"]))
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
