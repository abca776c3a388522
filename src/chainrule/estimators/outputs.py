"""What the outputs of a network mean to an estimator: from labels to targets, and from predictions to labels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
from sklearn.utils.multiclass import type_of_target

from chainrule.activations import ActivationLayer, SigmoidActivation
from chainrule.data.target import Target
from chainrule.layers import Layer
from chainrule.losses import LossFunction
from chainrule.metrics.inputs import normalized_probabilities
from chainrule.model import TargetScaling
from chainrule.types import Array

__all__ = ["ClassColumn", "LabelColumns", "Numbers", "Outputs", "class_outputs"]


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
        """The columns as numbers."""
        return Target("regression", n_columns=self.n_columns)

    @property
    def classes(self) -> Array:
        """The numbers of the columns, as in scikit-learn."""
        return np.arange(self.n_columns)

    def last_layers(self) -> list[ActivationLayer]:  # type: ignore[override]
        """Return a sigmoid, for independent probabilities."""
        return [SigmoidActivation()]

    def targets_of(self, y: Any) -> Array:
        """Return a dense matrix of 0 and 1."""
        return np.asarray(y.toarray() if hasattr(y, "toarray") else y, np.float64)

    def labels_of(self, predictions: Array) -> Array:
        """Return 1 for each label whose probability is above one half."""
        return np.asarray(predictions > 0.5, dtype=np.int64)

    def probabilities_of(self, predictions: Array) -> Array:
        """Return the probability of each label."""
        return np.asarray(predictions, np.float64)


def class_outputs(y: Array, classes: Array | None = None) -> Outputs:
    """Return what is to be predicted for the labels ``y``; ``classes`` are those that there are, if y may lack some."""
    if type_of_target(y) == "multilabel-indicator":
        return LabelColumns(y.shape[1])
    classes = np.unique(y if classes is None else classes)
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, but the data contains only one class: "
            f"{classes[0]!r}"
        )
    return ClassColumn(classes)
