"""Kernels that move rows and columns: batches, parts of values, and tables of vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.formulas.calls import call_address
from chainrule.kernels.compile import carray, compiled_kernel

__all__ = [
    "add",
    "check_finite",
    "copy_columns",
    "fill_zero",
    "gather",
    "gather_csr",
    "gather_weights",
    "lookup",
    "lookup_gradient",
    "on_entries",
]


@compiled_kernel
def gather(f: Any) -> Callable[..., float]:
    """out_i = source of row_i.  Arrays: source, the numbers of the rows (int64), out."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        rows, out = carray(p1, n_rows, np.int64), carray(p2, (n_rows, n_columns), f)
        for i in range(n_rows):
            source, row = carray(p0, (rows[i] + 1, n_columns), f)[rows[i]], out[i]
            for j in range(n_columns):
                row[j] = source[j]
        return 0.0

    return run


@compiled_kernel
def gather_weights(f: Any) -> Callable[..., float]:
    """out_i = weight of row_i / n, or 1 / n.  Arrays: weights, numbers of rows, out.  Settings: 1 for weights."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        rows, out = carray(p1, n_rows, np.int64), carray(p2, n_rows, f)
        for i in range(n_rows):
            out[i] = f(1) / f(n_rows)
        if settings[0] != 0:
            for i in range(n_rows):
                out[i] = carray(p0, rows[i] + 1, f)[rows[i]] / f(n_rows)
        return 0.0

    return run


@compiled_kernel
def gather_csr(f: Any) -> Callable[..., float]:
    """Copy some rows of a CSR matrix.

    Arrays: data, columns (int32), row starts (int64), the numbers of the rows, and the three of the copy.
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
def on_entries(f: Any) -> Callable[..., float]:
    """Call a loop on the entries of a CSR matrix, as if they were one row.

    Arrays: up to seven of the loop, and the row starts (int64).  Settings: the loop's address, then its own settings.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_entries = carray(p7, n_rows + 1, np.int64)[n_rows]
        own = carray(settings, 2)[1:].ctypes.data
        return call_address(
            np.int64(settings[0]), carray(p0, 1, f).ctypes.data, carray(p1, 1, f).ctypes.data,
            carray(p2, 1, f).ctypes.data, carray(p3, 1, f).ctypes.data, carray(p4, 1, f).ctypes.data,
            carray(p5, 1, f).ctypes.data, carray(p6, 1, f).ctypes.data, 0, 1, n_entries, own,
        )  # fmt: skip

    return run


@compiled_kernel
def copy_columns(f: Any) -> Callable[..., float]:
    """Copy columns.  Arrays: source, out.  Settings: width and first column of the source, and of out."""

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
def fill_zero(f: Any) -> Callable[..., float]:
    """out = 0.  Arrays: out."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        carray(p0, n_rows * n_columns, f)[:] = f(0)
        return 0.0

    return run


@compiled_kernel
def check_finite(f: Any) -> Callable[..., float]:
    """Return 0 if all numbers are finite, else NaN.  Arrays: the numbers."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        x, spoilt = carray(p0, n_rows * n_columns, f), f(0)
        for i in range(n_rows * n_columns):
            spoilt += x[i] * f(0)  # NaN from a number that is not finite
        return 0.0 if spoilt == 0 else math.nan

    return run


@compiled_kernel
def lookup(f: Any) -> Callable[..., float]:
    """Write the rows of a table at the places ``codes``.  Arrays: codes, table, out.  Settings: shape of the table.

    A code that is no place in the table gives NaN.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_places, width = int(settings[0]), int(settings[1])
        codes, table = carray(p0, n_rows * n_columns, f), carray(p1, n_places * width, f)
        out = carray(p2, n_rows * n_columns * width, f)
        for i in range(n_rows * n_columns):
            is_place = (codes[i] >= 0) & (codes[i] < n_places) & (np.floor(codes[i]) == codes[i])
            place = int(codes[i]) if is_place else 0
            for j in range(width):
                out[i * width + j] = table[place * width + j] if is_place else f(np.nan)
        return 0.0

    return run


@compiled_kernel
def lookup_gradient(f: Any) -> Callable[..., float]:
    """Write dL/d(table).  Arrays: codes, dL/d(out), dL/d(table).  Settings: rows of the table, width."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_places, width = int(settings[0]), int(settings[1])
        codes, error = carray(p0, n_rows * n_columns, f), carray(p1, n_rows * n_columns * width, f)
        gradient = carray(p2, n_places * width, f)
        gradient[:] = f(0)
        for i in range(n_rows * n_columns):
            if (codes[i] >= 0) & (codes[i] < n_places):
                at = int(codes[i]) * width
                for j in range(width):
                    gradient[at + j] += error[i * width + j]
        return 0.0

    return run
