"""Download published files to the cache of the user, with checksums and with resumed downloads."""

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

# Called with the number of bytes received and the total number of bytes (None if the server does not send it).
Progress: TypeAlias = Callable[[int, int | None], None]

_CHUNK = 1 << 18
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class StandIn:
    """A file with the same content in another format, which is accepted only in the ``CHAINRULE_DATA`` folder."""

    name: str
    sha256: str


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its folder and name in the cache, its URLs, and its SHA-256 checksum.

    A file without ``urls`` cannot be downloaded, and must be in the ``CHAINRULE_DATA`` folder.
    """

    folder: str
    name: str
    urls: tuple[str, ...]
    sha256: str
    size: int | None = None
    stand_ins: tuple[StandIn, ...] = ()


_REMEDY = "set XDG_CACHE_HOME to a writable folder, or CHAINRULE_DATA to a folder that contains the files"


def cache_folder() -> Path:
    """Return the cache folder of chainrule: ``$XDG_CACHE_HOME/chainrule`` or ``~/.cache/chainrule``.

    Raises ``DataError`` if the user has no home folder.
    """
    configured = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(configured) if configured else Path.home() / ".cache") / "chainrule"
    except RuntimeError:
        raise DataError(f"There is no home folder for downloaded files; {_REMEDY}.") from None


def fetch_file(file: RemoteFile, progress: Progress | None = None) -> Path:
    """Return the path of a file in ``CHAINRULE_DATA`` or in the cache, to which it is downloaded if necessary.

    The file is downloaded to ``<name>.part``, where an interrupted download is resumed, and renamed after its checksum
    was checked. The mirrors are tried in turn. Raises ``DataError`` if all of them fail.
    """
    local = _in_data_folder(file)
    if local is not None:
        return local
    path = cache_folder() / file.folder / file.name
    if path.exists() and _sha256(path) == file.sha256:  # the cache may be read-only
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path):
            return _fetch_into_cache(file, path, progress)
    except OSError as error:
        raise DataError(
            f"'{path}' could not be written: {(error.strerror or str(error)).lower()}; {_REMEDY}."
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Wait until no other process downloads the same file. The system releases the lock when a process ends."""
    import fcntl

    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_into_cache(file: RemoteFile, path: Path, progress: Progress | None) -> Path:
    if path.exists():
        if _sha256(path) == file.sha256:
            return path
        path.unlink()  # a damaged file is downloaded again
    relative_path = f"{file.folder}/{file.name}"
    if not file.urls:
        raise DataError(
            f"{file.name} is not published for download; set CHAINRULE_DATA to a folder with {relative_path}."
        )
    part = path.with_name(path.name + ".part")
    problems = []
    for url in file.urls:
        try:
            _download(url, part, file, progress)
        except (OSError, http.client.HTTPException) as problem:
            problems.append(f"{url}: {_describe(problem)}")
            continue
        if _sha256(part) == file.sha256:
            part.replace(path)
            return path
        part.unlink()
        problems.append(f"{url}: the file is not the published one (wrong SHA-256)")
    kept = f" The next attempt continues after {part.stat().st_size} bytes." if part.exists() else ""
    raise DataError(
        f"{file.name} could not be downloaded ({'; '.join(problems)}); check the connection, or set CHAINRULE_DATA to "
        f"a folder with {relative_path}.{kept}"
    )


def _in_data_folder(file: RemoteFile) -> Path | None:
    """Return the path of the file or a stand-in in the folder ``CHAINRULE_DATA``; None if it is not there."""
    configured = os.environ.get("CHAINRULE_DATA")
    if not configured:
        return None
    folder = Path(configured)
    if not folder.is_dir():
        raise DataError(f"CHAINRULE_DATA is set to {configured}, which is not a folder; correct it or unset it.")
    accepted: dict[str, list[str]] = {}
    for name, checksum in [
        (file.name, file.sha256),
        *((stand_in.name, stand_in.sha256) for stand_in in file.stand_ins),
    ]:
        accepted.setdefault(name, []).append(checksum)
    for name, checksums in accepted.items():
        path = folder / file.folder / name
        if path.exists():
            if _sha256(path) not in checksums:
                raise DataError(f"{path} is damaged or another version (wrong SHA-256); replace or remove it.")
            return path
    return None


def _download(url: str, part: Path, file: RemoteFile, progress: Progress | None) -> None:
    """Download ``url`` to ``part``. A partial file is continued."""
    have = part.stat().st_size if part.exists() else 0
    if file.size is not None and have >= file.size:
        if have == file.size:
            return
        part.unlink()
        have = 0
    headers = {"User-Agent": "chainrule"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the server has no more bytes
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
                    break  # too large; the checksum will not match
                if progress is not None:
                    progress(have, total)
    if total is not None and have < total:
        raise ConnectionError(f"the connection ended after {have} of {total} bytes")


def _sha256(path: Path) -> str:
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _describe(problem: Exception) -> str:
    if isinstance(problem, urllib.error.HTTPError):
        return f"the server responded with {problem.code} {problem.reason}"
    if isinstance(problem, urllib.error.URLError):
        return f"cannot be reached ({problem.reason})"
    return str(problem) or type(problem).__name__
