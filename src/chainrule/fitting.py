"""One call of ``fit``, put together from a network's settings and the user's data, ready to train or be taken up."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from chainrule.activations import SigmoidActivation, SoftmaxActivation
from chainrule.callbacks import Callback, TrainingRun
from chainrule.data.augment import Augmentation
from chainrule.data.batches import ArrayBatches, Batch, Batches
from chainrule.data.class_weights import ClassWeight, class_weights
from chainrule.data.dataset import Dataset, class_weight_rows
from chainrule.data.stream import NOT_AT_ONCE, RowStream
from chainrule.data.stream_batches import StreamBatches
from chainrule.data.target import Target, are_numbers, label_array
from chainrule.engines import Engine, TrainingPlan, describe_engine
from chainrule.errors import DataError, InvalidInputError, ModelFileError
from chainrule.head import check_head, check_targets
from chainrule.history import History
from chainrule.layers import DenseLayer, Layer
from chainrule.losses import LossFunction, smooth_labels
from chainrule.metrics import Metric
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.run_state import capture, restore
from chainrule.schedules import Schedule
from chainrule.stack import LayerStack, check_inputs
from chainrule.training import EpochRecord, train
from chainrule.types import Array, Inputs, is_sparse

__all__ = ["Fit", "FitSettings", "array_batches", "as_dataset", "as_rows", "predicts_numbers"]

# Of a stream, the training metrics of an epoch are those of its last rows, so many.
ROWS_RECORDED = 2**17


@dataclass(frozen=True)
class FitSettings:
    """What a fit needs to know beside the plan of its steps; the constructor of ``NeuralNetwork`` explains each."""

    epochs: int
    batch_size: int
    shuffle: bool
    label_smoothing: float
    class_weight: ClassWeight | None
    schedule: Schedule | None
    metrics: Sequence[Metric]


@dataclass
class Fit:
    """A training run with its data."""

    run: TrainingRun
    batches: Batches
    validation: Batch | None
    record: EpochRecord
    engine: Engine

    @classmethod
    def open(
        cls,
        engine: Engine,
        stack: LayerStack,
        plan: TrainingPlan,
        settings: FitSettings,
        history: History,
        training: Dataset | RowStream,
        validation: Dataset | None,
        callbacks: Sequence[Callback],
        describe: Callable[[], dict[str, Any]],
        save: Callable[[str | Path], None],
        augmentation: Augmentation | None = None,
    ) -> Self:
        """Check the data against the network and set the run at its start."""
        _check_callbacks(callbacks)
        _check_metrics(settings.metrics, training)
        given: Any = augmentation  # a user may give anything
        if given is not None and not isinstance(given, Augmentation):
            hint = " Did you forget to call it?" if isinstance(given, type) else ""
            raise InvalidInputError(f"augmentation is {given!r}, which is not an Augmentation.{hint}")
        if isinstance(training, RowStream):
            batches: Batches = _stream_batches(stack, plan, settings, training, augmentation)
            n_recorded = min(training.n_rows, ROWS_RECORDED)
        else:
            batches = _array_batches(stack, plan, settings, training, augmentation)
            n_recorded = training.n_rows
        held_out = None if validation is None else as_rows(stack, plan.loss, validation, training.target)
        if held_out is not None and validation is not None and settings.class_weight is not None:
            held_out = held_out._replace(weights=class_weight_rows(validation, settings.class_weight))
        run = TrainingRun(
            stack,
            engine.open(stack, plan),
            plan,
            history,
            last_epoch=history.n_epochs + settings.epochs,
            n_batches=batches.n_batches,
            schedule=settings.schedule,
            metrics=settings.metrics,
            has_validation=held_out is not None,
            epoch=history.n_epochs,
            first_epoch=history.n_epochs,
            callbacks=callbacks,
            describe=describe,
        )
        fit = cls(run, batches, held_out, EpochRecord(n_recorded), engine)
        run.capture = fit.capture

        def save_present_weights(path: str | Path) -> None:
            run.session.update_stack()
            save(path)

        run.save = save_present_weights
        return fit

    def train(self) -> None:
        """Train to the end."""
        train(self.run, self.batches, self.validation, self.record)

    def capture(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return everything the next step depends on, and what tells these data from others."""
        values, arrays = capture(self.run, self.record)
        return {**values, "data": self._fingerprint(), "engine": describe_engine(self.engine)}, arrays

    def restore(self, values: dict[str, Any], arrays: dict[str, Array]) -> None:
        """Put back what :meth:`capture` returned; refuse other data than the run began with."""
        if values.get("data") != self._fingerprint():
            raise ModelFileError(
                "The checkpoint was written by a run on other data; give it the same training and validation rows, "
                "weights and augmentation again."
            )
        try:
            restore(self.run, self.batches, self.record, values, arrays)
        except ModelFileError:
            raise
        except (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"The checkpoint is damaged: {str(error)[:200]}") from error

    def _fingerprint(self) -> list[int]:
        weights = self.batches.weights if isinstance(self.batches, ArrayBatches) else None
        parts = (weights, *(self.validation or ()))
        return [*self.batches.fingerprint(), *(_checksum(part) for part in parts if part is not None)]


