"""Limits of the size of text tables."""

from __future__ import annotations

from typing import IO

from chainrule.errors import DataError
from chainrule.machine import machine_memory

__all__ = ["max_text_bytes", "read_at_most"]

# A table of text needs about ten times as much memory as its file.
_MEMORY_SHARE = 0.1
_CHUNK = 2**20


def max_text_bytes() -> int:
    """Return the maximum number of bytes of a text that is read as a table."""
    return int(_MEMORY_SHARE * machine_memory())


def read_at_most(file: IO[bytes], max_bytes: int, message: str) -> bytes:
    """Return the rest of a file. Raises ``DataError`` with the message if it has more than ``max_bytes`` bytes."""
    chunks, length = [], 0
    while chunk := file.read(_CHUNK):
        chunks.append(chunk)
        length += len(chunk)
        if length > max_bytes:
            raise DataError(message)
    return b"".join(chunks)
