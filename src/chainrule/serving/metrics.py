"""What a server counts, in the text format that Prometheus reads."""

from __future__ import annotations

import bisect
import itertools
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CountRequests", "Histogram", "Metrics"]

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096, 16384)
CLIENT_GONE = 499  # no answer was sent, for nobody was there; the number that nginx has made usual


class Histogram:
    """Counts values by upper bounds: a value on a bound belongs to it, one beyond the last to ``+Inf``."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    def lines(self, name: str) -> Iterator[str]:
        """Yield the samples: cumulative counts, their sum, their number."""
        cumulative = list(itertools.accumulate(self.counts))
        for bound, count in zip((*map(str, self.bounds), "+Inf"), cumulative, strict=True):
            yield f'{name}_bucket{{le="{bound}"}} {count}'
        yield f"{name}_sum {self.total}"
        yield f"{name}_count {cumulative[-1]}"


class Metrics:
    """Requests by path and status, rows predicted, the time of ``/predict``, and the rows of each call."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.rows = 0
        self.seconds = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)

    def text(self) -> str:
        """Return everything in the exposition format, version 0.0.4."""
        lines = [
            "# HELP chainrule_requests_total Requests answered, by path and status.",
            "# TYPE chainrule_requests_total counter",
        ]
        for (path, status), count in sorted(self.requests.items()):
            lines.append(f'chainrule_requests_total{{path="{path}",status="{status}"}} {count}')
        lines += [
            "# HELP chainrule_rows_total Rows predicted.",
            "# TYPE chainrule_rows_total counter",
            f"chainrule_rows_total {self.rows}",
            "# HELP chainrule_predict_seconds Time from a request's headers to its answer, for /predict.",
            "# TYPE chainrule_predict_seconds histogram",
            *self.seconds.lines("chainrule_predict_seconds"),
            "# HELP chainrule_batch_rows Rows that were predicted in one call of the network.",
            "# TYPE chainrule_batch_rows histogram",
            *self.batch_rows.lines("chainrule_batch_rows"),
        ]
        return "\n".join(lines) + "\n"


class CountRequests:
    """Middleware that counts every request; paths that do not exist are one, ``other``."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and note the status of its answer and the time it took."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), CLIENT_GONE

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"] if scope["path"] in self.paths else "other"
        try:
            await self.app(scope, receive, note_status)
        except Exception:
            status = 500  # which it becomes outside
            raise
        finally:
            self.metrics.requests[path, status] += 1
            if path == "/predict":
                self.metrics.seconds.observe(time.perf_counter() - start)
