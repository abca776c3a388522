"""Partial dependence: the prediction as a function of one column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.explain.base import Column, ColumnKind, Explanation, Rows
from chainrule.named import checked
from chainrule.ranges import check_count
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PartialDependence", "partial_dependence"]

QUANTILES = (0.02, 0.98)  # the range of a grid of numbers and dates; there are few rows outside it
MISSING = "(missing)"


@dataclass(frozen=True, eq=False, repr=False)
class PartialDependence(Explanation):
    """The result of :func:`partial_dependence`.

    Attributes
    ----------
    column
        The name of the column.
    kind
        Whether the column has numbers, categories or dates: "number", "category" or "date".
    grid
        The values of the column: numbers in its units, dates in UTC, or texts.
    individual
        The prediction for each row with each of these values, (rows, values, outputs).
    output_names
        The names of the predictions: of the second of two classes, of all classes, or of the target.
    is_probability
        Whether the predictions are probabilities of classes.
    """

    column: str
    kind: ColumnKind
    grid: Array
    individual: Array
    output_names: tuple[str, ...]
    is_probability: bool

    @property
    def average(self) -> Array:
        """The mean over the rows, (values, outputs)."""
        return np.asarray(self.individual.mean(axis=0))

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row for each value and one column for each prediction."""
        import pandas as pd

        return pd.DataFrame(self.average, columns=list(self.output_names), index=pd.Index(self.grid, name=self.column))


@checked
def partial_dependence(
    model: Any, column: str, X: Any = None, *, grid_size: int = 20, max_rows: int | None = 500, seed: int = 0
) -> PartialDependence:
    """Return the predictions for rows in which a column has one value after another.

    Each row gives a curve, its individual conditional expectation (ICE). The mean of these curves is the partial
    dependence ``f(v) = mean over rows i of F(v, other columns of row i)``. If the curves are parallel, the effect of
    the column does not depend on other columns. Rows with a changed value may be unlike all real rows, such as a flat
    of 20 square metres with 6 rooms; the prediction for them is then an extrapolation.

    Parameters
    ----------
    model
        A :class:`NeuralNetwork`, a :class:`Model`, a fitted estimator, or the result of :func:`train`.
    column
        The name of the column. The columns of an array are ``x1``, ``x2``, ...
    X
        The rows; by default the test rows of a run.
    grid_size
        The number of values: quantiles of the numbers or dates in X, from 2 % to 98 %, or the most frequent categories.
    max_rows
        The number of rows to use, a random sample; None for all.
    seed
        The seed of the sample.

    Notes
    -----
    Source: Friedman 2001, Greedy function approximation, section 8.2; Goldstein et al. 2015, Peeking inside the black
    box (ICE).

    Examples
    --------
    >>> from chainrule.layers import DenseLayer
    >>> from chainrule.neuralnet import NeuralNetwork
    >>> network = NeuralNetwork().add(DenseLayer(1, (2,)))
    >>> network.layers[0].weights = [[2], [0.5]]
    >>> result = partial_dependence(network, "x1", [[0.0, 2.0], [1.0, 4.0]])
    >>> result.grid.tolist(), result.average[:, 0].tolist()
    ([0.0, 1.0], [1.5, 3.5])
    """
    grid_size = check_count("partial_dependence", "grid_size", grid_size)
    if not isinstance(column, str):
        raise InvalidInputError(
            f"column must be the name of one column, such as 'x1', not a {type(column).__name__}; the order of the "
            "arguments is partial_dependence(model, column, X)."
        )
    rows = Rows.of(model, X)
    (chosen,) = rows.choose(column)
    grid, examples = _grid(rows, chosen, grid_size)
    sample = rows.sample(max_rows, seed)
    inputs = np.repeat(sample.inputs, len(grid), axis=0)
    inputs[:, chosen.places] = np.tile(rows.inputs[examples, chosen.places], (len(sample.inputs), 1))
    outputs = sample.outputs(inputs).reshape(len(sample.inputs), len(grid), -1)
    is_probability = bool(rows.model.target.classes)
    return PartialDependence(chosen.name, chosen.kind, grid, outputs, rows.output_names, is_probability)


def _grid(rows: Rows, column: Column, size: int) -> tuple[Array, IntArray]:
    """Return values of a column, and for each of them a row that has it."""
    values = rows.values(column)
    if column.kind == "category":
        texts = np.array([text if isinstance(text, str) else MISSING for text in values], dtype=object)
        distinct, examples, counts = np.unique(texts, return_index=True, return_counts=True)
        kept = np.sort(np.argsort(-counts, kind="stable")[:size])
        return distinct[kept], examples[kept]
    present = np.flatnonzero(~(np.isnat(values) if column.kind == "date" else np.isnan(values)))
    in_order = present[np.argsort(values[present], kind="stable")]
    distinct, starts = np.unique(values[in_order], return_index=True)
    if len(distinct) > size:
        of_rows = _quantiles(len(in_order), size)
        first = of_rows[np.unique(values[in_order[of_rows]], return_index=True)[1]]
        if 2 * len(first) < size:  # most rows have the same few values, such as 0
            places = np.concatenate([first, starts[_quantiles(len(distinct), size - len(first))]])
            first = places[np.unique(values[in_order[places]], return_index=True)[1]]
        return values[in_order[first]], in_order[first]
    return distinct, in_order[starts]


def _quantiles(n: int, size: int) -> IntArray:
    """Return the indices of quantiles among n sorted values."""
    return np.unique(np.rint(np.linspace(*QUANTILES, size) * (n - 1)).astype(np.int64))
