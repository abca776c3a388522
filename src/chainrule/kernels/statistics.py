"""Kernels for columns and whole vectors: batch normalisation, noise, clipping and limits on norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.kernels.compile import carray, compiled_kernel, inlined

__all__ = [
    "average",
    "batch_normalize",
    "batch_normalize_error",
    "clip",
    "limit_column_norms",
    "noise",
    "noise_of_entries",
    "zero_if_several",
]


@compiled_kernel
def batch_normalize(f: Any) -> Callable[..., float]:
    """h = (x - mean) / deviation, with an update of the running statistics.

    Arrays: x, running mean, running variance, h, 1 / deviation, and a buffer of two float64 numbers for each column.
    Settings: momentum, epsilon.  A batch of one row is normalised by the running statistics, without an update.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        momentum, epsilon = settings[0], settings[1]
        x, h = carray(p0, (n_rows, n_columns), f), carray(p3, (n_rows, n_columns), f)
        running_mean, running_variance = carray(p1, n_columns, f), carray(p2, n_columns, f)
        inverse, totals = carray(p4, n_columns, f), carray(p5, 2 * n_columns, np.float64)
        if n_rows > 1:
            for j in range(2 * n_columns):
                totals[j] = 0.0
            for row in x:
                for j in range(n_columns):
                    totals[j] += row[j]
            for j in range(n_columns):
                totals[j] = f(totals[j] / n_rows)
            for row in x:
                for j in range(n_columns):
                    difference = row[j] - f(totals[j])
                    totals[n_columns + j] += difference * difference
            for j in range(n_columns):
                variance = totals[n_columns + j] / n_rows
                totals[n_columns + j] = variance
                running_mean[j] += momentum * (totals[j] - running_mean[j])
                running_variance[j] += momentum * (variance * (n_rows / (n_rows - 1)) - running_variance[j])
        else:
            for j in range(n_columns):
                totals[j] = running_mean[j]
                totals[n_columns + j] = running_variance[j]
        for j in range(n_columns):
            inverse[j] = f(1 / np.sqrt(totals[n_columns + j] + epsilon))
        for i in range(n_rows):
            row, out = x[i], h[i]
            for j in range(n_columns):
                out[j] = (row[j] - f(totals[j])) * inverse[j]
        return 0.0

    return run


@compiled_kernel
def batch_normalize_error(f: Any) -> Callable[..., float]:
    """dL/dx = (e - mean(e) - h mean(e h)) / deviation, for e = dL/dh.

    Arrays: h, 1 / deviation, e, dL/dx, and buffers for the two means.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        h, inverse = carray(p0, (n_rows, n_columns), f), carray(p1, n_columns, f)
        e, dx = carray(p2, (n_rows, n_columns), f), carray(p3, (n_rows, n_columns), f)
        means, products = carray(p4, n_columns, f), carray(p5, n_columns, f)
        for j in range(n_columns):
            means[j] = f(0)
            products[j] = f(0)
        if n_rows > 1:  # for one row, the statistics were constants
            for row in e:
                for j in range(n_columns):
                    means[j] += row[j]
            for i in range(n_rows):
                error, normalized = e[i], h[i]
                for j in range(n_columns):
                    products[j] += error[j] * normalized[j]
            for j in range(n_columns):
                means[j] /= f(n_rows)
                products[j] /= f(n_rows)
        for i in range(n_rows):
            error, normalized, out = e[i], h[i], dx[i]
            for j in range(n_columns):
                out[j] = inverse[j] * (error[j] - (means[j] + normalized[j] * products[j]))
        return 0.0

    return run


@compiled_kernel
def zero_if_several(f: Any) -> Callable[..., float]:
    """Set a gradient to 0 if the batch has several rows.  Arrays: the gradient.  Settings: its size."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        if n_rows > 1:
            carray(p0, int(settings[0]), f)[:] = f(0)
        return 0.0

    return run


@compiled_kernel
def clip(f: Any) -> Callable[..., float]:
    """Scale a gradient down to a norm, and then clip its elements.

    Arrays: gradient, its norm before clipping (float64).  Settings: upper bounds of the norm and of the elements.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        gradient, norm = carray(p0, n_columns, f), carray(p1, 1, np.float64)
        total = 0.0
        for i in range(n_columns):
            total += np.float64(gradient[i]) * np.float64(gradient[i])
        norm[0] = math.sqrt(total)
        if norm[0] > settings[0]:
            factor = f(settings[0] / norm[0])
            for i in range(n_columns):
                gradient[i] *= factor
        if settings[1] < np.inf:
            bound = f(settings[1])
            for i in range(n_columns):
                gradient[i] = max(-bound, min(bound, gradient[i]))
        return 0.0

    return run


@compiled_kernel
def average(f: Any) -> Callable[..., float]:
    """mean += (1 - decay) (x - mean), a moving average.  Arrays: mean, x.  Settings: 1 - decay."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        mean, x, rate = carray(p0, n_columns, f), carray(p1, n_columns, f), f(settings[0])
        for i in range(n_columns):
            mean[i] += rate * (x[i] - mean[i])
        return 0.0

    return run


