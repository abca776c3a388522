"""The matrix products of affine operations: in register tiles, and by entries for sparse rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.kernels.compile import carray, compiled, compiled_kernel
from chainrule.kernels.matrices import BUFFER_SIZE, multiply, transpose
from chainrule.types import Array, IntArray

__all__ = [
    "affine",
    "affine_csr",
    "affine_csr_gradients",
    "affine_error",
    "affine_gradients",
    "n_words",
    "scratch_size",
    "sum_rows",
]

SMALL = 16  # matrices with at most this number of weights are multiplied by loops: filling the tiles would take longer
# ROWS and _BEGIN are not literals, for which Numba would compile the functions below once more.
ROWS: Any = np.int64(64)  # the number of rows of a batch that are computed at a time
MIN_COLUMNS = 32  # in products with fewer columns, finding the zeros takes longer than multiplying by them


_BEGIN: Any = np.int64(BUFFER_SIZE)  # where the other parts of the scratch array begin


def scratch_size(n_inputs: int, n_outputs: int) -> int:
    """Return the size of the scratch array of the dense products."""
    return BUFFER_SIZE + int(ROWS) * (n_inputs + n_outputs + 1) + n_outputs


def n_words(n_rows: int, n_inputs: int) -> int:
    """Return the number of words for the bits that tell which inputs are not 0."""
    return max(n_inputs, n_rows * -(-n_inputs // 64))


@compiled
def _add_entries(entries: Array, columns: IntArray, first: int, last: int, w: Array, z: Array) -> None:
    """Add the entries ``first`` to ``last`` of a sparse row, each multiplied by its row of W, to a row of the product.

    Eight entries are added at a time, so that the row of the product is read and written only once for eight rows of W.
    """
    k = first
    while k + 8 <= last:
        v0, v1, v2, v3 = entries[k], entries[k + 1], entries[k + 2], entries[k + 3]
        v4, v5, v6, v7 = entries[k + 4], entries[k + 5], entries[k + 6], entries[k + 7]
        w0, w1, w2, w3 = w[columns[k]], w[columns[k + 1]], w[columns[k + 2]], w[columns[k + 3]]
        w4, w5, w6, w7 = w[columns[k + 4]], w[columns[k + 5]], w[columns[k + 6]], w[columns[k + 7]]
        for j in range(z.size):
            first_half = v0 * w0[j] + v1 * w1[j] + v2 * w2[j] + v3 * w3[j]
            z[j] += first_half + (v4 * w4[j] + v5 * w5[j] + v6 * w6[j] + v7 * w7[j])
        k += 8
    while k < last:
        value, source = entries[k], w[columns[k]]
        for j in range(z.size):
            z[j] += value * source[j]
        k += 1


@compiled_kernel
def sum_rows(f: Any) -> Callable[..., float]:
    """Write the sums over the rows of a matrix, dL/db = sum of e.  Arrays: e, sums.  Settings: row stride of e."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        stride = int(settings[0])
        e, sums = carray(p0, n_rows * stride, f), carray(p1, n_columns, f)
        for j in range(n_columns):
            sums[j] = f(0)
        for i in range(n_rows):
            row = e[i * stride :]
            for j in range(n_columns):
                sums[j] += row[j]
        return 0.0

    return run


@compiled_kernel
def affine(f: Any) -> Callable[..., float]:
    """z = x W + b, for some outputs, which are the columns.

    Arrays: x, W, b, z, scratch, bits (uint64), product.  Settings: inputs, and the row strides of x, z and W.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in, x_stride, z_stride, w_stride = int(settings[0]), int(settings[1]), int(settings[2]), int(settings[3])
        x, w = carray(p0, n_rows * x_stride, f), carray(p1, n_in * w_stride, f)
        b, z = carray(p2, n_columns, f), carray(p3, n_rows * z_stride, f)
        if w_stride == 1:
            for i in range(n_rows):
                row, total = x[i * x_stride :], b[0]
                for k in range(n_in):
                    total += row[k] * w[k]
                z[i * z_stride] = total
        elif n_in * w_stride <= SMALL:
            for i in range(n_rows):
                for j in range(n_columns):
                    total = b[j]
                    for k in range(n_in):
                        total += x[i * x_stride + k] * w[k * w_stride + j]
                    z[i * z_stride + j] = total
        else:
            scratch, bits = carray(p4, BUFFER_SIZE, f), carray(p5, 1, np.uint64)
            multiply(
                carray(p6, 1, np.uint8).ctypes.data, x, 0, x_stride, n_rows, n_in, w, 0, w_stride, n_columns,
                z, 0, z_stride, b, 0, False, w_stride >= MIN_COLUMNS, scratch, bits,
            )  # fmt: skip
        return 0.0

    return run


@compiled_kernel
def affine_gradients(f: Any) -> Callable[..., float]:
    """dL/dW = x^T e, for some inputs, which are the columns.

    Arrays: x, e, dL/dW, scratch, bits (uint64), product.  Settings: outputs, the row strides of x and e, and the number
    of all inputs.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in, n_out, x_stride, e_stride = n_columns, int(settings[0]), int(settings[1]), int(settings[2])
        x, e, dw = carray(p0, n_rows * x_stride, f), carray(p1, n_rows * e_stride, f), carray(p2, n_in * n_out, f)
        is_small = n_out == 1 or settings[3] * n_out <= SMALL
        if is_small or n_rows == 0:
            for k in range(n_in * n_out):
                dw[k] = f(0)
        if is_small:
            for i in range(n_rows):
                row = x[i * x_stride :]
                if n_out == 1:
                    for k in range(n_in):
                        dw[k] += row[k] * e[i * e_stride]
                else:
                    for k in range(n_in):
                        for j in range(n_out):
                            dw[k * n_out + j] += row[k] * e[i * e_stride + j]
            return 0.0
        scratch, bits = carray(p3, BUFFER_SIZE, f), carray(p4, 1, np.uint64)
        zeros = _BEGIN + ROWS * n_in
        for j in range(n_out):
            scratch[zeros + j] = 0
        for first in range(0, n_rows, ROWS):
            n = min(ROWS, n_rows - first)
            transpose(x, first * x_stride, x_stride, n, n_in, scratch, _BEGIN, ROWS)
            multiply(
                carray(p5, 1, np.uint8).ctypes.data, scratch, _BEGIN, ROWS, n_in, n, e, first * e_stride, e_stride,
                n_out, dw, 0, n_out, scratch, zeros, first > 0, n_out >= MIN_COLUMNS, scratch, bits,
            )  # fmt: skip
        return 0.0

    return run


