"""Exclusive use of a run folder, from the first moment of a run to its last.

The process that writes a run holds a lock on the file ``run.lock`` in the folder. The operating system releases the
lock when the process ends, however it ends, so a killed run never looks like one that is still going on. On a file
system without locks the existence of the file is the claim: it names the process and its machine, and does not count
any more when that process has ended on this machine.
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

__all__ = ["LOCK_NAME", "Claim", "find_holder"]

LOCK_NAME = "run.lock"
# How often a folder is created again that somebody else removes in the same moment.
MOST_TRIES = 10
# Whoever asks for the holder of a folder locks it for a moment: how often a claim is tried, and the seconds in between.
LOCK_TRIES, LOCK_PAUSE = 6, 0.01


class _TakenError(InvalidInputError):
    """A living process has claimed the folder."""


class Claim:
    """Exclusive use of a run folder by this process; :meth:`of` and :meth:`of_new_folder` make one.

    Attributes
    ----------
    path
        The folder.
    """

    def __init__(self, path: Path, handle: int, created: list[Path]) -> None:
        self.path = path
        self._handle = handle
        self._created = created  # the folder and its parents, as far as they did not exist

    @classmethod
    def of(cls, path: Path) -> Self:
        """Claim a folder, which is created where it does not exist.

        Raises InvalidInputError if another process has claimed it, or if the folder cannot be used.
        """
        created: list[Path] = []
        try:
            for _ in range(MOST_TRIES):
                with contextlib.suppress(FileNotFoundError):  # its last user has just removed the folder
                    _make_folders(path, created)
                    return cls(path, _lock(path), created)
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        except BaseException as error:
            _remove_empty(created)
            if isinstance(error, OSError):
                raise InvalidInputError(f"Could not use the folder '{path}': {error.strerror or error}.") from error
            raise

    @classmethod
    def of_new_folder(cls, path: Path) -> Self:
        """Create and claim a folder of this name; where the name is taken, one with ``-2``, ``-3``, ... behind it."""
        candidate, number = path, 1
        while True:
            if not candidate.exists():
                with contextlib.suppress(_TakenError):
                    claim = cls.of(candidate)
                    if candidate in claim._created:
                        return claim
                    claim.release()
            number += 1
            candidate = path.with_name(f"{path.name}-{number}")

    def is_held(self) -> bool:
        """Whether the claimed folder is still the one at its path: nobody has removed, moved or replaced it."""
        return _is_file_at(self._handle, self.path / LOCK_NAME)

    def check(self) -> None:
        """Raise InvalidInputError if the folder has been removed or replaced, so that nothing is written there."""
        if not self.is_held():
            raise InvalidInputError(
                f"The folder '{self.path}' was removed or replaced while its run was going on, so the run was stopped."
            )

    def release(self) -> None:
        """Give the folder back, and remove it if this claim has created it and nothing else is in it."""
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
    """Return which process has claimed a folder, in words; None if no living process has."""
    try:
        handle = os.open(path / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder_in_words(handle)
    except OSError:  # no locks here
        return None if _has_ended(handle) else _holder_in_words(handle)
    else:
        return None
    finally:
        os.close(handle)


def _make_folders(path: Path, created: list[Path]) -> None:
    """Create a folder with its parents; note those that did not exist, the outermost first."""
    for folder in (*reversed(path.parents), path):
        if not folder.is_dir():
            try:
                folder.mkdir()
                created.append(folder)
            except FileExistsError:
                if folder.is_dir():  # somebody else was faster
                    continue
                what = "a file" if folder.exists() else "a link that leads nowhere"
                raise InvalidInputError(f"'{folder}' is {what}; choose a folder for the run.") from None


def _remove_empty(created: list[Path]) -> None:
    with contextlib.suppress(OSError):  # of the first folder that is not empty
        for folder in reversed(created):
            folder.rmdir()


def _lock(folder: Path) -> int:
    """Return an open file that holds the lock on a folder; raise InvalidInputError if another process holds it."""
    path = folder / LOCK_NAME
    while True:
        handle, is_new = _open(path)
        try:
            is_ours = _try_lock(handle)
        except OSError:  # no locks here: whoever creates the file has claimed the folder
            is_ours = is_new
            if not is_new and _has_ended(handle):
                _take_away(path, handle)
                os.close(handle)
                continue
        if not is_ours:
            holder = _holder_in_words(handle)
            os.close(handle)
            raise _TakenError(
                f"A run is going on in the folder '{folder}' ({holder}); wait until it has ended, or choose another "
                "folder."
            )
        if _is_file_at(handle, path):
            with contextlib.suppress(OSError):  # on a full disk the claim has no name
                os.ftruncate(handle, 0)
                os.write(handle, json.dumps({"process": os.getpid(), "host": socket.gethostname()}).encode())
            return handle
        os.close(handle)  # its last holder has just removed the file


def _try_lock(handle: int) -> bool:
    for number in range(LOCK_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if number + 1 < LOCK_TRIES:
            time.sleep(LOCK_PAUSE)
    return False


def _open(path: Path) -> tuple[int, bool]:
    """Open the lock file; return it, and whether it has been created."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
        if not path.parent.exists():
            raise FileNotFoundError
        with contextlib.suppress(FileNotFoundError):  # just removed
            return os.open(path, flags), False


def _is_file_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat(follow_symlinks=False))
    except OSError:
        return False


def _read_note(handle: int) -> tuple[int, str] | None:
    try:
        note = json.loads(os.pread(handle, 1000, 0))
        process, host = int(note["process"]), str(note["host"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return (process, host) if 0 < process < 2**31 else None


def _holder_in_words(handle: int) -> str:
    note = _read_note(handle)
    return "another process" if note is None else f"process {note[0]} on {note[1]}"


def _has_ended(handle: int) -> bool:
    """Whether the lock file names a process of this machine that does not exist any more."""
    note = _read_note(handle)
    if note is None or note[1] != socket.gethostname():
        return False
    try:
        os.kill(note[0], 0)
    except ProcessLookupError:
        return True
    except OSError:  # it belongs to another user
        return False
    return False


def _take_away(path: Path, handle: int) -> None:
    """Remove the lock file of a process that has ended, unless another starter has replaced it in this moment."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if not _is_file_at(handle, aside):
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()
