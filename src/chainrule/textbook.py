"""The neural network of the lecture on one page: its classes and formulas, in its order, in plain NumPy.

A network is a chain of layers. Forward, each layer turns its input into its output; the last output is the prediction.
Backward, each layer receives the error of its output, dL/d(output), updates its weights with it, and returns the error
of its input, dL/d(input), to the layer before: the chain rule, one link at a time.
"""

from abc import ABC, abstractmethod
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Dataset = namedtuple("Dataset", "X y")  # inputs and targets
rng = np.random.default_rng(0)  # draws the first weights and the order of the examples

# Layers ---------------------------------------------------------------------------------------------------------------
class Layer(ABC):
    """A function of its input; some layers have parameters to learn."""
    @abstractmethod
    def forward_propagation(self, input: Array) -> Array: ...
    @abstractmethod
    def backward_propagation(self, output_error: Array) -> Array: ...
    @abstractmethod
    def output_shape(self) -> tuple[int, ...]: ...
    @abstractmethod
    def parameters(self) -> int: ...
    def set_input_shape(self, shape: tuple[int, ...]) -> None: self._input_shape = shape
    def input_shape(self) -> tuple[int, ...]: return self._input_shape
    def layer_name(self) -> str: return type(self).__name__

class DenseLayer(Layer):
    """z = a W + b: every input goes to every unit; W has a row for each input and a column for each unit."""
    def __init__(self, n_units: int, input_shape: tuple[int, ...] = ()) -> None:
        self.n_units, self._input_shape = n_units, input_shape

    def initialize(self, optimizer: "SGD") -> None:  # Glorot and Bengio 2010; an optimizer for each array
        limit = np.sqrt(6 / (self.input_shape()[0] + self.n_units))
        self.weights = rng.uniform(-limit, limit, (self.input_shape()[0], self.n_units))
        self.biases = np.zeros(self.n_units)
        self.weights_optimizer, self.biases_optimizer = replace(optimizer), replace(optimizer)

    def forward_propagation(self, input: Array) -> Array:
        self.input, self.output = input, input @ self.weights + self.biases
        return self.output

    def backward_propagation(self, output_error: Array) -> Array:
        input_error = output_error @ self.weights.T  # dL/da = dL/dz W^T
        weights_error = self.input.T @ output_error  # dL/dW = a^T dL/dz
        biases_error = output_error.sum(axis=0)      # dL/db = sum of dL/dz over the examples
        self.weights = self.weights_optimizer.update(self.weights, weights_error)
        self.biases = self.biases_optimizer.update(self.biases, biases_error)
        return input_error
    def output_shape(self) -> tuple[int, ...]: return (self.n_units,)
    def parameters(self) -> int: return self.weights.size + self.biases.size

class ActivationLayer(Layer):
    """a = f(z), number by number; backward, dL/dz = dL/da f'(z)."""
    @abstractmethod
    def activation_function(self, input: Array) -> Array: ...
    @abstractmethod
    def derivative(self, input: Array) -> Array: ...
    def forward_propagation(self, input: Array) -> Array:
        self.input, self.output = input, self.activation_function(input)
        return self.output
    def backward_propagation(self, output_error: Array) -> Array: return output_error * self.derivative(self.input)
    def output_shape(self) -> tuple[int, ...]: return self.input_shape()
    def parameters(self) -> int: return 0

class ReLUActivation(ActivationLayer):
    """f(z) = max(0, z); f'(z) = 1 above 0, and 0 below."""
    def activation_function(self, input: Array) -> Array: return np.maximum(0, input)
    def derivative(self, input: Array) -> Array: return np.where(input > 0, 1, 0)

class SigmoidActivation(ActivationLayer):
    """f(z) = 1 / (1 + exp(-z)), the probability of one of two classes; f' = f (1 - f)."""
    def activation_function(self, input: Array) -> Array: return 1 / (1 + np.exp(-input))
    def derivative(self, input: Array) -> Array:
        return self.activation_function(input) * (1 - self.activation_function(input))

class SoftmaxActivation(ActivationLayer):
    """f_j(z) = exp(z_j) / sum_k exp(z_k): the probabilities of several classes, whose sum is 1."""
    def activation_function(self, input: Array) -> Array:
        e = np.exp(input - input.max(axis=1, keepdims=True))  # the shift cancels out, and exp cannot overflow
        return e / e.sum(axis=1, keepdims=True)
    def derivative(self, input: Array) -> Array:  # every f_j depends on every z_k: a matrix for each example
        f = self.activation_function(input)
        return f[:, :, None] * (np.eye(f.shape[1]) - f[:, None, :])  # df_j/dz_k = f_j (1[j = k] - f_k)
    def backward_propagation(self, output_error: Array) -> Array:  # dL/dz_k = sum_j dL/df_j df_j/dz_k
        return np.einsum("nj,njk->nk", output_error, self.derivative(self.input))

# Losses and a metric of targets y and predictions p -------------------------------------------------------------------
class LossFunction(ABC):
    """L, how wrong the predictions are, as one number; and dL/dp."""
    @abstractmethod
    def loss(self, y: Array, p: Array) -> float: ...
    @abstractmethod
    def derivative(self, y: Array, p: Array) -> Array: ...

