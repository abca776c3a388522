"""The result of a comparison: mean and standard deviation over the runs, tests of the differences, and plots."""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import InvalidInputError, nearest_name
from chainrule.experiments.configuration import Run
from chainrule.files.atomic import write_atomically
from chainrule.history import History
from chainrule.metrics import Metric, find_metric
from chainrule.named import checked
from chainrule.paths import expand_user
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Comparison", "mean_and_deviation"]

_LEVEL = 0.05  # of significance
_ROUNDING = 1e-12  # relative; smaller differences are rounding errors of equal numbers


@checked
@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """The runs of a comparison. ``print(comparison)`` shows the mean and standard deviation of each metric.

    Attributes
    ----------
    runs
        One :class:`Run` for each configuration, seed and fold, in this order.
    metrics
        The metrics of the test rows; the first one is the main metric.
    test_share
        The number of test rows divided by the number of training rows if the training rows differ between runs, and 0
        if all runs have the same ones.
    """

    runs: tuple[Run, ...]
    metrics: tuple[Metric, ...]
    test_share: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the configurations."""
        return tuple(dict.fromkeys(run.configuration for run in self.runs))

    @property
    def best(self) -> str:
        """The name of the configuration with the best mean of the main metric."""
        return self._best_by(None)

    def _best_by(self, metric: str | None) -> str:
        means = {name: np.mean(scores) for name, scores in self.scores(metric).items()}
        finite = {name: mean for name, mean in means.items() if math.isfinite(mean)}
        if not finite:
            raise InvalidInputError(
                "No configuration has scores in all its runs, so none is the best; if runs diverged, give a smaller "
                "learning rate."
            )
        best_of = max if self._metric(metric).greater_is_better else min
        return best_of(finite, key=lambda name: finite[name])

    def of(self, name: str) -> tuple[Run, ...]:
        """Return the runs of a configuration."""
        if name not in self.names:
            raise InvalidInputError(f"There is no configuration named {name!r}.{nearest_name(name, self.names)}")
        return tuple(run for run in self.runs if run.configuration == name)

    def scores(self, metric: str | None = None) -> dict[str, Array]:
        """Return the values of a metric (by default the main metric) for each configuration, one value per run.

        The value of a run that diverged is NaN.
        """
        found = self._metric(metric)
        values = {name: [run.scores.get(found.name, math.nan) for run in self.of(name)] for name in self.names}
        return {name: np.array(numbers) for name, numbers in values.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return a data frame with one row per run: configuration, seed, fold, metrics, epochs, seconds and problem."""
        import pandas as pd

        return pd.DataFrame(
            {
                "configuration": run.configuration,
                "seed": run.seed,
                "fold": run.fold,
                **{metric.name: run.scores.get(metric.name, math.nan) for metric in self.metrics},
                "epochs": run.history.n_epochs,
                "seconds": run.seconds,
                "problem": run.problem,
            }
            for run in self.runs
        )

    def summary(self) -> pd.DataFrame:
        """Return a data frame with one row per configuration.

        For each metric ``m``, the columns are the mean ``m`` and the standard deviation ``m_sd`` over the runs (the
        divisor is the number of runs minus 1). The other columns are the means of ``epochs`` and ``seconds``, and
        the numbers of ``runs`` and of ``diverged`` runs.
        """
        import pandas as pd

        rows = []
        for name in self.names:
            row: dict[str, float] = {}
            for metric in self.metrics:
                values = self.scores(metric.name)[name]
                row[metric.name] = float(np.mean(values))
                row[f"{metric.name}_sd"] = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
            runs = self.of(name)
            row["epochs"] = float(np.mean([run.history.n_epochs for run in runs]))
            row["seconds"] = float(np.mean([run.seconds for run in runs]))
            row["runs"], row["diverged"] = len(runs), sum(bool(run.problem) for run in runs)
            rows.append(row)
        return pd.DataFrame(rows, index=pd.Index(self.names, name="configuration"))

    def significance(self, metric: str | None = None, reference: str | None = None) -> pd.DataFrame:
        """Return paired tests of each configuration against a reference, by default the best one by this metric.

        The scores of the same seed and fold are subtracted. The mean difference ``d`` over ``n`` runs with standard
        deviation ``s`` is divided by its standard error::

            t = d / (s sqrt(1/n + n_test/n_train))

        and compared with Student's t distribution with ``n - 1`` degrees of freedom. The second term is 0 if all runs
        have the same training rows. Otherwise it corrects for the rows that the training sets have in common (Nadeau
        and Bengio, "Inference for the generalization error", 2003). ``p_adjusted`` is the p-value after Holm's
        correction for several comparisons: below 0.05, the difference is significant. Configurations without scores
        are omitted.
        """
        import pandas as pd
        from scipy import stats

        scores, reference = self.scores(metric), self._best_by(metric) if reference is None else reference
        self.of(reference)
        others = [name for name in self.names if name != reference and np.isfinite(scores[name]).any()]
        rows = []
        for name in others:
            differences = scores[name] - scores[reference]
            differences = differences[np.isfinite(differences)]
            n = len(differences)
            mean = float(np.mean(differences)) if n else math.nan
            mean = 0.0 if abs(mean) <= _ROUNDING * np.nanmax(np.abs(scores[reference])) else mean
            deviation = float(np.std(differences, ddof=1)) if n > 1 else math.nan
            deviation = 0.0 if deviation <= _ROUNDING * np.nanmax(np.abs(scores[reference])) else deviation
            error = deviation * math.sqrt(1 / n + self.test_share) if n > 1 else math.nan
            # Without any deviation, there is nothing to compare the mean difference with.
            p = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if error > 0 else 1.0 if mean == 0 else math.nan
            rows.append((mean, deviation, n, p))
        columns = ["difference", "sd", "runs", "p"]
        frame = pd.DataFrame(rows, index=pd.Index(others, name=f"against {reference}"), columns=columns)
        return frame.assign(p_adjusted=_holm(frame["p"].to_numpy(dtype=float)))

    def table(self) -> pd.DataFrame:
        """Return the summary as text, "mean ± standard deviation", one row per configuration."""
        import pandas as pd

        summary = self.summary()
        columns: dict[str, list[str]] = {}
        for metric in self.metrics:
            pairs = zip(summary[metric.name], summary[f"{metric.name}_sd"], strict=True)
            columns[metric.name.replace("_", " ")] = [mean_and_deviation(mean, sd) for mean, sd in pairs]
        for name in ("epochs", "seconds"):
            columns[name] = [f"{value:.3g}" if value < 1000 else f"{value:.0f}" for value in summary[name]]
        if summary["diverged"].any():
            columns["diverged"] = [f"{n} of {of}" for n, of in zip(summary["diverged"], summary["runs"], strict=True)]
        return pd.DataFrame(columns, index=summary.index)

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        table = self.table()
        lines = [["configuration", *table.columns], ["---", *["--:"] * table.shape[1]]]
        lines += [[str(name), *row] for name, row in zip(table.index, table.to_numpy(), strict=True)]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def conclusion(self, metric: str | None = None) -> str:
        """Return one sentence: the best configuration, and those whose difference from it is not significant."""
        try:
            best = self._best_by(metric)
        except InvalidInputError as no_best:
            return str(no_best)
        what = self._metric(metric).name.replace("_", " ")
        tests = self.significance(metric)
        if tests.empty:
            return f"{best!r} is the only configuration with a finite {what}."
        if len(self.runs) == len(self.names):
            return f"{best!r} has the best {what} (one run of each configuration, so that there is no test)."
        test = "corrected paired t-tests" if self.test_share else "paired t-tests"
        how = f"({test} over {len(self.of(best))} runs, Holm's correction)"
        alike = [repr(name) for name, p in tests["p_adjusted"].items() if p >= _LEVEL]
        untested = [repr(name) for name, p in tests["p_adjusted"].items() if math.isnan(p)]
        parts = []
        if alike:
            parts.append(f"its difference from {', '.join(alike)} is not significant {how}")
        if untested:
            parts.append(f"its difference from {', '.join(untested)} is the same in all runs, so that there is no test")
        if not parts:
            others = "every other configuration"
            others += "" if len(tests) == len(self.names) - 1 else f" with a finite {what}"
            return f"{best!r} has the best {what}; the difference from {others} is significant {how}."
        return f"{best!r} has the best {what} on average; {'; '.join(parts)}."

    def histories(self) -> dict[str, list[History]]:
        """Return the histories of the runs for each configuration that has some."""
        found = {name: [run.history for run in self.of(name) if run.history.n_epochs] for name in self.names}
        return {name: histories for name, histories in found.items() if histories}

    def plot(self, quantity: str = "loss", *, log: bool = False, ax: Axes | None = None) -> Axes:
        """Draw a quantity of the history per epoch: the mean over the runs, and a band of one standard deviation."""
        from chainrule.plots import plot_comparison

        return plot_comparison(self.histories(), quantity, log=log, ax=ax)

    def plot_scores(self, metric: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw a metric of the test rows: one dot per run, and the mean with its standard deviation."""
        from chainrule.plots import plot_scores

        return plot_scores(self.scores(metric), self._metric(metric).name, ax=ax)

    def save(self, folder: str | Path) -> tuple[Path, ...]:
        """Write ``comparison.csv`` with one row per run, and ``scores.png`` and ``curves.png`` if there are any.

        Return the paths of the files.
        """
        from chainrule.plots import figure_as_png, new_figure, without_pyplot

        path = expand_user(folder)
        write_atomically(path / "comparison.csv", self.to_frame().to_csv(index=False))
        drawings: dict[str, Callable[..., Any]] = {"scores.png": self.plot_scores} if self.metrics else {}
        if self.histories():
            drawings["curves.png"] = functools.partial(self.plot, log=True)
        with without_pyplot():
            for name, draw in drawings.items():
                figure = new_figure(7.0, 4.2)
                draw(ax=figure.add_subplot())
                write_atomically(path / name, figure_as_png(figure))
        return tuple(path / name for name in ("comparison.csv", *drawings))

    def __str__(self) -> str:
        return f"{self.table().to_string()}\n{self.conclusion()}"

    def __repr__(self) -> str:
        return f"Comparison({len(self.names)} configurations, {len(self.runs)} runs)"

    def _repr_html_(self) -> str:
        table = self.table().rename_axis(index=None, columns="configuration")  # no row for the name of the index
        return f"{table.to_html()}\n<p>{html.escape(self.conclusion())}</p>"

    def _metric(self, name: str | None) -> Metric:
        if name is None and not self.metrics:
            raise InvalidInputError("All runs diverged, so that no metric was measured.")
        if name is None:
            return self.metrics[0]
        found = find_metric(name)
        if found.name not in {metric.name for metric in self.metrics}:
            measured = ", ".join(metric.name for metric in self.metrics)
            raise InvalidInputError(f"{found.name} was not measured; the metrics are {measured}.")
        return found


def _holm(p: Array) -> Array:
    """Return p-values adjusted for several tests (Holm, 1979); NaN stands for a missing test and stays NaN."""
    order = np.argsort(p)[: np.isfinite(p).sum()]  # NaN is sorted to the end
    factors = np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), math.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * factors))
    return adjusted


def mean_and_deviation(mean: float, sd: float) -> str:
    """Return "mean ± sd", with the decimals that two digits of the deviation need, and four if it is rounded to 0.

    >>> mean_and_deviation(0.861234, 0.00213), mean_and_deviation(12.3456, 1.234), mean_and_deviation(0.5, math.nan)
    ('0.8612 ± 0.0021', '12.3 ± 1.2', '0.5000')
    >>> mean_and_deviation(0.88104, 1e-16)  # the deviation of equal numbers
    '0.8810 ± 0.0000'
    """
    if not math.isfinite(mean):
        return "-"
    if not math.isfinite(sd):
        return f"{mean:.4f}"
    decimals = 4 if sd < 5e-7 else min(max(1 - math.floor(math.log10(sd)), 0), 6)
    return f"{mean:.{decimals}f} ± {sd:.{decimals}f}"
