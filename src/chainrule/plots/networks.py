"""Plots of a network: its layers, its weights, and the distributions of outputs and gradients in each layer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.activations import ActivationLayer
from chainrule.data.dataset import Dataset
from chainrule.errors import InvalidInputError, counted, listed, shown
from chainrule.explain.base import as_model
from chainrule.layers import Layer
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork, copy_with, open_batch
from chainrule.plots.canvas import PALETTE, add_legend, ink_of, label_axes, use_axes, use_log_scale
from chainrule.ranges import check_count
from chainrule.types import Array, Inputs, Shape, is_sparse

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_activations", "plot_gradients", "plot_network", "plot_weights"]

MAX_CIRCLES = 16  # a layer with more units is drawn as a box
MAX_ROWS = 2_000  # of more rows, a part is used for the distributions
COLUMN_WIDTH = 1.5  # inches
LINE_HEIGHT = 0.17  # inches, of a line of small text
SATURATED = 0.01  # an output is saturated if its distance from a bound is below this share of the range
DISTRIBUTION = "box: middle 50 %, line: 1 % to 99 %"


@checked
def plot_network(network: Any, ax: Axes | None = None) -> Axes:
    """Draw the layers of a network from left to right, with their names, sizes and numbers of parameters.

    A layer of up to 16 units is drawn as circles, and a larger layer as a box. Between two layers of circles, each
    weight is a line. Its colour shows the sign, and its width the absolute value in relation to the largest weight of
    the layer. ``network`` is a :class:`NeuralNetwork`, a :class:`Model`, or a fitted estimator.

    >>> from chainrule.layers import DenseLayer
    >>> plot_network(NeuralNetwork().add(DenseLayer(1, (2,)))).get_title()
    '3 trainable parameters'
    """
    stack = as_model(network).network.stack
    columns = _columns(stack.layers)
    shapes = [stack.input_shape(), *(layers[-1].output_shape() for layers in columns)]
    sizes = [math.prod(shape) for shape in shapes]
    n_rows = max([4, *(size for size in sizes if size <= MAX_CIRCLES)])
    captions = [
        f"input\n{_size(shapes[0], 'number')}",
        *(_caption(layers, shape) for layers, shape in zip(columns, shapes[1:], strict=True)),
    ]
    n_lines = 1 + max(caption.count("\n") for caption in captions)
    ax = use_axes(ax, COLUMN_WIDTH * len(shapes) + 0.4, 0.9 + 0.3 * n_rows + LINE_HEIGHT * n_lines)
    has_weights = False
    for place, size in enumerate(sizes):
        if place:
            weights = columns[place - 1][0].parameter_views.get("weights")
            if weights is not None and weights.ndim == 2 and max(sizes[place - 1 : place + 1]) <= MAX_CIRCLES:
                _draw_weights(ax, place, weights)
                has_weights = True
            else:
                ax.annotate(
                    "",
                    (place - 0.3, 0),
                    (place - 0.7, 0),
                    arrowprops={"arrowstyle": "->", "color": ink_of(ax)},
                )
        _draw_units(ax, place, size, n_rows)
        ax.text(place, -n_rows / 2 - 0.3, captions[place], ha="center", va="top", fontsize="small", parse_math=False)
    ax.set_xlim(-0.6, len(sizes) - 0.4)
    ax.set_ylim(-n_rows / 2 - 0.3 - n_lines * LINE_HEIGHT / 0.3, n_rows / 2)
    ax.set_axis_off()
    if has_weights:
        for sign, color in zip(("positive", "negative"), PALETTE, strict=False):
            ax.plot([], [], color=color, linewidth=2, label=f"{sign} weight")
        add_legend(ax)
    ax.set_title(counted(sum(layer.parameters() for layer in stack.layers), "trainable parameter"), fontsize="medium")
    return ax


def _columns(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Return the layers in groups: each layer with weights or another output shape, and those that follow it."""
    columns: list[list[Layer]] = []
    for layer in layers:
        if columns and layer.output_shape() == layer.input_shape() and not layer.penalized_parameters:
            columns[-1].append(layer)
        else:
            columns.append([layer])
    return columns


