"""All explanations of a model together, for its report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chainrule.explain.attacks import Robustness, robustness
from chainrule.explain.attribution import IntegratedGradients, Saliency, integrated_gradients, saliency
from chainrule.explain.base import Rows
from chainrule.explain.dependence import PartialDependence, partial_dependence
from chainrule.explain.importance import PermutationImportance, permutation_importance
from chainrule.metrics import Metric
from chainrule.metrics.registry import MetricFunction
from chainrule.named import checked

__all__ = ["Explanations", "explain_model"]

# The number of rows for the explanations in every report is chosen within these limits, so that they take at most this
# number of operations (about a second on one core). A prediction of a row takes about two operations per parameter.
OPERATIONS_OF_IMPORTANCE, OPERATIONS_OF_DEPENDENCE = 2.0e10, 1.0e10
LEAST_ROWS, MOST_ROWS = 200, 5_000
# A report has no explanations for tables with more columns, or with fewer test rows.
MOST_COLUMNS, FEWEST_ROWS = 100, 20
N_REPEATS, N_DEPENDENCES, GRID_SIZE, MOST_CURVES = 5, 4, 20, 300
ROWS_OF_GRADIENTS = 300


@dataclass(frozen=True, eq=False)
class Explanations:
    """The result of :func:`explain_model`. Explanations that were not computed are None, or empty.

    Attributes
    ----------
    importance
        The permutation importance of the columns.
    dependences
        The partial dependence on some columns.
    saliency
        The gradients of the predictions.
    attribution
        The integrated gradients.
    robustness
        The metric for adversarial examples.
    """

    importance: PermutationImportance | None = None
    dependences: tuple[PartialDependence, ...] = ()
    saliency: Saliency | None = None
    attribution: IntegratedGradients | None = None
    robustness: Robustness | None = None


@checked
def explain_model(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    thorough: bool = True,
    metric: str | Metric | MetricFunction | None = None,
    columns: Sequence[str] | str | None = None,
    max_rows: int | None = None,
    seed: int = 0,
) -> Explanations:
    """Return all explanations of a model.

    Parameters
    ----------
    model, X, y, metric
        As for :func:`permutation_importance`.
    thorough
        Whether to compute saliency, integrated gradients and robustness, too. If not, the number of rows is limited so
        that the explanations take about a second on one core. There are none for more than 100 columns or fewer than
        20 rows.
    columns
        The columns whose partial dependence is computed; by default the four most important.
    max_rows
        The number of rows to use, a random sample; by default up to 5,000, fewer for large networks, and 300 for
        gradients.
    seed
        The seed of all samples and permutations.

    Examples
    --------
    >>> import chainrule
    >>> result = chainrule.train("iris", epochs=5, preset="plain", verbose=False)
    >>> [dependence.kind for dependence in explain_model(result).dependences]
    ['number', 'number', 'number', 'number']
    """
    rows = Rows.of(model, X, y, needs_targets=True)
    n_columns = len(rows.columns)
    if not thorough and (n_columns > MOST_COLUMNS or len(rows.inputs) < FEWEST_ROWS):
        return Explanations()
    work = 2 * rows.model.network.stack.parameters()

    def affordable(operations: float, n_predictions: int) -> int:
        return math.ceil(min(max(operations / (work * n_predictions), LEAST_ROWS), MOST_ROWS))

    n_rows = max_rows or affordable(OPERATIONS_OF_IMPORTANCE, N_REPEATS * n_columns)
    importance = permutation_importance(rows, metric=metric, n_repeats=N_REPEATS, max_rows=n_rows, seed=seed)
    names = [importance.columns[k] for k in importance.order[:N_DEPENDENCES]] if columns is None else columns
    chosen = rows.choose(names) if rows.frame is not None or rows.model.table is None else ()
    n_rows = max_rows or min(affordable(OPERATIONS_OF_DEPENDENCE, GRID_SIZE * max(len(chosen), 1)), MOST_CURVES)
    dependences = [
        partial_dependence(rows, column.name, grid_size=GRID_SIZE, max_rows=n_rows, seed=seed) for column in chosen
    ]
    if not thorough:
        return Explanations(importance, tuple(dependences))
    few = rows.sample(max_rows or ROWS_OF_GRADIENTS, seed)
    has_numbers = any(column.kind == "number" for column in rows.columns)
    return Explanations(
        importance,
        tuple(dependences),
        saliency(few),
        integrated_gradients(few),
        robustness(few, metric=metric, seed=seed) if has_numbers else None,
    )
