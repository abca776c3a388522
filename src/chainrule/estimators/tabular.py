"""The network of ``preset="tabular"``: an ensemble over cross-validation folds that starts from a linear model.

Every member of the ensemble is trained on all rows except those of its fold, and the folds together measure the network
on all rows. Each member is the sum of a linear model and of a network with two hidden layers. At the start, the linear
model is the best ridge or logistic regression, and the output of the hidden layers is 0; if training never improves the
out-of-fold loss, the linear model is the result.
"""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from chainrule.activations import LinearActivation, SmoothClipActivation
from chainrule.architecture import ActivationLike, hidden_layers, output_activations
from chainrule.callbacks import EarlyStopping
from chainrule.data.dataset import Dataset
from chainrule.layers import (
    EnsembleDenseLayer,
    EnsembleMeanLayer,
    Layer,
    Parallel,
    PeriodicEmbeddingLayer,
    RepeatLayer,
    Residual,
)
from chainrule.losses import LossFunction
from chainrule.neuralnet import NeuralNetwork
from chainrule.optimizer import AdamW, Optimizer
from chainrule.randomness import Stream, random_stream
from chainrule.schedules import Schedule
from chainrule.types import Array

__all__ = ["Design", "Recipe", "design_network", "table_optimizer"]

N_FOLDS = 8
# For tables with fewer rows than the first number: the second number, the first that holds.
MEMBERS = ((6_000, 8), (16_000, 4), (math.inf, 2))
WIDTHS = ((1_500, 64), (math.inf, 128))
BATCH_SIZES = ((2_000, 32), (6_000, 64), (16_000, 128), (math.inf, 256))
# The steps of a training of 1,000 rows or fewer, and the power of the number of rows with which the steps grow.
STEPS, STEPS_GROWTH = 1_500, 0.4
LEAST_EPOCHS, MOST_EPOCHS = 24, 400
# The share of the epochs after which training stops without an improvement, and the smallest number of epochs.
PATIENCE, LEAST_PATIENCE = 0.4, 10
# The sines and cosines of each number, and the standard deviation of their first frequencies.
N_FREQUENCIES, FREQUENCY_SCALE = 4, 0.15
# Columns with fewer values have no sines and cosines.
LEAST_VALUES = 9
SHORTCUT_RATE = 0.3
# The largest number of rows with which the loss is measured after every epoch.
MOST_VALIDATION_ROWS = 20_000
# The largest number of rows from which the first linear model is computed.
MOST_LINEAR_ROWS, MOST_LINEAR_COLUMNS = 20_000, 1_000
RIDGE_PENALTIES = tuple(float(a) for a in np.logspace(-3, 4, 15))
LOGISTIC_STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)


def _of_size(table: Sequence[tuple[float, int]], n_rows: int) -> int:
    return next(value for bound, value in table if n_rows < bound)


def table_optimizer(**given: Any) -> AdamW:
    """Return a new optimizer; ``given`` replaces its default settings."""
    return AdamW(**{"learning_rate": 0.01, "beta2": 0.99, "weight_decay": 0.1, **given})


@dataclass(frozen=True)
class Recipe:
    """The settings of the network for a table, and of its training.

    Attributes
    ----------
    members
        The number of members of the ensemble.
    hidden, activation, dropout, hidden_settings
        The hidden layers of every member; ``hidden_settings`` are further arguments of
        :func:`~chainrule.architecture.hidden_layers`.
    batch_size, epochs, optimizer, schedule
        As for :class:`NeuralNetwork`.
    patience
        The epochs without an improvement of the out-of-fold loss after which training stops.
    """

    members: int
    hidden: tuple[int, ...]
    batch_size: int
    epochs: int
    patience: int
    activation: ActivationLike | Sequence[ActivationLike] = "relu"
    dropout: float | Sequence[float] = 0.1
    optimizer: Optimizer = dataclasses.field(default_factory=table_optimizer)
    schedule: str | Schedule | None = "cosine_decay"
    hidden_settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of_size(cls, n_rows: int, **given: Any) -> Recipe:
        """Return the settings for a number of training rows; those that are ``given`` replace the default ones."""
        width, batch_size = _of_size(WIDTHS, n_rows), given.get("batch_size", _of_size(BATCH_SIZES, n_rows))
        n_steps = STEPS * max(1.0, n_rows / 1_000) ** STEPS_GROWTH
        epochs = min(max(round(n_steps * batch_size / n_rows), LEAST_EPOCHS), MOST_EPOCHS)
        epochs = given.get("epochs", epochs)
        defaults = {
            "members": min(_of_size(MEMBERS, n_rows), n_rows),
            "hidden": (width, width),
            "batch_size": batch_size,
            "epochs": epochs,
            "patience": max(LEAST_PATIENCE, round(PATIENCE * epochs)),
        }
        return cls(**(defaults | given))


