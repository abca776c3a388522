"""From the parameters of an estimator and the size of the data to the layers and the settings of a network."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from chainrule.architecture import category_embedding, hidden_sizes, is_pair_of_functions, mlp_layers
from chainrule.data.dataset import Dataset
from chainrule.data.table import TablePreprocessor
from chainrule.errors import InvalidInputError, listed, shown, warn
from chainrule.estimators.outputs import ClassColumns, Outputs
from chainrule.estimators.parameters import SKLEARN_ACTIVATIONS
from chainrule.estimators.tabular import Design, Recipe, design_network, table_optimizer
from chainrule.layers import Layer
from chainrule.losses import LOSSES, CustomLoss, LossFunction
from chainrule.optimizer import LBFGS, OPTIMIZERS, SGD, Adam, Optimizer, own_optimizer
from chainrule.schedules import InverseScaling, Schedule
from chainrule.settings import declared_settings
from chainrule.types import Array

__all__ = ["Blueprint", "Problem", "check_tabular", "create_loss", "draw_parameters", "hidden_units", "loss_of",
           "plain", "solver_of", "tabular"]  # fmt: skip

# SciPy's default, which scikit-learn's "lbfgs" uses.
LBFGS_MIN_DECREASE = 2.220446049250313e-09


@dataclass(frozen=True)
class Problem:
    """What a network is made for.

    Attributes
    ----------
    outputs
        What is to be predicted.
    n_rows
        The number of rows to train on.
    n_features
        The number of input columns.
    mean_weight
        The mean sample weight.
    dtype
        The type of the numbers of the network, by name.
    seed
        The seed of its random numbers.
    table
        The fitted preprocessor of the columns, if there is one.
    """

    outputs: Outputs
    n_rows: int
    n_features: int
    mean_weight: float
    dtype: str
    seed: int
    table: TablePreprocessor | None = None


class Blueprint(NamedTuple):
    """The layers of a network, and its settings as arguments of :class:`NeuralNetwork`."""

    layers: list[Layer]
    settings: dict[str, Any]


def plain(parameters: Any, problem: Problem) -> Blueprint:
    """Return the network that the parameters describe, as scikit-learn's with the same parameters."""
    loss, optimizer = loss_of(parameters, problem.outputs), solver_of(parameters)
    n_rows_a_step = problem.n_rows if optimizer.full_batch else batch_size(parameters, problem.n_rows)
    settings = {
        "epochs": int(parameters.max_iter),
        "batch_size": n_rows_a_step,
        "optimizer": optimizer,
        "loss": loss,
        "verbose": bool(parameters.verbose),
        "shuffle": parameters.shuffle,
        "seed": problem.seed,
        "dtype": problem.dtype,
        # scikit-learn divides by the sum of the weights of a batch; the penalty of a network is not divided.
        "l2": parameters.alpha / (n_rows_a_step * problem.mean_weight),
        "schedule": _schedule(parameters, problem),
    }
    settings |= _network_settings(parameters, problem)
    layers = mlp_layers(
        problem.outputs.target,
        loss,
        hidden=hidden_units(parameters),
        activation=parameters.activation,
        dropout=0.0 if parameters.dropout is None else parameters.dropout,
        batch_normalization=parameters.batch_normalization,
        layer_normalization=parameters.layer_normalization,
        input_dropout=parameters.input_dropout,
        noise=parameters.noise,
        weights_initializer=parameters.weights_initializer,
        output_activation=getattr(parameters, "output_activation", None),
    )
    if parameters.embedding_size is not None:
        if problem.table is None:
            raise InvalidInputError(
                "embedding_size needs columns of categories; give preprocessor=TablePreprocessor(), or leave it out."
            )
        layers = [category_embedding(problem.table, int(parameters.embedding_size)), *layers]
    return Blueprint([*layers, *problem.outputs.last_layers()], settings)


