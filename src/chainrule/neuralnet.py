"""The neural network: layers, a loss and an optimizer, brought together by ``fit``, ``predict`` and ``score``."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never, Self

import numpy as np

from chainrule.arrays import refuse_masked
from chainrule.callbacks import Callback, EpochPrinter
from chainrule.data.augment import Augmentation
from chainrule.data.batches import Batch
from chainrule.data.class_weights import ClassWeight, check_class_weight
from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.data.target import Target
from chainrule.data.weights import as_weights, weights_of_rows
from chainrule.engines import Engine, EngineLike, TrainingPlan, choose_engine, evaluate_outputs
from chainrule.engines.torch_engine import check_installed
from chainrule.errors import (
    DataError,
    DivergenceError,
    InvalidInputError,
    ModelFileError,
    NotBuiltError,
    nearest_name,
    shown,
)
from chainrule.files.atomic import remove_leftovers
from chainrule.files.checkpoint import files_by_epoch
from chainrule.files.model_file import check_keys, read_model_file, write_model_file
from chainrule.files.network_file import (
    build_layers,
    build_settings,
    describe_network,
    read_checkpoint_engine,
    read_history,
)
from chainrule.fit_data import as_dataset, as_rows, check_members, predicts_numbers
from chainrule.head import gives_probabilities
from chainrule.history import History
from chainrule.layers import Layer
from chainrule.losses import LOSSES, LossFunction
from chainrule.metrics import Metric, find_metric, lower_is_better
from chainrule.metrics.inputs import normalized_probabilities
from chainrule.named import FixedAttributes, check_arguments, checked
from chainrule.optimizer import Optimizer, own_optimizer
from chainrule.penalties import Penalty, choose_penalty
from chainrule.randomness import Stream, random_stream
from chainrule.ranges import Range
from chainrule.run_state import SavedRun
from chainrule.schedules import SCHEDULES, Schedule, stretched
from chainrule.settings import (
    ABOVE_ZERO,
    FROM_ONE,
    FROM_ZERO,
    Setting,
    check_settings,
    declared_settings,
    documented,
)
from chainrule.stack import LayerStack
from chainrule.summary import summarize
from chainrule.training import Trainer
from chainrule.types import Array, DTypeName, Inputs, Seed, Shape, is_sparse

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NeuralNetwork", "copy_with", "open_batch", "open_trainer", "with_seed"]

Validation = Dataset | tuple[Inputs, Any] | tuple[Inputs, Any, Array] | float | None
MetricLike = str | Metric | Callable[..., float]


# The headings of the options of ``chainrule train``.
NETWORK, TRAINING = "The network", "The training"


@checked
@documented
class NeuralNetwork(FixedAttributes):
    """A feed-forward network of layers, trained by mini-batch gradient descent.

    Files do not store ``engine`` and ``device``, and open with either engine; :class:`TorchEngine` has more settings.

    Parameters
    ----------
    {settings}

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
    ...     net = net.add(layer)
    >>> xnor = Dataset([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [1, 0, 0, 1])
    >>> net.fit(xnor).score(xnor)
    1.0
    """

    stack: LayerStack
    engine: Engine
    history: History
    target: Target | None
    stop_reason: str | None

    def __init__(
        self,
        epochs: Annotated[int, Setting("Number of passes over the rows in a fit.", FROM_ONE)] = 100,
        batch_size: Annotated[
            int, Setting("Rows per step; methods such as L-BFGS and Rprop always use all rows.", FROM_ONE)
        ] = 32,
        optimizer: Annotated[
            str | type[Optimizer] | Optimizer, Setting("An optimizer, its class, or its name.")
        ] = "sgd",
        learning_rate: Annotated[
            float | None,
            Setting(
                "The learning rate; the default depends on the optimizer.",
                group=TRAINING,
                flags=("--lr", "--learning-rate"),
                in_files=False,
            ),
        ] = None,
        momentum: Annotated[
            float | None, Setting("Momentum, for optimizers that have it.", group=TRAINING, in_files=False)
        ] = None,
        verbose: Annotated[bool, Setting("Whether to print loss and metrics after every epoch.")] = False,
        loss: Annotated[
            str | type[LossFunction] | LossFunction, Setting("A loss, its class, or its name.")
        ] = "mean_squared_error",
        metric: Annotated[
            MetricLike | Sequence[MetricLike] | None,
            Setting("A metric, its name, a function f(y_true, y_pred), or a list of these.", attribute="metrics"),
        ] = None,
        *,
        seed: Annotated[Seed, Setting("The seed of all random numbers; if None, a seed is drawn.")] = None,
        dtype: Annotated[
            DTypeName | np.dtype[Any] | type, Setting("The type of all numbers: float32 or float64.", group=NETWORK)
        ] = "float32",
        penalty: Annotated[str | Penalty | None, Setting("A penalty on the weights, or its name.")] = None,
        l1: Annotated[
            float, Setting("Penalty on the sum of |weights|.", FROM_ZERO, group=TRAINING, in_files=False)
        ] = 0.0,
        l2: Annotated[
            float,
            Setting("Penalty on half the sum of squared weights.", FROM_ZERO, group=TRAINING, in_files=False),
        ] = 0.0,
        clip_norm: Annotated[
            float | None, Setting("Upper bound of the gradient's norm.", ABOVE_ZERO, group=TRAINING)
        ] = None,
        clip_value: Annotated[
            float | None,
            Setting(
                "Upper bound of the absolute value of each element of the gradient.",
                ABOVE_ZERO,
                group=TRAINING,
                since="0.2",
            ),
        ] = None,
        max_norm: Annotated[
            float | None, Setting("Upper bound of the norm of each unit's weights.", ABOVE_ZERO, group=TRAINING)
        ] = None,
        label_smoothing: Annotated[
            float,
            Setting(
                "Share of each label that is spread over all classes in training.",
                Range(0, 1, includes_low=True),
                group=TRAINING,
                for_classes=True,
            ),
        ] = 0.0,
        ema_decay: Annotated[
            float | None,
            Setting(
                "Decay per step of a moving average of the weights, which is used for predictions.",
                Range(0, 1),
                group=TRAINING,
                since="0.2",
            ),
        ] = None,
        swa_from: Annotated[
            int | None,
            Setting(
                "Predict with the mean of the weights after this epoch and all later epochs (SWA).",
                FROM_ONE,
                group=TRAINING,
                since="0.2",
            ),
        ] = None,
        vat_epsilon: Annotated[
            float,
            Setting(
                "Length of the change of each row in virtual adversarial training, which adds the change of the "
                "predictions to the loss; 0 for none.",
                FROM_ZERO,
                since="0.2",
            ),
        ] = 0.0,
        schedule: Annotated[str | Schedule | None, Setting("A schedule of the learning rate, or its name.")] = None,
        class_weight: Annotated[
            ClassWeight | None,
            Setting(
                "'balanced' gives all classes the same total weight; in Python, also a weight for each label.",
                group=TRAINING,
                for_classes=True,
            ),
        ] = None,
        shuffle: Annotated[bool, Setting("Whether to shuffle the rows in every epoch.")] = True,
        engine: Annotated[EngineLike, Setting("'numpy', 'torch' for PyTorch, or an engine.", in_files=False)] = "numpy",
        device: Annotated[
            str, Setting("For torch: 'auto' (a GPU if there is one), 'cpu', 'cuda', 'mps', ...", in_files=False)
        ] = "auto",
    ) -> None:
        given: Any = epochs  # a user may give anything
        if isinstance(given, Layer | list | tuple):
            raise InvalidInputError("NeuralNetwork takes no layers; add each of them with network.add(layer).")
        if batch_size is None:
            raise InvalidInputError("batch_size is None; for all rows in one batch, give their number.")
        check_settings(NeuralNetwork, locals())
        check_class_weight(class_weight)
        self.epochs, self.batch_size, self.verbose = int(epochs), int(batch_size), bool(verbose)
        self.optimizer = own_optimizer(optimizer, learning_rate=learning_rate, momentum=momentum)
        self.loss = LOSSES.create(loss)
        self.metrics = tuple(find_metric(m) for m in _as_sequence(metric))
        self.penalty = choose_penalty(penalty, l1, l2)
        self.clip_norm, self.clip_value, self.max_norm = clip_norm, clip_value, max_norm
        self.label_smoothing, self.ema_decay, self.swa_from = label_smoothing, ema_decay, swa_from
        self.vat_epsilon = vat_epsilon
        self.schedule = None if schedule is None else SCHEDULES.create(schedule, epochs=epochs)
        self.class_weight, self.shuffle = class_weight, bool(shuffle)
        self.engine = choose_engine(engine, device)
        self.stack = LayerStack(dtype=dtype, seed=seed)
        self._shuffler = random_stream(self.seed, Stream.BY_HAND)
        self.history = History()
        self.target, self.stop_reason = None, None

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
    def dtype(self) -> str:
        """The type of all numbers of this network, by name."""
        return str(self.stack.dtype.name)

    @property
    def learning_rate(self) -> float:
        """The optimizer's learning rate, before the schedule; may be set between fits."""
        return self.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        self.optimizer.learning_rate = own_optimizer(self.optimizer, learning_rate=rate).learning_rate

    def add(self, layer: Layer) -> Self:
        """Append a layer, and return the network. Its parameters are drawn as soon as its input shape is known."""
        self.stack.add(layer)
        return self

    def reset(self) -> None:
        """Draw the first parameters again from the seed and forget all training."""
        self.stack.reset()
        self.optimizer, self.history = self.optimizer.fresh(), History()
        self.target, self.stop_reason = None, None

    def fit(
        self,
        dataset: Dataset | RowStream | Inputs,
        y: Any = None,
        sample_weight: Array | None = None,
        *,
        validation: Validation = None,
        callbacks: Sequence[Callback] = (),
        augmentation: Augmentation | None = None,
        **unknown: Never,
    ) -> Self:
        """Train for ``epochs`` epochs from the present weights, and return the network.

        Parameters
        ----------
        dataset, y, sample_weight
            A :class:`Dataset`, or inputs, targets and (if not all rows count the same) a weight for each row; or a
            :class:`ParquetStream` or :class:`NpyStream` of rows that do not fit into memory. The training loss is the
            mean over all rows with these weights. For an ensemble of K members in one network, the weights may have
            the shape (rows, K), one column for each member. The loss is then the sum of ``w_ik l(y_i, f_k(x_i))`` over
            rows i and members k, divided by the sum of all weights. The gradient of a member is therefore that of a
            network trained alone, times the share of its column in the sum of all weights: 1 / K for columns with equal
            sums, as without weights. Adam and other optimizers that rescale gradients do not depend on this factor;
            with SGD, the learning rate must be K times as large, and a penalty 1 / K of what it is for one network.
        validation
            Rows measured after every epoch: a dataset, ``(X, y)`` or ``(X, y, sample_weight)``, or the share of the
            rows to hold out.
        callbacks
            What is to happen beside the steps: early stopping, checkpoints, a progress bar.
        augmentation
            How every batch is varied at random before it is trained on: shifted and turned images, noise.

        Raises
        ------
        DivergenceError
            When the loss is no longer a finite number; the network then holds the weights of its last whole epoch.
        """
        if unknown:
            check_arguments("NeuralNetwork.fit", unknown, NeuralNetwork.fit)
        trainer = open_trainer(self, dataset, y, sample_weight, validation, callbacks, augmentation)
        with self._concluding(trainer):
            trainer.train()
        return self

    @classmethod
    def resume(
        cls,
        path: str | Path,
        dataset: Dataset | RowStream | Inputs,
        y: Any = None,
        sample_weight: Array | None = None,
        *,
        validation: Validation = None,
        callbacks: Sequence[Callback] = (),
        augmentation: Augmentation | None = None,
        custom_objects: Mapping[str, Any] | None = None,
        engine: EngineLike | None = None,
        device: str = "auto",
        epochs: int | None = None,
    ) -> Self:
        """Go on with the fit that wrote this checkpoint, on the same data, as if it had never stopped.

        The other arguments are those of the first call again; early stopping and the like take up their counts. The
        engine is the one that the run had, if no other is given. Temporary files that a killed run left beside the
        checkpoint are removed.

        ``epochs`` is the number of epochs of the fit in all, if it is not to be the number that the fit began with, and
        takes a fit that had ended further. A schedule over all epochs of the fit then goes over the new number.
        """
        remove_leftovers(path)
        metadata, arrays = read_model_file(path, "checkpoint")
        check_keys(metadata, ("network", "training"), "a checkpoint")
        saved = SavedRun(check_keys(metadata["training"], ("history",), "a run"), arrays, epochs)
        network = cls.from_description(metadata["network"], saved.weights(), custom_objects)
        network.engine = (
            read_checkpoint_engine(saved.values, device) if engine is None else choose_engine(engine, device)
        )
        network.history = read_history(saved.values["history"])
        if epochs is not None:
            network.schedule = stretched(network.schedule, network.epochs, epochs)
            network.epochs = epochs
        trainer = open_trainer(network, dataset, y, sample_weight, validation, callbacks, augmentation, saved)
        with network._concluding(trainer):
            trainer.train()
        return network

    @contextlib.contextmanager
    def _concluding(self, trainer: Trainer) -> Iterator[None]:
        """Keep the reason why the training in this block stopped."""
        try:
            yield
        except DivergenceError:
            self.optimizer = self.optimizer.fresh()  # what it has accumulated would spoil the next fit
            raise
        finally:
            self.stop_reason = trainer.run.stop_reason

    def forward_propagation(self, X: Inputs, training: bool = False) -> Array:
        """Go through all layers; with ``training``, remember what :meth:`backward_propagation` needs."""
        rows = X.X if isinstance(X, Dataset) else X
        if not self.stack.is_built:
            self.stack.build(np.shape(rows)[1:])
        return self.stack.forward(self.stack.check_inputs(rows), training=training)

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

    def predict(self, dataset: Dataset | Inputs, sample_weight: Array | None = None) -> Array:
        """Return the network's outputs, one row for each row of the data; safe from many threads at once.

        The output of an ensemble is the mean over its members. ``sample_weight`` of shape (rows, members) are the
        weights of the members in this mean. With the weights of the rows that each member was not trained on, the
        result is the out-of-fold predictions. The weights of a dataset, and weights of shape (rows,), have no effect.
        """
        inputs = dataset.X if isinstance(dataset, Dataset) else dataset
        if sample_weight is None or np.ndim(sample_weight) < 2:
            return self.engine.predict(self.stack, inputs)
        head = self.stack.split_head(self.loss)
        outputs = self.engine.predict(self.stack, inputs, n_layers=head.n_body_layers)
        weights = as_weights(sample_weight, len(outputs))
        check_members(head, weights)
        return head.predictions(outputs, weights)

    def predict_labels(self, dataset: Dataset | Inputs) -> Array:
        """Return the label of the predicted class for each row, one of those that the network was fitted with."""
        return self._known_classes().decode(self.loss.predictions_of(self.predict(dataset)))

    def predict_proba(self, dataset: Dataset | Inputs) -> Array:
        """Return the class probabilities as float64, one column per class, in the order of ``target.classes``."""
        self._known_classes()
        self.check_gives_probabilities()
        return normalized_probabilities(self.predict(dataset))

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
        """Return the loss (without penalty) and every metric on the data, weighted by its sample weights.

        For an ensemble, they are those of the mean prediction of the members. With weights of shape (rows, members),
        the members have these weights in the mean, and the weight of a row is the mean of its weights.
        """
        rows = as_rows(self.stack, self.loss, _as_dataset(self, dataset, y, target=self.target), self.target)
        head = self.stack.split_head(self.loss)
        outputs = self.engine.predict(self.stack, rows.inputs, n_layers=head.n_body_layers)
        loss, outputs = evaluate_outputs(head, outputs, rows.targets, rows.weights)
        predictions = self.loss.predictions_of(outputs)
        weights = weights_of_rows(rows.weights)
        return {"loss": loss} | {m.name: m(rows.targets, predictions, weights) for m in self.metrics}

    def save(self, path: str | Path) -> None:
        """Write the network to a safetensors file, whole or not at all."""
        metadata = {"network": self.describe(), "history": self.history.to_dict()}
        write_model_file(path, "network", metadata, self.stack.read_arrays())

    @classmethod
    def load(cls, path: str | Path, *, custom_objects: Mapping[str, Any] | None = None) -> Self:
        """Read a network from a file that :meth:`save` wrote, or from a checkpoint, as it stood there.

        ``custom_objects`` are your own classes and metrics by name, if the network uses any.
        """
        return cls._load(path, custom_objects)[0]

    @classmethod
    def _load(cls, path: str | Path, custom_objects: Mapping[str, Any] | None) -> tuple[Self, bool]:
        """Return the network, and whether it stands at the end of an epoch, as only a checkpoint may not."""
        metadata, arrays = read_model_file(path, "model", "network", "checkpoint")
        is_checkpoint = metadata["kind"] == "checkpoint"
        check_keys(metadata, ("network", "training" if is_checkpoint else "history"), "a network")
        training = check_keys(metadata["training"], ("history", "batch"), "a run") if is_checkpoint else metadata
        if is_checkpoint:
            arrays = SavedRun(training, arrays).weights()
        network = cls.from_description(metadata["network"], arrays, custom_objects)
        network.history = read_history(training["history"])
        return network, not is_checkpoint or training["batch"] == 0

    @classmethod
    def load_best(
        cls, path: str | Path, monitor: str | None = None, *, custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Read the best of several files of one run, by the last value of ``monitor`` in their histories.

        ``path`` has ``{epoch}`` where the names of the files have the number, as for :class:`Checkpoint`; files that
        :meth:`save` wrote will do as well. ``monitor`` is a quantity of the history, the validation loss by default, or
        the loss where there is no validation. Checkpoints from inside an epoch are left out, since no value was
        measured there. Of equal values the one of the earlier epoch counts.
        """
        best: tuple[float, int, Self] | None = None
        for file in files_by_epoch(path):
            network, is_whole = cls._load(file, custom_objects)
            if not is_whole or not network.history.n_epochs:
                continue
            name = monitor or ("validation_loss" if "validation_loss" in network.history else "loss")
            if name not in network.history:
                raise InvalidInputError(
                    f"'{file}' has no '{name}' in its history.{nearest_name(name, network.history)} Recorded are: "
                    f"{', '.join(network.history)}."
                )
            value = network.history.last(name) * (1 if lower_is_better(name, network.metrics) else -1)
            place = value, network.history.n_epochs
            if math.isfinite(value) and (best is None or place < best[:2]):
                best = *place, network
        if best is None:
            raise ModelFileError(f"There is no file '{path}' of a whole epoch.")
        return best[2]

    def to_torch(self) -> nn.Sequential:
        """Return the network as a module of PyTorch on the CPU, with copies of its parameters, in evaluation mode.

        One module for each layer, in their order: ``nn.Linear`` for a DenseLayer, and so on.
        """
        check_installed()
        from chainrule.engines.standard_modules import build_standard_module

        self.stack.output_shape()  # the network must have its parameters
        return build_standard_module(self.stack)

    @classmethod
    def from_torch(cls, module: nn.Module, input_shape: Shape | None = None, **settings: Any) -> Self:
        """Return a network with the layers and parameters of an ``nn.Sequential`` of modules that chainrule knows.

        ``input_shape`` is the shape of a row, where the module does not tell it; ``settings`` are those of the
        network's constructor. The network computes in the precision of the module's parameters if they do not say.

        Raises InvalidInputError for a module that is not the same function as one of the layers.
        """
        check_installed()
        from chainrule.engines.standard_modules import check_same_function, dtype_of, layers_of, read_arrays

        layers, shape, parts = layers_of(module, input_shape)
        network = cls(**{"dtype": dtype_of(parts), **settings})
        for layer in layers:
            network.stack.add(layer)
        network.stack.build(shape)
        check_same_function(parts, network.stack)
        read_arrays(parts, network.stack)
        return network

    def describe(self) -> dict[str, Any]:
        """Return settings, layers and the meaning of the outputs as JSON values."""
        target = self.target
        if target is not None and not self.suits(target):  # layers were added since the fit that learnt it
            target = None
        described = describe_network(self.settings(), self.stack)
        return {**described, "target": None if target is None else target.to_dict()}

    def suits(self, target: Target) -> bool:
        """Tell whether the network has as many output units as this target and the loss need."""
        n_targets, rest = divmod(math.prod(self.stack.output_shape()), self.loss.n_outputs(1))
        return not rest and len(self.stack.output_shape()) == 1 and target.takes_outputs(n_targets)

    @classmethod
    def from_description(
        cls,
        description: Any,
        arrays: Mapping[str, Array],
        custom_objects: Mapping[str, Any] | None = None,
        *,
        engine: EngineLike = "numpy",
    ) -> Self:
        """Return the network that :meth:`describe` described, with its parameters and layer states."""
        check_keys(description, ("settings", "input_shape", "layers", "target"), "a network")
        layers, input_shape = build_layers(description, arrays, custom_objects)
        try:
            network = cls(
                **build_settings(description["settings"], declared_settings(NeuralNetwork), custom_objects),
                engine=engine,
            )
            target = description["target"]
            network.target = None if target is None else Target.from_dict(target)
        except ModelFileError:
            raise
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"The file is damaged: its settings make no network ({error}).") from error
        for name, array in arrays.items():
            if array.dtype != network.stack.dtype:
                raise ModelFileError(f"The file is damaged: '{name}' is {array.dtype}, not {network.stack.dtype}.")
        network.stack.replace_layers(layers, input_shape)
        network.stack.write_arrays(arrays)
        if network.target is not None and not network.suits(network.target):
            raise ModelFileError("The file is damaged: the network's outputs are not those of its target.")
        return network

    def summary(self) -> None:
        """Print the layers, their shapes and parameters, and the memory that training takes."""
        print(summarize(self.stack, self.optimizer, self.batch_size))

    def settings(self) -> dict[str, Any]:
        """Return the constructor's arguments, names resolved, but for the engine, which files do not keep."""
        kept = (one for one in declared_settings(NeuralNetwork).values() if one.setting.in_files)
        return {one.name: getattr(self, one.setting.attribute or one.name) for one in kept}

    def _plan(self) -> TrainingPlan:
        check_settings(NeuralNetwork, vars(self))  # those that were changed since
        optimizer: Any = type(self.optimizer)
        check_settings(optimizer, vars(self.optimizer), f"The {{}} of {optimizer.__name__}")
        self.stack.read_groups()
        blocks = self.stack.vector.blocks
        if self.optimizer.blocks and self.optimizer.blocks != blocks:
            self.optimizer = self.optimizer.fresh()  # layers were added since the last fit
        self.optimizer.set_layout(blocks)
        settings = {field.name: getattr(self, field.name) for field in dataclasses.fields(TrainingPlan)}
        return TrainingPlan(**{**settings, "penalty": self.stack.total_penalty(self.penalty)})

    if not TYPE_CHECKING:  # a type checker must not take every name for an attribute

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, _CONVERTERS[name](self, value) if name in _CONVERTERS else value)

        def __getattr__(self, name: str) -> Any:
            instead = _INSTEAD.get(name)
            hint = "" if instead is None else f": use {instead}"
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'{hint}", name=name, obj=self)

    def __repr__(self) -> str:
        layers = ", ".join(layer.layer_name() for layer in self.layers)
        return f"NeuralNetwork([{layers}], {self.loss}, {self.optimizer})"


# Attributes that may be assigned as the constructor takes them, such as by name.
_CONVERTERS: dict[str, Callable[[NeuralNetwork, Any], Any]] = {
    "optimizer": lambda network, given: given if isinstance(given, Optimizer) else own_optimizer(given),
    "loss": lambda network, given: LOSSES.create(given),
    "metrics": lambda network, given: tuple(find_metric(metric) for metric in _as_sequence(given)),
    "penalty": lambda network, given: choose_penalty(given),
    "schedule": lambda network, given: None if given is None else SCHEDULES.create(given, epochs=network.epochs),
    "engine": lambda network, given: choose_engine(given),
}


def open_trainer(
    network: NeuralNetwork,
    dataset: Dataset | RowStream | Inputs,
    y: Any = None,
    sample_weight: Array | None = None,
    validation: Validation = None,
    callbacks: Sequence[Callback] = (),
    augmentation: Augmentation | None = None,
    saved: SavedRun | None = None,
) -> Trainer:
    """Return the trainer of a network for these data, with the arguments of ``fit`` and the run that is to go on."""
    if network.swa_from is not None and network.swa_from > network.epochs:
        raise InvalidInputError(
            f"swa_from is {network.swa_from}, and the network is trained for {network.epochs} epochs; give an epoch "
            "that is reached."
        )
    training = _as_training(network, dataset, y, sample_weight)
    held_out: Dataset | None = None
    given: Any = validation  # a user may give anything
    if isinstance(given, int | float | str):
        if isinstance(given, str) or not 0 < given < 1:
            raise InvalidInputError(
                f"validation is {shown(validation)}; give a dataset, (X, y), (X, y, sample_weight), or a share of the "
                "rows between 0 and 1."
            )
        training, held_out = training.split(test_size=given, seed=network.stack.seed)
    elif given is not None:
        pair = given if isinstance(given, tuple | list) else (given,)
        held_out = _as_dataset(network, *pair, target=training.target)
    if not network.stack.is_built:
        network.stack.build((training.n_features,))
    given = callbacks  # one callback alone will do
    given = (given,) if isinstance(given, Callback | type | str) else given
    callbacks = [*given, *([EpochPrinter()] if network.verbose else [])]
    trainer = Trainer(
        network.engine,
        network.stack,
        network._plan(),
        network.history,
        training,
        held_out,
        callbacks,
        describe=network.describe,
        save=network.save,
        augmentation=augmentation,
        saved=saved,
    )
    network.target = training.target
    return trainer


def copy_with(network: NeuralNetwork, **settings: Any) -> NeuralNetwork:
    """Return a network with other settings, and with copies of the layers, their parameters and the target."""
    twin = NeuralNetwork(**{**network.settings(), "engine": network.engine, **settings})
    twin.stack = network.stack.astype(twin.stack.dtype)
    twin.target = network.target
    return twin


def open_batch(network: NeuralNetwork, data: Dataset, **settings: Any) -> tuple[NeuralNetwork, Trainer, Batch]:
    """Return a copy of a network with other settings, its trainer, and all rows as one batch of training."""
    twin = copy_with(
        network, optimizer="sgd", batch_size=data.n_rows, shuffle=False, metric=None, verbose=False, **settings
    )
    trainer = open_trainer(twin, data)
    portion = next(trainer.batches.portions(0, first_batch=0, n_batches=1))
    return twin, trainer, portion.batches.batch(portion.epoch, portion.first)


def with_seed(network: NeuralNetwork, seed: int) -> NeuralNetwork:
    """Return an untrained copy of a network with another seed, from which its initial parameters are drawn."""
    twin = copy_with(network, seed=seed)
    twin.stack.seed = seed
    twin.reset()
    return twin


def _as_training(
    network: NeuralNetwork, data: Dataset | RowStream | Inputs, y: Any, sample_weight: Array | None
) -> Dataset | RowStream:
    if isinstance(data, RowStream):
        if y is not None or sample_weight is not None:
            raise InvalidInputError("A stream has its targets already; leave y and sample_weight out.")
        return data
    try:  # with the labels of the first fit, or with new ones
        return _as_dataset(network, data, y, sample_weight, target=network.target)
    except DataError:
        return _as_dataset(network, data, y, sample_weight, target=None)


def _as_dataset(
    network: NeuralNetwork,
    data: Dataset | Inputs,
    y: Any = None,
    sample_weight: Array | None = None,
    *,
    target: Target | None,
) -> Dataset:
    as_numbers = network.class_weight is None and predicts_numbers(network.loss, network.stack.layers)
    return as_dataset(data, y, sample_weight, target=target, as_numbers=as_numbers)


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
    "predict_classes": "predict_labels",
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


def _as_sequence(metric: Any) -> Sequence[MetricLike]:
    return () if metric is None else metric if isinstance(metric, list | tuple) else (metric,)
