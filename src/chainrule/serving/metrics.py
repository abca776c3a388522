"""The metrics of a server, in the text format of Prometheus."""

from __future__ import annotations

import bisect
import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CountRequests", "Histogram", "Metrics"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384)
CLIENT_DISCONNECTED = 499  # the status of nginx for requests whose client has closed the connection


class Histogram:
    """Counts of values by inclusive upper bounds. Values above the last bound are counted in ``+Inf``."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def samples(self) -> Iterator[str]:
        """Yield the samples without the name of the metric: cumulative counts, the sum, and the number of values."""
        cumulative = list(itertools.accumulate(self.counts))
        for bound, count in zip((*map(str, self.bounds), "+Inf"), cumulative, strict=True):
            yield f'_bucket{{le="{bound}"}} {count}'
        yield f"_sum {self.total}"
        yield f"_count {cumulative[-1]}"


class Metrics:
    """Requests by path and status, predicted rows, the times of ``/predict``, and the rows of each call."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.rows = 0
        self.seconds = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)

    def text(self) -> str:
        """Return all metrics in the exposition format, version 0.0.4."""
        requests = [
            f'{{path="{path}",status="{status}"}} {count}' for (path, status), count in sorted(self.requests.items())
        ]
        metrics: dict[tuple[str, str, str], Iterable[str]] = {
            ("requests_total", "counter", "Requests answered, by path and status."): requests,
            ("rows_total", "counter", "Rows predicted."): [f" {self.rows}"],
            ("predict_seconds", "histogram", "Times of /predict, from headers to answer."): self.seconds.samples(),
            ("batch_rows", "histogram", "Rows predicted in one call of the network."): self.batch_rows.samples(),
        }
        lines = []
        for (name, kind, description), samples in metrics.items():
            lines += [f"# HELP chainrule_{name} {description}", f"# TYPE chainrule_{name} {kind}"]
            lines += [f"chainrule_{name}{sample}" for sample in samples]
        return "\n".join(lines) + "\n"


class CountRequests:
    """Middleware that counts every request. Paths that do not exist are counted as ``other``."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count the status of its answer and its time."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), CLIENT_DISCONNECTED

        async def send_and_record(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"] if scope["path"] in self.paths else "other"
        try:
            await self.app(scope, receive, send_and_record)
        except Exception:
            status = 500  # Starlette sends this answer outside this middleware
            raise
        finally:
            self.metrics.requests[path, status] += 1
            if path == "/predict":
                self.metrics.seconds.observe(time.perf_counter() - start)
