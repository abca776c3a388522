"""Activation functions and their pull-backs; the reference module of the same name says what each one computes."""

from __future__ import annotations

import numpy as np

from chainrule.kernels.numba_kernels.compile import compiled
from chainrule.types import Array

__all__ = ["relu", "relu_gradient", "sigmoid", "sigmoid_gradient"]


@compiled
def relu(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    for i in range(z.size):
        # Written so that a NaN passes through, as np.maximum does.
        out[i] = z.dtype.type(0) if z[i] < 0 else z[i]


@compiled
def relu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    output, error, out = output.reshape(-1), error.reshape(-1), out.reshape(-1)
    for i in range(error.size):
        out[i] = error[i] if output[i] > 0 else error.dtype.type(0)


@compiled
def sigmoid(z: Array, out: Array) -> None:
    z, out = z.reshape(-1), out.reshape(-1)
    one = z.dtype.type(1)
    for i in range(z.size):
        e = np.exp(-abs(z[i]))
        out[i] = (one if z[i] >= 0 else e) / (one + e)


@compiled
def sigmoid_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    output, error, out = output.reshape(-1), error.reshape(-1), out.reshape(-1)
    for i in range(error.size):
        out[i] = error[i] * output[i] * (output.dtype.type(1) - output[i])
