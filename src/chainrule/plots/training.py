"""Plots of the history of a training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.errors import InvalidInputError, nearest_name, shown
from chainrule.history import History, quantity_name
from chainrule.named import checked
from chainrule.plots.canvas import (
    LINE_STYLES,
    PALETTE,
    add_legend,
    ink_of,
    label_axes,
    legend_label,
    new_figure,
    one_line,
    readable_metric,
    use_axes,
    use_log_scale,
)
from chainrule.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["can_be_log", "metric_names", "plot_comparison", "plot_history", "plot_loss", "plot_metric", "plot_scores"]

NOT_METRICS = frozenset({"epoch", "loss", "penalty", "learning_rate", "gradient_norm", "seconds"})
MAX_EPOCHS_WITH_MARKERS = 20  # with markers, the line of a single epoch is visible


def as_history(history: Any) -> History:
    """Return a mapping of names to values as a history with standard names of the quantities."""
    if isinstance(history, History):
        return history
    if not isinstance(history, Mapping):
        raise InvalidInputError(f"A history is needed, such as network.history, not {shown(history)}.")
    return History({quantity_name(name): list(values) for name, values in history.items()})


def metric_names(history: History) -> tuple[str, ...]:
    """Return the metrics of a history that have finite values.

    >>> metric_names(History({"epoch": [1], "loss": [0.5], "accuracy": [0.9], "validation_accuracy": [0.8]}))
    ('accuracy',)
    """
    names = (name.removeprefix("validation_") for name in history if _has_values(history[name]))
    return tuple(dict.fromkeys(name for name in names if name not in NOT_METRICS))


def can_be_log(history: History, quantity: str = "loss") -> bool:
    """Return whether a quantity can be drawn on a log axis: no value is negative, and some are above 0."""
    values = np.concatenate([history.get(name, []) for name in (quantity, f"validation_{quantity}")])
    return bool((values > 0).any() and not (values < 0).any())


@checked
def plot_loss(history: Mapping[str, Sequence[float]], *, log: bool = False, ax: Axes | None = None) -> Axes:
    """Draw the training loss and the validation loss, with a ring at the lowest (validation) loss.

    ``history`` is a :class:`History`, or a mapping of names to lists, such as those of Keras and of the course. Raises
    ``InvalidInputError`` if ``log`` is True and a loss is negative.

    >>> from matplotlib.figure import Figure
    >>> history = {"loss": [0.9, 0.5, 0.4], "validation_loss": [0.8, 0.6, 0.7]}
    >>> plot_loss(history, ax=Figure().subplots()).get_ylabel()
    'loss'
    """
    ax, history = use_axes(ax), as_history(history)
    if log and not can_be_log(history):
        raise InvalidInputError("A log axis needs losses above 0; use log=False for this history.")
    names = _plot_quantity(ax, history, "loss")
    monitored = "validation_loss" if "validation_loss" in names else "loss"
    losses = np.array(history[monitored])
    best = int(np.nanargmin(losses))
    epochs = _epochs(history)
    label = f"lowest: {losses[best]:.4g} in epoch {epochs[best]:g}"
    ax.plot(epochs[best], losses[best], "o", color=ink_of(ax), markerfacecolor="none", markersize=9, label=label)
    if log:
        use_log_scale(ax, "y", np.concatenate([history[name] for name in names]))
    add_legend(ax)
    label_axes(ax, "epoch", "loss (log axis)" if log else "loss")
    return ax


@checked
def plot_metric(history: Mapping[str, Sequence[float]], name: str, ax: Axes | None = None) -> Axes:
    """Draw a metric, or another quantity of the history, of the training and the validation set.

    >>> from matplotlib.figure import Figure
    >>> history = {"loss": [0.9, 0.5], "accuracy": [0.6, 0.8]}
    >>> plot_metric(history, "accuracy", ax=Figure().subplots()).get_ylabel()
    'accuracy'
    """
    ax, history, name = use_axes(ax), as_history(history), quantity_name(name).removeprefix("validation_")
    names = _plot_quantity(ax, history, name)
    if len(names) > 1:
        add_legend(ax)
    label_axes(ax, "epoch", readable_metric(name))
    return ax


@checked
def plot_history(history: Mapping[str, Sequence[float]]) -> Figure:
    """Draw a whole history: the loss on a linear and on a log axis, and every metric."""
    history = as_history(history)
    scales = [False, True] if can_be_log(history) else [False]
    metrics = metric_names(history)
    n_panels = len(scales) + len(metrics)
    n_columns = min(n_panels, 2)
    n_rows = -(-n_panels // n_columns)
    figure = new_figure(5.0 * n_columns, 3.2 * n_rows)
    panels = iter([figure.add_subplot(n_rows, n_columns, number + 1) for number in range(n_panels)])
    for log in scales:
        plot_loss(history, log=log, ax=next(panels))
    for name in metrics:
        plot_metric(history, name, ax=next(panels))
    return figure


@checked
def plot_comparison(
    histories: Mapping[str, Mapping[str, Sequence[float]] | Sequence[Mapping[str, Sequence[float]]]],
    quantity: str = "loss",
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one quantity of several runs per epoch, with one line per name. The axis is linear if a value is negative.

    For a name with several histories, such as those of several seeds, the line is their mean, with a band of one
    standard deviation to both sides. Epochs that not all of them reached are omitted.

    >>> runs = {"Adam": History({"loss": [1.0, 0.1]}), "SGD": History({"loss": [1.0, 0.7]})}
    >>> plot_comparison(runs).get_yscale()
    'log'
    """
    if not histories:
        raise InvalidInputError("There is no history to compare.")
    ax, quantity = use_axes(ax, 6.0, 3.8), quantity_name(quantity)
    runs = {name: [as_history(one) for one in _as_list(given)] for name, given in histories.items()}
    for name, several in runs.items():
        if not several:
            raise InvalidInputError(f"There is no history of '{name}' to compare.")
        for history in several:
            _check_quantity(history, quantity, f"The history '{name}'")
    log = log and all(can_be_log(history, quantity) for several in runs.values() for history in several)
    drawn = []
    for number, (name, several) in enumerate(runs.items()):
        style = LINE_STYLES[number // len(PALETTE) % len(LINE_STYLES)]
        mean, deviation = _mean_history(several, quantity)
        _plot_line(ax, mean, quantity, name, number, style)
        values = np.array(mean[quantity])
        drawn.append(values)
        if deviation is not None:
            low = np.maximum(values - deviation, values / 10) if log else values - deviation
            color = PALETTE[number % len(PALETTE)]
            ax.fill_between(_epochs(mean), low, values + deviation, color=color, alpha=0.2, linewidth=0)
    if log:
        use_log_scale(ax, "y", np.concatenate(drawn))
    add_legend(ax)
    part = "" if quantity.startswith("validation_") or quantity in NOT_METRICS - {"loss"} else "training "
    label_axes(ax, "epoch", part + readable_metric(quantity) + (" (log axis)" if log else ""))
    return ax


@checked
def plot_scores(scores: Mapping[str, Sequence[float] | Array], metric: str, ax: Axes | None = None) -> Axes:
    """Draw the values of a metric in several runs: a dot per run, and the mean with a bar of one standard deviation.

    >>> plot_scores({"with dropout": [0.91, 0.92], "without": [0.89, 0.90]}, "accuracy").get_xlabel()
    'accuracy'
    """
    if not scores:
        raise InvalidInputError("There are no scores to draw.")
    ax = use_axes(ax, 6.0, 0.9 + 0.42 * max(len(scores), 2))
    for number, values in enumerate(scores.values()):
        array = np.asarray(values, dtype=float)
        place, color = len(scores) - 1 - number, PALETTE[number % len(PALETTE)]
        ax.plot(array, np.full(len(array), place), "o", color=color, alpha=0.7, markersize=6, markeredgewidth=0)
        finite = array[np.isfinite(array)]
        if len(finite):
            deviation = finite.std(ddof=1) if len(finite) > 1 else 0.0
            ax.errorbar(
                finite.mean(), place, xerr=deviation, fmt="|", color=ink_of(ax), markersize=14, linewidth=1, capsize=3
            )
    ax.set_yticks(range(len(scores)), [one_line(name, 40) for name in [*scores][::-1]], parse_math=False)
    ax.set_ylim(-0.6, len(scores) - 0.4)
    label_axes(ax, readable_metric(metric), "")
    return ax


def _as_list(given: Any) -> list[Any]:
    return [given] if isinstance(given, Mapping) else list(given)


def _mean_history(histories: Sequence[History], quantity: str) -> tuple[History, Array | None]:
    """Return the mean of a quantity over several histories, and its standard deviation; None for one history."""
    if len(histories) == 1:
        return histories[0], None
    n_epochs = min(history.n_epochs for history in histories)
    values = np.array([history[quantity][:n_epochs] for history in histories])
    mean = History({"epoch": _epochs(histories[0])[:n_epochs].tolist(), quantity: values.mean(axis=0).tolist()})
    return mean, values.std(axis=0, ddof=1)


def _plot_quantity(ax: Axes, history: History, quantity: str) -> dict[str, str]:
    """Draw the training and validation values of a quantity. Return the labels of the lines by quantity."""
    candidates = {quantity: "training", f"validation_{quantity}": "validation"}
    drawn = {name: label for name, label in candidates.items() if name in history and _has_values(history[name])}
    if not drawn:
        _check_quantity(history, quantity, "The history")
    for number, (name, label) in enumerate(drawn.items()):
        _plot_line(ax, history, name, label, number, LINE_STYLES[0])
    return drawn


def _plot_line(ax: Axes, history: History, quantity: str, label: str, number: int, style: str) -> None:
    from matplotlib.ticker import MaxNLocator

    marker = "." if history.n_epochs <= MAX_EPOCHS_WITH_MARKERS else ""
    color = PALETTE[number % len(PALETTE)]
    epochs = _epochs(history)
    ax.plot(epochs, history[quantity], style, marker=marker, color=color, linewidth=1.6, label=legend_label(label))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))


def _epochs(history: History) -> Array:
    return np.array(history.get("epoch", range(1, history.n_epochs + 1)), dtype=float)


def _has_values(values: Iterable[float]) -> bool:
    return bool(np.isfinite(list(values)).any())


def _check_quantity(history: History, quantity: str, owner: str) -> None:
    if quantity not in history:
        raise InvalidInputError(f"{owner} has no '{quantity}'.{nearest_name(quantity, history)}")
    if not _has_values(history[quantity]):
        raise InvalidInputError(f"{owner} has no finite values of '{quantity}'.")
