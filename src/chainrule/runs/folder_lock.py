"""Lock a run folder, so that only one process at a time writes to it.

The process that writes a run holds a lock on the file ``run.lock`` in the folder. The operating system releases the
lock when the process ends, also when it is killed. On a file system without locks, the existence of the file is the
lock. The file names the process and its machine, and is ignored if that process has ended on this machine.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Self

from chainrule.errors import InvalidInputError

__all__ = ["LOCK_NAME", "FolderLock", "find_holder"]

LOCK_NAME = "run.lock"
# The number of attempts to create a folder that another process removes at the same time.
MAX_FOLDER_ATTEMPTS = 10
# find_holder locks the file for a moment, so that a failed attempt to lock it is repeated after a pause in seconds.
LOCK_ATTEMPTS, LOCK_PAUSE = 6, 0.01


class _LockedError(InvalidInputError):
    """Another running process has locked the folder."""


class FolderLock:
    """A lock on a run folder, held by this process. Use :meth:`acquire` or :meth:`acquire_new_folder`.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path, handle: int, created: list[Path]) -> None:
        self.path = path
        self._handle = handle
        self._created = created  # the folder and those of its parents that did not exist before

    @classmethod
    def acquire(cls, path: Path) -> Self:
        """Lock a folder, which is created if it does not exist.

        Raises InvalidInputError if another process has locked the folder, or if it cannot be used.
        """
        created: list[Path] = []
        try:
            for _ in range(MAX_FOLDER_ATTEMPTS):
                with contextlib.suppress(FileNotFoundError):  # another process has just removed the folder
                    _make_folders(path, created)
                    return cls(path, _lock(path), created)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        except BaseException as error:
            _remove_empty(created)
            if isinstance(error, OSError):
                raise InvalidInputError(f"Could not use the folder '{path}': {error.strerror or error}.") from error
            raise

    @classmethod
    def acquire_new_folder(cls, path: Path) -> Self:
        """Create and lock a folder. If it exists, ``-2``, ``-3``, ... is appended to its name."""
        candidate, number = path, 1
        while True:
            if not candidate.exists():
                with contextlib.suppress(_LockedError):
                    lock = cls.acquire(candidate)
                    if candidate in lock._created:
                        return lock
                    lock.release()
            number += 1
            candidate = path.with_name(f"{path.name}-{number}")

    def is_held(self) -> bool:
        """Return whether the locked folder is still at its path: it was not removed, moved or replaced."""
        return _is_file_at(self._handle, self.path / LOCK_NAME)

    def check(self) -> None:
        """Raise InvalidInputError if the folder has been removed or replaced, so that nothing is written there."""
        if not self.is_held():
            raise InvalidInputError(
                f"The folder '{self.path}' was removed or replaced during its run, so the run was stopped."
            )

    def release(self) -> None:
        """Release the lock. Remove the folder if this object created it and it is empty."""
        if self.is_held():
            with contextlib.suppress(OSError):
                (self.path / LOCK_NAME).unlink()
        os.close(self._handle)
        _remove_empty(self._created)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def find_holder(path: Path) -> str | None:
    """Return a description of the running process that has locked a folder; None if there is none."""
    try:
        handle = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _describe_holder(handle)
    except OSError:  # a file system without locks
        return None if _has_ended(handle) else _describe_holder(handle)
    else:
        return None
    finally:
        os.close(handle)


def _make_folders(path: Path, created: list[Path]) -> None:
    """Create a folder with its parents, and append those that did not exist to ``created``, the outermost first."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            try:
                folder.mkdir()
                created.append(folder)
            except FileExistsError:
                if folder.is_dir():  # another process has created it at the same time
                    continue
                what = "a file" if folder.exists() else "a broken link"
                raise InvalidInputError(f"'{folder}' is {what}; choose a folder for the run.") from None


def _remove_empty(created: list[Path]) -> None:
    with contextlib.suppress(OSError):  # a folder that is not empty ends the loop
        for folder in reversed(created):
            folder.rmdir()


def _lock(folder: Path) -> int:
    """Return an open file that holds the lock on a folder; raise InvalidInputError if another process holds it."""
    path = folder / LOCK_NAME
    while True:
        handle, is_new = _open(path)
        try:
            is_locked = _try_lock(handle)
        except OSError:  # a file system without locks: the process that creates the file holds the lock
            is_locked = is_new
            if not is_new and _has_ended(handle):
                _remove_lock_file(path, handle)
                os.close(handle)
                continue
        if not is_locked:
            holder = _describe_holder(handle)
            os.close(handle)
            raise _LockedError(
                f"Another run uses the folder '{folder}' ({holder}); wait until it has ended, or choose another folder."
            )
        if _is_file_at(handle, path):
            with contextlib.suppress(OSError):  # on a full disk, the lock file stays empty
                os.ftruncate(handle, 0)
                os.write(handle, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
            return handle
        os.close(handle)  # the previous holder has just removed the file


def _try_lock(handle: int) -> bool:
    for number in range(LOCK_ATTEMPTS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if number + 1 < LOCK_ATTEMPTS:
            time.sleep(LOCK_PAUSE)
    return False


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock file; return its handle, and whether it was created."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
        if not path.parent.exists():
            raise FileNotFoundError
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            return os.open(path, flags), False


def _is_file_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
    except OSError:
        return False


def _read_holder(handle: int) -> tuple[int, str] | None:
    """Return the process and the machine that the lock file names."""
    try:
        content = json.loads(os.pread(handle, 1000, 0))
        process, host = int(content["process"]), str(content["host"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return (process, host) if 0 < process < 2**31 else None


def _describe_holder(handle: int) -> str:
    holder = _read_holder(handle)
    return "another process" if holder is None else f"process {holder[0]} on {holder[1]}"


def _has_ended(handle: int) -> bool:
    """Return whether the lock file names a process of this machine that has ended."""
    holder = _read_holder(handle)
    if holder is None or holder[1] != socket.gethostname():
        return False
    try:
        os.kill(holder[0], 0)
    except ProcessLookupError:
        return True
    except OSError:  # the process of another user
        return False
    return False


def _remove_lock_file(path: Path, handle: int) -> None:
    """Remove the lock file of a process that has ended, unless another process has replaced it in the meantime."""
    renamed = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(renamed)
        if not _is_file_at(handle, renamed):
            with contextlib.suppress(FileExistsError):
                os.link(renamed, path)
        renamed.unlink()
