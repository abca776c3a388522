"""Whether a file that is read a piece at a time is still the one that was opened."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Self

from chainrule.errors import DataError

__all__ = ["FileStamp"]


class FileStamp(NamedTuple):
    """The size of a file, and when it was last written, in nanoseconds."""

    size: int
    written: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Return the stamp of a file as it is now."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns)

    def check(self, path: Path) -> None:
        """Raise ``DataError`` if the file was written again, replaced or removed since this stamp was taken."""
        try:
            is_same = FileStamp.of(path) == self
        except OSError:
            is_same = False
        if not is_same:
            raise DataError(f"{path.name} has changed since it was opened; open it again.")
