"""Kernels that copy rows and columns: batches, selected columns, and vectors from tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.kernels.compile import carray, compiled, compiled_kernel
from chainrule.kernels.vectors import VECTOR_BYTES, decode_vector
from chainrule.types import Array

__all__ = [
    "add",
    "check_finite",
    "copy_columns",
    "decode_row",
    "encode",
    "gather",
    "gather_bytes",
    "gather_csr",
    "gather_weights",
    "lookup",
    "lookup_gradient",
    "of_entries",
    "on_entries",
    "select",
    "select_error",
]


@compiled_kernel
def gather(f: Any) -> Callable[..., float]:
    """out_i = source[row_i].  Arrays: source, row numbers (int64), out."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        rows, out = carray(p1, n_rows, np.int64), carray(p2, (n_rows, n_columns), f)
        for i in range(n_rows):
            source, row = carray(p0, (rows[i] + 1, n_columns), f)[rows[i]], out[i]
            for j in range(n_columns):
                row[j] = source[j]
        return 0.0

    return run


@compiled
def decode_row(codes: Array, start: int, width: int, factor: Any, divisor: Any, out: Array, out_start: int) -> None:
    """Write numbers that are stored as bytes; see :func:`~chainrule.kernels.vectors.decode_vector`."""
    lanes = VECTOR_BYTES // out.itemsize
    for j in range(0, width, lanes):
        decode_vector(codes, start + j, factor, divisor, min(lanes, width - j), out, out_start + j)


@compiled_kernel
def gather_bytes(f: Any) -> Callable[..., float]:
    """out_i = source[row_i] for numbers that are stored as bytes; see :func:`decode_row`.

    Arrays: bytes (uint8), row numbers (int64), out.  Settings: factor, divisor.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        rows, out = carray(p1, n_rows, np.int64), carray(p2, n_rows * n_columns, f)
        factor, divisor = f(settings[0]), f(settings[1])
        for i in range(n_rows):
            codes = carray(p0, (rows[i] + 1) * n_columns, np.uint8)
            decode_row(codes, rows[i] * n_columns, n_columns, factor, divisor, out, i * n_columns)
        return 0.0

    return run


@compiled_kernel
def encode(f: Any) -> Callable[..., float]:
    """Write numbers as bytes.  Arrays: the numbers, codes (uint8), one row.  Settings: factor, divisor, scale.

    The byte of a number is the number times the scale, rounded. Returns NaN if the number that is decoded from a byte
    is not exactly the given number.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        size, factor, divisor, scale = n_rows * n_columns, f(settings[0]), f(settings[1]), f(settings[2])
        x, codes, row = carray(p0, size, f), carray(p1, size, np.uint8), carray(p2, n_columns, f)
        for i in range(n_rows):
            at = i * n_columns
            for j in range(n_columns):
                scaled = x[at + j] * scale + f(0.5)
                codes[at + j] = np.uint8(scaled if (scaled >= 0) & (scaled < 256) else f(0))
            decode_row(codes, at, n_columns, factor, divisor, row, 0)
            n_other = 0
            for j in range(n_columns):
                n_other += int(row[j] != x[at + j])
            if n_other:
                return math.nan
        return 0.0

    return run


@compiled_kernel
def gather_weights(f: Any) -> Callable[..., float]:
    """out_ik = w_ik / (n m), with the weight w_ik of row i for member k, or 1 / (n m) without weights.

    Arrays: weights, row numbers, out.  Settings: weights per row (0, 1 or m), members m, distances between the rows and
    between the members in out.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_weights, m, row_step, member_step = int(settings[0]), int(settings[1]), int(settings[2]), int(settings[3])
        total, weight_step = f(n_rows * m), int(n_weights > 1)
        rows, out = carray(p1, n_rows, np.int64), carray(p2, (n_rows - 1) * row_step + (m - 1) * member_step + 1, f)
        for i in range(n_rows):
            if n_weights == 0:
                for k in range(m):
                    out[i * row_step + k * member_step] = f(1) / total
                continue
            first = rows[i] * n_weights
            weights = carray(p0, first + n_weights, f)
            for k in range(m):
                out[i * row_step + k * member_step] = weights[first + k * weight_step] / total
        return 0.0

    return run


@compiled_kernel
def gather_csr(f: Any) -> Callable[..., float]:
    """Copy rows of a CSR matrix.

    Arrays: data, columns (int32), row starts (int64), row numbers, and the three arrays of the copy.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        rows, out_starts = carray(p3, n_rows, np.int64), carray(p6, n_rows + 1, np.int64)
        out_starts[0] = 0
        for i in range(n_rows):
            starts = carray(p2, rows[i] + 2, np.int64)
            first, last, at = starts[rows[i]], starts[rows[i] + 1], out_starts[i]
            data, columns = carray(p0, last, f), carray(p1, last, np.int32)
            size = last - first
            out_data, out_columns = carray(p4, at + size, f), carray(p5, at + size, np.int32)
            for k in range(size):
                out_data[at + k] = data[first + k]
                out_columns[at + k] = columns[first + k]
            out_starts[i + 1] = at + size
        return 0.0

    return run


