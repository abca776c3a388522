"""Plots of the results of :mod:`chainrule.explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.explain import IntegratedGradients, PartialDependence, PermutationImportance, Robustness, Saliency
from chainrule.named import checked
from chainrule.plots.canvas import (
    LINE_STYLES,
    PALETTE,
    add_legend,
    ink_of,
    label_axes,
    legend_label,
    one_line,
    readable_metric,
    use_axes,
    use_log_scale,
    use_thousands,
)
from chainrule.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_attribution", "plot_importance", "plot_partial_dependence", "plot_robustness"]

MOST_CURVES = 50  # more individual curves would cover one another
MOST_CLASSES = len(PALETTE)
DAY_OF_TIMES = np.datetime64("1970-01-01")
LONG_TAIL = 30  # numbers above 0 whose largest is this multiple of their median are drawn on a log axis


@checked
def plot_importance(
    result: PermutationImportance | IntegratedGradients | Saliency, *, max_columns: int = 15, ax: Axes | None = None
) -> Axes:
    """Draw the importance of the columns as bars, the most important at the top.

    For permutation importance, the black lines show the standard deviation over the repeats. For integrated gradients
    and saliency, the bars show the mean of the absolute values over the rows.
    """
    chosen = result.order[:max_columns][::-1]
    ax = use_axes(ax, 5.6, 0.9 + 0.3 * max(len(chosen), 3))
    if isinstance(result, PermutationImportance):
        values, errors = result.importances_mean[chosen], result.importances_std[chosen]
        label = f"how much worse the {readable_metric(result.metric)} becomes"
    else:
        values, errors = result.importance[chosen], None
        label = "mean |contribution| to the prediction"
        label = label if isinstance(result, IntegratedGradients) else "mean |gradient| of the prediction"
    ax.barh(range(len(chosen)), values, xerr=errors, color=PALETTE[0], height=0.65, ecolor=ink_of(ax), capsize=0)
    _name_bars(ax, [result.columns[k] for k in chosen])
    use_thousands(ax, "x")
    label_axes(ax, label, "")
    return ax


@checked
def plot_attribution(
    result: IntegratedGradients, row: int = 0, *, max_columns: int = 10, ax: Axes | None = None
) -> Axes:
    """Draw the contributions of the columns to the prediction for one row, counted from 0.

    Blue bars increase the prediction, and orange bars decrease it, compared with the prediction for the baseline.
    """
    if not -len(result.values) <= row < len(result.values):
        raise InvalidInputError(f"row is {row}, and there are {len(result.values)} rows, counted from 0.")
    values = result.values[row]
    chosen = np.argsort(-np.abs(values), kind="stable")[:max_columns][::-1]
    ax = use_axes(ax, 5.6, 1.2 + 0.3 * max(len(chosen), 3))
    colors = [PALETTE[0] if value >= 0 else PALETTE[1] for value in values[chosen]]
    ax.barh(range(len(chosen)), values[chosen], color=colors, height=0.65)
    _name_bars(ax, [result.columns[k] for k in chosen])
    both = result.predictions[row], result.baseline_predictions[row]
    prediction, baseline = (f"{x:,.0f}" if abs(x) >= 1e4 else f"{x:.4g}" for x in both)
    ax.set_title(f"prediction {prediction}, baseline {baseline}", fontsize="medium", color=ink_of(ax))
    use_thousands(ax, "x")
    label_axes(ax, "contribution to the prediction", "")
    return ax


@checked
def plot_partial_dependence(result: PartialDependence, *, name: str = "", ax: Axes | None = None) -> Axes:
    """Draw the mean prediction as a function of a column, with the curves of up to 50 rows.

    For a category, the thin lines reach from the 10 % to the 90 % quantile of the rows. With several predictions, such
    as those of more than two classes, there is one line for each. ``name`` is the name of the prediction.
    """
    ax = use_axes(ax, 4.4, 3.4)
    n_outputs = result.average.shape[1]
    if n_outputs > MOST_CLASSES:  # those that change most
        shown = np.sort(np.argsort(-np.ptp(result.average, axis=0), kind="stable")[:MOST_CLASSES])
    else:
        shown = np.arange(n_outputs)
    is_crowded = result.kind == "category" and sum(min(len(text), 20) + 1 for text in result.grid) > 36
    if result.kind == "category":
        _draw_categories(ax, result, shown, is_crowded=is_crowded)
    else:
        _draw_curves(ax, result, shown)
    if n_outputs > 1:
        add_legend(ax)
    if not name:
        name = "probability" if result.is_probability else "prediction"
        name = f"{name} of {one_line(result.output_names[0], 24)}" if n_outputs == 1 else name
    unit = " (log axis)" if ax.get_xscale() == "log" else ""
    if result.kind == "date":
        unit = " (hours)" if _is_time_of_day(result.grid) else " (UTC)" if _has_times(result.grid) else ""
    labels = one_line(result.column, 40) + unit, name
    use_thousands(ax, "x" if is_crowded else "y")
    label_axes(ax, *(labels[::-1] if is_crowded else labels))
    return ax


def _draw_curves(ax: Axes, result: PartialDependence, shown: Array) -> None:
    """Draw lines over numbers or dates; with one prediction, also those of some rows."""
    grid, is_date = result.grid, result.kind == "date"
    if is_date and _is_time_of_day(grid):
        grid, is_date = (grid - DAY_OF_TIMES) / np.timedelta64(1, "h"), False
    if len(result.average[0]) == 1:
        curves = result.individual[:: max(1, -(-len(result.individual) // MOST_CURVES)), :, 0]
        ax.plot(grid, curves.T, color=ink_of(ax), alpha=0.18, linewidth=0.6)
        low, high = np.quantile(curves, [0.02, 0.98])  # a single extreme row must not flatten the mean
        mean = result.average[:, 0]
        margin = 0.05 * (max(high, mean.max()) - min(low, mean.min())) or 0.05
        ax.set_ylim(min(low, mean.min()) - margin, max(high, mean.max()) + margin)
    for number, output in enumerate(shown):
        label, style = legend_label(result.output_names[output]), LINE_STYLES[number % len(LINE_STYLES)]
        style = LINE_STYLES[0] if len(shown) == 1 else style
        ax.plot(grid, result.average[:, output], style, color=PALETTE[number], linewidth=2, label=label)
    # One mark for each value of the grid, which are quantiles, shows where the rows are.
    ax.plot(grid, np.zeros(len(grid)), "|", color=ink_of(ax), markersize=6, transform=ax.get_xaxis_transform())
    if is_date:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(maxticks=6)  # type: ignore[no-untyped-call]
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    elif grid.min() > 0 and grid.max() > LONG_TAIL * np.median(grid):
        use_log_scale(ax, "x", grid)
    else:
        ax.locator_params(axis="x", nbins=6)
        use_thousands(ax, "x")


def _draw_categories(ax: Axes, result: PartialDependence, shown: Array, *, is_crowded: bool) -> None:
    """Draw a point for each category, with the range of the rows; one below another if the names are long."""
    places = np.arange(len(result.grid))
    for number, output in enumerate(shown):
        values = result.average[:, output]
        shift = 0.0 if len(shown) == 1 else 0.5 * (number / (len(shown) - 1) - 0.5)
        style: dict[str, Any] = {
            "color": PALETTE[number],
            "markersize": 6,
            "label": legend_label(result.output_names[output]),
        }
        points = (values, places + shift) if is_crowded else (places + shift, values)
        ax.plot(*points, "osD^vP*"[number], **style)
        if len(shown) == 1:
            low, high = np.quantile(result.individual[:, :, output], [0.1, 0.9], axis=0)
            draw = ax.hlines if is_crowded else ax.vlines
            draw(places, low, high, color=ink_of(ax), linewidth=0.8, alpha=0.6)
    names = [one_line(text, 20) for text in result.grid]
    size = "medium" if len(names) <= 10 else "small"
    if is_crowded:
        ax.set_yticks(places, names, parse_math=False, fontsize=size)
        ax.set_ylim(len(places) - 0.4, -0.6)
    else:
        ax.set_xticks(places, names, parse_math=False, fontsize=size)
        ax.set_xlim(-0.6, len(places) - 0.4)


def _is_time_of_day(dates: Array) -> bool:
    """Return whether the column has times without dates, which are read as those of a fixed day."""
    return bool((dates.astype("M8[D]") == DAY_OF_TIMES).all())


def _has_times(dates: Array) -> bool:
    return bool((dates != dates.astype("M8[D]")).any())


@checked
def plot_robustness(result: Robustness, ax: Axes | None = None) -> Axes:
    """Draw a metric as a function of the size of adversarial and of random changes of the inputs."""
    ax = use_axes(ax, 5.0, 3.4)
    ax.plot(result.epsilons, result.noise_scores, "s--", color=PALETTE[0], markersize=4, label="random changes")
    ax.plot(result.epsilons, result.scores, "o-", color=PALETTE[1], markersize=4, label="adversarial changes")
    add_legend(ax)
    size = "largest change of an input" if result.norm == "inf" else "Euclidean norm of the changes of a row"
    label_axes(ax, f"epsilon: {size}", readable_metric(result.metric))
    return ax


def _name_bars(ax: Axes, names: list[str]) -> None:
    ax.set_yticks(range(len(names)), [one_line(name, 28) for name in names], parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.axvline(0, color=ink_of(ax), linewidth=0.8)
    ax.margins(y=0.02)
    ax.locator_params(axis="x", nbins=6)
