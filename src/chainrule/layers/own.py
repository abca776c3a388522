"""Adapters for user-defined layers that are written as in the lecture.

In the lecture, a layer draws its arrays in ``initialize(optimizer)`` and updates them in its backward propagation, each
with a copy of the optimizer. In chainrule, one optimizer updates one vector with all parameters of a network. A layer
of the lecture's form therefore gets a :class:`GradientCollector` instead of an optimizer: it stores the gradients, and
the network updates the parameters. Schedules, penalties, clipping, checkpoints and model files then apply to these
parameters as to all others.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.layers.base import Layer
from chainrule.types import Array, Inputs, Shape

__all__ = ["GradientCollector", "adapt_lecture_layer"]


def adapt_lecture_layer(layer: Layer) -> None:
    """Adapt a layer that is written as in the lecture to the interface of :class:`Layer`; do not change other layers.

    The class of the layer is replaced by a subclass with the same name.
    """
    if not isinstance(layer, _LectureLayer):
        adopting = _adapting_class(type(layer))
        if adopting is not None:
            layer.__class__ = adopting


@functools.cache
def _adapting_class(cls: type[Layer]) -> type[Layer] | None:
    """Return the subclass that adapts a user-defined class; None if the class has the interface of :class:`Layer`."""
    mixins: list[type[Any]] = []
    if cls.parameter_shapes is Layer.parameter_shapes and "rng" not in inspect.signature(cls.initialize).parameters:
        mixins.append(_OwnParameters)
    if not _accepts(cls.forward_propagation, 3):
        mixins.append(_WithoutTrainingArgument)
    if not mixins:
        return None
    namespace = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    penalized = cls.penalized_parameters or ("weights",)
    return type(cls.__name__, (*mixins, cls), {**namespace, "user_class": cls, "penalized_parameters": penalized})


def _accepts(function: Any, n_arguments: int) -> bool:
    """Return whether a function can be called with ``n_arguments`` positional arguments."""
    try:
        inspect.signature(function).bind(*range(n_arguments))
    except TypeError:
        return False
    return True


class GradientCollector:
    """A replacement for the optimizer of a layer in a network. It stores the gradients; the network makes the step."""

    def __init__(self, layer: _OwnParameters) -> None:
        self.layer = layer

    def update(self, weights: Array, gradient: Any) -> Array:
        """Store the gradient of a parameter of the layer, and return the parameter unchanged."""
        name = next((name for name, view in self.layer.parameter_views.items() if view is weights), None)
        if name is None:
            raise InvalidInputError(
                f"{self.layer.layer_name()} updates an array that its initialize has not assigned to the layer; update "
                "its parameters, such as self.weights = optimizer.update(self.weights, gradient)."
            )
        if np.size(gradient) != weights.size:
            raise InvalidInputError(
                f"{self.layer.layer_name()} updates its {name} of shape {weights.shape} with a gradient of shape "
                f"{np.shape(gradient)}; both must have the same shape."
            )
        self.layer.gradient_views[name] += np.reshape(gradient, weights.shape)
        self.layer.has_updated = True
        return weights

    def fresh(self) -> GradientCollector:
        """Return this object, because it has no state of its own."""
        return self

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"The optimizer of a layer in a network has no '{name}', because the network makes the step; call only "
            "self.weights = optimizer.update(self.weights, gradient)."
        )

    def __copy__(self) -> GradientCollector:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GradientCollector:
        return GradientCollector(memo.get(id(self.layer), self.layer))  # if the layer is copied, for the copy


class _LectureLayer(Layer):
    """Base class of the adapting subclasses; copies and pickles refer to the user-defined class."""

    user_class: type[Layer]

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _new, (self.user_class,), self.__getstate__()


def _new(user_class: type[Layer]) -> Layer:
    layer = user_class.__new__(user_class)
    adapt_lecture_layer(layer)
    return layer


class _WithoutTrainingArgument(_LectureLayer):
    """Adapts ``forward_propagation(self, input)``, without the argument ``training``."""

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        output: Array = super().forward_propagation(inputs)  # type: ignore[safe-super]
        return output


class _OwnParameters(_LectureLayer):
    """Adapts ``initialize(self, optimizer)``: the arrays that it assigns to the layer become its parameters.

    They remain attributes of the layer and become views of the network's vector. A later assignment to such an
    attribute copies the values into the view.
    """

    has_updated = False  # whether a backward propagation has passed a gradient to the optimizer

    def initialize(self, optimizer: Any = None, *, rng: np.random.Generator | None = None) -> None:
        if optimizer is not None:
            self._check_optimizer(optimizer)
        before = dict(self.__dict__)
        seed = (np.random.default_rng() if rng is None else rng).integers(2**32)
        state = np.random.get_state()  # noqa: NPY002
        np.random.seed(seed)  # noqa: NPY002  (layers of the lecture draw from NumPy's global generator)
        try:
            user_initialize: Any = super().initialize
            user_initialize(*([GradientCollector(self)] if _accepts(user_initialize, 1) else ()))
        finally:
            np.random.set_state(state)  # noqa: NPY002
        if not self.parameter_views:
            drawn = {name: value for name, value in self.__dict__.items() if before.get(name) is not value}
            self._make_parameters({name: v for name, v in drawn.items() if isinstance(v, np.ndarray)}, before)

    def _make_parameters(self, drawn: dict[str, Array], before: dict[str, Any]) -> None:
        """Turn arrays into parameters; a parameter that the layer had before, with the same shape, keeps its values."""
        for name, array in drawn.items():
            kept = before.get(name)
            values = kept if isinstance(kept, np.ndarray) and kept.shape == array.shape else array
            self.parameter_views[name] = np.array(values, self.dtype)
            self.gradient_views[name] = np.zeros(array.shape, self.dtype)
        self.__dict__.update(self.parameter_views)

    def bind(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        super().bind(parameters, gradients)
        self.__dict__.update(parameters)

    @property
    def has_arrays(self) -> bool:
        return bool(self.parameter_views)

    def parameter_shapes(self) -> dict[str, Shape]:
        if not self.parameter_views and self.is_built:
            self.initialize()
        return {name: view.shape for name, view in self.parameter_views.items()}

    def forward_propagation(self, inputs: Inputs, training: bool = False) -> Array:
        x: Array = self._check_inputs(inputs)
        returned = super().forward_propagation(x, training)  # type: ignore[safe-super]
        output = np.ascontiguousarray(returned, dtype=self.dtype)
        if output.shape != (len(x), *self.output_shape()):
            raise InvalidInputError(
                f"{self.layer_name()}.forward_propagation returns an array of shape {output.shape} for an input of "
                f"shape {x.shape}; according to output_shape(), it must be {(len(x), *self.output_shape())}."
            )
        return output

    def backward_propagation(self, output_error: Array) -> Array | None:
        for gradient in self.gradient_views.values():
            gradient.fill(0)
        values = {} if self.has_updated else {name: view.copy() for name, view in self.parameter_views.items()}
        error: Array | None = super().backward_propagation(output_error)  # type: ignore[safe-super]
        if not self.has_updated and all(np.array_equal(self.parameter_views[name], v) for name, v in values.items()):
            raise InvalidInputError(
                f"{self.layer_name()}.backward_propagation does not update {', '.join(values)}; update each with the "
                "optimizer given to initialize: self.weights = optimizer.update(self.weights, gradient)."
            )
        if error is None and self.needs_input_error:
            raise InvalidInputError(
                f"{self.layer_name()}.backward_propagation returns None, but the layer before needs dL/d(input); "
                "return it."
            )
        return error

    def __setattr__(self, name: str, value: Any) -> None:
        view = self.__dict__.get("parameter_views", {}).get(name)
        if view is None:
            super().__setattr__(name, value)
        elif value is not view:
            if np.size(value) != view.size:
                raise InvalidInputError(
                    f"The {name} of {self.layer_name()} has shape {view.shape}; the values given have shape "
                    f"{np.shape(value)}."
                )
            view[...] = np.reshape(value, view.shape)
