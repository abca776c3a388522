"""Figures, colours, labels, axes and legends of all plots, and their conversion to SVG and PNG."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chainrule.named import checked
from chainrule.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.transforms import Bbox

__all__ = [
    "LINE_STYLES",
    "MARKERS",
    "PALETTE",
    "add_legend",
    "figure_as_inline_svg",
    "figure_as_png",
    "figure_as_svg",
    "ink_of",
    "label_axes",
    "legend_label",
    "new_figure",
    "one_line",
    "readable_metric",
    "use_axes",
    "use_log_scale",
    "use_thousands",
    "without_pyplot",
]

# Okabe and Ito 2008 without black: blue, vermilion, bluish green, orange, sky blue, reddish purple, yellow.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442")
MARKERS = ("o", "s", "^", "D", "v", "P")
LINE_STYLES = ("-", "--", ":", "-.")

IMAGE_DPI = 150

LEGEND_MARGIN = 1.15  # the height of the strip for a legend divided by that of the legend; the layout may change both
LEGEND_PADDING = 8  # points above and below the legend in total
MAX_STRIP_HEIGHT = 0.35  # relative to the height of the axes


_without_pyplot: ContextVar[bool] = ContextVar("without_pyplot", default=False)


@contextmanager
def without_pyplot() -> Iterator[None]:
    """Make figures without pyplot until the end of the block, so that no notebook and no window shows them.

    Such figures can be drawn and written to a file without a display and in any thread.
    """
    token = _without_pyplot.set(True)
    try:
        yield
    finally:
        _without_pyplot.reset(token)


@checked
def new_figure(width: float, height: float) -> Figure:
    """Return the current figure of pyplot if it is empty, or a new one of ``width`` by ``height`` inches."""
    if _without_pyplot.get():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="tight")
        FigureCanvasAgg(figure)
        return figure
    import matplotlib.pyplot as plt

    if plt.get_fignums() and not plt.gcf().axes:
        plt.gcf().set_layout_engine("tight")
        return plt.gcf()
    from chainrule.plots.notebook_figure import NotebookFigure

    return plt.figure(figsize=(width, height), layout="tight", FigureClass=NotebookFigure)


def use_axes(ax: Axes | None, width: float = 5.0, height: float = 3.4) -> Axes:
    """Return ``ax``, or the current axes of pyplot if they are empty, or those of a new figure.

    The upper and right spines are removed.
    """
    axes = ax or _empty_axes() or new_figure(width, height).add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _empty_axes() -> Axes | None:
    """Return the current axes of pyplot if they are empty; None otherwise."""
    if _without_pyplot.get():
        return None
    import matplotlib.pyplot as plt

    if not plt.get_fignums() or not plt.gcf().axes:
        return None
    return None if plt.gca().has_data() else plt.gca()


def label_axes(ax: Axes, x: str, y: str) -> None:
    """Set both labels. A dollar sign does not start a formula."""
    ax.set_xlabel(x, parse_math=False)
    ax.set_ylabel(y, parse_math=False)


def legend_label(name: str) -> str:
    """Return a name for the legend. matplotlib omits labels that start with an underscore."""
    label = one_line(name, 40)
    return f" {label}" if label.startswith("_") else label


def add_legend(ax: Axes) -> float:
    """Add a legend in a strip at the top of the axes, and return the height of the strip relative to the axes.

    If the legend is too large for a strip, and the layout of the figure allows it, it is placed to the right of the
    axes. A dollar sign in a label does not start a formula.
    """
    n_labels = len(ax.get_legend_handles_labels()[0])
    for n_columns in range(max(n_labels, 1), 0, -1):
        box = _legend(ax, loc="upper center", ncols=n_columns)
        if box.width <= ax.bbox.width:
            break
    figure = ax.get_figure(root=True)
    assert figure is not None
    strip = float((LEGEND_MARGIN * box.height + LEGEND_PADDING * figure.dpi / 72) / ax.bbox.height)
    if strip > MAX_STRIP_HEIGHT and figure.get_layout_engine() is not None:
        _legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
        return 0.0
    strip = min(strip, 0.8)  # if the axes are too small for their legend
    scale = ax.yaxis.get_transform()
    low, high = scale.transform(np.array(ax.get_ylim()))
    top = scale.inverted().transform(low + (high - low) / (1 - strip))
    ax.set_ylim(top=float(top), auto=True)  # data that are drawn later may change the limits
    return strip


def _legend(ax: Axes, **position: Any) -> Bbox:
    """Add a legend and return its box in pixels."""
    legend = ax.legend(frameon=False, fontsize="small", columnspacing=1.2, handlelength=1.6, **position)
    for text in legend.get_texts():
        text.set_parse_math(False)
    with _ignore_missing_glyphs():
        return legend.get_window_extent()


def ink_of(ax: Axes) -> str:
    """Return the colour of the labels of the axes, for lines that belong to the axes."""
    return str(ax.xaxis.label.get_color())


def one_line(text: str, limit: int = 24) -> str:
    r"""Return a text on one line with printable characters only; the middle of a text above ``limit`` is cut out.

    >>> one_line("a name with\na line break")
    'a name with a line break'
    >>> one_line("number of people in room 12", 20)
    'number of …n room 12'
    """
    clean = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    if len(clean) <= limit:
        return clean
    tail = (limit - 1) // 2
    return f"{clean[: limit - 1 - tail]}…{clean[-tail:]}"


def readable_metric(name: str) -> str:
    """Return a readable name of a quantity of the history.

    >>> readable_metric("root_mean_squared_error"), readable_metric("r2"), readable_metric("validation_roc_auc")
    ('RMSE', 'R²', 'validation ROC AUC')
    """
    words = name.replace("root_mean_squared_error", "RMSE").replace("_", " ").split()
    special = {"r2": "R²", "f1": "F1", "roc": "ROC", "auc": "AUC"}
    return one_line(" ".join(special.get(word, word) for word in words), 40)


def use_log_scale(ax: Axes, which: Literal["x", "y"], values: Array) -> None:
    """Give the x or y axis a log scale with ticks in plain numbers, also if the range of ``values`` is small."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    ax.set(**{f"{which}scale": "log"})
    axis = ax.xaxis if which == "x" else ax.yaxis
    positive = values[np.isfinite(values) & (values > 0)]
    decades = float(np.log10(positive.max() / positive.min())) if positive.size else 1.0
    if decades < 0.7:
        axis.set_major_locator(MaxNLocator(5))
    else:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def use_thousands(ax: Axes, which: Literal["x", "y", "both"]) -> None:
    """Format the tick labels of an axis as 10,000, if they are whole numbers and reach this size."""
    from matplotlib.ticker import FuncFormatter

    for axis, name in ((ax.xaxis, "x"), (ax.yaxis, "y")):
        if which in (name, "both") and 1e4 <= np.abs(axis.get_view_interval()).max() < 1e9:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}".replace("-", "−")))


