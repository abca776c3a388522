"""The web application around a model: which address does what.

======================  ===========================================================================
``POST /predict``       rows in (JSON or CSV), predictions out (JSON, or CSV where Accept asks for it)
``GET /schema``         what the model takes and gives
``GET /openapi.json``   the same for programs that write clients
``GET /``               the same for people
``GET /health``         whether the server is there
``GET /metrics``        counts and times, for Prometheus
======================  ===========================================================================

Every error is JSON with one sentence, ``{"error": "..."}``, and where it is about a row also ``row`` and ``column``.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Coroutine, Mapping
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
from chainrule.serving.base import JSON, Limits, RequestError, tell, to_json
from chainrule.serving.bodies import BodyReader, ClientGone, Hold, answer_type, body_type
from chainrule.serving.heads import CheckHead, Hosts
from chainrule.serving.metrics import CountRequests, Metrics
from chainrule.serving.page import page_html
from chainrule.serving.schema import describe_model, example_row, openapi_document
from chainrule.serving.service import PredictionService

__all__ = ["build_app"]

PAGES = ("/", "/schema", "/openapi.json", "/health", "/metrics")
BYTES_AT_A_TIME = 2**16  # of an answer
# A page of ours runs nothing and loads nothing, whatever a column is called.
PAGE_HEADERS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def build_app(model: Model, limits: Limits | None = None, version: str = "1", hosts: Hosts | None = None) -> Starlette:
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
        The names under which the server may be asked; any name where none are given.
    """
    limits, metrics = limits or Limits(), Metrics()
    service = PredictionService(model, limits, metrics)
    schema, example = describe_model(model, limits), example_row(model)
    openapi = to_json(openapi_document(schema, example, version))
    schema_json, health = to_json(schema), to_json({"status": "ok"})

    async def show_page(request: Request) -> Response:
        address = str(request.base_url).rstrip("/")
        return HTMLResponse(page_html(schema, example, address), headers=PAGE_HEADERS)

    async def show_schema(request: Request) -> Response:
        return Response(schema_json, media_type=JSON)

    async def show_openapi(request: Request) -> Response:
        return Response(openapi, media_type=JSON)

    async def show_health(request: Request) -> Response:
        return Response(health, media_type=JSON)

    async def show_metrics(request: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        service.open()
        await asyncio.to_thread(service.warm_up)
        yield
        service.close()

    pages = (show_page, show_schema, show_openapi, show_health, show_metrics)
    routes = [Route("/predict", _Predict(service, limits), methods=["POST"])]
    routes += [Route(path, page) for path, page in zip(PAGES, pages, strict=True)]
    app = Starlette(
        routes=routes,
        middleware=[
            Middleware(CountRequests, metrics=metrics, paths=frozenset({"/predict", *PAGES})),
            Middleware(CheckHead, limits=limits, hosts=hosts),
        ],
        exception_handlers={HTTPException: _tell_status, Exception: _tell_failure},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class _Predict:
    """The address that predicts, straight on ASGI: a request object would cost more than the prediction of a row."""

    def __init__(self, service: PredictionService, limits: Limits) -> None:
        self._service, self._reader = service, BodyReader(limits)
        self._most_of_inputs = limits.all_body_bytes // 2

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        with self._reader.account() as hold:
            try:
                answer = await self._answer(headers, receive, hold)
            except ClientGone:
                return
            await answer(scope, receive, send)

    async def _answer(self, headers: Mapping[str, str], receive: Receive, hold: Hold) -> ASGIApp:
        """Return the answer, or what is wrong with the request; nothing else of it is left when a client is slow."""
        is_read = False
        try:
            kind, wanted = body_type(headers), answer_type(headers)
            body = await self._reader.read(headers, receive, hold)
            is_read = True
            work = self._work(body, kind, wanted, hold)
            del body
            answer = await _unless_gone(work, receive)
            return functools.partial(_send_in_pieces, answer, wanted)
        except RequestError as error:
            hold(0)
            # A body that nobody will read must not be sent to the end.
            return tell(error, close=not is_read)

    async def _work(self, body: bytes, kind: str, wanted: str, hold: Hold) -> bytes:
        """Return the body of the answer."""
        inputs = await self._service.read_rows(body, kind)
        del body
        hold(min(inputs.nbytes, self._most_of_inputs))
        outputs = await self._service.predict(inputs)
        del inputs
        hold(outputs.nbytes)
        answer = await self._service.write_answer(outputs, wanted)
        hold(len(answer))
        return answer


async def _unless_gone(work: Coroutine[Any, Any, bytes], receive: Receive) -> bytes:
    """Return the result of the work, or give it up and raise ``ClientGone`` when the client closes the connection."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_until_gone(receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        gone.cancel()
        task.cancel()
        del task, work  # an error would hold its task, and the task the error, and both the body


async def _until_gone(receive: Receive) -> None:
    """Wait for the message that follows on a whole body: that the client has gone."""
    if (await receive())["type"] != "http.disconnect":
        await asyncio.Event().wait()


async def _send_in_pieces(answer: bytes, media_type: str, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer as its client takes it: a piece waits until the connection has room for it."""
    fields = [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for start in range(0, len(answer), BYTES_AT_A_TIME):
        end = start + BYTES_AT_A_TIME
        await send({"type": "http.response.body", "body": answer[start:end], "more_body": end < len(answer)})
        await asyncio.sleep(0)  # or a client that has gone would not be noticed before the end


async def _tell_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence: Any = error.detail
    if error.status_code == 404:
        sentence = f"There is nothing at this address; there are /predict, {', '.join(PAGES)}."
    elif error.status_code == 405:
        methods = (error.headers or {}).get("Allow", "another method").split(", ")
        sentence = f"{request.url.path} takes {', '.join(sorted(methods))} only."
    return Response(to_json({"error": sentence}), error.status_code, dict(error.headers or {}), JSON)


async def _tell_failure(request: Request, error: Exception) -> Response:
    # The error goes on to the server, which logs it and closes the connection.
    answer = to_json({"error": "The server failed; its log says where."})
    return Response(answer, 500, {"connection": "close"}, JSON)
