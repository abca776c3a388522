"""The product of two matrices, in register tiles.

``C = A B`` is computed panel by panel. A *panel* is a copy of some rows of B, in as many columns as a tile is wide. The
rows lie one after another and are padded with zeros, so that the panel stays in the first-level cache, and each load
reads one cache line. Each element of C is the sum of its terms in their order, rounded after each term. It depends
neither on the other rows and columns of C, nor on whether terms that are 0 are computed (except for the sign of a 0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.kernels.compile import carray, compiled, compiled_kernel, inlined
from chainrule.kernels.vectors import (
    HAS_WIDE_REGISTERS,
    VECTOR_BYTES,
    copy_column,
    copy_rows,
    count_bits,
    multiply_row,
    multiply_tile,
    nonzeros,
    transpose_block,
)
from chainrule.types import Array

__all__ = ["BUFFER_SIZE", "multiply", "product", "transpose"]

# The rows and vectors of a tile. A processor with 32 wide registers keeps 24 vectors of C in them; otherwise, a vector
# takes several registers. The last columns are computed in narrow tiles, of two vectors or of one. If zeros are
# skipped, a tile is one row of several vectors.
_ROWS, _VECTORS = (6, 4) if HAS_WIDE_REGISTERS else (6, 1)
_NARROW_ROWS, _NARROW_VECTORS = (8, 2) if HAS_WIDE_REGISTERS else (6, 1)
_ENTRY_VECTORS = 8 if HAS_WIDE_REGISTERS else 4
_ALL_BITS = np.uint64(0xFFFFFFFFFFFFFFFF)
_STEPS = 64  # the number of terms that are added to each sum at a time: as many as a word has bits

# The size of the buffer of :func:`multiply`, in numbers: a panel of B, some rows of A, and the settings.
_PANEL_SIZE = _ENTRY_VECTORS * VECTOR_BYTES // 4 * _STEPS
_N_SETTINGS = 8
_SETTINGS = _PANEL_SIZE + max(_ROWS, _NARROW_ROWS) * _STEPS
BUFFER_SIZE = _SETTINGS + 2 * _N_SETTINGS

# Up to the first number of rows of C, panels of B that need no padding are not copied. Up to the second, zeros are not
# skipped, because finding out whether B is finite would take as long.
_FEW_ROWS, _VERY_FEW_ROWS = 16, 4

# The shares of nonzero numbers in A up to which zeros are skipped, up to which they are skipped in narrow tiles, and up
# to which it pays to read more columns of B at a time than fit into the first cache.
_MAX_DENSITY, _MAX_NARROW_DENSITY, _MAX_WIDE_DENSITY = 0.65, 0.3, 0.3


@compiled
def _find_nonzeros(a: Array, a_row: int, n_rows: int, n_steps: int, bits: Array) -> float:
    """Write bits that tell which numbers of A are not 0, 64 of a row in each word; return the share of such numbers."""
    n_entries = 0
    for k in range(0, n_steps, _STEPS):
        for i in range(n_rows):
            word = nonzeros(a, i * a_row + k, min(_STEPS, n_steps - k))
            bits[k // _STEPS * n_rows + i] = word
            n_entries += count_bits(word)
    return n_entries / max(n_rows * n_steps, 1)


@compiled
def _fill_panel(b: Array, start: int, b_row: int, n_steps: int, n_columns: int, width: int, panel: Array) -> None:
    """Copy some rows and columns of B to a panel, and pad it with zeros."""
    lanes = VECTOR_BYTES // b.itemsize
    for j in range(0, width, lanes):
        copy_column(b, start + j, b_row, n_steps, max(0, min(lanes, n_columns - j)), panel, j, width)


@compiled
def _is_finite(b: Array, start: int, b_row: int, n_steps: int, width: int) -> Any:
    if b_row == width:
        n_steps, width = 1, n_steps * width
    total = b[start] * 0
    for k in range(n_steps):
        row = b[start + k * b_row :]
        for j in range(width):
            total += row[j] * 0  # NaN if the number is not finite
    return total == 0


@compiled
def _choose_tile(n_vectors: int, density: float) -> tuple[bool, bool, int]:
    """Return whether the next tiles are wide, whether they skip zeros, and their width in vectors."""
    if n_vectors <= _NARROW_VECTORS:
        return False, n_vectors > 1 and density < _MAX_NARROW_DENSITY, n_vectors
    if density < _MAX_WIDE_DENSITY and n_vectors >= _ENTRY_VECTORS:
        return True, True, _ENTRY_VECTORS
    return False, density < _MAX_DENSITY, _VECTORS


@compiled
def _multiply_tiles(
    a: Array, a_start: int, a_row: int, n_rows: int, n_steps: int, b: Array, b_start: int, b_row: int, buffer: Array,
    old: Array, old_start: int, old_row: int, c: Array, c_start: int, c_row: int, n_columns: int, width: int,
) -> int:  # fmt: skip
    """Write the rows of C that fill tiles; return their number."""
    lanes, i = VECTOR_BYTES // a.itemsize, 0
    tile_rows = _NARROW_ROWS if width <= _NARROW_VECTORS * lanes else _ROWS
    while i + tile_rows <= n_rows:
        a_at, o_at, c_at = a_start + i * a_row, old_start + i * old_row, c_start + i * c_row
        rows, rows_at = (a, a_at) if a_row == _STEPS else (buffer, _PANEL_SIZE)
        if a_row != _STEPS and tile_rows == _NARROW_ROWS:
            copy_rows(_NARROW_ROWS, a, a_at, a_row, n_steps, buffer, _PANEL_SIZE)
        elif a_row != _STEPS:
            copy_rows(_ROWS, a, a_at, a_row, n_steps, buffer, _PANEL_SIZE)
        if width == lanes:
            multiply_tile(
                _NARROW_ROWS, 1, rows, rows_at, _STEPS, n_steps, b, b_start, b_row,
                old, o_at, old_row, c, c_at, c_row, n_columns,
            )  # fmt: skip
        elif tile_rows == _NARROW_ROWS:
            multiply_tile(
                _NARROW_ROWS, _NARROW_VECTORS, rows, rows_at, _STEPS, n_steps, b, b_start, b_row,
                old, o_at, old_row, c, c_at, c_row, n_columns,
            )  # fmt: skip
        else:
            multiply_tile(
                _ROWS, _VECTORS, rows, rows_at, _STEPS, n_steps, b, b_start, b_row,
                old, o_at, old_row, c, c_at, c_row, n_columns,
            )  # fmt: skip
        i += tile_rows
    return i


@compiled
def _multiply_rows(
    a: Array, a_start: int, a_row: int, first: int, last: int, n_steps: int, bits: Array, first_word: int,
    b: Array, b_start: int, b_row: int, old: Array, old_start: int, old_row: int,
    c: Array, c_start: int, c_row: int, n_columns: int, width: int,
) -> None:  # fmt: skip
    """Write rows of C one by one: from the terms whose bits are set, or from all terms if ``first_word`` is -1."""
    n_vectors, word = width // (VECTOR_BYTES // a.itemsize), _ALL_BITS >> np.uint64(_STEPS - n_steps)
    for i in range(first, last):
        a_at, o_at, c_at = a_start + i * a_row, old_start + i * old_row, c_start + i * c_row
        if first_word >= 0:
            word = bits[first_word + i]
        if n_vectors == 1:
            multiply_row(1, a, a_at, word, b, b_start, b_row, old, o_at, c, c_at, n_columns)
        elif n_vectors == _NARROW_VECTORS:
            multiply_row(_NARROW_VECTORS, a, a_at, word, b, b_start, b_row, old, o_at, c, c_at, n_columns)
        elif n_vectors == _ENTRY_VECTORS:
            multiply_row(_ENTRY_VECTORS, a, a_at, word, b, b_start, b_row, old, o_at, c, c_at, n_columns)
        else:
            multiply_row(_VECTORS, a, a_at, word, b, b_start, b_row, old, o_at, c, c_at, n_columns)


@compiled_kernel
def product(f: Any) -> Callable[..., float]:
    """Write a product; see :func:`multiply`.

    Arrays: A, B, C, initial values, buffer, bits.  Settings: number of terms of a sum, row strides of A, B and C,
    whether the product is added to C, whether to look for zeros in A.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_steps, a_row, b_row, c_row = int(settings[0]), int(settings[1]), int(settings[2]), int(settings[3])
        adds, finds_zeros, bits = settings[4] != 0, settings[5] != 0, carray(p5, 1, np.uint64)
        a, b, c = carray(p0, n_rows * a_row, f), carray(p1, n_steps * b_row, f), carray(p2, n_rows * c_row, f)
        initial, buffer = carray(p3, n_columns, f), carray(p4, BUFFER_SIZE, f)
        finds_zeros = finds_zeros and n_rows > _VERY_FEW_ROWS
        density = _find_nonzeros(a, a_row, n_rows, n_steps, bits) if finds_zeros else 1.0
        lanes, j = VECTOR_BYTES // a.itemsize, 0
        while j < n_columns:
            is_wide, skips_zeros, width = _choose_tile((n_columns - j + lanes - 1) // lanes, density)
            width *= lanes
            n = min(n_columns - j, width)
            for k0 in range(0, n_steps, _STEPS):
                n_k = min(_STEPS, n_steps - k0)
                source, source_at, source_row = b, k0 * b_row + j, b_row
                if n < width or n_rows > _FEW_ROWS:
                    _fill_panel(b, source_at, b_row, n_k, n, width, buffer)
                    source, source_at, source_row = buffer, 0, width
                is_finite = not skips_zeros or _is_finite(source, source_at, source_row, n_k, width)
                old, old_at, old_row, i = c, j, c_row, 0
                if k0 == 0 and not adds:
                    old, old_at, old_row = initial, j, 0
                skips = skips_zeros and is_finite
                if not (is_wide or skips):
                    i = _multiply_tiles(
                        a, k0, a_row, n_rows, n_k, source, source_at, source_row, buffer, old, old_at, old_row,
                        c, j, c_row, n, width,
                    )  # fmt: skip
                first_word = k0 // _STEPS * n_rows if skips else -1
                _multiply_rows(
                    a, k0, a_row, i, n_rows, n_k, bits, first_word, source, source_at, source_row, old, old_at, old_row,
                    c, j, c_row, n, width,
                )  # fmt: skip
            j += n
        return 0.0

    return run


@inlined
def multiply(
    address: int, a: Array, a_start: int, a_row: int, n_rows: int, n_steps: int, b: Array, b_start: int, b_row: int,
    n_columns: int, c: Array, c_start: int, c_row: int, initial: Array, initial_at: int, adds: bool, finds_zeros: bool,
    buffer: Array, bits: Array,
) -> None:  # fmt: skip
    """Write ``C_ij = initial_j + sum over k of A_ik B_kj``, with the old C_ij in place of ``initial_j`` if ``adds``.

    All arrays are flat: ``A_ik = a[a_start + i * a_row + k]``, ``B_kj = b[b_start + k * b_row + j]``,
    ``C_ij = c[c_start + i * c_row + j]`` and ``initial_j = initial[initial_at + j]``. ``address`` is that of
    :func:`product`, which is called by its address so that its code is compiled only once. ``buffer`` has
    :data:`BUFFER_SIZE` numbers. With ``finds_zeros``, terms with zeros in A are left out if there are many of them,
    except in panels of B with a number that is not finite: 0 times infinity is NaN. Bits that tell which numbers of A
    are not 0 are written to ``bits``, with a word for every 64 numbers.
    """
    size, settings = a.itemsize, buffer[_SETTINGS:BUFFER_SIZE].view(np.float64)
    settings[0], settings[1], settings[2], settings[3] = n_steps, a_row, b_row, c_row
    settings[4], settings[5] = adds, finds_zeros
    call_address(
        address, a.ctypes.data + a_start * size, b.ctypes.data + b_start * size, c.ctypes.data + c_start * size,
        initial.ctypes.data + initial_at * size, buffer.ctypes.data, bits.ctypes.data, 0, 0,
        n_rows, n_columns, settings.ctypes.data,
    )  # fmt: skip


@compiled
def transpose(
    a: Array, a_start: int, a_row: int, n_rows: int, n_columns: int, b: Array, b_start: int, b_row: int
) -> None:
    """Write ``b[b_start + j * b_row + i] = a[a_start + i * a_row + j]``."""
    lanes = VECTOR_BYTES // a.itemsize
    for i in range(0, n_rows, lanes):
        for j in range(0, n_columns, lanes):
            rows, columns = min(lanes, n_rows - i), min(lanes, n_columns - j)
            at, to = a_start + i * a_row + j, b_start + j * b_row + i
            transpose_block(a, at, a_row, rows, columns, b, to, b_row)
