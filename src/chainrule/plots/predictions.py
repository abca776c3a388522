"""Plots of predictions and true values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.errors import InvalidInputError
from chainrule.metrics.inputs import as_columns, class_probabilities, errors_of, has_nan, labels_of
from chainrule.model import Model
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.plots.canvas import (
    LINE_STYLES,
    MARKERS,
    PALETTE,
    add_legend,
    ink_of,
    label_axes,
    legend_label,
    one_line,
    use_axes,
    use_thousands,
)
from chainrule.types import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "MAX_CLASSES_WITH_CURVES",
    "plot_calibration",
    "plot_confusion_matrix",
    "plot_decision_boundary",
    "plot_precision_recall",
    "plot_predicted_against_true",
    "plot_residual_histogram",
    "plot_residuals",
    "plot_roc",
]

MAX_VECTOR_POINTS = 2_000  # more points are stored as an image, because a vector file would be too large
MAX_POINTS = 5_000  # more points are drawn as a density, because they would overlap
MAX_CLASSES_WITH_COUNTS = 25  # with more classes, the counts in the cells of a confusion matrix are not readable
#: The largest number of classes for which the curves of ROC and of precision and recall are drawn.
MAX_CLASSES_WITH_CURVES = 10
N_BINS_OF_CALIBRATION = 10
GRID = 250  # the number of grid points along each axis of a decision boundary


@checked
def plot_confusion_matrix(y_true: Array, y_pred: Array, class_names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw the number of rows for each pair of true class and predicted class.

    The colour shows the share of the rows of the true class. ``y_true`` contains class codes, and ``y_pred`` class
    codes or the outputs of a network. Rows whose outputs contain NaN are ignored.

    >>> from matplotlib.figure import Figure
    >>> plot_confusion_matrix([0, 1, 1], [0, 1, 0], ["no", "yes"], ax=Figure().subplots()).get_ylabel()
    'true class'
    """
    n = len(class_names)
    counts = _count(y_true, y_pred, n)
    ticks = range(0, n, -(-n // 40))
    labels = [one_line(class_names[code], 18) for code in ticks]
    longest = max(map(len, labels), default=0)
    is_crowded = longest * n > 40
    side = float(np.clip(1.2 + 0.4 * n, 2.4, 8.5))  # in inches, of the square without labels and colour bar
    ax = use_axes(ax, 1.2 * side + 1.2 + 0.08 * longest, side + 0.8 + (0.08 * longest if is_crowded else 0))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    ax.spines[:].set_visible(False)
    size = float(np.clip(110 / n, 7, 12))
    if n <= MAX_CLASSES_WITH_COUNTS:
        for row, column in zip(*np.nonzero(counts if n > 4 else counts + 1), strict=True):
            color = "white" if shares[row, column] > 0.55 else "black"
            ax.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=color, fontsize=size)
    ax.set_xticks(ticks, labels, parse_math=False, rotation=90 if is_crowded else 0, fontsize=min(size + 1, 10))
    ax.set_yticks(ticks, labels, parse_math=False, fontsize=min(size + 1, 10))
    ax.tick_params(length=0)
    label_axes(ax, "predicted class", "true class")
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.7, label="share of the true class")
    bar.outline.set_visible(False)
    return ax