class Design(NamedTuple):
    """A network before training, with the data and the rule that belong to it.

    Attributes
    ----------
    network
        The network, which is a linear model yet.
    training
        The training rows. The weight of a row is 0 for the member that does not see it.
    validation
        The same rows, or some of them, with weights above 0 for the members that do not see them.
    stopping
        Early stopping by the out-of-fold loss, which also restores the best weights.
    """

    network: NeuralNetwork
    training: Dataset
    validation: Dataset
    stopping: EarlyStopping


def design_network(
    data: Dataset,
    loss: LossFunction,
    *,
    seed: int,
    recipe: Recipe | None = None,
    output_activation: ActivationLike | None = None,
    last_layers: Sequence[Layer] = (),
    **settings: Any,
) -> Design:
    """Return the network for training rows, whose inputs are standardised and whose targets are numbers or classes.

    Parameters
    ----------
    data
        The training rows. Rows with weight 0 must have been removed.
    loss
        The loss.
    seed
        The seed of the folds and of the network.
    recipe
        By default, that of the number of rows.
    output_activation, last_layers
        An activation of the outputs of a regression, and further layers behind the outputs.
    settings
        Further arguments of :class:`NeuralNetwork`.
    """
    assert data.target is not None
    recipe = Recipe.of_size(data.n_rows) if recipe is None else recipe
    held_out = _held_out(data, recipe.members, seed)
    weights = np.ones(data.n_rows) if data.sample_weight is None else data.sample_weight / data.sample_weight.mean()
    validation_rows = np.flatnonzero(held_out.any(axis=1))
    if len(validation_rows) > MOST_VALIDATION_ROWS:
        chosen = random_stream(seed, Stream.SAMPLE).choice(validation_rows, MOST_VALIDATION_ROWS, replace=False)
        validation_rows = np.sort(chosen)
    k = loss.n_outputs(data.target.n_outputs)
    ends = [*output_activations(data.target, loss, output_activation), *last_layers]
    rate = 1.0 if recipe.optimizer.full_batch else SHORTCUT_RATE  # those methods have one rate for all parameters
    shortcut = EnsembleDenseLayer(k, decays=False, rate_factor=rate, weights_initializer="zeros")
    hidden = hidden_layers(
        recipe.hidden, recipe.activation, dropout=recipe.dropout, dense=EnsembleDenseLayer, **recipe.hidden_settings
    )
    network = NeuralNetwork(
        recipe.epochs,
        recipe.batch_size,
        recipe.optimizer,
        loss=loss,
        schedule=recipe.schedule,
        seed=seed,
        **settings,
    )
    for layer in (
        SmoothClipActivation(),
        Residual(
            (
                *_embedding(data.X),
                RepeatLayer(recipe.members),
                *hidden,
                EnsembleDenseLayer(k, weights_initializer="zeros"),
            ),
            shortcut=[RepeatLayer(recipe.members), shortcut],
        ),
        *ends,
        EnsembleMeanLayer(),
    ):
        network.add(layer)
    network.stack.build((data.n_features,))
    solution = _linear_solution(data, weights, held_out, loss, has_ends=bool(output_activation or last_layers))
    if solution is not None:
        shortcut.weights, shortcut.biases = solution
    training, validation = data.take(slice(None)), data.take(validation_rows)
    training.sample_weight = np.where(held_out, 0, weights[:, None])
    validation.sample_weight = np.where(held_out, weights[:, None], 0)[validation_rows]
    stopping = EarlyStopping("validation_loss", recipe.patience, from_start=True)
    return Design(network, training, validation, stopping)


def _held_out(data: Dataset, n_members: int, seed: int) -> Array:
    """Return for each row and member whether the member does not see the row.

    The rows are divided among the folds at random, and those of each class evenly.
    """
    assert data.target is not None
    n_rows = data.n_rows
    codes = np.asarray(data.y).reshape(-1) if data.target.classes else np.zeros(n_rows)
    order = np.lexsort((random_stream(seed, Stream.SPLIT).random(n_rows), codes))
    folds = np.empty(n_rows, np.intp)
    folds[order] = np.arange(n_rows) % min(N_FOLDS, n_rows)
    held_out: Array = folds[:, None] == np.arange(n_members)
    return held_out


