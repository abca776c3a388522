"""Saliency and integrated gradients: which columns a single prediction depends on, from the gradient of the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.explain.base import Column, Explanation, Rows
from chainrule.named import checked
from chainrule.ranges import check_count
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["IntegratedGradients", "Saliency", "integrated_gradients", "saliency"]


@dataclass(frozen=True, eq=False, repr=False)
class Attribution(Explanation):
    """The contribution or sensitivity of each column in each row.

    Attributes
    ----------
    columns
        The names of the columns, in the order of the table.
    values
        One number for each row and column, (rows, columns).
    inputs
        One number for each row and input of the network, (rows, inputs).
    predictions
        The prediction that is explained in each row: a probability, or a number in the units of the target.
    """

    columns: tuple[str, ...]
    values: Array
    inputs: Array
    predictions: Array

    @property
    def importance(self) -> Array:
        """The mean of the absolute values over the rows, for each column."""
        return np.asarray(np.abs(self.values).mean(axis=0))

    @property
    def order(self) -> IntArray:
        """The indices of the columns, from the most to the least important."""
        return np.argsort(-self.importance, kind="stable")

    def to_frame(self) -> pd.DataFrame:
        """Return :attr:`values` as a data frame."""
        import pandas as pd

        return pd.DataFrame(self.values, columns=list(self.columns))


@dataclass(frozen=True, eq=False, repr=False)
class Saliency(Attribution):
    """The result of :func:`saliency`; ``inputs`` is the gradient of the prediction with respect to each input."""


@dataclass(frozen=True, eq=False, repr=False)
class IntegratedGradients(Attribution):
    """The result of :func:`integrated_gradients`.

    Attributes
    ----------
    baseline_predictions
        The predictions for the baseline.
    """

    baseline_predictions: Array

    @property
    def completeness_error(self) -> Array:
        """The sum of the values minus the difference of both predictions, in each row; 0 for exact integrals.

        A large error means that ``n_steps`` is too small.
        """
        return np.asarray(self.values.sum(axis=1) - (self.predictions - self.baseline_predictions))


@checked
def saliency(model: Any, X: Any = None, *, output: Any = None) -> Saliency:
    """Return the gradient of a prediction with respect to the inputs, in each row.

    It says how much the prediction changes with a small change of an input: ``S = dF(x)/dx``. For a table, numbers are
    standardised inputs, so that the gradients of columns with different units can be compared. The value of a column
    with one input is the absolute gradient g. That of a column with several inputs is ``sqrt(g' C g)``, where C is the
    covariance of these inputs in X: inputs that change together, such as the year and the days of a date, are taken
    together. (For a single row, it is the Euclidean norm of g.) A column that matters can have a gradient near 0, such
    as where a probability is close to 0 or 1.

    Parameters
    ----------
    model
        A :class:`NeuralNetwork`, a :class:`Model`, a fitted estimator, or the result of :func:`train`.
    X
        The rows; by default the test rows of a run.
    output
        The class whose probability is explained; by default the second of two classes, and the predicted class of each
        row for more classes. For a regression with several targets, the index of the target, from 0.

    Notes
    -----
    Source: Simonyan, Vedaldi and Zisserman 2014, Deep inside convolutional networks, section 3 (arXiv 1312.6034).

    Examples
    --------
    >>> from chainrule.layers import DenseLayer
    >>> from chainrule.neuralnet import NeuralNetwork
    >>> network = NeuralNetwork().add(DenseLayer(1, (3,)))
    >>> network.layers[0].weights = [[2], [0], [-1]]
    >>> saliency(network, [[1.0, 1.0, 1.0]]).inputs.tolist()
    [[2.0, 0.0, -1.0]]
    """
    rows = Rows.of(model, X)
    predictions, gradient = rows.gradient(rows.inputs, rows.choose_output(output))
    values = np.empty((len(gradient), len(rows.columns)))
    for k, column in enumerate(rows.columns):
        g, x = gradient[:, column.places], np.asarray(rows.inputs[:, column.places], np.float64)
        square = (g @ np.cov(x, rowvar=False) * g if len(x) > 1 and g.shape[1] > 1 else g * g).sum(axis=1)
        values[:, k] = np.sqrt(np.maximum(square, 0))
    return Saliency(_names(rows.columns), values, gradient, predictions)


@checked
def integrated_gradients(
    model: Any, X: Any = None, *, baseline: Any = None, output: Any = None, n_steps: int = 50
) -> IntegratedGradients:
    """Divide the difference between a prediction and that for a baseline among the columns, in each row.

    Input i gets ``(x_i - b_i) * integral of dF(b + a (x - b))/dx_i over a from 0 to 1`` for the baseline b. The sum
    over all inputs is ``F(x) - F(b)``, so the values are in the units of the prediction. The value of a column is the
    sum over the inputs that are made from it.

    Parameters
    ----------
    model
        A :class:`NeuralNetwork`, a :class:`Model`, a fitted estimator, or the result of :func:`train`.
    X
        The rows; by default the test rows of a run.
    baseline
        A row of the same kind as those of X, to compare with. By default, it is the mean of the inputs of X, in which a
        category has the shares of its values.
    output
        As for :func:`saliency`.
    n_steps
        The number of points at which the integral is evaluated, those of the Gauss-Legendre quadrature.

    Notes
    -----
    Source: Sundararajan, Taly and Yan 2017, Axiomatic attribution for deep networks, equation 1 (arXiv 1703.01365).

    Examples
    --------
    >>> from chainrule.layers import DenseLayer
    >>> from chainrule.neuralnet import NeuralNetwork
    >>> network = NeuralNetwork().add(DenseLayer(1, (3,)))
    >>> network.layers[0].weights = [[2], [0], [-1]]
    >>> integrated_gradients(network, [[1.0, 5.0, 4.0]], baseline=[[0.0, 0.0, 0.0]]).values.round(4).tolist()
    [[2.0, 0.0, -4.0]]
    """
    n_steps = check_count("integrated_gradients", "n_steps", n_steps)
    rows = Rows.of(model, X)
    output_of_rows = rows.choose_output(output)
    start = rows.inputs.mean(axis=0, keepdims=True) if baseline is None else Rows.of(model, baseline).inputs
    if len(start) != 1:
        raise InvalidInputError(f"The baseline has {len(start)} rows; give one row.")
    way = np.asarray(rows.inputs, np.float64) - start
    points, weights = np.polynomial.legendre.leggauss(n_steps)  # of the interval from -1 to 1
    total = np.zeros_like(way)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        total += weight * rows.gradient(start + point * way, output_of_rows)[1]
    predictions = rows.gradient(rows.inputs, output_of_rows)[0]
    of_baseline = rows.gradient(np.repeat(start, len(way), axis=0), output_of_rows)[0]
    inputs = way * total
    values = _sum_by_column(inputs, rows.columns)
    return IntegratedGradients(_names(rows.columns), values, inputs, predictions, of_baseline)


def _sum_by_column(inputs: Array, columns: tuple[Column, ...]) -> Array:
    return np.stack([inputs[:, column.places].sum(axis=1) for column in columns], axis=1)


def _names(columns: tuple[Column, ...]) -> tuple[str, ...]:
    return tuple(column.name for column in columns)