def _array_batches(
    stack: LayerStack, plan: TrainingPlan, settings: FitSettings, training: Dataset, augmentation: Augmentation | None
) -> ArrayBatches:
    batches = array_batches(
        stack,
        plan.loss,
        training,
        batch_size=training.n_rows if plan.optimizer.full_batch else settings.batch_size,
        shuffle=settings.shuffle,
        label_smoothing=settings.label_smoothing,
        class_weight=settings.class_weight,
        augmentation=augmentation,
    )
    if isinstance(plan.optimizer, ObjectiveOptimizer):
        plan.optimizer.check_size(stack.vector.size, batches.targets.size)
    return batches


def _stream_batches(
    stack: LayerStack, plan: TrainingPlan, settings: FitSettings, training: RowStream, augmentation: Augmentation | None
) -> StreamBatches:
    if plan.optimizer.full_batch:
        raise InvalidInputError(
            f"{type(plan.optimizer).__name__} needs all rows in one batch, and a stream gives them in many; take "
            "another optimizer, or rows that fit into memory."
        )
    if augmentation is not None:
        raise InvalidInputError("The rows of a stream cannot be augmented; leave augmentation out.")
    class_weight = settings.class_weight
    weight_of = None  # of the whole stream's classes, whichever of them a piece of it has
    if class_weight is not None:
        weight_of = class_weights(training.target, training.label_names, training.class_counts, class_weight)
        weight_of = weight_of / np.average(weight_of, weights=training.class_counts)

    def rows_of(piece: Dataset) -> Batch:
        rows = _training_rows(stack, plan.loss, settings.label_smoothing, piece)
        return rows if weight_of is None else rows._replace(weights=weight_of[piece.y])

    return StreamBatches(training, rows_of, batch_size=settings.batch_size, seed=stack.seed, shuffle=settings.shuffle)


def array_batches(
    stack: LayerStack,
    loss: LossFunction,
    training: Dataset,
    *,
    batch_size: int,
    shuffle: bool,
    label_smoothing: float,
    class_weight: ClassWeight | None,
    augmentation: Augmentation | None = None,
) -> ArrayBatches:
    """Return rows in memory as a fit trains on them: in batches, with smooth labels and weights if asked for."""
    rows = _training_rows(stack, loss, label_smoothing, training)
    return ArrayBatches(
        rows.inputs,
        rows.targets,
        rows.weights if class_weight is None else class_weight_rows(training, class_weight),
        batch_size=batch_size,
        seed=stack.seed,
        shuffle=shuffle,
        augmentation=augmentation,
    )


def _training_rows(stack: LayerStack, loss: LossFunction, label_smoothing: float, training: Dataset) -> Batch:
    """Return rows to train on as arrays, with smoothed labels if asked for."""
    rows = as_rows(stack, loss, training)
    check_head(stack.layers, loss)
    if not label_smoothing:
        return rows
    if loss.is_of_numbers and not (training.target and training.target.classes):
        raise InvalidInputError("label_smoothing needs targets that are classes, and these are numbers.")
    return rows._replace(targets=smooth_labels(rows.targets, label_smoothing))


