"""Activation functions and their pull-backs.

``f(z, out)`` writes f(z). ``f_gradient(z, output, error, out)`` writes ``error * f'(z)``, the error of the inputs,
given the error of the outputs; ``output`` is the f(z) that the forward pass kept, where that makes f' cheaper.
``out`` may be ``z`` or ``error`` itself. Numbers that shape a function (a slope, an alpha) stand before ``out``.

A NaN in ``z`` or ``error`` is a NaN in ``out``, at kinks too. The derivative at a kink is PyTorch's.
"""

from __future__ import annotations

from chainrule.kernels.numpy_kernels.activations.classic import (
    gaussian,
    gaussian_gradient,
    hard_sigmoid,
    hard_sigmoid_gradient,
    identity,
    identity_gradient,
    sigmoid,
    sigmoid_gradient,
    softmax,
    softmax_gradient,
    softsign,
    softsign_gradient,
    tanh,
    tanh_gradient,
)
from chainrule.kernels.numpy_kernels.activations.rectifiers import (
    elu,
    elu_gradient,
    gelu,
    gelu_gradient,
    leaky_relu,
    leaky_relu_gradient,
    leaky_relu_slope_gradient,
    mish,
    mish_gradient,
    relu,
    relu_gradient,
    selu,
    selu_gradient,
    silu,
    silu_gradient,
    softplus,
    softplus_gradient,
)

__all__ = [
    "elu",
    "elu_gradient",
    "gaussian",
    "gaussian_gradient",
    "gelu",
    "gelu_gradient",
    "hard_sigmoid",
    "hard_sigmoid_gradient",
    "identity",
    "identity_gradient",
    "leaky_relu",
    "leaky_relu_gradient",
    "leaky_relu_slope_gradient",
    "mish",
    "mish_gradient",
    "relu",
    "relu_gradient",
    "selu",
    "selu_gradient",
    "sigmoid",
    "sigmoid_gradient",
    "silu",
    "silu_gradient",
    "softmax",
    "softmax_gradient",
    "softplus",
    "softplus_gradient",
    "softsign",
    "softsign_gradient",
    "tanh",
    "tanh_gradient",
]