class MeanSquaredError(LossFunction):
    """L = mean of (p - y)^2, for numbers."""
    def loss(self, y: Array, p: Array) -> float: return np.mean((p - y) ** 2)
    def derivative(self, y: Array, p: Array) -> Array: return 2 * (p - y) / y.size

class BinaryCrossEntropy(LossFunction):
    """L = mean of -y log p - (1 - y) log(1 - p), for two classes: y is 0 or 1."""
    def loss(self, y: Array, p: Array) -> float: return np.mean(-y * np.log(p) - (1 - y) * np.log(1 - p))
    def derivative(self, y: Array, p: Array) -> Array: return (p - y) / (p * (1 - p)) / y.size

class CategoricalCrossEntropy(LossFunction):
    """L = mean over the examples of -sum_k y_k log p_k, for several classes: y has a 1 in the column of the class."""
    def loss(self, y: Array, p: Array) -> float: return np.mean(-np.sum(y * np.log(p), axis=1))
    def derivative(self, y: Array, p: Array) -> Array: return -y / p / len(y)

def accuracy(y: Array, p: Array) -> float:
    """Return the share of the examples whose class is predicted."""
    return np.mean(y == (p >= 0.5)) if y.shape[1] == 1 else np.mean(y.argmax(axis=1) == p.argmax(axis=1))

# The optimizer and the network ----------------------------------------------------------------------------------------
@dataclass
class SGD:
    """Stochastic gradient descent with momentum: r = momentum r + dL/dw, then w = w - learning_rate r."""
    learning_rate: float = 0.01
    momentum: float = 0.0
    retained_gradient: Any = 0.0
    def update(self, w: Array, gradient: Array) -> Array:
        self.retained_gradient = self.momentum * self.retained_gradient + gradient
        return w - self.learning_rate * self.retained_gradient

@dataclass
class NeuralNetwork:
    """A chain of layers that learns from mini-batches; ``history`` has the loss and the metric of every epoch."""
    epochs: int = 100
    batch_size: int = 32
    optimizer: type[SGD] = SGD
    learning_rate: float = 0.01
    momentum: float = 0.0
    verbose: bool = False
    loss: type[LossFunction] = MeanSquaredError
    metric: Callable[[Array, Array], float] = accuracy
    layers: list[Layer] = field(default_factory=list, init=False)
    history: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "metric": []}, init=False)

    def add(self, layer: Layer) -> None:
        if self.layers:
            layer.set_input_shape(self.layers[-1].output_shape())
        if hasattr(layer, "initialize"):
            layer.initialize(self.optimizer(self.learning_rate, self.momentum))
        self.layers.append(layer)

    def get_mini_batches(self, X: Array, y: Array, shuffle: bool = True) -> Iterator[tuple[Array, Array]]:
        order = rng.permutation(len(X)) if shuffle else np.arange(len(X))
        return ((X[rows], y[rows]) for rows in np.split(order, range(self.batch_size, len(X), self.batch_size)))

    def forward_propagation(self, X: Array) -> Array:
        for layer in self.layers:
            X = layer.forward_propagation(X)
        return X

    def backward_propagation(self, error: Array) -> None:
        for layer in reversed(self.layers):
            error = layer.backward_propagation(error)

    def fit(self, dataset: Dataset) -> "NeuralNetwork":
        loss = self.loss()
        for epoch in range(1, self.epochs + 1):
            seen = []
            for X, y in self.get_mini_batches(dataset.X, dataset.y):
                p = self.forward_propagation(X)                   # the predictions
                self.backward_propagation(loss.derivative(y, p))  # their error, and the update of all weights
                seen.append((y, p))
            y, p = map(np.concatenate, zip(*seen, strict=True))
            self.history["loss"].append(loss.loss(y, p))
            self.history["metric"].append(self.metric(y, p))
            if self.verbose:
                print(f"epoch {epoch}: loss {self.history['loss'][-1]:.4f}, metric {self.history['metric'][-1]:.4f}")
        return self
    def predict(self, dataset: Dataset) -> Array: return self.forward_propagation(dataset.X)
    def score(self, dataset: Dataset) -> float: return self.metric(dataset.y, self.predict(dataset))

if __name__ == "__main__":
    from chainrule.data import load_dataset
    xnor = Dataset(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[1], [0], [0], [1]]))
    net = NeuralNetwork(epochs=500, batch_size=4, learning_rate=0.5, momentum=0.9, loss=BinaryCrossEntropy)
    for layer in (DenseLayer(4, (2,)), SigmoidActivation(), DenseLayer(1), SigmoidActivation()):
        net.add(layer)
    print(net.fit(xnor).predict(xnor).round(2))
    try:
        train, test = load_dataset("mnist"), load_dataset("mnist", "test")
    except ValueError as problem:  # there is no network connection
        print(f"{problem}\nTraining on the digits of scikit-learn, 8 x 8 pixels, instead of MNIST:")
        train, test = load_dataset("digits").split(test_size=0.2, seed=0)
    net = NeuralNetwork(epochs=10, batch_size=64, learning_rate=0.1, verbose=True, loss=CategoricalCrossEntropy)
    net.add(DenseLayer(128, (train.n_features,)))
    for next_layer in (ReLUActivation(), DenseLayer(64), ReLUActivation(), DenseLayer(10), SoftmaxActivation()):
        net.add(next_layer)
    print(net.fit(Dataset(train.X, train.one_hot())).score(Dataset(test.X, test.one_hot())))
