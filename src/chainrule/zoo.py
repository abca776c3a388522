"""The networks that the course names, built with one call each and ready to fit.

=========================  ================================  ==============  ==================================
name                       units                             between layers  trained by
=========================  ================================  ==============  ==================================
:func:`SimpleNeuralNet`    given by ``W``                    (one layer)     not trained in the course
:func:`ShallowNeuralNet`   n_x - n_h - n_y                   nothing         gradient descent 1e-5, MSE
:func:`DeepNeuralNet`      n_x - three hidden layers - n_y   ReLU            Adam 1e-3, cross-entropy
:func:`SimpleNN`           input - hidden - output           ReLU            Adam 1e-3, MSE
:func:`MLP`                any number of layers              ReLU            Adam 1e-3, MSE
:func:`DropoutMLP`         any number of layers              ReLU, dropout   Adam 1e-3, MSE
:func:`RegressionNN`       input - 64 - 32 - 1               ReLU            Adam 1e-2, MSE
:func:`XNORNet`            2 - hidden - 1                    sigmoid         Adam 5e-2, binary cross-entropy
:func:`SimpleMLP`          784 - 128 - 64 - 10               ReLU            Adam 1e-3, cross-entropy
:func:`HousingNet`         input - 64 - 32 - 1               ReLU            Adam 1e-3, MSE
:func:`IMDBNet`            10,000 - hidden - hidden - 1      ReLU, dropout   RMSprop 1e-2, binary cross-entropy
=========================  ================================  ==============  ==================================

Four things hold for all of them.

- They return a :class:`chainrule.neuralnet.NeuralNetwork`; names and arguments are spelled as in the course.
  ``settings`` are that class's own, and overrule the table: ``MLP([4, 8, 1], optimizer="sgd", engine="torch")``.
  ``activation`` puts another function between the layers, by its name, its class or an instance, and ``hidden`` other
  hidden layers, as in ``HousingNet(13, hidden=(32, 16, 8), activation="tanh")``.
- First weights and biases are those of PyTorch's ``Linear``, U(-r, r) with r = 1 / sqrt(inputs of the layer), because
  the course builds them there. ShallowNeuralNet, which it builds in NumPy, draws both from N(0, 0.1^2).
- The last layer is linear, and the loss decides what comes behind it: with cross-entropy a softmax, with binary
  cross-entropy a sigmoid. PyTorch's ``CrossEntropyLoss`` has the softmax inside it; here it stands in the network, the
  two are still trained as one function, and ``predict`` gives probabilities where the course's nets give logits.
- Images of shape (rows, height, width) are flattened, so no layer is needed for that.
"""

from __future__ import annotations

import copy
import itertools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from chainrule.activations import ACTIVATIONS, ActivationLayer, SigmoidActivation
from chainrule.architecture import hidden_sizes
from chainrule.errors import InvalidInputError
from chainrule.initializers import Initializer, Normal, Uniform
from chainrule.layers import DenseLayer, DropoutLayer, Layer
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import SGD, Adam, RMSprop
from chainrule.types import Array

__all__ = [
    "MLP",
    "DeepNeuralNet",
    "DropoutMLP",
    "HousingNet",
    "IMDBNet",
    "RegressionNN",
    "ShallowNeuralNet",
    "SimpleMLP",
    "SimpleNN",
    "SimpleNeuralNet",
    "XNORNet",
]

Activation: TypeAlias = str | type[ActivationLayer] | ActivationLayer
Hidden: TypeAlias = int | Sequence[int]

# Built in NumPy -----------------------------------------------------------------------------------------------------


