"""Build a network for a task: the given hidden layers, and the output layer, activation and loss for the target.

============  ======================  ==========  =========================
target        output layer            activation  loss
============  ======================  ==========  =========================
two classes   one unit                sigmoid     binary cross-entropy
more classes  one unit per class      softmax     categorical cross-entropy
labels        one unit per label      sigmoid     multi-label cross-entropy
numbers       one unit per number     none        mean squared error
============  ======================  ==========  =========================
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from chainrule.activations import (
    ACTIVATIONS,
    ActivationLayer,
    CustomActivation,
    LinearActivation,
    SigmoidActivation,
    SoftmaxActivation,
    SoftplusActivation,
)
from chainrule.data.table import TablePreprocessor
from chainrule.data.target import Target, TaskRequest
from chainrule.errors import InvalidInputError, check_one_of, shown
from chainrule.initializers import Initializer
from chainrule.layers import (
    BatchNormalizationLayer,
    DenseLayer,
    DropoutLayer,
    GaussianNoiseLayer,
    Layer,
    LayerNormalizationLayer,
    Parallel,
)
from chainrule.losses import LossFunction
from chainrule.metrics import default_metrics
from chainrule.named import check_arguments, checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.ranges import check_count

__all__ = ["DEFAULT_HIDDEN", "ActivationLike", "build_network", "category_embedding", "default_loss", "hidden_layers",
           "hidden_sizes", "is_pair_of_functions", "mlp_layers", "output_activations", "output_layers", "output_units",
           "select_architecture"]  # fmt: skip

#: The units of the hidden layers of :func:`build_network`, where nothing else is given.
DEFAULT_HIDDEN = (64, 32)

#: An activation as it may be given: a name, a class, a layer, or a function and its derivative.
#:
#: :meta hide-value:
ActivationLike: TypeAlias = (
    str | type[ActivationLayer] | ActivationLayer | tuple[Callable[..., Any], Callable[..., Any]]
)


@checked
def category_embedding(table: TablePreprocessor, n_dimensions: int) -> Layer:
    """Return a first layer that replaces every category of a fitted table by a learned vector.

    The 0/1 inputs of each column of categories become ``n_dimensions`` numbers by a :class:`DenseLayer`, whose weights
    are the vectors of the categories. An unknown category, whose inputs are all 0, has the biases as its vector. Other
    inputs are not changed, and neither are columns of at most ``n_dimensions`` categories. The layer can be exported
    like any other.

    Source: Guo and Berkhahn 2016, Entity embeddings of categorical variables (arXiv 1604.06737).

    >>> import pandas as pd
    >>> table = TablePreprocessor().fit(pd.DataFrame({"size": [1.5, 2, 4], "town": ["Faro", "Porto", "Braga"]}))
    >>> layer = category_embedding(table, 2)
    >>> layer.set_input_shape((len(table.feature_names),))
    >>> layer.output_shape(), layer.parameter_shapes()["0.weights"]
    ((3,), (3, 2))
    """
    check_count("category_embedding", "n_dimensions", n_dimensions)
    groups, others, first = list[tuple[int, ...]](), list[int](), 0
    for plan in table.columns:
        columns = tuple(range(first, first := first + len(plan.output_names)))
        if plan.kind == "category" and len(columns) > n_dimensions:
            groups.append(columns)
        else:
            others += columns
    passed = [(LinearActivation(), tuple(others))] if others else []
    branches = [*((DenseLayer(n_dimensions), columns) for columns in groups), *passed]
    return Parallel(tuple(layer for layer, _ in branches), tuple(columns for _, columns in branches))


def default_loss(target: Target) -> str:
    """Return the name of the default loss of a task."""
    names = {
        "binary": "binary_cross_entropy",
        "multiclass": "categorical_cross_entropy",
        "multilabel": "multi_label_cross_entropy",
        "regression": "mean_squared_error",
    }
    return names[target.task]


def output_layers(
    target: Target,
    loss: LossFunction,
    activation: ActivationLike | None = None,
    weights_initializer: str | Initializer | None = None,
) -> list[Layer]:
    """Return the output layers: as many units as the target and the loss need, and the activation of the task.

    ``activation`` is the activation after the numbers of a regression, such as ReLU for numbers that cannot be
    negative.
    """
    dense = DenseLayer(output_units(target, loss), weights_initializer=weights_initializer)
    return [dense, *output_activations(target, loss, activation)]


def output_units(target: Target, loss: LossFunction) -> int:
    """Return the number of output units that target and loss need."""
    if target.classes and loss.output_activation is not None:
        return len(target.classes)
    return loss.n_outputs(target.n_outputs)


def output_activations(target: Target, loss: LossFunction, activation: ActivationLike | None = None) -> list[Layer]:
    """Return the activations after the output units: the given one, or that of the task and the loss.

    Numbers are unbounded, unless the loss needs numbers above 0, as the mean squared logarithmic error does.
    """
    layers: list[Layer] = []
    if activation is not None:
        if target.task != "regression":
            raise InvalidInputError(f"The outputs of a {target.task} network follow from its classes and loss.")
        layers.append(_activation(activation))
    elif target.task == "regression" and loss.is_regression and loss.domain is not None:
        layers.append(SoftplusActivation())
    if loss.expects_scores:
        return layers
    if target.classes and loss.output_activation is not None:
        layers.append(loss.output_activation())
    elif target.task in ("binary", "multilabel"):
        layers.append(SigmoidActivation())
    elif target.task == "multiclass":
        layers.append(SoftmaxActivation())
    return layers


def mlp_layers(
    target: Target, loss: LossFunction, *, output_activation: ActivationLike | None = None, **settings: Any
) -> list[Layer]:
    """Return the layers of :func:`build_network`, without the number of inputs.

    ``settings`` are the arguments of :func:`hidden_layers`.
    """
    initializer = settings.get("weights_initializer")
    of_all: Any = None if isinstance(initializer, list | tuple) else initializer
    return [*hidden_layers(**settings), *output_layers(target, loss, output_activation, of_all)]


def hidden_layers(
    hidden: int | Sequence[int],
    activation: ActivationLike | Sequence[ActivationLike],
    *,
    dropout: float | Sequence[float] = 0.0,
    batch_normalization: bool | Sequence[bool] = False,
    layer_normalization: bool | Sequence[bool] = False,
    input_dropout: float = 0.0,
    noise: float = 0.0,
    weights_initializer: str | Initializer | Sequence[str | Initializer | None] | None = None,
    dense: Callable[..., Layer] = DenseLayer,
) -> list[Layer]:
    """Return the layers before the output layer; ``dense`` makes those with units."""
    sizes = hidden_sizes(hidden)
    per_layer = zip(
        sizes,
        _one_per_layer("activation", activation, len(sizes)),
        _one_per_layer("dropout", dropout, len(sizes)),
        _one_per_layer("batch_normalization", batch_normalization, len(sizes)),
        _one_per_layer("layer_normalization", layer_normalization, len(sizes)),
        _one_per_layer("weights_initializer", weights_initializer, len(sizes)),
        strict=True,
    )
    layers: list[Layer] = [DropoutLayer(input_dropout)] if input_dropout else []
    layers += [GaussianNoiseLayer(noise)] if noise else []
    for units, function, rate, has_batch_norm, has_layer_norm, initializer in per_layer:
        layers.append(dense(units, weights_initializer=initializer))
        layers += [BatchNormalizationLayer()] if has_batch_norm else []
        layers += [LayerNormalizationLayer()] if has_layer_norm else []
        layers.append(_activation(function))
        layers += [DropoutLayer(rate)] if rate else []
    return layers


@checked
def build_network(
    n_inputs: int,
    target: Target,
    *,
    hidden: int | Sequence[int] = DEFAULT_HIDDEN,
    activation: ActivationLike | Sequence[ActivationLike] = "relu",
    dropout: float | Sequence[float] = 0.0,
    batch_normalization: bool | Sequence[bool] = False,
    layer_normalization: bool | Sequence[bool] = False,
    input_layer: Layer | None = None,
    input_dropout: float = 0.0,
    noise: float = 0.0,
    weights_initializer: str | Initializer | Sequence[str | Initializer | None] | None = None,
    loss: str | LossFunction | None = None,
    output_activation: ActivationLike | None = None,
    **settings: Any,
) -> NeuralNetwork:
    """Return a network for the task that ``target`` describes, ready to fit.

    ``hidden`` has the numbers of units of the hidden layers. Each of them is dense, followed by batch or layer
    normalisation, the activation, and dropout; for these, give one value, or a list with one value for each hidden
    layer. An activation is a name, a class, a layer, or a pair of a function and its derivative. A copy of
    ``input_layer``, such as an adapted :class:`StandardizationLayer`, is the first layer. After it, in training,
    ``input_dropout`` sets inputs to 0, and ``noise`` is the standard deviation of Gaussian noise that is added to them.

    ``settings`` are those of :class:`NeuralNetwork`; loss, metrics and Adam are chosen where they are not given. A
    regression ends in linear units, or in ``output_activation``. The same layers, added to a network one by one, have
    the same initial weights for a seed.

    >>> network = build_network(4, Target.detect(["yes", "no"]), hidden=(8,))
    >>> [layer.layer_name() for layer in network.layers]
    ['DenseLayer', 'ReLUActivation', 'DenseLayer', 'SigmoidActivation']
    """
    check_arguments("build_network", settings, build_network, NeuralNetwork)
    given: Any = target  # a user may give anything
    if not isinstance(given, Target):
        raise InvalidInputError(
            "The second argument of build_network says what is to be predicted: give Target.detect(y), or the target "
            "of a Dataset."
        )
    settings = {"optimizer": "adam", "metric": default_metrics(target.task), **settings}
    network = NeuralNetwork(loss=loss or default_loss(target), **settings)
    layers = mlp_layers(
        target,
        network.loss,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
        batch_normalization=batch_normalization,
        layer_normalization=layer_normalization,
        input_dropout=input_dropout,
        noise=noise,
        weights_initializer=weights_initializer,
        output_activation=output_activation,
    )
    if input_layer is not None:
        if input_layer.is_built and input_layer.input_shape() != (n_inputs,):
            raise InvalidInputError(
                f"The input_layer takes rows of shape {input_layer.input_shape()}, and n_inputs is {n_inputs}; adapt "
                "it to the training rows."
            )
        layers = [copy.deepcopy(input_layer), *layers]
    layers[0].set_input_shape((n_inputs,))
    for layer in layers:
        network.add(layer)
    return network


def is_pair_of_functions(given: Any) -> bool:
    """Return whether ``given`` is a pair of a function and its derivative, not a name, a class or an object."""
    if not isinstance(given, tuple) or len(given) != 2:
        return False
    return all(callable(one) and not isinstance(one, type | ActivationLayer) for one in given)


def _activation(given: Any) -> ActivationLayer:
    """Return a new activation, for one network only."""
    if is_pair_of_functions(given):
        return CustomActivation(*given)
    activation: ActivationLayer = copy.deepcopy(ACTIVATIONS.create(given))
    return activation


def _one_per_layer(name: str, given: Any, n_layers: int) -> list[Any]:
    """Return a setting of each hidden layer, given as one value for all, or as a list with one value for each."""
    if not isinstance(given, list | tuple) or is_pair_of_functions(given):
        return [given] * n_layers
    if len(given) != n_layers:
        raise InvalidInputError(
            f"{name} is {shown(given)}, and there are {n_layers} hidden layers; give one value, or a list with one "
            "value for each hidden layer."
        )
    return list(given)


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


@checked
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
