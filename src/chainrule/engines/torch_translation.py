"""Layers as PyTorch's modules, and back: a table with one line for each kind.

A network becomes an ``nn.Sequential`` with one module a layer, in their order, so that module i is layer i.
``nn.Linear`` keeps its weights as (units, inputs), ours are (inputs, units): they are transposed on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chainrule import activations, layers
from chainrule.engines import torch_modules as modules
from chainrule.errors import InvalidInputError
from chainrule.layers import Layer
from chainrule.parameters import ParameterBlock
from chainrule.stack import LayerStack
from chainrule.types import Array, DTypeName, Shape

__all__ = [
    "TensorName",
    "build_module",
    "dtype_of",
    "export_arrays",
    "import_arrays",
    "layers_of",
    "tensor_of",
    "torch_dtype",
]


@dataclass(frozen=True)
class TensorName:
    """What PyTorch calls one of our arrays, and whether it keeps it transposed."""

    name: str
    transposed: bool = False

    def to_torch(self, array: Array) -> Tensor:
        """Return a tensor over a copy of the array, in PyTorch's layout."""
        return torch.from_numpy(np.array(array.T if self.transposed else array, order="C"))

    def to_numpy(self, tensor: Tensor) -> Array:
        """Return the tensor's numbers in our layout."""
        detached = tensor.detach().cpu()
        values: Array = (detached.float() if detached.dtype in (torch.float16, torch.bfloat16) else detached).numpy()
        return values.T if self.transposed else values


@dataclass(frozen=True)
class _Translation:
    """How a kind of layer becomes a module; ``arrays`` gives the tensor's name for each parameter and state."""

    build: Callable[[Any], nn.Module]
    arrays: dict[str, TensorName] = field(default_factory=dict)


_SCALE_AND_SHIFT = {"scale": TensorName("weight"), "shift": TensorName("bias")}

_TRANSLATIONS: dict[type[Layer], _Translation] = {
    layers.DenseLayer: _Translation(
        lambda layer: nn.Linear(layer.input_shape()[0], layer.n_units),
        {"weights": TensorName("weight", transposed=True), "biases": TensorName("bias")},
    ),
    layers.DropoutLayer: _Translation(lambda layer: nn.Dropout(layer.rate)),
    layers.GaussianNoiseLayer: _Translation(lambda layer: modules.GaussianNoise(layer.standard_deviation)),
    layers.BatchNormalizationLayer: _Translation(
        lambda layer: nn.BatchNorm1d(layer.input_shape()[0], layer.epsilon, layer.momentum),
        {
            **_SCALE_AND_SHIFT,
            "running_mean": TensorName("running_mean"),
            "running_variance": TensorName("running_var"),
        },
    ),
    layers.LayerNormalizationLayer: _Translation(
        lambda layer: nn.LayerNorm(layer.input_shape(), layer.epsilon), _SCALE_AND_SHIFT
    ),
    layers.InputScalingLayer: _Translation(
        lambda layer: modules.InputScale(torch.ones(layer.input_shape())), {"scale": TensorName("scale")}
    ),
    layers.StandardizationLayer: _Translation(
        lambda layer: modules.Standardize(torch.zeros(layer.input_shape()), torch.ones(layer.input_shape())),
        {"mean": TensorName("mean"), "scale": TensorName("scale")},
    ),
    layers.FlattenLayer: _Translation(lambda layer: nn.Flatten()),
    activations.LinearActivation: _Translation(lambda layer: nn.Identity()),
    activations.SigmoidActivation: _Translation(lambda layer: nn.Sigmoid()),
    activations.TanhActivation: _Translation(lambda layer: nn.Tanh()),
    activations.SoftmaxActivation: _Translation(lambda layer: nn.Softmax(dim=-1)),
    activations.GaussianActivation: _Translation(lambda layer: modules.Gaussian()),
    activations.SoftsignActivation: _Translation(lambda layer: nn.Softsign()),
    activations.HardSigmoidActivation: _Translation(lambda layer: modules.HardSigmoid()),
    activations.ReLUActivation: _Translation(lambda layer: nn.ReLU()),
    activations.LeakyReLUActivation: _Translation(lambda layer: nn.LeakyReLU(layer.negative_slope)),
    activations.PReLUActivation: _Translation(
        lambda layer: nn.PReLU(init=layer.initial_slope), {"slope": TensorName("weight")}
    ),
    activations.ELUActivation: _Translation(lambda layer: nn.ELU(layer.alpha)),
    activations.SELUActivation: _Translation(lambda layer: nn.SELU()),
    activations.GELUActivation: _Translation(lambda layer: nn.GELU()),
    activations.SiLUActivation: _Translation(lambda layer: nn.SiLU()),
    activations.MishActivation: _Translation(lambda layer: nn.Mish()),
    # PyTorch's is the identity above its threshold, 20 by default, where log(1 + exp(-z)) is still 2e-9.
    activations.SoftplusActivation: _Translation(lambda layer: nn.Softplus(threshold=40)),
}