@checked
def plot_predicted_against_true(y_true: Array, y_pred: Array, *, name: str = "value", ax: Axes | None = None) -> Axes:
    """Draw predictions against true values. Correct predictions are on the diagonal.

    ``name`` is the name of the target with its unit. Each of several outputs has its own colour. For more than 5,000
    points, their density is drawn.
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
    _name_outputs(ax, truth.shape[1])
    use_thousands(ax, "both")
    label_axes(ax, f"true {one_line(name, 40)}", f"predicted {one_line(name, 40)}")
    return ax


@checked
def plot_residuals(y_true: Array, y_pred: Array, *, name: str = "value", ax: Axes | None = None) -> Axes:
    """Draw the residuals, true minus predicted values, against the predictions. They should show no pattern.

    >>> from matplotlib.figure import Figure
    >>> plot_residuals([1.0, 2.0, 3.0], [1.1, 1.9, 3.2], ax=Figure().subplots()).get_xlabel()
    'predicted value'
    """
    errors, truth = errors_of(y_true, y_pred), as_columns(y_true)
    ax = use_axes(ax, 4.8, 4.2)
    _plot_points(ax, truth + errors, -errors)
    ax.axhline(0, color=ink_of(ax), linewidth=0.9, linestyle="--")
    _name_outputs(ax, truth.shape[1])
    use_thousands(ax, "both")
    label_axes(ax, f"predicted {one_line(name, 40)}", "residual: true − predicted")
    return ax


@checked
def plot_residual_histogram(y_true: Array, y_pred: Array, *, name: str = "value", ax: Axes | None = None) -> Axes:
    """Draw the distribution of the residuals, true minus predicted values, with a line at their median."""
    residuals = -errors_of(y_true, y_pred)
    ax = use_axes(ax, 4.8, 4.2)
    finite = residuals[np.isfinite(residuals)]
    low, high = np.quantile(finite, [0.005, 0.995]) if finite.size else (-1.0, 1.0)
    bins = np.linspace(low, high if high > low else low + 1, int(np.clip(finite.size**0.5, 8, 40)) + 1)
    for output in range(residuals.shape[1]):
        column = np.clip(residuals[np.isfinite(residuals[:, output]), output], bins[0], bins[-1])
        color = PALETTE[output % len(PALETTE)]
        alpha = 0.85 if residuals.shape[1] == 1 else 0.5
        ax.hist(column, bins=bins.tolist(), color=color, alpha=alpha, label=f"output {output + 1}")
    if finite.size:
        ax.axvline(float(np.median(finite)), color=ink_of(ax), linewidth=0.9, linestyle="--")
    _name_outputs(ax, residuals.shape[1])
    ax.locator_params(axis="x", nbins=5)
    use_thousands(ax, "x")
    label_axes(ax, f"residual of {one_line(name, 40)}: true − predicted", "rows")
    return ax


@checked
def plot_roc(y_true: Array, y_pred: Array, class_names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw the true positive rate against the false positive rate for all thresholds (ROC).

    There is one curve for the second of two classes, or one for each class against the rest, for up to ten classes. The
    legend has the areas under the curves; a random order of the rows has the area 0.5.

    >>> from matplotlib.figure import Figure
    >>> plot_roc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8], ["no", "yes"], ax=Figure().subplots()).get_xlabel()
    'false positive rate'
    """
    from sklearn.metrics import auc, roc_curve

    def curve(is_class: Array, scores: Array) -> tuple[Array, Array, float]:
        false_rate, true_rate, _ = roc_curve(is_class, scores)
        return false_rate, true_rate, auc(false_rate, true_rate)

    ax = use_axes(ax, 4.6, 4.4)
    _plot_classes(ax, _one_against_rest(y_true, y_pred, class_names), curve, "area", by_chance=(0, 1))
    label_axes(ax, "false positive rate", "true positive rate")
    return ax


