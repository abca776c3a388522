"""The web application of a model.

======================  ===========================================================================
``POST /predict``       rows in (JSON or CSV), predictions out (JSON, or CSV if Accept prefers it);
                        ``/predict?interval=0.1`` adds the limits of intervals to the predictions of a regression
``GET /schema``         the inputs and outputs of the model
``GET /openapi.json``   the same as OpenAPI, for programs that generate clients
``GET /``               the same as a page
``GET /health``         whether the server is running
``GET /metrics``        counts and times, for Prometheus
======================  ===========================================================================

Every error is JSON with one sentence, ``{"error": "..."}``, and for an error in a row also ``row`` and ``column``.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from chainrule.model import Model
from chainrule.serving.base import JSON, Limits, RequestError, error_response, to_json
from chainrule.serving.description import describe_model, example_row, openapi_document, page_html
from chainrule.serving.metrics import CountRequests, Metrics
from chainrule.serving.requests import BodyReader, CheckHead, ClientDisconnected, Hosts, answer_type, body_type
from chainrule.serving.service import PredictionService

__all__ = ["build_app"]

PAGES = ("/", "/schema", "/openapi.json", "/health", "/metrics")
CHUNK_BYTES = 2**16  # the size of the chunks in which an answer is sent
# The browser must not run scripts or load files, also if the names of columns contain HTML.
PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
_LOG = logging.getLogger(__name__)


def build_app(
    model: Model,
    limits: Limits | None = None,
    version: str = "1",
    hosts: Hosts | None = None,
    on_start: Callable[[], None] | None = None,
) -> Starlette:
    """Return the application that serves a model; any ASGI server can run it.

    Parameters
    ----------
    model
        The model.
    limits
        Bounds on requests, memory and time.
    version
        The version of the interface, for ``/openapi.json``.
    hosts
        The host names that requests may use; any name if not given.
    on_start
        Called when the application is ready for requests.
    """
    limits, metrics = limits or Limits(), Metrics()
    service = PredictionService(model, limits, metrics)
    schema, example = describe_model(model, limits), example_row(model)

    async def show_page(request: Request) -> Response:
        return HTMLResponse(page_html(schema, example, str(request.base_url).rstrip("/")), headers=PAGE_HEADERS)

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    def constant_page(value: Any) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        content = to_json(value)

        async def show_value(request: Request) -> Response:
            return Response(content, media_type=JSON)

        return show_value

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.open()
        try:
            await asyncio.to_thread(service.warm_up)
            if on_start is not None:
                on_start()
            yield
        except Exception:
            _LOG.exception("The server cannot start.")
            raise
        finally:
            service.close()

    openapi = openapi_document(schema, example, version)
    pages = (
        show_page, constant_page(schema), constant_page(openapi), constant_page({"status": "ok"}), show_metrics,
    )  # fmt: skip
    routes = [Route("/predict", _Predict(service, limits), methods=["POST"])]
    routes += [Route(path, page) for path, page in zip(PAGES, pages, strict=True)]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(CountRequests, metrics=metrics, paths=frozenset({"/predict", *PAGES})),
            Middleware(CheckHead, limits=limits, hosts=hosts),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _server_error},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _Predict:
    """``/predict`` as a plain ASGI application, because making a ``Request`` takes longer than predicting a row."""

    def __init__(self, service: PredictionService, limits: Limits) -> None:
        self._service, self._reader = service, BodyReader(limits)
        self._max_input_bytes = limits.all_body_bytes // 2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._reader.account() as reserve:
            try:
                answer = await self._answer(headers, scope["query_string"], receive, reserve)
            except ClientDisconnected:
                return
            await answer(scope, receive, send)

    async def _answer(
        self, headers: Mapping[str, str], query: bytes, receive: Receive, reserve: Callable[[int], None]
    ) -> ASGIApp:
        """Return the answer or the error. No other objects of the request are kept while a slow client reads it."""
        is_read = False
        try:
            content_type, accepted_type = body_type(headers), answer_type(headers)
            alpha = self._service.read_interval(query) if query else None
            body = await self._reader.read(headers, receive, reserve)
            is_read = True
            work = self._work(body, content_type, accepted_type, alpha, reserve)
            del body
            answer = await _cancel_on_disconnect(work, receive)
            return functools.partial(_send_in_chunks, answer, accepted_type)
        except RequestError as error:
            reserve(0)
            return error_response(error, close=not is_read)  # closing tells the client not to send the rest of the body

    async def _work(
        self, body: bytes, content_type: str, accepted_type: str, alpha: float | None, reserve: Callable[[int], None]
    ) -> bytes:
        """Return the body of the answer."""
        inputs = await self._service.read_rows(body, content_type)
        del body
        reserve(min(inputs.nbytes, self._max_input_bytes))
        outputs = await self._service.predict(inputs, alpha)
        del inputs
        reserve(outputs.nbytes)
        answer = await self._service.write_answer(outputs, accepted_type, alpha)
        reserve(len(answer))
        return answer


async def _cancel_on_disconnect(work: Coroutine[Any, Any, bytes], receive: Receive) -> bytes:
    """Return the result of the work. If the client disconnects, cancel it and raise ``ClientDisconnected``."""
    task, is_disconnected = asyncio.current_task(), False

    async def cancel() -> None:
        nonlocal is_disconnected
        # After the whole body, the next message is that the client has disconnected.
        if (await receive())["type"] == "http.disconnect" and task is not None:
            is_disconnected = True
            task.cancel()

    watcher = asyncio.create_task(cancel())
    try:
        return await work
    except asyncio.CancelledError:
        if is_disconnected:
            raise ClientDisconnected from None
        raise
    finally:
        watcher.cancel()
        del work  # the traceback of an error refers to this frame, and would keep the body in memory


async def _send_in_chunks(answer: bytes, media_type: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer in chunks, each of which waits until the connection accepts it."""
    fields = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for start in range(0, len(answer), CHUNK_BYTES):
        if start:
            await asyncio.sleep(0)  # so that a closed connection is detected between two chunks
        end = start + CHUNK_BYTES
        await send({"type": "http.response.body", "body": answer[start:end], "more_body": end < len(answer)})


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message: Any = error.detail
    if error.status_code == 404:
        message = f"This path does not exist; the paths are /predict, {', '.join(PAGES)}."
    elif error.status_code == 405:
        methods = (error.headers or {}).get("Allow", "another method").split(", ")
        message = f"{request.url.path} accepts only {' and '.join(sorted(methods))}."
    return Response(to_json({"error": message}), error.status_code, dict(error.headers or {}), JSON)


async def _server_error(request: Request, error: Exception) -> Response:
    # Starlette raises the error again after this answer, and the server closes the connection.
    _LOG.error("A request to %s failed.", request.url.path, exc_info=error)
    return error_response(RequestError(500, "An error occurred in the server; see its log."), close=True)
