"""Regression."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Self

from sklearn.base import RegressorMixin

from chainrule.architecture import ActivationLike
from chainrule.data.target import plain_targets
from chainrule.errors import InvalidInputError
from chainrule.estimators.outputs import Numbers, Outputs
from chainrule.estimators.parameters import ActivationParameter, HiddenSizes, LossParameter
from chainrule.estimators.perceptron import HELD_OUT, MultilayerPerceptron, available_if, takes_batches, with_attributes
from chainrule.estimators.presets import create_loss
from chainrule.losses import MultiQuantile
from chainrule.named import checked
from chainrule.settings import Setting, documented
from chainrule.types import Array

__all__ = ["MLPRegressor"]


def _has_quantiles(estimator: Any) -> None:
    """Raise AttributeError if the loss does not have several quantiles."""
    if not isinstance(create_loss(estimator.loss), MultiQuantile):
        raise AttributeError(
            f"predict_quantiles is not available for loss={estimator.loss!r}; give a loss such as "
            "'multi_quantile:quantiles=(0.05,0.5,0.95)'"
        )


@checked
@with_attributes
@documented
@dataclass(eq=False, repr=False)
class MLPRegressor(RegressorMixin, MultilayerPerceptron):  # type: ignore[misc]
    """Multi-layer perceptron for regression, with the interface of scikit-learn's ``MLPRegressor``.

    The targets are one or several numbers for each row. Inputs and targets are used as they are, so standardise both,
    for example with ``StandardScaler`` and ``TransformedTargetRegressor``; ``preset="tabular"`` takes any tables.

    Parameters
    ----------
    {settings}

    Attributes
    ----------
    {attributes}

    Notes
    -----
    With scikit-learn's parameters, the initial weights and the objective are those of scikit-learn for the same
    ``random_state``; the rows are shuffled in another order, and the epsilon of Adam is added as in the paper. For
    several outputs, ``loss_`` is the sum over the outputs, which scikit-learn minimises too, but reports as a mean.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_diabetes(return_X_y=True)
    >>> X, y = StandardScaler().fit_transform(X), (y - y.mean()) / y.std()
    >>> regressor = MLPRegressor(
    ...     hidden_layer_sizes=(32, 16), activation="selu", solver="adamw", dropout=[0.2, 0.1], early_stopping=True,
    ...     random_state=0,
    ... ).fit(X, y)
    >>> round(regressor.score(X, y), 1)
    0.5
    """

    loss: Annotated[
        LossParameter,
        Setting(
            "'squared_error' (halved), 'poisson', or another loss: an object, its class, its name, or a function of "
            "(y_true, y_pred) for each element and its derivative."
        ),
    ] = "squared_error"
    hidden_layer_sizes: Annotated[HiddenSizes, Setting("The numbers of units of the hidden layers.")] = (100,)
    activation: Annotated[
        ActivationParameter,
        Setting("A name, an activation, or a function and its derivative: one, or a list with one for each layer."),
    ] = "relu"
    _: KW_ONLY
    output_activation: Annotated[
        ActivationLike | None, Setting("The activation of the outputs, such as 'relu' for numbers >= 0.")
    ] = None

    _outputs_are_numbers = True

    @available_if(takes_batches)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train for one epoch on the given rows, from the present weights.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.

        Returns
        -------
        object
            The estimator.
        """
        return self._fit(X, y, sample_weight, None, incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the predicted number of each row, or the numbers in a matrix if there are several."""
        predictions = self._predictions(X)
        return predictions[:, 0] if predictions.shape[1] == 1 else predictions

    def predict_interval(self, X: Any, alpha: float = 0.1) -> Array:
        """Return the limits between which the true number of each row lies with probability 1 - alpha.

        The limits are computed from the errors on the rows held out for validation, or with ``preset="tabular"`` from
        the out-of-fold errors (split conformal prediction). With the losses "gaussian_nll", "multi_quantile" and
        "poisson", the width depends on the row; with other losses, all intervals have the same width.

        Parameters
        ----------
        X
            Rows as in :meth:`predict`.
        alpha
            The share of the true numbers that may lie outside the intervals.

        Returns
        -------
        array
            The lower and the upper limits: shape (rows, 2), or (rows, outputs, 2) for several outputs.
        """
        outputs = self._network_outputs(X)
        if self.calibration_ is None:
            raise InvalidInputError(f"predict_interval needs {HELD_OUT}.")
        return self.model_.intervals_of(outputs, alpha)

    @available_if(_has_quantiles)
    def predict_quantiles(self, X: Any) -> Array:
        """Return the quantiles of the loss :class:`~chainrule.losses.MultiQuantile` in increasing order.

        The shape is (rows, quantiles), or (rows, outputs, quantiles) for several outputs.
        """
        return self.model_.quantiles_of(self._network_outputs(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return R2, the share of the variance of y that the predictions explain.

        Parameters
        ----------
        X, y, sample_weight
            Rows with their targets, and their weights.

        Returns
        -------
        float
            R2.
        """
        r2: float = super().score(X, plain_targets(y, as_numbers=True), sample_weight)
        return r2

    def _find_outputs(self, y: Array, known: Outputs | None, *, incremental: bool, classes: Any = None) -> Outputs:
        return Numbers(1 if y.ndim == 1 else y.shape[1])