def figure_as_svg(figure: Figure) -> str:
    """Return the figure as SVG text without a date and links, so that the same figure gives the same bytes.

    Text is not converted to paths, so that it can be searched and selected. The viewer chooses the fonts.
    """
    import matplotlib

    buffer = io.StringIO()
    no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": "chainrule", "svg.fonttype": "none"}), _ignore_missing_glyphs():
        figure.savefig(buffer, format="svg", dpi=IMAGE_DPI, transparent=True, metadata=no_metadata)
    return buffer.getvalue()


def figure_as_inline_svg(figure: Figure, prefix: str, ink: str) -> str:
    """Return the figure as an ``<svg>`` element for an HTML page, which is not displayed larger than its size.

    ``prefix`` is added to the ids, so that they are unique in the page. The colour ``ink`` is replaced by the text
    colour of the page.
    """
    svg = figure_as_svg(figure)
    box = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', svg)
    assert box is not None
    drawing = svg[svg.index(">", box.end()) + 1 :].replace(" xlink:href=", " href=")
    for reference in (' id="', ' href="#', "url(#"):
        drawing = drawing.replace(reference, reference + prefix)
    drawing = drawing.replace(f": {ink}", ": currentColor")
    width = float(box.group(1)) * 96 / 72  # an inch is 96 CSS pixels and 72 points
    return f'<svg {box.group()} style="max-width: {width:.0f}px">{drawing}'


def figure_as_png(figure: Figure, dpi: float = IMAGE_DPI) -> bytes:
    """Return the figure as the bytes of a PNG image."""
    buffer = io.BytesIO()
    with _ignore_missing_glyphs():
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


@contextmanager
def _ignore_missing_glyphs() -> Iterator[None]:
    """Suppress the warnings of matplotlib for characters that its font does not contain."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        yield