@compiled_kernel
def affine_error(f: Any) -> Callable[..., float]:
    """dL/dx = e W^T, computed as (W e^T)^T, so that W is not transposed.

    Arrays: e, W, dL/dx, scratch, bits (uint64), product.  Settings: inputs, and the row strides of x and e.  Columns:
    the columns of e.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in, x_stride, e_stride = int(settings[0]), int(settings[1]), int(settings[2])
        e, w = carray(p0, n_rows * e_stride, f), carray(p1, n_in * n_columns, f)
        dx = carray(p2, n_rows * x_stride, f)
        if n_columns == 1:
            for i in range(n_rows):
                row = dx[i * x_stride :]
                for k in range(n_in):
                    row[k] = e[i * e_stride] * w[k]
            return 0.0
        if n_in * n_columns <= SMALL:
            for i in range(n_rows):
                for k in range(n_in):
                    total = f(0)
                    for j in range(n_columns):
                        total += e[i * e_stride + j] * w[k * n_columns + j]
                    dx[i * x_stride + k] = total
            return 0.0
        scratch, block = carray(p3, BUFFER_SIZE, f), _BEGIN
        address = carray(p5, 1, np.uint8).ctypes.data
        result, zeros = block + ROWS * n_columns, block + ROWS * (n_columns + n_in)
        bits = carray(p4, 0, np.uint64)
        for j in range(ROWS):
            scratch[zeros + j] = 0
        for first in range(0, n_rows, ROWS):
            n = min(ROWS, n_rows - first)
            transpose(e, first * e_stride, e_stride, n, n_columns, scratch, block, ROWS)
            multiply(
                address, w, 0, n_columns, n_in, n_columns, scratch, block, ROWS, n,
                scratch, result, ROWS, scratch, zeros, False, False, scratch, bits,
            )  # fmt: skip
            transpose(scratch, result, ROWS, n_in, n, dx, first * x_stride, x_stride)
        return 0.0

    return run


@compiled_kernel
def affine_csr(f: Any) -> Callable[..., float]:
    """z = S W + b for CSR rows S.  Arrays: data, columns (int32), row starts (int64), W, b, z.  Settings: inputs."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        starts = carray(p2, n_rows + 1, np.int64)
        data, columns = carray(p0, starts[n_rows], f), carray(p1, starts[n_rows], np.int32)
        w, b = carray(p3, (int(settings[0]), n_columns), f), carray(p4, n_columns, f)
        z = carray(p5, (n_rows, n_columns), f)
        for i in range(n_rows):
            row = z[i]
            for j in range(n_columns):
                row[j] = b[j]
            _add_entries(data, columns, starts[i], starts[i + 1], w, row)
        return 0.0

    return run


@compiled_kernel
def affine_csr_gradients(f: Any) -> Callable[..., float]:
    """dL/dW = S^T e and dL/db.  Arrays: data, columns, row starts, e, dL/dW, dL/db.  Settings: inputs."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in, starts = int(settings[0]), carray(p2, n_rows + 1, np.int64)
        data, columns = carray(p0, starts[n_rows], f), carray(p1, starts[n_rows], np.int32)
        e, dw = carray(p3, (n_rows, n_columns), f), carray(p4, (n_in, n_columns), f)
        db = carray(p5, n_columns, f)
        dw[:] = f(0)
        db[:] = f(0)
        for i in range(n_rows):
            error = e[i]
            for j in range(n_columns):
                db[j] += error[j]
            for k in range(starts[i], starts[i + 1]):
                value, row = data[k], dw[columns[k]]
                for j in range(n_columns):
                    row[j] += value * error[j]
        return 0.0

    return run
