"""The product of two matrices, in register tiles.

``C = A B`` is computed panel by panel. A *panel* holds some rows of B, in as many columns as a tile is wide, one after
another and filled up with zeros, so that it stays in the first cache and each load reads one cache line. Each element
of C is the sum of its terms in their order, rounded after each term, so that it does not depend on the other rows and
columns, nor on whether the terms that are 0 are computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.kernels.compile import compiled, inlined
from chainrule.kernels.vectors import (
    HAS_WIDE_REGISTERS,
    VECTOR_BYTES,
    copy_rows,
    copy_vectors,
    count_bits,
    lowest_bit,
    nonzeros,
    tile_add_product,
    tile_load,
    tile_load_part,
    tile_store,
    tile_store_part,
    transpose_block,
)
from chainrule.types import Array

__all__ = ["BUFFER_SIZE", "find_nonzeros", "multiply", "transpose"]

# The rows and vectors of a tile. A processor with 32 wide registers keeps 24 vectors of C in them; otherwise, a vector
# takes several registers. Matrices with few columns are computed in narrow tiles, one vector wide. A tile is one row of
# several vectors if zeros are skipped.
_ROWS, _VECTORS = (6, 4) if HAS_WIDE_REGISTERS else (6, 1)
_NARROW_ROWS, _MAX_NARROW = (8, 2) if HAS_WIDE_REGISTERS else (6, 1)
_ENTRY_VECTORS = 8 if HAS_WIDE_REGISTERS else 4
_STEPS = 64  # the terms of the sums that are added to C at a time: as many as a word has bits

# The size of the buffer of :func:`multiply`, in numbers: a panel of B and some rows of A.
_PANEL_SIZE = _ENTRY_VECTORS * VECTOR_BYTES // 4 * _STEPS
BUFFER_SIZE = _PANEL_SIZE + max(_ROWS, _NARROW_ROWS) * _STEPS

# Up to this number of rows of C, whole panels of B are not copied.
_FEW_ROWS = 8

# The share of nonzero numbers in A up to which its zeros are skipped, and up to which it pays to read more columns of B
# at a time than fit into the first cache.
_MAX_DENSITY, _MAX_WIDE_DENSITY = 0.65, 0.3


@inlined
def _load_tile(n_rows: int, n_vectors: int, a: Array, start: int, stride: int, n_columns: int) -> Any:
    if n_columns == n_vectors * (VECTOR_BYTES // a.itemsize):
        tile = tile_load(n_rows, n_vectors, a, start, stride)
    else:
        tile = tile_load_part(n_rows, n_vectors, a, start, stride, n_columns)
    return tile


@inlined
def _multiply_tile(
    n_rows: int, n_vectors: int, a: Array, a_start: int, a_row: int, n_steps: int,
    b: Array, b_start: int, b_row: int, buffer: Array, first: Array, first_at: int, first_row: int,
    c: Array, c_start: int, c_row: int, n_columns: int,
) -> None:  # fmt: skip
    """Write a tile of C: the initial values plus the product."""
    copy_rows(n_rows, a, a_start, a_row, n_steps, buffer, _PANEL_SIZE, _STEPS)
    tile = _load_tile(n_rows, n_vectors, first, first_at, first_row, n_columns)
    for k in range(n_steps):
        tile = tile_add_product(tile, buffer, _PANEL_SIZE + k, _STEPS, b, b_start + k * b_row)
    if n_columns == n_vectors * (VECTOR_BYTES // a.itemsize):
        tile_store(tile, c, c_start, c_row)
    else:
        tile_store_part(tile, c, c_start, c_row, n_columns)


@inlined
def _multiply_entries(
    n_vectors: int, a: Array, a_start: int, bits: Any, b: Array, b_start: int, b_row: int, first: Array, first_at: int,
    c: Array, c_start: int, n_columns: int,
) -> None:  # fmt: skip
    """Write a row of C: the initial values plus the products of the numbers of A that are not 0."""
    tile = _load_tile(1, n_vectors, first, first_at, 0, n_columns)
    while bits != np.uint64(0):
        k = lowest_bit(bits)
        bits &= bits - np.uint64(1)
        tile = tile_add_product(tile, a, a_start + k, 0, b, b_start + k * b_row)
    if n_columns == n_vectors * (VECTOR_BYTES // a.itemsize):
        tile_store(tile, c, c_start, 0)
    else:
        tile_store_part(tile, c, c_start, 0, n_columns)


@inlined
def _multiply_block(
    n_tile_rows: int, n_vectors: int, skips_zeros: bool, a: Array, a_start: int, a_row: int, n_rows: int, n_steps: int,
    b: Array, b_start: int, b_row: int, n_columns: int, buffer: Array, bits: Array, first_word: int,
    first: Array, first_at: int, first_row: int, c: Array, c_start: int, c_row: int,
) -> None:  # fmt: skip
    """Write some columns of C: the initial values plus at most 64 terms of the sums."""
    width = n_vectors * (VECTOR_BYTES // a.itemsize)
    source, source_at, source_row, is_finite = b, b_start, b_row, True
    if n_columns < width or n_rows > _FEW_ROWS:
        for k in range(n_steps):
            copy_vectors(n_vectors, b, b_start + k * b_row, 0, n_columns, buffer, k * width, 0)
        source, source_at, source_row = buffer, 0, width
        total = buffer[0] * 0
        for k in range(n_steps * width if skips_zeros else 0):
            total += buffer[k] * 0
        is_finite = total == 0
    i = 0
    if skips_zeros and is_finite:
        for i in range(n_rows):
            _multiply_entries(
                n_vectors, a, a_start + i * a_row, bits[first_word + i], source, source_at, source_row,
                first, first_at + i * first_row, c, c_start + i * c_row, n_columns,
            )  # fmt: skip
        return
    while i + n_tile_rows <= n_rows:
        _multiply_tile(
            n_tile_rows, n_vectors, a, a_start + i * a_row, a_row, n_steps, source, source_at, source_row, buffer,
            first, first_at + i * first_row, first_row, c, c_start + i * c_row, c_row, n_columns,
        )  # fmt: skip
        i += n_tile_rows
    while i < n_rows:
        _multiply_tile(
            1, n_vectors, a, a_start + i * a_row, a_row, n_steps, source, source_at, source_row, buffer,
            first, first_at + i * first_row, first_row, c, c_start + i * c_row, c_row, n_columns,
        )  # fmt: skip
        i += 1


@compiled
def find_nonzeros(a: Array, a_start: int, a_row: int, n_rows: int, n_steps: int, bits: Array) -> None:
    """Write the words that tell which numbers of A are not 0: bit k of ``bits[K * n_rows + i]`` is for A_i,64K+k."""
    for block in range((n_steps + _STEPS - 1) // _STEPS):
        n = min(_STEPS, n_steps - block * _STEPS)
        for i in range(n_rows):
            bits[block * n_rows + i] = nonzeros(a, a_start + i * a_row + block * _STEPS, n)


@compiled
def multiply(
    a: Array, a_start: int, a_row: int, n_rows: int, n_steps: int, b: Array, b_start: int, b_row: int, n_columns: int,
    c: Array, c_start: int, c_row: int, initial: Array, initial_at: int, adds: bool, buffer: Array, bits: Array,
) -> None:  # fmt: skip
    """Write ``C_ij = initial_j + sum over k of A_ik B_kj``, with the old C_ij in place of ``initial_j`` if ``adds``.

    All arrays are flat: ``A_ik = a[a_start + i * a_row + k]``, ``B_kj = b[b_start + k * b_row + j]`` and
    ``C_ij = c[c_start + i * c_row + j]``, and ``initial_j = initial[initial_at + j]``. ``buffer`` has
    :data:`BUFFER_SIZE` numbers, and ``bits`` the words of :func:`find_nonzeros` for A, or nothing. Where A has many
    zeros, their products are left out, unless B has a number that is not finite: 0 times infinity is NaN.
    """
    lanes, n_entries = VECTOR_BYTES // a.itemsize, 0
    for word in range(bits.size and (n_steps + _STEPS - 1) // _STEPS * n_rows):
        n_entries += count_bits(bits[word])
    skips_zeros = bits.size > 0 and n_entries < _MAX_DENSITY * n_rows * n_steps
    takes_wide = bits.size > 0 and n_entries < _MAX_WIDE_DENSITY * n_rows * n_steps
    j = 0
    while j < n_columns:
        left = n_columns - j
        is_narrow, is_wide = left <= _MAX_NARROW * lanes, takes_wide and left >= _ENTRY_VECTORS * lanes
        n = min(left, (1 if is_narrow else _ENTRY_VECTORS if is_wide else _VECTORS) * lanes)
        for k0 in range(0, n_steps, _STEPS):
            n_k, words = min(_STEPS, n_steps - k0), k0 // _STEPS * n_rows
            a_at, b_at, c_at = a_start + k0, b_start + k0 * b_row + j, c_start + j
            old, old_at, old_row = c, c_at, c_row
            if k0 == 0 and not adds:
                old, old_at, old_row = initial, initial_at + j, 0
            if is_narrow:
                _multiply_block(
                    _NARROW_ROWS, 1, skips_zeros, a, a_at, a_row, n_rows, n_k, b, b_at, b_row, n, buffer, bits, words,
                    old, old_at, old_row, c, c_at, c_row,
                )  # fmt: skip
            elif is_wide:
                _multiply_block(
                    1, _ENTRY_VECTORS, True, a, a_at, a_row, n_rows, n_k, b, b_at, b_row, n, buffer, bits, words,
                    old, old_at, old_row, c, c_at, c_row,
                )  # fmt: skip
            else:
                _multiply_block(
                    _ROWS, _VECTORS, skips_zeros, a, a_at, a_row, n_rows, n_k, b, b_at, b_row, n, buffer, bits, words,
                    old, old_at, old_row, c, c_at, c_row,
                )  # fmt: skip
        j += n


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
