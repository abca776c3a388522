"""Regression."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Self

from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if

from chainrule.architecture import ActivationLike
from chainrule.estimators.outputs import Numbers, Outputs
from chainrule.estimators.parameters import ActivationParameter, HiddenSizes
from chainrule.estimators.perceptron import MultilayerPerceptron, takes_batches
from chainrule.losses import LossFunction
from chainrule.named import checked
from chainrule.settings import Setting, documented
from chainrule.types import Array

__all__ = ["MLPRegressor"]


@checked
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
    network_
        The :class:`NeuralNetwork`, with methods such as ``summary`` and ``save``.
    model_
        The :class:`Model`: the network with the meaning of its outputs, which can be saved, exported and served.
    coefs_
        The weights of the dense layers, of shape (inputs, units); not available with ``preset="tabular"``.
    intercepts_
        The biases of the dense layers.
    history_
        Loss, penalty, metrics, learning rate and seconds of every epoch, also of earlier fits with ``warm_start``.
    loss_curve_
        Loss plus penalty of every epoch.
    loss_
        The last element of ``loss_curve_``.
    best_loss_
        The smallest element of ``loss_curve_``; None with ``early_stopping``.
    validation_loss_curve_
        The loss on the validation rows after every epoch; None if there are none. With ``preset="tabular"``, each row
        is predicted by the member of the ensemble that was not trained on it.
    validation_scores_
        The score on the validation rows after every epoch; None if there are none.
    best_validation_score_
        The largest of ``validation_scores_``; None if there are no validation rows.
    n_iter_
        The number of epochs of the last fit.
    best_iter_
        The epoch of the last fit, counted from 1, with the best validation score, or without ``early_stopping`` with
        the smallest loss. With ``preset="tabular"``, the one with the smallest validation loss; 0 is the linear model.
    stop_reason_
        The reason why the last fit stopped before ``max_iter`` epochs; None if it did not.
    t_
        The number of rows trained on, over all epochs.
    n_features_in_
        The number of input columns.
    feature_names_in_
        The names of the input columns, if X was a frame.
    n_layers_
        The number of layers, with those of the inputs and outputs.
    n_outputs_
        The number of outputs.
    out_activation_
        The activation of the outputs: "logistic", "softmax", "identity", ...

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
        str | type[LossFunction] | LossFunction,
        Setting("'squared_error' (halved), 'poisson', or another loss: an object, its class, or its name."),
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

    @available_if(takes_batches)  # type: ignore[untyped-decorator]
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
        return self._outputs.labels_of(predictions)

    def _find_outputs(self, y: Array, known: Outputs | None, *, incremental: bool, classes: Any = None) -> Outputs:
        return Numbers(1 if y.ndim == 1 else y.shape[1])
