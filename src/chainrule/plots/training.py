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
    readable_metric,
    use_axes,
    use_log_scale,
)
from chainrule.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["can_be_log", "metric_names", "plot_comparison", "plot_history", "plot_loss", "plot_metric"]

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
    """Draw a metric, or another quantity of the history, of the training and the validation set."""
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
    histories: Mapping[str, Mapping[str, Sequence[float]]],
    quantity: str = "loss",
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one quantity of several runs, with one line per run. The axis is linear if a value is negative.

    >>> runs = {"Adam": History({"loss": [1.0, 0.1]}), "SGD": History({"loss": [1.0, 0.7]})}
    >>> plot_comparison(runs).get_yscale()
    'log'
    """
    if not histories:
        raise InvalidInputError("There is no history to compare.")
    ax, quantity = use_axes(ax, 6.0, 3.8), quantity_name(quantity)
    runs = {name: as_history(history) for name, history in histories.items()}
    for number, (name, history) in enumerate(runs.items()):
        style = LINE_STYLES[number // len(PALETTE) % len(LINE_STYLES)]
        _check_quantity(history, quantity, f"The history '{name}'")
        _plot_line(ax, history, quantity, name, number, style)
    log = log and all(can_be_log(history, quantity) for history in runs.values())
    if log:
        use_log_scale(ax, "y", np.concatenate([history[quantity] for history in runs.values()]))
    add_legend(ax)
    label_axes(ax, "epoch", readable_metric(quantity) + (" (log axis)" if log else ""))
    return ax


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
