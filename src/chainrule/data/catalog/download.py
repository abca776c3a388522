"""Bring published files to this machine once, whole, and as published: resumable, checked, in the user's cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from chainrule.errors import DataError

__all__ = ["Progress", "RemoteFile", "StandIn", "cache_folder", "fetch_file"]

# Called with the bytes that are here and the bytes there are in all (None where the server does not say).
Progress: TypeAlias = Callable[[int, int | None], None]

_CHUNK = 1 << 18
_SECONDS_OF_SILENCE = 30


@dataclass(frozen=True)
class StandIn:
    """A file with the same content in another form, accepted from the ``CHAINRULE_DATA`` folder only."""

    name: str
    sha256: str


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its folder and name in the cache, where to get it, and the SHA-256 of its bytes.

    Without ``urls`` the file cannot be downloaded, and comes from the ``CHAINRULE_DATA`` folder only.
    """

    folder: str
    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int | None = None
    stand_ins: tuple[StandIn, ...] = ()


_OTHER_PLACES = "set XDG_CACHE_HOME to a folder that can be written, or CHAINRULE_DATA to a folder that holds the files"


def cache_folder() -> Path:
    """Return the user's cache folder for chainrule: ``$XDG_CACHE_HOME/chainrule`` or ``~/.cache/chainrule``.

    Raises ``DataError`` where the user has no home folder.
    """
    configured = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(configured) if configured else Path.home() / ".cache") / "chainrule"
    except RuntimeError:
        raise DataError(f"There is no home folder to keep downloaded files in; {_OTHER_PLACES}.") from None


def fetch_file(file: RemoteFile, progress: Progress | None = None) -> Path:
    """Return the path of a file with the right checksum: from ``CHAINRULE_DATA``, the cache, or the network.

    A download goes to ``<name>.part``, goes on from there after an interruption, is checked, and only then gets its
    name. The mirrors are tried in turn. Raises ``DataError`` when none of them has it.
    """
    local = _in_data_folder(file)
    if local is not None:
        return local
    path = cache_folder() / file.folder / file.name
    if path.exists() and _sha256(path) == file.sha256:  # also where the cache can only be read
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_with(path):
            return _fetch_into_cache(file, path, progress)
    except OSError as error:
        raise DataError(
            f"'{path}' could not be written: {(error.strerror or str(error)).lower()}; {_OTHER_PLACES}."
        ) from error


@contextmanager
def _alone_with(path: Path) -> Iterator[None]:
    """Wait until no other process fetches the same file; a lock ends with its process, however that ends."""
    import fcntl

    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_into_cache(file: RemoteFile, path: Path, progress: Progress | None) -> Path:
    if path.exists():
        if _sha256(path) == file.sha256:
            return path
        path.unlink()  # damaged on disk: it is a cache, so get it again
    place = f"{file.folder}/{file.name}"
    if not file.urls:
        raise DataError(f"{file.name} is not published for download; set CHAINRULE_DATA to a folder with {place}.")
    part = path.with_name(path.name + ".part")
    problems = []
    for url in file.urls:
        try:
            _download(url, part, file, progress)
        except (OSError, http.client.HTTPException) as problem:
            problems.append(f"{url}: {_in_words(problem)}")
            continue
        if _sha256(part) == file.sha256:
            part.replace(path)
            return path
        part.unlink()
        problems.append(f"{url}: the bytes are not those that were published (wrong SHA-256)")
    kept = f" {part.stat().st_size} bytes are kept, and the next try goes on from there." if part.exists() else ""
    raise DataError(
        f"{file.name} could not be downloaded ({'; '.join(problems)}); check the connection, or set CHAINRULE_DATA to "
        f"a folder with {place}.{kept}"
    )


def _in_data_folder(file: RemoteFile) -> Path | None:
    """Return the file, or a stand-in for it, in the folder named by ``CHAINRULE_DATA``."""
    configured = os.environ.get("CHAINRULE_DATA")
    if not configured:
        return None
    folder = Path(configured)
    if not folder.is_dir():
        raise DataError(f"CHAINRULE_DATA is set to {configured}, which is not a folder; correct it or unset it.")
    accepted: dict[str, list[str]] = {}
    for name, checksum in [(file.name, file.sha256), *((one.name, one.sha256) for one in file.stand_ins)]:
        accepted.setdefault(name, []).append(checksum)
    for name, checksums in accepted.items():
        path = folder / file.folder / name
        if path.exists():
            if _sha256(path) not in checksums:
                raise DataError(f"{path} is damaged or of another version (wrong SHA-256); replace or remove it.")
            return path
    return None


def _download(url: str, part: Path, file: RemoteFile, progress: Progress | None) -> None:
    """Write the bytes of ``url`` to ``part``, going on from those that are there."""
    have = part.stat().st_size if part.exists() else 0
    if file.size is not None and have >= file.size:
        if have == file.size:
            return
        part.unlink()
        have = 0
    headers = {"User-Agent": "chainrule"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_SECONDS_OF_SILENCE)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        if refusal.code == 416 and have:  # nothing lies beyond what is here: it is whole, or it is wrong
            return
        raise
    with response:
        if response.status != 206:
            have = 0  # the server sends the whole file
        announced = response.headers.get("Content-Length")
        total = have + int(announced) if announced and announced.isdigit() else file.size
        with part.open("ab" if have else "wb") as out:
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                have += len(chunk)
                if file.size is not None and have > file.size:
                    break  # not our file, whatever it is: the checksum will say so
                if progress is not None:
                    progress(have, total)
    if total is not None and have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _in_words(problem: Exception) -> str:
    if isinstance(problem, urllib.error.HTTPError):
        return f"the server answers {problem.code} {problem.reason}"
    if isinstance(problem, urllib.error.URLError):
        return f"cannot be reached ({problem.reason})"
    return str(problem) or type(problem).__name__
