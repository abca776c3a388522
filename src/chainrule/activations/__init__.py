"""Activation functions. Each is a layer that applies f to every element and multiplies by f' in the backward pass.

An activation of your own is a class with two methods, or a pair of functions:

>>> import numpy as np
>>> square = CustomActivation(lambda z: z**2, lambda z: 2 * z)
>>> square.activation_function(np.array([[3.0]])).tolist()
[[9.0]]

``chainrule.inspection.check_gradients`` checks the derivative.
"""

from __future__ import annotations

from typing import Any

from chainrule.activations.base import ActivationLayer
from chainrule.activations.classic import (
    GaussianActivation,
    HardSigmoidActivation,
    LinearActivation,
    LogSoftmaxActivation,
    SigmoidActivation,
    SoftmaxActivation,
    SoftsignActivation,
    TanhActivation,
)
from chainrule.activations.custom import CustomActivation
from chainrule.activations.rectifiers import (
    CELUActivation,
    ELUActivation,
    GELUActivation,
    HardSwishActivation,
    LeakyReLUActivation,
    MishActivation,
    PReLUActivation,
    ReLUActivation,
    SELUActivation,
    SiLUActivation,
    SoftplusActivation,
)
from chainrule.named import Registry

__all__ = [
    "ACTIVATIONS",
    "ActivationLayer",
    "CELUActivation",
    "CustomActivation",
    "ELUActivation",
    "GELUActivation",
    "GaussianActivation",
    "HardSigmoidActivation",
    "HardSwishActivation",
    "LeakyReLUActivation",
    "LinearActivation",
    "LogSoftmaxActivation",
    "MishActivation",
    "PReLUActivation",
    "ReLUActivation",
    "SELUActivation",
    "SiLUActivation",
    "SigmoidActivation",
    "SoftmaxActivation",
    "SoftplusActivation",
    "SoftsignActivation",
    "TanhActivation",
]

ACTIVATIONS: Registry[Any] = Registry(
    "activation",
    ActivationLayer,
    {
        "linear": LinearActivation,
        "sigmoid": SigmoidActivation,
        "tanh": TanhActivation,
        "softmax": SoftmaxActivation,
        "log_softmax": LogSoftmaxActivation,
        "gaussian": GaussianActivation,
        "softsign": SoftsignActivation,
        "hard_sigmoid": HardSigmoidActivation,
        "relu": ReLUActivation,
        "leaky_relu": LeakyReLUActivation,
        "prelu": PReLUActivation,
        "elu": ELUActivation,
        "celu": CELUActivation,
        "selu": SELUActivation,
        "gelu": GELUActivation,
        "silu": SiLUActivation,
        "hard_swish": HardSwishActivation,
        "mish": MishActivation,
        "softplus": SoftplusActivation,
    },
)
