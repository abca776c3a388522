"""Choose hyper-parameters by cross-validation: grid search and random search."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.errors import InvalidInputError, shown
from chainrule.experiments.comparison import Comparison
from chainrule.experiments.configuration import Configuration
from chainrule.experiments.running import compare
from chainrule.metrics import Metric
from chainrule.named import checked

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TuningResult", "tune_hyperparameters"]


@checked
@dataclass(frozen=True, eq=False, repr=False)
class TuningResult:
    """The result of :func:`tune_hyperparameters`.

    Attributes
    ----------
    best_parameters
        The parameters with the best mean of the main metric over the folds.
    best_score
        This mean. It is a little too good, because it is the best of several.
    model
        The model with these parameters, trained on all rows. With ``standardize=True``, it takes rows that are
        standardised like these: ``new_rows.standardize(like=dataset)``.
    comparison
        All runs of the cross-validation. Its configurations are named by their parameters.
    parameters
        The parameters of each configuration.
    """

    best_parameters: dict[str, Any]
    best_score: float
    model: Any
    comparison: Comparison
    parameters: dict[str, dict[str, Any]]

    def table(self) -> pd.DataFrame:
        """Return a data frame with one row per configuration, the best first: parameters, metrics, epochs, seconds."""
        import pandas as pd

        summary = self.comparison.summary()
        columns = pd.DataFrame([self.parameters[name] for name in summary.index], index=summary.index, dtype=object)
        main = self.comparison.metrics[0]
        columns = columns.rename(columns={name: f"{name} (given)" for name in columns if name in summary})
        ordered = columns.join(summary).sort_values(main.name, ascending=not main.greater_is_better, kind="stable")
        return ordered.reset_index(drop=True)

    def __str__(self) -> str:
        chosen = ", ".join(f"{name}={shown(value)}" for name, value in self.best_parameters.items())
        metric = self.comparison.metrics[0].name.replace("_", " ")
        return f"{self.table().to_string()}\nThe best parameters are {chosen}: {metric} {self.best_score:.4g}."

    def __repr__(self) -> str:
        return f"TuningResult({self.best_parameters}, {len(self.parameters)} configurations)"


@checked
def tune_hyperparameters(
    builder: Callable[..., Any],
    grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    dataset: Dataset,
    *,
    n_iter: int | None = None,
    cv: int = 5,
    metric: str | Metric | None = None,
    seed: int = 0,
    fit: Mapping[str, Any] | None = None,
    standardize: bool = False,
    n_jobs: int | None = None,
    folder: str | Path | None = None,
    verbose: bool = True,
) -> TuningResult:
    """Train a model with each combination of hyper-parameters in cross-validation, and the best one on all rows.

    Parameters
    ----------
    builder
        A function or a class that takes the hyper-parameters as keywords, and returns a :class:`NeuralNetwork` or a
        scikit-learn estimator.
    grid
        A mapping of each hyper-parameter to the list of its values, of which all combinations are tried, or a list of
        such mappings. With ``n_iter``, values may also be distributions of ``scipy.stats``.
    dataset
        The rows. Hold out a test set first: the best parameters are chosen by their score on these rows, so this score
        is a little too good.
    n_iter
        Draw this number of combinations at random (random search). By default, all are tried (grid search).
    cv
        The number of folds.
    metric
        The metric by which the best parameters are chosen; by default accuracy for classification, and R^2 for
        regression.
    seed
        The seed of the folds, the draws and the models.
    fit, standardize
        The arguments of ``fit``, such as callbacks, and whether to standardise the columns by the training rows.
    n_jobs, folder, verbose
        As in :func:`compare`.

    Returns
    -------
    TuningResult
        The best parameters, the table of results, and the model trained on all rows.

    References
    ----------
    Bergstra and Bengio, "Random search for hyper-parameter optimization", 2012.

    Examples
    --------
    >>> from chainrule import build_network, load_dataset
    >>> iris = load_dataset("iris").standardize()
    >>> def builder(units, rate):
    ...     return build_network(4, iris.target, hidden=(units,), epochs=5, learning_rate=rate)
    >>> grid = {"units": [4, 16], "rate": [1e-4, 1e-2]}
    >>> result = tune_hyperparameters(builder, grid, iris, cv=3, n_jobs=1, verbose=False)
    >>> result.best_parameters
    {'rate': 0.01, 'units': 16}
    """
    chosen = _combinations(grid, n_iter, seed)
    parameters: dict[str, dict[str, Any]] = {}
    for one in chosen:
        name = ", ".join(f"{key}={value!r}" for key, value in one.items()) or "defaults"
        parameters[name if name not in parameters else f"{name} ({len(parameters) + 1})"] = one
    configurations = {name: Configuration(_build(builder, one), fit or {}) for name, one in parameters.items()}
    comparison = compare(
        configurations,
        dataset,
        seeds=[seed],
        cv=cv,
        standardize=standardize,
        metrics=metric,
        n_jobs=n_jobs,
        folder=folder,
        verbose=verbose,
    )
    best = comparison.best
    model = configurations[best].fit_model(
        configurations[best].build(seed), dataset.standardize() if standardize else dataset
    )
    return TuningResult(parameters[best], float(comparison.scores()[best].mean()), model, comparison, parameters)


def _combinations(grid: Any, n_iter: int | None, seed: int) -> list[dict[str, Any]]:
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    try:
        drawn = ParameterGrid(grid) if n_iter is None else ParameterSampler(grid, n_iter, random_state=seed)
        return [{name: v.item() if isinstance(v, np.generic) else v for name, v in one.items()} for one in drawn]
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"The grid is not valid ({error}); give a mapping of each hyper-parameter to a list of its values, such as "
            "{'learning_rate': [0.01, 0.1]}."
        ) from error


def _build(builder: Callable[..., Any], parameters: dict[str, Any]) -> Any:
    try:
        inspect.signature(builder).bind(**parameters)
    except TypeError as error:
        raise InvalidInputError(f"The builder does not take the hyper-parameters {parameters}: {error}.") from error
    return builder(**parameters)
