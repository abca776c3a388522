"""Pictures of training and of predictions.

Every function draws into the ``ax`` it is given, or into a figure of its own, and returns the axes; ``.figure`` shows
it in a notebook, ``.figure.savefig(path)`` writes it. No window opens and nothing of pyplot is touched, so a program
without a display can draw, and no figure outlives the last reference to it. Colours are those of Okabe and Ito (2008),
told apart by colour-blind readers too.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chainrule.activations import ACTIVATIONS, ActivationLayer
from chainrule.errors import InvalidInputError, nearest_name
from chainrule.history import History
from chainrule.metrics.inputs import as_columns, errors_of, labels_of, labels_of_both
from chainrule.types import Array, Inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "figure_as_png",
    "figure_as_svg",
    "metric_names",
    "plot_activation",
    "plot_comparison",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_history",
    "plot_loss",
    "plot_metric",
    "plot_predicted_against_true",
    "plot_rate_search",
    "plot_residuals",
    "readable",
]

BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, YELLOW = PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#F0E442",
)
MARKERS, LINES = "os^Dv", ("-", "--", ":", "-.")
FEW_EPOCHS = 20  # up to here every epoch gets a dot: a line through one of them would not be seen
MANY_POINTS = 2_000  # above, points are stored as an image: a vector file of them would be huge
CROWDED = 5_000  # above, points hide one another, and their density says more
MOST_NUMBERED_CLASSES = 25  # above, the counts in the cells of a confusion matrix could not be read
_NOT_METRICS = frozenset({"epoch", "loss", "penalty", "learning_rate", "gradient_norm", "seconds"})


class RateSearchLike(Protocol):
    """What :func:`plot_rate_search` needs of a :class:`chainrule.rate_finder.RateSearch`."""

    @property
    def rates(self) -> Sequence[float]: ...
    @property
    def losses(self) -> Sequence[float]: ...
    @property
    def suggestion(self) -> float: ...


def readable(name: str, limit: int = 24) -> str:
    """Return a name as a label: on one line, printable, and cut to ``limit`` characters.

    >>> readable("root_mean_squared_error"), readable("r2")
    ('root mean squared error', 'R²')
    """
    name = "R²" if name == "r2" else name.replace("_", " ")
    text = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
