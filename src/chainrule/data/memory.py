"""Limits of the memory that a table may take."""

from __future__ import annotations

from typing import IO

from chainrule.errors import DataError
from chainrule.machine import machine_memory

__all__ = ["largest_text", "read_at_most"]

# A table of text takes about ten times as much memory as its file.
_SHARE_OF_TEXT = 0.1
_PIECE = 2**20


def largest_text() -> int:
    """Return the bytes of the largest text that is read as a table."""
    return int(_SHARE_OF_TEXT * machine_memory())


def read_at_most(file: IO[bytes], most: int, too_long: str) -> bytes:
    """Return the rest of a file; raise ``DataError`` with the message ``too_long`` for more than ``most`` bytes."""
    pieces, length = [], 0
    while piece := file.read(_PIECE):
        pieces.append(piece)
        length += len(piece)
        if length > most:
            raise DataError(too_long)
    return b"".join(pieces)
