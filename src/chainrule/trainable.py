"""How a network is trained on data, and goes on from a checkpoint."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Never, Self

from chainrule.callbacks import Callback, EpochPrinter
from chainrule.data.augment import Augmentation
from chainrule.data.class_weights import ClassWeight
from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.data.target import Target
from chainrule.engines import Engine, EngineLike, TrainingPlan, choose_engine
from chainrule.errors import DataError, DivergenceError, InvalidInputError, shown
from chainrule.files.atomic import remove_leftovers
from chainrule.files.model_file import check_keys, read_model_file
from chainrule.fitting import Fit, FitSettings, as_dataset, predicts_numbers
from chainrule.losses import LossFunction
from chainrule.named import check_arguments
from chainrule.optimizer import Optimizer
from chainrule.persistence import SavedNetwork, engine_of_checkpoint, weights_of_checkpoint
from chainrule.schedules import Schedule, stretched
from chainrule.types import Array, Inputs

__all__ = ["TrainableNetwork"]

Validation = Dataset | tuple[Inputs, Any] | float | None


class TrainableNetwork(SavedNetwork):
    """What :class:`NeuralNetwork` knows of training: which rows a fit takes, and how it begins and ends."""

    engine: Engine
    loss: LossFunction
    optimizer: Optimizer
    epochs: int
    schedule: Schedule | None
    class_weight: ClassWeight | None
    verbose: bool
    stop_reason: str | None

    def __new__(cls, *args: object, **kwargs: object) -> Self:
        check_arguments(cls.__name__, cls.__init__, kwargs, layers="Add each layer with network.add(layer).")
        return super().__new__(cls)

    @abstractmethod
    def _fit_settings(self) -> FitSettings:
        """Return what a fit needs to know beside the plan of its steps."""

    @abstractmethod
    def _plan(self) -> TrainingPlan:
        """Return how a step is taken, with an optimizer that fits the layers there are now."""

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
            :class:`ParquetStream` or :class:`NpyStream` of rows that do not fit into memory.
        validation
            Rows measured after every epoch: a dataset, a pair ``(X, y)``, or the share of the rows to hold out.
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
            settings = dict.fromkeys(self.settings(), "It is a setting of the network, given to NeuralNetwork.")
            check_arguments("fit", self.fit, unknown, **settings)
        return self._train(self._open_fit(dataset, y, sample_weight, validation, callbacks, augmentation))

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
        training = check_keys(metadata["training"], (), "a run")
        network = cls.from_description(metadata["network"], weights_of_checkpoint(arrays), custom_objects)
        network.engine = engine_of_checkpoint(training, device) if engine is None else choose_engine(engine, device)
        if epochs is not None:
            network.schedule = stretched(network.schedule, network.epochs, epochs)
            network.epochs = epochs
        fit = network._open_fit(dataset, y, sample_weight, validation, callbacks, augmentation)
        fit.restore(training, arrays)
        if epochs is not None:
            fit.run.train_to(epochs)
        network.history = fit.run.history
        return network._train(fit)

    def _open_fit(
        self,
        dataset: Dataset | RowStream | Inputs,
        y: Any,
        sample_weight: Array | None,
        validation: Validation,
        callbacks: Sequence[Callback],
        augmentation: Augmentation | None,
    ) -> Fit:
        training = self._as_training(dataset, y, sample_weight)
        held_out: Dataset | None = None
        if isinstance(validation, int | float):
            if not 0 < validation < 1:
                raise InvalidInputError(
                    f"validation is {shown(validation)}; give a dataset, a pair (X, y), or a share of the rows between "
                    "0 and 1."
                )
            training, held_out = training.split(test_size=validation, seed=self.stack.seed)
        elif validation is not None:
            pair = validation if isinstance(validation, tuple) else (validation,)
            held_out = self._as_dataset(*pair, target=training.target)
        if not self.stack.is_built:
            self.stack.build((training.n_features,))
        given: Any = callbacks  # one callback alone will do
        given = (given,) if isinstance(given, Callback | type) else given
        callbacks = [*given, *([EpochPrinter()] if self.verbose else [])]
        fit = Fit.open(
            self.engine,
            self.stack,
            self._plan(),
            self._fit_settings(),
            self.history,
            training,
            held_out,
            callbacks,
            self.describe,
            self.save,
            augmentation,
        )
        self.target = training.target
        return fit

    def _as_training(
        self, data: Dataset | RowStream | Inputs, y: Any, sample_weight: Array | None
    ) -> Dataset | RowStream:
        if isinstance(data, RowStream):
            if y is not None or sample_weight is not None:
                raise InvalidInputError("A stream has its targets already; leave y and sample_weight out.")
            return data
        try:  # with the labels of the first fit, or with new ones
            return self._as_dataset(data, y, sample_weight, target=self.target)
        except DataError:
            return self._as_dataset(data, y, sample_weight, target=None)

    def _as_dataset(
        self, data: Dataset | Inputs, y: Any = None, sample_weight: Array | None = None, *, target: Target | None
    ) -> Dataset:
        as_numbers = self.class_weight is None and predicts_numbers(self.loss, self.stack.layers)
        return as_dataset(data, y, sample_weight, target=target, as_numbers=as_numbers)

    def _train(self, fit: Fit) -> Self:
        try:
            fit.train()
        except DivergenceError:
            self.optimizer = self.optimizer.fresh()  # what it has accumulated would spoil the next fit
            raise
        finally:
            self.stop_reason = fit.run.stop_reason
        return self
