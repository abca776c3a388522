"""The network of ``preset="tabular"``: an ensemble over cross-validation folds that starts from a linear model.

Every member of the ensemble is trained on all rows except those of its fold. The out-of-fold predictions of all members
measure the network. For each fold, there is one member of each kind in ``KINDS``.

Each member is the sum of a linear model and of a network with hidden layers. At the start, the linear model is the best
ridge or logistic regression (for other losses, the linear model that minimises the loss), and the output of the hidden
layers is 0. If training never improves the out-of-fold loss, the linear model is the result.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import logsumexp

from chainrule.activations import LinearActivation, SmoothClipActivation
from chainrule.architecture import ActivationLike, default_loss, hidden_layers, output_activations, output_units
from chainrule.callbacks import EarlyStopping
from chainrule.data.dataset import Dataset
from chainrule.data.target import Target
from chainrule.errors import DivergenceError, InvalidInputError
from chainrule.layers import (
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    Layer,
    Parallel,
    PeriodicEmbeddingLayer,
    PiecewiseLinearEncodingLayer,
    QuantileLayer,
    RepeatLayer,
    Residual,
    Sequential,
)
from chainrule.losses import LOSSES, LossFunction
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import LBFGS, AdamW, Optimizer, own_optimizer
from chainrule.randomness import Stream, random_stream
from chainrule.schedules import Schedule
from chainrule.types import Array

__all__ = ["MOST_MEMBERS", "Design", "Recipe", "describe_design", "design_network", "table_optimizer"]


class Kind(NamedTuple):
    """A kind of members: what they take beside the numbers, and the activation (for classes and for numbers)."""

    encoding: Literal["", "sines", "bins"]
    activations: tuple[str, str]


# All constants of the recipe. In the tables, the first value belongs to training sets with fewer rows than the bound.
KINDS = (Kind("", ("selu", "mish")), Kind("sines", ("relu", "relu")), Kind("bins", ("relu", "relu")))
N_FOLDS = 8
TRAINED_FOLDS = ((1_500, 8), (16_000, 4), (math.inf, 2))
MOST_MEMBERS = len(KINDS) * N_FOLDS
WIDTHS, N_HIDDEN_LAYERS = ((10_000, 64), (math.inf, 128)), 2
DROPOUT = 0.1
BATCH_SIZES = ((2_000, 32), (6_000, 64), (16_000, 128), (100_000, 256), (math.inf, 1024))
# The number of steps is that of 1,000 rows, and grows with this power of the number of rows, up to a number of rows. A
# step on more than ROWS_OF_STEP rows counts as several steps.
STEPS, GROWTH_OF_STEPS, MOST_ROWS_OF_STEPS, ROWS_OF_STEP = 1_500, 0.4, 100_000, 256
# Regressions with at least this number of rows have more steps, less weight decay, and fine encodings.
MANY_ROWS_OF_NUMBERS, STEPS_OF_NUMBERS, DECAY_OF_NUMBERS = 800, 4_000, 0.03
LEAST_EPOCHS, MOST_EPOCHS = 4, 400
# Training stops after this share of the epochs, and this number of epochs, without an improvement.
PATIENCE, LEAST_PATIENCE = 0.5, 8
OPTIMIZER = {"learning_rate": 0.01, "beta2": 0.99, "weight_decay": 0.1}
SCHEDULE = "cosine_decay"
# A factor on the learning rate of the linear models.
SHORTCUT_RATE = 0.3
# Only columns with this many values or more have normal scores, sines or bins.
LEAST_VALUES = 9
# The number of linear pieces of the function that computes normal scores, and the smallest number of rows for scores.
QUANTILES, LEAST_ROWS_OF_SCORES = 32, 500
# The encodings of classes are fine from this number of rows on. Of two values, the second is that of a fine encoding.
MANY_ROWS_OF_CLASSES = 5_000
BINS, FREQUENCIES, FREQUENCY_SCALES = (8, 24), (4, 8), (0.2, 0.5)
RIDGE_PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-6, 9))
LOGISTIC_STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
LINEAR_ITERATIONS = 100  # for losses other than those of ridge and logistic regression
# Tables with more columns of LEAST_VALUES values or more have no scores, sines or bins.
MOST_ENCODED_COLUMNS = 200
# Larger tables are sampled for the first linear model and for the measurement after every epoch. The linear model is
# 0 at the start if a table has both more columns and more rows than MOST_LINEAR_COLUMNS.
MOST_LINEAR_ROWS, MOST_LINEAR_COLUMNS, MOST_VALIDATION_ROWS = 20_000, 1_000, 10_000


def _of_size(table: Sequence[tuple[float, Any]], n_rows: int) -> Any:
    return next(value for bound, value in table if n_rows < bound)


def table_optimizer(**given: Any) -> AdamW:
    """Return a new optimizer; ``given`` replaces its default settings."""
    return AdamW(**{**OPTIMIZER, **given})


@dataclass(frozen=True)
class Recipe:
    """The settings of the network for a table, and of its training.

    Parameters
    ----------
    trained_folds
        The number of folds for which there are members. Large tables do not need a member for every fold.
    hidden, activation, dropout, hidden_settings
        The hidden layers of every member; ``hidden_settings`` are further arguments of
        :func:`~chainrule.architecture.hidden_layers`. Without an activation, each kind of members has its own.
    batch_size, epochs, optimizer, schedule
        As for :class:`NeuralNetwork`.
    patience, min_delta, min_epochs
        When training stops, as for :class:`EarlyStopping`, which monitors the out-of-fold loss.
    """

    trained_folds: int
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    patience: int
    optimizer: str | Optimizer
    activation: ActivationLike | Sequence[ActivationLike] | None = None
    dropout: float | Sequence[float] = DROPOUT
    schedule: str | Schedule | None = SCHEDULE
    min_delta: float = 0.0
    min_epochs: int = 0
    hidden_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_size(cls, n_rows: int, target: Target, **given: Any) -> Recipe:
        """Return the settings for a number of training rows; those that are ``given`` replace the default ones."""
        has_many_numbers = target.task == "regression" and n_rows >= MANY_ROWS_OF_NUMBERS
        batch_size = given.get("batch_size", _of_size(BATCH_SIZES, n_rows))
        n_steps = STEPS * max(1.0, min(n_rows, MOST_ROWS_OF_STEPS) / 1_000) ** GROWTH_OF_STEPS
        n_steps = max(n_steps, STEPS_OF_NUMBERS) if has_many_numbers else n_steps
        n_epochs = round(n_steps * min(batch_size, ROWS_OF_STEP) / n_rows)
        epochs = given.get("epochs", min(max(n_epochs, LEAST_EPOCHS), MOST_EPOCHS))
        defaults = {
            "trained_folds": _of_size(TRAINED_FOLDS, n_rows),
            "hidden": (_of_size(WIDTHS, n_rows),) * N_HIDDEN_LAYERS,
            "batch_size": batch_size,
            "epochs": epochs,
            "patience": max(LEAST_PATIENCE, round(PATIENCE * epochs)),
            "optimizer": table_optimizer(**({"weight_decay": DECAY_OF_NUMBERS} if has_many_numbers else {})),
        }
        return cls(**(defaults | given))


class Design(NamedTuple):
    """A network before training, with its training rows, validation rows and early stopping.

    Attributes
    ----------
    network
        The network, whose predictions are those of the linear model until it is trained.
    training
        The training rows. The weight of a row is 0 for the members that are not trained on it.
    validation
        The same rows, or a sample, with weights above 0 for the members that are not trained on them.
    stopping
        Early stopping by the out-of-fold loss, which also restores the best weights.
    start
        The name of the linear model, for messages.
    """

    network: NeuralNetwork
    training: Dataset
    validation: Dataset
    stopping: EarlyStopping
    start: str


@checked
def design_network(
    data: Dataset,
    loss: str | LossFunction | None = None,
    *,
    seed: int = 0,
    output_activation: ActivationLike | None = None,
    **settings: Any,
) -> Design:
    """Return the network of ``preset="tabular"`` for training rows with standardised inputs.

    Parameters
    ----------
    data
        The training rows. Rows with weight 0 must have been removed. The rows of a group are in one fold.
    loss
        By default, that of the task.
    seed
        The seed of the folds and of the network.
    output_activation
        An activation of the outputs of a regression.
    **settings
        Parameters of :class:`Recipe`, by default those for the number of rows, and arguments of :class:`NeuralNetwork`.
    """
    if data.target is None:
        raise InvalidInputError("The training rows have no targets; give a Dataset with y.")
    units = _units(data)
    if data.n_rows < 2:
        raise InvalidInputError("An ensemble over folds needs at least two rows; there is one.")
    of_recipe = {field.name for field in dataclasses.fields(Recipe)} & settings.keys()
    recipe = Recipe.of_size(data.n_rows, data.target, **{name: settings.pop(name) for name in of_recipe})
    loss = LOSSES.create(default_loss(data.target) if loss is None else loss)
    recipe = dataclasses.replace(recipe, trained_folds=min(recipe.trained_folds, units.max() + 1))
    held_out = _held_out(data, units, recipe.trained_folds, seed)
    weights = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight / data.sample_weight.mean()
    n_outputs = output_units(data.target, loss)
    rates = {name: settings.pop(name) for name in ("learning_rate", "momentum") if name in settings}
    optimizer = own_optimizer(recipe.optimizer, **rates)
    sample = np.arange(data.n_rows)
    if data.n_rows > MOST_LINEAR_ROWS:
        sample = np.sort(random_stream(seed, Stream.SAMPLE).choice(data.n_rows, MOST_LINEAR_ROWS, replace=False))
    first = _first_layer(np.asarray(data.X[sample], np.float64), has_scores=data.n_rows >= LEAST_ROWS_OF_SCORES)
    inputs = first.outputs
    branches = tuple(_members(kind, recipe, optimizer, data, first, n_outputs) for kind in KINDS)
    network = NeuralNetwork(
        recipe.epochs, recipe.batch_size, optimizer, loss=loss, schedule=recipe.schedule, seed=seed, **settings
    )
    ends = output_activations(data.target, loss, output_activation)
    for layer in (first.layer, Parallel(branches), *copy.deepcopy(ends), EnsembleMeanLayer()):
        network.add(layer)
    network.stack.build((data.n_features,))
    start = "a constant"
    if min(inputs.shape) <= MOST_LINEAR_COLUMNS and inputs.size <= MOST_LINEAR_ROWS * MOST_LINEAR_COLUMNS:
        is_plain = output_activation is None and n_outputs == data.target.n_outputs
        if is_plain and (
            data.target.classes or (data.target.task == "regression" and loss.allows_standardized_targets)
        ):
            start = "logistic regression" if data.target.classes else "ridge regression"
            solution = _linear_solution(data, inputs, sample, weights, held_out)
        else:
            start = f"a linear model with the loss {LOSSES.name_of(loss)}"
            solution = _least_loss(data, inputs, loss, ends, sample, weights, held_out)
        for branch in branches:
            linear = branch.shortcut.layers[-1]
            linear.weights, linear.biases = solution

    validation_rows = np.flatnonzero(held_out.any(axis=1))
    if len(validation_rows) > MOST_VALIDATION_ROWS:
        chosen = random_stream(seed, Stream.SAMPLE).choice(validation_rows, MOST_VALIDATION_ROWS, replace=False)
        validation_rows = np.sort(chosen)
    held_out = np.tile(held_out, len(KINDS))
    training, validation = data.take(slice(None)), data.take(validation_rows)
    training.sample_weight = np.where(held_out, 0, weights[:, None])
    validation.sample_weight = np.where(held_out, weights[:, None], 0)[validation_rows]
    stopping = EarlyStopping(
        "validation_loss",
        recipe.patience,
        recipe.min_delta,
        min_epochs=recipe.min_epochs,
        from_start=True,
    )
    return Design(network, training, validation, stopping, start)


def describe_design(network: NeuralNetwork) -> str:
    """Return the members and the layers of a network of :func:`design_network` in words."""
    block = next(layer for layer in network.layers[1].walk() if isinstance(layer, Residual))
    units = [layer.n_units for layer in block.layers if isinstance(layer, EnsembleDenseLayer)]
    n_members = network.layers[-1].input_shape()[0]
    widths = "-".join(map(str, [*network.stack.input_shape(), *units]))
    return f"ensemble of {n_members} networks {widths}, each added to a linear model (preset 'tabular')"


def _units(data: Dataset) -> Array:
    """Return the number of the group of each row; without groups, or with only one group, each row is a group."""
    numbers = np.arange(data.n_rows) if data.groups is None else np.unique(data.groups, return_inverse=True)[1]
    return numbers if numbers.any() else np.arange(data.n_rows)


def _held_out(data: Dataset, units: Array, n_folds: int, seed: int) -> Array:
    """Return for each row and each of ``n_folds`` folds whether the row is in the fold.

    The rows are divided among the folds at random, stratified by class. Rows of one group, whose number is
    in ``units``, are in one fold.
    """
    assert data.target is not None
    codes = np.asarray(data.y).reshape(-1) if data.target.classes else np.zeros(data.n_rows)
    codes = codes[np.unique(units, return_index=True)[1]]
    order = np.lexsort((random_stream(seed, Stream.SPLIT).random(len(codes)), codes))
    folds = np.empty(len(codes), np.intp)
    folds[order] = np.arange(len(codes)) % min(N_FOLDS, len(codes))
    held_out: Array = folds[units][:, None] == np.arange(n_folds)
    return held_out


class _FirstLayer(NamedTuple):
    """The layer before the members, its outputs for a sample of the rows, and which columns of them are encoded.

    Attributes
    ----------
    numbers
        The columns with many values.
    scores
        The columns with the normal scores of these numbers, or the numbers themselves if there are no scores.
    """

    layer: Layer
    outputs: Array
    numbers: tuple[int, ...]
    scores: tuple[int, ...]


def _first_layer(X: Array, *, has_scores: bool) -> _FirstLayer:
    """Return the layer that clips all columns, and adds normal scores to them if ``has_scores``."""
    clip = SmoothClipActivation()
    clipped: Array = clip.activation_function(X)
    numbers = tuple(j for j in range(X.shape[1]) if len(np.unique(clipped[:, j])) >= LEAST_VALUES)
    numbers = numbers if len(numbers) <= MOST_ENCODED_COLUMNS else ()
    if not numbers or not has_scores:
        return _FirstLayer(clip, clipped, numbers, numbers)
    quantiles = QuantileLayer(QUANTILES).adapt(clipped[:, numbers])
    layer = Sequential((clip, Parallel((LinearActivation(), quantiles), (None, numbers))))
    outputs = np.hstack([clipped, quantiles.forward_propagation(clipped[:, numbers])])
    return _FirstLayer(layer, outputs, numbers, tuple(range(X.shape[1], outputs.shape[1])))


def _members(
    kind: Kind, recipe: Recipe, optimizer: Optimizer, data: Dataset, first: _FirstLayer, n_outputs: int
) -> Residual:
    """Return the members of one kind, each the sum of a linear model and of a network, behind the first layer."""
    assert data.target is not None
    activation = recipe.activation or kind.activations[data.target.task == "regression"]
    hidden = hidden_layers(
        recipe.hidden, activation, dropout=recipe.dropout, dense=EnsembleDenseLayer, **recipe.hidden_settings
    )
    rate = 1.0 if optimizer.full_batch else SHORTCUT_RATE  # those methods have one rate for all parameters
    linear = EnsembleDenseLayer(n_outputs, decays=False, rate_factor=rate, weights_initializer="zeros")
    last = EnsembleDenseLayer(n_outputs, weights_initializer="zeros")
    repeat = RepeatLayer(recipe.trained_folds)
    return Residual(
        (*_encoding(kind, first, data), repeat, *hidden, last),
        shortcut=(RepeatLayer(recipe.trained_folds), linear),
    )


def _encoding(kind: Kind, first: _FirstLayer, data: Dataset) -> list[Layer]:
    """Return a layer that adds the bins of the numbers, or the sines of the scores, to all columns."""
    if not kind.encoding or not first.numbers:
        return []
    assert data.target is not None
    n_many = MANY_ROWS_OF_CLASSES if data.target.classes else MANY_ROWS_OF_NUMBERS
    fine, columns = data.n_rows >= n_many, first.numbers
    if kind.encoding == "bins":
        encoding: Layer = PiecewiseLinearEncodingLayer(BINS[fine]).adapt(first.outputs[:, columns])
    else:
        encoding, columns = PeriodicEmbeddingLayer(FREQUENCIES[fine], FREQUENCY_SCALES[fine]), first.scores
    return [Parallel((encoding, LinearActivation()), (columns, None))]


def _linear_solution(
    data: Dataset, inputs: Array, sample: Array, weights: Array, held_out: Array
) -> tuple[Array, Array]:
    """Return weights and biases of the best linear model for each fold, determined from a sample of the rows."""
    assert data.target is not None
    y = np.asarray(data.y)[sample]
    weights, held_out = weights[sample], held_out[sample]
    if data.target.task == "regression":
        return _ridge(inputs, y.reshape(len(y), -1), weights, held_out)
    return _logistic(inputs, y.reshape(-1), weights, held_out, len(data.target.classes))


def _ridge(X: Array, y: Array, weights: Array, held_out: Array) -> tuple[Array, Array]:
    """Return ridge regressions without the rows of each fold, with the penalty of the smallest out-of-fold loss."""
    n_outputs = y.shape[1]
    solutions = np.empty((len(RIDGE_PENALTIES), held_out.shape[1], X.shape[1] + 1, n_outputs))
    losses = np.zeros(len(RIDGE_PENALTIES))
    for fold, out in enumerate(held_out.T):
        x, targets, w = X[~out], y[~out], weights[~out, None]
        x_mean, y_mean = (w * x).sum(axis=0) / w.sum(), (w * targets).sum(axis=0) / w.sum()
        x, targets = np.sqrt(w) * (x - x_mean), np.sqrt(w) * (targets - y_mean)
        # With more columns than rows, the smaller matrix x x' has the same eigenvalues above 0.
        is_wide = x.shape[1] > x.shape[0]
        eigenvalues, vectors = np.linalg.eigh(x @ x.T if is_wide else x.T @ x)
        projected = vectors.T @ (targets if is_wide else x.T @ targets)
        vectors = x.T @ vectors if is_wide else vectors
        for index, penalty in enumerate(RIDGE_PENALTIES):
            coefficients = vectors @ (projected / (np.maximum(eigenvalues, 0) + penalty)[:, None])
            intercept = y_mean - x_mean @ coefficients
            errors = X[out] @ coefficients + intercept - y[out]
            losses[index] += np.sum(weights[out, None] * errors**2)
            solutions[index, fold] = np.vstack([coefficients, intercept])
    best = solutions[losses.argmin()]
    return best[:, :-1], best[:, -1]


def _logistic(X: Array, codes: Array, weights: Array, held_out: Array, n_classes: int) -> tuple[Array, Array]:
    """Return logistic regressions without the rows of each fold, with the penalty of the smallest out-of-fold loss."""
    from sklearn.linear_model import LogisticRegression

    n_outputs = 1 if n_classes == 2 else n_classes
    best_loss, best = math.inf, (np.zeros((0, 0, 0)), np.zeros((0, 0)))
    for strength in LOGISTIC_STRENGTHS:
        loss = 0.0
        found = np.zeros((held_out.shape[1], X.shape[1], n_outputs)), np.zeros((held_out.shape[1], n_outputs))
        for fold, out in enumerate(held_out.T):
            present = np.unique(codes[~out])
            if len(present) == 1:  # of two classes, of which this fold has the only row of one
                continue
            model = LogisticRegression(C=strength, max_iter=100, tol=1e-3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that 100 iterations are not enough
                model.fit(X[~out], codes[~out], weights[~out])
            coefficients, intercepts = model.coef_.T, model.intercept_
            if n_classes > 2 and len(present) == 2:
                coefficients = np.hstack([-coefficients, coefficients]) / 2
                intercepts = np.array([-1, 1]) * intercepts / 2
            columns = present if n_classes > 2 else [0]
            found[1][fold] = intercepts.min() - 3  # for classes that only this fold has
            found[0][fold][:, columns], found[1][fold][columns] = coefficients, intercepts
            loss += _log_loss(X[out] @ found[0][fold] + found[1][fold], codes[out], weights[out])
        if loss >= best_loss:
            break
        best_loss, best = loss, found
    return best


def _least_loss(
    data: Dataset,
    inputs: Array,
    loss: LossFunction,
    ends: Sequence[Layer],
    sample: Array,
    weights: Array,
    held_out: Array,
) -> tuple[Array, Array]:
    """Return the linear models, followed by the layers ``ends``, that minimise the loss without the rows of each fold.

    The L2 penalty, ``|W|^2 / 2`` added to the sum of the losses of the rows, is that of scikit-learn's linear models.
    """
    rows = data.take(sample)
    assert rows.target is not None
    rows.X = inputs
    n_folds = held_out.shape[1]
    linear = EnsembleDenseLayer(output_units(rows.target, loss), weights_initializer="zeros")
    penalty = 1 / (n_folds * rows.n_rows)  # the loss is the mean over the rows and the folds
    network = NeuralNetwork(LINEAR_ITERATIONS, optimizer=LBFGS(), loss=loss, l2=penalty, seed=0, dtype="float64")
    for layer in (RepeatLayer(n_folds), linear, *ends, EnsembleMeanLayer()):
        network.add(layer)
    network.stack.build((inputs.shape[1],))

    def constant_loss(constant: float) -> float:
        linear.biases = np.full(linear.biases.shape, constant)
        with np.errstate(over="ignore"):
            measured = network.evaluate(rows)["loss"]
        return measured if math.isfinite(measured) else math.inf

    # From a constant of 0, an output activation such as ReLU has no gradient.
    mean = np.average(rows.y) if rows.target.task == "regression" and rows.y is not None else 0.0
    linear.biases = np.full(linear.biases.shape, min((0.0, mean), key=constant_loss))
    rows.sample_weight = np.where(held_out, 0, weights[:, None])[sample]
    with contextlib.suppress(DivergenceError):  # the network then has its last finite weights
        network.fit(rows)
    return linear.weights, linear.biases


def _log_loss(logits: Array, codes: Array, weights: Array) -> float:
    """Return the sum of the weighted cross-entropies of the rows."""
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    own = np.take_along_axis(logits, codes[:, None].astype(np.intp), axis=1)[:, 0]
    return float(weights @ (logsumexp(logits, axis=1) - own))