@compiled_kernel
def of_entries(f: Any) -> Callable[..., float]:
    """out_k = vector[column of entry k] for the stored entries of a CSR matrix.

    Arrays: vector, columns (int32), row starts (int64), out.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        starts = carray(p2, n_rows + 1, np.int64)
        vector, columns = carray(p0, n_columns, f), carray(p1, starts[n_rows], np.int32)
        out = carray(p3, starts[n_rows], f)
        for k in range(starts[0], starts[n_rows]):
            out[k] = vector[columns[k]]
        return 0.0

    return run


@compiled_kernel
def on_entries(f: Any) -> Callable[..., float]:
    """Call a loop for the stored entries of a CSR matrix, as one row.

    Arrays: up to seven arrays of the loop, and the row starts (int64).  Settings: the loop's address and its settings.
    """
    size = np.dtype(f).itemsize

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        starts, own = carray(p7, n_rows + 1, np.int64), carray(settings, 2)[1:].ctypes.data
        first, n_entries = starts[0] * size, starts[n_rows] - starts[0]
        return call_address(
            np.int64(settings[0]), carray(p0, 1, f).ctypes.data + first, carray(p1, 1, f).ctypes.data + first,
            carray(p2, 1, f).ctypes.data + first, carray(p3, 1, f).ctypes.data + first,
            carray(p4, 1, f).ctypes.data + first, carray(p5, 1, f).ctypes.data + first,
            carray(p6, 1, f).ctypes.data + first, 0, 1, n_entries, own,
        )  # fmt: skip

    return run


@compiled_kernel
def copy_columns(f: Any) -> Callable[..., float]:
    """Copy columns.  Arrays: source, out.  Settings: width and first column of the source, then of out."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_from, first_from, n_to, first_to = int(settings[0]), int(settings[1]), int(settings[2]), int(settings[3])
        source, out = carray(p0, (n_rows, n_from), f), carray(p1, (n_rows, n_to), f)
        for i in range(n_rows):
            part, row = source[i, first_from:], out[i, first_to:]
            for j in range(n_columns):
                row[j] = part[j]
        return 0.0

    return run


@compiled_kernel
def add(f: Any) -> Callable[..., float]:
    """out += source.  Arrays: source, out."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        size = n_rows * n_columns
        source, out = carray(p0, size, f), carray(p1, size, f)
        for i in range(size):
            out[i] += source[i]
        return 0.0

    return run


@compiled_kernel
def check_finite(f: Any) -> Callable[..., float]:
    """Return 0 if all numbers are finite, else NaN.  Arrays: the numbers."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        x, total = carray(p0, n_rows * n_columns, f), f(0)
        for i in range(n_rows * n_columns):
            total += x[i] * f(0)  # NaN if the number is not finite
        return 0.0 if total == 0 else math.nan

    return run


@compiled_kernel
def select(f: Any) -> Callable[..., float]:
    """Copy selected columns.  Arrays: source, columns (int64), out.  Settings: width of the source."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        width = int(settings[0])
        source, columns = carray(p0, (n_rows, width), f), carray(p1, n_columns, np.int64)
        out = carray(p2, (n_rows, n_columns), f)
        for i in range(n_rows):
            row, to = source[i], out[i]
            for j in range(n_columns):
                to[j] = row[columns[j]]
        return 0.0

    return run


@compiled_kernel
def select_error(f: Any) -> Callable[..., float]:
    """Write dL/d(source).  Arrays: dL/d(out), columns (int64), dL/d(source).  Settings: width of the source."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        width = int(settings[0])
        error, columns = carray(p0, (n_rows, n_columns), f), carray(p1, n_columns, np.int64)
        out = carray(p2, (n_rows, width), f)
        for i in range(n_rows):
            row, to = error[i], out[i]
            to[:] = f(0)
            for j in range(n_columns):
                to[columns[j]] += row[j]
        return 0.0

    return run


@compiled_kernel
def lookup(f: Any) -> Callable[..., float]:
    """Write the vectors of codes.  Arrays: codes, table, first rows of the columns' tables (int64), out.

    Settings: length of a vector.  Returns NaN for a code without a row in its table.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        width, firsts = int(settings[0]), carray(p2, n_columns + 1, np.int64)
        codes, table = carray(p0, (n_rows, n_columns), f), carray(p1, (firsts[n_columns], width), f)
        out = carray(p3, (n_rows, n_columns, width), f)
        for i in range(n_rows):
            for j in range(n_columns):
                code = codes[i, j]
                if not ((code >= 0) & (code < firsts[j + 1] - firsts[j]) & (np.floor(code) == code)):
                    return math.nan
                vector, to = table[firsts[j] + int(code)], out[i, j]
                for k in range(width):
                    to[k] = vector[k]
        return 0.0

    return run


@compiled_kernel
def lookup_gradient(f: Any) -> Callable[..., float]:
    """Write dL/d(table).  Arrays: codes, dL/d(out), first rows of the columns' tables (int64), dL/d(table).

    Settings: length of a vector.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        width, firsts = int(settings[0]), carray(p2, n_columns + 1, np.int64)
        codes, error = carray(p0, (n_rows, n_columns), f), carray(p1, (n_rows, n_columns, width), f)
        gradient = carray(p3, (firsts[n_columns], width), f)
        gradient[:] = f(0)
        for i in range(n_rows):
            for j in range(n_columns):
                vector, of = gradient[firsts[j] + int(codes[i, j])], error[i, j]
                for k in range(width):
                    vector[k] += of[k]
        return 0.0

    return run
