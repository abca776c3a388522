"""Unpack gzip, bzip2, xz and zip files in memory, within bounds that a file made to fill the memory cannot exceed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from chainrule.data.file_content import read_content
from chainrule.data.memory import largest_text, read_at_most
from chainrule.errors import DataError

__all__ = ["UNPACKING_PROBLEMS", "check_zip_member", "largest_unpacked", "read_unpacked", "unpack"]

# What is unpacked may be so many bytes, or so many times larger than the file. Tables pack to a tenth, and files that
# are made to fill a memory to a thousandth.
_ALWAYS_ALLOWED = 2**28
_MOST_RATIO = 200
_MOST_LAYERS = 3

# The names of tables in an archive. A .txt file may be a description, so it counts only if there is no other table.
_TABLE_NAME = re.compile(r"\.(csv|tsv|tab|psv|dat|data)(\.(gz|bz2|xz|zip))?$", re.IGNORECASE)
_TEXT_NAME = re.compile(r"\.txt(\.(gz|bz2|xz|zip))?$", re.IGNORECASE)

UNPACKING_PROBLEMS = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile
)  # fmt: skip


def largest_unpacked(packed: int) -> int:
    """Return how many bytes of text may come out of a file of ``packed`` bytes."""
    return min(_most_allowed(packed), largest_text())


def check_zip_member(member: zipfile.ZipInfo, path: Path) -> None:
    """Raise ``DataError`` for a member of the zip file at ``path`` that is much larger than the whole file."""
    most = _most_allowed(path.stat().st_size)
    if member.file_size > most:
        raise DataError(
            f"{member.filename} in {path.name} has more than {most:,} bytes when it is unpacked; save the file without "
            "compression if that is meant."
        )


def _most_allowed(packed: int) -> int:
    return max(_ALWAYS_ALLOWED, _MOST_RATIO * packed)


def unpack(content: bytes, name: str) -> bytes:
    """Return what a packed file holds, and any other content as it is; ``name`` is the file's name for messages.

    A zip file must hold one file, or one file with the name of a table (.csv, .tsv, ...) beside others such as a
    README. Files that are packed twice, such as ``rows.csv.gz`` in a zip file, are unpacked twice.

    Raises ``DataError`` for a damaged file, and for one that holds too much.
    """
    most = largest_unpacked(len(content))
    too_long = f"{name} holds more than {most:,} bytes when it is unpacked; unpack it yourself if that is meant."
    for _ in range(_MOST_LAYERS):
        found = next(((kind, opened) for magic, kind, opened in _KINDS if content.startswith(magic)), None)
        if found is None:
            return content
        kind, opened = found
        try:
            with opened(io.BytesIO(content), name) as file:
                content = read_at_most(file, most, too_long)
        except DataError:
            raise
        except UNPACKING_PROBLEMS as problem:
            raise DataError(f"{name} is a damaged {kind} file ({problem}); download or write it again.") from None
    raise DataError(f"{name} is packed {_MOST_LAYERS} times or more; unpack it first.")


def read_unpacked(path: Path) -> bytes:
    """Return the content of a file, unpacked."""
    return unpack(read_content(path), path.name)


def _open_gzip(file: IO[bytes], _: str) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(file))


def _open_bzip2(file: IO[bytes], _: str) -> IO[bytes]:
    return bz2.open(file)


def _open_xz(file: IO[bytes], _: str) -> IO[bytes]:
    return lzma.open(file)


def _open_table(archive: IO[bytes], name: str) -> IO[bytes]:
    """Open the one file in a zip archive, or the one table in it; files that macOS adds do not count."""
    packed = zipfile.ZipFile(archive)
    members = [member for member in packed.infolist() if not member.is_dir() and not _is_hidden(member.filename)]
    names = [member.filename for member in members]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise DataError(f"{name} is a workbook or another document; save the table as CSV.")
    if names and all(member.endswith(".npy") for member in names):
        raise DataError(f"{name} is an archive of NumPy arrays; give it by its path, with a name that ends in .npz.")
    tables = _tables_of(members)
    if len(tables) != 1:
        listed = f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
        raise DataError(
            f"{name} holds {len(names)} files{listed}, but a zip file must hold one table (one file, or one whose name "
            "ends in .csv, .tsv, .data or similar); unpack it, and give the path of the table."
        )
    if tables[0].flag_bits & 1:
        raise DataError(f"{name} is encrypted; unpack it first.")
    return packed.open(tables[0])


def _tables_of(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Return the members that are tables: the only one, or those with a table's name, or else those called .txt."""
    if len(members) == 1:
        return members
    named = [member for member in members if _TABLE_NAME.search(member.filename)]
    return named or [member for member in members if _TEXT_NAME.search(member.filename)]


def _is_hidden(member: str) -> bool:
    return member.startswith("__MACOSX/") or member.rpartition("/")[2].startswith(".")


_KINDS: tuple[tuple[bytes, str, Callable[[IO[bytes], str], IO[bytes]]], ...] = (
    (b"\x1f\x8b", "gzip", _open_gzip),
    (b"BZh", "bzip2", _open_bzip2),
    (b"\xfd7zXZ\x00", "xz", _open_xz),
    (b"PK\x03\x04", "zip", _open_table),
    (b"PK\x05\x06", "zip", _open_table),  # an empty one
)
