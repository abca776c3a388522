"""Writing a file so that a reader finds the old one or the new one, never a part, whatever happens in between."""

from __future__ import annotations

import os
import threading
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
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        name = path.parent / f".{path.name}.{os.getpid()}-{threading.get_ident()}"
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)  # the umask takes its share
        temporary = name
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise InvalidInputError(
            f"Could not write '{path}': {error.strerror or error}. Free some space or choose another place; "
            "nothing was half-written."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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