@checked
def plot_precision_recall(y_true: Array, y_pred: Array, class_names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw the precision against the recall for all thresholds, for the classes of :func:`plot_roc`.

    The legend has the average precision. The dotted line is the share of the class: the result of a random order.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    def curve(is_class: Array, scores: Array) -> tuple[Array, Array, float]:
        precision, recall, _ = precision_recall_curve(is_class, scores)
        return recall, precision, average_precision_score(is_class, scores)

    ax, classes = use_axes(ax, 4.6, 4.4), [*_one_against_rest(y_true, y_pred, class_names)]
    share = classes[0][1].mean() if len(class_names) == 2 and classes else np.nan
    _plot_classes(ax, classes, curve, "average precision", by_chance=(share, share), steps=True)
    label_axes(ax, "recall", "precision")
    return ax


@checked
def plot_calibration(y_true: Array, y_pred: Array, class_names: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw how often the predicted probabilities come true (reliability diagram).

    The rows are divided into up to ten bins of equal size by the probability of the second of two classes, or by that
    of the predicted class for more classes. Each point is a bin; the lines show two standard errors of its share. The
    probabilities are right if the points are on the diagonal.
    """
    ax = use_axes(ax, 4.6, 4.4)
    probabilities = class_probabilities(as_columns(y_pred))
    truth, is_binary = labels_of(y_true), len(class_names) == 2
    predicted = np.ones(len(truth), np.int64) if is_binary else probabilities.argmax(axis=1)
    confidence, comes_true = probabilities[np.arange(len(truth)), predicted], truth == predicted
    order = np.argsort(confidence, kind="stable")
    bins = [rows for rows in np.array_split(order, min(N_BINS_OF_CALIBRATION, max(1, len(order) // 10))) if len(rows)]
    means = np.array([confidence[rows].mean() for rows in bins])
    shares = np.array([comes_true[rows].mean() for rows in bins])
    # Smoothed shares, so that the standard error is not 0 in bins where none or all of the predictions come true.
    smoothed = [(comes_true[rows].sum() + 1) / (len(rows) + 2) for rows in bins]
    sizes = np.array([2 * (share * (1 - share) / len(rows)) ** 0.5 for share, rows in zip(smoothed, bins, strict=True)])
    errors = np.stack([np.minimum(sizes, shares), np.minimum(sizes, 1 - shares)])
    ax.plot([0, 1], [0, 1], color=ink_of(ax), linewidth=0.9, linestyle=":")
    ax.errorbar(means, shares, yerr=errors, fmt="o-", color=PALETTE[0], markersize=5, linewidth=1.2, elinewidth=0.9)
    low = 0.0 if is_binary else max(0.0, float(min(means.min(initial=1), shares.min(initial=1))) - 0.08)
    ax.set(xlim=(low - 0.02, 1.02), ylim=(low - 0.02, 1.02), aspect="equal")
    name = one_line(class_names[1], 20) if is_binary else "the predicted class"
    label_axes(ax, f"predicted probability of {name}", "share of the rows for which it is true")
    return ax


@checked
def plot_decision_boundary(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    names: Sequence[str] | None = None,
    input_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the predicted class at each point of the plane, and the boundaries between the classes.

    The colours are paler for lower probabilities. ``model`` is a :class:`NeuralNetwork` or a :class:`Model` with two
    inputs, a classifier of scikit-learn, or a function that maps points (points, 2) to probabilities, of shape
    (points, 1) or (points, classes), or to class codes or labels. The rows ``X`` are drawn as points, with the labels
    or class codes ``y``; a :class:`Dataset` contains both. ``names`` are the names of the classes in the order of their
    codes, and ``input_names`` the names of the inputs.

    >>> from matplotlib.figure import Figure
    >>> from chainrule import build_network, load_dataset
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(4,), seed=0)
    >>> plot_decision_boundary(network, moons, ax=Figure().subplots()).get_xlabel()
    'x1'
    """
    predict, classes = _predictor(model)
    if isinstance(X, Dataset):
        if X.y is None or X.target is None or not X.target.classes:
            raise InvalidInputError("A decision boundary needs classes, but this dataset has none.")
        if classes in ((), X.target.classes):
            classes = X.target.classes
            names = names or (X.label_names if X.label_names != tuple(map(str, classes)) else None)
        X, y, input_names = X.X, X.target.labels_of(X.y), input_names or X.feature_names
    columns = getattr(X, "columns", None)
    input_names = input_names or (("x1", "x2") if columns is None else [str(name) for name in columns])
    rows = np.asarray(X)
    if rows.ndim != 2 or rows.shape[1] != 2:
        raise InvalidInputError(f"A decision boundary needs X of shape (rows, 2), not {np.shape(X)}.")
    rows = rows.astype(np.result_type(rows.dtype, np.float32) if rows.dtype.kind in "biuf" else np.float64)
    codes, classes = _class_codes(y, classes, len(rows))
    ax = use_axes(ax, 5.2, 4.2)
    margin = 0.08 * np.ptp(rows, axis=0) + 1e-9
    for which, low, high in zip("xy", rows.min(axis=0) - margin, rows.max(axis=0) + margin, strict=True):
        ax.set(**{f"{which}lim": (low, high)})
    for code in np.unique(codes).tolist():
        ax.scatter(
            rows[codes == code, 0],
            rows[codes == code, 1],
            marker=MARKERS[code % len(MARKERS)],
            color=PALETTE[code % len(PALETTE)],
            s=20,
            edgecolors="white",
            linewidths=0.5,
            rasterized=len(rows) > MAX_VECTOR_POINTS,
            label=legend_label(_class_name(code, names, classes)),
        )
    add_legend(ax)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    xs, ys = np.linspace(left, right, GRID), np.linspace(bottom, top, GRID)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(rows.dtype)
    outputs = predict(points if columns is None else type(X)(points, columns=columns))
    probabilities = _as_probabilities(np.asarray(outputs), classes, max(len(classes), int(codes.max()) + 1))
    n = probabilities.shape[1]
    colors = np.array([[int(PALETTE[c % len(PALETTE)][i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in range(n)])
    image = (1 - 0.45 * (1 - probabilities @ colors)).reshape(GRID, GRID, 3)
    ax.imshow(image, origin="lower", extent=(left, right, bottom, top), aspect="auto", interpolation="nearest")
    for code in range(n if n > 2 else 1):
        margins = probabilities[:, code] - np.delete(probabilities, code, axis=1).max(axis=1)
        if margins.min() < 0 < margins.max():
            ax.contour(xs, ys, margins.reshape(GRID, GRID), levels=[0.0], colors="black", linewidths=0.9)
    label_axes(ax, one_line(input_names[0]), one_line(input_names[1]))
    return ax


def _predictor(model: Any) -> tuple[Callable[[Any], Any], tuple[Any, ...]]:
    """Return a function that predicts points, and the labels of the classes in the order of their codes, if known."""
    if isinstance(model, Model):
        if not model.target.classes:
            raise InvalidInputError("A decision boundary needs classes, but this model predicts numbers.")
        return model.outputs, model.target.classes
    if isinstance(model, NeuralNetwork):
        network = model
        classes = () if network.target is None else network.target.classes
        return lambda points: network.loss.predictions_of(network.predict(points)), classes
    if hasattr(model, "predict"):  # scikit-learn
        predict = getattr(model, "predict_proba", model.predict)
        return predict, tuple(getattr(model, "classes_", ()))
    if not callable(model):
        raise InvalidInputError(
            f"model is {model!r}; it must be a network, a Model, a scikit-learn classifier or a function."
        )
    return model, ()


def _class_codes(y: Any, classes: tuple[Any, ...], n_rows: int) -> tuple[Array, tuple[Any, ...]]:
    """Return the class code of every row, and the labels of the classes if they are known."""
    values = np.asarray(y)
    if not classes and values.dtype.kind in "OUS":
        classes = tuple(sorted(set(values.tolist()), key=str))
    labels = values.reshape(-1).tolist()
    if classes and set(labels) <= set(classes):
        code_of = {label: code for code, label in enumerate(classes)}
        codes = np.array([code_of[label] for label in labels], dtype=np.int64)
    else:
        codes = labels_of(values)
    is_code = codes.dtype.kind == "i" and 0 <= codes.min(initial=0) <= codes.max(initial=0) < (len(classes) or np.inf)
    if codes.shape != (n_rows,) or not is_code:
        known = f", one of {', '.join(map(str, classes))}" if classes else ""
        raise InvalidInputError(f"y must be one label{known}, or one class code (0, 1, ...), for every row of X.")
    return codes, classes


def _class_name(code: int, names: Sequence[str] | None, classes: tuple[Any, ...]) -> str:
    if names:
        return names[code]
    label = classes[code] if classes else code
    return label if isinstance(label, str) else f"class {label}"


def _count(y_true: Array, y_pred: Array, n: int) -> Array:
    """Return the numbers of rows (n, n) by true class (rows) and predicted class (columns), without NaN."""
    codes = labels_of(y_true), labels_of(y_pred)
    if len(codes[0]) != len(codes[1]):
        raise InvalidInputError(
            f"There are {len(codes[0])} targets for {len(codes[1])} predictions; give the same number of both."
        )
    if has_nan(y_pred):
        is_number = ~np.isnan(y_pred).reshape(len(codes[1]), -1).any(axis=1)
        codes = codes[0][is_number], codes[1][is_number]
    for array in codes:
        if array.dtype.kind != "i" or not 0 <= array.min(initial=0) <= array.max(initial=0) < n:
            raise InvalidInputError(f"The classes must be whole numbers from 0 to {n - 1}, one per class name.")
    counts = np.zeros((n, n), dtype=np.int64)
    np.add.at(counts, codes, 1)
    return counts


def _as_probabilities(outputs: Array, classes: tuple[Any, ...], n_classes: int) -> Array:
    """Return probabilities, labels or class codes as probabilities (rows, classes)."""
    if outputs.dtype.kind in "OUS":
        outputs = _class_codes(outputs, classes, len(outputs))[0]
    columns = as_columns(outputs)
    if not np.isfinite(columns).all():
        raise InvalidInputError("The model predicts numbers that are not finite for some points of the plot.")
    if columns.shape[1] == 1 and n_classes <= 2 and 0 <= columns.min() <= columns.max() <= 1:
        return class_probabilities(columns)
    if columns.shape[1] > 1 and columns.min() >= 0 and np.allclose(columns.sum(axis=1), 1, atol=1e-3):
        return columns
    labels = labels_of(outputs)
    return np.eye(max(columns.shape[1], n_classes, int(labels.max()) + 1, 2))[labels]


def _plot_points(ax: Axes, x: Array, y: Array) -> None:
    """Draw the finite points (rows, outputs) of x and y, or their density if there are too many."""
    finite = np.isfinite(x) & np.isfinite(y)
    ax.locator_params(nbins=4)
    n_points = int(finite.sum())
    if n_points > MAX_POINTS:
        from matplotlib import colormaps
        from matplotlib.colors import ListedColormap

        colors = ListedColormap(colormaps["viridis"](np.linspace(0.3, 1, 256)))  # also visible on a dark page
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
            rasterized=n_points > MAX_VECTOR_POINTS,
            label=f"output {output + 1}",
        )


def _one_against_rest(y_true: Array, y_pred: Array, class_names: Sequence[str]) -> Iterator[tuple[str, Array, Array]]:
    """Yield the name, the true rows and the probabilities of each class that has rows, but not all rows."""
    if len(class_names) > MAX_CLASSES_WITH_CURVES:
        raise InvalidInputError(
            f"There are {len(class_names)} classes; these curves are readable for up to {MAX_CLASSES_WITH_CURVES}."
        )
    truth, probabilities = labels_of(y_true), class_probabilities(as_columns(y_pred))
    for code in [1] if len(class_names) == 2 else range(len(class_names)):
        is_class = truth == code
        if 0 < is_class.sum() < len(truth):
            yield one_line(class_names[code], 16), is_class, probabilities[:, code]


def _plot_classes(
    ax: Axes,
    classes: Iterable[tuple[str, Array, Array]],
    curve: Callable[[Array, Array], tuple[Array, Array, float]],
    title: str,
    *,
    by_chance: tuple[float, float],
    steps: bool = False,
) -> None:
    """Draw a curve for each class of :func:`_one_against_rest`, with at most 500 points, and the legend.

    ``curve`` takes two arrays, whether each row belongs to the class and its probability of the class, and returns x, y
    and the number in the legend. ``by_chance`` are the heights of the two ends of the dotted line, which is the result
    of random predictions.
    """
    for k, (name, is_class, scores) in enumerate(classes):
        x, y, value = curve(is_class, scores)
        kept = np.unique(np.linspace(0, len(x) - 1, 500).astype(np.int64))
        style, color = LINE_STYLES[k // len(PALETTE) % len(LINE_STYLES)], PALETTE[k % len(PALETTE)]
        how, label = "steps-post" if steps else "default", legend_label(f"{name}: {value:.3f}")
        ax.plot(x[kept], y[kept], style, color=color, linewidth=1.5, drawstyle=how, label=label)
    ax.plot([0, 1], by_chance, color=ink_of(ax), linewidth=0.9, linestyle=":")
    ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _add_class_legend(ax, title)
    ax.set_yticks(np.linspace(0, 1, 6))


def _add_class_legend(ax: Axes, title: str) -> None:
    """Add a legend to the right of the axes if there are several curves; otherwise its label is a title."""
    labels = ax.get_legend_handles_labels()[1]
    if len(labels) == 1:
        name, _, value = labels[0].rpartition(": ")
        ax.set_title(f"{name}: {title} {value}", fontsize="medium", color=ink_of(ax), parse_math=False)
    elif labels:
        add_legend(ax)


def _name_outputs(ax: Axes, n_outputs: int) -> None:
    """Add a legend if there are points of several outputs, which are not drawn as a density."""
    if n_outputs > 1 and ax.get_legend_handles_labels()[0]:
        add_legend(ax)
