"""The base class of the programs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from datasets import Array
from workload import Workload


class Peer(ABC):
    """A program in the form that its documentation recommends for speed, which the docstring describes.

    ``library`` is the distribution whose version is reported. ``tolerance`` replaces that of the workload if the
    program computes something slightly different; ``difference`` then gives the reason. ``note`` is a result of
    ``prepare``. ``step_seconds`` is the time of the steps in the last call of ``epoch``, if the program measures it.
    """

    library: ClassVar[str]
    tolerance: float | None = None
    difference: str = ""
    note: str = ""
    step_seconds: float | None = None

    @abstractmethod
    def prepare(self, workload: Workload) -> None:
        """Build the network with the given weights, and store the data in the best form for the program."""

    def epoch(self, order: Array) -> None:
        """Train on the rows in this order, which may contain several epochs, and wait for the end."""
        raise NotImplementedError

    @abstractmethod
    def outputs(self, X: Array) -> Array:
        """Return the outputs of the network for these rows as a NumPy array: probabilities of classes, or numbers."""

    def loss(self, workload: Workload, X: Array, y: Array) -> float:
        """Return the mean loss of the current weights, computed by the same formula for all programs."""
        return workload.measure_loss(self.outputs(X), y)
