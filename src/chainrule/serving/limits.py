"""How much a server takes on at once; beyond it, a request is refused and the server goes on."""

from __future__ import annotations

from dataclasses import dataclass

from chainrule.errors import InvalidInputError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds that keep a server's memory bounded whatever its clients do.

    Attributes
    ----------
    body_bytes, rows
        The largest body, and the most rows, of one request (else 413).
    all_body_bytes
        The bodies and answers of all requests under way together (else 503). Not counted are some 128 KiB a
        connection, on their way to a slow client.
    answer_numbers
        The most numbers in an answer: rows times classes, or times what is predicted of each (else 413).
    batch_rows
        The most rows of different requests that are predicted in one call.
    waiting_rows
        The most rows that wait for their prediction (else 503).
    body_seconds
        The time that a client may take to send a body (else 408).
    head_bytes, head_seconds
        The size of a request's line and headers (else 431), and the time for them (else the connection is closed).
    connections
        The most connections at a time (else 503).
    """

    body_bytes: int = 8 * 2**20
    rows: int = 10_000
    all_body_bytes: int = 64 * 2**20
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