def tabular(parameters: Any, problem: Problem, data: Dataset) -> Design:
    """Return the network of ``preset="tabular"``; parameters with other values than their defaults replace its own."""
    if isinstance(problem.outputs, ClassColumns):
        raise InvalidInputError(
            "preset='tabular' predicts one column of classes; use MultiOutputClassifier of scikit-learn around it for "
            "several columns, or leave the preset out."
        )
    changed = _changed(parameters)
    given: dict[str, Any] = {name: changed[name] for name in ("activation", "dropout") if name in changed}
    if {"solver", "momentum", "nesterovs_momentum"} & changed.keys():
        given["optimizer"] = solver_of(parameters)
    own = {"learning_rate_init": "learning_rate", "beta_1": "beta1", "beta_2": "beta2", "epsilon": "epsilon"}
    if "optimizer" not in given and own.keys() & changed.keys():
        given["optimizer"] = table_optimizer(**{name: changed[key] for key, name in own.items() if key in changed})
    is_full_batch = "optimizer" in given and given["optimizer"].full_batch
    if is_full_batch or "batch_size" in changed:
        given["batch_size"] = problem.n_rows if is_full_batch else batch_size(parameters, problem.n_rows)
    if "max_iter" in changed:
        given["epochs"] = int(parameters.max_iter)
    if {"schedule", "learning_rate"} & changed.keys():
        given["schedule"] = _schedule(parameters, problem)
    recipe = Recipe.of_size(problem.n_rows, problem.outputs.target, **given)
    given["hidden"] = hidden_units(parameters, changed.get("hidden_layer_sizes", recipe.hidden))
    if "n_iter_no_change" in changed:
        given["patience"] = int(min(parameters.n_iter_no_change, recipe.epochs)) + 1
    given["hidden_settings"] = {name: changed[name] for name in HIDDEN_SETTINGS if name in changed}
    return design_network(
        data,
        loss_of(parameters, problem.outputs),
        seed=problem.seed,
        output_activation=getattr(parameters, "output_activation", None),
        verbose=bool(parameters.verbose),
        shuffle=parameters.shuffle,
        dtype=problem.dtype,
        l2=parameters.alpha / (recipe.batch_size * problem.mean_weight) if "alpha" in changed else 0.0,
        **given,
        **_network_settings(parameters, problem),
    )


def check_tabular(parameters: Any) -> None:
    """Raise InvalidInputError for parameters that cannot be combined with ``preset="tabular"``."""
    changed = _changed(parameters)
    refused = [name for name in NOT_OF_TABLES if name in changed]
    if refused:
        raise InvalidInputError(
            f"preset='tabular' cannot be combined with {listed(refused)}; leave the default values."
        )


def _changed(parameters: Any) -> dict[str, Any]:
    """Return the parameters with other values than their defaults."""
    cls: Any = type(parameters)
    values = {name: (getattr(parameters, name), one.default) for name, one in declared_settings(cls).items()}
    return {name: value for name, (value, default) in values.items() if not _is_default(value, default)}


def _is_default(value: Any, default: Any) -> bool:
    """Tell whether a parameter has its default value; a list is equal to a tuple, and numbers of any type are equal."""
    if isinstance(value, list | tuple) or isinstance(default, list | tuple):
        return isinstance(value, list | tuple) and isinstance(default, list | tuple) and [*value] == [*default]
    if isinstance(value, numbers.Number | np.bool_) and isinstance(default, numbers.Number):
        return bool(value == default)
    return type(value) is type(default) and bool(value == default)


# Normalisation would mix the members of the ensemble.
NOT_OF_TABLES = (
    "embedding_size",
    "warm_start",
    "early_stopping",
    "augmentation",
    "batch_normalization",
    "layer_normalization",
)
HIDDEN_SETTINGS = ("input_dropout", "noise", "weights_initializer")


def _network_settings(parameters: Any, problem: Problem) -> dict[str, Any]:
    """Return the parameters that are settings of a network."""
    names = ["l1", "max_norm", "clip_norm", "clip_value", "ema_decay", "swa_from", "engine", "device"]
    names += [] if problem.outputs.classes is None else ["label_smoothing"]
    names += ["class_weight"] if problem.outputs.target.classes else []
    if isinstance(problem.outputs, ClassColumns) and parameters.label_smoothing:
        raise InvalidInputError("label_smoothing is for one column of classes, or for labels; leave it out.")
    return {name: getattr(parameters, name) for name in names}


def hidden_units(parameters: Any, default: int | Sequence[int] | None = None) -> tuple[int, ...]:
    """Return the numbers of units of the hidden layers, by ``n_layers`` and ``width`` where they are given.

    ``default`` takes the place of ``hidden_layer_sizes``.
    """
    sizes = hidden_sizes(parameters.hidden_layer_sizes if default is None else default)
    if parameters.n_layers is None and parameters.width is None:
        return sizes
    if "hidden_layer_sizes" in _changed(parameters) and (parameters.width is not None or len(set(sizes)) > 1):
        given = "n_layers" if parameters.width is None else "width"
        raise InvalidInputError(
            f"hidden_layer_sizes={shown(parameters.hidden_layer_sizes)} and {given} are both given; leave one of them "
            "out."
        )
    if parameters.width is None and not sizes:
        raise InvalidInputError("n_layers is given without a width, and hidden_layer_sizes is empty; give width too.")
    n_layers = len(sizes) if parameters.n_layers is None else int(parameters.n_layers)
    return (sizes[0] if parameters.width is None else int(parameters.width),) * n_layers


