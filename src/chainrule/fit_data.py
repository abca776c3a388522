"""The data of a fit: datasets, streams and arrays as checked batches of the network's type and shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from chainrule.activations import SigmoidActivation, SoftmaxActivation
from chainrule.data.augment import Augmentation
from chainrule.data.batches import ArrayBatches, Batch, Batches
from chainrule.data.class_weights import class_weights
from chainrule.data.dataset import Dataset, class_weight_rows
from chainrule.data.stream import STREAM_NOT_ALLOWED, RowStream
from chainrule.data.stream_batches import StreamBatches
from chainrule.data.target import Target, are_numbers, label_array
from chainrule.engines import TrainingPlan
from chainrule.errors import DataError, InvalidInputError
from chainrule.head import Head, check_head, check_targets
from chainrule.layers import DenseLayer, Layer
from chainrule.losses import LossFunction, smooth_labels
from chainrule.optimizer import ObjectiveOptimizer
from chainrule.stack import LayerStack
from chainrule.types import Array, Inputs

__all__ = ["as_dataset", "as_rows", "check_members", "predicts_numbers", "training_batches", "validation_rows"]


def training_batches(
    stack: LayerStack, plan: TrainingPlan, training: Dataset | RowStream, augmentation: Augmentation | None
) -> Batches:
    """Return the batches of an epoch, with smoothed labels and class weights where the plan has them."""
    given: Any = augmentation  # a user may give anything
    if given is not None and not isinstance(given, Augmentation):
        hint = " Did you forget to call it?" if isinstance(given, type) else ""
        raise InvalidInputError(f"augmentation is {given!r}, which is not an Augmentation.{hint}")
    if isinstance(training, RowStream):
        return _stream_batches(stack, plan, training, augmentation)
    rows = _training_rows(stack, plan, training)
    batches = ArrayBatches(
        rows.inputs,
        rows.targets,
        rows.weights,
        batch_size=training.n_rows if plan.optimizer.full_batch else plan.batch_size,
        seed=stack.seed,
        shuffle=plan.shuffle,
        augmentation=augmentation,
    )
    if isinstance(plan.optimizer, ObjectiveOptimizer):
        plan.optimizer.check_size(stack.vector.size, batches.targets.size)
    return batches


def _stream_batches(
    stack: LayerStack, plan: TrainingPlan, training: RowStream, augmentation: Augmentation | None
) -> StreamBatches:
    if plan.optimizer.full_batch:
        raise InvalidInputError(
            f"{type(plan.optimizer).__name__} needs all rows in one batch, and a stream gives them in many; take "
            "another optimizer, or rows that fit into memory."
        )
    if augmentation is not None:
        raise InvalidInputError("The rows of a stream cannot be augmented; leave augmentation out.")
    weight_of = None  # for the classes of the whole stream: a piece of it may lack some of them
    if plan.class_weight is not None:
        classes = training.target.classes
        if not classes:
            raise InvalidInputError(
                "class_weight needs a stream of classes, and these targets are numbers or probabilities; leave "
                "class_weight out, or train on rows that fit into memory."
            )
        weight_of = class_weights(classes, training.label_names, training.class_counts, plan.class_weight)
        weight_of = weight_of / np.average(weight_of, weights=training.class_counts)

    def rows_of(piece: Dataset) -> Batch:
        rows = _training_rows(stack, dataclasses.replace(plan, class_weight=None), piece)
        return rows if weight_of is None else rows._replace(weights=weight_of[piece.y])

    return StreamBatches(training, rows_of, batch_size=plan.batch_size, seed=stack.seed, shuffle=plan.shuffle)


def _training_rows(stack: LayerStack, plan: TrainingPlan, training: Dataset) -> Batch:
    """Return rows to train on as arrays, with class weights and smoothed labels if the plan asks for them."""
    rows = _weighted(plan, training, as_rows(stack, plan.loss, training))
    check_head(stack.layers, plan.loss)
    if not plan.label_smoothing:
        return rows
    if plan.loss.is_regression and not (training.target and training.target.classes):
        raise InvalidInputError("label_smoothing needs targets that are classes, and these are numbers.")
    independent = isinstance(stack.layers[-1], SigmoidActivation)
    return rows._replace(targets=smooth_labels(rows.targets, plan.label_smoothing, independent=independent))


def validation_rows(stack: LayerStack, plan: TrainingPlan, held_out: Dataset, target: Target | None) -> Batch:
    """Return rows to validate on as arrays, with class weights if the plan has them."""
    return _weighted(plan, held_out, as_rows(stack, plan.loss, held_out, target))


def _weighted(plan: TrainingPlan, dataset: Dataset, rows: Batch) -> Batch:
    """Return rows with class weights if the plan has them; their targets may be the probabilities of classes."""
    if plan.class_weight is None:
        return rows
    shares, is_regression = None, dataset.target is None or not dataset.target.classes
    if is_regression and not plan.loss.is_regression:
        one_column = rows.targets.shape[1] == 1  # of the second class
        shares = np.hstack([1 - rows.targets, rows.targets]) if one_column else rows.targets
        if not np.allclose(shares.sum(axis=1), 1, atol=1e-3):
            raise InvalidInputError("class_weight needs one class in each row, and these targets have several labels.")
    return rows._replace(weights=class_weight_rows(dataset, plan.class_weight, shares))


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
        raise InvalidInputError(STREAM_NOT_ALLOWED)
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
    """Return whether a network with this loss and these layers predicts one number per row."""
    if not loss.is_regression or not layers or isinstance(layers[-1], SigmoidActivation | SoftmaxActivation):
        return False
    n_units = next((layer.n_units for layer in reversed(layers) if isinstance(layer, DenseLayer)), 0)
    return n_units == loss.n_outputs(1)


def as_rows(stack: LayerStack, loss: LossFunction, dataset: Dataset, target: Target | None = None) -> Batch:
    """Return a dataset as arrays of the network's type and shapes; classes in the order that ``target`` knows."""
    if dataset.y is None or dataset.target is None:
        raise InvalidInputError("This dataset has no targets y; training and scoring need them.")
    check_members(stack.split_head(loss), dataset.sample_weight)
    inputs = stack.check_inputs(dataset.X)
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


def check_members(head: Head, weights: Array | None) -> None:
    """Refuse weights for each member of an ensemble unless the network is an ensemble of so many members."""
    if weights is None or weights.ndim == 1:
        return
    if head.average is None or weights.shape[1] != head.n_members:
        members = "no members" if head.average is None else f"{head.n_members} members"
        ends = "; a network has members if it ends in an EnsembleMeanLayer" if head.average is None else ""
        raise InvalidInputError(
            f"sample_weight has shape {weights.shape}, one column for each member of an ensemble, and this network has "
            f"{members}: give one weight per row, shape {weights.shape[:1]}, or one column for each member{ends}."
        )