def _caption(layers: Sequence[Layer], shape: Shape) -> str:
    n_parameters = sum(layer.parameters() for layer in layers)
    return "\n".join([*map(_short_name, layers), _size(shape, "unit"), counted(n_parameters, "parameter")])


def _short_name(layer: Layer) -> str:
    return layer.layer_name().removesuffix("Activation").removesuffix("Layer")


def _size(shape: Shape, noun: str) -> str:
    return counted(shape[0], noun) if len(shape) == 1 else " × ".join(map(str, shape))


def _heights(size: int) -> Array:
    return (size - 1) / 2 - np.arange(size)


def _draw_units(ax: Axes, place: int, size: int, n_rows: int) -> None:
    """Draw the units of a layer as circles, or a large layer as a box."""
    ink = ink_of(ax)
    if size <= MAX_CIRCLES:
        circles: dict[str, Any] = {"facecolor": "white", "edgecolor": ink, "linewidth": 1.2, "zorder": 3}
        ax.scatter(np.full(size, place), _heights(size), s=180, **circles)
        return
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((place - 0.22, -n_rows / 2), 0.44, n_rows, fill=False, edgecolor=ink, linewidth=1.2))
    ax.text(place, 0, f"{size:,}", ha="center", va="center")


def _draw_weights(ax: Axes, place: int, weights: Array) -> None:
    """Draw the weights between the columns ``place - 1`` and ``place``."""
    from matplotlib.collections import LineCollection

    n_inputs, n_units = weights.shape
    start, end = np.meshgrid(_heights(n_inputs), _heights(n_units), indexing="ij")
    ends = [np.stack([np.full(weights.size, x), y.ravel()], axis=1) for x, y in ((place - 1, start), (place, end))]
    sizes = np.abs(weights).ravel() / (np.abs(weights).max() or 1.0)
    colors = np.where(weights.ravel() >= 0, PALETTE[0], PALETTE[1])
    ax.add_collection(
        LineCollection(list(np.stack(ends, axis=1)), colors=colors, linewidths=0.2 + 2.8 * sizes, alpha=0.8)
    )


@checked
def plot_weights(
    network: Any,
    layer: int = 0,
    *,
    image_shape: Shape | None = None,
    max_units: int = 64,
    ax: Axes | None = None,
) -> Axes:
    """Draw the weights of a dense layer as a heat map, or as one image for each unit.

    Parameters
    ----------
    network
        A :class:`NeuralNetwork`, a :class:`Model`, or a fitted estimator.
    layer
        The index of the layer in ``network.layers``.
    image_shape
        If the inputs of the layer are the pixels of an image, its height and width, such as ``dataset.image_shape``.
        The weights of each unit are then drawn as an image.
    max_units
        The number of units to draw as images, from the first one on.

    Examples
    --------
    >>> from chainrule.layers import DenseLayer
    >>> network = NeuralNetwork(seed=0).add(DenseLayer(3, (4,)))
    >>> plot_weights(network).get_ylabel(), plot_weights(network, image_shape=(2, 2)).get_title()
    ('input', 'weights of the 3 units of layers[0]')
    """
    layers = as_model(network).network.layers
    weights = _weights_of(layers, layer)
    name = f"layers[{range(len(layers))[layer]}]"
    n_inputs, n_units = weights.shape
    limit = float(np.abs(weights).max()) or 1.0
    colors: dict[str, Any] = {"cmap": "RdBu", "vmin": -limit, "vmax": limit, "interpolation": "nearest"}
    if image_shape is None:
        ax = use_axes(ax, 5.4, 4.0)
        image = ax.imshow(weights, aspect="auto", **colors)
        ax.locator_params(integer=True)
        label_axes(ax, "unit", "input")
        ax.set_title(f"weights of {name}", fontsize="medium")
    else:
        height, width = _image_size(image_shape, n_inputs)
        n_shown = min(n_units, check_count("plot_weights", "max_units", max_units))
        ax = use_axes(ax, 6.0, 5.2)
        mosaic = _mosaic(weights[:, :n_shown].T.reshape(n_shown, height, width))
        image = ax.imshow(mosaic, **colors)
        ax.set_xticks([])
        ax.set_yticks([])
        shown_units = f"{n_units}" if n_shown == n_units else f"first {n_shown} of {n_units}"
        ax.set_title(f"weights of the {shown_units} units of {name}", fontsize="medium")
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8, label="weight")
    bar.outline.set_visible(False)
    return ax


