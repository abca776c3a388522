"""Writing a file so that a reader finds the old one or the new one, never a part, whatever happens in between."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from chainrule.errors import InvalidInputError
from chainrule.paths import as_path

__all__ = ["remove_leftovers", "write_atomically"]

_ACL = "system.posix_acl_access"  # where Linux keeps permissions beyond the nine bits of the mode


def write_atomically(path: str | Path, content: bytes | str | Iterable[str]) -> None:
    """Write ``content`` to ``path``: a temporary file beside it, flushed to the disk, then renamed over it.

    Pieces of text are written one after another, as they come. A link stays, and what it leads to is replaced. A file
    that is replaced passes its permissions and its owner on; where the system does not allow that, the new file is
    never open to more users than the old one was. Temporary files of this path that killed processes have left behind
    are removed first.

    Raises InvalidInputError, in one sentence, when the disk is full, the folder cannot be written, or something else
    than a file is there. Then, and if the pieces break off with an error, the file that was there before is still
    whole, and nothing else is left behind.
    """
    pieces: Iterable[bytes | str] = [content] if isinstance(content, bytes | str) else content
    temporary: Path | None = None
    try:
        target, replaced = _find_target(as_path(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        temporary, handle = _open_temporary(target, 0o666 if replaced is None else 0o600)
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece if isinstance(piece, bytes) else piece.encode())
            file.flush()
            if replaced is not None:
                _copy_permissions(target, replaced, handle)
            os.fsync(handle)
            temporary.replace(target)  # with the lock still held, so that nobody takes it for a leftover
        _flush_folder(target.parent)
    except OSError as error:
        raise InvalidInputError(
            f"Could not write '{path}': {error.strerror or error}. Free some space or choose another place; "
            "nothing was half-written."
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | Path) -> None:
    """Remove the temporary files that processes killed while they wrote ``path`` have left behind."""
    with contextlib.suppress(OSError):  # a folder that may be written to, but not listed
        _remove_leftovers_of(Path(path).resolve())


def _temporary_prefix(target: Path) -> str:
    return f".{target.name[:40]}."


def _open_temporary(target: Path, mode: int) -> tuple[Path, int]:
    """Create a file that nobody can have guessed, and lock it: the lock ends with the process, however that ends."""
    while True:
        path = target.parent / f"{_temporary_prefix(target)}{secrets.token_hex(8)}.tmp"
        # The umask takes its share of the mode.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # taken for a leftover in the moment before the lock


def _remove_leftovers_of(target: Path) -> None:
    pattern = re.compile(re.escape(_temporary_prefix(target)) + r"[0-9a-f]{16}\.tmp")
    for entry in os.scandir(target.parent):
        if not pattern.fullmatch(entry.name) or not entry.is_file(follow_symlinks=False):
            continue
        # Gone in the meantime, or being written by a process that lives.
        with contextlib.suppress(OSError):
            handle = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                Path(entry.path).unlink()
            finally:
                os.close(handle)


def _copy_permissions(target: Path, replaced: os.stat_result, handle: int) -> None:
    """Give the open file the owner, the group and the permissions of the file that it is to replace."""
    mode = stat.S_IMODE(replaced.st_mode)
    own = os.fstat(handle)
    if (own.st_uid, own.st_gid) != (replaced.st_uid, replaced.st_gid):
        try:
            os.fchown(handle, replaced.st_uid, replaced.st_gid)
        except OSError:
            try:
                os.fchown(handle, -1, replaced.st_gid)
            except OSError:
                mode = mode & ~0o070 | (mode & 0o007) << 3  # another group may do no more than everybody
            mode &= 0o777  # and nobody may act as another owner
    with contextlib.suppress(OSError, AttributeError):  # not every system has such lists, and few files have one
        with contextlib.suppress(OSError):
            os.removexattr(handle, _ACL)  # that of the folder
        os.setxattr(handle, _ACL, os.getxattr(target, _ACL))
    os.fchmod(handle, mode)


def _find_target(path: Path) -> tuple[Path, os.stat_result | None]:
    """Return the file that ``path`` leads to, and what is known of it where it exists.

    Raises OSError for a folder, a device, a pipe and a socket.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return path.resolve(), None
    target = path.resolve()
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not stat.S_ISREG(found.st_mode) or not target.exists():  # an open file may have lost its name
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return target, found


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
