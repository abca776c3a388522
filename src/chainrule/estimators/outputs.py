"""What the outputs of a network mean to an estimator: from labels to targets, and from predictions to labels."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
from sklearn.utils.multiclass import type_of_target

from chainrule.activations import LogSoftmaxActivation
from chainrule.data.class_weights import class_weights
from chainrule.data.target import Target, warn_about_variants
from chainrule.data.texts import MISSING_WORDS, normal_text
from chainrule.errors import InvalidInputError, listed, warn
from chainrule.layers import Layer, Parallel
from chainrule.losses import LossFunction
from chainrule.metrics.inputs import normalized_probabilities
from chainrule.model import TargetScaling
from chainrule.types import Array

__all__ = ["ClassColumn", "ClassColumns", "LabelColumns", "Numbers", "Outputs", "class_outputs"]


class Outputs(ABC):
    """Base class: the target of the network, its default loss, and the conversion of labels and predictions.

    Attributes
    ----------
    losses
        The losses of this kind of target by the names that stand for several of them.
    target
        What the network learns to predict.
    classes
        The attribute ``classes_`` of a classifier; None for numbers.
    scaling
        The standardisation of numbers for training; None if there is none.
    """

    losses: ClassVar[dict[str, str]] = {}
    target: Target
    classes: Any = None
    scaling: TargetScaling | None = None

    def last_layers(self) -> list[Layer]:
        """Return the layers behind those that follow from :attr:`target`."""
        return []

    def targets_of(self, y: Array) -> Array:
        """Return labels or numbers as a :class:`Dataset` takes them."""
        return y

    def scaled_for(self, y: Array, loss: LossFunction, output_activation: Any) -> Outputs:
        """Return these outputs with numbers standardised for training, if loss and output activation allow it."""
        return self

    def unknown_labels(self, y: Array) -> list[Any]:
        """Return the labels in ``y`` that are none of the classes."""
        return []

    def row_weights(self, y: Array, class_weight: Any, weights: Array | None) -> Array | None:
        """Return sample weights times class weights, where the network does not take the class weights itself."""
        return weights

    @abstractmethod
    def labels_of(self, predictions: Array) -> Array:
        """Return the labels or numbers that predictions of shape (rows, columns) mean; targets are such as well."""

    def probabilities_of(self, predictions: Array) -> Array:
        """Return the probabilities of the classes as float64."""
        raise NotImplementedError


@final
@dataclass(frozen=True)
class Numbers(Outputs):
    """One or several numbers."""

    losses: ClassVar[dict[str, str]] = {"squared_error": "half_squared_error"}

    n_columns: int
    scaling: TargetScaling | None = None

    @property
    def target(self) -> Target:  # type: ignore[override]
        """A regression."""
        return Target("regression", n_columns=self.n_columns)

    def scaled_for(self, y: Array, loss: LossFunction, output_activation: Any) -> Outputs:
        """Return these outputs with the means and the standard deviations of ``y``."""
        suits = loss.allows_standardized_targets and output_activation is None
        return replace(self, scaling=TargetScaling.learn(y)) if suits else self

    def targets_of(self, y: Array) -> Array:
        """Return the numbers, standardised with ``scaling``."""
        return y if self.scaling is None else self.scaling.apply(y)

    def labels_of(self, predictions: Array) -> Array:
        """Return the numbers in the units of the targets, as a vector if there is one for each row."""
        if self.scaling is not None:
            predictions = self.scaling.undo(predictions)
        return predictions[:, 0] if self.n_columns == 1 else predictions


@final
@dataclass(frozen=True, eq=False)
class ClassColumn(Outputs):
    """One class for each row, of two or more ``classes`` in sorted order."""

    PROBABILISTIC: ClassVar[tuple[str, ...]] = ("log_loss", "focal")

    classes: Array

    @property
    def losses(self) -> dict[str, str]:  # type: ignore[override]
        """Those of two classes, or of more."""
        if len(self.classes) == 2:
            return {"log_loss": "binary_cross_entropy", "focal": "binary_focal", "hinge": "hinge"}
        return {"log_loss": "categorical_cross_entropy", "focal": "categorical_focal", "hinge": "multi_margin"}

    @property
    def target(self) -> Target:  # type: ignore[override]
        """The classes by their values."""
        return Target("binary" if len(self.classes) == 2 else "multiclass", tuple(self.classes.tolist()))

    def unknown_labels(self, y: Array) -> list[Any]:
        """Return the labels in ``y`` that are none of the classes."""
        unknown: list[Any] = np.setdiff1d(y, self.classes).tolist()
        return unknown

    def labels_of(self, predictions: Array) -> Array:
        """Return the class with the largest probability."""
        return np.asarray(self.classes[self.probabilities_of(predictions).argmax(axis=1)])

    def probabilities_of(self, predictions: Array) -> Array:
        """Return one column for each class; the rows sum to 1."""
        return normalized_probabilities(predictions)


@final
@dataclass(frozen=True)
class LabelColumns(Outputs):
    """Any number of labels for each row: columns of 0 and 1, one for each label."""

    losses: ClassVar[dict[str, str]] = {"log_loss": "multi_label_cross_entropy", "focal": "binary_focal"}

    n_columns: int

    @property
    def target(self) -> Target:  # type: ignore[override]
        """The columns of 0 and 1."""
        return Target("multilabel", n_columns=self.n_columns)

    @property
    def classes(self) -> Array:
        """The numbers of the columns, as in scikit-learn."""
        return np.arange(self.n_columns)

    def row_weights(self, y: Array, class_weight: Any, weights: Array | None) -> Array | None:
        """Return sample weights times the class weights of all columns."""
        return _product_of_weights(self.targets_of(y), [np.arange(2)] * self.n_columns, class_weight, weights)

    def targets_of(self, y: Any) -> Array:
        """Return a dense matrix of 0 and 1."""
        return np.asarray(y.toarray() if hasattr(y, "toarray") else y, np.float64)

    def labels_of(self, predictions: Array) -> Array:
        """Return 1 for each label whose probability is above one half."""
        return np.asarray(predictions > 0.5, dtype=np.int64)

    def probabilities_of(self, predictions: Array) -> Array:
        """Return the probability of each label."""
        return np.asarray(predictions, np.float64)


@final
@dataclass(frozen=True, eq=False)
class ClassColumns(Outputs):
    """Several columns of classes, each with probabilities of its own; ``classes`` are those of each column."""

    losses: ClassVar[dict[str, str]] = {"log_loss": "negative_log_likelihood"}

    classes: list[Array]

    @property
    def target(self) -> Target:  # type: ignore[override]
        """One column of 0 and 1 for each class of each column."""
        return Target("regression", n_columns=self._ends[-1])

    @property
    def _ends(self) -> list[int]:
        return [*itertools.accumulate(map(len, self.classes))]

    def last_layers(self) -> list[Layer]:
        """Return a logarithmic softmax for the units of each column."""
        heads = tuple(LogSoftmaxActivation() for _ in self.classes)
        parts = np.split(np.arange(self._ends[-1]), self._ends[:-1])
        return [Parallel(heads, columns=tuple(tuple(part.tolist()) for part in parts))]

    def targets_of(self, y: Array) -> Array:
        """Return a matrix with a 1 for the class of each column."""
        columns = zip(y.T, self.classes, strict=True)
        return np.hstack([column[:, None] == classes for column, classes in columns]).astype(np.float64)

    def row_weights(self, y: Array, class_weight: Any, weights: Array | None) -> Array | None:
        """Return sample weights times the class weights of all columns."""
        return _product_of_weights(y, self.classes, class_weight, weights)

    def unknown_labels(self, y: Array) -> list[Any]:
        """Return the labels in a column that are none of its classes."""
        columns = zip(y.T, self.classes, strict=True)
        return [label for column, classes in columns for label in np.setdiff1d(column, classes).tolist()]

    def labels_of(self, predictions: Array) -> Array:
        """Return the class with the largest probability in each column."""
        parts = zip(self.probabilities_of(predictions), self.classes, strict=True)
        return np.column_stack([classes[part.argmax(axis=1)] for part, classes in parts])

    def probabilities_of(self, predictions: Array) -> list[Array]:  # type: ignore[override]
        """Return the probabilities of the classes of each column."""
        parts = np.split(np.asarray(predictions, np.float64), self._ends[:-1], axis=1)
        return [part / part.sum(axis=1, keepdims=True) for part in parts]


def _product_of_weights(y: Array, classes: list[Array], class_weight: Any, weights: Array | None) -> Array | None:
    """Return the sample weights times the weight of the class in each column, as scikit-learn does.

    ``class_weight`` is "balanced", or a mapping for all columns, or a list with one of these for each column.
    """
    if class_weight is None:
        return weights
    rows = np.ones(y.shape[0]) if weights is None else weights
    given = class_weight if isinstance(class_weight, list | tuple) else [class_weight] * len(classes)
    if len(given) != len(classes):
        raise InvalidInputError(
            f"class_weight has {len(given)} elements, and the target has {len(classes)} columns; give one for each."
        )
    product = rows
    for column, known, one in zip(y.T, classes, given, strict=True):
        codes = np.searchsorted(known, column)
        totals = np.bincount(codes, rows, minlength=len(known))
        product = product * class_weights(known.tolist(), [], totals, one)[codes]
    return product


def class_outputs(y: Array, classes: Any = None) -> Outputs:
    """Return what is to be predicted for the labels ``y``; ``classes`` are those that there are, if y may lack some."""
    kind = type_of_target(y)
    if kind == "multilabel-indicator":
        return LabelColumns(y.shape[1])
    if kind == "multiclass-multioutput":
        return ClassColumns([np.unique(column) for column in (y.T if classes is None else classes)])
    classes = np.unique(y if classes is None else classes)
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes.tolist()[0]!r}"
        )
    warn_about_variants(classes.tolist())
    words = [
        repr(label) for label in classes.tolist() if isinstance(label, str) and normal_text(label) in MISSING_WORDS
    ]
    if words:
        warn(f"The target has the class {listed(words)}; drop such rows if their labels are missing.")
    return ClassColumn(classes)
