"""What the runner asks of every program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from datasets import Array
from workload import Workload


class Peer(ABC):
    """One program in the form that its own documentation recommends for speed; the docstring says which form.

    ``library`` is the distribution whose version is reported. ``tolerance`` widens the workload's where the program
    cannot compute quite the same thing; ``difference`` then says why. ``note`` is what it found out in ``prepare``.
    ``step_seconds`` is how long the steps of the last call of ``epoch`` took, where the program tells.
    """

    library: ClassVar[str]
    tolerance: float | None = None
    difference: str = ""
    note: str = ""
    step_seconds: float | None = None

    @abstractmethod
    def prepare(self, workload: Workload) -> None:
        """Build the network with the given weights, and lay the data out as the program likes them best."""

    def epoch(self, order: Array) -> None:
        """Train once through the rows in this order (several times, if the order holds several epochs), and wait."""
        raise NotImplementedError

    @abstractmethod
    def outputs(self, X: Array) -> Array:
        """Return the network's outputs for these rows, NumPy to NumPy: probabilities for classes, else numbers."""

    def loss(self, workload: Workload, X: Array, y: Array) -> float:
        """Return the mean loss of the present weights, worked out by the same formula for every program."""
        return workload.measure_loss(self.outputs(X), y)
