"""The chain of layers of a network, with all parameters in one vector.

``LayerStack`` performs forward and backward propagation and stores all trainable parameters in one flat vector, of
which the layers hold views. It is independent of optimizers, epochs and files.
"""

from __future__ import annotations

import copy
import math
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.activations import ACTIVATIONS, ActivationLayer
from chainrule.arrays import all_finite
from chainrule.data.inputs import as_numbers
from chainrule.errors import DataError, InvalidInputError, NotBuiltError, shown
from chainrule.head import Head
from chainrule.layers import LAYERS, Layer
from chainrule.layers.containers import backward_through, suited_initializers
from chainrule.layers.own import adapt_lecture_layer
from chainrule.losses import LossFunction
from chainrule.parameters import ParameterBlock, ParameterVector
from chainrule.penalties import Penalty, SumOfPenalties
from chainrule.program import ArrayReference, Program
from chainrule.randomness import Stream, random_stream, resolve_seed
from chainrule.types import Array, Inputs, Seed, Shape, is_sparse

__all__ = ["Head", "LayerStack"]


class LayerStack:
    """A chain of layers; the output of each is the input of the next.

    Parameters
    ----------
    dtype
        float32 or float64, for parameters and arithmetic.
    seed
        The seed of the initial weights and of all noise in layers. None draws a seed, stored in the attribute ``seed``.

    Attributes
    ----------
    layers
        The layers in order; add layers with :meth:`add`.
    vector
        All trainable parameters. Adding a layer creates a new vector, and new views of it in the layers.
    compiled
        A cache of the engines for predictions, one for each thread. It is emptied when a new vector is created.
    """

    def __init__(self, layers: Iterable[Layer] = (), *, dtype: Any = np.float32, seed: Seed = None) -> None:
        self.dtype = _float_type(dtype)
        self.seed = resolve_seed(seed)
        self.layers: list[Layer] = []
        self.vector = ParameterVector((), self.dtype)
        self.compiled = threading.local()
        self._cancelled_offsets: list[ArrayReference] | None = None
        self._accepts_sparse = False  # whether a CSR matrix has been checked
        for layer in layers:
            self.add(layer)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def is_built(self) -> bool:
        """Whether the input shapes of all layers are known and their parameters are in the vector."""
        return bool(self.layers) and all(layer.is_bound for layer in self.layers)

    def add(self, layer: Layer) -> None:
        """Append a layer. Its parameters are drawn as soon as its input shape is known."""
        if not isinstance(layer, Layer):
            raise InvalidInputError(
                f"Only layers can be added to a network, but {layer!r} is not a layer.{_hint(layer)}"
            )
        present = {id(inner) for inner in self.walk()}
        if any(id(inner) in present for inner in layer.walk()):
            raise InvalidInputError(
                f"This {layer.layer_name()} is in the network already; create another one to add it."
            )
        if any(inner.is_bound for inner in layer.walk()):
            raise InvalidInputError(
                f"This {layer.layer_name()} belongs to another network; add a copy, copy.deepcopy(layer)."
            )
        if self.layers and self.layers[-1].is_built:
            self._connect(layer, self.layers[-1].output_shape(), f"after {self.layers[-1].layer_name()}")
        adapt_lecture_layer(layer)
        layer.seed_noise(self.seed, len(self.layers))
        self.layers.append(layer)
        if layer.is_built:
            self._rebuild_vector()
        self._suit_weights(draws=True)

    def build(self, input_shape: Shape) -> None:
        """Set the shape of an input row, and draw the parameters of all layers that have none."""
        if not self.layers:
            raise NotBuiltError("The network has no layers yet; add at least one.")
        shape, place = tuple(input_shape), "as the input of the network"
        for layer in self.layers:
            self._connect(layer, shape, place)
            shape, place = layer.output_shape(), f"after {layer.layer_name()}"
        if not self.is_built:
            self._rebuild_vector()

    def replace_layers(self, layers: Sequence[Layer], input_shape: Shape) -> None:
        """Replace the layers by ``layers``, which may have parameters already, such as layers from a model file."""
        self.layers = list(layers)
        for index, layer in enumerate(self.layers):
            layer.seed_noise(self.seed, index)
        self._suit_weights(draws=False)
        self.build(input_shape)

    def reset(self) -> None:
        """Draw all parameters again from the seed, and restart the noise in the layers."""
        for index, layer in enumerate(self.layers):
            layer.seed_noise(self.seed, index)
            if layer.is_bound:
                layer.initialize(rng=self._weights_stream(index))

    def forward(self, inputs: Inputs, *, training: bool = False, n_layers: int | None = None) -> Array:
        """Return the output of the first ``n_layers`` layers (all layers by default)."""
        outputs: Array = inputs
        for layer in self.layers[:n_layers]:
            outputs = layer.forward_propagation(outputs, training)
        return outputs

    def backward(self, output_error: Array, *, n_layers: int | None = None, to_input: bool = False) -> Array | None:
        """Propagate dL/d(output) backward through the first ``n_layers`` layers and fill the gradients.

        With ``to_input=True``, dL/d(input) is computed and returned. Otherwise the propagation ends at the first layer
        with parameters, and the result is None.
        """
        input_error = backward_through(self.layers[:n_layers], output_error, to_input=to_input)
        if self._cancelled_offsets is None:
            program = Program.of(self.layers, is_training=True, allows_unknown=True)
            self._cancelled_offsets = program.cancelled_offsets()
        if len(output_error) > 1:
            for offset in self._cancelled_offsets:
                offset.gradient.fill(0)
        return input_error

    def split_head(self, loss: LossFunction) -> Head:
        """Return the head of the network, in which the last layer and the loss may be one function of the logits."""
        return Head.of(self.layers, loss)

    def check_inputs(self, inputs: Inputs, *, finite: bool = True) -> Inputs:
        """Return ``inputs`` as a contiguous array (or CSR matrix) with the dtype and the row shape of the network.

        All inputs of ``fit`` and ``predict`` pass through this method. Images are flattened if the network takes flat
        rows. Data are copied only if necessary. Raises DataError for inputs that :class:`Dataset` refuses, and for
        numbers that are too large for the dtype. With ``finite=False``, the numbers of a dense array are not checked.
        """
        row_shape = self.input_shape()
        if type(inputs) is np.ndarray and inputs.dtype == self.dtype and not finite:
            matrix: Inputs = inputs
        else:
            numbers, _ = as_numbers(inputs, finite=finite)
            with np.errstate(over="ignore"):
                matrix = numbers.astype(self.dtype, copy=False)
            if matrix is not numbers and (finite or is_sparse(matrix)):
                _refuse_overflow(numbers, matrix)
        if is_sparse(matrix):
            if not self._accepts_sparse:
                Program.of(self.layers, is_sparse=True, is_training=True, allows_unknown=True)  # or raises an error
                self._accepts_sparse = True
        else:
            matrix = np.ascontiguousarray(matrix)
            if matrix.ndim > 2 and len(row_shape) == 1:
                matrix = matrix.reshape(len(matrix), -1)
        if matrix.ndim < 2 or matrix.shape[1:] != row_shape:
            raise InvalidInputError(
                f"The network takes rows of shape {row_shape}, but the data have shape {matrix.shape}."
                + (" For one row, give [row]." if matrix.shape == row_shape else "")
            )
        return matrix

    def input_shape(self) -> Shape:
        """Return the shape of one input row."""
        return self._built_layers()[0].input_shape()

    def output_shape(self) -> Shape:
        """Return the shape of one output row."""
        return self._built_layers()[-1].output_shape()

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        return self.vector.size

    def astype(self, dtype: Any) -> LayerStack:
        """Return a copy that computes in ``dtype`` and shares no arrays with this stack."""
        twin = copy.deepcopy(self)
        twin.dtype = np.dtype(dtype)
        for layer in twin.layers:
            layer.dtype = twin.dtype
            layer.parameter_views = {name: a.astype(dtype) for name, a in layer.parameter_views.items()}
            layer.state = {name: a.astype(dtype) for name, a in layer.state.items()}
        twin._bind_vector()
        return twin

    def read_arrays(self) -> dict[str, Array]:
        """Return copies of all parameters and layer states, named ``layer number.name``."""
        return {name: array.copy() for name, array in self._arrays()}

    def write_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Set parameters and states to the result of :meth:`read_arrays`; names and shapes must be the same."""
        own = dict(self._arrays())
        if own.keys() != arrays.keys():
            odd = sorted(own.keys() ^ arrays.keys())[0]
            raise InvalidInputError(f"These arrays belong to another network: '{odd}' is in only one of the two.")
        for name, array in own.items():
            if array.shape != arrays[name].shape:
                raise InvalidInputError(
                    f"These arrays belong to another network: '{name}' has shape {arrays[name].shape}, but in this "
                    f"network it has shape {array.shape}."
                )
            array[...] = arrays[name]

    def _arrays(self) -> Iterator[tuple[str, Array]]:
        for index, layer in enumerate(self.layers):
            for name, array in (*layer.parameter_views.items(), *layer.state.items()):
                yield f"{index}.{name}", array

    def _built_layers(self) -> list[Layer]:
        if not self.layers:
            raise NotBuiltError("The network has no layers yet; add at least one.")
        if not self.is_built:
            if not all(layer.is_built for layer in self.layers):
                raise NotBuiltError(
                    "The shapes are not known yet: give the first layer its input shape, or fit the network."
                )
            self._rebuild_vector()  # a layer in the list was replaced, or its shape was set after it had been added
        return self.layers

    def walk(self) -> Iterator[Layer]:
        """Yield every layer, followed by the layers inside it."""
        return (inner for layer in self.layers for inner in layer.walk())

    def _weights_stream(self, index: int) -> np.random.Generator:
        """Return the random generator for the initial parameters of a layer.

        Its stream is numbered by the activations and layers with parameters before the layer. Other layers are not
        counted, so that a network has the same initial weights with and without dropout.
        """
        in_front = self.layers[:index]
        place = sum(isinstance(layer, ActivationLayer) or _declares_parameters(layer) for layer in in_front)
        return random_stream(self.seed, Stream.WEIGHTS, place)

    def _suit_weights(self, *, draws: bool) -> None:
        """Set the initializer of every dense layer to the one that suits the next activation.

        With ``draws=True``, weights of another initializer are drawn again, unless they were changed after they were
        drawn.
        """
        layers: list[Any] = self.layers
        for index, initializer in suited_initializers(layers).items():
            layer = layers[index]
            is_changed = layer.weights_initializer is None and layer.default_initializer != initializer
            is_drawn_again = draws and is_changed and layer.is_bound and self._is_as_drawn(index)
            layer.default_initializer = initializer
            if is_drawn_again:
                layer.initialize(rng=self._weights_stream(index))

    def _is_as_drawn(self, index: int) -> bool:
        """Return whether the parameters of a layer are still those that were drawn from the seed."""
        layer, twin = self.layers[index], copy.deepcopy(self.layers[index])
        twin.initialize(rng=self._weights_stream(index))
        return all(np.array_equal(twin.parameter_views[name], own) for name, own in layer.parameter_views.items())

    def _connect(self, layer: Layer, shape: Shape, place: str) -> None:
        if not layer.is_built:
            layer.set_input_shape(shape)
        elif layer.input_shape() != shape:
            raise InvalidInputError(
                f"{layer.layer_name()} expects rows of shape {layer.input_shape()}, but {place} the rows have shape "
                f"{shape}."
            )

    def _rebuild_vector(self) -> None:
        """Create one vector for the parameters of all built layers; draw the parameters of layers that have none."""
        built = [(index, layer) for index, layer in enumerate(self.layers) if layer.is_built]
        for index, layer in built:
            adapt_lecture_layer(layer)
            layer.dtype = self.dtype
            if not layer.has_arrays:
                layer.initialize(rng=self._weights_stream(index))
            _check_count(layer)
        self._bind_vector()

    def _bind_vector(self) -> None:
        blocks = [
            ParameterBlock(index, name, shape, penalized=name in layer.penalized_parameters)
            for index, layer in enumerate(self.layers)
            if layer.is_built
            for name, shape in layer.parameter_shapes().items()
        ]
        vector = ParameterVector(blocks, self.dtype)
        blocks_of: dict[int, list[ParameterBlock]] = defaultdict(list)
        for block in vector.blocks:
            blocks_of[block.layer].append(block)
        for index, layer in enumerate(self.layers):
            if layer.is_built:
                layer.bind(
                    {block.name: block.view(vector.values) for block in blocks_of[index]},
                    {block.name: block.view(vector.gradients) for block in blocks_of[index]},
                )
        self.vector, self.compiled = vector, threading.local()
        self._cancelled_offsets, self._accepts_sparse = None, False
        self.read_groups()

    def read_groups(self) -> None:
        """Update the parameter groups in the vector from the layers, whose settings may change between two fits."""
        layers = [(index, layer) for index, layer in enumerate(self.layers) if layer.is_built]
        self.vector.set_groups({(i, n): group for i, layer in layers for n, group in layer.parameter_groups().items()})

    def total_penalty(self, penalty: Penalty | None) -> Penalty | None:
        """Return the sum of ``penalty`` on all weights and the penalties of the layers; None if there are none."""
        vector, layer_penalties = self.vector, [layer.penalties() for layer in self.layers]
        parts = [(slice(0, vector.n_penalized), penalty)] if penalty is not None else []
        for block in vector.blocks:
            found = layer_penalties[block.layer].get(block.name, ())
            parts += [(block.slice, one) for one in found]
        return SumOfPenalties(parts) if len(parts) > (penalty is not None) else penalty

    def __getstate__(self) -> dict[str, Any]:
        """Return the attributes without the vector, which is created again from the arrays of the layers."""
        transient = ("vector", "compiled", "_cancelled_offsets")
        return {name: value for name, value in self.__dict__.items() if name not in transient}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for layer in self.layers:  # joblib hands read-only arrays to its workers
            layer.state = {name: array.copy() for name, array in layer.state.items()}
        self._bind_vector()


def _declares_parameters(layer: Layer) -> bool:
    return type(layer).parameter_shapes is not Layer.parameter_shapes


def _check_count(layer: Layer) -> None:
    """Raise InvalidInputError if ``parameters()`` of a layer differs from the number of parameters in its arrays."""
    said, found = int(layer.parameters()), {name: array.shape for name, array in layer.parameter_views.items()}
    n_found = sum(math.prod(shape) for shape in found.values())
    if said != n_found:
        arrays = f" ({', '.join(f'{name} {shape}' for name, shape in found.items())})" if found else ""
        raise InvalidInputError(
            f"{layer.layer_name()}.parameters() returns {said}, and the network finds {n_found} numbers to train in it"
            f"{arrays}; assign the arrays to train, and no others, in its initialize(self, optimizer)."
        )


def _hint(given: object) -> str:
    """Return advice for an object that was given in place of a layer, or an empty string."""
    if isinstance(given, str):
        found = ACTIVATIONS.classes.get(given) or LAYERS.classes.get(given)
        return "" if found is None else f" Did you mean {found.__name__}()?"
    if isinstance(given, type):
        return f" Did you forget to call it, {given.__name__}()?"
    if hasattr(given, "forward_propagation"):
        return " Derive its class from chainrule.layers.Layer."
    return ""


def _refuse_overflow(numbers: Inputs, rounded: Inputs) -> None:
    """Raise DataError if a finite number became infinite by the conversion to another dtype."""
    before, after = (part.data if is_sparse(part) else part for part in (numbers, rounded))
    if not all_finite(after):
        number = before[~np.isfinite(after)].flat[0]
        raise DataError(
            f"X has the number {number:g}, which is too large for {rounded.dtype}; standardise the inputs, or create "
            "the network with dtype='float64'."
        )


def _float_type(dtype: Any) -> np.dtype[Any]:
    """Return the dtype of a network. Raises InvalidInputError for any other dtype than float32 and float64.

    NumPy raises many kinds of errors for text that is not the name of a dtype.
    """
    try:
        found: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError, OverflowError, MemoryError, RecursionError):
        raise InvalidInputError(f"dtype is {shown(dtype)}; a network computes in float32 or float64.") from None
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InvalidInputError(f"dtype is {found}; a network computes in float32 or float64.")
    return found
