"""The parameters of a module as one vector on the device, and its updates by chainrule's optimizers.

Parameters, gradients and the state of the optimizer have the layout of :class:`~chainrule.parameters.ParameterVector`.
A step is therefore a few operations for all parameters together, and both engines can read a checkpoint. On the CPU,
the compiled loop of the optimizer updates the vector in place. On other devices, PyTorch computes its formulas; if they
cannot be traced, the optimizer updates copies of the vectors on the host.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from chainrule.engines.torch_modules import LayerModule
from chainrule.optimizer import Optimizer
from chainrule.parameters import ParameterBlock
from chainrule.stack import LayerStack
from chainrule.types import Array

__all__ = ["DeviceVector", "OptimizerSteps", "Slot"]


class Slot(NamedTuple):
    """A parameter of the module, and its block of the vector."""

    parameter: nn.Parameter
    block: ParameterBlock


class DeviceVector:
    """All parameters of a module in one vector on its device, and their gradients in a second.

    Attributes
    ----------
    values
        The parameters; those of the module are views of this vector.
    gradients
        The gradients, which :meth:`gather_gradients` writes.
    slots
        The parameters, in the order of the vector.
    n_penalized
        The length of the leading slice that penalties and weight decay act on.
    frozen
        The slices that training does not change.
    """

    def __init__(self, stack: LayerStack, module: nn.Sequential, device: torch.device) -> None:
        vector, parts = stack.vector, cast("list[LayerModule]", list(module))
        self.values = torch.from_numpy(vector.values.copy()).to(device)
        self.gradients = torch.full_like(self.values, torch.nan)
        self.n_penalized, self.frozen = vector.n_penalized, vector.frozen
        self.slots = [Slot(cast("nn.Parameter", parts[b.layer].tensor(b.name)), b) for b in vector.blocks]
        for parameter, block in self.slots:
            parameter.data = self._view(self.values, block)

    def gradient_of(self, block: ParameterBlock) -> Tensor:
        """Return the view of ``gradients`` for one parameter."""
        return self._view(self.gradients, block)

    @staticmethod
    def _view(vector: Tensor, block: ParameterBlock) -> Tensor:
        return vector[block.slice].view(block.shape)

    def forget_gradients(self) -> None:
        """Delete the gradients of the parameters, before the next backward pass."""
        for parameter, _ in self.slots:
            parameter.grad = None

    def gather_gradients(self) -> None:
        """Copy the gradients of the parameters into the vector."""
        gradients = [cast("Tensor", parameter.grad).reshape(-1) for parameter, _ in self.slots]
        torch.cat(gradients, out=self.gradients)

    @torch.no_grad()
    def load(self, values: Array) -> None:
        """Copy the parameters from a vector on the host."""
        self.values.copy_(torch.from_numpy(values))


class OptimizerSteps:
    """Steps of an optimizer on a vector. The state of the optimizer is on the device of the vector.

    :meth:`read_state` copies it to ``optimizer.state``, and :meth:`write_state` copies it back.
    """

    def __init__(self, optimizer: Optimizer, vector: DeviceVector) -> None:
        self.optimizer, self.vector = optimizer, vector
        self._state: dict[str, Tensor] = {}
        self._on_host = vector.values.device.type == "cpu" or not optimizer.supports_tensors()
        self.write_state()

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update the vector by its gradients."""
        optimizer, vector = self.optimizer, self.vector
        if self._on_host:
            values = vector.values.cpu()
            optimizer.step(values.numpy(), vector.gradients.cpu().numpy(), learning_rate)
            if values is not vector.values:
                vector.values.copy_(values)
            return
        on_host = optimizer.state
        optimizer.state = cast("dict[str, Any]", {**on_host, **self._state})
        try:
            optimizer.step(cast("Any", vector.values), cast("Any", vector.gradients), learning_rate)
        finally:
            optimizer.state = on_host

    def tensors(self) -> Iterable[Tensor]:
        """Return the arrays of the state with one number for each parameter."""
        arrays, size = self.optimizer.state.values(), self.vector.values.numel()
        on_host = (torch.from_numpy(array) for array in arrays if array.size == size and array.dtype.kind == "f")
        return on_host if self._on_host else self._state.values()

    def read_state(self) -> None:
        """Copy the state to ``optimizer.state``."""
        for name, tensor in self._state.items():
            self.optimizer.state[name][...] = tensor.cpu().numpy()

    def write_state(self) -> None:
        """Copy the state from ``optimizer.state``."""
        if not self._on_host:
            device, names = self.vector.values.device, self.optimizer.vector_names()
            self._state = {name: torch.from_numpy(self.optimizer.state[name]).to(device) for name in names}
