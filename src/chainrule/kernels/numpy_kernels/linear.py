"""What a dense layer needs besides the matrix products: rows, biases, and the products with a CSR matrix.

Products of dense matrices stay with BLAS (``np.matmul(a, b, out=...)``) in both sets.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from chainrule.types import Array, IntArray

__all__ = ["add_bias", "csr_matmul", "csr_transposed_matmul", "limit_column_norms", "sum_rows", "take_rows"]


def take_rows(source: Array, rows: IntArray, out: Array) -> None:
    """out[i] = source[rows[i]] for a two-dimensional source of the same type as out."""
    np.take(source, rows, axis=0, out=out, mode="clip")


def add_bias(z: Array, bias: Array) -> None:
    """z[i, j] += bias[j], in place."""
    np.add(z, bias, out=z)


def sum_rows(error: Array, out: Array) -> None:
    """out[j] = sum over i of error[i, j]: the gradient of a bias."""
    np.sum(error, axis=0, out=out)


def csr_matmul(data: Array, indices: IntArray, indptr: IntArray, weights: Array, out: Array) -> None:
    """Out = S @ weights for the CSR matrix S with these three arrays; out has shape (rows of S, units)."""
    matrix = csr_array((data, indices, indptr), shape=(len(indptr) - 1, weights.shape[0]))
    np.copyto(out, matrix @ weights)


def csr_transposed_matmul(data: Array, indices: IntArray, indptr: IntArray, error: Array, out: Array) -> None:
    """Out = S.T @ error: the gradient of the weights that stood behind a CSR input; out has shape (columns, units)."""
    matrix = csr_array((data, indices, indptr), shape=(len(indptr) - 1, out.shape[0]))
    np.copyto(out, matrix.T @ error)


def limit_column_norms(weights: Array, limit: float) -> None:
    """Scale every column whose norm exceeds ``limit`` down to it, in place; a column is a unit's incoming weights.

    The norms are worked out in float64. A column with a NaN in it becomes NaN as a whole.
    """
    norms = np.sqrt(np.einsum("ij,ij->j", weights, weights, dtype=np.float64))
    within = norms <= limit  # not so for NaN
    factors = np.divide(limit, norms, out=np.ones_like(norms), where=~within)
    weights *= factors.astype(weights.dtype)
