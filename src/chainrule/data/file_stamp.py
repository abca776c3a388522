"""Detect changes of a file that is read in pieces."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

from chainrule.errors import DataError

__all__ = ["FileStamp"]


class FileStamp(NamedTuple):
    """The size of a file and the time of its last change in nanoseconds."""

    size: int
    written: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the current stamp of a file."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)

    def check(self, path: Path) -> None:
        """Raise ``DataError`` if the file was changed, replaced or removed since this stamp was taken."""
        try:
            is_same = FileStamp.of(path) == self
        except OSError:
            is_same = False
        if not is_same:
            raise DataError(f"{path.name} has changed since it was opened; open it again.")
