"""Read the bytes of a file, a pipe or the standard input."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from chainrule.data.memory import max_text_bytes, read_at_most
from chainrule.errors import DataError
from chainrule.paths import as_path, cannot_be_read, nearest_path

__all__ = [
    "STANDARD_INPUT",
    "check_can_be_read",
    "is_pipe",
    "name_of_content",
    "opened",
    "read_content",
    "refuse_url",
]

STANDARD_INPUT = "-"

_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)


def refuse_url(source: str | Path) -> None:
    """Raise ``DataError`` for a URL, because only files are read."""
    if _URL.match(str(source)):
        raise DataError(f"'{source}' is a URL, and only files are read; download it first, and give its path.")


def is_pipe(source: str | Path) -> bool:
    """Return whether a source is the standard input or a pipe, which can be read only once."""
    if str(source) == STANDARD_INPUT:
        return True
    try:
        mode = as_path(source).stat().st_mode
    except (OSError, ValueError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def name_of_content(source: str | Path) -> str:
    """Return the name of a source for messages: the name of a file, or the path of a pipe."""
    if str(source) == STANDARD_INPUT:
        return "The standard input"
    return str(source) if is_pipe(source) else Path(source).name


def check_can_be_read(source: str | Path) -> None:
    """Raise ``DataError`` unless a source is the standard input, or the path of a file or a pipe."""
    if str(source) == STANDARD_INPUT:
        return
    refuse_url(source)
    path = as_path(source)
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        if glob.has_magic(str(path)):
            raise DataError(f"{path} is a pattern; give the path of one file.") from None
        raise DataError(f"There is no file {path}.{nearest_path(path)}") from None
    except (OSError, ValueError) as problem:
        raise DataError(cannot_be_read(path, problem)) from None
    if stat.S_ISDIR(status.st_mode):
        raise DataError(f"{path} is a folder; give the path of a file in it.")
    is_device = not stat.S_ISREG(status.st_mode) and not stat.S_ISFIFO(status.st_mode)
    if is_device and not os.path.samestat(status, os.fstat(0)):  # the standard input may be a terminal
        raise DataError(f"{path} is a device; give the path of a file.")


def read_content(source: str | Path) -> bytes:
    """Return the bytes of a file, a pipe or the standard input.

    Raises ``DataError`` if it cannot be read, or if it is larger than a tenth of the machine's memory.
    """
    check_can_be_read(source)
    max_bytes = max_text_bytes()
    too_long = (
        f"{name_of_content(source)} has more than {max_bytes:,} bytes, which is too large for a text table in this "
        "memory; write the table as Parquet, which is streamed."
    )
    with opened(source) as file:
        return read_at_most(file, max_bytes, too_long)


@contextlib.contextmanager
def opened(source: str | Path) -> Iterator[IO[bytes]]:
    """Open a source for reading bytes. Raises ``DataError`` if that fails."""
    try:
        if str(source) == STANDARD_INPUT:
            yield sys.stdin.buffer
        else:
            with Path(source).open("rb") as file:
                yield file
    except OSError as problem:
        raise DataError(cannot_be_read(source, problem)) from None