@checked
def SimpleNeuralNet(W: Array, b: Array | float, **settings: Any) -> NeuralNetwork:
    """Return one linear layer with the weights given: ``predict(x) = x W + b``.

    ``W`` has shape (n_x, n_y), rows origin, columns destination, or (n_x,) for one output; ``b`` is a number for each
    output, or one number where there is one output. The course's ``forward`` is ``predict`` and its ``MSE_loss`` is
    ``score``. ``fit`` goes on from these weights; ``reset`` draws random ones.

    >>> net = SimpleNeuralNet(W=[2.0, -1.0], b=0.5)
    >>> net.predict([[1.0, 1.0], [0.0, 3.0]]).tolist()
    [[1.5], [-2.5]]
    """
    weights = _as_numbers("W", W)
    if weights.ndim == 1:
        weights = weights[:, None]
    if weights.ndim != 2 or not weights.size:
        raise InvalidInputError(f"W has the shape {weights.shape}; give a matrix (inputs, outputs).")
    n_inputs, n_outputs = weights.shape
    biases = _as_numbers("b", b).reshape(-1)
    if len(biases) != n_outputs:
        raise InvalidInputError(f"W has {n_outputs} columns and b {len(biases)} numbers; give one for each column.")
    layer = _linear(n_inputs, n_outputs)
    network = _network([layer], settings)
    layer.weights, layer.biases = weights, biases
    return network


@checked
def ShallowNeuralNet(
    n_x: int, n_h: int, n_y: int, *, activation: Activation | None = None, **settings: Any
) -> NeuralNetwork:
    """Return a network with one hidden layer, its weights and biases drawn from N(0, 0.1^2).

    The course gives it twice. First as two linear layers with the mean squared error, which together are only one
    linear layer; that is what stands here by default. Then with a sigmoid behind each layer and cross-entropy, which is
    ``ShallowNeuralNet(n_x, n_h, n_y, activation="sigmoid", loss="binary_cross_entropy")``.

    It is trained for at most 1000 iterations at the rate alpha = 1e-5 in batches of 100 rows; plain gradient descent is
    ``batch_size=len(X)``. The course stops when the loss changes by less than delta = 1e-5: hand ``fit`` the callback
    ``EarlyStopping(monitor="loss", patience=None, delta=1e-5)``.

    >>> ShallowNeuralNet(4, 8, 1).stack.parameters()
    49
    """
    sizes = _check_sizes((n_x, n_h, n_y))
    layers = _layers(sizes, activation, initializer=Normal(0.1))
    return _network(layers, settings, optimizer=SGD(learning_rate=1e-5), epochs=1000, batch_size=100)


# Built in PyTorch ---------------------------------------------------------------------------------------------------


@checked
def DeepNeuralNet(
    n_x: int, n_h: Sequence[int], n_y: int, *, activation: Activation = "relu", **settings: Any
) -> NeuralNetwork:
    """Return a classifier of ``n_y`` classes with hidden ReLU layers of ``n_h`` units; the course has three of them.

    The optimizer is Adam at 1e-3; the loss is categorical cross-entropy, which the notes leave unsaid.

    >>> net = DeepNeuralNet(n_x=784, n_h=[80, 40, 20], n_y=10)
    >>> net.predict(np.zeros((2, 28, 28))).shape
    (2, 10)
    """
    layers = _layers(_check_sizes((n_x, *_as_sequence(n_h), n_y)), activation)
    return _network(layers, settings, **_CLASSIFIER, optimizer=Adam(learning_rate=1e-3))


@checked
def SimpleNN(
    input_size: int, hidden_size: int, output_size: int, *, activation: Activation = "relu", **settings: Any
) -> NeuralNetwork:
    """Return a network with one hidden ReLU layer and a linear output: :func:`MLP` with three sizes.

    >>> SimpleNN(4, 8, 3, loss="categorical_cross_entropy").layers[-1].layer_name()
    'SoftmaxActivation'
    """
    return MLP((input_size, hidden_size, output_size), activation=activation, **settings)


@checked
def MLP(layer_sizes: Sequence[int], *, activation: Activation = "relu", **settings: Any) -> NeuralNetwork:
    """Return a multi-layer perceptron: ReLU behind every dense layer but the last.

    ``layer_sizes`` are the inputs, the hidden layers and the outputs. The course's training loop runs for 100 epochs
    with Adam at 1e-3 and, unless told otherwise, the mean squared error.

    >>> [layer.layer_name() for layer in MLP([4, 8, 1]).layers]
    ['DenseLayer', 'ReLUActivation', 'DenseLayer']
    """
    layers = _layers(_check_sizes(_as_sequence(layer_sizes)), activation)
    return _network(layers, settings, optimizer=Adam(learning_rate=1e-3), epochs=100)


