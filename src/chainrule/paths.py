"""Paths as people give them: what is there, what is near, and why something cannot be read.

Where the system does not tell what is at a path (no permission, a name too long, links in a circle), something may be
there: :func:`exists` says yes and :func:`is_file` and :func:`is_folder` say no, so that opening it gives the reason.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from chainrule.errors import InvalidInputError, nearest_name, shown

__all__ = ["as_path", "cannot_be_read", "exists", "expand_user", "is_file", "is_folder", "is_same_file", "nearest_path"]


def as_path(path: str | Path) -> Path:
    """Return a path as a ``Path``. Raises InvalidInputError for anything else than a text or a path."""
    try:
        return Path(path)
    except TypeError:
        raise InvalidInputError(f"The path is {shown(path)}; give a text or a pathlib.Path.") from None


def expand_user(path: str | Path) -> Path:
    """Return a path with a home folder for ``~`` or ``~name`` at its beginning.

    Raises InvalidInputError for a user that does not exist, unless something with this very name does.
    """
    path = as_path(path)
    try:
        return path.expanduser()
    except RuntimeError:
        if exists(path):
            return path
        raise InvalidInputError(
            f"'{path}' begins with the home folder of a user, and there is no such user; give another path."
        ) from None


def exists(path: Path) -> bool:
    """Whether something is at a path, or may be."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def is_file(path: Path, *, strict: bool = False) -> bool:
    """Whether an ordinary file is at a path; with ``strict``, raise OSError where the system does not tell."""
    if strict and exists(path):
        return stat.S_ISREG(path.stat().st_mode)
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Whether a folder is at a path."""
    return stat.S_ISDIR(_mode(path))


def is_same_file(path: Path, other: Path) -> bool:
    """Whether two paths lead to the same file, which exists."""
    try:
        return path.samefile(other)
    except (OSError, ValueError):
        return False


def nearest_path(path: Path) -> str:
    """Return a hint at the file or folder beside ``path`` whose name is nearest, as :func:`nearest_name` words it."""
    try:
        names = set(os.listdir(path.parent)) - {path.name}  # noqa: PTH208  (no more than the names)
    except (OSError, ValueError):
        return ""
    return nearest_name(path.name, names)


def cannot_be_read(path: str | Path, problem: Exception) -> str:
    """Return a sentence that says why a path cannot be read."""
    reason = (problem.strerror or str(problem)).lower() if isinstance(problem, OSError) else str(problem)
    return f"{path} cannot be read: {reason}."


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0
