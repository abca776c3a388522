"""Check the gradients of a network configuration on random rows with :mod:`chainrule.inspection`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chainrule.architecture import build_network
from chainrule.data.dataset import Dataset
from chainrule.data.target import Target
from chainrule.errors import InvalidInputError
from chainrule.inspection import GradientCheck, check_gradients
from chainrule.losses import LOSSES
from chainrule.runs.settings import engine_settings, without_none

__all__ = ["Check"]


@dataclass(frozen=True)
class Check:
    """The configuration of a gradient check: the network, its loss, the number of random rows, and the engine.

    The loss determines the kind of the target. ``engine`` and ``device`` compute the gradient that is checked.
    """

    hidden: tuple[int, ...] = (8, 4)
    activation: str = "tanh"
    loss: str = "mean_squared_error"
    inputs: int = 5
    outputs: int = 1
    rows: int = 30
    dropout: float = 0.0
    batch_normalization: bool = False
    l1: float = 0.0
    l2: float = 0.0
    seed: int = 0
    engine: str = "numpy"
    device: str = "auto"

    def target(self) -> Target:
        """Return a target that fits the loss: two classes, one class per output, or numbers."""
        name = LOSSES.name_of(LOSSES.find(self.loss))
        if min(self.inputs, self.outputs, self.rows) < 1:
            raise InvalidInputError("A check needs at least one input, one output and one row.")
        if name.startswith("categorical"):
            return Target("multiclass", tuple(range(max(self.outputs, 2))))
        if name.startswith("binary"):
            if self.outputs > 1:
                raise InvalidInputError(
                    f"{name} is checked with one output, not {self.outputs}; use categorical_cross_entropy for several "
                    "classes."
                )
            return Target("binary", (0, 1))
        return Target("regression", n_columns=self.outputs)

    def network_settings(self) -> dict[str, Any]:
        """Return the arguments of :func:`build_network`, without those that are None."""
        settings = {
            "hidden": self.hidden,
            "activation": self.activation,
            "loss": self.loss,
            "dropout": self.dropout or None,
            "batch_normalization": self.batch_normalization or None,
            "l1": self.l1 or None,
            "l2": self.l2 or None,
            "seed": self.seed,
            **engine_settings(self.engine, self.device),
        }
        return without_none(settings)

    def run(self) -> GradientCheck:
        """Check the gradients of the network on random rows."""
        target, rng = self.target(), np.random.default_rng(self.seed)
        X = rng.normal(size=(self.rows, self.inputs))
        n_classes = len(target.classes)
        y = rng.integers(0, n_classes, self.rows) if n_classes else rng.normal(size=(self.rows, self.outputs))
        network = build_network(self.inputs, target, **self.network_settings())
        return check_gradients(network, Dataset(X, y, target=target))
