"""Finding a learning rate by trying: raise it a little at every step and watch the loss (Smith 2017, section 3.3)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any, ClassVar

from chainrule.callbacks import Callback, TrainingRun
from chainrule.data.dataset import Dataset
from chainrule.data.stream import RowStream
from chainrule.errors import DivergenceError, InvalidInputError, shown
from chainrule.named import checked
from chainrule.neuralnet import NeuralNetwork, copy_with
from chainrule.types import Inputs

__all__ = ["RateSearch", "find_learning_rate"]

SMOOTHING = 0.9
DIVERGED = 4.0  # the search ends when the smoothed loss is this many times its best


@dataclass(frozen=True)
class RateSearch:
    """The learning rates that were tried, and the smoothed loss at each.

    ``suggestion`` is a tenth of the rate with the lowest loss. At this rate, the steps are not yet too long, and it
    depends less on the noise of the first batches than the rate at which the loss falls fastest.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


@checked
def find_learning_rate(
    network: NeuralNetwork,
    dataset: Dataset | RowStream | Inputs,
    y: Any = None,
    *,
    low: float = 1e-6,
    high: float = 10.0,
    n_steps: int = 100,
) -> RateSearch:
    """Train a copy of the network with a learning rate that grows from ``low`` to ``high``, and suggest a rate.

    The steps are those of a ``fit`` with the settings of the network, except its schedule. The network itself is not
    changed. The search ends early if the loss grows too much. :func:`chainrule.plots.plot_rate_search` draws the
    result.

    >>> from chainrule import build_network, load_dataset
    >>> moons = load_dataset("moons")
    >>> network = build_network(2, moons.target, hidden=(8,), seed=0)
    >>> search = find_learning_rate(network, moons)
    >>> 1e-4 < search.suggestion < 10
    True
    """
    given: Any = network
    if not isinstance(given, NeuralNetwork):
        raise InvalidInputError(
            f"find_learning_rate takes a NeuralNetwork first, and then the data, not {shown(given)}."
        )
    if not 0 < low < high:
        raise InvalidInputError(f"The rates to try go from {low:g} to {high:g}; they must grow, from above 0.")
    if n_steps < 10:
        raise InvalidInputError(f"A search of {n_steps} steps tells nothing; give at least 10.")
    if network.optimizer.full_batch:
        raise InvalidInputError(
            f"{type(network.optimizer).__name__} finds its own steps; there is no learning rate to look for."
        )
    twin = copy_with(network, epochs=n_steps, schedule=None, metric=None, verbose=False)
    search = _Search(low / network.learning_rate, high / low, n_steps)
    with contextlib.suppress(DivergenceError):
        twin.fit(dataset, y, callbacks=[search])
    return _conclude(search.rates, search.losses)


class _Search(Callback):
    """Raises the learning rate geometrically from step to step, and records the smoothed loss of each.

    ``first_factor`` is the first factor on the optimizer's learning rate, and ``ratio`` the last factor over the first.
    """

    watches_network: ClassVar[bool] = False

    rates: list[float]
    losses: list[float]

    def __init__(self, first_factor: float, ratio: float, n_steps: int) -> None:
        self._first_factor, self._ratio, self._n_steps = first_factor, ratio, n_steps
        self.rates, self.losses = [], []
        self._average = 0.0

    def on_fit_start(self, run: TrainingRun) -> None:
        """Set the rate of the first step."""
        self._set_rate(run)

    def on_batch_end(self, run: TrainingRun) -> None:
        """Record the loss of the step, and set the rate of the next one."""
        self._average = SMOOTHING * self._average + (1 - SMOOTHING) * run.session.pop_mean_loss()
        self.rates.append(run.learning_rate)
        self.losses.append(self._average / (1 - SMOOTHING ** len(self.rates)))
        if _ran_away(self.losses) or len(self.rates) == self._n_steps:
            run.interrupt("the search is over")
        self._set_rate(run)

    def _set_rate(self, run: TrainingRun) -> None:
        run.rate_factor = self._first_factor * self._ratio ** (len(self.rates) / (self._n_steps - 1))


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
