"""Containers: layers that consist of other layers, which may be containers themselves, so that a network is a tree.

The parameters and states of the layers inside have path names: ``"1.weights"`` is the ``weights`` of layer 1.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self, TypeAlias, final

import numpy as np

from chainrule.errors import InvalidInputError, shown
from chainrule.layers.base import ArrayAttribute, Layer
from chainrule.layers.dense import AffineLayer
from chainrule.layers.own import adapt_lecture_layer
from chainrule.named import also_called
from chainrule.parameters import ParameterGroup
from chainrule.penalties import Penalty
from chainrule.program import Program, Value
from chainrule.ranges import ANY_NUMBER, Range
from chainrule.settings import Setting
from chainrule.types import Array, Inputs, Shape, is_sparse

__all__ = ["Parallel", "ParametricActivationLayer", "Residual", "Sequential"]


@also_called(arguments={"*": "Give the layers in one list, such as [DenseLayer(8), ReLUActivation()]."})
class Container(Layer):
    """Base class of the layers that consist of other layers, in :attr:`layers`.

    A container owns the arrays of all layers inside, whose own arrays are views of them.
    """

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.layers = _as_layers(self.layers, type(self).__name__)

    def _named(self) -> Iterator[tuple[str, Layer]]:
        return ((f"{index}.", layer) for index, layer in enumerate(self.layers))

    def walk(self) -> Iterator[Layer]:
        """Yield this layer, and then all layers inside."""
        yield self
        for _, layer in self._named():
            yield from layer.walk()

    def seed_noise(self, seed: int, *path: int) -> None:
        """Restart the random numbers of the layers inside from ``seed``."""
        super().seed_noise(seed, *path)
        for index, (_, layer) in enumerate(self._named()):
            layer.seed_noise(seed, *path, index)

    @property
    def penalized_parameters(self) -> tuple[str, ...]:  # type: ignore[override]
        """The parameters of the layers inside that penalties act on, by path name."""
        return tuple(prefix + name for prefix, layer in self._named() for name in layer.penalized_parameters)

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shapes of the parameters of all layers inside, by path name."""
        return {p + name: shape for p, layer in self._named() for name, shape in layer.parameter_shapes().items()}

    def parameter_groups(self) -> dict[str, ParameterGroup]:
        """Return the groups of the layers inside, with the rate factor of the container as a further factor."""
        inner = {p + name: group for p, layer in self._named() for name, group in layer.parameter_groups().items()}
        groups = {name: (own, inner.get(name, ParameterGroup())) for name, own in super().parameter_groups().items()}
        return {
            name: ParameterGroup(own.rate_factor * group.rate_factor, own.decays and group.decays)
            for name, (own, group) in groups.items()
        }

    def penalties(self) -> dict[str, tuple[Penalty, ...]]:
        """Return the penalties of the layers inside and of the container on every penalised parameter, by path name."""
        inner = {prefix + name: found for prefix, layer in self._named() for name, found in layer.penalties().items()}
        return {name: (*inner.get(name, ()), *own) for name, own in super().penalties().items()}

    def state_shapes(self) -> dict[str, Shape]:
        """Return the shapes of the states of all layers inside, by path name."""
        return {p + name: shape for p, layer in self._named() for name, shape in layer.state_shapes().items()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Draw the parameters of the layers inside, one after another; layers given with parameters keep them."""
        own = {**self.parameter_views, **self.state}
        for prefix, layer in self._named():
            layer.dtype = self.dtype
            arrays = {**layer.parameter_views, **layer.state}
            has_own_arrays = layer.has_arrays and not any(array is own[prefix + name] for name, array in arrays.items())
            if not has_own_arrays:
                layer.initialize(rng=rng)
            for name, array in (*layer.parameter_views.items(), *layer.state.items()):
                own[prefix + name][...] = array
        self._share_arrays()

    def bind(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Replace the parameters by these views of a network's vector, and copy the values into them."""
        super().bind(parameters, gradients)
        self._share_arrays()

    def _share_arrays(self) -> None:
        """Give the layers inside views of the container's arrays, and its dtype."""
        for prefix, layer in self._named():
            layer.dtype = self.dtype
            layer.state = {name: self.state[prefix + name] for name in layer.state_shapes()}
            names = list(layer.parameter_shapes())
            views, gradients = (
                {name: arrays[prefix + name] for name in names}
                for arrays in (self.parameter_views, self.gradient_views)
            )
            layer.parameter_views = views
            layer.bind(views, gradients)
            for inner in layer.walk():
                inner.is_bound = self.is_bound

    def forget(self) -> None:
        """Delete the parameters and the state, also of the layers inside."""
        super().forget()
        for _, layer in self._named():
            layer.forget()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("layers", "shortcut") and self.__dict__.get("is_bound"):
            raise InvalidInputError(
                f"The layers of a {self.layer_name()} in a network cannot be exchanged; build a new network."
            )
        super().__setattr__(name, value)

    def __copy__(self) -> Self:
        """Return a deep copy, because a layer has the arrays of one container and cannot be in two."""
        return copy.deepcopy(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for arrays in (self.parameter_views, self.gradient_views, self.state):
            for name, array in arrays.items():
                if not array.flags.writeable:  # joblib hands read-only arrays to its workers
                    arrays[name] = array.copy()
        if self.parameter_views or self.state:
            self._share_arrays()


def _as_layers(given: Any, owner: str) -> tuple[Layer, ...]:
    """Return the layers given to a container as a tuple. Raises InvalidInputError for anything else."""
    layers = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for layer in layers:
        if not isinstance(layer, Layer):
            raise InvalidInputError(
                f"{owner} takes layers, but {layer!r} is not a layer; give a list such as [DenseLayer(8)]."
            )
        if layer.is_bound:
            raise InvalidInputError(
                f"This {layer.layer_name()} belongs to a network already; give copy.deepcopy(layer)."
            )
        adapt_lecture_layer(layer)
    _check_separate(layers, owner)
    if not layers:
        raise InvalidInputError(f"{owner} needs at least one layer; give a list such as [DenseLayer(8)].")
    for index, initializer in suited_initializers(layers).items():
        layers[index].default_initializer = initializer
    return layers


def _check_separate(layers: Sequence[Layer], owner: str) -> None:
    """Raise InvalidInputError if a layer occurs several times, also inside of others."""
    inside = [inner for layer in layers for inner in layer.walk()]
    if len({id(layer) for layer in inside}) < len(inside):
        raise InvalidInputError(
            f"{owner} was given one layer several times; create a separate layer for each position."
        )


def is_activation(layer: Any) -> bool:
    """Return whether ``layer`` is an activation, which determines the initializer of the dense layer before it."""
    return hasattr(layer, "suited_initializer")


def suited_initializers(layers: Sequence[Any]) -> dict[int, Any]:
    """Return the initializer that suits the next activation, for every dense layer, by the number of the layer."""
    found, last_dense = {}, None
    for index, layer in enumerate(layers):
        if isinstance(layer, AffineLayer):
            last_dense = index
        elif is_activation(layer):
            if last_dense is not None:
                found[last_dense] = layer.suited_initializer
            last_dense = None
    return found


def backward_through(layers: Sequence[Layer], output_error: Array, *, to_input: bool) -> Array | None:
    """Propagate dL/d(output) backward through a chain of layers, which fill their gradients.

    With ``to_input=True``, dL/d(input) is computed and returned. Otherwise the propagation ends at the first layer with
    parameters, and the result is None.
    """
    first = 0 if to_input else next((i for i, layer in enumerate(layers) if layer.parameter_views), len(layers))
    error: Array | None = output_error
    for index in range(len(layers) - 1, first - 1, -1):
        layers[index].needs_input_error = to_input or index > first
        assert error is not None  # only the last layer in this loop may return None
        error = layers[index].backward_propagation(error)
    return error if to_input else None


def write_jacobian_through(layers: Mapping[str, Layer], output_error: Array, jacobian: Mapping[str, Array]) -> None:
    """Write the gradients of single rows for all parameters of a chain of layers; see :meth:`Layer.write_jacobian`.

    The keys of ``layers`` are the prefixes of the names of their parameters in ``jacobian``.
    """
    chain = list(layers.items())
    first = next((i for i, (_, layer) in enumerate(chain) if layer.parameter_views), len(chain))
    error: Array | None = output_error
    for index in range(len(chain) - 1, first - 1, -1):
        prefix, layer = chain[index]
        assert error is not None  # because needs_input_error was True
        layer.write_jacobian(error, {name: jacobian[prefix + name] for name in layer.parameter_shapes()})
        layer.needs_input_error = index > first
        error = layer.backward_propagation(error)


@dataclass(eq=False)
class Chain(Container):
    """Base class of the containers with a chain of layers: the output of each layer is the input of the next."""

    layers: tuple[Layer, ...]

    def set_input_shape(self, shape: Shape) -> None:
        """Set the shape of an input row, and the shapes of all layers inside."""
        super().set_input_shape(shape)
        shape = self.input_shape()
        for layer in self.layers:
            layer.set_input_shape(shape)
            shape = layer.output_shape()

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the output of the last layer, by a forward propagation through all layers."""
        self._ensure_parameters()
        x = outputs = self._check_inputs(inputs)
        for layer in self.layers:
            outputs = layer.forward_propagation(outputs, training)
        if training:
            self.input, self.output = x, outputs
        return outputs  # type: ignore[no-any-return]

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of all layers, in reverse order; return dL/d(input)."""
        error = backward_through(self.layers, self._check_error(output_error), to_input=self.needs_input_error)
        self._update_parameters()
        return error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write the gradients of single rows for the layers inside, in reverse order."""
        named = {f"{index}.": layer for index, layer in enumerate(self.layers)}
        write_jacobian_through(named, self._check_error(output_error), jacobian)

    def lower(self, program: Program, x: Value) -> Value:
        """Return the output of the last layer."""
        for layer in self.layers:
            x = program.lower(layer, x)
        return x


@final
@dataclass(eq=False)
class Sequential(Chain):
    """A chain of layers as one layer: ``y = f_n(... f_2(f_1(x)))``.

    >>> from chainrule.layers import DenseLayer
    >>> block = Sequential([DenseLayer(3), DenseLayer(2)])
    >>> block.set_input_shape((4,))
    >>> block.output_shape(), list(block.parameter_shapes())
    ((2,), ['0.weights', '0.biases', '1.weights', '1.biases'])
    """

    @property
    def output_range(self) -> Range | None:  # type: ignore[override]
        """The range of the outputs, which is that of the last layer that changes the range of its inputs."""
        return next((layer.output_range for layer in reversed(self.layers) if not layer.keeps_range), None)

    @property
    def keeps_range(self) -> bool:  # type: ignore[override]
        """Whether the outputs of all layers have the range of their inputs."""
        return all(layer.keeps_range for layer in self.layers)

    @property
    def accepts_sparse(self) -> bool:  # type: ignore[override]
        """Whether the first layer takes a sparse matrix."""
        return self.layers[0].accepts_sparse

    @property
    def takes_vectors_only(self) -> bool:  # type: ignore[override]
        """Whether the input rows of the first layer must have one dimension."""
        return self.layers[0].takes_vectors_only

    def output_shape(self) -> Shape:
        """Return the shape of an output row of the last layer."""
        self.input_shape()
        return self.layers[-1].output_shape()


@final
@dataclass(eq=False)
class Residual(Chain):
    """A residual block: ``y = x + f(x)``, where f is the chain of the layers inside.

    f(x) must have the shape of x. With a ``shortcut`` s, which is another chain of layers, ``y = s(x) + f(x)``, and
    f(x) must have the shape of s(x). Backward, with ``e = dL/dy``: ``dL/dx = e + (df/dx)^T e``, or
    ``dL/dx = (ds/dx)^T e + (df/dx)^T e``.

    Source: He et al. 2016, Deep residual learning for image recognition, equations 1 and 2.

    >>> from chainrule.layers import DenseLayer
    >>> block = Residual([DenseLayer(2, weights_initializer="zeros")])
    >>> block.set_input_shape((2,))
    >>> block.forward_propagation([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    >>> block = Residual([DenseLayer(8), DenseLayer(1)], shortcut=DenseLayer(1))
    >>> block.set_input_shape((2,))
    >>> block.output_shape(), list(block.parameter_shapes())[-2:]
    ((1,), ['shortcut.0.weights', 'shortcut.0.biases'])
    """

    output_range: ClassVar[Range | None] = ANY_NUMBER

    shortcut: Annotated[
        Any, Setting("A layer, or a list of layers, whose output is added in place of the input.", since="0.2")
    ] = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortcut is not None:
            if not isinstance(self.shortcut, Sequential):
                self.shortcut = Sequential(_as_layers(self.shortcut, "Residual"))
            _check_separate((*self.layers, self.shortcut), "Residual")

    def _named(self) -> Iterator[tuple[str, Layer]]:
        yield from super()._named()
        if self.shortcut is not None:
            yield "shortcut.", self.shortcut

    def set_input_shape(self, shape: Shape) -> None:
        """Set the shape of an input row. Raises InvalidInputError if the two terms have different shapes."""
        super().set_input_shape(shape)
        expected, found = self.input_shape(), self.layers[-1].output_shape()
        what = "its input"
        if self.shortcut is not None:
            self.shortcut.set_input_shape(self.input_shape())
            expected, what = self.shortcut.output_shape(), "the output of its shortcut"
        if found != expected:
            raise InvalidInputError(
                f"A Residual adds {what}, rows of shape {expected}, to the output of its layers, rows of shape "
                f"{found}; both shapes must be equal, so give the last layer {expected[-1]} units."
            )

    def output_shape(self) -> Shape:
        """Return the shape of an output row of the last layer."""
        self.input_shape()
        return self.layers[-1].output_shape()

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``x + f(x)``, or ``s(x) + f(x)``."""
        x: Array = self._check_inputs(inputs)
        inner = super().forward_propagation(x, training)
        direct = self.shortcut.forward_propagation(x, training) if self.shortcut is not None else x
        output = np.add(direct, inner, out=self._allocate("output", inner.shape, training))
        if training:
            self.output = output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of the layers inside; return ``e + (df/dx)^T e``, or ``(ds/dx)^T e + (df/dx)^T e``."""
        error = self._check_error(output_error)
        direct: Array | None = error
        if self.shortcut is not None:
            self.shortcut.needs_input_error = self.needs_input_error
            direct = self.shortcut.backward_propagation(error.copy())
        inner = super().backward_propagation(error.copy())  # a user-defined layer may change its argument
        return None if inner is None or direct is None else direct + inner

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write the gradients of single rows for the layers inside."""
        super().write_jacobian(output_error, jacobian)
        if self.shortcut is not None:
            names = self.shortcut.parameter_shapes()
            self.shortcut.write_jacobian(output_error, {name: jacobian["shortcut." + name] for name in names})

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``x + f(x)``, or ``s(x) + f(x)``."""
        direct = program.lower(self.shortcut, x) if self.shortcut is not None else x
        return program.map(lambda x, y: x + y, direct, super().lower(program, x), name="add")


def _blend(x: Array, y: Array, strength: Array) -> Array:
    blended: Array = x + strength * (y - x)
    return blended


@final
@dataclass(eq=False)
class ParametricActivationLayer(Chain):
    """An activation f with a learned strength for each unit: ``y = x + strength * (f(x) - x)``.

    With strength 1, the initial value, the layer is the activation f. With strength 0, it is the identity.

    Backward, with ``e = dL/dy``: ``dL/d(strength) = sum over rows of e (f(x) - x)`` and
    ``dL/dx = e (1 - strength) + e strength f'(x)``.

    Source: Holzmueller, Grinsztajn and Steinwart 2024, Better by default, section 3 (arXiv 2407.04491).

    >>> from chainrule.activations import ReLUActivation
    >>> layer = ParametricActivationLayer(ReLUActivation())
    >>> layer.set_input_shape((2,))
    >>> layer.strength = [1, 0.5]
    >>> layer.forward_propagation([[-2, -2]]).tolist()
    [[0.0, -1.0]]
    """

    output_range: ClassVar[Range | None] = ANY_NUMBER

    layers: tuple[Layer, ...] = field(init=False, repr=False)
    activation: Any

    strength = ArrayAttribute("The strength of each unit, shape of a row.")

    def __post_init__(self) -> None:
        self.layers = self.activation
        super().__post_init__()
        (self.activation,) = self.layers
        if not is_activation(self.activation):
            raise InvalidInputError(
                f"A ParametricActivationLayer takes an activation, such as ReLUActivation(), not {self.activation!r}."
            )

    @property
    def suited_initializer(self) -> Any:
        """The initializer for a dense layer before this layer, which is that of the activation."""
        return self.activation.suited_initializer

    def parameter_shapes(self) -> dict[str, Shape]:
        """Return the shapes of the parameters of the activation, and of the strength."""
        return {**super().parameter_shapes(), "strength": self.input_shape()}

    def draw_parameters(self, rng: np.random.Generator) -> None:
        """Draw the parameters of the activation, and set every strength to 1."""
        super().draw_parameters(rng)
        self.parameter_views["strength"].fill(1)

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return ``x + strength * (f(x) - x)``."""
        x: Array = self._check_inputs(inputs)
        activated = super().forward_propagation(x, training)
        output = self._allocate("output", x.shape, training)
        output[...] = _blend(x, activated, self.strength)
        if training:
            self.output = output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of the strength and of the activation's parameters; return dL/dx."""
        error, activated = self._check_error(output_error), self.activation.output
        np.sum(error * (activated - self.input), axis=0, out=self.gradient_views["strength"])
        direct = error * (1 - self.strength)
        inner = super().backward_propagation(error * self.strength)
        return None if inner is None else direct + inner

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write the gradients of single rows for the strength and the activation's parameters."""
        error = self._check_error(output_error)
        np.multiply(error, self.activation.output - self.input, out=jacobian["strength"])
        super().write_jacobian(error * self.strength, jacobian)

    def lower(self, program: Program, x: Value) -> Value:
        """Return ``x + strength * (f(x) - x)``."""
        return program.map(_blend, x, super().lower(program, x), self.array("strength"), name="blend")


Columns: TypeAlias = "tuple[int, ...] | None"


@final
@dataclass(eq=False)
class Parallel(Container):
    """Parallel branches, whose outputs are concatenated: ``y = [f_1(x), f_2(x), ...]``.

    Branches that are ensembles, with outputs of shape (members, n), form one ensemble with the members of all.

    Parameters
    ----------
    layers
        One layer for each branch, such as a :class:`Sequential`.
    columns
        The input columns of each branch, or None for all columns. By default, every branch takes all columns.

    Examples
    --------
    >>> from chainrule.layers import DenseLayer
    >>> block = Parallel([DenseLayer(3), DenseLayer(1)], columns=[(0, 1), None])
    >>> block.set_input_shape((5,))
    >>> block.output_shape(), block.parameter_shapes()["0.weights"], block.parameter_shapes()["1.weights"]
    ((4,), (2, 3), (5, 1))
    """

    takes_vectors_only: ClassVar[bool] = True

    layers: tuple[Layer, ...]
    columns: tuple[Columns, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns is not None:
            given: Any = self.columns
            try:
                self.columns = tuple(None if one is None else tuple(map(operator.index, one)) for one in given)
            except TypeError:
                raise InvalidInputError(
                    f"The columns of a Parallel are {shown(given)}; give a list with an entry for each branch: a list "
                    "of whole numbers, or None for all columns."
                ) from None
            if len(self.columns) != len(self.layers):
                raise InvalidInputError(
                    f"Parallel has {len(self.layers)} branches, but columns for {len(self.columns)}; give one entry "
                    "for each branch, such as a tuple of column numbers, or None for all columns."
                )
            if any(one == () or (one is not None and min(one) < 0) for one in self.columns):
                raise InvalidInputError(
                    f"The columns of Parallel are {self.columns}; give each branch at least one whole number >= 0, or "
                    "None for all columns."
                )

    @property
    def accepts_sparse(self) -> bool:  # type: ignore[override]
        """Whether all branches take a sparse matrix."""
        return all(layer.accepts_sparse for layer in self.layers)

    def _branches(self) -> Iterator[tuple[Layer, Columns]]:
        return zip(self.layers, self.columns or (None,) * len(self.layers), strict=True)

    def set_input_shape(self, shape: Shape) -> None:
        """Set the shape of an input row, and the number of columns of each branch."""
        super().set_input_shape(shape)
        (width,) = self.input_shape()
        for layer, columns in self._branches():
            if columns is not None and max(columns) >= width:
                raise InvalidInputError(
                    f"A branch of Parallel takes column {max(columns)}, but the input has {width} columns; give column "
                    f"numbers from 0 to {width - 1}."
                )
            layer.set_input_shape((width if columns is None else len(columns),))
            first, found = self.layers[0].output_shape(), layer.output_shape()
            if len(found) not in (1, 2) or found[1:] != first[1:]:
                raise InvalidInputError(
                    "The branches of Parallel must return vectors, or rows of shape (members, n) with equal n; "
                    f"{self.layers[0].layer_name()} returns rows of shape {first}, and {layer.layer_name()} {found}."
                )

    def output_shape(self) -> Shape:
        """Return ``(sum of the widths,)`` of the outputs of the branches, or ``(sum of the members, n)``."""
        self.input_shape()
        return (sum(layer.output_shape()[0] for layer in self.layers), *self.layers[0].output_shape()[1:])

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        """Return the concatenated outputs of the branches."""
        self._ensure_parameters()
        x: Inputs = self._check_inputs(inputs)
        parts: list[Any] = [
            layer.forward_propagation(x if columns is None else x[:, list(columns)], training)
            for layer, columns in self._branches()
        ]
        output = np.concatenate([part.toarray() if is_sparse(part) else part for part in parts], axis=1)
        if training:
            self.input, self.output = x, output
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        """Write the gradients of all branches, each from its columns of ``output_error``; return dL/d(input)."""
        error, first = self._check_error(output_error), 0
        input_error = np.zeros_like(self.input) if self.needs_input_error else None
        for layer, columns in self._branches():
            width = layer.output_shape()[0]
            layer.needs_input_error = self.needs_input_error
            part = layer.backward_propagation(np.ascontiguousarray(error[:, first : first + width]))
            first += width
            if input_error is not None and part is not None:
                if columns is None:
                    input_error += part
                else:
                    for place, column in enumerate(columns):  # a column may be in a branch several times
                        input_error[:, column] += part[:, place]
        self._update_parameters()
        return input_error

    def write_jacobian(self, output_error: Array, jacobian: dict[str, Array]) -> None:
        """Write the gradients of single rows for all branches, each from its columns of ``output_error``."""
        error, first = self._check_error(output_error), 0
        for prefix, layer in self._named():
            width = layer.output_shape()[0]
            part = np.ascontiguousarray(error[:, first : first + width])
            layer.write_jacobian(part, {name: jacobian[prefix + name] for name in layer.parameter_shapes()})
            first += width

    def lower(self, program: Program, x: Value) -> Value:
        """Return the concatenated outputs of the branches."""
        return program.concatenate(
            *(
                program.lower(layer, x if columns is None else program.select(x, columns))
                for layer, columns in self._branches()
            )
        )
