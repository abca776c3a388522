"""The base class of the layers.

A layer is a function with parameters. The settings of its constructor are dataclass fields. Its parameters are named
arrays. Buffers and the last training batch are temporary: they are not copied or pickled with the layer.

Forward propagation computes the outputs of a layer from the outputs of the layer before it. Backward propagation takes
dL/d(output), writes dL/d(parameter) into the gradient arrays, and returns dL/d(input), which is dL/d(output) of the
layer before: this is the chain rule.
"""

from __future__ import annotations

import copy
import functools
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

import numpy as np

from chainrule.arrays import as_csr, refuse_masked
from chainrule.errors import InvalidInputError, NotBuiltError
from chainrule.named import FixedAttributes, also_called
from chainrule.parameters import ParameterGroup
from chainrule.penalties import Penalty, choose_penalty
from chainrule.program import ArrayReference, NotLoweredError, Program, Value, sparse_refusal
from chainrule.randomness import NoiseSource, Stream, random_stream
from chainrule.ranges import Range
from chainrule.settings import FROM_ZERO, CheckedSettings, Setting, check_settings
from chainrule.types import Array, Inputs, Shape

__all__ = ["ArrayAttribute", "Layer"]


class ArrayAttribute:
    """An attribute for the parameter or state array of the same name; assigning to it copies values into the array.

    The parameters of a layer outside a network are drawn at the first access to one of them.
    """

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: Layer | None, owner: type | None = None) -> Any:
        return self if layer is None else layer.get_array(self._name)

    def __set__(self, layer: Layer, values: Any) -> None:
        layer.set_array(self._name, values)


