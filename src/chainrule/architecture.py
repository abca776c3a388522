"""A starting network for a task: hidden layers as asked, and the output set-up that the target calls for.

============  ======================  ==========  =========================
target        output layer            activation  loss
============  ======================  ==========  =========================
two classes   one unit                sigmoid     binary cross-entropy
more classes  one unit a class        softmax     categorical cross-entropy
numbers       one unit a number       none        mean squared error
============  ======================  ==========  =========================
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Iterable, Sequence
from typing import Any

from chainrule.activations import ACTIVATIONS, ActivationLayer, SigmoidActivation, SoftmaxActivation
from chainrule.data.target import Target, TaskRequest
from chainrule.errors import InvalidInputError, check_one_of
from chainrule.layers import BatchNormalizationLayer, DenseLayer, DropoutLayer, Layer
from chainrule.losses import LossFunction
from chainrule.metrics import default_metrics
from chainrule.neuralnet import NeuralNetwork

__all__ = ["build_network", "default_loss", "hidden_sizes", "output_layers", "select_architecture"]


def default_loss(target: Target) -> str:
    """Return the name of the loss that belongs to the task."""
    names = {"binary": "binary_cross_entropy", "multiclass": "categorical_cross_entropy"}
    return names.get(target.task, "mean_squared_error")


def output_layers(target: Target, loss: LossFunction, activation: str | None = None) -> list[Layer]:
    """Return the last layers: as many units as target and loss need, and the activation that belongs to the task.

    ``activation`` is put behind the numbers of a regression when given: ReLU where they cannot be negative, say.
    """
    layers: list[Layer] = [DenseLayer(loss.n_outputs(target.n_outputs))]
    if activation is not None:
        if target.task != "regression":
            raise InvalidInputError(f"The outputs of a {target.task} network follow from its classes and loss.")
        layers.append(ACTIVATIONS.create(activation))
    if loss.expects_scores:
        return layers
    if target.task == "binary":
        layers.append(SigmoidActivation())
    elif target.task == "multiclass":
        layers.append(SoftmaxActivation())
    return layers


def build_network(
    n_inputs: int,
    target: Target,
    *,
    hidden: int | Sequence[int] = (64, 32),
    activation: str | type[ActivationLayer] | ActivationLayer = "relu",
    dropout: float = 0.0,
    batch_normalization: bool = False,
    loss: str | LossFunction | None = None,
    output_activation: str | None = None,
    **settings: Any,
) -> NeuralNetwork:
    """Return a network for the task that ``target`` describes, ready to fit.

    Each hidden layer is dense, then batch normalisation if asked for, the activation, and dropout; ``hidden`` has their
    numbers of units. ``settings`` go to :class:`NeuralNetwork`; loss, metrics and Adam are filled in where they do not
    say otherwise. A regression ends in linear units, or in ``output_activation``. The same layers, added to a network
    one by one, have the same first weights for a seed.

    >>> network = build_network(4, Target.detect(["yes", "no"]), hidden=(8,))
    >>> [layer.layer_name() for layer in network.layers]
    ['DenseLayer', 'ReLUActivation', 'DenseLayer', 'SigmoidActivation']
    """
    sizes = hidden_sizes(hidden)
    given: Any = target  # a user may give anything
    if not isinstance(given, Target):
        raise InvalidInputError(
            "The second argument of build_network says what is to be predicted: give Target.detect(y), or the target "
            "of a Dataset."
        )
    behind_each: ActivationLayer = ACTIVATIONS.create(activation)
    settings = {"optimizer": "adam", "metric": default_metrics(target.task), **settings}
    network = NeuralNetwork(loss=loss or default_loss(target), **settings)
    shape: tuple[int, ...] | None = (n_inputs,)
    for units in sizes:
        network.add(DenseLayer(units, shape))
        if batch_normalization:
            network.add(BatchNormalizationLayer())
        network.add(copy.deepcopy(behind_each))
        if dropout:
            network.add(DropoutLayer(dropout))
        shape = None
    for layer in output_layers(target, network.loss, output_activation):
        if shape is not None:
            layer.set_input_shape(shape)
            shape = None
        network.add(layer)
    return network


def hidden_sizes(given: int | Sequence[int]) -> tuple[int, ...]:
    """Return the numbers of units of the hidden layers, given as one number or several.

    >>> hidden_sizes(64), hidden_sizes([64, 32])
    ((64,), (64, 32))
    """
    try:
        sizes = tuple(operator.index(size) for size in (given if isinstance(given, Iterable) else (given,)))
    except TypeError:
        sizes = (0,)
    if any(size < 1 for size in sizes):
        raise InvalidInputError(f"The hidden layers are {given!r}; give whole numbers of units >= 1, such as (64, 32).")
    return sizes


def select_architecture(n_inputs: int, n_outputs: int, task: TaskRequest, **settings: Any) -> NeuralNetwork:
    """Return a starting network for a kind of problem, with the hidden layers of the lecture notes.

    Binary classification: one of 64. More classes: 128 and 64. Regression: 64 and 32. ``n_outputs`` counts classes or
    numbers, and says which of the first two ``"classification"`` is; ``settings`` go to :func:`build_network`.

    >>> network = select_architecture(13, 1, "regression")
    >>> [layer.output_shape()[0] for layer in network.layers]
    [64, 64, 32, 32, 1]
    """
    hidden = {"binary": (64,), "multiclass": (128, 64), "regression": (64, 32)}
    check_one_of("The task", task, (*hidden, "classification"))
    if task == "classification":
        task = "binary" if n_outputs <= 2 else "multiclass"
    if task == "regression":
        target = Target(task, n_columns=n_outputs)
    else:
        target = Target(task, tuple(range(2 if task == "binary" else n_outputs)))
    return build_network(n_inputs, target, **{"hidden": hidden[task], **settings})