def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return PyTorch's name for float32 or float64."""
    return torch.float64 if dtype == np.float64 else torch.float32


def dtype_of(module: nn.Module) -> DTypeName:
    """Return the type of the module's numbers; float32 where it has none, or others than chainrule computes in."""
    first = next(iter((*module.parameters(), *module.buffers())), torch.empty(0))
    return "float64" if first.dtype == torch.float64 else "float32"


def build_module(stack: LayerStack) -> nn.Sequential:
    """Return the stack as a module on the CPU, with its parameters and states copied in, ready for inference.

    Raises InvalidInputError for a layer that PyTorch has no counterpart of.
    """
    parts = [_translation(layer).build(layer) for layer in stack.layers]
    module = nn.Sequential(*parts).to(torch_dtype(stack.dtype))
    import_arrays(stack, module)
    return module.eval()


def import_arrays(stack: LayerStack, module: nn.Sequential) -> None:
    """Copy the stack's parameters and states into the module, wherever it is."""
    with torch.no_grad():
        for array, tensor, name in _pairs(stack, module):
            tensor.copy_(name.to_torch(array))


def export_arrays(module: nn.Sequential, stack: LayerStack) -> None:
    """Copy the module's parameters and states into the stack; a Linear without a bias has biases of 0."""
    for array, tensor, name in _pairs(stack, module):
        array[...] = 0 if tensor is None else name.to_numpy(tensor)


def tensor_of(block: ParameterBlock, stack: LayerStack, module: nn.Sequential) -> tuple[nn.Parameter, TensorName]:
    """Return the module's parameter for a block of the stack's vector."""
    name = _translation(stack.layers[block.layer]).arrays[block.name]
    parameter: nn.Parameter = getattr(module[block.layer], name.name)
    return parameter, name


def _translation(layer: Layer) -> _Translation:
    translation = _TRANSLATIONS.get(type(layer))
    if translation is None:
        raise InvalidInputError(
            f"PyTorch has no counterpart of the layer {layer.layer_name()}; only engine='numpy' computes it."
        )
    return translation


def _pairs(stack: LayerStack, module: nn.Sequential) -> Iterator[tuple[Array, Any, TensorName]]:
    for layer, part in zip(stack.layers, module, strict=True):
        names = _translation(layer).arrays
        for name, array in (*layer.parameter_views.items(), *layer.state.items()):
            yield array, getattr(part, names[name].name), names[name]


# Back: modules as layers ---------------------------------------------------------------------------------------------