@also_called(
    arguments={
        "num_features": "The layer takes the size of its inputs from the layer before it.",
        "normalized_shape": "The layer takes the size of its inputs from the layer before it.",
        "inplace": "The inputs of a layer are never changed.",
        "dim": "The layer acts on the last axis.",
        "axis": "The layer acts on the last axis.",
        "bias": "A dense layer always has biases.",
        "use_bias": "A dense layer always has biases.",
    }
)
@dataclass(eq=False)
class Layer(FixedAttributes, CheckedSettings, ABC):
    """Base class of all layers.

    Attributes
    ----------
    trainable
        Whether training changes the parameters. For a layer inside a container, the setting of both must be True.
        Running statistics are updated in any case.
    penalty
        A penalty on the weights of the layer, or its name. It is added to the penalty of the network.
    rate_factor
        A factor on the learning rate of the parameters; multiplied by that of the container.
    decays
        Whether the weight decay of the optimizer acts on the weights; also for a layer inside a container, the setting
        of both must be True.
    input
        The last training batch; None before the first. Inference does not change it.
    output
        The output for ``input``.
    parameter_views
        The parameter arrays by name. In a network they are views of its flat vector.
    gradient_views
        The gradients of the parameters, by the same names and with the same shapes.
    state
        The arrays that are learned without gradients (running means), by name.
    rng
        A random generator for the training of user-defined layers.
    noise
        The source of the random numbers in dropout and noise layers.
    is_bound
        Whether the layer belongs to a network. Its parameters are then views of the network's vector and have the
        network's dtype.
    needs_input_error
        Whether backward propagation must compute dL/d(input). A network sets it to False where the result is not used.
    """

    # What a subclass declares about itself. The defaults suit a layer that computes with dense rows of any shape.

    # The parameters that penalties and weight decay act on; usually weights, but not biases.
    penalized_parameters: ClassVar[tuple[str, ...]] = ()
    # Whether the inputs may be a CSR matrix. Only the first layer of a network receives one.
    accepts_sparse: ClassVar[bool] = False
    # Whether an input row must have the shape (n_features,); images and other rows are then refused.
    takes_vectors_only: ClassVar[bool] = False
    # The range of the outputs, which is compared with the domain of the loss; None accepts any loss.
    output_range: ClassVar[Range | None] = None
    # Whether the outputs have the same range as the inputs, as those of FlattenLayer have.
    keeps_range: ClassVar[bool] = False
    # Whether the outputs of a row depend on the other rows of the batch in training, as in batch normalisation.
    mixes_rows: ClassVar[bool] = False
    # Whether the arrays are set from data before training, so that initialize leaves them as they are.
    learns_from_data: ClassVar[bool] = False

    trainable: Annotated[bool, Setting("Whether training changes the parameters.", since="0.2")] = field(
        default=True, kw_only=True, repr=False
    )
    rate_factor: Annotated[float, Setting("Factor on the learning rate of the parameters.", FROM_ZERO, since="0.2")] = (
        field(default=1.0, kw_only=True, repr=False)
    )
    decays: Annotated[bool, Setting("Whether weight decay acts on the weights.", since="0.2")] = field(
        default=True, kw_only=True, repr=False
    )
    penalty: Annotated[
        str | Penalty | None,
        Setting("A penalty on the weights of the layer, or its name, beside that of the network.", since="0.2"),
    ] = field(default=None, kw_only=True, repr=False)

    input: Inputs = field(init=False, repr=False)
    output: Array | None = field(init=False, repr=False)
    parameter_views: dict[str, Array] = field(init=False, repr=False)
    gradient_views: dict[str, Array] = field(init=False, repr=False)
    state: dict[str, Array] = field(init=False, repr=False)
    rng: np.random.Generator = field(init=False, repr=False)
    noise: NoiseSource = field(init=False, repr=False)
    is_bound: bool = field(init=False, repr=False)
    needs_input_error: bool = field(init=False, repr=False)
    dtype: np.dtype[Any] = field(init=False, repr=False)
    _input_shape: Shape | None = field(init=False, repr=False)
    _buffers: dict[str, Array] = field(init=False, repr=False)
    _optimizers: dict[str, Any] = field(init=False, repr=False)

    def __new__(cls, *args: object, **kwargs: Any) -> Self:
        check_settings(Layer, kwargs)  # also for a class without __post_init__
        choose_penalty(kwargs.get("penalty"))  # raises an error for anything that is not a penalty
        # The runtime attributes are set here, so that the __init__ of a subclass need not call that of the base class.
        self = super().__new__(cls)
        self._input_shape = None
        self.parameter_views, self.state = {}, {}
        self.rng = np.random.default_rng(0)
        self.noise = NoiseSource(0)
        self.is_bound, self.needs_input_error = False, True
        self._optimizers = {}
        self.dtype = np.dtype(np.float32)
        self._clear_training()
        return self

    # Methods that a subclass defines or may override --------------------------------------------------------------

    @abstractmethod
    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the outputs for a batch, shape (rows, *output_shape()).

        With ``training=True``, the result is a buffer that the next training batch overwrites, and the batch is stored
        in ``input`` and ``output`` for :meth:`backward_propagation`. With ``training=False``, the layer does not
        change.
        """

    @abstractmethod
    def backward_propagation(self, output_error: Array) -> Array | None:
        """Fill the gradient views from dL/d(output) of the last training batch and return dL/d(input).

        Returns None if ``needs_input_error`` is False. A layer without parameters need not check this attribute,
        because it is not called in that case.
        """

    def lower(self, program: Program, x: Value) -> Value:
        """Append the operations of the layer to a program, and return its output for the input ``x``.

        Rows of any shape are flat vectors in a program. A layer that does not define this method is computed by its
        :meth:`forward_propagation` and :meth:`backward_propagation`, in ``engine="numpy"`` only.
        """
        raise NotLoweredError(
            f"{self.layer_name()} does not define which operations it consists of; define its method lower, or use "
            "engine='numpy' and no exports."
        )

    def output_shape(self) -> Shape:
        """Return the shape of one output row, by default the input shape."""
        return self.input_shape()

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shape of every trainable parameter by name."""
        return {}

    def parameter_groups(self) -> dict[str, ParameterGroup]:
        """Return how an optimizer treats every parameter, by name; the rate factor is 0 if the layer is frozen."""
        check_settings(Layer, {"rate_factor": self.rate_factor})
        group = ParameterGroup(float(self.rate_factor) if self.trainable else 0.0, bool(self.decays))
        return dict.fromkeys(self.parameter_shapes(), group)

    def penalties(self) -> dict[str, tuple[Penalty, ...]]:
        """Return the layer's own penalties on every penalised parameter, by name."""
        own = choose_penalty(self.penalty)
        return dict.fromkeys(self.penalized_parameters, () if own is None else (own,))

    def state_shapes(self) -> dict[str, Shape]:
        """Return the shape of every array that is learned without gradients, by name."""
        return {}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Write initial values into ``parameter_views`` and ``state``, which already have their shapes."""

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write a separate gradient for every row of the last training batch, for Levenberg-Marquardt.

        ``jacobian[name]`` has shape (rows, *shape of the parameter). Row i is set to the derivative of
        ``sum(output_error[i] * output[i])``. The sum over the rows is the gradient that :meth:`backward_propagation`
        writes. A layer whose outputs depend on other rows of the batch has no gradients of single rows.
        """
        if self.parameter_shapes() or self.mixes_rows:
            raise InvalidInputError(
                f"{self.layer_name()} cannot compute the gradients of single rows, which Levenberg-Marquardt needs; "
                "use another optimizer or leave this layer out."
            )

    # Methods that all layers share ----------------------------------------------------------------------------------

    def set_input_shape(self, shape: Shape) -> None:
        """Set the shape of one input row, such as ``(n_features,)``.

        If the shape differs from the previous one, the parameters and the state are deleted.
        """
        try:
            sizes = tuple(operator.index(size) for size in shape)
        except TypeError:
            sizes = ()
        if not sizes or min(sizes) < 1:
            raise InvalidInputError(
                f"The input shape of {self.layer_name()} is {shape!r}; give a tuple with a whole number >= 1 for each "
                "dimension, such as (8,)."
            )
        if self.takes_vectors_only and len(sizes) != 1:
            raise InvalidInputError(
                f"{self.layer_name()} takes rows of shape (n_features,), not {sizes}; put a FlattenLayer before it, "
                "or use an EnsembleDenseLayer if these are the members of an ensemble."
            )
        if self._input_shape not in (None, sizes):
            self.forget()
        self._input_shape = sizes

    def forget(self) -> None:
        """Delete the parameters and the state, and remove the connection to a network."""
        self.parameter_views, self.state = {}, {}
        self.is_bound = False
        self._clear_training()

    def input_shape(self) -> Shape:
        """Return the shape of one input row."""
        if self._input_shape is None:
            raise NotBuiltError(
                f"The input shape of {self.layer_name()} is not known yet: give it to the first layer, call "
                "set_input_shape, or fit the network."
            )
        return self._input_shape

    @property
    def is_built(self) -> bool:
        """Whether the input shape is known."""
        return self._input_shape is not None

    @property
    def has_arrays(self) -> bool:
        """Whether the layer has its parameters and its state; both may be set before it is added to a network."""
        has_parameters = self.parameter_views.keys() == self.parameter_shapes().keys()
        return has_parameters and self.state.keys() == self.state_shapes().keys()

    def parameters(self) -> int:
        """Return the number of trainable parameters."""
        return sum(math.prod(shape) for shape in self.parameter_shapes().values())

    def layer_name(self) -> str:
        """Return the name of the layer's class."""
        return type(self).__name__

    def initialize(self, optimizer: Any = None, *, rng: np.random.Generator | None = None) -> None:
        """Draw new parameters and reset the state; without ``rng``, the parameters differ at every call.

        Arrays that were computed from data, as by ``adapt`` of a :class:`StandardizationLayer`, remain.

        With an ``optimizer``, :meth:`backward_propagation` also updates the parameters, each with a copy of the
        optimizer, as in the lecture. Leave it out for a layer of a network, whose optimizer updates all parameters.
        """
        if self.learns_from_data and self.has_arrays:
            return
        if optimizer is not None:
            self._check_optimizer(optimizer)
        if not self._have_shapes(self.parameter_views, self.parameter_shapes()):
            self.parameter_views = {n: np.zeros(shape, self.dtype) for n, shape in self.parameter_shapes().items()}
            self.gradient_views = {name: np.zeros_like(values) for name, values in self.parameter_views.items()}
        if not self._have_shapes(self.state, self.state_shapes()):
            self.state = {name: np.zeros(shape, self.dtype) for name, shape in self.state_shapes().items()}
        self.draw_parameters(rng if rng is not None else np.random.default_rng())
        self._optimizers = {}
        if optimizer is not None:
            fresh = getattr(optimizer, "fresh", functools.partial(copy.deepcopy, optimizer))
            self._optimizers = {name: fresh() for name in self.parameter_views}

    def bind(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Replace the parameters by these views of a network's vector, and copy the values into them."""
        for name, values in self.parameter_views.items():
            parameters[name][...] = values
        self.parameter_views, self.gradient_views = parameters, gradients
        self.is_bound, self._optimizers = True, {}
        self.state = {name: values.astype(self.dtype, copy=False) for name, values in self.state.items()}

    def walk(self) -> Iterator[Layer]:
        """Yield this layer, and then all layers inside it."""
        yield self

    def seed_noise(self, seed: int, *path: int) -> None:
        """Restart the random numbers of the layer from ``seed``; ``path`` is the position of the layer in a network."""
        self.rng, self.noise = random_stream(seed, Stream.LAYERS, *path), NoiseSource(seed, *path)

    def get_array(self, name: str) -> Array:
        """Return the parameter or the state ``name``; draw all parameters and states if the layer has none yet."""
        if name not in self.parameter_views and name not in self.state:
            self.initialize()
        return self.parameter_views[name] if name in self.parameter_views else self.state[name]

    def set_array(self, name: str, values: Any) -> None:
        """Copy ``values`` into the parameter or the state ``name``."""
        array, given = self.get_array(name), np.asarray(values, dtype=self.dtype)
        if given.shape != array.shape:
            raise InvalidInputError(
                f"The {name} of {self.layer_name()} must have shape {array.shape}; the values given have shape "
                f"{given.shape}."
            )
        array[...] = given

    def array(self, name: str) -> ArrayReference:
        """Return a parameter or a state as an operand of the operations in :meth:`lower`."""
        known = (*self.parameter_views, *self.state)
        if name not in known:
            raise InvalidInputError(f"{self.layer_name()} has no array '{name}'; it has: {', '.join(known)}.")
        return ArrayReference(self, name)

    # Helpers for subclasses -------------------------------------------------------------------------------------------

    def _ensure_parameters(self) -> None:
        """Draw the parameters of a layer outside a network, unless it has them."""
        if self.input_shape() and not self.has_arrays:
            self.initialize()

    def _check_optimizer(self, optimizer: Any) -> None:
        if self.is_bound:
            raise InvalidInputError(
                f"This {self.layer_name()} belongs to a network, whose optimizer updates it; call initialize() without "
                "an optimizer."
            )
        if not hasattr(optimizer, "update") or isinstance(optimizer, type):
            raise InvalidInputError(
                f"initialize takes an optimizer, such as SGD(learning_rate=0.1), not {optimizer!r}; give a random "
                "generator as rng=..."
            )

    def _update_parameters(self) -> None:
        """Update the parameters with the optimizers of a layer outside a network, after backward propagation."""
        for name, optimizer in self._optimizers.items():
            self.set_array(name, optimizer.update(self.parameter_views[name], self.gradient_views[name]))

    def _have_shapes(self, arrays: dict[str, Array], shapes: dict[str, Shape]) -> bool:
        """Return whether the arrays have the names and shapes in ``shapes``, and the dtype of the layer."""
        found = {name: (values.shape, values.dtype) for name, values in arrays.items()}
        return found == {name: (shape, self.dtype) for name, shape in shapes.items()}

    def _check_inputs(self, inputs: Inputs) -> Inputs:
        """Return the batch as a contiguous array (or CSR matrix) of the layer's dtype.

        Raises InvalidInputError for a batch that the layer cannot process.
        """
        if hasattr(inputs, "tocsr"):
            if not self.accepts_sparse:
                raise InvalidInputError(sparse_refusal(self.layer_name()))
            inputs = as_csr(inputs, f"The input of {self.layer_name()}")
            if inputs.dtype != self.dtype:
                inputs = inputs.astype(self.dtype)
        else:
            refuse_masked(inputs, f"The input of {self.layer_name()}")
            inputs = np.ascontiguousarray(inputs, dtype=self.dtype)
        if inputs.ndim < 2 or inputs.shape[1:] != self.input_shape():
            raise InvalidInputError(
                f"{self.layer_name()} expects rows of shape {self.input_shape()}; it was given an array of shape "
                f"{inputs.shape}."
            )
        return inputs

    def _check_error(self, output_error: Array) -> Array:
        """Return dL/d(output) as a contiguous array of the layer's dtype.

        Raises an error if there is no training batch, or if the shape differs from that of the last output.
        """
        if self.output is None:
            raise NotBuiltError(
                f"{self.layer_name()} has no training batch for a backward propagation; call "
                "forward_propagation(inputs, training=True) first."
            )
        error = np.ascontiguousarray(output_error, dtype=self.dtype)
        if error.shape != self.output.shape:
            raise InvalidInputError(
                f"The output_error given to {self.layer_name()} has shape {error.shape}; it must have the shape of the "
                f"last output, {self.output.shape}."
            )
        return error

    def _allocate(self, name: str, shape: Shape, training: bool) -> Array:
        """Return a buffer that is reused in every training batch, or a new array for inference."""
        return self._buffer(name, shape) if training else np.empty(shape, self.dtype)

    def _buffer(self, name: str, shape: Shape) -> Array:
        """Return the first ``shape[0]`` rows of the buffer ``name``, which is enlarged for a larger batch."""
        buffer = self._buffers.get(name)
        if buffer is None or buffer.shape[0] < shape[0] or buffer.shape[1:] != shape[1:] or buffer.dtype != self.dtype:
            buffer = self._buffers[name] = np.empty(shape, self.dtype)
        return buffer if buffer.shape[0] == shape[0] else buffer[: shape[0]]

    def _clear_training(self) -> None:
        self.input, self.output = None, None
        self._buffers = {}
        self.gradient_views = {name: np.zeros_like(values) for name, values in self.parameter_views.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Return all attributes except buffers, gradients and the last batch, which are not copied or pickled."""
        transient = ("input", "output", "_buffers", "gradient_views")
        return {name: value for name, value in self.__dict__.items() if name not in transient} | {"is_bound": False}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._clear_training()