def _weights_of(layers: Sequence[Layer], index: int) -> Array:
    matrices = {
        place: layer.parameter_views["weights"]
        for place, layer in enumerate(layers)
        if layer.parameter_views.get("weights", np.empty(0)).ndim == 2
    }
    place = index + len(layers) if isinstance(index, int) and index < 0 else index
    if place not in matrices:
        what = f"it is {layers[place].layer_name()}" if place in range(len(layers)) else "there is no such layer"
        known = (
            f"the layers with one are {listed([str(n) for n in matrices])}"
            if matrices
            else "no layer of the network has one"
        )
        raise InvalidInputError(f"layer {shown(index)} has no weight matrix ({what}); {known}, counted from 0.")
    return matrices[place]


def _image_size(given: Any, n_inputs: int) -> tuple[int, int]:
    """Return height and width; a last axis of one channel is dropped."""
    sizes = tuple(given) if isinstance(given, tuple | list) else ()
    sizes = sizes[:2] if sizes[2:] == (1,) else sizes
    if len(sizes) != 2 or not all(isinstance(size, int | np.integer) for size in sizes) or math.prod(sizes) != n_inputs:
        raise InvalidInputError(
            f"image_shape is {shown(given)}; give the height and width of images of {n_inputs} pixels, the number of "
            "inputs of the layer."
        )
    return int(sizes[0]), int(sizes[1])


