"""Adversarial examples: small changes of the inputs that increase the loss of a network as much as possible."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from chainrule.errors import InvalidInputError, check_one_of
from chainrule.explain.base import Explanation, Rows, choose_metric
from chainrule.metrics import Metric
from chainrule.metrics.registry import MetricFunction
from chainrule.named import checked
from chainrule.ranges import check_count
from chainrule.types import Array

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Norm", "Robustness", "fgsm", "pgd", "robustness"]

#: The norm that bounds a change of the inputs: the largest change of a column, or the Euclidean length.
#:
#: :meta hide-value:
Norm: TypeAlias = Literal["inf", "l2"]
Bounds: TypeAlias = tuple[float, float] | None

EPSILONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@checked
def fgsm(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    epsilon: float,
    norm: Norm = "inf",
    columns: Sequence[str] | str | None = None,
    bounds: Bounds = None,
) -> Array:
    """Return adversarial examples by the fast gradient sign method: ``x + epsilon * sign(dL/dx)``.

    L is the loss for the true target. With ``norm="l2"``, the step is ``epsilon * g / |g|`` for the gradient g.

    Parameters
    ----------
    model
        A :class:`NeuralNetwork`, a :class:`Model`, a fitted estimator, or the result of :func:`train`.
    X, y
        The rows and their targets, as for :func:`permutation_importance`.
    epsilon
        The size of the change of a row, in units of the inputs of the network: the largest change of an input, or the
        Euclidean norm of all changes. The numbers of a table are standardised: 0.1 is a tenth of a standard deviation.
    norm
        ``"inf"`` for the maximum norm, or ``"l2"`` for the Euclidean norm.
    columns
        The columns that may change; by default all columns of numbers. Categories and dates never change.
    bounds
        The lowest and the highest value of an input, such as (0, 1) for images.

    Returns
    -------
    ndarray
        The changed inputs of the network, (rows, inputs), which :meth:`NeuralNetwork.predict` accepts.

    Notes
    -----
    Source: Goodfellow, Shlens and Szegedy 2015, Explaining and harnessing adversarial examples (arXiv 1412.6572).

    Examples
    --------
    >>> from chainrule.layers import DenseLayer
    >>> from chainrule.neuralnet import NeuralNetwork
    >>> network = NeuralNetwork().add(DenseLayer(1, (2,)))
    >>> network.layers[0].weights = [[2], [-1]]
    >>> fgsm(network, [[1.0, 1.0]], [0.0], epsilon=0.5).tolist()
    [[1.5, 0.5]]
    """
    attack = _Attack(Rows.of(model, X, y, needs_targets=True), epsilon, norm, columns, bounds)
    return attack.bounded(attack.start + epsilon * attack.direction(attack.start))


@checked
def pgd(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    epsilon: float,
    norm: Norm = "inf",
    columns: Sequence[str] | str | None = None,
    bounds: Bounds = None,
    n_steps: int = 20,
    step_size: float | None = None,
    random_start: bool = True,
    seed: int = 0,
) -> Array:
    """Return adversarial examples by projected gradient descent: several steps of :func:`fgsm` within ``epsilon``.

    After every step, the change is projected to the ball of radius ``epsilon`` around the row. Madry et al. consider
    this the strongest attack that uses only gradients.

    Parameters
    ----------
    model, X, y, epsilon, norm, columns, bounds
        As for :func:`fgsm`.
    n_steps
        The number of steps.
    step_size
        The size of a step; by default ``2.5 * epsilon / n_steps``, so that every point of the ball can be reached.
    random_start
        Whether to begin at a random point of the ball instead of the row.
    seed
        The seed of the random points.

    Returns
    -------
    ndarray
        The changed inputs of the network, (rows, inputs).

    Notes
    -----
    Source: Madry et al. 2018, Towards deep learning models resistant to adversarial attacks (arXiv 1706.06083).

    Examples
    --------
    >>> from chainrule import build_network, load_dataset
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(8,), epochs=20, learning_rate=0.01, seed=0).fit(moons)
    >>> changed = pgd(network, moons.X, moons.y, epsilon=0.3)
    >>> network.score(changed, moons.y) < network.score(moons)
    True
    """
    n_steps = check_count("pgd", "n_steps", n_steps)
    attack = _Attack(Rows.of(model, X, y, needs_targets=True), epsilon, norm, columns, bounds)
    size = 2.5 * epsilon / n_steps if step_size is None else step_size
    changed = attack.bounded(attack.start + attack.noise(seed)) if random_start else attack.start
    for _ in range(n_steps):
        changed = attack.bounded(changed + size * attack.direction(changed))
    return changed


@dataclass(frozen=True, eq=False, repr=False)
class Robustness(Explanation):
    """The result of :func:`robustness`.

    Attributes
    ----------
    metric
        The name of the metric.
    norm
        The norm of the changes.
    epsilons
        The sizes of the changes.
    scores
        The metric for adversarial examples of each size.
    noise_scores
        The metric for random changes of the same sizes.
    """

    metric: str
    norm: Norm
    epsilons: Array
    scores: Array
    noise_scores: Array

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row for each size."""
        import pandas as pd

        columns = {"adversarial": self.scores, "random": self.noise_scores}
        return pd.DataFrame(columns, index=pd.Index(self.epsilons, name="epsilon"))


