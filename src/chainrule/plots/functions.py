"""Pictures of functions: an activation with its derivative, the loss by learning rate."""

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

WIDEST_INPUT = 4.0


class RateSearchLike(Protocol):
    """What :func:`plot_rate_search` reads of a :class:`chainrule.rate_finder.RateSearch`."""

    @property
    def rates(self) -> Sequence[float]:
        """The learning rates that were tried, rising."""

    @property
    def losses(self) -> Sequence[float]:
        """The smoothed loss at each."""

    @property
    def suggestion(self) -> float:
        """The rate to start with."""


@checked
def plot_activation(activation: ActivationLayer | type[ActivationLayer] | str, ax: Axes | None = None) -> Axes:
    """Draw an activation f(z) and its derivative f'(z) for z from -4 to 4.

    A softmax has several inputs: drawn is its first output, the second input held at 0.
    """
    ax = use_axes(ax)
    layer: ActivationLayer = ACTIVATIONS.create(activation)
    z = np.linspace(-WIDEST_INPUT, WIDEST_INPUT, 801)
    columns = np.stack([z, np.zeros_like(z)], axis=1)
    slopes = layer.derivative(columns)  # one a number, or (softmax) a matrix a row
    ax.axhline(0, color=ink_of(ax), linewidth=0.6)
    upright = ax.axvline(0, color=ink_of(ax), linewidth=0.6)
    ax.plot(z, layer.activation_function(columns)[:, 0], color=PALETTE[0], linewidth=2, label="f(z)")
    ax.plot(z, slopes.reshape(len(z), -1)[:, 0], "--", color=PALETTE[1], linewidth=1.6, label="derivative f'(z)")
    upright.set_ydata([0, 1 - add_legend(ax)])
    ax.set_title(type(layer).__name__, fontsize="medium", parse_math=False)
    label_axes(ax, "z", "f(z), f'(z)")
    return ax


@checked
def plot_rate_search(search: RateSearchLike, ax: Axes | None = None) -> Axes:
    """Draw the loss against the learning rates that were tried; a line marks the suggested one."""
    ax = use_axes(ax)
    rates, losses = np.array(search.rates), np.array(search.losses)
    ax.plot(rates, losses, color=PALETTE[0], linewidth=1.6, label="loss")
    words = f"suggestion: {search.suggestion:.2g}"
    suggestion = ax.axvline(search.suggestion, color=PALETTE[1], linestyle="--", label=words)
    use_log_scale(ax, "x", rates)
    suggestion.set_ydata([0, 1 - add_legend(ax)])
    label_axes(ax, "learning rate (log axis)", "loss, smoothed")
    return ax
