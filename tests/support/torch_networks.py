"""The same network in PyTorch: built from ours, with the same numbers, for the oracle tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from chainrule.layers import BatchNormalizationLayer, DenseLayer, Layer, LayerNormalizationLayer
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Array

__all__ = ["ACTIVATION_PAIRS", "LOSS_PAIRS", "parameter_groups", "torch_twin", "torch_vector"]

functional = torch.nn.functional


class Function(torch.nn.Module):
    """A function without parameters, for what PyTorch has no module of."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


# Registered name of ours: PyTorch's, with our defaults.
ACTIVATION_PAIRS: dict[str, Callable[[], torch.nn.Module]] = {
    "linear": torch.nn.Identity,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "softmax": lambda: torch.nn.Softmax(dim=1),
    "gaussian": lambda: Function(lambda z: torch.exp(-(z**2))),
    "softsign": torch.nn.Softsign,
    "hard_sigmoid": lambda: Function(lambda z: functional.relu6(z + 3) / 6),  # their own has 1/6 in float32 only
    "smooth_clip": lambda: Function(lambda z: z / torch.sqrt(1 + (z / 3) ** 2)),
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU,
    "selu": torch.nn.SELU,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
    "mish": torch.nn.Mish,
    "softplus": torch.nn.Softplus,
    "celu": torch.nn.CELU,
    "hard_swish": torch.nn.Hardswish,
    "log_softmax": lambda: torch.nn.LogSoftmax(dim=1),
}


def binary_focal(p: Any, y: Any) -> Any:
    return -(y * (1 - p) ** 2 * torch.log(p) + (1 - y) * p**2 * torch.log(1 - p))


def multi_quantile(p: Any, y: Any) -> Any:
    middle, above, below = torch.chunk(p, 3, dim=1)
    quantiles = {0.05: middle - functional.softplus(below), 0.5: middle, 0.95: middle + functional.softplus(above)}
    return sum(torch.maximum(q * (y - p), (q - 1) * (y - p)) for q, p in quantiles.items()) / 3


# Registered name of ours: the loss of every element (or row) in PyTorch, from the predictions and the targets.
LOSS_PAIRS: dict[str, Callable[[Any, Any], Any]] = {
    "mean_squared_error": lambda p, y: functional.mse_loss(p, y, reduction="none"),
    "half_squared_error": lambda p, y: ((p - y) ** 2 / 2).sum(1, keepdim=True),
    "mean_absolute_error": lambda p, y: functional.l1_loss(p, y, reduction="none"),
    "mean_absolute_percentage_error": lambda p, y: 100 * (p - y).abs() / y.abs().clamp_min(1e-7),
    "mean_squared_logarithmic_error": lambda p, y: (torch.log1p(p) - torch.log1p(y)) ** 2,
    "huber": lambda p, y: functional.huber_loss(p, y, reduction="none"),
    "log_cosh": lambda p, y: torch.log(torch.cosh(p - y)),
    "pinball": lambda p, y: torch.maximum(0.5 * (y - p), 0.5 * (p - y)),
    "poisson": lambda p, y: functional.poisson_nll_loss(p, y, reduction="none"),
    "gaussian_negative_log_likelihood": lambda p, y: functional.gaussian_nll_loss(
        p[:, : y.shape[1]], y, torch.exp(p[:, y.shape[1] :]), eps=0, reduction="none"
    ),
    "multi_quantile": multi_quantile,
    "cosine_similarity": lambda p, y: -functional.cosine_similarity(p, y)[:, None],
    "binary_cross_entropy": lambda p, y: functional.binary_cross_entropy(p, y, reduction="none"),
    "multi_label_cross_entropy": lambda p, y: functional.binary_cross_entropy(p, y, reduction="none").sum(
        1, keepdim=True
    ),
    "categorical_cross_entropy": lambda p, y: -(y * torch.log(p)).sum(1, keepdim=True),
    "negative_log_likelihood": lambda p, y: functional.nll_loss(p, y.argmax(1), reduction="none")[:, None],
    "kl_divergence": lambda p, y: functional.kl_div(torch.log(p), y, reduction="none").sum(1, keepdim=True),
    "dice": lambda p, y: 1 - (2 * (p * y).sum(1, keepdim=True) + 1) / ((p + y).sum(1, keepdim=True) + 1),
    "binary_focal": binary_focal,
    "categorical_focal": lambda p, y: -(y * (1 - p) ** 2 * torch.log(p)).sum(1, keepdim=True),
    "hinge": lambda p, y: torch.relu(1 - (2 * y - 1) * p),
    "multi_margin": lambda p, y: functional.multi_margin_loss(p, y.argmax(1), reduction="none")[:, None],
    "squared_hinge": lambda p, y: torch.relu(1 - (2 * y - 1) * p) ** 2,
}


def torch_layer(layer: Layer, name: str, dtype: Any) -> torch.nn.Module:
    width = layer.input_shape()[0]
    if isinstance(layer, DenseLayer):
        return torch.nn.Linear(width, layer.n_units, dtype=dtype)
    if isinstance(layer, BatchNormalizationLayer):
        return torch.nn.BatchNorm1d(width, dtype=dtype)
    if isinstance(layer, LayerNormalizationLayer):
        return torch.nn.LayerNorm(width, dtype=dtype)
    return ACTIVATION_PAIRS[name]()


# Our parameter: PyTorch's, and whether it is the transposed one.
PARAMETERS = {
    "weights": ("weight", True),
    "biases": ("bias", False),
    "scale": ("weight", False),
    "shift": ("bias", False),
}


def torch_twin(network: NeuralNetwork, names: dict[int, str] | None = None) -> torch.nn.Sequential:
    """The same layers with the same numbers; ``names`` are the registered names of the activations, by place."""
    dtype = torch.float64 if network.stack.dtype == np.float64 else torch.float32
    twin = torch.nn.Sequential(
        *(torch_layer(layer, (names or {}).get(i, ""), dtype) for i, layer in enumerate(network.layers))
    )
    with torch.no_grad():
        for module, layer in zip(twin, network.layers, strict=True):
            for name, values in layer.parameter_views.items():
                theirs, transposed = PARAMETERS[name]
                getattr(module, theirs).copy_(torch.from_numpy((values.T if transposed else values).copy()))
    return twin


def torch_vector(twin: torch.nn.Sequential, network: NeuralNetwork, *, gradients: bool = False) -> Array:
    """The twin's parameters (or their gradients) in the order of our vector."""
    parts = []
    for block in network.stack.vector.blocks:
        name, transposed = PARAMETERS[block.name]
        parameter = getattr(twin[block.layer], name)
        values = (parameter.grad if gradients else parameter.detach()).numpy()
        parts.append((values.T if transposed else values).reshape(-1))
    return np.concatenate(parts)


def parameter_groups(twin: torch.nn.Sequential, weight_decay: float) -> list[dict[str, Any]]:
    """Decay on the weight matrices only, as ours is."""
    matrices = [parameter for parameter in twin.parameters() if parameter.ndim == 2]
    others = [parameter for parameter in twin.parameters() if parameter.ndim != 2]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
