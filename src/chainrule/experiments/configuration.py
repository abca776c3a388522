"""What is compared: a model with its arguments for ``fit``, and the result of training it once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from chainrule.data.dataset import Dataset
from chainrule.errors import DivergenceError, InvalidInputError, shown
from chainrule.head import gives_probabilities
from chainrule.history import History
from chainrule.kernels.compiling import training_clock
from chainrule.metrics import Metric
from chainrule.metrics.inputs import normalized_probabilities
from chainrule.model import evaluate_model
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork, with_seed
from chainrule.types import Array

__all__ = ["Configuration", "Run", "train_and_measure"]


@checked
@dataclass(frozen=True, eq=False)
class Configuration:
    """A model, and the arguments with which :func:`compare` fits it.

    Parameters
    ----------
    model
        A :class:`NeuralNetwork`, a scikit-learn estimator, or a function that returns one of these. A network or an
        estimator is copied for every run, with the seed of the run. A network draws all of its initial weights from
        this seed, even those that were set by hand. A function that has an argument ``seed``, or one without a default,
        is called with the seed, and the model that it returns is used as it is, with the weights that it sets.
    fit
        The arguments of ``fit``, such as ``callbacks`` and ``augmentation``. Every run gets copies of the callbacks.

    Examples
    --------
    >>> from chainrule import EarlyStopping
    >>> network = NeuralNetwork(epochs=100)
    >>> stopped = Configuration(network, {"callbacks": [EarlyStopping(patience=5)], "validation": 0.2})
    """

    model: Any
    fit: Mapping[str, Any] = field(default_factory=dict)

    def build(self, seed: int) -> Any:
        """Return the untrained model with the given seed."""
        model = self.model
        if isinstance(model, NeuralNetwork):
            return with_seed(model, seed)
        if hasattr(model, "get_params") and not isinstance(model, type):
            from sklearn.base import clone

            model = clone(model)
            seeds = {name: seed for name in model.get_params() if name.rpartition("__")[2] == "random_state"}
            return model.set_params(**seeds)
        if callable(model):
            arguments = _seed_argument(model, seed)
            if arguments is None:
                return Configuration(model()).build(seed)
            model = model(*arguments.args, **arguments.kwargs)
            if hasattr(model, "fit"):
                return model
        raise InvalidInputError(
            f"A configuration is a NeuralNetwork, an estimator, or a function of the seed that returns one, not "
            f"{shown(model)}."
        )

    def fit_model(self, model: Any, dataset: Dataset, validation: Any = None) -> Any:
        """Train a model that :meth:`build` returned, and return it. Only networks take ``validation``."""
        arguments = {name: copy.deepcopy(given) for name, given in self.fit.items()}
        if isinstance(model, NeuralNetwork):
            return model.fit(dataset, **{"validation": validation, **arguments})
        weights = {} if dataset.sample_weight is None else {"sample_weight": dataset.sample_weight}
        return model.fit(dataset.X, dataset.y, **{**weights, **arguments})


@dataclass(frozen=True, eq=False)
class Run:
    """The result of one run.

    Attributes
    ----------
    configuration
        The name of the configuration.
    seed
        The seed.
    fold
        The number of the fold in cross-validation; 0 without it.
    scores
        The metrics on the test rows; empty if the training diverged. A model that gives no class probabilities has no
        ``log_loss``.
    history
        Loss and metrics of each epoch. It is empty for estimators that have no ``history_``.
    seconds
        The time of ``fit``, without the time of compilation.
    problem
        The message of the error if the training diverged, otherwise ``""``.
    """

    configuration: str
    seed: int
    fold: int
    scores: dict[str, float]
    history: History
    seconds: float
    problem: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the run as JSON values; :meth:`from_dict` reads them."""
        scores = History({name: [value] for name, value in self.scores.items()})
        return {**vars(self), "scores": scores.to_dict(), "history": self.history.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], configuration: str) -> Self:
        """Return the run that :meth:`to_dict` described, under the given name of its configuration."""
        scores = {name: numbers[0] for name, numbers in History.from_dict(values["scores"]).items()}
        history = History.from_dict(values["history"])
        return cls(**{**values, "configuration": configuration, "scores": scores, "history": history})


def train_and_measure(
    configuration: Configuration,
    seed: int,
    train: Dataset,
    test: Dataset,
    validation: Any,
    metrics: Sequence[Metric],
) -> tuple[dict[str, float], History, float, str]:
    """Train a model, and measure it on the test rows. Return the scores, the history, the seconds and the problem."""
    model, start, problem = configuration.build(seed), training_clock(), ""
    try:
        configuration.fit_model(model, train, validation)
    except DivergenceError as error:
        problem = str(error)
    seconds = training_clock() - start
    history = getattr(model, "history_", None) or getattr(model, "history", None)
    history = history if isinstance(history, History) else History()
    return ({} if problem else _measure(model, test, metrics)), history, seconds, problem


def _measure(model: Any, test: Dataset, metrics: Sequence[Metric]) -> dict[str, float]:
    truth, outputs, has_probabilities = _outputs(model, test)
    scores = {}
    for metric in metrics:
        if has_probabilities or not metric.needs_probabilities:
            scores[metric.name] = metric(truth, outputs, test.sample_weight)
    return scores


def _outputs(model: Any, test: Dataset) -> tuple[Array, Array, bool]:
    """Return the targets, the outputs of a fitted model, and whether the outputs are class probabilities."""
    if isinstance(model, NeuralNetwork):
        outputs, truth = evaluate_model(model, test)
        if test.target is None or not test.target.classes or not gives_probabilities(model.layers, model.loss):
            return truth, outputs, False
        return truth, normalized_probabilities(outputs), True
    assert test.target is not None
    truth = np.asarray(test.y)
    if not test.target.classes:
        return truth, model.predict(test.X), False
    n_classes = len(test.target.classes)
    has_probabilities = hasattr(model, "predict_proba")
    found = model.predict_proba(test.X) if has_probabilities else np.eye(n_classes)[model.predict(test.X)]
    outputs = np.zeros((test.n_rows, n_classes))
    outputs[:, model.classes_ if has_probabilities else slice(None)] = found
    return truth, normalized_probabilities(outputs), has_probabilities


def _seed_argument(function: Any, seed: int) -> inspect.BoundArguments | None:
    """Return the seed as the argument of a function that takes one, otherwise None."""
    signature = inspect.signature(function)
    if "seed" in signature.parameters:
        return signature.bind(seed=seed)
    parameters = signature.parameters.values()
    required = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    return signature.bind(seed) if required else None
