"""The logic gates of the first lectures: two inputs, four rows, and one output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from chainrule.data.catalog.named_set import NamedSet
from chainrule.data.dataset import Dataset
from chainrule.data.parts import Source
from chainrule.data.target import Target

__all__ = ["SETS", "gate"]

# The output for the inputs 00, 01, 10, 11.
_TRUTH_TABLES = {
    "xnor": (1, 0, 0, 1),
    "gates-and": (0, 0, 0, 1),
    "gates-or": (0, 1, 1, 1),
    "gates-nor": (1, 0, 0, 0),
}


def gate(name: str) -> Dataset:
    """Return the four rows of a gate: ``"xnor"``, ``"gates-and"``, ``"gates-or"`` or ``"gates-nor"``."""
    inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=np.float32)
    return Dataset(inputs, np.array(_TRUTH_TABLES[name]), ("x1", "x2"), name=name, target=Target("binary", (0, 1)))


def _reader(name: str) -> Callable[[Mapping[str, Path]], Source]:
    return lambda _: Source(name, gate(name))


SETS = tuple(
    NamedSet(
        name=name,
        title=name.removeprefix("gates-").upper(),
        task="binary",
        rows=4,
        columns=2,
        summary=f"The truth table of x1 {name.removeprefix('gates-').upper()} x2.",
        licence="none needed",
        notes="No single neuron can learn it; two in a hidden layer can." if name == "xnor" else "",
        read=_reader(name),
    )
    for name in _TRUTH_TABLES
)
