"""Plots of functions: an activation with its derivative, and the loss by learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from chainrule.activations import ACTIVATIONS, ActivationLayer
from chainrule.named import checked
from chainrule.plots.canvas import PALETTE, add_legend, ink_of, label_axes, use_axes, use_log_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["RateSearchLike", "plot_activation", "plot_rate_search"]

MAX_INPUT = 4.0


class RateSearchLike(Protocol):
    """The attributes of :class:`chainrule.rate_finder.RateSearch` that :func:`plot_rate_search` uses."""

    @property
    def rates(self) -> Sequence[float]:
        """The learning rates that were tried, in increasing order."""

    @property
    def losses(self) -> Sequence[float]:
        """The smoothed loss for each learning rate."""

    @property
    def suggestion(self) -> float:
        """The suggested learning rate."""


@checked
def plot_activation(activation: ActivationLayer | type[ActivationLayer] | str, ax: Axes | None = None) -> Axes:
    """Draw an activation f(z) and its derivative f'(z) for z from -4 to 4.

    For a softmax, the first of two outputs is drawn, with the second input equal to 0.

    >>> from matplotlib.figure import Figure
    >>> plot_activation("gelu", ax=Figure().subplots()).get_xlabel()
    'z'
    """
    ax = use_axes(ax)
    layer: ActivationLayer = ACTIVATIONS.create(activation)
    z = np.linspace(-MAX_INPUT, MAX_INPUT, 801)
    columns = np.stack([z, np.zeros_like(z)], axis=1)
    slopes = layer.derivative(columns)  # one per number, or for softmax a matrix per row
    ax.axhline(0, color=ink_of(ax), linewidth=0.6)
    vertical = ax.axvline(0, color=ink_of(ax), linewidth=0.6)
    ax.plot(z, layer.activation_function(columns)[:, 0], color=PALETTE[0], linewidth=2, label="f(z)")
    ax.plot(z, slopes.reshape(len(z), -1)[:, 0], "--", color=PALETTE[1], linewidth=1.6, label="derivative f'(z)")
    vertical.set_ydata([0, 1 - add_legend(ax)])
    ax.set_title(type(layer).__name__, fontsize="medium", parse_math=False)
    label_axes(ax, "z", "f(z), f'(z)")
    return ax


@checked
def plot_rate_search(search: RateSearchLike, ax: Axes | None = None) -> Axes:
    """Draw the loss against the learning rate, with a line at the suggested learning rate."""
    ax = use_axes(ax)
    rates, losses = np.array(search.rates), np.array(search.losses)
    ax.plot(rates, losses, color=PALETTE[0], linewidth=1.6, label="loss")
    label = f"suggestion: {search.suggestion:.2g}"
    suggestion = ax.axvline(search.suggestion, color=PALETTE[1], linestyle="--", label=label)
    use_log_scale(ax, "x", rates)
    suggestion.set_ydata([0, 1 - add_legend(ax)])
    label_axes(ax, "learning rate (log axis)", "loss, smoothed")
    return ax
