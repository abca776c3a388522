"""The IDX format of MNIST: a magic number, the dimensions as 32-bit integers, and the bytes of the array."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from chainrule.errors import DataError
from chainrule.types import Array

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 0x08
# MNIST has 47 million bytes; a header that asks for more than this is damaged, or made to fill the memory.
_LARGEST = 2**30


def read_idx(path: Path, n_dimensions: int) -> Array:
    """Return the uint8 array of an IDX file (.gz or plain) with the given number of dimensions.

    Raises ``DataError`` if the header is not that of such an array, or the file is shorter or longer than it says.
    """
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if is_gzip:
                with gzip.GzipFile(fileobj=raw) as unpacked:
                    return _read(cast("BinaryIO", unpacked), n_dimensions, path.name)
            return _read(raw, n_dimensions, path.name)
    except (EOFError, gzip.BadGzipFile, zlib.error) as problem:
        raise DataError(f"{path.name} is a damaged gzip file ({problem}); download it again.") from None


def _read(file: BinaryIO, n_dimensions: int, name: str) -> Array:
    header = file.read(4 + 4 * n_dimensions)
    if len(header) < 4 + 4 * n_dimensions:
        raise DataError(f"{name} ends within its header, after {len(header)} bytes; download it again.")
    zero, kind, dimensions = struct.unpack_from(">HBB", header)
    if zero != 0 or kind != _UNSIGNED_BYTE or dimensions != n_dimensions:
        raise DataError(
            f"{name} is not an IDX file of bytes in {n_dimensions} dimensions: it begins with {header[:4].hex(' ')}."
        )
    shape = struct.unpack_from(f">{n_dimensions}I", header, 4)
    size = math.prod(shape)
    if not 0 < size <= _LARGEST:
        raise DataError(f"{name} announces an array of shape {shape}, which cannot be right.")
    content = file.read(size + 1)
    if len(content) != size:
        much = "more bytes than" if len(content) > size else f"{len(content)} bytes instead of"
        raise DataError(f"{name} holds {much} the {size} that its shape {shape} needs; download it again.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
