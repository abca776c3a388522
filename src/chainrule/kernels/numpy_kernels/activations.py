"""Activation functions and their pull-backs.

``f(z, out)`` writes f(z). ``f_gradient(z, output, error, out)`` writes ``error * f'(z)``, the error of the inputs,
given the error of the outputs; ``output`` is the f(z) that the forward pass kept, where that makes f' cheaper.
``out`` may be ``z`` or ``error`` itself.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from chainrule.types import Array

__all__ = ["relu", "relu_gradient", "sigmoid", "sigmoid_gradient"]


def relu(z: Array, out: Array) -> None:
    """max(0, z)."""
    np.maximum(z, 0, out=out)


def relu_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """1 where z > 0, else 0 (also at 0, as PyTorch has it)."""
    np.multiply(error, output > 0, out=out)


def sigmoid(z: Array, out: Array) -> None:
    """1 / (1 + exp(-z)), without overflow on either side."""
    expit(z, out=out)


def sigmoid_gradient(z: Array, output: Array, error: Array, out: Array) -> None:
    """F' = f (1 - f)."""
    np.multiply(error, output * (1 - output), out=out)
