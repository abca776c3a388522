"""Figures of pyplot that a notebook shows only once."""

from __future__ import annotations

from typing import final

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

__all__ = ["NotebookFigure"]


@final
class NotebookFigure(Figure):
    """A figure of pyplot that is closed when a notebook shows it.

    A notebook shows the value of the last line of a cell, and then every open figure. Without this class, a figure that
    is the value of the last line would be shown twice.
    """

    def _ipython_display_(self) -> None:
        """Close the figure. NotImplementedError makes IPython show it like other figures."""
        if "inline" in matplotlib.get_backend():
            plt.close(self)
        raise NotImplementedError
