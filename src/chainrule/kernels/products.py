"""The matrix products of affine operations: by BLAS, by loops for small matrices, and by entries for sparse rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import get_cython_function_address
from numba.extending import intrinsic as numba_intrinsic

from chainrule.kernels.compile import carray, compiled, compiled_kernel
from chainrule.types import Array, IntArray

__all__ = [
    "affine",
    "affine_csr",
    "affine_csr_gradients",
    "affine_entries",
    "affine_error",
    "affine_gradients",
    "blas_address",
]

SMALL = 512  # products with fewer multiplications are computed by loops, because calling BLAS takes longer

_intrinsic: Callable[[Any], Any] = numba_intrinsic


@cache
def blas_address(dtype: np.dtype[Any]) -> int:
    """Return the address of BLAS's general matrix product for a float type; kernels take it in place of an array."""
    return int(get_cython_function_address("scipy.linalg.cython_blas", "sgemm" if dtype == np.float32 else "dgemm"))


@_intrinsic
def _gemm(
    typing: Any, function: Any, transpose_a: Any, transpose_b: Any, m: Any, n: Any, k: Any, one: Any,
    a: Any, lda: Any, b: Any, ldb: Any, c: Any, ldc: Any,
) -> Any:  # fmt: skip
    """Write c = a b, with a or b transposed if its letter is T; the matrices are in Fortran order, with strides."""
    signature = types.void(function, transpose_a, transpose_b, m, n, k, one, a, lda, b, ldb, c, ldc)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        whole, letter = ir.IntType(32), ir.IntType(8)
        number = ir.FloatType() if signature.args[6] == types.float32 else ir.DoubleType()
        pointer = letter.as_pointer()

        def stored(value: Any, kind: Any) -> Any:
            slot = builder.alloca(kind)
            builder.store(value, slot)
            return builder.bitcast(slot, pointer)

        def small(value: Any) -> Any:
            return stored(builder.trunc(value, whole), whole)

        address, ta, tb, m, n, k, one, a, lda, b, ldb, c, ldc = values
        zero = ir.Constant(number, 0)
        arguments = [
            stored(builder.trunc(ta, letter), letter), stored(builder.trunc(tb, letter), letter), small(m), small(n),
            small(k), stored(one, number), a, small(lda), b, small(ldb), stored(zero, number), c, small(ldc),
        ]  # fmt: skip
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 13)
        builder.call(builder.bitcast(address, kind.as_pointer()), arguments)
        return context.get_dummy_value()

    return signature, generate


_N, _T = ord("N"), ord("T")


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
def affine(f: Any) -> Callable[..., float]:
    """z = x W + b.  Arrays: x, W, b, z, BLAS.  Settings: inputs, and the row strides of x and z."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in, x_stride, z_stride = int(settings[0]), int(settings[1]), int(settings[2])
        b = carray(p2, n_columns, f)
        if n_rows * n_in * n_columns < SMALL:  # flat arrays: creating a view takes as long as the product
            z = carray(p3, n_rows * z_stride, f)
            x, w = carray(p0, n_rows * x_stride, f), carray(p1, n_in * n_columns, f)
            for i in range(n_rows):
                for j in range(n_columns):
                    total = b[j]
                    for k in range(n_in):
                        total += x[i * x_stride + k] * w[k * n_columns + j]
                    z[i * z_stride + j] = total
            return 0.0
        _gemm(p4, _N, _N, n_columns, n_rows, n_in, f(1), p1, n_columns, p0, x_stride, p3, z_stride)
        for row in carray(p3, (n_rows, z_stride), f):
            for j in range(n_columns):
                row[j] += b[j]
        return 0.0

    return run


@compiled_kernel
def affine_entries(f: Any) -> Callable[..., float]:
    """z = x W + b, without the products with zeros in x.

    Arrays: x, W, b, z, and buffers for the nonzero numbers of a row and their columns (int64).  Settings: inputs.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in = int(settings[0])
        x, w = carray(p0, n_rows * n_in, f), carray(p1, (n_in, n_columns), f)
        b, z = carray(p2, n_columns, f), carray(p3, (n_rows, n_columns), f)
        entries, columns = carray(p4, n_in, f), carray(p5, n_in, np.int64)
        for i in range(n_rows):
            found = 0
            for k in range(n_in):
                # All numbers are written, but zeros are overwritten by the next; this avoids branch mispredictions.
                columns[found] = k
                entries[found] = x[i * n_in + k]
                found += int(x[i * n_in + k] != 0)
            row = z[i]
            for j in range(n_columns):
                row[j] = b[j]
            _add_entries(entries, columns, 0, found, w, row)
        return 0.0

    return run


@compiled_kernel
def affine_gradients(f: Any) -> Callable[..., float]:
    """dL/dW = x^T e and dL/db = sum of e over the rows.

    Arrays: x, e, dL/dW, dL/db, BLAS.  Settings: inputs, and the row strides of x and e.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in, x_stride, e_stride = int(settings[0]), int(settings[1]), int(settings[2])
        db = carray(p3, n_columns, f)
        for j in range(n_columns):
            db[j] = f(0)
        if n_rows * n_in * n_columns < SMALL:
            e = carray(p1, n_rows * e_stride, f)
            x, dw = carray(p0, n_rows * x_stride, f), carray(p2, n_in * n_columns, f)
            for k in range(n_in * n_columns):
                dw[k] = f(0)
            for i in range(n_rows):
                for j in range(n_columns):
                    db[j] += e[i * e_stride + j]
                for k in range(n_in):
                    for j in range(n_columns):
                        dw[k * n_columns + j] += x[i * x_stride + k] * e[i * e_stride + j]
            return 0.0
        for row in carray(p1, (n_rows, e_stride), f):
            for j in range(n_columns):
                db[j] += row[j]
        _gemm(p4, _N, _T, n_columns, n_in, n_rows, f(1), p1, e_stride, p0, x_stride, p2, n_columns)
        return 0.0

    return run


@compiled_kernel
def affine_error(f: Any) -> Callable[..., float]:
    """dL/dx = e W^T.

    Arrays: e, W, dL/dx, BLAS.  Settings: inputs, and the row strides of x and e.  Columns: the columns of e.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        n_in, x_stride, e_stride = int(settings[0]), int(settings[1]), int(settings[2])
        if n_rows * n_in * n_columns < SMALL:
            e, w = carray(p0, n_rows * e_stride, f), carray(p1, n_in * n_columns, f)
            dx = carray(p2, n_rows * x_stride, f)
            for i in range(n_rows):
                for k in range(n_in):
                    total = f(0)
                    for j in range(n_columns):
                        total += e[i * e_stride + j] * w[k * n_columns + j]
                    dx[i * x_stride + k] = total
            return 0.0
        _gemm(p3, _T, _N, n_in, n_rows, n_columns, f(1), p1, n_columns, p0, e_stride, p2, x_stride)
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