def loss_of(parameters: Any, outputs: Outputs) -> LossFunction:
    """Return the loss: scikit-learn's names mean the losses that scikit-learn minimises."""
    name, loss = type(parameters).__name__, parameters.loss
    if isinstance(loss, int | list) or (isinstance(loss, tuple) and not is_pair_of_functions(loss)):
        raise InvalidInputError(
            f"loss is {shown(loss)}; the first argument of {name} is the loss, as in scikit-learn. Give the numbers of "
            f"units by name: hidden_layer_sizes={shown(loss)}."
        )
    created = create_loss(outputs.losses.get(loss, loss) if isinstance(loss, str) else loss)
    suits = created.is_regression if outputs.classes is None else created.for_classes
    if not suits and type(created) in LOSSES.classes.values():
        numbers, classes = ("numbers", "classes") if outputs.classes is None else ("classes", "numbers")
        raise InvalidInputError(
            f"The loss {LOSSES.name_of(created)} is for {classes}, and {name} predicts {numbers}; choose another loss."
        )
    return created


def create_loss(given: Any) -> LossFunction:
    """Return the loss for a name, a class, an object, or a pair of a function and its derivative."""
    loss: LossFunction = CustomLoss(*given) if is_pair_of_functions(given) else LOSSES.create(given)
    return loss


def solver_of(parameters: Any) -> Optimizer:
    """Return a new optimizer."""
    solver, rate = parameters.solver, parameters.learning_rate_init
    if solver == "sgd":
        nesterov = parameters.nesterovs_momentum and parameters.momentum > 0
        return SGD(rate, parameters.momentum, nesterov=nesterov)
    if solver == "adam":
        return Adam(rate, parameters.beta_1, parameters.beta_2, parameters.epsilon)
    if solver == "lbfgs":
        return LBFGS(
            tolerance=parameters.tol, min_decrease=LBFGS_MIN_DECREASE, evaluation_limit=int(parameters.max_fun)
        )
    optimizer: Optimizer = OPTIMIZERS.create(solver)
    takes_rate = isinstance(solver, str) and not optimizer.full_batch
    return own_optimizer(optimizer, learning_rate=rate if takes_rate else None)


def batch_size(parameters: Any, n_rows: int) -> int:
    """Return the number of rows of a step."""
    if parameters.batch_size == "auto":
        return min(200, n_rows)
    if parameters.batch_size > n_rows:
        warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped.")
    return min(int(parameters.batch_size), n_rows)


def _schedule(parameters: Any, problem: Problem) -> str | Schedule | None:
    schedule: str | Schedule | None = parameters.schedule
    if parameters.learning_rate == "invscaling" and parameters.solver == "sgd":
        if schedule is not None:
            raise InvalidInputError("learning_rate='invscaling' is a schedule; leave it or schedule out.")
        return InverseScaling(problem.n_rows, parameters.power_t)
    return schedule


def draw_parameters(parameters: Any, problem: Problem, rng: np.random.RandomState) -> list[tuple[Array, Array]]:
    """Return the initial weights and biases of the dense layers, or an empty list if the network draws its own.

    They are those of scikit-learn for a given ``rng``: uniform between -b and b, with ``b^2 = 6 / (inputs + units)``,
    or a third of that for the logistic function. The network draws its own for other activations than scikit-learn's,
    and with embeddings of categories.
    """
    if parameters.embedding_size is not None:
        return []
    if parameters.weights_initializer is not None or parameters.activation not in SKLEARN_ACTIVATIONS:
        return []
    factor = 2 if parameters.activation == "logistic" else 6
    n_outputs = loss_of(parameters, problem.outputs).n_outputs(problem.outputs.target.n_outputs)
    sizes = [problem.n_features, *hidden_units(parameters), n_outputs]
    bounds = [(shape, np.sqrt(factor / sum(shape))) for shape in itertools.pairwise(sizes)]
    return [(rng.uniform(-b, b, shape), rng.uniform(-b, b, shape[1])) for shape, b in bounds]