def _check_metrics(metrics: Sequence[Metric], training: Dataset | RowStream) -> None:
    """Refuse a metric of classes where numbers other than 0 and 1 are predicted."""
    if not isinstance(training, Dataset) or training.task != "regression" or training.y is None:
        return
    for metric in metrics:
        if "regression" not in metric.tasks and not np.isin(training.y, (0, 1)).all():
            raise InvalidInputError(
                f"The metric {metric.name} is for classes, and the targets are numbers: take r2, mean_absolute_error "
                "or root_mean_squared_error."
            )


def _check_callbacks(callbacks: Sequence[Callback]) -> None:
    given: Sequence[Any] = callbacks  # a user may give anything
    for callback in given:
        if not isinstance(callback, Callback):
            hint = " Did you forget to call it?" if isinstance(callback, type) else ""
            raise InvalidInputError(f"callbacks holds {callback!r}, which is not a Callback.{hint}")


def _checksum(part: Inputs) -> int:
    return zlib.crc32(np.ascontiguousarray(part.data if is_sparse(part) else part).tobytes())


def as_dataset(
    data: Dataset | Inputs,
    y: Any = None,
    sample_weight: Array | None = None,
    *,
    target: Target | None = None,
    as_numbers: bool = False,
) -> Dataset:
    """Return a dataset as it is, or make one of inputs and targets.

    ``target`` has the classes that are known already; ``as_numbers`` says that numbers are to be predicted as numbers,
    however few distinct ones there are: counts, ratings, prices in whole dollars.
    """
    if isinstance(data, RowStream):
        raise InvalidInputError(NOT_AT_ONCE)
    if isinstance(data, Dataset):
        if y is not None or sample_weight is not None:
            raise InvalidInputError(
                "A Dataset has its targets and weights already; leave y and sample_weight out, or give inputs X and "
                "targets y."
            )
        return data
    if y is not None and target is not None:
        return Dataset(data, y, sample_weight=sample_weight, target=target)
    as_numbers = as_numbers and y is not None and are_numbers(label_array(y))
    return Dataset(data, y, sample_weight=sample_weight, task="regression" if as_numbers else None)


def predicts_numbers(loss: LossFunction, layers: Sequence[Layer]) -> bool:
    """Tell whether a network with this loss and these layers can only be meant to predict one number a row."""
    if not loss.is_of_numbers or not layers or isinstance(layers[-1], SigmoidActivation | SoftmaxActivation):
        return False
    n_units = next((layer.n_units for layer in reversed(layers) if isinstance(layer, DenseLayer)), 0)
    return n_units == loss.n_outputs(1)


def as_rows(stack: LayerStack, loss: LossFunction, dataset: Dataset, target: Target | None = None) -> Batch:
    """Return a dataset as arrays of the network's type and shapes; classes in the order that ``target`` knows."""
    if dataset.y is None or dataset.target is None:
        raise InvalidInputError("This dataset has no targets y; training and scoring need them.")
    inputs = check_inputs(dataset.X, stack.dtype, stack.input_shape())
    if len(stack.output_shape()) != 1:
        raise InvalidInputError(f"The network's outputs have shape {stack.output_shape()}; end in a DenseLayer.")
    n_targets, rest = divmod(stack.output_shape()[0], loss.n_outputs(1))
    if rest or not n_targets:
        raise InvalidInputError(
            f"{type(loss).__name__} needs {loss.n_outputs(1)} output units for each target; the network has "
            f"{stack.output_shape()[0]}."
        )
    known, codes = dataset.target, dataset.y
    if target is not None and target.classes and known.classes and target.classes != known.classes:
        codes, known = target.encode(known.labels_of(codes)), target
    try:
        targets = known.as_outputs(codes, n_targets, stack.dtype.name)
    except DataError:
        raise
    except InvalidInputError as error:
        if known.classes and predicts_numbers(loss, stack.layers):
            raise InvalidInputError(
                f"The {len(known.classes)} distinct targets were taken for classes. To predict classes, give the "
                "network one unit for each, a softmax and a cross-entropy; to predict numbers, make the Dataset with "
                "task='regression'."
            ) from error
        raise
    if not known.classes:
        check_targets(targets, loss)
    return Batch(inputs, targets, dataset.sample_weight).check()
