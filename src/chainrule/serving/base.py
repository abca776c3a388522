"""The limits of a server, errors of requests, and JSON answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from chainrule.errors import ChainruleError, InvalidInputError

__all__ = ["CSV", "JSON", "Limits", "RequestError", "RowError", "error_response", "shown", "to_json"]

JSON, CSV = "application/json", "text/csv"

MAX_SHOWN_LENGTH = 40

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Limits:
    """Limits on requests, so that the memory of a server is bounded. The status of refused requests is given below.

    Attributes
    ----------
    body_bytes
        The maximum size of the body of a request (413).
    rows
        The maximum number of rows in a request (413).
    all_body_bytes
        The maximum total size of bodies, network inputs, predictions and answers of all requests in progress (503). The
        inputs of one request count for at most half of it, so that no model is too large. The buffers of the
        connections, up to 128 KiB each, are not counted.
    value_bytes
        The approximate maximum memory for the values of one body while it is read (413).
    answer_numbers
        The maximum number of values in an answer: rows times classes, or times predicted values (413).
    batch_rows
        The maximum number of rows of different requests that are predicted in one call.
    waiting_rows
        The maximum number of rows that wait for their prediction (503).
    body_seconds
        The maximum time for sending a body (408).
    head_bytes
        The maximum size of the request line and the headers (400 or 431).
    idle_seconds
        The time in whole seconds after which a connection is closed if the client sends no further request or, on
        systems with ``TCP_USER_TIMEOUT`` (Linux), does not read its answer.
    connections
        The maximum number of simultaneous connections (503).
    """

    body_bytes: int = 8 * 2**20
    rows: int = 10_000
    all_body_bytes: int = 64 * 2**20
    value_bytes: int = 64 * 2**20
    answer_numbers: int = 1_000_000
    batch_rows: int = 256
    waiting_rows: int = 40_000
    body_seconds: float = 30.0
    head_bytes: int = 64 * 2**10
    idle_seconds: int = 10
    connections: int = 1_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InvalidInputError(f"{name} is {value!r}; it must be above 0.")


class RequestError(ChainruleError):
    """A request that cannot be answered: the HTTP ``status``, the message, and ``details`` for the JSON answer."""

    def __init__(self, status: int, message: str, **details: Any) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


class RowError(RequestError):
    """A row that does not fit the model (status 422), with the number of the row, counted from 1, and the column.

    ``problem`` is the message after the row, such as "has 'abc' in the column 'age'; ...".
    """

    def __init__(self, row: int, problem: str, column: str | None = None) -> None:
        details = {"row": row} if column is None else {"row": row, "column": column}
        super().__init__(422, f"Row {row} {problem}", **details)


def shown(value: Any) -> str:
    """Return a value as JSON for a message, shortened if it is long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a whole number of more than 60 digits"
    text = json.dumps(value)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[: MAX_SHOWN_LENGTH - 3]}..."


def to_json(value: Any) -> bytes:
    """Return a value as compact JSON, in ASCII."""
    return _JSON.encode(value).encode("ascii")


def error_response(error: RequestError, close: bool = False) -> Response:
    """Return the answer for an error. With ``close``, the connection is closed after it."""
    headers = {"retry-after": "1"} if error.status == 503 else {}
    if close:
        headers["connection"] = "close"
    return Response(to_json({"error": str(error), **error.details}), error.status, headers, JSON)
