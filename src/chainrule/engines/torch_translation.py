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
from torch.nn.utils import skip_init

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
    "check_same_function",
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


_skip_init: Any = skip_init  # it has no types
_SCALE_AND_SHIFT = {"scale": TensorName("weight"), "shift": TensorName("bias")}

_TRANSLATIONS: dict[type[Layer], _Translation] = {
    layers.DenseLayer: _Translation(
        # Drawing its weights, which are overwritten, would change the state of PyTorch's own random numbers.
        lambda layer: _skip_init(nn.Linear, layer.input_shape()[0], layer.n_units),
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
    activations.SoftsignActivation: _Translation(lambda layer: nn.Softsign()),
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
    """Return the type of the module's numbers, the widest of them; float32 where chainrule does not compute in it."""
    types = [tensor.dtype for tensor in (*module.parameters(), *module.buffers())]
    return "float64" if torch.float64 in types else "float32"


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
        values = np.zeros_like(array) if tensor is None else name.to_numpy(tensor)
        if values.shape != array.shape or values.dtype.kind != "f":
            raise InvalidInputError(
                f"The module's {name.name} holds numbers of type {values.dtype} in shape {values.shape}; the layer "
                f"takes real numbers in shape {array.shape}."
            )
        array[...] = values


def tensor_of(block: ParameterBlock, stack: LayerStack, module: nn.Sequential) -> tuple[nn.Parameter, TensorName]:
    """Return the module's parameter for a block of the stack's vector."""
    name = _translation(stack.layers[block.layer]).arrays[block.name]
    parameter: nn.Parameter = getattr(module[block.layer], name.name)
    return parameter, name


def _translation(layer: Layer) -> _Translation:
    """Return the module that PyTorch has for a layer, or that of an activation's formulas."""
    translation = _TRANSLATIONS.get(type(layer))
    if translation is None and isinstance(layer, activations.ActivationLayer):
        return _Translation(modules.Formula, {name: TensorName(name) for name in layer.parameter_shapes()})
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
    nn.PReLU: lambda module: activations.PReLUActivation(module.init),
    nn.ELU: lambda module: activations.ELUActivation(module.alpha),
    nn.SELU: lambda module: activations.SELUActivation(),
    nn.GELU: lambda module: activations.GELUActivation(),
    nn.SiLU: lambda module: activations.SiLUActivation(),
    nn.Mish: lambda module: activations.MishActivation(),
    nn.Softplus: lambda module: activations.SoftplusActivation(),
    modules.Formula: lambda module: module.layer,
    modules.GaussianNoise: lambda module: layers.GaussianNoiseLayer(module.standard_deviation),
    modules.InputScale: lambda module: layers.InputScalingLayer(),
    modules.Standardize: lambda module: layers.StandardizationLayer(),
}

# What a module may say of itself without being another function than the layer read from it.
_WITHOUT_EFFECT = {"training", "inplace"}
_AXES = {"dim", "start_dim", "end_dim"}
_SOFTPLUS_THRESHOLD = 20  # PyTorch's default; a higher one changes the function by less than 2e-9


def layers_of(module: nn.Module, input_shape: Shape | None) -> tuple[list[Layer], Shape, nn.Sequential]:
    """Read an ``nn.Sequential`` of known modules: layers, the shape of an input row, and the modules in one row.

    A Sequential inside another is opened. Without ``input_shape`` the first module must tell it: a Linear,
    BatchNorm1d or LayerNorm (or, for activations before it, the first of them). :func:`check_same_function` then says
    whether the layers, which know their shapes by then, do what the modules do.
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
        read.append(reader(part))
    if not parts:
        raise InvalidInputError("This module has no parts; give an nn.Sequential of layers.")
    return read, input_shape or _input_shape(parts), nn.Sequential(*parts)


def check_same_function(module: nn.Sequential, stack: LayerStack) -> None:
    """Raise InvalidInputError unless every part of the module is the function of the layer that was read from it.

    It is if it has the settings of the module that :func:`build_module` makes of the layer.
    """
    for layer, part, like in zip(stack.layers, module, build_module(stack), strict=True):
        n_axes = len(layer.input_shape()) + 1
        given, wanted = _settings(part, n_axes), _settings(like, n_axes)
        for name, value in wanted.items():
            if given[name] != value:
                raise InvalidInputError(
                    f"{type(part).__name__} with {name}={getattr(part, name)!r} is another function than "
                    f"{layer.layer_name()}: for rows of shape {layer.input_shape()} it can be read with "
                    f"{name}={getattr(like, name)!r} only."
                )
    if len(list(module.parameters())) < sum(len(list(part.parameters())) for part in module):
        raise InvalidInputError(
            "The module uses a parameter in several places, and every layer of a network has its own; copy it first."
        )


def _settings(part: nn.Module, n_axes: int) -> dict[str, Any]:
    """Return what decides, beside the tensors, what a module makes of a batch with this number of axes."""
    settings = {n: v for n, v in vars(part).items() if not n.startswith("_") and n not in _WITHOUT_EFFECT}
    for name in _AXES & settings.keys():
        if settings[name] is not None and settings[name] < 0:
            settings[name] += n_axes
    if isinstance(part, nn.Softplus):
        settings["threshold"] = min(part.threshold, _SOFTPLUS_THRESHOLD)
    return settings


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    has_own_step = "forward" in vars(module)
    if isinstance(module, nn.Sequential):
        has_own_step |= type(module).forward is not nn.Sequential.forward
    if has_own_step or module._forward_hooks or module._forward_pre_hooks:
        raise InvalidInputError(
            f"{type(module).__name__} has hooks or a forward step of its own, which from_torch cannot read; remove "
            "them, or give the modules without them."
        )
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
