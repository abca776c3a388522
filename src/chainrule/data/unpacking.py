"""Decompress gzip, bzip2, xz and zip files in memory, with limits against decompression bombs."""

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
from chainrule.data.memory import max_text_bytes, read_at_most
from chainrule.errors import DataError

__all__ = ["UNPACKING_PROBLEMS", "check_zip_member", "max_unpacked_bytes", "read_unpacked", "unpack"]

# The content may have _ALWAYS_ALLOWED bytes, or _MAX_RATIO times the size of the file. Tables are compressed to about a
# tenth of their size, and decompression bombs to a thousandth.
_ALWAYS_ALLOWED = 2**28
_MAX_RATIO = 200
_MAX_LAYERS = 3

# The names of tables in an archive. A .txt file may be a description, so it is used only if there is no other table.
_TABLE_NAME = re.compile(r"\.(csv|tsv|tab|psv|dat|data)(\.(gz|bz2|xz|zip))?$", re.IGNORECASE)
_TEXT_NAME = re.compile(r"\.txt(\.(gz|bz2|xz|zip))?$", re.IGNORECASE)

UNPACKING_PROBLEMS = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile
)  # fmt: skip


def max_unpacked_bytes(packed: int) -> int:
    """Return the maximum number of bytes of the text in a compressed file of ``packed`` bytes."""
    return min(_max_bytes(packed), max_text_bytes())


def check_zip_member(member: zipfile.ZipInfo, path: Path) -> None:
    """Raise ``DataError`` for a member of the zip file at ``path`` that is much larger than the file."""
    max_bytes = _max_bytes(path.stat().st_size)
    if member.file_size > max_bytes:
        raise DataError(
            f"{member.filename} in {path.name} has more than {max_bytes:,} bytes when it is unpacked; if this is "
            "correct, save the file without compression."
        )


def _max_bytes(packed: int) -> int:
    return max(_ALWAYS_ALLOWED, _MAX_RATIO * packed)


def unpack(content: bytes, name: str) -> bytes:
    """Return the decompressed content of a file; other content is returned unchanged. ``name`` is for messages.

    A zip file must contain one file, or one file with the name of a table (.csv, .tsv, ...) and others such as a
    README. Files that are compressed twice, such as ``rows.csv.gz`` in a zip file, are decompressed twice.

    Raises ``DataError`` for a damaged file, and if the content is too large.
    """
    max_bytes = max_unpacked_bytes(len(content))
    too_long = f"{name} has more than {max_bytes:,} bytes when it is unpacked; if this is correct, unpack it yourself."
    for _ in range(_MAX_LAYERS):
        found = next(((kind, opened) for magic, kind, opened in _KINDS if content.startswith(magic)), None)
        if found is None:
            return content
        kind, opened = found
        try:
            with opened(io.BytesIO(content), name) as file:
                content = read_at_most(file, max_bytes, too_long)
        except DataError:
            raise
        except UNPACKING_PROBLEMS as problem:
            raise DataError(f"{name} is a damaged {kind} file ({problem}); download or write it again.") from None
    raise DataError(f"{name} is packed {_MAX_LAYERS} times or more; unpack it first.")


def read_unpacked(path: Path) -> bytes:
    """Return the decompressed content of a file."""
    return unpack(read_content(path), path.name)


def _open_gzip(file: IO[bytes], _: str) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(file))


def _open_bzip2(file: IO[bytes], _: str) -> IO[bytes]:
    return bz2.open(file)


def _open_xz(file: IO[bytes], _: str) -> IO[bytes]:
    return lzma.open(file)


def _open_table(archive: IO[bytes], name: str) -> IO[bytes]:
    """Open the only file or the only table in a zip archive. Files added by macOS are ignored."""
    packed = zipfile.ZipFile(archive)
    members = [member for member in packed.infolist() if not member.is_dir() and not _is_hidden(member.filename)]
    names = [member.filename for member in members]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise DataError(f"{name} is a workbook or another document; save the table as CSV.")
    if names and all(member.endswith(".npy") for member in names):
        raise DataError(f"{name} is an archive of NumPy arrays; give its path, and a name that ends in .npz.")
    tables = _tables_of(members)
    if len(tables) != 1:
        listed = f" ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''})" if names else ""
        raise DataError(
            f"{name} contains {len(names)} files{listed}, but a zip file must contain one table (one file, or one "
            "whose name ends in .csv, .tsv, .data or similar); unpack it, and give the path of the table."
        )
    if tables[0].flag_bits & 1:
        raise DataError(f"{name} is encrypted; unpack it first.")
    return packed.open(tables[0])


def _tables_of(members: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    """Return the tables among the members: the only member, or those with the name of a table, or the .txt files."""
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
    (b"PK\x05\x06", "zip", _open_table),  # an empty archive
)
