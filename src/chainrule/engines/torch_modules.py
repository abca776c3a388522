"""The layers of a network as PyTorch modules that compute the operations of the layers' programs.

Module i is layer i. It holds the parameters and the states of the layer under their own names and in their own layout:
weights have the shape (inputs, units).
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from chainrule.engines.torch_noise import draw
from chainrule.formulas.translate import evaluate_torch, torch_function
from chainrule.layers import Layer
from chainrule.program import (
    Affine,
    ArrayReference,
    BatchNormalize,
    Concatenate,
    Lookup,
    Map,
    MapFormula,
    Noise,
    NotLoweredError,
    Operation,
    Program,
    Select,
)
from chainrule.randomness import NoiseSource
from chainrule.stack import LayerStack
from chainrule.types import Array

if TYPE_CHECKING:
    from chainrule.engines.torch_workers import BatchShare

__all__ = ["LayerModule", "build_module", "export_arrays", "import_arrays", "noise_sources_of", "torch_dtype"]

# The attributes of a module that are created from its layer, and not pickled.
_DERIVED = ("_steps", "_results", "_constant_numbers", "noise_sources")

# Computes an operation from its input values and from arrays of layers.
Function: TypeAlias = "Callable[..., Tensor]"


class _Step(NamedTuple):
    """An operation: its function, the numbers of its input values, and the names of the tensors that it reads."""

    function: Function
    inputs: tuple[int, ...]
    tensors: tuple[str, ...]


class LayerModule(nn.Module):
    """A layer as a module: it computes the operations of the layer's program, in training or in inference.

    Raises ``NotLoweredError`` or ``TraceError`` for a layer that does not define its operations.

    Parameters
    ----------
    layer
        A layer with an input shape and parameters; the module has copies of the parameters.
    share
        The rows of this process, in training by several processes. Without it, the module is given whole batches, and
        every batch has different noise.
    """

    def __init__(self, layer: Layer, share: BatchShare | None = None) -> None:
        super().__init__()
        self._layer, self._share = layer, share
        for name, values in layer.parameter_views.items():
            self.register_parameter(_tensor_name(name), nn.Parameter(torch.from_numpy(values.copy())))
        for name, values in layer.state.items():
            self.register_buffer(_tensor_name(name), torch.from_numpy(values.copy()))
        self._lower()

    def _lower(self) -> None:
        """Create the steps for inference and for training from the operations of the layer."""
        self.noise_sources: list[NoiseSource] = []
        self._steps, self._results, self._constant_numbers = [], [], itertools.count()
        for is_training in (False, True):
            program = Program.of([self._layer], is_training=is_training)
            numbers = {program.input: 0} | {op.output: i for i, op in enumerate(program.operations, start=1)}
            self._results.append(numbers[program.output])
            self._steps.append(
                [
                    _Step(self._function(op), tuple(numbers[x] for x in op.inputs), self._tensors(op))
                    for op in program.operations
                ]
            )
            self.noise_sources += [op.source for op in program.operations if isinstance(op, Noise)]
        self._output_shape = self._layer.output_shape()

    def _tensors(self, operation: Operation) -> tuple[str, ...]:
        """Return the names of the tensors that an operation reads: arrays of the layer, and whole numbers."""
        names = [self._name_of(array) for array in operation.arrays]
        match operation:
            case Lookup():
                names += [self._constant(operation.firsts), self._constant(operation.sizes)]
            case Select(columns=columns):
                names.append(self._constant(columns))
        return tuple(names)

    def _constant(self, numbers: Sequence[int]) -> str:
        """Register a tensor of whole numbers, and return its name."""
        name = f"constant_{next(self._constant_numbers)}"
        if name not in self._buffers:  # in a copy of a module it exists already
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.int64), persistent=False)
        return name

    def _name_of(self, array: ArrayReference) -> str:
        """Return the name of the tensor for an array of the layer, or of a layer inside it."""
        for name, values in _arrays(self._layer):
            if values is array.values or _is_same_memory(values, array.values):
                return _tensor_name(name)
        raise NotLoweredError(f"{self._layer.layer_name()} uses the array '{array.name}', which does not belong to it.")

    def _function(self, operation: Operation) -> Function:
        match operation:
            case Affine():
                return _affine
            case Map():
                return _Formula(operation)
            case BatchNormalize():
                return _BatchNormalization(operation, self._share)
            case Noise():
                return _RandomNumbers(operation, self._share)
            case Lookup():
                return _look_up
            case Select():
                return _select
            case Concatenate():
                return _concatenate
        raise NotLoweredError(f"PyTorch has no operation {type(operation).__name__}.")

    @property
    def layer(self) -> Layer:
        """A copy of the layer, with the parameters at the creation of the module."""
        return copy.deepcopy(self._layer)

    def tensor(self, name: str) -> Tensor:
        """Return the tensor of a parameter or a state of the layer."""
        tensor: Tensor = getattr(self, _tensor_name(name))
        return tensor

    def forward(self, x: Tensor) -> Tensor:
        values = [x.flatten(1) if x.ndim != 2 else x]
        for function, inputs, tensors in self._steps[self.training]:
            values.append(function(*[values[i] for i in inputs], *[getattr(self, name) for name in tensors]))
        output = values[self._results[self.training]]
        return output if len(self._output_shape) == 1 else output.reshape(-1, *self._output_shape)

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without the steps, which are created again from the layer."""
        return {name: value for name, value in self.__dict__.items() if name not in _DERIVED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._lower()


def _tensor_name(name: str) -> str:
    """Return the name of the tensor for an array of a layer, without dots, which PyTorch does not allow."""
    return name.replace(".", "_")


def _arrays(layer: Layer) -> Iterator[tuple[str, Array]]:
    return itertools.chain(layer.parameter_views.items(), layer.state.items())


def _is_same_memory(a: Array, b: Array) -> bool:
    """Return whether both arrays are the same part of the memory."""
    return a.size == b.size and a.__array_interface__["data"] == b.__array_interface__["data"]


# The operations ------------------------------------------------------------------------------------------------------


def _affine(x: Tensor, weights: Tensor, biases: Tensor | None = None) -> Tensor:
    n_inputs, n_outputs = weights.shape[-2:]
    if weights.ndim == 2 and x.shape[1] == n_inputs and biases is not None:
        return torch.addmm(biases, x, weights)
    # A process may have no rows of a small batch, and len(x) would fix the number of rows of an exported program.
    parts = x.reshape(x.shape[0], x.shape[1] // n_inputs, n_inputs)
    if weights.ndim == 2:
        z = parts.reshape(-1, n_inputs) @ weights
    else:
        z = torch.bmm(parts.transpose(0, 1), weights).transpose(0, 1)
    z = z.reshape(*parts.shape[:2], n_outputs)
    return (z if biases is None else z + biases).flatten(1)


def _look_up(codes: Tensor, table: Tensor, firsts: Tensor, sizes: Tensor) -> Tensor:
    """Return the vectors of the codes; NaN for an unknown code, instead of the vector of another category."""
    is_known = (codes >= 0) & (codes < sizes) & (codes == codes.floor())
    rows = torch.where(is_known, codes, 0).long() + firsts
    return torch.where(is_known[..., None], table[rows], math.nan).flatten(1)


def _select(x: Tensor, columns: Tensor) -> Tensor:
    return x[:, columns]


def _concatenate(*parts: Tensor) -> Tensor:
    return torch.cat(parts, dim=1)


class _Formula:
    """A formula of values and parameters, with the derivatives of chainrule.

    PyTorch's derivative of a formula with ``abs`` or ``where`` can be wrong at the boundary of two cases.
    """

    def __init__(self, operation: Map) -> None:
        self.operation, self.formula = operation, operation.formula
        self.row_width = operation.row_width if self.formula.is_rowwise else operation.output.width
        self.is_in_rows = self.row_width != operation.output.width
        self.function = torch_function(self.formula.result, self.formula.input_errors)

    def __call__(self, *tensors: Tensor) -> Tensor:
        if self.function is not None:  # PyTorch has this formula as a single function
            return self.function(tensors[0])
        n_inputs = len(self.formula.inputs)
        inputs, parameters = tensors[:n_inputs], tensors[n_inputs:]
        shape = inputs[0].shape
        if self.is_in_rows:
            inputs = tuple(x.reshape(-1, self.row_width) for x in inputs)
        if inputs[0].dtype.itemsize < 4:  # formulas in 16 bits are too inaccurate
            inputs = tuple(x.float() for x in inputs)
        settings = dict(zip(self.formula.settings, self.operation.numbers(), strict=True))
        rows = tuple(parameter.reshape(-1) for parameter in parameters)
        output: Tensor = _Apply.apply(self.formula, settings, *inputs, *rows)  # type: ignore[no-untyped-call]
        return output.reshape(shape) if self.is_in_rows else output


class _Apply(torch.autograd.Function):
    """The value of a formula, with its derivatives with respect to inputs and parameters."""

    generate_vmap_rule = True

    @staticmethod
    def forward(formula: MapFormula, settings: dict[str, float], *tensors: Tensor) -> Tensor:
        (value,) = evaluate_torch([formula.result], _symbols(formula, settings, tensors))
        like = tensors[0]
        # Shapes of different lengths are not compared, because that would fix the rows of an exported program.
        is_whole = value.ndim == like.ndim and value.shape == like.shape
        return value if is_whole else value.expand_as(like).clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.formula, ctx.settings, *tensors = inputs
        ctx.save_for_backward(output, *tensors)

    @staticmethod
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor | None, ...]:
        output, *tensors = ctx.saved_tensors
        formula: MapFormula = ctx.formula
        symbols = {**_symbols(formula, ctx.settings, tensors), "output": output, "error": error}
        wanted = dict(zip((*formula.inputs, *formula.parameters), ctx.needs_input_grad[2:], strict=True))
        slopes = {**formula.input_errors, **formula.terms}
        names = [name for name, is_wanted in wanted.items() if is_wanted]
        found = dict(zip(names, evaluate_torch([slopes[name] for name in names], symbols), strict=True))
        for name, slope in found.items():
            whole = slope.expand_as(error)  # the slope may have one number for each row
            is_parameter = name in formula.parameters
            found[name] = whole.reshape(-1, symbols[name].numel()).sum(0) if is_parameter else whole
        return None, None, *(found.get(name) for name in wanted)


def _symbols(formula: MapFormula, settings: dict[str, float], tensors: Sequence[Tensor]) -> dict[str, Any]:
    return {**dict(zip((*formula.inputs, *formula.parameters), tensors, strict=True)), **settings}


class _BatchNormalization:
    """Batch normalisation by the statistics of the whole batch, also if several processes have its rows.

    A batch of one row is normalised by the running statistics, which are not updated. (``nn.SyncBatchNorm`` is for GPUs
    only.)
    """

    def __init__(self, operation: BatchNormalize, share: BatchShare | None) -> None:
        self.momentum, self.epsilon, self.share = operation.momentum, operation.epsilon, share

    def __call__(self, x: Tensor, running_mean: Tensor, running_variance: Tensor) -> Tensor:
        x = x.to(running_mean.dtype)  # sums in 16 bits are too inaccurate
        n_rows = len(x) if self.share is None else self.share.n_rows
        if n_rows == 1:
            return (x - running_mean) * torch.rsqrt(running_variance + self.epsilon)
        if self.share is None or self.share.workers.size == 1:
            return nn.functional.batch_norm(
                x, running_mean, running_variance, training=True, momentum=self.momentum, eps=self.epsilon
            )
        mean = self.share.workers.sum(x.sum(0)) / n_rows
        centered = x - mean
        variance = self.share.workers.sum(centered.square().sum(0)) / n_rows
        with torch.no_grad():
            running_mean.lerp_(mean, self.momentum)
            running_variance.lerp_(variance * (n_rows / (n_rows - 1)), self.momentum)
        return centered * torch.rsqrt(variance + self.epsilon)


class _RandomNumbers:
    """Random numbers for the rows of this process in the batch."""

    def __init__(self, operation: Noise, share: BatchShare | None) -> None:
        self.source, self.kind, self.share = operation.source, operation.kind, share

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def __call__(self, x: Tensor) -> Tensor:
        numbers = draw(self.source, self.kind, x, 0 if self.share is None else self.share.rows.start)
        if self.share is None:
            self.source.step += 1
        return numbers


# Whole networks ------------------------------------------------------------------------------------------------------


def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return the dtype of PyTorch for float32 or float64."""
    return torch.float64 if dtype == np.float64 else torch.float32


def build_module(stack: LayerStack, share: BatchShare | None = None) -> nn.Sequential:
    """Return the stack as a module on the CPU, with copies of its parameters and states, ready for inference."""
    return nn.Sequential(*(LayerModule(layer, share) for layer in stack.layers)).eval()


def noise_sources_of(module: nn.Sequential) -> list[NoiseSource]:
    """Return the sources of the random numbers in training."""
    return [source for part in _parts(module) for source in part.noise_sources]


def import_arrays(stack: LayerStack, module: nn.Sequential) -> None:
    """Copy the stack's parameters and states to the module, on any device."""
    with torch.no_grad():
        for array, tensor in _pairs(stack, module):
            tensor.copy_(torch.from_numpy(array))


def export_arrays(module: nn.Sequential, stack: LayerStack) -> None:
    """Copy the module's parameters and states to the stack."""
    for array, tensor in _pairs(stack, module):
        array[...] = tensor.detach().cpu().numpy()


def _pairs(stack: LayerStack, module: nn.Sequential) -> Iterator[tuple[Array, Tensor]]:
    for layer, part in zip(stack.layers, _parts(module), strict=True):
        for name, array in _arrays(layer):
            yield array, part.tensor(name)


def _parts(module: nn.Sequential) -> Iterator[LayerModule]:
    for part in module:
        assert isinstance(part, LayerModule)  # the module is a result of build_module
        yield part
