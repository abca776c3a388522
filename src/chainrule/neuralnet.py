"""The neural network: layers, a loss and an optimizer, brought together by ``fit``, ``predict`` and ``score``.

Here stand the settings, and the network as a function: forward, backward, measured. ``trainable`` has ``fit`` and
``resume``, and ``persistence`` what a network knows of files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.arrays import refuse_masked
from chainrule.data.class_weights import ClassWeight
from chainrule.data.dataset import Dataset
from chainrule.data.target import Target
from chainrule.engines import EngineLike, TrainingPlan, check_bound, choose_engine, evaluate_outputs
from chainrule.errors import InvalidInputError, NotBuiltError, shown
from chainrule.fitting import FitSettings, as_rows
from chainrule.head import gives_probabilities
from chainrule.history import History
from chainrule.layers import Layer
from chainrule.losses import LOSSES, LossFunction
from chainrule.metrics import Metric, find_metric
from chainrule.metrics.inputs import class_probabilities
from chainrule.optimizer import Optimizer, own_optimizer
from chainrule.penalties import Penalty, choose_penalty
from chainrule.randomness import Stream, random_stream
from chainrule.ranges import is_finite
from chainrule.schedules import SCHEDULES, Schedule
from chainrule.stack import LayerStack, check_inputs
from chainrule.summary import summarize
from chainrule.trainable import TrainableNetwork
from chainrule.types import Array, DTypeName, Inputs, Seed, is_sparse

__all__ = ["NeuralNetwork"]

MetricLike = str | Metric | Callable[..., float]


class NeuralNetwork(TrainableNetwork):
    """A feed-forward network of layers, trained by mini-batch gradient descent.

    Parameters
    ----------
    epochs, batch_size
        Number of passes over the data in ``fit``, and number of rows per step. Full-batch methods (L-BFGS, Rprop, ...)
        always use all rows.
    optimizer, learning_rate, momentum
        A class, an instance or a name (``"adam"``); the two numbers are passed to the optimizer when given.
    verbose
        Print loss and metrics after every epoch.
    loss, metric
        A class, an instance or a name; ``metric`` may also be a function ``f(y_true, y_pred)`` or a list of metrics.
    seed
        Source of all randomness; the same seed and data give the same bits. None draws one, kept in ``seed``.
    dtype
        ``"float32"`` or ``"float64"``.
    penalty, l1, l2
        A :class:`Penalty` on the weights, or the rates of the L1 and L2 penalties.
    clip_norm, max_norm
        Bounds for the global norm of a gradient, and for the norm of the weights into any one unit.
    label_smoothing
        Share of each class target that is spread over all classes, in training only.
    schedule
        The schedule of the learning rate.
    class_weight
        ``"balanced"`` or a weight for each label.
    shuffle
        Whether to reorder the rows in every epoch.
    engine, device
        The engine: ``"numpy"``, or ``"torch"`` for PyTorch on the device; ``"auto"`` is a GPU if there is one.
        A :class:`TorchEngine` has more settings. Files do not store the engine, and open with either one.

    Attributes
    ----------
    layers
        The layers; parameters can be read and set as soon as a layer's input shape is known.
    history
        Loss and metrics of every epoch, by name.
    target
        What the last fit learnt to predict: the task, and the labels behind the outputs.
    stop_reason
        Why the last fit ended before its last epoch, in words; None if it did not.

    Examples
    --------
    >>> from chainrule.activations import SigmoidActivation
    >>> from chainrule.layers import DenseLayer
    >>> net = NeuralNetwork(epochs=500, batch_size=4, optimizer="adam", learning_rate=0.1, seed=0,
    ...                     loss="binary_cross_entropy", metric="accuracy")
    >>> for layer in (DenseLayer(8, (2,)), SigmoidActivation(), DenseLayer(1), SigmoidActivation()):
    ...     net.add(layer)
    >>> xnor = Dataset([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [1, 0, 0, 1])
    >>> net.fit(xnor).score(xnor)
    1.0
    """

    def __init__(
        self,
        epochs: int = 100,
        batch_size: int = 32,
        optimizer: str | type[Optimizer] | Optimizer = "sgd",
        learning_rate: float | None = None,
        momentum: float | None = None,
        verbose: bool = False,
        loss: str | type[LossFunction] | LossFunction = "mean_squared_error",
        metric: MetricLike | Sequence[MetricLike] | None = None,
        *,
        seed: Seed = None,
        dtype: DTypeName = "float32",
        penalty: str | Penalty | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        label_smoothing: float = 0.0,
        schedule: str | Schedule | None = None,
        class_weight: ClassWeight | None = None,
        shuffle: bool = True,
        engine: EngineLike = "numpy",
        device: str = "auto",
    ) -> None:
        given: Any = epochs  # a user may give anything
        if isinstance(given, Layer | list | tuple):
            raise InvalidInputError("NeuralNetwork takes no layers; add each of them with network.add(layer).")
        for name, value in (("epochs", epochs), ("batch_size", batch_size)):
            if not is_finite(value) or value < 1 or value % 1:
                hint = " For all rows in one batch, give their number." if value is None else ""
                raise InvalidInputError(f"{name} is {shown(value)}; it must be a whole number >= 1.{hint}")
        if not (is_finite(label_smoothing) and 0 <= label_smoothing < 1):
            raise InvalidInputError(f"label_smoothing is {shown(label_smoothing)}; it must be at least 0 and below 1.")
        self.epochs, self.batch_size, self.verbose = int(epochs), int(batch_size), verbose
        _check_class_weight(class_weight)
        for name, bound in (("clip_norm", clip_norm), ("max_norm", max_norm)):
            check_bound(name, bound)
        self.optimizer = own_optimizer(optimizer, learning_rate=learning_rate, momentum=momentum)
        self.loss = LOSSES.create(loss)
        self.metrics = tuple(find_metric(m) for m in _as_sequence(metric))
        self.penalty = choose_penalty(penalty, l1, l2)
        self.clip_norm, self.max_norm, self.label_smoothing = clip_norm, max_norm, label_smoothing
        self.schedule = None if schedule is None else SCHEDULES.create(schedule, epochs=epochs)
        self.class_weight, self.shuffle = class_weight, shuffle
        self.engine = choose_engine(engine, device)
        self.stack = LayerStack(dtype=dtype, seed=seed)
        self._shuffler = random_stream(self.seed, Stream.BY_HAND)
        self.history = History()
        self.target: Target | None = None
        self.stop_reason: str | None = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # joblib hands read-only arrays to its workers
        self.optimizer.state = {name: array.copy() for name, array in self.optimizer.state.items()}

    @property
    def layers(self) -> list[Layer]:
        """The layers in order."""
        return self.stack.layers

    @property
    def seed(self) -> int:
        """The source of all randomness of this network."""
        return self.stack.seed

    @property
    def learning_rate(self) -> float:
        """The optimizer's learning rate, before the schedule; may be set between fits."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.optimizer.learning_rate = own_optimizer(self.optimizer, learning_rate=rate).learning_rate

    def add(self, layer: Layer) -> None:
        """Append a layer; its parameters are drawn as soon as its input shape is known."""
        self.stack.add(layer)

    def reset(self) -> None:
        """Draw the first parameters again from the seed and forget all training."""
        self.stack.reset()
        self.optimizer, self.history = self.optimizer.fresh(), History()
        self.target, self.stop_reason = None, None

    def forward_propagation(self, X: Inputs, training: bool = False) -> Array:
        """Go through all layers; with ``training``, remember what :meth:`backward_propagation` needs."""
        rows = X.X if isinstance(X, Dataset) else X
        if not self.stack.is_built:
            self.stack.build(np.shape(rows)[1:])
        return self.stack.forward(check_inputs(rows, self.stack.dtype, self.stack.input_shape()), training=training)

    def backward_propagation(self, error: Array) -> Array | None:
        """Go back through all layers from dL/d(output), update the weights by one step, and return dL/d(input).

        Returns None where a sparse input has no such derivative.
        """
        input_error = self.stack.backward(error, to_input=True)
        vector = self.stack.vector
        self._plan().optimizer.update(vector.values, vector.gradients)
        return input_error

    def get_mini_batches(self, X: Array, y: Array, shuffle: bool = True) -> Iterator[tuple[Array, Array]]:
        """Yield ``(X, y)`` in mini-batches of ``batch_size`` rows; with ``shuffle`` in a new order each time."""
        for values, name in ((X, "X"), (y, "y")):
            refuse_masked(values, name)
        X, y = X if is_sparse(X) else np.asarray(X), np.asarray(y)
        order = self._shuffler.permutation(len(y)) if shuffle else np.arange(len(y))
        for start in range(0, len(y), self.batch_size):
            rows = order[start : start + self.batch_size]
            yield X[rows], y[rows]

    def predict(self, dataset: Dataset | Inputs) -> Array:
        """Return the network's outputs, one row for each row of the data; safe from many threads at once."""
        return self.engine.predict(self.stack, dataset.X if isinstance(dataset, Dataset) else dataset)

    def predict_labels(self, dataset: Dataset | Inputs) -> Array:
        """Return the label of the predicted class for each row, one of those that the network was fitted with."""
        return self._known_classes().decode(self.loss.point_predictions(self.predict(dataset)))

    def predict_proba(self, dataset: Dataset | Inputs) -> Array:
        """Return the class probabilities, one column per class, in the order of ``target.classes``."""
        self._known_classes()
        self.check_gives_probabilities()
        return class_probabilities(self.predict(dataset))

    def check_gives_probabilities(self) -> None:
        """Raise InvalidInputError for a network whose outputs are scores or any numbers."""
        if not gives_probabilities(self.layers, self.loss):
            raise InvalidInputError(
                "The outputs of this network are not probabilities; use predict, or train a network that ends in a "
                "sigmoid or a softmax with a cross-entropy."
            )

    def _known_classes(self) -> Target:
        if self.target is None:
            raise NotBuiltError("The network does not know the labels of its classes yet; fit it, or use predict.")
        if not self.target.classes:
            raise InvalidInputError("This network predicts numbers, not classes; use predict.")
        return self.target

    def score(self, dataset: Dataset | Inputs, y: Any = None) -> float:
        """Return the (first) metric on the data, or the loss of a network that has no metric."""
        measured = self.evaluate(dataset, y)
        return measured[self.metrics[0].name if self.metrics else "loss"]

    def evaluate(self, dataset: Dataset | Inputs, y: Any = None) -> dict[str, float]:
        """Return the loss (without penalty) and every metric on the data, weighted by its sample weights."""
        rows = as_rows(self.stack, self.loss, self._as_dataset(dataset, y, target=self.target), self.target)
        head = self.stack.split_head(self.loss)
        outputs = self.engine.predict(self.stack, rows.inputs, n_layers=head.n_body_layers)
        loss, outputs = evaluate_outputs(head, outputs, rows.targets, rows.weights)
        predictions = self.loss.point_predictions(outputs)
        return {"loss": loss} | {m.name: m(rows.targets, predictions, rows.weights) for m in self.metrics}

    def summary(self) -> None:
        """Print the layers, their shapes and parameters, and the memory that training takes."""
        print(summarize(self.stack, self.optimizer, self.batch_size))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, names resolved, but for the engine, which files do not keep."""
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "optimizer": self.optimizer,
            "verbose": self.verbose,
            "loss": self.loss,
            "metric": self.metrics,
            "seed": self.seed,
            "dtype": self.stack.dtype.name,
            "penalty": self.penalty,
            "clip_norm": self.clip_norm,
            "max_norm": self.max_norm,
            "label_smoothing": self.label_smoothing,
            "schedule": self.schedule,
            "class_weight": self.class_weight,
            "shuffle": self.shuffle,
        }

    def _fit_settings(self) -> FitSettings:
        return FitSettings(
            self.epochs,
            self.batch_size,
            self.shuffle,
            self.label_smoothing,
            self.class_weight,
            self.schedule,
            self.metrics,
        )

    def _plan(self) -> TrainingPlan:
        blocks = self.stack.vector.blocks
        if self.optimizer.blocks and self.optimizer.blocks != blocks:
            self.optimizer = self.optimizer.fresh()  # layers were added since the last fit
        self.optimizer.set_layout(blocks)
        return TrainingPlan(self.loss, self.optimizer, self.penalty, self.clip_norm, self.max_norm)

    if not TYPE_CHECKING:  # a type checker must not take every name for an attribute

        def __getattr__(self, name: str) -> Any:
            instead = _INSTEAD.get(name)
            hint = "" if instead is None else f": use {instead}"
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        layers = ", ".join(layer.layer_name() for layer in self.layers)
        return f"NeuralNetwork([{layers}], {self.loss}, {self.optimizer})"


# What stands here for attributes of the networks of the lecture notes, of PyTorch and of Keras.
_INSTEAD = {
    "show_losses_over_training": "chainrule.plots.plot_history(network.history)",
    "losses_list": "history['loss']",
    "accuracies_list": "history['accuracy'] of a network with metric='accuracy'",
    "MSE_loss": "evaluate(dataset)['loss'] of a network with loss='mse'",
    "CE_loss": "evaluate(dataset)['loss'] of a network with loss='binary_cross_entropy'",
    "accuracy": "evaluate(dataset)['accuracy'] of a network with metric='accuracy'",
    "forward": "predict(X), or forward_propagation(X)",
    "backward": "backward_propagation(error), or fit",
    "train": "fit",
    "eval": "predict, which is never in training mode",
    "compile": "the arguments optimizer, loss and metric of NeuralNetwork",
    "parameters": "layers[i].weights and layers[i].biases, or stack.parameters() for their number",
    "get_weights": "layers[i].weights and layers[i].biases",
    "set_weights": "layers[i].weights = ... and layers[i].biases = ...",
    "state_dict": "save(path)",
    "load_state_dict": "NeuralNetwork.load(path)",
    "load_weights": "NeuralNetwork.load(path)",
    "save_weights": "save(path)",
    "to": "the arguments engine='torch' and device of NeuralNetwork",
}


def _check_class_weight(given: Any) -> None:
    if given is None or (isinstance(given, str) and given == "balanced"):
        return
    weights = given.values() if isinstance(given, Mapping) else [None]
    if not all(isinstance(w, int | float | np.number) and 0 <= w < math.inf for w in weights):
        raise InvalidInputError(
            f"class_weight is {repr(given)[:200]}; give 'balanced', a mapping from labels to finite numbers >= 0, or "
            "None."
        )


def _as_sequence(metric: Any) -> Sequence[MetricLike]:
    return () if metric is None else metric if isinstance(metric, list | tuple) else (metric,)
