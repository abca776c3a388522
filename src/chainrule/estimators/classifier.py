"""Classification."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets

from chainrule.data.class_weights import ClassWeight
from chainrule.errors import InvalidInputError
from chainrule.estimators.outputs import ClassColumn, ClassColumns, Outputs, class_outputs
from chainrule.estimators.parameters import ActivationParameter, HiddenSizes, LossParameter
from chainrule.estimators.perceptron import MultilayerPerceptron, available_if, takes_batches, with_attributes
from chainrule.estimators.presets import create_loss
from chainrule.estimators.scoring import exact_matches
from chainrule.losses import LossFunction
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.settings import Setting, declared_settings, documented
from chainrule.types import Array

__all__ = ["MLPClassifier"]

_NETWORK = declared_settings(NeuralNetwork)


def _has_probabilities(estimator: Any) -> None:
    """Raise AttributeError if the loss does not compare probabilities."""
    if _loss_of(estimator.loss).expects_scores:
        raise AttributeError(
            f"probability estimates are not available for loss={estimator.loss!r}; use decision_function, or the loss "
            "'log_loss'"
        )


def _has_scores(estimator: Any) -> None:
    """Raise AttributeError if the loss does not compare scores."""
    if not _loss_of(estimator.loss).expects_scores:
        raise AttributeError(f"decision_function is not available for loss={estimator.loss!r}; use predict_proba")


def _loss_of(given: Any) -> LossFunction:
    is_probabilistic = isinstance(given, str) and given in ClassColumn.PROBABILISTIC
    return create_loss("binary_cross_entropy" if is_probabilistic else given)


def _same_classes(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(np.array_equal, one, other))
    return np.array_equal(one, other)


@checked
@with_attributes
@documented
@dataclass(eq=False, repr=False)
class MLPClassifier(ClassifierMixin, MultilayerPerceptron):  # type: ignore[misc]
    """Multi-layer perceptron for classification, with the interface of scikit-learn's ``MLPClassifier``.

    The targets are two or more classes, columns of 0 and 1 for several labels, or several columns of classes. Inputs
    are used as they are, so standardise them, for example with ``StandardScaler``.

    Parameters
    ----------
    {settings}

    Attributes
    ----------
    classes_
        The classes in sorted order; for several columns of classes, a list of these; for several labels, the numbers
        of the columns.
    {attributes}

    Notes
    -----
    With scikit-learn's parameters, the initial weights and the objective are those of scikit-learn for the same
    ``random_state``; the rows are shuffled in another order, and the epsilon of Adam is added as in the paper.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0)
    >>> classifier = MLPClassifier((64,), dropout=0.2, early_stopping=True, scoring="loss", random_state=0)
    >>> classifier.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    >>> classifier.predict_proba(X_test).shape
    (450, 10)
    """

    hidden_layer_sizes: Annotated[HiddenSizes, Setting("The numbers of units of the hidden layers.")] = (100,)
    activation: Annotated[
        ActivationParameter,
        Setting("A name, an activation, or a function and its derivative: one, or a list with one for each layer."),
    ] = "relu"
    _: KW_ONLY
    loss: Annotated[
        LossParameter,
        Setting(
            "'log_loss' (cross-entropy), 'focal', 'hinge', or another loss: an object, its class, its name, or a "
            "function of (y_true, y_pred) for each element and its derivative."
        ),
    ] = "log_loss"
    label_smoothing: Annotated[float, _NETWORK["label_smoothing"].setting] = 0.0
    class_weight: Annotated[ClassWeight | None, _NETWORK["class_weight"].setting] = None
    calibrate: Annotated[
        bool,
        Setting(
            "Whether to divide the logits by the temperature with the smallest log loss on the rows held out for "
            "validation, or with preset='tabular' on the out-of-fold predictions. The predicted classes stay the same."
        ),
    ] = False

    @available_if(takes_batches)
    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Train for one epoch on the given rows, from the present weights.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        classes
            All classes, also those that ``y`` does not have; the first call needs them.

        Returns
        -------
        object
            The estimator.
        """
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight 'balanced' is not supported for partial_fit. In order to use 'balanced' weights, use "
                "compute_class_weight('balanced', classes=classes, y=y), and pass the weights as the class_weight "
                "parameter."
            )
        if not self.__sklearn_is_fitted__():
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
        elif classes is not None and not _same_classes(class_outputs(y, classes).classes, self.classes_):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes_!r}"
            )
        return self._fit(X, y, sample_weight, None, incremental=True, classes=classes)

    def predict(self, X: Any) -> Array:
        """Return the class of each row, columns of 0 and 1 for several labels, or columns of classes."""
        predictions = self._predictions(X)
        return self._outputs.labels_of(predictions)

    @available_if(_has_scores)
    def decision_function(self, X: Any) -> Array:
        """Return the scores of a network that is trained with a hinge loss; a larger score is more confident.

        For two classes, the shape is (rows,), and a score above 0 means the second class. For more classes, the shape
        is (rows, classes), and the class with the largest score is predicted.
        """
        scores = self._network_outputs(X).astype(np.float64)
        return scores[:, 0] if scores.shape[1] == 1 else scores

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> Any:
        """Return the probabilities of the classes as float64, with one column for each class, in sorted order.

        The rows sum to 1. For several labels, each column has the probability of one label. For several columns of
        classes, the result is a list with one array for each of them.
        """
        predictions = self._predictions(X)
        return self._outputs.probabilities_of(predictions)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of :meth:`predict_proba`."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):  # the logarithm of 0
            return [*map(np.log, probabilities)] if isinstance(probabilities, list) else np.log(probabilities)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy: the share of the rows whose class, or all of whose labels or classes, are right.

        Parameters
        ----------
        X, y, sample_weight
            Rows with their classes, and their weights.

        Returns
        -------
        float
            The accuracy.
        """
        if isinstance(getattr(self, "_outputs", None), ClassColumns):
            return exact_matches(self, X, np.asarray(y), sample_weight)
        accuracy: float = super().score(X, y, sample_weight)
        return accuracy

    def _find_outputs(self, y: Array, known: Outputs | None, *, incremental: bool, classes: Any = None) -> Outputs:
        check_classification_targets(y)
        if known is None:
            outputs = class_outputs(y, classes)
            if self.calibrate and (not isinstance(outputs, ClassColumn) or _loss_of(self.loss).expects_scores):
                raise InvalidInputError(
                    "calibrate=True needs one column of classes, and a loss of probabilities such as 'log_loss'; leave "
                    "it out."
                )
            return outputs
        unknown = known.unknown_labels(y)
        if incremental and unknown:
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {unknown}."
            )
        found = self.classes_ if incremental else class_outputs(y).classes
        if not _same_classes(found, self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. "
                f"Previously got {self.classes_}, `y` has {found}"
            )
        return known

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
