"""Limits of a server, errors of requests, and JSON answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from chainrule.errors import ChainruleError, InvalidInputError

__all__ = ["CSV", "JSON", "Limits", "RequestError", "RowError", "shown", "tell", "to_json"]

JSON, CSV = "application/json", "text/csv"

LONGEST_SHOWN = 40

_JSON = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Limits:
    """Bounds that keep the memory of a server bounded; a request beyond them is refused.

    Attributes
    ----------
    body_bytes
        The largest body of a request (else 413).
    rows
        The largest number of rows in a request (else 413).
    all_body_bytes
        The largest total of bodies, network inputs, predictions and answers of all requests in progress (else 503). The
        inputs of one request count for at most half of this, so that no model is too large for it. The buffers of the
        connections, up to 128 KiB each, are not counted.
    value_bytes
        The approximate memory that the values of one body may take while it is read (else 413).
    answer_numbers
        The most numbers in an answer: rows times classes, or times predicted numbers (else 413).
    batch_rows
        The most rows of different requests that are predicted in one call.
    waiting_rows
        The most rows that wait for their prediction (else 503).
    body_seconds
        The time in which a client must send a body (else 408).
    head_bytes
        The size of a request line and its headers (else 400 or 431).
    idle_seconds
        The time, in whole seconds, after which a connection is closed whose client sends no further request or, on
        systems with ``TCP_USER_TIMEOUT`` (Linux), does not read its answer.
    connections
        The most connections at a time (else 503).
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
    """A row that does not fit the model: status 422, the number of the row (from 1), and the column if it is known.

    ``problem`` continues the sentence that begins with the row: "has 'abc' in the column 'age'; ...".
    """

    def __init__(self, row: int, problem: str, column: str | None = None) -> None:
        place = {"row": row} if column is None else {"row": row, "column": column}
        super().__init__(422, f"Row {row} {problem}", **place)


def shown(value: Any) -> str:
    """Return a value as JSON for a message, cut if it is long."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:
        return "a whole number of more than 60 digits"
    text = json.dumps(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def to_json(value: Any) -> bytes:
    """Return a value as compact JSON, in ASCII."""
    return _JSON.encode(value).encode("ascii")


def tell(error: RequestError, close: bool = False) -> Response:
    """Return the answer for an error; with ``close``, the connection is closed after it."""
    headers = {"retry-after": "1"} if error.status == 503 else {}
    if close:
        headers["connection"] = "close"
    return Response(to_json({"error": str(error), **error.details}), error.status, headers, JSON)
