"""Permutation importance: how much worse the predictions become without the information in a column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import DataError
from chainrule.explain.base import Explanation, Rows, as_model, choose_metric
from chainrule.metrics import Metric
from chainrule.metrics.registry import MetricFunction
from chainrule.named import checked
from chainrule.ranges import check_count
from chainrule.types import Array, IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PermutationImportance", "permutation_importance"]


@dataclass(frozen=True, eq=False, repr=False)
class PermutationImportance(Explanation):
    """The result of :func:`permutation_importance`, with the columns in the order of the table.

    Attributes
    ----------
    columns
        The names of the columns.
    metric
        The name of the metric.
    score
        The metric of the predictions for the rows as they are.
    importances
        How much worse the metric was with a shuffled column, (columns, repeats). Negative values are noise.
    n_rows
        The number of rows.
    """

    columns: tuple[str, ...]
    metric: str
    score: float
    importances: Array
    n_rows: int

    @property
    def importances_mean(self) -> Array:
        """The mean over the repeats."""
        return np.asarray(self.importances.mean(axis=1))

    @property
    def importances_std(self) -> Array:
        """The standard deviation over the repeats."""
        return np.asarray(self.importances.std(axis=1))

    @property
    def order(self) -> IntArray:
        """The indices of the columns, from the most to the least important."""
        return np.argsort(-self.importances_mean, kind="stable")

    def to_frame(self) -> pd.DataFrame:
        """Return a table with mean and standard deviation of each column, the most important first."""
        import pandas as pd

        columns = {"importance": self.importances_mean, "std": self.importances_std}
        return pd.DataFrame(columns, index=pd.Index(self.columns, name="column")).iloc[self.order]


@checked
def permutation_importance(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    metric: str | Metric | MetricFunction | None = None,
    n_repeats: int = 5,
    columns: Sequence[str] | str | None = None,
    groups: Any = None,
    max_rows: int | None = None,
    seed: int = 0,
) -> PermutationImportance:
    """Measure how much worse a metric becomes if the cells of one column are shuffled.

    Shuffling breaks the relation between the column and the target and keeps the distribution of the column. All inputs
    of the network that are made from the column are shuffled together. Two columns with the same information share
    their importance, because the network can use either of them. Measure on rows that were not used for training.

    Parameters
    ----------
    model
        A :class:`NeuralNetwork`, a :class:`Model`, a fitted estimator, or the result of :func:`train`.
    X, y
        The rows and their targets. By default, they are the test rows of a run; without ``y``, the targets are those of
        a :class:`Dataset`, or the column of the target in a table.
    metric
        The name of a metric, or a function of (y_true, y_pred); by default accuracy or R2.
    n_repeats
        The number of times that each column is shuffled.
    columns
        The columns to shuffle; by default all.
    groups
        Labels of groups of rows, such as persons. The cells of a group are then replaced by those of another group, so
        that rows of one group stay together.
    max_rows
        The number of rows to use, a random sample; None for all.
    seed
        The seed of the permutations.

    Notes
    -----
    Source: Breiman 2001, Random forests, section 10; Fisher, Rudin and Dominici 2019, All models are wrong, but many
    are useful. The cost is one prediction per column and repeat.

    Examples
    --------
    >>> import numpy as np
    >>> from chainrule import MLPRegressor
    >>> X = np.random.default_rng(0).normal(size=(300, 3))
    >>> regressor = MLPRegressor(hidden_layer_sizes=(), solver="lbfgs").fit(X, X[:, 1])
    >>> result = permutation_importance(regressor, X, X[:, 1])
    >>> result.to_frame().index[0]
    'x2'
    """
    n_repeats = check_count("permutation_importance", "n_repeats", n_repeats)
    rows, measure = Rows.of(model, X, y, needs_targets=True), choose_metric(metric, as_model(model))
    n_rows = len(rows.inputs)
    labels = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if labels is not None and len(labels) != n_rows:
        raise DataError(f"There are {len(labels)} groups for {n_rows} rows; give one label for each row.")
    kept, rng = rows.sampled(max_rows, seed), np.random.default_rng(seed)
    rows, labels = rows.take(kept), None if labels is None else labels[kept]
    chosen, inputs = rows.choose(columns), rows.inputs.copy()
    score = rows.score(measure, inputs)
    found = np.empty((len(chosen), n_repeats))
    for k, column in enumerate(chosen):
        for repeat in range(n_repeats):
            inputs[:, column.places] = rows.inputs[_shuffled(len(inputs), labels, rng), column.places]
            found[k, repeat] = rows.score(measure, inputs)
        inputs[:, column.places] = rows.inputs[:, column.places]
    importances = score - found if measure.greater_is_better else found - score
    names = tuple(column.name for column in chosen)
    return PermutationImportance(names, measure.name, score, importances, len(inputs))


def _shuffled(n_rows: int, labels: IntArray | None, rng: np.random.Generator) -> IntArray:
    """Return for each row the row whose cell it gets: any row, or one of the group that replaces its group."""
    if labels is None:
        return rng.permutation(n_rows)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    sources = np.empty(n_rows, np.int64)
    for own, k in zip(members, rng.permutation(len(members)), strict=True):
        sources[own] = np.resize(members[k], len(own))
    return sources