@checked
def robustness(
    model: Any,
    X: Any = None,
    y: Any = None,
    *,
    epsilons: Sequence[float] = EPSILONS,
    metric: str | Metric | MetricFunction | None = None,
    attack: Callable[..., Array] = pgd,
    norm: Norm = "inf",
    columns: Sequence[str] | str | None = None,
    bounds: Bounds = None,
    max_rows: int | None = 1000,
    seed: int = 0,
) -> Robustness:
    """Measure a metric for adversarial examples, as a function of the size of the changes.

    It is compared with the same metric for random changes of the same size.

    Parameters
    ----------
    model, X, y, norm, columns, bounds
        As for :func:`fgsm`.
    epsilons
        The sizes of the changes.
    metric
        The name of a metric, or a function of (y_true, y_pred); by default accuracy or R2.
    attack
        :func:`pgd` or :func:`fgsm`, or a function with the same arguments.
    max_rows
        The number of rows to use, a random sample; None for all.
    seed
        The seed of the sample, of the random changes, and of :func:`pgd`.
    """
    rows = Rows.of(model, X, y, needs_targets=True).sample(max_rows, seed)
    measure, scores, noise_scores = choose_metric(metric, rows.model), [], []
    attack = functools.partial(pgd, seed=seed) if attack is pgd else attack
    for epsilon in epsilons:
        changes = _Attack(rows, epsilon, norm, columns, bounds)
        settings: dict[str, Any] = {"epsilon": epsilon, "norm": norm, "columns": columns, "bounds": bounds}
        scores.append(rows.score(measure, attack(rows, **settings) if epsilon else rows.inputs))
        noise_scores.append(rows.score(measure, changes.bounded(changes.start + changes.noise(seed))))
    return Robustness(measure.name, norm, np.array(epsilons), np.array(scores), np.array(noise_scores))


class _Attack:
    """Changes of rows in a ball of radius ``epsilon``."""

    def __init__(
        self, rows: Rows, epsilon: float, norm: Norm, columns: Sequence[str] | str | None, bounds: Bounds
    ) -> None:
        check_one_of("norm", norm, ("inf", "l2"))
        if not 0 <= epsilon < math.inf:
            raise InvalidInputError(f"epsilon is {epsilon!r}; it must be a number >= 0.")
        chosen = [column for column in rows.choose(columns) if column.kind == "number" or columns is not None]
        others = [column.name for column in chosen if column.kind != "number"]
        if others or not chosen:
            what = f"{others[0]!r} is not a column of numbers" if others else "the table has no column of numbers"
            raise InvalidInputError(f"Only columns of numbers can be changed, and {what}.")
        self.rows, self.epsilon, self.norm, self.bounds = rows, epsilon, norm, bounds
        self.start = rows.inputs
        self.targets = rows.targets
        self._places = np.concatenate([np.arange(c.places.start, c.places.start + c.n_values) for c in chosen])

    def direction(self, inputs: Array) -> Array:
        """Return the direction of the steepest ascent of the loss, of norm 1."""
        gradient = np.zeros_like(inputs)
        gradient[:, self._places] = self.rows.loss_gradient(inputs, self.targets)[:, self._places]
        lengths = np.maximum(_norms(gradient), np.finfo(gradient.dtype).tiny)
        return np.asarray(np.sign(gradient) if self.norm == "inf" else gradient / lengths)

    def noise(self, seed: int) -> Array:
        """Return random changes, uniformly distributed in the ball of radius ``epsilon``."""
        rng, shape = np.random.default_rng(seed), (len(self.start), len(self._places))
        noise = np.zeros_like(self.start)
        if self.norm == "inf":
            noise[:, self._places] = rng.uniform(-self.epsilon, self.epsilon, shape)
            return noise
        drawn = rng.normal(size=shape)
        radius = self.epsilon * rng.uniform(size=(len(drawn), 1)) ** (1 / shape[1])
        noise[:, self._places] = drawn / _norms(drawn) * radius
        return noise

    def bounded(self, inputs: Array) -> Array:
        """Return inputs projected to the ball around the rows, and to ``bounds``."""
        change = inputs - self.start
        if self.norm == "inf":
            change = np.clip(change, -self.epsilon, self.epsilon)
        else:
            change = change * np.minimum(1, self.epsilon / np.maximum(_norms(change), np.finfo(change.dtype).tiny))
        changed: Array = (self.start + change).astype(self.start.dtype)
        return changed if self.bounds is None else np.clip(changed, *self.bounds)


def _norms(changes: Array) -> Array:
    """Return the Euclidean norm of each row, also of numbers whose squares are too small for their dtype."""
    return np.asarray(np.linalg.norm(changes.astype(np.float64), axis=1, keepdims=True), changes.dtype)