@checked
def DropoutMLP(
    layer_sizes: Sequence[int], dropout_rate: float = 0.5, *, activation: Activation = "relu", **settings: Any
) -> NeuralNetwork:
    """Return an :func:`MLP` with dropout behind every hidden layer; for a seed it has the first weights of that.

    >>> [layer.layer_name() for layer in DropoutMLP([4, 8, 1], 0.2).layers]
    ['DenseLayer', 'ReLUActivation', 'DropoutLayer', 'DenseLayer']
    """
    layers = _layers(_check_sizes(_as_sequence(layer_sizes)), activation, dropout=dropout_rate)
    return _network(layers, settings, optimizer=Adam(learning_rate=1e-3), epochs=100)


@checked
def RegressionNN(
    input_size: int,
    hidden_size1: int = 64,
    hidden_size2: int = 32,
    *,
    hidden: Hidden | None = None,
    activation: Activation = "relu",
    **settings: Any,
) -> NeuralNetwork:
    """Return the network of the regression lab: two hidden ReLU layers and one linear output.

    Adam at 0.01, mean squared error, 100 epochs. The lab takes one step an epoch over its 100 instances; so does this,
    with batches of 100. Its task 3, other activations, is ``activation="tanh"``; its task 6, one hidden layer less or
    more, is ``hidden=(64,)`` or ``hidden=(64, 32, 16)``, in place of the two sizes; and its task 8, two classes instead
    of a number, is ``loss="binary_cross_entropy"`` and ``metric="accuracy"``.

    >>> RegressionNN(3).stack.parameters()
    2369
    """
    sizes = (hidden_size1, hidden_size2) if hidden is None else hidden_sizes(hidden)
    layers = _layers(_check_sizes((input_size, *sizes, 1)), activation)
    return _network(layers, settings, metric="r2", optimizer=Adam(learning_rate=0.01), epochs=100, batch_size=100)


@checked
def XNORNet(hidden: Hidden = 2, *, activation: Activation = "sigmoid", **settings: Any) -> NeuralNetwork:
    """Return the network that learns XNOR: one hidden layer, a sigmoid behind both layers.

    Adam at 0.05, binary cross-entropy, 100 epochs over the four rows at once. With four hidden units, 17 of the seeds 0
    to 19 have learned XNOR after 100 epochs and all of them after 200; with two hidden units only half of them ever do.

    >>> [layer.layer_name() for layer in XNORNet(4).layers]
    ['DenseLayer', 'SigmoidActivation', 'DenseLayer', 'SigmoidActivation']
    """
    layers = _layers((2, *hidden_sizes(hidden), 1), activation)
    layers.append(SigmoidActivation())
    return _network(layers, settings, **_YES_OR_NO, optimizer=Adam(learning_rate=0.05), epochs=100, batch_size=4)


@checked
def SimpleMLP(*, hidden: Hidden = (128, 64), activation: Activation = "relu", **settings: Any) -> NeuralNetwork:
    """Return the network for MNIST: 784 pixels, 128 and 64 ReLU units, 10 digits.

    Adam at 1e-3, categorical cross-entropy, 10 epochs in batches of 64. The course's pixels lie between 0 and 1.

    >>> SimpleMLP().stack.parameters()
    109386
    """
    layers = _layers((784, *hidden_sizes(hidden), 10), activation)
    return _network(layers, settings, **_CLASSIFIER, optimizer=Adam(learning_rate=1e-3), epochs=10, batch_size=64)


