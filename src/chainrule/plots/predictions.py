"""Pictures of predictions beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from chainrule.errors import InvalidInputError
from chainrule.metrics.inputs import as_columns, errors_of, has_nan, labels_of
from chainrule.plots.canvas import MARKERS, PALETTE, add_legend, ink_of, label_axes, legend_label, one_line, use_axes
from chainrule.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_confusion_matrix", "plot_decision_boundary", "plot_predicted_against_true", "plot_residuals"]

MANY_POINTS = 2_000  # above, points are stored as an image: a vector file of them would be huge
CROWDED = 5_000  # above, points hide one another, and their density says more
MOST_COUNTS_SHOWN = 25  # above, the counts in the cells of a confusion matrix could not be read
GRID = 250  # points along either side of a decision boundary


def plot_confusion_matrix(y_true: Array, y_pred: Array, class_names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw how many rows of each true class were given each class; the colour is the share of the true class.

    ``y_true`` are class codes, ``y_pred`` class codes or a network's outputs. Rows with NaN in them are left out.
    """
    n = len(class_names)
    counts = _count(y_true, y_pred, n)
    side = float(np.clip(2.2 + 0.42 * n, 3.4, 10.5))
    ax = use_axes(ax, side + 0.6, side)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.spines[:].set_visible(False)
    size = float(np.clip(110 / n, 7, 12))
    if n <= MOST_COUNTS_SHOWN:
        for row, column in zip(*np.nonzero(counts if n > 4 else counts + 1), strict=True):
            color = "white" if shares[row, column] > 0.55 else "black"
            ax.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color, fontsize=size)
    places = range(0, n, -(-n // 40))
    labels = [one_line(class_names[place], 18) for place in places]
    crowded = max(map(len, labels), default=0) * n > 40
    ax.set_xticks(places, labels, parse_math=False, rotation=90 if crowded else 0, fontsize=min(size + 1, 10))
    ax.set_yticks(places, labels, parse_math=False, fontsize=min(size + 1, 10))
    ax.tick_params(length=0)
    label_axes(ax, "predicted class", "true class")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7, label="share of the true class")
    bar.outline.set_visible(False)
    return ax


def plot_predicted_against_true(y_true: Array, y_pred: Array, *, name: str = "value", ax: Axes | None = None) -> Axes:
    """Draw predictions against the truth; on the diagonal they are right.

    ``name`` says what is predicted, and its unit. Several outputs have a colour each. Above 5,000 points the colour is
    their density.
    """
    errors, truth = errors_of(y_true, y_pred), as_columns(y_true)
    ax = use_axes(ax, 4.8, 4.2)
    _plot_points(ax, truth, truth + errors)
    values = np.concatenate([truth, truth + errors])
    finite = values[np.isfinite(values)]
    if finite.size:
        margin = 0.04 * (finite.max() - finite.min()) or 1.0
        limits = (finite.min() - margin, finite.max() + margin)
        ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.axline((0, 0), slope=1, color=ink_of(ax), linewidth=0.9, linestyle="--")
    label_axes(ax, f"true {one_line(name, 40)}", f"predicted {one_line(name, 40)}")
    return ax


def plot_residuals(y_true: Array, y_pred: Array, *, name: str = "value", ax: Axes | None = None) -> Axes:
    """Draw the residuals, true minus predicted, against the predictions: a good model leaves no pattern in them."""
    errors, truth = errors_of(y_true, y_pred), as_columns(y_true)
    ax = use_axes(ax, 4.8, 4.2)
    _plot_points(ax, truth + errors, -errors)
    ax.axhline(0, color=ink_of(ax), linewidth=0.9, linestyle="--")
    label_axes(ax, f"predicted {one_line(name, 40)}", "residual: true − predicted")
    return ax


def plot_decision_boundary(
    predict: Callable[[Array], Array],
    X: Array,
    y: Array,
    *,
    names: Sequence[str] | None = None,
    input_names: tuple[str, str] = ("x1", "x2"),
    ax: Axes | None = None,
) -> Axes:
    """Draw where a network of two inputs gives which class: paler where it is less sure, a line where it changes over.

    ``predict`` turns inputs of shape (points, 2) into probabilities, of shape (points, 1) or (points, classes), or into
    class codes. ``X`` and ``y`` are the rows to draw on it, ``y`` as class codes; ``names`` names the classes.
    """
    X, truth = np.asarray(X), labels_of(y)
    if X.ndim != 2 or X.shape[1] != 2:
        raise InvalidInputError(f"A decision boundary is drawn for 2 inputs; X has the shape {X.shape}.")
    if truth.shape != (len(X),) or truth.dtype.kind != "i" or truth.min(initial=0) < 0:
        raise InvalidInputError("y is one class code, a whole number from 0 up, for every row of X.")
    margin = 0.08 * np.ptp(X, axis=0) + 1e-9
    low, high = X.min(axis=0) - margin, X.max(axis=0) + margin
    xs, ys = np.linspace(low[0], high[0], GRID), np.linspace(low[1], high[1], GRID)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(X.dtype)
    probabilities = _as_probabilities(np.asarray(predict(points)), int(truth.max(initial=0)) + 1)
    n = probabilities.shape[1]
    colors = np.array([[int(PALETTE[c % len(PALETTE)][i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in range(n)])
    picture = (1 - 0.45 * (1 - probabilities @ colors)).reshape(GRID, GRID, 3)
    ax = use_axes(ax, 5.2, 4.2)
    ax.imshow(
        picture, origin="lower", extent=(low[0], high[0], low[1], high[1]), aspect="auto", interpolation="nearest"
    )
    for code in range(n if n > 2 else 1):
        lead = probabilities[:, code] - np.delete(probabilities, code, axis=1).max(axis=1)
        if lead.min() < 0 < lead.max():
            ax.contour(xs, ys, lead.reshape(GRID, GRID), levels=[0.0], colors="black", linewidths=0.9)
    for code in np.unique(truth).tolist():
        ax.scatter(
            X[truth == code, 0],
            X[truth == code, 1],
            marker=MARKERS[code % len(MARKERS)],
            color=PALETTE[code % len(PALETTE)],
            s=20,
            edgecolors="white",
            linewidths=0.5,
            rasterized=len(X) > MANY_POINTS,
            label=legend_label(names[code] if names else f"class {code}"),
        )
    add_legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    label_axes(ax, one_line(input_names[0]), one_line(input_names[1]))
    return ax


def _count(y_true: Array, y_pred: Array, n: int) -> Array:
    """Return the (n, n) numbers of rows by true class, down, and predicted class, across; NaN is no class."""
    codes = labels_of(y_true), labels_of(y_pred)
    if len(codes[0]) != len(codes[1]):
        raise InvalidInputError(f"There are {len(codes[0])} targets for {len(codes[1])} predictions.")
    if has_nan(y_pred):
        is_number = ~np.isnan(y_pred).reshape(len(codes[1]), -1).any(axis=1)
        codes = codes[0][is_number], codes[1][is_number]
    for which in codes:
        if which.dtype.kind != "i" or not 0 <= which.min(initial=0) <= which.max(initial=0) < n:
            raise InvalidInputError(f"The classes must be given as whole numbers from 0 to {n - 1}, one a class name.")
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, codes, 1)
    return counts


def _as_probabilities(outputs: Array, n_seen: int) -> Array:
    """Return one column a class, each row with the sum 1, whatever ``predict`` gave."""
    columns = as_columns(outputs)
    if not np.isfinite(columns).all():
        raise InvalidInputError("The network gives numbers that are not finite for some points of the picture.")
    if columns.shape[1] == 1 and n_seen <= 2 and 0 <= columns.min() <= columns.max() <= 1:
        return np.hstack([1 - columns, columns])
    if columns.shape[1] > 1 and columns.min() >= 0 and np.allclose(columns.sum(axis=1), 1, atol=1e-3):
        return columns
    labels = labels_of(outputs)
    return np.eye(max(columns.shape[1], n_seen, int(labels.max()) + 1, 2))[labels]


def _plot_points(ax: Axes, x: Array, y: Array) -> None:
    """Scatter (rows, outputs) against (rows, outputs), the finite ones, as a density where it is crowded."""
    finite = np.isfinite(x) & np.isfinite(y)
    ax.locator_params(nbins=4)
    n_points = int(finite.sum())
    if n_points > CROWDED:
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap

        colors = ListedColormap(colormaps["viridis"](np.linspace(0.3, 1, 256)))  # none too dark for a dark page
        hexagons = ax.hexbin(x[finite], y[finite], gridsize=50, bins="log", mincnt=1, cmap=colors, rasterized=True)
        bar = ax.figure.colorbar(hexagons, ax=ax, shrink=0.8, label="rows (log colour)", format="{x:g}")
        bar.outline.set_visible(False)
        return
    alpha = float(np.clip(12 / max(n_points, 1) ** 0.5, 0.2, 0.8))
    for output in range(x.shape[1]):
        rows = finite[:, output]
        ax.scatter(
            x[rows, output],
            y[rows, output],
            s=14,
            alpha=alpha,
            color=PALETTE[output % len(PALETTE)],
            linewidths=0,
            rasterized=n_points > MANY_POINTS,
            label=f"output {output + 1}",
        )
    if x.shape[1] > 1:
        add_legend(ax)
