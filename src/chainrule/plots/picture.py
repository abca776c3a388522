"""The figures that pyplot holds: a notebook shows each of them once."""

from __future__ import annotations

from typing import final

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

__all__ = ["Picture"]


@final
class Picture(Figure):
    """A figure of pyplot.

    A notebook shows the value of a cell's last line and then every figure that is open. One that is both would be shown
    twice.
    """

    def _ipython_display_(self) -> None:
        """Close the figure before it is shown; NotImplementedError tells IPython to show it as it does any figure."""
        if "inline" in matplotlib.get_backend():
            plt.close(self)
        raise NotImplementedError
