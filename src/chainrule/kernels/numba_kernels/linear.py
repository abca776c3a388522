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
def csr_matmul(data: Array, indices: IntArray, indptr: IntArray, weights: Array, out: Array) -> None:
    for i in range(out.shape[0]):
        row = out[i]
        row[:] = out.dtype.type(0)
        for k in range(indptr[i], indptr[i + 1]):
            value = data[k]
            source = weights[indices[k]]
            for j in range(row.size):
                row[j] += value * source[j]


@compiled
def csr_transposed_matmul(data: Array, indices: IntArray, indptr: IntArray, error: Array, out: Array) -> None:
    out[:] = out.dtype.type(0)
    for i in range(error.shape[0]):
        row = error[i]
        for k in range(indptr[i], indptr[i + 1]):
            value = data[k]
            target = out[indices[k]]
            for j in range(row.size):
                target[j] += value * row[j]


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
