"""Plots of training, of predictions and of networks.

Every function draws into the axes ``ax``, or into the current axes of pyplot if they are empty, or into a new figure,
and returns the axes. The figures belong to pyplot: a notebook shows them below the cell, ``plt.show()`` opens them in a
program, and ``plt.savefig(path)`` or ``.figure.savefig(path)`` writes them to a file. A program that draws many figures
should close them with ``plt.close()``. The colours are those of Okabe and Ito (2008), which are distinguishable with
colour vision deficiencies.
"""

from __future__ import annotations

from chainrule.plots.canvas import (
    figure_as_inline_svg,
    figure_as_png,
    figure_as_svg,
    new_figure,
    readable_metric,
    without_pyplot,
)
from chainrule.plots.explanations import (
    plot_attribution,
    plot_importance,
    plot_partial_dependence,
    plot_robustness,
)
from chainrule.plots.functions import RateSearchLike, plot_activation, plot_rate_search
from chainrule.plots.networks import plot_activations, plot_gradients, plot_network, plot_weights
from chainrule.plots.predictions import (
    MAX_CLASSES_WITH_CURVES,
    plot_calibration,
    plot_confusion_matrix,
    plot_decision_boundary,
    plot_precision_recall,
    plot_predicted_against_true,
    plot_residual_histogram,
    plot_residuals,
    plot_roc,
)
from chainrule.plots.training import (
    can_be_log,
    metric_names,
    plot_comparison,
    plot_history,
    plot_loss,
    plot_metric,
    plot_scores,
)

__all__ = [
    "MAX_CLASSES_WITH_CURVES",
    "RateSearchLike",
    "can_be_log",
    "figure_as_inline_svg",
    "figure_as_png",
    "figure_as_svg",
    "metric_names",
    "new_figure",
    "plot_activation",
    "plot_activations",
    "plot_attribution",
    "plot_calibration",
    "plot_comparison",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_gradients",
    "plot_history",
    "plot_importance",
    "plot_loss",
    "plot_metric",
    "plot_network",
    "plot_partial_dependence",
    "plot_precision_recall",
    "plot_predicted_against_true",
    "plot_rate_search",
    "plot_residual_histogram",
    "plot_residuals",
    "plot_robustness",
    "plot_roc",
    "plot_scores",
    "plot_training_history",
    "plot_weights",
    "readable_metric",
    "show_losses_over_training",
    "visualize_decision_boundary",
    "without_pyplot",
]

# The names of the lecture notes.
plot_training_history, show_losses_over_training = plot_history, plot_history
visualize_decision_boundary = plot_decision_boundary
