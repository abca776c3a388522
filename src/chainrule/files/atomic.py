"""Writing a file so that a reader finds the old one or the new one, never a part, whatever happens in between."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from chainrule.errors import InvalidInputError

__all__ = ["write_atomically"]


def write_atomically(path: str | Path, content: bytes | str | Iterable[str]) -> None:
    """Write ``content`` to ``path``: a temporary file beside it, flushed to the disk, then renamed over it.

    Pieces of text are written one after another, as they come. A link stays, and what it leads to is replaced. Raises
    InvalidInputError, in one sentence, when the disk is full, the folder cannot be written, or something else than a
    file is there. Then, and if the pieces break off with an error, the file that was there before is still whole, and
    nothing else is left behind.
    """
    pieces: Iterable[bytes | str] = [content] if isinstance(content, bytes | str) else content
    temporary: Path | None = None
    try:
        target = _find_target(Path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        name = target.parent / f".{target.name[:40]}.{secrets.token_hex(8)}"  # that nobody can guess and be there first
        # The umask takes its share of the mode.
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        temporary = name
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece if isinstance(piece, bytes) else piece.encode())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        _flush_folder(target.parent)
    except OSError as error:
        raise InvalidInputError(
            f"Could not write '{path}': {error.strerror or error}. Free some space or choose another place; "
            "nothing was half-written."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _find_target(path: Path) -> Path:
    """Return the file that ``path`` leads to; raise OSError if that is a folder, a device, a pipe or a socket."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return path.resolve()
    target = path.resolve()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(found.st_mode) or not target.exists():  # an open file may have lost its name
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return target


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable; some systems cannot open a folder, and then need not."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass
    finally:
        os.close(handle)
