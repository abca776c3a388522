"""Conversion of networks to standard modules of PyTorch and back, by a table of equivalent layers and modules.

A network becomes an ``nn.Sequential`` with one module for each layer, in their order. A layer that has no standard
counterpart becomes a :class:`~chainrule.engines.torch_modules.LayerModule`. ``nn.Linear`` stores its weights with the
shape (units, inputs), a DenseLayer with (inputs, units): they are transposed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from chainrule import activations, layers
from chainrule.engines.torch_modules import LayerModule, torch_dtype
from chainrule.errors import InvalidInputError, shown
from chainrule.layers import Layer
from chainrule.stack import LayerStack
from chainrule.types import Array, DTypeName, Shape

__all__ = ["build_standard_module", "check_same_function", "dtype_of", "layers_of", "read_arrays"]


class _Counterpart(NamedTuple):
    """A layer class and the module class for the same function.

    ``arrays`` has the name in PyTorch for each parameter and state; ``".T"`` at the end means that it is transposed.
    """

    layer: type[Layer]
    module: type[nn.Module]
    to_module: Callable[[Any], nn.Module]
    to_layer: Callable[[Any], Layer]
    arrays: Mapping[str, str] = {}


_skip_init: Any = skip_init  # it has no type hints
_SCALE_AND_SHIFT = {"scale": "weight", "shift": "bias"}
_RUNNING = {"running_mean": "running_mean", "running_variance": "running_var"}


def _same(
    layer: type[Layer], module: type[nn.Module], settings: Mapping[str, str] = {}, **constants: Any
) -> _Counterpart:
    """Return the counterparts of a function, with the name in PyTorch for each setting, and constants of the module."""
    return _Counterpart(
        layer,
        module,
        lambda one: module(**{theirs: getattr(one, ours) for ours, theirs in settings.items()}, **constants),
        lambda one: layer(**{ours: getattr(one, theirs) for ours, theirs in settings.items()}),
    )


def _prelu(layer: activations.PReLUActivation) -> nn.Module:
    if layer.shared or len(layer.input_shape()) == 1:
        return nn.PReLU(layer.slope.size, layer.initial_slope)
    return LayerModule(copy.deepcopy(layer))  # PyTorch has one slope for each index of the first axis


_COUNTERPARTS = (
    _Counterpart(
        layers.DenseLayer,
        nn.Linear,
        # Drawing the weights, which are overwritten, would change the state of PyTorch's random generator.
        lambda layer: _skip_init(nn.Linear, layer.input_shape()[0], layer.n_units),
        lambda module: layers.DenseLayer(module.out_features, (module.in_features,)),
        {"weights": "weight.T", "biases": "bias"},
    ),
    _Counterpart(
        layers.BatchNormalizationLayer,
        nn.BatchNorm1d,
        lambda layer: nn.BatchNorm1d(layer.input_shape()[0], layer.epsilon, layer.momentum, layer.affine),
        lambda module: layers.BatchNormalizationLayer(module.momentum, module.eps, module.affine),
        {**_SCALE_AND_SHIFT, **_RUNNING},
    ),
    _Counterpart(
        layers.LayerNormalizationLayer,
        nn.LayerNorm,
        lambda layer: nn.LayerNorm(layer.input_shape(), layer.epsilon, layer.affine),
        lambda module: layers.LayerNormalizationLayer(module.eps, module.elementwise_affine),
        _SCALE_AND_SHIFT,
    ),
    _Counterpart(
        activations.PReLUActivation,
        nn.PReLU,
        _prelu,
        lambda module: activations.PReLUActivation(module.init, shared=module.num_parameters == 1),
        {"slope": "weight"},
    ),
    _same(layers.DropoutLayer, nn.Dropout, {"rate": "p"}),
    _same(activations.LeakyReLUActivation, nn.LeakyReLU, {"negative_slope": "negative_slope"}),
    _same(activations.ELUActivation, nn.ELU, {"alpha": "alpha"}),
    _same(activations.CELUActivation, nn.CELU, {"alpha": "alpha"}),
    _same(activations.GELUActivation, nn.GELU, {"approximate": "approximate"}),
    # PyTorch returns z for z above the threshold, 20 by default, where log(1 + exp(-z)) is 2e-9.
    _same(activations.SoftplusActivation, nn.Softplus, {"beta": "beta"}, threshold=40),
    _same(activations.SoftmaxActivation, nn.Softmax, dim=-1),
    _same(activations.LogSoftmaxActivation, nn.LogSoftmax, dim=-1),
    _same(layers.FlattenLayer, nn.Flatten),
    _same(activations.LinearActivation, nn.Identity),
    _same(activations.SigmoidActivation, nn.Sigmoid),
    _same(activations.TanhActivation, nn.Tanh),
    _same(activations.SoftsignActivation, nn.Softsign),
    _same(activations.HardSigmoidActivation, nn.Hardsigmoid),
    _same(activations.ReLUActivation, nn.ReLU),
    _same(activations.SELUActivation, nn.SELU),
    _same(activations.HardSwishActivation, nn.Hardswish),
    _same(activations.SiLUActivation, nn.SiLU),
    _same(activations.MishActivation, nn.Mish),
)
_OF_LAYERS = {counterpart.layer: counterpart for counterpart in _COUNTERPARTS}
_OF_MODULES: dict[type[nn.Module], _Counterpart] = {counterpart.module: counterpart for counterpart in _COUNTERPARTS}


def dtype_of(module: nn.Module) -> DTypeName:
    """Return float64 if the module has tensors of this dtype, else float32."""
    types = [tensor.dtype for tensor in (*module.parameters(), *module.buffers())]
    return "float64" if torch.float64 in types else "float32"


def build_standard_module(stack: LayerStack) -> nn.Sequential:
    """Return the stack as a module on the CPU, with copies of its parameters and states, ready for inference."""
    module = nn.Sequential(*map(_standard_module, stack.layers)).to(torch_dtype(stack.dtype))
    with torch.no_grad():
        for array, part, name in _pairs(stack, module):
            tensor = _tensor(part, name)
            assert tensor is not None  # a module that was created from a layer has all arrays
            tensor.copy_(torch.from_numpy(array))
    return module.eval()


def _standard_module(layer: Layer) -> nn.Module:
    counterpart = _OF_LAYERS.get(type(layer))
    return LayerModule(copy.deepcopy(layer)) if counterpart is None else counterpart.to_module(layer)


def read_arrays(module: nn.Sequential, stack: LayerStack) -> None:
    """Copy the module's parameters and states to the stack; without a bias in the module, the biases are 0."""
    for array, part, name in _pairs(stack, module):
        tensor = _tensor(part, name)
        if tensor is not None and (not tensor.is_floating_point() or tensor.shape != array.shape):
            raise InvalidInputError(
                f"The module's {name.removesuffix('.T')} has the dtype {tensor.dtype} and the shape "
                f"{tuple(tensor.shape)}; the layer needs real numbers in the shape {array.shape}."
            )
        array[...] = 0 if tensor is None else tensor.detach().cpu().to(torch_dtype(array.dtype)).numpy()


