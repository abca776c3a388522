"""What every part of a server speaks of: its limits, what it says of a request that it cannot answer, and JSON."""

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
    """Bounds that keep a server's memory bounded whatever its clients do; beyond them, a request is refused.

    Attributes
    ----------
    body_bytes
        The largest body of one request (else 413).
    rows
        The most rows of one request (else 413).
    all_body_bytes
        The bodies, the network's inputs made of them, the predictions and the answers of all requests under way
        together (else 503). The inputs of one request count for half of this at most, so that no model's are too
        large for it. Not counted are some 128 KiB a connection, on their way to a slow client.
    value_bytes
        About the memory that the values of one body may take while it is read (else 413).
    answer_numbers
        The most numbers in an answer: rows times classes, or times what is predicted of each (else 413).
    batch_rows
        The most rows of different requests that are predicted in one call.
    waiting_rows
        The most rows that wait for their prediction (else 503).
    body_seconds
        The time that a client may take to send a body (else 408).
    head_bytes
        The size of a request's line and headers (else 431).
    head_seconds
        The time for them (else the connection is closed).
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
    head_seconds: float = 10.0
    connections: int = 1_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise InvalidInputError(f"{name} is {value!r}; it must be above 0.")


class RequestError(ChainruleError):
    """A request that cannot be answered; ``status`` is the HTTP status, ``details`` go beside the sentence."""

    def __init__(self, status: int, sentence: str, **details: Any) -> None:
        super().__init__(sentence)
        self.status = status
        self.details = details


class RowError(RequestError):
    """A row that the model does not take: status 422, with the number of the row (from 1) and the column, if it is one.

    ``problem`` follows on the row's number: "has 'abc' in the column 'age'; ...".
    """

    def __init__(self, row: int, problem: str, column: str | None = None) -> None:
        place = {"row": row} if column is None else {"row": row, "column": column}
        super().__init__(422, f"Row {row} {problem}", **place)


def shown(value: Any) -> str:
    """Return a value as JSON for a sentence, cut short where it is long."""
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
    """Return the answer that tells of an error; ``close`` ends the connection after it."""
    headers = {"retry-after": "1"} if error.status == 503 else {}
    if close:
        headers["connection"] = "close"
    return Response(to_json({"error": str(error), **error.details}), error.status, headers, JSON)
