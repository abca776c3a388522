"""What a dense layer needs besides BLAS; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array, IntArray

__all__ = ["add_bias", "csr_matmul", "csr_transposed_matmul", "limit_column_norms", "sum_rows", "take_rows"]

_STRIP = 64  # so many columns have their norms worked out at once


@compiled
def take_rows(source: Array, rows: IntArray, out: Array) -> None:
    for i in range(rows.size):
        row = rows[i]
        for j in range(out.shape[1]):
            out[i, j] = source[row, j]


@compiled
def add_bias(z: Array, bias: Array) -> None:
    for i in range(z.shape[0]):
        row = z[i]
        for j in range(bias.size):
            row[j] += bias[j]


@compiled
def sum_rows(error: Array, out: Array) -> None:
    out[:] = error.dtype.type(0)
    for i in range(error.shape[0]):
        row = error[i]
        for j in range(out.size):
            out[j] += row[j]


@compiled
def find_entries(row: Array, columns: IntArray, entries: Array) -> int:
    """Write the numbers of a row that are not 0, and where they stand; return how many there are."""
    found = 0
    for j in range(row.size):
        # Every number is written, and the place moves on only behind one that counts: no branch to mispredict.
        columns[found] = j
        entries[found] = row[j]
        found += int(row[j] != 0)
    return found


@compiled
def add_csr_row(data: Array, indices: IntArray, first: int, last: int, weights: Array, out: Array) -> None:
    """Add the entries ``first`` to ``last`` of a CSR matrix, times ``weights``, to one row of a product.

    Eight at a time: the row of the product is then read and written once for eight rows of the weights.
    """
    k = first
    while k + 8 <= last:
        v0, v1, v2, v3 = data[k], data[k + 1], data[k + 2], data[k + 3]
        v4, v5, v6, v7 = data[k + 4], data[k + 5], data[k + 6], data[k + 7]
        w0, w1, w2, w3 = weights[indices[k]], weights[indices[k + 1]], weights[indices[k + 2]], weights[indices[k + 3]]
        w4, w5 = weights[indices[k + 4]], weights[indices[k + 5]]
        w6, w7 = weights[indices[k + 6]], weights[indices[k + 7]]
        for j in range(out.size):
            early = v0 * w0[j] + v1 * w1[j] + v2 * w2[j] + v3 * w3[j]
            out[j] += early + (v4 * w4[j] + v5 * w5[j] + v6 * w6[j] + v7 * w7[j])
        k += 8
    while k < last:
        value, source = data[k], weights[indices[k]]
        for j in range(out.size):
            out[j] += value * source[j]
        k += 1


@compiled
def csr_matmul(data: Array, indices: IntArray, indptr: IntArray, weights: Array, out: Array) -> None:
    for i in range(out.shape[0]):
        row = out[i]
        row[:] = out.dtype.type(0)
        add_csr_row(data, indices, indptr[i], indptr[i + 1], weights, row)


@compiled
def add_to_csr_rows(data: Array, indices: IntArray, first: int, last: int, source: Array, out: Array) -> None:
    """Add one row of an error, times these entries of a CSR matrix, to the rows of ``out`` that are their columns."""
    for k in range(first, last):
        value, row = data[k], out[indices[k]]
        for j in range(row.size):
            row[j] += value * source[j]


@compiled
def csr_transposed_matmul(data: Array, indices: IntArray, indptr: IntArray, error: Array, out: Array) -> None:
    out[:] = out.dtype.type(0)
    for i in range(error.shape[0]):
        add_to_csr_rows(data, indices, indptr[i], indptr[i + 1], error[i], out)


@compiled
def limit_column_norms(weights: Array, limit: float) -> None:
    kind = weights.dtype.type
    sums, factors = np.empty(_STRIP, np.float64), np.empty(_STRIP, weights.dtype)
    for first in range(0, weights.shape[1], _STRIP):
        size = min(_STRIP, weights.shape[1] - first)
        sums[:] = 0.0
        for i in range(weights.shape[0]):
            row = weights[i, first : first + size]
            for j in range(size):
                sums[j] += np.float64(row[j]) * np.float64(row[j])
        all_within = True
        for j in range(size):
            norm = np.sqrt(sums[j])
            within = norm <= limit  # not so for NaN
            factors[j] = kind(1) if within else kind(limit / norm)
            all_within = all_within and within
        if not all_within:
            for i in range(weights.shape[0]):
                row = weights[i, first : first + size]
                for j in range(size):
                    row[j] *= factors[j]