def _mosaic(images: Array) -> Array:
    """Return images in a square, with one empty pixel between them."""
    n, height, width = images.shape
    n_columns = math.ceil(math.sqrt(n))
    n_rows = -(-n // n_columns)
    canvas = np.full((n_rows * (height + 1) - 1, n_columns * (width + 1) - 1), np.nan)
    for number, image in enumerate(images):
        top, left = number // n_columns * (height + 1), number % n_columns * (width + 1)
        canvas[top : top + height, left : left + width] = image
    return canvas


@checked
def plot_activations(network: NeuralNetwork, data: Dataset | Inputs, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the outputs of each layer for some rows, the first layer at the top.

    An activation and the layer before it share one box, that of the outputs of the activation. The text beside a box is
    the share of outputs that are 0, or, for an activation with bounds such as the sigmoid, the share that is saturated:
    closer to a bound than 1 % of the range. The gradient of saturated units is nearly 0. Layers without effect in
    predictions, such as dropout, have no box. Of more than 2,000 rows, a part is used.

    >>> from chainrule.activations import TanhActivation
    >>> from chainrule.layers import DenseLayer
    >>> network = NeuralNetwork(seed=0).add(DenseLayer(3, (2,))).add(TanhActivation()).add(DenseLayer(1))
    >>> ax = plot_activations(network, np.eye(2))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['2 Tanh', '3 Dense']
    """
    _check_network(network)
    inputs = _some_rows(data if isinstance(data, Dataset) else Dataset(data)).X
    stack = network.stack
    if not stack.is_built:
        stack = copy_with(network).stack
        stack.build(inputs.shape[1:])
    outputs: Any = stack.check_inputs(inputs)
    names, values, notes = [], [], []
    for number, layer in enumerate(stack.layers, start=1):
        previous, outputs = outputs, layer.forward_propagation(outputs)
        is_followed = number < len(stack) and isinstance(stack.layers[number], ActivationLayer)
        has_effect = not is_sparse(outputs) and (is_sparse(previous) or not np.may_share_memory(previous, outputs))
        if has_effect and not is_followed:
            names.append(f"{number} {_short_name(layer)}")
            values.append(outputs.ravel())
            notes.append(_note(layer, outputs))
    ax = _draw_distributions(ax, names, values, notes)
    label_axes(ax, f"output ({DISTRIBUTION})", "layer")
    ax.set_title(f"outputs of the layers for {counted(inputs.shape[0], 'row')}", fontsize="medium")
    return ax


def _note(layer: Layer, outputs: Array) -> str:
    bounds = layer.output_range if isinstance(layer, ActivationLayer) else None
    if bounds is None or bounds.sums_to_one or not math.isfinite(bounds.high - bounds.low):
        return _share_of_zeros(outputs)
    margin = SATURATED * (bounds.high - bounds.low)
    share = np.mean((outputs < bounds.low + margin) | (outputs > bounds.high - margin))
    return f"{100 * share:.0f} % saturated"


def _share_of_zeros(values: Array) -> str:
    share = np.mean(values == 0)
    return f"{100 * share:.0f} % zeros" if share else ""


@checked
def plot_gradients(network: NeuralNetwork, data: Dataset | Inputs, y: Any = None, ax: Axes | None = None) -> Axes:
    """Draw the distribution of |dL/dw| over the weights w of each layer, the first layer at the top.

    L is the mean loss of the rows with the present weights, in training (with dropout, if the network has some). The
    network is not changed. The text beside a box is the share of gradients that are 0, which have no place on the log
    axis. ``data`` is a :class:`Dataset`, or inputs with their targets ``y``. Of more than 2,000 rows, a part is used.

    >>> from chainrule.layers import DenseLayer
    >>> network = NeuralNetwork(seed=0).add(DenseLayer(3, (2,))).add(DenseLayer(1))
    >>> ax = plot_gradients(network, np.eye(2), [0, 1])
    >>> [label.get_text() for label in ax.get_yticklabels()], ax.get_xscale()
    (['1 Dense', '2 Dense'], 'log')
    """
    _check_network(network)
    dataset = _some_rows(data if isinstance(data, Dataset) else Dataset(data, y, target=network.target))
    twin, trainer, batch = open_batch(network, dataset)
    trainer.run.session.compute_gradient(batch)
    vector = twin.stack.vector
    gradients: dict[str, list[Array]] = {}
    for block in vector.blocks:
        if block.penalized:
            name = f"{block.layer + 1} {_short_name(twin.layers[block.layer])}"
            gradients.setdefault(name, []).append(np.abs(block.view(vector.gradients)).ravel())
    if not gradients:
        raise InvalidInputError("No layer of the network has weights; add a DenseLayer.")
    values = [np.concatenate(parts) for parts in gradients.values()]
    ax = _draw_distributions(
        ax, list(gradients), [some[some > 0] for some in values], map(_share_of_zeros, values), log=True
    )
    label_axes(ax, f"|gradient of a weight|, log axis ({DISTRIBUTION})", "layer")
    ax.set_title(f"gradients of the weights for {counted(dataset.n_rows, 'row')}", fontsize="medium")
    return ax


def _check_network(given: Any) -> None:
    if not isinstance(given, NeuralNetwork):
        raise InvalidInputError(f"A NeuralNetwork is needed, not {shown(given)}; that of a Model is model.network.")


def _some_rows(dataset: Dataset) -> Dataset:
    """Return at most 2,000 rows, at equal distances."""
    step = -(-dataset.n_rows // MAX_ROWS)
    return dataset if step == 1 else dataset.take(slice(None, None, step))


def _draw_distributions(
    ax: Axes | None, names: Sequence[str], values: Sequence[Array], notes: Iterable[str], *, log: bool = False
) -> Axes:
    """Draw a box for each array, the first at the top, with a note to its right."""
    ax = use_axes(ax, 6.8, 1.2 + 0.3 * max(len(names), 3))
    quantiles = [np.quantile(some, (0.01, 0.25, 0.5, 0.75, 0.99)) if some.size else np.empty(0) for some in values]
    if log:
        drawn = np.concatenate([*quantiles, [1.0] * (not any(map(len, quantiles)))])
        use_log_scale(ax, "x", drawn)
        ax.set_xlim(drawn.min() / 2, drawn.max() * 2)
    places = np.arange(len(names))[::-1]
    for place, five, note in zip(places, quantiles, notes, strict=True):
        if five.size:
            low, first, median, third, high = five
            ax.hlines(place, low, high, color=ink_of(ax), linewidth=0.8)
            ax.barh(place, third - first, left=first, height=0.6, color=PALETTE[4], edgecolor=ink_of(ax), linewidth=0.8)
            ax.vlines(median, place - 0.3, place + 0.3, color=PALETTE[1], linewidth=2)
        ax.text(1.02, place, note, transform=ax.get_yaxis_transform(), va="center", fontsize="small")
    ax.set_yticks(places, names, parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(-0.6, len(names) - 0.4)
    return ax