@compiled_kernel
def limit_column_norms(f: Any) -> Callable[..., float]:
    """Scale every column of a matrix down to a norm.  Arrays: matrix, buffer (float64).  Settings: the norm."""

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        w, factors = carray(p0, (n_rows, n_columns), f), carray(p1, n_columns, np.float64)
        for j in range(n_columns):
            factors[j] = 0.0
        for row in w:
            for j in range(n_columns):
                factors[j] += np.float64(row[j]) * np.float64(row[j])
        all_within = True
        for j in range(n_columns):
            norm = math.sqrt(factors[j])
            within = norm <= settings[0]  # False for NaN
            factors[j] = 1.0 if within else settings[0] / norm
            all_within = all_within & within
        if not all_within:
            for row in w:
                for j in range(n_columns):
                    row[j] *= f(factors[j])
        return 0.0

    return run


_MASK = np.uint64(0xFFFFFFFF)
_32, _8 = np.uint64(32), np.uint64(8)
_M0, _M1, _W0, _W1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57), np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_FINE = 2.0**-24


@inlined
def _philox(k0: Any, k1: Any, block: Any, epoch: Any, step: Any) -> Any:
    """Return four words; see :func:`chainrule.randomness.philox`."""
    x0, x1, x2, x3 = block & _MASK, block >> _32, epoch, step
    for _ in range(10):
        p0, p1 = x0 * _M0, x2 * _M1
        x0, x1, x2, x3 = (p1 >> _32) ^ x1 ^ k0, p1 & _MASK, (p0 >> _32) ^ x3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return x0, x1, x2, x3


@inlined
def _length(word: Any) -> Any:
    return math.sqrt(-2 * math.log(np.float64((word >> _8) + np.uint64(1)) * _FINE))


@inlined
def _angle(word: Any) -> Any:
    return 2 * math.pi * (np.float64(word >> _8) * _FINE)


@compiled_kernel
def noise(f: Any) -> Callable[..., float]:
    """Write random numbers.  Arrays: out.

    Settings: two words of the key, epoch, step, 1 if normal, first column, row width.  If the row width is not 0, the
    numbers are those of some columns of wider rows; all three widths are then multiples of 4.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        first_column, row_width = int(settings[5]), int(settings[6])
        n_parts = 1 if row_width == 0 else n_rows
        n_blocks = (n_rows * n_columns // n_parts + 3) // 4
        numbers = carray(p0, (n_parts, 4 * n_blocks), f)  # the buffer is long enough for whole blocks
        k0, k1 = np.uint64(settings[0]), np.uint64(settings[1])
        epoch, step = np.uint64(settings[2]), np.uint64(settings[3])
        for i in range(n_parts):
            out, first_block = numbers[i], (i * row_width + first_column) // 4
            if settings[4] == 0:
                for block in range(n_blocks):
                    x0, x1, x2, x3 = _philox(k0, k1, np.uint64(first_block + block), epoch, step)
                    out[4 * block] = f(np.int32(x0 >> _8)) * f(_FINE)
                    out[4 * block + 1] = f(np.int32(x1 >> _8)) * f(_FINE)
                    out[4 * block + 2] = f(np.int32(x2 >> _8)) * f(_FINE)
                    out[4 * block + 3] = f(np.int32(x3 >> _8)) * f(_FINE)
                continue
            for block in range(n_blocks):
                x0, x1, x2, x3 = _philox(k0, k1, np.uint64(first_block + block), epoch, step)
                first, second = _length(x0), _length(x2)
                out[4 * block] = f(first * math.cos(_angle(x1)))
                out[4 * block + 1] = f(first * math.sin(_angle(x1)))
                out[4 * block + 2] = f(second * math.cos(_angle(x3)))
                out[4 * block + 3] = f(second * math.sin(_angle(x3)))
        return 0.0

    return run


@compiled_kernel
def noise_of_entries(f: Any) -> Callable[..., float]:
    """Write a uniform number for each entry of a CSR matrix.

    Arrays: columns (int32), row starts (int64), out.  Settings: those of :func:`noise`.
    """

    def run(p0, p1, p2, p3, p4, p5, p6, p7, n_rows, n_columns, settings):  # type: ignore[no-untyped-def]
        starts = carray(p1, n_rows + 1, np.int64)
        columns, out = carray(p0, starts[n_rows], np.int32), carray(p2, starts[n_rows], f)
        k0, k1 = np.uint64(settings[0]), np.uint64(settings[1])
        epoch, step = np.uint64(settings[2]), np.uint64(settings[3])
        for i in range(n_rows):
            for k in range(starts[i], starts[i + 1]):
                element = i * n_columns + columns[k]
                x0, x1, x2, x3 = _philox(k0, k1, np.uint64(element // 4), epoch, step)
                lane = element % 4
                word = x0 if lane == 0 else x1 if lane == 1 else x2 if lane == 2 else x3
                out[k] = f(np.int32(word >> _8)) * f(_FINE)
        return 0.0

    return run
