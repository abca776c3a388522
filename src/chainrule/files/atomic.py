"""Writing a file so that a reader finds the old one or the new one, never a part, whatever happens in between."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from chainrule.errors import InvalidInputError

__all__ = ["write_atomically"]


def write_atomically(path: str | Path, content: bytes | str) -> None:
    """Write ``content`` to ``path``: a temporary file beside it, flushed to the disk, then renamed over it.

    Raises InvalidInputError, in one sentence, when the disk is full or the folder cannot be written; the file that was
    there before is then still whole, and nothing else is left behind.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise InvalidInputError(
            f"Could not write '{path}': {error.strerror or error}. Free some space or choose another place; "
            "nothing was half-written."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


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
