"""Finding a learning rate by trying: raise it a little at every step and watch the loss (Smith 2017, section 3.3)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from chainrule.data.dataset import Dataset
from chainrule.engines import TrainingPlan
from chainrule.errors import DivergenceError, InvalidInputError
from chainrule.fitting import array_batches, as_dataset, predicts_numbers
from chainrule.neuralnet import NeuralNetwork
from chainrule.types import Inputs

__all__ = ["RateSearch", "find_learning_rate"]

SMOOTHING = 0.9
DIVERGED = 4.0  # the search ends when the smoothed loss is this many times its best


@dataclass(frozen=True)
class RateSearch:
    """The learning rates that were tried and the smoothed loss at each.

    ``suggestion`` is a tenth of the rate at which the loss was lowest: well before the place where steps become too
    long, and, unlike the place of steepest descent, not at the mercy of the noise of the first batches.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def find_learning_rate(
    network: NeuralNetwork,
    dataset: Dataset | Inputs,
    y: Any = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    n_steps: int = 100,
) -> RateSearch:
    """Train a copy of the network with a rate that grows from ``low`` to ``high``, and suggest one.

    The steps are those of a ``fit`` with the network's settings, its schedule apart. The network itself is not changed.
    The search ends early when the loss runs away.
    """
    if not 0 < low < high:
        raise InvalidInputError(f"The rates to try go from {low:g} to {high:g}; they must grow, from above 0.")
    if n_steps < 10:
        raise InvalidInputError(f"A search of {n_steps} steps tells nothing; give at least 10.")
    as_numbers = network.class_weight is None and predicts_numbers(network.loss, network.layers)
    dataset = as_dataset(dataset, y, target=network.target, as_numbers=as_numbers)
    twin = copy.deepcopy(network)
    if not twin.stack.is_built:
        twin.stack.build(dataset.X.shape[1:])
    optimizer = twin.optimizer.fresh()
    if optimizer.full_batch:
        raise InvalidInputError(
            f"{type(optimizer).__name__} finds its own steps; there is no learning rate to look for."
        )
    plan = TrainingPlan(twin.loss, optimizer, twin.penalty, twin.clip_norm, twin.max_norm)
    session = network.engine.open(twin.stack, plan)
    batches = array_batches(
        twin.stack,
        twin.loss,
        dataset,
        batch_size=twin.batch_size,
        shuffle=twin.shuffle,
        label_smoothing=twin.label_smoothing,
        class_weight=twin.class_weight,
    )
    rates: list[float] = []
    losses: list[float] = []
    average, epoch = 0.0, 0
    while len(rates) < n_steps:
        for batch in batches.epoch(epoch):
            rate = low * (high / low) ** (len(rates) / (n_steps - 1))
            try:
                session.train_batch(batch, rate)
            except DivergenceError:
                return _conclude(rates, losses)
            average = SMOOTHING * average + (1 - SMOOTHING) * session.take_mean_loss()
            rates.append(rate)
            losses.append(average / (1 - SMOOTHING ** len(rates)))
            if _ran_away(losses) or len(rates) == n_steps:
                return _conclude(rates, losses)
        epoch += 1
    return _conclude(rates, losses)


def _ran_away(losses: list[float]) -> bool:
    """Tell whether the loss has risen by several times what it had fallen, or its own size; it may be negative."""
    best = min(losses)
    return losses[-1] - best > (DIVERGED - 1) * max(abs(best), losses[0] - best)


def _conclude(rates: list[float], losses: list[float]) -> RateSearch:
    """Suggest a tenth of the rate of the lowest loss."""
    lowest = losses.index(min(losses)) if losses else 0
    if lowest < 2:
        raise InvalidInputError(
            "The loss rose from the first rates on, so no learning rate can be suggested; try a lower range of rates."
        )
    return RateSearch(tuple(rates), tuple(losses), rates[lowest] / 10)
