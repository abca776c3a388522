"""The IDX format of MNIST: a magic number, the dimensions as 32-bit integers, and the bytes of the array."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from chainrule.data.unpacking import read_unpacked
from chainrule.errors import DataError
from chainrule.types import Array

__all__ = ["read_idx"]

_UNSIGNED_BYTE = 0x08
# The maximum size of an array. MNIST has 47 million bytes.
_MAX_BYTES = 2**30


def read_idx(path: Path, n_dimensions: int) -> Array:
    """Return the uint8 array of an IDX file (.gz or plain) with the given number of dimensions.

    Raises ``DataError`` if the header is invalid, or if it does not match the size of the file.
    """
    return _read(io.BytesIO(read_unpacked(path)), n_dimensions, path.name)


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
    if not 0 < size <= _MAX_BYTES:
        raise DataError(f"{name} has a header with the invalid shape {shape}; download it again.")
    content = file.read(size + 1)
    if len(content) != size:
        amount = "more bytes than" if len(content) > size else f"{len(content)} bytes instead of"
        raise DataError(f"{name} contains {amount} the {size} bytes of its shape {shape}; download it again.")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