_READERS: dict[type[nn.Module], Callable[[Any], Layer]] = {
    nn.Linear: lambda module: layers.DenseLayer(module.out_features, (module.in_features,)),
    nn.Dropout: lambda module: layers.DropoutLayer(module.p),
    nn.BatchNorm1d: lambda module: layers.BatchNormalizationLayer(module.momentum, module.eps),
    nn.LayerNorm: lambda module: layers.LayerNormalizationLayer(module.eps),
    nn.Flatten: lambda module: layers.FlattenLayer(),
    nn.Identity: lambda module: activations.LinearActivation(),
    nn.Sigmoid: lambda module: activations.SigmoidActivation(),
    nn.Tanh: lambda module: activations.TanhActivation(),
    nn.Softmax: lambda module: activations.SoftmaxActivation(),
    nn.Softsign: lambda module: activations.SoftsignActivation(),
    nn.Hardsigmoid: lambda module: activations.HardSigmoidActivation(),
    nn.ReLU: lambda module: activations.ReLUActivation(),
    nn.LeakyReLU: lambda module: activations.LeakyReLUActivation(module.negative_slope),
    nn.PReLU: lambda module: activations.PReLUActivation(),
    nn.ELU: lambda module: activations.ELUActivation(module.alpha),
    nn.SELU: lambda module: activations.SELUActivation(),
    nn.GELU: lambda module: activations.GELUActivation(),
    nn.SiLU: lambda module: activations.SiLUActivation(),
    nn.Mish: lambda module: activations.MishActivation(),
    nn.Softplus: lambda module: activations.SoftplusActivation(),
    modules.Gaussian: lambda module: activations.GaussianActivation(),
    modules.HardSigmoid: lambda module: activations.HardSigmoidActivation(),
    modules.GaussianNoise: lambda module: layers.GaussianNoiseLayer(module.standard_deviation),
    modules.InputScale: lambda module: layers.InputScalingLayer(),
    modules.Standardize: lambda module: layers.StandardizationLayer(),
}

# Forms of these modules that are other functions than our layers: what must hold, in words and as a test.
_ONLY: dict[type[nn.Module], tuple[str, Callable[[Any], bool]]] = {
    nn.BatchNorm1d: (
        "affine=True, track_running_stats=True and a momentum",
        lambda m: m.affine and m.track_running_stats and m.momentum is not None,
    ),
    nn.LayerNorm: ("elementwise_affine=True and a bias", lambda m: m.elementwise_affine and m.bias is not None),
    nn.Flatten: ("start_dim=1 and end_dim=-1", lambda m: (m.start_dim, m.end_dim) == (1, -1)),
    nn.Softmax: ("dim=-1 (or 1, of rows of one dimension)", lambda m: m.dim in (-1, 1)),
    nn.PReLU: ("num_parameters=1", lambda m: m.num_parameters == 1),
    nn.GELU: ("approximate='none'", lambda m: m.approximate == "none"),
    nn.Softplus: ("beta=1", lambda m: m.beta == 1),
}


def layers_of(module: nn.Module, input_shape: Shape | None) -> tuple[list[Layer], Shape, nn.Sequential]:
    """Read an ``nn.Sequential`` of known modules: layers, the shape of an input row, and the modules in one row.

    A Sequential inside another is opened. Without ``input_shape`` the first module must tell it: a Linear,
    BatchNorm1d or LayerNorm (or, for activations before it, the first of them).
    """
    parts = list(_flat(module))
    read: list[Layer] = []
    for part in parts:
        reader = _READERS.get(type(part))
        if reader is None:
            raise InvalidInputError(
                f"No layer of chainrule does what {type(part).__name__} does; known are: "
                f"{', '.join(sorted(known.__name__ for known in _READERS if known.__module__.startswith('torch')))}."
            )
        words, holds = _ONLY.get(type(part), ("", lambda m: True))
        if not holds(part):
            raise InvalidInputError(f"{part} can be read with {words} only.")
        read.append(reader(part))
    if not parts:
        raise InvalidInputError("This module has no parts; give an nn.Sequential of layers.")
    return read, input_shape or _input_shape(parts), nn.Sequential(*parts)


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for part in module:
            yield from _flat(part)
    else:
        yield module


def _input_shape(parts: Sequence[nn.Module]) -> Shape:
    for part in parts:
        if isinstance(part, nn.Flatten):
            break
        if isinstance(part, nn.Linear):
            return (part.in_features,)
        if isinstance(part, nn.BatchNorm1d):
            return (part.num_features,)
        if isinstance(part, nn.LayerNorm):
            return tuple(part.normalized_shape)
        if isinstance(part, modules.InputScale | modules.Standardize):
            return tuple(part.scale.shape)
    raise InvalidInputError("The module does not tell the shape of an input row; give input_shape=(n_features,).")