def _pairs(stack: LayerStack, module: nn.Sequential) -> Iterator[tuple[Array, nn.Module, str]]:
    """Yield every parameter and state of the stack, with its module and its name in the module."""
    for layer, part in zip(stack.layers, module, strict=True):
        for name, array in (*layer.parameter_views.items(), *layer.state.items()):
            yield array, part, name if isinstance(part, LayerModule) else _OF_MODULES[type(part)].arrays[name]


def _tensor(part: nn.Module, name: str) -> Tensor | None:
    """Return a tensor of a module in the layout of the layer; None for a bias that the module does not have."""
    if isinstance(part, LayerModule):
        return part.tensor(name)
    tensor: Tensor | None = getattr(part, name.removesuffix(".T"))
    return tensor.T if tensor is not None and name.endswith(".T") else tensor


def _layer_of(module: nn.Module) -> Layer:
    if isinstance(module, LayerModule):
        return module.layer
    counterpart = _OF_MODULES.get(type(module))
    if counterpart is None:
        known = ", ".join(sorted(known.__name__ for known in _OF_MODULES))
        raise InvalidInputError(
            f"There is no layer for the module {type(module).__name__}; give an nn.Sequential of: {known}."
        )
    return counterpart.to_layer(module)


# Attributes of a module that do not change the function that it computes.
_WITHOUT_EFFECT = {"training", "inplace"}
_AXES = {"dim", "start_dim", "end_dim"}
_SOFTPLUS_THRESHOLD = 20  # PyTorch's default; a higher one changes the function by less than 2e-9


def layers_of(module: nn.Module, input_shape: Shape | None) -> tuple[list[Layer], Shape, nn.Sequential]:
    """Return the layers for an ``nn.Sequential`` of known modules, the shape of an input row, and the flat modules.

    Modules inside nested Sequentials are included. Without ``input_shape``, the shape is taken from the first Linear,
    BatchNorm1d or LayerNorm. :func:`check_same_function` then checks that the layers, whose shapes are known by then,
    compute the functions of the modules.
    """
    if not isinstance(module, nn.Module):
        raise InvalidInputError(f"from_torch takes an nn.Sequential of layers, not {shown(module)}.")
    parts = list(_flat(module))
    read = [_layer_of(part) for part in parts]
    if not parts:
        raise InvalidInputError("The nn.Sequential is empty; give one with at least one module.")
    return read, input_shape or _input_shape(parts), nn.Sequential(*parts)


def check_same_function(module: nn.Sequential, stack: LayerStack) -> None:
    """Raise InvalidInputError unless every module computes the function of the layer that was created from it.

    It does if it has the settings of the module that :func:`build_standard_module` creates from the layer.
    """
    for layer, part, like in zip(stack.layers, module, build_standard_module(stack), strict=True):
        n_axes = len(layer.input_shape()) + 1
        given, wanted = _settings(part, n_axes), _settings(like, n_axes)
        for name, value in wanted.items():
            if given[name] != value:
                raise InvalidInputError(
                    f"{type(part).__name__} with {name}={getattr(part, name)!r} is another function than "
                    f"{layer.layer_name()}; for rows of shape {layer.input_shape()}, give {name}="
                    f"{getattr(like, name)!r}."
                )
    if len(list(module.parameters())) < sum(len(list(part.parameters())) for part in module):
        raise InvalidInputError(
            "The module uses a parameter in several places, but layers cannot share parameters; copy the parameter."
        )


def _settings(part: nn.Module, n_axes: int) -> dict[str, Any]:
    """Return the settings that determine the function of a module for a batch with ``n_axes`` axes."""
    if isinstance(part, LayerModule):
        return {}
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
            f"{type(module).__name__} has hooks or overrides forward, which from_torch cannot convert; give modules "
            "without them."
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
        if isinstance(part, LayerModule):
            return part.layer.input_shape()
    raise InvalidInputError("The modules do not determine the shape of an input row; give input_shape=(n_features,).")