def _embedding(X: Array) -> list[Layer]:
    """Return a layer that adds sines and cosines of the columns with many values, if there are any."""
    columns = tuple(j for j in range(X.shape[1]) if len(np.unique(X[:MOST_LINEAR_ROWS, j])) >= LEAST_VALUES)
    if not N_FREQUENCIES or not columns:
        return []
    return [Parallel((PeriodicEmbeddingLayer(N_FREQUENCIES, FREQUENCY_SCALE), LinearActivation()), (columns, None))]


def _linear_solution(
    data: Dataset, weights: Array, held_out: Array, loss: LossFunction, *, has_ends: bool
) -> tuple[Array, Array] | None:
    """Return weights and biases of the best linear model of each member; None if it does not suit the loss."""
    target, y = data.target, data.y
    assert target is not None
    assert y is not None
    n_rows = data.n_rows
    if has_ends or data.n_features > MOST_LINEAR_COLUMNS or loss.n_outputs(1) != 1:
        return None
    if n_rows > MOST_LINEAR_ROWS:
        step = -(-n_rows // MOST_LINEAR_ROWS)
        y, weights, held_out = y[::step], weights[::step], held_out[::step]
    else:
        step = 1
    X = SmoothClipActivation().activation_function(np.asarray(data.X[::step], np.float64))
    if target.task == "regression":
        return _ridge(X, y.reshape(len(y), -1), weights, held_out) if loss.allows_standardized_targets else None
    return _logistic(X, np.asarray(y).reshape(-1), weights, held_out, len(target.classes))


def _ridge(X: Array, y: Array, weights: Array, held_out: Array) -> tuple[Array, Array]:
    """Return ridge regressions of the members, with the penalty of the smallest out-of-fold loss."""
    n_outputs = y.shape[1]
    solutions = np.empty((len(RIDGE_PENALTIES), held_out.shape[1], X.shape[1] + 1, n_outputs))
    losses = np.zeros(len(RIDGE_PENALTIES))
    for member, out in enumerate(held_out.T):
        x, targets, w = X[~out], y[~out], weights[~out, None]
        x_mean, y_mean = (w * x).sum(axis=0) / w.sum(), (w * targets).sum(axis=0) / w.sum()
        x, targets = np.sqrt(w) * (x - x_mean), np.sqrt(w) * (targets - y_mean)
        eigenvalues, vectors = np.linalg.eigh(x.T @ x)
        projected = vectors.T @ (x.T @ targets)
        for index, penalty in enumerate(RIDGE_PENALTIES):
            coefficients = vectors @ (projected / (np.maximum(eigenvalues, 0) + penalty)[:, None])
            intercept = y_mean - x_mean @ coefficients
            errors = X[out] @ coefficients + intercept - y[out]
            losses[index] += np.sum(weights[out, None] * errors**2)
            solutions[index, member] = np.vstack([coefficients, intercept])
    best = solutions[losses.argmin()]
    return best[:, :-1], best[:, -1]


def _logistic(X: Array, codes: Array, weights: Array, held_out: Array, n_classes: int) -> tuple[Array, Array]:
    """Return logistic regressions of the members, with the penalty of the smallest out-of-fold loss."""
    from sklearn.linear_model import LogisticRegression

    n_outputs = 1 if n_classes == 2 else n_classes
    best_loss, best = math.inf, (np.zeros((0, 0, 0)), np.zeros((0, 0)))
    for strength in LOGISTIC_STRENGTHS:
        loss = 0.0
        found = np.zeros((held_out.shape[1], X.shape[1], n_outputs)), np.zeros((held_out.shape[1], n_outputs))
        for member, out in enumerate(held_out.T):
            present = np.unique(codes[~out])
            if len(present) == 1:  # of two classes, of which the fold of this member has the only row of one
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
            found[1][member] = intercepts.min() - 3  # for classes that this member has not seen
            found[0][member][:, columns], found[1][member][columns] = coefficients, intercepts
            loss += _log_loss(X[out] @ found[0][member] + found[1][member], codes[out], weights[out])
        if loss >= best_loss:
            break
        best_loss, best = loss, found
    return best


def _log_loss(logits: Array, codes: Array, weights: Array) -> float:
    """Return the sum of the weighted cross-entropies of the rows."""
    if logits.shape[1] == 1:
        logits = np.hstack([np.zeros_like(logits), logits])
    own = np.take_along_axis(logits, codes[:, None].astype(np.intp), axis=1)[:, 0]
    return float(weights @ (logsumexp(logits, axis=1) - own))
