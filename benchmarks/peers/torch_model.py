"""The network, the loss and the choice of the fastest optimizer of the PyTorch peers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from datasets import Array
from torch import Tensor, nn
from workload import Workload

# Adam's averages for weights that rarely get a gradient (the margins of MNIST) decay to subnormal numbers, which are
# slow. This setting of PyTorch makes such a step a third faster and changes nothing else.
torch.set_flush_denormal(True)

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}
OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], list[dict[str, Any]]]] = {
    "adam": (torch.optim.Adam, [{"fused": True}, {"foreach": True}]),
    "rmsprop": (torch.optim.RMSprop, [{"foreach": True}, {"foreach": False}]),  # it has no fused form
}


def hidden_part(workload: Workload, n_units: int) -> list[nn.Module]:
    """Return the modules after a hidden linear layer."""
    parts: list[nn.Module] = [nn.BatchNorm1d(n_units)] if workload.batch_norm else []
    parts.append(ACTIVATIONS[workload.activation]())
    return [*parts, nn.Dropout(workload.dropout)] if workload.dropout else parts


def build(workload: Workload) -> nn.Sequential:
    """Return the network with the initial weights; its outputs are logits."""
    modules: list[nn.Module] = []
    pairs = workload.weights()
    for number, (W, b) in enumerate(pairs, start=1):
        linear = nn.Linear(*W.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(W.T))
            linear.bias.copy_(torch.from_numpy(b))
        modules += [linear, *(hidden_part(workload, W.shape[1]) if number < len(pairs) else [])]
    return nn.Sequential(*modules)


def criterion(workload: Workload) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the loss as a function of logits and the targets of :func:`targets`."""
    losses: dict[str, Callable[[], nn.Module]] = {
        "cross_entropy": nn.CrossEntropyLoss,
        "binary_cross_entropy": nn.BCEWithLogitsLoss,
        "mean_squared_error": nn.MSELoss,
    }
    return losses[workload.loss]()


def targets(workload: Workload) -> Tensor:
    """Return the targets in the form that the loss needs."""
    y = torch.from_numpy(workload.targets())
    return y if workload.loss == "cross_entropy" else y.to(torch.float32).unsqueeze(1)


def as_outputs(workload: Workload, logits: Tensor) -> Array:
    """Return probabilities if there are classes, otherwise the outputs."""
    if workload.loss == "cross_entropy":
        logits = logits.softmax(dim=1)
    elif workload.loss == "binary_cross_entropy":
        logits = logits.sigmoid()
    return logits.numpy()


def parameters(workload: Workload, model: nn.Module) -> list[dict[str, Any]]:
    """Return the parameters in two groups: the weights with the penalty, and the biases."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    rest = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    return [{"params": weights, "weight_decay": workload.l2}, {"params": rest}]


def fastest_optimizer(workload: Workload, step_with: Callable[[nn.Module, Any], Callable[[int], None]]) -> Any:
    """Time every form of the optimizer on a separate network; return ``make(model)`` of the fastest, and its name.

    ``step_with(model, optimizer)`` returns a function that computes a given number of steps.
    """
    create, forms = OPTIMIZERS[workload.optimizer]
    seconds = []
    for form in forms:
        model = build(workload)
        take = step_with(model, create(parameters(workload, model), lr=workload.learning_rate, **form))
        n_steps = min(50, workload.n_steps)
        take(5)
        start = time.perf_counter()
        take(n_steps)
        seconds.append(time.perf_counter() - start)
    best = forms[seconds.index(min(seconds))]

    def make(model: nn.Module) -> torch.optim.Optimizer:
        return create(parameters(workload, model), lr=workload.learning_rate, **best)

    name = ", ".join(f"{key}={value}" for key, value in best.items())
    return make, f"{workload.optimizer} with {name} was the fastest of {len(forms)} forms"