@checked
def HousingNet(
    in_features: int, *, hidden: Hidden = (64, 32), activation: Activation = "relu", **settings: Any
) -> NeuralNetwork:
    """Return the network for house prices: two hidden ReLU layers of 64 and 32 units and one linear output.

    Mean squared error; Adam at 1e-3, its usual rate, since the notes leave the rate out.

    >>> HousingNet(13).stack.parameters()
    3009
    """
    layers = _layers(_check_sizes((in_features, *hidden_sizes(hidden), 1)), activation)
    return _network(layers, settings, metric="r2", optimizer=Adam(learning_rate=1e-3))


@checked
def IMDBNet(
    hidden_nodes: int = 64,
    dropout: float = 0.0,
    *,
    max_words: int = 10_000,
    hidden: Hidden | None = None,
    activation: Activation = "relu",
    **settings: Any,
) -> NeuralNetwork:
    """Return the network for film reviews: a word is there or not, two hidden ReLU layers, one sigmoid output.

    RMSprop at 0.01, binary cross-entropy, 20 epochs in batches of 512. ``dropout`` acts behind both hidden layers of
    ``hidden_nodes`` units; ``hidden`` gives other layers in their place. The course's ``l1_lambda`` and ``l2_lambda``
    are the settings ``l1`` and ``l2``. A CSR matrix of words stays one.

    >>> IMDBNet(16).stack.parameters()
    160305
    """
    sizes = (hidden_nodes, hidden_nodes) if hidden is None else hidden_sizes(hidden)
    layers = _layers(_check_sizes((max_words, *sizes, 1)), activation, dropout=dropout)
    optimizer = RMSprop(learning_rate=0.01)
    return _network(layers, settings, **_YES_OR_NO, optimizer=optimizer, epochs=20, batch_size=512)


# What they are made of ----------------------------------------------------------------------------------------------

_CLASSIFIER: dict[str, Any] = {"loss": "categorical_cross_entropy", "metric": "accuracy"}
_YES_OR_NO: dict[str, Any] = {"loss": "binary_cross_entropy", "metric": "accuracy"}


def _network(layers: Iterable[Layer], settings: dict[str, Any], **defaults: Any) -> NeuralNetwork:
    """Put layers and settings together; a linear output gets the activation that belongs with the loss."""
    network = NeuralNetwork(**{**defaults, **settings})
    for layer in layers:
        network.add(layer)
    head = network.loss.fuses_with
    if head is not None and isinstance(network.layers[-1], DenseLayer):
        network.add(head())
    return network


def _layers(
    sizes: Sequence[int],
    activation: Activation | None,
    *,
    dropout: float = 0.0,
    initializer: Initializer | None = None,
) -> list[Layer]:
    """Return dense layers of these sizes; between two of them the activation, and dropout if there is any."""
    layers: list[Layer] = []
    for n_inputs, n_units in itertools.pairwise(sizes):
        if layers and activation is not None:
            layers.append(copy.deepcopy(ACTIVATIONS.create(activation)))
        if layers and dropout:
            layers.append(DropoutLayer(dropout))
        layers.append(_linear(n_inputs, n_units, initializer))
    return layers


def _linear(n_inputs: int, n_units: int, initializer: Initializer | None = None) -> DenseLayer:
    """Return a dense layer; without an initialiser it starts as PyTorch's ``Linear`` does."""
    initializer = initializer or Uniform(1 / math.sqrt(n_inputs))
    return DenseLayer(n_units, (n_inputs,), weights_initializer=initializer, biases_initializer=initializer)


def _as_sequence(given: Any) -> tuple[Any, ...]:
    try:
        return tuple(given)
    except TypeError:
        raise InvalidInputError(f"{given!r} is no list of layer sizes; give one, such as [80, 40, 20].") from None


def _check_sizes(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    try:
        whole = tuple(operator.index(size) for size in sizes)
    except TypeError:
        whole = ()
    if len(whole) < 2 or min(whole) < 1:
        raise InvalidInputError(
            f"The layer sizes are {sizes}; give whole numbers >= 1, the inputs first and the outputs last."
        )
    return whole


def _as_numbers(name: str, given: Any) -> Array:
    try:
        numbers = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if not np.isfinite(numbers).all():
        raise InvalidInputError(f"{name} must be an array of finite numbers.")
    return numbers
